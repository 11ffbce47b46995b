// Package policy judges IAM policies without AWS: a small evaluator of policy documents, a table that says which authorization requests AWS makes for
// a call of an SDK, and a judge that holds the calls of a run against the policies of template.yaml.
//
// The evaluator follows the IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements reference", for identity-based policies, permissions
// boundaries and trust policies of services within one account. What it does not know (policy variables, resource-based policies, session policies,
// operators that nobody here uses) is an error, never a guess. It must not know the kinds or the workflow.
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Document is a policy document.
type Document struct {
	Version    string
	Statements []Statement
}

// Effect is Allow or Deny.
type Effect string

// The effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Statement is one statement of a document. Of each pair (Action and NotAction, Resource and NotResource) one is set; a trust policy has a Principal
// instead of resources.
type Statement struct {
	Sid          string
	Effect       Effect
	Actions      []string
	NotActions   []string
	Resources    []string
	NotResources []string
	// Principals holds principals by type: "Service", "AWS".
	Principals map[string][]string
	Conditions []Condition
}

// Condition is one line of a Condition block: all lines must hold.
type Condition struct {
	operator operator
	// Key is the condition key in lower case: keys are not case-sensitive.
	Key    string
	Values []string
}

// texts is a text or a list of texts, as JSON policies write most members.
type texts []string

func (t *texts) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*t = texts{one}

		return nil
	}

	var many []string
	if err := json.Unmarshal(data, &many); err != nil {
		return err
	}

	*t = many

	return nil
}

// values is a condition's value: a text, a boolean, a number, or a list of those.
type values []string

func (v *values) UnmarshalJSON(data []byte) error {
	var many []json.RawMessage
	if err := json.Unmarshal(data, &many); err != nil {
		many = []json.RawMessage{data}
	}

	for _, one := range many {
		dec := json.NewDecoder(bytes.NewReader(one))
		dec.UseNumber()

		var x any
		if err := dec.Decode(&x); err != nil {
			return err
		}

		switch x := x.(type) {
		case string:
			*v = append(*v, x)
		case bool:
			*v = append(*v, strconv.FormatBool(x))
		case json.Number:
			*v = append(*v, x.String())
		default:
			return fmt.Errorf("a condition's value is %s", one)
		}
	}

	return nil
}

type rawStatement struct {
	Sid          string
	Effect       Effect
	Action       texts
	NotAction    texts
	Resource     texts
	NotResource  texts
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Condition    map[string]map[string]values
}

// Parse reads an identity-based policy or a permissions boundary.
func Parse(data []byte) (Document, error) {
	d, err := parse(data)
	if err != nil {
		return d, err
	}

	for _, s := range d.Statements {
		if len(s.Principals) > 0 {
			return d, fmt.Errorf("statement %q: an identity-based policy names no Principal", s.Sid)
		}

		if (len(s.Resources) > 0) == (len(s.NotResources) > 0) {
			return d, fmt.Errorf("statement %q: wants Resource or NotResource", s.Sid)
		}
	}

	return d, nil
}

// ParseTrust reads a role's trust policy.
func ParseTrust(data []byte) (Document, error) {
	d, err := parse(data)
	if err != nil {
		return d, err
	}

	for _, s := range d.Statements {
		if len(s.Principals) == 0 {
			return d, fmt.Errorf("statement %q: a trust policy names a Principal", s.Sid)
		}

		if len(s.Resources)+len(s.NotResources) > 0 {
			return d, fmt.Errorf("statement %q: a trust policy names no Resource", s.Sid)
		}
	}

	return d, nil
}

func parse(data []byte) (Document, error) {
	var raw struct {
		Version   string
		Id        string //nolint:revive,staticcheck // IAM's spelling
		Statement json.RawMessage
	}

	if err := strict(data, &raw); err != nil {
		return Document{}, fmt.Errorf("read the policy: %w", err)
	}

	if raw.Version != "2012-10-17" {
		return Document{}, fmt.Errorf("the policy has version %q: only 2012-10-17 is known here", raw.Version)
	}

	var list []json.RawMessage
	if err := json.Unmarshal(raw.Statement, &list); err != nil {
		list = []json.RawMessage{raw.Statement}
	}

	d := Document{Version: raw.Version}

	for i, one := range list {
		var r rawStatement
		if err := strict(one, &r); err != nil {
			return Document{}, fmt.Errorf("read statement %d: %w", i, err)
		}

		s, err := r.statement()
		if err != nil {
			return Document{}, fmt.Errorf("statement %d %q: %w", i, r.Sid, err)
		}

		d.Statements = append(d.Statements, s)
	}

	if len(d.Statements) == 0 {
		return Document{}, errors.New("the policy has no statement")
	}

	return d, nil
}

// strict refuses members it does not know: a misspelt Condition must not vanish.
func strict(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()

	return dec.Decode(into)
}

func (r rawStatement) statement() (Statement, error) {
	s := Statement{Sid: r.Sid, Effect: r.Effect, Actions: r.Action, NotActions: r.NotAction, Resources: r.Resource, NotResources: r.NotResource}

	if s.Effect != Allow && s.Effect != Deny {
		return s, fmt.Errorf("effect %q", s.Effect)
	}

	if (len(s.Actions) > 0) == (len(s.NotActions) > 0) {
		return s, errors.New("wants Action or NotAction")
	}

	if len(r.NotPrincipal) > 0 {
		return s, errors.New("the element NotPrincipal is not known here")
	}

	if len(r.Principal) > 0 {
		var by map[string]texts
		if err := json.Unmarshal(r.Principal, &by); err != nil {
			return s, errors.New("wants a Principal by type")
		}

		s.Principals = map[string][]string{}
		for kind, names := range by {
			s.Principals[kind] = names
		}
	}

	for name, lines := range r.Condition {
		op, err := parseOperator(name)
		if err != nil {
			return s, err
		}

		for key, vs := range lines {
			s.Conditions = append(s.Conditions, Condition{operator: op, Key: strings.ToLower(key), Values: vs})
		}
	}

	for _, list := range [][]string{s.Resources, s.NotResources} {
		for _, v := range list {
			if strings.Contains(v, "${") {
				return s, fmt.Errorf("the policy variable in %s is not known here", v)
			}
		}
	}

	for _, c := range s.Conditions {
		for _, v := range c.Values {
			if strings.Contains(v, "${") {
				return s, fmt.Errorf("the policy variable in %s is not known here", v)
			}
		}
	}

	return s, nil
}
