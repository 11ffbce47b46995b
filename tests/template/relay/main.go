// Command relay is what the test of the example stack puts in the place of Lambda's own routing: CloudFormation's emulator can call a function of its own
// only, and does not tell it by which alias. This one hands the event to the function that the ServiceToken names, as Lambda would, on the stack at GATEWAY.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() { lambda.Start(relay) }

func relay(ctx context.Context, event json.RawMessage) error {
	var e struct {
		ResourceProperties struct{ ServiceToken string }
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return err
	}

	to := os.Getenv("GATEWAY") + "/2015-03-31/functions/" + url.PathEscape(e.ResourceProperties.ServiceToken) + "/invocations"

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(event))
	if err != nil {
		return err
	}

	req.Header.Set("X-Amz-Invocation-Type", "Event")

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}

	defer func() { _ = resp.Body.Close() }()

	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the function answers %d", resp.StatusCode)
	}

	return nil
}
