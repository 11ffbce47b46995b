package deploy

import (
	"errors"
	"fmt"
	"strings"
)

// Class says what kind of trouble an error is. It alone decides whether a step is retried, whether an operation rolls back and which HTTP status a
// caller sees.
type Class string

const (
	// NotReady: the object exists and is on its way; look again.
	NotReady Class = "not_ready"
	// Throttled: AWS asked us to slow down; retry with jitter.
	Throttled Class = "throttled"
	// Transient: the answer is lost or the service stumbled; whether the call took effect is unknown. Retry after a look.
	Transient Class = "transient"
	// Conflict: a thing of that name exists and is not ours, or another operation is in the way.
	Conflict Class = "conflict"
	// Denied: AWS or our own rules forbid it.
	Denied Class = "denied"
	// Quota: a limit of the account; permanent until a person raises it or frees something.
	Quota Class = "quota"
	// Capacity: AWS has none of it at the moment.
	Capacity Class = "capacity"
	// Invalid: what was asked cannot be; the same request fails for ever.
	Invalid Class = "invalid"
	// Gone: the thing is not there. Success for a removal.
	Gone Class = "gone"
	// Internal: a fault of ours.
	Internal Class = "internal"
)

// Retryable tells whether the same step may succeed later without anybody changing anything.
func (c Class) Retryable() bool {
	return c == NotReady || c == Throttled || c == Transient || c == Capacity
}

// maxMessage bounds every message that leaves the process: the state machine's history and the table keep them for ever.
const maxMessage = 1024

// Error is a classified failure in the words of the product. Message says what happened and why; Remedy says what the reader can do. Neither holds
// secrets, account numbers beyond what an AWS message itself shows, or Go types.
type Error struct {
	Class     Class  `json:"class"`
	Code      string `json:"code"`
	Message   string `json:"message"`
	Remedy    string `json:"remedy,omitempty"`
	Pointer   string `json:"pointer,omitempty"`
	Resource  Ref    `json:"resource,omitempty"`
	AWSCode   string `json:"awsCode,omitempty"`
	RequestID string `json:"requestId,omitempty"`

	cause error
}

// Errorf makes an error of a class with a stable code. A %w in the format is kept as the cause.
func Errorf(class Class, code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)

	return &Error{Class: class, Code: code, Message: clip(err.Error()), cause: errors.Unwrap(err)}
}

func (e *Error) Error() string {
	if e.Code == "" {
		return e.Message
	}

	return e.Code + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// WithRemedy returns a copy that tells the reader what to do.
func (e *Error) WithRemedy(format string, args ...any) *Error {
	c := *e
	c.Remedy = clip(fmt.Sprintf(format, args...))

	return &c
}

// At returns a copy that points at the member of the request that caused it (RFC 6901).
func (e *Error) At(pointer string) *Error {
	c := *e
	c.Pointer = pointer

	return &c
}

// Of returns a copy that names the resource it happened to.
func (e *Error) Of(ref Ref) *Error {
	c := *e
	c.Resource = ref

	return &c
}

// AsError finds the classified error in a chain; anything else is Internal, with its text kept as the cause and out of the message.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}

	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}

	return &Error{
		Class: Internal, Code: "internal", Message: "The service met an error of its own.", cause: err,
		Remedy: "Try again; if it happens twice, give the operator the request id.",
	}
}

// Scrub makes a text from outside safe to keep: one line of valid UTF-8 of at most 1 KiB, without the credentials that a signed request carries (the
// errors of Go's HTTP client quote its whole URL).
func Scrub(s string) string {
	s = unsigned(strings.ToValidUTF8(s, "?"))
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}

		return r
	}, s)

	return clip(strings.TrimSpace(s))
}

// unsigned takes the values of the parameters of AWS's Signature Version 4 out of a text: token, credential and signature.
func unsigned(s string) string {
	const prefix = "X-Amz-"

	for from := 0; ; {
		i := strings.Index(s[from:], prefix)
		if i < 0 {
			return s
		}

		from += i + len(prefix)

		value := from + strings.IndexAny(s[from:], "=: \"'&")
		if value < from || s[value] != '=' {
			continue
		}

		end := strings.IndexAny(s[value:], " \"'&")
		if end < 0 {
			end = len(s) - value
		}

		s = s[:value+1] + "..." + s[value+end:]
	}
}

func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}

	return strings.ToValidUTF8(s[:maxMessage-len("…")], "") + "…"
}
