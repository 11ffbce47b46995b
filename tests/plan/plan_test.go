// Package plan_test holds plans against deeds: what a plan says of a create or an update, and what the same request then makes in a simulated account.
package plan_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/prices"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/needs"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

var update = flag.Bool("update", false, "write the golden files")

var key = deploy.Key{Tenant: "acme", Name: "research"}

func who(tenant string) deploy.Principal {
	return deploy.Principal{Tenant: tenant, Actor: "ada", Roles: []deploy.Role{deploy.Admin}}
}

// world runs a test in a bubble of virtual time, in an account where things have prices.
func world(t *testing.T, run func(ctx context.Context, t *testing.T, w *simulation.World)) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		t.Helper()

		w := must[*simulation.World](t)(simulation.NewWorld(1))
		w.Control.Prices = must[deploy.PriceList](t)(prices.Load())

		run(t.Context(), t, w)
	})
}

// live creates a deployment and answers its record.
func live(ctx context.Context, t *testing.T, w *simulation.World, key deploy.Key, spec deploy.Spec, phase deploy.Phase) *store.Record {
	t.Helper()

	if _, err := w.Control.Create(ctx, who(key.Tenant), workflow.CreateRequest{Name: key.Name, Spec: spec.WithDefaults()}); err != nil {
		t.Fatal(err)
	}

	return settled(ctx, t, w, key, phase)
}

func settled(ctx context.Context, t *testing.T, w *simulation.World, key deploy.Key, phase deploy.Phase) *store.Record {
	t.Helper()

	header, err := w.Settle(ctx, key)
	record := must[*store.Record](t)(w.Store.Load(ctx, key))

	if err != nil || header.Phase != phase {
		t.Fatalf("the deployment is %s, not %s: %v, %+v", header.Phase, phase, err, record.Operation.Error)
	}

	return record
}

func end(ctx context.Context, t *testing.T, w *simulation.World, data deploy.Data) {
	t.Helper()

	if _, err := w.Control.Delete(ctx, who(key.Tenant), workflow.DeleteRequest{Name: key.Name, Data: data}); err != nil {
		t.Fatal(err)
	}

	settled(ctx, t, w, key, deploy.PhaseDeleted)
}

// plan asks for one and fails if that changed anything.
func plan(ctx context.Context, t *testing.T, w *simulation.World, ask func() (deploy.Plan, error)) deploy.Plan {
	t.Helper()

	calls, things, record := len(w.AWS.Calls()), w.AWS.Settings(), stored(ctx, w)
	p := must[deploy.Plan](t)(ask())

	for _, c := range w.AWS.Calls()[calls:] {
		reads := slices.ContainsFunc([]string{"Describe", "Get", "List", "Head"}, func(verb string) bool { return strings.HasPrefix(c.Operation, verb) })
		if !reads {
			t.Errorf("a plan only looks, and this one called %s.%s", c.Service, c.Operation)
		}
	}

	if diff := cmp.Diff(things, w.AWS.Settings()); diff != "" {
		t.Errorf("a plan changed the account:\n%s", diff)
	}

	if diff := cmp.Diff(record, stored(ctx, w)); diff != "" {
		t.Errorf("a plan changed the record:\n%s", diff)
	}

	return p
}

func stored(ctx context.Context, w *simulation.World) string {
	record, err := w.Store.Load(ctx, key)

	text, wrong := json.Marshal(record)

	return fmt.Sprintf("%s %v %v", text, wrong, err)
}

// steps writes steps, as a plan has them and as an operation had them, alike.
func plannedSteps(p deploy.Plan) []string {
	var list []string
	for _, s := range p.Steps {
		list = append(list, string(s.Action)+" "+string(s.Resource))
	}

	return list
}

func takenSteps(op deploy.Operation) []string {
	var list []string
	for _, s := range op.Steps {
		list = append(list, string(s.Action)+" "+string(s.Resource))
	}

	return list
}

// resources writes what a deployment has, as a plan says it and as the record shows it, alike.
func plannedResources(p deploy.Plan) []string {
	var list []string
	for _, r := range p.Resources {
		list = append(list, string(r.Ref)+" "+string(r.Origin))
	}

	slices.Sort(list)

	return list
}

