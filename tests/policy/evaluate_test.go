package policy_test

import (
	"strings"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
)

func parse(t *testing.T, text string) policy.Document {
	t.Helper()

	d, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}

	return d
}

func document(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func TestDecide(t *testing.T) {
	t.Parallel()

	const (
		bucket = "arn:aws:s3:::data"
		object = "arn:aws:s3:::data/a/b"
	)

	cases := map[string]struct {
		reason     string
		statements []string
		action     string
		resource   string
		want       policy.Decision
	}{
		"nothing says so": {
			reason:     "what no statement allows is denied",
			statements: []string{`{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`},
			action:     "s3:PutObject", resource: object, want: policy.ImplicitDeny,
		},
		"allow": {
			reason:     "a plain allow",
			statements: []string{`{"Effect":"Allow","Action":["s3:PutObject","s3:GetObject"],"Resource":["arn:aws:s3:::data/*"]}`},
			action:     "s3:GetObject", resource: object, want: policy.Allowed,
		},
		"action in another case": {
			reason:     "actions are not case-sensitive",
			statements: []string{`{"Effect":"Allow","Action":"S3:getobject","Resource":"*"}`},
			action:     "s3:GetObject", resource: object, want: policy.Allowed,
		},
		"resource in another case": {
			reason:     "resources are case-sensitive",
			statements: []string{`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::Data"}`},
			action:     "s3:ListBucket", resource: bucket, want: policy.ImplicitDeny,
		},
		"action wildcard": {
			reason:     "a star stands for any characters",
			statements: []string{`{"Effect":"Allow","Action":"s3:Get*Object","Resource":"*"}`},
			action:     "s3:GetObject", resource: object, want: policy.Allowed,
		},
		"question mark": {
			reason:     "a question mark stands for exactly one character",
			statements: []string{`{"Effect":"Allow","Action":"s3:GetObject?","Resource":"*"}`},
			action:     "s3:GetObject", resource: object, want: policy.ImplicitDeny,
		},
		"deny wins": {
			reason:     "an explicit deny wins over any allow, wherever it stands",
			statements: []string{`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, `{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*"}`},
			action:     "s3:DeleteObject", resource: object, want: policy.ExplicitDeny,
		},
		"deny of something else": {
			reason:     "a deny that does not apply changes nothing",
			statements: []string{`{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*"}`, `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`},
			action:     "s3:GetObject", resource: object, want: policy.Allowed,
		},
		"not action": {
			reason:     "NotAction is everything else",
			statements: []string{`{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`},
			action:     "s3:GetObject", resource: object, want: policy.Allowed,
		},
		"not action, named": {
			reason:     "NotAction leaves out what it names",
			statements: []string{`{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`},
			action:     "iam:GetRole", resource: "arn:aws:iam::123456789012:role/a", want: policy.ImplicitDeny,
		},
		"not resource": {
			reason:     "NotResource leaves out what it names",
			statements: []string{`{"Effect":"Allow","Action":"s3:*","NotResource":"arn:aws:s3:::data/*"}`},
			action:     "s3:GetObject", resource: object, want: policy.ImplicitDeny,
		},
		"not resource, other": {
			reason:     "NotResource is every other resource",
			statements: []string{`{"Effect":"Allow","Action":"s3:*","NotResource":"arn:aws:s3:::other/*"}`},
			action:     "s3:GetObject", resource: object, want: policy.Allowed,
		},
		"bucket is not its objects": {
			reason:     "a bucket's ARN does not stand for the objects in it",
			statements: []string{`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::data"}`},
			action:     "s3:GetObject", resource: object, want: policy.ImplicitDeny,
		},
		"star within the last part": {
			reason:     "a star reaches over slashes",
			statements: []string{`{"Effect":"Allow","Action":"iam:GetRole","Resource":"arn:aws:iam::123456789012:role/*"}`},
			action:     "iam:GetRole", resource: "arn:aws:iam::123456789012:role/a/b/c", want: policy.Allowed,
		},
		"star and colons": {
			reason:     "a star does not reach over the colons that part an ARN: here it would hide another account",
			statements: []string{`{"Effect":"Allow","Action":"*","Resource":"arn:aws:sqs:*:queue"}`},
			action:     "sqs:SendMessage", resource: "arn:aws:sqs:us-east-1:210987654321:queue", want: policy.ImplicitDeny,
		},
		"colons in the last part": {
			reason:     "the last part may hold colons, as executions do",
			statements: []string{`{"Effect":"Allow","Action":"states:DescribeExecution","Resource":"arn:aws:states:us-east-1:123456789012:execution:machine:*"}`},
			action:     "states:DescribeExecution", resource: "arn:aws:states:us-east-1:123456789012:execution:machine:run-1", want: policy.Allowed,
		},
		"no resource-level permissions": {
			reason:     "an action on * is not allowed by a statement that names resources",
			statements: []string{`{"Effect":"Allow","Action":"ec2:DescribeVpcs","Resource":"arn:aws:ec2:us-east-1:123456789012:vpc/*"}`},
			action:     "ec2:DescribeVpcs", resource: "*", want: policy.ImplicitDeny,
		},
		"resource that does not exist yet": {
			reason:     "a create is asked for on any id: a statement for one id does not allow it",
			statements: []string{`{"Effect":"Allow","Action":"ec2:CreateVpc","Resource":"arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1"}`},
			action:     "ec2:CreateVpc", resource: "arn:aws:ec2:us-east-1:123456789012:vpc/*", want: policy.ImplicitDeny,
		},
		"condition that does not hold": {
			reason:     "a statement whose condition fails does not apply",
			statements: []string{`{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":true}}}`},
			action:     "s3:GetObject", resource: object, want: policy.ImplicitDeny,
		},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := policy.Decide([]policy.Document{parse(t, document(c.statements...))}, policy.Request{Action: c.action, Resource: c.resource})
			if err != nil {
				t.Fatal(err)
			}

			if got != c.want {
				t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason    string
		condition string
		context   policy.Context
		want      bool
	}{
		"equals":               {"the same text", `{"StringEquals":{"aws:RequestTag/a":"x"}}`, policy.Context{"aws:RequestTag/a": {"x"}}, true},
		"equals, other case":   {"StringEquals is case-sensitive", `{"StringEquals":{"aws:RequestTag/a":"X"}}`, policy.Context{"aws:RequestTag/a": {"x"}}, false},
		"key in another case":  {"keys are not case-sensitive", `{"StringEquals":{"AWS:resourceaccount":"1"}}`, policy.Context{"aws:ResourceAccount": {"1"}}, true},
		"ignore case":          {"IgnoreCase is what it says", `{"StringEqualsIgnoreCase":{"k":"X"}}`, policy.Context{"k": {"x"}}, true},
		"not ignore case":      {"negated", `{"StringNotEqualsIgnoreCase":{"k":"X"}}`, policy.Context{"k": {"x"}}, false},
		"equals is no pattern": {"StringEquals takes a star literally", `{"StringEquals":{"k":"a*"}}`, policy.Context{"k": {"ab"}}, false},
		"one of several":       {"several values are joined by or", `{"StringEquals":{"k":["a","b"]}}`, policy.Context{"k": {"b"}}, true},
		"equals, missing":      {"a missing key fails", `{"StringEquals":{"k":"a"}}`, nil, false},
		"not equals":           {"another text", `{"StringNotEquals":{"k":"a"}}`, policy.Context{"k": {"b"}}, true},
		"not equals to any":    {"several values of a negated operator are joined by nor", `{"StringNotEquals":{"k":["a","b"]}}`, policy.Context{"k": {"b"}}, false},
		"not equals, missing":  {"a missing key satisfies a negated operator", `{"StringNotEquals":{"k":"a"}}`, nil, true},
		"if exists, missing":   {"IfExists holds for a missing key", `{"StringEqualsIfExists":{"k":"a"}}`, nil, true},
		"if exists, other":     {"IfExists still compares", `{"StringEqualsIfExists":{"k":"a"}}`, policy.Context{"k": {"b"}}, false},
		"like":                 {"a pattern", `{"StringLike":{"k":"a*c?"}}`, policy.Context{"k": {"abbcd"}}, true},
		"like, whole":          {"a pattern is for the whole text", `{"StringLike":{"k":"a*c"}}`, policy.Context{"k": {"abcd"}}, false},
		"not like":             {"negated", `{"StringNotLike":{"k":"a*"}}`, policy.Context{"k": {"abc"}}, false},
		"arn equals": {
			"ArnEquals takes patterns as ArnLike does", `{"ArnEquals":{"iam:PolicyARN":"arn:aws:iam::aws:policy/service-role/*"}}`,
			policy.Context{"iam:PolicyARN": {"arn:aws:iam::aws:policy/service-role/A"}},
			true,
		},
		"arn like over a colon": {
			"parts are compared one by one", `{"ArnLike":{"k":"arn:aws:sns:*:topic"}}`, policy.Context{"k": {"arn:aws:sns:us-east-1:1:topic"}}, false,
		},
		"arn like, no arn": {"a text that is no ARN matches none", `{"ArnLike":{"k":"arn:aws:sns:*:*:topic"}}`, policy.Context{"k": {"topic"}}, false},
		"arn not like":     {"negated", `{"ArnNotLike":{"k":"arn:aws:sns:*:*:a"}}`, policy.Context{"k": {"arn:aws:sns:us-east-1:1:b"}}, true},
		"arn not equals":   {"negated", `{"ArnNotEquals":{"k":"arn:aws:sns:*:*:b"}}`, policy.Context{"k": {"arn:aws:sns:us-east-1:1:b"}}, false},
		"bool":             {"a boolean may be written as one", `{"Bool":{"aws:SecureTransport":false}}`, policy.Context{"aws:SecureTransport": {"false"}}, true},
		"bool as text":     {"or as a text", `{"Bool":{"aws:SecureTransport":"true"}}`, policy.Context{"aws:SecureTransport": {"false"}}, false},
		"null":             {"Null true: the key is missing", `{"Null":{"aws:RequestTag/a":"true"}}`, nil, true},
		"null, there":      {"Null true, and the key is there", `{"Null":{"aws:RequestTag/a":true}}`, policy.Context{"aws:RequestTag/a": {"x"}}, false},
		"null false":       {"Null false: the key is there", `{"Null":{"aws:RequestTag/a":"false"}}`, policy.Context{"aws:RequestTag/a": {"x"}}, true},
		"null false, gone": {"Null false, and the key is missing", `{"Null":{"aws:RequestTag/a":"false"}}`, nil, false},
		"all values": {
			"each value must match one", `{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b","c"]}}`, policy.Context{"aws:TagKeys": {"a", "c"}}, true,
		},
		"all values, one too many": {
			"one value that matches none fails", `{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, policy.Context{"aws:TagKeys": {"a", "z"}}, false,
		},
		"all values, missing":  {"of no value every one matches", `{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}`, nil, true},
		"any value":            {"one value is enough", `{"ForAnyValue:StringLike":{"aws:TagKeys":["m*"]}}`, policy.Context{"aws:TagKeys": {"a", "mine"}}, true},
		"any value, none":      {"no value matches", `{"ForAnyValue:StringEquals":{"aws:TagKeys":["m"]}}`, policy.Context{"aws:TagKeys": {"a", "b"}}, false},
		"any value, missing":   {"of no value none matches", `{"ForAnyValue:StringEquals":{"aws:TagKeys":["m"]}}`, nil, false},
		"all values, negated":  {"no value may match", `{"ForAllValues:StringNotEquals":{"aws:TagKeys":["a"]}}`, policy.Context{"aws:TagKeys": {"b", "a"}}, false},
		"two operators":        {"operators are joined by and", `{"StringEquals":{"k":"a"},"StringLike":{"l":"b*"}}`, policy.Context{"k": {"a"}, "l": {"c"}}, false},
		"two keys":             {"keys are joined by and", `{"StringEquals":{"k":"a","l":"b"}}`, policy.Context{"k": {"a"}}, false},
		"two operators, both":  {"and both may hold", `{"StringEquals":{"k":"a"},"StringLike":{"l":"b*"}}`, policy.Context{"k": {"a"}, "l": {"bc"}}, true},
		"number as a text":     {"numbers in a string condition are texts", `{"StringEquals":{"k":17}}`, policy.Context{"k": {"17"}}, true},
		"empty list of values": {"a key without values is missing", `{"StringEquals":{"k":"a"}}`, policy.Context{"k": {}}, false},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			d := parse(t, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":`+c.condition+`}`))

			got, err := policy.Decide([]policy.Document{d}, policy.Request{Action: "a:B", Resource: "*", Context: c.context})
			if err != nil {
				t.Fatal(err)
			}

			if (got == policy.Allowed) != c.want {
				t.Errorf("%s: got %s", c.reason, got)
			}
		})
	}
}

func TestSeveralValuesWantAQualifier(t *testing.T) {
	t.Parallel()

	d := parse(t, document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:TagKeys":"a"}}}`))

	if _, err := policy.Decide([]policy.Document{d}, policy.Request{Action: "a:B", Resource: "*", Context: policy.Context{"aws:TagKeys": {"a", "b"}}}); err == nil {
		t.Error("a key with two values was compared as if it had one")
	}
}

func TestDecideWithin(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason           string
		boundary, policy string
		want             policy.Decision
	}{
		"both":            {"both must allow", `"Effect":"Allow","Action":"s3:*"`, `"Effect":"Allow","Action":"s3:GetObject"`, policy.Allowed},
		"policy only":     {"a boundary limits", `"Effect":"Allow","Action":"ec2:*"`, `"Effect":"Allow","Action":"s3:GetObject"`, policy.ImplicitDeny},
		"boundary only":   {"a boundary grants nothing", `"Effect":"Allow","Action":"*"`, `"Effect":"Allow","Action":"s3:PutObject"`, policy.ImplicitDeny},
		"boundary denies": {"a deny in the boundary wins", `"Effect":"Deny","Action":"*"`, `"Effect":"Allow","Action":"*"`, policy.ExplicitDeny},
		"policy denies":   {"a deny in the policy wins", `"Effect":"Allow","Action":"*"`, `"Effect":"Deny","Action":"*"`, policy.ExplicitDeny},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			boundary := parse(t, document(`{`+c.boundary+`,"Resource":"*"}`))
			own := parse(t, document(`{`+c.policy+`,"Resource":"*"}`))

			got, err := policy.DecideWithin(boundary, []policy.Document{own}, policy.Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::a/b"})
			if err != nil {
				t.Fatal(err)
			}

			if got != c.want {
				t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
			}
		})
	}
}

