package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	c := &checker{registry: s.api.OpenAPI().Components.Schemas}
	c.value("", schema, v)

	return c.findings
}

type checker struct {
	registry huma.Registry
	findings []deploy.Finding
}

func (c *checker) refuse(at, code, format string, args ...any) {
	c.findings = append(c.findings, deploy.Errorf(deploy.Invalid, code, format, args...).
		WithRemedy("GET /openapi.json says what the request takes.").At(at).Finding())
}

func (c *checker) value(at string, schema *huma.Schema, v any) {
	if schema.Ref != "" {
		schema = c.registry.SchemaFromRef(schema.Ref)
	}

	switch schema.Type {
	case huma.TypeObject:
		object, ok := v.(map[string]any)
		if !ok {
			c.refuse(at, "invalid_value", "An object belongs here.")

			return
		}

		c.object(at, schema, object)
	case huma.TypeArray:
		list, ok := v.([]any)
		if !ok {
			c.refuse(at, "invalid_value", "An array belongs here.")

			return
		}

		c.array(at, schema, list)
	case huma.TypeString:
		text, ok := v.(string)
		if !ok {
			c.refuse(at, "invalid_value", "A string belongs here.")

			return
		}

		c.text(at, schema, text)
	case huma.TypeInteger:
		c.integer(at, schema, v)
	case huma.TypeBoolean:
		if _, ok := v.(bool); !ok {
			c.refuse(at, "invalid_value", "true or false belongs here.")
		}
	}
}

func (c *checker) object(at string, schema *huma.Schema, object map[string]any) {
	for _, name := range schema.Required {
		if object[name] == nil {
			c.refuse(at+"/"+escape(name), "missing_member", "The member %s is missing.", name)
		}
	}

	each, _ := schema.AdditionalProperties.(*huma.Schema)

	for _, name := range slices.Sorted(maps.Keys(object)) {
		here := at + "/" + escape(name)

		switch member := schema.Properties[name]; {
		case member != nil && object[name] == nil: // null: left out, or reported as missing above
		case member != nil && object[name] == "":
			if slices.Contains(schema.Required, name) {
				c.refuse(here, "invalid_value", "%s must not be empty.", name)
			} else {
				c.refuse(here, "invalid_value", "%s must not be empty; leave it out for the default.", name)
			}
		case member != nil:
			c.value(here, member, object[name])
		case each != nil:
			c.value(here, each, object[name])
		default:
			c.refuse(here, "unknown_member", "There is no member %s here.", deploy.Scrub(name))
		}
	}
}

func (c *checker) array(at string, schema *huma.Schema, list []any) {
	if schema.MinItems != nil && len(list) < *schema.MinItems {
		c.refuse(at, "invalid_value", "At least %d belong here.", *schema.MinItems)
	}

	if schema.MaxItems != nil && len(list) > *schema.MaxItems {
		c.refuse(at, "invalid_value", "At most %d belong here; there are %d.", *schema.MaxItems, len(list))

		return
	}

	for i, item := range list {
		c.value(fmt.Sprintf("%s/%d", at, i), schema.Items, item)
	}
}

func (c *checker) text(at string, schema *huma.Schema, text string) {
	if schema.MaxLength != nil && utf8.RuneCountInString(text) > *schema.MaxLength {
		c.refuse(at, "invalid_value", "At most %d characters belong here.", *schema.MaxLength)
	}

	if len(schema.Enum) > 0 && !slices.Contains(schema.Enum, any(text)) {
		var names []string
		for _, e := range schema.Enum {
			names = append(names, fmt.Sprint(e))
		}

		c.refuse(at, "invalid_value", "One of these belongs here: %s.", strings.Join(names, ", "))
	}
}

func (c *checker) integer(at string, schema *huma.Schema, v any) {
	number, ok := v.(json.Number)
	if !ok {
		c.refuse(at, "invalid_value", "A whole number belongs here.")

		return
	}

	// Beyond what fits into 32 bits it is too large or too small, whatever the limits are.
	n, err := strconv.ParseInt(number.String(), 10, 32)
	if err != nil && (!errors.Is(err, strconv.ErrRange) || schema.Minimum == nil || schema.Maximum == nil) {
		c.refuse(at, "invalid_value", "A whole number belongs here, written without fraction and exponent.")

		return
	}

	if schema.Minimum != nil && float64(n) < *schema.Minimum {
		c.refuse(at, "invalid_value", "The number must be at least %v.", *schema.Minimum)
	}

	if schema.Maximum != nil && float64(n) > *schema.Maximum {
		c.refuse(at, "invalid_value", "The number must be at most %v.", *schema.Maximum)
	}
}

// escape makes a member's name a segment of a JSON pointer (RFC 6901).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
