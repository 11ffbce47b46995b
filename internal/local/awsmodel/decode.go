package awsmodel

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decode gives the input of the call with the model's member names, as JSON would hold it: structures and maps are map[string]any, lists are []any, integers
// int64, other numbers float64, timestamps RFC 3339 text, blobs base64 text. A streamed body is left out. What the model does not know stays under the name it
// was sent with, for Validate to complain of.
func (q *Request) Decode(r *http.Request, body []byte) (map[string]any, error) {
	in := q.Operation.Input
	if in == nil {
		return map[string]any{}, nil
	}

	switch q.Protocol {
	case Query, EC2Query:
		return q.decodeForm(formOf(r, body)), nil
	case JSON:
		return decodeJSONBody(in, body)
	case RestJSON, RestXML:
		return q.decodeRest(r, body)
	default:
		return nil, fmt.Errorf("decode %s: protocol %q is not supported", q.Operation.Name, q.Protocol)
	}
}

func (q *Request) decodeForm(form url.Values) map[string]any {
	root := &node{}

	for key, values := range form {
		if key != "Action" && key != "Version" && len(values) > 0 && !strings.HasPrefix(key, "X-Amz-") {
			root.put(strings.Split(key, "."), values[0])
		}
	}

	out, _ := formDecoder{ec2: q.Protocol == EC2Query}.value(q.Operation.Input, nil, root).(map[string]any)
	if out == nil {
		out = map[string]any{}
	}

	return out
}

// node is a form's parameters as the tree that their dotted names describe.
type node struct {
	value    *string
	children map[string]*node
}

func (n *node) put(path []string, value string) {
	if len(path) == 0 {
		n.value = &value

		return
	}

	if n.children == nil {
		n.children = map[string]*node{}
	}

	child := n.children[path[0]]
	if child == nil {
		child = &node{}
		n.children[path[0]] = child
	}

	child.put(path[1:], value)
}

// numbered gives the children 1, 2, 3, ... in order; gaps are allowed, as AWS allows them.
func (n *node) numbered() []*node {
	type entry struct {
		at int
		n  *node
	}

	var entries []entry

	for key, child := range n.children {
		if at, err := strconv.Atoi(key); err == nil {
			entries = append(entries, entry{at, child})
		}
	}

	slices.SortFunc(entries, func(a, b entry) int { return a.at - b.at })

	out := make([]*node, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.n)
	}

	return out
}

func (n *node) raw() any {
	if len(n.children) == 0 {
		if n.value == nil {
			return ""
		}

		return *n.value
	}

	out := map[string]any{}
	for key, child := range n.children {
		out[key] = child.raw()
	}

	return out
}

type formDecoder struct{ ec2 bool }

func (d formDecoder) name(name string, m *Member) string {
	if !d.ec2 {
		if isList(m) && flat(m) && m.Shape.Element.LocationName != "" {
			return m.Shape.Element.LocationName
		}

		return wireName(name, m)
	}

	if m.QueryName != "" {
		return m.QueryName
	}

	if m.LocationName != "" {
		return strings.ToUpper(m.LocationName[:1]) + m.LocationName[1:]
	}

	return name
}

func isList(m *Member) bool { return m.Shape.Type == "list" }

func flat(m *Member) bool { return m.Flattened || m.Shape.Flattened }

func (d formDecoder) value(sh *Shape, m *Member, n *node) any {
	switch sh.Type {
	case "structure":
		if n.value != nil && len(n.children) == 0 {
			return *n.value
		}

		return d.structure(sh, n)
	case "list":
		return d.list(sh, m, n)
	case "map":
		return d.mapping(sh, m, n)
	}

	if n.value == nil {
		return n.raw()
	}

	return scalar(sh, m, *n.value, "iso8601")
}

func (d formDecoder) structure(sh *Shape, n *node) map[string]any {
	out := map[string]any{}
	known := map[string]bool{}

	for name, m := range sh.Members {
		wire := d.name(name, m)
		known[wire] = true

		if child := n.children[wire]; child != nil {
			out[name] = d.value(m.Shape, m, child)
		}
	}

	for wire, child := range n.children {
		if !known[wire] {
			out[wire] = child.raw()
		}
	}

	return out
}

