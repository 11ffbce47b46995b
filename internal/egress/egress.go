// Package egress calls addresses that callers name: webhooks today. Such an address is hostile until shown otherwise, because whoever names it makes this
// service knock at it, from where it runs. So a URL has one form (https, a public DNS name, port 443, written as it is read), every address that its name
// resolves to must be public, the connection goes to an address that was checked, and is checked once more by the dialer; no redirect is followed, no proxy
// asked, and of the answer only the status is kept.
//
// What else may be called is a setting of the installation: a list of origins. The package must not know what is sent, nor why.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

const (
	// timeout bounds a whole call.
	timeout = 10 * time.Second
	// maxURL is more than any receiver needs. An address that AWS signed with a session's token has about 2 KiB.
	maxURL = 8 << 10
	// maxBody and maxHeader bound what is read of an answer.
	maxBody   = 64 << 10
	maxHeader = 16 << 10
)

// resolver finds the addresses of a name; *net.Resolver is one.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Egress calls what may be called.
type Egress struct {
	client *http.Client
	names  resolver
	extra  []origin
	// connect is how an address is reached that was checked.
	connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// origin is one that the installation allows beside what anybody may name. An empty port stands for every port.
type origin struct{ scheme, host, port string }

// New takes the origins that may be called although nobody else's like would be: "https://hooks.corp.example:8443". A port of "*" stands for every port.
func New(allow []string) (*Egress, error) {
	e := &Egress{names: net.DefaultResolver, connect: guarded().DialContext}

	for _, text := range allow {
		o, err := parseOrigin(text)
		if err != nil {
			return nil, fmt.Errorf("the origin %q cannot be allowed: %w", text, err)
		}

		e.extra = append(e.extra, o)
	}

	e.client = &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// No proxy: what a proxy resolves was checked by nobody. A connection is for one call, so none outlives what was checked for it.
		Transport: &http.Transport{
			DialContext: e.dial, DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: maxHeader,
		},
	}

	return e, nil
}

func parseOrigin(text string) (origin, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme != "https" && scheme != "http" {
		return origin{}, errors.New("it begins with neither https:// nor http://")
	}

	host, port, found := strings.Cut(rest, ":")
	if host == "" || strings.ContainsAny(rest, "/?#@[] ") || found && port == "" || strings.Contains(port, ":") {
		return origin{}, errors.New("it is not a scheme, a host and a port")
	}

	switch port {
	case "":
		port = map[string]string{"https": "443", "http": "80"}[scheme]
	case "*":
		port = ""
	}

	return origin{scheme, strings.ToLower(host), port}, nil
}

// allowed says whether the installation lets a host and port be called whatever they are. An empty scheme fits any.
func (e *Egress) allowed(scheme, host, port string) bool {
	return slices.ContainsFunc(e.extra, func(o origin) bool {
		return (scheme == "" || o.scheme == scheme) && o.host == strings.ToLower(host) && (o.port == "" || o.port == port)
	})
}

// label is one part of a DNS name as it is looked up; an IDN is written in its ASCII form.
const label = `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`

// publicName has a dot, and letters in its last label: whatever ends in a number is an address in some notation.
var publicName = regexp.MustCompile(`^(` + label + `\.)+([a-z]{2,63}|xn--[a-z0-9-]{1,58}[a-z0-9])$`)

// privateSuffixes end the names of what is not on the internet. IANA, "Special-Use Domain Names"; RFC 6762 appendix G; ICANN's .internal; and what clouds
// call their metadata services by.
func privateSuffixes() []string {
	return []string{
		".localhost", ".local", ".localdomain", ".internal", ".intranet", ".private", ".corp", ".home", ".lan", ".home.arpa", ".arpa", ".onion", ".alt",
		".test", ".example", ".invalid",
	}
}

// CheckURL tells why a URL cannot be called. It looks nothing up: what a name resolves to is checked whenever it is called.
func (e *Egress) CheckURL(raw string) *deploy.Error {
	if why := e.unfit(raw); why != "" {
		return deploy.Errorf(deploy.Invalid, "invalid_url", "The URL cannot be called: %s.", why).At("/url").
			WithRemedy("Name a public address like https://hooks.company.com/metaflow: https, a DNS name, port 443, no user, no fragment.")
	}

	return nil
}

