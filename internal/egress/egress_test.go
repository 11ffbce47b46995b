package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// names is a resolver whose answers are written down: the n-th lookup of any name gets the n-th list, the last one for ever.
type names struct {
	answers [][]string
	asked   atomic.Int64
}

func (n *names) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	i := int(n.asked.Add(1)) - 1

	var list []netip.Addr
	for _, a := range n.answers[min(i, len(n.answers)-1)] {
		list = append(list, netip.MustParseAddr(a))
	}

	return list, nil
}

// open is an egress with that resolver, whose connections all lead to one place and are written down.
func open(t *testing.T, n *names, server *httptest.Server, allow ...string) (e *Egress, dialled *[]string) {
	t.Helper()

	e, err := New(allow)
	if err != nil {
		t.Fatal(err)
	}

	dialled = &[]string{}
	e.names = n
	e.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
		*dialled = append(*dialled, address)

		if server == nil {
			return nil, errors.New("nothing is there")
		}

		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}

	if server != nil && server.TLS != nil {
		pool := x509.NewCertPool()
		pool.AddCert(server.Certificate())
		e.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
	}

	return e, dialled
}

func send(t *testing.T, e *Egress, to string) (int, error) {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}

	return e.Do(req)
}

func TestHostileURLsAreRefused(t *testing.T) {
	t.Parallel()

	n := &names{answers: [][]string{{"8.8.8.8"}}}
	e, dialled := open(t, n, nil, "https://hooks.corp.lan:8443", "http://127.0.0.1:9999")
	rows, seen := 0, map[string]bool{}

	for _, group := range hostile() {
		for _, raw := range group.urls {
			rows++

			if seen[raw] {
				t.Errorf("%q stands there twice", raw)
			}

			seen[raw] = true

			refused := e.CheckURL(raw)
			if refused == nil {
				t.Errorf("%q is let through: %s", raw, group.reason)

				continue
			}

			if refused.Class != deploy.Invalid || refused.Code != "invalid_url" || refused.Pointer != "/url" || refused.Remedy == "" {
				t.Errorf("%q: %+v", raw, refused)
			}

			if len(raw) > 20 && strings.Contains(refused.Message, raw) {
				t.Errorf("the refusal quotes the URL: %s", refused.Message)
			}

			// Whoever got one into the table in some other way gets no further.
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, http.NoBody)
			if err != nil || req.URL.String() != raw {
				continue // no request can hold it as it is written
			}

			if _, err := e.Do(req); err == nil {
				t.Errorf("%q is called: %s", raw, group.reason)
			}
		}
	}

	if n.asked.Load() > 0 || len(*dialled) > 0 {
		t.Errorf("refused URLs were looked up %d times, and dialled: %v", n.asked.Load(), *dialled)
	}

	if rows < 150 {
		t.Errorf("the corpus has %d URLs", rows)
	}

	t.Logf("%d URLs refused", rows)
}

