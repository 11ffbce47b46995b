// Package cli is the command line: it turns arguments and files into calls of the Go client, and answers into lines, trees and exit codes.
//
// Everything it touches of the world it is handed in a Program, so that tests run the whole of it in their own process. It must not know the product's
// insides: whatever it knows of deployments, it knows from package client.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

// Name is the program's.
const Name = "metaflow-deployer"

// The environment variables, as `make run` writes the first two.
const (
	envURL      = "METAFLOW_DEPLOYER_URL"
	envToken    = "METAFLOW_DEPLOYER_TOKEN" // #nosec G101 -- a variable's name
	envAuth     = "METAFLOW_DEPLOYER_AUTH"
	envTenant   = "METAFLOW_DEPLOYER_TENANT"
	envIssuer   = "METAFLOW_DEPLOYER_OIDC_ISSUER"
	envClientID = "METAFLOW_DEPLOYER_OIDC_CLIENT_ID"
	envAudience = "METAFLOW_DEPLOYER_OIDC_AUDIENCE"
)

// Program is one run of the command line and all that it may touch.
type Program struct {
	In       io.Reader
	Out, Err io.Writer
	// Asks tells whether somebody sits before In and Out and can be asked.
	Asks bool
	// Size tells the width and height of the terminal that Out is; nil if it is none.
	Size   func() (width, height int)
	Getenv func(string) string
	// Environ lists the environment's variables as NAME=value.
	Environ []string
	// Home is the person's directory, ConfigDir where programs keep their settings, Dir where the program was started.
	Home, ConfigDir, Dir string
	// HTTP sends requests; http.DefaultClient if nil.
	HTTP    *http.Client
	Version string
}

// session is what the global options of one run say.
type session struct {
	*Program

	url, tenant, output, auth string
	timeout                   time.Duration
	// signed tells with which AWS credentials requests are signed, and for which Region; empty if they are not.
	signed string
	// drawing: a tree is on the terminal.
	drawing atomic.Bool
}

// Run does what the arguments say and answers the exit code.
func (p *Program) Run(ctx context.Context, args []string) int {
	s := &session{Program: p}
	root := s.root() //nolint:contextcheck // cobra hands each command its context
	root.SetArgs(args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	root.InitDefaultCompletionCmd(args...)

	if c, _, err := root.Find([]string{"completion"}); err == nil && c != root {
		c.Args = cobra.NoArgs // a shell that there is no script for is a mistake, and no wish for help
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}

	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return codeDone
	}

	if _, ok := errors.AsType[*ran](err); !ok {
		err = &usage{fmt.Sprintf("%v\nSee %s --help.", err, c.CommandPath())}
	}

	s.complain(err)

	return exitCode(err)
}

// ran marks an error as one of a command at work: what cobra itself finds wrong is usage.
type ran struct{ error }

func (r *ran) Unwrap() error { return r.error }

// usage is a command that cannot be meant.
type usage struct{ text string }

func (u *usage) Error() string { return u.text }

func misused(format string, args ...any) error { return &usage{fmt.Sprintf(format, args...)} }

func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use:           Name,
		Short:         "Metaflow environments on AWS, made and kept by an installation of metaflow-deployer",
		Long:          overview,
		Version:       s.Version,
		SilenceErrors: true, SilenceUsage: true,
	}

	root.SetFlagErrorFunc(misflagged)

	flags := root.PersistentFlags()
	flags.StringVar(&s.url, "url", s.Getenv(envURL), "URL of the installation ($"+envURL+")")
	flags.StringVar(&s.tenant, "tenant", s.Getenv(envTenant), "act on this tenant instead of your own; admins only ($"+envTenant+")")
	flags.StringVarP(&s.output, "output", "o", "text", "how to answer: text, json or yaml")
	flags.StringVar(&s.auth, "auth", s.Getenv(envAuth), "how to show who you are: token, login or sigv4 ($"+envAuth+"; by default what is there)")
	flags.DurationVar(&s.timeout, "timeout", 0, "stop waiting after this time, such as 30m; what was begun goes on")
	_ = root.RegisterFlagCompletionFunc("output", fixed("text", "json", "yaml")) // the flags are there
	_ = root.RegisterFlagCompletionFunc("auth", fixed("token", "login", "sigv4"))

	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"deployments", "Deployments:", []*cobra.Command{s.create(), s.plan(), s.get(), s.list(), s.update(), s.extend(), s.delete()}},
		{"use", "Use:", []*cobra.Command{s.config(), s.verify(), s.drift(), s.repair()}},
		{"operations", "Operations:", []*cobra.Command{s.ops(), s.watch(), s.cancel(), s.resume(), s.skip()}},
		{"installation", "Installation:", []*cobra.Command{s.kinds(), s.orphans(), s.audit(), s.webhooks(), s.grants(), s.login(), s.logout()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})

		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}

	return root
}

