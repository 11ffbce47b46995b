package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

// tick is how often durations on a terminal move.
const tick = time.Second

// screen draws rows over the ones that it drew before.
type screen struct {
	out  io.Writer
	size func() (width, height int)
	look look
	high int
}

// room is how many rows fit with the cursor below them.
func (s *screen) room() int {
	_, height := s.size()

	return max(height-1, 2)
}

func (s *screen) draw(rows []row) {
	width, _ := s.size()

	var b strings.Builder
	if s.high > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.high) // up to the first row
	}

	for _, r := range rows {
		b.WriteString("\r\x1b[2K" + s.look.text(r, width-1) + "\n")
	}

	b.WriteString("\x1b[J") // what was lower than this
	s.high = len(rows)

	_, _ = io.WriteString(s.out, b.String()) // a terminal that is gone needs no picture
}

// live tells whether the steps are drawn as a tree that moves.
func (s *session) live() bool {
	return s.Size != nil && s.output == "text" && s.Getenv("TERM") != "dumb"
}

func (s *session) look() look {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = s.Getenv(name); locale != "" {
			break
		}
	}

	locale = strings.ToUpper(strings.ReplaceAll(locale, "-", ""))

	return look{fancy: strings.Contains(locale, "UTF8"), colour: s.Size != nil && s.Getenv("NO_COLOR") == "" && s.Getenv("TERM") != "dumb"}
}

// components asks which kind belongs where. A tree without it is less orderly and no less true.
func (s *session) components(ctx context.Context, api *client.Client) components {
	kinds, err := api.Kinds(ctx)
	if err != nil {
		return nil
	}

	all := components{}
	for _, k := range kinds {
		all[k.Name] = k.Component
	}

	return all
}

// follow shows an operation until it is done, and judges its end by what was wanted of it.
func (s *session) follow(ctx context.Context, api *client.Client, op *client.Operation, wanted client.OperationState) error {
	show := s.followPlain
	if s.live() {
		show = s.followLive
	}

	last, err := show(ctx, api, op)
	if err != nil {
		if ctx.Err() != nil {
			return s.left(ctx, op)
		}

		fmt.Fprintf(s.Err, "The operation %s goes on; watch it: %s watch %s\n", op.ID, Name, op.ID)

		return err
	}

	if err := s.conclude(last, wanted); err != nil {
		return err
	}

	if s.output == "text" {
		s.kept(ctx, api, last)
	}

	return nil
}

// kept names what a delete left on purpose, and the way to be rid of it later. Nothing is said where nobody answers: the delete is done all the same.
func (s *session) kept(ctx context.Context, api *client.Client, op *client.Operation) {
	stays := func(step client.Step) bool { return step.State == client.StepKept }
	if op.Kind != "DELETE" || !slices.ContainsFunc(op.Steps, stays) {
		return
	}

	for r, err := range api.Resources(ctx, op.Deployment) {
		if err == nil && r.State == client.StepKept && r.ID != "" {
			fmt.Fprintf(s.Out, "The %s %s stays.\nTo purge it later: %s create %s, then %s delete %s --data purge\n",
				r.Kind, printable(r.ID), Name, op.Deployment, Name, op.Deployment)
		}
	}
}

func (s *session) followLive(ctx context.Context, api *client.Client, op *client.Operation) (*client.Operation, error) {
	s.drawing.Store(true)
	defer s.drawing.Store(false)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type change struct {
		op  *client.Operation
		err error
	}

	changes := make(chan change)

	go func() {
		defer close(changes)

		for op, err := range api.Watch(ctx, op.ID) {
			select {
			case changes <- change{op, err}:
			case <-ctx.Done():
				return
			}
		}
	}()

	kinds := s.components(ctx, api)
	screen := &screen{out: s.Out, size: s.Size, look: s.look()}
	ticker := time.NewTicker(tick)

	defer ticker.Stop()

	for {
		// The last picture is whole: the terminal may scroll once nothing is drawn over it.
		height := screen.room()
		if op.Done {
			height = 0
		}

		screen.draw(screen.look.tree(op, kinds, time.Now(), height))

		if op.Done {
			return op, nil
		}

		select {
		case c, ok := <-changes:
			if !ok {
				return op, context.Cause(ctx)
			}

			if c.err != nil {
				return op, c.err
			}

			op = c.op
		case <-ticker.C:
		}
	}
}

