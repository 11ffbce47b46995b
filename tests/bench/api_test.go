package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// apiGoal is the part of net/http's own requests per second that the API must reach.
	apiGoal = 0.40
	// connections ask at once, each again and again.
	connections = 16
	// rounds alternate the servers, so that what else the computer does meets both.
	rounds = 5
	// window is how long a round asks one server for one thing.
	window = time.Second
)

// page is a request and its answer, as the bare server gives it again.
type page struct {
	what         string
	Method, Path string
	body         string
	Status       int
	Body         string
}

func pages() []page {
	return []page{
		{what: "GET a deployment", Method: http.MethodGet, Path: "/v1/deployments/team-000"},
		{what: "GET the list", Method: http.MethodGet, Path: "/v1/deployments"},
		{what: "POST refused", Method: http.MethodPost, Path: "/v1/deployments", body: `{"name": "Team A", "spec": {"network": {"cidr": "10.0.0.0/99"}}}`},
	}
}

func (p page) request(address string) []byte {
	return []byte(p.Method + " " + p.Path + " HTTP/1.1\r\nHost: " + address + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(p.body)) +
		"\r\n\r\n" + p.body)
}

// load is what came of asking a server for a while.
type load struct {
	asked       int
	processor   time.Duration // what the server itself used
	wall        time.Duration
	latencies   []time.Duration
	wrongStatus int
}

// perSecond is requests for each second of one core, whoever else uses the computer meanwhile.
func (l load) perSecond() float64 { return float64(l.asked) / l.processor.Seconds() }

func (l load) p99() float64 {
	slices.Sort(l.latencies)

	return float64(l.latencies[len(l.latencies)*99/100].Microseconds()) / 1000
}

// served is a server process with one core.
type served struct {
	*testing.B
	address string
	pid     int
}

func serve(b *testing.B, bin, mode string, input []byte) served {
	b.Helper()

	cmd := exec.CommandContext(b.Context(), bin, mode)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stderr = os.Stderr

	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}

	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}

	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})

	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("server %s did not start: %v", mode, err)
	}

	return served{B: b, address: strings.TrimSpace(address), pid: cmd.Process.Pid}
}

// processor is the time that the server has used so far, in user and system mode. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func (s served) processor() time.Duration {
	s.Helper()

	text, err := os.ReadFile("/proc/" + strconv.Itoa(s.pid) + "/stat")
	if err != nil {
		s.Fatal(err)
	}

	// The second field, the name, may hold blanks; utime and stime are fields 14 and 15, in hundredths of a second.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0

	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			s.Fatal(err)
		}

		ticks += n
	}

	return time.Duration(ticks) * 10 * time.Millisecond
}

// ask loads the server with one request.
func (s served) ask(p page) load {
	s.Helper()

	var (
		mu    sync.Mutex
		wait  sync.WaitGroup
		total load
		fault error
	)

	used, began := s.processor(), time.Now()

	for range connections {
		wait.Go(func() {
			l, err := one(s.address, p, began.Add(window))

			mu.Lock()
			defer mu.Unlock()

			total.asked += l.asked
			total.wrongStatus += l.wrongStatus
			total.latencies = append(total.latencies, l.latencies...)

			if err != nil {
				fault = err
			}
		})
	}

	wait.Wait()

	total.processor, total.wall = s.processor()-used, time.Since(began)

	if fault != nil || total.wrongStatus > 0 || total.asked == 0 || total.processor == 0 {
		s.Fatalf("%s: %d answers, %d with another status than %d: %v", p.what, total.asked, total.wrongStatus, p.Status, fault)
	}

	return total
}

// one asks on one connection until the end of the window. It speaks plain HTTP/1.1, because net/http's client costs more than a server under test.
func one(address string, p page, until time.Time) (l load, err error) {
	conn, err := net.DialTimeout("tcp4", address, 10*time.Second) //nolint:noctx // bounded by its own timeout
	if err != nil {
		return l, err
	}
	defer conn.Close()

	request, reader := p.request(address), bufio.NewReaderSize(conn, 64<<10)

	for {
		began := time.Now()
		if began.After(until) {
			return l, nil
		}

		if _, err := conn.Write(request); err != nil {
			return l, err
		}

		status, err := read(reader, io.Discard)
		if err != nil {
			return l, err
		}

		l.asked++
		l.latencies = append(l.latencies, time.Since(began))

		if status != p.Status {
			l.wrongStatus++
		}
	}
}

