package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// places tells where the members of a request came from: a line of a file, or a flag, by JSON pointer.
type places map[string]string

// of finds the place of a member, or of the nearest thing around it: what is missing has no place of its own.
func (p places) of(pointer string) string {
	for {
		if place, ok := p[pointer]; ok {
			return place
		}

		cut := strings.LastIndexByte(pointer, '/')
		if cut <= 0 {
			return ""
		}

		pointer = pointer[:cut]
	}
}

// document is what is going to be sent, and where its members came from.
type document struct {
	body   map[string]any
	places places
	// given: the file holds a spec.
	given bool
	// shown is a member that only the API writes, if there was one: the file is what get prints.
	shown string
}

// spec is the document's spec, made if there is none; nil if it is something else than an object.
func (d *document) spec() map[string]any {
	spec, ok := d.body["spec"].(map[string]any)
	if !ok && d.body["spec"] == nil {
		spec = map[string]any{}
		d.body["spec"] = spec
	}

	return spec
}

// request lists the members that make a file the body of a request; without any of them it is a spec.
func request() []string { return []string{"name", "spec", "labels", "ttl", "verify"} }

// readOnly lists the members of a deployment that no request has.
func readOnly() []string {
	return []string{"tenant", "phase", "region", "account", "owner", "createTime", "updateTime", "expireTime", "operation", "resources", "etag"}
}

// setAside takes out of a document what only the API writes, so that what get prints can be sent back as an update.
func (d *document) setAside() {
	for _, member := range readOnly() {
		if _, ok := d.body[member]; ok {
			d.shown = cmp.Or(d.shown, member)
			delete(d.body, member)
		}
	}
}

// made refuses a document that describes a deployment, where one is to be made.
func (d *document) made() error {
	if d.shown == "" {
		return nil
	}

	return misused("%s: a create takes no %s; a request has %s", d.places.of("/"+d.shown), d.shown, strings.Join(request(), ", "))
}

// mostBytes is what the API takes, with room for what YAML writes in more words.
const mostBytes = 256 << 10

// read reads a file: YAML or JSON, a whole request or a spec alone. "-" is standard input, no name an empty document.
func (p *Program) read(name string) (*document, error) {
	d := &document{body: map[string]any{}, places: places{}}
	if name == "" {
		return d, nil
	}

	text, shown, err := p.load(name)
	if err != nil {
		return nil, err
	}

	r := reader{file: shown, places: d.places}

	// Every JSON is YAML but for its tabs; so it is read as what it is.
	var v any
	if json.Valid(text) {
		v, err = r.json(text)
	} else {
		v, err = r.yaml(text)
	}

	if err != nil {
		return nil, err
	}

	switch top := v.(type) {
	case nil:
		return d, nil
	case map[string]any:
		d.body = top
	default:
		return nil, misused("%s holds no object: write members such as compute: or name:", shown)
	}

	if !slices.ContainsFunc(request(), func(member string) bool { _, ok := d.body[member]; return ok }) {
		d.body = map[string]any{"spec": d.body}
		under := places{}

		for pointer, place := range d.places {
			under["/spec"+pointer] = place
		}

		d.places = under
	}

	d.given = d.body["spec"] != nil

	return d, nil
}

func (p *Program) load(name string) (text []byte, shown string, err error) {
	from := p.In

	if shown = name; name == "-" {
		shown = "standard input"
	} else {
		if !filepath.IsAbs(name) {
			name = filepath.Join(p.Dir, name)
		}

		f, err := os.Open(name) // #nosec G304 -- the person names the file
		if err != nil {
			return nil, "", misused("read %s: %v", shown, err)
		}
		defer f.Close()

		from = f
	}

	if text, err = io.ReadAll(io.LimitReader(from, mostBytes+1)); err != nil {
		return nil, "", misused("read %s: %v", shown, err)
	}

	if len(text) > mostBytes || !utf8.Valid(text) {
		return nil, "", misused("%s is larger than a request may be, or no text in UTF-8", shown)
	}

	return text, shown, nil
}

// reader turns a file into what JSON can say, and notes the line of every member.
type reader struct {
	file   string
	places places
	nodes  int
}

func (r *reader) note(pointer string, line int) {
	r.places[pointer] = r.file + ":" + strconv.Itoa(line)
}

func (r *reader) refuse(line int, format string, args ...any) error {
	return misused("%s:%d: %s", r.file, line, fmt.Sprintf(format, args...))
}

func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// json reads text that is known to be valid.
func (r *reader) json(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()

	return r.jsonValue(dec, text, "")
}