// arguments wants of a command the arguments that its Use line names; [NAME] may be left out.
func arguments(c *cobra.Command, args []string) error {
	named := strings.Fields(c.Use)[1:]

	for i, name := range named {
		if i >= len(args) && !strings.HasPrefix(name, "[") {
			return misused("%s is missing: %s %s", name, c.CommandPath(), strings.Join(named, " "))
		}
	}

	if len(args) > len(named) {
		return misused("%q is too much: %s %s", args[len(named)], c.CommandPath(), strings.Join(named, " "))
	}

	return nil
}

// misflagged says of a flag that cannot be read what would be right.
func misflagged(c *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		// What is near is cobra's to say, of commands.
		flags := &cobra.Command{SuggestionsMinimumDistance: 2}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		})

		if near := flags.SuggestionsFor(unknown.GetSpecifiedName()); len(near) > 0 && unknown.GetSpecifiedShortnames() == "" {
			return misused("%v; did you mean --%s?", err, strings.Join(near, " or --"))
		}
	}

	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		wanted := map[string]string{
			"int": "a whole number", "bool": "true or false", "duration": "a number with its unit, such as 5m", "stringToString": "KEY=VALUE",
		}
		if right := wanted[wrong.GetFlag().Value.Type()]; right != "" {
			return misused("--%s %s: it is %s", wrong.GetFlag().Name, wrong.GetValue(), right)
		}
	}

	return err
}

// run makes a command's work fit cobra.
func (s *session) run(work func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if s.output != "text" && s.output != "json" && s.output != "yaml" {
			return misused("--output %s: it is text, json or yaml", s.output)
		}

		ctx := c.Context()

		if s.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.timeout)

			defer cancel()
		}

		err := work(ctx, args)
		if _, told := errors.AsType[*ended](err); err != nil && !told && ctx.Err() != nil {
			err = &interrupted{err}
		}

		if err != nil {
			return &ran{err}
		}

		return nil
	}
}

func fixed(values ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
}

// completing is how long a shell waits for names.
const completing = 3 * time.Second

// names completes the first argument with the deployments that there are.
func (s *session) names(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), completing)
	defer cancel()

	api, err := s.client(ctx)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}

	var names []string

	for d, err := range api.Deployments(ctx, client.ListOptions{}) {
		if err != nil {
			break
		}

		names = append(names, cobra.CompletionWithDesc(d.Name, string(d.Phase)))
	}

	return names, cobra.ShellCompDirectiveNoFileComp
}

const overview = `Metaflow environments on AWS, made and kept by an installation of metaflow-deployer.

Whoever you are is shown by a token in $METAFLOW_DEPLOYER_TOKEN, by a sign-in from this device (login), or by your AWS credentials (--auth sigv4).
What makes or changes something waits for the end and shows the steps; Ctrl-C stops the waiting only.

Exit codes:
  0  done
  1  the request or the operation failed; what an operation had made was taken away again
  2  the command, a file or the spec is not right; nothing was done
  3  the operation needs attention: something resisted, and is listed
  4  there is no such thing
  5  you are not signed in, or may not do this
  6  something is in the way: another operation, a name that is taken
  7  interrupted, out of time, or nobody answered; what was begun goes on
  8  drift was found`
