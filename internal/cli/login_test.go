package cli_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/cli"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/door"
)

// issuer is an OpenID Connect issuer beside the installation. The person signs in after twelve seconds; tokens last a minute, and each refresh token is
// good once.
type issuer struct {
	api     http.RoundTripper
	begun   time.Time
	refresh string
	renewed int
	revoked bool
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "issuer.test" {
		return i.api.RoundTrip(r)
	}

	if err := r.ParseForm(); err != nil {
		return nil, err
	}

	rec := httptest.NewRecorder()
	say := func(text string) { _, _ = rec.WriteString(text) } // a recorder takes everything

	switch {
	case r.URL.Path == "/.well-known/openid-configuration":
		say(`{"issuer":"https://issuer.test","device_authorization_endpoint":"https://issuer.test/device","token_endpoint":"https://issuer.test/token"}`)
	case r.URL.Path == "/device" && r.Form.Get("client_id") == "cli":
		i.begun = time.Now()
		say(`{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://issuer.test/go","expires_in":600}`)
	case r.Form.Get("grant_type") == "refresh_token" && !i.revoked && r.Form.Get("refresh_token") == i.refresh:
		i.renewed++
		i.give(rec)
	case r.Form.Get("device_code") == "d" && time.Since(i.begun) >= 12*time.Second:
		i.give(rec)
	case r.Form.Get("device_code") == "d":
		rec.WriteHeader(http.StatusBadRequest)
		say(`{"error":"authorization_pending"}`)
	default:
		rec.WriteHeader(http.StatusBadRequest)
		say(`{"error":"invalid_grant"}`)
	}

	return rec.Result(), nil
}

func (i *issuer) give(rec *httptest.ResponseRecorder) {
	i.refresh += "r"
	_, _ = rec.WriteString(`{"access_token":"` + door.Token("acme", deploy.Deployer) + `","refresh_token":"` + i.refresh + `","expires_in":60}`)
}

func TestLogin(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		i := &issuer{api: d.Door}
		d.env["METAFLOW_DEPLOYER_TOKEN"] = ""

		run := func(args ...string) result {
			var out, errs locked

			p := &cli.Program{
				In: d.in, Out: &out, Err: &errs, Getenv: func(name string) string { return d.env[name] }, Home: d.home,
				ConfigDir: filepath.Join(d.home, ".config"), Dir: d.home, HTTP: &http.Client{Transport: i}, Version: "1.2.3",
			}

			return result{p.Run(d.Context(), args), out.String(), errs.String()}
		}

		if r := run("list"); r.code != 5 || !strings.Contains(r.err, "metaflow-deployer login") {
			d.Errorf("%d %s", r.code, r.err)
		}

		if r := run("login", "--issuer", "https://issuer.test"); r.code != 2 || !strings.Contains(r.err, "client id") {
			d.Errorf("%d %s", r.code, r.err)
		}

		if r := run("login", "--issuer", "https://issuer.test", "--client-id", "nobody"); r.code != 5 {
			d.Errorf("%d %s", r.code, r.err)
		}

		r := run("login", "--issuer", "https://issuer.test", "--client-id", "cli")
		if r.code != 0 || !strings.Contains(r.err, "Open https://issuer.test/go\nand type the code WDJB-MJHT\n") || !strings.Contains(r.err, "good for 10m00s") {
			d.Fatalf("%d %s", r.code, r.err)
		}

		file := filepath.Join(d.home, ".config", "metaflow-deployer", "login.json")
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			d.Errorf("a token is its owner's alone: %v %v", info, err)
		}

		// A create outlasts the token: it is renewed on the way, and what is new is kept.
		if r := run("create", "research"); r.code != 0 || i.renewed == 0 {
			d.Errorf("%d, renewed %d times: %s", r.code, i.renewed, r.err)
		}

		time.Sleep(time.Hour)

		before := i.renewed
		if r := run("list"); r.code != 0 || i.renewed != before+1 {
			d.Errorf("%d, renewed %d times: %s", r.code, i.renewed-before, r.err)
		}

		i.revoked = true

		time.Sleep(time.Hour)

		if r := run("list"); r.code != 5 || !strings.Contains(r.err, "is over: metaflow-deployer login") {
			d.Errorf("%d %s", r.code, r.err)
		}

		if r := run("logout"); r.code != 0 {
			d.Error(r.err)
		}

		if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "refresh") {
			d.Errorf("what is forgotten is gone: %v %s", err, text)
		}
	})
}

// TestSigV4 takes the credentials that the AWS CLI would take, to the base of those who sign. That signatures are right is client/sigv4's to test.
func TestSigV4(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}

	var got *http.Request

	p := &cli.Program{
		In: strings.NewReader(""), Out: &locked{}, Err: &locked{}, Version: "1.2.3",
		Getenv: func(name string) string {
			return map[string]string{"METAFLOW_DEPLOYER_URL": "https://api.test", "METAFLOW_DEPLOYER_AUTH": "sigv4", "METAFLOW_DEPLOYER_TOKEN": "ignored"}[name]
		},
		HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			got = r
			rec := httptest.NewRecorder()
			rec.Header().Set("Content-Type", "application/json")
			_, _ = rec.WriteString(`{"deployments":[]}`)

			return rec.Result(), nil
		})},
	}

	if code := p.Run(context.Background(), []string{"list"}); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.Err)
	}

	if got.URL.Path != "/iam/v1/deployments" || !strings.Contains(got.Header.Get("Authorization"), "Credential=AKIDEXAMPLE/") ||
		!strings.Contains(got.Header.Get("Authorization"), "/eu-west-1/execute-api/aws4_request") {
		t.Errorf("%s %s", got.URL, got.Header)
	}
}

// TestSigV4Refused: who is turned away learns with what the request was signed, or what to sign with, and no secret is shown.
func TestSigV4Refused(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		env    map[string]string
		sent   int
		says   []string
	}{
		"Signed": {
			reason: "API Gateway's answer to a wrong key, secret or Region", env: map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s3cr3t"},
			sent: 1, says: []string{"Error: Forbidden", "signed    with access key AKIDEXAMPLE for Region eu-west-1"},
		},
		"Nobody": {reason: "there is nothing to sign with", env: map[string]string{}, says: []string{"there are no AWS credentials", "AWS_PROFILE", "aws sso login"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
				t.Setenv(variable, tc.env[variable])
			}

			for variable, value := range map[string]string{
				"AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
			} {
				t.Setenv(variable, value)
			}

			var errs locked

			sent := 0
			p := &cli.Program{
				In: strings.NewReader(""), Out: &locked{}, Err: &errs, Version: "1.2.3",
				Getenv: func(name string) string {
					return map[string]string{"METAFLOW_DEPLOYER_URL": "https://api.test", "METAFLOW_DEPLOYER_AUTH": "sigv4"}[name]
				},
				HTTP: &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
					sent++
					rec := httptest.NewRecorder()
					rec.WriteHeader(http.StatusForbidden)
					_, _ = rec.WriteString(`{"message":"Forbidden"}`) // a recorder takes everything

					return rec.Result(), nil
				})},
			}

			code := p.Run(context.Background(), []string{"list"})
			for _, says := range tc.says {
				if code != 5 || sent != tc.sent || !strings.Contains(errs.String(), says) {
					t.Errorf("%s: exit code %d after %d requests, want %q:\n%s", tc.reason, code, sent, says, errs.String())
				}
			}

			if strings.Contains(errs.String(), "s3cr3t") || strings.Contains(errs.String(), "IMDS") {
				t.Errorf("%s: %s", tc.reason, errs.String())
			}
		})
	}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }
