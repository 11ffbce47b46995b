// Package internetgateway makes the internet gateway of a deployment's VPC and attaches it.
//
// CreateInternetGateway has neither a client token nor a unique name, so a gateway is searched by tag before it is created (kind.Once).
package internetgateway

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// api is what this kind calls.
type api interface {
	CreateInternetGateway(ctx context.Context, in *ec2.CreateInternetGatewayInput, opts ...func(*ec2.Options)) (*ec2.CreateInternetGatewayOutput, error)
	DescribeInternetGateways(ctx context.Context, in *ec2.DescribeInternetGatewaysInput, opts ...func(*ec2.Options)) (*ec2.DescribeInternetGatewaysOutput, error)
	AttachInternetGateway(ctx context.Context, in *ec2.AttachInternetGatewayInput, opts ...func(*ec2.Options)) (*ec2.AttachInternetGatewayOutput, error)
	DetachInternetGateway(ctx context.Context, in *ec2.DetachInternetGatewayInput, opts ...func(*ec2.Options)) (*ec2.DetachInternetGatewayOutput, error)
	DeleteInternetGateway(ctx context.Context, in *ec2.DeleteInternetGatewayInput, opts ...func(*ec2.Options)) (*ec2.DeleteInternetGatewayOutput, error)
	ec2tag.API
}

// InternetGateway is the kind.
type InternetGateway struct{ ec2 api }

// New takes the EC2 client.
func New(client api) *InternetGateway { return &InternetGateway{ec2: client} }

// name is the kind's name, which is also the ref: a VPC takes one internet gateway.
const name = "internet-gateway"

// About implements kind.Kind.
func (*InternetGateway) About() kind.About {
	return kind.About{
		Name: name, Family: "ec2", Component: "network", Settings: deploy.Network{}, Needs: []string{"vpc"},
		Doc:      "The way from the network to the internet.",
		Ensuring: kind.Timing{Typical: 3 * time.Second, Deadline: 5 * time.Minute},
		// Detaching waits for the last public address in the VPC, which an instance's network interface may hold for up to 45 minutes.
		Removing: kind.Timing{Typical: 3 * time.Second, Deadline: time.Hour},
	}
}

// Plan asks for a gateway in a network that we make.
func (*InternetGateway) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Managed()) == 0 || spec.Network.Existing != nil {
		return nil
	}

	return []kind.Item{{Ref: name, Needs: []deploy.Ref{"vpc"}, Pointer: "/spec/network"}}
}

// Ensure implements kind.Kind.
func (g *InternetGateway) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	var found *types.InternetGateway

	id, err := kind.Once(ctx, c, func(ctx context.Context) (string, error) {
		var err error
		found, err = g.find(ctx, c)

		return id(found), err
	}, func(ctx context.Context) (string, error) {
		out, err := g.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{
			TagSpecifications: ec2tag.Spec(types.ResourceTypeInternetGateway, c.Tags()),
		}, ec2tag.OneAttempt)
		if err != nil {
			return "", fmt.Errorf("create internet gateway: %w", err)
		}

		found = out.InternetGateway

		return id(found), nil
	})
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{ID: id, Waiting: "to see the internet gateway"}, nil
	}

	obs := observe(c, found)
	result := kind.Result{Done: obs.State == kind.Ready, ID: id, ARN: obs.ARN, Outputs: obs.Outputs, Waiting: "attaching"}

	for _, d := range obs.Differences {
		mended, err := g.mend(ctx, c, id, d)
		if err != nil {
			return kind.Result{ID: id, Waiting: d.Property}, err
		}

		result.Done = result.Done && mended
	}

	return result, nil
}

// mend puts one property right, and tells whether EC2 has done so. An attachment is left to the next look.
func (g *InternetGateway) mend(ctx context.Context, c *kind.Call, id string, d kind.Difference) (bool, error) {
	switch {
	case d.Property == kind.PropertyTags:
		return ec2tag.Mend(ctx, g.ec2, c, id)
	case d.Have != kind.None:
		return false, c.Immutable("internet gateway", id, d)
	default:
		return false, g.attach(ctx, c, id)
	}
}

