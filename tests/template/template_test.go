// Package template_test holds what the product is deployed from against the code: template.yaml, statemachine/deployment.asl.json and the functions. What
// AWS would find out at deploy time, or at three in the morning, is found out here.
package template_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/needs"
	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
)

// root is the project's directory, seen from this one.
const root = "../.."

const definition = "statemachine/deployment.asl.json"

func inputs() samtemplate.Inputs {
	return samtemplate.Inputs{Region: "eu-central-1", Account: "123456789012", StackName: "metaflow-deployer", APIEndpoint: "https://api.invalid"}
}

func read(t *testing.T, file string) []byte {
	t.Helper()

	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}

	return data
}

func stack(t *testing.T) (*samtemplate.Template, *samtemplate.Stack) {
	t.Helper()

	template, err := samtemplate.Parse(read(t, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	s, err := template.Resolve(inputs())
	if err != nil {
		t.Fatal(err)
	}

	return template, s
}

func TestEveryFunctionFolderIsAFunctionOfTheTemplate(t *testing.T) {
	t.Parallel()

	entries, err := os.ReadDir(filepath.Join(root, "functions"))
	if err != nil {
		t.Fatal(err)
	}

	var folders, functions []string

	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}

	_, s := stack(t)
	for _, f := range s.Functions {
		functions = append(functions, f.Name)
	}

	slices.Sort(functions)

	if diff := cmp.Diff(folders, functions); diff != "" {
		t.Errorf("folders and functions (-folder +template):\n%s", diff)
	}
}

// TestFunctionsAreToldWhatTheyRead compares each function's variables with the env tags of its config, both ways: a variable that is missing stops the
// function at its start, and one that nobody reads is a mistake.
func TestFunctionsAreToldWhatTheyRead(t *testing.T) {
	t.Parallel()

	_, s := stack(t)

	for _, f := range s.Functions {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()

			// Lambda sets AWS_REGION itself, and the template may not: Lambda Developer Guide, "Defined runtime environment variables".
			reads := slices.DeleteFunc(tags(t, filepath.Join(root, "functions", f.Name, "main.go")), func(name string) bool { return name == "AWS_REGION" })

			if diff := cmp.Diff(reads, slices.Sorted(maps.Keys(f.Env))); diff != "" {
				t.Errorf("variables of %s (-read by the code +set by the template):\n%s", f.Name, diff)
			}

			for name, value := range f.Env {
				if value == "" {
					t.Errorf("%s is empty by default: the function takes that for missing", name)
				}
			}
		})
	}
}

// tags lists the env tags of the struct named config in a Go file.
func tags(t *testing.T, file string) []string {
	t.Helper()

	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}

	var names []string

	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "config" {
			return true
		}

		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			t.Fatalf("%s: config is no struct", file)
		}

		for _, field := range fields.Fields.List {
			if field.Tag == nil {
				t.Fatalf("%s: the field %v of config has no env tag", file, field.Names)
			}

			tag, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}

			name, _, _ := strings.Cut(reflect.StructTag(tag).Get("env"), ",")
			names = append(names, name)
		}

		return false
	})

	if len(names) == 0 {
		t.Fatalf("%s has no struct named config", file)
	}

	slices.Sort(names)

	return names
}

func TestTheStateMachineIsFresh(t *testing.T) {
	t.Parallel()

	graphs, err := workflow.NewGraphs(all.Kinds(all.Clients{}))
	if err != nil {
		t.Fatal(err)
	}

	want, err := workflow.Compile(graphs)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(string(want), string(read(t, definition))); diff != "" {
		t.Errorf("%s is stale: run `make generate` (-compiled +committed):\n%s", definition, diff)
	}
}

func TestEveryPlaceholderIsFilledIn(t *testing.T) {
	t.Parallel()

	_, s := stack(t)
	used := map[string]bool{}

	for _, m := range regexp.MustCompile(`\$\{([^}]*)\}`).FindAllStringSubmatch(string(read(t, definition)), -1) {
		used[m[1]] = true
	}

	if diff := cmp.Diff(slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(s.StateMachines[0].Substitutions))); diff != "" {
		t.Errorf("placeholders (-in the definition +in DefinitionSubstitutions):\n%s", diff)
	}
}

// state is what the tests look at of a state.
type state struct {
	Type           string
	Resource       string
	TimeoutSeconds int
	Retry, Catch   []handler
	Branches       []machine
	ItemProcessor  *machine
	Next, Default  string
	End            bool
	ResultPath     json.RawMessage
	Choices        []struct{ Next string }
}

// handler is a retrier or a catcher.
type handler struct {
	ErrorEquals []string
	Next        string
}

type machine struct {
	StartAt string
	States  map[string]state
}

