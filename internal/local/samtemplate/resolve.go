package samtemplate

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// scope resolves nodes of one template for one account and Region.
type scope struct {
	t          *Template
	in         Inputs
	parameters map[string]any // string, number or list
	errs       []error        // from names, which are asked for where no error can be answered
}

// noValue is AWS::NoValue: the property or item is not there.
type noValue struct{}

// intrinsic tells which function a YAML tag is the short form of.
func intrinsic(tag string) (string, bool) {
	name, ok := strings.CutPrefix(tag, "!")
	if !ok || strings.HasPrefix(tag, "!!") || name == "" {
		return "", false
	}
	switch name {
	case "Ref", "Condition":
		return name, true
	}
	return "Fn::" + name, true
}

// eval yields nil, bool, int64, float64, string, []any, map[string]any or noValue.
func (s *scope) eval(n *yaml.Node, place string) (any, error) {
	if name, ok := intrinsic(n.Tag); ok {
		plain := *n
		plain.Tag = ""
		if n.Kind == yaml.ScalarNode {
			plain.Tag = "!!str"
		}
		return s.call(name, &plain, place)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return s.eval(n.Alias, place)
	case yaml.MappingNode:
		if len(n.Content) == 2 {
			if name := n.Content[0].Value; name == "Ref" || name == "Condition" || strings.HasPrefix(name, "Fn::") {
				return s.call(name, n.Content[1], place)
			}
		}
		m := map[string]any{}
		for k, v := range pairs(n) {
			x, err := s.eval(v, place+"."+k)
			if err != nil {
				return nil, err
			}
			if _, gone := x.(noValue); !gone {
				m[k] = x
			}
		}
		return m, nil
	case yaml.SequenceNode:
		list := []any{}
		for i, v := range n.Content {
			x, err := s.eval(v, place+"."+strconv.Itoa(i))
			if err != nil {
				return nil, err
			}
			if _, gone := x.(noValue); !gone {
				list = append(list, x)
			}
		}
		return list, nil
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return nil, nil
		case "!!bool", "!!int", "!!float":
			var v any
			if err := n.Decode(&v); err != nil {
				return nil, fmt.Errorf("%s (line %d): %w", place, n.Line, err)
			}
			return v, nil
		default: // text, and dates such as a policy's Version, which are text in CloudFormation
			return n.Value, nil
		}
	default: // a document, which only the root is, or a stream: nobody asks for its value
		return nil, fmt.Errorf("%s (line %d): not a value", place, n.Line)
	}
}

