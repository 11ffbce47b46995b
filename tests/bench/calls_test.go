package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
)

const (
	// callsGoal is how many calls we may make for each of the bare program's.
	callsGoal = 2.5
	// bareAccount is where the bare program works: an account of its own, so that both find nothing.
	bareAccount = "210000000000"
	// patience is how long an operation may take here; what takes longer is broken.
	patience = 5 * time.Minute
)

// built answers what `make local-stack` made.
func built(b *testing.B) (venv, functions string) {
	b.Helper()

	venv, dir := os.Getenv("METAFLOW_DEPLOYER_VENV"), os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	if venv == "" || dir == "" {
		b.Skip("METAFLOW_DEPLOYER_VENV and METAFLOW_DEPLOYER_LOCAL do not name what `make local-stack` makes; `make bench` sets them")
	}

	return venv, filepath.Join(dir, "functions")
}

// program builds one of the baselines, with the flags that functions are built with and perhaps a tag.
func program(b *testing.B, dir, pkg, tag string) string {
	b.Helper()

	out := filepath.Join(dir, strings.NewReplacer("/", "-", ".", "").Replace(pkg)+tag)
	cmd := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-tags", "lambda.norpc,"+tag, "-ldflags", "-s -w", "-o", out, "./"+pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")

	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build %s: %v\n%s", pkg, err, text)
	}

	return out
}

// deployer is a caller of a running copy of the product.
type deployer struct {
	*testing.B
	stack *local.Stack
	token string
}

func startStack(b *testing.B) deployer {
	b.Helper()

	venv, functions := built(b)

	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()

	s, err := local.Start(ctx, local.Options{
		Root: filepath.Join("..", ".."), Functions: functions, Venv: venv, State: b.TempDir(), WaitFactor: 0.01,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		b.Fatal(err)
	}

	b.Cleanup(func() { _ = s.Close() })

	token, err := s.Token("research", "deployer")
	if err != nil {
		b.Fatal(err)
	}

	return deployer{B: b, stack: s, token: token}
}

// answer is what we read of the API's answers.
type answer struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Done  bool   `json:"done"`
}

func (d deployer) ask(method, path, body string) answer {
	d.Helper()

	req, err := http.NewRequestWithContext(d.Context(), method, d.stack.URL+path, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}

	req.Header.Set("Authorization", "Bearer "+d.token)
	req.Header.Set("Content-Type", "application/json")

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()

	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= http.StatusMultipleChoices {
		d.Fatalf("%s %s: %d %s %v", method, path, res.StatusCode, text, err)
	}

	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		d.Fatal(err)
	}

	return a
}

// finish waits for the operation that a call starts, and tells how long it took from the call on.
func (d deployer) finish(method, path, body string) float64 {
	d.Helper()

	began := time.Now()
	op := d.ask(method, path, body)

	for !op.Done {
		if time.Since(began) > patience {
			d.Fatalf("operation %s is still %s", op.ID, op.State)
		}

		op = d.ask(http.MethodGet, "/v1/operations/"+op.ID+"?wait=25s", "")
	}

	if op.State != "SUCCEEDED" {
		d.Fatalf("operation %s ended %s", op.ID, op.State)
	}

	return time.Since(began).Seconds()
}

// bare runs the bare program, and tells what it printed and how long it took.
func (d deployer) bare(bin string, input []byte, args ...string) ([]byte, float64) {
	d.Helper()

	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()

	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = []string{
		"AWS_ENDPOINT_URL=" + d.stack.Endpoint, "AWS_REGION=" + local.Region, "AWS_ACCESS_KEY_ID=LOCAL-" + bareAccount + "-bare-0",
		"AWS_SECRET_ACCESS_KEY=local", "HOME=" + d.TempDir(), "AWS_EC2_METADATA_DISABLED=true",
	}

	var problems bytes.Buffer

	cmd.Stderr = &problems
	began := time.Now()

	out, err := cmd.Output()
	if err != nil {
		d.Fatalf("bare %v: %v %s", args, err, &problems)
	}

	return out, time.Since(began).Seconds()
}

// own are the services that the product keeps its own books with; the bare program keeps none.
func own() []string {
	return []string{"dynamodb", "lambda", "states", "sfn", "servicequotas", "monitoring", "logs", "events", "eventbridge", "sqs"}
}

// calls lists the calls that an account made between two moments, without those of the person at this computer.
func (d deployer) calls(account string, from time.Time) []awsproxy.Call {
	return slices.DeleteFunc(d.stack.Proxy().Calls(), func(c awsproxy.Call) bool {
		return c.Account != account || c.Time.Before(from) || c.Function == "user" || c.Function == ""
	})
}

