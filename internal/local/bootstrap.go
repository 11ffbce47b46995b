package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

// clients call moto itself, past the AWS endpoint, so that setting up a world shows in no journal.
type clients struct {
	url       string
	transport *http.Transport
}

func newClients(url string) *clients { return &clients{url: url, transport: &http.Transport{}} }

func (c *clients) close() { c.transport.CloseIdleConnections() }

// client sends what is made by hand.
func (c *clients) client() *http.Client { return &http.Client{Transport: c.transport} }

// config is for one account, which moto takes from a header.
func (c *clients) config(account string) aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: aws.String(c.url),
		Credentials:  credentials.NewStaticCredentialsProvider(person(account), secret, ""),
		HTTPClient:   &http.Client{Transport: asAccount{account: account, next: nearby{next: c.transport}}},
	}
}

type asAccount struct {
	account string
	next    http.RoundTripper
}

func (a asAccount) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Moto-Account-Id", a.account)
	return a.next.RoundTrip(r)
}

// nearby sends the SDK's requests to a server that answers within microseconds. The SDK closes a request's body as soon as the answer begins, and a
// closed body's WriteTo says io.EOF (smithy-go, transport/http/internal/io/safe.go), which net/http, if it is not done with looking for more of the
// body, takes for a broken connection: the answer is lost, and a call that was carried out is made again. A body that can only be read has no WriteTo.
type nearby struct{ next http.RoundTripper }

func (n nearby) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return n.next.RoundTrip(r)
}

// AWS is the SDK's configuration for the person at this computer in an account, by way of the AWS endpoint.
func (s *Stack) AWS(account string) aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: &s.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(person(account), secret, ""),
		HTTPClient:  &http.Client{Transport: nearby{next: s.aws.transport}},
	}
}

// person is the access key of the person at this computer.
func person(account string) string { return "LOCAL-" + account + "-user-0" }

// bootstrap makes by API what CloudFormation would make from the template.
func (s *Stack) bootstrap(ctx context.Context, w *World) error {
	cfg := s.aws.config(w.Account)
	for _, t := range w.Resources.Tables {
		if err := createTable(ctx, dynamodb.NewFromConfig(cfg), t); err != nil {
			return err
		}
	}
	for _, name := range w.Resources.Buses {
		if _, err := eventbridge.NewFromConfig(cfg).CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: &name}); err != nil {
			return fmt.Errorf("create event bus %s: %w", name, err)
		}
	}
	if err := createQueues(ctx, sqs.NewFromConfig(cfg), w.Resources.Queues); err != nil {
		return err
	}
	iamc := iam.NewFromConfig(cfg)
	for _, p := range w.Resources.Policies {
		in := &iam.CreatePolicyInput{PolicyName: &p.Name, Path: &p.Path, PolicyDocument: aws.String(string(p.Document))}
		if p.Description != "" {
			in.Description = &p.Description
		}
		if _, err := iamc.CreatePolicy(ctx, in); err != nil {
			return fmt.Errorf("create policy %s: %w", p.Name, err)
		}
	}
	for _, r := range w.Resources.Roles {
		in := &iam.CreateRoleInput{RoleName: &r.Name, Path: &r.Path, AssumeRolePolicyDocument: aws.String(string(r.Trust))}
		if _, err := iamc.CreateRole(ctx, in); err != nil {
			return fmt.Errorf("create role %s: %w", r.Name, err)
		}
	}
	for _, m := range w.Resources.StateMachines {
		text, err := os.ReadFile(filepath.Join(s.opts.Root, m.DefinitionURI))
		if err != nil {
			return fmt.Errorf("read the definition of %s: %w", m.Name, err)
		}
		definition, err := prepareDefinition(text, m.Substitutions, s.opts.WaitFactor)
		if err != nil {
			return fmt.Errorf("prepare the definition of %s: %w", m.Name, err)
		}
		in := &sfn.CreateStateMachineInput{Name: &m.Name, RoleArn: &m.RoleARN, Definition: aws.String(string(definition))}
		if _, err := sfn.NewFromConfig(cfg).CreateStateMachine(ctx, in); err != nil {
			return fmt.Errorf("create state machine %s: %w", m.Name, err)
		}
	}
	return nil
}

