package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/cobra"

	"github.com/metaflow-deployer/metaflow-deployer/client"
	"github.com/metaflow-deployer/metaflow-deployer/client/device"
	"github.com/metaflow-deployer/metaflow-deployer/client/sigv4"
)

// client calls the installation as whoever the person is.
func (s *session) client(ctx context.Context) (*client.Client, error) {
	if s.url == "" {
		return nil, misused("nobody says which installation: set $%s or give --url", envURL)
	}

	url := strings.TrimRight(s.url, "/")

	authorize, err := s.authorizer(ctx, url)
	if err != nil {
		return nil, err
	}

	if s.auth == "sigv4" && !strings.HasSuffix(url, "/iam") {
		url += "/iam" // where those stand who sign
	}

	c, err := client.New(client.Options{URL: url, Authorize: authorize, Tenant: s.tenant, HTTP: s.HTTP, UserAgent: Name + "/" + s.Version, Retrying: s.retrying})
	if err != nil {
		return nil, &usage{err.Error()}
	}

	return c, nil
}

// retrying tells a person why nothing happens. A tree shows that by itself, and is drawn where this would stand.
func (s *session) retrying(err error, pause time.Duration) {
	if s.output == "text" && !s.drawing.Load() {
		fmt.Fprintf(s.Err, "No answer yet (%v); trying again in %v.\n", err, max(pause.Round(time.Second), time.Second))
	}
}

func (s *session) authorizer(ctx context.Context, url string) (client.Authorizer, error) {
	token := strings.TrimSpace(s.Getenv(envToken))

	switch {
	case s.auth == "sigv4":
		return s.signer(ctx, url)
	case s.auth == "token" && token == "":
		return nil, &unknown{"--auth token: there is none in $" + envToken}
	case (s.auth == "token" || s.auth == "") && strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, &unknown{"$" + envToken + " holds more than a token: there are characters in it that no token has"}
	case s.auth == "token" || s.auth == "" && token != "":
		return client.Bearer(token), nil
	case s.auth == "login" || s.auth == "":
		return s.signedIn(url)
	}

	return nil, misused("--auth %s: it is token, login or sigv4", s.auth)
}

// signer uses the AWS credentials that the AWS CLI would use.
func (s *session) signer(ctx context.Context, url string) (client.Authorizer, error) {
	sdk, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, &unknown{fmt.Sprintf("--auth sigv4: load the AWS configuration: %v", err)}
	}

	region := cmp.Or(sigv4.Region(url), sdk.Region)
	if region == "" {
		return nil, misused("--auth sigv4: the URL does not tell the Region of the installation: set AWS_REGION")
	}

	who, err := sdk.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, unsigned(err)
	}

	s.signed = fmt.Sprintf("with access key %s for Region %s", who.AccessKeyID, region)
	sign := sigv4.Sign(sdk.Credentials, region)

	return func(r *http.Request, body []byte) error {
		if err := sign(r, body); err != nil {
			return unsigned(err)
		}

		return nil
	}, nil
}

// unsigned is a caller whose AWS credentials cannot be had. Where nothing else gives any, the SDK asks the computer as if it were one of EC2's, and tells of
// that alone.
func unsigned(err error) error {
	why := err.Error()
	if strings.Contains(why, "no EC2 IMDS role found") {
		why = "there are no AWS credentials"
	}

	return &unknown{fmt.Sprintf("--auth sigv4: %s. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a profile of IAM Identity Center signs in with aws sso login", why)}
}

// signIn is one sign-in as it is kept: the issuer and what it gave.
type signIn struct {
	device.Issuer
	device.Token
}

// signIns is the file that keeps them, by URL of the installation.
func (s *session) signIns() string { return filepath.Join(s.ConfigDir, Name, "login.json") }

func (s *session) loadSignIns() (map[string]signIn, error) {
	all := map[string]signIn{}

	text, err := os.ReadFile(s.signIns())
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}

	if err != nil {
		return nil, fmt.Errorf("read the sign-ins: %w", err)
	}

	if err := json.Unmarshal(text, &all); err != nil {
		return nil, &unknown{fmt.Sprintf("%s is damaged; remove it and sign in again: %s login", s.signIns(), Name)}
	}

	return all, nil
}