func madeResources(record *store.Record) []string {
	var list []string
	for _, r := range record.Resources {
		list = append(list, string(r.Ref)+" "+string(r.Origin))
	}

	slices.Sort(list)

	return list
}

func TestPlanEqualsDeed(t *testing.T) {
	t.Parallel()

	all := wishes()
	if len(all) < 30 {
		t.Errorf("%d specs are too few", len(all))
	}

	for name, wish := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()

				key, spec := deploy.Key{Tenant: key.Tenant, Name: key.Name}, wish.spec
				if wish.name != "" {
					key.Name = wish.name
				}

				if wish.before != nil {
					wish.before(ctx, t, w, &spec)
				}

				if f := deploy.Validate(deploy.Place{Partition: "aws", Account: w.AWS.Account, Region: w.AWS.Region}, key.Name, spec, nil); len(f) > 0 {
					t.Fatalf("not a spec: %+v", f)
				}

				spec = spec.WithDefaults()

				p := plan(ctx, t, w, func() (deploy.Plan, error) {
					return w.Control.Plan(ctx, who(key.Tenant), workflow.CreateRequest{Name: key.Name, Spec: spec})
				})
				if len(p.Findings) > 0 {
					t.Fatalf("%s: found %+v", wish.reason, p.Findings)
				}

				before, used := w.AWS.Inventory(), quotas(ctx, t, w)
				record := live(ctx, t, w, key, spec, deploy.PhaseActive)

				compare(t, wish.reason, p, record)
				changed(t, wish.reason, p, before, w.AWS.Inventory())
				names(ctx, t, w, p, record)
				priced(t, p)
				templated(t, p, record)

				for _, q := range p.Quotas {
					if used[q.Name] != q.Used || quotas(ctx, t, w)[q.Name] != q.Used+q.Needs {
						t.Errorf("%s: %+v, but there were %d and are %d", wish.reason, q, used[q.Name], quotas(ctx, t, w)[q.Name])
					}
				}

				if took := record.Operation.EndTime.Sub(record.Operation.CreateTime); p.Duration < took/4 || p.Duration > took*4 {
					t.Errorf("%s: usually %s, but it took %s", wish.reason, p.Duration, took)
				}
			})
		})
	}
}

// compare holds steps, needs and resources against the record.
func compare(t *testing.T, reason string, p deploy.Plan, record *store.Record) {
	t.Helper()

	if diff := cmp.Diff(plannedSteps(p), takenSteps(record.Operation)); diff != "" {
		t.Errorf("%s: steps (-plan +deed):\n%s", reason, diff)
	}

	if diff := cmp.Diff(plannedResources(p), madeResources(record)); diff != "" {
		t.Errorf("%s: resources (-plan +deed):\n%s", reason, diff)
	}

	for _, s := range p.Steps {
		if s.Action != deploy.Ensure {
			continue
		}

		if diff := cmp.Diff(record.Find(s.Resource).Needs, s.Needs); diff != "" {
			t.Errorf("%s: needs of %s (-deed +plan):\n%s", reason, s.Resource, diff)
		}

		for _, need := range s.Needs {
			if slices.IndexFunc(p.Steps, func(o deploy.PlannedStep) bool { return o.Resource == need }) > slices.IndexFunc(p.Steps, func(o deploy.PlannedStep) bool { return o.Resource == s.Resource }) {
				t.Errorf("%s: %s stands before %s, which it needs", reason, s.Resource, need)
			}
		}
	}
}

// changed holds what the steps say of each resource against what is new in the account.
func changed(t *testing.T, reason string, p deploy.Plan, before, after map[string]map[string]string) {
	t.Helper()

	var created, said []string

	for id, tags := range after {
		if _, old := before[id]; old {
			continue
		}

		if strings.Contains(id, "aws-service-role") {
			created = append(created, "service-linked-role")

			continue
		}

		created = append(created, tags[deploy.TagResource])
	}

	for _, s := range p.Steps {
		if s.Action == deploy.Ensure && s.Change == deploy.ChangeCreate {
			said = append(said, string(s.Resource))
		}
	}

	slices.Sort(created)
	slices.Sort(said)

	if diff := cmp.Diff(said, created); diff != "" {
		t.Errorf("%s: things in the account (-said to be created +new):\n%s", reason, diff)
	}
}

