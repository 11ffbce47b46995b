//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/s3calls"
)

// calls keeps the calls that functions/s3 can make in the binary.
func calls() []any {
	return append(s3calls.List(),
		(*dynamodb.Client).DeleteItem,
		(*dynamodb.Client).PutItem,
		(*dynamodb.Client).Query,
	)
}
