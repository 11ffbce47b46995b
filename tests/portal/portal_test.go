// Package portal tries the web page as people meet it: in Chromium, on the product as `make run` starts it, from the login to the download and the delete,
// with AWS broken where a failure is to be seen. The steps are in portal.test.mjs, which drives the browser (playwright-core) and holds every page against
// axe-core; screenshots of the run are left in .local/screenshots.
//
// It must not know how the page is made: it finds things by the roles and names that people and screen readers find them by.
package portal

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/tests/needs"
)

func TestPortal(t *testing.T) {
	venv, built, chromium := os.Getenv("METAFLOW_DEPLOYER_VENV"), os.Getenv("METAFLOW_DEPLOYER_LOCAL"), os.Getenv("METAFLOW_DEPLOYER_CHROMIUM")
	if venv == "" || built == "" || chromium == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV, METAFLOW_DEPLOYER_LOCAL and METAFLOW_DEPLOYER_CHROMIUM do not name what `make test-portal` needs; it sets them")
	}

	needs.Files(t, "portal.test.mjs", "browser.mjs", filepath.Join(built, "node", ".installed"))

	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelWarn
	}

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	stack, err := local.Start(ctx, local.Options{
		Root: filepath.Join("..", ".."), Functions: filepath.Join(built, "functions"), Venv: venv, State: t.TempDir(), WaitFactor: 0.01,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = stack.Close() })

	var out bytes.Buffer

	steps := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "portal.test.mjs")
	steps.Env = append(os.Environ(), "PORTAL_URL="+stack.URL, "AWS_ENDPOINT_URL="+stack.Endpoint, "PORTAL_ACCOUNT="+local.Account, "PORTAL_CHROMIUM="+chromium,
		"PORTAL_NODE="+filepath.Join(built, "node"), "PORTAL_SCREENSHOTS="+filepath.Join(built, "screenshots"))
	steps.Stdout, steps.Stderr = &out, &out
	steps.WaitDelay = 10 * time.Second

	err = steps.Run()
	t.Logf("\n%s", out.Bytes())

	if err != nil {
		t.Errorf("the steps in the browser: %v", err)
	}
}
