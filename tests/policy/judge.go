package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

// Grants are the policies that template.yaml gives out.
type Grants struct {
	Place
	// Functions holds the policies of each function's role, by the name of the function's folder. What SAM adds by itself (writing logs and traces) is
	// left out.
	Functions map[string][]Document
	// Roles holds the policies of the other roles of the template, by logical id.
	Roles map[string][]Document
	// Boundaries holds the managed policies of the template, by ARN.
	Boundaries map[string]Document
}

// ReadTemplate reads the policies of a SAM template, resolved for its default parameters and those given.
func ReadTemplate(file string, in samtemplate.Inputs) (*Grants, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the template: %w", err)
	}

	t, err := samtemplate.Parse(data)
	if err != nil {
		return nil, err
	}

	stack, err := t.Resolve(in)
	if err != nil {
		return nil, err
	}

	g := &Grants{
		// The reader of templates resolves for the partition aws.
		Place: Place{Partition: "aws", Region: in.Region, Account: in.Account}, Functions: map[string][]Document{}, Roles: map[string][]Document{},
		Boundaries: map[string]Document{},
	}

	for _, id := range t.Resources("AWS::Serverless::Function") {
		p, err := t.Properties(in, id)
		if err != nil {
			return nil, err
		}

		uri, _ := p["CodeUri"].(string)
		if g.Functions[path.Base(path.Clean(uri))], err = documents(p["Policies"]); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
	}

	for _, id := range t.Resources("AWS::IAM::Role") {
		p, err := t.Properties(in, id)
		if err != nil {
			return nil, err
		}

		var inline []any

		list, _ := p["Policies"].([]any)
		for _, one := range list {
			m, _ := one.(map[string]any)
			inline = append(inline, m["PolicyDocument"])
		}

		if g.Roles[id], err = documents(inline); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}

		if len(inline) == 0 || p["ManagedPolicyArns"] != nil {
			return nil, fmt.Errorf("%s: only inline policies are read here", id)
		}
	}

	for _, p := range stack.Policies {
		if g.Boundaries[p.ARN], err = Parse(p.Document); err != nil {
			return nil, fmt.Errorf("%s: %w", p.LogicalID, err)
		}
	}

	return g, nil
}

func documents(v any) ([]Document, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("the policies are %T, not a list", v)
	}

	var all []Document

	for _, one := range list {
		if _, ok := one.(map[string]any); !ok {
			return nil, fmt.Errorf("the policy %v is not written out: only documents are read here", one)
		}

		data, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}

		d, err := Parse(data)
		if err != nil {
			return nil, err
		}

		all = append(all, d)
	}

	return all, nil
}

// Refusal is a call that AWS would have refused.
type Refusal struct {
	Call     Call
	Request  Request
	Decision Decision
}

func (r Refusal) String() string {
	context := ""
	for _, k := range slices.Sorted(maps.Keys(r.Request.Context)) {
		context += fmt.Sprintf(" %s=%v", k, r.Request.Context[k])
	}

	return fmt.Sprintf("%s: %s.%s: %s on %s is %s;%s", r.Call.Function, r.Call.Service, r.Call.Action, r.Request.Action, r.Request.Resource, r.Decision, context)
}

// Judge holds what AWS asks against the policies of the function that asked, and lists what would be refused.
func (g *Grants) Judge(asks []Ask) ([]Refusal, error) {
	var refused []Refusal

	for _, ask := range asks {
		policies, known := g.Functions[ask.Call.Function]
		if !known {
			return nil, fmt.Errorf("the template has no function %q, which called %s", ask.Call.Function, ask.Call.name())
		}

		for _, r := range ask.Requests {
			decision, err := Decide(policies, r)
			if err != nil {
				return nil, fmt.Errorf("function %s: %w", ask.Call.Function, err)
			}

			if decision != Allowed {
				refused = append(refused, Refusal{Call: ask.Call, Request: r, Decision: decision})
			}
		}
	}

	return refused, nil
}

// Spare is a part of a function's policies without which every call of a run would have passed.
type Spare struct {
	Function, Sid string
	// Action is empty where the whole statement is spare.
	Action string
}

// Spares takes away each action of each statement in turn, and lists those that nothing asked for missed. A statement of which every action is spare is
// listed as a whole. What denies gives nothing that could be spare.
func (g *Grants) Spares(asks []Ask) ([]Spare, error) {
	// A function asks for the same things again and again: once is enough.
	by := map[string]map[string]Request{}

	for _, ask := range asks {
		if by[ask.Call.Function] == nil {
			by[ask.Call.Function] = map[string]Request{}
		}

		for _, r := range ask.Requests {
			key, err := json.Marshal(r)
			if err != nil {
				return nil, err
			}

			by[ask.Call.Function][string(key)] = r
		}
	}

	var spares []Spare

	for _, function := range slices.Sorted(maps.Keys(g.Functions)) {
		for d, document := range g.Functions[function] {
			for s, statement := range document.Statements {
				if statement.Effect == Deny {
					continue
				}

				var idle []Spare

				for a, action := range statement.Actions {
					without := withoutAction(g.Functions[function], d, s, a)

					missed, err := misses(without, by[function])
					if err != nil {
						return nil, err
					}

					if !missed {
						idle = append(idle, Spare{Function: function, Sid: statement.Sid, Action: action})
					}
				}

				// Actions that are spare one by one may not all be: two statements may allow the same.
				if len(idle) == len(statement.Actions) {
					idle = []Spare{{Function: function, Sid: statement.Sid}}
				}

				spares = append(spares, idle...)
			}
		}
	}

	return spares, nil
}

func withoutAction(policies []Document, d, s, a int) []Document {
	out := slices.Clone(policies)
	out[d].Statements = slices.Clone(out[d].Statements)
	out[d].Statements[s].Actions = slices.Delete(slices.Clone(out[d].Statements[s].Actions), a, a+1)

	if len(out[d].Statements[s].Actions) == 0 {
		out[d].Statements = slices.Delete(out[d].Statements, s, s+1)
	}

	return out
}

func misses(policies []Document, requests map[string]Request) (bool, error) {
	for _, r := range requests {
		decision, err := Decide(policies, r)
		if err != nil {
			return false, err
		}

		if decision != Allowed {
			return true, nil
		}
	}

	return false, nil
}
