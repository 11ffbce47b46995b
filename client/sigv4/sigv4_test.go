package sigv4_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/metaflow-deployer/metaflow-deployer/client"
	"github.com/metaflow-deployer/metaflow-deployer/client/sigv4"
)

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// TestSignature compares with what botocore 1.43.11 signs (auth.SigV4Auth): the same requests, credentials, service, Region and second.
func TestSignature(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason, token string
		call          func(context.Context, *client.Client) error
		headers       string
		signature     string
	}{
		"Get": {
			reason: "a read with a query",
			call: func(ctx context.Context, c *client.Client) error {
				_, err := c.DeletedDeployment(ctx, "research")

				return err
			},
			headers: "accept;host;x-amz-date", signature: "fa3f9affc9d1408e4940b078ab37d6440edb3964710b5dd515d65722de15a8b0",
		},
		"Post": {
			reason: "a custom method with a body, and a session's token", token: "session/token==",
			call: func(ctx context.Context, c *client.Client) error {
				_, err := c.PlanCreate(ctx, client.CreateRequest{Name: "research", TTL: "72h", IdempotencyKey: "key-1"})

				return err
			},
			headers: "accept;content-length;content-type;host;idempotency-key;x-amz-date;x-amz-security-token", signature: "b811024c7ac3bfdf297e97251cd49063a0d9f3e6fa882a927d1a2906be8ebe53",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2000, 1, 2, 3, 4, 5, 0, time.UTC)))

				var authorization string

				c, err := client.New(client.Options{
					URL: "https://abc123.execute-api.eu-central-1.amazonaws.com/iam",
					HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
						authorization = r.Header.Get("Authorization")

						return &http.Response{
							StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"name":"x","steps":[]}`)),
						}, nil
					})},
					Authorize: sigv4.Sign(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
						return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", SessionToken: tc.token}, nil
					}), "eu-central-1"),
				})
				if err != nil {
					t.Fatal(err)
				}

				if err := tc.call(t.Context(), c); err != nil {
					t.Fatal(err)
				}

				want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20000102/eu-central-1/execute-api/aws4_request, SignedHeaders=" + tc.headers + ", Signature=" + tc.signature
				if authorization != want {
					t.Errorf("%s:\ngot  %s\nwant %s", tc.reason, authorization, want)
				}
			})
		})
	}
}

func TestNoCredentials(t *testing.T) {
	t.Parallel()

	sent := 0
	none := errors.New("no SSO session")

	c, err := client.New(client.Options{
		URL: "https://api.test/iam", HTTP: &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			sent++

			return nil, errors.New("sent")
		})},
		Authorize: sigv4.Sign(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, none }), "eu-central-1"),
	})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := c.Deployment(t.Context(), "research"); !errors.Is(err, none) || sent != 0 {
		t.Errorf("nothing is sent without a signature, and nothing tried again: %v, %d", err, sent)
	}
}

func TestRegion(t *testing.T) {
	t.Parallel()

	for url, want := range map[string]string{
		"https://abc123.execute-api.eu-central-1.amazonaws.com":       "eu-central-1",
		"https://abc123.execute-api.cn-north-1.amazonaws.com.cn/iam":  "cn-north-1",
		"https://api.example.com/iam":                                 "",
		"https://bucket.s3.eu-central-1.amazonaws.com":                "",
		"https://abc123.execute-api.eu-central-1.example.com/iam":     "",
		"http://127.0.0.1:8080/iam":                                   "",
		"https://abc123.execute-api.us-gov-west-1.amazonaws.com/iam/": "us-gov-west-1",
	} {
		if got := sigv4.Region(url); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}
