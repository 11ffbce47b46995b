package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Place is where a run took place: it is in every ARN.
type Place struct{ Partition, Region, Account string }

func (p Place) arn(service, resource string) string {
	return "arn:" + p.Partition + ":" + service + ":" + p.Region + ":" + p.Account + ":" + resource
}

func (p Place) iam(resource string) string {
	return "arn:" + p.Partition + ":iam::" + p.Account + ":" + resource
}

// Call is one call that a function made.
type Call struct {
	// Function is the name of the calling function's folder.
	Function string
	// Service and Action are the SDK's names: "batch", "CreateJobQueue".
	Service, Action string
	// Input is the decoded input, with the SDK's member names; their case does not matter.
	Input map[string]any
	// Code is the error code of the answer, empty for success.
	Code string
}

func (c Call) name() string { return c.Service + "." + c.Action }

// Ask is a call and the authorization requests that AWS makes for it. All must be allowed.
type Ask struct {
	Call     Call
	Requests []Request
}

// World is what AWS knows when it authorizes a call: what exists, and what it carries. It follows a run call by call.
//
// A journal holds no answers, so ids that AWS made up are met only when they are used. Whatever is not listed in Existing counts as made by this
// installation and tagged by it: the create that made it was judged, and passes only with our tag in the request.
type World struct {
	Place
	// Ours are the tags that everything we made carries.
	Ours map[string]string
	// Existing holds, by id or name, the tags of what was there before and is not ours.
	Existing map[string]map[string]string

	roles    map[string]role   // by name
	profiles map[string]string // path by name
	holds    map[string]string // role by instance profile
	buckets  map[string]bool
}

type role struct{ path, boundary string }

// NewWorld begins an account in which only what is named exists. Tags of existing buckets may be empty.
func NewWorld(place Place, ours map[string]string, existing map[string]map[string]string) *World {
	return &World{
		Place: place, Ours: ours, Existing: existing,
		roles: map[string]role{}, profiles: map[string]string{}, holds: map[string]string{}, buckets: map[string]bool{},
	}
}

// Asks says for each call, in their order, what AWS asks of the caller's policies. An operation that the table does not know is an error.
func (w *World) Asks(calls []Call) ([]Ask, error) {
	var (
		asks  []Ask
		rules = table()
	)

	for _, c := range calls {
		rule, known := rules[c.name()]
		if !known {
			return nil, fmt.Errorf("the table of authorization requests has no %s: add it", c.name())
		}

		in := input(c.Input)

		requests, err := rule(w, in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name(), err)
		}

		if len(requests) == 0 {
			return nil, fmt.Errorf("%s: no authorization request: the rule did not understand the input %v", c.name(), c.Input)
		}

		asks = append(asks, Ask{Call: c, Requests: requests})

		// An answer that never arrived may have taken effect.
		if c.Code == "" || c.Code == "Unanswered" {
			w.follow(c.name(), in)
		}
	}

	return asks, nil
}

// follow keeps track of what later calls name by less than its ARN.
func (w *World) follow(name string, in input) {
	switch name {
	case "s3.CreateBucket":
		w.buckets[in.text("Bucket")] = true
	case "s3.DeleteBucket":
		delete(w.buckets, in.text("Bucket"))
	case "iam.CreateRole":
		w.roles[in.text("RoleName")] = role{path: slash(in.text("Path")), boundary: in.text("PermissionsBoundary")}
	case "iam.PutRolePermissionsBoundary":
		w.roles[in.text("RoleName")] = role{path: w.roles[in.text("RoleName")].path, boundary: in.text("PermissionsBoundary")}
	case "iam.DeleteRole":
		delete(w.roles, in.text("RoleName"))
	case "iam.CreateInstanceProfile":
		w.profiles[in.text("InstanceProfileName")] = slash(in.text("Path"))
	case "iam.DeleteInstanceProfile":
		delete(w.profiles, in.text("InstanceProfileName"))
	case "iam.AddRoleToInstanceProfile":
		w.holds[in.text("InstanceProfileName")] = in.text("RoleName")
	}
}

func slash(path string) string {
	if path == "" {
		return "/"
	}

	return path
}

// tagsOf are the tags of something that exists.
func (w *World) tagsOf(id string) map[string]string {
	if tags, ok := w.Existing[id]; ok {
		return tags
	}

	return w.Ours
}

// rule says which requests AWS makes for one operation.
//
// The source of all of them is the Service Authorization Reference (https://docs.aws.amazon.com/service-authorization/latest/reference/), "Actions defined
// by ..." of the service: a resource type with an asterisk is always asked for, one without if the call names it; "dependent actions" are asked for too.
type rule func(w *World, in input) ([]Request, error)

func table() map[string]rule {
	all := map[string]rule{}
	for _, part := range []map[string]rule{s3Rules(), iamRules(), ec2Rules(), batchRules(), otherRules()} {
		maps.Copy(all, part)
	}

	return all
}

// Known lists the operations of the table, as "service.Operation".
func Known() []string { return slices.Sorted(maps.Keys(table())) }

// anywhere is the rule of an action without resource-level permissions.
func anywhere(action string) rule {
	return func(*World, input) ([]Request, error) { return []Request{{Action: action, Resource: "*"}}, nil }
}

// with joins contexts.
func with(contexts ...Context) Context {
	all := Context{}
	for _, c := range contexts {
		maps.Copy(all, c)
	}

	return all
}

// requestTags are the condition keys of tags that a call carries. IAM User Guide, "Controlling access during AWS requests".
func requestTags(tags map[string]string) Context {
	c := Context{}
	for k, v := range tags {
		c["aws:RequestTag/"+k] = []string{v}
	}

	if len(tags) > 0 {
		c["aws:TagKeys"] = slices.Sorted(maps.Keys(tags))
	}

	return c
}

// resourceTags are the condition keys of tags that a resource has.
func resourceTags(tags map[string]string) Context {
	c := Context{}
	for k, v := range tags {
		c["aws:ResourceTag/"+k] = []string{v}
	}

	return c
}

// Input turns the SDK's input structure into what a Call holds.
func Input(sdk any) (map[string]any, error) {
	data, err := json.Marshal(sdk)
	if err != nil {
		return nil, fmt.Errorf("read a call's input: %w", err)
	}

	var in map[string]any
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("read a call's input: %w", err)
	}

	return in, nil
}

// input reads members whatever the case of their names: the SDK for Go begins them with a capital letter, the services' models not always.
type input map[string]any

func (in input) get(name string) any {
	for k, v := range in {
		if strings.EqualFold(k, name) {
			return v
		}
	}

	return nil
}

func (in input) text(name string) string {
	s, _ := in.get(name).(string)

	return s
}

func (in input) sub(name string) input {
	m, _ := in.get(name).(map[string]any)

	return m
}

func (in input) texts(name string) []string {
	var list []string

	items, _ := in.get(name).([]any)
	for _, item := range items {
		if s, ok := item.(string); ok {
			list = append(list, s)
		}
	}

	return list
}

func (in input) each(name string) []input {
	var list []input

	items, _ := in.get(name).([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			list = append(list, m)
		}
	}

	return list
}

// tagList reads the member Tags, written as a list of Key and Value.
func (in input) tagList() map[string]string {
	tags := map[string]string{}
	for _, t := range in.each("Tags") {
		tags[t.text("Key")] = t.text("Value")
	}

	return tags
}

// tagMap reads tags written as an object.
func (in input) tagMap() map[string]string {
	tags := map[string]string{}

	for k, v := range in.sub("tags") {
		if s, ok := v.(string); ok {
			tags[k] = s
		}
	}

	return tags
}
