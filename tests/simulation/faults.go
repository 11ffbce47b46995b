package simulation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
)

// Action is how a point breaks.
type Action string

// The actions. A new one gets a line in Faults, and is thereby tried at every point where it can happen; see docs/simulation.md.
const (
	None         Action = ""
	CrashBefore  Action = "crash-before"
	CrashAfter   Action = "crash-after"
	LoseAnswer   Action = "lose-answer"
	Throttle     Action = "throttle"
	ServerError  Action = "server-error"
	Refuse       Action = "refuse"
	Pause        Action = "pause"
	Twice        Action = "twice"
	TwiceLater   Action = "twice-later"
	Outage       Action = "outage"
	Deny         Action = "deny"
	Exhaust      Action = "exhaust"
	Fatal        Action = "fatal"
	Stop         Action = "stop"
	Expire       Action = "expire"
	Conflict     Action = "conflict"
	ClockForward Action = "clock-forward"
	ClockBack    Action = "clock-back"
	Vanish       Action = "vanish"
	Touch        Action = "touch"
)

// Fault is a kind of fault.
type Fault struct {
	Action Action
	// Why says what happens in the real world.
	Why string
	// At tells whether it can happen at a point.
	At func(Point) bool
	// Excuses: after it a create may be rolled back and a removal may need another try. Every other fault passes, and must not be noticed.
	Excuses bool
}

// Faults lists the kinds of faults.
func Faults() []Fault {
	anywhere := func(Point) bool { return true }
	ofAWS := func(p Point) bool { return p.Service != "store" && p.Service != "sfn" }
	first := func(p Point) bool { return p.Step() && p.Call() == "store.Load" }
	inStep := func(p Point) bool { return p.Step() }
	writes := func(p Point) bool { return p.Service == "store" && (p.Operation == "Save" || p.Operation == "Commit") }

	return []Fault{
		{CrashBefore, "the process dies before a call", anywhere, false},
		{CrashAfter, "the process dies after a call", anywhere, false},
		{LoseAnswer, "the answer of a call is lost", anywhere, false},
		{Throttle, "a call is throttled", anywhere, false},
		{ServerError, "a service stumbles", anywhere, false},
		{Refuse, "AWS refuses a call for good", ofAWS, true},
		{Pause, "the process stands still before a call for five minutes, and goes on when its time is over and nobody counts on it any more", inStep, false},
		{Twice, "an invocation is delivered twice at once", first, false},
		{TwiceLater, "an invocation is delivered again minutes later", first, false},
		{Outage, "the table answers nobody for 30 s", func(p Point) bool { return p.Service == "store" }, false},
		{Deny, "a service denies everything for ten minutes", ofAWS, true},
		{Exhaust, "a quota is used up for ten minutes", func(p Point) bool { return ofAWS(p) && strings.HasPrefix(p.Operation, "Create") }, true},
		{Expire, "the credentials have expired, and are renewed after a minute", ofAWS, false},
		{Conflict, "somebody else writes just before a write", writes, false},
		{Fatal, "the execution ends in a way that no Catch sees", first, false},
		{Stop, "somebody stops the execution", first, false},
		{ClockForward, "the functions' clock is an hour ahead for a minute", first, true},
		{ClockBack, "the functions' clock is an hour behind for a minute", first, true},
		{Vanish, "somebody removes a resource by hand", first, true},
		{Touch, "somebody puts a tag of their own on a resource by hand, which must stay", first, false},
	}
}

// FaultOf finds an action's line.
func FaultOf(a Action) Fault {
	all := Faults()

	return all[slices.IndexFunc(all, func(f Fault) bool { return f.Action == a })]
}

// Point is a call of a function: who makes it (verb and resource, api or watchdog), what it calls, and how often it did so before.
type Point struct{ Who, Service, Operation, Number string }

// ParsePoint reads what World.Points lists.
func ParsePoint(text string) Point {
	text, number, _ := strings.Cut(text, " #")
	cut := strings.LastIndex(text, " ")
	service, operation, _ := strings.Cut(text[cut+1:], ".")

	return Point{Who: text[:cut], Service: service, Operation: operation, Number: number}
}

