package frontdoor

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// event is payload format 2.0.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
type event struct {
	Version               string            `json:"version"`
	RouteKey              string            `json:"routeKey"`
	RawPath               string            `json:"rawPath"`
	RawQueryString        string            `json:"rawQueryString"`
	Cookies               []string          `json:"cookies,omitempty"`
	Headers               map[string]string `json:"headers"`
	QueryStringParameters map[string]string `json:"queryStringParameters,omitempty"`
	PathParameters        map[string]string `json:"pathParameters,omitempty"`
	RequestContext        requestContext    `json:"requestContext"`
	Body                  string            `json:"body,omitempty"`
	IsBase64Encoded       bool              `json:"isBase64Encoded"`
}

type requestContext struct {
	AccountID    string             `json:"accountId"`
	APIID        string             `json:"apiId"`
	Authorizer   *authorizerContext `json:"authorizer,omitempty"`
	DomainName   string             `json:"domainName"`
	DomainPrefix string             `json:"domainPrefix"`
	HTTP         httpContext        `json:"http"`
	RequestID    string             `json:"requestId"`
	RouteKey     string             `json:"routeKey"`
	Stage        string             `json:"stage"`
	Time         string             `json:"time"`
	TimeEpoch    int64              `json:"timeEpoch"`
}

type httpContext struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

type authorizerContext struct {
	JWT *jwtContext `json:"jwt,omitempty"`
	IAM *iamContext `json:"iam,omitempty"`
}

type jwtContext struct {
	Claims map[string]string `json:"claims"`
	Scopes []string          `json:"scopes"`
}

type iamContext struct {
	AccessKey       string  `json:"accessKey"`
	AccountID       string  `json:"accountId"`
	CallerID        string  `json:"callerId"`
	CognitoIdentity *string `json:"cognitoIdentity"` // always null: there is no Cognito here
	PrincipalOrgID  *string `json:"principalOrgId"`  // always null: there is no organization here
	UserARN         string  `json:"userArn"`
	UserID          string  `json:"userId"`
}

func (d *Door) event(r *http.Request, rt route, params map[string]string, path, id string, body []byte, a *authorizerContext) event {
	now := time.Now().UTC()
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = r.Host, "80"
	}
	source, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		source = r.RemoteAddr
	}
	prefix, _, _ := strings.Cut(host, ".")

	headers := map[string]string{}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	delete(headers, "cookie")
	headers["host"] = r.Host
	headers["x-forwarded-for"] = strings.TrimPrefix(headers["x-forwarded-for"]+", "+source, ", ")
	headers["x-forwarded-port"] = port
	headers["x-forwarded-proto"] = "http"
	if r.ContentLength >= 0 {
		headers["content-length"] = fmt.Sprint(len(body))
	}

	e := event{
		Version:        "2.0",
		RouteKey:       rt.Key,
		RawPath:        path,
		RawQueryString: r.URL.RawQuery,
		Headers:        headers,
		PathParameters: params,
		RequestContext: requestContext{
			AccountID:    d.opts.Account,
			APIID:        d.opts.API.ID,
			Authorizer:   a,
			DomainName:   host,
			DomainPrefix: prefix,
			HTTP:         httpContext{Method: r.Method, Path: path, Protocol: r.Proto, SourceIP: source, UserAgent: r.UserAgent()},
			RequestID:    id,
			RouteKey:     rt.Key,
			Stage:        "$default",
			Time:         now.Format("02/Jan/2006:15:04:05 +0000"),
			TimeEpoch:    now.UnixMilli(),
		},
	}
	for _, line := range r.Header.Values("Cookie") {
		for c := range strings.SplitSeq(line, ";") {
			if c = strings.TrimSpace(c); c != "" {
				e.Cookies = append(e.Cookies, c)
			}
		}
	}
	for name, values := range r.URL.Query() {
		if e.QueryStringParameters == nil {
			e.QueryStringParameters = map[string]string{}
		}
		e.QueryStringParameters[name] = strings.Join(values, ",")
	}
	e.Body = string(body)
	if len(body) > 0 && !isText(r.Header.Get("Content-Type"), body) {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return e
}

// isText says whether a body goes to the function as it is. Everything else goes in base64.
func isText(contentType string, body []byte) bool {
	if !utf8.Valid(body) {
		return false
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return contentType == "" // without a type API Gateway takes it for text
	}
	switch media {
	case "application/json", "application/javascript", "application/xml":
		return true
	}
	return strings.HasPrefix(media, "text/")
}

// respond writes a function's answer. An answer without a statusCode is, as in API Gateway, a body
// of its own. The error is an answer that is no HTTP response; nothing is written then.
func respond(w http.ResponseWriter, payload []byte) error {
	var res struct {
		StatusCode      *json.RawMessage `json:"statusCode"`
		Headers         map[string]any   `json:"headers"`
		Cookies         []string         `json:"cookies"`
		Body            *string          `json:"body"`
		IsBase64Encoded bool             `json:"isBase64Encoded"`
	}
	if !json.Valid(payload) {
		return fmt.Errorf("%d bytes that are not JSON", len(payload))
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	err := dec.Decode(&res)
	if res.StatusCode == nil {
		body := payload
		var text string
		if json.Unmarshal(payload, &text) == nil {
			body = []byte(text)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
		return nil
	}
	if err != nil {
		return err
	}
	var status int
	if err := json.Unmarshal(*res.StatusCode, &status); err != nil || status < 100 || status > 599 {
		return fmt.Errorf("statusCode %s", *res.StatusCode)
	}
	var body []byte
	if res.Body != nil {
		body = []byte(*res.Body)
	}
	if res.IsBase64Encoded {
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return fmt.Errorf("body: %w", err)
		}
	}

	h := w.Header()
	if len(body) > 0 {
		h.Set("Content-Type", "text/plain;charset=UTF-8") // API Gateway's default
	}
	for name, value := range res.Headers {
		switch strings.ToLower(name) {
		case "connection", "content-length", "date", "transfer-encoding": // the server's own
		default:
			h.Set(name, fmt.Sprint(value))
		}
	}
	for _, c := range res.Cookies {
		h.Add("Set-Cookie", c)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that left needs no answer
	return nil
}

// requestID looks like API Gateway's own: text in base64 that ends in a pad.
func requestID() string {
	var b [11]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}