// read reads one answer, its body in one piece or in chunks.
func read(r *bufio.Reader, body io.Writer) (status int, err error) {
	length, chunked := int64(0), false

	for first := true; ; first = false {
		text, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}

		switch {
		case first:
			if status, err = strconv.Atoi(string(text[9:12])); err != nil {
				return 0, err
			}
		case len(text) <= 2:
			if !chunked {
				_, err = io.CopyN(body, r, length)

				return status, err
			}

			return status, chunks(r, body)
		case header(text, "content-length:"):
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(text[15:])), 10, 64); err != nil {
				return 0, err
			}
		case header(text, "transfer-encoding:"):
			chunked = true
		}
	}
}

func header(text []byte, name string) bool {
	return len(text) > len(name) && strings.EqualFold(string(text[:len(name)]), name)
}

func chunks(r *bufio.Reader, body io.Writer) error {
	for {
		text, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}

		n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 16, 64)
		if err != nil {
			return err
		}

		if _, err := io.CopyN(body, r, n); err != nil {
			return err
		}

		if _, err := r.Discard(2); err != nil || n == 0 {
			return err
		}
	}
}

// record asks once and keeps the answer for the bare server.
func (s served) record(p page) page {
	s.Helper()

	conn, err := net.DialTimeout("tcp4", s.address, 10*time.Second) //nolint:noctx // bounded by its own timeout
	if err != nil {
		s.Fatal(err)
	}
	defer conn.Close()

	if _, err := conn.Write(p.request(s.address)); err != nil {
		s.Fatal(err)
	}

	var body bytes.Buffer

	if p.Status, err = read(bufio.NewReader(conn), &body); err != nil {
		s.Fatal(err)
	}

	if !json.Valid(body.Bytes()) {
		s.Fatalf("%s answers no JSON: %s", p.what, &body)
	}

	p.Body = body.String()

	return p
}

// BenchmarkAPI loads the API and a bare server that answers the same, each a process with one core, in turn. The baseline is net/http with encoding/json, which
// reads the body and writes a value that it holds. The API stands over records that are there: a store's own cost is neither net/http's nor the API's.
//
// Two more are shown beside: the store in memory, which copies what it hands out by reflection, and a server that has the finished bytes, which is what a cache
// in front could reach at best.
func BenchmarkAPI(b *testing.B) {
	bin := program(b, b.TempDir(), "server", "")

	for b.Loop() {
		ours, copying, all := serve(b, bin, "api", nil), serve(b, bin, "api-copying", nil), pages()
		for i := range all {
			all[i] = ours.record(all[i])
		}

		text, err := json.Marshal(all)
		if err != nil {
			b.Fatal(err)
		}

		bare, finished := serve(b, bin, "json", text), serve(b, bin, "bytes", text)

		for _, p := range all {
			duel(b, p, ours, copying, bare, finished)
		}

		adapter(b, bin)
	}
}

// duel asks the servers in turn and keeps the medians.
func duel(b *testing.B, p page, ours, copying, bare, finished served) {
	b.Helper()

	rate, tail, wall := map[served][]float64{}, map[served][]float64{}, map[served][]float64{}

	for i := range rounds + 1 {
		for _, s := range []served{ours, copying, bare, finished} {
			// The first round warms up.
			if l := s.ask(p); i > 0 {
				rate[s], tail[s] = append(rate[s], l.perSecond()), append(tail[s], l.p99())
				wall[s] = append(wall[s], float64(l.asked)/l.wall.Seconds())
			}
		}
	}

	const part = "API on one core, the baseline net/http with encoding/json"

	what := fmt.Sprintf("%s (%d, %d bytes)", p.what, p.Status, len(p.Body))
	results.reach(b, part, what+", requests per second of the core", median(rate[ours]), median(rate[bare]), apiGoal, "")
	results.reach(b, part, what+", the same with the copying of the store in memory", median(rate[copying]), median(rate[bare]), 0, "")
	results.reach(b, part, what+", against the finished bytes", median(rate[ours]), median(rate[finished]), 0, "")
	results.compare(b, part, what+", p99 with "+strconv.Itoa(connections)+" connections", median(tail[ours]), median(tail[bare]), 0, "ms")
	results.note("%s, requests per second on this computer's clock: %.0f against %.0f", p.what, median(wall[ours]), median(wall[bare]))
}

// adapter reports what the way through API Gateway's events costs.
func adapter(b *testing.B, bin string) {
	b.Helper()

	cmd := exec.CommandContext(b.Context(), bin, "adapter")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")

	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}

	var ns struct{ Plain, Adapted float64 }
	if err := json.Unmarshal(out, &ns); err != nil {
		b.Fatal(err)
	}

	results.compare(b, "adapter of API Gateway's events", "GET a deployment, from event to answer, the baseline the router alone", ns.Adapted/1000, ns.Plain/1000, 0, "µs")
}
