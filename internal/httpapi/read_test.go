package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/httpapi"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()

	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func fault(method string, before, lost error) func(context.Context, string, deploy.Key) memory.Fault {
	return func(_ context.Context, m string, _ deploy.Key) memory.Fault {
		if m == method {
			return memory.Fault{Before: before, Lost: lost}
		}

		return memory.Fault{}
	}
}

func TestGet(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id := w.create(`{"name":"team-a","labels":{"team":"data"}}`)

	a := w.do(http.MethodGet, "/v1/deployments/team-a", "").want(http.StatusOK)
	if a.text("phase") != "CREATING" || a.text("operation") != id || a.text("etag") != a.header.Get("ETag") || a.text("tenant") != "acme" ||
		a.text("owner") != "someone@acme" || a.text("labels.team") != "data" || a.text("spec.network.cidr") != "10.20.0.0/16" {
		t.Errorf("view: %s", a.body)
	}

	e := w.begin(deploy.Key{Tenant: "acme", Name: "team-a"})

	live := w.do(http.MethodGet, "/v1/deployments/team-a", "", "If-None-Match", "*").want(http.StatusOK)
	if live.field("resources.total") != 3.0 || live.field("resources.ready") != 0.0 {
		t.Errorf("counts at the start: %s", live.body)
	}

	w.work(e, workflow.VerbEnsure)

	live = w.do(http.MethodGet, "/v1/deployments/team-a", "").want(http.StatusOK)
	if live.field("resources.ready") != 3.0 || live.field("phase") != "CREATING" {
		t.Errorf("counts while it runs: %s", live.body)
	}

	w.run("team-a")

	done := w.do(http.MethodGet, "/v1/deployments/team-a", "").want(http.StatusOK)
	if done.text("phase") != "ACTIVE" || done.field("resources.ready") != 3.0 || done.text("etag") == a.text("etag") {
		t.Errorf("when it is done: %s", done.body)
	}

	etag := done.header.Get("ETag")
	w.do(http.MethodGet, "/v1/deployments/team-a", "", "If-None-Match", etag).want(http.StatusNotModified)
	w.do(http.MethodGet, "/v1/deployments/team-a", "", "If-None-Match", `"x", W/`+etag).want(http.StatusNotModified)
	w.do(http.MethodGet, "/v1/deployments/team-a", "", "If-None-Match", `"x"`).want(http.StatusOK)

	w.remove("team-a")
	w.do(http.MethodGet, "/v1/deployments/team-a", "").want(http.StatusNotFound, "not_found")

	gone := w.do(http.MethodGet, "/v1/deployments/team-a?showDeleted=true", "").want(http.StatusOK)
	if gone.text("phase") != "DELETED" || gone.field("resources.total") != 1.0 {
		t.Errorf("deleted, with the bucket kept: %s", gone.body)
	}
}

