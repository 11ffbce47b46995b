package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Kind is a resource kind on offer.
type Kind struct {
	Name      string         `json:"name" doc:"In AWS's words"`
	Doc       string         `json:"doc" doc:"One sentence"`
	Component string         `json:"component" doc:"The member of the spec that its settings come from"`
	Family    string         `json:"family" doc:"The AWS service"`
	Needs     []string       `json:"needs" doc:"Kinds that must be ready first"`
	Many      bool           `json:"many" doc:"A deployment may have several"`
	Settings  map[string]any `json:"settings" doc:"JSON Schema of the component in the spec"`
}

// Kinds is the list of kinds.
type Kinds struct {
	Kinds []Kind `json:"kinds"`
}

type kindsOutput struct{ Body Kinds }

func (s *server) kinds() {
	// The same answer each time, made when somebody first asks: the schemas take longer than the rest of the start.
	out := sync.OnceValue(func() *kindsOutput {
		out := &kindsOutput{Body: Kinds{Kinds: []Kind{}}}

		for _, k := range s.Graphs.Kinds {
			a := k.About()
			out.Body.Kinds = append(out.Body.Kinds, Kind{
				Name: a.Name, Doc: a.Doc, Component: a.Component, Family: a.Family, Needs: append([]string{}, a.Needs...), Many: a.Many, Settings: settings(a.Settings),
			})
		}

		return out
	})

	huma.Register(s.api, s.route(http.MethodGet, "/v1/kinds", "listKinds", "List the resource kinds on offer", deploy.Viewer, 200, 403, 422),
		func(context.Context, *Acting) (*kindsOutput, error) { return out(), nil })
}

// settings is a JSON Schema that stands on its own.
func settings(v any) map[string]any {
	if v == nil {
		return map[string]any{"type": "object", "additionalProperties": false}
	}

	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	root := registry.Schema(reflect.TypeOf(v), true, "Settings")

	for _, schema := range registry.Map() {
		neverNull(schema)
	}

	b, err := json.Marshal(map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": root.Ref, "$defs": registry.Map()})
	if err != nil {
		panic(err) // a wiring mistake: the schema of one of our own structs
	}

	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		panic(err) // likewise
	}

	return schema
}

// neverNull takes back huma's assumption that a Go slice may be null on the wire.
func neverNull(schema *huma.Schema) {
	for _, p := range schema.Properties {
		p.Nullable = false
	}
}
