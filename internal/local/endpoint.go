package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsproxy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/frontdoor"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/lambdapool"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/oidc"
)

// endpointHandler is the AWS endpoint.
func (s *Stack) endpointHandler(upstream *url.URL) (http.Handler, error) {
	models, err := botocoreModels(s.opts.Venv)
	if err != nil {
		return nil, err
	}
	s.proxy, err = awsproxy.New(awsproxy.Options{
		Upstream: upstream, Models: models, Strict: s.opts.Strict, Logger: s.opts.Logger,
		Kill: func(accessKeyID string) { s.pool.Kill(accessKeyID) },
	})
	if err != nil {
		return nil, err
	}
	aws := s.watched(s.proxy)
	if s.opts.Intercept != nil {
		aws = s.opts.Intercept(aws)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, oidc.Path+"/"):
			s.issuer.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, lambdapool.Path) && strings.HasSuffix(r.URL.Path, "/invocations"):
			s.pool.ServeHTTP(w, r)
		default:
			aws.ServeHTTP(w, r)
		}
	}), nil
}

// botocoreModels is where moto's virtual environment describes AWS's services.
func botocoreModels(venv string) (string, error) {
	found, err := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages", "botocore", "data"))
	if err != nil {
		return "", fmt.Errorf("find botocore: %w", err)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("find botocore: %s holds it %d times, not once", venv, len(found))
	}
	return found[0], nil
}

// watched tells the rules of executions that somebody starts, and the mappings of what somebody writes to a table or a queue, because moto tells nobody.
func (s *Stack) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		world := s.worldOf(r)
		if world == nil {
			next.ServeHTTP(w, r)
			return
		}
		switch {
		case service == "AWSStepFunctions" && action == "StartExecution":
			if body, ok := kept(r); ok {
				next.ServeHTTP(w, r)
				world.started(body)
			}
		case strings.HasPrefix(service, "DynamoDB_") && !strings.HasPrefix(action, "Get") && action != "Query":
			next.ServeHTTP(w, r)
			world.mappings.tell(streams)
		case service == "AmazonSQS":
			if body, ok := kept(r); ok {
				if action == "ChangeMessageVisibility" {
					shortenVisibility(r, body, s.opts.WaitFactor)
				}
				next.ServeHTTP(w, r)
				world.mappings.tell(queues)
			}
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// worldOf is the world of whoever signed a request, or nil.
func (s *Stack) worldOf(r *http.Request) *World {
	m := accessKey.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worlds[m[1]]
}

// kept reads a body and leaves it to be read again. It fails if the caller left.
func kept(r *http.Request) ([]byte, bool) {
	// 1 MiB is the quota of a StartExecution request, and of a message.
	body, err := io.ReadAll(io.LimitReader(r.Body, 2<<20))
	if err != nil {
		return nil, false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, true
}

func (w *World) started(body []byte) {
	var in struct{ StateMachineArn, Name string }
	if json.Unmarshal(body, &in) != nil || in.Name == "" {
		return
	}
	parts := strings.Split(in.StateMachineArn, ":")
	if len(parts) != 7 {
		return
	}
	parts[5] = "execution"
	w.rules.watch(strings.Join(parts, ":") + ":" + in.Name)
}

// shortenVisibility makes the wait of a message shorter as those of a state machine are.
func shortenVisibility(r *http.Request, body []byte, factor float64) {
	var in map[string]any
	if json.Unmarshal(body, &in) != nil {
		return
	}
	seconds, ok := in["VisibilityTimeout"].(float64)
	if !ok || seconds <= 0 {
		return
	}
	in["VisibilityTimeout"] = max(1, int(math.Round(seconds*factor)))
	if body, err := json.Marshal(in); err == nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
}

// accessKey takes apart the access key ids that are known here.
var accessKey = regexp.MustCompile(`LOCAL-(\d{12})-([A-Za-z0-9_-]+)-(\d+)`)

// caller is the IAM identity behind an access key: the account's root for the person at this
// computer, the function's role for a function.
func (w *World) caller(id string) (frontdoor.Caller, bool) {
	m := accessKey.FindStringSubmatch(id)
	if m == nil || m[0] != id || m[1] != w.Account {
		return frontdoor.Caller{}, false
	}
	if m[2] == "user" {
		return frontdoor.Caller{
			AccountID: w.Account, CallerID: w.Account, UserID: w.Account,
			UserARN: "arn:aws:iam::" + w.Account + ":root", Secret: secret,
		}, true
	}
	for _, f := range w.Resources.Functions {
		if f.Name == m[2] {
			role := stackName + "-" + f.LogicalID + "Role"
			return frontdoor.Caller{
				AccountID: w.Account, CallerID: role + ":" + f.Name, UserID: role + ":" + f.Name,
				UserARN: "arn:aws:sts::" + w.Account + ":assumed-role/" + role + "/" + f.Name, Secret: secret,
			}, true
		}
	}
	return frontdoor.Caller{}, false
}

// splitARN takes account and name out of a function's ARN.
func splitARN(arn string) (account, name string, err error) {
	parts := strings.Split(arn, ":")
	if len(parts) < 7 || parts[2] != "lambda" || parts[5] != "function" {
		return "", "", fmt.Errorf("%s is no function's ARN", arn)
	}
	return parts[4], parts[6], nil
}