// Foreign, unknown, malformed: one answer but for the name that the caller gave, on every route that names something. What is foreign is answered byte for
// byte as where it is not.
func TestForeignIsUnknown(t *testing.T) {
	t.Parallel()

	w, without := newWorld(t), newWorld(t)
	id := w.create(`{"name":"team-a"}`)
	w.run("team-a")

	ulid := id[strings.LastIndexByte(id, '-')+1:]

	for _, route := range []struct{ method, path string }{
		{http.MethodGet, "/v1/deployments/%s"},
		{http.MethodDelete, "/v1/deployments/%s"},
		{http.MethodGet, "/v1/deployments/%s/configuration"},
		{http.MethodGet, "/v1/deployments/%s/resources"},
		{http.MethodGet, "/v1/operations?deployment=%s"},
		{http.MethodGet, "/v1/operations/%s-" + ulid},
		{http.MethodGet, "/v1/operations/%s-" + ulid + "?wait=25s"},
		{http.MethodGet, "/iam/v1/deployments/%s"},
	} {
		var first []byte

		for _, name := range []string{"team-a", "team-x", "TEAM-A", "a", "%2e%2e", "%00", "team-a%2fresources", "team%20a", "$.x", strings.Repeat("a", 200)} {
			path := fmt.Sprintf(route.path, name)
			a := w.do(route.method, path, "", "X-Test-Who", "other deployer").want(http.StatusNotFound, "not_found")

			if alone := without.do(route.method, path, "", "X-Test-Who", "other deployer"); !bytes.Equal(a.body, alone.body) {
				t.Errorf("%s tells that there is something:\n%s\n%s", path, a.body, alone.body)
			}

			body := a.body
			for _, named := range []string{"instance", "detail", "remedy"} {
				body = bytes.ReplaceAll(body, []byte(a.text(named)), nil)
			}

			if first == nil {
				first = body
			}

			if !bytes.Equal(first, body) {
				t.Errorf("%s differs:\n%s\n%s", path, first, body)
			}
		}
	}

	for _, id := range []string{"team-a", "team-a-", ulid, "team-a-" + strings.ToUpper(ulid), "team-a-" + ulid + "0", "team-a-" + strings.Repeat("u", 26), "team-a-" + strings.Repeat("0", 26), "-" + ulid} {
		w.do(http.MethodGet, "/v1/operations/"+id, "").want(http.StatusNotFound, "not_found")
	}

	if load(t, w.store, "team-a").Deployment.Phase != deploy.PhaseActive {
		t.Error("somebody else's delete did something")
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.do(http.MethodDelete, "/v1/deployments/team-a", "").want(http.StatusNotFound, "not_found")
	w.do(http.MethodDelete, "/v1/deployments/team-a?allowMissing=true", "").want(http.StatusNoContent)

	if a := w.do(http.MethodDelete, "/v1/deployments/BAD?allowMissing=true", "").want(http.StatusNoContent); a.header["Retry-After"] != nil || a.header["Location"] != nil {
		t.Errorf("nothing is under way: %v", a.header)
	}

	created := w.create(`{"name":"team-a"}`)

	a := w.do(http.MethodDelete, "/v1/deployments/team-a", "").want(http.StatusAccepted)
	if a.header.Get("Location") != "/v1/operations/"+a.text("id") || a.text("kind") != "DELETE" {
		t.Errorf("delete: %v %s", a.header, a.body)
	}

	old := w.do(http.MethodGet, "/v1/operations/"+created, "").want(http.StatusOK)
	if old.text("state") != "ROLLED_BACK" || old.text("error.code") != "superseded" || old.field("done") != true || old.text("error.instance") != "/v1/operations/"+created {
		t.Errorf("superseded: %s", old.body)
	}

	again := w.do(http.MethodDelete, "/v1/deployments/team-a", "").want(http.StatusAccepted)
	if again.text("id") != a.text("id") {
		t.Errorf("a second delete is another operation: %s", again.body)
	}

	other := w.do(http.MethodDelete, "/v1/deployments/team-a?data=purge", "").want(http.StatusConflict, "operation_in_progress")
	if other.text("operation") != "/v1/operations/"+a.text("id") {
		t.Errorf("no link: %s", other.body)
	}

	if want := "Wait for that operation, which keeps the bucket. Then, to purge it: " + purgeLater; other.text("remedy") != want {
		t.Errorf("what to do afterwards: %s, want %s", other.text("remedy"), want)
	}

	w.run("team-a")
	w.do(http.MethodDelete, "/v1/deployments/team-a", "").want(http.StatusNotFound)
	w.do(http.MethodDelete, "/v1/deployments/team-a?allowMissing=true", "").want(http.StatusNoContent)

	for query, parameter := range map[string]string{"data=all": "data", "date=purge": "date", "allowMissing=maybe": "allowMissing", "data=keep&data=purge": "data"} {
		w.do(http.MethodDelete, "/v1/deployments/team-a?"+query, "").want(http.StatusUnprocessableEntity)

		if p := w.do(http.MethodDelete, "/v1/deployments/team-a?"+query, "").text("parameter"); p != parameter {
			t.Errorf("%s: parameter %s", query, p)
		}
	}

	w.create(`{"name":"team-b"}`)
	w.run("team-b")

	if op := w.do(http.MethodDelete, "/v1/deployments/team-b?data=purge", "").want(http.StatusAccepted).text("id"); load(t, w.store, "team-b").Operation.Data != deploy.Purge {
		t.Errorf("%s keeps the data", op)
	}

	purging := w.do(http.MethodDelete, "/v1/deployments/team-b", "").want(http.StatusConflict, "operation_in_progress")
	if want := "Wait for that operation. A delete cannot be stopped: a bucket that was made for the deployment goes with everything in it."; purging.text("remedy") != want {
		t.Errorf("what to do while it purges: %s, want %s", purging.text("remedy"), want)
	}

	w.run("team-b")

	gone := w.do(http.MethodDelete, "/v1/deployments/team-b?data=purge", "").want(http.StatusNotFound, "not_found")
	if want := "There is no deployment team-b in tenant acme."; gone.text("detail") != want {
		t.Errorf("nothing was kept: %s, want %s", gone.text("detail"), want)
	}

	w.create(`{"name":"team-c"}`)
	w.run("team-c")
	w.remove("team-c")

	bucket := load(t, w.store, "team-c").Resources[0].ID
	want := map[string]string{"": "There is no deployment team-c in tenant acme.", "?data=purge": "The deployment team-c is deleted, and its bucket " + bucket + " was kept."}

	for query, detail := range want {
		a := w.do(http.MethodDelete, "/v1/deployments/team-c"+query, "").want(http.StatusNotFound, "not_found")
		if a.text("detail") != detail || (a.text("remedy") == "To purge it: "+purgeLater) != (query != "") {
			t.Errorf("%q after a delete that kept the bucket: %s, want %s", query, a.body, detail)
		}
	}

	w.do(http.MethodDelete, "/v1/deployments/team-c?data=purge&allowMissing=true", "").want(http.StatusNoContent)
	w.do(http.MethodDelete, "/v1/deployments/team-c?data=purge", "", "X-Test-Who", "other deployer").want(http.StatusNotFound, "not_found")
}

const purgeLater = "create the deployment again under that name and delete that with data=purge, or empty and delete the bucket by hand."

func TestConfiguration(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id := w.create(`{"name":"team-a"}`)

	early := w.do(http.MethodGet, "/v1/deployments/team-a/configuration", "").want(http.StatusConflict, "not_active")
	if early.text("operation") != "/v1/operations/"+id {
		t.Errorf("no link: %s", early.body)
	}

	w.run("team-a")

	a := w.do(http.MethodGet, "/v1/deployments/team-a/configuration", "").want(http.StatusOK)
	if a.header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type %s", a.header.Get("Content-Type"))
	}

	golden(t, "config.json", a.body)

	env := w.do(http.MethodGet, "/v1/deployments/team-a/configuration?format=env", "").want(http.StatusOK)
	golden(t, "config.env", env.body)

	w.do(http.MethodGet, "/v1/deployments/team-a/configuration?format=toml", "").want(http.StatusUnprocessableEntity, "invalid_parameter", "format")
	w.remove("team-a")
	w.do(http.MethodGet, "/v1/deployments/team-a/configuration", "").want(http.StatusNotFound, "not_found")
}

