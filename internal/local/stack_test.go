package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

// start runs the stack of testdata/root with the test function in every role.
func start(t *testing.T) (*Stack, string) {
	t.Helper()
	venv := os.Getenv("METAFLOW_DEPLOYER_VENV")
	if venv == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV names no Python environment with moto")
	}
	// What is built here is not seen by `go test` otherwise, and its cache would answer.
	if _, err := os.Stat("testdata/bootstrap/main.go"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bootstrap := filepath.Join(dir, "bootstrap")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc", "-o", bootstrap, "./testdata/bootstrap")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the function: %v\n%s", err, text)
	}
	for _, name := range []string{"api", "worker"} {
		if err := os.MkdirAll(filepath.Join(dir, "functions", name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(bootstrap, filepath.Join(dir, "functions", name, "bootstrap")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Start(t.Context(), Options{Root: "testdata/root", Functions: filepath.Join(dir, "functions"), Venv: venv, State: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, dir
}

// user is a person's AWS configuration in an account.
func user(s *Stack, w *World) aws.Config {
	cfg := s.AWS(w.Account)
	cfg.RetryMaxAttempts = 1
	return cfg
}

func call(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
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

func TestStack(t *testing.T) {
	before := runtime.NumGoroutine()
	s, dir := start(t)
	first := s.worlds[Account]
	second, err := s.World(t.Context(), "222222222222", nil)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("TokenOpensTheAPI", func(t *testing.T) {
		token, err := s.Token("acme", "viewer", "deployer")
		if err != nil {
			t.Fatal(err)
		}
		if status, body := call(t, "GET", s.URL+"/v1/things", "", ""); status != 401 || body != "{\"message\":\"Unauthorized\"}\n" {
			t.Errorf("without a token: %d %s", status, body)
		}
		status, body := call(t, "GET", s.URL+"/v1/things", token, "")
		if status != 200 {
			t.Fatalf("with a token: %d %s", status, body)
		}
		for _, want := range []string{`"tenant":"acme"`, `"roles":"[viewer deployer]"`, `"routeKey":"ANY /v1/{proxy+}"`, `"accountId":"` + Account + `"`} {
			if !strings.Contains(body, want) {
				t.Errorf("the event lacks %s:\n%s", want, body)
			}
		}
		if status, _ := call(t, "GET", s.URL+"/healthz", "", ""); status != 200 {
			t.Errorf("healthz: %d", status)
		}
	})

	t.Run("StreamsAndQueuesCallFunctions", func(t *testing.T) { testSources(t, s, second, filepath.Join(dir, "log", "worker.log")) })

	t.Run("OneOfManyWritesHolds", func(t *testing.T) { testConditions(t, s, second) })

	t.Run("WorldsAreApart", func(t *testing.T) {
		for _, w := range []*World{first, second} {
			token, err := s.Token("acme", "admin")
			if err != nil {
				t.Fatal(err)
			}
			status, body := call(t, "POST", w.URL+"/v1/x", token, `{"do":"env"}`)
			var env map[string]string
			if err := json.Unmarshal([]byte(body), &env); status != 200 || err != nil {
				t.Fatalf("%d %s", status, body)
			}
			for name, want := range map[string]string{
				"AWS_ENDPOINT_URL": s.Endpoint, "S3_PATH_STYLE": "true", "TABLE": w.Resources.Tables[0].Name,
				"STATE_MACHINE": "arn:aws:states:us-east-1:" + w.Account + ":stateMachine:metaflow-deployer-StateMachine",
				"PRINCIPALS":    `{"arn:aws:iam::` + w.Account + `:root":{"roles":["admin"],"tenant":"local"}}`,
			} {
				if env[name] != want {
					t.Errorf("account %s: %s=%s, want %s", w.Account, name, env[name], want)
				}
			}
			if !strings.HasPrefix(env["AWS_ACCESS_KEY_ID"], "LOCAL-"+w.Account+"-api-") {
				t.Errorf("account %s: access key %s", w.Account, env["AWS_ACCESS_KEY_ID"])
			}
		}
	})

	t.Run("ResourcesOfTheTemplateStand", func(t *testing.T) {
		for _, w := range []*World{first, second} {
			cfg := user(s, w)
			out, err := dynamodb.NewFromConfig(cfg).DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &w.Resources.Tables[0].Name})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Table.GlobalSecondaryIndexes) != 1 {
				t.Errorf("%d indexes", len(out.Table.GlobalSecondaryIndexes))
			}
			ttl, err := dynamodb.NewFromConfig(cfg).DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: &w.Resources.Tables[0].Name})
			if err != nil || aws.ToString(ttl.TimeToLiveDescription.AttributeName) != "expires" {
				t.Errorf("time to live: %v %v", ttl, err)
			}
			policy := w.Resources.Policies[0].ARN
			if _, err := iam.NewFromConfig(cfg).GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: &policy}); err != nil {
				t.Errorf("the boundary %s: %v", policy, err)
			}
		}
	})

	t.Run("CallsAreJournalledByAccount", func(t *testing.T) {
		for _, w := range []*World{first, second} {
			status, body := call(t, "GET", s.Endpoint+"/_local/calls?account="+w.Account, "", "")
			var calls []struct{ Service, Action, Function, Account string }
			if err := json.Unmarshal([]byte(body), &calls); status != 200 || err != nil {
				t.Fatalf("%d %s", status, body)
			}
			described := 0
			for _, c := range calls {
				if c.Account != w.Account || c.Action == "CreateTable" {
					t.Errorf("account %s: a call that is none of its own: %+v", w.Account, c)
				}
				if c.Service == "dynamodb" && c.Action == "DescribeTable" && c.Function == "user" {
					described++
				}
			}
			if described != 1 {
				t.Errorf("account %s: %d DescribeTable calls, made one: %s", w.Account, described, body)
			}
		}
	})

	t.Run("WorkflowCallsTheFunctionOfItsAccount", func(t *testing.T) {
		for _, w := range []*World{first, second} {
			out := execute(t, s, w, "ok", `{"do":"context"}`)
			if out.Status != sfntypes.ExecutionStatusSucceeded || !strings.Contains(aws.ToString(out.Output), "arn:aws:lambda:us-east-1:"+w.Account+":function:worker") {
				t.Errorf("account %s: %s %s %s", w.Account, out.Status, aws.ToString(out.Output), aws.ToString(out.Cause))
			}
		}
	})

	t.Run("EndOfAnExecutionIsTold", func(t *testing.T) {
		log := filepath.Join(dir, "log", "worker.log")
		out := execute(t, s, first, "bad", `{"do":"fail","name":"Nope"}`)
		if out.Status != sfntypes.ExecutionStatusFailed || aws.ToString(out.Error) != "Nope" {
			t.Errorf("%s %s", out.Status, aws.ToString(out.Error))
		}
		for {
			text, err := os.ReadFile(log)
			if err == nil && bytes.Contains(text, []byte(`"detail-type":"Step Functions Execution Status Change"`)) && bytes.Contains(text, []byte(`"status":"FAILED"`)) {
				return
			}
			time.Sleep(20 * time.Millisecond) // bounded by the test's own deadline
		}
	})

	t.Run("WhatIsStoppedEnds", func(t *testing.T) { testStops(t, s, second) })

	t.Run("ClosedWorldIsGone", func(t *testing.T) {
		second.Close()
		if _, err := s.pool.Invoke(t.Context(), second.Account, "api", []byte(`{}`)); err == nil {
			t.Error("its function is callable still")
		}
		if status, _ := call(t, "GET", s.URL+"/healthz", "", ""); status != 200 {
			t.Errorf("the first world answers %d", status)
		}
	})

	moto := s.moto.cmd.Process.Pid
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(moto, 0); err == nil {
		t.Error("moto lives")
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
	// What has been told to end may take a moment to be gone.
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
}

