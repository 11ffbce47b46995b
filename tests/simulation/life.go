package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Life is what callers do to a deployment, one thing after the other. Each step says what must have come of it.
type Life func(ctx context.Context, c *caller) error

// Lives lists them by name. After each, the name is free and nothing is left but what the life says.
func Lives() map[string]Life {
	lives := map[string]Life{
		"purge": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.becomes(deploy.PhaseActive), c.write, c.delete(deploy.Purge), c.becomes(deploy.PhaseDeleted))
		},
		"rollback": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.ban("batch", "CreateJobQueue"), c.create, c.becomes(deploy.PhaseFailed), c.nothing, c.lift)
		},
		// The first thing that the others of its chain need cannot be made: they are skipped, which the recorder writes down.
		"rollback-chain": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.ban("ec2", "CreateInternetGateway"), c.create, c.becomes(deploy.PhaseFailed), c.nothing, c.lift)
		},
		"keep": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.becomes(deploy.PhaseActive), c.write, c.delete(deploy.Keep), c.becomes(deploy.PhaseDeleted), c.only("bucket"), c.read,
				c.create, c.becomes(deploy.PhaseActive), c.read)
		},
		"regret": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.becomes(deploy.PhaseActive), c.write, c.delete(deploy.Keep), c.becomes(deploy.PhaseDeleted), c.only("bucket"), c.read,
				c.ban("batch", "CreateJobQueue"), c.create, c.becomes(deploy.PhaseFailed), c.only("bucket"), c.read, c.lift)
		},
		"resume": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.becomes(deploy.PhaseActive), c.ban("iam", "DeleteRole"), c.delete(deploy.Purge), c.becomes(deploy.PhaseNeedsAttention),
				c.lift, c.resume, c.becomes(deploy.PhaseDeleted))
		},
		"resume-rollback": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.ban("batch", "CreateJobQueue"), c.ban("ec2", "DeleteSecurityGroup"), c.create, c.becomes(deploy.PhaseNeedsAttention),
				c.lift, c.resume, c.becomes(deploy.PhaseFailed), c.nothing)
		},
		"skip": func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.becomes(deploy.PhaseActive), c.ban("ec2", "DeleteLaunchTemplate"), c.delete(deploy.Purge),
				c.becomes(deploy.PhaseNeedsAttention), c.skip("launch-template/default"), c.becomes(deploy.PhaseDeleted), c.only("launch-template/default"), c.sweep, c.lift)
		},
	}

	maps.Copy(lives, Changing())

	for _, seconds := range []int{0, 2, 5, 10, 20, 30, 40} {
		moment := time.Duration(seconds) * time.Second

		lives[fmt.Sprintf("supersede-%d", seconds)] = func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.wait(moment), c.delete(deploy.Purge), c.becomes(deploy.PhaseDeleted))
		}
		lives[fmt.Sprintf("cancel-%d", seconds)] = func(ctx context.Context, c *caller) error {
			return c.steps(ctx, c.create, c.wait(moment), c.cancel, c.becomes(deploy.PhaseFailed), c.nothing)
		}
	}

	return lives
}

// object is what the owner of a deployment keeps in its bucket.
const object = "flows/1/data"

// caller is the owner of a deployment, who repeats a call until it is answered, as clients do.
type caller struct {
	w           *World
	excused     bool
	undisturbed *Report
	// late: the API did not answer at first, and the caller came again later.
	late bool

	before    map[string]map[string]string
	foreign   map[string]string
	answers   map[string]string // by idempotency key
	operation string
	changes   int
	bucket    string
	wrote     bool // there is data
	purged    bool // it was to be deleted
	gone      bool // somebody else removed the data
	finals    []string
	makespans []float64
	costs     []Cost // so far, at the end of each operation
}

type step func(ctx context.Context) error

// errElsewhere: an excused fault, or a caller who was heard too late, led the life elsewhere. What is left of it is a delete.
var errElsewhere = errors.New("went elsewhere")

func (c *caller) key() deploy.Key { return deploy.Key{Tenant: "acme", Name: "research"} }

func (c *caller) who() deploy.Principal {
	return deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Admin}}
}

