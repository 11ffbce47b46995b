package httpapi_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

const planRoute = "/v1/deployments:plan"

func TestPlanIsAnswered(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	a := w.do(http.MethodPost, planRoute, `{"name":"team-a"}`).want(http.StatusOK)

	for path, want := range map[string]any{
		"steps.0.resource": "bucket", "steps.0.action": "ENSURE", "steps.0.state": "PENDING", "steps.0.change": "CREATE", "steps.0.estimate": "1s",
		"steps.1.resource": "job-role", "steps.1.needs.0": "bucket", "steps.2.resource": "job-queue/default", "steps.2.kind": "job-queue",
		"resources.0.ref": "bucket", "resources.0.origin": "MADE", "cost.currency": "USD", "duration": "3s",
	} {
		if got := a.field(path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}

	if diff := cmp.Diff(string(a.body), string(w.do(http.MethodPost, "/v1/deployments?validateOnly=true", `{"name":"team-a"}`).want(http.StatusOK).body)); diff != "" {
		t.Errorf("validateOnly answers the same plan (-plan +validateOnly):\n%s", diff)
	}

	if _, err := w.store.Load(t.Context(), deploy.Key{Tenant: "acme", Name: "team-a"}); !errors.Is(err, store.ErrNotFound) || len(w.starter.started) > 0 {
		t.Errorf("a plan must leave nothing: %v, started %v", err, w.starter.started)
	}

	template := w.do(http.MethodPost, planRoute+"?format=cloudformation", `{"name":"team-a"}`).want(http.StatusOK)
	if template.header.Get("Content-Type") != "application/json" || template.text("AWSTemplateFormatVersion") != "2010-09-09" {
		t.Errorf("got %s: %s", template.header.Get("Content-Type"), template.body)
	}
}

// What the plan finds, the create is refused for.
func TestPlanAndCreateFindTheSame(t *testing.T) {
	t.Parallel()

	quota := deploy.Errorf(deploy.Quota, "quota_exceeded", "No room.").WithRemedy("Make room.").At("/spec/network").Finding()
	foreign := deploy.Errorf(deploy.Conflict, "not_ours", "Somebody else's.").WithRemedy("Choose another name.").At("/spec/access").Finding()
	warning := deploy.Finding{Level: deploy.LevelWarning, Class: deploy.Quota, Code: "tight", Message: "Little room.", Remedy: "Make room."}

	for name, tc := range map[string]struct {
		reason   string
		findings []deploy.Finding
		status   int
	}{
		"None":    {"nothing is wrong", nil, http.StatusAccepted},
		"Warning": {"what is only to be known stops nobody", []deploy.Finding{warning}, http.StatusAccepted},
		"One":     {"the status is of its class", []deploy.Finding{quota}, http.StatusConflict},
		"Several": {"all of them, in the same order, without the warning", []deploy.Finding{foreign, warning, quota}, http.StatusConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.role.findings = tc.findings

			plan := w.do(http.MethodPost, planRoute, `{"name":"team-a"}`).want(http.StatusOK)

			var planned []string

			for _, f := range plan.json()["findings"].([]any) {
				if f := f.(map[string]any); f["level"] == "error" {
					planned = append(planned, f["code"].(string)+" "+f["pointer"].(string)+" "+f["message"].(string)+" "+f["remedy"].(string))
				}
			}

			if len(plan.json()["findings"].([]any)) != len(tc.findings) {
				t.Errorf("%s: the plan lacks some: %s", tc.reason, plan.body)
			}

			refusal := w.do(http.MethodPost, "/v1/deployments", `{"name":"team-a"}`).want(tc.status)

			var refused []string

			if errs, ok := refusal.json()["errors"].([]any); ok {
				for _, e := range errs {
					e := e.(map[string]any)
					refused = append(refused, e["code"].(string)+" "+e["pointer"].(string)+" "+e["detail"].(string)+" "+e["remedy"].(string))
				}
			} else if tc.status >= http.StatusBadRequest {
				refused = append(refused, refusal.text("code")+" "+refusal.text("pointer")+" "+refusal.text("detail")+" "+refusal.text("remedy"))
			}

			if diff := cmp.Diff(planned, refused); diff != "" {
				t.Errorf("%s (-plan +create):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPlanOfATakenName(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id := w.create(`{"name":"team-a"}`)

	// What else would be wrong does not count, neither here nor there.
	w.role.findings = []deploy.Finding{deploy.Errorf(deploy.Quota, "quota_exceeded", "No room.").WithRemedy("Make room.").Finding()}

	for _, base := range []string{"", "/iam"} {
		a := w.do(http.MethodPost, base+planRoute, `{"name":"team-a"}`).want(http.StatusOK)
		p := w.do(http.MethodPost, base+"/v1/deployments", `{"name":"team-a"}`).want(http.StatusConflict, "already_exists")

		if len(a.json()["findings"].([]any)) != 1 || a.field("findings.0.code") != "already_exists" || a.field("findings.0.message") != p.field("detail") ||
			a.field("findings.0.remedy") != p.field("remedy") || a.field("findings.0.operation") != p.field("operation") ||
			a.field("findings.0.operation") != base+"/v1/operations/"+id {
			t.Errorf("the plan found %v, the create was refused with %s", a.field("findings"), p.body)
		}
	}

	// Another tenant does not see it.
	a := w.do(http.MethodPost, planRoute, `{"name":"team-a"}`, "X-Test-Who", "other deployer").want(http.StatusOK)
	if a.field("findings.0.code") != "quota_exceeded" {
		t.Errorf("got %s", a.body)
	}
}

// A body that cannot be is refused as the create refuses it.
func TestPlanRefusesBadInput(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	for name, body := range map[string]string{
		"JSON": `{`, "Member": `{"name":"team-a","size":1}`, "Missing": `{}`, "Name": `{"name":"X"}`, "Spec": `{"name":"team-a","spec":{"network":{"cidr":"x"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := *w
			w.t = t

			plan, create := w.do(http.MethodPost, planRoute, body), w.do(http.MethodPost, "/v1/deployments", body)
			if plan.status != create.status || plan.field("code") != create.field("code") || plan.field("pointer") != create.field("pointer") || plan.status < http.StatusBadRequest {
				t.Errorf("plan %d %s, create %d %s", plan.status, plan.body, create.status, create.body)
			}
		})
	}

	w.do(http.MethodPost, planRoute+"?format=yaml", `{"name":"team-a"}`).want(http.StatusUnprocessableEntity, "invalid_parameter", "format")
	w.do(http.MethodPost, "/v1/deployments?validateOnly=perhaps", `{"name":"team-a"}`).want(http.StatusUnprocessableEntity, "invalid_parameter", "validateOnly")
}

func TestPlanOfAnUpdate(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	const route, body = "/v1/deployments/team-a:plan", `{"spec":{"compute":{"queues":[{"name":"next"}]}}}`

	w.do(http.MethodPost, route, body).want(http.StatusNotFound, "not_found")
	w.do(http.MethodPost, "/v1/deployments/TEAM:plan", body).want(http.StatusNotFound, "not_found")

	id := w.create(`{"name":"team-a"}`)

	a := w.do(http.MethodPost, "/iam"+route, body).want(http.StatusOK)
	p := w.do(http.MethodPut, "/iam/v1/deployments/team-a", body).want(http.StatusConflict, "operation_in_progress")

	if a.field("findings.0.code") != "operation_in_progress" || a.field("findings.0.message") != p.field("detail") || a.field("findings.0.remedy") != p.field("remedy") ||
		a.field("findings.0.operation") != p.field("operation") || a.field("findings.0.operation") != "/iam/v1/operations/"+id {
		t.Errorf("the plan found %v, the update was refused with %s", a.field("findings"), p.body)
	}

	w.run("team-a")

	a = w.do(http.MethodPost, route, body).want(http.StatusOK)

	got := map[string]any{}
	for _, s := range a.json()["steps"].([]any) {
		s := s.(map[string]any)
		got[s["action"].(string)+" "+s["resource"].(string)] = s["change"]
	}

	want := map[string]any{"ENSURE bucket": "NONE", "ENSURE job-role": "NONE", "ENSURE job-queue/next": "CREATE", "REMOVE job-queue/default": "REMOVE"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}

	w.do(http.MethodPost, route+"?format=cloudformation", body).want(http.StatusOK)
	w.do(http.MethodPost, route, `{"name":"team-a","spec":{}}`).want(http.StatusUnprocessableEntity, "unknown_member", "/name")
	w.do(http.MethodPost, route, `{"spec":{"network":{"cidr":"x"}}}`).want(http.StatusUnprocessableEntity, "invalid_cidr", "/spec/network/cidr")
	w.do(http.MethodPost, route, body, "X-Test-Who", "other deployer").want(http.StatusNotFound, "not_found")

	w.role.findings = []deploy.Finding{deploy.Errorf(deploy.Quota, "quota_exceeded", "No room.").WithRemedy("Make room.").At("/spec").Finding()}

	a = w.do(http.MethodPost, route, body).want(http.StatusOK)
	w.do(http.MethodPut, "/v1/deployments/team-a", body).want(http.StatusConflict, a.text("findings.0.code"), a.text("findings.0.pointer"))
}
