// Package awssfn starts executions on Step Functions and looks at them. It knows ARNs and execution names; what an execution does it does not know.
package awssfn

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type api interface {
	StartExecution(ctx context.Context, in *sfn.StartExecutionInput, opts ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error)
	DescribeExecution(ctx context.Context, in *sfn.DescribeExecutionInput, opts ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error)
}

// Starter implements workflow.Starter on one state machine.
type Starter struct {
	sfn     api
	machine string
}

// New takes the client and the state machine's ARN.
func New(client api, stateMachineARN string) *Starter {
	return &Starter{sfn: client, machine: stateMachineARN}
}

// A start that is throttled is tried again for patience, or until so much of the caller's time is left; pauses are at most longest.
const (
	patience = 10 * time.Second
	left     = 2 * time.Second
	longest  = 2 * time.Second
)

// Start starts the execution `<operation>-<epoch>`. That it exists already is success: names stay taken for 90 days, so it can only be ours. Step Functions
// lets some hundred starts a second pass (docs/adr/0014); beyond that, the caller of a create waits some seconds here rather than minutes for the watchdog.
func (s *Starter) Start(ctx context.Context, e workflow.Execution) error {
	input, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the input of %s: %w", name(e), err)
	}

	until := time.Now().Add(patience)
	if end, ok := ctx.Deadline(); ok && end.Add(-left).Before(until) {
		until = end.Add(-left)
	}

	for pause := 200 * time.Millisecond; ; pause = min(2*pause, longest) {
		_, err = s.sfn.StartExecution(ctx, &sfn.StartExecutionInput{
			StateMachineArn: aws.String(s.machine), Name: aws.String(name(e)), Input: aws.String(string(input)),
		})

		// Full jitter: those who were throttled together must not come back together.
		wait := rand.N(pause) //nolint:gosec // a pause is no secret
		if !awserr.Is(err, deploy.Throttled) || time.Now().Add(wait).After(until) {
			break
		}

		time.Sleep(wait) // ends before the context does
	}

	if err != nil && awserr.Code(err) != "ExecutionAlreadyExists" {
		return fmt.Errorf("start execution %s: %w", name(e), err)
	}

	return nil
}

// Alive looks at the execution. This is the watchdog's look, once for an operation that has gone quiet; nothing else asks Step Functions.
func (s *Starter) Alive(ctx context.Context, e workflow.Execution) (alive, known bool, err error) {
	arn := strings.Replace(s.machine, ":stateMachine:", ":execution:", 1) + ":" + name(e)

	out, err := s.sfn.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: aws.String(arn)})
	if awserr.Code(err) == "ExecutionDoesNotExist" {
		return false, false, nil
	}

	if err != nil {
		return false, false, fmt.Errorf("describe execution %s: %w", name(e), err)
	}

	return out.Status == types.ExecutionStatusRunning || out.Status == types.ExecutionStatusPendingRedrive, true, nil
}

func name(e workflow.Execution) string { return e.Operation + "-" + strconv.Itoa(e.Epoch) }