// split parts the calls of AWS's services for the resources from those of our own books.
func split(calls []awsproxy.Call) (work, books []awsproxy.Call) {
	for _, c := range calls {
		if slices.Contains(own(), c.Service) {
			books = append(books, c)
		} else {
			work = append(work, c)
		}
	}

	return work, books
}

// reads tells whether a call changes nothing.
func reads(c awsproxy.Call) bool {
	return slices.ContainsFunc([]string{"Describe", "Get", "List", "Head"}, func(p string) bool { return strings.HasPrefix(c.Action, p) })
}

// tally counts by something, and lists the most frequent first.
func tally(calls []awsproxy.Call, by func(awsproxy.Call) string) string {
	n := map[string]int{}
	for _, c := range calls {
		n[by(c)]++
	}

	names := slices.SortedFunc(maps.Keys(n), func(x, y string) int {
		if n[x] != n[y] {
			return n[y] - n[x]
		}

		return strings.Compare(x, y)
	})

	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %d", name, n[name]))
	}

	return strings.Join(parts, ", ")
}

// only lists the changing actions that stand in one list of calls more often than in the other.
func only(in, other []awsproxy.Call) []string {
	n := map[string]int{}

	for _, c := range in {
		if !reads(c) {
			n[c.Service+":"+c.Action]++
		}
	}

	for _, c := range other {
		n[c.Service+":"+c.Action]--
	}

	return slices.Sorted(func(yield func(string) bool) {
		for name, count := range n {
			if count > 0 && !yield(name) {
				return
			}
		}
	})
}

// BenchmarkCalls makes and removes the default environment twice, through the API and with the bare program. The first round counts the calls, in fresh
// accounts; the second times, with everything warm.
func BenchmarkCalls(b *testing.B) {
	d := startStack(b)
	bin := program(b, b.TempDir(), "bare", "")

	for b.Loop() {
		d.round(bin, "first", true)
		d.round(bin, "second", false)
	}
}

func (d deployer) round(bin, name string, count bool) {
	d.Helper()

	began := time.Now()
	created := d.finish(http.MethodPost, "/v1/deployments", `{"name": "`+name+`"}`)
	ours := map[string][]awsproxy.Call{"create": d.calls(local.Account, began)}

	began = time.Now()
	deleted := d.finish(http.MethodDelete, "/v1/deployments/"+name+"?data=purge", "")
	ours["delete"] = d.calls(local.Account, began)

	began = time.Now()
	state, made := d.bare(bin, nil, "create", name)
	theirs := map[string][]awsproxy.Call{"create": d.calls(bareAccount, began)}

	began = time.Now()
	_, removed := d.bare(bin, state, "delete")
	theirs["delete"] = d.calls(bareAccount, began)

	if !count {
		results.compare(d.B, "time on the emulator", "create, POST to SUCCEEDED", created, made, 0, "s")
		results.compare(d.B, "time on the emulator", "delete, DELETE to SUCCEEDED", deleted, removed, 0, "s")

		return
	}

	for _, what := range []string{"create", "delete"} {
		d.judge(what, ours[what], theirs[what])
	}
}

// judge compares the calls of one operation.
func (d deployer) judge(what string, ours, theirs []awsproxy.Call) {
	d.Helper()

	const part = "calls of AWS"

	work, books := split(ours)
	bare, _ := split(theirs)
	results.compare(d.B, part, what, float64(len(work)), float64(len(bare)), callsGoal, "calls")

	changing := func(calls []awsproxy.Call) float64 {
		return float64(len(slices.DeleteFunc(slices.Clone(calls), reads)))
	}
	results.compare(d.B, part, what+", changing ones", changing(work), changing(bare), 0, "calls")
	results.count(d.B, part, what+", own books (beside)", float64(len(books)), 0, "calls")

	results.note("%s by function: %s", what, tally(work, func(c awsproxy.Call) string { return c.Function }))
	results.note("%s, reads: %s", what, tally(slices.DeleteFunc(slices.Clone(work), func(c awsproxy.Call) bool { return !reads(c) }),
		func(c awsproxy.Call) string { return c.Function + ">" + c.Action }))
	results.note("%s, own books: %s", what, tally(books, func(c awsproxy.Call) string { return c.Service + ":" + c.Action }))

	if more := only(work, bare); len(more) > 0 {
		results.note("%s, changing calls that the bare program does without: %s", what, strings.Join(more, ", "))
	}

	if less := only(bare, work); len(less) > 0 {
		results.note("%s, changing calls that only the bare program makes: %s", what, strings.Join(less, ", "))
	}
}
