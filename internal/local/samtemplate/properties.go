package samtemplate

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"
)

// Resources lists the logical ids of a type, in the order of the file. An empty type lists all.
func (t *Template) Resources(typ string) []string {
	return slices.DeleteFunc(slices.Clone(t.names), func(id string) bool { return typ != "" && t.types[id] != typ })
}

// Type is the type of a resource, empty if there is none of that logical id.
func (t *Template) Type(id string) string { return t.types[id] }

// Properties resolves every property of one resource, also those that nothing here acts on. Globals are not merged in.
func (t *Template) Properties(in Inputs, id string) (map[string]any, error) {
	if t.types[id] == "" {
		return nil, fmt.Errorf("the template has nothing named %s", id)
	}
	return t.resolve(in, child(t.bodies[id], "Properties"), "Resources."+id+".Properties")
}

// Globals resolves the Globals for a sort of resource: "Function".
func (t *Template) Globals(in Inputs, sort string) (map[string]any, error) {
	return t.resolve(in, child(t.globals, sort), "Globals."+sort)
}

func (t *Template) resolve(in Inputs, n *yaml.Node, place string) (map[string]any, error) {
	if n == nil {
		return map[string]any{}, nil
	}
	s := &scope{t: t, in: in, parameters: map[string]any{}}
	if err := s.readParameters(&Stack{Parameters: map[string]string{}}); err != nil {
		return nil, err
	}
	v, err := s.eval(n, place)
	if err := errors.Join(append(s.errs, err)...); err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is no mapping", place)
	}
	return m, nil
}
