package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

const (
	maxBody  = 64 << 10 // quality: "body 64 KiB, depth 10"
	maxDepth = 10
)

// read stands before every handler that takes a body. It reads the body whole and refuses it unless it is one JSON object that means the same to every
// reader; then what is not on offer; then what does not fit the schema. huma's own check of bodies is not used: it ignores the case of members, fills in
// defaults that cannot be told from what the caller wrote, and answers with Go's own errors.
func (s *server) read(schema *huma.Schema) func(ctx huma.Context, next func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humachi.Unwrap(ctx)

		body, doc, p := s.parse(r, schema)
		if p == nil {
			findings := deploy.NotOffered(doc)
			if len(findings) == 0 {
				findings = s.check(schema, doc)
			}

			if len(findings) > 0 {
				p = fromFindings(findings)
			}
		}

		if p != nil {
			s.write(w, r, p)

			return
		}

		of(r.Context()).body = body
		r.Body = io.NopCloser(bytes.NewReader(body))

		next(ctx)
	}
}

// bodyless refuses a body that says something where the route takes none: whoever sends one expects it to be heeded.
func bodyless(op *huma.Operation, r *http.Request) *Problem {
	if op.Method != http.MethodPost || op.RequestBody != nil {
		return nil
	}

	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if said := string(bytes.Join(bytes.Fields(body), nil)); err == nil && (said == "" || said == "{}") {
		return nil
	}

	return problem(http.StatusUnprocessableEntity, deploy.Invalid, "unexpected_body", "This takes no body.").remedy("Send the request without one.")
}

func (s *server) parse(r *http.Request, schema *huma.Schema) ([]byte, any, *Problem) {
	if t := r.Header.Get("Content-Type"); t != "" {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			return nil, nil, problem(http.StatusUnsupportedMediaType, deploy.Invalid, "unsupported_media_type", "The body is not declared as JSON.").
				at("Content-Type").remedy("Send JSON with Content-Type: application/json.")
		}
	}

	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, nil, problem(http.StatusBadRequest, deploy.Invalid, "invalid_json", "The body broke off.").remedy("Send the request again.")
	}

	if len(body) > maxBody {
		return nil, nil, problem(http.StatusRequestEntityTooLarge, deploy.Invalid, "body_too_large", "A body has at most %d bytes.", maxBody).
			remedy("Send less.")
	}

	if len(bytes.TrimSpace(body)) == 0 {
		needs := s.api.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref).Required

		return nil, nil, problem(http.StatusBadRequest, deploy.Invalid, "invalid_json", "The body is empty.").
			remedy("Send a JSON object; it needs: %s.", strings.Join(needs, ", "))
	}

	doc, err := strict(body)
	if err != nil {
		return nil, nil, refused(err)
	}

	return body, doc, nil
}

// bodyError says what is wrong with a body, and where if not everywhere.
type bodyError struct{ text, remedy, at string }

func (e *bodyError) Error() string { return e.text }

// errSyntax says what ends a body's being JSON, and where, as editors count: in lines and characters from 1.
func errSyntax(body []byte, at int, what string) error {
	line, start := bytes.Count(body[:at], []byte("\n"))+1, bytes.LastIndexByte(body[:at], '\n')+1

	return &bodyError{
		fmt.Sprintf("The body is not valid JSON in UTF-8: line %d, column %d has %s.", line, utf8.RuneCount(body[start:at])+1, what), "Send one JSON object in UTF-8.", "",
	}
}

func errDeep() error {
	return &bodyError{"The body is nested deeper than 10 levels.", "Nothing that this API takes is that deep: look for what is nested by mistake.", ""}
}

func errTwice() error { return &bodyError{"The member appears twice.", "Give it once.", ""} }

// under says that what is wrong is wrong in a member or an item.
func under(err error, name string) error {
	if e, ok := errors.AsType[*bodyError](err); ok {
		e.at = "/" + escape(name) + e.at
	}

	return err
}

