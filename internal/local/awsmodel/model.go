// Package awsmodel reads the service models that botocore carries (service-2.json) and, with them, the requests that any AWS SDK sends: which service, which
// operation, which input. It also checks an input against its model and writes errors in the service's own wire format.
//
// It knows protocols, not services: nothing in it is written for one AWS service alone, and it knows nothing of the proxy that uses it.
package awsmodel

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Protocol is the name of a wire protocol as the models spell it.
type Protocol string

// The protocols of AWS services that send one request per call.
const (
	Query    Protocol = "query"
	EC2Query Protocol = "ec2"
	JSON     Protocol = "json"
	RestJSON Protocol = "rest-json"
	RestXML  Protocol = "rest-xml"
)

// Catalog is the set of service models below one directory. It is safe for concurrent use; a model is read when it is first needed.
type Catalog struct {
	dir   string
	heads []head

	mu     sync.Mutex
	models map[string]*Service
}

// head is what the catalog knows of a service before it has read the whole model.
type head struct {
	dir  string // directory below the catalog's, for instance "stepfunctions"
	file string
	meta metadata
}

type metadata struct {
	APIVersion     string     `json:"apiVersion"`
	EndpointPrefix string     `json:"endpointPrefix"`
	JSONVersion    string     `json:"jsonVersion"`
	Protocol       Protocol   `json:"protocol"`
	Protocols      []Protocol `json:"protocols"`
	ServiceID      string     `json:"serviceId"`
	SigningName    string     `json:"signingName"`
	TargetPrefix   string     `json:"targetPrefix"`
	XMLNamespace   string     `json:"xmlNamespace"`
}

// scope is the name under which requests to the service are signed.
func (m metadata) scope() string {
	if m.SigningName != "" {
		return m.SigningName
	}

	return m.EndpointPrefix
}

// name is the package name of the service in aws-sdk-go-v2: the service id in lower case without spaces.
func (m metadata) name() string {
	return strings.ToLower(strings.ReplaceAll(m.ServiceID, " ", ""))
}

// Service is one service model.
type Service struct {
	// Name is the service's package name in aws-sdk-go-v2: s3, ec2, sfn, servicequotas.
	Name string
	// Namespace is the XML namespace of answers; empty where the service has none.
	Namespace string

	meta       metadata
	operations map[string]*Operation
	routes     []route
	shapes     map[string]*Shape
}

// Operation is one call that a service offers.
type Operation struct {
	Name    string
	Service *Service
	// Input is nil where the operation takes none.
	Input *Shape
	// Errors are the shapes of the errors the model declares.
	Errors []*Shape

	output     *Shape
	deprecated bool
}

// Shape is a type of the model.
type Shape struct {
	Name     string
	Type     string
	Required []string
	Members  map[string]*Member
	Payload  string
	// Element, Key and Value are set for lists and maps.
	Element, Key, Value *Member
	Flattened           bool
	Enum                []string
	Pattern             string
	Min, Max            *float64
	TimestampFormat     string
	Document            bool
	LocationName        string
	ErrorCode           string // the code on the wire, where it differs from the shape's name
	ErrorStatus         int
	EventStream         bool
}

// Member is a use of a shape inside another one.
type Member struct {
	Shape           *Shape
	Location        string // uri, querystring, header, headers, statusCode; empty for the body
	LocationName    string
	QueryName       string
	Flattened       bool
	Streaming       bool
	TimestampFormat string
	XMLAttribute    bool
}

type rawModel struct {
	Metadata   metadata                `json:"metadata"`
	Operations map[string]rawOperation `json:"operations"`
	Shapes     map[string]rawShape     `json:"shapes"`
}

type rawOperation struct {
	HTTP struct {
		Method     string `json:"method"`
		RequestURI string `json:"requestUri"`
	} `json:"http"`
	Input      *rawMember  `json:"input"`
	Output     *rawMember  `json:"output"`
	Errors     []rawMember `json:"errors"`
	Deprecated bool        `json:"deprecated"`
}

