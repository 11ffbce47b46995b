// Package launchtemplate makes the launch template of a managed compute environment: what Batch cannot say of an instance itself, above all its disk and
// that its metadata service demands a session token.
//
// A template's name is unique in the Region and its creates take client tokens, so a create whose answer was lost is simply repeated. Settings change by a
// new version, which becomes the default. The compute environment pins the version's number (Outputs).
package launchtemplate

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// api is what this kind calls.
type api interface {
	CreateLaunchTemplate(ctx context.Context, in *ec2.CreateLaunchTemplateInput, opts ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateOutput, error)
	DescribeLaunchTemplates(ctx context.Context, in *ec2.DescribeLaunchTemplatesInput, opts ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplatesOutput, error)
	CreateLaunchTemplateVersion(ctx context.Context, in *ec2.CreateLaunchTemplateVersionInput, opts ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateVersionOutput, error)
	DescribeLaunchTemplateVersions(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput, opts ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplateVersionsOutput, error)
	ModifyLaunchTemplate(ctx context.Context, in *ec2.ModifyLaunchTemplateInput, opts ...func(*ec2.Options)) (*ec2.ModifyLaunchTemplateOutput, error)
	DeleteLaunchTemplate(ctx context.Context, in *ec2.DeleteLaunchTemplateInput, opts ...func(*ec2.Options)) (*ec2.DeleteLaunchTemplateOutput, error)
	ec2tag.API
}

// LaunchTemplate is the kind.
type LaunchTemplate struct{ ec2 api }

// New takes the EC2 client.
func New(client api) *LaunchTemplate { return &LaunchTemplate{ec2: client} }

const (
	name = "launch-template"
	// device is the root device of the ECS-optimized Amazon Linux 2 and 2023 images that Batch starts (Batch user guide, "Use Amazon EC2 launch templates
	// with AWS Batch").
	device = "/dev/xvda"
	// hops lets a container reach the metadata service through the instance's bridge; with one hop the ECS agent's tasks in bridge mode cannot.
	hops = 2
)

// About implements kind.Kind.
func (*LaunchTemplate) About() kind.About {
	return kind.About{
		Name: name, Family: "ec2", Component: "compute", Settings: deploy.Environment{}, Many: true, Versioned: true,
		Doc: "Disk, metadata service and tags of a compute environment's instances.",
		// Batch reads the template whenever it starts an instance.
		RemoveAfter: []string{"job-queue", "compute-environment"},
		Ensuring:    kind.Timing{Typical: 2 * time.Second, Deadline: 5 * time.Minute},
		Removing:    kind.Timing{Typical: 2 * time.Second, Deadline: 5 * time.Minute},
	}
}

// Plan asks for a template for each managed environment.
func (*LaunchTemplate) Plan(spec deploy.Spec) []kind.Item {
	var items []kind.Item

	for i, e := range spec.Compute.Environments {
		if e.Type != deploy.Unmanaged {
			items = append(items, kind.Item{Ref: deploy.NewRef(name, e.Name), Pointer: "/spec/compute/environments/" + strconv.Itoa(i)})
		}
	}

	return items
}

// Ensure implements kind.Kind.
func (l *LaunchTemplate) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	var found *types.LaunchTemplate

	id, err := kind.Repeatable(ctx, c, func(ctx context.Context) (string, error) {
		var err error
		if found, err = l.named(ctx, c); err != nil || found == nil {
			return "", err
		}

		if !c.Owns(ec2tag.Map(found.Tags)) {
			return "", c.Foreign("launch template", c.Name(c.Ref.ID()))
		}

		return aws.ToString(found.LaunchTemplateId), nil
	}, func(ctx context.Context) (string, error) {
		out, err := l.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
			LaunchTemplateName: aws.String(c.Name(c.Ref.ID())), LaunchTemplateData: wanted(c).request(), ClientToken: aws.String(c.Token()),
			TagSpecifications: ec2tag.Spec(types.ResourceTypeLaunchTemplate, c.Tags()),
		})
		// A template that we do not see yet; the next look tells whose it is.
		if awserr.Code(err) == "InvalidLaunchTemplateName.AlreadyExistsException" {
			return "", nil
		}

		if err != nil {
			return "", fmt.Errorf("create launch template %s: %w", c.Name(c.Ref.ID()), err)
		}

		found = out.LaunchTemplate

		return aws.ToString(found.LaunchTemplateId), nil
	})
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{ID: id, Waiting: "to see the launch template"}, nil
	}

	if len(kind.Differing(ec2tag.Differ(c, found.Tags))) > 0 {
		if mended, err := ec2tag.Mend(ctx, l.ec2, c, id); !mended {
			return kind.Result{ID: id, Waiting: kind.PropertyTags}, err
		}
	}

	return l.version(ctx, c, id)
}

// version makes the template's default version the one that is wanted.
func (l *LaunchTemplate) version(ctx context.Context, c *kind.Call, id string) (kind.Result, error) {
	byDefault, latest, err := l.versions(ctx, id)
	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id}, err
	}

	if byDefault == nil || latest == nil {
		return kind.Result{ID: id, Waiting: "to see the launch template's versions"}, nil
	}

	obs := observe(c, id, byDefault)
	if len(obs.Differences) == 0 {
		return kind.Result{Done: true, ID: id, ARN: obs.ARN, Outputs: obs.Outputs}, nil
	}

	if len(observe(c, id, latest).Differences) == 0 {
		_, err := l.ec2.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{LaunchTemplateId: aws.String(id), DefaultVersion: aws.String(number(latest))})
		if err = awserr.IgnoreGone(err); err != nil {
			return kind.Result{ID: id}, fmt.Errorf("make version %s the default of launch template %s: %w", number(latest), id, err)
		}

		return kind.Result{ID: id, Waiting: "default version"}, nil
	}

	// The token tells apart the versions that one operation may need; the same settings in another operation are a version of their own.
	token := c.Owner.Token(c.Ref, c.Operation+"/"+deploy.Hash(wanted(c)))

	_, err = l.ec2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId: aws.String(id), LaunchTemplateData: wanted(c).request(), ClientToken: aws.String(token),
	})
	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id}, fmt.Errorf("create version of launch template %s: %w", id, err)
	}

	return kind.Result{ID: id, Waiting: "new version"}, nil
}

// Remove implements kind.Kind. All versions go with the template.
func (l *LaunchTemplate) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := l.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no launch template was made"}, nil
	}

	id := aws.ToString(found.LaunchTemplateId)

	_, err = l.ec2.DeleteLaunchTemplate(ctx, &ec2.DeleteLaunchTemplateInput{LaunchTemplateId: found.LaunchTemplateId})
	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id}, fmt.Errorf("delete launch template %s: %w", id, err)
	}

	c.Removed()

	return kind.Result{ID: id, Waiting: "deleting"}, nil
}

// Observe implements kind.Kind.
func (l *LaunchTemplate) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	found, err := l.find(ctx, c)
	if err != nil || found == nil {
		return kind.Observation{State: kind.Absent}, err
	}

	id := aws.ToString(found.LaunchTemplateId)

	byDefault, _, err := l.versions(ctx, id)
	if awserr.Gone(err) {
		return kind.Observation{State: kind.Absent}, nil
	}

	if err != nil {
		return kind.Observation{}, err
	}

	if byDefault == nil {
		return kind.Observation{State: kind.InProgress, ID: id}, nil
	}

	obs := observe(c, id, byDefault)
	obs.Differences = append(obs.Differences, kind.Differing(ec2tag.Differ(c, found.Tags))...)

	return obs, nil
}

// observe looks at one version: the tags are the template's.
func observe(c *kind.Call, id string, v *types.LaunchTemplateVersion) kind.Observation {
	return kind.Observation{
		State: kind.Ready, ID: id,
		ARN:         c.Owner.ARN("ec2", c.Owner.Region, c.Owner.Account, "launch-template/"+id),
		Outputs:     map[string]string{"version": number(v)},
		Differences: wanted(c).differences(read(v.LaunchTemplateData)),
	}
}

