package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style are files
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsPage string

//go:embed docs.css
var docsStyle string

// The page is rendered here from the very document that /openapi.json serves: no script, nothing from elsewhere.
type page struct {
	Title, Version, About string
	Style                 template.CSS
	Routes                []pageRoute
	Schemas               []pageSchema
	Problems              []entry
}

type pageRoute struct {
	Method, Path, Summary, About string
	Open                         bool
	Parameters                   []pageMember
	Body                         template.HTML
	Responses                    []pageResponse
}

type pageResponse struct {
	Status, About string
	Schema        template.HTML
}

type pageSchema struct {
	Name    string
	Members []pageMember
}

type pageMember struct {
	Name, In string
	Required bool
	Type     template.HTML
	About    string
}

func (s *server) docs(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer

	t, err := template.New("docs").Parse(docsPage)
	if err == nil {
		err = t.Execute(&b, s.page())
	}

	if err != nil {
		s.Log.ErrorContext(r.Context(), "render the page", "error", err)
		s.write(w, r, internal())

		return
	}

	sum := sha256.Sum256([]byte(docsStyle))

	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		base64.StdEncoding.EncodeToString(sum[:])))
	_, _ = w.Write(b.Bytes()) // a caller that left needs no answer
}

func (s *server) page() page {
	doc := s.api.OpenAPI()
	p := page{
		Title: doc.Info.Title, Version: doc.Info.Version, About: doc.Info.Description, Problems: catalogue(),
		Style: template.CSS(docsStyle), //nolint:gosec // our own file
	}

	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]

		for _, m := range []struct {
			method string
			op     *huma.Operation
		}{{http.MethodGet, item.Get}, {http.MethodPost, item.Post}, {http.MethodDelete, item.Delete}} {
			if m.op != nil {
				p.Routes = append(p.Routes, routeView(m.method, path, m.op))
			}
		}
	}

	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		p.Schemas = append(p.Schemas, pageSchema{Name: name, Members: members(schemas[name])})
	}

	return p
}

func routeView(method, path string, op *huma.Operation) pageRoute {
	r := pageRoute{Method: method, Path: path, Summary: op.Summary, About: op.Description, Open: len(op.Security) > 0}

	for _, p := range op.Parameters {
		r.Parameters = append(r.Parameters, pageMember{Name: p.Name, In: p.In, Required: p.Required, Type: typeView(p.Schema), About: p.Description})
	}

	if op.RequestBody != nil {
		r.Body = typeView(op.RequestBody.Content["application/json"].Schema)
	}

	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		response := pageResponse{Status: status, About: op.Responses[status].Description}

		for _, media := range slices.Sorted(maps.Keys(op.Responses[status].Content)) {
			response.Schema = typeView(op.Responses[status].Content[media].Schema)
		}

		r.Responses = append(r.Responses, response)
	}

	return r
}

func members(schema *huma.Schema) []pageMember {
	var list []pageMember

	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		m := schema.Properties[name]
		list = append(list, pageMember{Name: name, Required: slices.Contains(schema.Required, name), Type: typeView(m), About: m.Description})
	}

	return list
}

// typeView says what a value is in a few words, with links to schemas.
func typeView(schema *huma.Schema) template.HTML {
	if schema == nil {
		return ""
	}

	var text string

	switch {
	case schema.Ref != "":
		name := template.HTMLEscapeString(schema.Ref[strings.LastIndexByte(schema.Ref, '/')+1:])
		text = `<a href="#schema-` + name + `">` + name + `</a>`
	case schema.Type == huma.TypeArray:
		text = "array of " + string(typeView(schema.Items))
	case schema.Type == huma.TypeObject:
		text = "object"
		if each, ok := schema.AdditionalProperties.(*huma.Schema); ok {
			text = "map of " + string(typeView(each))
		}
	case schema.Type == "":
		text = "any"
	default:
		text = template.HTMLEscapeString(schema.Type)
	}

	for _, limit := range []struct {
		word  string
		value *float64
	}{{"at least", schema.Minimum}, {"at most", schema.Maximum}} {
		if limit.value != nil {
			text += fmt.Sprintf(", %s %v", limit.word, *limit.value)
		}
	}

	if len(schema.Enum) > 0 {
		var names []string
		for _, e := range schema.Enum {
			names = append(names, "<code>"+template.HTMLEscapeString(fmt.Sprint(e))+"</code>")
		}

		text += ": " + strings.Join(names, " ")
	}

	if schema.Default != nil {
		text += ", default <code>" + template.HTMLEscapeString(fmt.Sprint(schema.Default)) + "</code>"
	}

	return template.HTML(text) //nolint:gosec // every part that is not ours is escaped above
}
