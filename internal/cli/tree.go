package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

// look is how a tree is drawn: which marks, whether in colour.
type look struct {
	fancy, colour bool
}

// row is one line of a tree; paint is the colour of its mark.
type row struct {
	before, mark, after string
	paint               string
}

// The colours, as terminals number them.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

// text writes a row no wider than the terminal.
func (l look) text(r row, width int) string {
	plain := r.before + r.mark + r.after
	if width > 0 && utf8.RuneCountInString(plain) > width {
		runes := []rune(r.after)
		room := width - utf8.RuneCountInString(r.before+r.mark) - 1
		r.after = string(runes[:max(min(room, len(runes)), 0)]) + l.pick("…", "~")
	}

	if l.colour && r.paint != "" {
		r.mark = "\x1b[" + r.paint + "m" + r.mark + "\x1b[0m"
	}

	return strings.TrimRight(r.before+r.mark+r.after, " ")
}

func (l look) pick(fancy, plain string) string {
	if l.fancy {
		return fancy
	}

	return plain
}

func (l look) mark(state client.StepState) (mark, paint string) {
	switch state {
	case client.StepReady, client.StepGone:
		return l.pick("✓", "+"), green
	case client.StepKept, client.StepSkipped:
		return l.pick("–", "-"), dim
	case client.StepFailed:
		return l.pick("✗", "x"), red
	case client.StepRunning:
		return l.pick("●", "*"), yellow
	case client.StepWaiting, client.StepPending:
	}

	return l.pick("○", "."), dim
}

// components tells for each kind which member of the spec its settings come from; kinds that it does not know stand under "resources".
type components map[string]string

func (c components) of(kind string) string {
	if name, ok := c[kind]; ok {
		return name
	}

	return "resources"
}

// group is a component with its steps, in the order of doing.
type group struct {
	name  string
	steps []client.Step
}

// groups gathers the steps of an operation. Of a resource with two steps, one to make and one to take away, the later one stands for it.
func (c components) groups(op *client.Operation) []group {
	var groups []group

	at := map[string]*client.Step{}

	for _, s := range op.Steps {
		if known, ok := at[s.Resource]; ok {
			if begun(s) {
				if s.Error == nil {
					s.Error = known.Error // why it is taken away again
				}

				*known = s
			}

			continue
		}

		name := c.of(s.Kind)

		i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
		if i < 0 {
			i = len(groups)
			// Rows must not move in memory while at points to them.
			groups = append(groups, group{name: name, steps: make([]client.Step, 0, len(op.Steps))})
		}

		groups[i].steps = append(groups[i].steps, s)
		at[s.Resource] = &groups[i].steps[len(groups[i].steps)-1]
	}

	return groups
}

func begun(s client.Step) bool { return s.State != client.StepPending || s.Attempts > 0 }

func over(s client.Step) bool {
	switch s.State {
	case client.StepReady, client.StepGone, client.StepSkipped, client.StepKept, client.StepFailed:
		return true
	case client.StepPending, client.StepWaiting, client.StepRunning:
	}

	return false
}

// tree draws an operation: a head, then its steps under their components, with how long each takes and what it waits for. It is at most height rows high,
// if height is not 0: what is done is folded first, then what is still to come is cut.
func (l look) tree(op *client.Operation, c components, now time.Time, height int) []row {
	groups := c.groups(op)
	fold := func(group) bool { return false }
	rows := l.rows(op, groups, now, fold)

	if height > 0 && len(rows) > height {
		done := func(g group) bool {
			return !slices.ContainsFunc(g.steps, func(s client.Step) bool { return !over(s) || s.State == client.StepFailed })
		}
		rows = l.rows(op, groups, now, done)
	}

	if height > 1 && len(rows) > height {
		more := len(rows) - (height - 1)
		rows = append(rows[:height-1], row{before: fmt.Sprintf("   %s %d more", l.pick("…", "..."), more)})
	}

	return rows
}

func (l look) rows(op *client.Operation, groups []group, now time.Time, folded func(group) bool) []row {
	end := now
	if op.EndTime != nil {
		end = *op.EndTime
	}

	_, paint := l.mark(ending(op))
	rows := []row{{
		before: strings.ToLower(op.Kind) + " " + op.Deployment + "  ", mark: string(op.State), paint: paint,
		after: fmt.Sprintf("  %d of %d  %s", op.Progress.Done, op.Progress.Total, span(end.Sub(op.CreateTime))),
	}}

	if op.Queued {
		rows[0].after += "  " + queued
	}

	wide := 0
	for _, s := range op.Steps {
		wide = max(wide, utf8.RuneCountInString(s.Resource))
	}

	for i, g := range groups {
		branch, trunk := l.pick("├─ ", "|- "), l.pick("│  ", "|  ")
		if i == len(groups)-1 {
			branch, trunk = l.pick("└─ ", "`- "), "   "
		}

		if folded(g) {
			mark, paint := l.mark(g.steps[len(g.steps)-1].State)
			rows = append(rows, row{before: branch, mark: mark, paint: paint, after: fmt.Sprintf(" %s  all %d", g.name, len(g.steps))})

			continue
		}

		rows = append(rows, row{before: branch + g.name})

		for j, s := range g.steps {
			twig := l.pick("├─ ", "|- ")
			if j == len(g.steps)-1 {
				twig = l.pick("└─ ", "`- ")
			}

			mark, paint := l.mark(s.State)
			if s.Error != nil {
				mark, paint = l.mark(client.StepFailed)
			}

			rows = append(rows, row{before: trunk + twig, mark: mark, paint: paint, after: fmt.Sprintf(" %-*s  %s", wide, s.Resource, printable(about(s, now)))})
		}
	}

	return rows
}

// queued says why nothing happens yet.
const queued = "waits until fewer operations of the tenant are at work"

// ending gives an operation the mark of a step.
func ending(op *client.Operation) client.StepState {
	switch op.State {
	case client.Succeeded:
		return client.StepReady
	case client.RolledBack, client.NeedsAttention, client.RollingBack:
		return client.StepFailed
	case client.Pending, client.Running:
	}

	return client.StepRunning
}

// about says in a few words how a step stands.
func about(s client.Step, now time.Time) string {
	var parts []string

	if s.StartTime != nil {
		end := now
		if s.EndTime != nil {
			end = *s.EndTime
		}

		parts = append(parts, fmt.Sprintf("%6s", span(end.Sub(*s.StartTime))))
	} else {
		parts = append(parts, "      ")
	}

	switch {
	case s.State == client.StepWaiting && s.WaitingFor != "":
		parts = append(parts, "waits for "+s.WaitingFor)
	case s.State == client.StepRunning && s.Action == "REMOVE":
		parts = append(parts, "being removed"+waits(s))
	case s.State == client.StepRunning:
		parts = append(parts, strings.TrimPrefix(waits(s), ", "))
	case s.State == client.StepGone:
		parts = append(parts, "removed")
	case s.State == client.StepKept:
		parts = append(parts, "kept")
	case s.State == client.StepSkipped && s.Action == "REMOVE":
		parts = append(parts, "left behind")
	case s.State == client.StepSkipped:
		parts = append(parts, "not begun")
	}

	if s.Error != nil {
		why := s.Error.Detail
		if s.Error.AWSCode != "" && !strings.Contains(why, s.Error.AWSCode) {
			why = s.Error.AWSCode + ": " + why
		}

		parts = append(parts, why)
	}

	return strings.TrimRight(strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "  "), " ")
}

func waits(s client.Step) string {
	if s.WaitingFor == "" {
		return ""
	}

	return ", waits for " + s.WaitingFor
}
