package cli_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/door"
)

func TestLifeOfADeployment(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		made := d.must("create", "research", "--max-vcpus", "8", "--label", "team=data", "--tag", "cost=42")
		for _, line := range []string{"create research: RUNNING", "job-queue/default: WAITING  waits for ", "vpc: READY", "create research: SUCCEEDED after "} {
			if !strings.Contains(made.out, line) {
				d.Errorf("no line %q:\n%s", line, made.out)
			}
		}

		if strings.Contains(made.out, "\x1b") || made.err != "" {
			d.Errorf("what is piped is plain:\n%s%s", made.out, made.err)
		}

		if out := d.must("list", "--label", "team=data", "--phase", "ACTIVE").out; !strings.Contains(out, "research") {
			d.Error(out)
		}

		if out := d.must("list", "--label", "team=other").out; out != "No deployment is like that.\n" {
			d.Error(out)
		}

		got := d.must("get", "research").out
		for _, line := range []string{"phase      ACTIVE", "labels     team=data", "maxVcpus: 8", `cost: "42"`} {
			if !strings.Contains(got, line) {
				d.Errorf("no line %q:\n%s", line, got)
			}
		}

		if out := d.must("get", "research", "--resources").out; strings.Count(out, "READY") < 10 || !strings.Contains(out, "job-queue/default") {
			d.Error(out)
		}

		if out := d.must("ops", "research").out; !strings.Contains(out, "CREATE  SUCCEEDED") {
			d.Error(out)
		}

		if out := d.must("watch", "research").out; !strings.Contains(out, "create research: SUCCEEDED") {
			d.Error(out)
		}

		if out := d.must("kinds").out; !strings.Contains(out, "compute-environment") {
			d.Error(out)
		}

		gone := d.must("delete", "research", "--data", "purge")
		if !strings.Contains(gone.out, "vpc: GONE") || !strings.Contains(gone.out, "delete research: SUCCEEDED") {
			d.Error(gone.out)
		}

		d.fails(4, "There is no deployment research", "get", "research")
		d.must("delete", "research", "--allow-missing")
	})
}

// TestDocuments: with -o json or yaml standard output is one document and nothing else.
func TestDocuments(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		var op struct {
			ID, State string
			Steps     []map[string]any
		}

		made := d.must("create", "research", "-o", "json")
		if err := json.Unmarshal([]byte(made.out), &op); err != nil || op.State != "SUCCEEDED" || len(op.Steps) < 10 {
			d.Fatalf("%v\n%s", err, made.out)
		}

		if !strings.Contains(made.err, "vpc: READY") {
			d.Errorf("progress goes beside the document:\n%s", made.err)
		}

		var all []map[string]any
		if err := json.Unmarshal([]byte(d.must("list", "-o", "json").out), &all); err != nil || len(all) != 1 || all[0]["etag"] == "" {
			d.Errorf("%v %v", err, all)
		}

		yaml := d.must("get", "research", "-o", "yaml").out
		if !strings.HasPrefix(yaml, "name: research\ntenant: acme\nphase: ACTIVE\nspec:\n  storage:\n    flowsPrefix: flows\n") || !strings.Contains(yaml, "account: \"123456789012\"\n") {
			d.Errorf("members stay in their order, texts stay texts:\n%s", yaml)
		}

		var p struct{ Code, Remedy string }

		refused := d.run("get", "nothing", "-o", "json")
		if err := json.Unmarshal([]byte(refused.err), &p); err != nil || refused.code != 4 || p.Code != "not_found" || refused.out != "" {
			d.Errorf("a refusal is a document, too: %v\n%s%s", err, refused.out, refused.err)
		}

		for _, command := range []string{"ops research", "kinds", "get research --resources", "ops " + op.ID} {
			if out := d.must(append(strings.Fields(command), "-o", "json")...).out; !json.Valid([]byte(out)) {
				d.Errorf("%s: %s", command, out)
			}
		}
	})
}

func TestRollback(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.refuse("batch.CreateJobQueue")

		r := d.fails(1, "remedy", "create", "research")
		for _, line := range []string{"where     job-queue/default", "cause     AWS answered ", "code      "} {
			if !strings.Contains(r.err, line) {
				d.Errorf("no line %q:\n%s", line, r.err)
			}
		}

		if !strings.Contains(r.out, "create research: ROLLING_BACK") || !strings.Contains(r.out, "vpc: GONE") || !strings.Contains(r.out, "create research: ROLLED_BACK after ") {
			d.Error(r.out)
		}

		id := regexp.MustCompile(`research-[0-9a-z]{26}`).FindString(d.must("ops", "research").out)
		if out := d.must("ops", id).out; !strings.Contains(out, "✗ job-queue/default") || !strings.Contains(out, "✓ vpc") || !strings.Contains(out, "removed") {
			d.Error(out)
		}
	})
}

func TestNeedsAttention(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.must("create", "research")

		lift := d.refuse("ec2.DeleteSecurityGroup")

		r := d.fails(3, "What resisted:\n  security-group/jobs", "delete", "research", "--data=purge")
		if !strings.Contains(r.err, "metaflow-deployer resume research") {
			d.Error(r.err)
		}

		d.fails(5, "takes the role admin", "skip", "research", "vpc")

		lift()

		if out := d.must("resume", "research").out; !strings.Contains(out, "delete research: SUCCEEDED") {
			d.Error(out)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		if out := d.must("create", "research", "--no-wait").out; !strings.Contains(out, "metaflow-deployer watch research-") || len(d.Requests()) != 1 {
			d.Errorf("%s after %d requests", out, len(d.Requests()))
		}

		time.Sleep(5 * time.Second)
		d.fails(6, "There is a deployment research", "create", "research")

		if out := d.must("cancel", "research").out; !strings.Contains(out, "create research: ROLLED_BACK") {
			d.Errorf("a cancel is done when the operation is rolled back:\n%s", out)
		}
	})
}

// TestInterrupt: Ctrl-C stops the watching and not the operation.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		for _, live := range []bool{false, true} {
			if live {
				d.screen = newTerminal(d.T, 100, 40)
			}

			ctx, cancel := context.WithCancel(d.Context())
			time.AfterFunc(7*time.Second, cancel)

			name := map[bool]string{false: "piped", true: "typed"}[live]

			r := d.runContext(ctx, "create", name)
			if r.code != 7 || !strings.Contains(r.err, "goes on") || !strings.Contains(r.err, "metaflow-deployer watch "+name+"-") || !strings.Contains(r.err, "metaflow-deployer cancel "+name+"-") {
				d.Errorf("%d\n%s%s", r.code, r.out, r.err)
			}
		}

		d.screen = nil

		// Nobody answers, and the person has had enough.
		d.Before = func(door.Request) (*door.Reply, error) {
			return door.Answer(503, `{"message":"Service Unavailable"}`), nil
		}

		ctx, cancel := context.WithCancel(d.Context())
		time.AfterFunc(time.Second, cancel)

		if r := d.runContext(ctx, "create", "third"); r.code != 7 || !strings.Contains(r.err, "may have begun") || !strings.Contains(r.err, "Service Unavailable") {
			d.Errorf("%d\n%s%s", r.code, r.out, r.err)
		}

		d.Before = nil

		r := d.run("watch", "piped", "--timeout", "3s")
		if r.code != 7 || !strings.Contains(r.err, "Out of time") {
			d.Errorf("%d %s", r.code, r.err)
		}

		d.must("watch", "piped")
		d.must("watch", "typed")
	})
}

