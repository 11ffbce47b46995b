// Package samtemplate reads a SAM template and tells what it declares: tables, queues, event buses,
// functions and what calls them, state machines, policies, roles, an HTTP API and event rules, with
// every intrinsic function resolved for one account and Region.
//
// It reads only the properties that this computer can act on. It must not know how anything is
// run, and makes no call.
package samtemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Template is a parsed template, not resolved yet.
type Template struct {
	parameters *yaml.Node
	conditions *yaml.Node
	mappings   *yaml.Node
	globals    *yaml.Node
	resources  *yaml.Node
	names      []string // logical ids in the order of the file
	types      map[string]string
	bodies     map[string]*yaml.Node
}

// Inputs is what a stack is resolved for.
type Inputs struct {
	Region    string
	Account   string
	StackName string
	// APIEndpoint is what `!GetAtt <api>.ApiEndpoint` yields.
	APIEndpoint string
	// Parameters override the defaults. A name that the template does not declare is an error.
	Parameters map[string]string
}

// Stack is what a template declares for one account and Region.
type Stack struct {
	Tables        []Table
	Functions     []Function
	StateMachines []StateMachine
	Policies      []Policy
	Roles         []Role
	API           *API // nil if there is none
	Rules         []Rule
	Queues        []Queue
	Buses         []string // names
	Mappings      []Mapping
	// Parameters are the values used, defaults included.
	Parameters map[string]string
}

// Function is an AWS::Serverless::Function.
type Function struct {
	LogicalID string
	// Name is the last folder of CodeUri.
	Name     string
	ARN      string
	Timeout  time.Duration
	MemoryMB int
	Env      map[string]string
	// Aliases are the other names by which it can be called.
	Aliases []string
}

// Table is an AWS::DynamoDB::Table. Its members are CloudFormation's, which are the API's.
type Table struct {
	LogicalID               string                `json:"-"`
	Name                    string                `json:"-"`
	AttributeDefinitions    []AttributeDefinition `json:"AttributeDefinitions"`
	KeySchema               []KeyElement          `json:"KeySchema"`
	GlobalSecondaryIndexes  []Index               `json:"GlobalSecondaryIndexes"`
	TimeToLiveSpecification *struct {
		AttributeName string `json:"AttributeName"`
		Enabled       bool   `json:"Enabled"`
	} `json:"TimeToLiveSpecification"`
	StreamSpecification *struct {
		StreamViewType string `json:"StreamViewType"`
	} `json:"StreamSpecification"`
}

// AttributeDefinition types an attribute of a key.
type AttributeDefinition struct {
	AttributeName string `json:"AttributeName"`
	AttributeType string `json:"AttributeType"`
}

// KeyElement is one part of a key.
type KeyElement struct {
	AttributeName string `json:"AttributeName"`
	KeyType       string `json:"KeyType"`
}

// Index is a global secondary index.
type Index struct {
	IndexName  string       `json:"IndexName"`
	KeySchema  []KeyElement `json:"KeySchema"`
	Projection struct {
		ProjectionType   string   `json:"ProjectionType"`
		NonKeyAttributes []string `json:"NonKeyAttributes"`
	} `json:"Projection"`
}

// StateMachine is an AWS::Serverless::StateMachine.
type StateMachine struct {
	LogicalID string
	Name      string
	ARN       string
	RoleARN   string
	// DefinitionURI is a path relative to the template; Substitutions go into its ${names}.
	DefinitionURI string
	Substitutions map[string]string
}

// Policy is an AWS::IAM::ManagedPolicy.
type Policy struct {
	LogicalID, Name, Path, Description, ARN string
	Document                                json.RawMessage
}

// Role is an AWS::IAM::Role, or one that SAM makes for a state machine that names none.
type Role struct {
	LogicalID, Name, Path, ARN string
	Trust                      json.RawMessage
}

// API is an AWS::ApiGatewayV2::Api of protocol HTTP with its routes.
type API struct {
	LogicalID string
	ID        string
	Routes    []Route
	// Throttle is the stage's default limit; zero when the template sets none.
	Throttle Throttle
}

