package all_test

import (
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
)

// A plan that passes a kind over in silence is wrong.
func TestEveryKindCanBePlanned(t *testing.T) {
	t.Parallel()

	for _, k := range all.Kinds(all.Clients{}) {
		// What only passes is in the steps of a plan and in nothing else of it.
		if _, ok := k.(kind.Planned); !ok && !k.About().Passing {
			t.Errorf("%s does not say what it is called, costs and is in CloudFormation", k.About().Name)
		}
	}
}

func TestLogicalIdsDiffer(t *testing.T) {
	t.Parallel()

	ids := map[string]deploy.Ref{}

	for _, k := range all.Kinds(all.Clients{}) {
		for _, id := range []string{"", "a", "a1", "a-1", "a-", "a--", "adash", "a-dash", "ab", "a-b", "1", "jobs"} {
			ref := deploy.NewRef(k.About().Name, id)
			if other, taken := ids[kind.Logical(ref)]; taken {
				t.Errorf("%s and %s are both %s", ref, other, kind.Logical(ref))
			}

			ids[kind.Logical(ref)] = ref
		}
	}
}
