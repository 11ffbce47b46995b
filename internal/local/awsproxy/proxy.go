// Package awsproxy is the AWS endpoint of this computer: it stands in front of moto, passes calls on, and keeps a journal of them.
//
// Three tables change what moto would answer. Rules are what a person or a test asks for, to break AWS from outside. Corrections, always on, are where moto is
// wrong. Strict rules, on demand, are where moto is kinder than AWS. The product knows of none of them, and this package knows nothing of the product: it sees
// AWS calls and access keys.
package awsproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

// DefaultAccount is the account of a caller whose access key names none: moto's own.
const DefaultAccount = "123456789012"

// userFunction is the function name in the access key of a person.
const userFunction = "user"

// Options are what a Proxy needs.
type Options struct {
	// Upstream is where moto listens.
	Upstream *url.URL
	// Models is botocore's data directory.
	Models string
	// Strict switches the strict rules on.
	Strict bool
	// Kill ends the function process that owns the access key; a rule of the kind kill calls it. It may be nil where nobody makes such rules.
	Kill   func(accessKeyID string)
	Logger *slog.Logger
}

// Proxy is the AWS endpoint. Besides AWS's calls it serves /_local/rules and /_local/calls.
type Proxy struct {
	upstream *url.URL
	client   *http.Client
	catalog  *awsmodel.Catalog
	kill     func(string)
	log      *slog.Logger
	now      func() time.Time

	journal journal
	rules   ruleBook
	keys    keyRing
	worlds  worlds
	tally   tally

	// transactions keeps everybody else off the tables while moto works on one.
	transactions sync.RWMutex

	corrections []entry
	strictRules []entry
}

// New makes a proxy. It reads no model yet but needs the directory to be there; it does not call upstream.
func New(o Options) (*Proxy, error) {
	if o.Upstream == nil {
		return nil, errors.New("make the AWS endpoint: no upstream")
	}

	catalog, err := awsmodel.Open(o.Models)
	if err != nil {
		return nil, fmt.Errorf("make the AWS endpoint: %w", err)
	}

	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}

	kill := o.Kill
	if kill == nil {
		kill = func(string) {}
	}

	p := &Proxy{
		upstream: o.Upstream, catalog: catalog, kill: kill, log: log, now: time.Now,
		client: &http.Client{
			Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		corrections: corrections(),
	}

	if o.Strict {
		p.strictRules = strictRules()
	}

	return p, nil
}

// ServeHTTP answers AWS calls and the two pages of its own.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/_local/rules":
		p.serveRules(w, r)
	case r.URL.Path == "/_local/calls":
		p.serveCalls(w, r)
	case strings.HasPrefix(r.URL.Path, "/moto-api"):
		p.pass(w, r)
	default:
		p.serveAWS(w, r)
	}
}

// call is an AWS call on its way to moto.
type call struct {
	op      *awsmodel.Operation
	service string
	action  string
	input   map[string]any

	caller
	region string

	method string
	url    *url.URL
	host   string
	header http.Header
	// body is the whole body, unless stream is set.
	body   []byte
	stream io.Reader
	length int64

	entry *record
	world *world
}

// setJSON puts another input into a call of a JSON protocol whose members are all in the body.
func (c *call) setJSON(input map[string]any) {
	c.input = input
	c.body = mustJSON(input)
}

// text gives a member of the input that is text, empty where there is none.
func (c *call) text(member string) string {
	s, _ := c.input[member].(string)

	return s
}

// object gives a member that is a structure or a map; nil where there is none.
func (c *call) object(member string) map[string]any {
	m, _ := c.input[member].(map[string]any)

	return m
}

// texts gives a member that is a list of text.
func (c *call) texts(member string) []string { return texts(c.input[member]) }

func texts(v any) []string {
	list, _ := v.([]any)

	var out []string

	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}

	return out
}

func (c *call) is(service string, actions ...string) bool {
	return c.service == service && slices.Contains(actions, c.action)
}

