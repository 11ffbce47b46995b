package cfnresource

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// request is what a valid event asks for.
type request struct {
	Name   string            `json:"name,omitempty"`
	Spec   deploy.Spec       `json:"spec,omitzero"` // with defaults filled in
	Labels map[string]string `json:"labels,omitempty"`
	TTL    time.Duration     `json:"ttl,omitempty"`
	Verify bool              `json:"verify,omitempty"`
	Data   deploy.Data       `json:"data,omitempty"`
	// Was is the physical id that the resource has.
	Was string `json:"was,omitempty"`
	// Timeout is how long CloudFormation waits.
	Timeout time.Duration `json:"timeout"`
}

// properties are those of a Custom::MetaflowEnvironment. Tags are the ones that the API's schema is made of.
type properties struct {
	ServiceToken   string            `json:"ServiceToken,omitempty"`
	ServiceTimeout int               `json:"ServiceTimeout,omitempty" minimum:"300" maximum:"3600"`
	Name           string            `json:"Name"`
	Spec           deploy.Spec       `json:"Spec,omitzero"`
	Labels         map[string]string `json:"Labels,omitempty"`
	TTL            string            `json:"Ttl,omitempty"`
	Verify         bool              `json:"Verify,omitempty"`
	Data           deploy.Data       `json:"Data,omitempty" enum:"keep,purge"`
}

const (
	// maxDepth is that of a body of the API.
	maxDepth = 10
	// maxName is how much of the name of an unknown property is shown.
	maxName = 64
)

// read turns properties into a request, or says everything that is wrong with them.
func (r *Resource) read(e Event) (request, []deploy.Finding) {
	place := r.Control.Place

	if deep(e.ResourceProperties, maxDepth) {
		return request{}, []deploy.Finding{invalid("", "The properties are nested deeper than %d levels.", maxDepth)}
	}

	if findings := deploy.NotOffered(map[string]any{"spec": e.ResourceProperties["Spec"]}); len(findings) > 0 {
		return request{}, ofTemplate(findings)
	}

	t := &typer{}
	typed := t.value("", reflect.TypeFor[properties](), "", e.ResourceProperties)

	if len(t.findings) > 0 {
		return request{}, t.findings
	}

	text, err := json.Marshal(typed)
	if err != nil {
		return request{}, []deploy.Finding{invalid("", "The properties cannot be read.")}
	}

	var p properties
	if err := json.Unmarshal(text, &p); err != nil {
		return request{}, []deploy.Finding{invalid("", "The properties cannot be read.")}
	}

	findings := deploy.Validate(deploy.Place{Partition: place.Partition, Account: place.Account, Region: place.Region}, p.Name, p.Spec, p.Labels)
	req := request{
		Name: p.Name, Spec: p.Spec.WithDefaults(), Labels: p.Labels, Verify: p.Verify, Data: p.Data, Was: e.PhysicalResourceID, Timeout: patience,
	}

	if p.TTL != "" {
		if req.TTL, err = deploy.ParseTTL(p.TTL); err != nil {
			findings = append(findings, deploy.AsError(err).Finding())
		}
	}

	if p.ServiceTimeout > 0 {
		req.Timeout = time.Duration(p.ServiceTimeout) * time.Second
	}

	return req, ofTemplate(findings)
}

// readDelete takes what a delete needs to know. Whatever else stands in the properties must not keep the stack from going.
func (r *Resource) readDelete(e Event) request {
	req := request{Was: e.PhysicalResourceID, Data: deploy.Keep, Timeout: patience}

	if e.ResourceProperties["Data"] == string(deploy.Purge) {
		req.Data = deploy.Purge
	}

	if seconds, err := strconv.Atoi(fmt.Sprint(e.ResourceProperties["ServiceTimeout"])); err == nil && seconds > 0 {
		req.Timeout = min(time.Duration(seconds)*time.Second, patience)
	}

	return req
}

func deep(v any, left int) bool {
	switch v := v.(type) {
	case map[string]any:
		return left == 0 || slices.ContainsFunc(slices.Collect(maps.Values(v)), func(item any) bool { return deep(item, left-1) })
	case []any:
		return left == 0 || slices.ContainsFunc(v, func(item any) bool { return deep(item, left-1) })
	}

	return false
}

func invalid(at, format string, args ...any) deploy.Finding {
	return deploy.Errorf(deploy.Invalid, "invalid_value", format, args...).
		WithRemedy("docs/custom-resource.md lists the properties; the members of Spec are those of the API.").At(at).Finding()
}

