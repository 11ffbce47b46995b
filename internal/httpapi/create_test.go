package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

func TestCreate(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	a := w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a","labels":{"team":"data"}}`).want(http.StatusAccepted)
	id := a.text("id")

	if got, want := a.header.Get("Location"), "/v1/operations/"+id; got != want {
		t.Errorf("Location %s, want %s", got, want)
	}

	want := map[string]any{
		"id": id, "deployment": "team-a", "kind": "CREATE", "state": "PENDING", "done": false, "version": 2.0,
		"progress": map[string]any{"done": 0.0, "total": 0.0}, "steps": []any{}, "createTime": "2026-03-01T12:00:00Z",
	}
	if diff := cmp.Diff(want, a.json()); diff != "" {
		t.Error(diff)
	}

	record := load(t, w.store, "team-a")
	if diff := cmp.Diff(deploy.Spec{}.WithDefaults(), record.Deployment.Spec); diff != "" {
		t.Errorf("the default environment: %s", diff)
	}

	if d := record.Deployment; d.Owner != "someone@acme" || d.Labels["team"] != "data" || d.Account != "123456789012" || d.Region != "us-east-1" {
		t.Errorf("header: %+v", d)
	}

	if diff := cmp.Diff([]workflow.Execution{{Installation: "test", Tenant: "acme", Deployment: "team-a", Operation: id, Epoch: 1}}, w.starter.started); diff != "" {
		t.Error(diff)
	}
}

func TestCreateUnderIAM(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	a := w.do(http.MethodPost, "/iam/v1/deployments", `{"name":"team-a"}`).want(http.StatusAccepted)
	location := a.header.Get("Location")

	if location != "/iam/v1/operations/"+a.text("id") {
		t.Errorf("Location %s leaves the base that the caller used", location)
	}

	w.do(http.MethodGet, location, "").want(http.StatusOK)
	w.do(http.MethodGet, strings.TrimPrefix(location, "/iam"), "").want(http.StatusOK)

	again := w.do(http.MethodPost, "/iam/v1/deployments", `{"name":"team-a"}`).want(http.StatusConflict, "already_exists")
	if again.text("operation") != location || again.header.Get("Location") != location || again.text("instance") != "/iam/v1/deployments" {
		t.Errorf("links leave the base: %s", again.body)
	}

	for _, path := range []string{"/iam/openapi.json", "/iam/docs", "/iam/healthz", "/iam/iam/v1/kinds", "/iam/v1", "/iamv1/kinds"} {
		w.do(http.MethodGet, path, "").want(http.StatusNotFound, "no_such_route")
	}
}

// What a create stores must be what was asked for, with defaults where nothing was said and only there.
func TestCreateFillsNoDefaultsIntoContradictions(t *testing.T) {
	t.Parallel()

	tests := map[string]struct{ reason, spec string }{
		"Unmanaged":       {"maxVcpus has a default, which an unmanaged environment must not get", `{"compute":{"environments":[{"name":"m"},{"name":"u","type":"UNMANAGED"}]}}`},
		"ExistingQueue":   {"priority has a default", `{"compute":{"queues":[{"name":"q","existing":{"arn":"arn:aws:batch:us-east-1:123456789012:job-queue/q"}}]}}`},
		"ExistingNetwork": {"mode and cidr have defaults", `{"network":{"existing":{"vpcId":"vpc-0a1b2c3d","subnetIds":["subnet-0a1b2c3d"]}}}`},
		"ExistingBucket":  {"oldVersionsDays has a default", `{"storage":{"existing":{"bucket":"lake"}}}`},
		"Null":            {"null is left out", `{"storage":{"existing":null,"flowsPrefix":null},"network":null,"tags":null}`},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.create(`{"name":"team-a","spec":` + tc.spec + `}`)

			var spec deploy.Spec
			if err := json.Unmarshal([]byte(tc.spec), &spec); err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(spec.WithDefaults(), load(t, w.store, "team-a").Deployment.Spec); diff != "" {
				t.Errorf("%s: %s", tc.reason, diff)
			}
		})
	}
}

