//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/iamcalls"
)

// calls keeps the calls that functions/iam can make in the binary.
func calls() []any {
	return append(iamcalls.List(),
		(*dynamodb.Client).DeleteItem,
		(*dynamodb.Client).PutItem,
		(*dynamodb.Client).Query,
	)
}
