// Command customresource is the Lambda function behind Custom::MetaflowEnvironment. CloudFormation calls it by an alias that is named after a tenant, and
// whose resource policy admits the accounts that an admin bound to that tenant; the table's stream and a schedule call it by its own name, to answer
// stacks whose operation has ended or whose patience ends.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awssfn"
	"github.com/metaflow-deployer/metaflow-deployer/internal/cfnresource"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type config struct {
	Table        string `env:"TABLE"`
	Installation string `env:"INSTALLATION"`
	Partition    string `env:"PARTITION"`
	Account      string `env:"ACCOUNT"`
	Region       string `env:"AWS_REGION"`
	Boundary     string `env:"BOUNDARY"`
	StateMachine string `env:"STATE_MACHINE"`
	TenantLimits string `env:"TENANT_LIMITS"`
	PathStyle    string `env:"S3_PATH_STYLE"`
	URLSuffix    string `env:"URL_SUFFIX"`
	Origins      string `env:"RESPONSE_ORIGINS"`
}

// function is what one call works with.
type function struct{ resource *cfnresource.Resource }

func main() { awsconf.Start(wire) }

func wire(log *slog.Logger, sdk aws.Config, c config) (func(context.Context, json.RawMessage) error, error) {
	limits, err := awsconf.JSON[deploy.Limits]("TENANT_LIMITS", c.TenantLimits)
	if err != nil {
		return nil, err
	}

	origins, err := awsconf.JSON[[]string]("RESPONSE_ORIGINS", c.Origins)
	if err != nil {
		return nil, err
	}

	responder, err := cfnresource.NewResponder(c.Region, c.URLSuffix, origins, workflow.WallClock{})
	if err != nil {
		return nil, err
	}

	graphs, err := workflow.NewGraphs(all.Kinds(all.Clients{
		S3:  s3.NewFromConfig(sdk, func(o *s3.Options) { o.UsePathStyle = c.PathStyle == "true" }),
		IAM: iam.NewFromConfig(sdk), EC2: ec2.NewFromConfig(sdk), Batch: batch.NewFromConfig(sdk),
	}))
	if err != nil {
		return nil, err
	}

	table := dynamo.New(dynamodb.NewFromConfig(sdk), c.Table)

	return function{&cfnresource.Resource{
		Control: &workflow.Control{
			Store: table, Graphs: graphs, Starter: awssfn.New(sfn.NewFromConfig(sdk), c.StateMachine),
			Place: workflow.Place{Installation: c.Installation, Partition: c.Partition, Account: c.Account, Region: c.Region, Boundary: c.Boundary},
			Clock: workflow.WallClock{}, NewID: workflow.NewID, Quota: awsconf.Quota(servicequotas.NewFromConfig(sdk), log),
			Limits: limits, Grants: table, Log: log,
		},
		Records: table, Sender: responder, Clock: workflow.WallClock{}, Log: log,
	}}.handle, nil
}

// handle tells who calls by the name that was called, because an event says what its sender likes: whoever may call an alias speaks for its tenant, and can
// send nothing but requests of CloudFormation.
func (f function) handle(ctx context.Context, raw json.RawMessage) error {
	tenant := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		tenant = alias(lc.InvokedFunctionArn)
	}

	var from struct {
		Source  string                       `json:"source"`
		Records []events.DynamoDBEventRecord `json:"Records"`
	}

	if tenant == "" {
		if err := json.Unmarshal(raw, &from); err != nil {
			return errors.New("the event cannot be read") // the error might quote it
		}
	}

	switch {
	case from.Source == "aws.events":
		return f.resource.Tick(ctx)
	case len(from.Records) > 0:
		return f.changed(ctx, from.Records)
	}

	var e cfnresource.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return errors.New("the event cannot be read")
	}

	return f.resource.Handle(ctx, tenant, e)
}

// alias is the qualifier by which a function was called, if it is the name of an alias and neither a version nor $LATEST.
func alias(arn string) string {
	parts := strings.Split(arn, ":")
	if len(parts) != 8 || !deploy.ValidTenant(parts[7]) {
		return ""
	}

	return parts[7]
}

// changed looks after the deployments of which the stream's records tell something new.
func (f function) changed(ctx context.Context, records []events.DynamoDBEventRecord) error {
	var (
		seen = map[deploy.Key]bool{}
		all  []error
	)

	for _, record := range records {
		pk, body := record.Change.NewImage["pk"], record.Change.NewImage["body"]
		if pk.DataType() != events.DataTypeString || body.DataType() != events.DataTypeString {
			continue
		}

		e, ok, err := dynamo.EventOf(pk.String(), body.String())
		if err != nil {
			all = append(all, err)
		}

		if !ok || seen[e.Key] || !e.State.Done() {
			continue
		}

		seen[e.Key] = true

		if err := f.resource.Changed(ctx, e.Key); err != nil {
			all = append(all, fmt.Errorf("look after %s: %w", e.Name, err))
		}
	}

	return errors.Join(all...)
}