// followPlain writes a line for every change: to standard output, or beside it if a document is wanted there.
func (s *session) followPlain(ctx context.Context, api *client.Client, op *client.Operation) (*client.Operation, error) {
	out := s.Out
	if s.output != "text" {
		out = s.Err
	}

	was := map[string]string{}
	state := client.OperationState("")

	for op, err := range api.Watch(ctx, op.ID) {
		if err != nil {
			return nil, err
		}

		since := span(time.Since(op.CreateTime))

		if op.State != state {
			state = op.State

			if !op.Done {
				line := fmt.Sprintf("%6s  %s %s: %s", since, strings.ToLower(op.Kind), op.Deployment, op.State)
				if op.Queued {
					line += "  " + queued
				}

				fmt.Fprintln(out, line)
			}
		}

		for _, step := range op.Steps {
			key := step.Action + step.Resource
			now := string(step.State)

			if step.State == client.StepPending || was[key] == now {
				continue
			}

			was[key] = now
			line := fmt.Sprintf("%6s  %s: %s", since, step.Resource, now)

			if said := strings.TrimSpace(about(step, time.Now())); said != "" && (over(step) || step.State == client.StepWaiting) {
				line += "  " + strings.Join(strings.Fields(printable(said)), " ")
			}

			fmt.Fprintln(out, line)
		}

		if op.Done {
			return op, nil
		}
	}

	return nil, errors.New("the operation has no end") // Watch ends with an error or with what is done
}

// left says what goes on without us.
func (s *session) left(ctx context.Context, op *client.Operation) error {
	why := "Interrupted"
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		why = "Out of time"
	}

	fmt.Fprintf(s.Err, "\n%s: the operation %s goes on.\n  watch it    %s watch %s\n", why, op.ID, Name, op.ID)

	if op.Kind != "DELETE" { // which cannot be cancelled
		fmt.Fprintf(s.Err, "  cancel it   %s cancel %s\n", Name, op.ID)
	}

	return &ended{code: codeInterrupted}
}

// conclude tells how an operation ended.
func (s *session) conclude(op *client.Operation, wanted client.OperationState) error {
	if s.output != "text" {
		if err := printDoc(s.Out, s.output, op.Raw); err != nil {
			return err
		}
	}

	took := ""
	if op.EndTime != nil {
		took = " after " + span(op.EndTime.Sub(op.CreateTime))
	}

	code := codeDone

	switch {
	case op.State == wanted && op.State != client.NeedsAttention:
	case op.State == client.NeedsAttention:
		code = codeAttention
	default:
		code = codeFailed
	}

	if s.output == "text" {
		fmt.Fprintf(s.Out, "%s %s: %s%s\n", strings.ToLower(op.Kind), op.Deployment, op.State, took)
	}

	if code != codeDone && op.Error != nil && s.output == "text" {
		writeProblem(s.Err, op.Error, places{})
	}

	if code == codeAttention {
		s.residue(op)
	}

	if code == codeDone {
		return nil
	}

	return &ended{code: code}
}

// residue lists what resisted and the ways out.
func (s *session) residue(op *client.Operation) {
	fmt.Fprintln(s.Err, "What resisted:")

	first := ""

	for _, step := range op.Steps {
		if step.State == client.StepFailed {
			first = cmp.Or(first, step.Resource)
			fmt.Fprintf(s.Err, "  %s\n", strings.Join(strings.Fields(step.Resource+" "+printable(about(step, time.Now()))), " "))
		}
	}

	fmt.Fprintf(s.Err, "Ways out:\n  try again             %s resume %s\n  leave one behind      %s skip %s %s   (admins)\n",
		Name, op.Deployment, Name, op.Deployment, cmp.Or(first, "RESOURCE"))
	fmt.Fprintf(s.Err, "  take everything away  %s delete %s --data purge\n  all but the bucket    %s delete %s --data keep\n", Name, op.Deployment, Name, op.Deployment)
}
