package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// operation is one route and method of the served document.
type operation struct {
	id, method, path, role string

	doc map[string]any
}

// operations are all that the document has.
func (s *schemas) operations() []operation {
	var all []operation

	paths := s.doc["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := paths[path].(map[string]any)
		for _, method := range slices.Sorted(maps.Keys(item)) {
			if method == "servers" {
				continue
			}

			doc := item[method].(map[string]any)
			role, _ := doc["x-role"].(string)
			all = append(all, operation{id: doc["operationId"].(string), method: strings.ToUpper(method), path: path, role: role, doc: doc})
		}
	}

	return all
}

// statuses are those that the document promises.
func (o operation) statuses() []string {
	responses, _ := object(o.doc, "responses")

	return slices.Sorted(maps.Keys(responses))
}

// success is the first of them, or the one that has an example.
func (o operation) success() string {
	for _, status := range o.statuses() {
		if media, _ := object(o.doc, "responses", status, "content", "application/json"); media["example"] != nil && status < "300" {
			return status
		}
	}

	return o.statuses()[0]
}

// answer is the example of the successful answer, nil without one.
func (o operation) answer() any {
	media, _ := object(o.doc, "responses", o.success(), "content", "application/json")

	return media["example"]
}

// request is the example in the document: the target, with the parameters that have an example, and the body.
func (o operation) request() (target, body string) {
	target = o.path
	query := url.Values{}

	parameters, _ := o.doc["parameters"].([]any)
	for _, p := range parameters {
		p := p.(map[string]any)
		name := p["name"].(string)

		switch {
		case p["example"] == nil:
		case p["in"] == "path":
			target = strings.ReplaceAll(target, "{"+name+"}", fmt.Sprint(p["example"]))
		case p["in"] == "query":
			query.Set(name, fmt.Sprint(p["example"]))
		}
	}

	if len(query) > 0 {
		target += "?" + query.Encode()
	}

	if media, ok := object(o.doc, "requestBody", "content", "application/json"); ok {
		b, err := json.Marshal(media["example"])
		if err != nil {
			panic(err) // it was JSON a moment ago
		}

		body = string(b)
	}

	return target, body
}

// ready is a world in which the example of an operation works: team-a of tenant acme is there, and whatever else it takes.
func ready(t *testing.T, id string) *world {
	t.Helper()

	w := newWorld(t)

	switch id {
	case "createDeployment", "planDeployment":
		return w
	case "listWebhooks", "unsubscribe":
		err := w.store.Subscribe(t.Context(), deploy.Webhook{
			ID: "01jn0000000000000000000009", Tenant: "acme", URL: "https://hooks.example.com/metaflow", Actor: "someone@acme", Time: w.clock.Now(), Secret: "whsec_x",
		}, deploy.Entry{ID: "1", Tenant: "acme"})
		if err != nil {
			t.Fatal(err)
		}
	case "skipResource":
		w.role.stuck = deploy.Errorf(deploy.Conflict, "DeleteConflict", "Somebody attached a policy to the role.").WithRemedy("Detach the policy.")
	case "listOrphans":
		err := w.store.NoteOrphan(t.Context(), deploy.Orphan{
			Key: deploy.Key{Tenant: "acme", Name: "team-b"}, Resource: "job-queue/default", ID: "team-b-4smkvw4k-default",
			ARN: "arn:aws:batch:us-east-1:123456789012:job-queue/team-b-4smkvw4k-default", State: deploy.OrphanNoted, Reason: "No record knows it.", FirstSeen: w.clock.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
	case "listGrants", "withdraw":
		w.do(http.MethodPost, "/v1/grants?tenant=acme", `{"kind":"bucket","value":"acme-flows"}`, "X-Test-Who", "ops admin").want(http.StatusOK)
	}

	w.create(`{"name":"team-a","labels":{"team":"ml"},"ttl":"3d"}`)

	if slices.Contains([]string{"cancelOperation", "getOperation"}, id) {
		return w
	}

	w.run("team-a")

	if id == "skipResource" || id == "resumeOperation" {
		w.do(http.MethodDelete, "/v1/deployments/team-a", "").want(http.StatusAccepted)
	}

	if id == "skipResource" {
		w.run("team-a")
	}

	return w
}

// as is the header of somebody of tenant acme who may just do it.
func (o operation) as() []string { return []string{"X-Test-Who", "acme " + o.role} }

// TestExamples sends the document's own examples and gets the document's own answers. With -update it writes the answers.
func TestExamples(t *testing.T) {
	t.Parallel()

	const file = "examples.json"

	var (
		fromFile map[string]map[string]any
		all      = newWorld(t).schemas.operations()
	)

	if *update {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}

		if err := json.Unmarshal(b, &fromFile); err != nil {
			t.Fatal(err)
		}
	}

	for _, o := range all {
		if o.id == "openapi" || o.id == "docs" {
			continue // documents, which are their own example
		}

		w := ready(t, o.id)
		target, body := o.request()

		if strings.Contains(target, "{") || body == "null" {
			t.Errorf("%s %s: an example is missing for a parameter of the path or for the body: write it into %s under %q", o.method, o.path, file, o.id)

			continue
		}

		a := w.do(o.method, target, body, o.as()...)
		if fmt.Sprint(a.status) != o.success() {
			t.Errorf("%s %s %s: %d, want %s: %s", o.method, target, body, a.status, o.success(), a.body)

			continue
		}

		var got any
		if len(a.body) > 0 {
			if err := json.Unmarshal(a.body, &got); err != nil {
				t.Fatal(err)
			}
		}

		// What is made by chance is another each time.
		if made, ok := got.(map[string]any); ok && o.id == "subscribe" {
			made["id"], made["secret"] = "01jn0000000000000000000009", "whsec_c2hvd24gdGhpcyBvbmNl"
		}

		if *update && got != nil {
			if fromFile[o.id] == nil {
				fromFile[o.id] = map[string]any{}
			}

			fromFile[o.id]["answer"] = got

			continue
		}

		want, err := json.Marshal(o.answer())
		if err != nil {
			t.Fatal(err)
		}

		have, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}

		if !bytes.Equal(want, have) {
			t.Errorf("%s %s: the example is not what is answered; -update writes it (-document +answer):\n%s", o.method, o.path, cmp.Diff(string(want), string(have)))
		}
	}

	if *update {
		b, err := json.MarshalIndent(fromFile, "", "  ")
		if err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(file, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