// live runs a life to its end and beyond: the deployment is purged, and the account must be as it was.
func (c *caller) live(ctx context.Context, life Life) error {
	c.answers = map[string]string{}

	owner := deploy.Owner{
		Installation: installation, Partition: c.w.AWS.Partition, Account: c.w.AWS.Account, Region: c.w.AWS.Region, Tenant: "acme", Name: "research",
	}

	var err error
	if c.foreign, err = c.w.plant(ctx, owner); err != nil {
		return fmt.Errorf("plant what is others': %w", err)
	}

	// What is others' is long there.
	time.Sleep(2 * time.Minute)

	c.before = c.w.AWS.Inventory()

	if c.foreign = c.w.AWS.Settings(); len(c.foreign) < 6 {
		return fmt.Errorf("only %d things of others were planted", len(c.foreign))
	}

	if err := life(ctx, c); err != nil && !errors.Is(err, errElsewhere) {
		return err
	}

	// Wherever it went: data stays until somebody asks for its end.
	if c.wrote && !c.purged {
		if err := c.read(ctx); err != nil {
			return err
		}
	}

	if err := c.steps(ctx, c.lift, c.end, c.nothing); err != nil {
		return err
	}

	return c.laws(ctx)
}

func (c *caller) steps(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if err := s(ctx); err != nil {
			return err
		}
	}

	return nil
}

// laws are what holds at any time.
func (c *caller) laws(ctx context.Context) error {
	// A tenth of what Step Functions allows: 25,000 events a history. The largest payload is 256 KiB there.
	if cost := c.w.Cost(); cost.Events > 2_500 || cost.Largest > 8<<10 {
		return fmt.Errorf("an execution had %d events, and a payload of %d bytes", cost.Events, cost.Largest)
	}

	if wrong := c.w.Violations(); len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "\n"))
	}

	if changed := c.w.unplanted(c.foreign); changed != "" {
		return fmt.Errorf("what is not ours was touched: %s", changed)
	}

	record, err := c.w.Store.Load(ctx, c.key())
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}

	text, err := json.Marshal(record)
	if err != nil {
		return err
	}

	c.w.mu.Lock()
	logs := c.w.logs.String()
	c.w.logs.Reset()
	c.w.mu.Unlock()

	told, err := c.told(ctx)
	if err != nil {
		return err
	}

	for where, text := range map[string]string{"the record": string(text), "the log": logs, "the events or the audit trail": told} {
		if i := strings.Index(text, Secret); i >= 0 {
			return fmt.Errorf("a secret is in %s: %s", where, text[max(0, i-200):min(len(text), i+60)])
		}
	}

	return nil
}

// told is everything that was said of the deployment to those who listen, and what is kept of who asked.
func (c *caller) told(ctx context.Context) (string, error) {
	events, err := c.w.Store.Events(ctx, c.key())
	if err != nil {
		return "", err
	}

	entries, _, _, err := c.w.Store.Entries(ctx, c.key().Tenant, "", 1000, "")
	if err != nil {
		return "", err
	}

	text, err := json.Marshal([]any{events, entries})

	return string(text), err
}

// repeat calls the API until it answers. A client gives up after twenty minutes.
func (c *caller) repeat(ctx context.Context, call func(context.Context) (workflow.Admitted, error)) (admitted workflow.Admitted, err error) {
	for range 40 {
		err = c.w.Call(ctx, "api", func(ctx context.Context) (err error) {
			admitted, err = call(ctx)

			return err
		})
		if err == nil {
			return admitted, nil
		}

		// What has no class is told to nobody but the log.
		if e, ok := errors.AsType[*deploy.Error](err); ok {
			c.w.leaks("an answer of the API", e.Message+e.Remedy)
		}

		if _, exists := errors.AsType[*workflow.Exists](err); exists || errors.Is(err, store.ErrNotFound) {
			return admitted, err
		}

		if e, ok := errors.AsType[*deploy.Error](err); ok && e.Class == deploy.Conflict {
			return admitted, err
		}

		c.late = true

		time.Sleep(30 * time.Second)
	}

	return admitted, fmt.Errorf("the API never answered: %w", err)
}

func (c *caller) create(ctx context.Context) error {
	claim := &store.Claim{Tenant: "acme", Key: fmt.Sprintf("key-%d", len(c.answers)), Fingerprint: "the same"}

	create := func(ctx context.Context) (workflow.Admitted, error) {
		return c.w.Control.Create(ctx, c.who(), workflow.CreateRequest{Name: c.key().Name, Spec: deploy.Spec{}.WithDefaults(), Claim: claim})
	}

	for range 2 {
		admitted, err := c.repeat(ctx, create)
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}

		answer, err := json.Marshal(admitted)
		if err != nil {
			return err
		}

		if first, known := c.answers[claim.Key]; known && first != string(answer) {
			return fmt.Errorf("the same key was answered %s and %s", first, answer)
		}

		c.answers[claim.Key], c.operation = string(answer), admitted.Operation.ID
	}

	return nil
}

