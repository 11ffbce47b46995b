// Package mutation_test breaks the product's own safety on purpose, one small change at a time, and asks the tests that stand beside the code whether they
// notice. A change that nobody notices is a promise that nobody keeps watch over.
//
// The table (table_test.go) holds each change as exact text. The tree itself is never touched: `go test -overlay` puts the changed copy in place of the file. A
// plain `go test` only checks that the table still fits the code; `make mutate` breaks and runs.
package mutation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// mutation is one change of the product and the tests that must fail with it.
type mutation struct {
	name, reason string
	// file from the root of the project; old stands in it exactly once and becomes new.
	file, old, new string
	// tests are arguments of go test.
	tests string
}

// mutated returns the file's text with the change in it.
func (m mutation) mutated() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root(), m.file))
	if err != nil {
		return nil, err
	}

	if n := strings.Count(string(text), m.old); n != 1 {
		return nil, fmt.Errorf("%s holds the text to change %d times, want once:\n%s", m.file, n, m.old)
	}

	if m.old == m.new || m.new != "" && strings.Contains(m.new, m.old) && strings.TrimSpace(m.new) == strings.TrimSpace(m.old) {
		return nil, fmt.Errorf("%s is not changed", m.file)
	}

	return []byte(strings.Replace(string(text), m.old, m.new, 1)), nil
}

func root() string {
	_, file, _, _ := runtime.Caller(0)

	return filepath.Join(filepath.Dir(file), "..", "..")
}

// TestTableFitsTheCode keeps the table from rotting: whoever changes one of these places changes its mutation as well.
func TestTableFitsTheCode(t *testing.T) {
	t.Parallel()

	seen := map[string]bool{}

	for _, m := range mutations() {
		if seen[m.name] || m.reason == "" || m.tests == "" {
			t.Errorf("%s stands twice, or lacks a reason or its tests", m.name)
		}

		seen[m.name] = true

		if _, err := m.mutated(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}

	if len(seen) < 25 {
		t.Errorf("only %d mutations", len(seen))
	}
}

// TestMutationsAreCaught runs every mutation, or those whose names hold METAFLOW_DEPLOYER_MUTATE if that is not "1".
func TestMutationsAreCaught(t *testing.T) {
	wanted := os.Getenv("METAFLOW_DEPLOYER_MUTATE")
	if wanted == "" {
		t.Skip("METAFLOW_DEPLOYER_MUTATE is not set: run `make mutate`")
	}

	tried := slices.DeleteFunc(mutations(), func(m mutation) bool { return wanted != "1" && !strings.Contains(m.name, wanted) })

	// A test that fails anyway catches nothing.
	sound := map[string]bool{}

	for _, m := range tried {
		if _, done := sound[m.tests]; done {
			continue
		}

		out, err := goTest(t.Context(), m.tests)
		if sound[m.tests] = err == nil; err != nil {
			t.Errorf("go test %s fails without any mutation:\n%s", m.tests, out)
		}
	}

	caught := 0

	for _, m := range tried {
		t.Run(m.name, func(t *testing.T) {
			if !sound[m.tests] {
				t.Skip("its tests fail without it")
			}

			overlay := m.overlay(t)

			if out, err := run(t.Context(), "build", "-o", os.DevNull, "-overlay", overlay, "./"+filepath.Dir(m.file)); err != nil {
				t.Fatalf("the table is wrong: the mutation does not compile:\n%s", out)
			}

			out, err := goTest(t.Context(), "-overlay "+overlay+" "+m.tests)

			switch {
			case err == nil:
				t.Errorf("survived: %s\nnobody noticed that %s was changed:\n-%s\n+%s", m.reason, m.file, m.old, m.new)
			case !bytes.Contains(out, []byte("--- FAIL")) && !bytes.Contains(out, []byte("panic: ")):
				t.Errorf("the tests did not run:\n%s", out)
			default:
				caught++

				t.Logf("caught by %s", first(out))
			}
		})
	}

	fmt.Printf("caught %d / tried %d\n", caught, len(tried))
}

// overlay writes the changed file and the list that tells the go command about it.
func (m mutation) overlay(t *testing.T) string {
	t.Helper()

	text, err := m.mutated()
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	changed, list := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json")

	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root(), m.file): changed}})
	if err != nil {
		t.Fatal(err)
	}

	for path, content := range map[string][]byte{changed: text, list: replace} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	return list
}

// goTest runs tests. One that hangs is ended, which is a failure like any other.
func goTest(ctx context.Context, args string) ([]byte, error) {
	return run(ctx, append([]string{"test", "-vet=off", "-failfast", "-timeout=5m"}, strings.Fields(args)...)...)
}

func run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root()

	// The tests of the mutated code must not run mutations themselves.
	cmd.Env = append(os.Environ(), "METAFLOW_DEPLOYER_MUTATE=")

	return cmd.CombinedOutput()
}

// first names the test that failed first.
func first(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if _, name, ok := strings.Cut(line, "--- FAIL: "); ok {
			return strings.Fields(name)[0]
		}
	}

	return "a panic"
}
