package simulation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/asl"
)

// script answers invocations: what a function says depends on its verb and resource and on how often it was asked, and on nothing else. An answer that
// begins with a brace is a result, any other is the name of an error. The last answer is given for ever.
type script struct {
	answers map[string][]string

	mu    sync.Mutex
	asked map[string]int
}

func (s *script) answer(payload []byte) string {
	var in struct{ Verb, Resource string }
	if err := json.Unmarshal(payload, &in); err != nil {
		return "States.Runtime"
	}

	who := strings.TrimSpace(in.Verb + " " + in.Resource)

	s.mu.Lock()
	defer s.mu.Unlock()

	list := s.answers[who]
	if len(list) == 0 {
		return "{}"
	}

	if s.asked == nil {
		s.asked = map[string]int{}
	}

	i := min(s.asked[who], len(list)-1)
	s.asked[who]++

	return list[i]
}

// way is what an execution did: the states that it entered and how it ended. Branches run side by side, so the states stand in the order of their names.
type way struct {
	Entered []string
	End     string
}

// TestInterpreterAgreesWithMoto runs the same definitions with the same answers on this repository's interpreter and on moto's engine.
func TestInterpreterAgreesWithMoto(t *testing.T) {
	venv := os.Getenv("METAFLOW_DEPLOYER_VENV")
	if venv == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV names no Python environment with moto: see `make test`")
	}

	var playing struct {
		sync.Mutex
		*script
	}

	lambda := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}

		playing.Lock()
		s := playing.script
		playing.Unlock()

		answer := s.answer(payload)

		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Amzn-Requestid", "1")

		if !strings.HasPrefix(answer, "{") {
			w.Header().Set("X-Amz-Function-Error", "Unhandled")

			answer = fmt.Sprintf(`{"errorType":%q,"errorMessage":"scripted"}`, answer)
		}

		_, _ = io.WriteString(w, answer)
	}))
	defer lambda.Close()

	client := moto(t, venv, lambda.Listener.Addr().(*net.TCPAddr).Port)

	real, plan := realMachine(t)

	for name, tc := range map[string]struct {
		reason, definition string
		answers            map[string][]string
	}{
		"RetryCounters": {
			"each retrier counts for itself, and the catcher comes when one is used up",
			`{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"FN","Parameters":{"verb":"a"},"ResultPath":null,"Next":"B",
			"Retry":[{"ErrorEquals":["X"],"IntervalSeconds":1,"BackoffRate":1,"MaxAttempts":2,"MaxDelaySeconds":1},{"ErrorEquals":["Y"],"IntervalSeconds":1,"BackoffRate":1,"MaxAttempts":1,"MaxDelaySeconds":1}],
			"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.fault","Next":"C"}]},"B":{"Type":"Succeed"},"C":{"Type":"Succeed"}}}`,
			map[string][]string{"a": {"X", "Y", "X", "Y"}},
		},
		"RetrySucceeds": {
			"a retrier that is not used up leads on",
			`{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"FN","Parameters":{"verb":"a"},"ResultPath":"$.plan","Next":"B",
			"Retry":[{"ErrorEquals":["X"],"IntervalSeconds":1,"BackoffRate":1,"MaxAttempts":2,"MaxDelaySeconds":1}]},
			"B":{"Type":"Choice","Choices":[{"Variable":"$.plan.turn","StringEquals":"left","Next":"L"},{"Variable":"$.plan.want","BooleanEquals":true,"Next":"R"}],"Default":"D"},
			"L":{"Type":"Succeed"},"R":{"Type":"Succeed"},"D":{"Type":"Succeed"}}}`,
			map[string][]string{"a": {"X", "X", `{"turn":"right","want":true}`}},
		},
		"Uncaught": {
			"an error that nobody retries or catches fails the execution",
			`{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"FN","Parameters":{"verb":"a"},"ResultPath":null,"Next":"B","Catch":[{"ErrorEquals":["Y"],"ResultPath":null,"Next":"B"}]},"B":{"Type":"Succeed"}}}`,
			map[string][]string{"a": {"X"}},
		},
		"Map": {
			"a Map runs its states once for each item and throws its result away",
			`{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":1,"Next":"M"},"M":{"Type":"Map","ItemsPath":"$.each","MaxConcurrency":1,"ItemSelector":{"ref.$":"$$.Map.Item.Value"},"ResultPath":null,"End":true,
			"ItemProcessor":{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"FN","Parameters":{"verb":"a","resource.$":"$.ref"},"ResultPath":null,"End":true,"Catch":[{"ErrorEquals":["X"],"ResultPath":null,"Next":"R"}]},"R":{"Type":"Succeed"}}}}}}`,
			map[string][]string{"a two": {"X"}},
		},
		"ParallelCaught": {
			"a branch that fails fails the Parallel, which catches it",
			`{"StartAt":"P","States":{"P":{"Type":"Parallel","ResultPath":null,"Next":"E","Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":null,"Next":"C"}],
			"Branches":[{"StartAt":"X","States":{"X":{"Type":"Task","Resource":"FN","Parameters":{"verb":"x"},"ResultPath":null,"End":true}}}]},"E":{"Type":"Succeed"},"C":{"Type":"Succeed"}}}`,
			map[string][]string{"x": {"Boom"}},
		},
		"Create": {
			"the product's own machine, with waits and throttles on the way", real,
			map[string][]string{
				"begin": {plan("ensure")}, "settle": {plan("close")}, "ensure vpc": {"NotReady", "Throttled", "{}"}, "ensure bucket": {"Lambda.TooManyRequestsException", "{}"},
				"ensure subnet/1": {"Waiting", "{}"}, "close": {"Transient", "{}"},
			},
		},
		"Rollback": {
			"a resource that fails for good ends its chain, and the removal follows", real,
			map[string][]string{
				"begin": {plan("ensure")}, "settle": {plan("remove")}, "ensure vpc": {"NotReady", "Failed"}, "ensure subnet/2": {"Unheard.Of"}, "remove bucket": {"Failed"},
			},
		},
		"Stop": {"another operation has taken over", real, map[string][]string{"begin": {plan("stop")}}},
	} {
		t.Run(name, func(t *testing.T) {
			definition := strings.ReplaceAll(tc.definition, `"FN"`, `"arn:aws:lambda:us-east-1:123456789012:function:fn"`)
			input := `{"installation":"i","tenant":"t","deployment":"d","operation":"o","epoch":1,"each":["one","two"]}`

			playing.Lock()
			playing.script = &script{answers: tc.answers}
			playing.Unlock()

			want := onMoto(t.Context(), t, client, name, definition, input)
			got := here(t, definition, input, &script{answers: tc.answers})

			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-moto +interpreter):\n%s", tc.reason, diff)
			}

			t.Logf("%d states, %s", len(got.Entered), got.End)
		})
	}
}