func TestCreateExists(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id := w.create(`{"name":"team-a"}`)

	a := w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`).want(http.StatusConflict, "already_exists")
	if a.text("operation") != "/v1/operations/"+id || a.header.Get("Location") != "/v1/operations/"+id {
		t.Errorf("no link to what exists: %v %s", a.header, a.body)
	}

	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`, "X-Test-Who", "other deployer").want(http.StatusAccepted)
	w.run("team-a")
	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`).want(http.StatusConflict, "already_exists")
	w.remove("team-a")
	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`).want(http.StatusAccepted)
}

func TestCreateRefusedByKinds(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.role.findings = []deploy.Finding{
		{Level: deploy.LevelWarning, Class: deploy.Invalid, Code: "only_a_warning", Message: "Mind.", Remedy: "Nothing."},
		{Level: deploy.LevelError, Class: deploy.Denied, Code: "existing_not_allowed", Pointer: "/spec/access/existing/jobRoleArn", Message: "No.", Remedy: "Tag it."},
		{Level: deploy.LevelError, Class: deploy.Quota, Code: "quota_exceeded", Pointer: "/spec/network", Message: "Full.", Remedy: "Raise it."},
	}

	a := w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`, "Idempotency-Key", "k1").want(http.StatusForbidden, "existing_not_allowed", "/spec/access/existing/jobRoleArn")
	if n := len(a.json()["errors"].([]any)); n != 2 {
		t.Errorf("%d errors, want the two findings that refuse: %s", n, a.body)
	}

	w.role.findings = w.role.findings[2:]
	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`, "Idempotency-Key", "k1").want(http.StatusConflict, "quota_exceeded", "/spec/network")

	if len(w.starter.started) > 0 {
		t.Error("something was started")
	}

	w.role.findings = nil
	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`, "Idempotency-Key", "k1").want(http.StatusAccepted)
}

func TestIdempotency(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	first := w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a","labels":{"a":"1","b":"2"}}`, "Idempotency-Key", "k1").want(http.StatusAccepted)

	same := func(a answer) {
		t.Helper()

		if !bytes.Equal(first.body, a.want(http.StatusAccepted).body) || first.header.Get("Location") != a.header.Get("Location") {
			t.Errorf("another answer:\n%s\n%s", first.body, a.body)
		}
	}

	same(w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a","labels":{"a":"1","b":"2"}}`, "Idempotency-Key", "k1"))
	same(w.do(http.MethodPost, "/v1/deployments", "{ \"labels\": {\"b\":\"2\",\"a\":\"1\"},\n\"name\":\"team-a\"}", "Idempotency-Key", "k1"))
	w.run("team-a")
	same(w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a","labels":{"a":"1","b":"2"}}`, "Idempotency-Key", "k1"))

	iam := w.do(http.MethodPost, "/iam/v1/deployments", `{"name":"team-a","labels":{"a":"1","b":"2"}}`, "Idempotency-Key", "k1").want(http.StatusAccepted)
	if !bytes.Equal(first.body, iam.body) || iam.header.Get("Location") != "/iam"+first.header.Get("Location") {
		t.Error("the same request under /iam answers something else")
	}

	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-b"}`, "Idempotency-Key", "k1").want(http.StatusUnprocessableEntity, "idempotency_key_reused", "Idempotency-Key")
	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-b"}`, "Idempotency-Key", "k1", "X-Test-Who", "other deployer").want(http.StatusAccepted)
	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`, "Idempotency-Key", "k2").want(http.StatusConflict, "already_exists")

	for _, key := range []string{"two words", "k\x7f", "kéy", strings.Repeat("k", 256)} {
		w.do(http.MethodPost, "/v1/deployments", `{"name":"team-c"}`, "Idempotency-Key", key).want(http.StatusUnprocessableEntity, "invalid_idempotency_key", "Idempotency-Key")
	}

	w.do(http.MethodPost, "/v1/deployments", `{"name":"X"}`, "Idempotency-Key", "k3").want(http.StatusUnprocessableEntity, "invalid_name")
	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-c"}`, "Idempotency-Key", "k3").want(http.StatusAccepted)
}