func (d formDecoder) list(sh *Shape, m *Member, n *node) any {
	items := n

	if !d.ec2 && !sh.Flattened && (m == nil || !m.Flattened) {
		wrapper := n.children[wireName("member", sh.Element)]
		if wrapper == nil {
			return []any{} // an empty list is sent as the bare name
		}

		items = wrapper
	}

	out := []any{}
	for _, item := range items.numbered() {
		out = append(out, d.value(sh.Element.Shape, sh.Element, item))
	}

	return out
}

func (d formDecoder) mapping(sh *Shape, m *Member, n *node) any {
	entries := n

	if !sh.Flattened && (m == nil || !m.Flattened) && n.children["entry"] != nil {
		entries = n.children["entry"]
	}

	out := map[string]any{}

	for _, entry := range entries.numbered() {
		key := entry.children[wireName("key", sh.Key)]
		value := entry.children[wireName("value", sh.Value)]

		if key == nil || key.value == nil || value == nil {
			continue
		}

		out[*key.value] = d.value(sh.Value.Shape, sh.Value, value)
	}

	return out
}

// scalar turns text into what the shape holds. Text that does not fit stays text, for Validate to complain of.
func scalar(sh *Shape, m *Member, text, timestamps string) any {
	switch sh.Type {
	case "boolean":
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	case "integer", "long":
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
	case "float", "double":
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	case "timestamp":
		return timestamp(text, timestampFormat(sh, m, timestamps))
	}

	return text
}

func timestampFormat(sh *Shape, m *Member, otherwise string) string {
	if m != nil && m.TimestampFormat != "" {
		return m.TimestampFormat
	}

	if sh.TimestampFormat != "" {
		return sh.TimestampFormat
	}

	return otherwise
}

func timestamp(text, format string) string {
	switch format {
	case "rfc822":
		if t, err := http.ParseTime(text); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	case "unixTimestamp":
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return time.UnixMilli(int64(f * 1000)).UTC().Format(time.RFC3339Nano)
		}
	default:
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}

	return text
}

func decodeJSONBody(sh *Shape, body []byte) (map[string]any, error) {
	if len(strings.TrimSpace(string(body))) == 0 {
		return map[string]any{}, nil
	}

	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.UseNumber()

	var raw map[string]any
	if err := dec.Decode(&raw); err != nil {
		return nil, fmt.Errorf("read the JSON body: %w", err)
	}

	out, _ := jsonValue(sh, nil, raw).(map[string]any)

	return out, nil
}

func jsonValue(sh *Shape, m *Member, v any) any {
	switch v := v.(type) {
	case map[string]any:
		return jsonObject(sh, v)
	case []any:
		out := make([]any, 0, len(v))

		for _, item := range v {
			if sh == nil || sh.Type != "list" {
				out = append(out, jsonValue(nil, nil, item))

				continue
			}

			out = append(out, jsonValue(sh.Element.Shape, sh.Element, item))
		}

		return out
	case json.Number:
		return number(sh, m, v)
	case string:
		if sh != nil && sh.Type == "timestamp" {
			return timestamp(v, timestampFormat(sh, m, "iso8601"))
		}

		return v
	default:
		return v
	}
}

func jsonObject(sh *Shape, v map[string]any) map[string]any {
	out := make(map[string]any, len(v))

	if sh == nil || sh.Document || (sh.Type != "structure" && sh.Type != "map") {
		for key, item := range v {
			out[key] = jsonValue(nil, nil, item)
		}

		return out
	}

	if sh.Type == "map" {
		for key, item := range v {
			out[key] = jsonValue(sh.Value.Shape, sh.Value, item)
		}

		return out
	}

	names := map[string]string{}
	for name, m := range sh.Members {
		names[wireName(name, m)] = name
	}

	for key, item := range v {
		name, ok := names[key]
		if !ok {
			out[key] = jsonValue(nil, nil, item)

			continue
		}

		if item == nil {
			continue // null is the same as absent
		}

		out[name] = jsonValue(sh.Members[name].Shape, sh.Members[name], item)
	}

	return out
}

