// Package computeenvironment makes the Batch compute environments of a deployment: managed EC2 ones that scale to zero, and unmanaged ones whose instances
// the owner brings.
//
// Two choices decide what can ever be changed later: no service role is given, so Batch uses its service-linked role, and the allocation strategy is named.
// With both, Batch changes nearly everything in place. An environment that turns INVALID is neither a success nor an AWS error; its statusReason
// is read.
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

// api is what this kind calls on Batch.
type api interface {
	CreateComputeEnvironment(ctx context.Context, in *batch.CreateComputeEnvironmentInput, opts ...func(*batch.Options)) (*batch.CreateComputeEnvironmentOutput, error)
	DescribeComputeEnvironments(ctx context.Context, in *batch.DescribeComputeEnvironmentsInput, opts ...func(*batch.Options)) (*batch.DescribeComputeEnvironmentsOutput, error)
	UpdateComputeEnvironment(ctx context.Context, in *batch.UpdateComputeEnvironmentInput, opts ...func(*batch.Options)) (*batch.UpdateComputeEnvironmentOutput, error)
	DeleteComputeEnvironment(ctx context.Context, in *batch.DeleteComputeEnvironmentInput, opts ...func(*batch.Options)) (*batch.DeleteComputeEnvironmentOutput, error)
}

// offerings is what it asks of EC2: only EC2 says which instance types a Region has.
type offerings interface {
	DescribeInstanceTypeOfferings(ctx context.Context, in *ec2.DescribeInstanceTypeOfferingsInput, opts ...func(*ec2.Options)) (*ec2.DescribeInstanceTypeOfferingsOutput, error)
}

// ComputeEnvironment is the kind.
type ComputeEnvironment struct {
	batch api
	ec2   offerings
}

// New takes the Batch client, and EC2's for what the Region offers.
func New(client api, types offerings) *ComputeEnvironment {
	return &ComputeEnvironment{batch: client, ec2: types}
}

const name = "compute-environment"

// Lines of the notebook.
const (
	memoTypes   = "instanceTypes"
	memoCreated = "created"
)

// young is how long after its creation an environment may be INVALID because its roles are not known everywhere yet: twice the IAM propagation of
// minutes that Terraform's AWS provider allows for, rounded.
const young = 3 * time.Minute

// About implements kind.Kind.
func (*ComputeEnvironment) About() kind.About {
	return kind.About{
		Name: name, Family: "batch", Component: "compute", Settings: deploy.Environment{}, Many: true,
		Doc:      "What runs the jobs: instances that Batch starts and stops, or that you bring.",
		Needs:    []string{"service-linked-role", "subnet", "security-group", "instance-profile", "launch-template"},
		Ensuring: kind.Timing{Typical: 25 * time.Second, Deadline: 20 * time.Minute},
		// Instances drain first: 5 to 15 minutes, longer when Spot or scaling is slow.
		Removing: kind.Timing{Typical: 90 * time.Second, Deadline: time.Hour},
	}
}

// Plan asks for one for each environment of the spec.
func (*ComputeEnvironment) Plan(spec deploy.Spec) []kind.Item {
	var items []kind.Item

	for i, e := range spec.Compute.Environments {
		item := kind.Item{
			Ref: deploy.NewRef(name, e.Name), Needs: []deploy.Ref{"service-linked-role"}, Pointer: "/spec/compute/environments/" + strconv.Itoa(i),
			Fixed: struct{ Type deploy.EnvironmentType }{e.Type},
		}

		if e.Type != deploy.Unmanaged {
			item.Needs = append(item.Needs, network(spec)...)
			item.Needs = append(item.Needs, "instance-profile", deploy.NewRef("launch-template", e.Name))
		}

		items = append(items, item)
	}

	return items
}

