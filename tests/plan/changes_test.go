package plan_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// changes writes what a plan says of the resources that it does not leave as they are.
func changes(p deploy.Plan) map[string]deploy.Change {
	all := map[string]deploy.Change{}

	for _, s := range p.Steps {
		if s.Change != deploy.ChangeNone && s.Change != deploy.ChangeUse {
			base, _ := s.Resource.Base()
			all[string(s.Action)+" "+string(base)] = s.Change
		}
	}

	return all
}

// An update does what its plan says: the same steps, and in the account only what is said to be changed is another than before.
func TestUpdatePlanEqualsDeed(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason        string
		before, after deploy.Spec
		// by is what somebody does to the account meanwhile.
		by   func(ctx context.Context, t *testing.T, w *simulation.World, record *store.Record)
		want map[string]deploy.Change
	}{
		"Nothing": {reason: "the same spec", want: map[string]deploy.Change{}},
		"Vcpus": {
			reason: "a setting that Batch changes in place", after: environments(deploy.Environment{Name: "default", MaxVcpus: 128}),
			want: map[string]deploy.Change{"ENSURE compute-environment/default": deploy.ChangeUpdate},
		},
		"Disk": {
			reason: "another version of the template, which the environment then uses", after: environments(deploy.Environment{Name: "default", DiskGiB: 200}),
			want: map[string]deploy.Change{"ENSURE launch-template/default": deploy.ChangeUpdate, "ENSURE compute-environment/default": deploy.ChangeUpdate},
		},
		"OldVersions": {
			reason: "a bucket's lifecycle", after: deploy.Spec{Storage: deploy.Storage{OldVersionsDays: 7}}, want: map[string]deploy.Change{"ENSURE bucket": deploy.ChangeUpdate},
		},
		"Prefixes": {reason: "prefixes are nothing in AWS", after: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "f"}}, want: map[string]deploy.Change{}},
		"More": {
			reason: "a second environment, in the queue too", after: environments(named("default", "more")...),
			want: map[string]deploy.Change{
				"ENSURE launch-template/more": deploy.ChangeCreate, "ENSURE compute-environment/more": deploy.ChangeCreate, "ENSURE job-queue/default": deploy.ChangeUpdate,
			},
		},
		"Less": {
			reason: "what is no longer wanted goes", before: environments(named("default", "more")...), after: environments(named("default")...),
			want: map[string]deploy.Change{
				"ENSURE job-queue/default": deploy.ChangeUpdate, "REMOVE compute-environment/more": deploy.ChangeRemove, "REMOVE launch-template/more": deploy.ChangeRemove,
			},
		},
		"Replace": {
			reason: "a managed environment becomes an unmanaged one, beside another that stays first", before: environments(named("default", "other")...),
			after: environments(deploy.Environment{Name: "default"}, deploy.Environment{Name: "other", Type: deploy.Unmanaged}),
			want: map[string]deploy.Change{
				"ENSURE compute-environment/other": deploy.ChangeReplace, "REMOVE compute-environment/other": deploy.ChangeRemove,
				"REMOVE launch-template/other": deploy.ChangeRemove, "ENSURE job-queue/default": deploy.ChangeUpdate,
			},
		},
		"Priority": {
			reason: "a queue's own setting", after: deploy.Spec{Compute: deploy.Compute{Queues: []deploy.Queue{{Name: "default", Priority: 9}}}},
			want: map[string]deploy.Change{"ENSURE job-queue/default": deploy.ChangeUpdate},
		},
		"Queue": {
			reason: "another queue in place of the first", after: deploy.Spec{Compute: deploy.Compute{Queues: []deploy.Queue{{Name: "next"}}}},
			want: map[string]deploy.Change{"ENSURE job-queue/next": deploy.ChangeCreate, "REMOVE job-queue/default": deploy.ChangeRemove},
		},
		"Drifted": {
			reason: "an update brings back what somebody changed",
			by: func(ctx context.Context, t *testing.T, w *simulation.World, record *store.Record) {
				t.Helper()
				must[*batch.UpdateJobQueueOutput](t)(w.AWS.Batch.UpdateJobQueue(ctx, &batch.UpdateJobQueueInput{
					JobQueue: aws.String(record.Find("job-queue/default").ID), State: batchtypes.JQStateDisabled,
				}))
				pause()
			},
			want: map[string]deploy.Change{"ENSURE job-queue/default": deploy.ChangeUpdate},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()

				record := live(ctx, t, w, key, tc.before, deploy.PhaseActive)
				if tc.by != nil {
					tc.by(ctx, t, w, record)
				}

				req := workflow.UpdateRequest{Name: key.Name, Spec: tc.after.WithDefaults()}

				p := plan(ctx, t, w, func() (deploy.Plan, error) { return w.Control.PlanUpdate(ctx, who(key.Tenant), req) })
				if p.Refused() {
					t.Fatalf("%s: found %+v", tc.reason, p.Findings)
				}

				if diff := cmp.Diff(tc.want, changes(p)); diff != "" {
					t.Errorf("%s: changes (-want +plan):\n%s", tc.reason, diff)
				}

				was := refs(w)

				if _, err := w.Control.Update(ctx, who(key.Tenant), req); err != nil {
					t.Fatal(err)
				}

				record = settled(ctx, t, w, key, deploy.PhaseActive)
				compare(t, tc.reason, p, record)
				templated(t, p, record)

				// What is another than before, by ref.
				is, other := refs(w), map[string]bool{}
				for ref := range is {
					other[ref] = is[ref] != was[ref]
				}

				for ref := range was {
					other[ref] = is[ref] != was[ref]
				}

				for _, s := range p.Steps {
					base, _ := s.Resource.Base()
					// A new version of a template and a new order of a queue show in things themselves.
					if said := changes(p)["ENSURE "+string(base)] != "" || changes(p)["REMOVE "+string(base)] != ""; said != other[string(base)] {
						t.Errorf("%s: %s changed: planned %v, done %v\n%s\n%s", tc.reason, base, said, other[string(base)], was[string(base)], is[string(base)])
					}
				}
			})
		})
	}
}

