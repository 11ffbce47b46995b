package policy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awspermits"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

var update = flag.Bool("update", false, "write the list of what each function needs")

// needs is what simulated lives ask of AWS, by function, with places left open.
func needs(t *testing.T) map[string][]awspermits.Need {
	t.Helper()

	open := strings.NewReplacer(boundary, "${Boundary}", "arn:aws:", "arn:${Partition}:", account, "${Account}", region, "${Region}", installation, "${Installation}")
	all := map[string][]awspermits.Need{"s3": {}, "iam": {}, "ec2": {}, "batch": {}}

	for _, name := range []string{"default", "named"} {
		for _, ask := range run(t, scenarios()[name]) {
			family := ask.Call.Function
			if _, acts := all[family]; !acts || slices.Contains([]string{"dynamodb", "sfn"}, ask.Call.Service) {
				continue
			}

			for _, r := range ask.Requests {
				// What does not exist yet has some name.
				n := awspermits.Need{Action: r.Action, Resource: open.Replace(strings.TrimSuffix(short(r.Resource), "*"))}
				if strings.HasSuffix(n.Resource, "/") || n.Resource == "" {
					n.Resource += map[bool]string{true: "*", false: "new"}[n.Resource == ""]
				}

				for key, values := range r.Context {
					// Of tags, only that of the installation decides anything.
					if tag := strings.Contains(key, "Tag/"); tag && !strings.HasSuffix(key, deploy.TagInstallation) || key == "aws:TagKeys" {
						continue
					}

					if n.Context == nil {
						n.Context = map[string][]string{}
					}

					for _, v := range values {
						n.Context[open.Replace(key)] = append(n.Context[open.Replace(key)], open.Replace(short(v)))
					}
				}

				all[family] = append(all[family], n)
			}
		}
	}

	for family := range all {
		slices.SortFunc(all[family], func(a, b awspermits.Need) int { return strings.Compare(text(t, a), text(t, b)) })

		// One thing of each sort is enough.
		var few []awspermits.Need

		for _, n := range all[family] {
			alike := func(o awspermits.Need) bool {
				return o.Action == n.Action && sort(o.Resource) == sort(n.Resource) && cmp.Equal(o.Context, n.Context)
			}
			if !slices.ContainsFunc(few, alike) {
				few = append(few, n)
			}
		}

		all[family] = few
	}

	return all
}

// sort is a resource's ARN without its own name.
func sort(arn string) string { return arn[:strings.LastIndex(arn, "/")+1] }

func text(t *testing.T, v any) string {
	t.Helper()

	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}

	return string(data)
}

// What a plan asks IAM about is what functions do, no more and no less.
func TestNeedsAreWhatFunctionsDo(t *testing.T) {
	t.Parallel()

	want := needs(t)

	if *update {
		var out bytes.Buffer

		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")

		if err := enc.Encode(want); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(filepath.Join(simulation.Root(), "internal", "awspermits", "needs.json"), out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}

		return
	}

	have, err := awspermits.Needs()
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("needs.json is stale; go test ./tests/policy -run TestNeeds -update writes it (-done +listed):\n%s", diff)
	}
}

// judge answers IAM's simulation as the template's own policies would have it.
type judge struct {
	t      *testing.T
	grants *policy.Grants
	mu     sync.Mutex
	calls  int
	// without takes an action away from everybody.
	without string
	err     error
	told    func(in *iam.SimulatePrincipalPolicyInput)
}

func (j *judge) SimulatePrincipalPolicy(_ context.Context, in *iam.SimulatePrincipalPolicyInput, _ ...func(*iam.Options)) (*iam.SimulatePrincipalPolicyOutput, error) {
	j.mu.Lock()
	defer j.mu.Unlock()

	j.calls++

	if j.told != nil {
		j.told(in)
	}

	if j.err != nil {
		return nil, j.err
	}

	out := &iam.SimulatePrincipalPolicyOutput{}
	family := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(*in.PolicySourceArn, "arn:aws:iam::"+account+":role/"+stack+"-"), "FunctionRole"))

	for _, action := range in.ActionNames {
		r := policy.Request{Action: action, Resource: in.ResourceArns[0], Context: policy.Context{}}
		for _, e := range in.ContextEntries {
			r.Context[*e.ContextKeyName] = e.ContextKeyValues
		}

		refused, err := j.grants.Judge([]policy.Ask{{Call: policy.Call{Function: family, Service: "any", Action: action}, Requests: []policy.Request{r}}})
		if err != nil {
			j.t.Errorf("%s: %v", action, err)
		}

		decision := types.PolicyEvaluationDecisionTypeAllowed
		if len(refused) > 0 || action == j.without {
			decision = types.PolicyEvaluationDecisionTypeImplicitDeny
		}

		out.EvaluationResults = append(out.EvaluationResults, types.EvaluationResult{EvalActionName: aws.String(action), EvalDecision: decision})
	}

	return out, nil
}

func roles() map[string]string {
	all := map[string]string{}
	for family, function := range map[string]string{"s3": "S3", "iam": "Iam", "ec2": "Ec2", "batch": "Batch"} {
		all[family] = "arn:aws:iam::" + account + ":role/" + stack + "-" + function + "FunctionRole"
	}

	return all
}

func permits(j *judge) *awspermits.Permits {
	return awspermits.New(j, roles(), awspermits.Place{Partition: "aws", Account: account, Region: region, Installation: installation, Boundary: boundary}, time.Now)
}

// The template grants everything that a plan asks IAM about; what is taken away is named, once for each role; and where IAM does not answer, nobody knows.
func TestPermits(t *testing.T) {
	t.Parallel()

	families := []string{"s3", "iam", "ec2", "batch"}

	j := &judge{t: t, grants: grants(t)}
	p := permits(j)

	lacking, err := p.Lacking(t.Context(), families)
	if err != nil || len(lacking) > 0 {
		t.Errorf("the template grants it all: %+v, %v", lacking, err)
	}

	asked := j.calls
	if _, err := p.Lacking(t.Context(), families); err != nil || j.calls != asked || asked > 60 {
		t.Errorf("what was just asked (%d calls) is not asked again: %d, %v", asked, j.calls, err)
	}

	j = &judge{t: t, grants: grants(t), without: "ec2:CreateVpc"}

	lacking, err = permits(j).Lacking(t.Context(), families)
	if err != nil || len(lacking) != 1 || lacking[0].Action != "ec2:CreateVpc" || lacking[0].Family != "ec2" || lacking[0].Role != roles()["ec2"] {
		t.Errorf("got %+v, %v", lacking, err)
	}

	j = &judge{t: t, grants: grants(t), err: errors.New("not implemented")}
	if _, err := permits(j).Lacking(t.Context(), families); err == nil || j.calls != 1 {
		t.Errorf("got %v after %d calls, want one refusal", err, j.calls)
	}
}
