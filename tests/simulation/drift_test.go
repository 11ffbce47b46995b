package simulation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// person is somebody with a console: what they change, no operation knows of.
type person struct {
	*testing.T
	*awsfake.World

	record map[deploy.Ref]deploy.Resource
}

func (p person) id(ref deploy.Ref) *string {
	p.Helper()

	r, ok := p.record[ref]
	if !ok || r.ID == "" {
		p.Fatalf("there is no %s", ref)
	}

	return aws.String(r.ID)
}

// did ends the test where AWS refuses the person.
func (p person) did(_ any, err error) {
	p.Helper()

	if err != nil {
		p.Fatal(err)
	}
}

// everything is a spec with something of every kind, and an order of environments that can be changed.
func everything() deploy.Spec {
	return deploy.Spec{
		Compute: deploy.Compute{
			Environments: []deploy.Environment{{Name: "default"}, {Name: "more"}, {Name: "own", Type: deploy.Unmanaged}},
			Queues:       []deploy.Queue{{Name: "default", Environments: []string{"default", "more"}}, {Name: "second", Environments: []string{"own"}}},
		},
		Tags: map[string]string{"team": "ml"},
	}
}

// change is one property, changed from outside, and what a look must find of it: one line for a resource and a property.
type change struct {
	ref, property string
	act           func(ctx context.Context, p person)
	// besides are differences of others that follow from it.
	besides []string
}

func (c change) found() []string {
	return slices.Sorted(slices.Values(append([]string{c.ref + " " + c.property}, c.besides...)))
}

func changes() []change {
	return slices.Concat(bucketChanges(), roleChanges(), networkChanges(), tagChanges(), templateChanges(), environmentChanges(), queueChanges())
}

func bucketChanges() []change {
	return []change{
		{"bucket", "ownership", func(ctx context.Context, p person) {
			p.did(p.S3.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{Bucket: p.id("bucket"), OwnershipControls: &s3types.OwnershipControls{
				Rules: []s3types.OwnershipControlsRule{{ObjectOwnership: s3types.ObjectOwnershipObjectWriter}},
			}}))
		}, nil},
		{"bucket", "publicAccessBlock", func(ctx context.Context, p person) {
			p.did(p.S3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: p.id("bucket")}))
		}, nil},
		{"bucket", "encryption", func(ctx context.Context, p person) {
			p.did(p.S3.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: p.id("bucket"), ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{
				Rules: []s3types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &s3types.ServerSideEncryptionByDefault{SSEAlgorithm: s3types.ServerSideEncryptionAwsKms}}},
			}}))
		}, nil},
		{"bucket", "versioning", func(ctx context.Context, p person) {
			p.did(p.S3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: p.id("bucket"), VersioningConfiguration: &s3types.VersioningConfiguration{
				Status: s3types.BucketVersioningStatusSuspended,
			}}))
		}, nil},
		{"bucket", "lifecycle", func(ctx context.Context, p person) {
			p.did(p.S3.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: p.id("bucket")}))
		}, nil},
		{"bucket", "policy", func(ctx context.Context, p person) {
			p.did(p.S3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: p.id("bucket")}))
		}, nil},
		{"bucket", "tags", func(ctx context.Context, p person) {
			out, err := p.S3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: p.id("bucket")})
			p.did(out, err)

			set := slices.DeleteFunc(out.TagSet, func(t s3types.Tag) bool { return *t.Key == "team" })
			p.did(p.S3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: p.id("bucket"), Tagging: &s3types.Tagging{TagSet: set}}))
		}, nil},
	}
}

