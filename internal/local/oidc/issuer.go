// Package oidc is the OpenID Connect issuer of this computer: one RSA key, the discovery document,
// the key set, tokens for whoever asks the checkout's owner, and a login page for browsers
// (authorization code with PKCE) on which anybody may say who they are.
//
// It signs; it never judges a token. It must not know the API that the tokens are for.
package oidc

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Path is where the issuer stands on the AWS endpoint.
const Path = "/_local/oidc"

// Audience is whom the tokens are for.
const Audience = "metaflow-deployer"

// Issuer signs tokens with one key.
type Issuer struct {
	url string
	key *rsa.PrivateKey
	kid string

	mu    sync.Mutex
	codes map[string]grant // by authorization code
}

// New makes an issuer that is known under url, without a slash at its end.
func New(url string, key *rsa.PrivateKey) *Issuer {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	return &Issuer{url: strings.TrimSuffix(url, "/"), key: key, kid: base64.RawURLEncoding.EncodeToString(sum[:12]), codes: map[string]grant{}}
}

// Key reads the RSA key of a file, or makes one and writes it there, readable by its owner only.
func Key(file string) (*rsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the issuer's key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("read the issuer's key: %s holds no PEM block; delete it to get a new one", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the issuer's key %s: %w", file, err)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read the issuer's key: %s holds a %T, not an RSA key", file, key)
	}
	return rsaKey, nil
}

func newKey(file string) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make the issuer's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the issuer's key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("write the issuer's key: %w", err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, fmt.Errorf("write the issuer's key: %w", err)
	}
	return key, nil
}

// URL is the issuer's name, as in the iss claim.
func (i *Issuer) URL() string { return i.url }

// KeyID is the kid of the issuer's key.
func (i *Issuer) KeyID() string { return i.kid }

// Token signs a token for a tenant that lives as long as ttl. The claims are named as the
// template's parameters TenantClaim and RolesClaim have them by default.
func (i *Issuer) Token(tenant string, roles []string, ttl time.Duration) (string, error) {
	now := time.Now()
	return i.Sign(jwt.MapClaims{
		"iss":    i.url,
		"aud":    Audience,
		"sub":    tenant + "-user",
		"iat":    now.Unix(),
		"nbf":    now.Unix(),
		"exp":    now.Add(ttl).Unix(),
		"tenant": tenant,
		"roles":  roles,
	})
}

// Sign signs any claims, for whoever needs a token that Token would not make.
func (i *Issuer) Sign(claims jwt.MapClaims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = i.kid
	signed, err := token.SignedString(i.key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}

// ServeHTTP answers discovery, the key set and the endpoints of a login below Path.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.allowOrigin(w, r)
	switch strings.TrimPrefix(r.URL.Path, Path) {
	case "/.well-known/openid-configuration":
		answer(w, http.StatusOK, map[string]any{
			"issuer":                                i.url,
			"authorization_endpoint":                i.url + "/authorize",
			"token_endpoint":                        i.url + "/token",
			"end_session_endpoint":                  i.url + "/logout",
			"jwks_uri":                              i.url + "/jwks.json",
			"response_types_supported":              []string{"code"},
			"grant_types_supported":                 []string{"authorization_code"},
			"code_challenge_methods_supported":      []string{"S256"},
			"token_endpoint_auth_methods_supported": []string{"none"},
			"scopes_supported":                      []string{"openid"},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	case "/jwks.json":
		answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]string{
			"kty": "RSA",
			"use": "sig",
			"alg": "RS256",
			"kid": i.kid,
			"n":   base64.RawURLEncoding.EncodeToString(i.key.N.Bytes()),
			"e":   base64.RawURLEncoding.EncodeToString(big.NewInt(int64(i.key.E)).Bytes()),
		}}})
	case "/authorize":
		i.authorize(w, r)
	case "/token":
		i.token(w, r)
	case "/logout":
		i.logout(w, r)
	default:
		http.NotFound(w, r)
	}
}

// answer writes JSON that nobody keeps.
func answer(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc) // a caller that left needs no answer
}
