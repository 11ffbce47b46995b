package template_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

// TestEveryLogIsForgottenInTime: a log group that Lambda makes by itself has no retention and outlives the stack.
func TestEveryLogIsForgottenInTime(t *testing.T) {
	t.Parallel()

	template, _ := stack(t)
	in := inputs()
	in.Parameters = map[string]string{"LogRetentionDays": "90"}

	kept := map[any]bool{}

	for _, id := range template.Resources("AWS::Logs::LogGroup") {
		p, err := template.Properties(in, id)
		if err != nil {
			t.Fatal(err)
		}

		if fmt.Sprint(p["RetentionInDays"]) != "90" {
			t.Errorf("%s is kept for %v days, whatever the parameter says", id, p["RetentionInDays"])
		}

		name, ok := p["LogGroupName"]
		if !ok {
			name = in.StackName + "-" + id
		}

		kept[name] = true
	}

	globals, err := template.Globals(in, "Function")
	if err != nil {
		t.Fatal(err)
	}

	functions := template.Resources("AWS::Serverless::Function")
	if len(functions) == 0 {
		t.Fatal("the template has no function")
	}

	for _, id := range functions {
		p, err := template.Properties(in, id)
		if err != nil {
			t.Fatal(err)
		}

		// SAM merges a function's own settings into the global ones.
		group := any(nil)

		for _, config := range []any{globals["LoggingConfig"], p["LoggingConfig"]} {
			if m, ok := config.(map[string]any); ok && m["LogGroup"] != nil {
				group = m["LogGroup"]
			}
		}

		if !kept[group] {
			t.Errorf("%s writes into %v, which is no log group of the template", id, group)
		}
	}
}

// TestRequestsOfStacksAreNotLost: Lambda keeps what becomes of asynchronous calls for each name of a function, and stacks call the alias.
func TestRequestsOfStacksAreNotLost(t *testing.T) {
	t.Parallel()

	template, s := stack(t)
	in := inputs()
	in.Parameters = map[string]string{"StackTenant": "acme", "StackAccount": "210987654321"}

	p, err := template.Properties(in, "StackRequests")
	if err != nil {
		t.Fatal(err)
	}

	want := map[string]any{"FunctionName": "customresource", "Qualifier": "acme", "DestinationConfig": map[string]any{"OnFailure": map[string]any{
		"Destination": s.Queues[slices.IndexFunc(s.Queues, func(q samtemplate.Queue) bool { return q.LogicalID == "LostRequests" })].ARN,
	}}}

	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("what failed three times (-want +got):\n%s", diff)
	}
}

// TestEveryAlarmLeadsSomewhere: whoever is woken finds in the runbook what to do.
func TestEveryAlarmLeadsSomewhere(t *testing.T) {
	t.Parallel()

	template, s := stack(t)
	runbook := string(read(t, "docs/runbook.md"))
	page := regexp.MustCompile(`docs/runbook\.md, "([^"]+)"`)

	// What alarms look at: functions and queues by name.
	there, looked := map[any]bool{}, map[any]bool{}
	for _, f := range s.Functions {
		there[f.Name] = true
	}

	for _, q := range s.Queues {
		there[q.Name] = true
	}

	alarms := template.Resources("AWS::CloudWatch::Alarm")

	for _, id := range alarms {
		p, err := template.Properties(inputs(), id)
		if err != nil {
			t.Fatal(err)
		}

		m := page.FindStringSubmatch(fmt.Sprint(p["AlarmDescription"]))
		if m == nil || !strings.Contains(runbook, "\n## "+m[1]+"\n") {
			t.Errorf("%s names no heading of the runbook: %v", id, p["AlarmDescription"])
		}

		// What nobody calls has no errors, and a queue that is not used no messages.
		if p["TreatMissingData"] != "notBreaching" {
			t.Errorf("%s takes missing data for %v", id, p["TreatMissingData"])
		}

		dimensions, _ := p["Dimensions"].([]any)
		for _, d := range dimensions {
			d, _ := d.(map[string]any)
			looked[d["Value"]] = true

			if !there[d["Value"]] {
				t.Errorf("%s looks at %v, which the template does not have", id, d["Value"])
			}
		}

		if len(dimensions) != 1 {
			t.Errorf("%s looks at %v", id, dimensions)
		}

		in := inputs()
		in.Parameters = map[string]string{"AlarmTopic": "arn:aws:sns:eu-central-1:123456789012:duty"}

		told, err := template.Properties(in, id)
		if err != nil {
			t.Fatal(err)
		}

		for _, actions := range []string{"AlarmActions", "OKActions"} {
			if p[actions] != nil || fmt.Sprint(told[actions]) != "["+in.Parameters["AlarmTopic"]+"]" {
				t.Errorf("%s: %s are %v without a topic and %v with one", id, actions, p[actions], told[actions])
			}
		}
	}

	// What ends in a queue that no function empties waits for somebody.
	for _, q := range s.Queues {
		read := false
		for _, m := range s.Mappings {
			read = read || m.Source == q.ARN
		}

		if !read && !looked[q.Name] {
			t.Errorf("nobody is told of messages in %s", q.LogicalID)
		}
	}

	_, section, _ := strings.Cut(runbook, "\n## Alarms\n")
	section, _, _ = strings.Cut(section, "\n## ")

	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(section, -1) {
		rows = append(rows, m[1])
	}

	slices.Sort(alarms)
	slices.Sort(rows)

	if diff := cmp.Diff(alarms, rows); diff != "" {
		t.Errorf("alarms (-in the template +in the runbook):\n%s", diff)
	}
}
