package jobqueue

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned. Batch sends what jobs print to CloudWatch Logs (Batch user guide, "Use the awslogs log driver").
func (*JobQueue) Cost(c *kind.Call) []deploy.CostLine {
	return []deploy.CostLine{
		kind.Free(c, "job queue", "AWS Batch is free; what runs the jobs is paid for with the compute environments."),
		kind.Used(c, "logs of jobs", "logs/ingest", "What jobs print, when it is taken in. It is kept in the account's log group /aws/batch/job, which is not this deployment's."),
	}
}