// Throttle is a token bucket.
type Throttle struct {
	Burst int
	Rate  float64 // requests per second
}

// Route is an AWS::ApiGatewayV2::Route with the integration and the authorizer it names.
type Route struct {
	LogicalID string
	Key       string // "GET /path" or "$default"
	// Authorization is NONE, JWT or AWS_IAM.
	Authorization string
	Scopes        []string
	Authorizer    *Authorizer // set for JWT
	// Function is the ARN of the function behind it.
	Function string
	Timeout  time.Duration
}

// Authorizer is an AWS::ApiGatewayV2::Authorizer of type JWT.
type Authorizer struct {
	LogicalID string
	Issuer    string
	Audience  []string
}

// Rule calls a function on a schedule or for an event.
type Rule struct {
	Name string
	// Every is set for a schedule, Pattern (an EventBridge pattern) for events.
	Every    time.Duration
	Pattern  json.RawMessage
	Function string // ARN
	// Input replaces the event if it is not empty.
	Input string
}

// Queue is an AWS::SQS::Queue.
type Queue struct {
	LogicalID, Name, URL, ARN string
	// Attributes are the API's, which are CloudFormation's properties as text.
	Attributes map[string]string
}

// Mapping is an AWS::Lambda::EventSourceMapping: what a stream or a queue brings calls a function.
type Mapping struct {
	LogicalID string
	Function  string // ARN
	// Source is the ARN of a queue or of a table's stream; Table is set for a stream.
	Source, Table string
	BatchSize     int
	// Filters are patterns of which a record must fit one; none lets all through.
	Filters []json.RawMessage
	// Partial says that the function answers which items failed.
	Partial, Bisect bool
	// Retries ends the tries of a stream's batch, which then goes to OnFailure, a queue's ARN. -1 is without end.
	Retries int
	// MaxAge ends them, too, by the age of the record that fails. 0 is without end.
	MaxAge    time.Duration
	OnFailure string
	// Concurrency bounds the calls for a queue at a time; 0 is without bound.
	Concurrency int
}

// Parse reads a template. Intrinsic functions are looked at only when the stack is resolved.
func Parse(data []byte) (*Template, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("parse template: %w", err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("parse template: not a mapping")
	}
	root := doc.Content[0]
	t := &Template{
		parameters: child(root, "Parameters"),
		conditions: child(root, "Conditions"),
		mappings:   child(root, "Mappings"),
		globals:    child(root, "Globals"),
		resources:  child(root, "Resources"),
		types:      map[string]string{},
		bodies:     map[string]*yaml.Node{},
	}
	if t.resources == nil {
		return nil, errors.New("parse template: no Resources")
	}
	for name, body := range pairs(t.resources) {
		typ := child(body, "Type")
		if typ == nil {
			return nil, fmt.Errorf("parse template: Resources.%s (line %d): no Type", name, body.Line)
		}
		t.names = append(t.names, name)
		t.types[name] = typ.Value
		t.bodies[name] = body
	}
	return t, nil
}

// Resolve says what the template declares for the inputs.
func (t *Template) Resolve(in Inputs) (*Stack, error) {
	s := &scope{t: t, in: in, parameters: map[string]any{}}
	st := &Stack{Parameters: map[string]string{}}
	if err := s.readParameters(st); err != nil {
		return nil, err
	}
	for _, name := range t.names {
		present, err := s.present(name)
		if err != nil {
			return nil, err
		}
		if !present {
			continue
		}
		if err := s.read(st, name); err != nil {
			return nil, err
		}
	}
	if err := s.readAPI(st); err != nil {
		return nil, err
	}
	if err := errors.Join(s.errs...); err != nil {
		return nil, err
	}
	return st, nil
}