// saveSignIn keeps or, if it is nil, forgets a sign-in.
func (s *session) saveSignIn(url string, in *signIn) error {
	all, err := s.loadSignIns()
	if err != nil {
		return err
	}

	delete(all, url)

	if in != nil {
		all[url] = *in
	}

	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}

	if err := os.MkdirAll(filepath.Dir(s.signIns()), 0o700); err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}

	return replace(s.signIns(), append(text, '\n'))
}

// signedIn uses the sign-in that is kept, and renews its token when it expires.
func (s *session) signedIn(url string) (client.Authorizer, error) {
	all, err := s.loadSignIns()
	if err != nil {
		return nil, err
	}

	in, ok := all[url]
	if !ok {
		return nil, &unknown{fmt.Sprintf("nobody is signed in at %s: set $%s, sign in with %s login, or use --auth sigv4", url, envToken, Name)}
	}

	in.HTTP = s.HTTP

	var mu sync.Mutex

	return func(r *http.Request, body []byte) error {
		mu.Lock()
		defer mu.Unlock()

		if !in.Valid() {
			renewed, err := device.Renew(r.Context(), in.Issuer, in.Token)
			if _, refused := errors.AsType[*device.Error](err); refused {
				return &unknown{fmt.Sprintf("the sign-in at %s is over: %s login", url, Name)}
			}

			if err != nil {
				return fmt.Errorf("renew the sign-in: %w", err)
			}

			in.Token = renewed

			// The issuer may have made the old refresh token void: what is new is kept before it is used.
			if err := s.saveSignIn(url, &in); err != nil {
				return err
			}
		}

		return client.Bearer(in.Access)(r, body)
	}, nil
}

func (s *session) login() *cobra.Command {
	c := &cobra.Command{
		Use: "login", Short: "Sign in at the installation's OIDC issuer from this device", Args: cobra.NoArgs,
		Long: "Sign in at the installation's OIDC issuer: open an address in any browser, type a code. The token is kept for later commands, readable by you only,\n" +
			"and renewed as long as the issuer allows. The administrator of the installation knows issuer and client id.",
		Example: "  " + Name + " login --issuer https://login.example.com --client-id metaflow-deployer-cli",
	}

	in := signIn{}
	c.Flags().StringVar(&in.URL, "issuer", s.Getenv(envIssuer), "the issuer's URL ($"+envIssuer+")")
	c.Flags().StringVar(&in.ClientID, "client-id", s.Getenv(envClientID), "this program's id at the issuer ($"+envClientID+")")
	c.Flags().StringVar(&in.Audience, "audience", s.Getenv(envAudience), "whom the token is for, if the issuer must be told ($"+envAudience+")")
	c.Flags().StringVar(&in.Scope, "scope", "", "scopes to ask for; by default openid and offline_access")

	c.RunE = s.run(func(ctx context.Context, _ []string) error {
		if s.url == "" || in.URL == "" || in.ClientID == "" {
			return misused("a sign-in needs the installation ($%s or --url), the issuer ($%s or --issuer) and the client id ($%s or --client-id)", envURL, envIssuer, envClientID)
		}

		in.HTTP = s.HTTP

		token, err := device.SignIn(ctx, in.Issuer, func(p device.Prompt) {
			fmt.Fprintf(s.Err, "Open %s\nand type the code %s\n", printable(p.Address), printable(p.Code))

			if p.Complete != "" {
				fmt.Fprintf(s.Err, "or open %s\n", printable(p.Complete))
			}

			fmt.Fprintf(s.Err, "The code is good for %s.\n", span(time.Until(p.Expires)))
		})
		if err != nil {
			return err
		}

		in.Token = token

		if err := s.saveSignIn(strings.TrimRight(s.url, "/"), &in); err != nil {
			return err
		}

		fmt.Fprintln(s.Err, "You are signed in.")

		return nil
	})

	return c
}

func (s *session) logout() *cobra.Command {
	c := &cobra.Command{Use: "logout", Short: "Forget the sign-in at the installation", Args: cobra.NoArgs}
	c.RunE = s.run(func(context.Context, []string) error {
		if s.url == "" {
			return misused("nobody says which installation: set $%s or give --url", envURL)
		}

		return s.saveSignIn(strings.TrimRight(s.url, "/"), nil)
	})

	return c
}