func number(sh *Shape, m *Member, n json.Number) any {
	if sh != nil && sh.Type == "timestamp" {
		return timestamp(n.String(), timestampFormat(sh, m, "unixTimestamp"))
	}

	if i, err := n.Int64(); err == nil && (sh == nil || (sh.Type != "float" && sh.Type != "double")) {
		return i
	}

	f, err := n.Float64()
	if err != nil {
		return n.String()
	}

	return f
}

func (q *Request) decodeRest(r *http.Request, body []byte) (map[string]any, error) {
	in := q.Operation.Input
	out := map[string]any{}
	query := r.URL.Query()

	for name, m := range in.Members {
		switch m.Location {
		case "uri":
			if v, ok := q.labels[wireName(name, m)]; ok {
				out[name] = scalar(m.Shape, m, v, "iso8601")
			}
		case "querystring":
			restQuery(out, name, m, query)
		case "header":
			restHeader(out, name, m, r.Header)
		case "headers":
			restHeaders(out, name, m, r.Header)
		}
	}

	if q.Operation.Streams() || len(body) == 0 {
		return out, nil
	}

	if in.Payload != "" {
		return out, q.decodePayload(out, in.Payload, in.Members[in.Payload], body)
	}

	members, err := q.decodeBody(bodyOf(in), body)
	if err != nil {
		return nil, err
	}

	for name, v := range members {
		out[name] = v
	}

	return out, nil
}

// bodyOf is the shape without the members that travel elsewhere.
func bodyOf(sh *Shape) *Shape {
	body := *sh
	body.Members = map[string]*Member{}

	for name, m := range sh.Members {
		if m.Location == "" {
			body.Members[name] = m
		}
	}

	return &body
}

func (q *Request) decodePayload(out map[string]any, name string, m *Member, body []byte) error {
	if m.Shape.Type != "structure" && m.Shape.Type != "list" && m.Shape.Type != "map" {
		out[name] = string(body)
		if m.Shape.Type == "blob" {
			out[name] = base64Text(body)
		}

		return nil
	}

	v, err := q.decodeBody(m.Shape, body)
	if err != nil {
		return err
	}

	out[name] = v

	return nil
}

func (q *Request) decodeBody(sh *Shape, body []byte) (map[string]any, error) {
	if q.Protocol == RestJSON {
		return decodeJSONBody(sh, body)
	}

	root, err := ParseXML(body)
	if err != nil {
		return nil, fmt.Errorf("read the XML body: %w", err)
	}

	return xmlStructure(sh, root), nil
}

func restQuery(out map[string]any, name string, m *Member, query url.Values) {
	if m.Shape.Type == "map" {
		all := map[string]any{}
		for key, values := range query {
			all[key] = values[0]
		}

		if len(all) > 0 {
			out[name] = all
		}

		return
	}

	values, ok := query[wireName(name, m)]
	if !ok {
		return
	}

	if m.Shape.Type != "list" {
		out[name] = scalar(m.Shape, m, values[0], "iso8601")

		return
	}

	list := []any{}
	for _, v := range values {
		list = append(list, scalar(m.Shape.Element.Shape, m.Shape.Element, v, "iso8601"))
	}

	out[name] = list
}

func restHeader(out map[string]any, name string, m *Member, header http.Header) {
	values := header.Values(wireName(name, m))
	if len(values) == 0 {
		return
	}

	if m.Shape.Type != "list" {
		out[name] = scalar(m.Shape, m, values[0], "rfc822")

		return
	}

	list := []any{}

	for _, line := range values {
		for part := range strings.SplitSeq(line, ",") {
			list = append(list, scalar(m.Shape.Element.Shape, m.Shape.Element, strings.TrimSpace(part), "rfc822"))
		}
	}

	out[name] = list
}

func restHeaders(out map[string]any, name string, m *Member, header http.Header) {
	prefix := textproto.CanonicalMIMEHeaderKey(wireName("", m))
	found := map[string]any{}

	for key, values := range header {
		if rest, ok := strings.CutPrefix(key, prefix); ok && rest != "" {
			found[strings.ToLower(rest)] = values[0]
		}
	}

	if len(found) > 0 {
		out[name] = found
	}
}
