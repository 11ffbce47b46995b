package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

const noWait = "no-wait"

// waiting adds the option not to wait.
func waiting(c *cobra.Command) *bool {
	return c.Flags().Bool(noWait, false, "return as soon as the operation is admitted")
}

// begun shows an operation that was admitted, to its end unless nobody wants to wait.
func (s *session) begun(ctx context.Context, api *client.Client, op *client.Operation, leave bool, wanted client.OperationState) error {
	if !leave {
		return s.follow(ctx, api, op, wanted)
	}

	if s.output != "text" {
		return printDoc(s.Out, s.output, op.Raw)
	}

	fmt.Fprintf(s.Out, "The operation %s is admitted; watch it: %s watch %s\n", op.ID, Name, op.ID)

	return nil
}

func (s *session) create() *cobra.Command {
	c := &cobra.Command{
		Use: "create [NAME]", Short: "Create a deployment", Args: arguments,
		Long: "Create a deployment and wait until it stands. Without a file and flags it is the environment of Metaflow's own guide.\n" +
			"If something cannot be made, everything made so far is taken away again. NAME and flags go over what a file says.",
		Example: "  " + Name + " create research\n  " + Name + " create research --max-vcpus 256 --instance-type r5 --ttl 72h\n  " + Name + " create research -f research.yaml",
	}

	var spec specFlags

	spec.add(c)
	spec.addVerify(c)
	key := c.Flags().String("idempotency-key", "", "make this the same request as an earlier one with that key, within 24 hours")
	leave := waiting(c)

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		request, d, err := s.request(c, &spec, args)
		if err != nil {
			return err
		}

		if err := d.made(); err != nil {
			return err
		}

		request.IdempotencyKey = *key

		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		op, err := api.Create(ctx, request)
		if err != nil {
			return &located{err, d.places}
		}

		return s.begun(ctx, api, op, *leave, client.Succeeded)
	})

	return c
}

// request reads file and flags.
func (s *session) request(c *cobra.Command, spec *specFlags, args []string) (client.CreateRequest, *document, error) {
	d, err := s.read(spec.file)
	if err != nil {
		return client.CreateRequest{}, nil, err
	}

	d.setAside()

	if err := spec.onto(d, c.Flags()); err != nil {
		return client.CreateRequest{}, nil, err
	}

	r, err := d.create()
	if err != nil {
		return r, nil, err
	}

	if len(args) > 0 {
		r.Name = args[0]
		d.places["/name"] = "NAME"
	}

	if r.Name == "" {
		return r, nil, misused("the deployment needs a name: give NAME, or a file with name:")
	}

	return r, d, nil
}

func (s *session) plan() *cobra.Command {
	c := &cobra.Command{
		Use: "plan [NAME]", Short: "Show what a create or an update would do, and do nothing", Args: arguments, ValidArgsFunction: s.names,
		Long: "Show the steps that a create, or an update of a deployment that is there, would take, with cost, quotas and findings. Nothing is changed.\n" +
			"With --format cloudformation it is a template of what the deployment would have, and what is wrong goes to standard error.",
	}

	var spec specFlags

	spec.add(c)
	spec.addVerify(c)
	format := c.Flags().String("format", "plan", "plan: steps, cost, quotas and findings; cloudformation: a template, as JSON, or as YAML with -o yaml")
	_ = c.RegisterFlagCompletionFunc("format", fixed("plan", "cloudformation")) // the flag is there

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		if *format != "plan" && *format != "cloudformation" {
			return misused("--format %s: it is plan or cloudformation", *format)
		}

		request, d, err := s.request(c, &spec, args)
		if err != nil {
			return err
		}

		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		plan, template, err := s.planned(ctx, api, c, &spec, request, d)
		if err != nil {
			return &located{err, d.places}
		}

		if *format == "plan" {
			return s.showPlan(plan, d.places)
		}

		text, err := template()
		if err != nil {
			return &located{err, d.places}
		}

		return s.showTemplate(text, plan, d.places)
	})

	return c
}

