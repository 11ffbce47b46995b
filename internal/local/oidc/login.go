package oidc

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"html"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// PortalClient is the one client that may log people in: the portal, a public client.
const PortalClient = "metaflow-deployer-portal"

const (
	callback   = "/portal/callback"
	codeLives  = time.Minute
	loginLives = 8 * time.Hour
	// session remembers who somebody said they are, as a real provider would. It is no secret: anybody at this computer may say anything.
	session = "metaflow-deployer-local-login"
)

// grant is what a code stands for until it is redeemed, once.
type grant struct {
	redirect, challenge, nonce string
	tenant                     string
	roles                      []string
	expires                    time.Time
}

// request is an authorization request that may be answered.
type request struct {
	redirect *url.URL
	query    url.Values
}

// allowOrigin lets pages of this computer read answers, whatever their port.
func (i *Issuer) allowOrigin(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Origin")
	if u, err := url.Parse(r.Header.Get("Origin")); err == nil && loopback(u) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	}
}

func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// read checks what decides whether the browser may be sent back at all (RFC 6749, 4.1.2.1). The port is anybody's, as RFC 8252, 7.3 has it for loopback.
func read(query url.Values) (req request, why string) {
	if id := query.Get("client_id"); id != PortalClient {
		return req, "There is no client of that id here; the portal is " + PortalClient + "."
	}
	u, err := url.Parse(query.Get("redirect_uri"))
	if err != nil || !loopback(u) || u.Path != callback || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return req, "The redirect_uri is not the portal's on this computer: http://127.0.0.1:<port>" + callback + "."
	}
	return request{redirect: u, query: query}, ""
}

// back sends the browser to the client with an answer.
func (q request) back(w http.ResponseWriter, r *http.Request, members url.Values) {
	if state := q.query.Get("state"); state != "" {
		members.Set("state", state)
	}
	u := *q.redirect
	u.RawQuery = members.Encode()
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

// authorize shows the login page, and takes what was said on it.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		http.Error(w, "Use GET or POST.", http.StatusMethodNotAllowed)
		return
	}
	req, why := read(r.URL.Query())
	if why != "" {
		http.Error(w, why, http.StatusBadRequest)
		return
	}
	switch q := req.query; {
	case q.Get("response_type") != "code":
		req.back(w, r, url.Values{"error": {"unsupported_response_type"}, "error_description": {"only code is offered"}})
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		req.back(w, r, url.Values{"error": {"invalid_request"}, "error_description": {"a code_challenge by S256 is required"}})
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		req.back(w, r, url.Values{"error": {"invalid_scope"}, "error_description": {"the scope openid is required"}})
	case r.Method == http.MethodPost:
		i.login(w, r, req)
	default:
		said, err := r.Cookie(session)
		if err == nil && q.Get("prompt") != "login" {
			if known, err := url.ParseQuery(said.Value); err == nil {
				i.grant(w, r, req, known.Get("tenant"), known["roles"])
				return
			}
		}
		loginPage(w, "")
	}
}

func (i *Issuer) login(w http.ResponseWriter, r *http.Request, req request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form cannot be read.", http.StatusBadRequest)
		return
	}
	tenant, roles := strings.TrimSpace(r.PostForm.Get("tenant")), r.PostForm["roles"]
	if tenant == "" || len(roles) == 0 {
		loginPage(w, "Name a tenant and choose at least one role.")
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: session, Value: url.Values{"tenant": {tenant}, "roles": roles}.Encode(), Path: Path, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	i.grant(w, r, req, tenant, roles)
}

// grant gives a code for whoever logged in.
func (i *Issuer) grant(w http.ResponseWriter, r *http.Request, req request, tenant string, roles []string) {
	code, now := rand.Text(), time.Now()
	i.mu.Lock()
	for old, g := range i.codes {
		if now.After(g.expires) {
			delete(i.codes, old)
		}
	}
	i.codes[code] = grant{
		redirect: req.query.Get("redirect_uri"), challenge: req.query.Get("code_challenge"), nonce: req.query.Get("nonce"),
		tenant: tenant, roles: roles, expires: now.Add(codeLives),
	}
	i.mu.Unlock()
	req.back(w, r, url.Values{"code": {code}, "iss": {i.url}})
}