// here runs a definition on the interpreter.
func here(t *testing.T, definition, input string, s *script) (w way) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		t.Helper()

		m, err := asl.Load([]byte(definition), nil)
		if err != nil {
			t.Fatal(err)
		}

		trace := &asl.Trace{}

		_, err = m.Run(t.Context(), []byte(input), func(_ context.Context, _ string, payload json.RawMessage) (json.RawMessage, error) {
			answer := s.answer(payload)
			if !strings.HasPrefix(answer, "{") {
				return nil, &asl.Error{Name: answer, Cause: "scripted"}
			}

			return json.RawMessage(answer), nil
		}, rand.New(rand.NewPCG(1, 1)), trace)

		w = way{Entered: trace.Entered, End: "SUCCEEDED"}

		if failure, ok := errors.AsType[*asl.Error](err); ok {
			w.End = "FAILED " + failure.Name
		}
	})

	slices.Sort(w.Entered)

	return w
}

// onMoto runs a definition on moto's engine.
func onMoto(ctx context.Context, t *testing.T, client *sfn.Client, name, definition, input string) way {
	t.Helper()

	made, err := client.CreateStateMachine(ctx, &sfn.CreateStateMachineInput{
		Name: aws.String(name), Definition: aws.String(definition), RoleArn: aws.String("arn:aws:iam::123456789012:role/r"),
	})
	if err != nil {
		t.Fatal(err)
	}

	started, err := client.StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: made.StateMachineArn, Input: aws.String(input)})
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()

	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()

	for {
		found, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: started.ExecutionArn})
		if err != nil {
			t.Fatal(err)
		}

		if found.Status != types.ExecutionStatusRunning {
			w := way{End: strings.TrimSpace(string(found.Status) + " " + aws.ToString(found.Error))}

			history, err := client.GetExecutionHistory(ctx, &sfn.GetExecutionHistoryInput{ExecutionArn: started.ExecutionArn, MaxResults: 1000})
			if err != nil {
				t.Fatal(err)
			}

			for _, e := range history.Events {
				if d := e.StateEnteredEventDetails; d != nil {
					w.Entered = append(w.Entered, aws.ToString(d.Name))
				}
			}

			slices.Sort(w.Entered)

			return w
		}

		<-poll.C
	}
}

