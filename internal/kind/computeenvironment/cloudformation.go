package computeenvironment

import (
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Named implements kind.Planned.
func (*ComputeEnvironment) Named(c *kind.Call) string { return environmentName(c) }

// Template implements kind.Planned. Which of the default families the Region offers is found out when the environment is made; a template can only list
// them all.
func (*ComputeEnvironment) Template(c *kind.Call) kind.Template {
	env, _ := c.Spec.Environment(c.Ref.ID())

	t := kind.Template{Type: "AWS::Batch::ComputeEnvironment", Properties: map[string]any{
		"ComputeEnvironmentName": environmentName(c), "State": "ENABLED", "Type": "MANAGED",
		// It keeps its name, so CloudFormation could not make a second one beside it.
		"ReplaceComputeEnvironment": false,
	}}

	if len(c.Owner.Tags) > 0 {
		t.Properties["Tags"] = c.Owner.Tags
	}

	if env.Type == deploy.Unmanaged {
		t.Properties["Type"] = "UNMANAGED"
		t.Properties["ServiceRole"] = map[string]any{
			"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
		}

		return t
	}

	instanceTypes := env.InstanceTypes
	if len(instanceTypes) == 0 {
		instanceTypes = deploy.DefaultFamilies()
	}

	template := deploy.NewRef(launchTemplate, env.Name)
	resources := map[string]any{
		"Type": env.Type, "AllocationStrategy": env.AllocationStrategy, "MinvCpus": env.MinVcpus, "MaxvCpus": env.MaxVcpus, "InstanceTypes": instanceTypes,
		"InstanceRole":   kind.Attribute(instanceProfile, "Arn"),
		"LaunchTemplate": map[string]any{"LaunchTemplateId": c.Refer(template), "Version": kind.Attribute(template, "LatestVersionNumber")},
		"Subnets":        refer(c, subnet), "SecurityGroupIds": refer(c, securityGroup),
	}

	if len(c.Owner.Tags) > 0 {
		resources["Tags"] = c.Owner.Tags
	}

	t.Properties["ComputeResources"] = resources

	return t
}

// refer names every resource of a kind that the environment needs.
func refer(c *kind.Call, name string) []any {
	var all []any

	for _, need := range c.Needs {
		if need.Kind() == name {
			all = append(all, c.Refer(need))
		}
	}

	return all
}
