// Package lambdastep is the edge between the workflow and Lambda as Step Functions calls it: it gives errors the names that the state machine's Retry and
// Catch match on, turns a panic into an error, and nothing else.
package lambdastep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/sweep"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Wrap makes a Lambda handler of a function of the workflow. Lambda tells Step Functions only the outermost Go type of an error, so the name is set here
// once, by a messages.InvokeResponse_Error value.
func Wrap[O any](log *slog.Logger, run func(context.Context, workflow.Input) (O, error)) func(context.Context, workflow.Input) (O, error) {
	return func(ctx context.Context, in workflow.Input) (out O, err error) {
		defer func() {
			if r := recover(); r != nil {
				log.ErrorContext(ctx, "panic", "operation", in.Operation, "resource", in.Resource, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))

				err = named("Internal", "The function met an error of its own; its log tells more.")
			}
		}()

		out, err = run(ctx, in)
		if err == nil {
			return out, nil
		}

		if s, ok := errors.AsType[*workflow.Signal](err); ok {
			log.InfoContext(ctx, "signal", "operation", in.Operation, "resource", in.Resource, "verb", in.Verb, "signal", s.Name, "message", s.Message)

			return out, named(string(s.Name), s.Message)
		}

		log.ErrorContext(ctx, "unnamed error", "operation", in.Operation, "resource", in.Resource, "verb", in.Verb, "error", err)

		return out, named("Internal", "The function met an error of its own; its log tells more.")
	}
}

// Step is the handler of a worker function. It answers nothing: what came of the step stands in the record.
type Step = func(context.Context, workflow.Input) (struct{}, error)

// VerbSweep is what the schedule asks of a worker function; no state of the machine does.
const VerbSweep workflow.Verb = "sweep"

// Worker makes a worker and its family's sweep the handler of a function. What the sweep notes stands beside the records.
func Worker(w *workflow.Worker, family string, notes store.Sweeps) Step {
	sweeper := Sweeper(w, family, notes)

	return Wrap(w.Log, func(ctx context.Context, in workflow.Input) (struct{}, error) {
		if in.Verb == VerbSweep {
			return struct{}{}, sweeper.Run(ctx)
		}

		return struct{}{}, w.Run(ctx, in)
	})
}

// Sweeper is the sweeper of a worker's family. It stands on what the worker stands on.
func Sweeper(w *workflow.Worker, family string, notes store.Sweeps) *sweep.Sweeper {
	p := w.Place

	return &sweep.Sweeper{
		Records: w.Store, Notes: notes, Family: family, Kinds: w.Kinds, Boundary: p.Boundary, Clock: w.Clock, Log: w.Log,
		Place: deploy.Owner{Installation: p.Installation, Partition: p.Partition, Account: p.Account, Region: p.Region},
	}
}

func named(name, message string) error {
	return messages.InvokeResponse_Error{Type: name, Message: message}
}
