package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

func (s *session) get() *cobra.Command {
	c := &cobra.Command{Use: "get NAME", Short: "Show a deployment", Args: arguments, ValidArgsFunction: s.names}
	resources := c.Flags().Bool("resources", false, "list its resources instead; of a deleted one, the bucket that it kept")
	deleted := c.Flags().Bool("show-deleted", false, "show it even if it is deleted")

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		if *resources {
			return s.resources(ctx, args[0])
		}

		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		look := api.Deployment
		if *deleted {
			look = api.DeletedDeployment
		}

		d, err := look(ctx, args[0])
		if err != nil {
			return err
		}

		return s.showDeployment(d)
	})

	return c
}

func (s *session) showDeployment(d *client.Deployment) error {
	if s.output != "text" {
		return printDoc(s.Out, s.output, d.Raw)
	}

	lines := [][2]string{
		{"name", d.Name},
		{"tenant", d.Tenant},
		{"phase", string(d.Phase)},
		{"resources", fmt.Sprintf("%d of %d ready", d.Resources.Ready, d.Resources.Total)},
		{"region", d.Region},
		{"account", d.Account},
		{"owner", d.Owner},
		{"created", stamp(d.CreateTime)},
		{"updated", stamp(d.UpdateTime)},
	}

	if d.ExpireTime != nil {
		lines = append(lines, [2]string{"expires", stamp(*d.ExpireTime) + " (in " + span(time.Until(*d.ExpireTime)) + ")"})
	}

	if len(d.Labels) > 0 {
		lines = append(lines, [2]string{"labels", pairs(d.Labels)})
	}

	lines = append(lines, [2]string{"operation", d.Operation})

	for _, l := range lines {
		fmt.Fprintf(s.Out, "%-10s %s\n", l[0], printable(l[1]))
	}

	var raw struct{ Spec json.RawMessage }
	if err := json.Unmarshal(d.Raw, &raw); err != nil || raw.Spec == nil {
		return err
	}

	var b strings.Builder
	if err := printDoc(&b, "yaml", raw.Spec); err != nil {
		return err
	}

	_, err := fmt.Fprintf(s.Out, "spec\n  %s\n", strings.ReplaceAll(strings.TrimSpace(b.String()), "\n", "\n  "))

	return err
}

func pairs(m map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+m[key])
	}

	return strings.Join(all, ", ")
}

func (s *session) resources(ctx context.Context, name string) error {
	return listed(
		ctx, s, "There are no resources.", []string{"RESOURCE", "STATE", "ORIGIN", "ID"},
		func(api *client.Client, ctx context.Context) iter.Seq2[*client.Resource, error] {
			return api.Resources(ctx, name)
		},
		func(r *client.Resource) (json.RawMessage, []string) {
			id := r.ID
			if r.LastError != nil {
				id = strings.TrimSpace(id + "  " + r.LastError.Error())
			}

			return r.Raw, []string{r.Ref, string(r.State), r.Origin, id}
		},
	)
}

func (s *session) list() *cobra.Command {
	c := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List deployments", Args: cobra.NoArgs}
	phase := c.Flags().String("phase", "", "only those in this phase, such as ACTIVE")
	labels := c.Flags().StringToString("label", nil, "only those with this label, as KEY=VALUE")
	deleted := c.Flags().Bool("show-deleted", false, "list those that are deleted, too")

	c.RunE = s.run(func(ctx context.Context, _ []string) error {
		var terms, given []string
		if *phase != "" {
			terms, given = append(terms, "phase="+*phase), append(given, "--phase")
		}

		for _, key := range slices.Sorted(maps.Keys(*labels)) {
			terms, given = append(terms, "label."+key+"="+(*labels)[key]), append(given, "--label")
		}

		none := "There are no deployments."
		if len(terms) > 0 {
			none = "No deployment is like that."
		}

		err := listed(
			ctx, s, none, []string{"NAME", "PHASE", "READY", "REGION", "AGE", "EXPIRES", "LABELS"},
			func(api *client.Client, ctx context.Context) iter.Seq2[*client.Deployment, error] {
				return api.Deployments(ctx, client.ListOptions{Filter: strings.Join(terms, ","), ShowDeleted: *deleted})
			},
			func(d *client.Deployment) (json.RawMessage, []string) {
				expires := ""
				if d.ExpireTime != nil {
					expires = "in " + span(time.Until(*d.ExpireTime))
				}

				return d.Raw, []string{
					d.Name, string(d.Phase), fmt.Sprintf("%d/%d", d.Resources.Ready, d.Resources.Total), d.Region, span(time.Since(d.CreateTime)), expires, pairs(d.Labels),
				}
			},
		)
		if err != nil {
			return &located{err, places{"filter": strings.Join(slices.Compact(given), ", ")}}
		}

		return nil
	})

	return c
}

