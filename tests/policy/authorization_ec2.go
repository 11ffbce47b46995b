package policy

import (
	"fmt"
	"strings"
)

// ec2Rules: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html. A call that names several resources is asked for each of
// them with that resource's tags; the request's tags count for what is made only.
func ec2Rules() map[string]rule {
	rules := map[string]rule{
		"ec2.CreateVpc":             creates("CreateVpc", "vpc"),
		"ec2.CreateInternetGateway": creates("CreateInternetGateway", "internet-gateway"),
		"ec2.CreateLaunchTemplate":  creates("CreateLaunchTemplate", "launch-template"),
		"ec2.CreateSubnet":          creates("CreateSubnet", "subnet", "VpcId"),
		"ec2.CreateRouteTable":      creates("CreateRouteTable", "route-table", "VpcId"),
		"ec2.CreateSecurityGroup":   creates("CreateSecurityGroup", "security-group", "VpcId"),
		"ec2.CreateVpcEndpoint":     creates("CreateVpcEndpoint", "vpc-endpoint", "VpcId", "RouteTableIds", "SubnetIds", "SecurityGroupIds"),

		"ec2.AttachInternetGateway": uses("AttachInternetGateway", "InternetGatewayId", "VpcId"),
		"ec2.DetachInternetGateway": uses("DetachInternetGateway", "InternetGatewayId", "VpcId"),
		"ec2.DeleteInternetGateway": uses("DeleteInternetGateway", "InternetGatewayId"),

		// The gateway that a route leads to is not asked for.
		"ec2.CreateRoute":         uses("CreateRoute", "RouteTableId"),
		"ec2.ReplaceRoute":        uses("ReplaceRoute", "RouteTableId"),
		"ec2.DeleteRoute":         uses("DeleteRoute", "RouteTableId"),
		"ec2.DeleteRouteTable":    uses("DeleteRouteTable", "RouteTableId"),
		"ec2.AssociateRouteTable": uses("AssociateRouteTable", "RouteTableId", "SubnetId", "GatewayId"),
		// An association is no resource: its subnet and its route table are.
		"ec2.DisassociateRouteTable": associated("DisassociateRouteTable"),
		"ec2.ReplaceRouteTableAssociation": func(w *World, in input) ([]Request, error) {
			list, err := associated("ReplaceRouteTableAssociation")(w, in)

			return append(list, w.existing("ReplaceRouteTableAssociation", "route-table", in.text("RouteTableId"))), err
		},

		"ec2.DeleteSubnet":          uses("DeleteSubnet", "SubnetId"),
		"ec2.ModifySubnetAttribute": uses("ModifySubnetAttribute", "SubnetId"),
		"ec2.DeleteVpc":             uses("DeleteVpc", "VpcId"),
		"ec2.ModifyVpcAttribute":    uses("ModifyVpcAttribute", "VpcId"),
		"ec2.DescribeVpcAttribute":  uses("DescribeVpcAttribute", "VpcId"),

		"ec2.ModifyVpcEndpoint":  uses("ModifyVpcEndpoint", "VpcEndpointId", "AddRouteTableIds", "RemoveRouteTableIds", "AddSubnetIds", "AddSecurityGroupIds"),
		"ec2.DeleteVpcEndpoints": uses("DeleteVpcEndpoints", "VpcEndpointIds"),

		"ec2.DeleteSecurityGroup":                        uses("DeleteSecurityGroup", "GroupId"),
		"ec2.AuthorizeSecurityGroupEgress":               authorizes("AuthorizeSecurityGroupEgress"),
		"ec2.AuthorizeSecurityGroupIngress":              authorizes("AuthorizeSecurityGroupIngress"),
		"ec2.RevokeSecurityGroupEgress":                  uses("RevokeSecurityGroupEgress", "GroupId"),
		"ec2.RevokeSecurityGroupIngress":                 uses("RevokeSecurityGroupIngress", "GroupId"),
		"ec2.UpdateSecurityGroupRuleDescriptionsEgress":  uses("UpdateSecurityGroupRuleDescriptionsEgress", "GroupId"),
		"ec2.UpdateSecurityGroupRuleDescriptionsIngress": uses("UpdateSecurityGroupRuleDescriptionsIngress", "GroupId"),

		"ec2.CreateLaunchTemplateVersion": template("CreateLaunchTemplateVersion"),
		"ec2.ModifyLaunchTemplate":        template("ModifyLaunchTemplate"),
		"ec2.DeleteLaunchTemplate":        template("DeleteLaunchTemplate"),

		// Tags on something that exists: both its tags and the new ones are in the context, and there is no ec2:CreateAction.
		"ec2.CreateTags": func(w *World, in input) ([]Request, error) {
			list, err := uses("CreateTags", "Resources")(w, in)
			for i := range list {
				list[i].Context = with(list[i].Context, requestTags(in.tagList()))
			}

			return list, err
		},
		"ec2.DeleteTags": uses("DeleteTags", "Resources"),
	}

	for _, operation := range []string{
		"DescribeAvailabilityZones", "DescribeInstanceTypeOfferings", "DescribeInstanceTypes", "DescribeInternetGateways", "DescribeLaunchTemplateVersions",
		"DescribeLaunchTemplates", "DescribeNetworkInterfaces", "DescribeRouteTables", "DescribeSecurityGroupRules", "DescribeSecurityGroups", "DescribeSubnets",
		"DescribeVpcEndpointServices", "DescribeVpcEndpoints", "DescribeVpcs",
	} {
		rules["ec2."+operation] = anywhere("ec2:" + operation)
	}

	return rules
}