func (s *scope) readParameters(st *Stack) error {
	declared := map[string]bool{}
	for name, body := range pairs(s.t.parameters) {
		declared[name] = true
		value, ok := s.in.Parameters[name]
		if !ok {
			def := child(body, "Default")
			if def == nil {
				return fmt.Errorf("parameter %s has no default and no value", name)
			}
			value = def.Value
		}
		st.Parameters[name] = value
		s.parameters[name] = value
		typ := child(body, "Type")
		switch {
		case typ == nil:
		case typ.Value == "Number":
			if !json.Valid([]byte(value)) {
				return fmt.Errorf("parameter %s: %q is no number", name, value)
			}
			s.parameters[name] = json.Number(value)
		case typ.Value == "CommaDelimitedList" || strings.HasPrefix(typ.Value, "List<"):
			list := []any{}
			for item := range strings.SplitSeq(value, ",") {
				list = append(list, strings.TrimSpace(item))
			}
			s.parameters[name] = list
		}
	}
	for name := range s.in.Parameters {
		if !declared[name] {
			return fmt.Errorf("the template has no parameter %s", name)
		}
	}
	return nil
}

// read adds what one resource declares.
func (s *scope) read(st *Stack, id string) error {
	switch s.t.types[id] {
	case "AWS::Serverless::Function":
		return s.readFunction(st, id)
	case "AWS::Serverless::StateMachine":
		return s.readStateMachine(st, id)
	case "AWS::DynamoDB::Table":
		tb := Table{LogicalID: id, Name: s.physicalName(id, "TableName")}
		if err := s.decode(id, &tb, "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "TimeToLiveSpecification", "StreamSpecification"); err != nil {
			return err
		}
		st.Tables = append(st.Tables, tb)
	case "AWS::IAM::ManagedPolicy":
		var p struct {
			Path, Description string
			PolicyDocument    json.RawMessage
		}
		if err := s.decode(id, &p, "Path", "Description", "PolicyDocument"); err != nil {
			return err
		}
		arn, err := s.attribute(id, "PolicyArn", id)
		if err != nil {
			return err
		}
		st.Policies = append(st.Policies, Policy{
			LogicalID: id, Name: s.physicalName(id, "ManagedPolicyName"), Path: orSlash(p.Path),
			Description: p.Description, ARN: arn.(string), Document: p.PolicyDocument,
		})
	case "AWS::IAM::Role":
		var r struct {
			Path                     string
			AssumeRolePolicyDocument json.RawMessage
		}
		if err := s.decode(id, &r, "Path", "AssumeRolePolicyDocument"); err != nil {
			return err
		}
		arn, err := s.attribute(id, "Arn", id)
		if err != nil {
			return err
		}
		st.Roles = append(st.Roles, Role{
			LogicalID: id, Name: s.physicalName(id, "RoleName"), Path: orSlash(r.Path),
			ARN: arn.(string), Trust: r.AssumeRolePolicyDocument,
		})
	case "AWS::Events::Rule":
		return s.readRule(st, id)
	case "AWS::Events::EventBus":
		st.Buses = append(st.Buses, s.physicalName(id, "Name"))
	case "AWS::SQS::Queue":
		return s.readQueue(st, id)
	case "AWS::Lambda::EventSourceMapping":
		return s.readMapping(st, id)
	case "AWS::Lambda::Alias":
		return s.readAlias(st, id)
	}
	return nil // the rest needs no acting on here
}

func (s *scope) readFunction(st *Stack, id string) error {
	f := Function{LogicalID: id, Name: s.functionName(id), Env: map[string]string{}}
	if f.Name == "" {
		return fmt.Errorf("Resources.%s: CodeUri names no folder", id)
	}
	f.ARN = s.arn("lambda", "function:"+f.Name)

	// Properties of the function win over Globals; environments merge name by name.
	var p struct {
		Timeout     int
		MemorySize  int
		Environment struct{ Variables map[string]any }
	}
	p.Timeout, p.MemorySize = 3, 128 // Lambda's own defaults
	if g := child(s.t.globals, "Function"); g != nil {
		for _, name := range []string{"Timeout", "MemorySize", "Environment"} {
			if err := s.decodeNode(child(g, name), "Globals.Function."+name, name, &p); err != nil {
				return err
			}
		}
	}
	if err := s.decode(id, &p, "Timeout", "MemorySize", "Environment"); err != nil {
		return err
	}
	f.Timeout, f.MemoryMB = time.Duration(p.Timeout)*time.Second, p.MemorySize
	for k, v := range p.Environment.Variables {
		text, err := scalar(v)
		if err != nil {
			return fmt.Errorf("Resources.%s.Properties.Environment.Variables.%s: %w", id, k, err)
		}
		f.Env[k] = text
	}
	st.Functions = append(st.Functions, f)

	for name, event := range pairs(child(s.properties(id), "Events")) {
		if err := s.readEvent(st, id, name, event, f.ARN); err != nil {
			return err
		}
	}
	return nil
}