func (s *session) ops() *cobra.Command {
	c := &cobra.Command{
		Use: "ops NAME|OPERATION", Short: "List a deployment's operations, or show one with its steps", Args: arguments, ValidArgsFunction: s.names,
	}

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		if id.MatchString(args[0]) {
			return s.showOperation(ctx, args[0])
		}

		return listed(
			ctx, s, "There are no operations.", []string{"OPERATION", "KIND", "STATE", "STEPS", "BEGAN", "TOOK", "ERROR"},
			func(api *client.Client, ctx context.Context) iter.Seq2[*client.Operation, error] {
				return api.Operations(ctx, args[0])
			},
			func(op *client.Operation) (json.RawMessage, []string) {
				took := time.Since(op.CreateTime)
				if op.EndTime != nil {
					took = op.EndTime.Sub(op.CreateTime)
				}

				why := ""
				if op.Error != nil {
					why = op.Error.Code
				}

				return op.Raw, []string{op.ID, op.Kind, string(op.State), fmt.Sprintf("%d/%d", op.Progress.Done, op.Progress.Total), stamp(op.CreateTime), span(took), why}
			},
		)
	})

	return c
}

func (s *session) showOperation(ctx context.Context, id string) error {
	api, err := s.client(ctx)
	if err != nil {
		return err
	}

	op, err := api.Operation(ctx, id)
	if err != nil {
		return err
	}

	if s.output != "text" {
		return printDoc(s.Out, s.output, op.Raw)
	}

	l := s.look()
	for _, r := range l.tree(op, s.components(ctx, api), time.Now(), 0) {
		fmt.Fprintln(s.Out, l.text(r, 0))
	}

	if op.Error != nil {
		writeProblem(s.Out, op.Error, places{})
	}

	return nil
}

func (s *session) kinds() *cobra.Command {
	c := &cobra.Command{Use: "kinds", Short: "List the resource kinds on offer", Args: cobra.NoArgs}
	c.RunE = s.run(func(ctx context.Context, _ []string) error {
		return listed(
			ctx, s, "There are no kinds.", []string{"KIND", "COMPONENT", "SERVICE", "NEEDS", ""}, each((*client.Client).Kinds),
			func(k *client.Kind) (json.RawMessage, []string) {
				return k.Raw, []string{k.Name, k.Component, k.Family, strings.Join(k.Needs, ", "), k.Doc}
			},
		)
	})

	return c
}

func (s *session) orphans() *cobra.Command {
	c := &cobra.Command{Use: "orphans", Short: "List what the sweeper found; admins only", Args: cobra.NoArgs}
	c.RunE = s.run(func(ctx context.Context, _ []string) error {
		return listed(
			ctx, s, "There are no orphans.", []string{"RESOURCE", "ID", "TENANT", "DEPLOYMENT", "STATE", "SEEN FOR", "REASON"}, (*client.Client).Orphans,
			func(o *client.Orphan) (json.RawMessage, []string) {
				return o.Raw, []string{o.Resource, o.ID, o.Tenant, o.Deployment, o.State, span(time.Since(o.FirstSeen)), o.Reason}
			},
		)
	})

	return c
}

func (s *session) audit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "List who asked for what, with what outcome", Args: cobra.NoArgs}
	about := c.Flags().String("deployment", "", "only what was about this deployment")
	limit := c.Flags().Int("limit", 100, "how many lines at most; 0 is all")
	c.RunE = s.run(func(ctx context.Context, _ []string) error {
		return listed(
			ctx, s, "There are no entries.", []string{"TIME", "ACTOR", "ACTION", "OF", "OUTCOME", "DETAIL"},
			func(api *client.Client, ctx context.Context) iter.Seq2[*client.Entry, error] {
				return first(*limit, api.Audit(ctx, *about))
			},
			func(e *client.Entry) (json.RawMessage, []string) {
				return e.Raw, []string{
					stamp(e.Time), e.Actor, e.Action, strings.TrimSpace(e.Deployment + " " + e.Subject), strings.TrimSpace(e.Outcome + " " + e.Code), e.Detail,
				}
			},
		)
	})

	return c
}

// first ends a list after so many; 0 is all.
func first[T any](limit int, all iter.Seq2[*T, error]) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		n := 0
		for v, err := range all {
			if n++; !yield(v, err) || n == limit {
				return
			}
		}
	}
}

