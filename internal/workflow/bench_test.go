package workflow_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// part is a kind whose verbs a test writes; by default everything is ready and gone at once. Its calls are counted.
type part struct {
	about                   kind.About
	items                   []kind.Item
	plan                    func(deploy.Spec) []kind.Item // where the spec matters
	ensure, remove          func(ctx context.Context, c *kind.Call) (kind.Result, error)
	observe                 func(ctx context.Context, c *kind.Call) (kind.Observation, error)
	findings                []deploy.Finding
	checking                error
	ensured, gone, observed int
}

func (p *part) About() kind.About               { return p.about }
func (p *part) calls() (ensured, gone, obs int) { return p.ensured, p.gone, p.observed }

func (p *part) Plan(spec deploy.Spec) []kind.Item {
	if p.plan != nil {
		return p.plan(spec)
	}

	return p.items
}

func (p *part) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	p.ensured++

	if p.ensure != nil {
		return p.ensure(ctx, c)
	}

	return kind.Result{Done: true, ID: "id-" + string(c.Ref), ARN: "arn-" + string(c.Ref), Outputs: map[string]string{"name": string(c.Ref)}}, nil
}

func (p *part) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	p.gone++

	if p.remove != nil {
		return p.remove(ctx, c)
	}

	return kind.Result{Done: true}, nil
}

func (p *part) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	p.observed++

	if p.observe != nil {
		return p.observe(ctx, c)
	}

	return kind.Observation{State: kind.Ready}, nil
}

func (p *part) Check(context.Context, *kind.Call) ([]deploy.Finding, error) {
	return p.findings, p.checking
}

// engine plays Step Functions: it remembers what was started.
type engine struct {
	mu      sync.Mutex
	started []workflow.Execution
	alive   map[workflow.Execution]bool
	broken  error
	// told, where set, hears of each start.
	told func()
}

func (e *engine) Start(_ context.Context, x workflow.Execution) error {
	e.mu.Lock()
	defer e.mu.Unlock()

	if e.broken != nil {
		return e.broken
	}

	e.started = append(e.started, x)
	e.alive[x] = true

	if e.told != nil {
		e.told()
	}

	return nil
}

func (e *engine) Alive(_ context.Context, x workflow.Execution) (alive, known bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()

	alive, known = e.alive[x]

	return alive, known, e.broken
}

// bench is the whole engine over a few made-up kinds: net <- env <- queue, role <- env, and beside them a bucket and something shared. A net goes only
// after the queues too, which do not need it.
type bench struct {
	*memory.Store
	net, role, env, queue, bucket, shared *part

	conductor *workflow.Conductor
	worker    *workflow.Worker
	control   *workflow.Control
	dog       *workflow.Watchdog
	engine    *engine
}

const (
	operation = "research-1"
	ensuring  = 10 * time.Minute
	removing  = 20 * time.Minute
)

func key() deploy.Key { return deploy.Key{Tenant: "acme", Name: "research"} }

func ada() deploy.Principal {
	return deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}
}

func about(name, family string, takes time.Duration, needs ...string) kind.About {
	return kind.About{
		Name: name, Doc: "A " + name + ".", Family: family, Needs: needs,
		Ensuring: kind.Timing{Typical: takes, Deadline: ensuring}, Removing: kind.Timing{Typical: takes, Deadline: removing},
	}
}

func kinds() (b bench, all kind.Registry) {
	b.net = &part{about: about("net", "ec2", 10*time.Second), items: []kind.Item{{Ref: "net", Fixed: "10.0.0.0/16"}}}
	b.net.about.RemoveAfter = []string{"queue"}
	b.role = &part{about: about("role", "iam", time.Second), items: []kind.Item{{Ref: "role"}}}
	b.env = &part{about: about("env", "batch", 5*time.Second, "net", "role"), items: []kind.Item{
		{Ref: "env/a", Needs: []deploy.Ref{"net", "role"}}, {Ref: "env/b", Needs: []deploy.Ref{"net", "role"}},
	}}
	b.queue = &part{about: about("queue", "batch", 5*time.Second, "env"), items: []kind.Item{{Ref: "queue/q", Needs: []deploy.Ref{"env/a", "env/b"}}}}
	b.env.about.Many, b.queue.about.Many = true, true
	b.bucket = &part{about: about("bucket", "s3", time.Second), items: []kind.Item{{Ref: "bucket"}}}
	b.shared = &part{about: about("linked-role", "iam", time.Second), items: []kind.Item{{Ref: "linked-role"}}}
	b.shared.about.Shared = true

	return b, kind.Registry{b.bucket, b.role, b.shared, b.net, b.env, b.queue}
}