// typer gives values the types of a Go type: CloudFormation sends every scalar as a string. It heeds the struct tags that the API's schema is made of.
type typer struct{ findings []deploy.Finding }

func (t *typer) refuse(at, format string, args ...any) any {
	t.findings = append(t.findings, invalid(at, format, args...))

	return nil
}

func (t *typer) value(at string, want reflect.Type, tag reflect.StructTag, v any) any {
	switch want.Kind() {
	case reflect.Pointer:
		return t.value(at, want.Elem(), tag, v)
	case reflect.Struct:
		object, ok := v.(map[string]any)
		if !ok {
			return t.refuse(at, "A mapping belongs here.")
		}

		return t.object(at, want, object)
	case reflect.Map:
		object, ok := v.(map[string]any)
		if !ok {
			return t.refuse(at, "A mapping belongs here.")
		}

		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			out[name] = t.value(at+"/"+escape(name), want.Elem(), "", object[name])
		}

		return out
	case reflect.Slice:
		return t.list(at, want, tag, v)
	case reflect.Bool:
		switch fmt.Sprint(v) {
		case "true":
			return true
		case "false":
			return false
		}

		return t.refuse(at, "true or false belongs here.")
	case reflect.Int:
		return t.number(at, tag, v)
	default:
		return t.text(at, tag, v)
	}
}

func (t *typer) object(at string, want reflect.Type, object map[string]any) any {
	out, known := map[string]any{}, []string{}

	for i := range want.NumField() {
		field := want.Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")
		known = append(known, name)

		v, given := object[name]

		switch here := at + "/" + escape(name); {
		case given && v == "":
			t.refuse(here, "%s must not be empty; leave it out for the default.", name)
		case given:
			out[name] = t.value(here, field.Type, field.Tag, v)
		case option == "":
			t.refuse(here, "%s is missing.", name)
		}
	}

	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(known, name) {
			shown := deploy.Scrub(name)
			if len(shown) > maxName {
				shown = strings.ToValidUTF8(shown[:maxName], "") + "…"
			}

			t.refuse(at+"/"+escape(shown), "There is no such property; known here are %s.", strings.Join(known, ", "))
		}
	}

	return out
}

func (t *typer) list(at string, want reflect.Type, tag reflect.StructTag, v any) any {
	list, ok := v.([]any)
	if !ok {
		return t.refuse(at, "A list belongs here.")
	}

	if least := tag.Get("minItems"); least != "" && float64(len(list)) < bound(least) {
		return t.refuse(at, "At least %s belong here.", least)
	}

	if most := tag.Get("maxItems"); most != "" && float64(len(list)) > bound(most) {
		return t.refuse(at, "At most %s belong here; there are %d.", most, len(list))
	}

	out := make([]any, len(list))
	for i, item := range list {
		out[i] = t.value(at+"/"+strconv.Itoa(i), want.Elem(), "", item)
	}

	return out
}

func (t *typer) number(at string, tag reflect.StructTag, v any) any {
	text, ok := v.(string)
	if f, is := v.(float64); is && f == math.Trunc(f) {
		text, ok = strconv.FormatFloat(f, 'f', -1, 64), true
	}

	n, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil || strconv.FormatInt(n, 10) != text {
		return t.refuse(at, "A whole number belongs here, written without sign, fraction and exponent.")
	}

	if least := tag.Get("minimum"); least != "" && float64(n) < bound(least) {
		return t.refuse(at, "The number must be at least %s.", least)
	}

	if most := tag.Get("maximum"); most != "" && float64(n) > bound(most) {
		return t.refuse(at, "The number must be at most %s.", most)
	}

	return n
}

func (t *typer) text(at string, tag reflect.StructTag, v any) any {
	var text string

	switch v := v.(type) {
	case string:
		text = v
	case bool, float64: // of an emulator; CloudFormation itself has made a string of it
		text = fmt.Sprint(v)
	default:
		return t.refuse(at, "A string belongs here.")
	}

	if names := tag.Get("enum"); names != "" && !slices.Contains(strings.Split(names, ","), text) {
		return t.refuse(at, "One of these belongs here: %s.", strings.ReplaceAll(names, ",", ", "))
	}

	return text
}

// bound reads a number from one of our own struct tags.
func bound(text string) float64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("a struct tag is no number: " + text)
	}

	return f
}

// escape makes a member's name a segment of a JSON pointer (RFC 6901).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
