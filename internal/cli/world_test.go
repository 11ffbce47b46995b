package cli_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/cli"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/door"
)

var update = flag.Bool("update", false, "write the golden files")

// desk is a person's computer before a simulated installation, in virtual time.
type desk struct {
	*testing.T
	*door.Door

	home string
	env  map[string]string
	// asks: somebody sits there; in is what they type.
	asks bool
	in   io.Reader
	// screen, if set, is the terminal that standard output is.
	screen *terminal
}

// sit runs a test as a deployer of tenant acme.
func sit(t *testing.T, test func(d *desk)) {
	t.Helper()

	home := t.TempDir()

	synctest.Test(t, func(t *testing.T) {
		w, err := simulation.NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}

		test(&desk{T: t, Door: door.New(w), home: home, in: strings.NewReader(""), env: map[string]string{
			"METAFLOW_DEPLOYER_URL": door.URL, "METAFLOW_DEPLOYER_TOKEN": door.Token("acme", deploy.Deployer), "LANG": "C.UTF-8", "NO_COLOR": "1",
		}})
	})
}

// result is what a command left.
type result struct {
	code     int
	out, err string
}

func (d *desk) run(args ...string) result { return d.runContext(d.Context(), args...) }

func (d *desk) runContext(ctx context.Context, args ...string) result {
	var out, errs locked

	p := &cli.Program{
		In: d.in, Out: &out, Err: &errs, Asks: d.asks, Getenv: func(name string) string { return d.env[name] }, Home: d.home,
		ConfigDir: filepath.Join(d.home, ".config"), Dir: d.home, HTTP: &http.Client{Transport: d.Door}, Version: "1.2.3",
	}

	for name, value := range d.env {
		p.Environ = append(p.Environ, name+"="+value)
	}

	if d.screen != nil {
		p.Out, p.Size = d.screen, d.screen.size
	}

	code := p.Run(ctx, args)

	return result{code, out.String(), errs.String()}
}

// must runs a command that has to end well.
func (d *desk) must(args ...string) result {
	d.Helper()

	r := d.run(args...)
	if r.code != 0 {
		d.Fatalf("%v: exit code %d\n%s%s", args, r.code, r.out, r.err)
	}

	return r
}

// fails runs a command that has to end with an exit code, and say something on standard error.
func (d *desk) fails(code int, says string, args ...string) result {
	d.Helper()

	r := d.run(args...)
	if r.code != code || !strings.Contains(r.err, says) {
		d.Errorf("%v: exit code %d, want %d with %q\n%s%s", args, r.code, code, says, r.out, r.err)
	}

	return r
}

// write makes a file in the person's directory.
func (d *desk) write(name, text string) {
	d.Helper()

	path := filepath.Join(d.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.Fatal(err)
	}

	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
}

// refuse lets AWS refuse an action for good, as long as it is not lifted.
func (d *desk) refuse(action string) (lift func()) {
	d.World.Fault = func(point string) simulation.Action {
		if strings.Contains(point, action) {
			return simulation.Refuse
		}

		return simulation.None
	}

	return func() { d.World.Fault = nil }
}

type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.b.String()
}

// golden compares with a file under testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()

	path := filepath.Join("testdata", name)

	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}

		return
	}

	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); go test ./internal/cli -update writes it:\n%s", name, diff)
	}
}

// terminal understands what the program writes to one, and nothing else: whatever else it meets is a failure. It keeps every picture.
type terminal struct {
	t             *testing.T
	width, height int

	mu sync.Mutex
	// rows are all rows, those that scrolled away too; row and column are the cursor.
	rows        [][]rune
	row, column int
	top         int
	pictures    []string
}

func newTerminal(t *testing.T, width, height int) *terminal {
	t.Helper()

	return &terminal{t: t, width: width, height: height, rows: [][]rune{{}}}
}

func (v *terminal) size() (int, int) { return v.width, v.height }

func (v *terminal) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()

	text := string(p)
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			v.control(rest[end], rest[:end])
			text = rest[end+1:]

			continue
		}

		r := []rune(text)[0]
		text = text[len(string(r)):]

		switch r {
		case '\r':
			v.column = 0
		case '\n': // as the line discipline writes it: with a return
			v.column = 0
			v.down()
		default:
			if r < ' ' {
				v.t.Errorf("the control character %q was written", r)
			}

			if v.column == v.width {
				v.t.Error("a row wrapped")
				v.column = 0
				v.down()
			}

			v.put(r)
		}
	}

	v.pictures = append(v.pictures, v.text())

	return len(p), nil
}

func (v *terminal) down() {
	if v.row++; v.row == len(v.rows) {
		v.rows = append(v.rows, nil)
	}

	v.top = max(v.top, v.row-v.height+1)
}

func (v *terminal) put(r rune) {
	line := v.rows[v.row]
	for len(line) <= v.column {
		line = append(line, ' ')
	}

	line[v.column] = r
	v.rows[v.row] = line
	v.column++
}

func (v *terminal) control(final byte, args string) {
	switch {
	case final == 'A':
		n := 0
		for _, c := range args {
			n = n*10 + int(c-'0')
		}

		if v.row -= n; v.row < v.top {
			v.t.Errorf("the cursor went %d rows above the screen", v.top-v.row)
			v.row = v.top
		}
	case final == 'K' && args == "2":
		v.rows[v.row] = nil
	case final == 'J' && args == "":
		v.rows = v.rows[:v.row+1]
		v.rows[v.row] = v.rows[v.row][:min(v.column, len(v.rows[v.row]))]
	case final == 'm':
	default:
		v.t.Errorf("the sequence ESC[%s%c was written", args, final)
	}
}

func (v *terminal) text() string {
	var b strings.Builder
	for _, line := range v.rows {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}

	return strings.TrimRight(b.String(), "\n") + "\n"
}

// seen tells whether any picture showed a text.
func (v *terminal) seen(text string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()

	for _, p := range v.pictures {
		if strings.Contains(p, text) {
			return true
		}
	}

	return false
}

func (v *terminal) last() string {
	v.mu.Lock()
	defer v.mu.Unlock()

	return v.text()
}