// call evaluates an intrinsic function. One that is not listed is an error that names the place.
func (s *scope) call(name string, arg *yaml.Node, place string) (any, error) {
	wrong := func(what string) error { return fmt.Errorf("%s (line %d): %s %s", place, arg.Line, name, what) }
	switch name {
	case "Ref":
		return s.ref(arg.Value, place)
	case "Fn::GetAtt":
		id, attr, ok := strings.Cut(arg.Value, ".")
		if arg.Kind == yaml.SequenceNode && len(arg.Content) == 2 {
			id, attr, ok = arg.Content[0].Value, arg.Content[1].Value, true
		}
		if !ok {
			return nil, wrong("wants a resource and an attribute")
		}
		return s.attribute(id, attr, place)
	case "Fn::Sub":
		return s.sub(arg, place)
	case "Fn::Join":
		args, err := s.list(arg, 2, place)
		if err != nil {
			return nil, err
		}
		items, ok := args[1].([]any)
		if !ok {
			return nil, wrong("wants a list")
		}
		texts := make([]string, len(items))
		for i, item := range items {
			if texts[i], err = scalar(item); err != nil {
				return nil, wrong(err.Error())
			}
		}
		sep, err := scalar(args[0])
		if err != nil {
			return nil, wrong(err.Error())
		}
		return strings.Join(texts, sep), nil
	case "Fn::Select":
		args, err := s.list(arg, 2, place)
		if err != nil {
			return nil, err
		}
		text, err := scalar(args[0])
		if err != nil {
			return nil, wrong(err.Error())
		}
		i, err := strconv.Atoi(text)
		items, ok := args[1].([]any)
		if err != nil || !ok || i < 0 || i >= len(items) {
			return nil, wrong("selects nothing")
		}
		return items[i], nil
	case "Fn::Split":
		args, err := s.list(arg, 2, place)
		if err != nil {
			return nil, err
		}
		sep, ok1 := args[0].(string)
		text, ok2 := args[1].(string)
		if !ok1 || !ok2 || sep == "" {
			return nil, wrong("wants a separator and a text")
		}
		list := []any{}
		for part := range strings.SplitSeq(text, sep) {
			list = append(list, part)
		}
		return list, nil
	case "Fn::If":
		if arg.Kind != yaml.SequenceNode || len(arg.Content) != 3 {
			return nil, wrong("wants a condition and two values")
		}
		yes, err := s.condition(arg.Content[0].Value, place)
		if err != nil {
			return nil, err
		}
		if yes {
			return s.eval(arg.Content[1], place)
		}
		return s.eval(arg.Content[2], place)
	case "Condition":
		return s.condition(arg.Value, place)
	case "Fn::Equals":
		args, err := s.list(arg, 2, place)
		if err != nil {
			return nil, err
		}
		a, errA := scalar(args[0])
		b, errB := scalar(args[1])
		if errA == nil && errB == nil {
			return a == b, nil
		}
		return reflect.DeepEqual(args[0], args[1]), nil
	case "Fn::And", "Fn::Or", "Fn::Not":
		if arg.Kind != yaml.SequenceNode || len(arg.Content) == 0 {
			return nil, wrong("wants conditions")
		}
		and, or := true, false
		for _, n := range arg.Content {
			v, err := s.eval(n, place)
			if err != nil {
				return nil, err
			}
			b, ok := v.(bool)
			if !ok {
				return nil, wrong("wants conditions")
			}
			and, or = and && b, or || b
		}
		switch name {
		case "Fn::And":
			return and, nil
		case "Fn::Or":
			return or, nil
		}
		return !and, nil
	case "Fn::FindInMap":
		return s.findInMap(arg, place)
	case "Fn::Base64":
		v, err := s.eval(arg, place)
		if err != nil {
			return nil, err
		}
		text, ok := v.(string)
		if !ok {
			return nil, wrong("wants a text")
		}
		return base64.StdEncoding.EncodeToString([]byte(text)), nil
	}
	return nil, fmt.Errorf("%s (line %d): the intrinsic function %s is not known here", place, arg.Line, name)
}

func (s *scope) list(n *yaml.Node, length int, place string) ([]any, error) {
	v, err := s.eval(n, place)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok || len(list) != length {
		return nil, fmt.Errorf("%s (line %d): wants a list of %d", place, n.Line, length)
	}
	return list, nil
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

func (s *scope) sub(arg *yaml.Node, place string) (any, error) {
	text, vars := arg, (*yaml.Node)(nil)
	if arg.Kind == yaml.SequenceNode {
		if len(arg.Content) != 2 {
			return nil, fmt.Errorf("%s (line %d): Fn::Sub wants a text and its variables", place, arg.Line)
		}
		text, vars = arg.Content[0], arg.Content[1]
	}
	if text.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("%s (line %d): Fn::Sub wants a text", place, arg.Line)
	}
	var errs []error
	out := placeholder.ReplaceAllStringFunc(text.Value, func(m string) string {
		name := m[2 : len(m)-1]
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			return "${" + literal + "}"
		}
		var v any
		var err error
		if own := child(vars, name); own != nil {
			v, err = s.eval(own, place+"."+name)
		} else if id, attr, ok := strings.Cut(name, "."); ok {
			v, err = s.attribute(id, attr, place)
		} else {
			v, err = s.ref(name, place)
		}
		if err != nil {
			errs = append(errs, err)
			return ""
		}
		str, err := scalar(v)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s (line %d): ${%s}: %w", place, arg.Line, name, err))
		}
		return str
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

func (s *scope) findInMap(arg *yaml.Node, place string) (any, error) {
	keys, err := s.list(arg, 3, place)
	if err != nil {
		return nil, err
	}
	n := s.t.mappings
	for _, k := range keys {
		text, err := scalar(k)
		if err != nil {
			return nil, fmt.Errorf("%s (line %d): Fn::FindInMap: %w", place, arg.Line, err)
		}
		if n = child(n, text); n == nil {
			return nil, fmt.Errorf("%s (line %d): Fn::FindInMap finds no %s", place, arg.Line, text)
		}
	}
	return s.eval(n, place)
}

func (s *scope) condition(name, place string) (bool, error) {
	n := child(s.t.conditions, name)
	if n == nil {
		return false, fmt.Errorf("%s: the template has no condition %s", place, name)
	}
	v, err := s.eval(n, "Conditions."+name)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("Conditions.%s is no condition", name)
	}
	return b, nil
}

