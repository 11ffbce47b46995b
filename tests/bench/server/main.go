// Command server serves what requests per second are measured on, on a free port whose address it prints first; and it measures the adapter between
// API Gateway's events and the API by itself.
//
//	server api            the API over records that are there: what the API costs by itself, without any store
//	server api-copying    the API over the store in memory, which copies every record that it hands out
//	server json < pages   net/http and encoding/json: the answers of the API as it got them, each a value that is written as JSON for every request
//	server bytes < pages  net/http alone, with the bytes of those answers: [{"method", "path", "status", "body"}]
//	server adapter        prints how many nanoseconds a GET takes without and with the adapter
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/metaflow-deployer/metaflow-deployer/client"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/httpapi"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/lambdahttp"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// deployments are how many the tenant has, so that a list fills a page.
const deployments = 100

// page is an answer to be given again.
type page struct {
	Method, Path string
	Status       int
	Body         string
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: server api | api-copying | json | bytes | adapter")
	}

	if answer := map[string]func(page) (http.HandlerFunc, error){"json": encoding, "bytes": finished}[args[0]]; answer != nil {
		handler, err := bare(os.Stdin, answer)
		if err != nil {
			return err
		}

		return serve(ctx, handler)
	}

	handler, err := api(ctx, args[0] == "api-copying")
	if err != nil {
		return err
	}

	if args[0] == "adapter" {
		return adapter(ctx, handler)
	}

	return serve(ctx, handler)
}

func serve(ctx context.Context, handler http.Handler) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}

	fmt.Println(ln.Addr())

	return (&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}).Serve(ln)
}

// bare answers what the API answered, with nothing in between.
func bare(pages io.Reader, answer func(page) (http.HandlerFunc, error)) (http.Handler, error) {
	var all []page
	if err := json.NewDecoder(pages).Decode(&all); err != nil {
		return nil, err
	}

	mux := http.NewServeMux()

	for _, p := range all {
		handler, err := answer(p)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", p.Method, p.Path, err)
		}

		mux.HandleFunc(p.Method+" "+p.Path, handler)
	}

	return mux, nil
}

// finished answers the same bytes: it reads a body, for there is no keeping a connection otherwise.
func finished(p page) (http.HandlerFunc, error) {
	body := []byte(p.Body)

	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)

		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(p.Status)
		_, _ = w.Write(body)
	}, nil
}

// encoding reads the request and writes the answer by encoding/json, with the types of the Go client.
func encoding(p page) (http.HandlerFunc, error) {
	switch {
	case p.Method == http.MethodPost:
		return typed[client.CreateRequest, client.Problem](p)
	case p.Path == "/v1/deployments":
		return typed[struct{}, list](p)
	default:
		return typed[struct{}, client.Deployment](p)
	}
}

// list is a page of deployments.
type list struct {
	Deployments   []client.Deployment `json:"deployments"`
	NextPageToken string              `json:"nextPageToken,omitempty"`
}

func typed[Request, Answer any](p page) (http.HandlerFunc, error) {
	var answer Answer
	if err := json.Unmarshal([]byte(p.Body), &answer); err != nil {
		return nil, err
	}

	// A baseline that answers less than the API would not be one.
	if again, err := json.Marshal(answer); err != nil || len(again) < len(p.Body)*95/100 {
		return nil, fmt.Errorf("%d of %d bytes are left: %w", len(again), len(p.Body), err)
	}

	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			var request Request
			if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)

				return
			}
		}

		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(answer)
	}, nil
}

// started is a starter of executions that nobody runs.
type started struct{}

func (started) Start(context.Context, workflow.Execution) error { return nil }

func (started) Alive(context.Context, workflow.Execution) (alive, known bool, err error) {
	return true, true, nil
}

// api is the API with deployments that stand.
func api(ctx context.Context, copying bool) (http.Handler, error) {
	graphs, err := workflow.NewGraphs(all.Kinds(all.Clients{}))
	if err != nil {
		return nil, err
	}

	table, log := memory.New(), slog.New(slog.DiscardHandler)
	place := workflow.Place{Installation: "bench", Partition: "aws", Account: "123456789012", Region: "us-east-1"}
	control := &workflow.Control{
		Store: table, Graphs: graphs, Starter: started{}, Place: place, Clock: workflow.WallClock{}, Grants: table, Log: log, NewID: func() string { return "1" },
		Quota: func(_ context.Context, _, _ string, otherwise int) int { return otherwise },
	}
	who := deploy.Principal{Tenant: "acme", Actor: "ada", Roles: []deploy.Role{deploy.Deployer}}

	for i := range deployments {
		if err := commit(ctx, table, graphs, place, deploy.Key{Tenant: "acme", Name: fmt.Sprintf("team-%03d", i)}); err != nil {
			return nil, err
		}
	}

	var records httpapi.Records = table
	if !copying {
		if records, err = freeze(ctx, table); err != nil {
			return nil, err
		}
	}

	return httpapi.New(httpapi.Options{ //nolint:contextcheck // each request brings its own context
		Control: control, Records: records, Graphs: graphs, Place: deploy.Place{Partition: place.Partition, Account: place.Account, Region: place.Region},
		Principal: func(*http.Request) (deploy.Principal, error) { return who, nil }, Clock: workflow.WallClock{}, Log: log,
	}), nil
}

