// Package policydoc writes, merges and compares the JSON policy documents of IAM and S3. It makes no calls and knows nothing of what a policy is for.
//
// AWS hands documents back otherwise than it got them (URL-encoded, lists of one as a string, members in another order), so they are compared by meaning.
package policydoc

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// version is the current version of the policy language; without it, policy variables mean nothing.
const version = "2012-10-17"

// Statement is one statement of a policy. Members left zero are left out.
type Statement struct {
	Sid      string   `json:"Sid,omitempty"`
	Effect   string   `json:"Effect"`
	Action   []string `json:"Action"`
	Resource []string `json:"Resource,omitempty"`
	// Principal is "*" or a map such as {"Service": "ec2.amazonaws.com"}.
	Principal any                          `json:"Principal,omitempty"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

// The effects.
const (
	Allow = "Allow"
	Deny  = "Deny"
)

// New is the document with these statements.
func New(statements ...Statement) string {
	return encode(map[string]any{"Version": version, "Statement": statements})
}

// Trust is the document that lets a service assume a role; condition may be nil.
func Trust(service string, condition map[string]map[string]string) string {
	return New(Statement{
		Effect: Allow, Action: []string{"sts:AssumeRole"}, Principal: map[string]string{"Service": service}, Condition: condition,
	})
}

// Text is a document for people to read: without the encoding that IAM hands it out in. What cannot be read stays as it is.
func Text(document string) string {
	doc, _, err := parse(document)
	if document == "" || err != nil {
		return document
	}

	return encode(doc)
}

// Equal tells whether two documents mean the same. What cannot be read equals nothing.
func Equal(a, b string) bool {
	x, err := normal(a)
	if err != nil {
		return false
	}

	y, err := normal(b)

	return err == nil && x == y
}

// Merge returns the document with the statement in it, in place of those with the same Sid; all others stay as they are. Same means that the document
// has the statement already. An empty document is one without statements.
func Merge(document string, want Statement) (merged string, same bool, err error) {
	doc, statements, err := parse(document)
	if err != nil {
		return "", false, err
	}

	kept := make([]any, 0, len(statements)+1)

	for _, s := range statements {
		if m, ok := s.(map[string]any); !ok || m["Sid"] != want.Sid {
			kept = append(kept, s)

			continue
		}

		same = same || Equal(encode(map[string]any{"Version": version, "Statement": []any{s}}), New(want))
	}

	if doc["Version"] == nil {
		doc["Version"] = version
	}

	doc["Statement"] = append(kept, want)

	return encode(doc), same, nil
}

// Trusts tells whether a role with this trust policy may be assumed by a service, leaving conditions aside.
func Trusts(document, service string) bool {
	_, statements, err := parse(document)
	if err != nil {
		return false
	}

	trusted := false

	for _, raw := range statements {
		s, _ := raw.(map[string]any)
		principals, _ := s["Principal"].(map[string]any)

		if !slices.Contains(list(principals["Service"]), service) || !slices.ContainsFunc(list(s["Action"]), assumes) {
			continue
		}

		if s["Effect"] == Deny && s["Condition"] == nil {
			return false
		}

		trusted = trusted || s["Effect"] == Allow
	}

	return trusted
}

// assumes tells whether an action, with wildcards as usual, covers AssumeRole. Actions have no case.
func assumes(action string) bool {
	return slices.Contains([]string{"*", "sts:*", "sts:assume*", "sts:assumerole*", "sts:assumerole"}, strings.ToLower(action))
}

// parse reads a document as IAM (URL-encoded per RFC 3986) or S3 (plain) hands it out.
func parse(document string) (doc map[string]any, statements []any, err error) {
	doc = map[string]any{}
	if document == "" {
		return doc, nil, nil
	}

	if !strings.HasPrefix(strings.TrimSpace(document), "{") {
		if document, err = url.PathUnescape(document); err != nil {
			return nil, nil, fmt.Errorf("decode policy: %w", err)
		}
	}

	if err := json.Unmarshal([]byte(document), &doc); err != nil {
		return nil, nil, fmt.Errorf("read policy: %w", err)
	}

	switch s := doc["Statement"].(type) {
	case []any:
		statements = s
	case map[string]any: // the language allows a single statement without the list
		statements = []any{s}
	}

	return doc, statements, nil
}

// normal is one spelling for all documents that mean the same.
func normal(document string) (string, error) {
	doc, statements, err := parse(document)
	if err != nil {
		return "", err
	}

	spelled := make([]string, 0, len(statements))

	for _, raw := range statements {
		s, ok := raw.(map[string]any)
		if !ok {
			return "", fmt.Errorf("read policy: a statement is a %T", raw)
		}

		spelled = append(spelled, encode(normalStatement(s)))
	}

	slices.Sort(spelled)

	return encode([]any{doc["Version"], spelled}), nil
}

func normalStatement(s map[string]any) map[string]any {
	n := map[string]any{}

	for member, value := range s {
		switch member {
		case "Action", "NotAction":
			actions := list(value)
			for i := range actions {
				actions[i] = strings.ToLower(actions[i])
			}

			n[member] = set(actions)
		case "Resource", "NotResource":
			n[member] = set(list(value))
		case "Principal", "NotPrincipal":
			n[member] = normalPrincipal(value)
		case "Condition":
			n[member] = normalCondition(value)
		default:
			n[member] = value
		}
	}

	return n
}

// normalPrincipal: everyone is "*" or {"AWS": "*"}.
func normalPrincipal(value any) any {
	m, ok := value.(map[string]any)
	if !ok {
		m = map[string]any{"AWS": value}
	}

	n := map[string]any{}
	for k, v := range m {
		n[k] = set(list(v))
	}

	return n
}

func normalCondition(value any) any {
	operators, ok := value.(map[string]any)
	if !ok {
		return value
	}

	n := map[string]any{}

	for operator, v := range operators {
		keys, ok := v.(map[string]any)
		if !ok {
			return value
		}

		m := map[string]any{}
		for key, v := range keys {
			m[strings.ToLower(key)] = set(list(v)) // condition keys have no case
		}

		n[operator] = m
	}

	return n
}

// list reads a value that may be one or a list of strings, numbers or truth values.
func list(value any) []string {
	switch v := value.(type) {
	case nil:
		return nil
	case []any:
		all := make([]string, 0, len(v))
		for _, e := range v {
			all = append(all, fmt.Sprint(e))
		}

		return all
	default:
		return []string{fmt.Sprint(v)}
	}
}

func set(values []string) []string {
	slices.Sort(values)

	return slices.Compact(values)
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode a policy: %v", err)) // a wiring mistake: everything in it came out of JSON or is a plain struct
	}

	return string(b)
}
