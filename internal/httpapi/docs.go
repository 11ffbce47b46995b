package httpapi

import (
	"crypto/sha256"
	_ "embed" // the style is a file
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.css
var docsStyle string

// The page is rendered here from the very document that /openapi.json serves: no script, nothing from elsewhere. It is put together by hand: html/template
// calls methods by name, and a program that does that must keep every method of AWS's SDK, which made the function four times as large.
func (s *server) docs(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256([]byte(docsStyle))

	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		base64.StdEncoding.EncodeToString(sum[:])))
	_, _ = w.Write(s.page().For(h, r)) // a caller that left needs no answer
}

// text is a text of the document, safe to stand in HTML.
func text(s string) string { return html.EscapeString(s) }

func (s *server) rendered() string {
	var (
		b   strings.Builder
		doc = s.described()
	)

	out := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	out(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%[1]s API</title>
<style>%[2]s</style>
</head>
<body>
<h1>%[1]s API</h1>
<p>%[3]s</p>
<p>Version %[4]s. The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>
<nav><a href="#routes">Routes</a><a href="#schemas">Schemas</a><a href="#problems">Problems</a></nav>

<h2 id="routes">Routes</h2>`, text(doc.Info.Title), docsStyle, text(doc.Info.Description), text(doc.Info.Version))

	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, m := range methods(doc.Paths[path]) {
			route(out, m.method, path, m.op)
		}
	}

	out(`<h2 id="schemas">Schemas</h2>`)

	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		out(`<h3 id="schema-%[1]s">%[1]s</h3>
<table><tr><th>Member</th><th>Type</th><th></th></tr>`, text(name))

		for _, member := range slices.Sorted(maps.Keys(schemas[name].Properties)) {
			m := schemas[name].Properties[member]
			out(`<tr><td><code>%s</code>%s</td><td>%s</td><td>%s</td></tr>`,
				text(member), must(slices.Contains(schemas[name].Required, member)), typeView(m), text(m.Description))
		}

		out(`</table>`)
	}

	out(`<h2 id="problems">Problems</h2>
<p>Every answer that is not a success is a <a href="#schema-Problem">Problem</a> (RFC 9457). Its code is stable. Codes that are not listed here come from a resource kind or from AWS; their class says what to make of them.</p>
<table><tr><th>Code</th><th>Meaning</th></tr>`)

	for _, e := range catalogue() {
		out(`<tr id="problem-%[1]s"><td><code>%[1]s</code></td><td>%[2]s</td></tr>`, text(e.Code), text(e.Title))
	}

	out("</table>\n</body>\n</html>")

	return b.String()
}

func route(out func(string, ...any), method, path string, op *huma.Operation) {
	about := op.Description
	if len(op.Security) > 0 {
		about = "Open to all."
	}

	out(`<details>
<summary><span class="method %[1]s">%[1]s</span><span class="path">%[2]s</span><span class="what">%[3]s</span></summary>
<div>
<p>%[4]s</p>`, method, text(path), text(op.Summary), text(about))

	if op.RequestBody != nil {
		media := op.RequestBody.Content["application/json"]
		out(`<p>Body: %s</p>`, typeView(media.Schema))
		exampleView(out, "For example", media.Example)
	}

	if len(op.Parameters) > 0 {
		out(`<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>`)

		for _, p := range op.Parameters {
			out(`<tr><td><code>%s</code>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>`, text(p.Name), must(p.Required), text(p.In), typeView(p.Schema), text(p.Description))
		}

		out(`</table>`)
	}

	out(`<table><tr><th>Answer</th><th></th><th>Body</th></tr>`)

	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		body := ""
		for _, media := range slices.Sorted(maps.Keys(op.Responses[status].Content)) {
			body = typeView(op.Responses[status].Content[media].Schema)
		}

		out(`<tr><td><code>%s</code></td><td>%s</td><td>%s</td></tr>`, text(status), text(op.Responses[status].Description), body)
	}

	out("</table>")

	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		for _, media := range op.Responses[status].Content {
			exampleView(out, "An answer "+status, media.Example)
		}
	}

	out("</div>\n</details>")
}

// exampleView shows an example, if there is one.
func exampleView(out func(string, ...any), title string, example any) {
	if b, ok := example.(json.RawMessage); ok {
		out(`<details><summary>%s</summary><pre>%s</pre></details>`, text(title), text(string(b)))
	}
}

func must(required bool) string {
	if required {
		return ` <span class="must">required</span>`
	}

	return ""
}

// typeView says what a value is in a few words, with links to schemas. It is HTML.
func typeView(schema *huma.Schema) string {
	if schema == nil {
		return ""
	}

	var view string

	switch {
	case schema.Ref != "":
		name := text(schema.Ref[strings.LastIndexByte(schema.Ref, '/')+1:])
		view = `<a href="#schema-` + name + `">` + name + `</a>`
	case schema.Type == huma.TypeArray:
		view = "array of " + typeView(schema.Items)
	case schema.Type == huma.TypeObject:
		view = "object"
		if each, ok := schema.AdditionalProperties.(*huma.Schema); ok {
			view = "map of " + typeView(each)
		}
	case schema.Type == "":
		view = "any"
	default:
		view = text(schema.Type)
	}

	for _, limit := range []struct {
		word  string
		value *float64
	}{{"at least", schema.Minimum}, {"at most", schema.Maximum}} {
		if limit.value != nil {
			view += fmt.Sprintf(", %s %v", limit.word, *limit.value)
		}
	}

	if len(schema.Enum) > 0 {
		var names []string
		for _, e := range schema.Enum {
			names = append(names, "<code>"+text(fmt.Sprint(e))+"</code>")
		}

		view += ": " + strings.Join(names, " ")
	}

	if schema.Default != nil {
		view += ", default <code>" + text(fmt.Sprint(schema.Default)) + "</code>"
	}

	return view
}