// planned asks for the plan of what the same arguments would do: an update where there is a deployment, else a create. template asks for the same as a
// template, which has no findings.
func (s *session) planned(
	ctx context.Context, api *client.Client, c *cobra.Command, spec *specFlags, r client.CreateRequest, d *document,
) (plan *client.Plan, template func() (json.RawMessage, error), err error) {
	there, err := api.Deployment(ctx, r.Name)

	switch {
	case missing(err) || err == nil && (there.Phase == client.Failed || there.Phase == client.Deleted):
		if err := d.made(); err != nil {
			return nil, nil, err
		}

		plan, err = api.PlanCreate(ctx, r)

		return plan, func() (json.RawMessage, error) { return api.PlanCreateTemplate(ctx, r) }, err
	case err != nil:
		return nil, nil, err
	}

	update, err := s.updated(c, spec, there, d)
	if err != nil {
		return nil, nil, err
	}

	plan, err = api.PlanUpdate(ctx, r.Name, update)

	return plan, func() (json.RawMessage, error) { return api.PlanUpdateTemplate(ctx, r.Name, update) }, err
}

func missing(err error) bool {
	p, ok := errors.AsType[*client.Problem](err)

	return ok && p.Status == http.StatusNotFound && p.Code == "not_found"
}

// updated makes an update of file and flags. Without a file, flags change the spec that is there, and only if it is still that one.
func (s *session) updated(c *cobra.Command, spec *specFlags, there *client.Deployment, d *document) (client.UpdateRequest, error) {
	r := client.UpdateRequest{}

	if spec.file == "" {
		fresh, err := current(there)
		if err != nil {
			return r, err
		}

		spec.clear(fresh, c.Flags())

		if err := spec.onto(fresh, c.Flags()); err != nil {
			return r, err
		}

		*d = *fresh
		r.IfMatch = there.ETag
	}

	if spec.file != "" && !d.given {
		return r, misused("%s has no spec, and an update is to a whole one: write it under spec:, where {} is the defaults", spec.file)
	}

	whole, err := d.create()
	if err != nil {
		return r, err
	}

	if whole.Verify {
		return r, misused("%s: an update does not verify: leave it out, and prove the deployment when the update is done: %s verify NAME", d.places.of("/verify"), Name)
	}

	if r.Spec, r.Labels, r.TTL = whole.Spec, whole.Labels, whole.TTL; r.Spec == nil {
		r.Spec = map[string]any{} // the defaults, said aloud
	}

	return r, nil
}

// current is the request that a deployment is the answer to.
func current(there *client.Deployment) (*document, error) {
	d := &document{body: map[string]any{}, places: places{}}
	r := reader{file: "the present spec", places: places{}}

	v, err := r.json(there.Raw)
	if err != nil {
		return nil, err
	}

	all, _ := v.(map[string]any)
	for _, member := range []string{"spec", "labels"} {
		if all[member] != nil {
			d.body[member] = all[member]
		}
	}

	return d, nil
}

func (s *session) update() *cobra.Command {
	c := &cobra.Command{
		Use: "update [NAME]", Short: "Change a deployment to another spec", Args: arguments, ValidArgsFunction: s.names,
		Long: "Change a deployment to another spec and wait until it is so; if it cannot be, it goes back to what it was.\n" +
			"With a file, the file is the whole new spec: what it leaves out goes back to its default. Without one, flags change the present spec.",
		Example: "  " + Name + " update research --max-vcpus 512\n  " + Name + " update research -f research.yaml",
	}

	var spec specFlags

	spec.add(c)
	leave := waiting(c)

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		request, d, err := s.request(c, &spec, args)
		if err != nil {
			return err
		}

		if spec.file == "" && !changes(c) {
			return misused("there is nothing to update: give a file or flags")
		}

		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		there := &client.Deployment{}

		if spec.file == "" {
			if there, err = api.Deployment(ctx, request.Name); err != nil {
				return err
			}
		}

		update, err := s.updated(c, &spec, there, d)
		if err != nil {
			return err
		}

		op, err := api.Update(ctx, request.Name, update)
		if err != nil {
			return &located{err, d.places}
		}

		return s.begun(ctx, api, op, *leave, client.Succeeded)
	})

	return c
}