// refs writes the settings of everything in the account, by ref.
func refs(w *simulation.World) map[string]string {
	all, settings := map[string]string{}, w.AWS.Settings()
	for id, tags := range w.AWS.Inventory() {
		all[tags[deploy.TagResource]] += id + settings[id]
	}

	return all
}

// What a plan finds to be wrong, the real thing is refused for, and nothing is made. Of somebody else's things under our names it warns: the real thing finds out
// when it comes to them, and leaves them alone.
func TestFindingsAreTheRefusal(t *testing.T) {
	t.Parallel()

	// squat makes a thing under the name that ours would have.
	name := func(w *simulation.World, suffix string) string {
		return w.Control.Place.Owner(deploy.Deployment{Key: key, Account: w.AWS.Account, Region: w.AWS.Region}).Slug() + suffix
	}

	for label, tc := range map[string]struct {
		reason string
		spec   deploy.Spec
		before func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec)
		want   []string
	}{
		"Vpcs": {
			reason: "five a Region", want: []string{"/spec/network quota_exceeded"},
			before: func(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
				t.Helper()

				for i := range 5 {
					must[*ec2.CreateVpcOutput](t)(w.AWS.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(fmt.Sprintf("10.%d.0.0/16", i))}))
				}
			},
		},
		"Bucket": {
			reason: "a bucket of our name that is not ours", want: []string{"/spec/storage not_ours"},
			before: func(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
				t.Helper()
				must[*s3.CreateBucketOutput](t)(w.AWS.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name(w, "-metaflow"))}))
			},
		},
		"Roles": {
			reason: "roles and a profile of our names", want: []string{"/spec/access not_ours", "/spec/compute/environments not_ours", "/spec/compute/environments not_ours"},
			before: func(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
				t.Helper()

				for _, suffix := range []string{"-job", "-instance"} {
					must[*iam.CreateRoleOutput](t)(w.AWS.IAM.CreateRole(ctx, &iam.CreateRoleInput{
						RoleName: aws.String(name(w, suffix)), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`),
					}))
				}

				must[*iam.CreateInstanceProfileOutput](t)(w.AWS.IAM.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String(name(w, "-instance"))}))
			},
		},
		"Template": {
			reason: "a launch template of our name", want: []string{"/spec/compute/environments/0 not_ours"},
			before: func(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
				t.Helper()
				must[*ec2.CreateLaunchTemplateOutput](t)(w.AWS.EC2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
					LaunchTemplateName: aws.String(name(w, "-default")), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: ec2types.InstanceTypeM5Large},
				}))
			},
		},
		"Queue": {
			reason: "a queue of our name", want: []string{"/spec/compute/queues/0 not_ours"},
			before: func(ctx context.Context, t *testing.T, w *simulation.World, _ *deploy.Spec) {
				t.Helper()

				var other deploy.Spec

				theirQueue(ctx, t, w, &other)

				environments := must[*batch.DescribeComputeEnvironmentsOutput](t)(w.AWS.Batch.DescribeComputeEnvironments(ctx, &batch.DescribeComputeEnvironmentsInput{}))
				must[*batch.CreateJobQueueOutput](t)(w.AWS.Batch.CreateJobQueue(ctx, &batch.CreateJobQueueInput{
					JobQueueName: aws.String(name(w, "-default")), Priority: aws.Int32(1), ComputeEnvironmentOrder: []batchtypes.ComputeEnvironmentOrder{
						{ComputeEnvironment: environments.ComputeEnvironments[0].ComputeEnvironmentArn, Order: aws.Int32(1)},
					},
				}))
			},
		},
		"Environment": {
			reason: "a compute environment of our name", want: []string{"/spec/compute/environments/0 not_ours"},
			before: func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
				t.Helper()

				// Its name holds the hash of its settings: a plan tells it.
				p := must[deploy.Plan](t)(w.Control.Plan(ctx, who(key.Tenant), workflow.CreateRequest{Name: key.Name, Spec: spec.WithDefaults()}))

				for _, r := range p.Resources {
					if r.Ref == "compute-environment/default" {
						must[*batch.CreateComputeEnvironmentOutput](t)(w.AWS.Batch.CreateComputeEnvironment(ctx, &batch.CreateComputeEnvironmentInput{
							ComputeEnvironmentName: aws.String(r.Name), Type: batchtypes.CETypeUnmanaged, ServiceRole: aws.String("role"),
						}))
					}
				}
			},
		},
		"Group": {
			reason: "a security group of our name in the owner's VPC", want: []string{"/spec/network not_ours"},
			before: func(ctx context.Context, t *testing.T, w *simulation.World, spec *deploy.Spec) {
				t.Helper()
				theirNetwork(ctx, t, w, spec)
				must[*ec2.CreateSecurityGroupOutput](t)(w.AWS.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
					VpcId: aws.String(spec.Network.Existing.VPCID), GroupName: aws.String(name(w, "-jobs")), Description: aws.String("Theirs"),
				}))
			},
		},
		"Type":   {reason: "no such instance type", spec: environments(deploy.Environment{Name: "e", InstanceTypes: []string{"z9.large"}}), want: []string{"/spec/compute/environments/0/instanceTypes/0 unknown_instance_type"}},
		"Zone":   {reason: "no such zone", spec: deploy.Spec{Network: deploy.Network{Zones: []string{"us-east-1a", "us-east-1z"}}}, want: []string{"/spec/network/zones/1 unknown_zone"}},
		"Absent": {reason: "an existing bucket that is not there", spec: deploy.Spec{Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: "nobodys"}}}, want: []string{"/spec/storage/existing/bucket existing_not_found"}},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()

			world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()

				spec := tc.spec
				if tc.before != nil {
					tc.before(ctx, t, w, &spec)
					pause()
				}

				req := workflow.CreateRequest{Name: key.Name, Spec: spec.WithDefaults()}
				p := plan(ctx, t, w, func() (deploy.Plan, error) { return w.Control.Plan(ctx, who(key.Tenant), req) })

				if diff := cmp.Diff(tc.want, codes(p.Findings)); diff != "" {
					t.Errorf("%s: findings (-want +got):\n%s", tc.reason, diff)
				}

				things := w.AWS.Settings()

				_, err := w.Control.Create(ctx, who(key.Tenant), req)

				if p.Findings[0].Level == deploy.LevelWarning {
					if err != nil {
						t.Fatalf("%s: a warning refuses nothing: %v", tc.reason, err)
					}

					settled(ctx, t, w, key, deploy.PhaseFailed)

					record := must[*store.Record](t)(w.Store.Load(ctx, key))
					if e := record.Operation.Error; e == nil || e.Code != p.Findings[0].Code {
						t.Errorf("%s: the create failed for another reason: %v", tc.reason, e)
					}

					after := w.AWS.Settings()
					for id := range things {
						if things[id] != after[id] {
							t.Errorf("%s: theirs was %s and is %s", tc.reason, things[id], after[id])
						}
					}

					return
				}

				if err == nil {
					settled(ctx, t, w, key, deploy.PhaseActive) // a bubble must not end with somebody at work
				}

				if diff := cmp.Diff(p.Findings, refused(t, err)); diff != "" {
					t.Errorf("%s: findings (-plan +create):\n%s", tc.reason, diff)
				}

				if diff := cmp.Diff(things, w.AWS.Settings()); diff != "" {
					t.Errorf("%s: the refused create changed the account:\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func TestUpdateFindingsAreTheRefusal(t *testing.T) {
	t.Parallel()

	for label, tc := range map[string]struct {
		reason string
		spec   deploy.Spec
		limits deploy.Limits
		want   []string
	}{
		"Range":  {reason: "a VPC keeps its range", spec: deploy.Spec{Network: deploy.Network{CIDR: "10.30.0.0/16"}}, want: []string{"/spec/network/cidr cannot_change"}},
		"Bucket": {reason: "data would stay behind", spec: deploy.Spec{Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: "other"}}}, want: []string{"/spec/storage/existing/bucket cannot_change"}},
		"Type":   {reason: "as in a create", spec: environments(deploy.Environment{Name: "default", InstanceTypes: []string{"m5.large", "z9.large"}}), want: []string{"/spec/compute/environments/0/instanceTypes/1 unknown_instance_type"}},
		"Tenant": {
			reason: "a limit of the tenant", spec: environments(deploy.Environment{Name: "default", MaxVcpus: 500}),
			limits: deploy.Limits{Default: deploy.Usage{VCPUs: 100}}, want: []string{"/spec/compute/environments tenant_quota_exceeded"},
		},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()

			world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()

				w.Control.Limits = tc.limits
				live(ctx, t, w, key, deploy.Spec{}, deploy.PhaseActive)

				req := workflow.UpdateRequest{Name: key.Name, Spec: tc.spec.WithDefaults()}
				p := plan(ctx, t, w, func() (deploy.Plan, error) { return w.Control.PlanUpdate(ctx, who(key.Tenant), req) })

				if diff := cmp.Diff(tc.want, codes(p.Findings)); diff != "" {
					t.Errorf("%s: findings (-want +got):\n%s", tc.reason, diff)
				}

				_, err := w.Control.Update(ctx, who(key.Tenant), req)
				if err == nil {
					settled(ctx, t, w, key, deploy.PhaseActive)
				}

				if diff := cmp.Diff(p.Findings, refused(t, err)); diff != "" {
					t.Errorf("%s: findings (-plan +update):\n%s", tc.reason, diff)
				}
			})
		})
	}
}

// TestDataThatStaysBehind: AWS has nothing to change for another prefix, so that only a warning tells that flows turn their back on their data.
func TestDataThatStaysBehind(t *testing.T) {
	t.Parallel()

	world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
		t.Helper()

		live(ctx, t, w, key, deploy.Spec{}, deploy.PhaseActive)

		for want, storage := range map[string]deploy.Storage{
			"": {}, "/spec/storage/flowsPrefix data_stays_behind": {FlowsPrefix: "new"}, "/spec/storage/dataToolsPrefix data_stays_behind": {DataToolsPrefix: "new"},
		} {
			p := plan(ctx, t, w, func() (deploy.Plan, error) {
				return w.Control.PlanUpdate(ctx, who(key.Tenant), workflow.UpdateRequest{Name: key.Name, Spec: deploy.Spec{Storage: storage}.WithDefaults()})
			})

			if got := strings.Join(codes(p.Findings), ", "); got != want || p.Refused() {
				t.Errorf("%+v: %q, want %q", storage, got, want)
			}
		}
	})
}

// A deployment that stands takes nothing from the quotas once more.
func TestWhatStandsIsNotCountedAgain(t *testing.T) {
	t.Parallel()

	world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
		t.Helper()

		live(ctx, t, w, key, deploy.Spec{}, deploy.PhaseActive)

		for i := range 4 {
			must[*ec2.CreateVpcOutput](t)(w.AWS.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(fmt.Sprintf("10.%d.0.0/16", i))}))
		}

		p := must[deploy.Plan](t)(w.Control.PlanUpdate(ctx, who(key.Tenant), workflow.UpdateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()}))
		if len(p.Findings) > 0 {
			t.Errorf("the VPC stands already: %+v", p.Findings)
		}

		for _, q := range p.Quotas {
			if q.Needs != 0 {
				t.Errorf("nothing more is needed: %+v", q)
			}
		}
	})
}

func TestPlanUpdateOfWhatCannotBeChanged(t *testing.T) {
	t.Parallel()

	world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
		t.Helper()

		req := workflow.UpdateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()}

		if _, err := w.Control.PlanUpdate(ctx, who(key.Tenant), req); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what was never there has no plan: %v", err)
		}

		admitted := must[workflow.Admitted](t)(w.Control.Create(ctx, who(key.Tenant), workflow.CreateRequest{Name: key.Name, Spec: req.Spec}))

		p := must[deploy.Plan](t)(w.Control.PlanUpdate(ctx, who(key.Tenant), req))
		if len(p.Findings) != 1 || p.Findings[0].Code != "operation_in_progress" || p.Findings[0].Operation != admitted.Operation.ID {
			t.Errorf("while another operation runs: %+v", p.Findings)
		}

		settled(ctx, t, w, key, deploy.PhaseActive)
		end(ctx, t, w, deploy.Keep)

		if _, err := w.Control.PlanUpdate(ctx, who(key.Tenant), req); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what is deleted has no plan: %v", err)
		}
	})
}

// refused are the findings of a refusal.
func refused(t *testing.T, err error) []deploy.Finding {
	t.Helper()

	r, ok := errors.AsType[*workflow.Refused](err)
	if !ok {
		t.Fatalf("not refused: %v", err)
	}

	return r.Findings
}

func codes(findings []deploy.Finding) []string {
	list := []string{}
	for _, f := range findings {
		list = append(list, f.Pointer+" "+f.Code)
	}

	return list
}

// permits answers what IAM's simulation would.
type permits struct {
	lacking []deploy.Lack
	err     error
	asked   [][]string
}

func (p *permits) Lacking(_ context.Context, families []string) ([]deploy.Lack, error) {
	p.asked = append(p.asked, families)

	return p.lacking, p.err
}

// What our own functions may not do is told and stops nobody: IAM's simulation is not what decides.
func TestPermissions(t *testing.T) {
	t.Parallel()

	for label, tc := range map[string]struct {
		reason string
		given  *permits
		want   []string
		says   string
	}{
		"All":     {reason: "nothing is lacking", given: &permits{}, want: []string{}},
		"Unknown": {reason: "nobody can tell", given: &permits{err: errors.New("not implemented")}, want: []string{" permissions_not_checked"}, says: "IAM did not simulate"},
		"Lacking": {
			reason: "a line for each role", want: []string{" permission_missing", " permission_missing"}, says: "arn:a may not do what it needs to: ec2:CreateVpc, ec2:DeleteVpc.",
			given: &permits{lacking: []deploy.Lack{
				{Role: "arn:a", Action: "ec2:CreateVpc"}, {Role: "arn:b", Action: "s3:CreateBucket"}, {Role: "arn:a", Action: "ec2:DeleteVpc"}, {Role: "arn:a", Action: "ec2:CreateVpc"},
			}},
		},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()

			world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()

				w.Control.Permits = tc.given
				p := plan(ctx, t, w, func() (deploy.Plan, error) {
					return w.Control.Plan(ctx, who(key.Tenant), workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()})
				})

				if diff := cmp.Diff(tc.want, codes(p.Findings)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}

				if p.Refused() || len(p.Findings) > 0 && !strings.Contains(p.Findings[0].Message, tc.says) {
					t.Errorf("%s: %+v", tc.reason, p.Findings)
				}

				if diff := cmp.Diff([][]string{{"s3", "iam", "ec2", "batch"}}, tc.given.asked); diff != "" {
					t.Errorf("families (-want +got):\n%s", diff)
				}

				live(ctx, t, w, key, deploy.Spec{}, deploy.PhaseActive)
			})
		})
	}
}
