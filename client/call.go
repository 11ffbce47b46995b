package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// attempts is how often a call is tried, watching how often while an operation is followed: a computer that changes its network is away for a while.
	attempts = 5
	watching = 15
	// first and most bound the pause between attempts. Pauses grow by two, and half of each is drawn at random, so that callers who failed together do not
	// come back together.
	first = 500 * time.Millisecond
	most  = 15 * time.Second
	// patience is the longest Retry-After that a call waits for by itself; beyond it the caller decides.
	patience = time.Minute
	// attempt bounds one attempt: API Gateway answers within 30 seconds or cuts off.
	attempt = 45 * time.Second
	// longest is the largest answer that is read.
	longest = 16 << 20
)

// call is one request, however often it is sent.
type call struct {
	method string
	path   path
	query  url.Values
	body   any
	// key is the Idempotency-Key; one is made where the method is not repeatable by nature.
	key    string
	header map[string]string
	// media is the answer's type; JSON if empty.
	media string
	tries int
}

// path is where a call goes, below the installation's URL. wrong, if set, is why nothing may be sent there.
type path struct {
	text  string
	wrong error
}

// sayable is what a name or an id may hold.
var sayable = regexp.MustCompile(`^[a-z0-9-]+$`)

// under is a path with a segment that a caller named. API Gateway hands on a path that is unescaped, so that ? / % or # in a segment would leave another
// name, or another route: such a segment is refused here, where nothing has happened yet.
func under(collection, noun, segment, rest string) path {
	if !sayable.MatchString(segment) {
		return path{wrong: &Problem{
			Title: "The name cannot be used", Status: http.StatusUnprocessableEntity, Code: "invalid_name", Class: "invalid",
			Detail: fmt.Sprintf("%q is not %s: one has only a-z, 0-9 and -. Nothing was sent.", segment, noun), Remedy: "Check how it is written.",
		}}
	}

	return path{text: collection + "/" + segment + rest}
}

// answer is a success.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// into decodes an answer, if it has a body.
func (a answer) into(v any) error {
	if len(a.body) == 0 {
		return nil
	}

	if json.Unmarshal(a.body, v) != nil {
		return stranger(a.status)
	}

	if n, ok := v.(noun); ok && n.identity() == "" {
		return stranger(a.status)
	}

	return nil
}

// noun is what an answer is about. One without its identity comes from somebody else, who answers JSON too.
type noun interface{ identity() string }

// get decodes the answer of a call.
func get[T any](ctx context.Context, c *Client, r call) (*T, error) {
	a, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}

	v := new(T)
	if err := a.into(v); err != nil {
		return nil, err
	}

	return v, nil
}

// do sends a call until it is answered for good: with a success, with a *Problem, or with the last failure to reach the API. A DELETE that finds nothing after
// an attempt that may have been carried out is a success without content.
func (c *Client) do(ctx context.Context, r call) (answer, error) {
	if r.path.wrong != nil {
		return answer{}, r.path.wrong
	}

	var body []byte

	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return answer{}, fmt.Errorf("write the request: %w", err)
		}
	}

	if r.key == "" && (r.method == http.MethodPost || r.method == http.MethodPut) {
		r.key = strings.ToLower(rand.Text())
	}

	if r.tries == 0 {
		r.tries = attempts
	}

	lost := false

	for n := 1; ; n++ {
		a, err := c.send(ctx, r, body)
		p, answered := errors.AsType[*Problem](err)

		if lost && r.method == http.MethodDelete && answered && p.Code == "not_found" {
			return answer{status: http.StatusNoContent}, nil
		}

		if err == nil || n >= r.tries {
			return a, err
		}

		lost = lost || !answered || p.Code == "unavailable" // any other answer says that nothing was done

		pause, again := afterwards(err, n)
		if !again || ctx.Err() != nil {
			return a, err
		}

		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
			return a, err // the failure says more than the deadline would
		}

		if c.retrying != nil {
			c.retrying(err, pause)
		}

		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return a, fmt.Errorf("%w (before: %w)", context.Cause(ctx), err)
		}
	}
}

// unsent is a failure that another attempt would only repeat.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

func (c *Client) send(ctx context.Context, r call, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()

	req, err := http.NewRequestWithContext(ctx, r.method, c.url(r), bytes.NewReader(body))
	if err != nil {
		return answer{}, unsent{fmt.Errorf("write the request: %w", err)}
	}

	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", c.agent)

	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}

	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}

	for name, value := range r.header {
		req.Header.Set(name, value)
	}

	if err := c.authorize(req, body); err != nil {
		return answer{}, unsent{err}
	}

	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()

	text, err := io.ReadAll(io.LimitReader(res.Body, longest))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}

	if res.StatusCode < 200 || res.StatusCode > 299 {
		return answer{}, problemOf(res, text)
	}

	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // what cannot be read is none
	if len(text) > 0 && media != cmp.Or(r.media, "application/json") {
		return answer{}, stranger(res.StatusCode)
	}

	return answer{res.StatusCode, res.Header, text}, nil
}

func (c *Client) url(r call) string {
	query := url.Values{}
	for name, values := range r.query {
		if len(values) > 0 && values[0] != "" {
			query[name] = values
		}
	}

	if c.tenant != "" {
		query.Set("tenant", c.tenant)
	}

	u := c.base.String() + r.path.text
	if len(query) > 0 {
		u += "?" + query.Encode()
	}

	return u
}

// afterwards tells whether the failure of the n-th attempt may be over by itself, and how long to wait.
func afterwards(err error, n int) (pause time.Duration, again bool) {
	half := min(first<<(n-1), most) / 2
	pause = half + mathrand.N(half) // #nosec G404 -- jitter is no secret

	if p, ok := errors.AsType[*Problem](err); ok {
		switch p.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		case http.StatusConflict: // our own request, or one with the same key, is being admitted at this moment
			if !p.Retryable || p.RetryAfter == 0 {
				return 0, false
			}
		default:
			return 0, false
		}

		return p.RetryAfter + pause, p.RetryAfter <= patience
	}

	if _, ok := errors.AsType[unsent](err); ok {
		return 0, false
	}

	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return 0, false
	}

	return pause, true
}

// retryAfter reads the header: seconds or a date (RFC 9110 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")

	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}

	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}

	return 0
}