// readAlias takes an alias of a function that stands before it in the template.
func (s *scope) readAlias(st *Stack, id string) error {
	var a struct{ Name, FunctionName, FunctionVersion string }
	if err := s.decode(id, &a, "Name", "FunctionName", "FunctionVersion"); err != nil {
		return err
	}
	i := slices.IndexFunc(st.Functions, func(f Function) bool { return f.Name == a.FunctionName })
	if i < 0 || a.FunctionVersion != "$LATEST" {
		return fmt.Errorf("Resources.%s: an alias of version %s of %s is not played here", id, a.FunctionVersion, a.FunctionName)
	}
	st.Functions[i].Aliases = append(st.Functions[i].Aliases, a.Name)
	return nil
}

func (s *scope) readEvent(st *Stack, id, name string, event *yaml.Node, function string) error {
	place := "Resources." + id + ".Properties.Events." + name
	typ, props := child(event, "Type"), child(event, "Properties")
	if typ == nil {
		return fmt.Errorf("%s: no Type", place)
	}
	switch typ.Value {
	case "Schedule", "ScheduleV2", "EventBridgeRule", "CloudWatchEvent":
	default:
		return fmt.Errorf("%s: an event of type %s is not played here", place, typ.Value)
	}
	var p struct {
		Schedule, ScheduleExpression, State, Input string
		Enabled                                    *bool
		Pattern                                    json.RawMessage
	}
	for _, key := range []string{"Schedule", "ScheduleExpression", "State", "Enabled", "Input", "Pattern"} {
		if err := s.decodeNode(child(props, key), place+".Properties."+key, key, &p); err != nil {
			return err
		}
	}
	if p.State == "DISABLED" || p.Enabled != nil && !*p.Enabled {
		return nil
	}
	return addRule(st, place, Rule{Name: s.in.StackName + "-" + id + name, Pattern: p.Pattern, Function: function, Input: p.Input},
		p.Schedule+p.ScheduleExpression)
}

func (s *scope) readRule(st *Stack, id string) error {
	var p struct {
		ScheduleExpression, State string
		EventPattern              json.RawMessage
		Targets                   []struct{ Arn, Input string }
	}
	if err := s.decode(id, &p, "ScheduleExpression", "State", "EventPattern", "Targets"); err != nil {
		return err
	}
	if p.State == "DISABLED" {
		return nil
	}
	for _, target := range p.Targets {
		if !strings.Contains(target.Arn, ":function:") {
			continue // only functions are called here
		}
		r := Rule{Name: s.physicalName(id, "Name"), Pattern: p.EventPattern, Function: target.Arn, Input: target.Input}
		if err := addRule(st, "Resources."+id, r, p.ScheduleExpression); err != nil {
			return err
		}
	}
	return nil
}

var rate = regexp.MustCompile(`^rate\((\d+) (minute|hour|day)s?\)$`)

func addRule(st *Stack, place string, r Rule, schedule string) error {
	if schedule != "" {
		m := rate.FindStringSubmatch(schedule)
		if m == nil {
			return fmt.Errorf("%s: a schedule %s is not played here, only rate(n minutes|hours|days)", place, schedule)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n < 1 {
			return fmt.Errorf("%s: %s is no schedule", place, schedule)
		}
		r.Every = time.Duration(n) * map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}[m[2]]
	}
	if r.Every == 0 && len(r.Pattern) == 0 {
		return fmt.Errorf("%s: neither a schedule nor a pattern", place)
	}
	st.Rules = append(st.Rules, r)
	return nil
}

