// Package instanceprofile makes the instance profile that hands the instance role to the instances that Batch starts. Batch takes the profile's ARN where
// its API says instanceRole.
package instanceprofile

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/iamtag"
)

// api is what this kind calls.
type api interface {
	GetInstanceProfile(ctx context.Context, in *iam.GetInstanceProfileInput, opts ...func(*iam.Options)) (*iam.GetInstanceProfileOutput, error)
	ListInstanceProfiles(ctx context.Context, in *iam.ListInstanceProfilesInput, opts ...func(*iam.Options)) (*iam.ListInstanceProfilesOutput, error)
	CreateInstanceProfile(ctx context.Context, in *iam.CreateInstanceProfileInput, opts ...func(*iam.Options)) (*iam.CreateInstanceProfileOutput, error)
	TagInstanceProfile(ctx context.Context, in *iam.TagInstanceProfileInput, opts ...func(*iam.Options)) (*iam.TagInstanceProfileOutput, error)
	AddRoleToInstanceProfile(ctx context.Context, in *iam.AddRoleToInstanceProfileInput, opts ...func(*iam.Options)) (*iam.AddRoleToInstanceProfileOutput, error)
	RemoveRoleFromInstanceProfile(ctx context.Context, in *iam.RemoveRoleFromInstanceProfileInput, opts ...func(*iam.Options)) (*iam.RemoveRoleFromInstanceProfileOutput, error)
	DeleteInstanceProfile(ctx context.Context, in *iam.DeleteInstanceProfileInput, opts ...func(*iam.Options)) (*iam.DeleteInstanceProfileOutput, error)
}

// InstanceProfile is the kind.
type InstanceProfile struct{ iam api }

// New takes the IAM client.
func New(client api) *InstanceProfile { return &InstanceProfile{iam: client} }

const (
	// name is the kind's name, which is also the ref: all environments of a deployment share one instance profile.
	name = "instance-profile"
	// roleKind is what goes into it.
	roleKind = "instance-role"
)

// There is no API that says whether EC2 sees a profile, and it sees one late. Three good looks running, at least 10 s after its creation, are what the
// Terraform AWS provider and Karpenter settled on for most accounts; what is left, Batch's own retry takes.
const (
	looks    = 3
	youngest = 10 * time.Second
	// rest is the age before which a look is of no use: of one look each second, the third good one comes at the youngest age all the same.
	rest = youngest - (looks-1)*time.Second
)

const (
	// memoSeen counts the good looks running.
	memoSeen = "seen"
	// memoBorn holds when AWS made the profile, once the role is in it.
	memoBorn = "born"
)

// About implements kind.Kind.
func (*InstanceProfile) About() kind.About {
	return kind.About{
		Name: name, Family: "iam", Component: "compute", Settings: deploy.Compute{},
		Doc:   "The instance profile that gives instances their role.",
		Needs: []string{roleKind},
		// Batch and the instances use it until the environment is gone.
		RemoveAfter: []string{"compute-environment"},
		Ensuring:    kind.Timing{Typical: 12 * time.Second, Deadline: 5 * time.Minute},
		Removing:    kind.Timing{Typical: 2 * time.Second, Deadline: 15 * time.Minute},
	}
}

// Plan asks for an instance profile where Batch starts instances.
func (*InstanceProfile) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Managed()) == 0 {
		return nil
	}

	return []kind.Item{{Ref: name, Needs: []deploy.Ref{roleKind}, Pointer: "/spec/compute/environments"}}
}

// Ensure implements kind.Kind.
func (i *InstanceProfile) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	if resting(c) {
		return kind.Result{Waiting: waiting}, nil
	}

	var profile *types.InstanceProfile

	_, err := kind.Repeatable(ctx, c, func(ctx context.Context) (id string, err error) {
		profile, err = i.get(ctx, c)

		return idOf(profile), err
	}, func(ctx context.Context) (id string, err error) {
		profile, err = i.create(ctx, c)

		return idOf(profile), err
	})
	if err != nil || profile == nil {
		c.Note(memoSeen, "0")

		return kind.Result{Waiting: "the instance profile to appear"}, err
	}

	if !c.Owns(iamtag.Map(profile.Tags)) {
		return kind.Result{}, c.Foreign("instance profile", c.Name("instance"))
	}

	result := kind.Result{ID: c.Name("instance"), Outputs: map[string]string{"name": c.Name("instance")}, Waiting: "the instance profile's role"}

	if len(kind.Differing(kind.Tags(c.Tags(), iamtag.Map(profile.Tags)))) > 0 {
		if _, err := i.iam.TagInstanceProfile(ctx, &iam.TagInstanceProfileInput{InstanceProfileName: &result.ID, Tags: iamtag.List(c.Tags())}); err != nil {
			return result, awserr.IgnoreGone(fmt.Errorf("tag instance profile %s: %w", result.ID, err))
		}
	}

	full, err := i.fill(ctx, c, profile)
	if !full || err != nil {
		c.Note(memoSeen, "0")

		return result, err
	}

	if !isARN(profile.Arn) {
		c.Note(memoSeen, "0")
		result.Waiting = "the instance profile's ARN"

		return result, nil
	}

	result.ARN, result.Waiting = aws.ToString(profile.Arn), waiting
	result.Done = seen(c) && c.Now().Sub(aws.ToTime(profile.CreateDate)) >= youngest

	return result, nil
}

// waiting is what the owner reads while nothing is left to do.
const waiting = "EC2 to see the instance profile"

