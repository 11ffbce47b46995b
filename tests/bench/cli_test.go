package bench

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"
)

const (
	// cliGoal is how much longer the command line may take than the bare program, from exec to exit.
	cliGoal = 2.0
	// runs is how often each is run.
	runs = 41
)

// BenchmarkCommandLine times the command line from exec to exit against a bare cobra program that asks the same: once for help, where nothing is asked,
// and once for a list of a server that answers at once.
func BenchmarkCommandLine(b *testing.B) {
	dir := b.TempDir()
	ours, bare := program(b, dir, "../../cmd/metaflow-deployer", ""), program(b, dir, "barecli", "")

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"deployments":[]}`)) // a caller that left needs no answer
	}))
	defer server.Close()

	for b.Loop() {
		results.compare(b, "the command line, a bare cobra program", "size", size(b, ours), size(b, bare), 0, "MB")

		for _, command := range []string{"--help", "list"} {
			took := map[string][]float64{}

			for i := range runs + 1 {
				for _, bin := range []string{ours, bare} {
					cmd := exec.CommandContext(b.Context(), bin, command)
					cmd.Env = []string{"METAFLOW_DEPLOYER_URL=" + server.URL, "METAFLOW_DEPLOYER_TOKEN=bench", "HOME=" + dir, "LANG=C.UTF-8"}

					began := time.Now()

					if out, err := cmd.CombinedOutput(); err != nil {
						b.Fatalf("%v\n%s", err, out)
					}

					// The first run reads the file from the disk.
					if i > 0 {
						took[bin] = append(took[bin], float64(time.Since(began).Microseconds())/1000)
					}
				}
			}

			results.compare(b, "the command line, a bare cobra program", command+", exec to exit", median(took[ours]), median(took[bare]), cliGoal, "ms")
		}
	}
}