// TestNamesThatLeadElsewhere: what is typed for a name acts on the thing of that name or on nothing.
func TestNamesThatLeadElsewhere(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct{ reason, args, noun string }{
		"Delete":    {reason: "it would purge research", args: "delete research?data=purge --no-wait --data keep", noun: "the name of a deployment"},
		"Missing":   {reason: "nor is that nothing to delete", args: "delete research?data=purge --allow-missing", noun: "the name of a deployment"},
		"Plan":      {reason: "it would be research's", args: "plan research#", noun: "the name of a deployment"},
		"Resources": {reason: "likewise", args: "get research% --resources", noun: "the name of a deployment"},
		"Operation": {reason: "it would be another route", args: "cancel x/01234567890123456789abcdef-01234567890123456789abcdef", noun: "the id of an operation"},
		"Webhook":   {reason: "likewise", args: "webhooks remove ../deployments/research", noun: "the id of a webhook"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				d.fails(2, "is not "+tc.noun+": one has only a-z, 0-9 and -. Nothing was sent.", strings.Fields(tc.args)...)

				if n := len(d.Requests()); n != 0 {
					t.Errorf("%s: %d requests were sent", tc.reason, n)
				}
			})
		})
	}
}

// TestSteeringWhatIsAtWork: what goes on already is not said to begin.
func TestSteeringWhatIsAtWork(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.must("create", "research", "--no-wait")
		time.Sleep(5 * time.Second)

		for _, command := range []struct{ reason, verb, says string }{
			{"nothing is to be gone on with", "resume", " goes on already: RUNNING; watch it: metaflow-deployer watch research-"},
			{"it begins to roll back", "cancel", " is admitted; watch it: metaflow-deployer watch research-"},
			{"it does so already", "cancel", " goes on already: ROLLING_BACK; watch it: metaflow-deployer watch research-"},
		} {
			if out := d.must(command.verb, "research", "--no-wait").out; !strings.Contains(out, command.says) {
				d.Errorf("%s: %s", command.reason, out)
			}
		}

		if r := d.run("watch", "research"); r.code != 1 || !strings.Contains(r.out, "ROLLED_BACK") {
			d.Errorf("%d\n%s%s", r.code, r.out, r.err)
		}
	})
}