// names holds the names that are known beforehand against AWS's.
func names(ctx context.Context, t *testing.T, w *simulation.World, p deploy.Plan, record *store.Record) {
	t.Helper()

	for _, r := range p.Resources {
		made := record.Find(r.Ref)
		have := made.ID

		switch {
		case r.Existing != "":
			if have != r.Existing && made.ARN != r.Existing {
				t.Errorf("%s is %s, planned was %s", r.Ref, have, r.Existing)
			}

			continue
		case r.Name == "":
			if !strings.Contains(have, "-") || strings.HasPrefix(have, record.Deployment.Name) {
				t.Errorf("%s has a name that the plan does not tell: %s", r.Ref, have)
			}

			continue
		case r.Ref.Kind() == "security-group":
			have = *must[*ec2.DescribeSecurityGroupsOutput](t)(w.AWS.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{have}})).SecurityGroups[0].GroupName
		case r.Ref.Kind() == "launch-template":
			have = *must[*ec2.DescribeLaunchTemplatesOutput](t)(w.AWS.EC2.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateIds: []string{have}})).LaunchTemplates[0].LaunchTemplateName
		}

		if have != r.Name {
			t.Errorf("%s is called %s, planned was %s", r.Ref, have, r.Name)
		}
	}
}

// quotas counts what the quotas are about.
func quotas(ctx context.Context, t *testing.T, w *simulation.World) map[string]int {
	t.Helper()

	environments := must[*batch.DescribeComputeEnvironmentsOutput](t)(w.AWS.Batch.DescribeComputeEnvironments(ctx, &batch.DescribeComputeEnvironmentsInput{}))
	queues := must[*batch.DescribeJobQueuesOutput](t)(w.AWS.Batch.DescribeJobQueues(ctx, &batch.DescribeJobQueuesInput{}))

	count := map[string]int{
		"VPCs":              len(must[*ec2.DescribeVpcsOutput](t)(w.AWS.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})).Vpcs),
		"internet gateways": len(must[*ec2.DescribeInternetGatewaysOutput](t)(w.AWS.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{})).InternetGateways),
	}

	for _, e := range environments.ComputeEnvironments {
		if e.Status != "DELETED" {
			count["compute environments"]++
		}
	}

	for _, q := range queues.JobQueues {
		if q.Status != "DELETED" {
			count["job queues"]++
		}
	}

	return count
}

// priced: every resource is explained, and the sum is that of its parts.
func priced(t *testing.T, p deploy.Plan) {
	t.Helper()

	var monthly float64

	for _, line := range p.Cost.Lines {
		if line.Note == "" || line.What == "" || line.OneTime == nil {
			t.Errorf("not explained: %+v", line)
		}

		if line.Monthly != nil {
			monthly += *line.Monthly
		}
	}

	for _, r := range p.Resources {
		if !slices.ContainsFunc(p.Cost.Lines, func(l deploy.CostLine) bool { return l.Resource == r.Ref }) {
			t.Errorf("%s has no line", r.Ref)
		}
	}

	if p.Cost.Monthly != nil && fmt.Sprintf("%.4f", *p.Cost.Monthly) != fmt.Sprintf("%.4f", monthly) {
		t.Errorf("the sum is %v, its parts are %v", *p.Cost.Monthly, monthly)
	}
}

// templated: the template has what we make, all of it and nothing else, and its references lead somewhere.
func templated(t *testing.T, p deploy.Plan, record *store.Record) {
	t.Helper()

	var made, held []string

	for _, r := range record.Resources {
		if r.Origin != deploy.Existing && r.Origin != deploy.Shared {
			made = append(made, string(r.Ref))
		}
	}

	template := decoded(t, p)
	resources := template["Resources"].(map[string]any)

	for logical, v := range resources {
		ref := v.(map[string]any)["Metadata"].(map[string]any)["metaflow-deployer"].(string)
		if !slices.Contains(held, ref) {
			held = append(held, ref)
		}

		for _, target := range references(v) {
			if resources[target] == nil {
				t.Errorf("%s refers to %s, which is not there", logical, target)
			}
		}
	}

	slices.Sort(made)
	slices.Sort(held)

	if diff := cmp.Diff(made, held); diff != "" {
		t.Errorf("template (-made +held):\n%s", diff)
	}

	if text := must[[]byte](t)(json.Marshal(template["Resources"])); strings.Contains(string(text), deploy.TagPrefix+"tenant") {
		t.Error("our own tags would make the sweeper take the stack's things for orphans")
	}
}

