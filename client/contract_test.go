package client_test

import (
	"encoding/json"
	"net/http"
	"reflect"
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

		plans := []any{client.Plan{}, client.PlannedStep{}, client.PlannedResource{}, client.Cost{}, client.CostLine{}, client.QuotaUse{}, client.Finding{}}
		nouns := []any{
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
			client.Entry{},
			client.Webhook{},
			client.Grant{},
			client.Drift{},
			client.ResourceDrift{},
			client.Difference{},
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
		}

		if _, ok := doc.Components.Schemas["Plan"]; ok {
			nouns = append(nouns, plans...)
		} else {
			t.Log("this API does not plan")
		}

		for _, noun := range nouns {
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

		for body, request := range map[string]any{"CreateDeployment": client.CreateRequest{}, "UpdateDeployment": client.UpdateRequest{}} {
			known := map[string]bool{}

			for f := range reflect.TypeOf(request).Fields() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				known[name] = true
			}

			if len(doc.Components.Schemas[body].Properties) == 0 {
				t.Errorf("the API has no schema %s", body)
			}

			for name := range doc.Components.Schemas[body].Properties {
				if !known[name] {
					t.Errorf("%s takes %s, which the client does not", body, name)
				}
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
	case reflect.Float64:
		return "number"
	default:
		return ""
	}
}
