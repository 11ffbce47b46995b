package awsproxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
)

const region = "us-east-1"

// bench is an AWS endpoint over a real moto. Each world of it is an account of its own.
type bench struct {
	proxy  *awsproxy.Proxy
	url    string
	worlds atomic.Int64

	mu     sync.Mutex
	killed []string
}

// models finds botocore's data in the virtual environment that the variable names, or skips the test.
func models(t *testing.T) (venv, data string) {
	t.Helper()

	venv = os.Getenv("METAFLOW_DEPLOYER_VENV")
	if venv == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV does not name a Python virtual environment with moto[server]")
	}

	dirs, err := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages", "botocore", "data"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("find botocore's data below %s: %v", venv, err)
	}

	return venv, dirs[0]
}

// startBench starts moto and an endpoint before it; both end with the test.
func startBench(t *testing.T, strict bool) *bench {
	t.Helper()

	venv, data := models(t)
	upstream := startMoto(t, venv)

	return benchOver(t, upstream, data, strict)
}

func benchOver(t *testing.T, upstream *url.URL, data string, strict bool) *bench {
	t.Helper()

	b := &bench{}

	proxy, err := awsproxy.New(awsproxy.Options{Upstream: upstream, Models: data, Strict: strict, Kill: func(key string) {
		b.mu.Lock()
		defer b.mu.Unlock()

		b.killed = append(b.killed, key)
	}})
	if err != nil {
		t.Fatal(err)
	}

	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)

	b.proxy, b.url = proxy, server.URL

	return b
}

func startMoto(t *testing.T, venv string) *url.URL {
	t.Helper()

	var lc net.ListenConfig

	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()

	cmd := exec.CommandContext(context.Background(), filepath.Join(venv, "bin", "python"), "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
	cmd.Env = append(os.Environ(), "MOTO_PORT="+port, "MOTO_IAM_LOAD_MANAGED_POLICIES=true")

	var log bytes.Buffer

	cmd.Stdout, cmd.Stderr = io.Discard, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()

		if t.Failed() {
			for line := range strings.SplitSeq(log.String(), "\n") {
				if strings.Contains(line, "Error") || strings.Contains(line, "\" 5") {
					t.Log(line)
				}
			}
		}
	})

	base := "http://127.0.0.1:" + port
	deadline := time.Now().Add(60 * time.Second)

	for {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()

			break
		}

		if time.Now().After(deadline) {
			t.Fatalf("moto does not start: %s", log.String())
		}
	}

	config := `{"stepfunctions":{"execute_state_machine":true},"batch":{"use_docker":false},"lambda":{"use_docker":false}}`

	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/moto-api/config", strings.NewReader(config))
	req.Header.Set("Content-Type", "application/json")

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}

	_ = res.Body.Close()

	u, _ := url.Parse(base)

	return u
}

// world is one account, seen by one function.
type world struct {
	*bench
	account string
	cfg     aws.Config
}

// world gives an account that no other test uses.
func (b *bench) world() *world {
	return b.as(fmt.Sprintf("%012d", 200000000000+b.worlds.Add(1)), "worker")
}

func (b *bench) as(account, function string) *world {
	return &world{bench: b, account: account, cfg: aws.Config{
		Region: region, BaseEndpoint: aws.String(b.url), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("LOCAL-"+account+"-"+function+"-1", "local", ""),
	}}
}

func (w *world) batch() *batch.Client       { return batch.NewFromConfig(w.cfg) }
func (w *world) dynamodb() *dynamodb.Client { return dynamodb.NewFromConfig(w.cfg) }
func (w *world) ec2() *ec2.Client           { return ec2.NewFromConfig(w.cfg) }
func (w *world) iam() *iam.Client           { return iam.NewFromConfig(w.cfg) }
func (w *world) sfn() *sfn.Client           { return sfn.NewFromConfig(w.cfg) }
func (w *world) sts() *sts.Client           { return sts.NewFromConfig(w.cfg) }
func (w *world) s3() *s3.Client {
	return s3.NewFromConfig(w.cfg, func(o *s3.Options) { o.UsePathStyle = true })
}

// calls is the journal of the account without its looks at what the bench itself wants to know.
func (w *world) calls() []awsproxy.Call {
	var out []awsproxy.Call

	for _, c := range w.proxy.Calls() {
		if c.Account == w.account {
			out = append(out, c)
		}
	}

	return out
}

func (b *bench) do(t *testing.T, method, path, body string) (int, string) {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()

	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}

	return res.StatusCode, string(text)
}

// rule adds a rule for the world's account.
func (w *world) rule(t *testing.T, service, action string, more map[string]any) {
	t.Helper()

	rule := map[string]any{"service": service, "action": action, "account": w.account}
	for key, v := range more {
		rule[key] = v
	}

	text, err := json.Marshal(rule)
	if err != nil {
		t.Fatal(err)
	}

	if status, answer := w.do(t, http.MethodPost, "/_local/rules", string(text)); status != http.StatusCreated {
		t.Fatalf("add rule %s: %d %s", text, status, answer)
	}
}

// code is the AWS error code of an error; "" for none and "?" for what is no answer of AWS.
func code(err error) string {
	if err == nil {
		return ""
	}

	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}

	return "?"
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()

	return func(v T, err error) T {
		t.Helper()

		if err != nil {
			t.Fatal(err)
		}

		return v
	}
}
