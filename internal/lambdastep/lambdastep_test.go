package lambdastep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/metaflow-deployer/metaflow-deployer/internal/lambdastep"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// TestNameAndMessage: what Step Functions sees of an error, and what its history keeps.
func TestNameAndMessage(t *testing.T) {
	t.Parallel()

	const secret = "password=hunter2"

	cases := map[string]struct {
		reason string
		run    func() error
		name   string
	}{
		"Signal": {"each signal has a retrier of its own", func() error {
			return &workflow.Signal{Name: workflow.NotReady, Message: "CREATING"}
		}, "NotReady"},
		"Wrapped": {"whoever wraps it must not hide it", func() error {
			return fmt.Errorf("step: %w", &workflow.Signal{Name: workflow.Throttled, Message: "Rate exceeded"})
		}, "Throttled"},
		"Unnamed": {"what nobody named may hold anything", func() error { return errors.New(secret) }, "Internal"},
		"Panic":   {"a panic may hold anything", func() error { panic(secret) }, "Internal"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var log bytes.Buffer

			handler := lambdastep.Wrap(slog.New(slog.NewJSONHandler(&log, nil)), func(context.Context, workflow.Input) (struct{}, error) {
				return struct{}{}, c.run()
			})

			_, err := handler(t.Context(), workflow.Input{})

			// Lambda looks at the outermost type only.
			got, ok := err.(messages.InvokeResponse_Error) //nolint:errorlint // the outermost one is meant
			if !ok || got.Type != c.name {
				t.Fatalf("%s: got %T %v", c.reason, err, err)
			}

			if strings.Contains(got.Message, secret) {
				t.Errorf("%s, and the history would keep it: %q", c.reason, got.Message)
			}

			if c.name == "Internal" && !strings.Contains(log.String(), secret) {
				t.Errorf("the log must tell what the history does not: %s", log.String())
			}
		})
	}
}

func TestAnswerPassesThrough(t *testing.T) {
	t.Parallel()

	handler := lambdastep.Wrap(slog.New(slog.DiscardHandler), func(_ context.Context, in workflow.Input) (workflow.Plan, error) {
		return workflow.Plan{Turn: workflow.TurnEnsure, Epoch: in.Epoch}, nil
	})

	got, err := handler(t.Context(), workflow.Input{Execution: workflow.Execution{Epoch: 3}})
	if err != nil || got.Turn != workflow.TurnEnsure || got.Epoch != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
}
