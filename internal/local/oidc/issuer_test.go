package oidc

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "oidc.pem")
	first, err := Key(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Key(file)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Equal(again) {
		t.Error("the second read made another key")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Key(file); err == nil {
		t.Error("a broken key file was taken")
	}
}

func TestIssuer(t *testing.T) {
	key, err := Key(filepath.Join(t.TempDir(), "oidc.pem"))
	if err != nil {
		t.Fatal(err)
	}
	issuer := New("http://127.0.0.1:1"+Path+"/", key)
	token, err := issuer.Token("acme", []string{"viewer", "deployer"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.Parse(token, func(tk *jwt.Token) (any, error) {
		if tk.Header["kid"] != issuer.KeyID() {
			t.Errorf("kid %v", tk.Header["kid"])
		}
		return &key.PublicKey, nil
	}, jwt.WithAudience(Audience), jwt.WithIssuer("http://127.0.0.1:1"+Path), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatal(err)
	}
	claims := parsed.Claims.(jwt.MapClaims)
	if claims["tenant"] != "acme" || claims["sub"] == "" {
		t.Errorf("claims %v", claims)
	}

	for path, want := range map[string]int{Path + "/.well-known/openid-configuration": 200, Path + "/jwks.json": 200, Path + "/other": 404, Path: 404} {
		rec := httptest.NewRecorder()
		issuer.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d", path, rec.Code)
		}
		if want == 200 && !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%s: %s", path, rec.Body)
		}
	}
}
