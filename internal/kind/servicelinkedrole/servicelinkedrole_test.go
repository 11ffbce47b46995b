package servicelinkedrole_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/servicelinkedrole"
)

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()

	return kindtest.New(t, servicelinkedrole.New(w.IAM), w, clock, deploy.Spec{}, "service-linked-role")
}

func count(_ *testing.T, b *kindtest.Bench) int {
	roles, _ := b.World.IAM.Names()

	return len(roles)
}

func TestConformance(t *testing.T) {
	for name, lag := range map[string]time.Duration{"Plain": 0, "SlowToShow": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			kindtest.Suite(t, kindtest.Subject{
				Build: func(t *testing.T) *kindtest.Bench {
					t.Helper()

					b := build(t)
					b.World.IAM.Lag, b.World.IAM.IDLag = lag, 2*lag

					return b
				},
				Count: count, Stays: true,
			})
		})
	}
}

// Another deployment makes the role between our look and our create.
func TestAnotherDeploymentIsQuicker(t *testing.T) {
	b := build(t)
	raced := false
	b.World.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		if c.Operation == "CreateServiceLinkedRole" && !raced {
			raced = true

			if _, err := b.World.IAM.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("batch.amazonaws.com")}); err != nil {
				t.Error(err)
			}
		}

		return awsfake.Fault{}
	}

	b.Ensure(t)

	if diff := cmp.Diff([]string{"CreateServiceLinkedRole", "CreateServiceLinkedRole: InvalidInput"}, b.Changes(0)); diff != "" {
		t.Errorf("changing calls (-want +got):\n%s", diff)
	}
}

// InvalidInput has other meanings too.
func TestOtherRefusalsSurface(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		err    *smithy.GenericAPIError
		want   deploy.Class
	}{
		"Denied":  {"the installation may not make it", &smithy.GenericAPIError{Code: "AccessDenied", Message: "not authorized to perform: iam:CreateServiceLinkedRole"}, deploy.Denied},
		"Invalid": {"the partition does not know the service", &smithy.GenericAPIError{Code: "InvalidInput", Message: "Service principal name is not valid"}, deploy.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			b := build(t)
			b.World.Fault = func(_ context.Context, c awsfake.Call) awsfake.Fault {
				if c.Operation == "CreateServiceLinkedRole" {
					return awsfake.Fault{Before: tc.err}
				}

				return awsfake.Fault{}
			}

			if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, tc.want) {
				t.Errorf("ensure: got %v, want class %s: %s", err, tc.want, tc.reason)
			}
		})
	}
}

// The role is everybody's in the account.
func TestRemoveLeavesIt(t *testing.T) {
	b := build(t)
	b.Ensure(t)

	mark := len(b.World.Calls())

	if r := b.Remove(t); !r.Kept {
		t.Errorf("remove: got %+v, want kept", r)
	}

	if calls := b.World.Calls()[mark:]; len(calls) > 0 {
		t.Errorf("remove made calls: %v", calls)
	}

	if got := count(t, b); got != 1 {
		t.Errorf("roles: got %d, want 1", got)
	}
}

func TestPlan(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		spec   deploy.Spec
		want   int
	}{
		"Default":   {"one managed environment", deploy.Spec{}, 1},
		"Unmanaged": {"Batch makes the role for managed ones only", deploy.Spec{Compute: deploy.Compute{Environments: []deploy.Environment{{Name: "a", Type: deploy.Unmanaged}}}}, 1},
		"NoneMade":  {"the queue is the owner's", deploy.Spec{Compute: deploy.Compute{Queues: []deploy.Queue{{Name: "q", Existing: &deploy.ExistingQueue{ARN: "a"}}}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := len(servicelinkedrole.New(nil).Plan(tc.spec.WithDefaults())); got != tc.want {
				t.Errorf("items: got %d, want %d: %s", got, tc.want, tc.reason)
			}
		})
	}
}
