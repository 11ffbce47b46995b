// Package sigv4 signs a client's requests with AWS credentials (Signature Version 4), for the API under /iam.
//
// It is apart from package client so that only those who sign link AWS's SDK.
package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

// service is API Gateway's name in a signature.
const service = "execute-api"

// Sign authorizes with AWS credentials, valid for an API in the given Region. The credentials are retrieved for each attempt: wrap a provider that is slow
// in an aws.CredentialsCache. The client's URL must end with /iam.
func Sign(credentials aws.CredentialsProvider, region string) client.Authorizer {
	signer := v4.NewSigner()

	return func(r *http.Request, body []byte) error {
		who, err := credentials.Retrieve(r.Context())
		if err != nil {
			return fmt.Errorf("retrieve AWS credentials: %w", err)
		}

		sum := sha256.Sum256(body)

		if err := signer.SignHTTP(r.Context(), who, r, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
			return fmt.Errorf("sign the request: %w", err)
		}

		return nil
	}
}

// Region tells the Region of an API from its URL; it is empty for a domain of the owner's own.
func Region(api string) string {
	u, err := url.Parse(api)
	if err != nil {
		return ""
	}

	// <id>.execute-api.<region>.amazonaws.com, in China with .cn behind it.
	part := strings.Split(u.Hostname(), ".")
	if len(part) < 5 || part[1] != service || part[3] != "amazonaws" {
		return ""
	}

	return part[2]
}
