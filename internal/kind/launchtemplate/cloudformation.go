package launchtemplate

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned.
func (*LaunchTemplate) Named(c *kind.Call) string { return c.Name(c.Ref.ID()) }

// Template implements kind.Planned.
func (l *LaunchTemplate) Template(c *kind.Call) kind.Template {
	s, tags := wanted(c), c.TemplateNameTags()

	return kind.Template{Type: "AWS::EC2::LaunchTemplate", Properties: map[string]any{
		"LaunchTemplateName": l.Named(c),
		"TagSpecifications":  []any{map[string]any{"ResourceType": "launch-template", "Tags": tags}},
		"LaunchTemplateData": map[string]any{
			"BlockDeviceMappings": []any{map[string]any{"DeviceName": s.Device, "Ebs": map[string]any{
				"VolumeSize": s.DiskGiB, "VolumeType": s.VolumeType, "Encrypted": s.Encrypted, "DeleteOnTermination": s.DeleteOnTermination,
			}}},
			"MetadataOptions": map[string]any{"HttpTokens": s.HTTPTokens, "HttpEndpoint": s.HTTPEndpoint, "HttpPutResponseHopLimit": s.HopLimit},
			"TagSpecifications": []any{
				map[string]any{"ResourceType": "instance", "Tags": tags}, map[string]any{"ResourceType": "volume", "Tags": tags},
			},
		},
	}}
}