// Listed tells whether a URL fits and is of an origin that the installation lists, whatever else may be called.
func (e *Egress) Listed(raw string) bool {
	if e.unfit(raw) != "" {
		return false
	}

	u, err := url.Parse(raw)

	return err == nil && e.allowed(u.Scheme, u.Hostname(), effectivePort(u))
}

func (e *Egress) unfit(raw string) string {
	switch {
	case raw == "":
		return "it is empty"
	case len(raw) > maxURL:
		return fmt.Sprintf("it is longer than %d characters", maxURL)
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }):
		return "it holds a character that must be escaped"
	}

	u, err := url.Parse(raw)
	if err != nil {
		return "it is no URL" // the parser's words quote it
	}

	switch {
	case u.Host == "" || u.Opaque != "":
		return "it is not a scheme, // and a host"
	case u.User != nil || strings.Contains(u.Host, "@"):
		return "it names a user"
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return "it has a fragment"
	case u.String() != raw:
		return "it is written otherwise than it is read"
	case e.allowed(u.Scheme, u.Hostname(), effectivePort(u)):
		return ""
	case u.Scheme != "https":
		return "its scheme is not https"
	}

	name := strings.ToLower(u.Hostname())

	switch {
	case strings.ToLower(u.Host) != name && strings.ToLower(u.Host) != name+":443":
		return "its port is not 443, or its host is an IP address"
	case len(name) > 253 || !publicName.MatchString(name):
		return "its host is not a public DNS name"
	case slices.ContainsFunc(privateSuffixes(), func(s string) bool { return strings.HasSuffix(name, s) }):
		return "its host is a name of a private network"
	}

	return ""
}

func effectivePort(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}

	return map[string]string{"https": "443", "http": "80"}[u.Scheme]
}

// Do sends a request and answers the status, whatever it is. The URL is checked again, for it may have been stored under other rules. An error never quotes
// the URL: its path may be a secret.
func (e *Egress) Do(req *http.Request) (status int, err error) {
	if refused := e.CheckURL(req.URL.String()); refused != nil {
		return 0, refused
	}

	res, err := e.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}

		return 0, fmt.Errorf("call: %w", err)
	}
	defer res.Body.Close()

	// Nobody wants the body; a receiver that is cut off while it sends one might take its answer for lost.
	_, _ = io.CopyN(io.Discard, res.Body, maxBody)

	return res.StatusCode, nil
}

// dial connects to the first address of a name that answers. All of them must be public: a name that mixes both is one that rebinds.
func (e *Egress) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}

	if e.allowed("", host, port) {
		return (&net.Dialer{Timeout: timeout}).DialContext(ctx, network, address)
	}

	addresses, err := e.names.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}

	for _, a := range addresses {
		if why := notPublic(a.Unmap()); why != "" {
			return nil, &NotPublicError{Why: why}
		}
	}

	var failed error

	for _, a := range addresses {
		conn, err := e.connect(ctx, network, netip.AddrPortFrom(a.Unmap(), 443).String())
		if err == nil {
			return conn, nil
		}

		failed = errors.Join(failed, err)
	}

	if failed == nil {
		failed = errors.New("the name has no address")
	}

	return nil, failed
}

// guarded is a dialer that looks at each address at the last moment, with the socket made and not yet connected.
func guarded() *net.Dialer { return &net.Dialer{Timeout: timeout / 2, Control: control} }

func control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read the address to connect to: %w", err)
	}

	if why := notPublic(at.Addr().Unmap()); why != "" {
		return &NotPublicError{Why: why}
	}

	if at.Port() != 443 {
		return &NotPublicError{Why: "a port other than 443"}
	}

	return nil
}

// NotPublicError says that a name leads to where nobody may send this service.
type NotPublicError struct{ Why string }

func (e *NotPublicError) Error() string { return "the host resolves to " + e.Why }
