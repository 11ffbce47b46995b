package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// check says everything about a value that does not fit a schema of the document: the same schema that callers see. It knows the keywords that huma
// derives from our struct tags. Members are compared exactly, null counts as left out where a member may be left out, and the order is stable.
func (s *server) check(schema *huma.Schema, v any) []deploy.Finding {
	c := &checker{registry: s.api.OpenAPI().Components.Schemas, region: s.Place.Region}
	c.value("", schema, v)

	return c.findings
}

type checker struct {
	registry huma.Registry
	region   string
	findings []deploy.Finding
}

// asDocumented is the remedy where nothing better can be said.
const asDocumented = "GET /openapi.json says what the request takes."

func (c *checker) refuse(at, code, remedy, format string, args ...any) {
	c.findings = append(c.findings, deploy.Errorf(deploy.Invalid, code, format, args...).WithRemedy("%s", remedy).At(at).Finding())
}

// resolve follows a reference; nil stays nil.
func (c *checker) resolve(schema *huma.Schema) *huma.Schema {
	if schema != nil && schema.Ref != "" {
		return c.registry.SchemaFromRef(schema.Ref)
	}

	return schema
}

func (c *checker) value(at string, schema *huma.Schema, v any) {
	schema = c.resolve(schema)

	switch schema.Type {
	case huma.TypeObject:
		object, ok := v.(map[string]any)
		if !ok {
			c.refuse(at, "invalid_value", asDocumented, "An object belongs here, not %s.", given(v))

			return
		}

		c.object(at, schema, object)
	case huma.TypeArray:
		list, ok := v.([]any)
		if !ok {
			c.refuse(at, "invalid_value", listed(schema, v), "An array belongs here, not %s.", given(v))

			return
		}

		c.array(at, schema, list)
	case huma.TypeString:
		text, ok := v.(string)
		if !ok {
			c.refuse(at, "invalid_value", quoted(v), "A string belongs here, not %s.", given(v))

			return
		}

		c.text(at, schema, text)
	case huma.TypeInteger:
		c.integer(at, schema, v)
	case huma.TypeBoolean:
		if _, ok := v.(bool); !ok {
			c.refuse(at, "invalid_value", "Write true or false, without quotes.", "true or false belongs here, not %s.", given(v))
		}
	}
}

// given says what sort of value a caller wrote.
func given(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "true or false"
	}

	return "null"
}

// listed is the remedy for one string where a list of them belongs.
func listed(schema *huma.Schema, v any) string {
	if text, ok := v.(string); ok && schema.Items.Type == huma.TypeString {
		return fmt.Sprintf("Write it in brackets: [%q].", deploy.Scrub(text))
	}

	return asDocumented
}

// quoted is the remedy for a bare value where a string belongs.
func quoted(v any) string {
	switch v.(type) {
	case json.Number, bool:
		return fmt.Sprintf("Write it in quotes: \"%v\".", v)
	}

	return asDocumented
}

func (c *checker) object(at string, schema *huma.Schema, object map[string]any) {
	for _, name := range schema.Required {
		if object[name] == nil {
			c.refuse(at+"/"+escape(name), "missing_member", asDocumented, "The member %s is missing.", name)
		}
	}

	each, _ := schema.AdditionalProperties.(*huma.Schema)

	for _, name := range slices.Sorted(maps.Keys(object)) {
		here := at + "/" + escape(name)

		switch member := schema.Properties[name]; {
		case member != nil && object[name] == nil: // null: left out, or reported as missing above
		case member != nil && object[name] == "":
			if slices.Contains(schema.Required, name) {
				c.refuse(here, "invalid_value", asDocumented, "%s must not be empty.", name)
			} else {
				c.refuse(here, "invalid_value", asDocumented, "%s must not be empty; leave it out for the default.", name)
			}
		case member != nil:
			c.value(here, member, object[name])
		case each != nil:
			c.value(here, each, object[name])
		default:
			c.refuse(here, "unknown_member", c.instead(at, schema, name), "There is no member %s here.", deploy.Scrub(name))
		}
	}
}

// instead is the remedy for a member that there is not.
func (c *checker) instead(at string, schema *huma.Schema, name string) string {
	var inSpec, shown map[string]*huma.Schema

	if spec := c.resolve(schema.Properties["spec"]); spec != nil { // a request for a deployment
		inSpec, shown = spec.Properties, c.registry.Map()["Deployment"].Properties
	}

	members := slices.Sorted(maps.Keys(schema.Properties))
	meant, meantInSpec := nearest(name, members), nearest(name, slices.Sorted(maps.Keys(inSpec)))

	switch {
	case strings.EqualFold(name, "region") && (inSpec != nil || at == "/spec"):
		return fmt.Sprintf("Leave it out: this installation works in one Region, %s.", c.region)
	case inSpec[name] != nil:
		return fmt.Sprintf("Write %s under spec.", name)
	case shown[name] != nil:
		return fmt.Sprintf("A deployment as GET answers it holds more than this request takes: send only %s.", joined(members))
	case meant != "":
		return fmt.Sprintf("Did you mean %s?", meant)
	case meantInSpec != "":
		return fmt.Sprintf("Did you mean %s? Write it under spec.", meantInSpec)
	}

	return fmt.Sprintf("Members here are: %s.", joined(members))
}

