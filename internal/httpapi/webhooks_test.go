package httpapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/httpapi"
)

func (w *world) webhooks(header ...string) []httpapi.Webhook {
	w.t.Helper()

	a := w.do(http.MethodGet, "/v1/webhooks", "", header...).want(http.StatusOK)

	var body httpapi.Webhooks
	if err := json.Unmarshal(a.body, &body); err != nil {
		w.t.Fatal(err)
	}

	if bytes.Contains(a.body, []byte("whsec_")) || bytes.Contains(a.body, []byte("secret")) {
		w.t.Errorf("the list shows a secret: %s", a.body)
	}

	return body.Webhooks
}

func TestWebhooks(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	if got := w.webhooks(); got == nil || len(got) != 0 {
		t.Errorf("no webhooks are an empty list: %v", got)
	}

	a := w.do(http.MethodPost, "/v1/webhooks", `{"url":"https://hooks.company.com/path-token"}`).want(http.StatusCreated)
	id, secret := a.text("id"), a.text("secret")

	encoded, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)

	if !ok || err != nil || len(key) < 24 || len(key) > 64 || a.text("url") != "https://hooks.company.com/path-token" || a.text("actor") != "someone@acme" {
		t.Errorf("the secret has not the form of Standard Webhooks: %v %s", err, strings.ReplaceAll(string(a.body), encoded, "..."))
	}

	second := w.do(http.MethodPost, "/v1/webhooks", `{"url":"https://hooks.company.com/path-token"}`).want(http.StatusCreated)
	if second.text("secret") == secret || second.text("id") == id {
		t.Error("two webhooks share a secret or an id")
	}

	want := []httpapi.Webhook{{ID: id, Tenant: "acme", URL: "https://hooks.company.com/path-token", Actor: "someone@acme", Time: w.clock.Now()}}
	w.do(http.MethodDelete, "/v1/webhooks/"+second.text("id"), "").want(http.StatusNoContent)

	if diff := cmp.Diff(want, w.webhooks("X-Test-Who", "acme viewer")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Another tenant sees nothing of it and can do nothing to it.
	other := []string{"X-Test-Who", "other deployer"}
	if got := w.webhooks(other...); len(got) != 0 {
		t.Errorf("%v", got)
	}

	w.do(http.MethodDelete, "/v1/webhooks/"+id, "", other...).want(http.StatusNotFound, "not_found")
	w.do(http.MethodDelete, "/v1/webhooks/"+id, "").want(http.StatusNoContent)
	w.clock.Sleep(t.Context(), time.Second) // the trail takes one line of a kind in a moment
	w.do(http.MethodDelete, "/v1/webhooks/"+id, "").want(http.StatusNotFound, "not_found")

	trail, _, _, err := w.store.Entries(t.Context(), "acme", "", 10, "")
	if err != nil {
		t.Fatal(err)
	}

	actions := map[string]int{}
	for _, e := range trail {
		actions[e.Action+" "+string(e.Outcome)]++

		if !strings.HasPrefix(e.Subject, "webhook ") || e.Actor != "someone@acme" {
			t.Errorf("%+v", e)
		}

		if text := fmt.Sprintf("%+v", e); strings.Contains(text, encoded) || strings.Contains(text, "path-token") {
			t.Errorf("the trail holds a secret: %s", text)
		}
	}

	if diff := cmp.Diff(map[string]int{"subscribe DONE": 2, "unsubscribe DONE": 2}, actions); diff != "" {
		t.Errorf("audit trail (-want +got):\n%s", diff)
	}

	if strings.Contains(w.log.String(), encoded) || strings.Contains(w.log.String(), "path-token") {
		t.Error("the log holds a secret")
	}
}

func TestWebhooksThatAreRefused(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.do(http.MethodPost, "/v1/webhooks", `{"url":"http://169.254.169.254/"}`).want(http.StatusUnprocessableEntity, "invalid_url")
	w.do(http.MethodPost, "/v1/webhooks", `{}`).want(http.StatusUnprocessableEntity, "missing_member")
	w.do(http.MethodPost, "/v1/webhooks", `{"url":"https://hooks.company.com/","secret":"mine"}`).want(http.StatusUnprocessableEntity, "unknown_member")

	for i := range 10 {
		w.do(http.MethodPost, "/v1/webhooks", fmt.Sprintf(`{"url":"https://hooks.company.com/%d"}`, i)).want(http.StatusCreated)
	}

	w.do(http.MethodPost, "/v1/webhooks", `{"url":"https://hooks.company.com/one-more"}`).want(http.StatusConflict, "too_many_webhooks")

	list := w.webhooks()
	if len(list) != 10 {
		t.Fatalf("%d webhooks", len(list))
	}

	w.do(http.MethodPost, "/v1/webhooks", `{"url":"https://hooks.company.com/"}`, "X-Test-Who", "other deployer").want(http.StatusCreated)
	w.do(http.MethodDelete, "/v1/webhooks/"+list[0].ID, "").want(http.StatusNoContent)
	w.do(http.MethodPost, "/v1/webhooks", `{"url":"https://hooks.company.com/one-more"}`).want(http.StatusCreated)
}

// TestSubscribeAgain: who lost the answer asks again with the same key, and gets the same webhook with the same secret.
func TestSubscribeAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	body := `{"url":"https://hooks.example.com/a"}`

	first := w.do(http.MethodPost, "/v1/webhooks", body, "Idempotency-Key", "k1").want(http.StatusCreated)
	again := w.do(http.MethodPost, "/v1/webhooks", body, "Idempotency-Key", "k1").want(http.StatusCreated)

	if string(first.body) != string(again.body) || len(w.webhooks()) != 1 {
		t.Errorf("the same key gets the same answer:\n%s\n%s", first.body, again.body)
	}

	w.do(http.MethodPost, "/v1/webhooks", `{"url":"https://hooks.example.com/b"}`, "Idempotency-Key", "k1").want(http.StatusUnprocessableEntity, "idempotency_key_reused")
	w.do(http.MethodPost, "/v1/webhooks", body, "Idempotency-Key", "k2").want(http.StatusCreated)

	if got := len(w.webhooks()); got != 2 {
		t.Errorf("another key is another webhook: %d", got)
	}
}