func TestExitCodes(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason string
		args   string
		in     string
		answer *door.Reply
		err    error
		env    map[string]string
		code   int
		says   string
	}{
		"NoCommand":   {reason: "what does not exist", args: "crate x", code: 2, says: `unknown command "crate"`},
		"NoFlag":      {reason: "likewise", args: "list --al", code: 2, says: "--help"},
		"NearFlag":    {reason: "a flag that is nearly there", args: "create x --max-vcpu 64", code: 2, says: "unknown flag: --max-vcpu; did you mean --max-vcpus?"},
		"FarFlag":     {reason: "a flag that is like no other", args: "create x --colour red", code: 2, says: "unknown flag: --colour\n"},
		"Number":      {reason: "in words for people", args: "create x --max-vcpus abc", code: 2, says: "--max-vcpus abc: it is a whole number"},
		"Unit":        {reason: "what a duration lacks", args: "get x --timeout 5", code: 2, says: "--timeout 5: it is a number with its unit, such as 5m"},
		"Truth":       {reason: "what a switch takes", args: "delete x --yes=perhaps", code: 2, says: "--yes perhaps: it is true or false"},
		"Pair":        {reason: "what a label is", args: "create x --label team", code: 2, says: "--label team: it is KEY=VALUE"},
		"NoArgument":  {reason: "a name is missing", args: "get", code: 2, says: "NAME is missing: metaflow-deployer get NAME\n"},
		"NoResource":  {reason: "which of two is missing", args: "skip research", code: 2, says: "RESOURCE is missing: metaflow-deployer skip NAME|OPERATION RESOURCE\n"},
		"Surplus":     {reason: "two names", args: "delete a b", code: 2, says: `"b" is too much: metaflow-deployer delete NAME`},
		"Optional":    {reason: "likewise where a name may be left out", args: "create a b", code: 2, says: `"b" is too much: metaflow-deployer create [NAME]`},
		"Output":      {reason: "a format that nobody knows", args: "list -o xml", code: 2, says: "text, json or yaml"},
		"NoName":      {reason: "nothing to call it", args: "create", code: 2, says: "needs a name"},
		"NoFile":      {reason: "a file that is not there", args: "create -f nothing.yaml", code: 2, says: "read nothing.yaml"},
		"NoSpec":      {reason: "a file without a spec would be one with the defaults", args: "update x -f -", in: "labels: {team: data}", code: 2, says: "has no spec"},
		"Nothing-":    {reason: "so would one with nothing", args: "update x -f -", in: "# later\n", code: 2, says: "has no spec"},
		"NoShell":     {reason: "a shell that there is no script for", args: "completion tcsh", code: 2, says: `unknown command "tcsh"`},
		"WhoseHelp":   {reason: "help about the command that was meant", args: "get", code: 2, says: "See metaflow-deployer get --help."},
		"NoURL":       {reason: "no installation", args: "list", env: map[string]string{"METAFLOW_DEPLOYER_URL": ""}, code: 2, says: "METAFLOW_DEPLOYER_URL"},
		"ClearURL":    {reason: "a token in the clear", args: "list --url http://api.test", code: 2, says: "use https"},
		"NoToken":     {reason: "nobody", args: "list", env: map[string]string{"METAFLOW_DEPLOYER_TOKEN": ""}, code: 5, says: "metaflow-deployer login"},
		"AuthToken":   {reason: "a token was asked for", args: "list --auth token", env: map[string]string{"METAFLOW_DEPLOYER_TOKEN": ""}, code: 5, says: "METAFLOW_DEPLOYER_TOKEN"},
		"TwoTokens":   {reason: "a file with more than a token", args: "list", env: map[string]string{"METAFLOW_DEPLOYER_TOKEN": "a\r\nb"}, code: 5, says: "METAFLOW_DEPLOYER_TOKEN"},
		"AuthLogin":   {reason: "a sign-in was asked for, the token does not count", args: "list --auth login", code: 5, says: "nobody is signed in"},
		"Auth":        {reason: "a way that nobody knows", args: "list --auth magic", code: 2, says: "token, login or sigv4"},
		"Data":        {reason: "neither keep nor purge", args: "delete x --data shred", code: 2, says: "keep or purge"},
		"Nothing":     {reason: "an update of nothing", args: "update x", code: 2, says: "nothing to update"},
		"Unsigned":    {reason: "API Gateway's own 401", args: "list", answer: door.Answer(401, `{"message":"Unauthorized"}`), code: 5, says: "sign in   metaflow-deployer login"},
		"Denied":      {reason: "a role is missing", args: "orphans", code: 5, says: "takes the role admin"},
		"NotFound":    {reason: "a name that nobody has", args: "get nothing", code: 4, says: "There is no deployment nothing"},
		"Conflict":    {reason: "another operation", args: "repair x", answer: door.Answer(409, `{"code":"operation_in_progress","detail":"Busy.","operation":"/v1/operations/x-1"}`), code: 6, says: "watch x-1"},
		"Stale":       {reason: "the deployment changed", args: "update x -f -", answer: door.Answer(412, `{"code":"stale","detail":"It changed."}`), code: 6, says: "It changed."},
		"Invalid":     {reason: "the spec is refused", args: "create research --cidr 10.0.0.0/8", code: 2, says: "where     --cidr, /spec/network/cidr"},
		"Broken":      {reason: "a fault of the service", args: "list", answer: door.Answer(500, `{"code":"internal","detail":"Oh.","requestId":"r-9"}`), code: 1, says: "request   r-9"},
		"Page":        {reason: "a portal answers", args: "config x", answer: door.Answer(200, "<!doctype html>", "Content-Type", "text/html"), code: 1, says: "Check that the URL is the installation's."},
		"PageEnv":     {reason: "in no format is it a configuration", args: "config x --format env", answer: door.Answer(200, "<!doctype html>", "Content-Type", "text/html"), code: 1, says: "Check that the URL"},
		"OtherList":   {reason: "somebody else answers JSON", args: "list", answer: door.Answer(200, `{"hello":true}`), code: 1, says: "Check that the URL"},
		"OtherGet":    {reason: "somebody else answers JSON", args: "get x", answer: door.Answer(200, `{"hello":true}`), code: 1, says: "Check that the URL"},
		"OtherDrift":  {reason: "that is not the absence of drift", args: "drift x", answer: door.Answer(200, `{"hello":true}`), code: 1, says: "Check that the URL"},
		"OtherPlan":   {reason: "nor is that a plan", args: "plan x", answer: door.Answer(200, `{"hello":true}`), code: 1, says: "Check that the URL"},
		"OtherCreate": {reason: "nor an operation", args: "create x", answer: door.Answer(202, `{"hello":true}`), code: 1, says: "Check that the URL"},
		"WrongPath":   {reason: "whether there is such a thing, nobody knows", args: "get x", answer: door.Answer(404, "nothing", "Content-Type", "text/plain"), code: 1, says: "Check the URL"},
		"Unreachable": {reason: "nobody there", args: "list", err: errors.New("connection refused"), code: 7, says: "connection refused"},
		"Time":        {reason: "no answer in time", args: "list --timeout 1ms", answer: door.Answer(503, `{"message":"Service Unavailable"}`), code: 1, says: "Service Unavailable"},
		"Drift":       {reason: "drift was found", args: "drift x", answer: door.Answer(200, `{"deployment":"x","drifted":true,"resources":[{"resource":"vpc","state":"READY","differences":[{"property":"cidr","want":"a","have":"b"}],"notChecked":["tags"]}]}`), code: 8},
		"NoDrift":     {reason: "none was", args: "drift x", answer: door.Answer(200, `{"deployment":"x","drifted":false,"resources":[]}`), code: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				for name, value := range tc.env {
					d.env[name] = value
				}

				d.in = strings.NewReader(cmp.Or(tc.in, "{}"))
				d.Before = func(door.Request) (*door.Reply, error) { return tc.answer, tc.err }

				if r := d.run(strings.Fields(tc.args)...); r.code != tc.code || !strings.Contains(r.err, tc.says) || r.code != 0 && r.code != 8 && r.err == "" {
					t.Errorf("%s: exit code %d, want %d with %q\n%s%s", tc.reason, r.code, tc.code, tc.says, r.out, r.err)
				}
			})
		})
	}
}

// TestRetrying: a person is told why nothing happens, a program gets nothing that it did not ask for.
func TestRetrying(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason string
		args   []string
		told   int
	}{
		"Person":  {"five attempts have four pauses", []string{"list"}, 4},
		"Program": {"standard error may be read too", []string{"list", "-o", "json"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				d.Before = func(door.Request) (*door.Reply, error) { return nil, errors.New("connection refused") }

				r := d.run(tc.args...)
				if n := strings.Count(r.err, "connection refused); trying again in "); n != tc.told || r.out != "" {
					t.Errorf("%s: told %d times, want %d\n%s%s", tc.reason, n, tc.told, r.out, r.err)
				}
			})
		})
	}
}

