package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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

// watched tells the rules of executions that somebody starts, because moto tells nobody.
func (s *Stack) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "AWSStepFunctions.StartExecution" {
			next.ServeHTTP(w, r)
			return
		}
		// 1 MiB is the quota of a StartExecution request.
		body, err := io.ReadAll(io.LimitReader(r.Body, 2<<20))
		if err != nil {
			return // the caller left
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)

		var in struct{ StateMachineArn, Name string }
		if json.Unmarshal(body, &in) != nil || in.Name == "" {
			return
		}
		parts := strings.Split(in.StateMachineArn, ":")
		if len(parts) != 7 {
			return
		}
		s.mu.Lock()
		world := s.worlds[parts[4]]
		s.mu.Unlock()
		if world != nil {
			parts[5] = "execution"
			world.rules.watch(strings.Join(parts, ":") + ":" + in.Name)
		}
	})
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