func TestParallelCreates(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	answers := parallel(50, func(i int) answer {
		return w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`, "Idempotency-Key", fmt.Sprintf("k%d", i))
	})

	byStatus := map[int]int{}
	for _, a := range answers {
		byStatus[a.status]++
	}

	if diff := cmp.Diff(map[int]int{http.StatusAccepted: 1, http.StatusConflict: 49}, byStatus); diff != "" {
		t.Fatal(diff)
	}

	id := load(t, w.store, "team-a").Operation.ID

	for _, a := range answers {
		if a.header.Get("Location") != "/v1/operations/"+id {
			t.Errorf("does not point to the winner: %s", a.body)
		}
	}

	if len(w.starter.started) != 1 {
		t.Errorf("%d executions", len(w.starter.started))
	}
}

func TestParallelSameKey(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	answers := parallel(20, func(int) answer {
		return w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`, "Idempotency-Key", "k")
	})

	var body []byte

	for _, a := range answers {
		switch a.status {
		case http.StatusAccepted:
			if body == nil {
				body = a.body
			}

			if !bytes.Equal(body, a.body) {
				t.Errorf("two answers:\n%s\n%s", body, a.body)
			}
		default:
			a.want(http.StatusConflict, "request_in_progress")

			if a.header.Get("Retry-After") == "" || a.field("retryable") != true {
				t.Errorf("does not say when to come again: %s", a.body)
			}
		}
	}

	if len(w.starter.started) != 1 || body == nil {
		t.Errorf("%d executions", len(w.starter.started))
	}
}

func parallel(n int, do func(i int) answer) []answer {
	var wait sync.WaitGroup

	answers := make([]answer, n)
	for i := range n {
		wait.Go(func() { answers[i] = do(i) })
	}

	wait.Wait()

	return answers
}

func TestBadBody(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	tests := map[string]struct {
		reason, body, media string
		status              int
		code, at            string
	}{
		"Nothing":    {reason: "a body is needed", body: "", status: 400, code: "invalid_json"},
		"Broken":     {reason: "no JSON", body: `{"name":`, status: 400, code: "invalid_json"},
		"Trailing":   {reason: "two values", body: `{"name":"team-a"}{}`, status: 400, code: "invalid_json"},
		"Comment":    {reason: "not JSON either", body: `{"name":"team-a"/**/}`, status: 400, code: "invalid_json"},
		"Twice":      {reason: "parsers differ in which one counts", body: `{"name":"team-a","name":"team-b"}`, status: 400, code: "invalid_json", at: "/name"},
		"TwiceDeep":  {reason: "at any depth, and however it is written", body: `{"name":"team-a","labels":{"k":"1","\u006b":"2"}}`, status: 400, code: "invalid_json", at: "/labels/k"},
		"UTF8":       {reason: "bytes that are no text", body: "{\"name\":\"team\xff\"}", status: 400, code: "invalid_json"},
		"BOM":        {reason: "RFC 8259 forbids it", body: "\ufeff{}", status: 400, code: "invalid_json"},
		"Deep":       {reason: "11 levels", body: `{"spec":` + strings.Repeat("[", 10) + strings.Repeat("]", 10) + `}`, status: 400, code: "invalid_json"},
		"VeryDeep":   {reason: "no stack to exhaust", body: strings.Repeat("[", 30000) + strings.Repeat("]", 30000), status: 400, code: "invalid_json"},
		"NotTooDeep": {reason: "10 levels are the schema's business", body: `{"name":"team-a","x":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`, status: 422, code: "unknown_member"},
		"Large":      {reason: "more than 64 KiB", body: `{"name":"` + strings.Repeat("a", 64<<10) + `"}`, status: 413, code: "body_too_large"},
		"Spaces":     {reason: "white space counts too", body: `{"name":"team-a"` + strings.Repeat(" ", 64<<10) + `}`, status: 413, code: "body_too_large"},
		"Array":      {reason: "an object is asked for", body: `[]`, status: 422, code: "invalid_value"},
		"Null":       {reason: "likewise", body: `null`, status: 422, code: "invalid_value"},
		"String":     {reason: "likewise", body: `"team-a"`, status: 422, code: "invalid_value"},
		"Form":       {reason: "not declared as JSON", body: `name=team-a`, media: "application/x-www-form-urlencoded", status: 415, code: "unsupported_media_type"},
		"YAML":       {reason: "likewise", body: `{"name":"team-a"}`, media: "application/yaml", status: 415, code: "unsupported_media_type"},
		"Patch":      {reason: "JSON with another meaning", body: `{"name":"team-a"}`, media: "application/merge-patch+json", status: 415, code: "unsupported_media_type"},
		"BadMedia":   {reason: "no media type", body: `{"name":"team-a"}`, media: "json;;", status: 415, code: "unsupported_media_type"},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := *w
			w.t = t

			header := []string{}
			if tc.media != "" {
				header = []string{"Content-Type", tc.media}
			}

			t.Log(tc.reason)
			a := w.do(http.MethodPost, "/v1/deployments", tc.body, header...).want(tc.status, tc.code)
			if tc.at != "" && a.text("pointer") != tc.at {
				t.Errorf("at %v, want %s", a.field("pointer"), tc.at)
			}
		})
	}

	if len(w.starter.started) > 0 {
		t.Error("something was started")
	}
}

