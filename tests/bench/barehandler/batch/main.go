// Command batch is the baseline for functions/batch: a Lambda handler that has the same SDK clients and does nothing with them. Built with the tag calls, it can also
// make the calls that the function makes; without, the linker leaves out all of them.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

func main() {
	cfg, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		os.Exit(1)
	}

	batchClient := batch.NewFromConfig(cfg)
	dynamodbClient := dynamodb.NewFromConfig(cfg)
	ec2Client := ec2.NewFromConfig(cfg)

	lambda.Start(func(context.Context) ([]any, error) {
		return append(calls(), batchClient.Options().Region, dynamodbClient.Options().Region, ec2Client.Options().Region), nil
	})
}
