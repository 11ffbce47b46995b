package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsconf"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// wire takes down every request as it leaves the SDK, and leads those for AWS's own hosts to the endpoint on this computer.
type wire struct {
	endpoint *url.URL
	// names takes out what is the account's.
	names *strings.Replacer

	mu       sync.Mutex
	requests map[string]bool
}

// made matches what differs between any two runs: ids that AWS gives out, and client tokens, which are the operation's.
var made = regexp.MustCompile(`\b(vpc|subnet|rtb|rtbassoc|igw|sg|sgr|lt|vpce|eni)-[0-9a-f]{8,}\b|\b(ClientToken=)[a-z2-7]{32}\b`)

// Do implements aws.HTTPClient.
func (w *wire) Do(req *http.Request) (*http.Response, error) {
	var body []byte

	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}

		req.Body = io.NopCloser(bytes.NewReader(body))
	}

	path, service := req.URL.Path, scope(req.Header.Get("Authorization"))

	// S3 on AWS has the bucket in the host's name, on an IP address in the path.
	if bucket, ok := strings.CutSuffix(req.URL.Hostname(), ".s3."+local.Region+".amazonaws.com"); ok {
		path = "/" + bucket + strings.TrimSuffix(path, "/")
	}

	text := strings.Join([]string{
		service, req.Method, strings.TrimSuffix(path, "/"), sorted(req.URL.Query().Encode()), req.Header.Get("X-Amz-Target"), req.Header.Get("Content-Type"),
		req.Header.Get("X-Amz-Expected-Bucket-Owner"), sorted(string(body)),
	}, " ")

	w.mu.Lock()
	w.requests[w.names.Replace(made.ReplaceAllString(text, "$1$2…"))] = true
	w.mu.Unlock()

	req.URL.Scheme, req.URL.Host, req.URL.Path, req.URL.RawPath = w.endpoint.Scheme, w.endpoint.Host, path, ""

	return http.DefaultClient.Do(req)
}

// sorted puts the members of a form or of a JSON object into an order: the SDK writes maps of tags in any.
func sorted(form string) string {
	var object map[string]any
	if json.Unmarshal([]byte(form), &object) == nil {
		ordered, err := json.Marshal(object)
		if err == nil {
			return string(ordered)
		}
	}

	parts := strings.Split(form, "&")
	slices.Sort(parts)

	return strings.Join(parts, "&")
}

// scope is the service that a request was signed for.
func scope(authorization string) string {
	_, credential, _ := strings.Cut(authorization, "Credential=")
	parts := strings.Split(credential, "/")

	return parts[min(3, len(parts)-1)]
}

// TestSameRequestsOnAWS makes and purges the default environment twice, side by side: with the settings that functions get on this computer, and with those
// that they get on AWS. What leaves the SDK must be the same but for the host. The product has no other way to know where it runs.
func TestSameRequestsOnAWS(t *testing.T) {
	var (
		lives    sync.WaitGroup
		settings = []struct {
			endpoint  string
			pathStyle bool
			requests  map[string]bool
			live      func()
			err       error
		}{{endpoint: start(t)[0].Endpoint, pathStyle: true}, {}}
	)

	for i := range settings {
		w, s := newWorld(t), &settings[i]

		endpoint, err := url.Parse(w.stack.Endpoint)
		if err != nil {
			t.Fatal(err)
		}

		if s.endpoint != "" {
			s.endpoint = w.stack.Endpoint
		}

		sdk, err := configured(t, map[string]string{
			"AWS_ENDPOINT_URL": s.endpoint, "AWS_ACCESS_KEY_ID": w.AccessKey(), "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": local.Region,
			"AWS_EC2_METADATA_DISABLED": "true",
		})
		if err != nil {
			t.Fatal(err)
		}

		slug := deploy.Owner{Installation: "settings", Account: w.Account, Region: local.Region, Tenant: "acme", Name: "research"}.Slug()
		out := &wire{endpoint: endpoint, requests: map[string]bool{}, names: strings.NewReplacer(slug, "SLUG", w.Account, "ACCOUNT")}
		sdk.HTTPClient, s.requests = out, out.requests

		s.live = func() { s.err = life(t.Context(), w.Account, sdk, s.pathStyle) }
	}

	t.Parallel()

	for i := range settings {
		lives.Go(settings[i].live)
	}

	lives.Wait()

	here, there := settings[0], settings[1]
	if here.err != nil || there.err != nil {
		t.Fatal(here.err, there.err)
	}

	if len(here.requests) < 40 {
		t.Fatalf("a life makes more than %d different requests", len(here.requests))
	}

	if diff := cmp.Diff(here.requests, there.requests); diff != "" {
		t.Errorf("(-here +on AWS):\n%s", diff)
	}

	t.Logf("%d different requests, the same with both settings", len(here.requests))
}