// Call is what is called.
func (p Point) Call() string { return p.Service + "." + p.Operation }

// Step tells whether a state of the machine makes the call.
func (p Point) Step() bool { return p.Who != "api" && p.Who != "watchdog" }

// Secret is planted in errors that did not come from AWS; it must turn up nowhere.
const Secret = "planted-and-to-be-seen-nowhere"

// standing is a fault that lasts.
type standing struct {
	until time.Time
	// service and prefix say which calls: those of the service whose operation begins so.
	service, prefix string
	action          Action
}

// stands tells how a call breaks because of a fault that lasts. The caller holds the lock.
func (w *World) stands(service, operation string) Action {
	now := time.Now()

	for _, s := range w.standing {
		if now.Before(s.until) && s.service == service && strings.HasPrefix(operation, s.prefix) {
			return s.action
		}
	}

	return None
}

// both is what happens to a call that breaks because of a fault that lasts, and at which another one happens: it is not carried out.
func both(lasting, now Action) Action {
	switch {
	case lasting != None && now == CrashAfter:
		return CrashBefore
	case lasting != None && (now == None || now == LoseAnswer):
		return lasting
	default:
		return now
	}
}

// Stand lets the calls of a service whose operations begin with a prefix break for a time.
func (w *World) Stand(service, prefix string, how Action, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.standing = append(w.standing, standing{time.Now().Add(d), service, prefix, how})
}

// Lift ends the faults that last.
func (w *World) Lift() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.standing = nil
}

// effect does what an action does beyond its call, and answers what is left to do to the call itself.
func (w *World) effect(ctx context.Context, in *invocation, a Action, service string) Action {
	switch a {
	case Pause:
		time.Sleep(5 * time.Minute)
	case Twice:
		w.again(ctx, in, 0)
	case TwiceLater:
		w.again(ctx, in, 3*time.Minute)
	case Outage:
		w.Stand("store", "", ServerError, 30*time.Second)

		return ServerError
	case Deny:
		w.Stand(service, "", Refuse, 10*time.Minute)

		return Refuse
	case Exhaust:
		w.Stand(service, "Create", Exhaust, 10*time.Minute)

		return Exhaust
	case Expire:
		w.Stand(service, "", Expire, time.Minute)

		return Expire
	case Fatal:
		in.fatal = true
	case Stop:
		w.mu.Lock()
		if r := w.executions[in.execution]; r != nil {
			r.cancel()
		}
		w.mu.Unlock()
	case ClockForward:
		w.shift(time.Hour)
	case ClockBack:
		w.shift(-time.Hour)
	case Vanish:
		w.vanish()
	case Touch:
		w.touch()
	case Throttle:
		w.mu.Lock()
		w.cost.Throttled++
		w.mu.Unlock()

		return a
	case CrashBefore, CrashAfter:
		// The checks before a create run side by side, and so do the watchdog's looks: nobody could recover what one of them throws.
		if in.who == "watchdog" || in.who == "api" && service != "store" && service != "sfn" {
			w.mu.Lock()
			in.dead = true
			w.mu.Unlock()

			if a == CrashAfter {
				return LoseAnswer
			}

			return ServerError
		}

		return a
	case None, LoseAnswer, ServerError, Refuse, Conflict:
		return a
	}

	return None
}

// again delivers an invocation once more. Nobody waits for its answer.
func (w *World) again(ctx context.Context, in *invocation, later time.Duration) {
	ctx = context.WithValue(context.Background(), executionKey{}, ctx.Value(executionKey{}))

	w.wait.Go(func() {
		time.Sleep(later)

		_, _ = w.invoke(ctx, in.function, in.payload)
	})
}

func (w *World) shift(by time.Duration) {
	w.mu.Lock()
	w.skew += by
	w.mu.Unlock()

	w.wait.Go(func() {
		time.Sleep(time.Minute)

		w.mu.Lock()
		w.skew -= by
		w.mu.Unlock()
	})
}

