package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/gzipped"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/oidc"
	"github.com/metaflow-deployer/metaflow-deployer/internal/portal"
)

const (
	// portalBytes is how much a first visit may load, documents and scripts and answers together.
	portalBytes = 250_000
	// visits is how often each page is opened.
	visits = 7
)

// BenchmarkPortal opens the portal in Chromium with an empty cache, and a bare static page with a table of the same environments by turns. The API behind
// it answers from memory: it is the page that is measured, with the login's way to the issuer and back.
func BenchmarkPortal(b *testing.B) {
	chromium, tools := os.Getenv("METAFLOW_DEPLOYER_CHROMIUM"), os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	if chromium == "" || tools == "" {
		b.Skip("METAFLOW_DEPLOYER_CHROMIUM and METAFLOW_DEPLOYER_LOCAL do not name the browser and its driver; `make bench` sets them")
	}

	document, err := os.ReadFile("../../internal/httpapi/testdata/openapi.json")
	if err != nil {
		b.Fatal(err)
	}

	key, err := oidc.Key(filepath.Join(b.TempDir(), "oidc.pem"))
	if err != nil {
		b.Fatal(err)
	}

	var issuer *oidc.Issuer

	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.ServeHTTP(w, r) }))
	defer provider.Close()

	issuer = oidc.New(provider.URL+oidc.Path, key)

	handler, err := portal.New(portal.Options{
		Issuer: issuer.URL(), ClientID: oidc.PortalClient, Scope: "openid", Audience: oidc.Audience, TenantClaim: "tenant", RolesClaim: "roles", Connect: "'self'",
	})
	if err != nil {
		b.Fatal(err)
	}

	described := gzipped.New(document)
	list, rows := environments()
	mux := http.NewServeMux()
	mux.Handle("/portal/", handler)
	mux.HandleFunc("/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(described.For(w.Header(), r)) // as the API serves it
	})
	mux.HandleFunc("/v1/deployments", fixed("application/json", list))
	mux.HandleFunc("/bare", fixed("text/html", "<!doctype html><html lang=en><title>Environments</title><h1>Environments</h1><table>"+rows+"</table>"))

	server := httptest.NewServer(mux)
	defer server.Close()

	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), "node", "portal.mjs", server.URL, provider.URL, strconv.Itoa(visits))
		cmd.Env = append(os.Environ(), "PORTAL_NODE="+filepath.Join(tools, "node"))
		cmd.Stderr = os.Stderr

		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}

		var found map[string][]struct{ MS, Bytes float64 }
		if err := json.Unmarshal(out, &found); err != nil {
			b.Fatal(err)
		}

		of := func(name string) (ms, bytes float64) {
			var times, sizes []float64
			for _, v := range found[name] {
				times, sizes = append(times, v.MS), append(sizes, v.Bytes)
			}

			return median(times), median(sizes)
		}

		ms, bytes := of("portal")
		bareMS, bareBytes := of("bare")
		part := fmt.Sprintf("portal in Chromium, median of %d first visits", visits)

		results.compare(b, part, "until it can be used, a bare static page", ms, bareMS, 0, "ms")
		results.compare(b, part, "bytes on the wire, a bare static page", bytes, bareBytes, 0, "bytes")
		results.count(b, part, "bytes on the wire", bytes, portalBytes, "bytes")
	}
}

// environments are a list as the API answers it, and the same as rows of a table.
func environments() (list, rows string) {
	deployments := []map[string]any{}

	for i := range 50 {
		name, at := fmt.Sprintf("team-%03d", i), time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC).Format(time.RFC3339)
		deployments = append(deployments, map[string]any{
			"name": name, "tenant": "bench", "phase": "ACTIVE", "spec": map[string]any{}, "labels": map[string]any{}, "region": "us-east-1", "account": "123456789012",
			"owner": "bench-user", "createTime": at, "updateTime": at, "operation": name + "-0", "resources": map[string]int{"total": 15, "ready": 15}, "etag": `"1"`,
		})
		rows += "<tr><td>" + name + "<td>active<td>15 of 15<td>us-east-1<td>bench-user<td>" + at
	}

	b, err := json.Marshal(map[string]any{"deployments": deployments})
	if err != nil {
		panic(err) // texts and numbers always encode
	}

	return string(b), rows
}

func fixed(media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = w.Write([]byte(body)) // a browser that left needs no answer
	}
}
