package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/client"
	"github.com/metaflow-deployer/metaflow-deployer/client/device"
)

// The exit codes, as the program's help and docs/cli.md tell them.
const (
	codeDone = iota
	codeFailed
	codeUsage
	codeAttention
	codeNotFound
	codeDenied
	codeConflict
	codeInterrupted
	codeDrift
)

// ended is an error that has been told already: only its exit code is left to say.
type ended struct {
	code int
	why  string
}

func (e *ended) Error() string { return e.why }

// interrupted is what a command met when it was stopped, or out of time, before the API had answered for good.
type interrupted struct{ error }

func (i *interrupted) Unwrap() error { return i.error }

// unknown is a caller without credentials.
type unknown struct{ text string }

func (u *unknown) Error() string { return u.text }

// exitCode is the one place where an error becomes an exit code.
func exitCode(err error) int {
	if e, ok := errors.AsType[*ended](err); ok {
		return e.code
	}

	if _, ok := errors.AsType[*interrupted](err); ok {
		return codeInterrupted
	}

	if _, ok := errors.AsType[*usage](err); ok {
		return codeUsage
	}

	if _, ok := errors.AsType[*unknown](err); ok {
		return codeDenied
	}

	if p, ok := errors.AsType[*client.Problem](err); ok {
		if p.Code == "no_such_route" {
			return codeFailed // the installation is elsewhere, and nobody knows whether there is such a thing
		}

		return codeOf(p.Status)
	}

	if _, ok := errors.AsType[*url.Error](err); ok {
		return codeInterrupted
	}

	if _, ok := errors.AsType[*device.Error](err); ok {
		return codeDenied
	}

	return codeFailed
}

func codeOf(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return codeUsage
	case http.StatusNotFound:
		return codeNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return codeDenied
	case http.StatusConflict, http.StatusPreconditionFailed:
		return codeConflict
	}

	return codeFailed
}

// complain tells what went wrong.
func (s *session) complain(err error) {
	if e, ok := errors.AsType[*ended](err); ok && e.why == "" {
		return
	}

	where := places{}
	if at, ok := errors.AsType[*located](err); ok {
		where = at.places
	}

	p, ok := errors.AsType[*client.Problem](err)
	_, stopped := errors.AsType[*interrupted](err)

	switch {
	case stopped:
		fmt.Fprintf(s.Err, "Interrupted: there was no answer yet (%v).\nIf something was asked for, it may have begun; %s ops NAME shows.\n", err, Name)
	case !ok:
		fmt.Fprintln(s.Err, "Error: "+err.Error())

		if _, ok := errors.AsType[*url.Error](err); ok {
			fmt.Fprintf(s.Err, label, "remedy", "Check the URL of the installation, and the way there. If something was asked for, it may have begun; "+Name+" ops NAME shows.")
		}
	case s.output == "text":
		writeProblem(s.Err, p, where)

		if p.Status == http.StatusUnauthorized {
			fmt.Fprintln(s.Err, "  sign in   "+Name+" login, or a new token in $"+envToken)
		}

		if s.signed != "" && p.Code == "forbidden" {
			fmt.Fprintf(s.Err, label, "signed", s.signed+": the key, its secret or the Region is not right, or the installation's API is not open to that caller")
		}
	default:
		b, err := json.Marshal(p)
		if err == nil {
			err = printDoc(s.Err, s.output, b)
		}

		if err != nil {
			fmt.Fprintln(s.Err, "Error: "+p.Error())
		}
	}
}

// located is an error about what a file or flags said.
type located struct {
	error

	places places
}

func (l *located) Unwrap() error { return l.error }

// label begins each line of a problem.
const label = "  %-9s %s\n"

// writeProblem tells a problem as what, where, cause, remedy, and what to give to an operator.
func writeProblem(w io.Writer, p *client.Problem, at places) {
	fmt.Fprintln(w, "Error: "+strings.TrimSpace(printable(p.Detail)))

	if len(p.Errors) < 2 {
		writeFault(w, client.Fault{Pointer: p.Pointer, Parameter: p.Parameter}, p.Resource, at)
	}

	if p.AWSCode != "" {
		fmt.Fprintf(w, label, "cause", "AWS answered "+p.AWSCode)
	}

	if p.Remedy != "" && len(p.Errors) < 2 {
		fmt.Fprintf(w, label, "remedy", printable(p.Remedy))
	}

	for _, f := range p.Errors {
		if len(p.Errors) > 1 {
			fmt.Fprintln(w, "- "+printable(f.Detail))
			writeFault(w, f, "", at)
			fmt.Fprintf(w, label, "remedy", f.Remedy)
		}
	}

	if p.Operation != "" {
		_, id, _ := strings.Cut(p.Operation, "/operations/")
		fmt.Fprintf(w, label, "operation", id+" (see it: "+Name+" watch "+id+")")
	}

	if p.RequestID != "" {
		fmt.Fprintf(w, label, "request", p.RequestID)
	}

	if p.Code != "" {
		fmt.Fprintf(w, label, "code", p.Code)
	}
}

func writeFault(w io.Writer, f client.Fault, resource string, at places) {
	var where []string

	for _, member := range []string{f.Pointer, f.Parameter} {
		if member == "" {
			continue
		}

		if place := at.of(member); place != "" {
			where = append(where, place)
		}

		where = append(where, member)
	}

	if resource != "" {
		where = append(where, resource)
	}

	if len(where) > 0 {
		fmt.Fprintf(w, label, "where", strings.Join(where, ", "))
	}
}
