// Package client is the Go client of metaflow-deployer: what an installation's API offers, as Go functions.
//
//	c, err := client.New(client.Options{URL: "https://api.example.com", Authorize: client.Bearer(token)})
//	op, err := c.Create(ctx, client.CreateRequest{Name: "research"})
//	for op, err := range c.Watch(ctx, op.ID) { ... }
//
// Every call may be repeated by the client itself: reads are repeatable by nature, a delete whose answer was lost is done if nothing is there the next time,
// and whatever else changes something carries an Idempotency-Key that stays the same through all attempts of one call. What the API refuses is a *Problem,
// with the field, the cause and the remedy.
//
// The package needs the standard library only. Signing with AWS credentials is in client/sigv4 and signing in at an OIDC issuer in client/device, so that
// only those who import them link them. It must not know the product's insides: everything here stands in the public contract, and a member of an answer
// that this version does not know is no error; it is found in the noun's Raw.
package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Authorizer puts credentials on a request that is about to be sent with the given body. It is called for every attempt, so it may renew what expired. Its
// error ends the call.
type Authorizer func(r *http.Request, body []byte) error

// Bearer authorizes with a token of the installation's OIDC issuer.
func Bearer(token string) Authorizer {
	return func(r *http.Request, _ []byte) error {
		r.Header.Set("Authorization", "Bearer "+token)

		return nil
	}
}

// Options say whom to call and as whom. URL and Authorize are needed.
type Options struct {
	// URL is the installation's, with /iam behind it for callers who sign with AWS credentials. It is https, except on the loopback interface.
	URL       string
	Authorize Authorizer
	// Tenant, if set, is acted on instead of the caller's own; admins only.
	Tenant string
	// HTTP sends the requests; http.DefaultClient if nil. Redirects are never followed: credentials are for one host.
	HTTP *http.Client
	// UserAgent names the calling program.
	UserAgent string
	// Retrying, if set, is told each time that a call is going to be sent again: what came of the last attempt, a *Problem or a failure to reach the API, and
	// the pause before the next.
	Retrying func(err error, pause time.Duration)
}

// Client calls one installation. It may be used by many goroutines at a time.
type Client struct {
	base      *url.URL
	authorize Authorizer
	tenant    string
	http      *http.Client
	agent     string
	retrying  func(error, time.Duration)
}

// New makes a client. It calls nobody.
func New(o Options) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(o.URL, "/"))
	if err != nil || base.Host == "" || base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		return nil, fmt.Errorf("the URL %q is not one of an installation: write it like https://api.example.com", o.URL)
	}

	switch {
	case base.Scheme == "https":
	case base.Scheme == "http" && loopback(base.Hostname()):
	case base.Scheme == "http":
		return nil, fmt.Errorf("the URL %q would show your credentials to the network: use https", o.URL)
	default:
		return nil, fmt.Errorf("the URL %q does not begin with https://", o.URL)
	}

	if o.Authorize == nil {
		return nil, errors.New("the client has no credentials: set Authorize")
	}

	c := &Client{base: base, authorize: o.Authorize, tenant: o.Tenant, agent: o.UserAgent, http: &http.Client{}, retrying: o.Retrying}
	if o.HTTP != nil {
		*c.http = *o.HTTP
	}

	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	if c.agent == "" {
		c.agent = "metaflow-deployer-go"
	}

	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)

	return host == "localhost" || ip != nil && ip.IsLoopback()
}
