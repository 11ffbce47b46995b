// Package instancerole makes the IAM role of the instances that Batch starts: with it the ECS agent on an instance joins its cluster and pulls images.
// Jobs do not run as it.
package instancerole

import (
	"context"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamrole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/policydoc"
)

// InstanceRole is the kind.
type InstanceRole struct{ iam iamrole.API }

// New takes the IAM client.
func New(client iamrole.API) *InstanceRole { return &InstanceRole{iam: client} }

// name is the kind's name, which is also the ref: all environments of a deployment share one instance role.
const name = "instance-role"

// About implements kind.Kind.
func (*InstanceRole) About() kind.About {
	return kind.About{
		Name: name, Family: "iam", Component: "compute", Settings: deploy.Compute{},
		Doc: "The IAM role of the instances that run jobs.",
		// Batch uses the role while it deletes an environment; one whose role went first is stuck for ever.
		RemoveAfter: []string{"compute-environment"},
		Ensuring:    kind.Timing{Typical: 2 * time.Second, Deadline: 5 * time.Minute},
		Removing:    kind.Timing{Typical: 2 * time.Second, Deadline: 15 * time.Minute},
	}
}

// Plan asks for an instance role where Batch starts instances.
func (*InstanceRole) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Managed()) == 0 {
		return nil
	}

	return []kind.Item{{Ref: name, Pointer: "/spec/compute/environments"}}
}

// Ensure implements kind.Kind.
func (i *InstanceRole) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	return iamrole.Ensure(ctx, i.iam, c, role(c))
}

// Remove implements kind.Kind.
func (i *InstanceRole) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	return iamrole.Remove(ctx, i.iam, c, c.Name("instance"))
}

// Observe implements kind.Kind.
func (i *InstanceRole) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	return iamrole.Observe(ctx, i.iam, c, role(c))
}

func role(c *kind.Call) iamrole.Role {
	return iamrole.Role{
		Name: c.Name("instance"),
		// EC2 sets no aws:SourceAccount when it assumes an instance role; a condition on it would lock the instances out.
		Trust: policydoc.Trust("ec2.amazonaws.com", nil),
		// Batch user guide, "Amazon ECS instance role".
		Attached: []string{c.Owner.ARN("iam", "", "aws", "policy/service-role/AmazonEC2ContainerServiceforEC2Role")},
	}
}