// types are resource types by the prefix of their ids.
func resourceType(id string) (string, error) {
	prefix, _, _ := strings.Cut(id, "-")

	types := map[string]string{
		"igw": "internet-gateway", "lt": "launch-template", "rtb": "route-table", "sg": "security-group", "sgr": "security-group-rule", "subnet": "subnet",
		"vpc": "vpc", "vpce": "vpc-endpoint",
	}

	t, known := types[prefix]
	if !known {
		return "", fmt.Errorf("the id %s is of no type that is known here", id)
	}

	return t, nil
}

func (w *World) existing(operation, kind, id string) Request {
	return Request{
		Action: "ec2:" + operation, Resource: w.arn("ec2", kind+"/"+id),
		Context: with(resourceTags(w.tagsOf(id)), Context{"aws:ResourceAccount": {w.Account}}),
	}
}

// uses is an operation on what the members name.
func uses(operation string, members ...string) rule {
	return func(w *World, in input) ([]Request, error) {
		var list []Request

		for _, member := range members {
			ids := in.texts(member)
			if id := in.text(member); id != "" {
				ids = []string{id}
			}

			for _, id := range ids {
				kind, err := resourceType(id)
				if err != nil {
					return nil, err
				}

				list = append(list, w.existing(operation, kind, id))
			}
		}

		return list, nil
	}
}

// creates makes one thing of a kind, with what the members name. Tags on create are asked for as ec2:CreateTags with ec2:CreateAction.
// EC2 User Guide, "Grant permission to tag Amazon EC2 resources during creation".
func creates(operation, kind string, members ...string) rule {
	return func(w *World, in input) ([]Request, error) {
		list := w.made(operation, kind, in)

		rest, err := uses(operation, members...)(w, in)

		return append(list, rest...), err
	}
}

func (w *World) made(operation, kind string, in input) []Request {
	tags := map[string]string{}

	for _, spec := range in.each("TagSpecifications") {
		if spec.text("ResourceType") == kind {
			tags = spec.tagList()
		}
	}

	arn := w.arn("ec2", kind+"/*")
	list := []Request{{Action: "ec2:" + operation, Resource: arn, Context: requestTags(tags)}}

	if len(tags) > 0 {
		list = append(list, Request{
			Action: "ec2:CreateTags", Resource: arn, Context: with(requestTags(tags), Context{"ec2:CreateAction": {operation}}),
		})
	}

	return list
}

// authorizes adds rules to a group. A rule is asked for only where it carries tags.
// VPC User Guide, "Identity-based policy examples", "Manage security groups".
func authorizes(operation string) rule {
	return func(w *World, in input) ([]Request, error) {
		list, err := uses(operation, "GroupId")(w, in)
		if err == nil && len(in.each("TagSpecifications")) > 0 {
			list = append(list, w.made(operation, "security-group-rule", in)...)
		}

		return list, err
	}
}

// associated is an operation on an association, which AWS resolves to a route table and a subnet. Only ours are ever changed.
func associated(operation string) rule {
	return func(w *World, in input) ([]Request, error) {
		id := in.text("AssociationId")
		if id == "" {
			return nil, fmt.Errorf("%s names no association", operation)
		}

		return []Request{w.existing(operation, "route-table", "of-"+id), w.existing(operation, "subnet", "of-"+id)}, nil
	}
}

// template is an operation on a launch template, which may be named instead.
func template(operation string) rule {
	return func(w *World, in input) ([]Request, error) {
		id := in.text("LaunchTemplateId")
		if id == "" {
			id = in.text("LaunchTemplateName")
		}

		if id == "" {
			return nil, fmt.Errorf("%s names no launch template", operation)
		}

		return []Request{w.existing(operation, "launch-template", id)}, nil
	}
}