func TestFailedCreate(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.role.broken = deploy.Errorf(deploy.Quota, "aws_quota", "LimitExceeded: too many roles").WithRemedy("Raise it.")
	w.role.broken.AWSCode, w.role.broken.RequestID = "LimitExceeded", "aws-1"

	id := w.create(`{"name":"team-a"}`)
	w.run("team-a")

	op := w.do(http.MethodGet, "/v1/operations/"+id, "", "X-Test-Request", "ours").want(http.StatusOK)

	want := map[string]any{
		"type": "/docs#problem-aws_quota", "title": "A limit of the account is reached", "status": 409.0, "detail": "LimitExceeded: too many roles",
		"instance": "/v1/operations/" + id, "code": "aws_quota", "class": "quota", "resource": "job-role", "awsCode": "LimitExceeded", "requestId": "aws-1",
		"retryable": false, "remedy": "Raise it.",
	}
	if diff := cmp.Diff(want, op.field("error")); diff != "" {
		t.Error(diff)
	}

	states := map[string]string{}

	for _, step := range op.json()["steps"].([]any) {
		s := step.(map[string]any)
		states[fmt.Sprint(s["action"], " ", s["resource"])] = fmt.Sprint(s["state"])
	}

	if diff := cmp.Diff(map[string]string{
		"ENSURE bucket": "READY", "ENSURE job-role": "FAILED", "ENSURE job-queue/default": "SKIPPED", "REMOVE bucket": "GONE", "REMOVE job-role": "GONE",
	}, states); diff != "" {
		t.Error(diff)
	}

	if op.field("state") != "ROLLED_BACK" || op.field("progress.done") != op.field("progress.total") || op.field("endTime") == nil {
		t.Errorf("operation: %s", op.body)
	}

	if p := w.do(http.MethodGet, "/v1/deployments/team-a", "").want(http.StatusOK).text("phase"); p != "FAILED" {
		t.Errorf("phase %s", p)
	}

	w.do(http.MethodGet, "/v1/deployments/team-a/configuration", "").want(http.StatusConflict, "not_active")
	w.create(`{"name":"team-a"}`)
}

