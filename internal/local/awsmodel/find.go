package awsmodel

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Credential is what the Authorization header says of the caller: who signed, for which Region and service.
type Credential struct {
	AccessKey string
	Region    string
	Scope     string
}

// CredentialOf reads the credential scope of Signature Version 4 from the header or, for presigned URLs, from the query. It does not check the signature.
func CredentialOf(r *http.Request) (Credential, bool) {
	text := ""

	if _, after, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		text, _, _ = strings.Cut(after, ",")
	}

	if text == "" {
		text = r.URL.Query().Get("X-Amz-Credential")
	}

	parts := strings.Split(strings.TrimSpace(text), "/")
	if len(parts) < 5 {
		return Credential{}, false
	}

	// The access key itself may hold slashes; the scope's four parts are at the end.
	n := len(parts)

	return Credential{AccessKey: strings.Join(parts[:n-4], "/"), Region: parts[n-3], Scope: parts[n-2]}, true
}

// Request is an HTTP request that has been recognised. Form holds the parameters of the query protocols.
type Request struct {
	Service   *Service
	Operation *Operation
	Protocol  Protocol
	// Region is the one the request was signed for; empty where it was not signed.
	Region    string
	AccessKey string

	labels map[string]string
}

// Find recognises a request. The body is needed for the query protocols only: where NeedsBody says so, it must be given.
//
// The service is the one in the credential scope; without one, the first label of the host. ErrUnknown is returned for what no model describes.
func (c *Catalog) Find(r *http.Request, body []byte) (*Request, error) {
	cred, _ := CredentialOf(r)
	scope := cred.Scope

	if scope == "" {
		scope = scopeOfHost(r)
	}

	heads := c.candidates(scope)
	if len(heads) == 0 {
		return nil, fmt.Errorf("find the service signed as %q: %w", scope, ErrUnknown)
	}

	for _, h := range heads {
		s, err := c.load(h)
		if err != nil {
			return nil, err
		}

		op, protocol, labels := s.match(r, body)
		if op == nil {
			continue
		}

		return &Request{
			Service: s, Operation: op, Protocol: protocol, Region: cred.Region, AccessKey: cred.AccessKey, labels: labels,
		}, nil
	}

	return nil, fmt.Errorf("find the operation of %s %s at %s: %w", r.Method, r.URL.Path, scope, ErrUnknown)
}

// NeedsBody says whether the operation's name stands in the body, as it does in the query protocols.
func NeedsBody(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

func scopeOfHost(r *http.Request) string {
	if prefix, _, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok && prefix != "" {
		return strings.ToLower(strings.TrimPrefix(strings.SplitN(prefix, "_", 2)[0], "AWS"))
	}

	first, rest, _ := strings.Cut(r.Host, ".")
	if strings.Contains(rest, "amazonaws.com") && first != "" {
		return first
	}

	return ""
}

// candidates are the services that sign under one name, the one of that very name first: Lambda's is shared with nobody, DynamoDB's with its streams, S3's
// with its control plane.
func (c *Catalog) candidates(scope string) []head {
	var heads []head

	for _, h := range c.heads {
		if h.meta.scope() == scope || h.meta.EndpointPrefix == scope {
			heads = append(heads, h)
		}
	}

	slices.SortStableFunc(heads, func(a, b head) int { return cmp.Compare(distance(a, scope), distance(b, scope)) })

	return heads
}

func distance(h head, scope string) int {
	if h.dir == scope {
		return 0
	}

	return 1
}

func (s *Service) match(r *http.Request, body []byte) (*Operation, Protocol, map[string]string) {
	if target := r.Header.Get("X-Amz-Target"); target != "" && s.speaks(JSON) {
		prefix, name, _ := cutLast(target, ".")
		if prefix != s.meta.TargetPrefix {
			return nil, "", nil
		}

		return s.operations[name], JSON, nil
	}

	query := Query
	if s.speaks(EC2Query) {
		query = EC2Query
	}

	if s.speaks(query) {
		form := formOf(r, body)
		if version := form.Get("Version"); version != "" && version != s.meta.APIVersion && s.meta.Protocol != EC2Query {
			return nil, "", nil
		}

		return s.operations[form.Get("Action")], query, nil
	}

	if !s.speaks(RestJSON) && !s.speaks(RestXML) {
		return nil, "", nil
	}

	protocol := RestJSON
	if s.speaks(RestXML) {
		protocol = RestXML
	}

	for _, candidate := range s.routes {
		if labels, ok := candidate.match(r); ok {
			return candidate.operation, protocol, labels
		}
	}

	return nil, "", nil
}

func formOf(r *http.Request, body []byte) url.Values {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		form = url.Values{}
	}

	for key, values := range r.URL.Query() {
		form[key] = append(form[key], values...)
	}

	return form
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}

	return s[:i], s[i+len(sep):], true
}