// configured loads the SDK's configuration as a function would that finds these variables in its environment. Not while other tests run.
func configured(t *testing.T, environment map[string]string) (aws.Config, error) {
	t.Helper()

	for name, value := range environment {
		before, was := os.LookupEnv(name)

		if err := os.Setenv(name, value); err != nil {
			return aws.Config{}, err
		}

		defer func() {
			if was {
				_ = os.Setenv(name, before)
			} else {
				_ = os.Unsetenv(name)
			}
		}()
	}

	return awsconf.SDK(t.Context())
}

// life makes every resource of the default environment in turn and removes it, with the real conductor and workers in this process.
func life(ctx context.Context, account string, sdk aws.Config, pathStyle bool) error {
	kinds := all.Kinds(all.Clients{
		S3: s3.NewFromConfig(sdk, func(o *s3.Options) { o.UsePathStyle = pathStyle }), IAM: iam.NewFromConfig(sdk), EC2: ec2.NewFromConfig(sdk),
		Batch: batch.NewFromConfig(sdk),
	})

	graphs, err := workflow.NewGraphs(kinds)
	if err != nil {
		return err
	}

	records, log, clock := memory.New(), slog.New(slog.DiscardHandler), workflow.WallClock{}
	place := workflow.Place{
		Installation: "settings", Partition: "aws", Account: account, Region: local.Region,
		Boundary: "arn:aws:iam::" + account + ":policy/metaflow-deployer/metaflow/Boundary",
	}
	control := &workflow.Control{
		Store: records, Graphs: graphs, Starter: nobody{}, Place: place, Clock: clock, Grants: records, Log: log, NewID: func() string { return strings.Repeat("0", 26) },
		Quota: func(_ context.Context, _, _ string, otherwise int) int { return otherwise },
	}
	conductor := &workflow.Conductor{Store: records, Graphs: graphs, Clock: clock, Log: log}
	worker := &workflow.Worker{Store: records, Kinds: kinds, Place: place, Clock: clock, Log: log}
	principal := deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}

	if _, err := control.Create(ctx, principal, workflow.CreateRequest{Name: "research", Spec: deploy.Spec{}.WithDefaults()}); err != nil {
		return err
	}

	if err := walk(ctx, records, conductor, worker, workflow.VerbEnsure, graphs.Ensure.Order()); err != nil {
		return err
	}

	control.NewID = func() string { return strings.Repeat("1", 26) }

	if _, err := control.Delete(ctx, principal, workflow.DeleteRequest{Name: "research", Data: deploy.Purge}); err != nil {
		return err
	}

	return walk(ctx, records, conductor, worker, workflow.VerbRemove, graphs.Remove.Order())
}

// walk does one operation step by step, in the order of the graph.
func walk(ctx context.Context, records *memory.Store, conductor *workflow.Conductor, worker *workflow.Worker, verb workflow.Verb, order []string) error {
	record, err := records.Load(ctx, deploy.Key{Tenant: "acme", Name: "research"})
	if err != nil {
		return err
	}

	in := workflow.Input{Verb: workflow.VerbBegin, Execution: workflow.Execution{
		Installation: "settings", Tenant: "acme", Deployment: "research", Operation: record.Deployment.Operation, Epoch: record.Deployment.Epoch,
	}}
	if _, err := conductor.Run(ctx, in); err != nil {
		return err
	}

	if record, err = records.Load(ctx, in.Key()); err != nil {
		return err
	}

	for _, name := range order {
		for _, r := range record.Resources {
			if r.Ref.Kind() != name {
				continue
			}

			step := in
			step.Verb, step.Resource = verb, r.Ref

			if err := insist(ctx, func() error { return worker.Run(ctx, step) }); err != nil {
				return err
			}
		}
	}

	in.Verb = workflow.VerbClose
	_, err = conductor.Run(ctx, in)

	return err
}

// insist repeats as the state machine would, for two minutes.
func insist(ctx context.Context, act func() error) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		err := act()

		s, ok := errors.AsType[*workflow.Signal](err)
		if !ok || s.Name != workflow.NotReady && s.Name != workflow.Transient || time.Now().After(end) {
			return err
		}

		workflow.WallClock{}.Sleep(ctx, 200*time.Millisecond)
	}
}

// nobody starts no execution: the test walks by itself.
type nobody struct{}

func (nobody) Start(context.Context, workflow.Execution) error { return nil }

func (nobody) Alive(context.Context, workflow.Execution) (alive, known bool, err error) {
	return true, true, nil
}
