package awsproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

// The tables ask moto things of their own, in the account and Region of the call they work for. Such calls stand in no journal.

func (p *Proxy) ask(ctx context.Context, c *call, scope, method, path, contentType string, body []byte) (*answer, error) {
	return p.askWith(ctx, c, scope, method, path, contentType, body, http.Header{})
}

func (p *Proxy) askWith(
	ctx context.Context, c *call, scope, method, path, contentType string, body []byte, header http.Header,
) (*answer, error) {
	u, err := url.Parse(path)
	if err != nil {
		return nil, fmt.Errorf("ask moto: %w", err)
	}

	region := c.region
	if region == "" {
		region = "us-east-1"
	}

	header.Set("Authorization", fmt.Sprintf(
		"AWS4-HMAC-SHA256 Credential=LOCAL-%s-proxy-0/20260101/%s/%s/aws4_request, SignedHeaders=host, Signature=00", c.account, region, scope,
	))
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}

	return p.forward(ctx, &call{caller: c.caller, region: c.region, method: method, url: u, host: c.host, header: header, body: body})
}

func (p *Proxy) askBatch(ctx context.Context, c *call, operation string, input, output any) error {
	a, err := p.ask(ctx, c, "batch", http.MethodPost, "/v1/"+operation, "application/json", mustJSON(input))
	if err != nil {
		return err
	}

	if !a.ok() {
		return fmt.Errorf("ask moto for %s: %s", operation, a.fault)
	}

	return json.Unmarshal(a.body, output)
}

// askForm calls a service of the query protocols; the answer may be a refusal.
func (p *Proxy) askForm(ctx context.Context, c *call, scope, version, action string, params url.Values) (*answer, *awsmodel.Element, error) {
	form := url.Values{"Action": {action}, "Version": {version}}
	for key, values := range params {
		form[key] = values
	}

	a, err := p.ask(ctx, c, scope, http.MethodPost, "/", "application/x-www-form-urlencoded; charset=utf-8", []byte(form.Encode()))
	if err != nil {
		return nil, nil, err
	}

	root, err := awsmodel.ParseXML(a.body)
	if err != nil {
		return nil, nil, fmt.Errorf("read moto's answer to %s: %w", action, err)
	}

	return a, root, nil
}

func (p *Proxy) askEC2(ctx context.Context, c *call, action string, params url.Values) (*awsmodel.Element, error) {
	a, root, err := p.askForm(ctx, c, "ec2", "2016-11-15", action, params)
	if err != nil {
		return nil, err
	}

	if !a.ok() {
		return nil, fmt.Errorf("ask moto for %s: %s", action, a.fault)
	}

	return root, nil
}

func (p *Proxy) askIAM(ctx context.Context, c *call, action string, params url.Values) (*answer, *awsmodel.Element, error) {
	return p.askForm(ctx, c, "iam", "2010-05-08", action, params)
}

// nameOf takes the name out of an ARN; a bare name stays what it is.
func nameOf(arnOrName string) string {
	if !strings.HasPrefix(arnOrName, "arn:") {
		return arnOrName
	}

	_, name, _ := cutLast(arnOrName, "/")

	return name
}

// askJSON calls a service of the JSON protocols; the answer may be a refusal.
func (p *Proxy) askJSON(ctx context.Context, c *call, scope, target string, input any) (*answer, error) {
	header := http.Header{"X-Amz-Target": {target}}

	return p.askWith(ctx, c, scope, http.MethodPost, "/", "application/x-amz-json-1.0", mustJSON(input), header)
}