// route is the HTTP binding of an operation.
type route struct {
	operation *Operation
	method    string
	segments  []segment
	query     map[string]string // fixed parameters; an empty value asks only that the parameter is there
	// needs are required members that travel in the query or in headers: they tell UploadPart from PutObject, which share a path.
	needs []*Member
	names []string
}

type segment struct {
	literal string
	label   string
	greedy  bool
}

func newRoute(op *Operation, method, uri string) route {
	path, query, _ := strings.Cut(uri, "?")
	rt := route{operation: op, method: method, query: map[string]string{}}

	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}

		name, isLabel := strings.CutPrefix(part, "{")
		if !isLabel {
			rt.segments = append(rt.segments, segment{literal: part})

			continue
		}

		name = strings.TrimSuffix(name, "}")
		name, greedy := strings.CutSuffix(name, "+")
		rt.segments = append(rt.segments, segment{label: name, greedy: greedy})
	}

	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}

		key, value, _ := strings.Cut(part, "=")
		rt.query[key] = value
	}

	if op.Input == nil {
		return rt
	}

	for _, name := range op.Input.Required {
		m := op.Input.Members[name]
		if m == nil || (m.Location != "querystring" && m.Location != "header") {
			continue
		}

		rt.needs, rt.names = append(rt.needs, m), append(rt.names, wireName(name, m))
	}

	return rt
}

func wireName(name string, m *Member) string {
	if m.LocationName != "" {
		return m.LocationName
	}

	return name
}

// sortRoutes puts the particular before the general: more fixed query parameters, then more literal segments, then more required members outside the body,
// then more segments.
func sortRoutes(routes []route) {
	slices.SortFunc(routes, func(a, b route) int {
		return cmp.Or(
			cmp.Compare(len(b.query), len(a.query)),
			cmp.Compare(b.literals(), a.literals()),
			cmp.Compare(len(b.needs), len(a.needs)),
			cmp.Compare(len(b.segments), len(a.segments)),
			// PutBucketLifecycle gave its place to PutBucketLifecycleConfiguration.
			cmp.Compare(deprecation(a), deprecation(b)),
			cmp.Compare(a.operation.Name, b.operation.Name),
		)
	})
}

func deprecation(rt route) int {
	if rt.operation.deprecated {
		return 1
	}

	return 0
}

func (rt route) literals() int {
	n := 0

	for _, seg := range rt.segments {
		if seg.literal != "" {
			n++
		}
	}

	return n
}

func (rt route) match(r *http.Request) (map[string]string, bool) {
	if rt.method != r.Method {
		return nil, false
	}

	labels, ok := rt.matchPath(r.URL.EscapedPath())
	if !ok {
		return nil, false
	}

	query := r.URL.Query()
	for key, want := range rt.query {
		got, there := query[key]
		if !there || (want != "" && !slices.Contains(got, want)) {
			return nil, false
		}
	}

	for i, m := range rt.needs {
		if m.Location == "querystring" && !query.Has(rt.names[i]) {
			return nil, false
		}

		// A body without its required header is still that call, only a wrong one, unless the header is what makes the call: CopyObject's source.
		if m.Location == "header" && r.Header.Get(rt.names[i]) == "" && strings.HasPrefix(strings.ToLower(rt.names[i]), "x-amz-") {
			return nil, false
		}
	}

	return labels, true
}

func (rt route) matchPath(escaped string) (map[string]string, bool) {
	rest := strings.TrimPrefix(escaped, "/")
	labels := map[string]string{}

	for i, seg := range rt.segments {
		if seg.greedy && i == len(rt.segments)-1 {
			if rest == "" {
				return nil, false
			}

			labels[seg.label] = unescape(rest)

			return labels, true
		}

		part, after, _ := strings.Cut(rest, "/")
		if part == "" || (seg.literal != "" && seg.literal != unescape(part)) {
			return nil, false
		}

		if seg.label != "" {
			labels[seg.label] = unescape(part)
		}

		rest = after
	}

	return labels, rest == ""
}

func unescape(s string) string {
	out, err := url.PathUnescape(s)
	if err != nil {
		return s
	}

	return out
}
