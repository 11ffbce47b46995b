// Command api is the Lambda function behind API Gateway: the public contract. It checks, writes the header of an operation and starts its execution; it
// may look at AWS and change nothing there.
package main

import (
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awspermits"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awssfn"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/egress"
	"github.com/metaflow-deployer/metaflow-deployer/internal/httpapi"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/lambdahttp"
	"github.com/metaflow-deployer/metaflow-deployer/internal/portal"
	"github.com/metaflow-deployer/metaflow-deployer/internal/prices"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

type config struct {
	Table         string `env:"TABLE"`
	Installation  string `env:"INSTALLATION"`
	Partition     string `env:"PARTITION"`
	Account       string `env:"ACCOUNT"`
	Region        string `env:"AWS_REGION"`
	Boundary      string `env:"BOUNDARY"`
	StateMachine  string `env:"STATE_MACHINE"`
	TenantClaim   string `env:"TENANT_CLAIM"`
	RolesClaim    string `env:"ROLES_CLAIM"`
	IamPrincipals string `env:"IAM_PRINCIPALS"`
	TenantLimits  string `env:"TENANT_LIMITS"`
	PathStyle     string `env:"S3_PATH_STYLE"`
	S3Role        string `env:"S3_ROLE"`
	IamRole       string `env:"IAM_ROLE"`
	Ec2Role       string `env:"EC2_ROLE"`
	BatchRole     string `env:"BATCH_ROLE"`
	OidcIssuer    string `env:"OIDC_ISSUER"`
	OidcAudience  string `env:"OIDC_AUDIENCE"`
	OidcClientID  string `env:"OIDC_CLIENT_ID"`
	OidcScope     string `env:"OIDC_SCOPE"`
	PortalConnect string `env:"PORTAL_CONNECT"`
	Origins       string `env:"WEBHOOK_ORIGINS"`
}

// version is set by the linker.
var version = "development"

func main() { awsconf.Start(wire) }

func wire(log *slog.Logger, sdk aws.Config, c config) (lambdahttp.Handler, error) {
	grants, err := awsconf.JSON[map[string]lambdahttp.Grant]("IAM_PRINCIPALS", c.IamPrincipals)
	if err != nil {
		return nil, err
	}

	limits, err := awsconf.JSON[deploy.Limits]("TENANT_LIMITS", c.TenantLimits)
	if err != nil {
		return nil, err
	}

	origins, err := awsconf.JSON[[]string]("WEBHOOK_ORIGINS", c.Origins)
	if err != nil {
		return nil, err
	}

	out, err := egress.New(origins)
	if err != nil {
		return nil, err
	}

	principals, err := lambdahttp.NewPrincipals(c.TenantClaim, c.RolesClaim, grants)
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

	priced, err := prices.Load()
	if err != nil {
		return nil, err
	}

	place := workflow.Place{Installation: c.Installation, Partition: c.Partition, Account: c.Account, Region: c.Region, Boundary: c.Boundary}
	permits := awspermits.New(iam.NewFromConfig(sdk), map[string]string{"s3": c.S3Role, "iam": c.IamRole, "ec2": c.Ec2Role, "batch": c.BatchRole}, awspermits.Place{
		Partition: c.Partition, Account: c.Account, Region: c.Region, Installation: c.Installation, Boundary: c.Boundary,
	}, time.Now)

	table := dynamo.New(dynamodb.NewFromConfig(sdk), c.Table)
	control := &workflow.Control{
		Store: table, Graphs: graphs, Starter: awssfn.New(sfn.NewFromConfig(sdk), c.StateMachine),
		Place: place, Clock: workflow.WallClock{}, NewID: workflow.NewID, Quota: awsconf.Quota(servicequotas.NewFromConfig(sdk), log),
		Limits: limits, Grants: table, Permits: permits, Prices: priced, Log: log,
	}

	page, err := portal.New(portal.Options{
		Issuer: c.OidcIssuer, ClientID: c.OidcClientID, Scope: c.OidcScope, Audience: c.OidcAudience, TenantClaim: c.TenantClaim, RolesClaim: c.RolesClaim,
		Connect: c.PortalConnect,
	})
	if err != nil {
		return nil, err
	}

	handler := httpapi.New(httpapi.Options{
		Control: control, Records: table, Graphs: graphs, Place: deploy.Place{Partition: c.Partition, Account: c.Account, Region: c.Region},
		Principal: principals.Principal, RequestID: lambdahttp.RequestID, CheckURL: out.CheckURL, Clock: workflow.WallClock{}, Log: log,
		Version: version, Portal: page,
	})

	return lambdahttp.New(handler, log), nil
}
