package awsproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
)

// toyModels are small models of services that do not exist, so that these tests need no Python.
const toyModels = "../awsmodel/testdata/models"

// stub is an endpoint before a server of the test's own.
func stub(t *testing.T, upstream http.HandlerFunc) *bench {
	t.Helper()

	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)

	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}

	return benchOver(t, u, toyModels, true)
}

func signed(t *testing.T, method, address, scope, key string, body io.Reader) *http.Request {
	t.Helper()

	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}

	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+key+"/20260101/eu-west-1/"+scope+"/aws4_request, SignedHeaders=host, Signature=0")

	return r
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()

	if _, err := awsproxy.New(awsproxy.Options{Models: toyModels}); err == nil {
		t.Error("a proxy without upstream is made")
	}

	if _, err := awsproxy.New(awsproxy.Options{Upstream: &url.URL{Scheme: "http"}, Models: t.TempDir()}); err == nil {
		t.Error("a proxy without models is made")
	}
}

func TestForwarding(t *testing.T) {
	t.Parallel()

	var got *http.Request

	b := stub(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("X-Amz-Meta-User", "me")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	})

	for name, tt := range map[string]struct{ reason, key, account, function string }{
		"Function": {"account and function stand in the key", "LOCAL-111122223333-batch-7", "111122223333", "batch"},
		"Hyphens":  {"a function's name may have hyphens", "LOCAL-111122223333-a-b-7", "111122223333", "a-b"},
		"User":     {"a person", "LOCAL-111122223333-user-0", "111122223333", "user"},
		"Foreign":  {"any other key", "AKIAIOSFODNN7EXAMPLE", "123456789012", ""},
		"Broken":   {"twelve digits make an account", "LOCAL-1111-batch-7", "123456789012", ""},
		"Short":    {"no number", "LOCAL-111122223333-batch", "123456789012", ""},
	} {
		r := signed(t, "POST", b.url+"/", "alphas", tt.key, strings.NewReader(`{"name":"abc"}`))
		r.Header.Set("X-Amz-Target", "Alpha_1.MakeThing")
		r.Host = "alphas.example"

		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}

		_ = res.Body.Close()

		if got.Header.Get("X-Moto-Account-Id") != tt.account || got.Host != "alphas.example" || got.Header.Get("Authorization") != r.Header.Get("Authorization") {
			t.Errorf("%s: %s: moto sees %s at %s", name, tt.reason, got.Header.Get("X-Moto-Account-Id"), got.Host)
		}

		calls := b.proxy.Calls()
		if last := calls[len(calls)-1]; last.Account != tt.account || last.Function != tt.function || last.Service != "alphathings" || last.Target != "abc" {
			t.Errorf("%s: %s: the journal says %+v", name, tt.reason, last)
		}
	}
}

func TestUnknownCallsPass(t *testing.T) {
	t.Parallel()

	b := stub(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })

	res, err := http.DefaultClient.Do(signed(t, "POST", b.url+"/x", "omega", "LOCAL-111122223333-api-1", strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}

	_ = res.Body.Close()

	calls := b.proxy.Calls()
	if res.StatusCode != http.StatusTeapot || len(calls) != 1 || calls[0].Service != "omega" || calls[0].Action != "" || calls[0].Status != http.StatusTeapot {
		t.Errorf("a call no model describes answers %d and is kept as %+v", res.StatusCode, calls)
	}

	if errs := b.proxy.Check(calls[0]); len(errs) != 1 {
		t.Errorf("a call no model describes is valid: %v", errs)
	}

	// moto's own pages are no AWS calls.
	if status, _ := b.do(t, http.MethodPost, "/moto-api/reset", ""); status != http.StatusTeapot || len(b.proxy.Calls()) != 1 {
		t.Errorf("moto's page answers %d and leaves %d calls", status, len(b.proxy.Calls()))
	}
}

func TestMotoIsDown(t *testing.T) {
	t.Parallel()

	gone := httptest.NewServer(http.NotFoundHandler())
	u, _ := url.Parse(gone.URL)
	gone.Close()

	b := benchOver(t, u, toyModels, false)

	res, err := http.DefaultClient.Do(signed(t, "GET", b.url+"/?Action=Put", "beta", "AKIA", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()

	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "<Code>ServiceUnavailable</Code>") {
		t.Errorf("without moto a call answers %d %s", res.StatusCode, text)
	}

	res, err = http.DefaultClient.Do(signed(t, "GET", b.url+"/", "omega", "AKIA", nil))
	if err != nil {
		t.Fatal(err)
	}

	if _ = res.Body.Close(); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without moto a call that no model describes answers %d", res.StatusCode)
	}
}

func TestPagesRefuseOtherMethods(t *testing.T) {
	t.Parallel()

	b := stub(t, http.NotFound)

	for _, path := range []string{"/_local/rules", "/_local/calls"} {
		if status, _ := b.do(t, http.MethodPatch, path, ""); status != http.StatusMethodNotAllowed {
			t.Errorf("PATCH %s answers %d", path, status)
		}
	}

	if status, text := b.do(t, http.MethodGet, "/_local/calls", ""); status != http.StatusOK || strings.TrimSpace(text) != "[]" {
		t.Errorf("an empty journal is %d %s", status, text)
	}
}