func decoded(t *testing.T, p deploy.Plan) map[string]any {
	t.Helper()

	var template map[string]any
	if err := json.Unmarshal(must[[]byte](t)(json.Marshal(p.Template)), &template); err != nil {
		t.Fatal(err)
	}

	return template
}

// references lists the logical ids that a part of a template refers to.
func references(v any) []string {
	var all []string

	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["Ref"].(string); ok {
			return []string{ref}
		}

		if att, ok := v["Fn::GetAtt"].([]any); ok {
			return []string{att[0].(string)}
		}

		for _, k := range slices.Sorted(maps.Keys(v)) {
			if on, ok := v[k].([]any); ok && k == "DependsOn" {
				for _, o := range on {
					all = append(all, o.(string))
				}

				continue
			}

			all = append(all, references(v[k])...)
		}
	case []any:
		for _, e := range v {
			all = append(all, references(e)...)
		}
	}

	return all
}

func golden(t *testing.T, name string, got any) {
	t.Helper()

	text := append(must[[]byte](t)(json.MarshalIndent(got, "", "  ")), '\n')
	file := filepath.Join("testdata", name)

	if *update {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	if diff := cmp.Diff(string(must[[]byte](t)(os.ReadFile(file))), string(text)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// What the default environment costs, line by line, and as a template.
func TestDefault(t *testing.T) {
	t.Parallel()

	world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
		t.Helper()

		p := must[deploy.Plan](t)(w.Control.Plan(ctx, who(key.Tenant), workflow.CreateRequest{Name: key.Name, Spec: deploy.Spec{}.WithDefaults()}))

		golden(t, "default-cost.json", p.Cost)
		golden(t, "default-template.json", p.Template)

		if *p.Cost.Monthly != 0 {
			t.Errorf("an environment that scales to zero costs nothing at idle, not $%v", *p.Cost.Monthly)
		}
	})
}

func TestCost(t *testing.T) {
	t.Parallel()

	at := func(list deploy.PriceList, region, name string, usd float64) deploy.PriceList {
		list.Regions = maps.Clone(list.Regions)
		list.Regions[region] = maps.Clone(list.Regions[region])
		list.Regions[region][name] = deploy.Price{USD: usd, Unit: "vCPU-hour"}

		return list
	}

	for name, tc := range map[string]struct {
		reason string
		env    deploy.Environment
		list   func(deploy.PriceList) deploy.PriceList
		// want is the sum at idle; below zero: not known.
		want float64
		note string
	}{
		"Idle": {reason: "nothing runs", env: deploy.Environment{Name: "e"}, note: "c5 is meant"},
		"Warm": {
			reason: "4 vCPUs of c5 (0.0425), one disk of 100 GiB (0.08) and one address (0.005)", env: deploy.Environment{Name: "e", MinVcpus: 4},
			want: 4*730*0.0425 + 100*0.08 + 730*0.005,
		},
		"WholeInstances": {
			reason: "3 vCPUs are two m5.large, each with disk and address", env: deploy.Environment{Name: "e", MinVcpus: 3, InstanceTypes: []string{"m5.large"}, DiskGiB: 30},
			want: 4*730*0.048 + 2*30*0.08 + 2*730*0.005,
		},
		"Sizes": {
			reason: "as few as the largest size allows", env: deploy.Environment{Name: "e", MinVcpus: 40, InstanceTypes: []string{"m5.xlarge", "m5.4xlarge"}},
			want: 40*730*0.048 + 3*100*0.08 + 3*730*0.005,
		},
		"Unknown":     {reason: "a type without a price may run at idle", env: deploy.Environment{Name: "e", MinVcpus: 1, InstanceTypes: []string{"p3.2xlarge"}}, want: -1, note: "Not priced here"},
		"UnknownIdle": {reason: "it does not run at idle", env: deploy.Environment{Name: "e", InstanceTypes: []string{"p3.2xlarge"}}, note: "Not priced here"},
		"PartlyKnown": {reason: "what is known is said", env: deploy.Environment{Name: "e", InstanceTypes: []string{"m5.large", "p3.2xlarge"}}, note: "Not priced here: p3.2xlarge."},
		"OtherRegion": {
			reason: "another Region's prices are not this one's", env: deploy.Environment{Name: "e", MinVcpus: 1}, want: -1, note: "Not priced here",
			list: func(l deploy.PriceList) deploy.PriceList {
				l.Regions = map[string]map[string]deploy.Price{"eu-west-1": l.Regions["us-east-1"]}

				return l
			},
		},
		"OtherRegionIdle": {
			reason: "nothing is nothing everywhere", env: deploy.Environment{Name: "e"}, note: "Not priced here",
			list: func(l deploy.PriceList) deploy.PriceList { l.Regions = nil; return l },
		},
		"Cheaper": {
			reason: "the cheapest counts", env: deploy.Environment{Name: "e", MinVcpus: 2}, want: 2*730*0.01 + 100*0.08 + 730*0.005, note: "r7i is meant",
			list: func(l deploy.PriceList) deploy.PriceList { return at(l, "us-east-1", "ec2/r7i", 0.01) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
				t.Helper()

				if tc.list != nil {
					w.Control.Prices = tc.list(w.Control.Prices)
				}

				p := must[deploy.Plan](t)(w.Control.Plan(ctx, who(key.Tenant), workflow.CreateRequest{Name: key.Name, Spec: environments(tc.env).WithDefaults()}))

				switch {
				case tc.want < 0 && p.Cost.Monthly != nil:
					t.Errorf("%s: got $%v, want nothing rather than a wrong figure", tc.reason, *p.Cost.Monthly)
				case tc.want >= 0 && (p.Cost.Monthly == nil || fmt.Sprintf("%.4f", *p.Cost.Monthly) != fmt.Sprintf("%.4f", tc.want)):
					t.Errorf("%s: got %v, want %v: %+v", tc.reason, p.Cost.Monthly, tc.want, p.Cost.Lines)
				}

				if !slices.ContainsFunc(p.Cost.Lines, func(l deploy.CostLine) bool { return l.What == "instances" && strings.Contains(l.Note, tc.note) }) {
					t.Errorf("%s: no note says %q: %+v", tc.reason, tc.note, p.Cost.Lines)
				}
			})
		})
	}
}