func execute(t *testing.T, s *Stack, w *World, name, input string) *sfn.DescribeExecutionOutput {
	t.Helper()
	c := sfn.NewFromConfig(user(s, w))
	started, err := c.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: &w.Resources.StateMachines[0].ARN, Name: &name, Input: &input})
	if err != nil {
		t.Fatal(err)
	}
	for {
		out, err := c.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: started.ExecutionArn})
		if err != nil {
			t.Fatal(err)
		}
		if out.Status != sfntypes.ExecutionStatusRunning {
			return out
		}
		time.Sleep(50 * time.Millisecond) // bounded by the test's own deadline
	}
}

// testConditions writes the same item from many sides at once, each on the condition that it is not there.
func testConditions(t *testing.T, s *Stack, w *World) {
	client := dynamodb.NewFromConfig(user(s, w))
	for round := range 100 {
		var (
			all  sync.WaitGroup
			held atomic.Int64
		)
		for range 20 {
			all.Go(func() {
				_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{
					TableName: &w.Resources.Tables[0].Name, ConditionExpression: aws.String("attribute_not_exists(pk)"), Item: map[string]ddbtypes.AttributeValue{
						"pk": &ddbtypes.AttributeValueMemberS{Value: fmt.Sprintf("C#%d", round)}, "sk": &ddbtypes.AttributeValueMemberS{Value: "1"},
					},
				})
				if failed := (*ddbtypes.ConditionalCheckFailedException)(nil); err == nil {
					held.Add(1)
				} else if !errors.As(err, &failed) {
					t.Errorf("write: %v", err)
				}
			})
		}
		all.Wait()
		if n := held.Load(); n != 1 {
			t.Fatalf("round %d: %d writes found nothing there", round, n)
		}
	}
}