// TestExpect holds that a client which asks before it sends a body is answered at once: botocore would wait a second for each object.
func TestExpect(t *testing.T) {
	t.Parallel()

	b := stub(t, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) != "data" || r.Header.Get("Expect") != "" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	u, _ := url.Parse(b.url)

	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	_, err = fmt.Fprintf(conn, "PUT /box/key HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/delta/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n", u.Host)
	if err != nil {
		t.Fatal(err)
	}

	in := bufio.NewReader(conn)

	// The body goes out only after this line has come in.
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("before the body came %q (%v)", line, err)
	}

	_, _ = in.ReadString('\n')

	if _, err := io.WriteString(conn, "data"); err != nil {
		t.Fatal(err)
	}

	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("after the body came %q (%v)", line, err)
	}
}

// TestStreaming holds that objects are passed on while they come, in both directions: neither side could go on if they were kept back.
func TestStreaming(t *testing.T) {
	t.Parallel()

	heard := make(chan string)
	goOn := make(chan struct{})

	b := stub(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			half := make([]byte, 4)
			_, _ = io.ReadFull(r.Body, half)
			heard <- string(half)

			rest, _ := io.ReadAll(r.Body)
			heard <- string(rest)

			return
		}

		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		<-goOn
		_, _ = io.WriteString(w, "rest")
	})

	reader, writer := io.Pipe()
	put := make(chan error, 1)
	req := signed(t, "PUT", b.url+"/box/key", "delta", "AKIA", reader)

	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			err = res.Body.Close()
		}

		put <- err
	}()

	_, _ = io.WriteString(writer, "half")

	if got := <-heard; got != "half" {
		t.Errorf("moto heard %q first", got)
	}

	_, _ = io.WriteString(writer, "rest")
	_ = writer.Close()

	if got := <-heard; got != "rest" {
		t.Errorf("moto heard %q then", got)
	}

	if err := <-put; err != nil {
		t.Error(err)
	}

	res, err := http.DefaultClient.Do(signed(t, "GET", b.url+"/box/key", "delta", "AKIA", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()

	half := make([]byte, 4)
	if _, err := io.ReadFull(res.Body, half); err != nil || string(half) != "half" {
		t.Errorf("the client read %q first (%v)", half, err)
	}

	close(goOn)

	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "rest" {
		t.Errorf("the client read %q then (%v)", rest, err)
	}
}

// TestHalfAnObject holds that an object which breaks off does not look whole.
func TestHalfAnObject(t *testing.T) {
	t.Parallel()

	b := stub(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()

		panic(http.ErrAbortHandler)
	})

	res, err := http.DefaultClient.Do(signed(t, "GET", b.url+"/box/key", "delta", "AKIA", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()

	if _, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an object ends with %v", err)
	}
}

// TestRulesOnToys tries rules without moto.
func TestRulesOnToys(t *testing.T) {
	t.Parallel()

	var reached atomic.Int64

	b := stub(t, func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)

		w.WriteHeader(http.StatusOK)
	})

	call := func(name string) (int, error) {
		r := signed(t, "POST", b.url+"/", "alphas", "LOCAL-111122223333-api-1", strings.NewReader(`{"name":"`+name+`","size":3}`))
		r.Header.Set("X-Amz-Target", "Alpha_1.MakeThing")

		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			return 0, err
		}

		return res.StatusCode, res.Body.Close()
	}

	for _, rule := range []string{
		`{"service":"alphathings","action":"MakeThing","match":{"/size":3,"/Name":"abc"},"times":1,"then":{"error":{"status":409,"code":"ThingTaken","message":"x"}}}`,
		`{"service":"alphathings","action":"MakeThing","match":{"/name":"lost"},"then":{"lose":"response"}}`,
		`{"service":"alphathings","action":"MakeThing","match":{"/name":"dead"},"then":{"kill":"before"}}`,
	} {
		if status, text := b.do(t, http.MethodPost, "/_local/rules", rule); status != http.StatusCreated {
			t.Fatalf("%s answers %d %s", rule, status, text)
		}
	}

	if status, _ := call("abc"); status != http.StatusConflict || reached.Load() != 0 {
		t.Errorf("the rule's error came as %d, moto was reached %d times", status, reached.Load())
	}

	if status, _ := call("abc"); status != http.StatusOK || reached.Load() != 1 {
		t.Errorf("after the rule's one time the call answers %d, moto was reached %d times", status, reached.Load())
	}

	if _, err := call("lost"); err == nil || reached.Load() != 2 {
		t.Errorf("a lost answer gives %v, moto was reached %d times", err, reached.Load())
	}

	_, err := call("dead")

	b.mu.Lock()
	defer b.mu.Unlock()

	if err == nil || reached.Load() != 2 || len(b.killed) != 1 || b.killed[0] != "LOCAL-111122223333-api-1" {
		t.Errorf("a killed caller gets %v, moto was reached %d times, killed were %v", err, reached.Load(), b.killed)
	}
}