func TestGoodMedia(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(`{"name":"team-a"}`, "Content-Type", "application/json; charset=utf-8")
	w.create(`{"name":"team-b"}`, "Content-Type", "Application/JSON")
	w.create(`{"name":"team-c"}`)
}

func TestBadInput(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	env := func(members string) string {
		return `{"name":"team-a","spec":{"compute":{"environments":[{"name":"a",` + members + `}]}}}`
	}

	tests := map[string]struct {
		reason, body, code, at string
	}{
		"NoName":        {"the one member that is needed", `{}`, "missing_member", "/name"},
		"NameNull":      {"null is no name", `{"name":null}`, "missing_member", "/name"},
		"NameEmpty":     {"nor is nothing", `{"name":""}`, "invalid_value", "/name"},
		"NameNumber":    {"nor is a number", `{"name":7}`, "invalid_value", "/name"},
		"NameBad":       {"the rule of names", `{"name":"../../etc"}`, "invalid_name", "/name"},
		"NameASL":       {"no JSONPath", `{"name":"$.x"}`, "invalid_name", "/name"},
		"NameIntrinsic": {"no intrinsic function", `{"name":"States.Format('{}')"}`, "invalid_name", "/name"},
		"NameHuge":      {"a long one is not even looked at", `{"name":"` + strings.Repeat("a", 1000) + `"}`, "invalid_value", "/name"},
		"Unknown":       {"unknown members are refused", `{"name":"team-a","colour":"red"}`, "unknown_member", "/colour"},
		"UnknownCase":   {"members are exact", `{"name":"team-a","Spec":{}}`, "unknown_member", "/Spec"},
		"UnknownDeep":   {"at any depth", env(`"maxVCPUs":3`), "unknown_member", "/spec/compute/environments/0/maxVCPUs"},
		"UnknownKey":    {"however it is spelt", `{"name":"team-a","a/b~c":1}`, "unknown_member", "/a~1b~0c"},
		"Tenant":        {"a tenant in a body is never believed", `{"name":"team-a","tenant":"other"}`, "unknown_member", "/tenant"},
		"Phase":         {"nobody sets what the service sets", `{"name":"team-a","phase":"ACTIVE"}`, "unknown_member", "/phase"},
		"SpecArray":     {"an object belongs there", `{"name":"team-a","spec":[]}`, "invalid_value", "/spec"},
		"VcpusText":     {"a number belongs there", env(`"maxVcpus":"64"`), "invalid_value", "/spec/compute/environments/0/maxVcpus"},
		"VcpusFraction": {"a whole one", env(`"maxVcpus":1.5`), "invalid_value", "/spec/compute/environments/0/maxVcpus"},
		"VcpusExponent": {"plainly written", env(`"maxVcpus":1e3`), "invalid_value", "/spec/compute/environments/0/maxVcpus"},
		"VcpusHuge":     {"that fits", env(`"maxVcpus":99999999999999999999`), "invalid_value", "/spec/compute/environments/0/maxVcpus"},
		"VcpusZero":     {"at least 1", env(`"maxVcpus":0`), "invalid_value", "/spec/compute/environments/0/maxVcpus"},
		"VcpusMany":     {"at most 10000", env(`"maxVcpus":10001`), "invalid_value", "/spec/compute/environments/0/maxVcpus"},
		"VcpusOrder":    {"min above max", env(`"minVcpus":9,"maxVcpus":8`), "invalid_vcpus", "/spec/compute/environments/0/minVcpus"},
		"Disk":          {"at least what the image needs", env(`"diskGiB":8`), "invalid_value", "/spec/compute/environments/0/diskGiB"},
		"Type":          {"one of those on offer", env(`"type":"LAMBDA"`), "invalid_value", "/spec/compute/environments/0/type"},
		"TypeSpot":      {"not yet", env(`"type":"SPOT"`), "not_offered_yet", "/spec/compute/environments/0/type"},
		"TypeFargate":   {"not yet", env(`"type":"FARGATE"`), "not_offered_yet", "/spec/compute/environments/0/type"},
		"GPU":           {"not yet", env(`"gpu":true`), "not_offered_yet", "/spec/compute/environments/0/gpu"},
		"Image":         {"not yet", env(`"imageId":"ami-1"`), "not_offered_yet", "/spec/compute/environments/0/imageId"},
		"BestFit":       {"never", env(`"allocationStrategy":"BEST_FIT"`), "not_offered", "/spec/compute/environments/0/allocationStrategy"},
		"Strategy":      {"one of those on offer", env(`"allocationStrategy":"RANDOM"`), "invalid_value", "/spec/compute/environments/0/allocationStrategy"},
		"InstanceType":  {"the shape of one", env(`"instanceTypes":["m5 large"]`), "invalid_instance_type", "/spec/compute/environments/0/instanceTypes/0"},
		"InstanceNull":  {"null in a list is nothing", env(`"instanceTypes":[null]`), "invalid_value", "/spec/compute/environments/0/instanceTypes/0"},
		"TTL":           {"no duration", `{"name":"team-a","ttl":"soon"}`, "invalid_ttl", "/ttl"},
		"TTLShort":      {"it would expire while it is built", `{"name":"team-a","ttl":"5m"}`, "invalid_ttl", "/ttl"},
		"TTLNumber":     {"a number has no unit", `{"name":"team-a","ttl":72}`, "invalid_value", "/ttl"},
		"Verify":        {"yes or no", `{"name":"team-a","verify":"yes"}`, "invalid_value", "/verify"},
		"Metadata":      {"not yet", `{"name":"team-a","spec":{"metadata":{"enabled":true}}}`, "not_offered_yet", "/spec/metadata"},
		"Scheduling":    {"not yet", `{"name":"team-a","spec":{"scheduling":{"enabled":false}}}`, "not_offered_yet", "/spec/scheduling"},
		"Private":       {"not yet", `{"name":"team-a","spec":{"network":{"mode":"private"}}}`, "not_offered_yet", "/spec/network/mode"},
		"Mode":          {"one of those on offer", `{"name":"team-a","spec":{"network":{"mode":"open"}}}`, "invalid_value", "/spec/network/mode"},
		"CIDR":          {"host bits", `{"name":"team-a","spec":{"network":{"cidr":"10.20.30.40/16"}}}`, "invalid_cidr", "/spec/network/cidr"},
		"CIDREmpty":     {"nothing is not the default", `{"name":"team-a","spec":{"network":{"cidr":""}}}`, "invalid_value", "/spec/network/cidr"},
		"Zones":         {"two or three", `{"name":"team-a","spec":{"network":{"zones":[]}}}`, "invalid_zones", "/spec/network/zones"},
		"NoVPC":         {"an existing network has a VPC", `{"name":"team-a","spec":{"network":{"existing":{"subnetIds":["subnet-0a1b2c3d"]}}}}`, "missing_member", "/spec/network/existing/vpcId"},
		"NoSubnets":     {"and subnets", `{"name":"team-a","spec":{"network":{"existing":{"vpcId":"vpc-0a1b2c3d","subnetIds":[]}}}}`, "invalid_value", "/spec/network/existing/subnetIds"},
		"Prefix":        {"no way out of the bucket", `{"name":"team-a","spec":{"storage":{"flowsPrefix":"../x"}}}`, "invalid_prefix", "/spec/storage/flowsPrefix"},
		"Days":          {"at least one", `{"name":"team-a","spec":{"storage":{"oldVersionsDays":0}}}`, "invalid_value", "/spec/storage/oldVersionsDays"},
		"Role":          {"an ARN", `{"name":"team-a","spec":{"access":{"existing":{"jobRoleArn":"admin"}}}}`, "invalid_arn", "/spec/access/existing/jobRoleArn"},
		"FourInQueue":   {"three at most", `{"name":"team-a","spec":{"compute":{"environments":[{"name":"a"}],"queues":[{"name":"q","environments":["a","b","c","d"]}]}}}`, "invalid_value", "/spec/compute/queues/0/environments"},
		"ManyQueues":    {"ten at most", `{"name":"team-a","spec":{"compute":{"queues":[{},{},{},{},{},{},{},{},{},{},{}]}}}`, "invalid_value", "/spec/compute/queues"},
		"Unmanaged":     {"not alone", env(`"type":"UNMANAGED"`), "unmanaged_first", "/spec/compute/environments/0"},
		"TagNumber":     {"tags are text", `{"name":"team-a","spec":{"tags":{"a.b":1}}}`, "invalid_value", "/spec/tags/a.b"},
		"TagReserved":   {"ours", `{"name":"team-a","spec":{"tags":{"metaflow-deployer:tenant":"x"}}}`, "reserved_tag", "/spec/tags/metaflow-deployer:tenant"},
		"LabelNull":     {"labels are text", `{"name":"team-a","labels":{"a":null}}`, "invalid_value", "/labels/a"},
		"LabelBad":      {"the rule of labels", `{"name":"team-a","labels":{"A B":"x"}}`, "invalid_label", "/labels/A B"},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := *w
			w.t = t

			t.Log(tc.reason)
			w.do(http.MethodPost, "/v1/deployments", tc.body).want(http.StatusUnprocessableEntity, tc.code, tc.at)
		})
	}

	t.Run("Several", func(t *testing.T) {
		t.Parallel()

		w := *w
		w.t = t

		a := w.do(http.MethodPost, "/v1/deployments", `{"name":"X","spec":{"network":{"cidr":"x"}}}`).want(http.StatusUnprocessableEntity, "invalid_name", "/name")
		if a.field("errors.0.pointer") != "/name" || a.field("errors.1.pointer") != "/spec/network/cidr" {
			t.Errorf("all findings belong into the answer: %s", a.body)
		}
	})
}

// A lost answer of the store after the write must not end in a second operation: the claim stands, and the retry gets the first answer.
func TestCreateLostAnswer(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.store.Fault = fault("Commit", nil, errors.New("connection reset by peer at store.go:1"))

	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`, "Idempotency-Key", "k").want(http.StatusServiceUnavailable)

	w.store.Fault = nil
	id := w.create(`{"name":"team-a"}`, "Idempotency-Key", "k")

	if got := load(t, w.store, "team-a").Operation.ID; got != id {
		t.Errorf("operation %s answered, %s stored", id, got)
	}
}