func TestTrusts(t *testing.T) {
	t.Parallel()

	const account = `,"Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"}}`

	statement := func(effect, service, condition string) string {
		return `{"Effect":"` + effect + `","Action":"sts:AssumeRole","Principal":{"Service":"` + service + `"}` + condition + `}`
	}

	cases := map[string]struct {
		reason     string
		statements []string
		context    policy.Context
		want       bool
	}{
		"named":           {"the service is named", []string{statement("Allow", "ec2.amazonaws.com", "")}, nil, true},
		"another":         {"another service is named", []string{statement("Allow", "ecs-tasks.amazonaws.com", "")}, nil, false},
		"our account":     {"the condition holds", []string{statement("Allow", "ec2.amazonaws.com", account)}, policy.Context{"aws:SourceAccount": {"123456789012"}}, true},
		"another account": {"the confused deputy", []string{statement("Allow", "ec2.amazonaws.com", account)}, policy.Context{"aws:SourceAccount": {"210987654321"}}, false},
		"not said":        {"a service that sets no aws:SourceAccount is locked out by the condition", []string{statement("Allow", "ec2.amazonaws.com", account)}, nil, false},
		"denied":          {"deny wins", []string{statement("Allow", "ec2.amazonaws.com", ""), statement("Deny", "ec2.amazonaws.com", "")}, nil, false},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			d, err := policy.ParseTrust([]byte(document(c.statements...)))
			if err != nil {
				t.Fatal(err)
			}

			got, err := policy.Trusts(d, "ec2.amazonaws.com", c.context)
			if err != nil {
				t.Fatal(err)
			}

			if got != c.want {
				t.Errorf("%s: got %t", c.reason, got)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()

	cases := map[string]struct{ reason, text string }{
		"unknown operator":   {"an operator that is not known must not be passed over", document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`)},
		"null if exists":     {"there is no NullIfExists", document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NullIfExists":{"k":"true"}}}`)},
		"unknown element":    {"a misspelt element must not vanish", document(`{"Effect":"Allow","Action":"*","Resource":"*","Conditions":{}}`)},
		"no effect":          {"a statement has an effect", document(`{"Action":"*","Resource":"*"}`)},
		"no action":          {"a statement has actions", document(`{"Effect":"Allow","Resource":"*"}`)},
		"both actions":       {"Action and NotAction exclude each other", document(`{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}`)},
		"no resource":        {"an identity-based statement has resources", document(`{"Effect":"Allow","Action":"*"}`)},
		"both resources":     {"Resource and NotResource exclude each other", document(`{"Effect":"Allow","Action":"*","Resource":"*","NotResource":"*"}`)},
		"principal":          {"an identity-based policy has no principal", document(`{"Effect":"Allow","Action":"*","Resource":"*","Principal":{"AWS":"*"}}`)},
		"variable":           {"variables are not evaluated", document(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a/${aws:username}"}`)},
		"condition variable": {"in conditions neither", document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"k":"${aws:username}"}}}`)},
		"old version":        {"version 2008-10-17 has other rules", `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`},
		"no statement":       {"an empty policy is a mistake", `{"Version":"2012-10-17","Statement":[]}`},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if _, err := policy.Parse([]byte(c.text)); err == nil {
				t.Error(c.reason)
			}
		})
	}
}
