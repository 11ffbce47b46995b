package httpapi_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestUpdate follows one deployment through an update, and what is refused on the way.
func TestUpdate(t *testing.T) {
	t.Parallel()

	const path = "/v1/deployments/team-a"

	w := newWorld(t)
	w.create(`{"name":"team-a","labels":{"team":"ml"}}`)

	if a := w.do(http.MethodPut, path, `{"spec":{}}`).want(http.StatusConflict, "operation_in_progress"); a.header.Get("Retry-After") == "" {
		t.Error("nobody is told when to come again")
	}

	w.run("team-a")

	before := w.do(http.MethodGet, path, "")

	for name, c := range map[string]struct {
		reason, body string
		header       []string
		status       int
		problem      []string
	}{
		"NoSpec":  {"a PUT is whole", `{}`, nil, http.StatusUnprocessableEntity, []string{"missing_member", "/spec"}},
		"Name":    {"a name is for life", `{"name":"team-b","spec":{}}`, nil, http.StatusUnprocessableEntity, []string{"unknown_member", "/name"}},
		"Spec":    {"the rules of a create hold", `{"spec":{"network":{"cidr":"8.8.0.0/16"}}}`, nil, http.StatusUnprocessableEntity, []string{"invalid_cidr", "/spec/network/cidr"}},
		"TTL":     {"so do they for the time to live", `{"spec":{},"ttl":"1y"}`, nil, http.StatusUnprocessableEntity, []string{"invalid_ttl", "/ttl"}},
		"Stale":   {"another one by now", `{"spec":{}}`, []string{"If-Match", `"1"`}, http.StatusPreconditionFailed, []string{"precondition_failed"}},
		"Weak":    {"If-Match compares strongly", `{"spec":{}}`, []string{"If-Match", "W/" + before.header.Get("ETag")}, http.StatusPreconditionFailed, []string{"precondition_failed"}},
		"Viewer":  {"who reads changes nothing", `{"spec":{}}`, []string{"X-Test-Who", "acme viewer"}, http.StatusForbidden, []string{"role_missing"}},
		"Foreign": {"another tenant's is unknown", `{"spec":{}}`, []string{"X-Test-Who", "other deployer"}, http.StatusNotFound, []string{"not_found"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(c.reason)
			w.do(http.MethodPut, path, c.body, c.header...).want(c.status, c.problem...)
		})
	}

	if after := w.do(http.MethodGet, path, ""); string(after.body) != string(before.body) {
		t.Fatalf("a refusal changed something:\n%s\n%s", before.body, after.body)
	}

	body := `{"spec":{"compute":{"queues":[{"name":"default"},{"name":"more"}]}},"ttl":"2d"}`
	a := w.do(http.MethodPut, path, body, "If-Match", before.header.Get("ETag"), "Idempotency-Key", "u1").want(http.StatusAccepted)

	if a.text("kind") != "UPDATE" || a.header.Get("Location") != "/v1/operations/"+a.text("id") || a.header.Get("Retry-After") != "5" {
		t.Errorf("an update answers its operation: %s", a.body)
	}

	again := w.do(http.MethodPut, path, body, "If-Match", before.header.Get("ETag"), "Idempotency-Key", "u1").want(http.StatusAccepted)
	if string(again.body) != string(a.body) {
		t.Errorf("the same key gets the same answer:\n%s\n%s", a.body, again.body)
	}

	if p := w.do(http.MethodGet, path, "").text("phase"); p != "UPDATING" {
		t.Errorf("meanwhile it is %s", p)
	}

	w.do(http.MethodGet, path+"/configuration", "").want(http.StatusOK) // what stands goes on working

	w.run("team-a")

	got := w.do(http.MethodGet, path, "").want(http.StatusOK)
	if got.text("phase") != "ACTIVE" || got.field("spec.compute.queues.1.name") != "more" || got.field("labels.team") != "ml" || got.field("expireTime") == nil {
		t.Errorf("after the update: %s", got.body)
	}
}