// createQueues makes first those that others send their dead letters to.
func createQueues(ctx context.Context, c *sqs.Client, queues []samtemplate.Queue) error {
	for _, last := range []bool{false, true} {
		for _, q := range queues {
			if _, redrives := q.Attributes["RedrivePolicy"]; redrives != last {
				continue
			}
			if _, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q.Name, Attributes: q.Attributes}); err != nil {
				return fmt.Errorf("create queue %s: %w", q.Name, err)
			}
		}
	}
	return nil
}

func createTable(ctx context.Context, c *dynamodb.Client, t samtemplate.Table) error {
	in := &dynamodb.CreateTableInput{TableName: &t.Name, BillingMode: dynamotypes.BillingModePayPerRequest, KeySchema: keySchema(t.KeySchema)}
	for _, a := range t.AttributeDefinitions {
		in.AttributeDefinitions = append(in.AttributeDefinitions, dynamotypes.AttributeDefinition{
			AttributeName: &a.AttributeName, AttributeType: dynamotypes.ScalarAttributeType(a.AttributeType),
		})
	}
	for _, x := range t.GlobalSecondaryIndexes {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, dynamotypes.GlobalSecondaryIndex{
			IndexName: &x.IndexName,
			KeySchema: keySchema(x.KeySchema),
			Projection: &dynamotypes.Projection{
				ProjectionType: dynamotypes.ProjectionType(x.Projection.ProjectionType), NonKeyAttributes: x.Projection.NonKeyAttributes,
			},
		})
	}
	if stream := t.StreamSpecification; stream != nil {
		in.StreamSpecification = &dynamotypes.StreamSpecification{
			StreamEnabled: aws.Bool(true), StreamViewType: dynamotypes.StreamViewType(stream.StreamViewType),
		}
	}
	if _, err := c.CreateTable(ctx, in); err != nil {
		return fmt.Errorf("create table %s: %w", t.Name, err)
	}
	if ttl := t.TimeToLiveSpecification; ttl != nil && ttl.Enabled {
		_, err := c.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName:               &t.Name,
			TimeToLiveSpecification: &dynamotypes.TimeToLiveSpecification{AttributeName: &ttl.AttributeName, Enabled: aws.Bool(true)},
		})
		if err != nil {
			return fmt.Errorf("set time to live of table %s: %w", t.Name, err)
		}
	}
	return nil
}

func keySchema(keys []samtemplate.KeyElement) []dynamotypes.KeySchemaElement {
	out := make([]dynamotypes.KeySchemaElement, 0, len(keys))
	for _, k := range keys {
		out = append(out, dynamotypes.KeySchemaElement{AttributeName: &k.AttributeName, KeyType: dynamotypes.KeyType(k.KeyType)})
	}
	return out
}

var substitution = regexp.MustCompile(`\$\{([A-Za-z0-9_.]+)\}`)

// prepareDefinition fills in the template's substitutions and shortens the waits by factor. Timeouts
// and MaxAttempts stay: they are limits, not waits.
func prepareDefinition(text []byte, values map[string]string, factor float64) ([]byte, error) {
	var missing error
	text = substitution.ReplaceAllFunc(text, func(m []byte) []byte {
		value, ok := values[string(m[2:len(m)-1])]
		if !ok {
			missing = fmt.Errorf("the template substitutes no %s", m)
		}
		return []byte(value)
	})
	if missing != nil {
		return nil, missing
	}
	var definition any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&definition); err != nil {
		return nil, err
	}
	shorten(definition, factor)
	return json.Marshal(definition)
}

func shorten(v any, factor float64) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			shorten(x, factor)
		}
	case map[string]any:
		for name, x := range v {
			seconds, ok := x.(json.Number)
			isWait := name == "IntervalSeconds" || name == "MaxDelaySeconds" || name == "Seconds" && v["Type"] == "Wait"
			if !ok || !isWait {
				shorten(x, factor)
				continue
			}
			if f, err := seconds.Float64(); err == nil && f > 0 {
				v[name] = max(1, int(math.Round(f*factor)))
			}
		}
	}
}