func (s *scope) readStateMachine(st *Stack, id string) error {
	m := StateMachine{LogicalID: id, Name: s.physicalName(id, "Name"), Substitutions: map[string]string{}}
	m.ARN = s.arn("states", "stateMachine:"+m.Name)
	var p struct {
		DefinitionUri           string //nolint:revive,staticcheck // SAM's spelling
		Role                    string
		DefinitionSubstitutions map[string]any
	}
	if err := s.decode(id, &p, "DefinitionUri", "Role", "DefinitionSubstitutions"); err != nil {
		return err
	}
	if p.DefinitionUri == "" {
		return fmt.Errorf("Resources.%s: only a DefinitionUri is read here", id)
	}
	m.DefinitionURI, m.RoleARN = p.DefinitionUri, p.Role
	for k, v := range p.DefinitionSubstitutions {
		text, err := scalar(v)
		if err != nil {
			return fmt.Errorf("Resources.%s.Properties.DefinitionSubstitutions.%s: %w", id, k, err)
		}
		m.Substitutions[k] = text
	}
	if m.RoleARN == "" {
		name := s.in.StackName + "-" + id + "Role"
		m.RoleARN = s.globalARN("iam", "role/"+name)
		st.Roles = append(st.Roles, Role{
			LogicalID: id + "Role", Name: name, Path: "/", ARN: m.RoleARN,
			Trust: json.RawMessage(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"states.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
		})
	}
	st.StateMachines = append(st.StateMachines, m)
	return nil
}

// readAPI joins the API Gateway resources into one API.
func (s *scope) readAPI(st *Stack) error {
	var api *API
	for _, id := range s.ofType("AWS::ApiGatewayV2::Api") {
		if api != nil {
			return fmt.Errorf("Resources.%s: a second API; one is played here", id)
		}
		var p struct {
			ProtocolType      string
			CorsConfiguration json.RawMessage
			Body              json.RawMessage
		}
		if err := s.decode(id, &p, "ProtocolType", "CorsConfiguration", "Body"); err != nil {
			return err
		}
		if p.ProtocolType != "HTTP" || p.CorsConfiguration != nil || p.Body != nil {
			return fmt.Errorf("Resources.%s: only an HTTP API without CorsConfiguration and Body is played here", id)
		}
		api = &API{LogicalID: id, ID: apiID(id)}
	}
	if api == nil {
		return nil
	}
	st.API = api
	if err := s.readStages(api); err != nil {
		return err
	}
	for _, id := range s.ofType("AWS::ApiGatewayV2::Route") {
		r, err := s.readRoute(id)
		if err != nil {
			return err
		}
		api.Routes = append(api.Routes, r)
	}
	return nil
}

func (s *scope) readStages(api *API) error {
	for _, id := range s.ofType("AWS::ApiGatewayV2::Stage") {
		var p struct {
			StageName            string
			DefaultRouteSettings struct {
				ThrottlingBurstLimit int
				ThrottlingRateLimit  float64
			}
		}
		if err := s.decode(id, &p, "StageName", "DefaultRouteSettings"); err != nil {
			return err
		}
		if p.StageName != "$default" {
			return fmt.Errorf("Resources.%s: stage %s; only $default is played here", id, p.StageName)
		}
		api.Throttle = Throttle{Burst: p.DefaultRouteSettings.ThrottlingBurstLimit, Rate: p.DefaultRouteSettings.ThrottlingRateLimit}
	}
	return nil
}

// invokeURI is the form in which API Gateway takes a function that is not named by its bare ARN.
var invokeURI = regexp.MustCompile(`^arn:[a-z-]+:apigateway:[a-z0-9-]+:lambda:path/2015-03-31/functions/(.+)/invocations$`)

func (s *scope) readRoute(id string) (Route, error) {
	place := "Resources." + id
	var p struct {
		RouteKey, AuthorizationType, AuthorizerId, Target string //nolint:revive,staticcheck // CloudFormation's spelling
		AuthorizationScopes                               []string
	}
	if err := s.decode(id, &p, "RouteKey", "AuthorizationType", "AuthorizerId", "AuthorizationScopes", "Target"); err != nil {
		return Route{}, err
	}
	r := Route{LogicalID: id, Key: p.RouteKey, Authorization: p.AuthorizationType, Scopes: p.AuthorizationScopes}
	switch r.Authorization {
	case "":
		r.Authorization = "NONE"
	case "NONE", "AWS_IAM":
	case "JWT":
		a, err := s.readAuthorizer(place, p.AuthorizerId)
		if err != nil {
			return Route{}, err
		}
		r.Authorizer = a
	default:
		return Route{}, fmt.Errorf("%s: authorization %s is not played here", place, r.Authorization)
	}

	target, ok := strings.CutPrefix(p.Target, "integrations/")
	if !ok || s.t.types[target] != "AWS::ApiGatewayV2::Integration" {
		return Route{}, fmt.Errorf("%s: target %q is no integration of the template", place, p.Target)
	}
	var in struct {
		IntegrationType, IntegrationUri, PayloadFormatVersion string //nolint:revive,staticcheck // CloudFormation's spelling
		TimeoutInMillis                                       int
	}
	in.TimeoutInMillis = 30000 // the default and the maximum of an HTTP API
	if err := s.decode(target, &in, "IntegrationType", "IntegrationUri", "PayloadFormatVersion", "TimeoutInMillis"); err != nil {
		return Route{}, err
	}
	if in.IntegrationType != "AWS_PROXY" || in.PayloadFormatVersion != "2.0" {
		return Route{}, fmt.Errorf("Resources.%s: only an AWS_PROXY integration with PayloadFormatVersion 2.0 is played here", target)
	}
	r.Function, r.Timeout = in.IntegrationUri, time.Duration(in.TimeoutInMillis)*time.Millisecond
	if m := invokeURI.FindStringSubmatch(in.IntegrationUri); m != nil {
		r.Function = m[1]
	}
	if !slices.ContainsFunc(s.ofType("AWS::Serverless::Function"), func(f string) bool { return s.arn("lambda", "function:"+s.functionName(f)) == r.Function }) {
		return Route{}, fmt.Errorf("Resources.%s: %s is no function of the template", target, r.Function)
	}
	return r, nil
}

func (s *scope) readAuthorizer(place, id string) (*Authorizer, error) {
	if s.t.types[id] != "AWS::ApiGatewayV2::Authorizer" {
		return nil, fmt.Errorf("%s: authorizer %q is no authorizer of the template", place, id)
	}
	var p struct {
		AuthorizerType   string
		IdentitySource   []string
		JwtConfiguration struct {
			Audience []string
			Issuer   string
		}
	}
	if err := s.decode(id, &p, "AuthorizerType", "IdentitySource", "JwtConfiguration"); err != nil {
		return nil, err
	}
	if p.AuthorizerType != "JWT" || !slices.Equal(p.IdentitySource, []string{"$request.header.Authorization"}) {
		return nil, fmt.Errorf("Resources.%s: only a JWT authorizer with identity source $request.header.Authorization is played here", id)
	}
	return &Authorizer{LogicalID: id, Issuer: p.JwtConfiguration.Issuer, Audience: p.JwtConfiguration.Audience}, nil
}

// functionName is the last folder of CodeUri, which is how the house names functions.
func (s *scope) functionName(id string) string {
	uri := child(s.properties(id), "CodeUri")
	if uri == nil {
		uri = child(child(s.t.globals, "Function"), "CodeUri")
	}
	if uri == nil || uri.Kind != yaml.ScalarNode {
		return ""
	}
	return path.Base(path.Clean(uri.Value))
}

// apiID looks like an API id: short, lower-case letters and digits.
func apiID(logicalID string) string {
	return strings.ToLower(logicalID)
}

func orSlash(p string) string {
	if p == "" {
		return "/"
	}
	return p
}

// HasParameter says whether the template declares a parameter.
func (t *Template) HasParameter(name string) bool { return child(t.parameters, name) != nil }
