// Package local runs the whole product on this computer from its SAM template: moto stands for AWS,
// and this process plays what moto does not: Lambda and its event source mappings, API Gateway,
// EventBridge's schedules and status events, and an OpenID Connect issuer.
//
//	PORT     the API (package frontdoor)
//	PORT+1   the AWS endpoint: Lambda calls to package lambdapool, the issuer (package oidc),
//	         everything else through package awsproxy to moto
//	PORT+2   moto
//
// Several worlds run side by side on one stack: a world is an AWS account with a table, a state
// machine, functions and an API listener of its own. Access keys carry the account
// (LOCAL-<account>-<caller>-<n>), and the ARNs that moto's workflow engine calls do, too.
//
// The package must not know what the product does: everything it needs stands in the template. All
// listeners are on the loopback interface.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/frontdoor"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/lambdapool"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/oidc"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

const (
	// Account is the account of a stack's first world.
	Account = "123456789012"
	// Region is the only one there is.
	Region = "us-east-1"
	// stackName begins the names of what the template leaves unnamed.
	stackName = "metaflow-deployer"
	// secret is the secret of every access key here.
	secret = "local"
	// waitFactor is the default of Options.WaitFactor.
	waitFactor = 0.1
)

// Options says what to run. Root is needed; the rest has defaults.
type Options struct {
	// Root is the checkout: template.yaml and what it names.
	Root string
	// Functions holds <name>/bootstrap for each function, built for this computer.
	// Default: Root/.local/functions.
	Functions string
	// Venv is the Python virtual environment with moto. Default: Root/.local/venv.
	Venv string
	// State is where logs and the issuer's key go. Default: Root/.local.
	State string
	// Port is the API's; the two after it are used, too. 0 takes free ports.
	Port int
	// Strict makes moto as unkind as AWS.
	Strict bool
	// Intercept, if set, stands in front of the AWS endpoint and may answer calls in moto's place.
	Intercept func(http.Handler) http.Handler
	Logger    *slog.Logger
	// WaitFactor shortens the waits of a state machine. What it makes shorter than a second stays one
	// second, because moto takes whole seconds only. Default: 0.1.
	WaitFactor float64
}

// Stack is a running copy of the product.
type Stack struct {
	// URL is the API of the first world, Endpoint the AWS endpoint, Moto what stands behind it.
	URL, Endpoint, Moto string

	opts     Options
	template *samtemplate.Template
	issuer   *oidc.Issuer
	pool     *lambdapool.Pool
	proxy    *awsproxy.Proxy
	aws      *clients
	fetch    *http.Client // of issuers' keys

	moto     *motoServer
	endpoint *http.Server
	served   chan struct{} // closed when the endpoint's Serve has returned

	mu      sync.Mutex
	worlds  map[string]*World
	closing sync.Once
}

// World is one account's copy of the product.
type World struct {
	Account string
	// URL is the world's API.
	URL string
	// Resources is what the template declares for the account: names, ARNs, functions.
	Resources *samtemplate.Stack

	stack  *Stack
	server *http.Server
	served chan struct{}
	rules  *rules
	// mappings are told of what is written to streams and queues.
	mappings *mappings
}