type rawShape struct {
	Type            string               `json:"type"`
	Required        []string             `json:"required"`
	Members         map[string]rawMember `json:"members"`
	Payload         string               `json:"payload"`
	Member          *rawMember           `json:"member"`
	Key             *rawMember           `json:"key"`
	Value           *rawMember           `json:"value"`
	Flattened       bool                 `json:"flattened"`
	Enum            []string             `json:"enum"`
	Pattern         string               `json:"pattern"`
	Min             *float64             `json:"min"`
	Max             *float64             `json:"max"`
	TimestampFormat string               `json:"timestampFormat"`
	Document        bool                 `json:"document"`
	LocationName    string               `json:"locationName"`
	EventStream     bool                 `json:"eventstream"`
	Error           struct {
		Code           string `json:"code"`
		HTTPStatusCode int    `json:"httpStatusCode"`
	} `json:"error"`
}

type rawMember struct {
	Shape           string `json:"shape"`
	Location        string `json:"location"`
	LocationName    string `json:"locationName"`
	QueryName       string `json:"queryName"`
	Flattened       bool   `json:"flattened"`
	Streaming       bool   `json:"streaming"`
	TimestampFormat string `json:"timestampFormat"`
	XMLAttribute    bool   `json:"xmlAttribute"`
}

// Open reads the heads of all models below dir, which is botocore's data directory: <service>/<api version>/service-2.json or service-2.json.gz. Of several
// versions of a service the newest counts.
func Open(dir string) (*Catalog, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the service models: %w", err)
	}

	c := &Catalog{dir: dir, models: map[string]*Service{}}

	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}

		files, err := filepath.Glob(filepath.Join(dir, entry.Name(), "*", "service-2.json*"))
		if err != nil {
			return nil, fmt.Errorf("list the models of %s: %w", entry.Name(), err)
		}

		if len(files) == 0 {
			continue
		}

		file := slices.Max(files)

		meta, err := readMetadata(file)
		if err != nil {
			return nil, fmt.Errorf("read the head of %s: %w", file, err)
		}

		c.heads = append(c.heads, head{dir: entry.Name(), file: file, meta: meta})
	}

	if len(c.heads) == 0 {
		return nil, fmt.Errorf("read the service models: no service-2.json below %s", dir)
	}

	return c, nil
}

// Service gives the model of the service with that package name in aws-sdk-go-v2.
func (c *Catalog) Service(name string) (*Service, error) {
	for _, h := range c.heads {
		if h.meta.name() == name {
			return c.load(h)
		}
	}

	return nil, fmt.Errorf("find the model of %s: %w", name, ErrUnknown)
}

// Operation gives one operation of a service by the names of aws-sdk-go-v2.
func (c *Catalog) Operation(service, operation string) (*Operation, error) {
	s, err := c.Service(service)
	if err != nil {
		return nil, err
	}

	op, ok := s.operations[operation]
	if !ok {
		return nil, fmt.Errorf("find the operation %s of %s: %w", operation, service, ErrUnknown)
	}

	return op, nil
}

// ErrUnknown says that the models know no such service or operation.
var ErrUnknown = errors.New("not in the service models")

func openModel(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}

	if !strings.HasSuffix(file, ".gz") {
		return f, nil
	}

	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}

	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// readMetadata stops as soon as it has the metadata, which stands near the start: reading all 400 models whole would take half a minute.
func readMetadata(file string) (metadata, error) {
	r, err := openModel(file)
	if err != nil {
		return metadata{}, err
	}
	defer r.Close()

	dec := json.NewDecoder(r)
	if _, err := dec.Token(); err != nil {
		return metadata{}, err
	}

	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return metadata{}, err
		}

		if key != "metadata" {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return metadata{}, err
			}

			continue
		}

		var meta metadata

		return meta, dec.Decode(&meta)
	}

	return metadata{}, errors.New("no metadata")
}