func (c *caller) delete(data deploy.Data) step {
	return func(ctx context.Context) error {
		c.purged = c.purged || data == deploy.Purge

		admitted, err := c.repeat(ctx, func(ctx context.Context) (workflow.Admitted, error) {
			return c.w.Control.Delete(ctx, c.who(), workflow.DeleteRequest{Name: c.key().Name, Data: data})
		})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}

		c.operation = admitted.Operation.ID

		return nil
	}
}

func (c *caller) steer(ctx context.Context, call func(context.Context, deploy.Principal, workflow.SteerRequest) (workflow.Admitted, error), ref deploy.Ref) error {
	_, err := c.repeat(ctx, func(ctx context.Context) (workflow.Admitted, error) {
		return call(ctx, c.who(), workflow.SteerRequest{Name: c.key().Name, Operation: c.operation, Resource: ref})
	})

	// A repetition whose first answer was lost may find the operation over.
	if over(err) {
		return nil
	}

	return err
}

func over(err error) bool {
	e, ok := errors.AsType[*deploy.Error](err)

	return ok && (e.Class == deploy.Conflict || e.Code == "nothing_to_skip")
}

// cancel comes too late where a fault, or a gust, kept the caller until the create was done.
func (c *caller) cancel(ctx context.Context) error {
	c.late = false

	_, err := c.repeat(ctx, func(ctx context.Context) (workflow.Admitted, error) {
		return c.w.Control.Cancel(ctx, c.who(), workflow.SteerRequest{Name: c.key().Name, Operation: c.operation})
	})
	if !over(err) {
		return err
	}

	record, err := c.w.Store.Load(ctx, c.key())
	if err == nil && record.Operation.State == deploy.Succeeded && (c.late || c.undisturbed != nil) {
		return errElsewhere
	}

	if err == nil && record.Operation.State == deploy.NeedsAttention && (c.late || c.undisturbed != nil) {
		return nil // it got stuck before it could be cancelled
	}

	return err
}

func (c *caller) resume(ctx context.Context) error { return c.steer(ctx, c.w.Control.Resume, "") }

func (c *caller) skip(ref deploy.Ref) step {
	return func(ctx context.Context) error { return c.steer(ctx, c.w.Control.Skip, ref) }
}

func (c *caller) wait(d time.Duration) step {
	return func(context.Context) error {
		time.Sleep(d)

		return nil
	}
}

func (c *caller) ban(service, operation string) step {
	return func(context.Context) error {
		c.w.Stand(service, operation, Refuse, 240*time.Hour)

		return nil
	}
}

func (c *caller) lift(context.Context) error {
	c.w.Lift()

	return nil
}

// becomes lets the operation end and holds the end against the phase that it must have, and against the undisturbed world's.
func (c *caller) becomes(phase deploy.Phase) step {
	return func(ctx context.Context) error {
		header, err := c.w.Settle(ctx, c.key())
		if err != nil {
			return err
		}

		record, err := c.w.Store.Load(ctx, c.key())
		if err != nil {
			return err
		}

		if op := record.Operation; !op.EndTime.IsZero() {
			c.makespans = append(c.makespans, op.EndTime.Sub(op.CreateTime).Seconds())
			c.costs = append(c.costs, c.w.Cost())
		}

		if header.Phase == deploy.PhaseNeedsAttention {
			if !slices.ContainsFunc(record.Operation.Steps, func(s deploy.NamedStep) bool {
				return s.Action == deploy.Remove && (s.State == deploy.StepFailed || s.State == deploy.StepSkipped)
			}) && record.Operation.Error == nil {
				return errors.New("NEEDS_ATTENTION lists no residue")
			}

			if id := c.unlisted(record); id != "" {
				return fmt.Errorf("NEEDS_ATTENTION does not list %s, which is there", id)
			}
		}

		if id := c.w.untouched(); id != "" {
			return fmt.Errorf("somebody's tag on %s is gone", id)
		}

		if header.Phase == deploy.PhaseActive {
			if twice := c.w.doubled(); len(twice) > 0 {
				return fmt.Errorf("made twice: %v", twice)
			}
		}

		if header.Phase != phase {
			if c.excused {
				return errElsewhere
			}

			return fmt.Errorf("became %s, not %s", header.Phase, phase)
		}

		for id := range c.w.AWS.Inventory() {
			if name, ok := strings.CutPrefix(id, "s3 "); ok && name != "theirs" {
				c.bucket = name
			}
		}

		if c.excused {
			return nil
		}

		c.finals = append(c.finals, c.w.end(record, c.foreign))

		if u := c.undisturbed; u != nil && len(u.Ends) >= len(c.finals) && u.Ends[len(c.finals)-1] != c.finals[len(c.finals)-1] {
			return fmt.Errorf("another end than undisturbed:\n%s", difference(u.Ends[len(c.finals)-1], c.finals[len(c.finals)-1]))
		}

		return nil
	}
}