// TestConfigurationDuringAnUpdate: until the update is done, people go on with what it found.
func TestConfigurationDuringAnUpdate(t *testing.T) {
	t.Parallel()

	const path = "/v1/deployments/team-a"

	w := newWorld(t)
	w.create(`{"name":"team-a"}`)
	w.run("team-a")

	before := w.do(http.MethodGet, path+"/configuration", "").want(http.StatusOK)

	w.do(http.MethodPut, path, `{"spec":{"storage":{"flowsPrefix":"elsewhere"},"compute":{"queues":[{"name":"other"}]}}}`).want(http.StatusAccepted)

	if during := w.do(http.MethodGet, path+"/configuration", "").want(http.StatusOK); string(during.body) != string(before.body) {
		t.Errorf("the new queue is not there yet, and the configuration changed:\n%s\n%s", before.body, during.body)
	}

	w.run("team-a")

	after := w.do(http.MethodGet, path+"/configuration", "").want(http.StatusOK)
	if !strings.Contains(string(after.body), "-other") || !strings.Contains(string(after.body), "elsewhere") {
		t.Errorf("after the update: %s", after.body)
	}
}

// TestActs: what acts on a deployment that stands.
func TestActs(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(`{"name":"team-a"}`)

	for _, verb := range []string{"repair", "verify", "drift"} {
		w.do(http.MethodPost, "/v1/deployments/team-a:"+verb, "").want(http.StatusConflict, "operation_in_progress")
		w.do(http.MethodPost, "/v1/deployments/nobody:"+verb, "").want(http.StatusNotFound, "not_found")
		w.do(http.MethodPost, "/v1/deployments/Bad:"+verb, "").want(http.StatusNotFound, "not_found")
	}

	w.run("team-a")

	for _, verb := range []string{"repair", "verify", "drift"} {
		w.do(http.MethodPost, "/v1/deployments/team-a:"+verb, `{"dryRun":true}`).want(http.StatusUnprocessableEntity, "unexpected_body")
		w.do(http.MethodPost, "/v1/deployments/team-a:"+verb, `{`).want(http.StatusUnprocessableEntity, "unexpected_body")
	}

	for _, verb := range []string{"repair", "verify"} {
		w.do(http.MethodPost, "/v1/deployments/team-a:"+verb, "", "If-Match", `"1"`).want(http.StatusPreconditionFailed, "precondition_failed")
	}

	for verb, kind := range map[string]string{"repair": "REPAIR", "verify": "VERIFY"} {
		a := w.do(http.MethodPost, "/v1/deployments/team-a:"+verb, "").want(http.StatusAccepted)
		if a.text("kind") != kind {
			t.Errorf("%s is a %s", verb, a.text("kind"))
		}

		w.run("team-a")

		if p := w.do(http.MethodGet, "/v1/deployments/team-a", "").text("phase"); p != "ACTIVE" {
			t.Errorf("after %s it is %s", verb, p)
		}
	}

	drift := w.do(http.MethodPost, "/v1/deployments/team-a:drift", "{}", "X-Test-Who", "acme viewer").want(http.StatusOK)
	if drift.field("drifted") != false || drift.field("resources.0.state") != "ready" {
		t.Errorf("nothing drifted: %s", drift.body)
	}
}

func TestExtend(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(`{"name":"team-a","ttl":"3h"}`)

	before, err := time.Parse(time.RFC3339, w.do(http.MethodGet, "/v1/deployments/team-a", "").text("expireTime"))
	if err != nil {
		t.Fatal(err)
	}

	w.do(http.MethodPost, "/v1/deployments/team-a:extend", `{}`).want(http.StatusUnprocessableEntity, "missing_member", "/ttl")
	w.do(http.MethodPost, "/v1/deployments/team-a:extend", `{"ttl":"1000d"}`).want(http.StatusUnprocessableEntity, "invalid_ttl", "/ttl")
	w.do(http.MethodPost, "/v1/deployments/nobody:extend", `{"ttl":"1d"}`).want(http.StatusNotFound, "not_found")

	a := w.do(http.MethodPost, "/v1/deployments/team-a:extend", `{"ttl":"1d"}`).want(http.StatusOK)

	after, err := time.Parse(time.RFC3339, a.text("expireTime"))
	if err != nil || after.Sub(before) != 21*time.Hour {
		t.Errorf("a day from now, not %s later, %v", after.Sub(before), err)
	}

	const path = "/v1/deployments/team-a:extend"

	w.do(http.MethodPost, path, `{"ttl":"2d"}`, "If-Match", `"1"`).want(http.StatusPreconditionFailed, "precondition_failed")

	first := w.do(http.MethodPost, path, `{"ttl":"2d"}`, "Idempotency-Key", "e1", "If-Match", a.header.Get("ETag")).want(http.StatusOK)
	w.clock.Sleep(t.Context(), time.Minute)

	again := w.do(http.MethodPost, path, `{"ttl":"2d"}`, "Idempotency-Key", "e1", "If-Match", a.header.Get("ETag")).want(http.StatusOK)
	if string(again.body) != string(first.body) || again.header.Get("ETag") != first.header.Get("ETag") {
		t.Errorf("the same key moves it once:\n%s\n%s", first.body, again.body)
	}

	w.do(http.MethodPost, path, `{"ttl":"3d"}`, "Idempotency-Key", "e1", "If-Match", a.header.Get("ETag")).want(http.StatusUnprocessableEntity, "idempotency_key_reused")
	w.do(http.MethodPost, path, `{"ttl":"3d"}`, "Idempotency-Key", "two words").want(http.StatusUnprocessableEntity, "invalid_idempotency_key")

	w.do(http.MethodDelete, "/v1/deployments/team-a?data=purge", "").want(http.StatusAccepted)
	w.run("team-a")

	if a := w.do(http.MethodGet, "/v1/deployments/team-a?showDeleted=true", "").want(http.StatusOK); a.field("expireTime") != nil {
		t.Errorf("what is gone expires no more: %s", a.body)
	}
}