const anything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func roleChanges() []change {
	var all []change

	for _, ref := range []deploy.Ref{"job-role", "instance-role"} {
		all = append(all, []change{
			{string(ref), "permissionsBoundary", func(ctx context.Context, p person) {
				p.did(p.IAM.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: p.id(ref)}))
			}, nil},
			{string(ref), "trustPolicy", func(ctx context.Context, p person) {
				p.did(p.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: p.id(ref), PolicyDocument: aws.String(anything)}))
			}, nil},
			{string(ref), "tags", func(ctx context.Context, p person) {
				p.did(p.IAM.UntagRole(ctx, &iam.UntagRoleInput{RoleName: p.id(ref), TagKeys: []string{"team"}}))
			}, nil},
		}...)
	}

	return append(all, []change{
		{"job-role", "policy", func(ctx context.Context, p person) {
			p.did(p.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: p.id("job-role"), PolicyName: aws.String("metaflow"), PolicyDocument: aws.String(
				`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)}))
		}, nil},
		{"instance-role", "attachedPolicy", func(ctx context.Context, p person) {
			p.did(p.IAM.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{
				RoleName: p.id("instance-role"), PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"),
			}))
		}, nil},
		{"instance-profile", "role", func(ctx context.Context, p person) {
			p.did(p.IAM.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{
				InstanceProfileName: p.id("instance-profile"), RoleName: p.id("instance-role"),
			}))
		}, nil},
		{"instance-profile", "tags", func(ctx context.Context, p person) {
			p.did(p.IAM.TagInstanceProfile(ctx, &iam.TagInstanceProfileInput{
				InstanceProfileName: p.id("instance-profile"), Tags: []iamtypes.Tag{{Key: aws.String("team"), Value: aws.String("ML")}},
			}))
		}, nil},
	}...)
}

func networkChanges() []change {
	off, anywhere := &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}, []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}
	egress := []ec2types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: anywhere}}

	association := func(ctx context.Context, p person) *string {
		out, err := p.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{*p.id("subnet/1")}}}})
		p.did(out, err)

		for _, a := range out.RouteTables[0].Associations {
			if aws.ToString(a.SubnetId) == *p.id("subnet/1") {
				return a.RouteTableAssociationId
			}
		}

		p.Fatal("the subnet has no route table")

		return nil
	}

	return []change{
		{"vpc", "enableDnsSupport", func(ctx context.Context, p person) {
			p.did(p.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: p.id("vpc"), EnableDnsSupport: off}))
		}, nil},
		{"vpc", "enableDnsHostnames", func(ctx context.Context, p person) {
			p.did(p.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: p.id("vpc"), EnableDnsHostnames: off}))
		}, nil},
		{"internet-gateway", "vpcId", func(ctx context.Context, p person) {
			p.did(p.EC2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: p.id("internet-gateway"), VpcId: p.id("vpc")}))
		}, []string{"route-table defaultRouteState"}},
		{"route-table", "defaultRoute", func(ctx context.Context, p person) {
			p.did(p.EC2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: p.id("route-table"), DestinationCidrBlock: aws.String("0.0.0.0/0")}))
		}, nil},
		{"subnet/1", "mapPublicIpOnLaunch", func(ctx context.Context, p person) {
			p.did(p.EC2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: p.id("subnet/1"), MapPublicIpOnLaunch: off}))
		}, nil},
		{"subnet/1", "routeTable", func(ctx context.Context, p person) {
			p.did(p.EC2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: association(ctx, p)}))
		}, nil},
		{"subnet/1", "routeTable", func(ctx context.Context, p person) {
			other, err := p.EC2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: p.id("vpc")})
			p.did(other, err)
			time.Sleep(time.Minute)
			p.did(p.EC2.ReplaceRouteTableAssociation(ctx, &ec2.ReplaceRouteTableAssociationInput{
				AssociationId: association(ctx, p), RouteTableId: other.RouteTable.RouteTableId,
			}))
		}, nil},
		{"vpc-endpoint", "routeTableIds", func(ctx context.Context, p person) {
			p.did(p.EC2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: p.id("vpc-endpoint"), RemoveRouteTableIds: []string{*p.id("route-table")}}))
		}, nil},
		{"security-group/jobs", "ingress", func(ctx context.Context, p person) {
			p.did(p.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: p.id("security-group/jobs"), IpPermissions: []ec2types.IpPermission{
				{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: anywhere},
			}}))
		}, nil},
		{"security-group/jobs", "egress", func(ctx context.Context, p person) {
			p.did(p.EC2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: p.id("security-group/jobs"), IpPermissions: egress}))
		}, nil},
		{"security-group/jobs", "egressDescription", func(ctx context.Context, p person) {
			p.did(p.EC2.UpdateSecurityGroupRuleDescriptionsEgress(ctx, &ec2.UpdateSecurityGroupRuleDescriptionsEgressInput{
				GroupId: p.id("security-group/jobs"), IpPermissions: egress,
			}))
		}, nil},
	}
}

// tagChanges: a tag of the owner's is taken away, or ours is given another value; one that somebody adds is theirs.
func tagChanges() []change {
	var all []change

	for _, ref := range []deploy.Ref{
		"vpc", "internet-gateway", "route-table", "subnet/1", "subnet/2", "vpc-endpoint", "security-group/jobs", "launch-template/default",
	} {
		tag := func(key, value string) []ec2types.Tag {
			return []ec2types.Tag{{Key: aws.String(key), Value: aws.String(value)}}
		}

		all = append(all,
			change{string(ref), "tags", func(ctx context.Context, p person) {
				p.did(p.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{*p.id(ref)}, Tags: tag("theirs", "1")}))
				p.did(p.EC2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{*p.id(ref)}, Tags: []ec2types.Tag{{Key: aws.String("team")}}}))
			}, nil},
			change{string(ref), "tags", func(ctx context.Context, p person) {
				p.did(p.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{*p.id(ref)}, Tags: tag("Name", "mine")}))
			}, nil},
		)
	}

	return all
}

// templateChanges make another version of a launch template the default, with one thing changed in it.
func templateChanges() []change {
	disk := func(d *ec2types.RequestLaunchTemplateData) *ec2types.LaunchTemplateEbsBlockDeviceRequest {
		return d.BlockDeviceMappings[0].Ebs
	}

	edits := map[string]func(d *ec2types.RequestLaunchTemplateData){
		"deviceName": func(d *ec2types.RequestLaunchTemplateData) {
			d.BlockDeviceMappings[0].DeviceName = aws.String("/dev/sdb")
		},
		"diskGiB":             func(d *ec2types.RequestLaunchTemplateData) { disk(d).VolumeSize = aws.Int32(8) },
		"volumeType":          func(d *ec2types.RequestLaunchTemplateData) { disk(d).VolumeType = ec2types.VolumeTypeGp2 },
		"encrypted":           func(d *ec2types.RequestLaunchTemplateData) { disk(d).Encrypted = aws.Bool(false) },
		"deleteOnTermination": func(d *ec2types.RequestLaunchTemplateData) { disk(d).DeleteOnTermination = aws.Bool(false) },
		"httpTokens": func(d *ec2types.RequestLaunchTemplateData) {
			d.MetadataOptions.HttpTokens = ec2types.LaunchTemplateHttpTokensStateOptional
		},
		"httpEndpoint": func(d *ec2types.RequestLaunchTemplateData) {
			d.MetadataOptions.HttpEndpoint = ec2types.LaunchTemplateInstanceMetadataEndpointStateDisabled
		},
		"httpPutResponseHopLimit": func(d *ec2types.RequestLaunchTemplateData) { d.MetadataOptions.HttpPutResponseHopLimit = aws.Int32(1) },
		"instanceTags":            func(d *ec2types.RequestLaunchTemplateData) { d.TagSpecifications = d.TagSpecifications[1:] },
		"volumeTags":              func(d *ec2types.RequestLaunchTemplateData) { d.TagSpecifications = d.TagSpecifications[:1] },
		"imageId":                 func(d *ec2types.RequestLaunchTemplateData) { d.ImageId = aws.String("ami-1") },
		"instanceType":            func(d *ec2types.RequestLaunchTemplateData) { d.InstanceType = ec2types.InstanceTypeM5Large },
		"userData":                func(d *ec2types.RequestLaunchTemplateData) { d.UserData = aws.String("IyEvYmluL3No") },
		"keyName":                 func(d *ec2types.RequestLaunchTemplateData) { d.KeyName = aws.String("mine") },
		"securityGroups":          func(d *ec2types.RequestLaunchTemplateData) { d.SecurityGroupIds = []string{"sg-1"} },
		"iamInstanceProfile": func(d *ec2types.RequestLaunchTemplateData) {
			d.IamInstanceProfile = &ec2types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: aws.String("mine")}
		},
	}

	var all []change

	for _, property := range slices.Sorted(maps.Keys(edits)) {
		all = append(all, change{"launch-template/default", property, func(ctx context.Context, p person) {
			id := p.id("launch-template/default")

			versions, err := p.EC2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: id})
			p.did(versions, err)

			data := asRequest(p.T, versions.LaunchTemplateVersions[0].LaunchTemplateData)
			edits[property](data)

			made, err := p.EC2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{LaunchTemplateId: id, LaunchTemplateData: data})
			p.did(made, err)
			p.did(p.EC2.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{LaunchTemplateId: id, DefaultVersion: aws.String(fmt.Sprint(*made.LaunchTemplateVersion.VersionNumber))}))
		}, nil})
	}

	return all
}

// asRequest says what an answer shows as a request says it: the members bear the same names.
func asRequest(t *testing.T, shown *ec2types.ResponseLaunchTemplateData) *ec2types.RequestLaunchTemplateData {
	t.Helper()

	b, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}

	data := &ec2types.RequestLaunchTemplateData{}
	if err := json.Unmarshal(b, data); err != nil {
		t.Fatal(err)
	}

	return data
}

func environmentChanges() []change {
	edits := map[string]batchtypes.ComputeResourceUpdate{
		"type":                  {Type: batchtypes.CRTypeSpot},
		"allocationStrategy":    {AllocationStrategy: batchtypes.CRUpdateAllocationStrategySpotPriceCapacityOptimized},
		"minvCpus":              {MinvCpus: aws.Int32(2)},
		"maxvCpus":              {MaxvCpus: aws.Int32(2)},
		"instanceTypes":         {InstanceTypes: []string{"p4d"}},
		"instanceRole":          {InstanceRole: aws.String("arn:aws:iam::123456789012:instance-profile/mine")},
		"launchTemplate":        {LaunchTemplate: &batchtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), Version: aws.String("1")}},
		"subnets":               {Subnets: []string{"subnet-1"}},
		"securityGroupIds":      {SecurityGroupIds: []string{"sg-1"}},
		"computeResources.tags": {Tags: map[string]string{"team": "ops"}},
	}

	var all []change

	for _, property := range slices.Sorted(maps.Keys(edits)) {
		all = append(all, change{"compute-environment/default", property, func(ctx context.Context, p person) {
			update := edits[property]
			p.did(p.Batch.UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{
				ComputeEnvironment: p.id("compute-environment/default"), ComputeResources: &update,
			}))
		}, nil})
	}

	for _, ref := range []deploy.Ref{"compute-environment/default", "compute-environment/own"} {
		all = append(all,
			change{string(ref), "state", func(ctx context.Context, p person) {
				p.did(p.Batch.UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{ComputeEnvironment: p.id(ref), State: batchtypes.CEStateDisabled}))
			}, nil},
			change{string(ref), "tags", func(ctx context.Context, p person) {
				p.did(p.Batch.UntagResource(ctx, &batch.UntagResourceInput{ResourceArn: aws.String(p.record[ref].ARN), TagKeys: []string{"team"}}))
			}, nil},
		)
	}

	return all
}

func queueChanges() []change {
	update := func(in batch.UpdateJobQueueInput) func(ctx context.Context, p person) {
		return func(ctx context.Context, p person) {
			in := in
			in.JobQueue = p.id("job-queue/default")
			p.did(p.Batch.UpdateJobQueue(ctx, &in))
		}
	}

	return []change{
		{"job-queue/default", "state", update(batch.UpdateJobQueueInput{State: batchtypes.JQStateDisabled}), nil},
		{"job-queue/default", "priority", update(batch.UpdateJobQueueInput{Priority: aws.Int32(99)}), nil},
		{"job-queue/default", "computeEnvironmentOrder", func(ctx context.Context, p person) {
			update(batch.UpdateJobQueueInput{ComputeEnvironmentOrder: []batchtypes.ComputeEnvironmentOrder{
				{ComputeEnvironment: p.id("compute-environment/more"), Order: aws.Int32(1)}, {ComputeEnvironment: p.id("compute-environment/default"), Order: aws.Int32(2)},
			}})(ctx, p)
		}, nil},
		{"job-queue/default", "tags", func(ctx context.Context, p person) {
			p.did(p.Batch.TagResource(ctx, &batch.TagResourceInput{ResourceArn: aws.String(p.record["job-queue/default"].ARN), Tags: map[string]string{"team": "ops"}}))
		}, nil},
	}
}

// standing makes a deployment and waits until everything of it is old news.
func standing(ctx context.Context, t *testing.T, w *simulation.World, spec deploy.Spec) person {
	t.Helper()

	if header := create(ctx, t, w, spec); header.Phase != deploy.PhaseActive {
		t.Fatalf("the deployment must reach ACTIVE:\n%s", explain(ctx, t, w))
	}

	record, err := w.Store.Load(ctx, key)
	if err != nil {
		t.Fatal(err)
	}

	p := person{t, w.AWS, map[deploy.Ref]deploy.Resource{}}
	for _, r := range record.Resources {
		p.record[r.Ref] = r
	}

	return p
}

// look answers what drifted, a line for each resource and property, and holds every difference against what people can read.
func look(ctx context.Context, t *testing.T, w *simulation.World) []string {
	t.Helper()

	time.Sleep(10 * time.Minute) // whatever was changed is done

	found, err := w.Control.Drift(ctx, owner, key.Name)
	if err != nil {
		t.Fatal(err)
	}

	var lines []string

	for _, r := range found.Resources {
		for _, d := range r.Differences {
			lines = append(lines, string(r.Resource)+" "+d.Property)

			if d.Want == "" || d.Have == "" || d.Want == d.Have || strings.Contains(d.Have, "%7B") || len(d.Have) > 1000 {
				t.Errorf("nobody can read this: %s %s: want %q, have %q", r.Resource, d.Property, d.Want, d.Have)
			}

			t.Logf("%s %s: want %s, have %s", r.Resource, d.Property, d.Want, d.Have)
		}
	}

	slices.Sort(lines)

	return lines
}

func repair(ctx context.Context, t *testing.T, w *simulation.World) deploy.OperationState {
	t.Helper()

	if _, err := w.Control.Repair(ctx, owner, workflow.UpdateRequest{Name: key.Name}); err != nil {
		t.Fatal(err)
	}

	if _, err := w.Settle(ctx, key); err != nil {
		t.Fatal(err)
	}

	return current(ctx, t, w).State
}

// counted adds up what subtests that run side by side did.
type counted struct {
	sync.Mutex
	changed, reported, repaired int
}

func (c *counted) add(n *int) {
	c.Lock()
	defer c.Unlock()
	*n++
}

// mends lets somebody change something, and holds what is found, and what is left after a repair.
func (c *counted) mends(t *testing.T, want []string, act func(ctx context.Context, p person)) {
	t.Helper()

	world(t, func(t *testing.T, w *simulation.World) {
		t.Helper()

		ctx := t.Context()
		p := standing(ctx, t, w, everything())

		if lines := look(ctx, t, w); len(lines) > 0 {
			t.Fatalf("drift before anybody changed anything: %v", lines)
		}

		act(ctx, p)
		c.add(&c.changed)

		if diff := cmp.Diff(want, look(ctx, t, w)); diff != "" {
			t.Errorf("what was changed and what is told (-want +got):\n%s", diff)
		} else {
			c.add(&c.reported)
		}

		if state := repair(ctx, t, w); state != deploy.Succeeded {
			t.Fatalf("the repair ended %s:\n%s", state, explain(ctx, t, w))
		}

		if lines := look(ctx, t, w); len(lines) > 0 {
			t.Errorf("drift after the repair: %v", lines)
		} else {
			c.add(&c.repaired)
		}
	})
}

// TestDrift changes every property that the kinds set from outside, one at a time: it is found, it alone, and repaired.
func TestDrift(t *testing.T) {
	t.Parallel()

	var n counted

	t.Run("Change", func(t *testing.T) {
		for i, c := range changes() {
			t.Run(fmt.Sprintf("%d_%s_%s", i, strings.ReplaceAll(c.ref, "/", "-"), c.property), func(t *testing.T) {
				t.Parallel()
				n.mends(t, c.found(), c.act)
			})
		}
	})

	fmt.Printf("drift: properties changed %d, reported %d, repaired %d\n", n.changed, n.reported, n.repaired) //nolint:forbidigo // the test's result
}

// TestVanished takes each resource away by hand: it is found absent, with what follows from that, and made again with all that hangs on it.
func TestVanished(t *testing.T) {
	t.Parallel()

	// What goes with a thing, or points at it, shows as well.
	follows := map[string][]string{
		"vpc":              {"internet-gateway state", "route-table state", "security-group/jobs state", "subnet/1 state", "subnet/2 state", "vpc-endpoint state"},
		"internet-gateway": {"route-table defaultRoute"},
		"route-table":      {"subnet/1 routeTable", "subnet/2 routeTable", "vpc-endpoint routeTableIds"},
		"instance-role":    {"instance-profile role"},
		// Batch deletes no environment that a queue names, so the queue went first.
		"compute-environment/default": {"job-queue/default state"},
		"compute-environment/more":    {"job-queue/default state"},
		"compute-environment/own":     {"job-queue/second state"},
	}

	var n counted

	t.Run("Resource", func(t *testing.T) {
		items, err := graphs(t).Items(everything().WithDefaults(), false)
		if err != nil {
			t.Fatal(err)
		}

		for _, item := range items {
			ref := string(item.Ref)

			t.Run(strings.ReplaceAll(ref, "/", "-"), func(t *testing.T) {
				t.Parallel()
				n.mends(t, slices.Sorted(slices.Values(append([]string{ref + " state"}, follows[ref]...))), func(_ context.Context, p person) {
					for id, tags := range p.Inventory() {
						if tags[deploy.TagResource] == ref || ref == "service-linked-role" && strings.Contains(id, "/aws-service-role/") {
							p.Vanish(id)

							return
						}
					}

					p.Fatalf("there is no %s to take away", ref)
				})
			})
		}
	})

	fmt.Printf("drift: resources removed %d, reported %d, made again %d\n", n.changed, n.reported, n.repaired) //nolint:forbidigo // the test's result
}

func graphs(t *testing.T) *workflow.Graphs {
	t.Helper()

	g, err := workflow.NewGraphs(simulation.Kinds(awsfake.New()))
	if err != nil {
		t.Fatal(err)
	}

	return g
}

// TestNoDriftAfterACreate looks at a deployment that was just made, in every way that there is.
func TestNoDriftAfterACreate(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		spec   deploy.Spec
		before func(ctx context.Context, p person, spec *deploy.Spec)
		verify bool
	}{
		"Default":    {"an empty spec", deploy.Spec{}, nil, false},
		"Everything": {"several environments and queues", everything(), nil, false},
		"Unmanaged":  {"no network at all", deploy.Spec{Compute: deploy.Compute{Environments: []deploy.Environment{{Name: "own", Type: deploy.Unmanaged}}}}, nil, false},
		"Tags": {
			"tags with the characters that AWS allows, and a Name of the owner's own",
			deploy.Spec{Tags: map[string]string{"Name": "ours", "cost-center": "a/b+c=d:e@f g", "empty": ""}},
			nil, false,
		},
		"Named": {"zones and instance types in an order of the owner's own", deploy.Spec{
			Network: deploy.Network{Zones: []string{"us-east-1c", "us-east-1a", "us-east-1b"}},
			Compute: deploy.Compute{Environments: []deploy.Environment{{Name: "default", InstanceTypes: []string{"m5.xlarge", "m5.large"}}}},
		}, nil, false},
		"Existing": {"network, bucket and job role are the owner's", deploy.Spec{}, brought(false), false},
		"Grouped":  {"the security group is the owner's too", deploy.Spec{}, brought(true), false},
		"Queue":    {"the queue is the owner's", deploy.Spec{}, queued, false},
		"Verified": {"a probe ran", deploy.Spec{}, nil, true},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world(t, func(t *testing.T, w *simulation.World) {
				ctx, spec := t.Context(), c.spec
				if c.before != nil {
					c.before(ctx, person{T: t, World: w.AWS}, &spec)
				}

				if _, err := w.Control.Create(ctx, owner, workflow.CreateRequest{Name: key.Name, Spec: spec.WithDefaults(), Verify: c.verify}); err != nil {
					t.Fatal(err)
				}

				if header, err := w.Settle(ctx, key); err != nil || header.Phase != deploy.PhaseActive {
					t.Fatalf("%v\n%s", err, explain(ctx, t, w))
				}

				if lines := look(ctx, t, w); len(lines) > 0 {
					t.Errorf("%s: drift after a create: %v", c.reason, lines)
				}
			})
		})
	}
}

// brought lays out a network, a bucket and a role that are not ours.
func brought(grouped bool) func(ctx context.Context, p person, spec *deploy.Spec) {
	return func(ctx context.Context, p person, spec *deploy.Spec) {
		vpc, err := p.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
		p.did(vpc, err)
		time.Sleep(time.Minute)
		p.did(p.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: vpc.Vpc.VpcId, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}}))

		subnet, err := p.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.0.0/24"), AvailabilityZone: aws.String("us-east-1a")})
		p.did(subnet, err)

		group, err := p.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: vpc.Vpc.VpcId, GroupName: aws.String("jobs"), Description: aws.String("Jobs")})
		p.did(group, err)

		tenant := aws.String(deploy.TagTenant)
		p.did(p.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("data-of-ours")}))
		p.did(p.IAM.CreateRole(ctx, &iam.CreateRoleInput{
			RoleName: aws.String("jobs"), AssumeRolePolicyDocument: aws.String(strings.ReplaceAll(anything, "lambda", "ecs-tasks")),
			Tags: []iamtypes.Tag{{Key: tenant, Value: aws.String(key.Tenant)}},
		}))
		time.Sleep(time.Minute)
		p.did(p.S3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: aws.String("data-of-ours"), Tagging: &s3types.Tagging{
			TagSet: []s3types.Tag{{Key: tenant, Value: aws.String(key.Tenant)}},
		}}))

		spec.Network.Existing = &deploy.ExistingNetwork{VPCID: *vpc.Vpc.VpcId, SubnetIDs: []string{*subnet.Subnet.SubnetId}}
		spec.Storage.Existing = &deploy.ExistingBucket{Bucket: "data-of-ours"}
		spec.Access.Existing = &deploy.ExistingAccess{JobRoleARN: "arn:aws:iam::123456789012:role/jobs"}

		if grouped {
			spec.Network.Existing.SecurityGroupIDs = []string{*group.GroupId}
		}
	}
}

// queued lays out a queue that is not ours.
func queued(ctx context.Context, p person, spec *deploy.Spec) {
	p.did(p.Batch.CreateComputeEnvironment(ctx, &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String("theirs"), Type: batchtypes.CETypeManaged, ComputeResources: &batchtypes.ComputeResource{
			Type: batchtypes.CRTypeEc2, MinvCpus: aws.Int32(0), MaxvCpus: aws.Int32(4), Subnets: []string{"subnet-1"}, InstanceTypes: []string{"m5"},
			InstanceRole: aws.String("theirs"),
		},
	}))
	time.Sleep(time.Minute)

	queue, err := p.Batch.CreateJobQueue(ctx, &batch.CreateJobQueueInput{
		JobQueueName: aws.String("theirs"), Priority: aws.Int32(1), Tags: map[string]string{deploy.TagTenant: key.Tenant},
		ComputeEnvironmentOrder: []batchtypes.ComputeEnvironmentOrder{{ComputeEnvironment: aws.String("theirs"), Order: aws.Int32(1)}},
	})
	p.did(queue, err)
	time.Sleep(time.Minute)

	spec.Compute.Queues = []deploy.Queue{{Name: "default", Existing: &deploy.ExistingQueue{ARN: *queue.JobQueueArn}}}
}

// TestDriftIsDocumented holds the table of docs/drift.md against what is tried here, and against what the kinds say that they do not check.
func TestDriftIsDocumented(t *testing.T) {
	t.Parallel()

	text, err := os.ReadFile(filepath.Join(simulation.Root(), "docs", "drift.md"))
	if err != nil {
		t.Fatal(err)
	}

	type row struct{ mended, unchecked []string }

	got, want := map[string]row{}, map[string]row{}

	for line := range strings.Lines(string(text)) {
		// | kind | compared and mended | compared, fixed for life | not checked |
		if cells := strings.Split(line, "|"); len(cells) == 6 && strings.HasPrefix(line, "| `") {
			got[strings.Trim(cells[1], " `")] = row{quoted(cells[2]), quoted(cells[4])}
		}
	}

	tried := map[string]map[string]bool{}

	for _, c := range changes() {
		for _, found := range c.found() {
			ref, property, _ := strings.Cut(found, " ")
			k := deploy.Ref(ref).Kind()

			if tried[k] == nil {
				tried[k] = map[string]bool{}
			}

			tried[k][property] = true
		}
	}

	world(t, func(t *testing.T, w *simulation.World) {
		standing(t.Context(), t, w, everything())

		found, err := w.Control.Drift(t.Context(), owner, key.Name)
		if err != nil {
			t.Fatal(err)
		}

		for _, r := range found.Resources {
			k := r.Resource.Kind()
			unchecked := slices.Sorted(slices.Values(append(slices.Clone(want[k].unchecked), r.NotChecked...)))
			want[k] = row{slices.Sorted(maps.Keys(tried[k])), slices.Compact(unchecked)}
		}
	})

	for _, k := range simulation.Kinds(awsfake.New()) {
		if _, stands := want[k.About().Name]; !stands && !k.About().Passing {
			t.Errorf("nothing of the kind %s was looked at", k.About().Name)
		}
	}

	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("docs/drift.md and what is compared (-compared +documented):\n%s", diff)
	}
}

// quoted lists what stands between backticks, in order.
func quoted(cell string) []string {
	var list []string

	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			list = append(list, part)
		}
	}

	slices.Sort(list)

	return list
}
