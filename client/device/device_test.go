package device_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/client/device"
)

// issuer is an OpenID Connect issuer with the device grant: it keeps the codes that it gave out and what became of them, and holds clients to RFC 8628.
type issuer struct {
	t *testing.T

	mu sync.Mutex
	// signsIn is when the person is done, refuses is when they say no; zero is never.
	signsIn, refuses time.Time
	lasts, interval  time.Duration
	// busy makes the next questions fail with 503, or slow asks to slow down.
	busy, slow int
	begun      time.Time
	asked      []time.Duration
	rotate     bool
	metadata   map[string]any
}

const code = "device-code-1"

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	i.serve(rec, r)

	return rec.Result(), r.Context().Err()
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()

	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)

		if err := json.NewEncoder(w).Encode(v); err != nil {
			i.t.Error(err)
		}
	}
	refuse := func(code string) { answer(http.StatusBadRequest, map[string]string{"error": code}) }

	if err := r.ParseForm(); err != nil {
		i.t.Error(err)
	}

	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/tenant/.well-known/openid-configuration":
		answer(http.StatusOK, i.metadata)
	case strings.Contains(r.URL.Path, ".well-known"):
		http.NotFound(w, r)
	case r.Form.Get("client_id") != "cli":
		refuse("invalid_client")
	case r.URL.Path == "/device":
		if r.Form.Get("scope") != "openid offline_access" || r.Form.Get("audience") != "metaflow-deployer" {
			refuse("invalid_scope")

			return
		}

		i.begun = time.Now()
		started := map[string]any{
			"device_code": code, "user_code": "WDJB-MJHT", "verification_uri": "https://issuer.test/device",
			"verification_uri_complete": "https://issuer.test/device?user_code=WDJB-MJHT", "expires_in": i.lasts.Seconds(),
		}

		if i.interval > 0 {
			started["interval"] = i.interval.Seconds()
		}

		answer(http.StatusOK, started)
	case r.URL.Path == "/token" && r.Form.Get("grant_type") == "refresh_token":
		if r.Form.Get("refresh_token") != "refresh-1" {
			refuse("invalid_grant")

			return
		}

		given := map[string]any{"access_token": "access-2", "expires_in": 3600}
		if i.rotate {
			given["refresh_token"] = "refresh-2"
		}

		answer(http.StatusOK, given)
	case r.URL.Path == "/token":
		i.asked = append(i.asked, time.Since(i.begun))
		i.poll(r, answer, refuse)
	default:
		http.NotFound(w, r)
	}
}

func (i *issuer) poll(r *http.Request, answer func(int, any), refuse func(string)) {
	now := time.Now()

	switch {
	case r.Form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:device_code" || r.Form.Get("device_code") != code:
		refuse("invalid_grant")
	case i.busy > 0:
		i.busy--

		answer(http.StatusServiceUnavailable, "down for a moment")
	case now.After(i.begun.Add(i.lasts)):
		refuse("expired_token")
	case i.slow > 0:
		i.slow--

		refuse("slow_down")
	case !i.refuses.IsZero() && now.After(i.refuses):
		refuse("access_denied")
	case i.signsIn.IsZero() || now.Before(i.signsIn):
		refuse("authorization_pending")
	default:
		answer(http.StatusOK, map[string]any{"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 3600, "token_type": "Bearer"})
	}
}

// begin makes an issuer for a test in a bubble, and how to sign in there.
func begin(t *testing.T) (*issuer, device.Issuer) {
	t.Helper()

	i := &issuer{t: t, lasts: 10 * time.Minute, metadata: map[string]any{
		"issuer": "https://issuer.test/tenant", "device_authorization_endpoint": "https://issuer.test/device", "token_endpoint": "https://issuer.test/token",
	}}

	return i, device.Issuer{URL: "https://issuer.test/tenant", ClientID: "cli", Audience: "metaflow-deployer", HTTP: &http.Client{Transport: i}}
}

func TestSignIn(t *testing.T) {
	t.Parallel()

	s := func(list ...int) []time.Duration {
		var all []time.Duration
		for _, n := range list {
			all = append(all, time.Duration(n)*time.Second)
		}

		return all
	}

	for name, tc := range map[string]struct {
		reason string
		set    func(*issuer)
		asked  []time.Duration
		refuse string
	}{
		"Pending":    {reason: "authorization_pending is asked again after 5 s, the default", set: func(i *issuer) { i.signsIn = time.Now().Add(12 * time.Second) }, asked: s(5, 10, 15)},
		"Interval":   {reason: "the issuer's own interval", set: func(i *issuer) { i.interval, i.signsIn = 2*time.Second, time.Now().Add(3*time.Second) }, asked: s(2, 4)},
		"SlowDown":   {reason: "slow_down adds 5 s for this and all later questions", set: func(i *issuer) { i.slow, i.signsIn = 2, time.Now().Add(40*time.Second) }, asked: s(5, 15, 30, 45)},
		"Stumbles":   {reason: "a failure is asked again, less often", set: func(i *issuer) { i.busy, i.signsIn = 1, time.Now() }, asked: s(5, 15)},
		"Denied":     {reason: "access_denied is final", set: func(i *issuer) { i.refuses = time.Now().Add(6 * time.Second) }, asked: s(5, 10), refuse: "access_denied"},
		"Expired":    {reason: "expired_token is final", set: func(i *issuer) { i.lasts = 12 * time.Second }, asked: s(5, 10), refuse: "expired_token"},
		"ToldSo":     {reason: "the issuer's clock decides, too", set: func(i *issuer) { i.lasts, i.begun = 5*time.Second-time.Millisecond, time.Now() }, refuse: "expired_token"},
		"WrongScope": {reason: "another refusal is final at once", set: func(i *issuer) { i.metadata["device_authorization_endpoint"] = "https://issuer.test/token" }, refuse: "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				i, at := begin(t)
				tc.set(i)

				var shown device.Prompt

				token, err := device.SignIn(t.Context(), at, func(p device.Prompt) { shown = p })

				refused, _ := errors.AsType[*device.Error](err)
				if (tc.refuse == "") != (err == nil) || err != nil && (refused == nil || refused.Code != tc.refuse) {
					t.Fatalf("%s: %v", tc.reason, err)
				}

				if err == nil && (token.Access != "access-1" || token.Refresh != "refresh-1" || time.Until(token.Expires) != time.Hour || !token.Valid()) {
					t.Errorf("%s: %+v", tc.reason, token)
				}

				if name != "WrongScope" && (shown.Code != "WDJB-MJHT" || shown.Address != "https://issuer.test/device" || shown.Complete == "") {
					t.Errorf("%s: shown %+v", tc.reason, shown)
				}

				if tc.asked != nil && texts(i.asked) != texts(tc.asked) {
					t.Errorf("%s: asked after %v, want %v", tc.reason, i.asked, tc.asked)
				}
			})
		})
	}
}

