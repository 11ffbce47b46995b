package jobqueue

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned.
func (*JobQueue) Named(c *kind.Call) string { return queueName(c) }

// Template implements kind.Planned.
func (*JobQueue) Template(c *kind.Call) kind.Template {
	queue, _ := c.Spec.Queue(c.Ref.ID())

	var order []any
	for i, need := range c.Needs {
		order = append(order, map[string]any{"ComputeEnvironment": c.Refer(need), "Order": i + 1})
	}

	t := kind.Template{Type: "AWS::Batch::JobQueue", Properties: map[string]any{
		"JobQueueName": queueName(c), "State": "ENABLED", "Priority": queue.Priority, "ComputeEnvironmentOrder": order,
	}}

	if len(c.Owner.Tags) > 0 {
		t.Properties["Tags"] = c.Owner.Tags
	}

	return t
}
