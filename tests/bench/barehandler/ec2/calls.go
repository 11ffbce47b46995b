//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/ec2calls"
)

// calls keeps the calls that functions/ec2 can make in the binary.
func calls() []any {
	return append(ec2calls.List(),
		(*dynamodb.Client).DeleteItem,
		(*dynamodb.Client).PutItem,
		(*dynamodb.Client).Query,
	)
}