// Start runs a stack with one world. It is ready when Start returns; ctx bounds the start only. End
// it with Close.
func Start(ctx context.Context, opts Options) (*Stack, error) {
	opts.Functions = orDefault(opts.Functions, filepath.Join(opts.Root, ".local", "functions"))
	opts.Venv = orDefault(opts.Venv, filepath.Join(opts.Root, ".local", "venv"))
	opts.State = orDefault(opts.State, filepath.Join(opts.Root, ".local"))
	if opts.WaitFactor == 0 {
		opts.WaitFactor = waitFactor
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	text, err := os.ReadFile(filepath.Join(opts.Root, "template.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read the template: %w", err)
	}
	template, err := samtemplate.Parse(text)
	if err != nil {
		return nil, err
	}

	s := &Stack{opts: opts, template: template, worlds: map[string]*World{}, served: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	api, err := listen(s.opts.Port, 0, "the API")
	if err != nil {
		return err
	}
	endpoint, err := listen(s.opts.Port, 1, "the AWS endpoint")
	if err != nil {
		api.Close()
		return err
	}
	// From here on each listener belongs to a server that Close ends.
	if err := s.startEndpoint(ctx, endpoint); err != nil {
		api.Close()
		return err
	}
	w, err := s.startWorld(ctx, Account, api, nil)
	if err != nil {
		return err
	}
	s.URL = w.URL
	return nil
}

func (s *Stack) startEndpoint(ctx context.Context, ln net.Listener) error {
	s.Endpoint = "http://" + ln.Addr().String()
	abandon := func(err error) error {
		ln.Close()
		close(s.served)
		return err
	}
	key, err := oidc.Key(KeyFile(s.opts.State))
	if err != nil {
		return abandon(err)
	}
	s.issuer = oidc.New(s.Endpoint+oidc.Path, key)

	inner, err := listen(s.opts.Port, 2, "moto")
	if err != nil {
		return abandon(err)
	}
	moto, err := startMoto(ctx, s.opts, inner, port(ln))
	if err != nil {
		return abandon(err)
	}
	s.moto, s.Moto = moto, moto.url
	s.fetch = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	s.aws = newClients(moto.url)
	s.pool = lambdapool.New(lambdapool.Options{Region: Region, Account: Account, Endpoint: s.Endpoint, Logger: s.opts.Logger})

	upstream, err := url.Parse(moto.url)
	if err != nil {
		return abandon(err)
	}
	handler, err := s.endpointHandler(upstream)
	if err != nil {
		return abandon(err)
	}
	s.endpoint = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug)}
	go func() {
		defer close(s.served)
		_ = s.endpoint.Serve(ln) // returns when Close closes it
	}()
	return nil
}

// World makes an account's own copy of the product, on a free port, beside those that run. The parameters are the template's that differ from those of the
// first world; nil for none.
func (s *Stack) World(ctx context.Context, account string, parameters map[string]string) (*World, error) {
	ln, err := listen(0, 0, "account "+account)
	if err != nil {
		return nil, err
	}
	return s.startWorld(ctx, account, ln, parameters)
}