// network lists the subnets and security groups of a spec by the refs that their kinds give them.
func network(spec deploy.Spec) []deploy.Ref {
	subnets, groups := max(2, len(spec.Network.Zones)), 0
	if e := spec.Network.Existing; e != nil {
		subnets, groups = len(e.SubnetIDs), len(e.SecurityGroupIDs)
	}

	var refs []deploy.Ref
	for i := range subnets {
		refs = append(refs, deploy.NewRef("subnet", strconv.Itoa(i+1)))
	}

	if groups == 0 {
		return append(refs, deploy.NewRef("security-group", "jobs"))
	}

	for i := range groups {
		refs = append(refs, deploy.NewRef("security-group", strconv.Itoa(i+1)))
	}

	return refs
}

// Ensure implements kind.Kind.
func (k *ComputeEnvironment) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	env, _ := c.Spec.Environment(c.Ref.ID())

	wanted, err := k.types(ctx, c, env)
	if err != nil {
		return kind.Result{}, err
	}

	found, err := k.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return k.create(ctx, c, env, wanted)
	}

	if !c.Owns(found.Tags) {
		return kind.Result{}, c.Foreign("compute environment", nameOf(c))
	}

	result := kind.Result{
		ID: aws.ToString(found.ComputeEnvironmentName), ARN: aws.ToString(found.ComputeEnvironmentArn), Waiting: string(found.Status),
		Outputs: map[string]string{"type": string(env.Type)},
	}

	switch found.Status {
	case types.CEStatusInvalid:
		return result, k.invalid(ctx, c, found)
	case types.CEStatusValid:
	default:
		return result, nil
	}

	update, differences := k.compare(c, env, wanted, found)
	if len(differences) == 0 {
		result.Done = true

		return result, nil
	}

	if _, err := k.batch.UpdateComputeEnvironment(ctx, update); err != nil {
		return result, fmt.Errorf("update compute environment %s: %w", nameOf(c), err)
	}

	result.Waiting = "UPDATING"

	return result, nil
}

func (k *ComputeEnvironment) create(ctx context.Context, c *kind.Call, env deploy.Environment, wanted []string) (kind.Result, error) {
	in := &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String(nameOf(c)), State: types.CEStateEnabled, Tags: c.Tags(), Type: types.CETypeUnmanaged,
	}

	if env.Type != deploy.Unmanaged {
		in.Type = types.CETypeManaged
		in.ComputeResources = &types.ComputeResource{
			Type: types.CRTypeEc2, AllocationStrategy: types.CRAllocationStrategy(env.AllocationStrategy),
			MinvCpus: aws.Int32(int32(env.MinVcpus)), MaxvCpus: aws.Int32(int32(env.MaxVcpus)), //nolint:gosec // validated to be at most 10,000
			InstanceTypes: wanted, InstanceRole: aws.String(c.One("instance-profile").ARN),
			Subnets: ids(c.All("subnet")), SecurityGroupIds: ids(c.All("security-group")),
			LaunchTemplate: template(c), Tags: c.Tags(),
		}
	}

	c.Note(memoCreated, c.Now().UTC().Format(time.RFC3339))

	out, err := k.batch.CreateComputeEnvironment(ctx, in)
	if awserr.Is(err, deploy.Conflict) {
		return kind.Result{Waiting: "to see whose environment of that name it is"}, nil
	}

	if err != nil {
		return kind.Result{}, fmt.Errorf("create compute environment %s: %w", nameOf(c), err)
	}

	return kind.Result{ID: nameOf(c), ARN: aws.ToString(out.ComputeEnvironmentArn), Waiting: string(types.CEStatusCreating)}, nil
}

