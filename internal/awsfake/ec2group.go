package awsfake

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type group struct {
	born

	id, vpc, name, description string
	ingress, egress            []rule
	tags                       map[string]string
}

// rule is one permission of one source or destination, as EC2 keeps them.
type rule struct {
	protocol, cidr, group string
	from, to              int32
	description           string
}

func (r rule) same(o rule) bool {
	return r.protocol == o.protocol && r.cidr == o.cidr && r.group == o.group && r.from == o.from && r.to == o.to
}

// everything is the egress rule that EC2 puts into every new group. VPC user guide, "Security group rules".
func everything() []rule { return []rule{{protocol: "-1", cidr: "0.0.0.0/0"}} }

func rules(permissions []types.IpPermission) []rule {
	var all []rule

	for _, p := range permissions {
		r := rule{protocol: aws.ToString(p.IpProtocol), from: aws.ToInt32(p.FromPort), to: aws.ToInt32(p.ToPort)}

		for _, c := range p.IpRanges {
			r.cidr, r.group, r.description = aws.ToString(c.CidrIp), "", aws.ToString(c.Description)
			all = append(all, r)
		}

		for _, g := range p.UserIdGroupPairs {
			r.cidr, r.group, r.description = "", aws.ToString(g.GroupId), aws.ToString(g.Description)
			all = append(all, r)
		}
	}

	return all
}

func permissions(all []rule) []types.IpPermission {
	var list []types.IpPermission

	for _, r := range all {
		p := types.IpPermission{IpProtocol: aws.String(r.protocol)}
		if r.protocol != "-1" {
			p.FromPort, p.ToPort = aws.Int32(r.from), aws.Int32(r.to)
		}

		var description *string
		if r.description != "" {
			description = aws.String(r.description)
		}

		if r.cidr != "" {
			p.IpRanges = []types.IpRange{{CidrIp: aws.String(r.cidr), Description: description}}
		} else {
			p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: aws.String(r.group), Description: description}}
		}

		list = append(list, p)
	}

	return list
}

func sources(all []rule) []string {
	var groups []string
	for _, r := range all {
		groups = append(groups, r.group)
	}

	return groups
}

func noGroup(id *string) error {
	return refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", aws.ToString(id))
}

// CreateSecurityGroup refuses a name that the VPC has, and names that start with sg-. API reference, CreateSecurityGroup.
func (e *EC2) CreateSecurityGroup(ctx context.Context, in *ec2.CreateSecurityGroupInput, _ ...func(*ec2.Options)) (*ec2.CreateSecurityGroupOutput, error) {
	return do(ctx, e.w, "ec2", "CreateSecurityGroup", in, func() (*ec2.CreateSecurityGroupOutput, error) {
		v, ok := known(e, e.vpcs, in.VpcId)
		if !ok {
			return nil, noVPC(in.VpcId)
		}

		name := aws.ToString(in.GroupName)
		if name == "" || len(name) > 255 || len(name) > 2 && name[:3] == "sg-" {
			return nil, refuse("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid.", name)
		}

		if !describable(aws.ToString(in.Description)) {
			return nil, refuse("InvalidParameterValue", "Value (%s) for parameter GroupDescription is invalid. Character sets beyond ASCII are not supported.",
				aws.ToString(in.Description))
		}

		for _, g := range e.groups {
			if g.vpc == v.id && g.name == name {
				return nil, refuse("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", name, v.id)
			}
		}

		g := &group{
			born: e.now(), id: e.w.id("sg"), vpc: v.id, name: name, description: aws.ToString(in.Description), egress: everything(),
			tags: tagSpec(in.TagSpecifications, types.ResourceTypeSecurityGroup),
		}
		e.groups[g.id] = g

		return &ec2.CreateSecurityGroupOutput{GroupId: aws.String(g.id), Tags: ec2Tags(g.tags)}, nil
	})
}

// describable is the character set of descriptions of groups and rules: up to 255 of a-z, A-Z, 0-9, spaces, and ._-:/()#,@[]+=&;{}!$*. API reference,
// CreateSecurityGroup and IpRange.
func describable(s string) bool {
	for _, r := range s {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !plain && !slices.Contains([]rune(" ._-:/()#,@[]+=&;{}!$*"), r) {
			return false
		}
	}

	return len(s) <= 255
}

