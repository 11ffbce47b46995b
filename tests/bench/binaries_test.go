package bench

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// binaryGoal is how much larger and slower to start a function may be than the bare handler.
	binaryGoal = 1.3
	// starts is how often each binary is started.
	starts = 21
)

// BenchmarkBinaries weighs the functions, built for this computer, and times them from exec to their first call of the Runtime API, each against a bare
// handler with the same SDK clients.
//
// The goal for sizes cannot be met. That handler calls nothing, so the linker leaves out every operation of the SDK with its types and serializers; a
// function that works cannot. What this takes is measured by a second handler, which keeps the calls that the function makes and does nothing else: for most
// functions it is beyond the goal, or leaves less below it than the rooms of the product take. The goal stays with the first handler; the second stands beside.
func BenchmarkBinaries(b *testing.B) {
	_, functions := built(b)
	dir := b.TempDir()

	for b.Loop() {
		for _, f := range template(b).Functions {
			ours, baseline := filepath.Join(functions, f.Name, "bootstrap"), "barehandler/"+f.Name
			if _, err := os.Stat(baseline); err != nil {
				results.note("function %s is held against nothing: %v", f.Name, err)

				continue
			}

			bare, calling := program(b, dir, baseline, ""), program(b, dir, baseline, "calls")

			results.compare(b, "size, a bare handler with the same clients", f.Name, size(b, ours), size(b, bare), binaryGoal, "MB")
			results.compare(b, "size, a bare handler that can make the same calls", f.Name, size(b, ours), size(b, calling), 0, "MB")

			results.note("%s: being able to make the calls alone makes a bare handler %.2f times as large", f.Name, size(b, calling)/size(b, bare))

			took := map[string][]float64{}

			for i := range starts + 1 {
				for _, bin := range []string{ours, bare, calling} {
					// The first start reads the file from the disk.
					if t := start(b, bin, f.Env); i > 0 {
						took[bin] = append(took[bin], t)
					}
				}
			}

			results.compare(b, fmt.Sprintf("exec to ready, median of %d, the bare handler with the same clients", starts), f.Name,
				median(took[ours]), median(took[bare]), binaryGoal, "ms")
			results.compare(b, fmt.Sprintf("exec to ready, median of %d, the bare handler that can make the same calls", starts), f.Name,
				median(took[ours]), median(took[calling]), 0, "ms")
		}
	}
}

// size of a file in MB.
func size(b *testing.B, file string) float64 {
	b.Helper()

	info, err := os.Stat(file)
	if err != nil {
		b.Fatal(err)
	}

	return float64(info.Size()) / 1e6
}

// start runs a binary until it asks the Runtime API for its first invocation, and tells how many milliseconds that took.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
func start(b *testing.B, bin string, env map[string]string) float64 {
	b.Helper()

	ln, err := new(net.ListenConfig).Listen(b.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}

	asked := make(chan time.Time, 1)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/runtime/invocation/next") {
			return
		}

		select {
		case asked <- time.Now():
		default:
		}

		<-r.Context().Done() // there is nothing to do for it
	})}

	go func() { _ = server.Serve(ln) }() // ends with Close

	defer server.Close()

	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()

	cmd := exec.CommandContext(ctx, bin)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + ln.Addr().String(), "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench",
		"AWS_ENDPOINT_URL=http://127.0.0.1:9", "HOME=" + filepath.Dir(bin), "PATH=/usr/bin:/bin", "_HANDLER=bootstrap", "LANG=en_US.UTF-8",
	}

	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}

	began := time.Now()

	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}

	var took time.Duration

	select {
	case at := <-asked:
		took = at.Sub(began)
	case <-ctx.Done():
		b.Errorf("%s asked for no invocation within a minute", bin)
	}

	_ = cmd.Process.Kill() // it waits for an invocation that never comes
	_ = cmd.Wait()

	return float64(took.Microseconds()) / 1000
}
