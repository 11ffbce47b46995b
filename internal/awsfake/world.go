// Package awsfake is one account in one Region of AWS, in memory, for tests: stateful fakes of the services that the kinds call, which keep AWS's rules
// and answer with AWS's own error codes. Every rule names its source.
//
// The fakes stand behind the narrow interfaces of the kinds, speak the SDK's types, know nothing of our tags or names, and take their time from the
// World's clock, so that a test may turn it.
package awsfake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/smithy-go"
)

// World is the account. All services of a world share one lock and one clock: AWS's rules cross services (a compute environment's network interface
// blocks a security group).
type World struct {
	Account, Region, Partition string
	// Now is the clock; by default the computer's.
	Now func() time.Time
	// Fault, where set, is asked for every call and may break it. It runs without the world's lock.
	Fault func(ctx context.Context, c Call) Fault
	// Unheard keeps no list of calls: a large simulation cannot afford it.
	Unheard bool
	// Takes is how long things take.
	Takes Takes

	S3    *S3
	IAM   *IAM
	EC2   *EC2
	Batch *Batch

	mu    sync.Mutex
	calls []Call
	ids   int
}

// Call is one call that reached the world.
type Call struct {
	Service, Operation string
	Input              any
	// Code is the error code of the answer, empty for success.
	Code string
}

// Fault says how a call breaks. The zero Fault breaks nothing.
type Fault struct {
	// Before is answered instead of acting.
	Before error
	// Lost is answered after acting: the caller does not learn that the call took effect.
	Lost error
	// After is called after acting, with the world's lock held: a test lets the caller die there.
	After func()
}

// New makes an empty account 123456789012 in us-east-1.
func New() *World {
	w := &World{Account: "123456789012", Region: "us-east-1", Partition: "aws", Now: time.Now, Takes: usual()}
	w.S3 = newS3(w)
	w.IAM = newIAM(w)
	w.EC2 = newEC2(w)
	w.Batch = newBatch(w)

	return w
}

// Takes is how long AWS takes to make things what they are to be.
type Takes struct {
	// EC2 promises no times.
	VPCPending, SubnetPending, Associating, EndpointPending, EndpointDeleting time.Duration
	// Of Batch, the scaling update of an environment is quick, that of its infrastructure not.
	EnvironmentCreating, EnvironmentScaling, EnvironmentUpdating, EnvironmentDeleting time.Duration
	QueueCreating, QueueUpdating, QueueDeleting                                       time.Duration
	// RelationLag is how long an environment still counts as part of a queue that let go of it. hashicorp/terraform-provider-aws issue 46925.
	RelationLag time.Duration
}

// usual is, for Batch, what was seen in the field (the Terraform AWS provider's acceptance tests), and for EC2 long enough to be seen by one look a second.
func usual() Takes {
	return Takes{
		VPCPending: time.Second, SubnetPending: time.Second, EndpointPending: 2 * time.Second, EndpointDeleting: 3 * time.Second,
		EnvironmentCreating: 20 * time.Second, EnvironmentScaling: 5 * time.Second, EnvironmentUpdating: time.Minute, EnvironmentDeleting: time.Minute,
		QueueCreating: 10 * time.Second, QueueUpdating: 5 * time.Second, QueueDeleting: 20 * time.Second, RelationLag: 10 * time.Second,
	}
}

// Calls lists what reached the world so far.
func (w *World) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()

	return append([]Call(nil), w.calls...)
}

// id makes a new identifier such as vpc-00000000000000001. The caller holds the lock.
func (w *World) id(prefix string) string {
	w.ids++

	return fmt.Sprintf("%s-%017x", prefix, w.ids)
}

func (w *World) arn(service, region, account, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", w.Partition, service, region, account, resource)
}

// do runs one call: fault, lock, act, journal, loss.
func do[O any](ctx context.Context, w *World, service, operation string, in any, act func() (O, error)) (O, error) {
	var none O

	call := Call{Service: service, Operation: operation, Input: in}

	var fault Fault
	if w.Fault != nil {
		fault = w.Fault(ctx, call)
	}

	if err := ctx.Err(); err != nil {
		return none, err
	}

	w.mu.Lock()
	defer w.mu.Unlock()

	if fault.Before != nil {
		call.Code = code(fault.Before)
		w.hear(call)

		return none, fault.Before
	}

	out, err := act()
	call.Code = code(err)
	w.hear(call)

	if fault.After != nil {
		fault.After()
	}

	if fault.Lost != nil {
		return none, fault.Lost
	}

	return out, err
}

func (w *World) hear(c Call) {
	if !w.Unheard {
		w.calls = append(w.calls, c)
	}
}

// refuse is AWS's refusal of a call that the caller got wrong.
func refuse(code, format string, args ...any) error {
	return &smithy.GenericAPIError{Code: code, Message: fmt.Sprintf(format, args...), Fault: smithy.FaultClient}
}

func code(err error) string {
	if err == nil {
		return ""
	}

	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}

	return "Unanswered"
}
