// Package cli_test runs the command line program itself, on a pseudo-terminal as a person would and piped as a script would, against the product on the
// emulator that `make run` starts. What the program shows is compared with what Metaflow itself makes of it.
//
// It must not know how the program is built: everything goes through its arguments, its environment and its terminal.
package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	_ "github.com/metaflow-deployer/metaflow-deployer/internal/cli" // what the program is made of: when it is changed, this runs anew
	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
)

// patience is how long a command may take here: a minute alone, more on a crowded computer.
const patience = 5 * time.Minute

// desk is a person with the program before a running installation.
type desk struct {
	*testing.T

	stack *local.Stack
	bin   string
	venv  string
	home  string
	env   []string
}

// sit starts the installation and builds the program.
func sit(t *testing.T) *desk {
	t.Helper()

	venv, built := os.Getenv("METAFLOW_DEPLOYER_VENV"), os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	if venv == "" || built == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV and METAFLOW_DEPLOYER_LOCAL do not name what `make local-stack` makes; `make test` sets them")
	}

	root := filepath.Join("..", "..")
	d := &desk{T: t, venv: venv, home: t.TempDir()}
	d.bin = filepath.Join(d.home, "metaflow-deployer")

	build := exec.CommandContext(t.Context(), "go", "build", "-o", d.bin, "./cmd/metaflow-deployer")
	build.Dir = root

	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	stack, err := local.Start(t.Context(), local.Options{
		Root: root, Functions: filepath.Join(built, "functions"), Venv: venv, State: t.TempDir(), WaitFactor: 0.01, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := stack.Close(); err != nil {
			t.Error(err)
		}
	})

	d.stack = stack

	token, err := stack.Token("research", "deployer")
	if err != nil {
		t.Fatal(err)
	}

	d.env = []string{
		"METAFLOW_DEPLOYER_URL=" + stack.URL, "METAFLOW_DEPLOYER_TOKEN=" + token, "HOME=" + d.home, "PATH=/usr/bin:/bin", "TERM=xterm-256color", "LANG=C.UTF-8",
	}

	return d
}

func (d *desk) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.bin, args...)
	cmd.Env, cmd.Dir = d.env, d.home
	cmd.WaitDelay = 10 * time.Second

	return cmd
}

// piped runs a command as a script does and answers its exit code and what it wrote.
func (d *desk) piped(args ...string) (code int, out, errs string) {
	d.Helper()

	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()

	var o, e bytes.Buffer

	cmd := d.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &o, &e

	return exit(d, cmd.Run()), o.String(), e.String()
}

func exit(d *desk, err error) int {
	d.Helper()

	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode()
	}

	if err != nil {
		d.Fatal(err)
	}

	return 0
}

// terminal is a command at work on a pseudo-terminal.
type terminal struct {
	*desk

	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{}

	mu     sync.Mutex
	screen bytes.Buffer
}

// typed starts a command as a person does.
func (d *desk) typed(args ...string) *terminal {
	d.Helper()

	ctx, cancel := context.WithTimeout(d.Context(), patience)
	d.Cleanup(cancel)

	t := &terminal{desk: d, cmd: d.command(ctx, args...), done: make(chan struct{})}

	var err error
	if t.tty, err = pty.StartWithSize(t.cmd, &pty.Winsize{Rows: 40, Cols: 110}); err != nil {
		d.Fatal(err)
	}

	go func() {
		defer close(t.done)

		_, _ = io.Copy(t, t.tty) // ends with an error of its own when the other side is closed
	}()

	d.Cleanup(func() { _ = t.tty.Close() })

	return t
}

// Write takes what the program draws.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()

	return t.screen.Write(p)
}

func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()

	return t.screen.String()
}

// see waits until a text is on the screen.
func (t *terminal) see(text string) {
	t.Helper()

	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()

	for {
		if strings.Contains(t.text(), text) {
			return
		}

		select {
		case <-tick.C:
		case <-t.done:
			if !strings.Contains(t.text(), text) {
				t.Fatalf("the program ended and never showed %q:\n%s", text, t.text())
			}

			return
		}
	}
}

