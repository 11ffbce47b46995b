package frontdoor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// skew is how far the time of a signature may be off.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
const skew = 5 * time.Minute

const algorithm = "AWS4-HMAC-SHA256"

// verifySignature checks the Signature Version 4 in the Authorization header.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func (d *Door) verifySignature(r *http.Request, body []byte, now time.Time) (Caller, string, error) {
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	if !ok {
		return Caller{}, "", errors.New("not signed")
	}
	part := map[string]string{}
	for f := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		part[name] = value
	}
	scope := strings.Split(part["Credential"], "/")
	if len(scope) != 5 {
		return Caller{}, "", errors.New("malformed credential")
	}
	accessKey, date, region, service := scope[0], scope[1], scope[2], scope[3]
	if region != d.opts.Region || service != "execute-api" || scope[4] != "aws4_request" {
		return Caller{}, "", fmt.Errorf("credential scope %s/%s is not this API's", region, service)
	}
	caller, ok := d.opts.Caller(accessKey)
	if !ok {
		return Caller{}, "", errors.New("unknown access key")
	}

	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	if err != nil || !strings.HasPrefix(stamp, date+"T") {
		return Caller{}, "", errors.New("malformed date")
	}
	if now.Sub(at).Abs() > skew {
		return Caller{}, "", errors.New("signature expired")
	}
	sum := sha256.Sum256(body)
	bodyHash := hex.EncodeToString(sum[:])
	if claimed := r.Header.Get("X-Amz-Content-Sha256"); claimed != "" && claimed != bodyHash {
		return Caller{}, "", errors.New("the body is not the one that was signed")
	}
	signed := strings.Split(part["SignedHeaders"], ";")
	if !slices.Contains(signed, "host") || !slices.IsSorted(signed) {
		return Caller{}, "", errors.New("host is not signed")
	}

	canonical := strings.Join([]string{
		r.Method, canonicalPath(r), canonicalQuery(r.URL), canonicalHeaders(r, signed), part["SignedHeaders"], bodyHash,
	}, "\n")
	sum = sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{algorithm, stamp, strings.Join(scope[1:], "/"), hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + caller.Secret)
	for _, s := range scope[1:] {
		key = mac(key, s)
	}
	given, err := hex.DecodeString(part["Signature"])
	if err != nil || !hmac.Equal(given, mac(key, text)) {
		return Caller{}, "", errors.New("the signature does not match")
	}
	return caller, accessKey, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalPath encodes the path as sent once more, as every service but S3 wants.
func canonicalPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		path = r.URL.EscapedPath()
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = encode(s)
	}
	return strings.Join(segments, "/")
}

func canonicalQuery(u *url.URL) string {
	var pairs []string
	for name, values := range u.Query() {
		for _, v := range values {
			pairs = append(pairs, encode(name)+"="+encode(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func canonicalHeaders(r *http.Request, signed []string) string {
	var b strings.Builder
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length": // net/http keeps it apart
			value = fmt.Sprint(r.ContentLength)
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	return b.String()
}

// encode is AWS's percent-encoding: everything but unreserved characters.
func encode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