func TestResources(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(`{"name":"team-a","spec":{"compute":{"queues":[{"name":"one"},{"name":"two"}]}}}`)
	w.run("team-a")

	all := w.do(http.MethodGet, "/v1/deployments/team-a/resources", "").want(http.StatusOK)
	if diff := cmp.Diff([]string{"bucket", "job-queue/one", "job-queue/two", "job-role"}, refs(all)); diff != "" {
		t.Error(diff)
	}

	if all.field("nextPageToken") != nil || all.field("resources.3.origin") != "MADE" || all.field("resources.3.state") != "READY" ||
		all.field("resources.3.needs.0") != "bucket" || !strings.HasPrefix(all.text("resources.3.arn"), "arn:aws:iam:") || all.field("resources.1.kind") != "job-queue" {
		t.Errorf("resources: %s", all.body)
	}

	if diff := cmp.Diff([]string{"bucket", "job-queue/one", "job-queue/two", "job-role"}, w.pages("/v1/deployments/team-a/resources?pageSize=1", refs)); diff != "" {
		t.Error(diff)
	}

	w.remove("team-a")
	w.do(http.MethodGet, "/v1/deployments/team-a/resources", "").want(http.StatusNotFound)

	kept := w.do(http.MethodGet, "/v1/deployments/team-a/resources?showDeleted=true", "").want(http.StatusOK)
	if diff := cmp.Diff([]string{"bucket"}, refs(kept)); diff != "" || kept.field("resources.0.state") != "KEPT" {
		t.Errorf("what stays: %s", kept.body)
	}
}

func refs(a answer) []string { return each(a, "resources", "ref") }

func each(a answer, list, member string) []string {
	a.t.Helper()

	names := []string{}
	for _, item := range a.json()[list].([]any) {
		names = append(names, item.(map[string]any)[member].(string))
	}

	return names
}

// pages follows nextPageToken to the end.
func (w *world) pages(path string, read func(answer) []string) []string {
	w.t.Helper()

	var all []string

	for next := path; ; {
		a := w.do(http.MethodGet, next, "").want(http.StatusOK)
		all = append(all, read(a)...)

		token, ok := a.field("nextPageToken").(string)
		if !ok {
			return all
		}

		if len(all) > 1000 {
			w.t.Fatal("the pages do not end")
		}

		next = path + "&pageToken=" + token
	}
}