// each visits every state of a machine, also those within others.
func (m machine) each(visit func(name string, s state)) {
	for _, name := range slices.Sorted(maps.Keys(m.States)) {
		s := m.States[name]
		visit(name, s)

		for _, b := range s.Branches {
			b.each(visit)
		}

		if s.ItemProcessor != nil {
			s.ItemProcessor.each(visit)
		}
	}
}

func compiled(t *testing.T) machine {
	t.Helper()

	var m machine
	if err := json.Unmarshal(read(t, definition), &m); err != nil {
		t.Fatal(err)
	}

	return m
}

func TestSignalsAndRetriersAgree(t *testing.T) {
	t.Parallel()

	named := map[string]bool{}

	compiled(t).each(func(_ string, s state) {
		for _, r := range slices.Concat(s.Retry, s.Catch) {
			for _, name := range r.ErrorEquals {
				// What is AWS's own has its service's name in front.
				if !strings.Contains(name, ".") {
					named[name] = true
				}
			}
		}
	})

	var signals []string
	for _, s := range workflow.SignalNames() {
		signals = append(signals, string(s))
	}

	slices.Sort(signals)

	if diff := cmp.Diff(signals, slices.Sorted(maps.Keys(named))); diff != "" {
		t.Errorf("a signal that no retrier or catcher names, or a name that no function throws (-signals +machine):\n%s", diff)
	}
}

func TestEveryTaskIsHeldUp(t *testing.T) {
	t.Parallel()

	_, s := stack(t)
	timeouts := map[string]time.Duration{}

	for placeholder, arn := range s.StateMachines[0].Substitutions {
		for _, f := range s.Functions {
			if f.ARN == arn {
				timeouts["${"+placeholder+"}"] = f.Timeout
			}
		}
	}

	tasks := 0

	compiled(t).each(func(name string, s state) {
		if s.Type != "Task" && s.Type != "Parallel" && s.Type != "Map" {
			return
		}

		// Nothing that a state answers may grow the execution's state, save the plan.
		if plan := name == "Begin" || name == "Settle"; !plan && string(s.ResultPath) != "null" {
			t.Errorf("%s: ResultPath is %s, want null", name, s.ResultPath)
		}

		// Begin, Settle and Close touch nothing but the table: they insist, and the watchdog starts what fails all the same.
		insists := name == "Begin" || name == "Settle" || name == "Close"

		if len(s.Catch) == 0 && !insists {
			t.Errorf("%s has no Catch: its failure would fail the execution, while others still act", name)
		}

		if !insists && !slices.ContainsFunc(s.Catch, func(h handler) bool { return slices.Contains(h.ErrorEquals, "States.ALL") }) {
			t.Errorf("%s does not catch States.ALL", name)
		}

		if s.Type != "Task" {
			return
		}

		tasks++

		if len(s.Retry) == 0 {
			t.Errorf("%s has no Retry", name)
		}

		timeout, known := timeouts[s.Resource]
		if !known {
			t.Errorf("%s calls %s, which is no function of the template", name, s.Resource)
		}

		if time.Duration(s.TimeoutSeconds)*time.Second <= timeout {
			t.Errorf("%s ends after %d s, and its function may work for %s", name, s.TimeoutSeconds, timeout)
		}
	})

	if tasks < 30 {
		t.Errorf("only %d tasks were looked at", tasks)
	}
}

func TestEveryStateIsReachedAndLeadsOn(t *testing.T) {
	t.Parallel()

	var check func(m machine)

	check = func(m machine) {
		reached := map[string]bool{m.StartAt: true}

		for name, s := range m.States {
			next := []string{s.Next, s.Default}
			for _, c := range s.Choices {
				next = append(next, c.Next)
			}

			for _, c := range s.Catch {
				next = append(next, c.Next)
			}

			for _, n := range next {
				if n == "" {
					continue
				}

				reached[n] = true

				if _, there := m.States[n]; !there {
					t.Errorf("%s leads to %s, which is not there", name, n)
				}
			}

			if s.Type != "Succeed" && s.Type != "Fail" && s.Type != "Choice" && (s.Next == "") != s.End {
				t.Errorf("%s neither ends nor leads on, or both", name)
			}

			for _, b := range s.Branches {
				check(b)
			}

			if s.ItemProcessor != nil {
				check(*s.ItemProcessor)
			}
		}

		for name := range m.States {
			if !reached[name] {
				t.Errorf("nothing leads to %s", name)
			}
		}
	}

	check(compiled(t))
}

