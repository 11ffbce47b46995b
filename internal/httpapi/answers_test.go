package httpapi_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
)

// TestMain looks, after a whole run, whether the tests have seen every answer that the document promises.
func TestMain(m *testing.M) {
	code := m.Run()

	if s := document.schemas; code == 0 && s != nil && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" {
		seen, missing := 0, 0

		for _, o := range s.operations() {
			for _, status := range o.statuses() {
				if s.seen[[3]string{o.method, o.path, status}] {
					seen++
				} else if o.elsewhere(status) == "" {
					missing++

					fmt.Printf("%s %s: no test has seen a %s, which the document promises\n", o.method, o.path, status)
				}
			}
		}

		if missing > 0 {
			code = 1
		}

		fmt.Printf("documented answers: %d seen, %d missing\n", seen, missing)
	}

	os.Exit(code)
}

// elsewhere tells why an answer cannot be seen here, empty if it can.
func (o operation) elsewhere(status string) string {
	switch {
	case status == "401", status == "429":
		return "API Gateway gives it; the tests of the front door and the end-to-end tests see it"
	case status == "405":
		return "a variable of the path holds a slash or a question mark and API Gateway has decoded it: then this is another path, and TestRoutes sees its 405"
	case o.role == "" && status >= "500":
		return "API Gateway gives it: the open routes ask nobody"
	case o.id == "listKinds" && status == "503":
		return "API Gateway gives it: the list is part of the program"
	}

	return ""
}

// TestRefusals provokes on every route what every route can refuse.
func TestRefusals(t *testing.T) {
	t.Parallel()

	const unknown = "nobody-has-this"

	for _, o := range newWorld(t).schemas.operations() {
		if o.role == "" {
			continue
		}

		for _, status := range o.statuses() {
			w := ready(t, o.id)
			before := w.snapshot("acme")
			target, body := o.request()
			header := o.as()

			and := "?"
			if strings.Contains(target, "?") {
				and = "&"
			}

			switch status {
			case "400": // what cannot be read
				if body == "" {
					target += and + "pageToken=rubbish"
				} else {
					body = `{"name":`
				}
			case "403":
				header = []string{"X-Test-Who", ""}
			case "404":
				target = strings.NewReplacer("team-a", unknown, "acme-flows", unknown, "01jn0000000000000000000009", unknown).Replace(target)
			case "413":
				body = strings.Repeat(" ", 64<<10) + body
			case "415":
				header = append(header, "Content-Type", "text/plain")
			case "422":
				target += and + "colour=red"
			case "500", "503":
				if o.id == "listKinds" {
					continue // it reads nothing
				}

				code := map[string]string{"500": "AccessDeniedException", "503": "ThrottlingException"}[status]
				w.store.Fault = every(&smithy.GenericAPIError{Code: code, Message: "no"})
			default:
				continue // success, and what a route alone refuses: its own tests see that
			}

			if a := w.do(o.method, target, body, header...); fmt.Sprint(a.status) != status {
				t.Errorf("%s %s: %d, want %s: %s", o.method, target, a.status, status, a.body)
			} else if status == "503" && a.header.Get("Retry-After") == "" {
				t.Errorf("%s %s: a 503 without Retry-After", o.method, target)
			}

			w.store.Fault = nil

			if after := w.snapshot("acme"); before != after {
				t.Errorf("%s %s: the refusal %s changed something:\n%s\n%s", o.method, target, status, before, after)
			}
		}
	}
}