// refused shows what is wrong with a body.
func refused(err error) *Problem {
	e, ok := errors.AsType[*bodyError](err)
	if !ok {
		return internal()
	}

	p := problem(http.StatusBadRequest, deploy.Invalid, "invalid_json", "%s", e.text).remedy("%s", e.remedy)
	p.Pointer = deploy.Scrub(e.at)

	return p
}

// strict parses JSON and refuses what parsers read differently: members that appear twice, bytes that are not UTF-8, something after the end. Numbers stay
// as they are written.
func strict(body []byte) (any, error) {
	if err := valid(body); err != nil {
		return nil, err
	}

	r := &reader{rest: body}

	return r.value(0)
}

// valid tells where a body stops being JSON in UTF-8, if it does.
func valid(body []byte) error {
	for at := 0; at < len(body); {
		c, size := utf8.DecodeRune(body[at:])
		if c == utf8.RuneError && size == 1 {
			return errSyntax(body, at, fmt.Sprintf("the byte 0x%02X, which is not UTF-8", body[at]))
		}

		at += size
	}

	broken, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(body, new(json.RawMessage)))

	switch {
	case !ok:
		return nil
	case strings.Contains(broken.Error(), "max depth"): // of encoding/json itself
		return errDeep()
	case strings.Contains(broken.Error(), "unexpected end"):
		return errSyntax(body, len(body), "the end, before the JSON is complete")
	}

	// The last byte that was read is the wrong one, and a character begins with it: bytes beyond ASCII are allowed where their first one is.
	at := int(broken.Offset) - 1

	c, _ := utf8.DecodeRune(body[at:])
	shown := fmt.Sprintf("%U", c)

	if unicode.IsPrint(c) {
		shown = string(c)
	}

	return errSyntax(body, at, fmt.Sprintf("the character %s where it cannot be", shown))
}

// reader walks through JSON that is known to be valid.
type reader struct{ rest []byte }

// next skips white space, the colons and the commas, and tells what begins there.
func (r *reader) next() byte {
	r.rest = bytes.TrimLeft(r.rest, " \t\r\n:,")

	return r.rest[0]
}

func (r *reader) take(n int) []byte {
	taken := r.rest[:n]
	r.rest = r.rest[n:]

	return taken
}

func (r *reader) value(depth int) (any, error) {
	switch r.next() {
	case '{':
		return r.object(depth + 1)
	case '[':
		return r.array(depth + 1)
	case '"':
		return r.text()
	case 't':
		r.take(len("true"))

		return true, nil
	case 'f':
		r.take(len("false"))

		return false, nil
	case 'n':
		r.take(len("null"))

		return nil, nil //nolint:nilnil // null is nil
	}

	end := bytes.IndexAny(r.rest, " \t\r\n,]}")
	if end < 0 {
		end = len(r.rest)
	}

	return json.Number(r.take(end)), nil
}

func (r *reader) object(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDeep()
	}

	object := map[string]any{}

	for r.take(1); r.next() != '}'; {
		name, err := r.text()
		if err != nil {
			return nil, err
		}

		if _, twice := object[name]; twice {
			return nil, under(errTwice(), name)
		}

		if object[name], err = r.value(depth); err != nil {
			return nil, under(err, name)
		}
	}

	r.take(1)

	return object, nil
}

func (r *reader) array(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDeep()
	}

	list := []any{}

	for r.take(1); r.next() != ']'; {
		item, err := r.value(depth)
		if err != nil {
			return nil, under(err, strconv.Itoa(len(list)))
		}

		list = append(list, item)
	}

	r.take(1)

	return list, nil
}

// text reads a string. One with escapes is left to encoding/json.
func (r *reader) text() (string, error) {
	end := 1
	for escaped := false; escaped || r.rest[end] != '"'; end++ {
		escaped = !escaped && r.rest[end] == '\\'
	}

	quoted := r.take(end + 1)
	if !bytes.ContainsRune(quoted, '\\') {
		return string(quoted[1:end]), nil
	}

	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return "", fmt.Errorf("read a string of valid JSON: %w", err)
	}

	return text, nil
}