func TestSpecs(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason, file, text string
		args               string
		body               string
		says               string
	}{
		"Empty":    {reason: "no file, no flags: the default environment", body: `{"name":"research"}`},
		"Spec":     {reason: "a spec alone", file: "s.yaml", text: "compute:\n  environments: [{name: small, maxVcpus: 8}]\n", body: `{"name":"research","spec":{"compute":{"environments":[{"maxVcpus":8,"name":"small"}]}}}`},
		"Request":  {reason: "a whole request", file: "s.yaml", text: "name: other\nlabels: {team: data}\nttl: 72h\nverify: true\nspec: {tags: {a: b}}\n", body: `{"name":"research","spec":{"tags":{"a":"b"}},"labels":{"team":"data"},"ttl":"72h","verify":true}`},
		"JSON":     {reason: "JSON with tabs, which YAML does not take", file: "s.json", text: "{\n\t\"spec\": {\n\t\t\"storage\": {\"oldVersionsDays\": 7}\n\t}\n}", body: `{"name":"research","spec":{"storage":{"oldVersionsDays":7}}}`},
		"Stdin":    {reason: "standard input", file: "-", text: "tags: {a: 'no'}\n", body: `{"name":"research","spec":{"tags":{"a":"no"}}}`},
		"No":       {reason: "no is a text, as in YAML 1.2, and a date is one", file: "s.yaml", text: "tags: {country: no, day: 2026-01-01}\n", body: `{"name":"research","spec":{"tags":{"country":"no","day":"2026-01-01"}}}`},
		"Anchors":  {reason: "aliases are what they stand for", file: "s.yaml", text: "compute:\n  environments: [{name: a, instanceTypes: &t [m5]}, {name: b, instanceTypes: *t}]\n", body: `{"name":"research","spec":{"compute":{"environments":[{"instanceTypes":["m5"],"name":"a"},{"instanceTypes":["m5"],"name":"b"}]}}}`},
		"Comments": {reason: "an empty file says nothing", file: "s.yaml", text: "# nothing\n", body: `{"name":"research"}`},
		"Verify":   {reason: "a flag goes over the file, this one too", file: "s.yaml", text: "verify: true\n", args: "--verify=false", body: `{"name":"research"}`},
		"NoLabels": {reason: "a member that is null is not there", file: "s.yaml", text: "labels: null\nverify: null\n", body: `{"name":"research"}`},
		"Flags": {
			reason: "a flag for each common member", args: "--cidr 10.1.0.0/16 --zone us-east-1a,us-east-1b --max-vcpus 4 --instance-type m5 --instance-type r5 --tag a=b --label c=d --ttl P3D --bucket b/p/q --job-role arn:r",
			body: `{"name":"research","spec":{"access":{"existing":{"jobRoleArn":"arn:r"}},"compute":{"environments":[{"instanceTypes":["m5","r5"],"maxVcpus":4,"name":"default"}]},` +
				`"network":{"cidr":"10.1.0.0/16","zones":["us-east-1a","us-east-1b"]},"storage":{"existing":{"bucket":"b","prefix":"p/q"}},"tags":{"a":"b"}},"labels":{"c":"d"},"ttl":"P3D"}`,
		},
		"Over": {
			reason: "flags go over the file", file: "s.yaml", text: "network: {cidr: 10.0.0.0/16}\ncompute: {environments: [{name: mine, maxVcpus: 1, diskGiB: 50}]}\n", args: "--max-vcpus 9 --cidr 10.2.0.0/16",
			body: `{"name":"research","spec":{"compute":{"environments":[{"diskGiB":50,"maxVcpus":9,"name":"mine"}]},"network":{"cidr":"10.2.0.0/16"}}}`,
		},
		"Scheme":     {reason: "a bucket as Metaflow writes it", args: "--bucket s3://my-bucket/pre/fix", body: `{"name":"research","spec":{"storage":{"existing":{"bucket":"my-bucket","prefix":"pre/fix"}}}}`},
		"Whole":      {reason: "nothing behind the slash is no prefix", args: "--bucket s3://my-bucket/", body: `{"name":"research","spec":{"storage":{"existing":{"bucket":"my-bucket"}}}}`},
		"Network":    {reason: "a network that is there", args: "--vpc vpc-1 --subnet subnet-1,subnet-2 --security-group sg-1", body: `{"name":"research","spec":{"network":{"existing":{"securityGroupIds":["sg-1"],"subnetIds":["subnet-1","subnet-2"],"vpcId":"vpc-1"}}}}`},
		"Which":      {reason: "two environments and a flag for one", file: "s.yaml", text: "compute: {environments: [{name: a}, {name: b}]}\n", args: "--max-vcpus 9", says: "there is not just one"},
		"Twice":      {reason: "a member that stands there twice", file: "s.yaml", text: "network:\n  cidr: a\n  cidr: b\n", says: "s.yaml:3: cidr stands here a second time"},
		"TwiceJSON":  {reason: "in JSON, too", file: "s.json", text: "{\"tags\":\n{\"a\":\"b\",\n\"a\":\"c\"}}", says: "s.json:3: a stands here a second time"},
		"Syntax":     {reason: "neither YAML nor JSON", file: "s.yaml", text: "a: [\n", says: "s.yaml:2: this is neither YAML nor JSON"},
		"Colon":      {reason: "a line that lacks its colon, and shows it in the next", file: "s.yaml", text: "tags: {}\nnetwork\n  cidr: x\n", says: "s.yaml:3: "},
		"Quote":      {reason: "a quote that nobody ends", file: "s.yaml", text: "tags:\n  a: \"x\n  b: y\n", says: "while scanning a quoted scalar, which begins in line 2"},
		"Control":    {reason: "what no text holds, wherever it is", file: "s.yaml", text: "a: \x01\n", says: "s.yaml is neither YAML nor JSON: control characters"},
		"List":       {reason: "no object", file: "s.yaml", text: "- a\n", says: "holds no object"},
		"Documents":  {reason: "two in one file", file: "s.yaml", text: "tags: {}\n---\ntags: {}\n", says: "a second document"},
		"Member":     {reason: "a misspelt member of the request", file: "s.yaml", text: "name: x\nspce: {}\n", says: "s.yaml:2: there is no member spce"},
		"Labels":     {reason: "a label that is no text", file: "s.yaml", text: "labels:\n  team: 7\n", says: "s.yaml:1: labels is not of the right type"},
		"Infinity":   {reason: "what JSON has no word for", file: "s.yaml", text: "storage: {oldVersionsDays: .inf}\n", says: "no number of JSON"},
		"Merge":      {reason: "merge keys", file: "s.yaml", text: "a: &a {b: c}\nd:\n  <<: *a\n", says: "s.yaml:3:"},
		"Laughs":     {reason: "aliases that blow up", file: "s.yaml", text: laughs(), says: "means more than"},
		"Tag":        {reason: "a tag of YAML's", file: "s.yaml", text: "tags: {a: !!binary aGk=}\n", says: "tag"},
		"NotObjects": {reason: "a flag into something else", file: "s.yaml", text: "network: public\n", args: "--cidr 10.0.0.0/16", says: "network is no object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				d.Before = func(door.Request) (*door.Reply, error) { return door.Answer(202, `{"id":"x"}`), nil }
				args := append([]string{"create", "research", "--no-wait"}, strings.Fields(tc.args)...)

				if tc.file == "-" {
					d.in = strings.NewReader(tc.text)
				} else if tc.file != "" {
					d.write(tc.file, tc.text)
				}

				if tc.file != "" {
					args = append(args, "-f", tc.file)
				}

				if tc.says != "" {
					if d.fails(2, tc.says, args...); len(d.Requests()) != 0 {
						t.Errorf("%s: nothing is to be sent", tc.reason)
					}

					return
				}

				d.must(args...)

				if got := string(d.Requests()[0].Body); got != tc.body {
					t.Errorf("%s:\ngot  %s\nwant %s", tc.reason, got, tc.body)
				}
			})
		})
	}
}

func laughs() string {
	text := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 6 {
		c := string(rune('a' + i))
		next := string(rune('b' + i))
		text += next + ": &" + next + " [" + strings.Repeat("*"+c+", ", 9) + "*" + c + "]\n"
	}

	return text
}

