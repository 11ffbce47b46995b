package simulation

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Trial names a world: what it is like, what is done in it, and what breaks. The same line runs again; only what happens at the very same instant is
// left to Go's scheduler.
type Trial struct {
	Seed uint64
	// Weather is what the account is like; see Weathers.
	Weather string
	// Life is what callers do; see Lives.
	Life   string
	Faults []Injection
}

// Injection breaks one point once.
type Injection struct {
	Point  string
	Action Action
}

// String is the line.
func (t Trial) String() string {
	parts := []string{strconv.FormatUint(t.Seed, 10), t.Weather, t.Life}
	for _, f := range t.Faults {
		parts = append(parts, string(f.Action)+" at "+f.Point)
	}

	return strings.Join(parts, "; ")
}

// ParseTrial reads a line.
func ParseTrial(line string) (Trial, error) {
	parts := strings.Split(line, "; ")
	if len(parts) < 3 {
		return Trial{}, fmt.Errorf("%q is not: seed; weather; life; faults", line)
	}

	seed, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return Trial{}, fmt.Errorf("read the seed: %w", err)
	}

	t := Trial{Seed: seed, Weather: parts[1], Life: parts[2]}

	for _, p := range parts[3:] {
		action, point, ok := strings.Cut(p, " at ")
		if !ok || !slices.ContainsFunc(Faults(), func(f Fault) bool { return f.Action == Action(action) }) {
			return Trial{}, fmt.Errorf("%q is not: action at point", p)
		}

		t.Faults = append(t.Faults, Injection{point, Action(action)})
	}

	return t, nil
}

// Excused tells whether one of the faults excuses a rollback.
func (t Trial) Excused() bool {
	return slices.ContainsFunc(t.Faults, func(f Injection) bool { return FaultOf(f.Action).Excuses })
}

// Report is what came of a trial.
type Report struct {
	// Err is what was wrong, nil if every law was kept.
	Err error
	// Hit lists the faults that happened: a world may take a way that does not come by a point.
	Hit []Injection
	// Points are all points that were passed, Firsts those with which an invocation began.
	Points []string
	Firsts map[string]bool
	// Ends are the ends of the operations, to be held against those of the undisturbed world.
	Ends []string
	Cost Cost
	// Makespans are the seconds from the admission of each operation to its end, and Costs what had been spent by then.
	Makespans []float64
	Costs     []Cost
}

// Deaths lists, in the order of the world, the places at which a process can die: before the first call of each invocation, and after every call. To die
// before any other call is to have died after the one before it: nothing has happened in between that anybody else can see.
func (r Report) Deaths() []Injection {
	var all []Injection

	for _, p := range r.Points {
		if r.Firsts[p] {
			all = append(all, Injection{p, CrashBefore})
		}

		all = append(all, Injection{p, CrashAfter})
	}

	return all
}

// Run runs a trial. It must be called inside a synctest bubble. Undisturbed, where given, is the report of the same trial without faults.
func (t Trial) Run(ctx context.Context, undisturbed *Report) Report {
	w, err := NewWorld(t.Seed)
	if err != nil {
		return Report{Err: err}
	}

	var (
		mu   sync.Mutex
		left = slices.Clone(t.Faults)
		r    Report
	)

	w.Fault = func(point string) Action {
		mu.Lock()
		defer mu.Unlock()

		for i, f := range left {
			if f.Point == point {
				left = slices.Delete(left, i, i+1)
				r.Hit = append(r.Hit, f)

				return f.Action
			}
		}

		return None
	}

	weather, ok := Weathers()[t.Weather]
	if !ok {
		return Report{Err: fmt.Errorf("there is no weather %q", t.Weather)}
	}

	life, ok := Lives()[t.Life]
	if !ok {
		return Report{Err: fmt.Errorf("there is no life %q", t.Life)}
	}

	weather.set(w)

	c := &caller{w: w, excused: t.Excused() || weather.Excuses, undisturbed: undisturbed}
	r.Err = c.live(ctx, life)
	r.Points, r.Firsts, r.Ends, r.Makespans, r.Costs, r.Cost = w.Points(), w.firsts, c.finals, c.makespans, c.costs, w.Cost()

	if r.Err != nil {
		r.Err = fmt.Errorf("%w\n%s", r.Err, c.explain(ctx))
	}

	return r
}

// Sum is what came of many trials.
type Sum struct {
	Worlds, Violations int
	worst              Cost
	hit                map[string]bool
	happened           int
	longest            float64
	transitions        int
	seconds            float64
}

// Add counts a report in.
func (s *Sum) Add(r Report) {
	if s.hit == nil {
		s.hit = map[string]bool{}
	}

	s.Worlds++

	if r.Err != nil {
		s.Violations++
	}

	for _, f := range r.Hit {
		s.hit[f.Point] = true
	}

	s.happened += len(r.Hit)
	s.worst.Events, s.worst.Largest = max(s.worst.Events, r.Cost.Events), max(s.worst.Largest, r.Cost.Largest)
	s.transitions += r.Cost.Transitions
	s.seconds += r.Cost.Seconds

	for _, m := range r.Makespans {
		s.longest = max(s.longest, m)
	}
}

// Missed lists the points of the undisturbed life, where one is given, at which nothing broke in any trial.
func (s *Sum) Missed(undisturbed *Report) []string {
	if undisturbed == nil {
		return nil
	}

	return slices.DeleteFunc(slices.Clone(undisturbed.Points), func(p string) bool { return s.hit[p] })
}

// String is the line that is printed. Coverage is of the points of the undisturbed life, where one is given.
func (s *Sum) String(took time.Duration, undisturbed *Report) string {
	line := fmt.Sprintf("%6d worlds, %d violations, %6.1f s, %d faults happened", s.Worlds, s.Violations, took.Seconds(), s.happened)

	if undisturbed != nil && s.happened > 0 {
		all := len(undisturbed.Points)
		line += fmt.Sprintf(", %.1f%% of %d points covered", 100*float64(all-len(s.Missed(undisturbed)))/float64(all), all)
	}

	return line + fmt.Sprintf(", worst history %d events, largest payload %d bytes, longest operation %.0f s", s.worst.Events, s.worst.Largest, s.longest)
}