// DescribeSecurityGroups lists by id, name, VPC, groups named in rules, and tag.
func (e *EC2) DescribeSecurityGroups(ctx context.Context, in *ec2.DescribeSecurityGroupsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeSecurityGroups", in, func() (*ec2.DescribeSecurityGroupsOutput, error) {
		for _, id := range in.GroupIds {
			if _, ok := known(e, e.groups, &id); !ok {
				return nil, noGroup(&id)
			}
		}

		out := &ec2.DescribeSecurityGroupsOutput{}

		for _, g := range tagged(e.groups, in.Filters) {
			ok, err := selected(in.Filters, g.tags, map[string][]string{
				"group-id": {g.id}, "group-name": {g.name}, "vpc-id": {g.vpc},
				"ip-permission.group-id": sources(g.ingress), "egress.ip-permission.group-id": sources(g.egress),
			})
			if err != nil {
				return nil, err
			}

			if ok && e.visible(g.at) && (len(in.GroupIds) == 0 || slices.Contains(in.GroupIds, g.id)) {
				out.SecurityGroups = append(out.SecurityGroups, types.SecurityGroup{
					GroupId: aws.String(g.id), GroupName: aws.String(g.name), Description: aws.String(g.description), VpcId: aws.String(g.vpc),
					IpPermissions: permissions(g.ingress), IpPermissionsEgress: permissions(g.egress), OwnerId: aws.String(e.w.Account), Tags: ec2Tags(g.tags),
				})
			}
		}

		return out, nil
	})
}

// AuthorizeSecurityGroupIngress refuses a rule that is there (InvalidPermission.Duplicate). API reference, AuthorizeSecurityGroupIngress.
func (e *EC2) AuthorizeSecurityGroupIngress(ctx context.Context, in *ec2.AuthorizeSecurityGroupIngressInput, _ ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
	return do(ctx, e.w, "ec2", "AuthorizeSecurityGroupIngress", in, func() (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
		g, ok := known(e, e.groups, in.GroupId)
		if !ok {
			return nil, noGroup(in.GroupId)
		}

		var err error
		g.ingress, err = authorize(g.ingress, in.IpPermissions)

		return &ec2.AuthorizeSecurityGroupIngressOutput{Return: aws.Bool(err == nil)}, err
	})
}

// AuthorizeSecurityGroupEgress is the same for egress.
func (e *EC2) AuthorizeSecurityGroupEgress(ctx context.Context, in *ec2.AuthorizeSecurityGroupEgressInput, _ ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupEgressOutput, error) {
	return do(ctx, e.w, "ec2", "AuthorizeSecurityGroupEgress", in, func() (*ec2.AuthorizeSecurityGroupEgressOutput, error) {
		g, ok := known(e, e.groups, in.GroupId)
		if !ok {
			return nil, noGroup(in.GroupId)
		}

		var err error
		g.egress, err = authorize(g.egress, in.IpPermissions)

		return &ec2.AuthorizeSecurityGroupEgressOutput{Return: aws.Bool(err == nil)}, err
	})
}

func authorize(have []rule, add []types.IpPermission) ([]rule, error) {
	for _, r := range rules(add) {
		if slices.ContainsFunc(have, r.same) {
			return have, refuse("InvalidPermission.Duplicate", "the specified rule \"peer: %s%s, ALL\" already exists", r.cidr, r.group)
		}

		if !describable(r.description) {
			return have, refuse("InvalidParameterValue", "Invalid rule description. Valid descriptions are strings less than 256 characters from a given set.")
		}
	}

	return append(slices.Clone(have), rules(add)...), nil
}

// RevokeSecurityGroupIngress refuses a rule that is not there (InvalidPermission.NotFound). API reference, RevokeSecurityGroupIngress.
func (e *EC2) RevokeSecurityGroupIngress(ctx context.Context, in *ec2.RevokeSecurityGroupIngressInput, _ ...func(*ec2.Options)) (*ec2.RevokeSecurityGroupIngressOutput, error) {
	return do(ctx, e.w, "ec2", "RevokeSecurityGroupIngress", in, func() (*ec2.RevokeSecurityGroupIngressOutput, error) {
		g, ok := known(e, e.groups, in.GroupId)
		if !ok {
			return nil, noGroup(in.GroupId)
		}

		var err error
		g.ingress, err = revoke(g.ingress, in.IpPermissions)

		return &ec2.RevokeSecurityGroupIngressOutput{Return: aws.Bool(err == nil)}, err
	})
}

// RevokeSecurityGroupEgress is the same for egress.
func (e *EC2) RevokeSecurityGroupEgress(ctx context.Context, in *ec2.RevokeSecurityGroupEgressInput, _ ...func(*ec2.Options)) (*ec2.RevokeSecurityGroupEgressOutput, error) {
	return do(ctx, e.w, "ec2", "RevokeSecurityGroupEgress", in, func() (*ec2.RevokeSecurityGroupEgressOutput, error) {
		g, ok := known(e, e.groups, in.GroupId)
		if !ok {
			return nil, noGroup(in.GroupId)
		}

		var err error
		g.egress, err = revoke(g.egress, in.IpPermissions)

		return &ec2.RevokeSecurityGroupEgressOutput{Return: aws.Bool(err == nil)}, err
	})
}