// TestWhereInTheFile: what the API refuses is shown with the line of the file that says it.
func TestWhereInTheFile(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.write("spec.yaml", "# what we want\nnetwork:\n  cidr: 10.0.0.0/8\ncompute:\n  environments:\n    - name: a\n    - name: b\n      maxVcpu: 7\nstorge: {}\n")

		r := d.fails(2, "spec.yaml:8, /spec/compute/environments/1/maxVcpu\n", "create", "research", "-f", "spec.yaml")
		if !strings.Contains(r.err, "spec.yaml:9, /spec/storge") {
			d.Errorf("all faults are shown:\n%s", r.err)
		}

		d.write("whole.yaml", "name: research\nspec:\n  storge: {}\n")
		d.fails(2, "where     whole.yaml:3, /spec/storge\n", "create", "-f", "whole.yaml")

		d.write("spec.json", "{\n \"name\": \"research\",\n \"spec\": {\n  \"network\": {\"cidr\": \"10.0.0.0/8\"}\n }\n}")
		d.fails(2, "spec.json:4, /spec/network/cidr", "create", "-f", "spec.json")
		d.fails(2, "where     NAME, /name", "create", "X")
	})
}

// TestWhereInTheArguments: what the API refuses is shown with the flag or the argument that says it, or would.
func TestWhereInTheArguments(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct{ reason, args, says string }{
		"Subnet":   {reason: "what is missing beside --vpc", args: "create research --vpc vpc-1", says: "where     --subnet, /spec/network/existing/subnetIds"},
		"VPC":      {reason: "and the other way round", args: "create research --subnet subnet-1", says: "where     --vpc, /spec/network/existing/vpcId"},
		"Both":     {reason: "both beside --security-group", args: "create research --security-group sg-1", says: "where     --vpc, /spec/network/existing/vpcId"},
		"Given":    {reason: "what is there and wrong", args: "create research --vpc vpc-1 --subnet subnet-1", says: "where     --subnet, /spec/network/existing/subnetIds/0"},
		"Bucket":   {reason: "of which --bucket is two members", args: "create research --bucket X", says: "where     --bucket, /spec/storage/existing/bucket"},
		"TTL":      {reason: "too short", args: "extend research --ttl 10s", says: "where     --ttl, /ttl"},
		"URL":      {reason: "too long", args: "webhooks add https://hooks.example.com/" + strings.Repeat("x", 2048), says: "where     URL, /url"},
		"Kind":     {reason: "misspelt", args: "grants allow bukket x", says: "where     KIND, /kind"},
		"Value":    {reason: "no bucket", args: "grants allow bucket s3://x", says: "where     VALUE, /value"},
		"Withdraw": {reason: "misspelt, in a query", args: "grants withdraw bukket x", says: "where     KIND, kind"},
		"Resource": {reason: "misspelt", args: "skip research vpcs", says: "where     RESOURCE, /resource"},
		"Phase":    {reason: "misspelt", args: "list --phase activ", says: "NEEDS_ATTENTION.\n  where     --phase, filter"},
		"Label":    {reason: "a label without a key", args: "list --label =x --label =y", says: "where     --label, filter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				d.env["METAFLOW_DEPLOYER_TOKEN"] = door.Token("acme", deploy.Admin)
				d.must("create", "research")

				if r := d.run(strings.Fields(tc.args)...); r.code != 2 || !strings.Contains(r.err, tc.says) {
					t.Errorf("%s: exit code %d, want 2 with %q:\n%s", tc.reason, r.code, tc.says, r.err)
				}
			})
		})
	}
}

// TestFlagsOverDefaults: a flag that brings something of the owner's takes out what cannot stand beside it, unless a flag says that, too.
func TestFlagsOverDefaults(t *testing.T) {
	t.Parallel()

	const (
		storage = `"storage":{"dataToolsPrefix":"data-tools","flowsPrefix":"flows","oldVersionsDays":30}`
		network = `"network":{"cidr":"10.20.0.0/16","mode":"public"}`
		compute = `"environments":[{"allocationStrategy":"BEST_FIT_PROGRESSIVE","diskGiB":100,"maxVcpus":64,"name":"default","type":"EC2"}]`
		brought = `"storage":{"dataToolsPrefix":"data-tools","existing":{"bucket":"old"},"flowsPrefix":"flows","oldVersionsDays":30}`
	)

	for name, tc := range map[string]struct{ reason, args, was, want string }{
		"Bucket":   {reason: "a bucket of the owner's keeps its own versions", args: "--bucket b/p", was: storage, want: `"storage":{"dataToolsPrefix":"data-tools","existing":{"bucket":"b","prefix":"p"},"flowsPrefix":"flows"}`},
		"Before":   {reason: "so does one that was brought before", args: "--tag a=b", was: brought, want: `"storage":{"dataToolsPrefix":"data-tools","existing":{"bucket":"old"},"flowsPrefix":"flows"}`},
		"Network":  {reason: "a network is used as it is", args: "--vpc v --subnet s", was: network, want: `"network":{"existing":{"subnetIds":["s"],"vpcId":"v"}}`},
		"Range":    {reason: "what the person says as well is the API's to refuse", args: "--vpc v --subnet s --cidr 10.0.0.0/16", was: network, want: `"network":{"cidr":"10.0.0.0/16","existing":{"subnetIds":["s"],"vpcId":"v"}}`},
		"Type":     {reason: "the owner brings the instances", args: "--type UNMANAGED", was: compute, want: `"environments":[{"name":"default","type":"UNMANAGED"}]`},
		"TypeDisk": {reason: "likewise the API's to refuse", args: "--type UNMANAGED --disk-gib 50", was: compute, want: `"environments":[{"diskGiB":50,"name":"default","type":"UNMANAGED"}]`},
		"Spot":     {reason: "what goes together stays", args: "--type SPOT", was: compute, want: `"environments":[{"allocationStrategy":"BEST_FIT_PROGRESSIVE","diskGiB":100,"maxVcpus":64,"name":"default","type":"SPOT"}]`},
		"Other":    {reason: "nothing is brought", args: "--tag a=b", was: storage, want: storage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				was := tc.was
				if was == compute {
					was = `"compute":{` + compute + `}`
				}

				d.Before = func(r door.Request) (*door.Reply, error) {
					switch r.Method {
					case http.MethodGet:
						return door.Answer(200, `{"name":"research","phase":"ACTIVE","spec":{`+was+`}}`), nil
					case http.MethodPost:
						return door.Answer(200, `{"steps":[]}`), nil
					}

					return door.Answer(202, `{"id":"x"}`), nil
				}

				d.must(append([]string{"update", "research", "--no-wait"}, strings.Fields(tc.args)...)...)
				d.must(append([]string{"plan", "research"}, strings.Fields(tc.args)...)...)

				for _, i := range []int{1, 3} {
					if got := string(d.Requests()[i].Body); !strings.Contains(got, tc.want) {
						t.Errorf("%s:\ngot  %s\nwant %s", tc.reason, got, tc.want)
					}
				}
			})
		})
	}
}

