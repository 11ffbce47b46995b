// Package computeenvironment makes the compute environments of a deployment in AWS Batch: managed ones, whose instances Batch starts and stops, and
// unmanaged ones, to which the owner brings instances.
//
// Names are unique in the account and Region, so a create that is repeated is refused and makes nothing twice. A name cannot be used again while its
// environment is on its way out, and some settings are fixed for life; so the name ends in the generation, and a replacement gets a new one.
//
// That an environment cannot work is no API error: it turns INVALID, and only its status reason tells why. The package knows Batch, and of EC2 only
// which instance types the Region offers; it knows nothing of queues.
package computeenvironment

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// api is what this kind calls of AWS Batch.
type api interface {
	CreateComputeEnvironment(ctx context.Context, in *batch.CreateComputeEnvironmentInput, opts ...func(*batch.Options)) (*batch.CreateComputeEnvironmentOutput, error)
	DescribeComputeEnvironments(ctx context.Context, in *batch.DescribeComputeEnvironmentsInput, opts ...func(*batch.Options)) (*batch.DescribeComputeEnvironmentsOutput, error)
	UpdateComputeEnvironment(ctx context.Context, in *batch.UpdateComputeEnvironmentInput, opts ...func(*batch.Options)) (*batch.UpdateComputeEnvironmentOutput, error)
	DeleteComputeEnvironment(ctx context.Context, in *batch.DeleteComputeEnvironmentInput, opts ...func(*batch.Options)) (*batch.DeleteComputeEnvironmentOutput, error)
	TagResource(ctx context.Context, in *batch.TagResourceInput, opts ...func(*batch.Options)) (*batch.TagResourceOutput, error)
}

// offers is the one call of EC2.
type offers interface {
	DescribeInstanceTypeOfferings(ctx context.Context, in *ec2.DescribeInstanceTypeOfferingsInput, opts ...func(*ec2.Options)) (*ec2.DescribeInstanceTypeOfferingsOutput, error)
}

// ComputeEnvironment is the kind.
type ComputeEnvironment struct {
	batch api
	ec2   offers
}

// New takes the Batch client and, for the instance types that the Region offers, the EC2 client.
func New(client api, types offers) *ComputeEnvironment {
	return &ComputeEnvironment{batch: client, ec2: types}
}

const (
	name = "compute-environment"
	// what people read.
	noun = "compute environment"

	serviceRole     = "service-linked-role"
	subnet          = "subnet"
	securityGroup   = "security-group"
	instanceProfile = "instance-profile"
	launchTemplate  = "launch-template"
)

// About implements kind.Kind.
func (*ComputeEnvironment) About() kind.About {
	return kind.About{
		Name: name, Family: "batch", Component: "compute", Settings: deploy.Environment{}, Many: true, Replaceable: true,
		Doc:   "A Batch compute environment: what runs the jobs of the queues that name it.",
		Needs: []string{serviceRole, subnet, securityGroup, instanceProfile, launchTemplate},
		// An update of the infrastructure waits for running jobs, up to 30 minutes by default. Batch user guide, "Perform infrastructure updates".
		Ensuring: kind.Timing{Typical: 20 * time.Second, Deadline: 40 * time.Minute},
		// Instances are shut down first.
		Removing: kind.Timing{Typical: 90 * time.Second, Deadline: 30 * time.Minute},
	}
}

// fixed is what Batch cannot change in place, or only for environments of a certain make. API reference, UpdateComputeEnvironment.
type fixed struct {
	Type               deploy.EnvironmentType
	AllocationStrategy string
}

// Plan lists one environment for each of the spec. An unmanaged one needs no network and no instances of ours.
func (*ComputeEnvironment) Plan(spec deploy.Spec) []kind.Item {
	var items []kind.Item

	for i, e := range spec.Compute.Environments {
		item := kind.Item{
			Ref: deploy.NewRef(name, e.Name), Needs: []deploy.Ref{serviceRole}, Pointer: fmt.Sprintf("/spec/compute/environments/%d", i),
			Fixed: fixed{Type: e.Type, AllocationStrategy: e.AllocationStrategy},
		}

		if e.Type != deploy.Unmanaged {
			item.Needs = slices.Concat(item.Needs, networkNeeds(spec.Network), []deploy.Ref{instanceProfile, deploy.NewRef(launchTemplate, e.Name)})
		}

		items = append(items, item)
	}

	return items
}