func (r *reader) jsonValue(dec *json.Decoder, text []byte, pointer string) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, misused("read %s: %v", r.file, err)
	}

	line := 1 + bytes.Count(text[:dec.InputOffset()], []byte("\n"))
	if _, known := r.places[pointer]; !known {
		r.note(pointer, line)
	}

	switch token {
	case json.Delim('['):
		list := []any{}

		for dec.More() {
			item, err := r.jsonValue(dec, text, pointer+"/"+strconv.Itoa(len(list)))
			if err != nil {
				return nil, err
			}

			list = append(list, item)
		}

		_, err = dec.Token()

		return list, err
	case json.Delim('{'):
		object := map[string]any{}

		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, misused("read %s: %v", r.file, err)
			}

			key, _ := name.(string)
			line := 1 + bytes.Count(text[:dec.InputOffset()], []byte("\n"))

			if _, twice := object[key]; twice {
				return nil, r.refuse(line, "%s stands here a second time", key)
			}

			at := pointer + "/" + escape(key)
			r.note(at, line)

			if object[key], err = r.jsonValue(dec, text, at); err != nil {
				return nil, err
			}
		}

		_, err = dec.Token()

		return object, err
	}

	return token, nil
}

func (r *reader) yaml(text []byte) (any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))

	var doc, more yaml.Node

	if err := dec.Decode(&doc); err != nil {
		if err == io.EOF { //nolint:errorlint // the decoder's contract
			return nil, nil //nolint:nilnil // an empty file says nothing
		}

		return nil, r.syntax(err)
	}

	if dec.Decode(&more) == nil {
		return nil, r.refuse(more.Line, "a second document begins; a file is one")
	}

	return r.yamlValue(&doc, "")
}

// syntax says where text stops being YAML, and where what is not finished there begins.
func (r *reader) syntax(err error) error {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok || e.Mark.Line == 0 {
		return misused("%s is neither YAML nor JSON: %s", r.file, strings.TrimPrefix(err.Error(), "yaml: "))
	}

	message := e.Message
	if e.ContextMark.Line > 0 && e.ContextMark.Line < e.Mark.Line {
		message += fmt.Sprintf(" %s, which begins in line %d", e.ContextMsg, e.ContextMark.Line)
	}

	return r.refuse(e.Mark.Line, "this is neither YAML nor JSON: %s", message)
}

// mostNodes bounds what aliases may blow up to.
const mostNodes = 10_000

func (r *reader) yamlValue(n *yaml.Node, pointer string) (any, error) {
	if r.nodes++; r.nodes > mostNodes {
		return nil, r.refuse(n.Line, "the file means more than %d things", mostNodes)
	}

	if _, known := r.places[pointer]; !known {
		r.note(pointer, n.Line)
	}

	switch n.Kind {
	case yaml.DocumentNode:
		return r.yamlValue(n.Content[0], pointer)
	case yaml.AliasNode:
		return r.yamlValue(n.Alias, pointer)
	case yaml.SequenceNode:
		list := []any{}

		for i, item := range n.Content {
			v, err := r.yamlValue(item, pointer+"/"+strconv.Itoa(i))
			if err != nil {
				return nil, err
			}

			list = append(list, v)
		}

		return list, nil
	case yaml.MappingNode:
		object := map[string]any{}

		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
				return nil, r.refuse(key.Line, "a member's name is a text; merge keys (<<) are not taken")
			}

			if _, twice := object[key.Value]; twice {
				return nil, r.refuse(key.Line, "%s stands here a second time", key.Value)
			}

			at := pointer + "/" + escape(key.Value)
			r.note(at, key.Line)

			var err error
			if object[key.Value], err = r.yamlValue(value, at); err != nil {
				return nil, err
			}
		}

		return object, nil
	case yaml.ScalarNode:
		return r.scalar(n)
	default:
		return nil, r.refuse(n.Line, "this is nothing that JSON could say")
	}
}

// scalar reads a value as YAML 1.2's JSON schema does, and takes dates for the texts that they are.
func (r *reader) scalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil //nolint:nilnil // null
	case "!!str", "!!timestamp":
		return n.Value, nil
	case "!!bool", "!!int", "!!float":
		if json.Valid([]byte(n.Value)) && n.ShortTag() != "!!bool" {
			return json.Number(n.Value), nil
		}

		var v any
		if err := n.Decode(&v); err != nil {
			return nil, r.refuse(n.Line, "%s is no value", n.Value)
		}

		if _, err := json.Marshal(v); err != nil {
			return nil, r.refuse(n.Line, "%s is no number of JSON", n.Value)
		}

		return v, nil
	}

	return nil, r.refuse(n.Line, "the tag %s is not taken", n.Tag)
}