// joined joins names as a sentence does.
func joined(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}

	return strings.Join(names[:last], ", ") + " and " + names[last]
}

const maxNear = 64

// nearest is the name that is most likely meant by what somebody wrote, empty if none is near: in another case, with a few other letters, or a part of it.
func nearest(wrote string, names []string) string {
	best, least := "", math.MaxInt
	low := strings.ToLower(wrote)

	for _, name := range names {
		other := strings.ToLower(name)
		short, long := min(len(low), len(other)), max(len(low), len(other))

		if long > maxNear { // nobody types so much by mistake, and it would take long
			continue
		}

		away := distance(low, other)
		part := short >= 3 && (strings.Contains(low, other) || strings.Contains(other, low))

		if (part || away*3 <= long) && away < least {
			best, least = name, away
		}
	}

	return best
}

// distance counts the letters to insert, delete and replace on the way from one text to another (Levenshtein).
func distance(from, to string) int {
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}

	for i := range len(from) {
		before := row[0] // of the row above, one to the left
		row[0] = i + 1

		for j := range len(to) {
			replaced := before
			if from[i] != to[j] {
				replaced++
			}

			before = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}

	return row[len(to)]
}

func (c *checker) array(at string, schema *huma.Schema, list []any) {
	if schema.MinItems != nil && len(list) < *schema.MinItems {
		c.refuse(at, "invalid_value", asDocumented, "At least %d belong here.", *schema.MinItems)
	}

	if schema.MaxItems != nil && len(list) > *schema.MaxItems {
		c.refuse(at, "invalid_value", asDocumented, "At most %d belong here; there are %d.", *schema.MaxItems, len(list))

		return
	}

	for i, item := range list {
		c.value(fmt.Sprintf("%s/%d", at, i), schema.Items, item)
	}
}

func (c *checker) text(at string, schema *huma.Schema, text string) {
	if schema.MaxLength != nil && utf8.RuneCountInString(text) > *schema.MaxLength {
		c.refuse(at, "invalid_value", asDocumented, "At most %d characters belong here.", *schema.MaxLength)
	}

	if len(schema.Enum) > 0 && !slices.Contains(schema.Enum, any(text)) {
		detail, remedy := oneOf(schema.Enum, text)
		c.refuse(at, "invalid_value", remedy, "%s", detail)
	}
}

// oneOf says what there is to choose from, and what is most likely meant.
func oneOf(enum []any, wrote string) (detail, remedy string) {
	var names []string
	for _, e := range enum {
		names = append(names, fmt.Sprint(e))
	}

	detail, remedy = fmt.Sprintf("One of these belongs here: %s.", strings.Join(names, ", ")), "Write one of them."
	if meant := nearest(wrote, names); meant != "" {
		remedy = fmt.Sprintf("Did you mean %s?", meant)
	}

	return detail, remedy
}

func (c *checker) integer(at string, schema *huma.Schema, v any) {
	number, ok := v.(json.Number)
	if !ok {
		remedy := asDocumented

		text, _ := v.(string)
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			remedy = fmt.Sprintf("Write %d without quotes.", n)
		}

		c.refuse(at, "invalid_value", remedy, "A whole number belongs here, not %s.", given(v))

		return
	}

	// Beyond what fits into 32 bits it is too large or too small, whatever the limits are.
	n, err := strconv.ParseInt(number.String(), 10, 32)
	if err != nil && (!errors.Is(err, strconv.ErrRange) || schema.Minimum == nil || schema.Maximum == nil) {
		c.refuse(at, "invalid_value", asDocumented, "A whole number belongs here, written without fraction and exponent.")

		return
	}

	if schema.Minimum != nil && float64(n) < *schema.Minimum {
		c.refuse(at, "invalid_value", asDocumented, "The number must be at least %v.", *schema.Minimum)
	}

	if schema.Maximum != nil && float64(n) > *schema.Maximum {
		c.refuse(at, "invalid_value", asDocumented, "The number must be at most %v.", *schema.Maximum)
	}
}

// escape makes a member's name a segment of a JSON pointer (RFC 6901).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
