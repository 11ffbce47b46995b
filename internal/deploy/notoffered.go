package deploy

import (
	"slices"
	"strconv"
	"strings"
)

// missing is a member, or some values of one, that the public contract names and that is not built.
type missing struct {
	// path leads to the member, * standing for every item of an array.
	path string
	// values that are not offered; none means that the member is not offered at all.
	values []string
	// why, if it is more than "not built yet"; such a thing never will be.
	why, remedy string
}

// CodeNotOfferedYet says that a part of the contract is not built.
const CodeNotOfferedYet = "not_offered_yet"

// NotOffered finds what a request names although it is not on offer, so that it is refused by name instead of as something unknown. The request is the
// body as it came: maps, slices and scalars of encoding/json.
func NotOffered(body any) []Finding {
	var findings []Finding

	for _, m := range [...]missing{
		{path: "/spec/storage/kmsKeyArn"},
		{path: "/spec/network/mode", values: []string{"private", "endpoints"}, remedy: "Use public, or bring a network of your own under existing."},
		{path: "/spec/access/developer"},
		{path: "/spec/access/readBuckets"},
		{path: "/spec/access/secretsPrefix"},
		{path: "/spec/compute/environments/*/type", values: []string{"SPOT", "FARGATE", "FARGATE_SPOT"}, remedy: "Use EC2 or UNMANAGED."},
		{path: "/spec/compute/environments/*/gpu"},
		{path: "/spec/compute/environments/*/imageId"},
		{
			path: "/spec/compute/environments/*/allocationStrategy", values: []string{"BEST_FIT"},
			why:    "BEST_FIT is not offered: Batch can never update an environment in place that was made with it.",
			remedy: "Use BEST_FIT_PROGRESSIVE.",
		},
		{
			path:   "/spec/compute/environments/*/allocationStrategy",
			values: []string{"SPOT_CAPACITY_OPTIMIZED", "SPOT_PRICE_CAPACITY_OPTIMIZED"}, remedy: "Use BEST_FIT_PROGRESSIVE.",
		},
		{path: "/spec/scheduling"},
		{path: "/spec/metadata"},
		{path: "/spec/ui"},
		{path: "/spec/notebook"},
	} {
		findings = m.find(body, m.path, 0, findings)
	}

	return findings
}

func (m missing) finding(at string, v any) Finding {
	if m.why != "" {
		return Errorf(Invalid, "not_offered", "%s", m.why).WithRemedy("%s", m.remedy).At(at).Finding()
	}

	what := at[strings.LastIndex(at, "/")+1:]
	if m.values != nil {
		what += " " + v.(string) // NotOffered has looked
	}

	return Errorf(Invalid, CodeNotOfferedYet, "%s is not offered yet.", what).
		WithRemedy("%s", orElse(m.remedy, "Leave it out; GET /v1/kinds and the OpenAPI document show what is on offer.")).At(at).Finding()
}

// find looks at every value that a path leads to, from v, which stands where done ends. Most bodies have nothing there, and that costs nothing.
func (m missing) find(v any, path string, done int, findings []Finding) []Finding {
	if done == len(path) {
		if value, ok := v.(string); m.values == nil || ok && slices.Contains(m.values, value) {
			findings = append(findings, m.finding(path, v))
		}

		return findings
	}

	end := len(path)
	if i := strings.IndexByte(path[done+1:], '/'); i >= 0 {
		end = done + 1 + i
	}

	switch name := path[done+1 : end]; v := v.(type) {
	case map[string]any:
		if member, ok := v[name]; ok {
			findings = m.find(member, path, end, findings)
		}
	case []any:
		if name != "*" {
			break
		}

		for i, item := range v {
			at := path[:done+1] + strconv.Itoa(i)
			findings = m.find(item, at+path[end:], len(at), findings)
		}
	}

	return findings
}