func TestGoodURLs(t *testing.T) {
	t.Parallel()

	e, err := New([]string{"https://hooks.corp.lan:8443", "http://127.0.0.1:9999"})
	if err != nil {
		t.Fatal(err)
	}

	for _, raw := range []string{
		"https://example.com", "https://example.com/", "https://example.com:443/hook", "https://hooks.company.co.uk/a/b?c=d&e=%20f", "https://EXAMPLE.com/Case",
		"https://xn--bcher-kva.example.org/x", "https://a.xn--p1ai/x", "https://1.example.com/numeric-label", "https://10.0.0.1.example.com/only-looks-like-one",
		"https://example.com/http://127.0.0.1/in-the-path", "https://example.com/@user", "https://hooks.slack.com/services/T000/B000/XXXX",
		"https://hooks.corp.lan:8443/allowed-by-the-operator", "http://127.0.0.1:9999/allowed-by-the-operator",
		"https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/arn%3Aaws%3Acloudformation%3A?X-Amz-Signature=abc",
		"https://" + strings.Repeat("a", 63) + ".example.com/",
	} {
		if refused := e.CheckURL(raw); refused != nil {
			t.Errorf("%s: %v", raw, refused)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()

	for text, reason := range map[string]string{
		"":                         "nothing",
		"hooks.corp.lan":           "no scheme",
		"ftp://hooks.corp.lan":     "a scheme that is not called",
		"https://":                 "no host",
		"https://a/path":           "an origin has no path",
		"https://user@a":           "nor a user",
		"https://a:":               "a port that is not there",
		"https://a:1:2":            "two ports",
		"https://*.corp.lan:8443/": "a path again",
	} {
		if _, err := New([]string{text}); err == nil {
			t.Errorf("%q is taken for an origin: %s", text, reason)
		}
	}

	e, err := New([]string{"http://127.0.0.1:*", "https://hooks.corp.lan"})
	if err != nil {
		t.Fatal(err)
	}

	for raw, fits := range map[string]bool{
		"http://127.0.0.1:1/x": true, "http://127.0.0.1:65535/": true, "http://127.0.0.1/": true, "https://hooks.corp.lan/": true, "https://hooks.corp.lan:443/": true,
		"https://127.0.0.1:1/x": false, "http://127.0.0.2:1/": false, "http://localhost:1/": false, "https://hooks.corp.lan:444/": false,
		"http://hooks.corp.lan/": false, "https://x.hooks.corp.lan/": false, "http://u@127.0.0.1:1/": false,
	} {
		if refused := e.CheckURL(raw); (refused == nil) != fits {
			t.Errorf("%s: %v", raw, refused)
		}

		if e.Listed(raw) != fits {
			t.Errorf("%s: listed is %t", raw, !fits)
		}
	}

	if e.Listed("https://example.com/") {
		t.Error("what anybody may name is not listed")
	}
}

// A name is only as good as what it resolves to.
func TestAddressesThatAreNotPublic(t *testing.T) {
	t.Parallel()

	for _, bad := range addresses() {
		for reason, answer := range map[string][]string{"alone": {bad}, "behind a public one": {"8.8.8.8", bad}, "before one": {bad, "2606:4700::1111"}} {
			e, dialled := open(t, &names{answers: [][]string{answer}}, nil)

			_, err := send(t, e, "https://hooks.company.com/secret-path")
			if _, ok := errors.AsType[*NotPublicError](err); !ok {
				t.Errorf("%s, %s: %v", bad, reason, err)
			}

			if len(*dialled) > 0 {
				t.Errorf("%s, %s: connected to %v", bad, reason, *dialled)
			}
		}
	}

	for _, good := range []string{"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "169.253.0.1", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1", "2600:1f18::1"} {
		e, dialled := open(t, &names{answers: [][]string{{good}}}, nil)
		if _, err := send(t, e, "https://hooks.company.com/"); err == nil || len(*dialled) != 1 {
			t.Errorf("%s is public: %v, dialled %v", good, err, *dialled)
		}
	}
}

// TestRebinding: a name that was public when it was checked, and no longer is. Each call looks it up once, checks every answer and connects to what it
// checked, never to the name.
func TestRebinding(t *testing.T) {
	t.Parallel()

	n := &names{answers: [][]string{{"8.8.8.8"}, {"169.254.169.254"}, {"127.0.0.1"}, {"8.8.4.4", "10.0.0.1"}}}
	e, dialled := open(t, n, nil)

	for range 6 {
		if _, err := send(t, e, "https://rebind.company.com/x"); err == nil {
			t.Error("a call succeeded where nothing is")
		}
	}

	if len(*dialled) != 1 || (*dialled)[0] != "8.8.8.8:443" || n.asked.Load() != 6 {
		t.Errorf("connected to %v after %d lookups", *dialled, n.asked.Load())
	}

	// Were the address changed between the check and the socket, the dialer itself would refuse to connect.
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "169.254.169.254:443", "[fd00:ec2::254]:443", "[::ffff:10.0.0.1]:443"} {
		conn, err := guarded().DialContext(t.Context(), "tcp", address)
		if _, ok := errors.AsType[*NotPublicError](err); !ok {
			t.Errorf("%s: %v, %v", address, conn, err)
		}
	}

	for address, reason := range map[string]string{"8.8.8.8:80": "a port that nobody checked", "8.8.8.8": "no port", "host:443": "a name"} {
		if control("tcp", address, nil) == nil {
			t.Errorf("%s: %s", address, reason)
		}
	}

	if err := control("tcp", "8.8.8.8:443", nil); err != nil {
		t.Errorf("a public address: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()

	var calls atomic.Int64

	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusTemporaryRedirect)
	}))
	defer server.Close()

	for _, to := range []string{"https://169.254.169.254/latest/meta-data/", "http://localhost/", "/again", "https://example.com/elsewhere", "//10.0.0.1/", "file:///etc/passwd"} {
		e, _ := open(t, &names{answers: [][]string{{"8.8.8.8"}}}, server)
		before := calls.Load()

		status, err := send(t, e, "https://example.com/?to="+to)
		if err != nil || status != http.StatusTemporaryRedirect || calls.Load() != before+1 {
			t.Errorf("to %s: %d %v, %d calls", to, status, err, calls.Load()-before)
		}
	}
}

func TestAnswersAreThrownAway(t *testing.T) {
	t.Parallel()

	endless := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "{}" {
			t.Errorf("the receiver read %q: %v", body, err)
		}

		w.WriteHeader(http.StatusAccepted)

		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				close(endless)

				return
			}
		}
	}))
	defer server.Close()

	e, _ := open(t, &names{answers: [][]string{{"8.8.8.8"}}}, server)
	if status, err := send(t, e, "https://example.com/x"); err != nil || status != http.StatusAccepted {
		t.Errorf("%d %v", status, err)
	}

	<-endless // the receiver that never ends was cut off

	// A certificate for another name is no receiver.
	_, err := send(t, e, "https://other.company.com/secret-path")
	if err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("a wrong certificate, and no word of the URL: %v", err)
	}
}
