// Package awspermits asks IAM beforehand whether the functions that act may do what creating and removing a deployment makes them do. The product's own
// template grants it; an organization's policies, a boundary that an account puts on every role, or a stack that was changed by hand may take it back.
//
// What they do is in needs.json, which is written from simulated lives and held against them by tests/policy. IAM's simulation makes no call of the simulated
// kind. It must not know kinds nor what its answer is for.
package awspermits

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// api is what this room calls.
type api interface {
	SimulatePrincipalPolicy(ctx context.Context, in *iam.SimulatePrincipalPolicyInput, opts ...func(*iam.Options)) (*iam.SimulatePrincipalPolicyOutput, error)
}

// Need is one authorization that AWS asks for: an action on a resource, with the condition keys that the call brings along. Places are written as ${...}.
type Need struct {
	Action   string              `json:"action"`
	Resource string              `json:"resource"`
	Context  map[string][]string `json:"context,omitempty"`
}

//go:embed needs.json
var file []byte

// Needs lists what each function needs, by the family that it acts on.
func Needs() (map[string][]Need, error) {
	var needs map[string][]Need
	if err := json.Unmarshal(file, &needs); err != nil {
		return nil, fmt.Errorf("read the list of needs: %w", err)
	}

	return needs, nil
}

// Place is what the list leaves open.
type Place struct{ Partition, Account, Region, Installation, Boundary string }

func (p Place) fill(text string) string {
	return strings.NewReplacer(
		"${Partition}", p.Partition, "${Account}", p.Account, "${Region}", p.Region, "${Installation}", p.Installation, "${Boundary}", p.Boundary,
	).Replace(text)
}

// Permits is the simulation of some functions' roles.
type Permits struct {
	iam   api
	roles map[string]string
	place Place
	now   func() time.Time

	mu    sync.Mutex
	known map[string]answer
}

// answer is what was found out of a family.
type answer struct {
	at      time.Time
	lacking []deploy.Lack
	err     error
}

// lasts is how long an answer is believed: permissions change when somebody deploys something.
const lasts = 10 * time.Minute

// New takes the IAM client and the ARN of each function's role, by family.
func New(client api, roles map[string]string, place Place, now func() time.Time) *Permits {
	return &Permits{iam: client, roles: roles, place: place, now: now, known: map[string]answer{}}
}

// Lacking answers what the functions of these families may not do although they need to. An error means that nobody could tell.
func (p *Permits) Lacking(ctx context.Context, families []string) ([]deploy.Lack, error) {
	needs, err := Needs()
	if err != nil {
		return nil, err
	}

	var all []deploy.Lack

	for _, family := range families {
		p.mu.Lock()
		a, ok := p.known[family]
		p.mu.Unlock()

		if !ok || p.now().Sub(a.at) > lasts {
			a = answer{at: p.now()}
			a.lacking, a.err = p.simulate(ctx, family, needs[family])

			p.mu.Lock()
			p.known[family] = a
			p.mu.Unlock()
		}

		if a.err != nil {
			return nil, a.err
		}

		all = append(all, a.lacking...)
	}

	return all, nil
}

// group is what one simulation takes: several actions with the same resource and context.
type group struct {
	resource string
	context  map[string][]string
	actions  []string
}

func groups(needs []Need) []group {
	var all []group

	for _, n := range needs {
		i := slices.IndexFunc(all, func(g group) bool {
			return g.resource == n.Resource && maps.EqualFunc(g.context, n.Context, slices.Equal[[]string])
		})
		if i < 0 {
			all, i = append(all, group{resource: n.Resource, context: n.Context}), len(all)
		}

		all[i].actions = append(all[i].actions, n.Action)
	}

	return all
}

// atOnce keeps below what IAM takes of one account.
const atOnce = 5

func (p *Permits) simulate(ctx context.Context, family string, needs []Need) ([]deploy.Lack, error) {
	role := p.roles[family]
	if role == "" {
		return nil, fmt.Errorf("the role of the function for %s is not known", family)
	}

	var (
		list    = groups(needs)
		wait    sync.WaitGroup
		slots   = make(chan struct{}, atOnce)
		lacking = make([][]deploy.Lack, len(list))
		errs    = make([]error, len(list))
	)

	// The first one alone: where nothing is simulated, nobody need ask again.
	for i, g := range list {
		if i == 0 {
			if lacking[i], errs[i] = p.one(ctx, family, role, g); errs[i] != nil {
				return nil, errs[i]
			}

			continue
		}

		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()

			lacking[i], errs[i] = p.one(ctx, family, role, g)
		})
	}

	wait.Wait()

	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}

	return slices.Concat(lacking...), nil
}

func (p *Permits) one(ctx context.Context, family, role string, g group) ([]deploy.Lack, error) {
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String(role), ActionNames: g.actions, ResourceArns: []string{p.place.fill(g.resource)}}

	for _, key := range slices.Sorted(maps.Keys(g.context)) {
		entry := types.ContextEntry{ContextKeyName: aws.String(p.place.fill(key)), ContextKeyType: types.ContextKeyTypeEnumString}
		for _, v := range g.context[key] {
			entry.ContextKeyValues = append(entry.ContextKeyValues, p.place.fill(v))
		}

		if len(entry.ContextKeyValues) > 1 || key == "aws:TagKeys" {
			entry.ContextKeyType = types.ContextKeyTypeEnumStringList
		}

		in.ContextEntries = append(in.ContextEntries, entry)
	}

	var lacking []deploy.Lack

	pages := iam.NewSimulatePrincipalPolicyPaginator(p.iam, in)
	for pages.HasMorePages() {
		// A plan does not wait for a second try: not to be told is an answer too.
		page, err := pages.NextPage(ctx, func(o *iam.Options) { o.RetryMaxAttempts = 1 })
		if err != nil {
			return nil, fmt.Errorf("simulate the policies of %s: %w", role, err)
		}

		for _, r := range page.EvaluationResults {
			if r.EvalDecision != types.PolicyEvaluationDecisionTypeAllowed {
				lacking = append(lacking, deploy.Lack{Family: family, Role: role, Action: aws.ToString(r.EvalActionName), Resource: p.place.fill(g.resource)})
			}
		}
	}

	return lacking, nil
}