// invalid tells a young environment whose roles are not known everywhere yet, which an update with nothing new makes Batch look at again, from one that
// stays INVALID.
func (k *ComputeEnvironment) invalid(ctx context.Context, c *kind.Call, found *types.ComputeEnvironmentDetail) error {
	reason := aws.ToString(found.StatusReason)

	created, err := time.Parse(time.RFC3339, c.Memo[memoCreated])
	if err != nil {
		created = c.Now() // the create's answer was lost before the note was kept: count from now
		c.Note(memoCreated, created.UTC().Format(time.RFC3339))
	}

	if propagation(reason) && c.Now().Sub(created) < young {
		_, err := k.batch.UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
			ComputeEnvironment: aws.String(nameOf(c)), State: types.CEStateEnabled,
		})
		if err != nil {
			return fmt.Errorf("ask Batch to look at compute environment %s again: %w", nameOf(c), err)
		}

		return nil
	}

	return deploy.Errorf(deploy.Invalid, "environment_invalid", "Batch says that compute environment %s is INVALID: %s", nameOf(c), deploy.Scrub(reason)).
		WithRemedy("Read the reason: usually a quota, a policy of the organization, or an instance type that the Region or zone lacks.")
}

// propagation tells whether a statusReason is what Batch says while a role or profile is not known to it yet.
func propagation(reason string) bool {
	for _, text := range []string{"AssumeRole", "not authorized", "is not authorized", "nstance profile", "nstanceProfile", "nvalid IAM", "does not exist"} {
		if strings.Contains(reason, text) {
			return true
		}
	}

	return false
}

// Remove implements kind.Kind: disable, wait until nothing is updated, delete, wait until it is not listed.
func (k *ComputeEnvironment) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := k.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that none was made"}, nil
	}

	if !c.Owns(found.Tags) {
		return kind.Result{Done: true}, nil // not ours: our create was refused because of it
	}

	switch found.Status {
	case types.CEStatusValid, types.CEStatusInvalid:
	default:
		return kind.Result{Waiting: string(found.Status)}, nil
	}

	if found.State == types.CEStateEnabled {
		// Send nothing else: https://docs.aws.amazon.com/batch/latest/userguide/delete-compute-environments.html
		_, err := k.batch.UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
			ComputeEnvironment: aws.String(nameOf(c)), State: types.CEStateDisabled,
		})
		if err != nil {
			return kind.Result{}, gone(err, "disable compute environment %s: %w", nameOf(c))
		}

		return kind.Result{Waiting: "disabling"}, nil
	}

	if _, err := k.batch.DeleteComputeEnvironment(ctx, &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: aws.String(nameOf(c))}); err != nil {
		return kind.Result{}, gone(err, "delete compute environment %s: %w", nameOf(c))
	}

	return kind.Result{Waiting: string(types.CEStatusDeleting)}, nil
}

// gone leaves it to the next look to see that something vanished meanwhile.
func gone(err error, format, name string) error {
	if awserr.Gone(err) {
		return nil
	}

	return fmt.Errorf(format, name, err)
}

// Observe implements kind.Kind.
func (k *ComputeEnvironment) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	found, err := k.find(ctx, c)
	if err != nil {
		return kind.Observation{}, err
	}

	if found == nil || !c.Owns(found.Tags) {
		return kind.Observation{State: kind.Absent}, nil
	}

	env, _ := c.Spec.Environment(c.Ref.ID())
	obs := kind.Observation{
		ID: aws.ToString(found.ComputeEnvironmentName), ARN: aws.ToString(found.ComputeEnvironmentArn), State: kind.InProgress,
		Outputs: map[string]string{"type": string(env.Type)},
	}

	switch found.Status {
	case types.CEStatusInvalid:
		obs.State = kind.Failed
	case types.CEStatusValid:
		obs.State = kind.Ready
		_, obs.Differences = k.compare(c, env, split(c.Memo[memoTypes]), found)
	default:
	}

	return obs, nil
}

// fixedLimit is how many compute environments an account may have in a Region; it cannot be raised. Batch user guide, "Service quotas".
const fixedLimit = 50

// Check implements kind.Checker: room for the spec's environments (reported with the first), and instance types that the Region has.
func (k *ComputeEnvironment) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	findings, err := k.room(ctx, c)
	if err != nil {
		return nil, err
	}

	env, _ := c.Spec.Environment(c.Ref.ID())

	for i, want := range env.InstanceTypes {
		offered, err := k.offered(ctx, []string{want})
		if err != nil {
			return nil, err
		}

		if len(offered) == 0 {
			findings = append(findings, deploy.Errorf(deploy.Invalid, "unknown_instance_type", "%s does not offer %s.", c.Owner.Region, want).
				WithRemedy("Name instance types (m5.large) or families (m5) that EC2 offers in %s, or leave the list out.", c.Owner.Region).
				At(c.Pointer+"/instanceTypes/"+strconv.Itoa(i)).Finding())
		}
	}

	return findings, nil
}

