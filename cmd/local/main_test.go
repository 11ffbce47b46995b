package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/oidc"
)

func TestToken(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, tc := range map[string]struct {
		reason string
		env    map[string]string
		issuer string
		tenant string
		roles  []any
	}{
		"Default": {"the person at this computer", nil, "http://127.0.0.1:8081/_local/oidc", "local", []any{"admin"}},
		"Other":   {"somebody else, elsewhere", map[string]string{"TENANT": "a", "ROLES": "viewer,deployer", "PORT": "9000"}, "http://127.0.0.1:9001/_local/oidc", "a", []any{"viewer", "deployer"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := command(t.Context(), []string{"token"}, func(k string) string { return tc.env[k] }, &out); err != nil {
				t.Fatal(err)
			}
			key, err := oidc.Key(local.KeyFile(stateDir))
			if err != nil {
				t.Fatal(err)
			}
			token, err := jwt.Parse(strings.TrimSpace(out.String()), func(*jwt.Token) (any, error) { return &key.PublicKey, nil }, jwt.WithIssuer(tc.issuer), jwt.WithExpirationRequired())
			if err != nil {
				t.Fatal(err)
			}
			claims := token.Claims.(jwt.MapClaims)
			if claims["tenant"] != tc.tenant {
				t.Errorf("%s: tenant %v", tc.reason, claims["tenant"])
			}
			if diff := cmp.Diff(any(tc.roles), claims["roles"]); diff != "" {
				t.Errorf("%s: roles (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCommandRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, tc := range map[string]struct {
		reason string
		args   []string
		port   string
		want   string
	}{
		"Nothing":    {"no command", nil, "", "usage: local run | local token"},
		"Unknown":    {"no such command", []string{"walk"}, "", `there is no command "walk": use run or token`},
		"PortText":   {"a port that is none", []string{"run"}, "http", "PORT=http is no port between 1 and 65533"},
		"PortHigh":   {"two more ports must follow", []string{"run"}, "65534", "PORT=65534 is no port between 1 and 65533"},
		"NoCheckout": {"started elsewhere", []string{"run"}, "", "read the template"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := command(t.Context(), tc.args, func(string) string { return tc.port }, &out)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
	if _, err := os.Stat(stateDir); err == nil {
		t.Error("a refused command left something behind")
	}
}
