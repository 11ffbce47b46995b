package launchtemplate_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/launchtemplate"
)

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()

	return kindtest.New(t, launchtemplate.New(w.EC2), w, clock, deploy.Spec{Tags: map[string]string{"team": "forecast"}}, "launch-template/default")
}

func count(t *testing.T, b *kindtest.Bench) int {
	t.Helper()

	out, err := b.World.EC2.DescribeLaunchTemplates(t.Context(), &ec2.DescribeLaunchTemplatesInput{})
	if err != nil {
		t.Fatal(err)
	}

	return len(out.LaunchTemplates)
}

// byDefault is the default version as EC2 shows it.
func byDefault(t *testing.T, b *kindtest.Bench) *types.ResponseLaunchTemplateData {
	t.Helper()

	out, err := b.World.EC2.DescribeLaunchTemplateVersions(t.Context(), &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(b.ID), Versions: []string{"$Default"},
	})
	if err != nil || len(out.LaunchTemplateVersions) != 1 {
		t.Fatalf("default version of %s: got %d, %v, want one", b.ID, len(out.LaunchTemplateVersions), err)
	}

	return out.LaunchTemplateVersions[0].LaunchTemplateData
}

// wanted is what a version of ours says, written out once more and without the kind's help.
func wanted(t *testing.T) *types.RequestLaunchTemplateData {
	t.Helper()

	tags := func() []types.Tag {
		var list []types.Tag
		for _, kv := range [][2]string{
			{"Name", "demo launch-template/default"},
			{"metaflow-deployer:deployment", "demo"},
			{"metaflow-deployer:installation", "test"},
			{"metaflow-deployer:resource", "launch-template/default"},
			{"metaflow-deployer:tenant", "acme"},
			{"team", "forecast"},
		} {
			list = append(list, types.Tag{Key: aws.String(kv[0]), Value: aws.String(kv[1])})
		}

		return list
	}

	return &types.RequestLaunchTemplateData{
		BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMappingRequest{{
			DeviceName: aws.String("/dev/xvda"),
			Ebs: &types.LaunchTemplateEbsBlockDeviceRequest{
				VolumeSize: aws.Int32(100), VolumeType: types.VolumeTypeGp3, Encrypted: aws.Bool(true), DeleteOnTermination: aws.Bool(true),
			},
		}},
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{
			HttpTokens: types.LaunchTemplateHttpTokensStateRequired, HttpEndpoint: types.LaunchTemplateInstanceMetadataEndpointStateEnabled,
			HttpPutResponseHopLimit: aws.Int32(2),
		},
		TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{
			{ResourceType: types.ResourceTypeInstance, Tags: tags()}, {ResourceType: types.ResourceTypeVolume, Tags: tags()},
		},
	}
}

