// Package servicelinkedrole sees to it that AWS Batch has its service-linked role, AWSServiceRoleForBatch. The role belongs to the account: every deployment
// uses it, whoever comes first makes it, and none removes it.
package servicelinkedrole

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// api is what this kind calls.
type api interface {
	GetRole(ctx context.Context, in *iam.GetRoleInput, opts ...func(*iam.Options)) (*iam.GetRoleOutput, error)
	CreateServiceLinkedRole(ctx context.Context, in *iam.CreateServiceLinkedRoleInput, opts ...func(*iam.Options)) (*iam.CreateServiceLinkedRoleOutput, error)
}

// ServiceLinkedRole is the kind.
type ServiceLinkedRole struct{ iam api }

// New takes the IAM client.
func New(client api) *ServiceLinkedRole { return &ServiceLinkedRole{iam: client} }

const (
	// name is the kind's name, which is also the ref.
	name = "service-linked-role"
	// service owns the role; role is its name. Batch user guide, "Using service-linked roles for AWS Batch".
	service = "batch.amazonaws.com"
	role    = "AWSServiceRoleForBatch"
)

// About implements kind.Kind.
func (*ServiceLinkedRole) About() kind.About {
	return kind.About{
		Name: name, Family: "iam", Component: "compute", Settings: deploy.Compute{}, Shared: true,
		Doc:      "The account's role that AWS Batch works as.",
		Ensuring: kind.Timing{Typical: time.Second, Deadline: 5 * time.Minute},
		Removing: kind.Timing{Deadline: time.Minute},
	}
}

// Plan asks for the role where there is a compute environment, managed or not. Batch would make it only for managed ones, and only if the caller may.
func (*ServiceLinkedRole) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Compute.Environments) == 0 {
		return nil
	}

	return []kind.Item{{Ref: name, Pointer: "/spec/compute/environments"}}
}

// Ensure implements kind.Kind.
func (s *ServiceLinkedRole) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	obs, err := s.Observe(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if obs.State != kind.Absent {
		return kind.Result{Done: obs.State == kind.Ready, ID: obs.ID, ARN: obs.ARN, Outputs: obs.Outputs, Waiting: "the role's ARN"}, nil
	}

	_, err = s.iam.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String(service)})
	if err != nil && !taken(err) {
		return kind.Result{}, fmt.Errorf("create service-linked role of %s: %w", service, err)
	}

	return kind.Result{Waiting: "the role to appear"}, nil
}

// taken: another deployment was quicker.
func taken(err error) bool {
	return awserr.Code(err) == "InvalidInput" && strings.Contains(err.Error(), "has been taken in this account")
}

// Remove implements kind.Kind: the role stays, since Batch refuses to lose it while anybody in the account uses it.
func (*ServiceLinkedRole) Remove(context.Context, *kind.Call) (kind.Result, error) {
	return kind.Result{Done: true, Kept: true}, nil
}

// Observe implements kind.Kind.
func (s *ServiceLinkedRole) Observe(ctx context.Context, _ *kind.Call) (kind.Observation, error) {
	out, err := s.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(role)})
	if awserr.Gone(err) {
		return kind.Observation{State: kind.Absent}, nil
	}

	if err != nil {
		return kind.Observation{}, fmt.Errorf("read role %s: %w", role, err)
	}

	obs := kind.Observation{State: kind.InProgress, ID: role, Outputs: map[string]string{"name": role}}

	if arn := aws.ToString(out.Role.Arn); awsarn.IsARN(arn) {
		obs.State, obs.ARN = kind.Ready, arn
	}

	return obs, nil
}