// present says whether a resource's own condition lets it be.
func (s *scope) present(id string) (bool, error) {
	c := child(s.t.bodies[id], "Condition")
	if c == nil {
		return true, nil
	}
	return s.condition(c.Value, "Resources."+id)
}

// ref is what Ref yields: a parameter, a pseudo parameter, or a resource's name or ARN.
func (s *scope) ref(name, place string) (any, error) {
	switch name {
	case "AWS::Region":
		return s.in.Region, nil
	case "AWS::AccountId":
		return s.in.Account, nil
	case "AWS::StackName":
		return s.in.StackName, nil
	case "AWS::Partition":
		return "aws", nil
	case "AWS::URLSuffix":
		return "amazonaws.com", nil
	case "AWS::StackId":
		return s.arn("cloudformation", "stack/"+s.in.StackName+"/local"), nil
	case "AWS::NoValue":
		return noValue{}, nil
	}
	if v, ok := s.parameters[name]; ok {
		return v, nil
	}
	switch s.t.types[name] {
	case "":
		if owner, ok := s.samRole(name); ok {
			return s.in.StackName + "-" + owner + "Role", nil
		}
		return nil, fmt.Errorf("%s: the template has nothing named %s", place, name)
	case "AWS::Serverless::Function":
		return s.functionName(name), nil
	case "AWS::Serverless::StateMachine":
		return s.attribute(name, "Arn", place)
	case "AWS::IAM::ManagedPolicy":
		return s.attribute(name, "PolicyArn", place)
	case "AWS::SQS::Queue":
		return s.queueURL(name), nil
	case "AWS::Lambda::Alias":
		var a struct{ Name, FunctionName string }
		if err := s.decode(name, &a, "Name", "FunctionName"); err != nil {
			return nil, err
		}
		return s.arn("lambda", "function:"+a.FunctionName+":"+a.Name), nil
	case "AWS::ApiGatewayV2::Api":
		return apiID(name), nil
	case "AWS::ApiGatewayV2::Integration", "AWS::ApiGatewayV2::Authorizer", "AWS::ApiGatewayV2::Route":
		return name, nil // ids that AWS makes up; the logical id serves
	}
	return s.physicalName(name, nameProperty(s.t.types[name])), nil
}

// attribute is what Fn::GetAtt yields.
func (s *scope) attribute(id, attr, place string) (any, error) {
	typ := s.t.types[id]
	switch typ + "." + attr {
	case "AWS::Serverless::Function.Arn":
		return s.arn("lambda", "function:"+s.functionName(id)), nil
	case "AWS::DynamoDB::Table.Arn":
		return s.arn("dynamodb", "table/"+s.physicalName(id, "TableName")), nil
	case "AWS::Serverless::StateMachine.Arn":
		return s.arn("states", "stateMachine:"+s.physicalName(id, "Name")), nil
	case "AWS::Serverless::StateMachine.Name":
		return s.physicalName(id, "Name"), nil
	case "AWS::IAM::Role.Arn", "AWS::IAM::ManagedPolicy.PolicyArn":
		var p struct{ Path string }
		if err := s.decode(id, &p, "Path"); err != nil {
			return nil, err
		}
		kind := "role"
		if typ == "AWS::IAM::ManagedPolicy" {
			kind = "policy"
		}
		return s.globalARN("iam", kind+orSlash(p.Path)+s.physicalName(id, nameProperty(typ))), nil
	case "AWS::Logs::LogGroup.Arn":
		return s.arn("logs", "log-group:"+s.physicalName(id, "LogGroupName")+":*"), nil
	case "AWS::SQS::Queue.Arn":
		return s.arn("sqs", s.queueName(id)), nil
	case "AWS::SQS::Queue.QueueName":
		return s.queueName(id), nil
	case "AWS::DynamoDB::Table.StreamArn":
		return s.streamARN(id), nil
	case "AWS::Events::EventBus.Arn":
		return s.arn("events", "event-bus/"+s.physicalName(id, "Name")), nil
	case "AWS::Events::Rule.Arn":
		return s.arn("events", "rule/"+s.physicalName(id, "Name")), nil
	case "AWS::ApiGatewayV2::Api.ApiEndpoint":
		return s.in.APIEndpoint, nil
	case "AWS::ApiGatewayV2::Api.ApiId":
		return apiID(id), nil
	}
	if owner, ok := s.samRole(id); ok && attr == "Arn" {
		return s.globalARN("iam", "role/"+s.in.StackName+"-"+owner+"Role"), nil
	}
	if typ == "" {
		return nil, fmt.Errorf("%s: the template has nothing named %s", place, id)
	}
	return nil, fmt.Errorf("%s: attribute %s of %s (%s) is not known here", place, attr, id, typ)
}