func (s *session) drift() *cobra.Command {
	c := &cobra.Command{
		Use: "drift NAME", Short: "Report how far AWS is from what a deployment should be", Args: arguments, ValidArgsFunction: s.names,
		Long: "Report how far AWS is from what a deployment should be. Nothing is changed; repair brings it back. The exit code is 8 if there is drift.",
	}

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		d, err := api.Drift(ctx, args[0])
		if err != nil {
			return err
		}

		if s.output == "text" {
			err = s.showDrift(d)
		} else {
			err = printDoc(s.Out, s.output, d.Raw)
		}

		if err == nil && d.Drifted {
			return &ended{code: codeDrift}
		}

		return err
	})

	return c
}

func (s *session) showDrift(d *client.Drift) error {
	var rows [][]string

	unchecked := 0

	for _, r := range d.Resources {
		unchecked += len(r.NotChecked)

		if len(r.Differences) == 0 {
			rows = append(rows, []string{r.Resource, r.State, "", "", ""})
		}

		for _, diff := range r.Differences {
			rows = append(rows, []string{r.Resource, r.State, diff.Property, diff.Want, diff.Have})
		}
	}

	if err := s.table("There are no resources.", []string{"RESOURCE", "STATE", "PROPERTY", "WANTED", "FOUND"}, rows); err != nil {
		return err
	}

	if unchecked > 0 {
		fmt.Fprintf(s.Out, "%d properties are not compared; -o json lists them.\n", unchecked)
	}

	verdict := "There is no drift."
	if d.Drifted {
		verdict = "There is drift; bring it back: " + Name + " repair " + d.Deployment
	}

	_, err := fmt.Fprintln(s.Out, verdict)

	return err
}

func (s *session) showPlan(p *client.Plan, at places) error {
	if s.output != "text" {
		if err := printDoc(s.Out, s.output, p.Raw); err != nil {
			return err
		}

		return refused(p)
	}

	var rows [][]string
	for _, step := range p.Steps {
		rows = append(rows, []string{step.Change, step.Resource, step.Estimate})
	}

	if err := s.table("There is nothing to do.", []string{"CHANGE", "RESOURCE", "TAKES ABOUT"}, rows); err != nil {
		return err
	}

	if p.Duration != "" {
		fmt.Fprintf(s.Out, "\nAll together about %s.\n", p.Duration)
	}

	if err := s.showCost(p.Cost); err != nil {
		return err
	}

	for _, q := range p.Quotas {
		if q.Needs > 0 {
			fmt.Fprintf(s.Out, "\n%s: needs %d; %d of %d are used.\n", printable(q.Name), q.Needs, q.Used, q.Limit)
		}
	}

	writeFindings(s.Out, p, at)

	return refused(p)
}

// showTemplate writes a template alone to standard output: what the plan found stands beside it.
func (s *session) showTemplate(text json.RawMessage, p *client.Plan, at places) error {
	format := s.output
	if format == "text" {
		format = "json"
	}

	if err := printDoc(s.Out, format, text); err != nil {
		return err
	}

	writeFindings(s.Err, p, at)

	return refused(p)
}

func writeFindings(w io.Writer, p *client.Plan, at places) {
	for _, f := range p.Findings {
		fmt.Fprintf(w, "\n%s: %s\n", f.Level, printable(f.Message))
		writeFault(w, client.Fault{Pointer: f.Pointer}, "", at)

		if f.Remedy != "" {
			fmt.Fprintf(w, label, "remedy", printable(f.Remedy))
		}
	}
}

// showCost lists what is paid, and leaves out what is free.
func (s *session) showCost(c client.Cost) error {
	sum := func(v *float64) string {
		if v == nil {
			return "not priced"
		}

		return strconv.FormatFloat(*v, 'f', 2, 64) + " " + c.Currency
	}

	var rows [][]string

	for _, l := range c.Lines {
		var paid []string

		for _, part := range []struct {
			amount *float64
			per    string
		}{{l.OneTime, "once"}, {l.Monthly, "a month"}, {l.Price, "per " + l.Unit}} {
			if part.amount != nil && *part.amount != 0 {
				paid = append(paid, strconv.FormatFloat(*part.amount, 'f', -1, 64)+" "+part.per)
			}
		}

		if len(paid) > 0 {
			rows = append(rows, []string{l.Resource, l.What, strings.Join(paid, ", ")})
		}
	}

	fmt.Fprintf(s.Out, "\nCost: %s once, %s a month in which no job runs.\n", sum(c.OneTime), sum(c.Monthly))

	if len(rows) == 0 {
		return nil
	}

	return s.table("", []string{"RESOURCE", "WHAT", c.Currency}, rows)
}

// refused tells whether the real request would be.
func refused(p *client.Plan) error {
	if slices.ContainsFunc(p.Findings, func(f client.Finding) bool { return f.Level == "error" }) {
		return &ended{code: codeUsage}
	}

	return nil
}