func TestList(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	for _, name := range []string{"ant", "bee", "cat", "dog", "elk"} {
		w.create(fmt.Sprintf(`{"name":%q,"labels":{"initial":%q,"org/unit":"z"}}`, name, name[:1]))
	}

	w.create(`{"name":"fox"}`, "X-Test-Who", "other deployer")
	w.run("bee")
	w.run("cat")
	w.remove("cat")

	names := func(a answer) []string { return each(a, "deployments", "name") }

	tests := map[string]struct {
		reason, query string
		want          []string
	}{
		"All":          {"own and living ones, by name", "", []string{"ant", "bee", "dog", "elk"}},
		"Deleted":      {"deleted ones too", "showDeleted=true", []string{"ant", "bee", "cat", "dog", "elk"}},
		"Phase":        {"by phase", "filter=phase%3DACTIVE", []string{"bee"}},
		"PhaseDeleted": {"deleted ones by phase", "showDeleted=true&filter=phase=DELETED", []string{"cat"}},
		"Label":        {"by label", "filter=label.initial=d", []string{"dog"}},
		"LabelSlash":   {"by a label with a slash", "filter=label.org/unit=z", []string{"ant", "bee", "dog", "elk"}},
		"Both":         {"both must hold", "filter=phase=CREATING,label.initial=a", []string{"ant"}},
		"And":          {"joined by AND", "filter=phase=CREATING+AND+label.initial=b", []string{}},
		"None":         {"a label that nobody has", "filter=label.colour=", []string{}},
		"SizeSmall":    {"coerced to 1", "pageSize=-7", []string{"ant"}},
		"SizeLarge":    {"coerced to 100", "pageSize=100000", []string{"ant", "bee", "dog", "elk"}},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t

			if diff := cmp.Diff(tc.want, names(w.do(http.MethodGet, "/v1/deployments?"+tc.query, "").want(http.StatusOK))); diff != "" {
				t.Errorf("%s: %s", tc.reason, diff)
			}
		})
	}

	if diff := cmp.Diff([]string{"ant", "bee", "cat", "dog", "elk"}, w.pages("/v1/deployments?pageSize=2&showDeleted=true", names)); diff != "" {
		t.Error(diff)
	}

	if diff := cmp.Diff([]string{"ant", "dog", "elk"}, w.pages("/v1/deployments?pageSize=1&filter=phase=CREATING", names)); diff != "" {
		t.Error(diff)
	}

	token := w.do(http.MethodGet, "/v1/deployments?pageSize=1", "").text("nextPageToken")

	for reason, path := range map[string]string{
		"another filter":  "/v1/deployments?filter=phase=ACTIVE&pageToken=" + token,
		"another list":    "/v1/deployments?showDeleted=true&pageToken=" + token,
		"another kind":    "/v1/operations?deployment=ant&pageToken=" + token,
		"rubbish":         "/v1/deployments?pageToken=rubbish",
		"not base64":      "/v1/deployments?pageToken=%21%21",
		"cut off":         "/v1/deployments?pageToken=" + token[:len(token)-3],
		"somebody else's": "/v1/deployments?tenant=other&pageToken=" + token,
	} {
		t.Log(reason)

		a := w.do(http.MethodGet, path, "", "X-Test-Who", "acme admin").want(http.StatusBadRequest, "bad_page_token", "pageToken")
		if a.field("pointer") != nil {
			t.Error("a parameter has no pointer")
		}
	}

	w.do(http.MethodGet, "/v1/deployments?pageSize=7&pageToken="+token, "").want(http.StatusOK)

	for reason, query := range map[string]string{
		"no such phase": "filter=phase=GREEN", "no such member": "filter=name=ant", "no value": "filter=phase", "no key": "filter=label.=x", "an empty term": "filter=phase=ACTIVE,",
	} {
		t.Log(reason)
		w.do(http.MethodGet, "/v1/deployments?"+query, "").want(http.StatusUnprocessableEntity, "invalid_filter", "filter")
	}

	w.do(http.MethodGet, "/v1/deployments?pageSize=many", "").want(http.StatusUnprocessableEntity, "invalid_parameter", "pageSize")
	w.do(http.MethodGet, "/v1/deployments?limit=3", "").want(http.StatusUnprocessableEntity, "unknown_parameter", "limit")
	w.do(http.MethodGet, "/v1/deployments?pageToken="+base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte("x"), 2000)), "").
		want(http.StatusUnprocessableEntity, "invalid_parameter", "pageToken")
}