func revoke(have []rule, drop []types.IpPermission) ([]rule, error) {
	for _, r := range rules(drop) {
		if !slices.ContainsFunc(have, r.same) {
			return have, refuse("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
	}

	return slices.DeleteFunc(slices.Clone(have), func(r rule) bool { return slices.ContainsFunc(rules(drop), r.same) }), nil
}

// UpdateSecurityGroupRuleDescriptionsEgress refuses a rule that is not there. API reference, UpdateSecurityGroupRuleDescriptionsEgress.
func (e *EC2) UpdateSecurityGroupRuleDescriptionsEgress(ctx context.Context, in *ec2.UpdateSecurityGroupRuleDescriptionsEgressInput, _ ...func(*ec2.Options)) (*ec2.UpdateSecurityGroupRuleDescriptionsEgressOutput, error) {
	return do(ctx, e.w, "ec2", "UpdateSecurityGroupRuleDescriptionsEgress", in, func() (*ec2.UpdateSecurityGroupRuleDescriptionsEgressOutput, error) {
		g, ok := known(e, e.groups, in.GroupId)
		if !ok {
			return nil, noGroup(in.GroupId)
		}

		for _, r := range rules(in.IpPermissions) {
			i := slices.IndexFunc(g.egress, r.same)
			if i < 0 {
				return nil, refuse("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}

			if !describable(r.description) {
				return nil, refuse("InvalidParameterValue", "Invalid rule description. Valid descriptions are strings less than 256 characters from a given set.")
			}

			g.egress[i].description = r.description
		}

		return &ec2.UpdateSecurityGroupRuleDescriptionsEgressOutput{Return: aws.Bool(true)}, nil
	})
}

// DeleteSecurityGroup refuses the default group and one that an interface or another group's rule uses. API reference, DeleteSecurityGroup.
func (e *EC2) DeleteSecurityGroup(ctx context.Context, in *ec2.DeleteSecurityGroupInput, _ ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteSecurityGroup", in, func() (*ec2.DeleteSecurityGroupOutput, error) {
		g, ok := known(e, e.groups, in.GroupId)
		if !ok {
			return nil, noGroup(in.GroupId)
		}

		if g.name == "default" {
			return nil, refuse("CannotDelete", "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", g.id)
		}

		for _, n := range e.interfaces {
			if slices.Contains(n.groups, g.id) {
				return nil, refuse("DependencyViolation", "resource %s has a dependent object", g.id)
			}
		}

		for _, other := range e.groups {
			if other != g && (slices.Contains(sources(other.ingress), g.id) || slices.Contains(sources(other.egress), g.id)) {
				return nil, refuse("DependencyViolation", "resource %s has a dependent object", g.id)
			}
		}

		delete(e.groups, g.id)

		return &ec2.DeleteSecurityGroupOutput{}, nil
	})
}

type netInterface struct {
	id, subnet, description string
	groups                  []string
	public                  bool
}

// PlantInterface puts a network interface into a subnet, as services do for their own ends, and returns its id. Public gives it a public address.
func (e *EC2) PlantInterface(subnet, description string, public bool, groups ...string) string {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()

	n := &netInterface{id: e.w.id("eni"), subnet: subnet, description: description, public: public, groups: groups}
	e.interfaces[n.id] = n

	return n.id
}

// PullInterface takes a network interface away, as the service that made it does.
func (e *EC2) PullInterface(id string) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()

	delete(e.interfaces, id)
}

// DescribeNetworkInterfaces lists by subnet, group and VPC.
func (e *EC2) DescribeNetworkInterfaces(ctx context.Context, in *ec2.DescribeNetworkInterfacesInput, _ ...func(*ec2.Options)) (*ec2.DescribeNetworkInterfacesOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeNetworkInterfaces", in, func() (*ec2.DescribeNetworkInterfacesOutput, error) {
		out := &ec2.DescribeNetworkInterfacesOutput{}

		for _, n := range sorted(e.interfaces) {
			vpc := ""
			if s := e.subnets[n.subnet]; s != nil {
				vpc = s.vpc
			}

			ok, err := selected(in.Filters, nil, map[string][]string{"subnet-id": {n.subnet}, "group-id": n.groups, "vpc-id": {vpc}})
			if err != nil {
				return nil, err
			}

			if ok {
				out.NetworkInterfaces = append(out.NetworkInterfaces, types.NetworkInterface{
					NetworkInterfaceId: aws.String(n.id), SubnetId: aws.String(n.subnet), VpcId: aws.String(vpc), Description: aws.String(n.description),
					Status: types.NetworkInterfaceStatusInUse, RequesterManaged: aws.Bool(true),
				})
			}
		}

		return out, nil
	})
}