// TestDeleteOfWhatWasSeen: who names the deployment that they saw deletes no other.
func TestDeleteOfWhatWasSeen(t *testing.T) {
	t.Parallel()

	const path = "/v1/deployments/team-a"

	w := newWorld(t)
	w.create(`{"name":"team-a"}`)
	w.run("team-a")

	w.do(http.MethodDelete, path+"?data=purge", "", "If-Match", `"0"`).want(http.StatusPreconditionFailed, "precondition_failed")

	got := w.do(http.MethodGet, path, "").want(http.StatusOK)
	if got.text("phase") != "ACTIVE" {
		t.Errorf("it is %s", got.text("phase"))
	}

	w.do(http.MethodDelete, path+"?data=purge", "", "If-Match", got.header.Get("ETag")).want(http.StatusAccepted)
}

// TestQueriesThatCannotBeRead are refused: what was left out of one could be what made it harmless.
func TestQueriesThatCannotBeRead(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	for _, query := range []string{"validateOnly=true%", "validateOnly=%zz", "validateOnly=true;x=1"} {
		w.do(http.MethodPost, "/v1/deployments?"+query, `{"name":"team-a"}`).want(http.StatusUnprocessableEntity, "invalid_parameter")
	}

	w.do(http.MethodGet, "/v1/deployments/team-a", "").want(http.StatusNotFound)
}

