// Package lambdapool plays the Lambda service on this computer: it runs each function's real
// bootstrap executable as a process behind a Runtime API of its own, one process per concurrent
// call, and answers the Invoke API with Lambda's own words for timeouts, exits and errors.
//
// It knows functions and processes. It must not know what the functions do, what a template is,
// or where the calls come from.
package lambdapool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// Lambda's quotas for synchronous payloads: 6 MiB in; the service's own error names 6291556 out.
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	maxRequest  = 6 << 20
	maxResponse = 6291556

	// A process may take this long before it asks for its first event (Lambda's Init phase).
	initLimit = 10 * time.Second

	// A process that nobody called for this long is ended, as Lambda ends idle environments.
	idleLimit = 5 * time.Minute
)

// Function is one Lambda function of one account.
type Function struct {
	// Account and Name identify it; its ARN derives from them and the pool's Region.
	Account string
	Name    string
	// Aliases are the qualifiers by which it can be called, beside $LATEST. All lead to the same code.
	Aliases []string
	// Executable is the bootstrap, Dir the folder it runs in (Lambda's /var/task).
	Executable string
	Dir        string
	// Timeout ends a call; the process that served it is killed.
	Timeout time.Duration
	// MemoryMB is told to the function; it is not enforced.
	MemoryMB int
	// Env is the function's own environment. What Lambda itself sets wins over it.
	Env map[string]string
	// Log is the file that stdout and stderr of its processes are appended to.
	Log string
}

// Options configures a pool.
type Options struct {
	Region string
	// Account is meant when a caller names a function without one and its signature tells none.
	Account string
	// Endpoint is the AWS endpoint the functions are to call.
	Endpoint string
	Logger   *slog.Logger
}

// Result is the outcome of one call that Lambda accepted.
type Result struct {
	RequestID string
	// FunctionError is empty, or "Unhandled", which then makes Payload {errorType, errorMessage}.
	FunctionError string
	Payload       []byte
}

// NotFoundError says that no such function exists.
type NotFoundError struct{ ARN string }

func (e *NotFoundError) Error() string { return "Function not found: " + e.ARN }

// TooLargeError says that the payload is above Lambda's quota.
type TooLargeError struct{ Size int }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%d byte payload is too large for the RequestResponse invocation type (limit %d bytes)", e.Size, maxRequest)
}

// ErrClosed answers calls after Close.
var ErrClosed = errors.New("the pool is closed")

type key struct{ account, name string }

// Pool runs functions. It is safe for concurrent use.
type Pool struct {
	opts Options

	mu        sync.Mutex
	closed    bool
	functions map[key]Function
	idle      map[key][]*process  // last used last
	live      map[string]*process // by access key id
	started   map[key]int         // processes ever started, for the access key's number
	calls     sync.WaitGroup
}

// New returns a pool without functions.
func New(opts Options) *Pool {
	return &Pool{
		opts:      opts,
		functions: map[key]Function{},
		idle:      map[key][]*process{},
		live:      map[string]*process{},
		started:   map[key]int{},
	}
}

// Add makes a function callable. A second Add of the same account and name replaces it for
// processes started from then on.
func (p *Pool) Add(f Function) {
	f.Env = maps.Clone(f.Env)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.functions[key{f.Account, f.Name}] = f
}

// Remove forgets all functions of an account and kills their processes.
func (p *Pool) Remove(account string) {
	p.mu.Lock()
	for k := range p.functions {
		if k.account == account {
			delete(p.functions, k)
			delete(p.idle, k)
		}
	}
	var dying []*process
	for _, pr := range p.live {
		if pr.fn.Account == account {
			dying = append(dying, pr)
		}
	}
	p.mu.Unlock()
	for _, pr := range dying {
		pr.kill()
		<-pr.exited
	}
}

// ARN names a function as Lambda does.
func (p *Pool) ARN(account, name string) string {
	return "arn:aws:lambda:" + p.opts.Region + ":" + account + ":function:" + name
}

// Kill ends the process that owns an access key id and reports whether there was one. The call it
// serves, if any, answers Runtime.ExitError.
func (p *Pool) Kill(accessKeyID string) bool {
	p.mu.Lock()
	pr := p.live[accessKeyID]
	p.mu.Unlock()
	if pr == nil {
		return false
	}
	pr.kill()
	return true
}

// Processes counts the living processes of a function.
func (p *Pool) Processes(account, name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, pr := range p.live {
		if pr.fn.Account == account && pr.fn.Name == name {
			n++
		}
	}
	return n
}

// Close kills every process, waits for the calls in flight to answer and for the processes to end.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	dying := make([]*process, 0, len(p.live))
	for _, pr := range p.live {
		dying = append(dying, pr)
	}
	p.mu.Unlock()
	for _, pr := range dying {
		pr.kill()
	}
	for _, pr := range dying {
		<-pr.exited
	}
	p.calls.Wait()
}

