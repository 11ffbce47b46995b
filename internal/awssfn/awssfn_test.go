package awssfn_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awssfn"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

const machine = "arn:aws-cn:states:cn-north-1:123456789012:stateMachine:deployments"

// fake keeps Step Functions' rules on names: an execution's name is taken for ever, and one that never was is ExecutionDoesNotExist.
type fake struct {
	inputs   map[string]string
	statuses map[string]types.ExecutionStatus
	broken   error
	// busy: so many starts are throttled; starts counts all of them.
	busy, starts int
}

func (f *fake) StartExecution(_ context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	if f.broken != nil {
		return nil, f.broken
	}

	if f.starts++; f.starts <= f.busy {
		return nil, &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}
	}

	if aws.ToString(in.StateMachineArn) != machine {
		return nil, &types.StateMachineDoesNotExist{}
	}

	if _, taken := f.inputs[*in.Name]; taken {
		return nil, &types.ExecutionAlreadyExists{}
	}

	arn := "arn:aws-cn:states:cn-north-1:123456789012:execution:deployments:" + *in.Name
	f.inputs[*in.Name], f.statuses[arn] = *in.Input, types.ExecutionStatusRunning

	return &sfn.StartExecutionOutput{ExecutionArn: &arn}, nil
}

func (f *fake) DescribeExecution(_ context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
	if f.broken != nil {
		return nil, f.broken
	}

	status, known := f.statuses[*in.ExecutionArn]
	if !known {
		return nil, &types.ExecutionDoesNotExist{}
	}

	return &sfn.DescribeExecutionOutput{Status: status}, nil
}

func execution() workflow.Execution {
	return workflow.Execution{Installation: "i", Tenant: "acme", Deployment: "research", Operation: "research-1", Epoch: 2}
}

func TestStart(t *testing.T) {
	t.Parallel()

	f := &fake{inputs: map[string]string{}, statuses: map[string]types.ExecutionStatus{}}
	s := awssfn.New(f, machine)

	for range 2 { // the second time, the name is taken: by ourselves
		if err := s.Start(t.Context(), execution()); err != nil {
			t.Fatal(err)
		}
	}

	want := `{"installation":"i","tenant":"acme","deployment":"research","operation":"research-1","epoch":2}`
	if got := f.inputs["research-1-2"]; got != want || len(f.inputs) != 1 {
		t.Errorf("got %v, want %s", f.inputs, want)
	}

	f.broken = errors.New("connection reset by peer")
	if err := s.Start(t.Context(), execution()); !errors.Is(err, f.broken) {
		t.Errorf("got %v", err)
	}
}

func TestStartIsThrottled(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason   string
		busy     int
		lifetime time.Duration
		started  bool
		longest  time.Duration
	}{
		"ForAWhile":    {"a storm passes", 4, 29 * time.Second, true, 10 * time.Second},
		"ForLong":      {"the watchdog starts it; the caller has waited long enough", 1000, 29 * time.Second, false, 10 * time.Second},
		"LittleTime":   {"the answer must still reach the caller", 1000, 5 * time.Second, false, 3 * time.Second},
		"NoTime":       {"it is tried once all the same", 0, time.Second, true, 0},
		"NoTimeEither": {"and no more", 1000, time.Second, false, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.lifetime)
				defer cancel()

				f := &fake{inputs: map[string]string{}, statuses: map[string]types.ExecutionStatus{}, busy: c.busy}
				began := time.Now()

				err := awssfn.New(f, machine).Start(ctx, execution())
				if (err == nil) != c.started || len(f.inputs) != map[bool]int{true: 1}[c.started] {
					t.Errorf("%s: %v", c.reason, err)
				}

				if took := time.Since(began); took > c.longest {
					t.Errorf("%s: it took %s", c.reason, took)
				}

				if f.starts > 100 {
					t.Errorf("%s: it was tried %d times", c.reason, f.starts)
				}
			})
		})
	}
}

func TestAlive(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason       string
		status       types.ExecutionStatus
		alive, known bool
	}{
		"Never":     {"the api died before it could start it", "", false, false},
		"Running":   {"it is at work", types.ExecutionStatusRunning, true, true},
		"Redriven":  {"it is about to go on", types.ExecutionStatusPendingRedrive, true, true},
		"Failed":    {"it ended in a way that no Catch sees", types.ExecutionStatusFailed, false, true},
		"TimedOut":  {"it ended", types.ExecutionStatusTimedOut, false, true},
		"Aborted":   {"somebody stopped it", types.ExecutionStatusAborted, false, true},
		"Succeeded": {"it ended behind the fence", types.ExecutionStatusSucceeded, false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			f := &fake{inputs: map[string]string{}, statuses: map[string]types.ExecutionStatus{}}
			if c.status != "" {
				f.statuses["arn:aws-cn:states:cn-north-1:123456789012:execution:deployments:research-1-2"] = c.status
			}

			alive, known, err := awssfn.New(f, machine).Alive(t.Context(), execution())
			if err != nil || alive != c.alive || known != c.known {
				t.Errorf("%s: got alive %t, known %t, %v", c.reason, alive, known, err)
			}
		})
	}

	f := &fake{broken: errors.New("connection reset by peer")}
	if _, _, err := awssfn.New(f, machine).Alive(t.Context(), execution()); !errors.Is(err, f.broken) {
		t.Errorf("what cannot be seen must not be taken for dead: got %v", err)
	}
}
