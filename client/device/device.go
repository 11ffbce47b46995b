// Package device signs a person in at an OpenID Connect issuer from a program without a browser: the program shows an address and a code, the person
// opens the address on any device, and the program asks the issuer until they are done (OAuth 2.0 Device Authorization Grant, RFC 8628).
//
// It must not know what the token is for, nor where it is kept.
package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Issuer is where people sign in, and as which program. URL and ClientID are needed.
type Issuer struct {
	// URL is the issuer's, as its tokens name it.
	URL string `json:"issuer"`
	// ClientID is the program's at the issuer: a public client with the device grant.
	ClientID string `json:"clientId"`
	// Audience is asked for where the issuer needs to be told whom the token is for.
	Audience string `json:"audience,omitempty"`
	// Scope is openid and offline_access if empty: the second is what refresh tokens come with.
	Scope string `json:"scope,omitempty"`
	// HTTP sends the requests; http.DefaultClient if nil.
	HTTP *http.Client `json:"-"`
}

// Prompt is what the person is to be shown.
type Prompt struct {
	// Address is where to go, and Code what to type there; Complete, if not empty, is an address that holds the code already.
	Address, Code, Complete string
	// Expires is when the code does.
	Expires time.Time
}

// Token is what the issuer gave.
type Token struct {
	Access  string    `json:"accessToken"`
	Refresh string    `json:"refreshToken,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// Valid tells whether the token can still be used for a moment.
func (t Token) Valid() bool {
	return t.Access != "" && (t.Expires.IsZero() || time.Until(t.Expires) > 30*time.Second)
}

// Error is a refusal in the words of OAuth (RFC 6749 5.2, RFC 8628 3.5).
type Error struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *Error) Error() string {
	switch {
	case e.Code == "expired_token":
		return "nobody signed in before the code expired"
	case e.Code == "access_denied":
		return "the sign-in was refused"
	case e.Description != "":
		return fmt.Sprintf("the issuer refused: %s (%s)", e.Description, e.Code)
	}

	return "the issuer refused: " + e.Code
}

const (
	// interval is between two questions if the issuer names no other; slowDown is added when it asks for that (RFC 8628 3.2 and 3.5).
	interval = 5 * time.Second
	slowDown = 5 * time.Second
	// request bounds each question, answer the size of what is read.
	request = 30 * time.Second
	largest = 1 << 20

	grant = "urn:ietf:params:oauth:grant-type:device_code"
)

// SignIn shows the prompt and waits until the person signed in, refused, or let the code expire.
func SignIn(ctx context.Context, i Issuer, show func(Prompt)) (Token, error) {
	known, err := i.discover(ctx)
	if err != nil {
		return Token{}, err
	}

	if known.Device == "" {
		return Token{}, fmt.Errorf("the issuer %s offers no sign-in from a device: it names no device_authorization_endpoint", i.URL)
	}

	var started struct {
		DeviceCode string  `json:"device_code"`
		UserCode   string  `json:"user_code"`
		Address    string  `json:"verification_uri"`
		Complete   string  `json:"verification_uri_complete"`
		ExpiresIn  float64 `json:"expires_in"`
		Interval   float64 `json:"interval"`
	}

	form := url.Values{"client_id": {i.ClientID}, "scope": {i.Scope}}
	if i.Scope == "" {
		form.Set("scope", "openid offline_access")
	}

	if i.Audience != "" {
		form.Set("audience", i.Audience)
	}

	if err := i.post(ctx, known.Device, form, &started); err != nil {
		return Token{}, fmt.Errorf("begin the sign-in: %w", err)
	}

	if started.DeviceCode == "" || started.UserCode == "" || started.Address == "" {
		return Token{}, fmt.Errorf("begin the sign-in: the issuer %s answered without a code or an address", i.URL)
	}

	expires := time.Now().Add(seconds(started.ExpiresIn))
	show(Prompt{Address: started.Address, Code: started.UserCode, Complete: started.Complete, Expires: expires})

	pause := interval
	if started.Interval > 0 {
		pause = seconds(started.Interval)
	}

	return i.poll(ctx, known.Token, started.DeviceCode, pause, expires)
}

// poll asks until there is a token or a final refusal.
func (i Issuer) poll(ctx context.Context, endpoint, code string, pause time.Duration, expires time.Time) (Token, error) {
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return Token{}, ctx.Err()
		}

		if time.Now().After(expires) {
			return Token{}, &Error{Code: "expired_token"}
		}

		t, err := i.token(ctx, endpoint, url.Values{"grant_type": {grant}, "device_code": {code}, "client_id": {i.ClientID}})
		if err == nil {
			return t, nil
		}

		refused, ok := errors.AsType[*Error](err)

		switch {
		case ok && refused.Code == "authorization_pending":
		case ok && refused.Code == "slow_down":
			pause += slowDown
		case ok:
			return Token{}, err
		case unreachable(err) && ctx.Err() == nil:
			pause *= 2 // RFC 8628 3.5: after a timeout, less often
		default:
			return Token{}, err
		}
	}
}

// Renew exchanges the refresh token for a new token. An *Error means that the person must sign in again.
func Renew(ctx context.Context, i Issuer, t Token) (Token, error) {
	if t.Refresh == "" {
		return Token{}, &Error{Code: "invalid_grant", Description: "there is no refresh token"}
	}

	known, err := i.discover(ctx)
	if err != nil {
		return Token{}, err
	}

	renewed, err := i.token(ctx, known.Token, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}, "client_id": {i.ClientID}})
	if err == nil && renewed.Refresh == "" {
		renewed.Refresh = t.Refresh // not every issuer rotates
	}

	return renewed, err
}

// endpoints are what is needed of an issuer's metadata.
// https://openid.net/specs/openid-connect-discovery-1_0.html
type endpoints struct {
	Issuer string `json:"issuer"`
	Device string `json:"device_authorization_endpoint"`
	Token  string `json:"token_endpoint"`
}

func (i Issuer) discover(ctx context.Context) (endpoints, error) {
	var known endpoints

	base := strings.TrimRight(i.URL, "/")
	if !safe(base) {
		return known, fmt.Errorf("the issuer %q is no https URL", i.URL)
	}

	if i.ClientID == "" {
		return known, errors.New("the sign-in needs the id that this program has at the issuer (client id)")
	}

	r, err := http.NewRequest(http.MethodGet, base+"/.well-known/openid-configuration", http.NoBody) //nolint:noctx // ask sets it
	if err != nil {
		return known, fmt.Errorf("read the issuer's metadata: %w", err)
	}

	if err := i.ask(ctx, r, &known); err != nil {
		return known, fmt.Errorf("read the issuer's metadata at %s: %w", r.URL, err)
	}

	// What calls itself otherwise, or sends codes over a clear line, is not whom the person means to trust.
	if strings.TrimRight(known.Issuer, "/") != base || !safe(known.Token) || known.Device != "" && !safe(known.Device) {
		return known, fmt.Errorf("the metadata at %s is not that of the issuer %s", r.URL, i.URL)
	}

	return known, nil
}

// safe tells whether secrets may be sent to a URL: over TLS, or without leaving the computer.
func safe(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return false
	}

	ip := net.ParseIP(u.Hostname())

	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

func (i Issuer) token(ctx context.Context, endpoint string, form url.Values) (Token, error) {
	var given struct {
		Access    string  `json:"access_token"`
		Refresh   string  `json:"refresh_token"`
		ExpiresIn float64 `json:"expires_in"`
	}

	if err := i.post(ctx, endpoint, form, &given); err != nil {
		return Token{}, err
	}

	if given.Access == "" {
		return Token{}, errors.New("the issuer answered without a token")
	}

	t := Token{Access: given.Access, Refresh: given.Refresh}
	if given.ExpiresIn > 0 {
		t.Expires = time.Now().Add(seconds(given.ExpiresIn))
	}

	return t, nil
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func (i Issuer) post(ctx context.Context, endpoint string, form url.Values, into any) error {
	r, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode())) //nolint:noctx // ask sets it
	if err != nil {
		return err
	}

	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	return i.ask(ctx, r, into)
}

// unavailable is an answer that says nothing about the sign-in.
type unavailable struct{ status string }

func (u *unavailable) Error() string { return "the issuer answered " + u.status }

func (i Issuer) ask(ctx context.Context, r *http.Request, into any) error {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()

	r = r.WithContext(ctx)
	r.Header.Set("Accept", "application/json")

	h := i.HTTP
	if h == nil {
		h = http.DefaultClient
	}

	res, err := h.Do(r) //nolint:gosec // whom to ask is what the person says
	if err != nil {
		return err
	}
	defer res.Body.Close()

	body, err := io.ReadAll(io.LimitReader(res.Body, largest))
	if err != nil {
		return err
	}

	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return json.Unmarshal(body, into)
	}

	refused := &Error{}
	if json.Unmarshal(body, refused) == nil && refused.Code != "" {
		return refused
	}

	return &unavailable{res.Status}
}

// unreachable tells whether a failure says nothing about the sign-in itself.
func unreachable(err error) bool {
	if u, ok := errors.AsType[*unavailable](err); ok {
		return strings.HasPrefix(u.status, "5") || strings.HasPrefix(u.status, "429")
	}

	_, ok := errors.AsType[*url.Error](err)

	return ok
}
