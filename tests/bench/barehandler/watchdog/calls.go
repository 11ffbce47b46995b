//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
)

// calls keeps the calls that functions/watchdog can make in the binary.
func calls() []any {
	return []any{
		(*dynamodb.Client).Query,
		(*dynamodb.Client).TransactWriteItems,
		(*sfn.Client).DescribeExecution,
		(*sfn.Client).StartExecution,
	}
}
