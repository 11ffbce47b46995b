package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Request is one authorization request: may the caller do this action on this resource?
type Request struct {
	Action string
	// Resource is an ARN. It is "*" for an action without resource-level permissions, and ends in "/*" for a resource that does not exist yet.
	Resource string
	Context  Context
}

// Context holds the request's condition keys and their values. Keys are not case-sensitive.
type Context map[string][]string

func (c Context) get(key string) ([]string, bool) {
	for k, v := range c {
		if strings.EqualFold(k, key) {
			return v, len(v) > 0
		}
	}

	return nil, false
}

// Decision is what a policy says of a request.
type Decision int

// The decisions. Nothing allowed it is an implicit deny.
const (
	ImplicitDeny Decision = iota
	Allowed
	ExplicitDeny
)

func (d Decision) String() string {
	switch d {
	case Allowed:
		return "allowed"
	case ExplicitDeny:
		return "denied"
	default:
		return "not allowed"
	}
}

// Decide evaluates one or more identity-based policies of one principal. An explicit deny wins.
func Decide(policies []Document, r Request) (Decision, error) {
	decision := ImplicitDeny

	for _, d := range policies {
		for _, s := range d.Statements {
			applies, err := s.applies(r)
			if err != nil {
				return ImplicitDeny, fmt.Errorf("statement %q: %w", s.Sid, err)
			}

			switch {
			case applies && s.Effect == Deny:
				return ExplicitDeny, nil
			case applies:
				decision = Allowed
			}
		}
	}

	return decision, nil
}

// DecideWithin evaluates policies together with a permissions boundary: both must allow.
// IAM User Guide, "Permissions boundaries for IAM entities".
func DecideWithin(boundary Document, policies []Document, r Request) (Decision, error) {
	limit, err := Decide([]Document{boundary}, r)
	if err != nil || limit != Allowed {
		return limit, err
	}

	return Decide(policies, r)
}

func (s Statement) applies(r Request) (bool, error) {
	if !s.covers(r) {
		return false, nil
	}

	return s.conditionsHold(r.Context)
}

// covers leaves the conditions out.
func (s Statement) covers(r Request) bool {
	action := func(pattern string) bool { return wildcard(strings.ToLower(pattern), strings.ToLower(r.Action)) }
	resource := func(pattern string) bool { return arnLike(pattern, r.Resource) }

	if len(s.NotActions) > 0 {
		if slices.ContainsFunc(s.NotActions, action) {
			return false
		}
	} else if !slices.ContainsFunc(s.Actions, action) {
		return false
	}

	if len(s.NotResources) > 0 {
		return !slices.ContainsFunc(s.NotResources, resource)
	}

	return slices.ContainsFunc(s.Resources, resource)
}

func (s Statement) conditionsHold(context Context) (bool, error) {
	for _, c := range s.Conditions {
		holds, err := c.holds(context)
		if err != nil || !holds {
			return false, err
		}
	}

	return true, nil
}

// Trusts tells whether a trust policy lets a service assume the role, with the context that the service sets.
func Trusts(trust Document, service string, context Context) (bool, error) {
	trusted := false

	for _, s := range trust.Statements {
		if !slices.Contains(s.Principals["Service"], service) || !slices.ContainsFunc(s.Actions, func(a string) bool { return strings.EqualFold(a, "sts:AssumeRole") }) {
			continue
		}

		holds, err := s.conditionsHold(context)
		if err != nil {
			return false, fmt.Errorf("statement %q: %w", s.Sid, err)
		}

		if holds && s.Effect == Deny {
			return false, nil
		}

		trusted = trusted || holds
	}

	return trusted, nil
}
