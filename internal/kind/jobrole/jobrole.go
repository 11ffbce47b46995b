// Package jobrole makes the IAM role that Metaflow's jobs run as: it may read and write the deployment's data and nothing else.
//
// It must not know Batch: the role is trusted to ECS tasks, which is what Batch runs jobs as.
package jobrole

import (
	"context"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamrole"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/policydoc"
)

// JobRole is the kind.
type JobRole struct{ iam iamrole.API }

// New takes the IAM client.
func New(client iamrole.API) *JobRole { return &JobRole{iam: client} }

const (
	// name is the kind's name, which is also the ref: a deployment has one job role.
	name = "job-role"
	// service assumes the role.
	service = "ecs-tasks.amazonaws.com"
)

// About implements kind.Kind.
func (*JobRole) About() kind.About {
	return kind.About{
		Name: name, Family: "iam", Component: "access", Settings: deploy.Access{},
		Doc: "The IAM role that jobs run as.",
		// Jobs run as it until the last queue and instance are gone.
		RemoveAfter: []string{"job-queue", "compute-environment"},
		Ensuring:    kind.Timing{Typical: 2 * time.Second, Deadline: 5 * time.Minute},
		Removing:    kind.Timing{Typical: 2 * time.Second, Deadline: 15 * time.Minute},
	}
}

// Plan asks for a job role always.
func (*JobRole) Plan(spec deploy.Spec) []kind.Item {
	if e := spec.Access.Existing; e != nil {
		return []kind.Item{{Ref: name, Existing: e.JobRoleARN, Pointer: "/spec/access/existing/jobRoleArn"}}
	}

	return []kind.Item{{Ref: name, Pointer: "/spec/access"}}
}

// Ensure implements kind.Kind.
func (j *JobRole) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	return iamrole.Ensure(ctx, j.iam, c, role(c))
}

// Remove implements kind.Kind.
func (j *JobRole) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	return iamrole.Remove(ctx, j.iam, c, c.Name("job"))
}

// Observe implements kind.Kind.
func (j *JobRole) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	if c.Existing != "" {
		obs, _, err := iamrole.Existing(ctx, j.iam, c, service)

		return obs, err
	}

	return iamrole.Observe(ctx, j.iam, c, role(c))
}

// Check implements kind.Checker: an existing role that ECS tasks can assume and that the caller may use; or a name that is free.
func (j *JobRole) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if c.Existing == "" {
		return iamrole.Vacant(ctx, j.iam, c, role(c).Name)
	}

	findings, err := kind.CheckExisting(ctx, j, c, "role")
	if err != nil || len(findings) > 0 {
		return findings, err
	}

	_, tags, err := iamrole.Existing(ctx, j.iam, c, service)
	if err != nil {
		return nil, err
	}

	return kind.Allowed(c, "role", deploy.GrantRole, tags), nil
}

// role is what Metaflow's jobs need. They never delete, and they list because without s3:ListBucket a missing key answers 403 instead of 404, which
// Metaflow takes for a lack of permission.
func role(c *kind.Call) iamrole.Role {
	bucket, prefix := c.Owner.Bucket(c.Spec)

	objects := bucket + "/*"
	if prefix != "" {
		objects = bucket + "/" + prefix + "/*"
	}

	return iamrole.Role{
		Name: c.Name("job"),
		// Nobody but this account's tasks: IAM user guide, "The confused deputy problem".
		Trust: policydoc.Trust(service, map[string]map[string]string{"StringEquals": {"aws:SourceAccount": c.Owner.Account}}),
		Inline: policydoc.New(
			policydoc.Statement{
				Sid: "Data", Effect: policydoc.Allow, Action: []string{"s3:GetObject", "s3:PutObject"},
				Resource: []string{c.Owner.ARN("s3", "", "", objects)},
			},
			policydoc.Statement{
				Sid: "List", Effect: policydoc.Allow, Action: []string{"s3:ListBucket"},
				Resource: []string{c.Owner.ARN("s3", "", "", bucket)},
			},
		),
	}
}