// TestMatrix asks for everything as everybody. Who lacks a role is refused and changes nothing. Another tenant gets what it would get if the first did not
// exist: the same bytes, but for the times and the numbers of what it made itself.
func TestMatrix(t *testing.T) {
	t.Parallel()

	rank := map[string]int{"viewer": 1, "deployer": 2, "admin": 3}
	cells, refused, foreign := 0, 0, 0

	for _, o := range newWorld(t).schemas.operations() {
		if want := o.needs(); want != o.role {
			t.Errorf("%s %s takes the role %q, want %q", o.method, o.path, o.role, want)
		}

		for _, who := range []string{
			"", "acme", "acme viewer", "acme deployer", "acme admin", "other", "other viewer", "other deployer", "other admin",
		} {
			for _, naming := range []bool{false, true} {
				cells++

				tenant, role, _ := strings.Cut(who, " ")
				target, body := o.request()
				enough := o.role == "" || rank[role] >= rank[o.role]

				if naming {
					if o.role == "" || tenant == "acme" || o.id == "listOrphans" {
						cells-- // it names nobody else, or takes no tenant

						continue
					}

					enough = enough && role == "admin"

					and := "?"
					if strings.Contains(target, "?") {
						and = "&"
					}

					target += and + "tenant=acme"
				}

				w := ready(t, o.id)
				if o.id == "createDeployment" && tenant == "other" && !naming {
					w = ready(t, "getDeployment") // of the same name
				}

				mine, theirs := w.snapshot("acme"), w.snapshot("other")
				a := w.do(o.method, target, body, "X-Test-Who", who)
				cell := fmt.Sprintf("%s %s as %q", o.method, target, who)

				switch {
				case who == "" && o.role != "":
					a.want(http.StatusForbidden, "no_principal")
				case !enough:
					a.want(http.StatusForbidden, "role_missing")
				case tenant != "other" || naming || o.role == "":
					if fmt.Sprint(a.status) != o.success() {
						t.Errorf("%s: %d, want %s: %s", cell, a.status, o.success(), a.body)
					}
				case o.id != "listOrphans": // which shows all tenants' on purpose
					foreign++

					alone := newWorld(t).do(o.method, target, body, "X-Test-Who", who)
					if a.status != alone.status || masked(a.body) != masked(alone.body) {
						t.Errorf("%s sees that there is something: %d %s\nwithout it: %d %s", cell, a.status, a.body, alone.status, alone.body)
					}

					if strings.Contains(o.path, "{") && a.status != http.StatusNotFound {
						t.Errorf("%s: %d, want 404", cell, a.status)
					}
				}

				if a.status >= http.StatusBadRequest {
					refused++

					if w.snapshot("other") != theirs {
						t.Errorf("%s was refused and changed something of its own tenant's", cell)
					}
				}

				if (a.status >= http.StatusBadRequest || tenant == "other" && !naming) && w.snapshot("acme") != mine {
					t.Errorf("%s changed something of acme's", cell)
				}
			}
		}
	}

	t.Logf("%d cells: %d refused without a trace, %d of another tenant answered as if nothing were there", cells, refused, foreign)
}

// needs is who may: whoever reads needs viewer, whoever changes deployer, and some take an admin.
func (o operation) needs() string {
	switch {
	case !strings.HasPrefix(o.path, "/v1/"):
		return ""
	case strings.HasSuffix(o.path, ":skip"), o.path == "/v1/orphans", o.path == "/v1/grants" && o.method != http.MethodGet:
		return "admin"
	case o.method == http.MethodGet, strings.HasSuffix(o.path, ":drift"):
		return "viewer"
	}

	return "deployer"
}

// every makes each call of the store fail.
func every(err error) func(context.Context, string, deploy.Key) memory.Fault {
	return func(context.Context, string, deploy.Key) memory.Fault { return memory.Fault{Before: err} }
}

// masked leaves out of an answer what differs between two worlds that nobody can tell apart otherwise: times, the numbers of operations, and what is made by chance.
func masked(body []byte) string {
	return regexp.MustCompile(`01[0-9a-z]{24}|2026-\d\d-\d\dT\d\d:\d\d:\d\dZ|whsec_[^"]*`).ReplaceAllString(string(body), "…")
}

// snapshot is all that the store holds of a tenant, with what belongs to nobody and what was started.
func (w *world) snapshot(tenant string) string {
	w.t.Helper()

	all := map[string]any{}
	keep := func(name string, v any, err error) {
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}

		all[name] = v
	}
	ctx := w.t.Context()

	page, _, err := w.store.Deployments(ctx, store.List{Tenant: tenant, Size: 100, Deleted: true, Match: func(deploy.Deployment) bool { return true }})
	keep("deployments", page, err)

	for _, d := range page {
		record, err := w.store.Load(ctx, d.Key)
		keep(d.Name, record, err)

		operations, err := w.store.Operations(ctx, d.Key, 100, "")
		keep(d.Name+" operations", operations, err)

		events, err := w.store.Events(ctx, d.Key)
		keep(d.Name+" events", events, err)
	}

	entries, _, _, err := w.store.Entries(ctx, tenant, "", 100, "")
	keep("entries", entries, err)

	grants, err := w.store.Grants(ctx, tenant)
	keep("grants", grants, err)

	webhooks, err := w.store.Webhooks(ctx, tenant)
	keep("webhooks", webhooks, err)

	usage, err := w.store.Usage(ctx, tenant)
	keep("usage", usage, err)

	queued, err := w.store.Queued(ctx, tenant, 100)
	keep("queued", queued, err)

	orphans, _, err := w.store.Orphans(ctx, 100, "")
	keep("orphans", orphans, err)

	w.starter.mu.Lock()
	defer w.starter.mu.Unlock()

	for _, e := range w.starter.started {
		if e.Tenant == tenant {
			all["started "+e.Operation] = e
		}
	}

	b, err := json.Marshal(all)
	if err != nil {
		w.t.Fatal(err)
	}

	return string(b)
}
