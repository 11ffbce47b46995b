package simulation

import (
	"context"
	"encoding/json"

	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Invoke calls a function as the state machine would; for tests that play the machine's part.
func (w *World) Invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	return w.invoke(ctx, function, payload)
}

// Stop ends an execution from outside, as StopExecution does: functions that run go on.
func (w *World) Stop(e workflow.Execution) {
	w.mu.Lock()
	r := w.executions[executionName(e)]
	w.mu.Unlock()

	if r != nil {
		r.cancel()
	}
}
