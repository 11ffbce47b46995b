// Package bench measures the product against baselines of the same run, on the same computer: a bare program that makes the same resources with the same
// SDK, a bare net/http server that answers the same bytes, bare Lambda handlers with the same SDK clients, and the shortest time that declared durations
// allow. Figures are ratios wherever a figure alone would measure the computer. A goal that is missed is printed as missed; a run fails only when
// something breaks.
//
// It must not know how the product does what it does, and no test asserts a time.
package bench

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// line is one row of the table at the end.
type line struct {
	part, what           string
	ours, baseline, goal string
	verdict              string
}

// board collects what the benchmarks found.
type board struct {
	mu    sync.Mutex
	lines []line
	notes []string
}

// results is the only global: benchmarks have no other way to hand TestMain what it prints.
var results board

// TestMain prints the table when all benchmarks are done.
func TestMain(m *testing.M) {
	code := m.Run()

	results.print(os.Stdout)
	os.Exit(code)
}

// compare notes ours against a baseline, as a ratio that must not pass atMost; 0 is no goal.
func (r *board) compare(b *testing.B, part, what string, ours, baseline, atMost float64, unit string) {
	b.Helper()

	ratio := ours / baseline
	b.ReportMetric(ratio, metric(what)+"-ratio")
	r.add(line{part: part, what: what, ours: number(ours, unit), baseline: number(baseline, unit), goal: limit("<=", atMost), verdict: verdict(ratio, atMost, ratio <= atMost)})
}

// reach notes ours as a part of a baseline that must be atLeast.
func (r *board) reach(b *testing.B, part, what string, ours, baseline, atLeast float64, unit string) {
	b.Helper()

	ratio := ours / baseline
	b.ReportMetric(ratio, metric(what)+"-ratio")
	r.add(line{part: part, what: what, ours: number(ours, unit), baseline: number(baseline, unit), goal: limit(">=", atLeast), verdict: verdict(ratio, atLeast, ratio >= atLeast)})
}

// count notes a figure that means something by itself; 0 is no goal.
func (r *board) count(b *testing.B, part, what string, ours, atMost float64, unit string) {
	b.Helper()

	l := line{part: part, what: what, ours: number(ours, unit), baseline: "-", goal: "-", verdict: "-"}
	if atMost != 0 {
		l.goal, l.verdict = "<= "+number(atMost, unit), met(ours <= atMost)
	}

	b.ReportMetric(ours, metric(what))
	r.add(l)
}

// note adds a line below the table.
func (r *board) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *board) add(l line) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.lines = append(r.lines, l)
}

func (r *board) print(out io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if len(r.lines) == 0 {
		return
	}

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)

	fmt.Fprintln(table, "\n\tOURS\tBASELINE\tRATIO, GOAL\tRESULT")

	order := map[string]int{}
	for _, l := range r.lines {
		if _, ok := order[l.part]; !ok {
			order[l.part] = len(order)
		}
	}

	slices.SortStableFunc(r.lines, func(x, y line) int { return order[x.part] - order[y.part] })

	part := ""
	for _, l := range r.lines {
		if l.part != part {
			part = l.part
			fmt.Fprintf(table, "%s\t\t\t\t\n", strings.ToUpper(part))
		}

		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", l.what, l.ours, l.baseline, l.goal, l.verdict)
	}

	_ = table.Flush() // standard output

	for _, n := range r.notes {
		fmt.Fprintln(out, n)
	}

	if missed := slices.Collect(func(yield func(string) bool) {
		for _, l := range r.lines {
			if strings.Contains(l.verdict, "MISSED") && !yield(l.part+": "+l.what) {
				return
			}
		}
	}); len(missed) > 0 {
		fmt.Fprintf(out, "\nGoals missed: %s.\n", strings.Join(missed, "; "))
	} else {
		fmt.Fprintln(out, "\nNo goal was missed.")
	}
}

func metric(what string) string {
	return strings.NewReplacer(" ", "-", ",", "", "(", "", ")", "").Replace(what)
}

func number(v float64, unit string) string {
	digits := 0
	if v < 100 && v != float64(int(v)) {
		digits = 2
	}

	return strings.TrimSpace(fmt.Sprintf("%.*f %s", digits, v, unit))
}

func limit(sign string, v float64) string {
	if v == 0 {
		return "-"
	}

	return fmt.Sprintf("%s %.2f", sign, v)
}

func verdict(ratio, goal float64, ok bool) string {
	if goal == 0 {
		return fmt.Sprintf("%.2f", ratio)
	}

	return fmt.Sprintf("%.2f %s", ratio, met(ok))
}

func met(ok bool) string {
	if ok {
		return "met"
	}

	return "MISSED"
}

// median of a series, which must not be empty.
func median(series []float64) float64 {
	sorted := slices.Sorted(slices.Values(series))

	return sorted[len(sorted)/2]
}