// cfn-lint is what AWS would say of a template, as far as that can be known without AWS.
func TestTemplatesAreSound(t *testing.T) {
	t.Parallel()

	venv := os.Getenv("METAFLOW_DEPLOYER_VENV")
	if venv == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV names no virtual environment with cfn-lint: see `make test`")
	}

	// W3010 is against zones by name, which is what the owner asked for.
	dir, args := t.TempDir(), []string{"--include-checks", "I", "--ignore-checks", "W3010", "--regions", "us-east-1", "--"}

	for name, wish := range wishes() {
		world(t, func(ctx context.Context, t *testing.T, w *simulation.World) {
			t.Helper()

			spec := wish.spec
			if wish.before != nil {
				wish.before(ctx, t, w, &spec)
			}

			p := must[deploy.Plan](t)(w.Control.Plan(ctx, who(key.Tenant), workflow.CreateRequest{Name: key.Name, Spec: spec.WithDefaults()}))
			file := filepath.Join(dir, name+".json")

			if resources := p.Template["Resources"].(map[string]any); len(resources) == 0 {
				return // everything is there already; CloudFormation knows no stack of nothing
			}

			if err := os.WriteFile(file, must[[]byte](t)(json.MarshalIndent(p.Template, "", "  ")), 0o600); err != nil {
				t.Fatal(err)
			}

			args = append(args, file)
		})
	}

	needs.Files(t, filepath.Join(venv, ".test"))

	out, err := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "cfn-lint"), args...).CombinedOutput()
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}
