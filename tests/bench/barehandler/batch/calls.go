//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/batchcalls"
)

// calls keeps the calls that functions/batch can make in the binary.
func calls() []any {
	return append(batchcalls.List(),
		(*dynamodb.Client).DeleteItem,
		(*dynamodb.Client).PutItem,
		(*dynamodb.Client).Query,
		(*ec2.Client).DescribeInstanceTypeOfferings,
	)
}