func (t *terminal) types(text string) {
	t.Helper()

	if _, err := io.WriteString(t.tty, text); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the program's end.
func (t *terminal) ends(code int) string {
	t.Helper()

	got := exit(t.desk, t.cmd.Wait())
	<-t.done

	if got != code {
		t.Fatalf("exit code %d, want %d:\n%s", got, code, t.text())
	}

	return t.text()
}

// TestProgram is a person's afternoon.
func TestProgram(t *testing.T) {
	d := sit(t)

	// Create: a tree that moves.
	create := d.typed("create", "research")
	create.see("create research")
	create.see("waits for ")

	// Ctrl-C, as the terminal's driver sends it, stops the watching only.
	create.types("\x03")

	left := create.ends(7)
	id := regexp.MustCompile(`research-[0-9a-z]{26}`).FindString(left)

	if !strings.Contains(left, "metaflow-deployer watch "+id) || !strings.Contains(left, "metaflow-deployer cancel "+id) {
		t.Fatalf("who is interrupted must learn what goes on:\n%s", left)
	}

	watch := d.typed("watch", id)
	watch.see("SUCCEEDED")

	seen := watch.ends(0)
	for _, text := range []string{"\x1b[2K", "storage", "├─ ", "✓", "job-queue/default"} {
		if !strings.Contains(seen, text) {
			t.Errorf("the tree never showed %q:\n%s", text, seen)
		}
	}

	// SigV4: the same deployment belongs to another tenant, so that one does not see it; an own one does not exist.
	d.env = append(d.env, "AWS_ACCESS_KEY_ID=LOCAL-"+local.Account+"-user-0", "AWS_SECRET_ACCESS_KEY=local", "AWS_REGION="+local.Region)

	if code, out, errs := d.piped("list", "--auth", "sigv4", "-o", "json"); code != 0 || strings.TrimSpace(out) != "[]" {
		t.Errorf("%d\n%s%s", code, out, errs)
	}

	if code, out, errs := d.piped("list", "--auth", "sigv4", "--tenant", "research"); code != 0 || !strings.Contains(out, "research  ACTIVE") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}

	d.env = append(d.env, "AWS_SECRET_ACCESS_KEY=wrong")

	if code, _, errs := d.piped("list", "--auth", "sigv4"); code != 5 || !strings.Contains(errs, "Forbidden") ||
		!strings.Contains(errs, "with access key LOCAL-"+local.Account+"-user-0 for Region "+local.Region) {
		t.Errorf("a wrong signature: %d %s", code, errs)
	}

	d.config()

	// The front door unescapes paths as API Gateway does: nothing may come of a name that would lead elsewhere.
	if code, _, errs := d.piped("delete", "research?data=purge", "--no-wait", "--data", "keep"); code != 2 || !strings.Contains(errs, "Nothing was sent") {
		t.Errorf("%d %s", code, errs)
	}

	if code, out, errs := d.piped("get", "research"); code != 0 || !strings.Contains(out, "ACTIVE") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}

	// Delete: the program asks, and a pipe is not asked.
	remove := d.typed("delete", "research")
	remove.see("[keep/purge")
	remove.types("purge\n")
	remove.see("SUCCEEDED")

	if text := remove.ends(0); !strings.Contains(text, "removed") {
		t.Error(text)
	}

	if code, _, errs := d.piped("get", "research"); code != 4 || strings.Contains(errs, "\x1b") {
		t.Errorf("%d %q", code, errs)
	}
}

// config installs the profile and lets Metaflow read it.
func (d *desk) config() {
	d.Helper()

	code, out, errs := d.piped("config", "install", "research", "--profile", "lab")
	if code != 0 || !strings.Contains(out, "export METAFLOW_PROFILE=lab\n") {
		d.Fatalf("%d\n%s%s", code, out, errs)
	}

	if _, err := os.Stat(filepath.Join(d.venv, "bin", "metaflow")); err != nil {
		d.Log("Metaflow is not installed: it cannot be asked")

		return
	}

	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()

	read := exec.CommandContext(ctx, filepath.Join(d.venv, "bin", "python"), "-c",
		"from metaflow import metaflow_config as c; print(c.DEFAULT_DATASTORE, c.BATCH_JOB_QUEUE, c.ECS_S3_ACCESS_IAM_ROLE)")
	read.Env, read.Dir = []string{"HOME=" + d.home, "METAFLOW_PROFILE=lab", "PATH=/usr/bin:/bin", "USER=somebody"}, d.home

	text, err := read.CombinedOutput()
	if err != nil || !regexp.MustCompile(`^s3 arn:aws:batch:us-east-1:\d+:job-queue/\S+ arn:aws:iam::\d+:role/\S+\n$`).Match(text) {
		d.Errorf("Metaflow must read the profile: %v\n%s", err, text)
	}
}

// TestRollbackAndSignals: a script learns from the exit code what became of a create, and a terminated one leaves the operation alone.
func TestRollbackAndSignals(t *testing.T) {
	d := sit(t)

	rule := func(method, body string) {
		t.Helper()

		r, err := http.NewRequestWithContext(t.Context(), method, d.stack.Endpoint+"/_local/rules", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}

		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}

		res.Body.Close()
	}

	rule(http.MethodPost, `{"service": "batch", "action": "CreateJobQueue", "then": {"error": {"status": 400, "code": "ClientException", "message": "broken on purpose"}}}`)

	code, out, errs := d.piped("create", "broken")
	if code != 1 || !strings.Contains(out, "create broken: ROLLED_BACK") || !strings.Contains(errs, "broken on purpose") || !strings.Contains(errs, "ClientException") || strings.Contains(out, "\x1b") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}

	rule(http.MethodDelete, "")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	var watched, complained bytes.Buffer

	cmd := d.command(ctx, "create", "scripted")
	cmd.Stderr = &complained

	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	line := make([]byte, 1)
	if _, err := io.ReadFull(pipe, line); err != nil { // something was shown, so the operation is admitted
		t.Fatal(err)
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	if _, err := watched.ReadFrom(pipe); err != nil {
		t.Fatal(err)
	}

	if code := exit(d, cmd.Wait()); code != 7 || !strings.Contains(complained.String(), "goes on") {
		t.Errorf("%d\n%s%s", code, watched.String(), complained.String())
	}

	if code, out, errs := d.piped("cancel", "scripted"); code != 0 || !strings.Contains(out, "create scripted: ROLLED_BACK") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
}