// TestWhatGetPrints is a file for an update and its plan. A create, which would leave most of it out in silence, refuses it.
func TestWhatGetPrints(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.must("create", "research", "--label", "team=data", "--ttl", "72h", "--max-vcpus", "9")
		before := d.must("get", "research").out

		for _, format := range []string{"yaml", "json"} {
			file := "cur." + format
			d.write(file, d.must("get", "research", "-o", format).out)
			d.must("plan", "-f", file)
			d.must("update", "research", "-f", file)
			d.fails(2, file+":", "create", "other", "-f", file)
		}

		same := regexp.MustCompile(`(?m)^(phase|labels|expires .*Z|  .*)`)
		if after := d.must("get", "research").out; strings.Join(same.FindAllString(after, -1), "\n") != strings.Join(same.FindAllString(before, -1), "\n") {
			d.Errorf("nothing was to change:\n%s%s", before, after)
		}

		d.fails(2, "cur.yaml:2: a create takes no tenant", "create", "other", "-f", "cur.yaml")
		d.fails(2, "cur.yaml:2: a create takes no tenant", "plan", "other", "-f", "cur.yaml")

		d.write("more.yaml", "name: research\nspec: {}\nstate: ACTIVE\n")
		d.fails(2, "more.yaml:3: there is no member state", "update", "-f", "more.yaml")
	})
}

// TestWhatADeleteKept: a bucket that stays is named, with the way to be rid of it, which works.
func TestWhatADeleteKept(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.must("create", "research")

		kept := d.must("delete", "research", "--data", "keep").out
		if said := regexp.MustCompile(`(?m)^The bucket \S+ stays\.\nTo purge it later: metaflow-deployer create research, then metaflow-deployer delete research --data purge$`); !said.MatchString(kept) {
			d.Errorf("nothing of the bucket:\n%s", kept)
		}

		if again := d.must("watch", "research", "-o", "json").out; !json.Valid([]byte(again)) {
			d.Errorf("a document is one and nothing else:\n%s", again)
		}

		d.must("create", "research")

		if out := d.must("delete", "research", "--data", "purge").out; strings.Contains(out, "stays") || !strings.Contains(out, "bucket: GONE") {
			d.Errorf("nothing stays:\n%s", out)
		}
	})
}

// TestUpdate: without a file, flags change the present spec, and only the one that was seen.
func TestUpdate(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.Before = func(r door.Request) (*door.Reply, error) {
			if r.Method == http.MethodGet {
				return door.Answer(200, `{"name":"research","phase":"ACTIVE","etag":"\"7\"","labels":{"team":"data"},"spec":{"later":true,"compute":{"environments":[{"name":"a","maxVcpus":4}]}}}`), nil
			}

			return door.Answer(202, `{"id":"x"}`), nil
		}

		d.must("update", "research", "--max-vcpus", "9", "--no-wait")

		last := d.Requests()[1]
		want := `{"spec":{"compute":{"environments":[{"maxVcpus":9,"name":"a"}]},"later":true},"labels":{"team":"data"}}`

		if string(last.Body) != want || last.Method != http.MethodPut || last.Header.Get("If-Match") != `"7"` {
			d.Errorf("%s %s\n%s", last.Method, last.Header, last.Body)
		}

		d.write("spec.yaml", "{}")
		d.must("update", "research", "-f", "spec.yaml", "--no-wait")

		if last := d.Requests()[2]; string(last.Body) != `{"spec":{}}` || last.Header.Get("If-Match") != "" {
			d.Errorf("a file is the whole spec: %s", last.Body)
		}

		for labels, want := range map[string]string{"{}": `{"spec":{},"labels":{}}`, "null": `{"spec":{}}`} {
			d.write("spec.yaml", "spec: {}\nverify: false\nlabels: "+labels)
			d.must("update", "research", "-f", "spec.yaml", "--no-wait")

			if got := string(d.Requests()[len(d.Requests())-1].Body); got != want {
				d.Errorf("labels: %s in a file: got %s, want %s", labels, got, want)
			}
		}
	})
}

