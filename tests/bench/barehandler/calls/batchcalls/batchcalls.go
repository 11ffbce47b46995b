// Package batchcalls lists what functions/api and functions/batch call of Batch, for the bare handlers that can make the same calls.
package batchcalls

import "github.com/aws/aws-sdk-go-v2/service/batch"

// List keeps the calls in the binary.
func List() []any {
	return []any{
		(*batch.Client).CreateComputeEnvironment,
		(*batch.Client).CreateJobQueue,
		(*batch.Client).DeleteComputeEnvironment,
		(*batch.Client).DeleteJobQueue,
		(*batch.Client).DescribeComputeEnvironments,
		(*batch.Client).DescribeJobQueues,
		(*batch.Client).ListJobs,
		(*batch.Client).TagResource,
		(*batch.Client).TerminateJob,
		(*batch.Client).UpdateComputeEnvironment,
		(*batch.Client).UpdateJobQueue,
	}
}