// vanish takes away one of the deployment's resources.
func (w *World) vanish() {
	id := w.any()
	if id == "" {
		return
	}

	w.AWS.Vanish(id)
	w.untouched() // what goes along with it, under a name that may come again, is not to be looked for

	w.mu.Lock()
	w.taken = append(w.taken, id)
	w.mu.Unlock()
}

// touched is the tag of somebody who is not us.
const touched = "touched-by"

func (w *World) touch() {
	id := w.any()
	if id == "" {
		return
	}

	w.AWS.Tag(id, touched, "hand")

	w.mu.Lock()
	w.touched = append(w.touched, id)
	w.mu.Unlock()
}

// untouched is a thing that is there without the tag that somebody put on it, or nothing. What is gone is forgotten: another may come under its name.
func (w *World) untouched() string {
	all := w.AWS.Inventory()

	w.mu.Lock()
	defer w.mu.Unlock()

	w.touched = slices.DeleteFunc(w.touched, func(id string) bool { return all[id] == nil })

	for _, id := range w.touched {
		if all[id][touched] == "" {
			return id
		}
	}

	return ""
}

// any is one of the deployment's resources, another one in each seed.
func (w *World) any() string {
	var ids []string

	for id, tags := range w.AWS.Inventory() {
		if ours(tags) {
			ids = append(ids, id)
		}
	}

	if len(ids) == 0 {
		return ""
	}

	slices.Sort(ids)

	w.mu.Lock()
	defer w.mu.Unlock()

	return ids[w.jitter.IntN(len(ids))]
}

func (w *World) vanished(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Contains(w.taken, id)
}

// broken is the error of an action as the caller sees it.
func broken(a Action) error {
	switch a {
	case LoseAnswer:
		return errors.New(`Post "https://example.com/?X-Amz-Security-Token=` + Secret + `": read: connection reset by peer`)
	case Refuse:
		return &smithy.GenericAPIError{Code: "AccessDenied", Message: "a service control policy forbids it", Fault: smithy.FaultClient}
	case Expire:
		return &smithy.GenericAPIError{Code: "ExpiredToken", Message: "The security token included in the request is expired", Fault: smithy.FaultClient}
	case Conflict:
		return store.ErrStale
	case Throttle:
		return &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded", Fault: smithy.FaultClient}
	case ServerError:
		return &smithy.GenericAPIError{Code: "InternalError", Message: "we are sorry", Fault: smithy.FaultServer}
	default:
	}

	return nil
}

// usedUp is how a service says that a quota is used up. EC2 user guide, "Error codes"; IAM API reference, "Common errors"; S3 API reference, "Error responses";
// Batch has one code for all that it refuses.
func usedUp(c awsfake.Call) error {
	code, message := "LimitExceeded", "You have reached your limit"

	switch c.Service {
	case "ec2":
		code = strings.TrimPrefix(c.Operation, "Create") + "LimitExceeded"
	case "s3":
		code = "TooManyBuckets"
	case "batch":
		code, message = "ClientException", "Limit of resources exceeded"
	}

	return &smithy.GenericAPIError{Code: code, Message: message, Fault: smithy.FaultClient}
}

func (w *World) breakAWS(a Action, c awsfake.Call) awsfake.Fault {
	switch a {
	case Exhaust:
		return awsfake.Fault{Before: usedUp(c)}
	case CrashBefore:
		panic(crash{})
	case CrashAfter:
		return awsfake.Fault{After: func() { panic(crash{}) }}
	case LoseAnswer:
		return awsfake.Fault{Lost: broken(a)}
	default:
		return awsfake.Fault{Before: broken(a)}
	}
}

func (w *World) breakStore(a Action) memory.Fault {
	switch a {
	case CrashBefore:
		panic(crash{})
	case CrashAfter:
		return memory.Fault{After: func() { panic(crash{}) }}
	case LoseAnswer:
		return memory.Fault{Lost: broken(a)}
	default:
		return memory.Fault{Before: broken(a)}
	}
}
