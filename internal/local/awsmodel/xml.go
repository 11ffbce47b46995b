package awsmodel

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// Element is an XML element that can be read, changed and written again. Namespaces other than a default one are kept as attributes only.
type Element struct {
	Name     string
	Attrs    []xml.Attr
	Children []*Element
	Text     string
}

// ParseXML reads a document.
func ParseXML(body []byte) (*Element, error) {
	dec := xml.NewDecoder(bytes.NewReader(body))

	var (
		stack []*Element
		root  *Element
	)

	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && root != nil && len(stack) == 0 {
			return root, nil
		}

		if err != nil {
			return nil, err
		}

		switch token := token.(type) {
		case xml.StartElement:
			e := &Element{Name: token.Name.Local, Attrs: token.Copy().Attr}
			if len(stack) > 0 {
				parent := stack[len(stack)-1]
				parent.Children = append(parent.Children, e)
			}

			if root == nil {
				root = e
			}

			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].Text += string(token)
			}
		}
	}
}

// Child gives the first child of that name, or nil; it may be called on nil.
func (e *Element) Child(path ...string) *Element {
	for _, name := range path {
		if e == nil {
			return nil
		}

		var next *Element

		for _, c := range e.Children {
			if c.Name == name {
				next = c

				break
			}
		}

		e = next
	}

	return e
}

// ChildText gives the text of a descendant, empty where there is none.
func (e *Element) ChildText(path ...string) string {
	c := e.Child(path...)
	if c == nil {
		return ""
	}

	return strings.TrimSpace(c.Text)
}

// SetChild sets the text of a child, which is added where it is missing.
func (e *Element) SetChild(name, text string) {
	c := e.Child(name)
	if c == nil {
		c = &Element{Name: name}
		e.Children = append(e.Children, c)
	}

	c.Text, c.Children = text, nil
}

// Bytes writes the document.
func (e *Element) Bytes() []byte {
	var b bytes.Buffer

	b.WriteString(xml.Header)
	e.write(&b)

	return b.Bytes()
}

func (e *Element) write(b *bytes.Buffer) {
	b.WriteString("<" + e.Name)

	for _, a := range e.Attrs {
		name := a.Name.Local
		if a.Name.Space == "xmlns" {
			name = "xmlns:" + name
		}

		b.WriteString(" " + name + `="`)
		_ = xml.EscapeText(b, []byte(a.Value)) // a bytes.Buffer does not fail
		b.WriteString(`"`)
	}

	b.WriteString(">")

	if len(e.Children) == 0 {
		_ = xml.EscapeText(b, []byte(e.Text))
	}

	for _, c := range e.Children {
		c.write(b)
	}

	b.WriteString("</" + e.Name + ">")
}

func xmlStructure(sh *Shape, e *Element) map[string]any {
	out := map[string]any{}
	known := map[string]bool{}

	for name, m := range sh.Members {
		if m.XMLAttribute {
			xmlAttribute(out, name, m, e)

			continue
		}

		wire := wireName(name, m)
		if flat(m) && isList(m) && m.LocationName == "" && m.Shape.Element.LocationName != "" {
			wire = m.Shape.Element.LocationName
		}

		known[wire] = true

		var found []*Element

		for _, c := range e.Children {
			if c.Name == wire {
				found = append(found, c)
			}
		}

		if len(found) == 0 {
			continue
		}

		if flat(m) && isList(m) {
			out[name] = xmlItems(m.Shape, found)

			continue
		}

		out[name] = xmlValue(m.Shape, m, found[0])
	}

	for _, c := range e.Children {
		if !known[c.Name] {
			out[c.Name] = c.raw()
		}
	}

	return out
}

func (e *Element) raw() any {
	if len(e.Children) == 0 {
		return e.Text
	}

	out := map[string]any{}
	for _, c := range e.Children {
		out[c.Name] = c.raw()
	}

	return out
}

func xmlAttribute(out map[string]any, name string, m *Member, e *Element) {
	_, local, ok := cutLast(m.LocationName, ":")
	if !ok {
		local = m.LocationName
	}

	for _, a := range e.Attrs {
		if a.Name.Local == local {
			out[name] = a.Value
		}
	}
}

func xmlItems(sh *Shape, found []*Element) []any {
	out := []any{}
	for _, c := range found {
		out = append(out, xmlValue(sh.Element.Shape, sh.Element, c))
	}

	return out
}

func xmlValue(sh *Shape, m *Member, e *Element) any {
	switch sh.Type {
	case "structure":
		return xmlStructure(sh, e)
	case "list":
		return xmlItems(sh, e.Children)
	case "map":
		out := map[string]any{}

		for _, entry := range e.Children {
			key, value := entry.Child(wireName("key", sh.Key)), entry.Child(wireName("value", sh.Value))
			if key != nil && value != nil {
				out[key.Text] = xmlValue(sh.Value.Shape, sh.Value, value)
			}
		}

		return out
	}

	return scalar(sh, m, e.Text, "iso8601")
}

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func (e *Element) setNamespace(uri string) {
	if uri != "" {
		e.Attrs = []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: uri}}
	}
}
