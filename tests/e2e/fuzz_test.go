package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/tests/needs"
)

// routes is about how many there are in the document, cases how many boundary cases schemathesis finds for each.
const routes, cases = 30, 85

// generated is how many requests are sent unless METAFLOW_DEPLOYER_FUZZ says another number.
const generated = 5000

// Schemathesis reads the document that the API serves and sends what fits it and what does not. Between it and the API stands a witness that counts, and that
// keeps what was asked for by requests that were accepted: nothing else may be there afterwards, neither in the table nor in AWS.
func TestGeneratedRequests(t *testing.T) {
	t.Parallel()

	// Accepted creates are real ones, so tenants get little: the emulator has other tests to serve.
	w := newWorldWith(t, map[string]string{"TenantLimits": `{"default": {"deployments": 3, "operations": 1, "vcpus": 300}}`})

	number := generated
	if text := os.Getenv("METAFLOW_DEPLOYER_FUZZ"); text != "" {
		var err error
		if number, err = strconv.Atoi(text); err != nil {
			t.Fatalf("METAFLOW_DEPLOYER_FUZZ is no number: %v", err)
		}
	}

	seen := newWitness(t, w.URL)
	w.URL = seen.server.URL // from here on everything is witnessed, the test's own requests too

	// Several callers at a time, each a process of its own: threads of one crash in Python 3.11's parser.
	callers := []string{seen.caller(w, "fuzz", "admin"), seen.caller(w, "fuzz-other", "deployer"), seen.caller(w, "nobody", "deployer")}
	w.token = callers[0]
	w.active("fuzz-seed", nil)

	began := time.Now()

	// The boundary cases are the same whoever sends them, so one caller does. The others, and everybody afterwards, send what comes from a seed, until it is
	// enough: how many requests one run sends depends on the document.
	left, senders := number-routes*cases, callers[1:]

	for seed := 1; seen.count() < number && !t.Failed(); seed++ {
		var all sync.WaitGroup

		before := seen.count()

		if seed == 1 {
			all.Go(func() { schemathesis(t, w, callers[0], "examples,coverage", seed, 1) })
		}

		for i, token := range senders {
			all.Go(func() { schemathesis(t, w, token, "fuzzing", seed*len(callers)+i, left/routes/len(senders)) })
		}

		all.Wait()

		left, senders = number-seen.count(), callers

		if seen.count() == before {
			t.Error("schemathesis sent nothing")
		}
	}

	t.Logf("%d requests in %v: %v", seen.count(), time.Since(began).Round(time.Second), seen.statuses)
	w.Close() // what is there then stays as it is
	w.nothingUnasked(seen)
}

func schemathesis(t *testing.T, w *world, token, phases string, seed, examples int) {
	t.Helper()

	hooks, err := filepath.Abs("hooks.py")
	if err != nil {
		t.Error(err)

		return
	}

	venv := os.Getenv("METAFLOW_DEPLOYER_VENV")
	needs.Files(t, hooks, filepath.Join(venv, ".test"))

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Minute)
	defer cancel()

	cmd := exec.CommandContext(ctx, filepath.Join(venv, "bin", "schemathesis"), "run", w.URL+"/openapi.json", "--url", w.URL,
		"--header", "Authorization: Bearer "+token, "--phases", phases, "--mode", "all", "--seed", strconv.Itoa(seed),
		"--max-examples", strconv.Itoa(max(5, examples)), "--continue-on-failure", "--generation-database", "none", "--suppress-health-check", "all",
		"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance",
		"--request-timeout", "60", "--no-color")
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "SCHEMATHESIS_HOOKS="+hooks, "PYTHONDONTWRITEBYTECODE=1")

	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("schemathesis, seed %d: %v\n%s", seed, err, out)
	}
}

// witness passes requests on and remembers what came of them.
type witness struct {
	server *httptest.Server

	mu       sync.Mutex
	statuses map[int]int
	total    int
	// tenants are the callers' own, by their token.
	tenants map[string]string
	// created are the deployments that accepted requests asked for, by tenant and name.
	created map[string]bool
	// families counts accepted POSTs by path.
	families map[string]int
}

func newWitness(t *testing.T, behind string) *witness {
	t.Helper()

	target, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}

	s := &witness{statuses: map[int]int{}, tenants: map[string]string{}, created: map[string]bool{}, families: map[string]int{}}

	// A little slower than the API takes requests: a 429 says nothing about a route.
	pace := time.NewTicker(12 * time.Millisecond)
	t.Cleanup(pace.Stop)

	proxy := &httputil.ReverseProxy{
		Transport: patient{t},
		Rewrite: func(r *httputil.ProxyRequest) {
			<-pace.C
			r.SetURL(target)
		},
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}

			r.Body = io.NopCloser(bytes.NewReader(body))

			if r.StatusCode >= http.StatusInternalServerError {
				t.Errorf("%s %s: %d %s", r.Request.Method, r.Request.URL, r.StatusCode, body)
			}

			s.note(t, r.Request, r.StatusCode, body)

			return nil
		},
	}
	s.server = httptest.NewServer(proxy)
	t.Cleanup(s.server.Close)

	return s
}