// TestAudit: everything that was asked for stands there with its outcome, newest first, for its tenant alone.
func TestAudit(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(`{"name":"team-a"}`)
	w.run("team-a")
	w.create(`{"name":"team-b"}`)
	w.do(http.MethodPost, "/v1/grants", `{"kind":"bucket","value":"theirs"}`, "X-Test-Who", "acme admin").want(http.StatusOK)
	w.clock.Sleep(t.Context(), time.Second)
	w.do(http.MethodPost, "/v1/deployments/team-a:extend", `{"ttl":"1d"}`).want(http.StatusOK)
	w.do(http.MethodPost, "/v1/deployments", `{"name":"team-c"}`, "X-Test-Who", "other deployer").want(http.StatusAccepted)

	var seen []string

	for token := ""; ; {
		page := w.do(http.MethodGet, "/v1/audit?pageSize=2"+token, "", "X-Test-Who", "acme viewer").want(http.StatusOK)

		entries, _ := page.field("entries").([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			actor, _ := entry["actor"].(string)

			if actor != "someone@acme" {
				t.Errorf("an entry of %s", actor)
			}

			action, _ := entry["action"].(string)
			outcome, _ := entry["outcome"].(string)
			about, _ := entry["deployment"].(string)

			if subject, ok := entry["subject"].(string); ok {
				about = subject
			}

			seen = append(seen, action+" "+about+" "+outcome)
		}

		next, more := page.field("nextPageToken").(string)
		if !more {
			break
		}

		token = "&pageToken=" + next
	}

	want := []string{"extend team-a DONE", "allow bucket theirs DONE", "CREATE team-b ADMITTED", "CREATE team-a SUCCEEDED", "CREATE team-a ADMITTED"}
	if got := strings.Join(seen, "\n"); len(seen) != len(want) || seen[0] != want[0] || seen[4] != want[4] {
		t.Errorf("the trail is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}

	only := w.do(http.MethodGet, "/v1/audit?deployment=team-b", "").want(http.StatusOK)
	if entries, _ := only.field("entries").([]any); len(entries) != 1 {
		t.Errorf("of team-b: %s", only.body)
	}
}

// TestGrants: admins allow and withdraw, the tenant sees what it is allowed.
func TestGrants(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	admin := []string{"X-Test-Who", "ops admin"}

	for name, c := range map[string]struct{ reason, body, code, at string }{
		"Kind":    {"one of those on offer", `{"kind":"vpc","value":"vpc-1"}`, "invalid_value", "/kind"},
		"Bucket":  {"a bucket's name", `{"kind":"bucket","value":"s3://theirs"}`, "invalid_grant", "/value"},
		"Role":    {"a role's ARN", `{"kind":"role","value":"admin"}`, "invalid_grant", "/value"},
		"Foreign": {"of this account", `{"kind":"role","value":"arn:aws:iam::210987654321:role/x"}`, "invalid_grant", "/value"},
		"Account": {"twelve digits", `{"kind":"stack-account","value":"12345"}`, "invalid_grant", "/value"},
		"Empty":   {"something", `{"kind":"bucket"}`, "missing_member", "/value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(c.reason)
			w.do(http.MethodPost, "/v1/grants?tenant=acme", c.body, admin...).want(http.StatusUnprocessableEntity, c.code, c.at)
		})
	}

	keyed := append([]string{"Idempotency-Key", "k1"}, admin...)
	first := w.do(http.MethodPost, "/v1/grants?tenant=acme", `{"kind":"bucket","value":"theirs"}`, keyed...).want(http.StatusOK)

	w.clock.Sleep(t.Context(), time.Second)

	for _, header := range [][]string{keyed, admin} { // twice is once, with the key and without
		if again := w.do(http.MethodPost, "/v1/grants?tenant=acme", `{"kind":"bucket","value":"theirs"}`, header...).want(http.StatusOK); !bytes.Equal(again.body, first.body) {
			t.Errorf("asked again: %s, first %s", again.body, first.body)
		}
	}

	w.do(http.MethodPost, "/v1/grants?tenant=acme", `{"kind":"bucket","value":"others"}`, keyed...).want(http.StatusUnprocessableEntity, "idempotency_key_reused")
	w.do(http.MethodPost, "/v1/grants?tenant=acme", `{"kind":"bucket","value":"x-y-z"}`, "X-Test-Who", "ops admin", "Idempotency-Key", "ä").want(http.StatusUnprocessableEntity, "invalid_idempotency_key")

	list := w.do(http.MethodGet, "/v1/grants", "", "X-Test-Who", "acme viewer").want(http.StatusOK)
	if grants, _ := list.field("grants").([]any); len(grants) != 1 || list.field("grants.0.value") != "theirs" || list.field("grants.0.actor") != "someone@ops" {
		t.Errorf("the tenant's grants: %s", list.body)
	}

	if grants, _ := w.do(http.MethodGet, "/v1/grants", "", "X-Test-Who", "other viewer").field("grants").([]any); len(grants) != 0 {
		t.Errorf("another tenant's grants: %v", grants)
	}

	w.clock.Sleep(t.Context(), time.Second)
	w.do(http.MethodDelete, "/v1/grants?tenant=acme&kind=bucket&value=theirs", "", admin...).want(http.StatusNoContent)
	w.clock.Sleep(t.Context(), time.Second)
	w.do(http.MethodDelete, "/v1/grants?tenant=acme&kind=bucket&value=theirs", "", admin...).want(http.StatusNotFound, "not_found")
}

// TestExtendGoing: what goes already cannot live longer.
func TestExtendGoing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(`{"name":"team-a"}`)
	w.run("team-a")
	w.do(http.MethodDelete, "/v1/deployments/team-a", "").want(http.StatusAccepted)
	w.do(http.MethodPost, "/v1/deployments/team-a:extend", `{"ttl":"1d"}`).want(http.StatusConflict, "not_active")
}