// token redeems a code. A code that was shown once is used up, whatever came of it.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "Use POST.", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		refuse(w, "invalid_request", "the form cannot be read")
		return
	}
	form := r.PostForm
	if form.Get("grant_type") != "authorization_code" {
		refuse(w, "unsupported_grant_type", "only authorization_code is offered")
		return
	}
	i.mu.Lock()
	g, ok := i.codes[form.Get("code")]
	delete(i.codes, form.Get("code"))
	i.mu.Unlock()

	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	switch {
	case form.Get("client_id") != PortalClient:
		refuse(w, "invalid_client", "there is no such client")
		return
	case !ok || time.Now().After(g.expires):
		refuse(w, "invalid_grant", "the code is unknown, used up or too old")
		return
	case form.Get("redirect_uri") != g.redirect:
		refuse(w, "invalid_grant", "the redirect_uri is not the one of the authorization request")
		return
	case subtle.ConstantTimeCompare([]byte(challenge), []byte(g.challenge)) != 1:
		refuse(w, "invalid_grant", "the code_verifier does not fit")
		return
	}
	access, err := i.Token(g.tenant, g.roles, loginLives)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": i.url, "aud": PortalClient, "sub": g.tenant + "-user", "iat": now.Unix(), "exp": now.Add(loginLives).Unix(),
		"tenant": g.tenant, "roles": g.roles,
	}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	id, err := i.Sign(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": access, "id_token": id, "token_type": "Bearer", "expires_in": int(loginLives.Seconds()), "scope": "openid",
	})
}

func refuse(w http.ResponseWriter, code, why string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": why})
}

// logout forgets who somebody said they are, and sends them back if that is the portal.
func (i *Issuer) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: session, Path: Path, MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	u, err := url.Parse(r.URL.Query().Get("post_logout_redirect_uri"))
	if err != nil || !loopback(u) || !strings.HasPrefix(u.Path, "/portal/") {
		http.Error(w, "Logged out.", http.StatusOK)
		return
	}
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

// loginPage asks who somebody wants to be. It needs no script, and its form leads to the very address it was asked at.
func loginPage(w http.ResponseWriter, why string) {
	status := http.StatusOK
	if why != "" {
		status = http.StatusBadRequest
		why = `<p class="why" role="alert">` + html.EscapeString(why) + `</p>`
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+styleHash()+"'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(strings.NewReplacer("{style}", style, "{why}", why).Replace(form))) // a caller that left needs no answer
}

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 26rem; margin: 3rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem }
label, fieldset { display: block; margin: 0 0 1rem }
fieldset { border: 1px solid #8888; border-radius: 6px; padding: .5rem 1rem }
fieldset label { margin: .4rem 0 }
input[name=tenant] { display: block; width: 100%; box-sizing: border-box; font: inherit; padding: .5rem }
button { font: inherit; padding: .6rem 1.4rem; min-height: 44px; cursor: pointer }
.why { border-left: 4px solid #b3261e; padding-left: .75rem }
`

const form = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Local login</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Local login</h1>
<p>This is the issuer of this computer. It checks nothing: say who you want to be. On AWS your organization's own login stands here.</p>
{why}
<form method="post">
<label>Tenant <input name="tenant" value="local" required maxlength="63" autocomplete="off"></label>
<fieldset><legend>Roles</legend>
<label><input type="checkbox" name="roles" value="viewer"> viewer: reads</label>
<label><input type="checkbox" name="roles" value="deployer" checked> deployer: changes its tenant's</label>
<label><input type="checkbox" name="roles" value="admin"> admin: also skips and sees all tenants</label>
</fieldset>
<button>Log in</button>
</form>
</main>
</body>
</html>
`
