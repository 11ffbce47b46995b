//go:build calls

package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// calls keeps the calls that functions/workflow can make in the binary.
func calls() []any {
	return []any{
		(*dynamodb.Client).PutItem,
		(*dynamodb.Client).Query,
		(*dynamodb.Client).TransactWriteItems,
	}
}
