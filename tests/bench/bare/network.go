package main

import (
	"context"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// tagged is the tags of one thing that EC2 makes.
func (p *program) tagged(of types.ResourceType, name string) types.TagSpecification {
	all := p.tags()
	all["Name"] = p.Name + " " + name

	spec := types.TagSpecification{ResourceType: of}
	for k, v := range maps.All(all) {
		spec.Tags = append(spec.Tags, types.Tag{Key: &k, Value: &v})
	}

	return spec
}

func (p *program) makeNetwork(ctx context.Context) error {
	one := func(of types.ResourceType, name string) []types.TagSpecification {
		return []types.TagSpecification{p.tagged(of, name)}
	}

	vpc, err := p.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16"), TagSpecifications: one(types.ResourceTypeVpc, "vpc")})
	if err != nil {
		return err
	}

	p.VPC = *vpc.Vpc.VpcId

	gateway, err := p.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{TagSpecifications: one(types.ResourceTypeInternetGateway, "gateway")})
	if err != nil {
		return err
	}

	p.Gateway = *gateway.InternetGateway.InternetGatewayId

	table, err := p.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &p.VPC, TagSpecifications: one(types.ResourceTypeRouteTable, "table")})
	if err != nil {
		return err
	}

	p.Table = *table.RouteTable.RouteTableId

	if err := each(ctx,
		call(p.ec2.ModifyVpcAttribute, ec2.ModifyVpcAttributeInput{VpcId: &p.VPC, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}}),
		call(p.ec2.AttachInternetGateway, ec2.AttachInternetGatewayInput{VpcId: &p.VPC, InternetGatewayId: &p.Gateway}),
		call(p.ec2.CreateRoute, ec2.CreateRouteInput{RouteTableId: &p.Table, GatewayId: &p.Gateway, DestinationCidrBlock: aws.String("0.0.0.0/0")}),
	); err != nil {
		return err
	}

	for i, cidr := range []string{"10.20.0.0/18", "10.20.64.0/18"} {
		zone := aws.String("us-east-1" + string(rune('a'+i)))

		subnet, err := p.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
			VpcId: &p.VPC, CidrBlock: &cidr, AvailabilityZone: zone, TagSpecifications: one(types.ResourceTypeSubnet, "subnet"),
		})
		if err != nil {
			return err
		}

		id := subnet.Subnet.SubnetId
		p.Subnets = append(p.Subnets, *id)

		public := ec2.ModifySubnetAttributeInput{SubnetId: id, MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)}}
		if _, err := p.ec2.ModifySubnetAttribute(ctx, &public); err != nil {
			return err
		}

		association, err := p.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: &p.Table, SubnetId: id})
		if err != nil {
			return err
		}

		p.Associations = append(p.Associations, *association.AssociationId)
	}

	endpoint, err := p.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: &p.VPC, ServiceName: aws.String("com.amazonaws.us-east-1.s3"), VpcEndpointType: types.VpcEndpointTypeGateway, RouteTableIds: []string{p.Table},
		TagSpecifications: one(types.ResourceTypeVpcEndpoint, "endpoint"),
	})
	if err != nil {
		return err
	}

	p.Endpoint = *endpoint.VpcEndpoint.VpcEndpointId

	group, err := p.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: &p.VPC, GroupName: aws.String(p.Name + "-jobs"), Description: aws.String("Instances that run Metaflow jobs: no ingress"),
		TagSpecifications: one(types.ResourceTypeSecurityGroup, "group"),
	})
	if err != nil {
		return err
	}

	p.Group = *group.GroupId

	_, err = p.ec2.UpdateSecurityGroupRuleDescriptionsEgress(ctx, &ec2.UpdateSecurityGroupRuleDescriptionsEgressInput{
		GroupId: &p.Group,
		IpPermissions: []types.IpPermission{{
			IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0"), Description: aws.String("Jobs may reach the internet")}},
		}},
	})

	return err
}

func (p *program) removeNetwork(ctx context.Context) error {
	steps := []step{
		call(p.ec2.DeleteVpcEndpoints, ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{p.Endpoint}}),
		call(p.ec2.DeleteSecurityGroup, ec2.DeleteSecurityGroupInput{GroupId: &p.Group}),
	}

	for i := range p.Subnets {
		steps = append(steps,
			call(p.ec2.DisassociateRouteTable, ec2.DisassociateRouteTableInput{AssociationId: &p.Associations[i]}),
			call(p.ec2.DeleteSubnet, ec2.DeleteSubnetInput{SubnetId: &p.Subnets[i]}),
		)
	}

	return each(ctx, append(steps,
		call(p.ec2.DeleteRouteTable, ec2.DeleteRouteTableInput{RouteTableId: &p.Table}),
		call(p.ec2.DetachInternetGateway, ec2.DetachInternetGatewayInput{VpcId: &p.VPC, InternetGatewayId: &p.Gateway}),
		call(p.ec2.DeleteInternetGateway, ec2.DeleteInternetGatewayInput{InternetGatewayId: &p.Gateway}),
		call(p.ec2.DeleteVpc, ec2.DeleteVpcInput{VpcId: &p.VPC}),
	)...)
}
