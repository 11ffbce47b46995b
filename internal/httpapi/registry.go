package httpapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const schemasPrefix = "#/components/schemas/"

// registry puts off the schemas of structs until somebody asks for one: a body that has to be checked, or the document. While routes are registered it only
// notes their types, because most of a start went into schemas that no GET looks at.
type registry struct {
	huma.Registry
	types map[string]reflect.Type
	once  sync.Once
}

func newRegistry() *registry {
	return &registry{Registry: huma.NewMapRegistry(schemasPrefix, huma.DefaultSchemaNamer), types: map[string]reflect.Type{}}
}

// Schema refers to the schema of a struct, and makes any other.
func (r *registry) Schema(t reflect.Type, allowRef bool, hint string) *huma.Schema {
	noted := t
	if noted.Kind() == reflect.Pointer {
		noted = noted.Elem()
	}

	if !allowRef || noted.Kind() != reflect.Struct || noted == reflect.TypeFor[time.Time]() {
		return r.Registry.Schema(t, allowRef, hint)
	}

	name := huma.DefaultSchemaNamer(noted, hint)
	if other, ok := r.types[name]; ok && other != noted {
		panic(fmt.Sprintf("%v and %v have one name in the document", noted, other)) // a wiring mistake
	}

	r.types[name] = noted

	return &huma.Schema{Ref: schemasPrefix + name}
}

// SchemaFromRef is the schema that a reference leads to.
func (r *registry) SchemaFromRef(ref string) *huma.Schema {
	return r.Map()[strings.TrimPrefix(ref, schemasPrefix)]
}

// Map makes all schemas, the first time. Nothing changes them from then on.
func (r *registry) Map() map[string]*huma.Schema {
	r.once.Do(func() {
		delete(r.types, "ErrorModel") // huma's own; a Problem stands in its place

		for name, t := range r.types {
			r.Registry.Schema(t, true, name)
		}

		for _, schema := range r.Registry.Map() {
			neverNull(schema)
		}
	})

	return r.Registry.Map()
}

// MarshalJSON writes all schemas.
func (r *registry) MarshalJSON() ([]byte, error) { return json.Marshal(r.Map()) }
