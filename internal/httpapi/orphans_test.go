package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/httpapi"
)

func TestOrphans(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	admin := []string{"X-Test-Who", "ops admin"}

	if a := w.do(http.MethodGet, "/v1/orphans", "", admin...).want(http.StatusOK); a.field("orphans") == nil {
		t.Errorf("no orphans are an empty list: %s", a.body)
	}

	var want []httpapi.Orphan

	for _, o := range []deploy.Orphan{
		{Key: deploy.Key{Tenant: "acme", Name: "team-a"}, Resource: "bucket", ID: "b", ARN: "arn:aws:s3:::b", State: deploy.OrphanHeld, Reason: "It may hold data."},
		{Key: deploy.Key{Tenant: "other", Name: "team-b"}, Resource: "job-queue/x", ID: "q", State: deploy.OrphanNoted, Reason: "later"},
		{Key: deploy.Key{Tenant: "acme", Name: "team-a"}, Resource: "vpc", ID: "vpc-1", State: deploy.OrphanRefused, Memo: map[string]string{"secret": "x"}},
	} {
		o.FirstSeen = w.clock.Now()
		if err := w.store.NoteOrphan(t.Context(), o); err != nil {
			t.Fatal(err)
		}

		want = append(want, httpapi.Orphan{
			Resource: o.Resource, Kind: o.Resource.Kind(), ID: o.ID, ARN: o.ARN, Tenant: o.Key.Tenant, Deployment: o.Key.Name,
			FirstSeen: o.FirstSeen, State: o.State, Reason: o.Reason,
		})
	}

	var got []httpapi.Orphan

	for path, pages := "/v1/orphans?pageSize=2", 0; path != ""; pages++ {
		var body httpapi.Orphans
		if err := json.Unmarshal(w.do(http.MethodGet, path, "", admin...).want(http.StatusOK).body, &body); err != nil || pages > 2 {
			t.Fatalf("page %d: %v", pages, err)
		}

		got = append(got, body.Orphans...)

		path = ""
		if body.NextPageToken != "" {
			path = "/v1/orphans?pageSize=2&pageToken=" + body.NextPageToken
		}
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all tenants' orphans, in order (-want +got):\n%s", diff)
	}

	w.do(http.MethodGet, "/v1/orphans?pageToken=rubbish", "", admin...).want(http.StatusBadRequest, "bad_page_token", "pageToken")
	w.do(http.MethodGet, "/v1/orphans", "", "X-Test-Who", "acme deployer").want(http.StatusForbidden, "role_missing")
}