// newBench makes a bench whose store is empty. It is to be made inside a synctest bubble: everything waits in virtual time.
func newBench(t *testing.T) *bench {
	t.Helper()

	b, all := kinds()

	graphs, err := workflow.NewGraphs(all)
	if err != nil {
		t.Fatal(err)
	}

	ids := 0
	log, clock := slog.New(slog.DiscardHandler), workflow.WallClock{}
	place := workflow.Place{Installation: "test", Partition: "aws", Account: "123456789012", Region: "us-east-1", Boundary: "arn:boundary"}

	b.Store, b.engine = memory.New(), &engine{alive: map[workflow.Execution]bool{}}
	b.conductor = &workflow.Conductor{Store: b.Store, Graphs: graphs, Clock: clock, Log: log}
	b.worker = &workflow.Worker{Store: b.Store, Kinds: all, Place: place, Clock: clock, Log: log}
	b.dog = &workflow.Watchdog{Store: b.Store, Graphs: graphs, Starter: b.engine, Place: place, Clock: clock, Log: log}
	b.control = &workflow.Control{
		Store: b.Store, Graphs: graphs, Starter: b.engine, Place: place, Clock: clock, Grants: b.Store, Log: log,
		NewID: func() string { ids++; return strconv.Itoa(ids) },
		Quota: func(_ context.Context, _, _ string, otherwise int) int { return otherwise },
	}

	return &b
}

// input is what a state of the current execution hands to its function.
func input(verb workflow.Verb, resource deploy.Ref) workflow.Input {
	return workflow.Input{Verb: verb, Execution: execution(1), Resource: resource}
}

func execution(epoch int) workflow.Execution {
	return workflow.Execution{Installation: "test", Tenant: "acme", Deployment: "research", Operation: operation, Epoch: epoch}
}

// header is a deployment in the middle of a create.
func header() deploy.Deployment {
	return deploy.Deployment{
		Key: key(), Phase: deploy.PhaseCreating, Account: "123456789012", Region: "us-east-1", Operation: operation, Epoch: 1, Unfinished: true,
		CheckTime: time.Now().Add(time.Minute), UpdateTime: time.Now(),
	}
}

// put writes a record: an operation in a state, and resources. The changes are made to the header and operation before.
func (b *bench) put(t *testing.T, k deploy.OperationKind, s deploy.OperationState, resources []deploy.Resource, changes ...func(*deploy.Deployment, *deploy.Operation)) {
	t.Helper()

	h := header()
	op := deploy.Operation{ID: operation, Key: key(), Kind: k, State: s, Data: deploy.IfEmpty, Actor: "ada", CreateTime: time.Now()}

	if k == deploy.Delete {
		h.Phase = deploy.PhaseDeleting
	}

	for _, change := range changes {
		change(&h, &op)
	}

	if err := b.Commit(t.Context(), key(), &store.Change{Deployment: &h, Operations: []deploy.Operation{op}, Resources: resources}); err != nil {
		t.Fatal(err)
	}
}

// record reads what is known.
func (b *bench) record(t *testing.T) *store.Record {
	t.Helper()

	r, err := b.Load(t.Context(), key())
	if err != nil {
		t.Fatal(err)
	}

	return r
}

// resource reads what is known of one resource.
func (b *bench) resource(t *testing.T, ref deploy.Ref) deploy.Resource {
	t.Helper()

	return b.during(t.Context(), t, ref)
}

// during reads what is known of one resource in the middle of a call.
func (b *bench) during(ctx context.Context, t *testing.T, ref deploy.Ref) deploy.Resource {
	t.Helper()

	record, err := b.Load(ctx, key())
	if err != nil {
		t.Fatal(err)
	}

	r := record.Find(ref)
	if r == nil {
		t.Fatalf("the record does not know %s", ref)
	}

	return *r
}

// fresh is a resource as Begin of a create leaves it.
func fresh(ref deploy.Ref, needs ...deploy.Ref) deploy.Resource {
	return deploy.Resource{Ref: ref, Needs: needs, Operation: operation, Epoch: 1, Ensure: &deploy.Step{State: deploy.StepPending}}
}

// made is a resource that the current operation has made.
func made(ref deploy.Ref, needs ...deploy.Ref) deploy.Resource {
	return deploy.Resource{
		Ref: ref, Needs: needs, Operation: operation, Epoch: 1, Origin: deploy.Made, MadeBy: operation, Intent: time.Now(), ID: "id-" + string(ref),
		Ensure: &deploy.Step{State: deploy.StepReady, Attempts: 1, StartTime: time.Now(), EndTime: time.Now()},
	}
}

// going is a resource as Begin of a delete leaves it.
func going(ref deploy.Ref, needs ...deploy.Ref) deploy.Resource {
	r := made(ref, needs...)
	r.MadeBy, r.Ensure, r.Remove = "research-0", nil, &deploy.Step{State: deploy.StepPending}

	return r
}

// but returns the resource with changes.
func but(r deploy.Resource, change func(*deploy.Resource)) deploy.Resource {
	change(&r)

	return r
}

// told is the signal's name, "" for success, and the error's text for what is no signal.
func told(err error) workflow.SignalName {
	if err == nil {
		return ""
	}

	if s, ok := errors.AsType[*workflow.Signal](err); ok {
		return s.Name
	}

	return workflow.SignalName(err.Error())
}