// networkNeeds names the subnets and security groups as their kinds do: numbered from 1, and "jobs" for the group that we make.
func networkNeeds(n deploy.Network) []deploy.Ref {
	// Two zones by default, so that Batch has a choice.
	subnets, groups := max(2, len(n.Zones)), 0
	if n.Existing != nil {
		subnets, groups = len(n.Existing.SubnetIDs), len(n.Existing.SecurityGroupIDs)
	}

	var needs []deploy.Ref

	for i := range subnets {
		needs = append(needs, deploy.NewRef(subnet, strconv.Itoa(i+1)))
	}

	for i := range groups {
		needs = append(needs, deploy.NewRef(securityGroup, strconv.Itoa(i+1)))
	}

	if groups == 0 {
		needs = append(needs, deploy.NewRef(securityGroup, "jobs"))
	}

	return needs
}

// Ensure implements kind.Kind.
func (e *ComputeEnvironment) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := e.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return e.create(ctx, c)
	}

	if !c.Owns(found.Tags) {
		return kind.Result{}, c.Foreign(noun, environmentName(c))
	}

	result := kind.Result{ID: environmentName(c), ARN: aws.ToString(found.ComputeEnvironmentArn), Outputs: outputs(c), Waiting: string(found.Status)}

	switch found.Status {
	case types.CEStatusValid:
		forget(c, memoInvalid, memoNudged)
	case types.CEStatusInvalid:
		return e.revive(ctx, c, found, result)
	default: // CREATING, UPDATING, and DELETING: the name is free again when that is over
		return result, nil
	}

	wanted, err := e.want(ctx, c)
	if err != nil {
		return result, err
	}

	differences := compare(c, wanted, found)
	if len(differences) == 0 {
		result.Done, result.Waiting = true, ""

		return result, nil
	}

	result.Waiting = string(types.CEStatusUpdating)

	return result, e.update(ctx, c, found, differences)
}

// Remove implements kind.Kind. It removes the environment of every generation, what an update that broke off left behind, too; or of the one that another
// replaces.
func (e *ComputeEnvironment) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	all, err := e.list(ctx)
	if err != nil {
		return kind.Result{}, err
	}

	ours := slices.DeleteFunc(all, func(d types.ComputeEnvironmentDetail) bool {
		n := aws.ToString(d.ComputeEnvironmentName)
		if c.Past != "" && n != environmentName(c) {
			return true
		}

		return !strings.HasPrefix(n, c.Name(c.Ref.ID())+"-") || !c.Owns(d.Tags)
	})

	if len(ours) == 0 {
		forget(c, memoDeleting)

		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no compute environment was made"}, nil
	}

	result := kind.Result{}

	for _, d := range ours {
		waiting, err := e.retire(ctx, c, d)
		if err != nil {
			return kind.Result{}, err
		}

		result.Waiting = waiting
	}

	return result, nil
}

// Observe implements kind.Kind.
func (e *ComputeEnvironment) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	found, err := e.find(ctx, c)
	if err != nil {
		return kind.Observation{}, err
	}

	if found == nil || !c.Owns(found.Tags) {
		return kind.Observation{State: kind.Absent}, nil
	}

	obs := kind.Observation{ID: environmentName(c), ARN: aws.ToString(found.ComputeEnvironmentArn), Outputs: outputs(c)}

	switch found.Status {
	case types.CEStatusValid:
		obs.State = kind.Ready
	case types.CEStatusInvalid:
		obs.State = kind.Failed
	default:
		obs.State = kind.InProgress
	}

	wanted, err := e.want(ctx, c)
	if err != nil {
		return kind.Observation{}, err
	}

	obs.NotChecked = notChecked(wanted != nil)

	for _, d := range compare(c, wanted, found) {
		obs.Differences = append(obs.Differences, d.Difference)
	}

	return obs, nil
}

// environmentName is at most 33 (slug) + 1 + 24 + 1 + 8 = 67 characters; AWS allows 128.
func environmentName(c *kind.Call) string { return c.Name(c.Ref.ID() + "-" + c.Generation()) }