// patient repeats what was answered 503 with an invitation to do so: on a crowded computer a cancel may lose to its operation again and again. Whatever
// still is a 5xx after three times is one.
type patient struct{ t *testing.T }

func (p patient) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte

	if r.Body != nil { // a proxy sends no empty one
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}

	for tries := 1; ; tries++ {
		if r.Body != nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
		}

		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || tries == 3 {
			return res, err
		}

		p.t.Logf("%s %s is asked again after a 503", r.Method, r.URL.Path)
		res.Body.Close()
		time.Sleep(2 * time.Second) // what Retry-After says
	}
}

// caller makes somebody's token.
func (s *witness) caller(w *world, tenant, role string) string {
	w.Helper()

	token, err := w.stack.Token(tenant, role)
	if err != nil {
		w.Fatal(err)
	}

	s.tenants[token] = tenant

	return token
}

func (s *witness) note(t *testing.T, r *http.Request, status int, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.statuses[status]++

	if s.total++; s.total%500 == 0 {
		t.Logf("%d requests so far: %v", s.total, s.statuses)
	}

	if r.Method != http.MethodPost || status >= http.StatusMultipleChoices {
		return
	}

	tenant := r.URL.Query().Get("tenant")
	if tenant == "" {
		tenant = s.tenants[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	}

	var op operation
	if r.URL.Path == "/v1/deployments" && status == http.StatusAccepted && json.Unmarshal(body, &op) == nil {
		s.created[tenant+"/"+op.Deployment] = true
	}

	s.families[r.URL.Path]++
}

func (s *witness) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.total
}

// nothingUnasked fails the test if the table or the account holds what no accepted request asked for.
func (w *world) nothingUnasked(seen *witness) {
	w.Helper()

	table := dynamodb.NewFromConfig(w.stack.AWS(w.Account))
	kinds, deployments, admitted := map[string]int{}, map[string]bool{}, map[string]bool{}

	pages := dynamodb.NewScanPaginator(table, &dynamodb.ScanInput{TableName: &w.Resources.Tables[0].Name, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.Context())
		if err != nil {
			w.Fatal(err)
		}

		for _, item := range page.Items {
			partition := strings.Split(member(item, "pk"), "#")

			switch partition[0] {
			case "D", "E":
				deployments[partition[1]+"/"+partition[2]] = true
			case "T":
				kinds[strings.ToLower(partition[2])]++

				var line struct{ Tenant, Action, Outcome, Deployment string }
				if json.Unmarshal([]byte(member(item, "body")), &line) == nil && line.Action == "CREATE" && line.Outcome == "ADMITTED" {
					admitted[line.Tenant+"/"+line.Deployment] = true
				}
			case "I": // idempotency keys, which lapse
			case "SWEEP": // how far the sweeper has looked, in a run that is long enough for it
			default:
				w.Errorf("the table holds an item of an unknown family: %v", partition)
			}
		}
	}

	for name := range deployments {
		if !seen.created[name] || !admitted[name] {
			w.Errorf("%s is in the table: asked for by an accepted request %v, in the audit trail as admitted %v", name, seen.created[name], admitted[name])
		}
	}

	for family, path := range map[string]string{"grants": "/v1/grants", "webhooks": "/v1/webhooks"} {
		if kinds[family] > seen.families[path] {
			w.Errorf("the table holds %d %s after %d accepted requests for one", kinds[family], family, seen.families[path])
		}
	}

	names := map[string]bool{}
	for name := range seen.created {
		names[name[strings.IndexByte(name, '/')+1:]] = true
	}

	things := 0

	for line, tags := range w.inventory() {
		_, rest, ours := strings.Cut(" "+tags+" ", " metaflow-deployer:deployment=")
		name, _, _ := strings.Cut(rest, " ")

		switch {
		case ours && !names[name]:
			w.Errorf("%s belongs to a deployment that nobody was granted: %s", line, tags)
		case ours:
			things++
		}
	}

	w.Logf("%d deployments in the table, %d admitted, %d things in AWS with their tags; the table's other items: %v",
		len(deployments), len(admitted), things, kinds)

	if len(deployments) == 0 || things == 0 {
		w.Error("no deployment and no thing of one is there: the comparison says nothing")
	}
}

func member(item map[string]types.AttributeValue, name string) string {
	s, _ := item[name].(*types.AttributeValueMemberS)
	if s == nil {
		return ""
	}

	return s.Value
}
