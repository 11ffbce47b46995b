package lambdapool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const account = "111122223333"

// build makes the test function's bootstrap.
func build(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "bootstrap")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc", "-o", out, "../testdata/bootstrap")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the function: %v\n%s", err, text)
	}
	return out
}

type fixture struct {
	*Pool
	dir string
}

func newFixture(t *testing.T, executable string) *fixture {
	t.Helper()
	dir := t.TempDir()
	p := New(Options{Region: "us-east-1", Account: account, Endpoint: "http://127.0.0.1:9", Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(p.Close)
	for name, timeout := range map[string]time.Duration{"patient": time.Minute, "hasty": 300 * time.Millisecond} {
		p.Add(Function{
			Account: account, Name: name, Executable: executable, Dir: dir, Timeout: timeout, MemoryMB: 256,
			Aliases: []string{"friendly"}, Env: map[string]string{"TABLE": "t", "AWS_REGION": "nowhere"}, Log: filepath.Join(dir, "log", name+".log"),
		})
	}
	p.Add(Function{Account: account, Name: "broken", Executable: executable, Dir: dir, Timeout: time.Second, Env: map[string]string{"BROKEN": "1"}, Log: filepath.Join(dir, "log", "broken.log")})
	p.Add(Function{Account: account, Name: "absent", Executable: filepath.Join(dir, "absent"), Dir: dir, Timeout: time.Second, Log: filepath.Join(dir, "log", "absent.log")})
	return &fixture{Pool: p, dir: dir}
}

func (f *fixture) invoke(t *testing.T, name, event string) Result {
	t.Helper()
	res, err := f.Invoke(t.Context(), account, name, []byte(event))
	if err != nil {
		t.Fatalf("invoke %s: %v", name, err)
	}
	return res
}

// await waits for a file that a function writes.
func await(t *testing.T, file string) {
	t.Helper()
	for {
		if _, err := os.Stat(file); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("no %s", file)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestPool(t *testing.T) {
	executable := build(t)

	t.Run("AnswersWhatTheHandlerAnswers", func(t *testing.T) {
		f := newFixture(t, executable)
		res := f.invoke(t, "patient", `{"a":1}`)
		if res.FunctionError != "" || string(res.Payload) != `{"a":1}` {
			t.Errorf("got %q %s", res.FunctionError, res.Payload)
		}
		log, err := os.ReadFile(filepath.Join(f.dir, "log", "patient.log"))
		if err != nil || !bytes.Contains(log, []byte(`echo {"a":1}`)) {
			t.Errorf("the function's output is not in its log: %q %v", log, err)
		}
	})

	t.Run("KeepsAProcessWarm", func(t *testing.T) {
		f := newFixture(t, executable)
		first := f.invoke(t, "patient", `{"do":"pid"}`)
		for range 5 {
			if next := f.invoke(t, "patient", `{"do":"pid"}`); !bytes.Equal(next.Payload, first.Payload) {
				t.Fatalf("process %s, then %s", first.Payload, next.Payload)
			}
		}
	})

	t.Run("GivesEachConcurrentCallItsOwnProcess", func(t *testing.T) {
		f := newFixture(t, executable)
		const n = 5
		gate := filepath.Join(f.dir, "gate")
		results := make(chan Result, n)
		for i := range n {
			begun := filepath.Join(f.dir, fmt.Sprint("begun", i))
			go func() {
				res, err := f.Invoke(t.Context(), account, "patient", fmt.Appendf(nil, `{"do":"until","name":%q,"file":%q}`, gate, begun))
				if err != nil {
					t.Error(err)
				}
				results <- res
			}()
		}
		for i := range n {
			await(t, filepath.Join(f.dir, fmt.Sprint("begun", i)))
		}
		if got := f.Processes(account, "patient"); got != n {
			t.Errorf("%d processes for %d calls at once", got, n)
		}
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		pids := map[string]bool{}
		for range n {
			pids[string((<-results).Payload)] = true
		}
		if len(pids) != n {
			t.Errorf("%d processes served %d calls at once", len(pids), n)
		}
	})

	failures := map[string]struct {
		reason   string
		function string
		event    string
		want     map[string]string
	}{
		"Timeout":   {"Step Functions retries by this name", "hasty", `{"do":"sleep"}`, map[string]string{"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: ID Error: Task timed out after 0.30 seconds"}},
		"Exit":      {"a process that dies has no other name", "patient", `{"do":"exit"}`, map[string]string{"errorType": "Runtime.ExitError", "errorMessage": "RequestId: ID Error: Runtime exited with error: exit status 7"}},
		"Named":     {"the handler's own error names pass unchanged", "patient", `{"do":"fail","name":"NotReady"}`, map[string]string{"errorType": "NotReady", "errorMessage": "on purpose"}},
		"Init":      {"a process that never asks for an event", "broken", `{}`, map[string]string{"errorType": "Runtime.ExitError", "errorMessage": "RequestId: ID Error: Runtime exited with error: exit status 3"}},
		"TooBig":    {"Lambda's quota for answers", "patient", `{"do":"big"}`, map[string]string{"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes)."}},
		"NotBuilt":  {"an executable that is not there", "absent", `{}`, map[string]string{"errorType": "Runtime.InvalidEntrypoint"}},
		"Panicking": {"aws-lambda-go reports a panic, then exits", "patient", `{"do":"panic"}`, map[string]string{"errorType": "string", "errorMessage": "on purpose"}},
	}
	for name, tc := range failures {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, executable)
			res := f.invoke(t, tc.function, tc.event)
			if res.FunctionError != "Unhandled" {
				t.Fatalf("%s: function error %q, payload %s", tc.reason, res.FunctionError, res.Payload)
			}
			var all map[string]any
			if err := json.Unmarshal(res.Payload, &all); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for k := range tc.want {
				got[k] = strings.ReplaceAll(fmt.Sprint(all[k]), res.RequestID, "ID")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if again := f.invoke(t, "patient", `{"do":"pid"}`); again.FunctionError != "" {
				t.Errorf("the next call failed, too: %s", again.Payload)
			}
		})
	}

	t.Run("KillEndsExactlyOneProcess", func(t *testing.T) {
		f := newFixture(t, executable)
		victim := make(chan Result, 1)
		begun := filepath.Join(f.dir, "begun")
		go func() {
			res, err := f.Invoke(t.Context(), account, "patient", fmt.Appendf(nil, `{"do":"sleep","file":%q}`, begun))
			if err != nil {
				t.Error(err)
			}
			victim <- res
		}()
		await(t, begun)
		bystander := f.invoke(t, "patient", `{"do":"pid"}`)
		if f.Kill("LOCAL-" + account + "-patient-9") {
			t.Error("a key that nobody has killed something")
		}
		if !f.Kill("LOCAL-" + account + "-patient-1") {
			t.Fatal("the process was not found")
		}
		if res := <-victim; !bytes.Contains(res.Payload, []byte("Runtime exited with error: signal: killed")) {
			t.Errorf("the killed call answered %s", res.Payload)
		}
		if again := f.invoke(t, "patient", `{"do":"pid"}`); !bytes.Equal(again.Payload, bystander.Payload) {
			t.Errorf("the other process (%s) is gone: %s serves", bystander.Payload, again.Payload)
		}
	})

	t.Run("IdleProcessThatDiedIsReplaced", func(t *testing.T) {
		f := newFixture(t, executable)
		f.invoke(t, "patient", `{"do":"pid"}`)
		f.Kill("LOCAL-" + account + "-patient-1")
		for f.Processes(account, "patient") > 0 {
			time.Sleep(time.Millisecond) // until its end is noticed; the bound is the test's own
		}
		if res := f.invoke(t, "patient", `{"do":"pid"}`); res.FunctionError != "" {
			t.Errorf("got %s", res.Payload)
		}
	})

	t.Run("Environment", func(t *testing.T) {
		f := newFixture(t, executable)
		t.Setenv("SECRET_OF_THE_DEVELOPER", "x")
		var env map[string]string
		if err := json.Unmarshal(f.invoke(t, "patient", `{"do":"env"}`).Payload, &env); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"TABLE": "t", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "patient",
			"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
			"AWS_ACCESS_KEY_ID": "LOCAL-" + account + "-patient-1", "AWS_SECRET_ACCESS_KEY": "local",
		}
		got := map[string]string{}
		for k := range want {
			got[k] = env[k]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, name := range []string{"SECRET_OF_THE_DEVELOPER", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
			if v, ok := env[name]; ok {
				t.Errorf("%s=%s reached the function", name, v)
			}
		}
	})

	t.Run("Context", func(t *testing.T) {
		f := newFixture(t, executable)
		res := f.invoke(t, "patient", `{"do":"context"}`)
		var got struct {
			RequestID, ARN string
			Left           float64
		}
		if err := json.Unmarshal(res.Payload, &got); err != nil {
			t.Fatal(err)
		}
		if got.RequestID != res.RequestID || got.ARN != "arn:aws:lambda:us-east-1:"+account+":function:patient" || got.Left <= 0 || got.Left > 60 {
			t.Errorf("got %+v for request %s", got, res.RequestID)
		}

		// The same process serves the alias, and is told so.
		if res := f.invoke(t, "patient:friendly", `{"do":"context"}`); !bytes.Contains(res.Payload, []byte(`:function:patient:friendly"`)) {
			t.Errorf("called by its alias the function is told %s", res.Payload)
		}
	})

	t.Run("CloseLeavesNoProcess", func(t *testing.T) {
		f := newFixture(t, executable)
		begun := filepath.Join(f.dir, "begun")
		var pid int
		if err := json.Unmarshal(f.invoke(t, "patient", `{"do":"pid"}`).Payload, &pid); err != nil {
			t.Fatal(err)
		}
		if err := f.InvokeEvent(account, "patient", fmt.Appendf(nil, `{"do":"sleep","file":%q}`, begun)); err != nil {
			t.Fatal(err)
		}
		await(t, begun)
		f.Close()
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d lives", pid)
		}
		if n := f.Processes(account, "patient"); n != 0 {
			t.Errorf("%d processes live", n)
		}
		if _, err := f.Invoke(t.Context(), account, "patient", nil); err != ErrClosed { //nolint:errorlint // it is not wrapped
			t.Errorf("a call after Close: %v", err)
		}
	})

	t.Run("RemoveEndsAnAccount", func(t *testing.T) {
		f := newFixture(t, executable)
		f.invoke(t, "patient", `{"do":"pid"}`)
		f.Remove(account)
		if n := f.Processes(account, "patient"); n != 0 {
			t.Errorf("%d processes live", n)
		}
		if _, err := f.Invoke(t.Context(), account, "patient", nil); err == nil {
			t.Error("the function is callable still")
		}
	})

	t.Run("HTTP", func(t *testing.T) { testHTTP(t, executable) })
}

func testHTTP(t *testing.T, executable string) {
	t.Helper()
	f := newFixture(t, executable)
	arn := "arn:aws:lambda:us-east-1:" + account + ":function:patient"
	for name, tc := range map[string]struct {
		reason, path, query, kind, auth, body string
		status                                int
		code, functionError, answer           string
	}{
		"Name":         {reason: "the default account's function", path: "patient", body: `{"a":1}`, status: 200, answer: `{"a":1}`},
		"ARN":          {reason: "what the workflow engine sends", path: strings.ReplaceAll(arn, ":", "%3A"), body: `{"a":1}`, status: 200, answer: `{"a":1}`},
		"Qualified":    {reason: "with a version", path: "patient:$LATEST", body: `{"a":1}`, status: 200, answer: `{"a":1}`},
		"Alias":        {reason: "by one of its other names", path: "patient:friendly", body: `{"do":"context"}`, status: 200},
		"Qualifier":    {reason: "said in the query", path: "patient", query: "?Qualifier=friendly", body: `{"a":1}`, status: 200, answer: `{"a":1}`},
		"NoAlias":      {reason: "no such alias", path: "patient:stranger", body: `{}`, status: 404, code: "ResourceNotFoundException"},
		"NoQualifier":  {reason: "no such alias", path: "patient", query: "?Qualifier=stranger", body: `{}`, status: 404, code: "ResourceNotFoundException"},
		"PartialARN":   {reason: "Lambda takes it", path: account + ":function:patient", body: `{"a":1}`, status: 200, answer: `{"a":1}`},
		"Error":        {reason: "a failed function is a 200 with a header", path: "patient", body: `{"do":"fail","name":"NotReady"}`, status: 200, functionError: "Unhandled"},
		"Event":        {reason: "nobody waits", path: "patient", kind: "Event", body: `{"a":1}`, status: 202},
		"Unknown":      {reason: "no such function", path: "nobody", body: `{}`, status: 404, code: "ResourceNotFoundException"},
		"OtherAccount": {reason: "the caller's account has none", path: "patient", auth: "AWS4-HMAC-SHA256 Credential=LOCAL-999999999999-user-0/x", body: `{}`, status: 404, code: "ResourceNotFoundException"},
		"NoJSON":       {reason: "payloads are JSON", path: "patient", body: `{`, status: 400, code: "InvalidRequestContentException"},
		"TooLarge":     {reason: "6 MB", path: "patient", body: `"` + strings.Repeat("x", maxRequest) + `"`, status: 413, code: "RequestTooLargeException"},
		"DryRun":       {reason: "not played", path: "patient", kind: "DryRun", body: `{}`, status: 400, code: "InvalidParameterValueException"},
		"BadName":      {reason: "no name at all", path: "a%20b", body: `{}`, status: 400, code: "ValidationException"},
	} {
		t.Run(name, func(t *testing.T) {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, Path+tc.path+"/invocations"+tc.query, strings.NewReader(tc.body))
			req.Header.Set("X-Amz-Invocation-Type", tc.kind)
			req.Header.Set("Authorization", tc.auth)
			rec := httptest.NewRecorder()
			f.ServeHTTP(rec, req)
			h := rec.Header()
			if rec.Code != tc.status || h.Get("X-Amzn-ErrorType") != tc.code || h.Get("X-Amz-Function-Error") != tc.functionError {
				t.Errorf("%s: got %d %s %s %s", tc.reason, rec.Code, h.Get("X-Amzn-ErrorType"), h.Get("X-Amz-Function-Error"), rec.Body)
			}
			if h.Get("X-Amzn-RequestId") == "" {
				t.Error("no request id")
			}
			if tc.answer != "" && rec.Body.String() != tc.answer {
				t.Errorf("got %s, want %s", rec.Body, tc.answer)
			}
		})
	}
}