func (g *InternetGateway) attach(ctx context.Context, c *kind.Call, id string) error {
	_, err := g.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: aws.String(id), VpcId: aws.String(c.One("vpc").ID)})
	// An attachment that we do not see yet answers Resource.AlreadyAssociated; a gateway or VPC that EC2 does not see yet answers "not found". The next
	// look tells.
	if err = awserr.IgnoreGone(err); err != nil && awserr.Code(err) != "Resource.AlreadyAssociated" {
		return fmt.Errorf("attach internet gateway %s: %w", id, err)
	}

	return nil
}

// Remove implements kind.Kind. A detach is refused (DependencyViolation) while anything in the VPC has a public address; the caller looks again.
func (g *InternetGateway) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := g.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no internet gateway was made"}, nil
	}

	for _, a := range found.Attachments {
		_, err := g.ec2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: found.InternetGatewayId, VpcId: a.VpcId})
		if err = awserr.IgnoreGone(err); err != nil {
			return kind.Result{ID: id(found)}, fmt.Errorf("detach internet gateway %s: %w", id(found), err)
		}
	}

	_, err = g.ec2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: found.InternetGatewayId})
	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id(found)}, fmt.Errorf("delete internet gateway %s: %w", id(found), err)
	}

	c.Removed()

	return kind.Result{ID: id(found), Waiting: "deleting"}, nil
}

// Observe implements kind.Kind.
func (g *InternetGateway) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	found, err := g.find(ctx, c)
	if err != nil || found == nil {
		return kind.Observation{State: kind.Absent}, err
	}

	return observe(c, found), nil
}

func observe(c *kind.Call, found *types.InternetGateway) kind.Observation {
	obs := kind.Observation{
		State: kind.Ready, ID: id(found),
		ARN: c.Owner.ARN("ec2", c.Owner.Region, c.Owner.Account, "internet-gateway/"+id(found)),
	}

	vpc := ""

	for _, a := range found.Attachments {
		switch a.State {
		// EC2 shows a gateway's attachment as "available", a state that its own enumeration does not have (API reference, InternetGatewayAttachment).
		case "available", types.AttachmentStatusAttached:
		case types.AttachmentStatusAttaching, types.AttachmentStatusDetaching:
			obs.State = kind.InProgress
		case types.AttachmentStatusDetached:
			continue
		}

		vpc = aws.ToString(a.VpcId)
	}

	obs.Differences = kind.Differing(kind.Difference{Property: "vpcId", Want: c.One("vpc").ID, Have: vpc}, ec2tag.Differ(c, found.Tags))

	return obs
}

// Service Quotas, "Internet gateways per Region", 5 by default; it rises with "VPCs per Region".
const (
	quotaGateways   = "L-A4707A72"
	defaultGateways = 5
)

// Check implements kind.Checker: room for one more internet gateway.
func (g *InternetGateway) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	have := 0

	pages := ec2.NewDescribeInternetGatewaysPaginator(g.ec2, &ec2.DescribeInternetGatewaysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("count internet gateways: %w", err)
		}

		for i := range page.InternetGateways {
			if c.Owns(ec2tag.Map(page.InternetGateways[i].Tags)) {
				return nil, nil // left over from an earlier attempt: nothing new is needed
			}
		}

		have += len(page.InternetGateways)
	}

	return kind.Headroom(c, "internet gateways", have, c.Quota(ctx, "vpc", quotaGateways, defaultGateways),
		"Request an increase of \"Internet gateways per Region\" in Service Quotas, delete an internet gateway, or name a network of your own under network.existing."), nil
}

// find returns the gateway that carries our tags, or nil.
func (g *InternetGateway) find(ctx context.Context, c *kind.Call) (*types.InternetGateway, error) {
	out, err := g.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: ec2tag.Filters(c.Identity())})
	if err != nil {
		return nil, fmt.Errorf("look for the internet gateway by tag: %w", err)
	}

	if len(out.InternetGateways) == 0 {
		return nil, nil
	}

	return &out.InternetGateways[0], nil
}

func id(g *types.InternetGateway) string {
	if g == nil {
		return ""
	}

	return aws.ToString(g.InternetGatewayId)
}