// changes tells whether any flag says something about the deployment.
func changes(c *cobra.Command) bool {
	var none specFlags

	probe := &cobra.Command{}
	none.add(probe)

	any := false
	c.Flags().Visit(func(f *pflag.Flag) { any = any || probe.Flags().Lookup(f.Name) != nil })

	return any
}

func (s *session) delete() *cobra.Command {
	c := &cobra.Command{
		Use: "delete NAME", Short: "Delete a deployment", Args: arguments, ValidArgsFunction: s.names,
		Long: "Delete a deployment and wait until it is gone. On a terminal it asks what becomes of the bucket, unless --data or --yes says so;\n" +
			"elsewhere the bucket stays with its objects. What the spec named as existing is never deleted.",
	}

	data := c.Flags().String("data", "", "keep: a bucket that the deployment made stays with its objects; purge: it goes with everything in it")
	yes := c.Flags().BoolP("yes", "y", false, "ask nothing; without --data the bucket stays")
	allowMissing := c.Flags().Bool("allow-missing", false, "it is no error if there is nothing to delete")
	leave := waiting(c)
	_ = c.RegisterFlagCompletionFunc("data", fixed("keep", "purge")) // the flag is there

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		choice := client.Data(*data)
		if choice != "" && choice != client.Keep && choice != client.Purge {
			return misused("--data %s: it is keep or purge", choice)
		}

		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		if choice == "" && !*yes && s.Asks {
			if choice, err = s.ask(ctx, args[0]); err != nil {
				return err
			}
		}

		op, err := api.Delete(ctx, args[0], client.DeleteOptions{Data: choice, AllowMissing: *allowMissing})
		if err != nil {
			return err
		}

		if op == nil {
			fmt.Fprintf(s.Err, "There is no deployment %s.\n", args[0])

			return nil
		}

		return s.begun(ctx, api, op, *leave, client.Succeeded)
	})

	return c
}

// ask lets the person choose what becomes of the data. No answer is no delete.
func (s *session) ask(ctx context.Context, name string) (client.Data, error) {
	fmt.Fprintf(s.Err, "Delete %s. What becomes of a bucket that it made: keep it with its objects, or purge it with everything in it?\n[keep/purge, anything else stops] ", name)

	type line struct {
		text string
		err  error
	}

	answered := make(chan line, 1)

	go func() { // a terminal cannot be asked with a deadline
		text, err := bufio.NewReader(s.In).ReadString('\n')
		answered <- line{text, err}
	}()

	select {
	case <-ctx.Done():
		return "", &ended{code: codeInterrupted, why: "nothing was deleted"}
	case l := <-answered:
		switch answer := client.Data(strings.TrimSpace(l.text)); answer {
		case client.Keep, client.Purge:
			return answer, nil
		}
	}

	return "", misused("nothing was deleted: the answer is neither keep nor purge")
}

func (s *session) extend() *cobra.Command {
	c := &cobra.Command{
		Use: "extend NAME", Short: "Move a deployment's expiry", Args: arguments, ValidArgsFunction: s.names,
		Example: "  " + Name + " extend research --ttl 72h",
	}

	ttl := c.Flags().String("ttl", "", "how long from now, such as 72h or 3d")
	_ = c.MarkFlagRequired("ttl") // the flag is there

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		d, err := api.Extend(ctx, args[0], *ttl, client.ChangeOptions{})
		if err != nil {
			return &located{err, places{"/ttl": "--ttl"}}
		}

		return s.showDeployment(d)
	})

	return c
}

