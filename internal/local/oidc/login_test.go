package oidc

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	verifier = "a-verifier-of-at-least-forty-three-characters-0123456789"
	home     = "http://127.0.0.1:8080" + callback
)

func newIssuer(t *testing.T) *Issuer {
	t.Helper()
	key, err := Key(filepath.Join(t.TempDir(), "oidc.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return New("http://127.0.0.1:8081"+Path, key)
}

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// asked is a request that is all right, with some members changed; an empty value takes one out.
func asked(changes url.Values) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {PortalClient}, "redirect_uri": {home}, "scope": {"openid"}, "state": {"s1"}, "nonce": {"n1"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}
	for name, v := range changes {
		q[name] = v
	}
	return q
}

func send(t *testing.T, i *Issuer, method, path string, form url.Values, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, Path+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, v := range header {
		r.Header[name] = v
	}
	rec := httptest.NewRecorder()
	i.ServeHTTP(rec, r)
	return rec.Result()
}

// login says who one is and answers the code and the cookie.
func login(t *testing.T, i *Issuer) (code string, cookie *http.Cookie) {
	t.Helper()
	res := send(t, i, http.MethodPost, "/authorize?"+asked(nil).Encode(), url.Values{"tenant": {"acme"}, "roles": {"viewer", "deployer"}}, nil)
	defer res.Body.Close()
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to.String(), home+"?") || to.Query().Get("state") != "s1" {
		t.Fatalf("login: %d %s %v", res.StatusCode, to, err)
	}
	return to.Query().Get("code"), res.Cookies()[0]
}

func redeem(t *testing.T, i *Issuer, code string, changes url.Values) (status int, body map[string]any) {
	t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {PortalClient}, "redirect_uri": {home}, "code_verifier": {verifier}}
	for name, v := range changes {
		form[name] = v
	}
	res := send(t, i, http.MethodPost, "/token", form, http.Header{"Origin": {"http://127.0.0.1:8080"}})
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