func texts(list []time.Duration) string {
	var b []string
	for _, d := range list {
		b = append(b, d.String())
	}

	return strings.Join(b, " ")
}

// TestIssuersNotToBelieve: codes and tokens go to the issuer that the person named, over TLS, or nowhere.
func TestIssuersNotToBelieve(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason string
		set    func(*issuer, *device.Issuer)
		says   string
	}{
		"Clear":     {reason: "an issuer without TLS", set: func(_ *issuer, at *device.Issuer) { at.URL = "http://issuer.test/tenant" }, says: "no https URL"},
		"NoClient":  {reason: "nobody knows this program", set: func(_ *issuer, at *device.Issuer) { at.ClientID = "" }, says: "client id"},
		"Other":     {reason: "metadata of somebody else", set: func(i *issuer, _ *device.Issuer) { i.metadata["issuer"] = "https://evil.test" }, says: "not that of the issuer"},
		"ClearLine": {reason: "tokens over a clear line", set: func(i *issuer, _ *device.Issuer) { i.metadata["token_endpoint"] = "http://issuer.test/token" }, says: "not that of the issuer"},
		"NoDevices": {reason: "an issuer without the grant", set: func(i *issuer, _ *device.Issuer) { delete(i.metadata, "device_authorization_endpoint") }, says: "no sign-in from a device"},
		"NoSuch":    {reason: "no issuer at the address", set: func(_ *issuer, at *device.Issuer) { at.URL = "https://issuer.test/else" }, says: "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				i, at := begin(t)
				tc.set(i, &at)

				_, err := device.SignIn(t.Context(), at, func(device.Prompt) { t.Error("nothing to show") })
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s: %v", tc.reason, err)
				}
			})
		})
	}
}

func TestSignInEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, at := begin(t)

		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()

		if _, err := device.SignIn(ctx, at, func(device.Prompt) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, at := begin(t)
		old := device.Token{Access: "access-1", Refresh: "refresh-1", Expires: time.Now().Add(20 * time.Second)}

		if old.Valid() {
			t.Error("a token that expires in a moment is not sent")
		}

		if got, err := device.Renew(t.Context(), at, old); err != nil || got.Access != "access-2" || got.Refresh != "refresh-1" || !got.Valid() {
			t.Errorf("an issuer that does not rotate: %+v %v", got, err)
		}

		i.rotate = true
		if got, err := device.Renew(t.Context(), at, old); err != nil || got.Refresh != "refresh-2" {
			t.Errorf("an issuer that does: %+v %v", got, err)
		}

		for _, refresh := range []string{"", "revoked"} {
			_, err := device.Renew(t.Context(), at, device.Token{Access: "a", Refresh: refresh})
			if refused, _ := errors.AsType[*device.Error](err); refused == nil || refused.Code != "invalid_grant" {
				t.Errorf("%q: the person must sign in again: %v", refresh, err)
			}
		}
	})
}
