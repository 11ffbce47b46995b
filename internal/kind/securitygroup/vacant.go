package securitygroup

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// vacant finds out whether the name of the group that we would make is free, or ours. A group's name is unique within its VPC, so only one that the owner
// brings can hold somebody else's.
func (s *SecurityGroup) vacant(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	existing := c.Spec.Network.Existing
	if existing == nil || !c.Names {
		return nil, nil
	}

	out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{
		{Name: aws.String("group-name"), Values: []string{groupName(c)}}, {Name: aws.String("vpc-id"), Values: []string{existing.VPCID}},
	}})
	if err != nil {
		return nil, fmt.Errorf("look for the security group %s by name: %w", groupName(c), err)
	}

	for i := range out.SecurityGroups {
		if !c.Owns(ec2tag.Map(out.SecurityGroups[i].Tags)) {
			return kind.Taken(c, c.Foreign("security group", groupName(c)))
		}
	}

	return nil, nil
}