// answer is what goes back. Its body is whole unless stream is set.
type answer struct {
	status int
	header http.Header
	body   []byte
	stream io.ReadCloser
	length int64
	// fault is the error code of an answer that refuses.
	fault string
}

func (a *answer) ok() bool { return a.status < http.StatusMultipleChoices }

// xml reads the body of an answer.
func (a *answer) xml() (*awsmodel.Element, error) {
	root, err := awsmodel.ParseXML(a.body)
	if err != nil {
		return nil, fmt.Errorf("read moto's answer: %w", err)
	}

	return root, nil
}

// setBody puts another body into an answer.
func (a *answer) setBody(body []byte) {
	a.body = body
	// DynamoDB's SDKs check the sum.
	for _, name := range []string{"Content-Length", "Content-Md5", "X-Amz-Crc32"} {
		a.header.Del(name)
	}
}

// refuse makes an answer with an error in the service's wire format.
func (c *call) refuse(status int, code, message string) *answer {
	rec := &recorder{header: http.Header{}}
	awsmodel.WriteError(rec, c.op, status, code, message)

	if c.method == http.MethodHead {
		rec.body.Reset()
	}

	return &answer{status: rec.status, header: rec.header, body: rec.body.Bytes(), fault: code}
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// errCut ends a call by breaking the connection without an answer.
var errCut = errors.New("connection is to be broken")

func (p *Proxy) serveAWS(w http.ResponseWriter, r *http.Request) {
	c, err := p.read(r)
	if err != nil {
		p.log.WarnContext(r.Context(), "call is not understood", "method", r.Method, "path", r.URL.Path, "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	c.entry = p.journal.begin(c)

	a, err := p.handle(r.Context(), c)
	if errors.Is(err, errCut) {
		p.journal.end(c, a)

		if a != nil && a.stream != nil {
			_ = a.stream.Close() // nobody reads it
		}

		// The documented way to end an HTTP exchange without an answer.
		panic(http.ErrAbortHandler)
	}

	if err != nil {
		p.log.WarnContext(r.Context(), "call did not get through", "service", c.service, "action", c.action, "error", err)

		a = c.refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "moto does not answer: "+err.Error())
	}

	p.journal.end(c, a)
	p.keys.learn(c, a)
	write(w, a)
}

// read recognises and decodes a call. A call that no model describes is passed on as it is, under the service it was signed for.
func (p *Proxy) read(r *http.Request) (*call, error) {
	cred, _ := awsmodel.CredentialOf(r)
	c := &call{
		caller: p.keys.caller(cred.AccessKey), region: cred.Region, service: cred.Scope, method: r.Method, url: r.URL, host: r.Host, header: r.Header.Clone(),
		stream: r.Body, length: r.ContentLength,
	}
	c.world = p.worlds.of(c.account)

	if awsmodel.NeedsBody(r) {
		if err := c.buffer(); err != nil {
			return nil, err
		}
	}

	req, err := p.catalog.Find(r, c.body)
	if errors.Is(err, awsmodel.ErrUnknown) {
		return c, nil
	}

	if err != nil {
		return nil, err
	}

	c.op, c.service, c.action = req.Operation, req.Service.Name, req.Operation.Name

	if !c.op.Streams() {
		if err := c.buffer(); err != nil {
			return nil, err
		}
	}

	c.input, err = req.Decode(r, c.body)
	if err != nil {
		// moto shall say what is wrong with it, in its own words.
		c.input = map[string]any{}
	}

	return c, nil
}

func (c *call) buffer() error {
	if c.stream == nil {
		return nil
	}

	body, err := io.ReadAll(c.stream)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}

	c.body, c.stream = body, nil

	return nil
}

// handle leads a call through the tables: first what somebody asked for, then the strict rules, then the corrections, then moto.
func (p *Proxy) handle(ctx context.Context, c *call) (*answer, error) {
	if c.op == nil {
		return p.forward(ctx, c)
	}

	next := p.forward
	for _, table := range [][]entry{p.corrections, p.strictRules} {
		for _, e := range slices.Backward(table) {
			if e.concerns(c) {
				next = p.wrap(e, next)
			}
		}
	}

	return p.obey(ctx, c, p.showHeld(next))
}

// handler takes a call one step further.
type handler func(context.Context, *call) (*answer, error)

// entry is one line of the tables of corrections and strict rules.
type entry struct {
	name string
	// source says what AWS does and where that is written.
	source  string
	service string
	actions []string
	apply   func(context.Context, *Proxy, *call, handler) (*answer, error)
}

func (e entry) concerns(c *call) bool {
	if e.service != c.service {
		return false
	}

	return len(e.actions) == 0 || slices.Contains(e.actions, c.action)
}

func (p *Proxy) wrap(e entry, next handler) handler {
	return func(ctx context.Context, c *call) (*answer, error) { return e.apply(ctx, p, c, next) }
}

// touch notes that an entry changed the course of a call.
func (p *Proxy) touch(c *call, name string) {
	p.tally.add(name)
	p.journal.touch(c.entry, name)
}

// forward hands a call to moto.
func (p *Proxy) forward(ctx context.Context, c *call) (*answer, error) {
	target := *c.url
	target.Scheme, target.Host = p.upstream.Scheme, p.upstream.Host

	body, length := c.stream, c.length
	if c.stream == nil {
		body, length = bytes.NewReader(c.body), int64(len(c.body))
	}

	req, err := http.NewRequestWithContext(ctx, c.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}

	req.Header = c.header.Clone()
	// The server has answered Expect already, by reading the body; hop-by-hop headers are not for moto.
	for _, name := range []string{"Expect", "Connection", "Transfer-Encoding", "Te", "Keep-Alive"} {
		req.Header.Del(name)
	}

	req.Header.Set("X-Moto-Account-Id", c.account)
	req.Host, req.ContentLength = c.host, length

	if length == 0 {
		req.Body = http.NoBody
	}

	res, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call moto: %w", err)
	}

	a := &answer{status: res.StatusCode, header: res.Header, stream: res.Body, length: res.ContentLength}
	if c.op != nil && c.op.StreamsOutput() && a.ok() {
		return a, nil
	}

	defer res.Body.Close()

	a.body, err = io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read moto's answer: %w", err)
	}

	a.stream, a.fault = nil, faultOf(a)

	return a, nil
}