func (s *session) repair() *cobra.Command {
	return s.acting("repair NAME", "Bring back what drifted", (*client.Client).Repair)
}

func (s *session) verify() *cobra.Command {
	return s.acting("verify NAME", "Prove a deployment with a probe job", (*client.Client).Verify)
}

// acting is a command that begins an operation and needs nothing but a name.
func (s *session) acting(use, short string, act func(*client.Client, context.Context, string, client.ChangeOptions) (*client.Operation, error)) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: arguments, ValidArgsFunction: s.names}
	leave := waiting(c)

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		op, err := act(api, ctx, args[0], client.ChangeOptions{})
		if err != nil {
			return err
		}

		return s.begun(ctx, api, op, *leave, client.Succeeded)
	})

	return c
}

// id is what an operation's id looks like: the deployment's name, a hyphen, and 26 characters that no name has room for.
var id = regexp.MustCompile(`^.+-[0-9a-z]{26}$`)

// operation finds what an argument means: an operation by its id, or a deployment's last one.
func (s *session) operation(ctx context.Context, api *client.Client, arg string) (string, error) {
	if id.MatchString(arg) {
		return arg, nil
	}

	d, err := api.DeletedDeployment(ctx, arg)
	if err != nil {
		return "", err
	}

	return d.Operation, nil
}

func (s *session) watch() *cobra.Command {
	c := &cobra.Command{
		Use: "watch NAME|OPERATION", Short: "Watch an operation, or a deployment's last one, until it is done", Args: arguments, ValidArgsFunction: s.names,
	}

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		which, err := s.operation(ctx, api, args[0])
		if err != nil {
			return err
		}

		op, err := api.Operation(ctx, which)
		if err != nil {
			return err
		}

		return s.follow(ctx, api, op, client.Succeeded)
	})

	return c
}

func (s *session) cancel() *cobra.Command {
	return s.steering("cancel NAME|OPERATION", "Stop an operation and roll it back", client.RolledBack,
		func(ctx context.Context, api *client.Client, id string, _ []string) (*client.Operation, error) {
			return api.Cancel(ctx, id)
		})
}

func (s *session) resume() *cobra.Command {
	return s.steering("resume NAME|OPERATION", "Go on with an operation that needs attention", client.Succeeded,
		func(ctx context.Context, api *client.Client, id string, _ []string) (*client.Operation, error) {
			return api.Resume(ctx, id)
		})
}

func (s *session) skip() *cobra.Command {
	return s.steering("skip NAME|OPERATION RESOURCE", "Leave one resource behind on purpose, and go on; admins only", client.Succeeded,
		func(ctx context.Context, api *client.Client, id string, args []string) (*client.Operation, error) {
			return api.Skip(ctx, id, args[1])
		})
}

func (s *session) steering(
	use, short string, wanted client.OperationState, act func(context.Context, *client.Client, string, []string) (*client.Operation, error),
) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: arguments, ValidArgsFunction: s.names}
	leave := waiting(c)

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		which, err := s.operation(ctx, api, args[0])
		if err != nil {
			return err
		}

		// What is at work already is answered as it stands, with no sign that nothing was begun. Who waits sees it anyway.
		already := false

		if *leave && s.output == "text" {
			before, err := api.Operation(ctx, which)
			if err != nil {
				return err
			}

			already = !before.Done && (wanted == client.Succeeded || before.State == client.RollingBack)
		}

		op, err := act(ctx, api, which, args)
		if err != nil {
			return &located{err, places{"/resource": "RESOURCE"}}
		}

		if already {
			fmt.Fprintf(s.Out, "The operation %s goes on already: %s; watch it: %s watch %s\n", op.ID, op.State, Name, op.ID)

			return nil
		}

		return s.begun(ctx, api, op, *leave, wanted)
	})

	return c
}
