// Package dynamotest has what tests and benchmarks of the store need of a DynamoDB: a table, and pages out of many deployments with their price.
//
// It must not know which DynamoDB answers.
package dynamotest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Table makes a table as template.yaml describes it, until the test ends; save the stream: nobody reads it here, and moto copies it whole with each
// transaction.
func Table(tb testing.TB, client *dynamodb.Client) string {
	tb.Helper()

	ctx := tb.Context()
	name := fmt.Sprintf("records-%d", time.Now().UnixNano())
	in := &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest, KeySchema: keySchema("pk", "sk"),
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{
			{IndexName: aws.String("tenant-index"), KeySchema: keySchema("gsi1pk", "gsi1sk"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll}},
			{
				IndexName: aws.String("unfinished-index"), KeySchema: keySchema("gsi2pk", "gsi2sk"),
				Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
			},
		},
	}

	for _, a := range []string{"pk", "sk", "gsi1pk", "gsi1sk", "gsi2pk", "gsi2sk"} {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &a, AttributeType: types.ScalarAttributeTypeS})
	}

	if _, err := client.CreateTable(ctx, in); err != nil {
		tb.Fatalf("create table: %v", err)
	}

	tb.Cleanup(func() {
		if _, err := client.DeleteTable(context.WithoutCancel(ctx), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			tb.Errorf("delete table: %v", err)
		}
	})

	if err := dynamodb.NewTableExistsWaiter(client).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &name}, time.Minute); err != nil {
		tb.Fatalf("wait for the table: %v", err)
	}

	if _, err := client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: &name, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	}); err != nil {
		tb.Fatalf("set the table's TTL: %v", err)
	}

	return name
}

func keySchema(hash, sort string) []types.KeySchemaElement {
	return []types.KeySchemaElement{{AttributeName: &hash, KeyType: types.KeyTypeHash}, {AttributeName: &sort, KeyType: types.KeyTypeRange}}
}
