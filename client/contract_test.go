package client_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/client"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/door"
)

// TestEveryMemberIsKnown compares the client's nouns with the schemas that the API serves: what the API may answer or take must have a place here.
func TestEveryMemberIsKnown(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, _ *client.Client) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, door.URL+"/openapi.json", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}

		res, err := d.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()

		var doc struct {
			Components struct {
				Schemas map[string]struct {
					Properties map[string]struct {
						Type any
					}
				}
			}
		}

		if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
			t.Fatal(err)
		}

		for _, noun := range []any{
			client.Deployment{},
			client.Count{},
			client.Operation{},
			client.Progress{},
			client.Step{},
			client.Resource{},
			client.Problem{},
			client.Fault{},
			client.Kind{},
			client.Orphan{},
			client.Spec{},
			client.Storage{},
			client.ExistingBucket{},
			client.Network{},
			client.ExistingNetwork{},
			client.Access{},
			client.ExistingAccess{},
			client.Compute{},
			client.Environment{},
			client.Queue{},
			client.ExistingQueue{},
		} {
			typ := reflect.TypeOf(noun)

			schema, ok := doc.Components.Schemas[typ.Name()]
			if !ok {
				t.Errorf("the API has no schema %s", typ.Name())
			}

			known := map[string]string{}
			for f := range typ.Fields() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				known[name] = jsonType(f.Type)
			}

			for name, p := range schema.Properties {
				if name == "$schema" {
					continue
				}

				if have, ok := known[name]; !ok || p.Type != nil && have != "" && p.Type != have {
					t.Errorf("%s.%s is %v in the API and %q in the client", typ.Name(), name, p.Type, have)
				}
			}
		}

		created := doc.Components.Schemas["CreateDeployment"].Properties
		for name := range created {
			if !slices.Contains([]string{"name", "spec", "labels", "ttl", "verify"}, name) {
				t.Errorf("a create takes %s, which CreateRequest lacks", name)
			}
		}
	})
}

func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonType(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		return "array"
	case reflect.Map:
		return "object"
	case reflect.Struct:
		if t.String() == "time.Time" {
			return "string"
		}

		return "object"
	case reflect.Int, reflect.Int64:
		return "integer"
	default:
		return ""
	}
}