// testStops stops executions one moment later each, while their branches begin.
func testStops(t *testing.T, s *Stack, w *World) {
	var (
		client   = sfn.NewFromConfig(user(s, w))
		wait     = `{"StartAt":"Wait","States":{"Wait":{"Type":"Wait","Seconds":1,"Next":"Done"},"Done":{"Type":"Succeed"}}}`
		branches = strings.Repeat(wait+",", 30) + wait
	)
	machine, err := client.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
		Name: aws.String("branches"), RoleArn: aws.String("arn:aws:iam::" + w.Account + ":role/states"),
		Definition: aws.String(`{"StartAt":"All","States":{"All":{"Type":"Parallel","End":true,"Branches":[` + branches + `]}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		started, err := client.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: machine.StateMachineArn, Name: aws.String(fmt.Sprintf("after-%d", i))})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * time.Millisecond)
		if _, err := client.StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: started.ExecutionArn}); err != nil {
			t.Fatalf("stop after %d ms: %v", i, err)
		}
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			out, err := client.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: started.ExecutionArn})
			if err != nil {
				t.Fatal(err)
			}
			if out.Status == sfntypes.ExecutionStatusAborted {
				break
			}
			if out.Status != sfntypes.ExecutionStatusRunning || time.Now().After(end) {
				t.Fatalf("stopped after %d ms, it is %s", i, out.Status)
			}
		}
	}
}

func TestStartRefuses(t *testing.T) {
	taken, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := taken.Addr().(*net.TCPAddr).Port

	t.Run("BusyPort", func(t *testing.T) {
		_, err := Start(t.Context(), Options{Root: "testdata/root", State: t.TempDir(), Port: p})
		busy, ok := errors.AsType[*BusyError](err)
		if !ok {
			t.Fatalf("got %v", err)
		}
		want := fmt.Sprintf("port %d (the API) is in use: end what holds it, or choose three other ports in a row, for example PORT=%d", p, p+10)
		if busy.Error() != want {
			t.Errorf("got %q, want %q", busy.Error(), want)
		}
	})
	t.Run("NoVenv", func(t *testing.T) {
		_, err := Start(t.Context(), Options{Root: "testdata/root", State: t.TempDir(), Venv: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "make local-stack") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("NoTemplate", func(t *testing.T) {
		if _, err := Start(t.Context(), Options{Root: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		if os.Getenv("METAFLOW_DEPLOYER_VENV") == "" {
			t.Skip("METAFLOW_DEPLOYER_VENV names no Python environment with moto")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Start(ctx, Options{Root: "testdata/root", State: t.TempDir(), Venv: os.Getenv("METAFLOW_DEPLOYER_VENV")})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// Two stacks that start at the same moment must not come to share one moto.
func TestMotoKeepsItsPort(t *testing.T) {
	venv := os.Getenv("METAFLOW_DEPLOYER_VENV")
	if venv == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV names no Python environment with moto")
	}
	ln, err := listen(0, 0, "moto")
	if err != nil {
		t.Fatal(err)
	}
	p := port(ln)

	type started struct {
		moto *motoServer
		err  error
	}
	done := make(chan started, 1)
	go func() {
		moto, err := startMoto(t.Context(), Options{State: t.TempDir(), Venv: venv}, ln, 0)
		done <- started{moto, err}
	}()
	stolen := 0
	for {
		select {
		case s := <-done:
			if s.err != nil {
				t.Fatal(s.err)
			}
			s.moto.stop()
			if stolen > 0 {
				t.Errorf("somebody else could have had moto's port while it started, %d times", stolen)
			}
			return
		case <-time.After(time.Millisecond):
			if thief, err := listen(p, 0, "somebody else"); err == nil {
				stolen++
				thief.Close()
			}
		}
	}
}

func TestPrepareDefinition(t *testing.T) {
	in := `{"StartAt":"A","States":{
		"A":{"Type":"Task","Resource":"${F}","TimeoutSeconds":60,"Retry":[{"ErrorEquals":["X"],"IntervalSeconds":20,"MaxDelaySeconds":600,"MaxAttempts":30}],"Next":"B"},
		"B":{"Type":"Wait","Seconds":90,"Next":"C"},
		"C":{"Type":"Wait","Seconds":2,"Next":"D"},
		"D":{"Type":"Pass","Result":{"Seconds":90},"End":true}}}`
	want := `{"StartAt":"A","States":{` +
		`"A":{"Next":"B","Resource":"arn:f","Retry":[{"ErrorEquals":["X"],"IntervalSeconds":2,"MaxAttempts":30,"MaxDelaySeconds":60}],"TimeoutSeconds":60,"Type":"Task"},` +
		`"B":{"Next":"C","Seconds":9,"Type":"Wait"},"C":{"Next":"D","Seconds":1,"Type":"Wait"},"D":{"End":true,"Result":{"Seconds":90},"Type":"Pass"}}}`
	got, err := prepareDefinition([]byte(in), map[string]string{"F": "arn:f"}, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := prepareDefinition([]byte(in), nil, 0.1); err == nil || !strings.Contains(err.Error(), "${F}") {
		t.Errorf("a substitution that the template lacks: %v", err)
	}
}

func TestPattern(t *testing.T) {
	event := map[string]any{"source": "aws.states", "resources": []any{"a", "b"}, "detail": map[string]any{"status": "FAILED", "n": 1.0}}
	for name, tc := range map[string]struct {
		reason  string
		pattern string
		want    bool
	}{
		"Value":       {"one of the values", `{"source":["x","aws.states"]}`, true},
		"OtherValue":  {"none of the values", `{"source":["x"]}`, false},
		"Nested":      {"inside detail", `{"detail":{"status":["FAILED","ABORTED"]}}`, true},
		"NestedOther": {"all members must fit", `{"source":["aws.states"],"detail":{"status":["ABORTED"]}}`, false},
		"Prefix":      {"beginning of a text", `{"source":[{"prefix":"aws."}]}`, true},
		"OtherPrefix": {"other beginning", `{"source":[{"prefix":"gcp."}]}`, false},
		"Array":       {"any item of an array", `{"resources":["b"]}`, true},
		"Missing":     {"a member that the event lacks", `{"region":["x"]}`, false},
		"Number":      {"numbers compare by value", `{"detail":{"n":[1]}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			var p map[string]any
			if err := json.Unmarshal([]byte(tc.pattern), &p); err != nil {
				t.Fatal(err)
			}
			if err := checkPattern(p); err != nil {
				t.Fatal(err)
			}
			if got := matches(p, event); got != tc.want {
				t.Errorf("%s: got %v", tc.reason, got)
			}
		})
	}
	for _, bad := range []string{`{"a":[{"anything-but":"x"}]}`, `{"a":"x"}`, `{"a":{"b":[{"exists":true}]}}`} {
		var p map[string]any
		if err := json.Unmarshal([]byte(bad), &p); err != nil {
			t.Fatal(err)
		}
		if checkPattern(p) == nil {
			t.Errorf("%s is matched wrongly, not refused", bad)
		}
	}
}
