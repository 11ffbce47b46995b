package local

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// early answers before it has seen the end of the request's body, as net/http does when the server is quick.
type early struct{ body io.Reader }

func (e *early) RoundTrip(r *http.Request) (*http.Response, error) {
	e.body = r.Body
	if _, err := io.CopyN(io.Discard, r.Body, r.ContentLength); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Body: io.NopCloser(strings.NewReader(`{"QueueUrl": "q"}`)),
	}, nil
}

// TestEarlyAnswer reads on in a body that the SDK has closed: it is at its end, which is no error of writing it, or net/http would close the connection.
func TestEarlyAnswer(t *testing.T) {
	server := &early{}
	c := sqs.NewFromConfig(aws.Config{
		Region: Region, BaseEndpoint: aws.String("http://127.0.0.1"), Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
		HTTPClient: &http.Client{Transport: nearby{next: server}},
	})
	if _, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")}); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, server.body); n != 0 || err != nil {
		t.Errorf("the rest of a body that is closed: %d bytes, %v", n, err)
	}
}
