// Package smoke creates and deletes one deployment on an installation in a real account. `make smoke URL=... TOKEN=...` runs it; it makes real resources,
// which cost next to nothing while idle, and takes them away again. It has not been run against AWS yet.
package smoke

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"
)

type operation struct {
	ID       string          `json:"id"`
	State    string          `json:"state"`
	Done     bool            `json:"done"`
	Version  int64           `json:"version"`
	Progress json.RawMessage `json:"progress"`
	Error    json.RawMessage `json:"error"`
}

func TestSmoke(t *testing.T) {
	if os.Getenv("METAFLOW_DEPLOYER_SMOKE") == "" {
		t.Skip("METAFLOW_DEPLOYER_SMOKE is not set; `make smoke URL=... TOKEN=...` sets it")
	}

	name := fmt.Sprintf("smoke-%d", time.Now().Unix()%1_000_000)

	// Whatever happens, nothing is to be left: the clean-up outlives the test's own context.
	t.Cleanup(func() {
		body := call(context.WithoutCancel(t.Context()), t, http.MethodDelete, "/v1/deployments/"+name+"?data=purge&allowMissing=true", "")
		if len(body) > 0 {
			follow(context.WithoutCancel(t.Context()), t, body, "SUCCEEDED")
		}
	})

	follow(t.Context(), t, call(t.Context(), t, http.MethodPost, "/v1/deployments", `{"name":"`+name+`"}`), "SUCCEEDED")

	var configuration map[string]string
	if err := json.Unmarshal(call(t.Context(), t, http.MethodGet, "/v1/deployments/"+name+"/configuration", ""), &configuration); err != nil {
		t.Fatal(err)
	}

	for _, key := range []string{"METAFLOW_DATASTORE_SYSROOT_S3", "METAFLOW_BATCH_JOB_QUEUE", "METAFLOW_ECS_S3_ACCESS_IAM_ROLE"} {
		if configuration[key] == "" {
			t.Errorf("the configuration lacks %s", key)
		}
	}
}

// follow waits for an operation's end.
func follow(ctx context.Context, t *testing.T, body []byte, want string) {
	t.Helper()

	var op operation

	for end := time.Now().Add(80 * time.Minute); ; {
		if err := json.Unmarshal(body, &op); err != nil {
			t.Fatalf("%v: %s", err, body)
		}

		t.Logf("%s %s %s", op.ID, op.State, op.Progress)

		if op.Done || time.Now().After(end) {
			break
		}

		body = call(ctx, t, http.MethodGet, fmt.Sprintf("/v1/operations/%s?wait=25s&after=%d", op.ID, op.Version), "")
	}

	if op.State != want {
		t.Errorf("%s ended %s: %s", op.ID, op.State, op.Error)
	}
}

func call(ctx context.Context, t *testing.T, method, path, body string) []byte {
	t.Helper()

	req, err := http.NewRequestWithContext(ctx, method, os.Getenv("METAFLOW_DEPLOYER_URL")+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}

	req.Header.Set("Authorization", "Bearer "+os.Getenv("METAFLOW_DEPLOYER_TOKEN"))

	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}

	defer resp.Body.Close()

	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}

	if resp.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}

	return answer
}
