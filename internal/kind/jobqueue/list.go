package jobqueue

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// List implements kind.Lister. Batch shows a deleted queue for a while longer.
func (q *JobQueue) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	var all []kind.Found

	pages := batch.NewDescribeJobQueuesPaginator(q.batch, &batch.DescribeJobQueuesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list job queues: %w", err)
		}

		for i := range page.JobQueues {
			d := &page.JobQueues[i]

			found := kind.Found{ID: aws.ToString(d.JobQueueName), ARN: aws.ToString(d.JobQueueArn), Tags: d.Tags}
			if d.Status != types.JQStatusDeleted && found.Of(place, name) {
				all = append(all, found)
			}
		}
	}

	return all, nil
}