func number(v *types.LaunchTemplateVersion) string {
	return strconv.FormatInt(aws.ToInt64(v.VersionNumber), 10)
}

// find returns the template of our name if it is ours, or nil.
func (l *LaunchTemplate) find(ctx context.Context, c *kind.Call) (*types.LaunchTemplate, error) {
	found, err := l.named(ctx, c)
	if err != nil || found == nil || !c.Owns(ec2tag.Map(found.Tags)) {
		return nil, err
	}

	return found, nil
}

// named returns the template of our name, whoever made it, or nil.
func (l *LaunchTemplate) named(ctx context.Context, c *kind.Call) (*types.LaunchTemplate, error) {
	out, err := l.ec2.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{c.Name(c.Ref.ID())}})
	if awserr.Gone(err) || err == nil && len(out.LaunchTemplates) == 0 {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("look for the launch template %s: %w", c.Name(c.Ref.ID()), err)
	}

	return &out.LaunchTemplates[0], nil
}

// versions returns the default version and the latest one, which may be the same.
func (l *LaunchTemplate) versions(ctx context.Context, id string) (byDefault, latest *types.LaunchTemplateVersion, err error) {
	out, err := l.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(id), Versions: []string{"$Default", "$Latest"},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("describe the versions of launch template %s: %w", id, err)
	}

	for i := range out.LaunchTemplateVersions {
		v := &out.LaunchTemplateVersions[i]
		if aws.ToBool(v.DefaultVersion) {
			byDefault = v
		}

		if latest == nil || aws.ToInt64(v.VersionNumber) > aws.ToInt64(latest.VersionNumber) {
			latest = v
		}
	}

	return byDefault, latest, nil
}

// settings is a template version in our own terms: what is wanted, or what AWS shows, made comparable.
type settings struct {
	Device, VolumeType               string
	DiskGiB                          int32
	Encrypted, DeleteOnTermination   bool
	HTTPTokens, HTTPEndpoint         string
	HopLimit                         int32
	InstanceTags, VolumeTags         map[string]string
	ImageID, InstanceType, UserData  string
	InstanceProfile, KeyName, Groups string
}

func wanted(c *kind.Call) settings {
	disk := int32(0)
	if e, ok := c.Spec.Environment(c.Ref.ID()); ok {
		disk = int32(e.DiskGiB) //nolint:gosec // the schema keeps it under 16385
	}

	tags := ec2tag.Named(c.Tags())

	return settings{
		Device: device, VolumeType: string(types.VolumeTypeGp3), DiskGiB: disk, Encrypted: true, DeleteOnTermination: true,
		HTTPTokens: string(types.LaunchTemplateHttpTokensStateRequired), HTTPEndpoint: string(types.LaunchTemplateInstanceMetadataEndpointStateEnabled),
		HopLimit: hops, InstanceTags: tags, VolumeTags: tags,
	}
}

func (s settings) request() *types.RequestLaunchTemplateData {
	return &types.RequestLaunchTemplateData{
		BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMappingRequest{{
			DeviceName: aws.String(s.Device),
			Ebs: &types.LaunchTemplateEbsBlockDeviceRequest{
				VolumeSize: aws.Int32(s.DiskGiB), VolumeType: types.VolumeType(s.VolumeType),
				Encrypted: aws.Bool(s.Encrypted), DeleteOnTermination: aws.Bool(s.DeleteOnTermination),
			},
		}},
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{
			HttpTokens:              types.LaunchTemplateHttpTokensState(s.HTTPTokens),
			HttpEndpoint:            types.LaunchTemplateInstanceMetadataEndpointState(s.HTTPEndpoint),
			HttpPutResponseHopLimit: aws.Int32(s.HopLimit),
		},
		TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{
			{ResourceType: types.ResourceTypeInstance, Tags: ec2tag.List(s.InstanceTags)},
			{ResourceType: types.ResourceTypeVolume, Tags: ec2tag.List(s.VolumeTags)},
		},
	}
}