// revise makes a version as somebody else would, and makes it the default.
func revise(t *testing.T, b *kindtest.Bench, change func(d *types.RequestLaunchTemplateData)) {
	t.Helper()

	data := wanted(t)
	change(data)

	out, err := b.World.EC2.CreateLaunchTemplateVersion(t.Context(), &ec2.CreateLaunchTemplateVersionInput{LaunchTemplateId: aws.String(b.ID), LaunchTemplateData: data})
	if err != nil {
		t.Fatal(err)
	}

	_, err = b.World.EC2.ModifyLaunchTemplate(t.Context(), &ec2.ModifyLaunchTemplateInput{
		LaunchTemplateId: aws.String(b.ID), DefaultVersion: aws.String(strconv.FormatInt(*out.LaunchTemplateVersion.VersionNumber, 10)),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func drift(property string, change func(d *types.RequestLaunchTemplateData)) kindtest.Drift {
	return kindtest.Drift{Property: property, Change: func(t *testing.T, b *kindtest.Bench) { t.Helper(); revise(t, b, change) }}
}

func TestConformance(t *testing.T) {
	kindtest.Suite(t, kindtest.Subject{
		Build: build, Count: count, Late: func(b *kindtest.Bench, d time.Duration) { b.World.EC2.Lag = d },
		Tolerated: map[string]string{"CreateLaunchTemplate": "InvalidLaunchTemplateName.AlreadyExistsException", "DescribeLaunchTemplateVersions": "InvalidLaunchTemplateId.NotFound"}, Named: true,
		Foreign: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()

			_, err := b.World.EC2.CreateLaunchTemplate(t.Context(), &ec2.CreateLaunchTemplateInput{
				LaunchTemplateName: aws.String(b.Name("default")), LaunchTemplateData: wanted(t),
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		Drifts: map[string]kindtest.Drift{
			"Disk":   drift("diskGiB", func(d *types.RequestLaunchTemplateData) { d.BlockDeviceMappings[0].Ebs.VolumeSize = aws.Int32(30) }),
			"Device": drift("deviceName", func(d *types.RequestLaunchTemplateData) { d.BlockDeviceMappings[0].DeviceName = aws.String("/dev/sdb") }),
			"VolumeType": drift("volumeType", func(d *types.RequestLaunchTemplateData) {
				d.BlockDeviceMappings[0].Ebs.VolumeType = types.VolumeTypeGp2
			}),
			"Plain": drift("encrypted", func(d *types.RequestLaunchTemplateData) { d.BlockDeviceMappings[0].Ebs.Encrypted = nil }),
			"DiskStays": drift("deleteOnTermination", func(d *types.RequestLaunchTemplateData) {
				d.BlockDeviceMappings[0].Ebs.DeleteOnTermination = aws.Bool(false)
			}),
			"IMDSv1": drift("httpTokens", func(d *types.RequestLaunchTemplateData) {
				d.MetadataOptions.HttpTokens = types.LaunchTemplateHttpTokensStateOptional
			}),
			"NoIMDS": drift("httpEndpoint", func(d *types.RequestLaunchTemplateData) {
				d.MetadataOptions.HttpEndpoint = types.LaunchTemplateInstanceMetadataEndpointStateDisabled
			}),
			"Hops":         drift("httpPutResponseHopLimit", func(d *types.RequestLaunchTemplateData) { d.MetadataOptions.HttpPutResponseHopLimit = aws.Int32(1) }),
			"InstanceTags": drift("instanceTags", func(d *types.RequestLaunchTemplateData) { d.TagSpecifications = d.TagSpecifications[1:] }),
			"VolumeTags":   drift("volumeTags", func(d *types.RequestLaunchTemplateData) { d.TagSpecifications[1].Tags[0].Value = aws.String("mine") }),
			"Image":        drift("imageId", func(d *types.RequestLaunchTemplateData) { d.ImageId = aws.String("ami-1") }),
			"InstanceType": drift("instanceType", func(d *types.RequestLaunchTemplateData) { d.InstanceType = types.InstanceTypeM5Large }),
			"UserData":     drift("userData", func(d *types.RequestLaunchTemplateData) { d.UserData = aws.String("c2VjcmV0") }),
			"KeyName":      drift("keyName", func(d *types.RequestLaunchTemplateData) { d.KeyName = aws.String("mine") }),
			"Groups":       drift("securityGroups", func(d *types.RequestLaunchTemplateData) { d.SecurityGroupIds = []string{"sg-1"} }),
			"Profile": drift("iamInstanceProfile", func(d *types.RequestLaunchTemplateData) {
				d.IamInstanceProfile = &types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: aws.String("admin")}
			}),
		},
	})
}

func TestDefaultVersionSaysWhatIsWanted(t *testing.T) {
	b := build(t)
	r := b.Ensure(t)

	if r.Outputs["version"] != "1" {
		t.Errorf("version: got %s, want 1", r.Outputs["version"])
	}

	got, want := byDefault(t, b), wanted(t)

	ebs := got.BlockDeviceMappings[0].Ebs
	if aws.ToInt32(ebs.VolumeSize) != *want.BlockDeviceMappings[0].Ebs.VolumeSize || !aws.ToBool(ebs.Encrypted) || ebs.VolumeType != types.VolumeTypeGp3 {
		t.Errorf("disk: got %d GiB of %s, encrypted %v", aws.ToInt32(ebs.VolumeSize), ebs.VolumeType, aws.ToBool(ebs.Encrypted))
	}

	if m := got.MetadataOptions; m.HttpTokens != "required" || aws.ToInt32(m.HttpPutResponseHopLimit) != 2 {
		t.Errorf("metadata service: got tokens %s, hop limit %d", m.HttpTokens, aws.ToInt32(m.HttpPutResponseHopLimit))
	}

	for i, of := range []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume} {
		tags := map[string]string{}
		for _, tag := range got.TagSpecifications[i].Tags {
			tags[*tag.Key] = *tag.Value
		}

		expected := map[string]string{}
		for _, tag := range want.TagSpecifications[i].Tags {
			expected[*tag.Key] = *tag.Value
		}

		if diff := cmp.Diff(expected, tags); got.TagSpecifications[i].ResourceType != of || diff != "" {
			t.Errorf("tags of %s (-want +got):\n%s", of, diff)
		}
	}
}

func TestNewSettingsAreANewVersion(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	b.NextOperation()
	b.Spec.Compute.Environments[0].DiskGiB = 200

	r := b.Ensure(t)
	if r.Outputs["version"] != "2" {
		t.Errorf("version after a change: got %s, want 2", r.Outputs["version"])
	}

	if got := aws.ToInt32(byDefault(t, b).BlockDeviceMappings[0].Ebs.VolumeSize); got != 200 {
		t.Errorf("disk of the default version: got %d GiB, want 200", got)
	}
}

// Versions count against a quota of the template, so a lost answer must not leave one more.
func TestLostAnswerOfANewVersionMakesNoThird(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	b.NextOperation()
	b.Spec.Compute.Environments[0].DiskGiB = 200

	b.World.Fault = kindtest.LoseOnce("CreateLaunchTemplateVersion")

	b.Die(t.Context(), deploy.Ensure)
	b.World.Fault = nil

	if r := b.Ensure(t); r.Outputs["version"] != "2" {
		t.Errorf("version: got %s, want 2", r.Outputs["version"])
	}
}

func TestUserDataStaysOutOfReports(t *testing.T) {
	b := build(t)
	b.Ensure(t)
	revise(t, b, func(d *types.RequestLaunchTemplateData) { d.UserData = aws.String("c2VjcmV0") })

	for _, d := range b.Observe(t).Differences {
		if strings.Contains(d.Have+d.Want, "c2VjcmV0") {
			t.Errorf("the report shows user data: %+v", d)
		}
	}
}

func TestPlan(t *testing.T) {
	spec := deploy.Spec{Compute: deploy.Compute{Environments: []deploy.Environment{
		{Name: "small"}, {Name: "own", Type: deploy.Unmanaged}, {Name: "large"},
	}}}.WithDefaults()

	var got []string
	for _, i := range launchtemplate.New(nil).Plan(spec) {
		got = append(got, string(i.Ref)+" "+i.Pointer)
	}

	want := []string{"launch-template/small /spec/compute/environments/0", "launch-template/large /spec/compute/environments/2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("one for each managed environment (-want +got):\n%s", diff)
	}
}

func TestLongestNameFits(t *testing.T) {
	w, clock := kindtest.World()
	long := strings.Repeat("e", 24)
	spec := deploy.Spec{Compute: deploy.Compute{Environments: []deploy.Environment{{Name: long}}}}
	b := kindtest.New(t, launchtemplate.New(w.EC2), w, clock, spec, deploy.NewRef("launch-template", long))
	b.Owner.Name = strings.Repeat("d", 24)

	b.Ensure(t) // the fake refuses names of more than 128 characters, as EC2 does

	if n := count(t, b); n != 1 {
		t.Errorf("templates: got %d, want 1", n)
	}
}
