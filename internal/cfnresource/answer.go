package cfnresource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

const (
	success = "SUCCESS"
	failure = "FAILED"
)

// maxAnswer is CloudFormation's limit in bytes.
const maxAnswer = 4096

// ellipsis ends a reason that was cut.
const ellipsis = "…"

// answer is what CloudFormation takes.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
type answer struct {
	Status             string            `json:"Status"`
	Reason             string            `json:"Reason,omitempty"`
	PhysicalResourceID string            `json:"PhysicalResourceId"`
	StackID            string            `json:"StackId"`
	RequestID          string            `json:"RequestId"`
	LogicalResourceID  string            `json:"LogicalResourceId"`
	NoEcho             bool              `json:"NoEcho,omitempty"`
	Data               map[string]string `json:"Data,omitempty"`
}

func answerTo(e Event, status, id string) answer {
	return answer{Status: status, PhysicalResourceID: id, StackID: e.StackID, RequestID: e.RequestID, LogicalResourceID: e.LogicalResourceID}
}

func answerOf(c deploy.Callback, status, id string) answer {
	return answer{Status: status, PhysicalResourceID: id, StackID: c.StackID, RequestID: c.RequestID, LogicalResourceID: c.LogicalResourceID}
}

func (a answer) marshal() ([]byte, error) {
	var b bytes.Buffer

	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // one byte for <, not six

	if err := enc.Encode(a); err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}

	return bytes.TrimSpace(b.Bytes()), nil
}

func (a answer) fits() bool {
	b, err := a.marshal()

	return err == nil && len(b) <= maxAnswer
}

// encode writes the answer in CloudFormation's limit: what does not fit is cut off the reason.
func (a answer) encode() ([]byte, error) {
	for {
		b, err := a.marshal()
		if err != nil || len(b) <= maxAnswer {
			return b, err
		}

		if a.Reason == "" {
			return nil, fmt.Errorf("an answer of %d bytes is more than the %d that CloudFormation takes", len(b), maxAnswer)
		}

		// A byte of it takes up to six in JSON, so this never cuts too much.
		rest := strings.TrimSuffix(a.Reason, ellipsis)
		rest = strings.ToValidUTF8(rest[:max(len(rest)-max((len(b)-maxAnswer)/6, 1), 0)], "")

		if a.Reason = ""; rest != "" {
			a.Reason = rest + ellipsis
		}
	}
}

// reason says what is wrong and what to do, in one line.
func reason(findings []deploy.Finding) string {
	var parts []string

	for _, f := range findings {
		text := f.Message + " " + f.Remedy
		if f.Pointer != "" {
			text = property(f.Pointer) + ": " + text
		}

		parts = append(parts, deploy.Scrub(text))
	}

	if len(parts) > 1 {
		return fmt.Sprintf("%d things are wrong. ", len(parts)) + strings.Join(parts, " ")
	}

	return strings.Join(parts, " ")
}

// property is where a finding's pointer leads in a template: "/Spec/tags" is "Spec.tags".
func property(pointer string) string {
	dotted := strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")

	return strings.NewReplacer("~1", "/", "~0", "~").Replace(dotted)
}

// ofTemplate lets findings about a body of the API point into a template, whose properties begin with a capital.
func ofTemplate(findings []deploy.Finding) []deploy.Finding {
	list := slices.Clone(findings)
	for i := range list {
		if p := list[i].Pointer; len(p) > 1 {
			list[i].Pointer = p[:1] + strings.ToUpper(p[1:2]) + p[2:]
		}
	}

	return list
}

// secret tells whether a configuration holds what nobody should read in a console. Metaflow's keys say so by their names.
func secret(config map[string]string) bool {
	for key := range config {
		for _, word := range []string{"AUTH", "KEY", "SECRET", "TOKEN", "PASSWORD", "HEADERS"} {
			if strings.Contains(key, word) {
				return true
			}
		}
	}

	return false
}
