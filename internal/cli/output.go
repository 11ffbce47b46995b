package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

// printDoc writes a JSON document in the format that was asked for, with its members in their order.
func printDoc(w io.Writer, format string, doc []byte) error {
	if format == "json" {
		var b bytes.Buffer
		if err := json.Indent(&b, doc, "", "  "); err != nil {
			return err
		}

		_, err := fmt.Fprintln(w, b.String())

		return err
	}

	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()

	node, err := toYAML(dec)
	if err != nil {
		return err
	}

	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)

	if err := enc.Encode(node); err != nil {
		return err
	}

	return enc.Close()
}

// toYAML builds the document that JSON is: decoding it into maps would lose the order of members.
func toYAML(dec *json.Decoder) (*yaml.Node, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}

	switch v := token.(type) {
	case json.Delim:
		node := &yaml.Node{Kind: yaml.MappingNode}
		if v == '[' {
			node.Kind = yaml.SequenceNode
		}

		for dec.More() { // names of members are tokens like their values
			item, err := toYAML(dec)
			if err != nil {
				return nil, err
			}

			node.Content = append(node.Content, item)
		}

		_, err = dec.Token()

		return node, err
	case string:
		node := &yaml.Node{}
		node.SetString(v)

		return node, nil
	case json.Number:
		node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: v.String()}
		if strings.ContainsAny(v.String(), ".eE") {
			node.Tag = "!!float"
		}

		return node, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}, nil
	}

	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}

// listed shows all that a list of the API holds: as one document, or as a table of what row says of each.
func listed[T any](
	ctx context.Context, s *session, none string, head []string, all func(*client.Client, context.Context) iter.Seq2[*T, error],
	row func(*T) (json.RawMessage, []string),
) error {
	api, err := s.client(ctx)
	if err != nil {
		return err
	}

	var (
		docs = []json.RawMessage{}
		rows [][]string
	)

	for v, err := range all(api, ctx) {
		if err != nil {
			return err
		}

		doc, cells := row(v)
		docs, rows = append(docs, doc), append(rows, cells)
	}

	if s.output == "text" {
		return s.table(none, head, rows)
	}

	doc, err := json.Marshal(docs)
	if err != nil {
		return err
	}

	return printDoc(s.Out, s.output, doc)
}

// each makes a list of what comes in one answer.
func each[T any](all func(*client.Client, context.Context) ([]*T, error)) func(*client.Client, context.Context) iter.Seq2[*T, error] {
	return func(api *client.Client, ctx context.Context) iter.Seq2[*T, error] {
		return func(yield func(*T, error) bool) {
			list, err := all(api, ctx)
			if err != nil {
				yield(nil, err)
			}

			for _, v := range list {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

// table writes rows under a head; without rows it says so.
func (s *session) table(none string, head []string, rows [][]string) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(s.Out, none)

		return err
	}

	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)

	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}

			fmt.Fprint(w, printable(cell))
		}

		fmt.Fprintln(w)
	}

	return w.Flush()
}

// printable keeps what a terminal would obey out of what others wrote.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}

		return r
	}, text)
}

// span writes a duration as people say it: 9s, 2m05s, 3h04m, 5d2h.
func span(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	hours, minutes, seconds := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60

	switch {
	case hours >= 48:
		return fmt.Sprintf("%dd%dh", hours/24, hours%24)
	case hours > 0:
		return fmt.Sprintf("%dh%02dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%02ds", minutes, seconds)
	}

	return fmt.Sprintf("%ds", seconds)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
