package lambdapool

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const runtimeAPI = "/2018-06-01/runtime/"

// invocation is one event on its way to a process and back.
type invocation struct {
	id      string
	arn     string // as it was called, with the qualifier
	trace   string
	payload []byte
	done    chan outcome // holds one
}

type outcome struct {
	functionError string
	payload       []byte
}

// process is one running bootstrap with its own Runtime API listener.
type process struct {
	fn   Function
	cmd  *exec.Cmd
	srv  *http.Server
	reap *time.Timer // ends it when idle for long; guarded by the pool's lock

	work    chan *invocation
	ended   chan struct{} // closed when the process has ended and its listener too
	exited  chan struct{} // closed by the pool once it counts the ended process no more
	current atomic.Pointer[invocation]

	mu      sync.Mutex
	initErr []byte // what the process reported before its first event
	state   string // how it ended
}

// startProcess starts the function's executable; it asks for its first event on its own.
func startProcess(fn Function, id string, env []string) (*process, error) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listen for the Runtime API of %s: %w", fn.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(fn.Log), 0o755); err != nil {
		ln.Close()
		return nil, fmt.Errorf("make the log folder of %s: %w", fn.Name, err)
	}
	log, err := os.OpenFile(fn.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		ln.Close()
		return nil, fmt.Errorf("open the log of %s: %w", fn.Name, err)
	}
	defer log.Close() // the process has its own handle by then

	pr := &process{
		fn:     fn,
		work:   make(chan *invocation),
		ended:  make(chan struct{}),
		exited: make(chan struct{}),
	}
	// No context: the process outlives the call that it was started for.
	pr.cmd = &exec.Cmd{
		Path:        fn.Executable,
		Args:        []string{fn.Executable},
		Dir:         fn.Dir,
		Env:         append(env, "AWS_LAMBDA_RUNTIME_API="+ln.Addr().String()),
		Stdout:      log,
		Stderr:      log,
		SysProcAttr: Leash(),
	}
	if err := pr.cmd.Start(); err != nil {
		ln.Close()
		return nil, fmt.Errorf("start %s: %w", id, err)
	}

	pr.srv = &http.Server{Handler: pr.handler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = pr.srv.Serve(ln) // always returns; the process's end is what counts
	}()
	go func() {
		err := pr.cmd.Wait()
		pr.mu.Lock()
		pr.state = "exit status 0"
		if err != nil {
			pr.state = err.Error()
		}
		pr.mu.Unlock()
		// Nothing is lost: aws-lambda-go exits only after its last answer was taken.
		pr.srv.Close()
		<-served
		close(pr.ended)
	}()
	return pr, nil
}

// kill ends the process and whatever it started. It does not wait.
func (pr *process) kill() {
	// The negative id is the process group that Leash made.
	_ = syscall.Kill(-pr.cmd.Process.Pid, syscall.SIGKILL)
}

// exitResult tells how a process ended without an answer. Call it after exited.
func (pr *process) exitResult(requestID string) Result {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.initErr != nil {
		return Result{RequestID: requestID, FunctionError: "Unhandled", Payload: pr.initErr}
	}
	return failure(requestID, "Runtime.ExitError", "Runtime exited with error: "+pr.state)
}

// handler is the Runtime API.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
func (pr *process) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+runtimeAPI+"invocation/next", pr.next)
	mux.HandleFunc("POST "+runtimeAPI+"invocation/{id}/response", pr.response)
	mux.HandleFunc("POST "+runtimeAPI+"invocation/{id}/error", pr.failed)
	mux.HandleFunc("POST "+runtimeAPI+"init/error", pr.initFailed)
	return mux
}

func (pr *process) next(w http.ResponseWriter, r *http.Request) {
	select {
	case inv := <-pr.work:
		pr.current.Store(inv)
		h := w.Header()
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(pr.fn.Timeout).UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", inv.arn)
		h.Set("Lambda-Runtime-Trace-Id", inv.trace)
		h.Set("Content-Type", "application/json")
		_, _ = w.Write(inv.payload) // a broken connection shows as the process's exit
	case <-r.Context().Done():
	}
}

func (pr *process) response(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse+1))
	if err != nil {
		return // the process died while it wrote
	}
	if len(body) > maxResponse {
		pr.answer(w, r, http.StatusRequestEntityTooLarge, outcome{
			functionError: "Unhandled",
			payload: []byte(`{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (` +
				strconv.Itoa(maxResponse) + ` bytes)."}`),
		})
		return
	}
	pr.answer(w, r, http.StatusAccepted, outcome{payload: body})
}

func (pr *process) failed(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse))
	if err != nil {
		return
	}
	pr.answer(w, r, http.StatusAccepted, outcome{functionError: "Unhandled", payload: errorPayload(body)})
}

func (pr *process) answer(w http.ResponseWriter, r *http.Request, status int, o outcome) {
	inv := pr.current.Load()
	if inv == nil || inv.id != r.PathValue("id") || !pr.current.CompareAndSwap(inv, nil) {
		runtimeError(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	inv.done <- o
	runtimeStatus(w, status)
}

func (pr *process) initFailed(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse))
	if err != nil {
		return
	}
	pr.mu.Lock()
	pr.initErr = errorPayload(body)
	pr.mu.Unlock()
	runtimeStatus(w, http.StatusAccepted)
}

// errorPayload keeps what a caller of Lambda sees of a function's error. A body that is no JSON
// object becomes one, because Lambda answers one in every case.
func errorPayload(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) == nil && fields != nil {
		return body
	}
	out, err := json.Marshal(map[string]string{"errorType": "Runtime.Unknown", "errorMessage": string(body)})
	if err != nil {
		panic(err) // two strings always encode
	}
	return out
}

func runtimeStatus(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

func runtimeError(w http.ResponseWriter, status int, errorType, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"errorType": errorType, "errorMessage": message})
}

// environment is what the process sees: Lambda's own variables over the function's.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
func (p *Pool) environment(fn Function, accessKeyID string) []string {
	env := map[string]string{}
	for k, v := range fn.Env {
		env[k] = v
	}
	for k, v := range map[string]string{
		"AWS_REGION":                      p.opts.Region,
		"AWS_DEFAULT_REGION":              p.opts.Region,
		"AWS_ACCESS_KEY_ID":               accessKeyID,
		"AWS_SECRET_ACCESS_KEY":           "local",
		"AWS_ENDPOINT_URL":                p.opts.Endpoint,
		"AWS_LAMBDA_FUNCTION_NAME":        fn.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(fn.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + fn.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      accessKeyID,
		"_HANDLER":                        "bootstrap",
		"LAMBDA_TASK_ROOT":                fn.Dir,
		"LAMBDA_RUNTIME_DIR":              fn.Dir,
		"LANG":                            "en_US.UTF-8",
		"TZ":                              ":UTC",
		"PATH":                            "/usr/local/bin:/usr/bin:/bin",
		// Lambda sets no HOME. Without one the SDK would look up the user and read the
		// developer's own ~/.aws; the function's folder has none.
		"HOME": fn.Dir,
	} {
		env[k] = v
	}
	out := make([]string, 0, len(env)+1)
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	return out
}

// newRequestID makes a UUID of version 4, as Lambda's request ids are.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// newTraceID makes an X-Ray trace header.
func newTraceID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", time.Now().Unix(), hex.EncodeToString(b[:12]), hex.EncodeToString(b[12:]))
}