// TestAnUpdateDoesNotVerify: what an update cannot do is refused where it is said, and not left undone in silence.
func TestAnUpdateDoesNotVerify(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason, args, says string
		there              bool
		body               string
	}{
		"Update":     {reason: "the file's line", args: "update research -f s.yaml", there: true, says: "s.yaml:2: an update does not verify"},
		"Plan":       {reason: "the plan of an update is one", args: "plan research -f s.yaml", there: true, says: "s.yaml:2: an update does not verify"},
		"PlanFlag":   {reason: "so is it with flags alone", args: "plan research --verify", there: true, says: "--verify: an update does not verify"},
		"Create":     {reason: "a create verifies", args: "plan research -f s.yaml", body: `{"name":"research","verify":true}`},
		"CreateFlag": {reason: "with the flag, too", args: "plan research --verify", body: `{"name":"research","verify":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				d.write("s.yaml", "spec: {}\nverify: true\n")
				d.Before = func(r door.Request) (*door.Reply, error) {
					switch {
					case r.Method != http.MethodGet:
						return door.Answer(200, `{"steps":[]}`), nil
					case tc.there:
						return door.Answer(200, `{"name":"research","phase":"ACTIVE","spec":{}}`), nil
					}

					return door.Answer(404, `{"code":"not_found"}`), nil
				}

				if tc.says == "" {
					d.must(strings.Fields(tc.args)...)

					if got := string(d.Requests()[1].Body); got != tc.body {
						t.Errorf("%s: got %s, want %s", tc.reason, got, tc.body)
					}

					return
				}

				if r := d.fails(2, tc.says, strings.Fields(tc.args)...); !strings.Contains(r.err, "metaflow-deployer verify NAME") {
					t.Errorf("%s: the remedy is missing: %s", tc.reason, r.err)
				}

				for _, r := range d.Requests() {
					if r.Method != http.MethodGet {
						t.Errorf("%s: nothing is to be asked for: %s %s", tc.reason, r.Method, r.Path)
					}
				}
			})
		})
	}
}

// TestPlan asks for the plan of what the same arguments would do.
func TestPlan(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		plan := `{"steps":[{"resource":"vpc","kind":"vpc","action":"ENSURE","change":"CREATE","estimate":"2m0s"},{"resource":"bucket","kind":"bucket","action":"ENSURE","change":"USE","estimate":"3s"}],
			"duration":"2m3s","cost":{"currency":"USD","oneTime":0,"lines":[{"resource":"bucket","what":"storage","monthly":0,"price":0.023,"unit":"GB-month","note":"x"},
				{"resource":"vpc","what":"nothing","monthly":0,"note":"free"}]},
			"quotas":[{"name":"VPCs per Region","used":4,"needs":1,"limit":5},{"name":"Job queues","used":1,"needs":0,"limit":50}],"findings":[{"level":"warning","message":"Four of five VPCs are in use.","pointer":"/spec/network","remedy":"Ask for more."}],"new":1}`
		there := door.Answer(404, `{"code":"not_found"}`)
		d.Before = func(r door.Request) (*door.Reply, error) {
			if r.Method == http.MethodGet {
				return there, nil
			}

			return door.Answer(200, plan), nil
		}

		out := d.must("plan", "research", "--cidr", "10.1.0.0/16").out
		golden(d.T, "plan.txt", out)

		if last := d.Requests()[1]; last.Path != "/v1/deployments:plan" || !strings.Contains(string(last.Body), `"name":"research"`) {
			d.Errorf("%s %s", last.Path, last.Body)
		}

		there = door.Answer(200, `{"name":"research","phase":"ACTIVE","etag":"\"7\"","spec":{}}`)
		d.must("plan", "research", "--cidr", "10.1.0.0/16", "-o", "json")

		if last := d.Requests()[3]; last.Path != "/v1/deployments/research:plan" || strings.Contains(string(last.Body), `"name"`) {
			d.Errorf("%s %s", last.Path, last.Body)
		}

		plan = strings.Replace(plan, "warning", "error", 1)
		if r := d.run("plan", "research"); r.code != 2 {
			d.Errorf("what would be refused is not planned well: %d", r.code)
		}
	})
}

// TestPlanAsATemplate: standard output is the template and nothing else; what is wrong is told beside it.
func TestPlanAsATemplate(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		made := d.must("plan", "research", "--format", "cloudformation")

		var template struct {
			Resources map[string]struct{ Type string }
		}
		if err := json.Unmarshal([]byte(made.out), &template); err != nil || template.Resources["Vpc"].Type != "AWS::EC2::VPC" {
			d.Errorf("%v\n%s", err, made.out)
		}

		if r := d.must("plan", "research", "--format", "cloudformation", "-o", "yaml"); !strings.HasPrefix(r.out, `AWSTemplateFormatVersion: "2010-09-09"`) {
			d.Error(r.out)
		}

		wrong := []string{"plan", "research", "--bucket", "acme-flows"}
		if r := d.fails(d.run(wrong...).code, "error: There is no bucket acme-flows", append(wrong, "--format", "cloudformation")...); r.code == 0 || !json.Valid([]byte(r.out)) {
			d.Errorf("a create would be refused: exit code %d\n%s", r.code, r.out)
		}

		d.must("create", "research")

		if r := d.must("plan", "research", "--format", "cloudformation", "--max-vcpus", "9"); !strings.Contains(r.out, `"MaxvCpus": 9`) {
			d.Errorf("an update's plan is one, too:\n%s", r.out)
		}

		d.fails(2, "it is plan or cloudformation", "plan", "research", "--format", "terraform")
	})
}

// TestDeleteAsks: a person is asked what becomes of the data, a pipe is not.
func TestDeleteAsks(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason, typed, args string
		asks                bool
		query               string
	}{
		"Keep":    {reason: "the person chooses", typed: "keep\n", asks: true, query: "data=keep"},
		"Purge":   {reason: "likewise", typed: "purge\n", asks: true, query: "data=purge"},
		"Neither": {reason: "anything else stops", typed: "yes\n", asks: true},
		"Nothing": {reason: "so does the end of the input", asks: true},
		"Data":    {reason: "the choice was made", args: "--data purge", asks: true, query: "data=purge"},
		"Yes":     {reason: "the bucket stays", args: "--yes", asks: true, query: "-"},
		"Piped":   {reason: "nobody can be asked", query: "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				d.asks, d.in = tc.asks, strings.NewReader(tc.typed)
				d.Before = func(door.Request) (*door.Reply, error) { return door.Answer(202, `{"id":"x"}`), nil }

				r := d.run(append([]string{"delete", "research", "--no-wait"}, strings.Fields(tc.args)...)...)

				if asked := strings.Contains(r.err, "[keep/purge"); asked != (tc.asks && tc.args == "") {
					t.Errorf("%s: asked: %t", tc.reason, asked)
				}

				if tc.query == "" {
					if r.code != 2 || len(d.Requests()) != 0 {
						t.Errorf("%s: exit code %d, %d requests", tc.reason, r.code, len(d.Requests()))
					}

					return
				}

				if got := d.Requests()[0]; got.Method != http.MethodDelete || got.Query != strings.TrimPrefix(tc.query, "-") {
					t.Errorf("%s: %s %s", tc.reason, got.Method, got.Query)
				}
			})
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.fails(4, "There is no deployment research", "config", "research")
		d.must("create", "research", "--no-wait")
		d.fails(6, "it has a configuration once it is ACTIVE", "config", "research")
		d.must("watch", "research")

		printed := d.must("config", "research").out
		if !strings.HasPrefix(printed, "{\n    \"METAFLOW_BATCH_JOB_QUEUE\"") {
			d.Error(printed)
		}

		if env := d.must("config", "research", "--format", "env").out; !strings.Contains(env, "export AWS_DEFAULT_REGION='us-east-1'\n") {
			d.Error(env)
		}

		path := filepath.Join(d.home, ".metaflowconfig", "config_lab.json")

		r := d.must("config", "install", "research", "--profile", "lab")
		if r.out != "export METAFLOW_PROFILE=lab\nexport AWS_DEFAULT_REGION=us-east-1\n" || !strings.Contains(r.err, path) {
			d.Errorf("%s%s", r.out, r.err)
		}

		check := func() {
			d.Helper()

			text, err := os.ReadFile(path)
			if err != nil || string(text) != printed {
				d.Errorf("the profile is the configuration, byte for byte: %v\n%s", err, text)
			}

			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				d.Errorf("the profile is its owner's alone: %v %v", info, err)
			}

			if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
				d.Errorf("nothing half-done stays: %v %v", files, err)
			}
		}
		check()

		if err := os.Chmod(path, 0o644); err != nil {
			d.Fatal(err)
		}

		d.must("config", "install", "research", "--profile", "lab")
		check()

		d.write(".metaflowconfig/config_lab.json", `["an array, which Metaflow itself breaks on"]`)
		d.fails(6, "--force", "config", "install", "research", "--profile", "lab")

		if text, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), "[") {
			d.Errorf("what is there stays: %v %s", err, text)
		}

		d.must("config", "install", "research", "--profile", "lab", "--force")
		check()

		d.fails(2, "profile's name", "config", "install", "research", "--profile", "../lab")

		// What goes before the profile is said.
		d.env["METAFLOW_HOME"] = "~/elsewhere"
		d.env["METAFLOW_DEFAULT_DATASTORE"] = "local"
		d.write(".metaflow/config.json", `{"METAFLOW_DEFAULT_METADATA": "service"}`)

		r = d.must("config", "install", "research")
		if !strings.Contains(r.err, "METAFLOW_DEFAULT_DATASTORE is set in this shell") || !strings.Contains(r.err, "sets METAFLOW_DEFAULT_METADATA") || strings.Contains(r.err, "SYSROOT") {
			d.Error(r.err)
		}

		if _, err := os.Stat(filepath.Join(d.home, "elsewhere", "config_research.json")); err != nil {
			d.Error(err)
		}

		for reason, body := range map[string]string{
			"an array": `[]`, "no text": `{"METAFLOW_A": 1}`, "nothing": `{}`, "a foreign key": `{"AWS_SECRET_ACCESS_KEY": "x"}`, "no JSON": `<html>`,
		} {
			d.Before = func(r door.Request) (*door.Reply, error) {
				if strings.HasSuffix(r.Path, "/configuration") {
					return door.Answer(200, body), nil
				}

				return nil, nil //nolint:nilnil // let it through
			}

			if r := d.run("config", "install", "research", "--force"); r.code != 1 || !strings.Contains(r.err, "no configuration of Metaflow's") {
				d.Errorf("%s: %d %s", reason, r.code, r.err)
			}
		}

		d.Before = nil
		d.must("delete", "research", "--yes")
	})
}

// TestAllowances: webhooks and grants come, are listed, and go.
func TestAllowances(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		if out := d.must("webhooks", "add", "https://hooks.example.com/a").out; !strings.Contains(out, "whsec_") {
			d.Errorf("the secret is shown once: %s", out)
		}

		list := d.must("webhooks").out
		if !strings.Contains(list, "https://hooks.example.com/a") || strings.Contains(list, "whsec_") {
			d.Errorf("the list: %s", list)
		}

		fields := strings.Fields(strings.Split(list, "\n")[1])
		d.must("webhooks", "remove", fields[0])

		if out := d.must("webhooks").out; !strings.Contains(out, "There are no webhooks.") {
			d.Error(out)
		}

		d.env["METAFLOW_DEPLOYER_TOKEN"] = door.Token("acme", deploy.Admin)
		d.must("grants", "allow", "bucket", "acme-flows")

		if out := d.must("grants").out; !strings.Contains(out, "acme-flows") {
			d.Error(out)
		}

		d.fails(2, "/value", "grants", "allow", "bucket", "s3://x")
		d.must("grants", "withdraw", "bucket", "acme-flows")
		d.fails(4, "There is no grant", "grants", "withdraw", "bucket", "acme-flows")
	})
}

func TestExtend(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.Before = func(door.Request) (*door.Reply, error) {
			return door.Answer(200, `{"name":"research","phase":"ACTIVE","expireTime":"2000-01-04T00:00:00Z","createTime":"2000-01-01T00:00:00Z","updateTime":"2000-01-01T00:00:00Z"}`), nil
		}

		if out := d.must("extend", "research", "--ttl", "72h").out; !strings.Contains(out, "expires    2000-01-04 00:00:00Z (in 3d0h)") {
			d.Error(out)
		}

		if r := d.Requests()[0]; r.Path != "/v1/deployments/research:extend" || string(r.Body) != `{"ttl":"72h"}` {
			d.Errorf("%s %s", r.Path, r.Body)
		}
	})
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.must("create", "research", "--no-wait")

		if out := d.must("__complete", "get", "").out; !strings.HasPrefix(out, "research\tCREATING\n") {
			d.Error(out)
		}

		d.env["METAFLOW_DEPLOYER_TOKEN"] = ""
		if out := d.must("__complete", "get", "").out; !strings.HasPrefix(out, ":4\n") {
			d.Errorf("without credentials there is nothing to say: %s", out)
		}

		for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
			if out := d.must("completion", shell).out; !strings.Contains(out, "metaflow-deployer") {
				d.Error(out)
			}
		}

		d.env["METAFLOW_DEPLOYER_TOKEN"] = door.Token("acme", deploy.Deployer)
		d.must("watch", "research")
	})
}

// TestTheDaysAfter changes a deployment, loses a piece of it by hand, finds that out and brings it back, all against the API itself.
func TestTheDaysAfter(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.must("create", "research", "--ttl", "72h")

		if out := d.must("get", "research").out; !strings.Contains(out, "expires    2000-01-04 00:00:00Z (in 2d23h)") {
			d.Error(out)
		}

		if out := d.must("update", "research", "--max-vcpus", "9").out; !strings.Contains(out, "update research: SUCCEEDED") {
			d.Error(out)
		}

		if out := d.must("get", "research").out; !strings.Contains(out, "maxVcpus: 9") {
			d.Error(out)
		}

		d.fails(2, "--ttl, /ttl", "update", "research", "--ttl", "P3D")

		if out := d.must("extend", "research", "--ttl", "30d").out; !strings.Contains(out, "(in 30d0h)") {
			d.Error(out)
		}

		if out := d.must("drift", "research").out; !strings.HasSuffix(out, "There is no drift.\n") {
			d.Error(out)
		}

		var resources []struct{ Ref, ID string }
		if err := json.Unmarshal([]byte(d.must("get", "research", "--resources", "-o", "json").out), &resources); err != nil {
			d.Fatal(err)
		}

		for _, r := range resources {
			if r.Ref == "vpc-endpoint" {
				d.World.AWS.Vanish("ec2 " + r.ID)
			}
		}

		if r := d.run("drift", "research"); r.code != 8 || !strings.Contains(r.out, "vpc-endpoint") || !strings.Contains(r.out, "absent") || !strings.Contains(r.out, "metaflow-deployer repair research") {
			d.Errorf("%d\n%s%s", r.code, r.out, r.err)
		}

		if out := d.must("repair", "research").out; !strings.Contains(out, "repair research: SUCCEEDED") {
			d.Error(out)
		}

		if r := d.run("drift", "research", "-o", "json"); r.code != 0 {
			d.Errorf("%d\n%s%s", r.code, r.out, r.err)
		}

		trail := d.must("audit", "--deployment", "research").out
		for _, line := range []string{"REPAIR", "UPDATE", "extend", "CREATE", "someone@acme"} {
			if !strings.Contains(trail, line) {
				d.Errorf("no %s:\n%s", line, trail)
			}
		}

		d.must("delete", "research", "--data", "purge")
	})
}