func TestLogin(t *testing.T) {
	i := newIssuer(t)
	code, cookie := login(t, i)
	status, body := redeem(t, i, code, nil)
	if status != http.StatusOK {
		t.Fatalf("redeem: %d %v", status, body)
	}
	for name, want := range map[string]jwt.MapClaims{
		"access_token": {"aud": Audience, "tenant": "acme"},
		"id_token":     {"aud": PortalClient, "nonce": "n1"},
	} {
		claims := jwt.MapClaims{}
		if _, err := jwt.ParseWithClaims(body[name].(string), claims, func(*jwt.Token) (any, error) { return &i.key.PublicKey, nil }, jwt.WithIssuer(i.URL())); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for claim, v := range want {
			if claims[claim] != v {
				t.Errorf("%s: %s is %v, want %v", name, claim, claims[claim], v)
			}
		}
	}
	if status, body := redeem(t, i, code, nil); status != http.StatusBadRequest || body["error"] != "invalid_grant" {
		t.Errorf("a code was taken twice: %d %v", status, body)
	}

	again := send(t, i, http.MethodGet, "/authorize?"+asked(nil).Encode(), nil, http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}})
	defer again.Body.Close()
	if again.StatusCode != http.StatusSeeOther || !strings.Contains(again.Header.Get("Location"), "code=") {
		t.Errorf("who is logged in is asked again: %d", again.StatusCode)
	}
	fresh := send(t, i, http.MethodGet, "/authorize?"+asked(url.Values{"prompt": {"login"}}).Encode(), nil, http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}})
	defer fresh.Body.Close()
	if fresh.StatusCode != http.StatusOK {
		t.Errorf("prompt=login shows no login page: %d", fresh.StatusCode)
	}
	out := send(t, i, http.MethodGet, "/logout?"+url.Values{"post_logout_redirect_uri": {"http://127.0.0.1:8080/portal/logged-out"}}.Encode(), nil, nil)
	defer out.Body.Close()
	if out.Header.Get("Location") != "http://127.0.0.1:8080/portal/logged-out" || out.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %v", out.Header)
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	tests := map[string]struct {
		reason string
		change url.Values
		back   string // the error that the client is told; empty where the browser must not be sent anywhere
	}{
		"Client":    {"an unknown client has no redirect_uri to trust", url.Values{"client_id": {"other"}}, ""},
		"Elsewhere": {"a code must not leave this computer", url.Values{"redirect_uri": {"https://evil.example" + callback}}, ""},
		"Lookalike": {"the host decides, not how the text begins", url.Values{"redirect_uri": {"http://127.0.0.1.evil.example" + callback}}, ""},
		"User":      {"what stands before @ is no host", url.Values{"redirect_uri": {"http://127.0.0.1@evil.example" + callback}}, ""},
		"Path":      {"only the portal's callback takes codes", url.Values{"redirect_uri": {"http://127.0.0.1:8080/v1"}}, ""},
		"Nothing":   {"no redirect_uri", url.Values{"redirect_uri": {""}}, ""},
		"Implicit":  {"a token in the address", url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		"NoPKCE":    {"a stolen code would be enough", url.Values{"code_challenge": {""}}, "invalid_request"},
		"PlainPKCE": {"so would it be here", url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"Scope":     {"this is OpenID Connect", url.Values{"scope": {"email"}}, "invalid_scope"},
	}
	i := newIssuer(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				res := send(t, i, method, "/authorize?"+asked(tc.change).Encode(), url.Values{"tenant": {"acme"}, "roles": {"admin"}}, nil)
				defer res.Body.Close()
				to, err := url.Parse(res.Header.Get("Location"))
				if err != nil {
					t.Fatal(err)
				}
				if tc.back == "" && (res.StatusCode != http.StatusBadRequest || to.String() != "") || tc.back != "" && to.Query().Get("error") != tc.back {
					t.Errorf("%s %s: %d %s", tc.reason, method, res.StatusCode, to)
				}
			}
		})
	}
}

func TestTokenRefuses(t *testing.T) {
	tests := map[string]struct {
		reason string
		change url.Values
		want   string
	}{
		"Verifier":  {"whoever stole the code does not know it", url.Values{"code_verifier": {verifier + "x"}}, "invalid_grant"},
		"NoneAtAll": {"nor may it be left out", url.Values{"code_verifier": {""}}, "invalid_grant"},
		"Redirect":  {"it must be the one that was asked with", url.Values{"redirect_uri": {"http://127.0.0.1:9" + callback}}, "invalid_grant"},
		"Client":    {"another client", url.Values{"client_id": {"other"}}, "invalid_client"},
		"Code":      {"made up", url.Values{"code": {"x"}}, "invalid_grant"},
		"Grant":     {"another grant", url.Values{"grant_type": {"password"}}, "unsupported_grant_type"},
	}
	i := newIssuer(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			code, _ := login(t, i)
			if status, body := redeem(t, i, code, tc.change); status != http.StatusBadRequest || body["error"] != tc.want {
				t.Errorf("%s: %d %v", tc.reason, status, body)
			}
		})
	}
}

func TestCodesGrowOld(t *testing.T) {
	i := newIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		code, _ := login(t, i)
		time.Sleep(codeLives + time.Second)
		if status, body := redeem(t, i, code, nil); status != http.StatusBadRequest || body["error"] != "invalid_grant" {
			t.Errorf("an old code was taken: %d %v", status, body)
		}
	})
}

func TestOrigins(t *testing.T) {
	i := newIssuer(t)
	for origin, want := range map[string]string{"http://127.0.0.1:8080": "http://127.0.0.1:8080", "http://localhost:3": "http://localhost:3", "https://evil.example": "", "null": ""} {
		res := send(t, i, http.MethodGet, "/jwks.json", nil, http.Header{"Origin": {origin}})
		defer res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s may read: %q, want %q", origin, got, want)
		}
	}
}
