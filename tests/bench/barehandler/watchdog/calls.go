//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/sfncalls"
)

// calls keeps the calls that functions/watchdog can make in the binary.
func calls() []any {
	return append(sfncalls.List(),
		(*dynamodb.Client).Query,
		(*dynamodb.Client).TransactWriteItems,
	)
}
