//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// calls keeps the calls that functions/batch can make in the binary.
func calls() []any {
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
		(*dynamodb.Client).DeleteItem,
		(*dynamodb.Client).PutItem,
		(*dynamodb.Client).Query,
		(*ec2.Client).DescribeInstanceTypeOfferings,
	}
}