func outputs(c *kind.Call) map[string]string {
	return map[string]string{"name": environmentName(c)}
}

// find returns the environment of our name, whoever made it, or nil. Batch answers an empty list for what is not there, and for a while after a removal
// an entry that says DELETED.
func (e *ComputeEnvironment) find(ctx context.Context, c *kind.Call) (*types.ComputeEnvironmentDetail, error) {
	n := environmentName(c)

	out, err := e.batch.DescribeComputeEnvironments(ctx, &batch.DescribeComputeEnvironmentsInput{ComputeEnvironments: []string{n}})
	if err != nil {
		return nil, fmt.Errorf("describe compute environment %s: %w", n, err)
	}

	for _, d := range out.ComputeEnvironments {
		if aws.ToString(d.ComputeEnvironmentName) == n && d.Status != types.CEStatusDeleted {
			return &d, nil
		}
	}

	return nil, nil
}

// list returns every environment of the account and Region that counts against the quota.
func (e *ComputeEnvironment) list(ctx context.Context) ([]types.ComputeEnvironmentDetail, error) {
	var all []types.ComputeEnvironmentDetail

	pages := batch.NewDescribeComputeEnvironmentsPaginator(e.batch, &batch.DescribeComputeEnvironmentsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list compute environments: %w", err)
		}

		all = append(all, page.ComputeEnvironments...)
	}

	return slices.DeleteFunc(all, func(d types.ComputeEnvironmentDetail) bool { return d.Status == types.CEStatusDeleted }), nil
}

// create sends the create call. The look before found nothing of that name.
func (e *ComputeEnvironment) create(ctx context.Context, c *kind.Call) (kind.Result, error) {
	wanted, err := e.want(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	in := &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String(environmentName(c)), Type: types.CETypeManaged, State: types.CEStateEnabled, ComputeResources: wanted, Tags: c.Tags(),
	}

	if wanted == nil {
		in.Type = types.CETypeUnmanaged
		// Batch takes its service-linked role by itself for managed environments only. API reference, CreateComputeEnvironment, serviceRole.
		in.ServiceRole = aws.String(c.One(serviceRole).ARN)
	}

	result := kind.Result{ID: environmentName(c), Outputs: outputs(c), Waiting: "CREATING"}

	looked := func(context.Context) (string, error) { return "", nil }

	_, err = kind.Repeatable(ctx, c, looked, func(ctx context.Context) (string, error) {
		out, err := e.batch.CreateComputeEnvironment(ctx, in)
		if awserr.Is(err, deploy.Conflict) {
			return "", nil // an earlier attempt's or somebody else's: the next look reads its tags
		}

		if err != nil {
			return "", fmt.Errorf("create compute environment %s: %w", environmentName(c), err)
		}

		result.ARN = aws.ToString(out.ComputeEnvironmentArn)

		return environmentName(c), nil
	})

	return result, err
}

// update changes what differs, and nothing else: members that are sent are taken for changes, and some turn a quick update into one of minutes.
func (e *ComputeEnvironment) update(ctx context.Context, c *kind.Call, found *types.ComputeEnvironmentDetail, differences []difference) error {
	var (
		in        = &batch.UpdateComputeEnvironmentInput{ComputeEnvironment: found.ComputeEnvironmentName}
		resources types.ComputeResourceUpdate
		send      bool
	)

	for _, d := range differences {
		switch d.Property {
		case kind.PropertyTags:
			// The owner's further tags stay: TagResource adds and replaces only.
			if _, err := e.batch.TagResource(ctx, &batch.TagResourceInput{ResourceArn: found.ComputeEnvironmentArn, Tags: c.Tags()}); err != nil {
				return fmt.Errorf("tag compute environment %s: %w", environmentName(c), err)
			}
		case propertyState:
			in.State, send = types.CEStateEnabled, true
		default:
			d.apply(&resources)
			// An empty computeResources is refused: "At least one compute-resources attribute must be specified".
			in.ComputeResources, send = &resources, true
		}
	}

	if !send {
		return nil
	}

	if _, err := e.batch.UpdateComputeEnvironment(ctx, in); err != nil {
		return fmt.Errorf("update compute environment %s: %w", environmentName(c), err)
	}

	return nil
}