// frozen answers the same record and the same list again and again; for all else it is the store in memory.
type frozen struct {
	*memory.Store
	record *store.Record
	list   []deploy.Deployment
}

func freeze(ctx context.Context, table *memory.Store) (*frozen, error) {
	record, err := table.Load(ctx, deploy.Key{Tenant: "acme", Name: "team-000"})
	if err != nil {
		return nil, err
	}

	list, _, err := table.Deployments(ctx, store.List{Tenant: "acme", Size: deployments})

	return &frozen{Store: table, record: record, list: list}, err
}

func (f *frozen) Load(context.Context, deploy.Key) (*store.Record, error) { return f.record, nil }

func (f *frozen) Deployments(_ context.Context, list store.List) (page []deploy.Deployment, more bool, err error) {
	return f.list[:list.Size], len(f.list) > list.Size, nil
}

// commit writes the record of a default deployment whose create has ended well.
func commit(ctx context.Context, table *memory.Store, graphs *workflow.Graphs, place workflow.Place, key deploy.Key) error {
	const id = "create-1"

	now, spec := time.Now().UTC(), deploy.Spec{}.WithDefaults()

	var resources []deploy.Resource

	for _, k := range graphs.Kinds {
		for _, item := range k.Plan(spec) {
			resources = append(resources, deploy.Resource{
				Ref: item.Ref, Needs: item.Needs, Operation: id, Epoch: 1, Origin: deploy.Made, MadeBy: id, Intent: now, ID: "id-" + string(item.Ref),
				Ensure: &deploy.Step{State: deploy.StepReady, Attempts: 1, StartTime: now, EndTime: now}, UpdateTime: now,
			})
		}
	}

	return table.Commit(ctx, key, &store.Change{
		Deployment: &deploy.Deployment{
			Key: key, Phase: deploy.PhaseActive, Spec: spec, Account: place.Account, Region: place.Region, Owner: "ada", CreateTime: now, UpdateTime: now,
			Operation: id, Epoch: 1, Total: len(resources), Ready: len(resources),
		},
		Operations: []deploy.Operation{{ID: id, Key: key, Kind: deploy.Create, State: deploy.Succeeded, Actor: "ada", CreateTime: now, EndTime: now}},
		Resources:  resources,
	})
}

// adapter times a GET as a request and as an event, both from bytes to bytes.
func adapter(ctx context.Context, handler http.Handler) error {
	const path = "/v1/deployments/team-000"

	event, err := json.Marshal(events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: "ANY /v1/{proxy+}", RawPath: path, Headers: map[string]string{"host": "bench", "accept": "application/json"},
		RequestContext: events.APIGatewayV2HTTPRequestContext{
			Stage: "$default", RequestID: "1", DomainName: "bench", HTTP: events.APIGatewayV2HTTPRequestContextHTTPDescription{Method: http.MethodGet, Path: path},
		},
	})
	if err != nil {
		return err
	}

	invoke := lambdahttp.New(handler, slog.New(slog.DiscardHandler))

	plain, err := timed(func() error {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))

		if w.Code != http.StatusOK {
			return fmt.Errorf("status %d: %s", w.Code, w.Body)
		}

		return nil
	})
	if err != nil {
		return err
	}

	adapted, err := timed(func() error {
		var e events.APIGatewayV2HTTPRequest
		if err := json.Unmarshal(event, &e); err != nil {
			return err
		}

		res, err := invoke(ctx, e)
		if err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d: %s %w", res.StatusCode, res.Body, err)
		}

		_, err = json.Marshal(res)

		return err
	})
	if err != nil {
		return err
	}

	return json.NewEncoder(os.Stdout).Encode(map[string]int64{"plain": plain, "adapted": adapted})
}

// timed tells how many nanoseconds of the processor something takes, over two seconds after a warm-up.
func timed(act func() error) (int64, error) {
	for range 100 {
		if err := act(); err != nil {
			return 0, err
		}
	}

	used, n, began := processor(), int64(0), time.Now()
	for ; time.Since(began) < 2*time.Second; n++ {
		if err := act(); err != nil {
			return 0, err
		}
	}

	return (processor() - used).Nanoseconds() / n, nil
}

// processor is the time that this process has used so far, whoever else uses the computer meanwhile.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no way to fail
	}

	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
