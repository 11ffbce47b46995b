// Package gzipped serves texts that were compressed beforehand to those who take them compressed: API Gateway compresses nothing. It must not know what the
// texts are.
package gzipped

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
)

// Text is a text, and the same compressed; Gzip is nil where that is not worth it.
type Text struct{ Plain, Gzip []byte }

// New compresses a text as far as it goes.
func New(plain []byte) Text {
	var b bytes.Buffer

	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is one
	_, _ = w.Write(plain)                                 // a buffer takes everything
	_ = w.Close()

	return Text{Plain: plain, Gzip: b.Bytes()}
}

// For picks the body for a request, and sets the headers that tell of it.
func (t Text) For(h http.Header, r *http.Request) []byte {
	if t.Gzip == nil {
		return t.Plain
	}

	h.Add("Vary", "Accept-Encoding")

	if !accepted(r.Header.Get("Accept-Encoding")) {
		return t.Plain
	}

	h.Set("Content-Encoding", "gzip")

	return t.Gzip
}

// accepted reads Accept-Encoding (RFC 9110, 12.5.3). A client that says nothing gets the text as it is.
func accepted(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, weight, _ := strings.Cut(part, ";")
		weight = strings.ReplaceAll(strings.ToLower(weight), " ", "")

		if coding = strings.ToLower(strings.TrimSpace(coding)); coding == "gzip" || coding == "*" {
			return weight == "" || strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != ""
		}
	}

	return false
}
