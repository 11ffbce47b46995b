package policydoc_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/policydoc"
)

func TestEqual(t *testing.T) {
	const base = `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::x/*"},
		{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["a", "b"], "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}`

	edit := func(old, with string) string {
		if !strings.Contains(base, old) {
			t.Fatalf("%s is not in the document", old)
		}

		return strings.ReplaceAll(base, old, with)
	}

	for name, tc := range map[string]struct {
		reason string
		other  string
		want   bool
	}{
		"Same":             {"nothing differs", base, true},
		"Encoded":          {"IAM hands documents out URL-encoded", strings.ReplaceAll(url.QueryEscape(base), "+", "%20"), true},
		"ActionOrder":      {"a set has no order", edit(`"s3:GetObject", "s3:PutObject"`, `"s3:PutObject", "s3:GetObject"`), true},
		"ActionCase":       {"actions have no case", edit(`s3:GetObject`, `S3:getobject`), true},
		"ResourceOrder":    {"a set has no order", edit(`["a", "b"]`, `["b", "a"]`), true},
		"ListOfOne":        {"a string is a list of one", edit(`"arn:aws:s3:::x/*"`, `["arn:aws:s3:::x/*"]`), true},
		"Everyone":         {"two ways to write everyone", edit(`"Principal": "*"`, `"Principal": {"AWS": "*"}`), true},
		"Boolean":          {"condition values may be JSON's own", edit(`"false"`, `false`), true},
		"ConditionKeyCase": {"condition keys have no case", edit(`aws:SecureTransport`, `aws:securetransport`), true},
		"ResourceCase":     {"resources do have case", edit(`arn:aws:s3:::x/*`, `arn:aws:s3:::X/*`), false},
		"Effect":           {"the opposite", edit(`Deny`, `Allow`), false},
		"MoreActions":      {"more is allowed", edit(`"s3:PutObject"`, `"s3:PutObject", "s3:DeleteObject"`), false},
		"Condition":        {"another value", edit(`"false"`, `"true"`), false},
		"NoCondition":      {"a condition is gone", edit(`, "Condition": {"Bool": {"aws:SecureTransport": "false"}}`, ``), false},
		"Version":          {"variables mean nothing in the old language", edit(`2012-10-17`, `2008-10-17`), false},
		"OneStatementLess": {"a statement is gone", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::x/*"}}`, false},
		"Empty":            {"no policy at all", "", false},
		"NotJSON":          {"what cannot be read equals nothing", "{", false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, got := range []bool{policydoc.Equal(base, tc.other), policydoc.Equal(tc.other, base)} {
				if got != tc.want {
					t.Errorf("got %t, want %t: %s", got, tc.want, tc.reason)
				}
			}
		})
	}

	if policydoc.Equal("{", "{") {
		t.Error("two unreadable documents are equal, want not")
	}
}

func TestText(t *testing.T) {
	const document = `{"Statement":[{"Action":"s3:*","Effect":"Allow"}],"Version":"2012-10-17"}`

	for name, tc := range map[string]struct {
		reason     string
		have, want string
	}{
		"Encoded": {"IAM hands documents out URL-encoded", strings.ReplaceAll(url.QueryEscape(document), "+", "%20"), document},
		"Plain":   {"S3 does not", document, document},
		"Spaced":  {"spaces mean nothing", strings.ReplaceAll(document, ",", ",\n  "), document},
		"None":    {"nothing is nothing", "", ""},
		"Broken":  {"what cannot be read is shown as it is", "{", "{"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := policydoc.Text(tc.have); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	want := policydoc.Statement{Sid: "Ours", Effect: policydoc.Deny, Principal: "*", Action: []string{"s3:*"}, Resource: []string{"x"}}
	ours := `{"Sid": "Ours", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:*", "Resource": "x"}`
	theirs := `{"Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "y", "Condition": {"Null": {"aws:x": true}}}`

	for name, tc := range map[string]struct {
		reason   string
		document string
		same     bool
		want     string
	}{
		"None":    {"a bucket without a policy", "", false, `[` + ours + `]`},
		"There":   {"nothing to do", `{"Version": "2012-10-17", "Statement": [` + theirs + `,` + ours + `]}`, true, `[` + theirs + `,` + ours + `]`},
		"Missing": {"theirs stays", `{"Version": "2012-10-17", "Statement": ` + theirs + `}`, false, `[` + theirs + `,` + ours + `]`},
		"Changed": {
			"ours is replaced, theirs stays", `{"Version": "2012-10-17", "Statement": [` + strings.Replace(ours, "Deny", "Allow", 1) + `,` + theirs + `]}`,
			false, `[` + theirs + `,` + ours + `]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			merged, same, err := policydoc.Merge(tc.document, want)
			if err != nil {
				t.Fatal(err)
			}

			if same != tc.same {
				t.Errorf("same: got %t, want %t: %s", same, tc.same, tc.reason)
			}

			if w := `{"Version": "2012-10-17", "Statement": ` + tc.want + `}`; !policydoc.Equal(merged, w) {
				t.Errorf("got %s, want %s: %s", merged, w, tc.reason)
			}
		})
	}

	if _, _, err := policydoc.Merge("{", want); err == nil {
		t.Error("merge into an unreadable document: got no error")
	}
}

// The Id and the version of a policy are its owner's.
func TestMergeKeepsTheRestOfTheDocument(t *testing.T) {
	merged, _, err := policydoc.Merge(`{"Id": "Theirs", "Version": "2008-10-17", "Statement": []}`, policydoc.Statement{Sid: "Ours", Effect: policydoc.Deny})
	if err != nil {
		t.Fatal(err)
	}

	var doc struct{ ID, Version string }
	if err := json.Unmarshal([]byte(merged), &doc); err != nil {
		t.Fatal(err)
	}

	if doc.ID != "Theirs" || doc.Version != "2008-10-17" {
		t.Errorf("got %+v, want Id and Version kept", doc)
	}
}

func TestTrusts(t *testing.T) {
	statement := func(s string) string { return `{"Version": "2012-10-17", "Statement": [` + s + `]}` }
	allow := `{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}`

	for name, tc := range map[string]struct {
		reason   string
		document string
		want     bool
	}{
		"Plain":        {"the usual trust policy", statement(allow), true},
		"Encoded":      {"as IAM hands it out", url.PathEscape(statement(allow)), true},
		"AmongOthers":  {"one of several services", statement(strings.Replace(allow, `"ecs-tasks.amazonaws.com"`, `["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"]`, 1)), true},
		"Wildcard":     {"actions may be wildcards", statement(strings.Replace(allow, "sts:AssumeRole", "STS:*", 1)), true},
		"Second":       {"in the second statement", statement(strings.Replace(allow, "ecs-tasks", "ec2", 1) + "," + allow), true},
		"OtherService": {"only EC2", statement(strings.Replace(allow, "ecs-tasks", "ec2", 1)), false},
		"OtherAction":  {"only tags sessions", statement(strings.Replace(allow, "sts:AssumeRole", "sts:TagSession", 1)), false},
		"Denied":       {"a denial wins", statement(allow + "," + strings.Replace(allow, "Allow", "Deny", 1)), false},
		"Account":      {"an account is no service", statement(`{"Effect": "Allow", "Principal": {"AWS": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}`), false},
		"Unreadable":   {"nothing can be said", "{", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := policydoc.Trusts(tc.document, "ecs-tasks.amazonaws.com"); got != tc.want {
				t.Errorf("got %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}
