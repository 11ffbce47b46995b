package template_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
)

// relayed puts the relay where the ServiceToken leads, in CloudFormation's own account.
const relayed = `
Parameters: {Gateway: {Type: String}}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: sts:AssumeRole, Principal: {Service: lambda.amazonaws.com}}]}
  Relay:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: customresource
      Runtime: provided.al2023
      Handler: bootstrap
      Timeout: 30
      Role: !GetAtt Role.Arn
      Code: {S3Bucket: artifacts, S3Key: relay.zip}
      Environment: {Variables: {GATEWAY: !Ref Gateway}}
  Alias: {Type: AWS::Lambda::Alias, Properties: {Name: local, FunctionName: !Ref Relay, FunctionVersion: $LATEST}}
`

// TestTheExampleStack has a CloudFormation that is not ours deploy, update, replace, fail to update and delete the stack of docs/examples, with the product on
// this computer's AWS behind it. MiniStack sends the requests, waits for the answers at an address of its own, and rolls back.
func TestTheExampleStack(t *testing.T) {
	t.Parallel()

	ministack, venv, made := os.Getenv("METAFLOW_DEPLOYER_MINISTACK"), os.Getenv("METAFLOW_DEPLOYER_VENV"), os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	if ministack == "" || venv == "" || made == "" {
		t.Skip("METAFLOW_DEPLOYER_MINISTACK, METAFLOW_DEPLOYER_VENV and METAFLOW_DEPLOYER_LOCAL do not name MiniStack and what `make local-stack` makes: see `make ministack`")
	}

	product := startProduct(t, venv, made)

	m := startMiniStack(t, ministack, local.Region, local.Account)
	m.artifacts(t)("relay.zip", built(t, "tests/template/relay"))

	m.cloudFormation(t, "CreateStack", url.Values{
		"StackName": {"relay"}, "TemplateBody": {relayed}, "Capabilities.member.1": {"CAPABILITY_IAM"},
		"Parameters.member.1.ParameterKey": {"Gateway"}, "Parameters.member.1.ParameterValue": {product.Endpoint},
	}, nil)
	m.settled(t, "relay", "CREATE_COMPLETE")

	template := string(read(t, "docs/examples/stack.yaml"))
	deploy := func(action, name, vcpus, text, want string) map[string]string {
		t.Helper()

		form := url.Values{"StackName": {"ml"}, "TemplateBody": {text}}
		for i, p := range [][2]string{
			{"ServiceToken", "arn:aws:lambda:" + local.Region + ":" + local.Account + ":function:customresource:local"}, {"Name", name}, {"MaxVcpus", vcpus},
		} {
			at := fmt.Sprintf("Parameters.member.%d.Parameter", i+1)
			form.Set(at+"Key", p[0])
			form.Set(at+"Value", p[1])
		}

		m.cloudFormation(t, action, form, nil)

		return m.settled(t, "ml", want)
	}

	const id = "metaflow-deployer/metaflow/local/"

	// Nobody has bound the account yet: the stack hears so and rolls back.
	deploy("CreateStack", "research", "64", template, "ROLLBACK_COMPLETE")

	if why := m.events(t, "ml"); !strings.Contains(why, "Stacks of this account do not act for tenant local.") {
		t.Errorf("the stack does not hear why: %s", why)
	}

	m.cloudFormation(t, "DeleteStack", url.Values{"StackName": {"ml"}}, nil)
	m.settled(t, "ml", "DELETE_COMPLETE")

	product.ask(t, http.MethodPost, "/v1/grants", `{"kind": "stack-account", "value": "`+local.Account+`"}`, http.StatusOK)

	created := deploy("CreateStack", "research", "32", template, "CREATE_COMPLETE")
	config := product.ask(t, http.MethodGet, "/v1/deployments/research/configuration", "", http.StatusOK)

	if created["Id"] != id+"research" || created["Datastore"] == "" || created["Datastore"] != config["METAFLOW_DATASTORE_SYSROOT_S3"] ||
		created["JobQueue"] != config["METAFLOW_BATCH_JOB_QUEUE"] || created["JobRole"] != config["METAFLOW_ECS_S3_ACCESS_IAM_ROLE"] {
		t.Errorf("the stack has %v, the deployment %v", created, config)
	}

	if vcpus, label := product.deployment(t, "research"); vcpus != 32 || label != "ml" {
		t.Errorf("the deployment has %v vCPUs and is labelled %q", vcpus, label)
	}

	updated := deploy("UpdateStack", "research", "96", template, "UPDATE_COMPLETE")
	if vcpus, _ := product.deployment(t, "research"); vcpus != 96 || updated["Id"] != created["Id"] || updated["Operation"] == created["Operation"] {
		t.Errorf("after an update the deployment has %v vCPUs, and the stack %v", vcpus, updated)
	}

	// A property that is none fails the update, and the way back needs no operation.
	deploy("UpdateStack", "research", "96", strings.Replace(template, "      Data: purge\n", "      Data: purge\n      Flavour: large\n", 1), "UPDATE_ROLLBACK_COMPLETE")

	if why := m.events(t, "ml"); !strings.Contains(why, "Flavour: There is no such property") {
		t.Errorf("the stack does not hear why: %s", why)
	}

	// Another name is another environment; the old one goes.
	moved := deploy("UpdateStack", "second", "96", template, "UPDATE_COMPLETE")
	if moved["Id"] != id+"second" {
		t.Errorf("the replacement is %v", moved)
	}

	product.gone(t, "research")
	product.deployment(t, "second")

	m.cloudFormation(t, "DeleteStack", url.Values{"StackName": {"ml"}}, nil)
	m.settled(t, "ml", "DELETE_COMPLETE")
	product.gone(t, "second")

	// What CloudFormation was told where to answer stands in no log.
	logs, err := filepath.Glob(filepath.Join(product.state, "log", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("there are no logs: %v", err)
	}

	for _, file := range logs {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}

		if strings.Contains(string(text), "cfn-response") {
			t.Errorf("%s holds a ResponseURL", filepath.Base(file))
		}
	}
}