func TestWait(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id := w.create(`{"name":"team-a"}`)
	key := deploy.Key{Tenant: "acme", Name: "team-a"}
	path := "/v1/operations/" + id

	// get waits and says how long it took.
	get := func(query string, during func(slept time.Duration)) (answer, time.Duration) {
		w.clock.slept, w.clock.during = 0, during
		a := w.do(http.MethodGet, path+query, "").want(http.StatusOK)
		w.clock.during = nil

		return a, w.clock.slept
	}

	now, slept := get("", nil)
	if slept != 0 || now.field("state") != "PENDING" {
		t.Errorf("without wait: %v %s", slept, now.body)
	}

	version := fmt.Sprint(now.field("version"))

	for query, want := range map[string]time.Duration{
		"?wait=3s": 3 * time.Second, "?wait=3": 3 * time.Second, "?wait=1500ms": 1500 * time.Millisecond, "?wait=25s": 25 * time.Second,
		"?wait=90": 25 * time.Second, "?wait=1h": 25 * time.Second, "?wait=0": 0, "?wait=9999999999": 25 * time.Second,
		"?wait=5s&after=" + version: 5 * time.Second, "?wait=5s&after=0": 0, "?after=0": 0,
	} {
		if _, slept := get(query, nil); slept != want {
			t.Errorf("%s: waited %v, want %v", query, slept, want)
		}
	}

	changed, slept := get("?wait=25s&after="+version, func(slept time.Duration) {
		if slept == 4*time.Second {
			w.begin(key)
		}
	})
	if slept != 4*time.Second || changed.field("state") != "RUNNING" || changed.field("version").(float64) <= now.field("version").(float64) || changed.field("progress.total") != 3.0 {
		t.Errorf("after a change: %v %s", slept, changed.body)
	}

	if _, slept := get("?wait=25s", func(slept time.Duration) {
		if slept == 2*time.Second {
			w.begin(key)
		}
	}); slept != 2*time.Second {
		t.Errorf("a change from now on: waited %v", slept)
	}

	running := w.do(http.MethodGet, path, "").field("version").(float64)

	w.run("team-a")

	done, slept := get("?wait=25s", nil)
	if slept != 0 || done.field("done") != true || done.field("state") != "SUCCEEDED" || done.field("version").(float64) <= running || done.field("progress.done") != 3.0 {
		t.Errorf("when it is done: %v %s", slept, done.body)
	}

	for query, parameter := range map[string]string{"?wait=soon": "wait", "?wait=-1s": "wait", "?wait=-5": "wait", "?after=x": "after", "?after=-1": "after", "?after=1.5": "after"} {
		w.do(http.MethodGet, path+query, "").want(http.StatusUnprocessableEntity, "invalid_parameter", parameter)
	}
}

// An invocation that is about to end must answer before that.
func TestWaitMindsTheDeadline(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.clock.now = time.Now() // deadlines of contexts are the computer's time
	path := "/v1/operations/" + w.create(`{"name":"team-a"}`)

	ctx, cancel := context.WithDeadline(t.Context(), w.clock.now.Add(10*time.Second))
	defer cancel()

	r := httptest.NewRequestWithContext(ctx, http.MethodGet, path+"?wait=25s", http.NoBody)
	r.Header.Set("X-Test-Who", "acme viewer")

	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)

	if rec.Code != http.StatusOK || w.clock.slept != 8*time.Second {
		t.Errorf("status %d after %v", rec.Code, w.clock.slept)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	var ids []string

	for range 3 {
		ids = append([]string{w.create(`{"name":"team-a"}`)}, ids...)
		w.run("team-a")

		ids = append([]string{w.do(http.MethodDelete, "/v1/deployments/team-a", "").text("id")}, ids...)
		w.run("team-a")
	}

	all := w.do(http.MethodGet, "/v1/operations?deployment=team-a", "").want(http.StatusOK)
	read := func(a answer) []string { return each(a, "operations", "id") }

	if diff := cmp.Diff(ids, read(all)); diff != "" {
		t.Errorf("newest first, of a deleted deployment too: %s", diff)
	}

	if diff := cmp.Diff(ids, w.pages("/v1/operations?deployment=team-a&pageSize=4", read)); diff != "" {
		t.Error(diff)
	}

	for i, id := range ids {
		a := w.do(http.MethodGet, "/v1/operations/"+id, "").want(http.StatusOK)
		if diff := cmp.Diff(all.json()["operations"].([]any)[i], any(a.json())); diff != "" || a.field("version") == 0.0 || a.field("progress.total") == 0.0 {
			t.Errorf("%s: list and operation differ: %s", id, diff)
		}
	}

	w.do(http.MethodGet, "/v1/operations", "").want(http.StatusUnprocessableEntity, "missing_parameter", "deployment")
}