func (k *ComputeEnvironment) room(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if c.Ref.ID() != c.Spec.Compute.Environments[0].Name {
		return nil, nil
	}

	have := 0

	pages := batch.NewDescribeComputeEnvironmentsPaginator(k.batch, &batch.DescribeComputeEnvironmentsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("count compute environments: %w", err)
		}

		have += len(page.ComputeEnvironments)
	}

	return kind.Headroom(c, "compute environments", have+len(c.Spec.Compute.Environments)-1, fixedLimit,
		"AWS does not raise this quota. Delete a compute environment, or use another Region or account."), nil
}

// candidates are current general-purpose families for x86, the default where the owner names no types. Older ones, such as the c4 that templates of the past
// name, are missing in newer Regions.
func candidates() []string { return []string{"m5", "m6i", "m7i", "c5", "r5"} }

// types answers the instance types of an environment: the owner's, or those of the candidates that the Region offers, decided once and noted.
func (k *ComputeEnvironment) types(ctx context.Context, c *kind.Call, env deploy.Environment) ([]string, error) {
	if env.Type == deploy.Unmanaged || len(env.InstanceTypes) > 0 {
		return env.InstanceTypes, nil
	}

	if noted := split(c.Memo[memoTypes]); len(noted) > 0 {
		return noted, nil
	}

	offered, err := k.offered(ctx, candidates())
	if err != nil {
		return nil, err
	}

	if len(offered) == 0 {
		return nil, deploy.Errorf(deploy.Invalid, "no_default_instance_type", "%s offers none of %s.", c.Owner.Region, strings.Join(candidates(), ", ")).
			WithRemedy("Name instance types that the Region offers.").At(c.Pointer + "/instanceTypes")
	}

	c.Note(memoTypes, strings.Join(offered, ","))

	return offered, nil
}

// offered keeps those types and families of a list that the Region has.
func (k *ComputeEnvironment) offered(ctx context.Context, list []string) ([]string, error) {
	var patterns []string

	for _, t := range list {
		if !strings.Contains(t, ".") {
			t += ".*"
		}

		patterns = append(patterns, t)
	}

	have := map[string]bool{}

	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(k.ec2, &ec2.DescribeInstanceTypeOfferingsInput{Filters: instanceTypes(patterns)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list what instance types the Region offers: %w", err)
		}

		for _, o := range page.InstanceTypeOfferings {
			family, _, _ := strings.Cut(string(o.InstanceType), ".")
			have[string(o.InstanceType)], have[family] = true, true
		}
	}

	return slices.DeleteFunc(slices.Clone(list), func(t string) bool { return !have[t] }), nil
}

// find describes the environment by its name, or answers nil: Batch has no "not found", only an empty list or a status DELETED that lingers.
func (k *ComputeEnvironment) find(ctx context.Context, c *kind.Call) (*types.ComputeEnvironmentDetail, error) {
	out, err := k.batch.DescribeComputeEnvironments(ctx, &batch.DescribeComputeEnvironmentsInput{ComputeEnvironments: []string{nameOf(c)}})
	if awserr.Gone(err) {
		return nil, nil //nolint:nilnil // absent is an answer, not a failure
	}

	if err != nil {
		return nil, fmt.Errorf("describe compute environment %s: %w", nameOf(c), err)
	}

	for i := range out.ComputeEnvironments {
		if out.ComputeEnvironments[i].Status != "DELETED" {
			return &out.ComputeEnvironments[i], nil
		}
	}

	return nil, nil //nolint:nilnil // absent is an answer, not a failure
}

