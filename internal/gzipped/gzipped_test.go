package gzipped_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/gzipped"
)

func TestFor(t *testing.T) {
	t.Parallel()

	long := bytes.Repeat([]byte("metaflow "), 1000)

	tests := map[string]struct {
		reason, accept string
		text           gzipped.Text
		packed, varies bool
	}{
		"Silent":    {"who says nothing may not know gzip", "", gzipped.New(long), false, true},
		"Browser":   {"what Chromium sends", "gzip, deflate, br, zstd", gzipped.New(long), true, true},
		"Anything":  {"gzip is something", "*", gzipped.New(long), true, true},
		"Refused":   {"a weight of zero is a refusal", "br, gzip;q=0.0", gzipped.New(long), false, true},
		"Unwilling": {"any other weight is none", "GZIP; q=0.1", gzipped.New(long), true, true},
		"Small":     {"there is nothing to choose", "gzip", gzipped.Text{Plain: long}, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			r.Header.Set("Accept-Encoding", tt.accept)

			h := http.Header{}
			body := tt.text.For(h, r)

			if packed := h.Get("Content-Encoding") == "gzip"; packed != tt.packed || bytes.Equal(body, long) == tt.packed || (h.Get("Vary") != "") != tt.varies {
				t.Errorf("%s: %d bytes with %v", tt.reason, len(body), h)
			}
		})
	}
}
