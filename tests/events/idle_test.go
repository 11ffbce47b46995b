package events_test

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// idle starts no execution: the test sends the machine's events itself.
type idle struct{}

func (idle) Start(context.Context, workflow.Execution) error { return nil }

func (idle) Alive(context.Context, workflow.Execution) (alive, known bool, err error) {
	return true, true, nil
}