// compare lists what is not as wanted, and makes the update that brings it there: changed members only, but always maxvCpus, because an update of
// computeResources without it is refused.
func (k *ComputeEnvironment) compare(
	c *kind.Call, env deploy.Environment, wanted []string, found *types.ComputeEnvironmentDetail,
) (*batch.UpdateComputeEnvironmentInput, []kind.Difference) {
	var differences []kind.Difference

	differ := func(property, want, have string) bool {
		if want == have {
			return false
		}

		differences = append(differences, kind.Difference{Property: property, Want: want, Have: have})

		return true
	}

	update := &batch.UpdateComputeEnvironmentInput{ComputeEnvironment: aws.String(nameOf(c))}

	if differ("state", string(types.CEStateEnabled), string(found.State)) {
		update.State = types.CEStateEnabled
	}

	have := found.ComputeResources
	if env.Type == deploy.Unmanaged || have == nil {
		return update, differences
	}

	resources, changed := &types.ComputeResourceUpdate{MaxvCpus: aws.Int32(int32(env.MaxVcpus))}, false //nolint:gosec // validated to be at most 10,000

	if differ("maxvCpus", strconv.Itoa(env.MaxVcpus), strconv.Itoa(int(aws.ToInt32(have.MaxvCpus)))) {
		changed = true
	}

	if differ("minvCpus", strconv.Itoa(env.MinVcpus), strconv.Itoa(int(aws.ToInt32(have.MinvCpus)))) {
		resources.MinvCpus, changed = aws.Int32(int32(env.MinVcpus)), true //nolint:gosec // validated to be at most 10,000
	}

	if len(wanted) > 0 && differ("instanceTypes", set(wanted), set(have.InstanceTypes)) {
		resources.InstanceTypes, changed = wanted, true
	}

	if differ("allocationStrategy", env.AllocationStrategy, string(have.AllocationStrategy)) {
		resources.AllocationStrategy, changed = types.CRUpdateAllocationStrategy(env.AllocationStrategy), true
	}

	if want := ids(c.All("subnet")); differ("subnets", set(want), set(have.Subnets)) {
		resources.Subnets, changed = want, true
	}

	if want := ids(c.All("security-group")); differ("securityGroupIds", set(want), set(have.SecurityGroupIds)) {
		resources.SecurityGroupIds, changed = want, true
	}

	if want := template(c); differ("launchTemplate", templateText(want), templateText(have.LaunchTemplate)) {
		resources.LaunchTemplate, changed = want, true
	}

	if want := c.One("instance-profile").ARN; differ("instanceRole", want, aws.ToString(have.InstanceRole)) {
		resources.InstanceRole, changed = aws.String(want), true
	}

	if changed {
		update.ComputeResources = resources
	}

	return update, differences
}

// nameOf is the environment's name. What cannot be changed in place is in it as a hash, so that a replacement can stand beside the old one.
func nameOf(c *kind.Call) string { return c.Name(c.Ref.ID() + "-" + c.Generation()) }

func template(c *kind.Call) *types.LaunchTemplateSpecification {
	lt := c.Others[deploy.NewRef("launch-template", c.Ref.ID())]

	// A pinned version: Batch would resolve $Latest at creation only, and nobody could tell which one runs.
	return &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String(lt.ID), Version: aws.String(lt.Outputs["version"])}
}

func templateText(t *types.LaunchTemplateSpecification) string {
	if t == nil {
		return ""
	}

	return aws.ToString(t.LaunchTemplateId) + ":" + aws.ToString(t.Version)
}

func ids(others []kind.Other) []string {
	list := make([]string, 0, len(others))
	for _, o := range others {
		list = append(list, o.ID)
	}

	return list
}

// set writes a list so that two with the same members are the same text.
func set(list []string) string {
	sorted := slices.Clone(list)
	slices.Sort(sorted)

	return strings.Join(sorted, ",")
}

func split(text string) []string {
	if text == "" {
		return nil
	}

	return strings.Split(text, ",")
}