func TestTheStateMachineMayInvokeItsFunctionsOnly(t *testing.T) {
	t.Parallel()

	_, s := stack(t)
	g := grants(t)

	role := ""
	for _, r := range s.Roles {
		if r.ARN == s.StateMachines[0].RoleARN {
			role = r.LogicalID
		}
	}

	var may []string

	for _, d := range g.Roles[role] {
		for _, st := range d.Statements {
			for _, a := range st.Actions {
				if strings.HasPrefix(a, "lambda:") && a != "lambda:InvokeFunction" {
					t.Errorf("the state machine may %s", a)
				}
			}

			if slices.Contains(st.Actions, "lambda:InvokeFunction") {
				may = append(may, st.Resources...)
			}
		}
	}

	slices.Sort(may)

	if diff := cmp.Diff(slices.Sorted(maps.Values(s.StateMachines[0].Substitutions)), may); diff != "" {
		t.Errorf("functions (-called +allowed):\n%s", diff)
	}
}

func grants(t *testing.T) *policy.Grants {
	t.Helper()

	g, err := policy.ReadTemplate(filepath.Join(root, "template.yaml"), inputs())
	if err != nil {
		t.Fatal(err)
	}

	return g
}

// anywhere lists the actions that may stand with Resource "*", because AWS offers no narrower one: in the Service Authorization Reference,
// https://docs.aws.amazon.com/service-authorization/latest/reference/, page by page, the action has no resource type.
func anywhere() map[string]string {
	pages := map[string][]string{
		"list_amazonec2": {
			"ec2:DescribeAvailabilityZones", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInternetGateways", "ec2:DescribeLaunchTemplateVersions",
			"ec2:DescribeLaunchTemplates", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
			"ec2:DescribeVpcEndpoints", "ec2:DescribeVpcs",
		},
		"list_awsbatch":                          {"batch:DescribeComputeEnvironments", "batch:DescribeJobDefinitions", "batch:DescribeJobQueues", "batch:DescribeJobs", "batch:ListJobs"},
		"list_amazons3":                          {"s3:ListAllMyBuckets"},
		"list_awsidentityandaccessmanagementiam": {"iam:ListRoles"},
		// GetServiceQuota has none; the service's other actions have.
		"list_servicequotas": {"servicequotas:GetServiceQuota"},
		"list_amazoncloudwatchlogs": {
			"logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
			"logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
		},
		"list_awsx-ray": {"xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"},
	}

	all := map[string]string{}

	for page, actions := range pages {
		for _, a := range actions {
			all[a] = page
		}
	}

	return all
}

func TestPoliciesAreNarrow(t *testing.T) {
	t.Parallel()

	g := grants(t)
	all := map[string][]policy.Document{}

	for name, d := range g.Functions {
		all["function "+name] = d
	}

	for name, d := range g.Roles {
		all["role "+name] = d
	}

	used := map[string]bool{}

	for owner, documents := range all {
		for _, d := range documents {
			for _, s := range d.Statements {
				where := owner + ", " + s.Sid

				if s.Sid == "" {
					t.Errorf("%s: a statement without Sid", owner)
				}

				if len(s.NotActions)+len(s.NotResources) > 0 {
					t.Errorf("%s grants everything but something", where)
				}

				for _, a := range s.Actions {
					if strings.Contains(a, "*") || strings.Contains(a, "?") {
						t.Errorf("%s: the action %s is a pattern", where, a)
					}

					if slices.Contains(s.Resources, "*") {
						used[a] = true

						if anywhere()[a] == "" {
							t.Errorf("%s: %s has resource-level permissions and is granted on *", where, a)
						}
					}
				}

				passes := slices.Contains(s.Actions, "iam:PassRole")
				if passes && !slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool { return c.Key == "iam:passedtoservice" }) {
					t.Errorf("%s passes roles to any service", where)
				}

				// Whoever may write a role's policies without a boundary may give himself anything.
				for _, a := range []string{"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"} {
					if slices.Contains(s.Actions, a) && !slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool { return c.Key == "iam:permissionsboundary" }) {
						t.Errorf("%s: %s asks for no boundary", where, a)
					}
				}

				for _, a := range []string{"iam:DeleteRolePermissionsBoundary", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:CreatePolicy"} {
					if slices.Contains(s.Actions, a) {
						t.Errorf("%s: with %s the boundary is no bound", where, a)
					}
				}
			}
		}
	}

	for a, page := range anywhere() {
		if !used[a] {
			t.Errorf("%s (%s) is listed and nowhere granted on *", a, page)
		}
	}
}

func TestTrustPoliciesNameThisAccount(t *testing.T) {
	t.Parallel()

	_, s := stack(t)

	for _, r := range s.Roles {
		trust, err := policy.ParseTrust(r.Trust)
		if err != nil {
			t.Fatal(err)
		}

		for account, want := range map[string]bool{"123456789012": true, "210987654321": false} {
			got, err := policy.Trusts(trust, "states.amazonaws.com", policy.Context{"aws:SourceAccount": {account}})
			if err != nil {
				t.Fatal(err)
			}

			if got != want {
				t.Errorf("%s trusts Step Functions in account %s: %t", r.LogicalID, account, got)
			}
		}
	}
}

