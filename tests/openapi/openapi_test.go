// Package openapi looks at the API's document as others do: a linter for its form, and a comparison with the last release for what would break callers. That
// the document is true is shown in package httpapi, whose golden file is read here.
//
// It must not know how the document is made.
package openapi

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/tests/needs"
)

const (
	document = "../../internal/httpapi/testdata/openapi.json"
	// released is the document of the last release; a release that changes the API replaces it.
	released = "../../docs/openapi-v1.json"
)

// tool is a program under METAFLOW_DEPLOYER_LOCAL.
func tool(t *testing.T, path ...string) string {
	t.Helper()

	local := os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	file := filepath.Join(append([]string{local}, path...)...)

	if _, err := os.Stat(file); local == "" || err != nil {
		t.Skipf("METAFLOW_DEPLOYER_LOCAL names no folder with %s: see `make test`", filepath.Join(path...))
	}

	return file
}

func TestLint(t *testing.T) {
	t.Parallel()

	needs.Files(t, "redocly.yaml", document)

	cmd := exec.CommandContext(t.Context(), tool(t, "node", "node_modules", ".bin", "redocly"), "lint", "--config", "redocly.yaml", document)
	cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")

	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("redocly: %v\n%s", err, out)
	}
}

// breaks compares two documents, and gives what would break callers of the first.
func breaks(t *testing.T, before, after string) (report string, broken bool) {
	t.Helper()

	needs.Files(t, before, after)

	out, err := exec.CommandContext(t.Context(), tool(t, "bin", "oasdiff"), "breaking", before, after, "--fail-on", "ERR").CombinedOutput()
	if e, ok := err.(*exec.ExitError); err != nil && (!ok || e.ExitCode() != 1) { //nolint:errorlint // exec gives it unwrapped
		t.Fatalf("oasdiff: %v\n%s", err, out)
	}

	return string(out), err != nil
}

func TestNothingBreaks(t *testing.T) {
	t.Parallel()

	if report, broken := breaks(t, released, document); broken {
		t.Errorf("callers of the last release would break:\n%s\nKeep what they rely on; if it has to go, that is another /v2.", report)
	}
}

// The comparison is only worth something if it sees what it is there for.
func TestBreakingChangesAreSeen(t *testing.T) {
	t.Parallel()

	type object = map[string]any

	at := func(doc object, path ...string) object {
		for _, name := range path {
			next, ok := doc[name].(object)
			if !ok {
				t.Fatalf("the document has no %s", strings.Join(path, " "))
			}

			doc = next
		}

		return doc
	}

	for name, tc := range map[string]struct {
		reason string
		change func(object)
		breaks bool
	}{
		"Nothing": {"the same document", func(object) {}, false},
		"Path":    {"a route is gone", func(d object) { delete(at(d, "paths"), "/v1/kinds") }, true},
		"Method":  {"a method is gone", func(d object) { delete(at(d, "paths", "/v1/deployments/{name}"), "put") }, true},
		"Answer":  {"a member of an answer is gone", func(d object) { delete(at(d, "components", "schemas", "Operation", "properties"), "done") }, true},
		"Required": {"a member of a request became required", func(d object) {
			s := at(d, "components", "schemas", "CreateDeployment")
			s["required"] = append(s["required"].([]any), "ttl")
		}, true},
		"Enum": {"a value of a request is no longer taken", func(d object) {
			p := at(d, "components", "schemas", "NewGrant", "properties", "kind")
			p["enum"] = p["enum"].([]any)[1:]
		}, true},
		"Parameter": {"a parameter became required", func(d object) {
			for _, p := range at(d, "paths", "/v1/operations/{id}", "get")["parameters"].([]any) {
				p.(object)["required"] = true
			}
		}, true},
		"Added": {"a new member that may be left out", func(d object) {
			at(d, "components", "schemas", "CreateDeployment", "properties")["more"] = object{"type": "string"}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b, err := os.ReadFile(released)
			if err != nil {
				t.Fatal(err)
			}

			var doc object
			if err := json.Unmarshal(b, &doc); err != nil {
				t.Fatal(err)
			}

			tc.change(doc)

			if b, err = json.Marshal(doc); err != nil {
				t.Fatal(err)
			}

			file := filepath.Join(t.TempDir(), "openapi.json")
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}

			if report, broken := breaks(t, released, file); broken != tc.breaks {
				t.Errorf("%s: broken %v, want %v\n%s", tc.reason, broken, tc.breaks, report)
			}
		})
	}
}
