package policy

import (
	"fmt"
	"slices"
	"strings"
)

// qualifier says how a condition treats a key with several values. IAM User Guide, "Multivalued context keys".
type qualifier int

const (
	single qualifier = iota
	forAnyValue
	forAllValues
)

type operator struct {
	name      string
	qualifier qualifier
	ifExists  bool
	negated   bool
	null      bool
	match     func(want, have string) bool
}

// parseOperator reads the name of a condition operator, such as ForAllValues:StringLikeIfExists.
// IAM User Guide, "IAM JSON policy elements: Condition operators".
func parseOperator(name string) (operator, error) {
	op := operator{name: name}
	rest := name

	if after, ok := strings.CutPrefix(rest, "ForAnyValue:"); ok {
		op.qualifier, rest = forAnyValue, after
	} else if after, ok := strings.CutPrefix(rest, "ForAllValues:"); ok {
		op.qualifier, rest = forAllValues, after
	}

	rest, op.ifExists = strings.CutSuffix(rest, "IfExists")

	equals := func(want, have string) bool { return want == have }

	switch rest {
	case "StringEquals":
		op.match = equals
	case "StringNotEquals":
		op.match, op.negated = equals, true
	case "StringEqualsIgnoreCase":
		op.match = strings.EqualFold
	case "StringNotEqualsIgnoreCase":
		op.match, op.negated = strings.EqualFold, true
	case "StringLike":
		op.match = wildcard
	case "StringNotLike":
		op.match, op.negated = wildcard, true
	case "ArnEquals", "ArnLike": // the two behave alike
		op.match = arnLike
	case "ArnNotEquals", "ArnNotLike":
		op.match, op.negated = arnLike, true
	case "Bool":
		op.match = strings.EqualFold
	case "Null":
		if op.ifExists || op.qualifier != single {
			return op, fmt.Errorf("the condition operator %s does not exist", name)
		}

		op.null = true
	default:
		return op, fmt.Errorf("the condition operator %s is not known here", name)
	}

	return op, nil
}

// holds decides one line. A key that the request does not have makes an operator false, a negated one true, one with IfExists true, ForAllValues true
// and ForAnyValue false.
func (c Condition) holds(context Context) (bool, error) {
	have, there := context.get(c.Key)
	op := c.operator

	if op.null {
		return slices.ContainsFunc(c.Values, func(v string) bool { return strings.EqualFold(v, "true") == !there }), nil
	}

	// one is what the operator says of one value: of several policy values any may match; for a negated operator none may.
	one := func(have string) bool {
		found := slices.ContainsFunc(c.Values, func(want string) bool { return op.match(want, have) })

		return found != op.negated
	}

	switch {
	case !there && op.ifExists, !there && op.qualifier == forAllValues:
		return true, nil
	case !there && op.qualifier == forAnyValue:
		return false, nil
	case !there:
		return op.negated, nil
	case op.qualifier == forAllValues:
		return !slices.ContainsFunc(have, func(v string) bool { return !one(v) }), nil
	case op.qualifier == forAnyValue:
		return slices.ContainsFunc(have, one), nil
	case len(have) != 1:
		return false, fmt.Errorf("%s on %s, which has %d values: wants ForAnyValue or ForAllValues", op.name, c.Key, len(have))
	default:
		return one(have[0]), nil
	}
}

// wildcard matches a pattern with * (any characters) and ? (one character) against a whole text.
func wildcard(pattern, text string) bool {
	// star and mark remember the last * and where its match began, to take one more character there when the rest does not fit.
	p, t, star, mark := 0, 0, -1, 0

	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}

	return strings.Trim(pattern[p:], "*") == ""
}

// arnLike matches ARNs part by part, so that a * does not reach over a colon, save in the last part, which may hold colons itself.
// IAM User Guide, "Amazon Resource Name (ARN) condition operators".
func arnLike(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}

	const parts = 6

	want, have := strings.SplitN(pattern, ":", parts), strings.SplitN(arn, ":", parts)
	if len(want) != parts || len(have) != parts {
		return false
	}

	for i := range want {
		if !wildcard(want[i], have[i]) {
			return false
		}
	}

	return true
}