func (s *Stack) startWorld(ctx context.Context, account string, ln net.Listener, more map[string]string) (w *World, err error) {
	defer func() {
		if err != nil {
			ln.Close()
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worlds[account] != nil {
		return nil, fmt.Errorf("there is a world for account %s", account)
	}
	w = &World{Account: account, URL: "http://" + ln.Addr().String(), stack: s, served: make(chan struct{})}
	parameters, err := s.parameters(account)
	if err != nil {
		return nil, err
	}
	maps.Copy(parameters, more)
	w.Resources, err = s.template.Resolve(samtemplate.Inputs{
		Region: Region, Account: account, StackName: stackName, APIEndpoint: w.URL, Parameters: parameters,
	})
	if err != nil {
		return nil, fmt.Errorf("resolve the template: %w", err)
	}
	if w.Resources.API == nil {
		return nil, errors.New("the template declares no HTTP API")
	}
	door, err := frontdoor.New(frontdoor.Options{
		API: w.Resources.API, Region: Region, Account: account,
		Invoke: s.invoke, Caller: w.caller, Client: s.fetch, Logger: s.opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	w.rules, err = newRules(w, s)
	if err != nil {
		return nil, err
	}
	w.mappings, err = newMappings(w, s)
	if err != nil {
		return nil, err
	}
	if err := s.bootstrap(ctx, w); err != nil {
		return nil, fmt.Errorf("set up account %s: %w", account, err)
	}
	if err := s.addFunctions(w); err != nil {
		s.pool.Remove(account)
		return nil, err
	}
	w.server = &http.Server{Handler: door, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug)}
	go func() {
		defer close(w.served)
		_ = w.server.Serve(ln) // returns when Close closes it
	}()
	w.rules.start()
	w.mappings.start()
	s.worlds[account] = w
	return w, nil
}

// parameters are the template's that differ from their defaults here. One that the template does
// not declare is left out.
func (s *Stack) parameters(account string) (map[string]string, error) {
	principals, err := json.Marshal(map[string]any{
		"arn:aws:iam::" + account + ":root": map[string]any{"tenant": "local", "roles": []string{"admin"}},
	})
	if err != nil {
		return nil, fmt.Errorf("write the IAM principals: %w", err)
	}
	out := map[string]string{}
	for name, value := range map[string]string{
		"OidcIssuer":    s.issuer.URL(),
		"OidcAudience":  oidc.Audience,
		"OidcClientId":  oidc.PortalClient,
		"IamPrincipals": string(principals),
		// Whoever tries webhooks here listens here.
		"WebhookOrigins": `["http://127.0.0.1:*"]`,
		// A CloudFormation beside this stack sends for the tenant of this computer, and takes answers on loopback.
		"StackTenant":     "local",
		"StackAccount":    account,
		"ResponseOrigins": `["http://127.0.0.1:*", "http://localhost:*"]`,
	} {
		if s.template.HasParameter(name) {
			out[name] = value
		}
	}
	return out, nil
}

func (s *Stack) addFunctions(w *World) error {
	for _, f := range w.Resources.Functions {
		dir, err := filepath.Abs(filepath.Join(s.opts.Functions, f.Name))
		if err != nil {
			return fmt.Errorf("find function %s: %w", f.Name, err)
		}
		executable := filepath.Join(dir, "bootstrap")
		if _, err := os.Stat(executable); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("function %s is not built: there is no %s", f.Name, executable)
			}
			return fmt.Errorf("find function %s: %w", f.Name, err)
		}
		// On an IP address S3 wants the bucket in the path; a function that has the setting gets it.
		if _, ok := f.Env["S3_PATH_STYLE"]; ok {
			f.Env["S3_PATH_STYLE"] = "true"
		}
		s.pool.Add(lambdapool.Function{
			Account: w.Account, Name: f.Name, Executable: executable, Dir: dir,
			Timeout: f.Timeout, Aliases: f.Aliases, MemoryMB: f.MemoryMB, Env: f.Env,
			Log: filepath.Join(s.opts.State, "log", f.Name+".log"),
		})
	}
	return nil
}

// invoke is how the API reaches its functions.
func (s *Stack) invoke(ctx context.Context, arn string, event []byte) ([]byte, string, error) {
	account, name, err := splitARN(arn)
	if err != nil {
		return nil, "", err
	}
	res, err := s.pool.Invoke(ctx, account, name, event)
	return res.Payload, res.FunctionError, err
}

// Token signs a token of the local issuer that lives for a day.
func (s *Stack) Token(tenant string, roles ...string) (string, error) {
	return s.issuer.Token(tenant, roles, 24*time.Hour)
}

// Issuer signs for whoever needs tokens that Token would not make.
func (s *Stack) Issuer() *oidc.Issuer { return s.issuer }

// Pool runs the functions; tests kill and count their processes through it.
func (s *Stack) Pool() *lambdapool.Pool { return s.pool }

// Failed is closed when moto has ended, which it does on its own only when something is wrong.
func (s *Stack) Failed() <-chan struct{} { return s.moto.exited }

// Proxy is what stands between the AWS endpoint and moto; tests read its journal.
func (s *Stack) Proxy() *awsproxy.Proxy { return s.proxy }

// Close ends everything: listeners, schedules, functions and moto. No process is left after it. A
// second Close does nothing.
func (s *Stack) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		worlds := make([]*World, 0, len(s.worlds))
		for _, w := range s.worlds {
			worlds = append(worlds, w)
		}
		s.mu.Unlock()
		for _, w := range worlds {
			w.stop()
		}
		if s.moto != nil {
			s.moto.stop() // first, or its engine would go on calling functions
		}
		if s.pool != nil {
			s.pool.Close()
		}
		if s.endpoint != nil {
			s.endpoint.Close()
			<-s.served
		}
		if s.aws != nil {
			s.aws.close()
			s.fetch.CloseIdleConnections()
		}
	})
	return nil
}

// Close ends a world: its listener, schedules and functions. What it made in moto stays there.
func (w *World) Close() {
	w.stack.mu.Lock()
	delete(w.stack.worlds, w.Account)
	w.stack.mu.Unlock()
	w.stop()
	w.stack.pool.Remove(w.Account)
}

func (w *World) stop() {
	w.rules.stop()
	w.mappings.stop()
	w.server.Close()
	<-w.served
}

// AccessKey is the key of the person at this computer in the world's account.
func (w *World) AccessKey() string { return person(w.Account) }

// KeyFile is where a checkout keeps its issuer's key.
func KeyFile(state string) string { return filepath.Join(state, "oidc.pem") }

// BusyError says that a port is taken.
type BusyError struct {
	Port int
	Use  string
	Base int
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("port %d (%s) is in use: end what holds it, or choose three other ports in a row, for example PORT=%d", e.Port, e.Use, e.Base+10)
}

// listen takes base+offset, or a free port when base is 0.
func listen(base, offset int, use string) (*net.TCPListener, error) {
	p := 0
	if base != 0 {
		p = base + offset
	}
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p})
	if err != nil && base != 0 {
		return nil, errors.Join(&BusyError{Port: p, Use: use, Base: base}, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", use, err)
	}
	return ln, nil
}

func port(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