func TestKinds(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	a := w.do(http.MethodGet, "/v1/kinds", "", "X-Test-Who", "acme viewer").want(http.StatusOK)

	if diff := cmp.Diff([]string{"bucket", "job-role", "job-queue"}, each(a, "kinds", "name")); diff != "" {
		t.Error(diff)
	}

	if a.field("kinds.2.many") != true || a.field("kinds.1.needs.0") != "bucket" || a.field("kinds.0.family") != "s3" {
		t.Errorf("kinds: %s", a.body)
	}

	// The settings are schemas that stand on their own, and mean it.
	examples := map[string]struct{ good, bad string }{
		"0": {`{"flowsPrefix":"a","oldVersionsDays":3}`, `{"oldVersionsDays":0}`},
		"1": {`{"existing":{"jobRoleArn":"arn"}}`, `{"existing":{}}`},
		"2": {`{"environments":[{"name":"a","instanceTypes":["m5"]}]}`, `{"environments":[{"name":"a","instanceTypes":null}]}`},
	}

	for i, tc := range examples {
		c := jsonschema.NewCompiler()
		if err := c.AddResource("mem:///"+i, a.field("kinds."+i+".settings")); err != nil {
			t.Fatal(err)
		}

		schema := c.MustCompile("mem:///" + i)

		for text, want := range map[string]bool{tc.good: true, tc.bad: false} {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}

			if err := schema.Validate(v); (err == nil) != want {
				t.Errorf("kind %s, %s: %v", i, text, err)
			}
		}
	}
}

// Errors of the store and of AWS become the class's status; what they say stays in the log.
func TestFaults(t *testing.T) {
	t.Parallel()

	aws := func(code string) error {
		return fmt.Errorf("query: %w", &smithy.GenericAPIError{Code: code, Message: "secret detail of " + code})
	}

	tests := map[string]struct {
		reason, method, path string
		call                 string
		err                  error
		status               int
	}{
		"Throttled":   {"the table asks us to slow down", http.MethodGet, "/v1/deployments", "Deployments", aws("ProvisionedThroughputExceededException"), 503},
		"Lost":        {"no answer", http.MethodGet, "/v1/deployments/team-a", "Load", errors.New("read tcp 10.0.0.1: connection reset"), 503},
		"Denied":      {"a wrong policy of ours", http.MethodGet, "/v1/operations?deployment=team-a", "Operations", aws("AccessDeniedException"), 500},
		"Orphans":     {"while listing orphans", http.MethodGet, "/v1/orphans", "Orphans", errors.New("read tcp: reset"), 503},
		"Delete":      {"while deleting", http.MethodDelete, "/v1/deployments/team-a", "Commit", errors.New("read tcp: reset"), 503},
		"Create":      {"while creating", http.MethodPost, "/v1/deployments", "Commit", aws("InternalServerError"), 503},
		"Claim":       {"while claiming", http.MethodPost, "/v1/deployments", "Claim", aws("ThrottlingException"), 503},
		"MissingMany": {"while waiting", http.MethodGet, "/v1/operations/team-a-" + strings.Repeat("0", 26) + "?wait=2s", "Operation", errors.New("x"), 503},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.create(`{"name":"team-a"}`)
			w.store.Fault = fault(tc.call, tc.err, nil)

			body := ""
			if tc.method == http.MethodPost {
				body = `{"name":"team-b"}`
			}

			a := w.do(tc.method, tc.path, body, "Idempotency-Key", "k", "X-Test-Request", "req-1", "X-Test-Who", "acme admin").want(tc.status)
			if tc.status == http.StatusServiceUnavailable && (a.header.Get("Retry-After") == "" || a.field("retryable") != true) {
				t.Errorf("%s: does not invite to try again: %v %s", tc.reason, a.header, a.body)
			}

			if bytes.Contains(a.body, []byte("tcp")) || bytes.Contains(a.body, []byte("secret")) || a.text("requestId") != "req-1" {
				t.Errorf("%s: %s", tc.reason, a.body)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	o := w.options()
	o.Principal = func(*http.Request) (deploy.Principal, error) { panic("a secret") }
	w.handler = httpapi.New(o)

	a := w.do(http.MethodGet, "/v1/kinds", "", "X-Test-Request", "req-1").want(http.StatusInternalServerError, "internal")
	if bytes.Contains(a.body, []byte("secret")) || a.text("requestId") != "req-1" {
		t.Errorf("the answer tells: %s", a.body)
	}

	if !strings.Contains(w.log.String(), "a secret") || !strings.Contains(w.log.String(), "read_test.go") {
		t.Errorf("the log does not: %s", w.log)
	}
}
