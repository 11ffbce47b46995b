package awsmodel

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Validate holds a decoded input against the model and gives every breach, in a stable order: required members that are missing, members the model does not
// know, values of another type, outside an enum, a pattern, a length or a range. A nil result means that the SDK's own checks and the service's front end would
// let the input pass; what the service knows beyond its model is not looked at.
//
// Patterns that Go's regular expressions cannot express (look-around) are passed over.
func Validate(op *Operation, input map[string]any) []error {
	if op.Input == nil {
		if len(input) > 0 {
			return []error{fmt.Errorf("%s takes no input", op.Name)}
		}

		return nil
	}

	v := &validator{}
	v.structure(op.Input, op.Name, input)

	return v.errs
}

type validator struct{ errs []error }

func (v *validator) add(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf(format, args...))
}

func (v *validator) structure(sh *Shape, path string, in map[string]any) {
	for _, name := range sh.Required {
		if m := sh.Members[name]; m != nil && m.Streaming {
			continue
		}

		if in[name] == nil {
			v.add("%s.%s is required", path, name)
		}
	}

	for _, name := range slices.Sorted(maps.Keys(in)) {
		m := sh.Members[name]
		if m == nil {
			v.add("%s.%s is not a member of %s", path, name, sh.Name)

			continue
		}

		v.value(m.Shape, path+"."+name, in[name])
	}
}

func (v *validator) value(sh *Shape, path string, in any) {
	if sh.Document {
		return
	}

	switch sh.Type {
	case "structure":
		if object, ok := in.(map[string]any); ok {
			v.structure(sh, path, object)

			return
		}
	case "map":
		if object, ok := in.(map[string]any); ok {
			v.size(sh, path, len(object), "entries")

			for _, key := range slices.Sorted(maps.Keys(object)) {
				v.text(sh.Key.Shape, path+" key", key)
				v.value(sh.Value.Shape, path+"."+key, object[key])
			}

			return
		}
	case "list":
		if list, ok := in.([]any); ok {
			v.size(sh, path, len(list), "items")

			for i, item := range list {
				v.value(sh.Element.Shape, fmt.Sprintf("%s[%d]", path, i), item)
			}

			return
		}
	case "boolean":
		if _, ok := in.(bool); ok {
			return
		}
	case "integer", "long", "float", "double":
		if f, ok := asFloat(in); ok {
			v.amount(sh, path, f)

			return
		}
	case "string":
		if text, ok := in.(string); ok {
			v.text(sh, path, text)

			return
		}
	default: // timestamp, blob: text of its own form
		if _, ok := in.(string); ok {
			return
		}
	}

	v.add("%s is not a %s", path, sh.Type)
}

func asFloat(in any) (float64, bool) {
	switch n := in.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	default:
		return 0, false
	}
}

func (v *validator) text(sh *Shape, path, text string) {
	v.size(sh, path, utf8.RuneCountInString(text), "characters")

	if len(sh.Enum) > 0 && !slices.Contains(sh.Enum, text) {
		v.add("%s is %q, not one of %s", path, text, strings.Join(sh.Enum, ", "))
	}

	if sh.Pattern == "" {
		return
	}

	re, err := regexp.Compile("^(?:" + unicodeEscape().ReplaceAllString(sh.Pattern, `\x{$1}`) + ")$")
	if err == nil && !re.MatchString(text) {
		v.add("%s does not match %s", path, sh.Pattern)
	}
}

func (v *validator) size(sh *Shape, path string, n int, what string) {
	if sh.Min != nil && float64(n) < *sh.Min {
		v.add("%s has %d %s, at least %v are needed", path, n, what, *sh.Min)
	}

	if sh.Max != nil && float64(n) > *sh.Max {
		v.add("%s has %d %s, at most %v are allowed", path, n, what, *sh.Max)
	}
}

func (v *validator) amount(sh *Shape, path string, f float64) {
	if sh.Min != nil && f < *sh.Min {
		v.add("%s is %v, less than %v", path, f, *sh.Min)
	}

	if sh.Max != nil && f > *sh.Max {
		v.add("%s is %v, more than %v", path, f, *sh.Max)
	}
}

// unicodeEscape finds the models' way to write a code point, which Go writes otherwise.
func unicodeEscape() *regexp.Regexp { return regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`) }
