package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
)

// clean is a create and a delete that nobody disturbed: what there is to break.
type clean struct {
	create, delete []awsproxy.Call
	resources      []resource
}

// undisturbed is made once, by the first who needs it.
var undisturbed struct {
	sync.Mutex
	done bool
	clean
}

// disturb gives the journal of a deployment that went well.
func disturb(t *testing.T) clean {
	t.Helper()
	start(t)

	undisturbed.Lock()
	defer undisturbed.Unlock()

	if !undisturbed.done {
		w := newWorld(t)
		w.active("research", nil)
		undisturbed.create, undisturbed.resources = w.calls(), w.resources("research")
		w.gone("research")
		undisturbed.delete = w.calls()[len(undisturbed.create):]
		undisturbed.done = true
	}

	return undisturbed.clean
}

// act is one changing call of the clean run, and what tells it apart from every other.
type act struct {
	service, action, function string
	match                     map[string]any
	// refs are the resources whose call this may be; empty for calls to the table and to Step Functions.
	refs []string
	// nth counts the acts of the same first ref.
	nth int
	// times is how many calls it stands for: two subnets are told apart only by ids that nobody knows beforehand.
	times int
}

func (a act) String() string {
	ref := "-"
	if len(a.refs) > 0 {
		ref = strings.Join(a.refs, "+")
	}

	return fmt.Sprintf("%s.%s %s", a.service, a.action, strings.ReplaceAll(ref, "/", ":"))
}

// rule breaks exactly this call.
func (a act) rule(then object) object {
	return object{"service": a.service, "action": a.action, "function": a.function, "match": a.match, "then": then}
}

// once breaks each call that the act stands for one time.
func (a act) once(then object) object {
	rule := a.rule(then)
	rule["times"] = a.times

	return rule
}

// changing tells whether a call of a function changes something at AWS.
func changing(c awsproxy.Call) bool {
	if c.Function == "" || c.Function == "user" {
		return false
	}

	return !slices.ContainsFunc([]string{"Describe", "Get", "List", "Head", "Query", "Scan", "BatchGet", "TransactGet"}, func(verb string) bool {
		return strings.HasPrefix(c.Action, verb)
	})
}

// differs finds what is another in every world: ids that AWS gives, and names and tokens that derive from the account or the operation.
var differs = regexp.MustCompile(`(vpc|subnet|igw|rtb|sg|sgr|vpce|lt|eni|rtbassoc)-[0-9a-f]{8,}|[0-9]{12}|research-[a-z2-7]{8}|[a-z2-7]{32}|research-[0-9a-z]{26}`)

// leaves are the scalars of an input by JSON pointer, those that differ between worlds left out.
func leaves(v any, at string, into map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			leaves(x, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), into)
		}
	case []any:
		for i, x := range v {
			leaves(x, fmt.Sprintf("%s/%d", at, i), into)
		}
	case string:
		// Of what is written to the table only the item's place and version are the same in every world.
		if strings.Contains(at, "/Item/") && !strings.HasSuffix(at, "/sk/S") && !strings.HasSuffix(at, "/version/N") {
			return
		}

		if !differs.MatchString(v) {
			into[at] = v
		}
	case bool, float64, int, int64, int32:
		into[at] = v
	}
}

// fits tells whether a rule of this act would take a call.
func (a act) fits(c awsproxy.Call) bool {
	if a.service != c.Service || a.action != c.Action || a.function != c.Function {
		return false
	}

	got := map[string]any{}
	leaves(c.Input, "", got)

	for pointer, want := range a.match {
		if !reflect.DeepEqual(got[pointer], want) {
			return false
		}
	}

	return true
}

// acts lists the changing calls to some services, each told apart from all others by its input. It fails the test where a rule would take more than it
// should: calls that only ids of AWS tell apart are one act, if they are calls of one kind.
func (c clean) acts(t *testing.T, calls []awsproxy.Call, services ...string) []act {
	t.Helper()

	var all []act

	count := map[string]int{}

	for _, call := range calls {
		if !changing(call) || !slices.Contains(services, call.Service) {
			continue
		}

		a := act{service: call.Service, action: call.Action, function: call.Function, match: map[string]any{}}
		leaves(call.Input, "", a.match)

		if slices.ContainsFunc(all, func(other act) bool { return other.fits(call) }) {
			continue // a twin of one that is there
		}

		for _, other := range calls {
			if !changing(other) || !a.fits(other) {
				continue
			}

			a.times++
			a.refs = append(a.refs, c.refs(other)...)
		}

		slices.Sort(a.refs)
		a.refs = slices.Compact(a.refs)

		if a.times > 1 && len(a.refs) < a.times {
			t.Fatalf("%s %v fits %d calls", a, a.match, a.times)
		}

		if len(a.refs) > 0 {
			a.nth = count[a.refs[0]]
			count[a.refs[0]]++
		}

		all = append(all, a)
	}

	return all
}

// refs finds the resources that a call is about: by the tag in its input, else by the id of what it acts on.
func (c clean) refs(call awsproxy.Call) []string {
	if ref := tagged(call.Input); ref != "" {
		return []string{ref}
	}

	var out []string

	ids := append(slices.Clone(call.Resources), strings.Split(call.Target, ",")...)

	for _, r := range c.resources {
		if slices.Contains(ids, r.ID) || r.ARN != "" && slices.Contains(ids, r.ARN) || r.Kind == "service-linked-role" && call.Action == "CreateServiceLinkedRole" {
			out = append(out, r.Ref)
		}
	}

	if len(out) == 0 && call.Service != "dynamodb" && call.Service != "sfn" {
		return []string{call.Target} // a part of some resource, such as a route table's association
	}

	return out
}

func tagged(v any) string {
	const key = "metaflow-deployer:resource"

	switch v := v.(type) {
	case map[string]any:
		if v["Key"] == key {
			s, _ := v["Value"].(string)

			return s
		}

		if s, ok := v[key].(string); ok {
			return s
		}

		for _, name := range slices.Sorted(maps.Keys(v)) {
			if ref := tagged(v[name]); ref != "" {
				return ref
			}
		}
	case []any:
		for _, x := range v {
			if ref := tagged(x); ref != "" {
				return ref
			}
		}
	}

	return ""
}

func TestCallsFitTheServicesModels(t *testing.T) {
	t.Parallel()

	c := disturb(t)

	found, err := filepath.Glob(filepath.Join(os.Getenv("METAFLOW_DEPLOYER_VENV"), "lib", "python3*", "site-packages", "botocore", "data"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the models: %v %v", found, err)
	}

	catalog, err := awsmodel.Open(found[0])
	if err != nil {
		t.Fatal(err)
	}

	judged := 0

	for _, call := range slices.Concat(c.create, c.delete) {
		if call.Function == "user" || call.Action == "" {
			continue
		}

		op, err := catalog.Operation(call.Service, call.Action)
		if err != nil {
			t.Fatal(err)
		}

		judged++

		for _, finding := range awsmodel.Validate(op, call.Input) {
			t.Errorf("%s %s %s: %v", call.Function, call.Service, call.Action, finding)
		}
	}

	if judged < 100 {
		t.Errorf("only %d calls were judged", judged)
	}
}
