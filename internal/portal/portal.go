// Package portal is the web page of the product, an http.Handler for /portal/: the built page as embedded files, what the page must know to log people in,
// and the headers that keep everything foreign out of it. The page itself speaks to the API like any other caller; its sources are in web/, and
// `make portal` builds them into dist/.
//
// It must not know the API, the nouns or Lambda: it stands on the standard library and on gzipped. ADR 10 tells why it is embedded.
package portal

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/gzipped"
)

// Base is where the page stands.
const Base = "/portal"

//go:embed dist
var dist embed.FS

// Options are what the page tells the browser for the login (authorization code with PKCE, as a public client).
type Options struct {
	// Issuer is the OpenID Connect provider's URL.
	Issuer string
	// ClientID is the page's id there, Scope what it asks for, Audience whom its tokens are for.
	ClientID, Scope, Audience string
	// TenantClaim and RolesClaim name the claims that the page shows. The API judges them itself.
	TenantClaim, RolesClaim string
	// Connect are further CSP sources that the browser may call, separated by spaces: some providers have their token endpoint on another host.
	Connect string
}

// page is the handler.
type page struct {
	files  map[string]file
	policy string
}

// file is what is served at one path: as it is, and compressed if that is worth it.
type file struct {
	gzipped.Text

	media, etag string
	// immutable files have a hash of their content in their name.
	immutable bool
}

// New reads the embedded files. An error names the option that cannot be used.
func New(o Options) (http.Handler, error) {
	issuer, err := url.Parse(o.Issuer)
	if err != nil || issuer.Host == "" || issuer.Scheme != "https" && issuer.Scheme != "http" {
		return nil, fmt.Errorf("make the portal: the issuer %q is no URL", o.Issuer)
	}

	if strings.ContainsAny(o.Connect, ";,\r\n") {
		return nil, fmt.Errorf("make the portal: %q is no list of CSP sources separated by spaces", o.Connect)
	}

	p := &page{files: map[string]file{}, policy: strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
		"connect-src " + strings.Join(slices.Compact(append([]string{issuer.Scheme + "://" + issuer.Host, "'self'"}, strings.Fields(o.Connect)...)), " "),
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
	}, "; ")}

	if err := p.read(); err != nil {
		return nil, err
	}

	config, err := json.Marshal(map[string]string{
		"issuer": o.Issuer, "clientId": o.ClientID, "scope": o.Scope, "audience": o.Audience, "tenantClaim": o.TenantClaim, "rolesClaim": o.RolesClaim,
	})
	if err != nil {
		return nil, fmt.Errorf("make the portal: %w", err)
	}

	p.files["config.json"] = file{media: "application/json", etag: tag(config), Text: gzipped.Text{Plain: config}}

	return p, nil
}

// read takes every file of dist, and the compressed ones beside them.
func (p *page) read() error {
	err := fs.WalkDir(dist, "dist", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) == ".gz" {
			return err
		}

		f := file{media: mime.TypeByExtension(path.Ext(name)), immutable: strings.HasPrefix(name, "dist/assets/")}

		switch path.Ext(name) { // what the system's tables say of these differs
		case ".js":
			f.media = "text/javascript; charset=utf-8"
		case ".svg":
			f.media = "image/svg+xml"
		}

		if f.Plain, err = dist.ReadFile(name); err != nil {
			return err
		}

		if f.Gzip, err = dist.ReadFile(name + ".gz"); err != nil {
			f.Gzip = nil // too small to be worth it
		}

		f.etag = strconv.Quote(path.Base(name))
		if !f.immutable {
			f.etag = tag(f.Plain)
		}

		p.files[strings.TrimPrefix(name, "dist/")] = f

		return nil
	})
	if err != nil {
		return fmt.Errorf("read the portal: %w", err)
	}

	if _, ok := p.files["index.html"]; !ok {
		return errors.New("read the portal: there is no dist/index.html: run `make portal`")
	}

	return nil
}

func tag(b []byte) string {
	sum := sha256.Sum256(b)

	return strconv.Quote(base64.RawURLEncoding.EncodeToString(sum[:12]))
}

// ServeHTTP serves a file, or the page itself for every other path: the page has paths of its own. What is missing below assets/ is missing: a page that
// was built before asks for it, and must not take HTML for a script.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")

	// Gateways do not agree on what a path with a slash at its end is; this one has none.
	if r.URL.Path == Base {
		h.Set("Cache-Control", "no-cache")
		http.Redirect(w, r, Base+"/deployments", http.StatusFound)

		return
	}

	name := strings.TrimPrefix(r.URL.Path, Base+"/")

	f, ok := p.files[name]
	if !ok && strings.HasPrefix(name, "assets/") {
		h.Set("Cache-Control", "no-store")
		http.Error(w, "This file belongs to another version of the page. Load the page again.", http.StatusNotFound)

		return
	}

	if !ok {
		f = p.files["index.html"]
	}

	h.Set("Cache-Control", "no-cache")

	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}

	body := f.For(h, r)
	h.Set("Content-Type", f.media)
	h.Set("ETag", f.etag)

	if h.Get("Content-Encoding") != "" {
		h.Set("ETag", strings.TrimSuffix(f.etag, `"`)+`-gzip"`)
	}

	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