// read takes what AWS shows. Of the settings that we leave to Batch it takes those that would change what runs.
func read(d *types.ResponseLaunchTemplateData) settings {
	if d == nil {
		return settings{}
	}

	s := settings{
		ImageID: aws.ToString(d.ImageId), InstanceType: string(d.InstanceType), UserData: aws.ToString(d.UserData), KeyName: aws.ToString(d.KeyName),
		Groups: strings.Join(append(slices.Clone(d.SecurityGroupIds), d.SecurityGroups...), ","),
	}

	if p := d.IamInstanceProfile; p != nil {
		s.InstanceProfile = aws.ToString(p.Arn) + aws.ToString(p.Name)
	}

	for _, m := range d.BlockDeviceMappings {
		if s.Device = aws.ToString(m.DeviceName); m.Ebs == nil {
			continue
		}

		s.DiskGiB, s.VolumeType = aws.ToInt32(m.Ebs.VolumeSize), string(m.Ebs.VolumeType)
		s.Encrypted, s.DeleteOnTermination = aws.ToBool(m.Ebs.Encrypted), aws.ToBool(m.Ebs.DeleteOnTermination)
	}

	if m := d.MetadataOptions; m != nil {
		s.HTTPTokens, s.HTTPEndpoint, s.HopLimit = string(m.HttpTokens), string(m.HttpEndpoint), aws.ToInt32(m.HttpPutResponseHopLimit)
	}

	for _, t := range d.TagSpecifications {
		if t.ResourceType == types.ResourceTypeInstance {
			s.InstanceTags = ec2tag.Map(t.Tags)
		}

		if t.ResourceType == types.ResourceTypeVolume {
			s.VolumeTags = ec2tag.Map(t.Tags)
		}
	}

	return s
}

// differences lists where have is not as s.
func (s settings) differences(have settings) []kind.Difference {
	return kind.Differing([]kind.Difference{
		{Property: "deviceName", Want: s.Device, Have: have.Device},
		{Property: "diskGiB", Want: fmt.Sprint(s.DiskGiB), Have: fmt.Sprint(have.DiskGiB)},
		{Property: "volumeType", Want: s.VolumeType, Have: have.VolumeType},
		{Property: "encrypted", Want: strconv.FormatBool(s.Encrypted), Have: strconv.FormatBool(have.Encrypted)},
		{Property: "deleteOnTermination", Want: strconv.FormatBool(s.DeleteOnTermination), Have: strconv.FormatBool(have.DeleteOnTermination)},
		{Property: "httpTokens", Want: s.HTTPTokens, Have: have.HTTPTokens},
		{Property: "httpEndpoint", Want: s.HTTPEndpoint, Have: have.HTTPEndpoint},
		{Property: "httpPutResponseHopLimit", Want: fmt.Sprint(s.HopLimit), Have: fmt.Sprint(have.HopLimit)},
		{Property: "instanceTags", Want: kind.Pairs(s.InstanceTags), Have: kind.Pairs(have.InstanceTags)},
		{Property: "volumeTags", Want: kind.Pairs(s.VolumeTags), Have: kind.Pairs(have.VolumeTags)},
		{Property: "imageId", Want: s.ImageID, Have: have.ImageID},
		{Property: "instanceType", Want: s.InstanceType, Have: have.InstanceType},
		{Property: "userData", Want: digest(s.UserData), Have: digest(have.UserData)},
		{Property: "iamInstanceProfile", Want: s.InstanceProfile, Have: have.InstanceProfile},
		{Property: "keyName", Want: s.KeyName, Have: have.KeyName},
		{Property: "securityGroups", Want: s.Groups, Have: have.Groups},
	}...)
}

// digest keeps user data, which may hold secrets, out of reports.
func digest(userData string) string {
	if userData == "" {
		return ""
	}

	return "hash " + deploy.Hash(userData)
}