// pass hands over a request that is no AWS call.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request) {
	c := &call{caller: caller{account: DefaultAccount}, method: r.Method, url: r.URL, host: r.Host, header: r.Header, stream: r.Body, length: r.ContentLength}

	a, err := p.forward(r.Context(), c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)

		return
	}

	if r.URL.Path == "/moto-api/reset" && a.ok() {
		p.worlds.reset()
	}

	write(w, a)
}

// write sends an answer. Header names that start with x-amz go out in lower case, as AWS sends them: Metaflow looks for x-amz-meta-* as it is written.
func write(w http.ResponseWriter, a *answer) {
	header := w.Header()

	for name, values := range a.header {
		switch lower := strings.ToLower(name); {
		case lower == "connection" || lower == "transfer-encoding" || lower == "keep-alive":
		case strings.HasPrefix(lower, "x-amz"):
			header[lower] = values
		default:
			header[name] = values
		}
	}

	if a.stream == nil {
		// The length of a HEAD answer is the object's, not the body's.
		if header.Get("Content-Length") == "" && a.status != http.StatusNoContent {
			header.Set("Content-Length", strconv.Itoa(len(a.body)))
		}

		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // who asked is gone; there is nobody to tell

		return
	}

	defer a.stream.Close()

	w.WriteHeader(a.status)

	if _, err := io.Copy(flushing{w, http.NewResponseController(w)}, a.stream); err != nil {
		panic(http.ErrAbortHandler) // half an object must not look like a whole one
	}
}

// flushing sends each piece on as it comes.
type flushing struct {
	io.Writer
	control *http.ResponseController
}

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err != nil {
		return n, err
	}

	return n, f.control.Flush()
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
