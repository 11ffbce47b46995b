package kind_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// A create whose answer was lost may have happened, whatever a repetition of it is answered: a removal must not believe an empty look yet.
func TestRefusedRepetitionKeepsTheDoubt(t *testing.T) {
	t.Parallel()

	lost := errors.New("connection reset by peer")
	throttled := &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded", Fault: smithy.FaultClient}

	for name, tc := range map[string]struct {
		reason  string
		answers []error
		want    bool
	}{
		"Refused":        {"nothing was made", []error{throttled}, false},
		"Lost":           {"it may have been made", []error{lost}, true},
		"LostAndRefused": {"the first may have made it", []error{lost, throttled}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c := &kind.Call{Now: time.Now, Save: func(context.Context) error { return nil }}

			for _, answer := range tc.answers {
				_, err := kind.Repeatable(t.Context(), c,
					func(context.Context) (string, error) { return "", nil }, func(context.Context) (string, error) { return "", answer })
				if !errors.Is(err, answer) {
					t.Fatalf("got %v, want %v", err, answer)
				}
			}

			if c.Unsure() != tc.want || c.Tried() != tc.want {
				t.Errorf("unsure %v, tried %v, want %v (%s)", c.Unsure(), c.Tried(), tc.want, tc.reason)
			}
		})
	}
}