// unlisted is a thing that a removal left and that no step says so of, or nothing.
func (c *caller) unlisted(record *store.Record) string {
	// Others let stand what was there, and so does a create that got stuck with its probe.
	rolls := func(r deploy.Resource) bool { return r.Remove != nil && r.Ref != "probe" }
	if k := record.Operation.Kind; k != deploy.Delete && (k != deploy.Create || !slices.ContainsFunc(record.Resources, rolls)) {
		return ""
	}

	after := c.w.AWS.Inventory()

	for _, id := range c.w.left(c.before) {
		r := record.Find(deploy.Ref(after[id][deploy.TagResource]))
		if r == nil || !r.Kept && (r.Remove == nil || r.Remove.State == deploy.StepGone) {
			return id
		}
	}

	return ""
}

// difference shows the lines that only one of two texts has.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")

	var out []string

	for _, l := range x {
		if !slices.Contains(y, l) {
			out = append(out, "- "+l)
		}
	}

	for _, l := range y {
		if !slices.Contains(x, l) {
			out = append(out, "+ "+l)
		}
	}

	return strings.Join(out, "\n")
}

// write puts an object into the deployment's bucket.
func (c *caller) write(ctx context.Context) error {
	_, err := c.w.AWS.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(c.bucket), Key: aws.String(object)})
	if err != nil && c.excused {
		c.gone = true // the bucket was taken away by hand

		return nil
	}

	c.wrote = err == nil

	return err
}

// read finds the object where it was put.
func (c *caller) read(ctx context.Context) error {
	if c.gone {
		return nil
	}

	out, err := c.w.AWS.S3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String(c.bucket)})
	if err == nil && len(out.Versions) == 1 && aws.ToString(out.Versions[0].Key) == object && len(out.DeleteMarkers) == 0 {
		return nil
	}

	if c.w.vanished("s3 " + c.bucket) {
		return nil
	}

	return fmt.Errorf("the kept data is not there: %w", err)
}

// only lists what of the deployment may be in the account.
func (c *caller) only(refs ...string) step {
	return func(context.Context) error {
		after := c.w.AWS.Inventory()

		for _, id := range c.w.left(c.before) {
			if ref := after[id][deploy.TagResource]; !slices.Contains(refs, ref) {
				return fmt.Errorf("left behind: %s %v", id, after[id])
			}
		}

		return nil
	}
}

func (c *caller) nothing(ctx context.Context) error { return c.only()(ctx) }

// sweep takes what was left behind on purpose away by hand.
func (c *caller) sweep(context.Context) error {
	for _, id := range c.w.left(c.before) {
		c.w.AWS.Vanish(id)
	}

	return nil
}

// end purges the deployment, however it stands. An excused world may need more than one try.
func (c *caller) end(ctx context.Context) error {
	for range 4 {
		if err := c.delete(deploy.Purge)(ctx); err != nil {
			return err
		}

		header, err := c.w.Settle(ctx, c.key())
		if err != nil {
			return err
		}

		if header.Phase == deploy.PhaseDeleted {
			// What an earlier delete kept is asked for by its name no more: a create that is purged takes it along.
			if !c.kept(ctx) {
				return nil
			}

			if err := c.create(ctx); err != nil {
				return err
			}

			continue
		}

		if !c.excused {
			return fmt.Errorf("the last delete ended in %s", header.Phase)
		}

		time.Sleep(20 * time.Minute)
	}

	return errors.New("it cannot be deleted")
}

func (c *caller) kept(ctx context.Context) bool {
	record, err := c.w.Store.Load(ctx, c.key())

	return err == nil && slices.ContainsFunc(record.Resources, func(r deploy.Resource) bool { return r.Kept })
}

// explain says what became of every step.
func (c *caller) explain(ctx context.Context) string {
	c.w.Fault = nil

	record, err := c.w.Store.Load(ctx, c.key())
	if err != nil {
		return err.Error()
	}

	var b strings.Builder

	fmt.Fprintf(&b, "%s %s %s\n", record.Deployment.Phase, record.Operation.Kind, record.Operation.State)

	for _, s := range record.Operation.Steps {
		fmt.Fprintf(&b, "%s %s %s %s", s.Action, s.Resource, s.State, s.WaitingFor)

		if s.Error != nil {
			b.WriteString(" " + s.Error.Error())
		}

		b.WriteString("\n")
	}

	return b.String()
}
