// Package securitygroup makes the security group of a deployment's instances: nothing comes in, everything may go out.
//
// A group's name is unique within its VPC, so a create that is repeated is refused (InvalidGroup.Duplicate) and never makes a second one. Names alone say
// nothing of whose a group is: it is searched by tag.
package securitygroup

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2eni"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// api is what this kind calls.
type api interface {
	CreateSecurityGroup(ctx context.Context, in *ec2.CreateSecurityGroupInput, opts ...func(*ec2.Options)) (*ec2.CreateSecurityGroupOutput, error)
	DescribeSecurityGroups(ctx context.Context, in *ec2.DescribeSecurityGroupsInput, opts ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error)
	RevokeSecurityGroupIngress(ctx context.Context, in *ec2.RevokeSecurityGroupIngressInput, opts ...func(*ec2.Options)) (*ec2.RevokeSecurityGroupIngressOutput, error)
	AuthorizeSecurityGroupEgress(ctx context.Context, in *ec2.AuthorizeSecurityGroupEgressInput, opts ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupEgressOutput, error)
	UpdateSecurityGroupRuleDescriptionsEgress(ctx context.Context, in *ec2.UpdateSecurityGroupRuleDescriptionsEgressInput, opts ...func(*ec2.Options)) (*ec2.UpdateSecurityGroupRuleDescriptionsEgressOutput, error)
	DeleteSecurityGroup(ctx context.Context, in *ec2.DeleteSecurityGroupInput, opts ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error)
	ec2eni.API
	ec2tag.API
}

// SecurityGroup is the kind.
type SecurityGroup struct{ ec2 api }

// New takes the EC2 client.
func New(client api) *SecurityGroup { return &SecurityGroup{ec2: client} }

const (
	name = "security-group"
	// jobs is the id of the group that we make, and the end of its name.
	jobs = "jobs"
	// description cannot be changed in place.
	description = "Instances that run Metaflow jobs: no ingress"
	// egress describes the rule that EC2 puts into every new group.
	egress = "Jobs may reach S3, ECR, ECS, CloudWatch and the internet"
	// everywhere is the destination of that rule.
	everywhere = "0.0.0.0/0"
	// all is EC2's word for every protocol.
	all = "-1"
)

// The properties that Observe compares.
const (
	propVPC         = "vpcId"
	propName        = "groupName"
	propDescription = "description"
	propIngress     = "ingress"
	propEgress      = "egress"
	propEgressText  = "egressDescription"
)

// About implements kind.Kind.
func (*SecurityGroup) About() kind.About {
	return kind.About{
		Name: name, Family: "ec2", Component: "network", Settings: deploy.Network{}, Many: true, Needs: []string{"vpc"},
		Doc: "The firewall around instances that run jobs: nothing comes in.",
		// Removing it earlier would leave Batch unable to start or stop instances.
		RemoveAfter: []string{"job-queue", "compute-environment"},
		Ensuring:    kind.Timing{Typical: 4 * time.Second, Deadline: 5 * time.Minute},
		// Network interfaces of a compute environment linger for up to 45 minutes after it is gone, and hold the group.
		Removing: kind.Timing{Typical: 3 * time.Second, Deadline: time.Hour},
	}
}

// Plan asks for one group of ours, also in an existing VPC, unless the owner names groups.
func (*SecurityGroup) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Managed()) == 0 {
		return nil
	}

	e := spec.Network.Existing
	if e == nil || len(e.SecurityGroupIDs) == 0 {
		return []kind.Item{{Ref: deploy.NewRef(name, jobs), Needs: []deploy.Ref{"vpc"}, Pointer: "/spec/network"}}
	}

	items := make([]kind.Item, 0, len(e.SecurityGroupIDs))
	for i, group := range e.SecurityGroupIDs {
		items = append(items, kind.Item{
			Ref: deploy.NewRef(name, strconv.Itoa(i+1)), Needs: []deploy.Ref{"vpc"}, Existing: group,
			Pointer: "/spec/network/existing/securityGroupIds/" + strconv.Itoa(i),
		})
	}

	return items
}

// Ensure implements kind.Kind.
func (s *SecurityGroup) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	var found *types.SecurityGroup

	id, err := kind.Repeatable(ctx, c, func(ctx context.Context) (string, error) {
		var err error
		found, err = s.find(ctx, c)

		return id(found), err
	}, func(ctx context.Context) (string, error) {
		var err error
		found, err = s.create(ctx, c)

		return id(found), err
	})
	if err = awserr.IgnoreGone(err); err != nil { // "not found" is the VPC, which is not visible everywhere yet
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{ID: id, Waiting: "to see the security group"}, nil
	}

	obs := observe(c, found)

	result := kind.Result{Done: true, ID: id, ARN: obs.ARN, Outputs: obs.Outputs, Waiting: "rules"}

	for _, d := range obs.Differences {
		mended, err := s.mend(ctx, c, found, d)
		if err != nil {
			return kind.Result{ID: id, Waiting: d.Property}, err
		}

		result.Done = result.Done && mended
	}

	return result, nil
}