// samRole recognises the role that SAM makes for a function or state machine.
func (s *scope) samRole(id string) (owner string, ok bool) {
	owner, ok = strings.CutSuffix(id, "Role")
	typ := s.t.types[owner]
	return owner, ok && s.t.types[id] == "" && (typ == "AWS::Serverless::Function" || typ == "AWS::Serverless::StateMachine")
}

// nameProperty is the property that names a resource of a type, if there is one.
func nameProperty(typ string) string {
	switch typ {
	case "AWS::DynamoDB::Table":
		return "TableName"
	case "AWS::IAM::ManagedPolicy":
		return "ManagedPolicyName"
	case "AWS::IAM::Role":
		return "RoleName"
	case "AWS::Logs::LogGroup":
		return "LogGroupName"
	case "AWS::SQS::Queue":
		return "QueueName"
	case "AWS::Serverless::StateMachine", "AWS::Events::Rule", "AWS::Events::EventBus":
		return "Name"
	}
	return ""
}

// physicalName is the name the template gives, or the one CloudFormation would make up, without
// its random end.
func (s *scope) physicalName(id, property string) string {
	if n := child(s.properties(id), property); n != nil {
		v, err := s.eval(n, "Resources."+id+".Properties."+property)
		if err != nil {
			s.errs = append(s.errs, err)
		}
		if text, ok := v.(string); ok {
			return text
		}
	}
	return s.in.StackName + "-" + id
}

func (s *scope) arn(service, resource string) string {
	return "arn:aws:" + service + ":" + s.in.Region + ":" + s.in.Account + ":" + resource
}

func (s *scope) globalARN(service, resource string) string {
	return "arn:aws:" + service + "::" + s.in.Account + ":" + resource
}

func (s *scope) properties(id string) *yaml.Node { return child(s.t.bodies[id], "Properties") }

// ofType lists the logical ids of a type, in the order of the file, whose condition holds.
func (s *scope) ofType(typ string) []string {
	var ids []string
	for _, id := range s.t.names {
		if s.t.types[id] != typ {
			continue
		}
		if ok, err := s.present(id); err == nil && ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// decode reads some properties of a resource into the fields of the same names.
func (s *scope) decode(id string, into any, properties ...string) error {
	for _, name := range properties {
		if err := s.decodeNode(child(s.properties(id), name), "Resources."+id+".Properties."+name, name, into); err != nil {
			return err
		}
	}
	return nil
}

func (s *scope) decodeNode(n *yaml.Node, place, field string, into any) error {
	if n == nil {
		return nil
	}
	v, err := s.eval(n, place)
	if err != nil {
		return err
	}
	if _, gone := v.(noValue); gone {
		return nil
	}
	data, err := json.Marshal(map[string]any{field: v})
	if err != nil {
		return fmt.Errorf("%s (line %d): %w", place, n.Line, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // a number in a list of variables stays as it was written
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s (line %d): %w", place, n.Line, err)
	}
	return nil
}

// scalar writes a value as CloudFormation does where it wants text.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int, int64, uint64, float64, json.Number:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("wants a text, has %T", v)
}

// child is the value under a key of a mapping; nil if there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	for k, v := range pairs(n) {
		if k == key {
			return v
		}
	}
	return nil
}

// pairs goes through a mapping in the order of the file.
func pairs(n *yaml.Node) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}
