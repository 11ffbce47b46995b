package workflow

import (
	"errors"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// SignalName is how a function tells the state machine what to do next: it is the error name that Retry and Catch match on. Each has its own retrier,
// because Step Functions counts attempts per retrier.
type SignalName string

const (
	// Waiting: a resource of another chain is not finished yet.
	Waiting SignalName = "Waiting"
	// NotReady: the resource's own AWS object is on its way, or another invocation is at it.
	NotReady SignalName = "NotReady"
	// Throttled: AWS or the table asked us to slow down.
	Throttled SignalName = "Throttled"
	// Transient: an answer was lost or a service stumbled.
	Transient SignalName = "Transient"
	// Failed: the step is over and did not succeed; the record says why. Ends the branch.
	Failed SignalName = "Failed"
	// Superseded: another operation or a newer execution has taken over; this one must not act. Ends the branch.
	Superseded SignalName = "Superseded"
)

// SignalNames lists all of them.
func SignalNames() []SignalName {
	return []SignalName{Waiting, NotReady, Throttled, Transient, Failed, Superseded}
}

// Signal is an outcome other than success. Its message is scrubbed: it ends in the state machine's history.
type Signal struct {
	Name    SignalName
	Message string
}

func (s *Signal) Error() string { return string(s.Name) + ": " + s.Message }

func signal(name SignalName, message string) error {
	return &Signal{Name: name, Message: deploy.Scrub(message)}
}

// storeSignal says what a failed read or write of the record means for the caller: look again, or stop.
func storeSignal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return signal(Superseded, "the record is gone")
	case errors.Is(err, store.ErrStale):
		return signal(Transient, "the record changed meanwhile")
	default:
		return signal(Transient, "the table did not answer: "+err.Error())
	}
}