// groupName is the owner's slug and "jobs". EC2 refuses group names that start with "sg-", which a deployment's name may do.
func groupName(c *kind.Call) string {
	if n := c.Name(jobs); strings.HasPrefix(n, "sg-") {
		return "metaflow-" + n
	}

	return c.Name(jobs)
}

// create makes the group, or tells whose the group of that name is: ours, not yet visible by its tags (nil), or somebody else's.
func (s *SecurityGroup) create(ctx context.Context, c *kind.Call) (*types.SecurityGroup, error) {
	vpc := c.One("vpc").ID

	out, err := s.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(groupName(c)), Description: aws.String(description), VpcId: aws.String(vpc),
		TagSpecifications: ec2tag.Spec(types.ResourceTypeSecurityGroup, c.Tags()),
	})
	if err == nil {
		// The answer holds the id; the rest is what was asked for, and the one rule that EC2 puts into every new group (VPC user guide, "Security group
		// rules"). That the rule is there, EC2 confirms when it takes our description of it.
		return &types.SecurityGroup{
			GroupId: out.GroupId, GroupName: aws.String(groupName(c)), VpcId: aws.String(vpc), Description: aws.String(description), Tags: out.Tags,
			IpPermissionsEgress: []types.IpPermission{{IpProtocol: aws.String(all), IpRanges: []types.IpRange{{CidrIp: aws.String(everywhere)}}}},
		}, nil
	}

	if awserr.Code(err) != "InvalidGroup.Duplicate" {
		return nil, fmt.Errorf("create security group %s: %w", groupName(c), err)
	}

	named, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{
		{Name: aws.String("group-name"), Values: []string{groupName(c)}}, {Name: aws.String("vpc-id"), Values: []string{vpc}},
	}})
	if err != nil {
		return nil, fmt.Errorf("look for the security group %s by name: %w", groupName(c), err)
	}

	for i := range named.SecurityGroups {
		if !c.Owns(ec2tag.Map(named.SecurityGroups[i].Tags)) {
			return nil, c.Foreign("security group", groupName(c))
		}
	}

	return nil, nil
}

// mend puts one property right, and tells whether EC2 has done so; what it does not see yet is left to the next look.
func (s *SecurityGroup) mend(ctx context.Context, c *kind.Call, found *types.SecurityGroup, d kind.Difference) (bool, error) {
	var err error

	switch d.Property {
	case propIngress:
		_, err = s.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: found.GroupId, IpPermissions: found.IpPermissions})
		// In a default VPC EC2 answers 200 to rules that it does not find. API reference, RevokeSecurityGroupIngress.
		if err == nil {
			return false, nil
		}
	case propEgress:
		_, err = s.ec2.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: found.GroupId, IpPermissions: anywhere()})
		if awserr.Code(err) == "InvalidPermission.Duplicate" {
			return false, nil // an earlier look's rule, not visible yet
		}
	case propEgressText:
		_, err = s.ec2.UpdateSecurityGroupRuleDescriptionsEgress(ctx, &ec2.UpdateSecurityGroupRuleDescriptionsEgressInput{
			GroupId: found.GroupId, IpPermissions: anywhere(),
		})
	case kind.PropertyTags:
		return ec2tag.Mend(ctx, s.ec2, c, id(found))
	default:
		return false, c.Immutable("security group", id(found), d)
	}

	if awserr.IgnoreGone(err) != nil {
		return false, fmt.Errorf("set %s of security group %s: %w", d.Property, id(found), err)
	}

	return err == nil, nil
}

// anywhere is the egress rule: every protocol to every IPv4 address.
func anywhere() []types.IpPermission {
	return []types.IpPermission{{
		IpProtocol: aws.String(all), IpRanges: []types.IpRange{{CidrIp: aws.String(everywhere), Description: aws.String(egress)}},
	}}
}

// Remove implements kind.Kind. Whatever holds the group is listed and waited for, never changed: interfaces belong to services, and rules in other groups
// to their owners.
func (s *SecurityGroup) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := s.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no security group was made"}, nil
	}

	_, err = s.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: found.GroupId})
	if awserr.Is(err, deploy.NotReady) {
		if holding := s.holding(ctx, id(found)); holding != "" {
			return kind.Result{ID: id(found), Waiting: holding}, nil
		}
	}

	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id(found)}, fmt.Errorf("delete security group %s: %w", id(found), err)
	}

	c.Removed()

	return kind.Result{ID: id(found), Waiting: "deleting"}, nil
}

// holding says what keeps the group, as far as EC2 tells: network interfaces, and rules of other groups that name it. The removal waits with or without
// this answer, so an error here is no error of the removal.
func (s *SecurityGroup) holding(ctx context.Context, id string) string {
	interfaces, err := ec2eni.Holding(ctx, s.ec2, "group-id", id)
	if err != nil || interfaces != "" {
		return interfaces
	}

	var others []string

	for _, filter := range []string{"ip-permission.group-id", "egress.ip-permission.group-id"} {
		out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{{Name: aws.String(filter), Values: []string{id}}}})
		if err != nil {
			return ""
		}

		for i := range out.SecurityGroups {
			if other := aws.ToString(out.SecurityGroups[i].GroupId); other != id {
				others = append(others, other)
			}
		}
	}

	if len(others) == 0 {
		return ""
	}

	return "rules of other security groups still name it: " + strings.Join(others, ", ")
}