// resting tells that everything was put into a profile that is too young to be looked at.
func resting(c *kind.Call) bool {
	born, err := time.Parse(time.RFC3339Nano, c.Memo[memoBorn])
	age := c.Now().Sub(born)

	return err == nil && age >= 0 && age < rest
}

func idOf(profile *types.InstanceProfile) string {
	if profile == nil {
		return ""
	}

	return aws.ToString(profile.InstanceProfileName)
}

// create returns the profile, or nil if there is one of that name that does not show yet.
func (i *InstanceProfile) create(ctx context.Context, c *kind.Call) (*types.InstanceProfile, error) {
	out, err := i.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{
		InstanceProfileName: aws.String(c.Name("instance")), Path: aws.String(c.Owner.RolePath()), Tags: iamtag.List(c.Tags()),
	})
	if awserr.Code(err) == "EntityAlreadyExists" {
		return nil, nil // an earlier attempt's or somebody else's: the next look reads its tags
	}

	if err != nil {
		return nil, fmt.Errorf("create instance profile %s: %w", c.Name("instance"), err)
	}

	return out.InstanceProfile, nil
}

// fill puts the role in, in place of another one if need be, and tells whether it was in already. Only one fits.
func (i *InstanceProfile) fill(ctx context.Context, c *kind.Call, profile *types.InstanceProfile) (full bool, err error) {
	role := c.One(roleKind).Outputs["name"]
	if role == "" {
		return false, deploy.Errorf(deploy.Internal, "internal", "The name of the instance role is not known.")
	}

	for _, r := range profile.Roles {
		if aws.ToString(r.RoleName) == role {
			return true, nil
		}

		if err := i.takeOut(ctx, c, aws.ToString(r.RoleName)); err != nil {
			return false, err
		}
	}

	_, err = i.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: aws.String(c.Name("instance")), RoleName: aws.String(role),
	})
	if err == nil {
		c.Note(memoBorn, aws.ToTime(profile.CreateDate).UTC().Format(time.RFC3339Nano))
	}

	// LimitExceeded means that a role is in it already; which one, the next look reads. A role or profile that is "not there" has not spread yet.
	if awserr.Code(err) == "LimitExceeded" || awserr.IgnoreGone(err) == nil {
		return false, nil
	}

	return false, fmt.Errorf("add role %s to instance profile %s: %w", role, c.Name("instance"), err)
}

func (i *InstanceProfile) takeOut(ctx context.Context, c *kind.Call, role string) error {
	_, err := i.iam.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{
		InstanceProfileName: aws.String(c.Name("instance")), RoleName: aws.String(role),
	})
	if awserr.IgnoreGone(err) != nil {
		return fmt.Errorf("remove role %s from instance profile %s: %w", role, c.Name("instance"), err)
	}

	return nil
}

// seen counts one more good look and tells whether there were enough.
func seen(c *kind.Call) bool {
	n, _ := strconv.Atoi(c.Memo[memoSeen]) // anything unreadable counts from the start
	n = min(n+1, looks)
	c.Note(memoSeen, strconv.Itoa(n))

	return n == looks
}

// Remove implements kind.Kind.
func (i *InstanceProfile) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	profile, err := i.get(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if profile == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no instance profile was made"}, nil
	}

	if !c.Owns(iamtag.Map(profile.Tags)) {
		return kind.Result{Done: true}, nil
	}

	result := kind.Result{ID: c.Name("instance"), Waiting: "deleting"}

	for _, r := range profile.Roles {
		if err := i.takeOut(ctx, c, aws.ToString(r.RoleName)); err != nil {
			return result, err
		}
	}

	// DeleteConflict, when the removal above has not spread yet, means "look again".
	_, err = i.iam.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: &result.ID})
	if awserr.IgnoreGone(err) != nil {
		return result, fmt.Errorf("delete instance profile %s: %w", result.ID, err)
	}

	c.Removed()

	// Gone is what a look says, not what a delete answers.
	return result, nil
}

// Observe implements kind.Kind.
func (i *InstanceProfile) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	profile, err := i.get(ctx, c)
	if err != nil || profile == nil || !c.Owns(iamtag.Map(profile.Tags)) {
		return kind.Observation{State: kind.Absent}, err
	}

	obs := kind.Observation{
		State: kind.Ready, ID: c.Name("instance"), ARN: aws.ToString(profile.Arn), Outputs: map[string]string{"name": c.Name("instance")},
		// Nobody can change the path of a profile: IAM has no call for it.
		NotChecked: []string{"path"},
	}

	if !isARN(profile.Arn) {
		obs.State, obs.ARN = kind.InProgress, ""
	}

	have := ""
	if len(profile.Roles) > 0 {
		have = aws.ToString(profile.Roles[0].RoleName)
	}

	obs.Differences = kind.Differing(
		kind.Difference{Property: "role", Want: c.One(roleKind).Outputs["name"], Have: have}, kind.Tags(c.Tags(), iamtag.Map(profile.Tags)),
	)

	return obs, nil
}

// get returns the profile, or nil.
func (i *InstanceProfile) get(ctx context.Context, c *kind.Call) (*types.InstanceProfile, error) {
	out, err := i.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(c.Name("instance"))})
	if awserr.Gone(err) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("read instance profile %s: %w", c.Name("instance"), err)
	}

	return out.InstanceProfile, nil
}

func isARN(s *string) bool {
	arn, err := awsarn.Parse(aws.ToString(s))

	return err == nil && strings.HasPrefix(arn.Resource, "instance-profile/")
}
