// Package ec2calls lists what functions/api and functions/ec2 call of EC2, for the bare handlers that can make the same calls.
package ec2calls

import "github.com/aws/aws-sdk-go-v2/service/ec2"

// List keeps the calls in the binary.
func List() []any {
	return []any{
		(*ec2.Client).AssociateRouteTable,
		(*ec2.Client).AttachInternetGateway,
		(*ec2.Client).AuthorizeSecurityGroupEgress,
		(*ec2.Client).CreateInternetGateway,
		(*ec2.Client).CreateLaunchTemplate,
		(*ec2.Client).CreateLaunchTemplateVersion,
		(*ec2.Client).CreateRoute,
		(*ec2.Client).CreateRouteTable,
		(*ec2.Client).CreateSecurityGroup,
		(*ec2.Client).CreateSubnet,
		(*ec2.Client).CreateVpc,
		(*ec2.Client).CreateVpcEndpoint,
		(*ec2.Client).DeleteInternetGateway,
		(*ec2.Client).DeleteLaunchTemplate,
		(*ec2.Client).DeleteRouteTable,
		(*ec2.Client).DeleteSecurityGroup,
		(*ec2.Client).DeleteSubnet,
		(*ec2.Client).DeleteVpc,
		(*ec2.Client).DeleteVpcEndpoints,
		(*ec2.Client).DescribeAvailabilityZones,
		(*ec2.Client).DescribeInstanceTypeOfferings,
		(*ec2.Client).DescribeInternetGateways,
		(*ec2.Client).DescribeLaunchTemplateVersions,
		(*ec2.Client).DescribeLaunchTemplates,
		(*ec2.Client).DescribeNetworkInterfaces,
		(*ec2.Client).DescribeRouteTables,
		(*ec2.Client).DescribeSecurityGroups,
		(*ec2.Client).DescribeSubnets,
		(*ec2.Client).DescribeVpcAttribute,
		(*ec2.Client).DescribeVpcEndpoints,
		(*ec2.Client).DescribeVpcs,
		(*ec2.Client).DetachInternetGateway,
		(*ec2.Client).DisassociateRouteTable,
		(*ec2.Client).ModifyLaunchTemplate,
		(*ec2.Client).ModifySubnetAttribute,
		(*ec2.Client).ModifyVpcAttribute,
		(*ec2.Client).ModifyVpcEndpoint,
		(*ec2.Client).ReplaceRoute,
		(*ec2.Client).ReplaceRouteTableAssociation,
		(*ec2.Client).RevokeSecurityGroupIngress,
		(*ec2.Client).UpdateSecurityGroupRuleDescriptionsEgress,
	}
}