func (c *Catalog) load(h head) (*Service, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if s, ok := c.models[h.dir]; ok {
		return s, nil
	}

	r, err := openModel(h.file)
	if err != nil {
		return nil, fmt.Errorf("open the model of %s: %w", h.dir, err)
	}
	defer r.Close()

	var raw rawModel
	if err := json.NewDecoder(r).Decode(&raw); err != nil {
		return nil, fmt.Errorf("read the model of %s: %w", h.dir, err)
	}

	s := link(raw)
	c.models[h.dir] = s

	return s, nil
}

func link(raw rawModel) *Service {
	s := &Service{
		Name:       raw.Metadata.name(),
		Namespace:  raw.Metadata.XMLNamespace,
		meta:       raw.Metadata,
		operations: map[string]*Operation{},
		shapes:     map[string]*Shape{},
	}

	for name := range raw.Shapes {
		s.shapes[name] = &Shape{Name: name}
	}

	for name, r := range raw.Shapes {
		sh := s.shapes[name]
		sh.Type, sh.Required, sh.Payload, sh.Flattened = r.Type, r.Required, r.Payload, r.Flattened
		sh.Enum, sh.Pattern, sh.Min, sh.Max = r.Enum, r.Pattern, r.Min, r.Max
		sh.TimestampFormat, sh.Document, sh.LocationName = r.TimestampFormat, r.Document, r.LocationName
		sh.ErrorCode, sh.ErrorStatus, sh.EventStream = r.Error.Code, r.Error.HTTPStatusCode, r.EventStream
		sh.Element, sh.Key, sh.Value = s.member(r.Member), s.member(r.Key), s.member(r.Value)

		if r.Members == nil {
			continue
		}

		sh.Members = make(map[string]*Member, len(r.Members))
		for member, m := range r.Members {
			sh.Members[member] = s.member(&m)
		}
	}

	for name, r := range raw.Operations {
		op := &Operation{Name: name, Service: s, deprecated: r.Deprecated}
		if r.Input != nil {
			op.Input = s.shapes[r.Input.Shape]
		}

		if r.Output != nil {
			op.output = s.shapes[r.Output.Shape]
		}

		for _, e := range r.Errors {
			op.Errors = append(op.Errors, s.shapes[e.Shape])
		}

		s.operations[name] = op
		s.routes = append(s.routes, newRoute(op, r.HTTP.Method, r.HTTP.RequestURI))
	}

	sortRoutes(s.routes)

	return s
}

func (s *Service) member(r *rawMember) *Member {
	if r == nil {
		return nil
	}

	return &Member{
		Shape: s.shapes[r.Shape], Location: r.Location, LocationName: r.LocationName, QueryName: r.QueryName, Flattened: r.Flattened,
		Streaming: r.Streaming, TimestampFormat: r.TimestampFormat, XMLAttribute: r.XMLAttribute,
	}
}

// Operation gives an operation of the service by name, or nil.
func (s *Service) Operation(name string) *Operation { return s.operations[name] }

// Protocol is the protocol that answers use when the request did not say which: the one the model lists first.
func (s *Service) Protocol() Protocol { return s.meta.Protocol }

// speaks says whether the service can be called with the protocol. Newer models list several.
func (s *Service) speaks(p Protocol) bool {
	return s.meta.Protocol == p || slices.Contains(s.meta.Protocols, p)
}

// Streams says whether the request's body is a blob of any length that is part of no decoded input, such as an object in S3.
func (o *Operation) Streams() bool { return streams(o.Input) }

// StreamsOutput says the same of the answer.
func (o *Operation) StreamsOutput() bool { return streams(o.output) }

func streams(sh *Shape) bool {
	if sh == nil || sh.Payload == "" {
		return false
	}

	m := sh.Members[sh.Payload]

	return m != nil && (m.Streaming || m.Shape.EventStream)
}