// product is the product on this computer.
type product struct {
	*local.Stack

	token, state string
}

func startProduct(t *testing.T, venv, made string) *product {
	t.Helper()

	p := &product{state: t.TempDir()}

	s, err := local.Start(t.Context(), local.Options{
		Root: root, Functions: filepath.Join(made, "functions"), Venv: venv, State: p.state, WaitFactor: 0.01, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}

	p.Stack = s
	t.Cleanup(func() { _ = s.Close() })

	if p.token, err = s.Token("local", "admin"); err != nil {
		t.Fatal(err)
	}

	// The schedule of each minute, each second.
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)

	go func() {
		for ctx.Err() == nil {
			_, _ = s.Pool().Invoke(ctx, local.Account, "customresource", []byte(`{"source": "aws.events"}`))

			time.Sleep(time.Second)
		}
	}()

	return p
}

func (p *product) ask(t *testing.T, method, path, body string, want int) map[string]any {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}

	req.Header.Set("Authorization", "Bearer "+p.token)

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}

	defer func() { _ = resp.Body.Close() }()

	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s: %d, %v: %s", method, path, resp.StatusCode, err, data)
	}

	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, data)
	}

	return v
}

// deployment is what an active deployment's environment may grow to, and its label.
func (p *product) deployment(t *testing.T, name string) (vcpus float64, label string) {
	t.Helper()

	var d struct {
		Phase  string
		Labels map[string]string
		Spec   struct {
			Compute struct{ Environments []struct{ MaxVcpus float64 } }
		}
	}

	text, err := json.Marshal(p.ask(t, http.MethodGet, "/v1/deployments/"+name, "", http.StatusOK))
	if err != nil {
		t.Fatal(err)
	}

	if err := json.Unmarshal(text, &d); err != nil || d.Phase != "ACTIVE" || len(d.Spec.Compute.Environments) != 1 {
		t.Fatalf("%s: %v: %s", name, err, text)
	}

	return d.Spec.Compute.Environments[0].MaxVcpus, d.Labels["stack"]
}

func (p *product) gone(t *testing.T, name string) {
	t.Helper()
	p.ask(t, http.MethodGet, "/v1/deployments/"+name, "", http.StatusNotFound)
}

// settled waits until a stack does nothing any more and answers its outputs.
func (m *miniStack) settled(t *testing.T, name, want string) map[string]string {
	t.Helper()

	for deadline := time.Now().Add(5 * time.Minute); ; {
		var described struct {
			Stacks []struct {
				StackName, StackStatus, StackStatusReason string
				Outputs                                   []struct{ OutputKey, OutputValue string } `xml:"Outputs>member"`
			} `xml:"DescribeStacksResult>Stacks>member"`
		}

		if want == "DELETE_COMPLETE" {
			m.cloudFormation(t, "DescribeStacks", url.Values{}, &described) // by name it is not there any more
		} else {
			m.cloudFormation(t, "DescribeStacks", url.Values{"StackName": {name}}, &described)
		}

		status, outputs := "DELETE_COMPLETE", map[string]string{}

		for _, s := range described.Stacks {
			if s.StackName != name {
				continue
			}

			status = s.StackStatus

			for _, o := range s.Outputs {
				outputs[o.OutputKey] = o.OutputValue
			}
		}

		if status == want {
			return outputs
		}

		if !strings.HasSuffix(status, "_IN_PROGRESS") || time.Now().After(deadline) {
			t.Fatalf("the stack %s is %s, want %s\n%s", name, status, want, m.events(t, name))
		}

		pause(t)
	}
}
