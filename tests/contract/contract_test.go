// Package contract_test tries the fourteen cases of CloudFormation's provider contract (kindtest.Contract) on every kind there is, each on a fake account that
// shows new things late. A kind that is listed in tests/simulation is tried without another line here, unless it can be updated in place or a case cannot apply
// to it: then the tables below say so.
package contract_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// updates change, by kind, one setting that AWS changes in place.
func updates() map[string]func(*deploy.Spec) {
	return map[string]func(*deploy.Spec){
		"bucket":              func(s *deploy.Spec) { s.Storage.OldVersionsDays = 7 },
		"launch-template":     func(s *deploy.Spec) { s.Compute.Environments[0].DiskGiB = 200 },
		"compute-environment": func(s *deploy.Spec) { s.Compute.Environments[0].MaxVcpus = 128 },
		"job-queue":           func(s *deploy.Spec) { s.Compute.Queues[0].Priority = 5 },
		"job-role":            func(s *deploy.Spec) { s.Storage.Existing = &deploy.ExistingBucket{Bucket: "theirs"} },
		"instance-role":       retag,
		"instance-profile":    retag,
	}
}

// retag is the one update of what has no setting of its own.
func retag(s *deploy.Spec) { s.Tags = map[string]string{"cost-center": "42"} }

// exceptions say, by kind and case, why a case cannot apply.
func exceptions() map[string]map[string]string {
	const (
		fixed  = "the spec has no setting of it that AWS changes in place: what can drift is mended, and kindtest.Suite tries that"
		shared = "the account's own role is found or made, never tagged, changed or removed"
	)

	all := map[string]map[string]string{}
	leave := func(name, reason string, cases ...string) {
		if all[name] == nil {
			all[name] = map[string]string{}
		}

		for _, c := range cases {
			all[name][c] = reason
		}
	}

	for _, name := range []string{"vpc", "internet-gateway", "route-table", "subnet", "vpc-endpoint", "security-group"} {
		leave(name, fixed, "contract_update_read", "contract_update_list", "contract_update_without_create", "contract_delete_update")
	}

	leave("probe", "it lives for one operation and is never updated", "contract_update_read", "contract_update_list", "contract_update_without_create",
		"contract_delete_update", "contract_update_tag_updatable")
	leave("probe", "each operation sends a job of its own", "contract_create_create")
	leave("service-linked-role", shared, slices.DeleteFunc(kindtest.ContractCases(), func(c string) bool {
		return c == "contract_create_create" || c == "contract_create_read"
	})...)

	return all
}

// build makes a world in which everything stands that the first resource of a kind needs.
func build(t *testing.T, name string) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	w.EC2.Lag, w.S3.Lag, w.IAM.Lag, w.IAM.IDLag = 3*time.Second, 2*time.Second, 4*time.Second, 2*time.Second
	w.EC2.PageSize = 1 // a list goes to its last page

	kinds := simulation.Kinds(w)

	k, ok := kinds.Find(name)
	if !ok {
		t.Fatalf("there is no kind %s", name)
	}

	items := k.Plan(deploy.Spec{}.WithDefaults())
	if len(items) == 0 {
		t.Fatalf("the default environment has no %s", name)
	}

	made := map[deploy.Ref]kind.Other{}
	b := bench(t, w, clock, kinds, "demo", items[0].Ref, made)

	clock.Advance(time.Minute) // what it needs is old news

	return b
}

// bench makes what a resource of the named deployment needs, and what that needs, and hands back the bench of the resource itself.
func bench(t *testing.T, w *awsfake.World, clock *kindtest.Clock, kinds kind.Registry, name string, ref deploy.Ref, made map[deploy.Ref]kind.Other) *kindtest.Bench {
	t.Helper()

	k, ok := kinds.Find(ref.Kind())
	if !ok {
		t.Fatalf("there is no kind %s", ref.Kind())
	}

	b := kindtest.New(t, k, w, clock, deploy.Spec{}, ref)
	b.Owner.Name = name
	b.Boundary = "arn:" + w.Partition + ":iam::" + w.Account + ":policy/boundary"

	for _, need := range b.Needs {
		if _, done := made[need]; !done {
			n := bench(t, w, clock, kinds, name, need, made)
			n.Ensure(t)
			made[need] = kind.Other{ID: n.ID, ARN: n.ARN, Outputs: n.Outputs}
		}

		b.Others[need] = made[need]
	}

	return b
}

func TestEveryKindKeepsTheContract(t *testing.T) {
	kinds := simulation.Kinds(awsfake.New())

	for _, name := range slices.Concat(slices.Collect(maps.Keys(updates())), slices.Collect(maps.Keys(exceptions()))) {
		if _, ok := kinds.Find(name); !ok {
			t.Errorf("the tables speak of %s, which is no kind", name)
		}
	}

	tried, left := 0, 0

	for _, k := range kinds {
		name := k.About().Name
		c := kindtest.Contract{
			Build:  func(t *testing.T) *kindtest.Bench { t.Helper(); return build(t, name) },
			Update: updates()[name], Except: exceptions()[name],
		}

		if _, left := c.Except["contract_update_read"]; (c.Update == nil) != left {
			t.Errorf("%s has no update and no reason for that, or both", name)

			continue
		}

		t.Run(name, func(t *testing.T) {
			n := c.Run(t)
			tried += n
			left += len(kindtest.ContractCases()) - n
		})
	}

	fmt.Printf("contract: %d cases x %d kinds = %d: %d tried, %d left out, each with its reason\n",
		len(kindtest.ContractCases()), len(kinds), len(kindtest.ContractCases())*len(kinds), tried, left)
}

// TestListsGoToTheLastPage: one page holds one thing, and three deployments have one each.
func TestListsGoToTheLastPage(t *testing.T) {
	for _, k := range simulation.Kinds(awsfake.New()) {
		if _, ok := k.(kind.Lister); !ok {
			continue
		}

		t.Run(k.About().Name, func(t *testing.T) {
			w, clock := kindtest.World()
			w.EC2.PageSize = 1

			kinds := simulation.Kinds(w)
			ref := k.Plan(deploy.Spec{}.WithDefaults())[0].Ref
			want := map[string]bool{}

			var b *kindtest.Bench
			for _, name := range []string{"one", "two", "three"} {
				b = bench(t, w, clock, kinds, name, ref, map[deploy.Ref]kind.Other{})
				want[b.Ensure(t).ID] = true
			}

			lister, _ := b.Kind.(kind.Lister)

			found, err := lister.List(t.Context(), deploy.Owner{Installation: "test", Partition: w.Partition, Account: w.Account, Region: w.Region})
			if err != nil {
				t.Fatal(err)
			}

			for _, f := range found {
				delete(want, f.ID)
			}

			if len(want) > 0 {
				t.Errorf("the list leaves out %v", slices.Sorted(maps.Keys(want)))
			}
		})
	}
}