// Invoke calls a function, by its name or by "name:qualifier", and waits for its answer. Like Lambda it goes on when the caller leaves:
// ctx bounds the waiting, not the call. The error is a *NotFoundError, a *TooLargeError, ErrClosed
// or ctx's own; everything the function does wrong is in the Result.
func (p *Pool) Invoke(ctx context.Context, account, name string, payload []byte) (Result, error) {
	done, err := p.start(account, name, payload)
	if err != nil {
		return Result{}, err
	}
	select {
	case r := <-done:
		return r, nil
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// InvokeEvent starts a call and does not wait for it, as the Event invocation type. Lambda would
// repeat a failed one twice, minutes later; this pool does not.
func (p *Pool) InvokeEvent(account, name string, payload []byte) error {
	_, err := p.start(account, name, payload)
	return err
}

func (p *Pool) start(account, name string, payload []byte) (<-chan Result, error) {
	if len(payload) > maxRequest {
		return nil, &TooLargeError{Size: len(payload)}
	}
	unqualified, qualifier, qualified := strings.Cut(name, ":")
	k := key{account, unqualified}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	fn, ok := p.functions[k]
	if !ok || qualified && qualifier != "$LATEST" && !slices.Contains(fn.Aliases, qualifier) {
		return nil, &NotFoundError{ARN: p.ARN(account, name)}
	}
	p.calls.Add(1)
	done := make(chan Result, 1)
	go func() {
		defer p.calls.Done()
		done <- p.call(k, fn, p.ARN(account, name), payload)
	}()
	return done, nil
}

// call serves one event with a warm process or a new one.
func (p *Pool) call(k key, fn Function, arn string, payload []byte) Result {
	inv := &invocation{
		id:      newRequestID(),
		arn:     arn,
		trace:   newTraceID(),
		payload: payload,
		done:    make(chan outcome, 1),
	}
	for {
		pr, fresh, err := p.take(k, fn)
		if errors.Is(err, ErrClosed) {
			return failure(inv.id, "Runtime.ExitError", "Runtime exited with error: signal: killed")
		}
		if err != nil {
			p.opts.Logger.Error("function did not start", "function", fn.Name, "error", err)
			return failure(inv.id, "Runtime.InvalidEntrypoint", err.Error())
		}

		limit := time.NewTimer(initLimit + fn.Timeout)
		select {
		case pr.work <- inv:
			limit.Stop()
		case <-pr.exited:
			limit.Stop()
			if !fresh {
				continue // it died after its last answer; Lambda, too, would start another
			}
			return pr.exitResult(inv.id)
		case <-limit.C:
			pr.kill()
			<-pr.exited
			return timedOut(inv.id, fn.Timeout)
		}

		limit = time.NewTimer(fn.Timeout)
		defer limit.Stop()
		select {
		case o := <-inv.done:
			p.release(k, pr)
			return Result{RequestID: inv.id, FunctionError: o.functionError, Payload: o.payload}
		case <-pr.exited:
			select {
			case o := <-inv.done: // it answered and then died, as aws-lambda-go does after a panic
				return Result{RequestID: inv.id, FunctionError: o.functionError, Payload: o.payload}
			default:
				return pr.exitResult(inv.id)
			}
		case <-limit.C:
			pr.kill()
			<-pr.exited
			return timedOut(inv.id, fn.Timeout)
		}
	}
}

// take returns an idle process or starts one.
func (p *Pool) take(k key, fn Function) (pr *process, fresh bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, ErrClosed
	}
	for idle := p.idle[k]; len(idle) > 0; idle = p.idle[k] {
		pr := idle[len(idle)-1]
		p.idle[k] = idle[:len(idle)-1]
		pr.reap.Stop()
		select {
		case <-pr.exited:
		default:
			p.mu.Unlock()
			return pr, false, nil
		}
	}
	p.started[k]++
	id := fmt.Sprintf("LOCAL-%s-%s-%d", k.account, k.name, p.started[k])
	p.mu.Unlock()

	// Outside the lock: a start takes milliseconds and others need not wait for it.
	pr, err = startProcess(fn, id, p.environment(fn, id))
	if err != nil {
		return nil, false, err
	}
	p.mu.Lock()
	p.live[id] = pr
	closed := p.closed
	p.mu.Unlock()
	p.calls.Go(func() { // the call itself is counted still, so Close waits for this, too
		<-pr.ended
		p.mu.Lock()
		delete(p.live, id)
		p.mu.Unlock()
		close(pr.exited)
	})
	if closed {
		pr.kill()
		<-pr.exited
		return nil, false, ErrClosed
	}
	return pr, true, nil
}

// release keeps a process warm for the next call.
func (p *Pool) release(k key, pr *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.functions[k]; !ok || p.closed {
		pr.kill()
		return
	}
	pr.reap = time.AfterFunc(idleLimit, func() { p.retire(k, pr) })
	p.idle[k] = append(p.idle[k], pr)
}

// retire ends a process if it is idle still.
func (p *Pool) retire(k key, pr *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, q := range p.idle[k] {
		if q == pr {
			p.idle[k] = append(p.idle[k][:i:i], p.idle[k][i+1:]...)
			pr.kill()
			return
		}
	}
}

// failure is the payload Lambda itself makes up when the function could not answer.
func failure(requestID, errorType, message string) Result {
	body, err := json.Marshal(map[string]string{
		"errorType":    errorType,
		"errorMessage": "RequestId: " + requestID + " Error: " + message,
	})
	if err != nil {
		panic(err) // two strings always encode
	}
	return Result{RequestID: requestID, FunctionError: "Unhandled", Payload: body}
}

func timedOut(requestID string, limit time.Duration) Result {
	return failure(requestID, "Sandbox.Timedout", fmt.Sprintf("Task timed out after %.2f seconds", limit.Seconds()))
}