// TestStacksComeInByTheirAliasOnly: an account may call the alias of the tenant that it is bound to, and nothing else of the product may be called from outside
// but the API by API Gateway.
func TestStacksComeInByTheirAliasOnly(t *testing.T) {
	t.Parallel()

	template, _ := stack(t)
	in := inputs()
	in.Parameters = map[string]string{"StackTenant": "acme", "StackAccount": "210987654321"}

	var got []string

	for _, id := range template.Resources("AWS::Lambda::Permission") {
		p, err := template.Properties(in, id)
		if err != nil {
			t.Fatal(err)
		}

		got = append(got, fmt.Sprint(p["Principal"], " ", p["Action"], " ", p["FunctionName"]))
	}

	slices.Sort(got)

	if diff := cmp.Diff([]string{
		"210987654321 lambda:InvokeFunction arn:aws:lambda:eu-central-1:123456789012:function:customresource:acme", "apigateway.amazonaws.com lambda:InvokeFunction api",
	}, got); diff != "" {
		t.Errorf("who may call what (-want +got):\n%s", diff)
	}
}

// TestNothingIsTiedToAPlace looks for a literal partition or Region: the product must work in every one.
func TestNothingIsTiedToAPlace(t *testing.T) {
	t.Parallel()

	place := regexp.MustCompile(`arn:aws[a-z-]*:|\b(us|eu|ap|sa|ca|me|af|il|cn|mx)-(gov-|iso[a-z]*-)?(central|(north|south)?(east|west)?)-[0-9]\b`)

	for _, file := range []string{"template.yaml", definition} {
		for i, line := range strings.Split(string(read(t, file)), "\n") {
			if found := place.FindString(line); found != "" {
				t.Errorf("%s:%d: %s", file, i+1, found)
			}
		}
	}

	// Texts that may hold one, with the reason.
	allowed := map[string]string{
		"internal/deploy/validate.go":    "examples in remedies, for people to read",
		"internal/kind/bucket/bucket.go": "us-east-1 is the one Region that CreateBucket must not be told",
		"internal/prices/refresh.go":     "AWS offers the price lists of all Regions in one place",
	}
	met := map[string]bool{}

	for _, dir := range []string{"internal", "functions", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}

			name, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}

			name = filepath.ToSlash(name)

			// These play AWS on this computer, or are tools of tests.
			if d.IsDir() && slices.Contains([]string{"internal/local", "internal/awsfake", "internal/kind/kindtest", "internal/store/storetest", "cmd/local"}, name) {
				return filepath.SkipDir
			}

			if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || strings.Contains(name, "/testdata/") {
				return nil
			}

			set := token.NewFileSet()

			f, err := parser.ParseFile(set, file, nil, 0) // without comments, which may say what they like
			if err != nil {
				return err
			}

			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}

				if found := place.FindString(lit.Value); found != "" {
					met[name] = true

					if allowed[name] == "" {
						t.Errorf("%s: %s in %s", set.Position(lit.Pos()), found, lit.Value)
					}
				}

				return true
			})

			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	for name := range allowed {
		if !met[name] {
			t.Errorf("%s holds no such text any more", name)
		}
	}
}

func TestCfnLintFindsNothing(t *testing.T) {
	t.Parallel()

	venv := os.Getenv("METAFLOW_DEPLOYER_VENV")
	if venv == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV names no virtual environment with cfn-lint: see `make test`")
	}

	needs.Files(t, filepath.Join(venv, ".test"))

	out, err := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "cfn-lint"), "--include-checks", "I", "--", filepath.Join(root, "template.yaml"), filepath.Join(root, "docs/examples/stack.yaml")).CombinedOutput()
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

func TestAslValidatorFindsNothing(t *testing.T) {
	t.Parallel()

	local := os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	if local == "" {
		t.Skip("METAFLOW_DEPLOYER_LOCAL names no folder with node/node_modules: see `make test`")
	}

	// The validator wants ARNs where the placeholders stand.
	_, s := stack(t)

	text := string(read(t, definition))
	for name, arn := range s.StateMachines[0].Substitutions {
		text = strings.ReplaceAll(text, "${"+name+"}", arn)
	}

	file := filepath.Join(t.TempDir(), "deployment.asl.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	out, err := exec.CommandContext(t.Context(), filepath.Join(local, "node", "node_modules", ".bin", "asl-validator"), "--json-path", file).CombinedOutput()
	if err != nil {
		t.Errorf("asl-validator: %v\n%s", err, out)
	}
}