// Observe implements kind.Kind.
func (s *SecurityGroup) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	if c.Existing != "" {
		return s.existing(ctx, c)
	}

	found, err := s.find(ctx, c)
	if err != nil || found == nil {
		return kind.Observation{State: kind.Absent}, err
	}

	return observe(c, found), nil
}

// existing looks at a group that the owner named. Its rules are the owner's business.
func (s *SecurityGroup) existing(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{c.Existing}})
	if awserr.Gone(err) || err == nil && len(out.SecurityGroups) == 0 {
		return kind.Observation{State: kind.Absent}, nil
	}

	if err != nil {
		return kind.Observation{}, fmt.Errorf("describe security group %s: %w", c.Existing, err)
	}

	found := &out.SecurityGroups[0]
	obs := seen(c, found)
	obs.Problems = kind.Belongs(c, "security group", ec2tag.Map(found.Tags))

	if vpc := c.Spec.Network.Existing.VPCID; aws.ToString(found.VpcId) != vpc {
		obs.Problems = append(obs.Problems, kind.Unusable(c, "The security group "+c.Existing+" is not in the VPC "+vpc+".", "Name security groups of that VPC."))
	}

	return obs, nil
}

// Check implements kind.Checker: existing groups are usable, or the name of ours is free.
func (s *SecurityGroup) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if c.Existing == "" {
		return s.vacant(ctx, c)
	}

	return kind.CheckExisting(ctx, s, c, "security group")
}

func seen(c *kind.Call, found *types.SecurityGroup) kind.Observation {
	return kind.Observation{
		State: kind.Ready, ID: id(found), ARN: c.Owner.ARN("ec2", c.Owner.Region, c.Owner.Account, "security-group/"+id(found)),
	}
}

func observe(c *kind.Call, found *types.SecurityGroup) kind.Observation {
	obs := seen(c, found)

	allowed, text := outgoing(found)

	obs.Differences = kind.Differing(
		kind.Difference{Property: propVPC, Want: c.One("vpc").ID, Have: aws.ToString(found.VpcId)},
		kind.Difference{Property: propName, Want: groupName(c), Have: aws.ToString(found.GroupName)},
		kind.Difference{Property: propDescription, Want: description, Have: aws.ToString(found.Description)},
		kind.Difference{Property: propIngress, Have: incoming(found)},
		kind.Difference{Property: propEgress, Want: "all to " + everywhere, Have: allowed},
		ec2tag.Differ(c, found.Tags),
	)

	if allowed != "" {
		obs.Differences = append(obs.Differences, kind.Differing(kind.Difference{Property: propEgressText, Want: egress, Have: text})...)
	}

	return obs
}

// incoming writes the rules that let something in; there should be none.
func incoming(found *types.SecurityGroup) string {
	var rules []string

	for _, p := range found.IpPermissions {
		rule := "every protocol"
		if protocol := aws.ToString(p.IpProtocol); protocol != all {
			rule = fmt.Sprintf("%s %d to %d", protocol, aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort))
		}

		var sources []string

		for _, r := range p.IpRanges {
			sources = append(sources, aws.ToString(r.CidrIp))
		}

		for _, r := range p.Ipv6Ranges {
			sources = append(sources, aws.ToString(r.CidrIpv6))
		}

		for _, g := range p.UserIdGroupPairs {
			sources = append(sources, aws.ToString(g.GroupId))
		}

		for _, l := range p.PrefixListIds {
			sources = append(sources, aws.ToString(l.PrefixListId))
		}

		rules = append(rules, rule+" from "+strings.Join(sources, ", "))
	}

	return strings.Join(rules, "; ")
}

// outgoing tells whether everything may go out to every IPv4 address, and how that rule is described. Further rules change nothing then.
func outgoing(found *types.SecurityGroup) (allowed, text string) {
	for _, p := range found.IpPermissionsEgress {
		if aws.ToString(p.IpProtocol) != all {
			continue
		}

		for _, r := range p.IpRanges {
			if aws.ToString(r.CidrIp) == everywhere {
				return "all to " + everywhere, aws.ToString(r.Description)
			}
		}
	}

	return "", ""
}

// find returns the group that carries our tags, or nil.
func (s *SecurityGroup) find(ctx context.Context, c *kind.Call) (*types.SecurityGroup, error) {
	out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: ec2tag.Filters(c.Identity())})
	if err != nil {
		return nil, fmt.Errorf("look for the security group by tag: %w", err)
	}

	if len(out.SecurityGroups) == 0 {
		return nil, nil
	}

	return &out.SecurityGroups[0], nil
}

func id(g *types.SecurityGroup) string {
	if g == nil {
		return ""
	}

	return aws.ToString(g.GroupId)
}