// realMachine is the product's definition with its waits cut to a second, and a writer of plans in which everything is wanted.
func realMachine(t *testing.T) (definition string, plan func(turn string) string) {
	t.Helper()

	text, err := os.ReadFile(filepath.Join(simulation.Root(), "statemachine", "deployment.asl.json"))
	if err != nil {
		t.Fatal(err)
	}

	text = regexp.MustCompile(`\$\{[A-Za-z0-9]+\}`).ReplaceAll(text, []byte("arn:aws:lambda:us-east-1:123456789012:function:fn"))
	text = regexp.MustCompile(`"(IntervalSeconds|MaxDelaySeconds|Seconds)": [0-9]+`).ReplaceAll(text, []byte(`"$1": 1`))

	want, nap, each := map[string]bool{}, map[string]bool{}, map[string][]string{}
	for _, m := range regexp.MustCompile(`\$\.plan\.want\.(\w+)`).FindAllSubmatch(text, -1) {
		want[string(m[1])] = true
	}

	for _, m := range regexp.MustCompile(`\$\.plan\.nap\.(\w+)`).FindAllSubmatch(text, -1) {
		nap[string(m[1])] = true
	}

	for _, m := range regexp.MustCompile(`\$\.plan\.each\.(\w+)`).FindAllSubmatch(text, -1) {
		name := string(m[1])
		each[name] = []string{strings.ReplaceAll(name, "_", "-") + "/1", strings.ReplaceAll(name, "_", "-") + "/2"}
	}

	return string(text), func(turn string) string {
		p, err := json.Marshal(map[string]any{"turn": turn, "epoch": 1, "want": want, "nap": nap, "each": each})
		if err != nil {
			t.Fatal(err)
		}

		return string(p)
	}
}

// moto starts moto's server, which calls functions at a port of ours.
func moto(t *testing.T, venv string, functions int) *sfn.Client {
	t.Helper()

	var lc net.ListenConfig

	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = l.Close()

	var log bytes.Buffer

	cmd := exec.CommandContext(context.Background(), filepath.Join(venv, "bin", "python"), "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
	cmd.Env = append(os.Environ(), "MOTO_PORT="+strconv.Itoa(functions), "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x")
	cmd.Stdout, cmd.Stderr = io.Discard, &log

	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()

	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/moto-api/config", strings.NewReader(`{"stepfunctions":{"execute_state_machine":true}}`))
		if err != nil {
			t.Fatal(err)
		}

		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()

			break
		}

		if ctx.Err() != nil {
			t.Fatalf("moto does not start: %v\n%s", err, log.String())
		}

		<-poll.C
	}

	return sfn.New(sfn.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://" + address), Credentials: credentials.NewStaticCredentialsProvider("x", "x", ""),
	})
}
