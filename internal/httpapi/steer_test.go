package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

func TestSteer(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason       string
		path, body   string
		status       int
		code, member string
	}{
		"Unknown":      {reason: "an id that was never given out", path: "team-a-00000000000000000000000000:cancel", status: http.StatusNotFound, code: "not_found"},
		"Malformed":    {reason: "an id that cannot be one is as unknown", path: "x:resume", status: http.StatusNotFound, code: "not_found"},
		"NotEnded":     {reason: "a resource can only be left behind when its removal has failed", path: "{op}:skip", body: `{"resource":"vpc"}`, status: http.StatusUnprocessableEntity, code: "nothing_to_skip", member: "/resource"},
		"NoResource":   {reason: "a skip must say what", path: "{op}:skip", body: `{}`, status: http.StatusUnprocessableEntity, code: "missing_member"},
		"UnknownField": {reason: "unknown members are refused", path: "{op}:skip", body: `{"resource":"vpc","force":true}`, status: http.StatusUnprocessableEntity},
		"Cancel":       {reason: "a create that has only been admitted can be cancelled", path: "{op}:cancel", status: http.StatusAccepted},
		"Resume":       {reason: "one that goes on already is the answer itself", path: "{op}:resume", status: http.StatusAccepted},
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			id := w.create(`{"name":"team-a"}`)

			path := "/v1/operations/" + tt.path
			if tt.path[0] == '{' {
				path = "/v1/operations/" + id + tt.path[len("{op}"):]
			}

			a := w.do(http.MethodPost, path, tt.body, "X-Test-Who", "acme admin")

			want := []string{}
			if tt.code != "" {
				want = append(want, tt.code)
			}

			if tt.member != "" {
				want = append(want, tt.member)
			}

			a.want(tt.status, want...)

			if tt.status == http.StatusAccepted && (a.field("id") != id || a.header.Get("Location") != "/v1/operations/"+id) {
				t.Errorf("%s: %s", tt.reason, a.body)
			}
		})
	}
}

// TestCancelOnce posts the same cancel twice with one key: the second gets the first's answer, byte for byte, though the operation has moved on.
func TestCancelOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id := w.create(`{"name":"team-a"}`)

	first := w.do(http.MethodPost, "/v1/operations/"+id+":cancel", "", "Idempotency-Key", "k1")
	first.want(http.StatusAccepted)

	if first.field("state") != "ROLLING_BACK" {
		t.Errorf("a cancelled create rolls back: %s", first.body)
	}

	second := w.do(http.MethodPost, "/v1/operations/"+id+":cancel", "", "Idempotency-Key", "k1")
	second.want(http.StatusAccepted)

	if string(first.body) != string(second.body) {
		t.Errorf("the same key must get the same answer:\n%s\n%s", first.body, second.body)
	}
}

// TestSteerConflicts: what is over cannot be steered any more, and what is being admitted not twice at a time.
func TestSteerConflicts(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id := w.create(`{"name":"team-a"}`)
	w.run("team-a")

	for _, verb := range []string{"cancel", "resume"} {
		w.do(http.MethodPost, "/v1/operations/"+id+":"+verb, "").want(http.StatusConflict, "operation_done")
	}

	w.store.Fault = fault("Claim", store.ErrBusy, nil)
	a := w.do(http.MethodPost, "/v1/operations/"+id+":skip", `{"resource":"bucket"}`, "X-Test-Who", "acme admin", "Idempotency-Key", "k")

	if a.want(http.StatusConflict, "request_in_progress"); a.header.Get("Retry-After") == "" {
		t.Error("a key that is being admitted is worth another try")
	}
}
