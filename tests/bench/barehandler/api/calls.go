//go:build calls

package main

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"

	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/batchcalls"
	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/ec2calls"
	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/iamcalls"
	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/s3calls"
	"github.com/metaflow-deployer/metaflow-deployer/tests/bench/barehandler/calls/sfncalls"
)

// calls keeps the calls that functions/api can make in the binary.
func calls() []any {
	return slices.Concat(batchcalls.List(), ec2calls.List(), iamcalls.List(), s3calls.List(), sfncalls.List(), []any{
		(*dynamodb.Client).DeleteItem,
		(*dynamodb.Client).PutItem,
		(*dynamodb.Client).Query,
		(*dynamodb.Client).TransactWriteItems,
		(*servicequotas.Client).GetServiceQuota,
	})
}
