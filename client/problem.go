package client

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Problem is every answer that is not a success (RFC 9457), and why an operation or a step failed.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what happened this time, and why; Remedy what the reader can do.
	Detail   string `json:"detail"`
	Remedy   string `json:"remedy,omitempty"`
	Instance string `json:"instance,omitempty"`
	// Code is stable, for programs; Class is the kind of trouble.
	Code  string `json:"code"`
	Class string `json:"class,omitempty"`
	// Pointer leads to the member of the request's body (RFC 6901), Parameter names the query parameter or header.
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	// Resource is what it happened to; AWSCode is AWS's own error code. RequestID is AWS's if AWSCode is there, else the API's.
	Resource  string `json:"resource,omitempty"`
	AWSCode   string `json:"awsCode,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	// Retryable: the same request may succeed later without anybody changing anything.
	Retryable bool `json:"retryable"`
	// Operation leads to the operation that is in the way.
	Operation string `json:"operation,omitempty"`
	// Errors is everything that is wrong, if it is more than one thing; the first stands above too.
	Errors []Fault `json:"errors,omitempty"`

	// RetryAfter is the header of that name, 0 without one.
	RetryAfter time.Duration `json:"-"`
}

// Fault is one of several things that are wrong with a request.
type Fault struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Remedy    string `json:"remedy,omitempty"`
}

func (p *Problem) Error() string {
	if p.Code == "" {
		return p.Detail
	}

	return p.Code + ": " + p.Detail
}

// problemOf makes a problem of any answer that is not a success: the API's own, and what stands before the API answers in words of its own.
func problemOf(res *http.Response, body []byte) *Problem {
	p := &Problem{}

	if json.Unmarshal(body, p) != nil || p.Code == "" {
		p = foreign(res, body)
	}

	p.Status, p.RetryAfter = res.StatusCode, retryAfter(res.Header, time.Now())

	return p
}

// described is why a token was refused: API Gateway says so in the challenge alone (RFC 6750 3).
var described = regexp.MustCompile(`\berror_description="([^"]+)"`)

// foreign makes a problem of what API Gateway or a proxy answered.
func foreign(res *http.Response, body []byte) *Problem {
	p := &Problem{Title: http.StatusText(res.StatusCode), RequestID: requestID(res.Header)}

	var gateway struct{ Message string }
	if json.Unmarshal(body, &gateway) == nil {
		p.Detail = gateway.Message
	}

	var remedy string

	switch res.StatusCode {
	case http.StatusUnauthorized:
		p.Code, p.Class, remedy = "unauthenticated", "denied", "Get a new token, and check that it is one for this installation."
	case http.StatusForbidden:
		p.Code, p.Class, remedy = "forbidden", "denied", "Check your credentials, and that they are for this installation."
	case http.StatusNotFound:
		p.Code, p.Class, remedy = "no_such_route", "gone", "Check the URL of the installation."
	case http.StatusTooManyRequests:
		p.Code, p.Class, p.Retryable, remedy = "throttled", "throttled", true, "Try again later."
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		p.Code, p.Class, p.Retryable, remedy = "unavailable", "transient", true, "Try again later."
	default:
		p.Code, p.Class, remedy = "unexpected_answer", "internal", "Check that the URL is the installation's."
	}

	if p.Detail == "" {
		p.Detail = strings.TrimSpace("The answer was " + res.Status)
	}

	if why := described.FindStringSubmatch(res.Header.Get("Www-Authenticate")); why != nil {
		p.Detail += ": " + why[1]
	}

	p.Remedy = remedy

	return p
}

// stranger is the failure of a success that no installation of this product answers.
func stranger(status int) *Problem {
	return &Problem{
		Title: http.StatusText(status), Status: status, Code: "unexpected_answer", Class: "internal",
		Detail: "The answer is not one of an installation of metaflow-deployer.", Remedy: "Check that the URL is the installation's.",
	}
}

// requestID is how API Gateway names a request.
func requestID(h http.Header) string {
	if id := h.Get("Apigw-Requestid"); id != "" {
		return id
	}

	return h.Get("X-Amzn-Requestid")
}
