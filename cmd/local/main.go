// Command local runs the product on this computer.
//
//	local run     everything, in the foreground; PORT=8080, STRICT=1 for a moto as unkind as AWS
//	local token   a token of the local issuer; TENANT=local, ROLES=admin, PORT=8080
//
// Both work in the checkout they are started in and write below .local only.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/oidc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "local:", sentence(err))
		os.Exit(1)
	}
}

// sentence is what a person needs of an error: for a busy port the remedy, not the system's words.
func sentence(err error) string {
	if busy, ok := errors.AsType[*local.BusyError](err); ok {
		return busy.Error()
	}
	return err.Error()
}

func command(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: local run | local token")
	}
	port, err := basePort(getenv("PORT"))
	if err != nil {
		return err
	}
	switch args[0] {
	case "run":
		return run(ctx, port, getenv("STRICT") == "1", out)
	case "token":
		return token(port, getenv("TENANT"), getenv("ROLES"), out)
	}
	return fmt.Errorf("there is no command %q: use run or token", args[0])
}

func basePort(text string) (int, error) {
	if text == "" {
		return 8080, nil
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65533 { // two more ports follow it
		return 0, fmt.Errorf("PORT=%s is no port between 1 and 65533", text)
	}
	return port, nil
}

const stateDir = ".local"

// run serves until ctx ends.
func run(ctx context.Context, port int, strict bool, out io.Writer) (err error) {
	fmt.Fprintln(out, "starting; a first start takes some seconds")
	stack, err := local.Start(ctx, local.Options{
		Root: ".", Port: port, Strict: strict,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it started
		}
		return err
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	if err := writeEnv(stack); err != nil {
		return err
	}
	welcome(out, stack)
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nending")
		return nil
	case <-stack.Failed():
		return errors.New("moto ended on its own; see .local/log/moto.log")
	}
}

// writeEnv leaves what a shell needs to talk to the stack.
func writeEnv(stack *local.Stack) error {
	token, err := stack.Token("local", "admin")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, v := range [][2]string{
		{"METAFLOW_DEPLOYER_URL", stack.URL},
		{"METAFLOW_DEPLOYER_TOKEN", token},
		{"AWS_ENDPOINT_URL", stack.Endpoint},
		{"AWS_REGION", local.Region},
		{"AWS_DEFAULT_REGION", local.Region},
		{"AWS_ACCESS_KEY_ID", "LOCAL-" + local.Account + "-user-0"},
		{"AWS_SECRET_ACCESS_KEY", "local"},
	} {
		fmt.Fprintf(&b, "export %s=%s\n", v[0], v[1])
	}
	if err := os.WriteFile(filepath.Join(stateDir, "env"), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write %s/env: %w", stateDir, err)
	}
	return nil
}

func welcome(out io.Writer, stack *local.Stack) {
	fmt.Fprintf(out, `ready

  API            %s  (its documentation: %s/docs)
  portal         %s/portal/
  AWS endpoint   %s
  logs           %s

In another terminal, in this folder:

  source .local/env
  curl -sS -X POST "$METAFLOW_DEPLOYER_URL/v1/deployments" \
    -H "Authorization: Bearer $METAFLOW_DEPLOYER_TOKEN" \
    -H 'Content-Type: application/json' -d '{"name": "demo"}'
  until curl -sS "$METAFLOW_DEPLOYER_URL/v1/deployments/demo" -H "Authorization: Bearer $METAFLOW_DEPLOYER_TOKEN" | grep -E '"phase":"(ACTIVE|FAILED)"'; do sleep 1; done
  curl -sS "$METAFLOW_DEPLOYER_URL/v1/deployments/demo/configuration" -H "Authorization: Bearer $METAFLOW_DEPLOYER_TOKEN"
  curl -sS "$AWS_ENDPOINT_URL/_local/calls"

Ctrl-C ends everything; nothing is kept.
`, stack.URL, stack.URL, stack.URL, stack.Endpoint, filepath.Join(stateDir, "log"))
}

// token prints a token for somebody, signed by this checkout's issuer at the given port.
func token(port int, tenant, roles string, out io.Writer) error {
	if tenant == "" {
		tenant = "local"
	}
	if roles == "" {
		roles = "admin"
	}
	key, err := oidc.Key(local.KeyFile(stateDir))
	if err != nil {
		return err
	}
	issuer := oidc.New("http://127.0.0.1:"+strconv.Itoa(port+1)+oidc.Path, key)
	list := strings.FieldsFunc(roles, func(r rune) bool { return r == ',' || r == ' ' })
	signed, err := issuer.Token(tenant, list, 24*time.Hour)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, signed)
	return nil
}
