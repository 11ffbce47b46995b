package cfnresource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/egress"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// ErrRefused says that whoever was sent the answer refuses it for good, or that it may not be sent there.
var ErrRefused = errors.New("the answer is refused")

// tries is how often an answer is sent in one go.
const tries = 3

// Responder sends answers to CloudFormation, and to nobody else: to the bucket in which the service takes them in this Region, or to an origin that the
// installation lists. The URL is signed and used as it came. It is a capability, so no error quotes it.
type Responder struct {
	egress *egress.Egress
	hosts  []string
	clock  workflow.Clock
}

// NewResponder takes the Region, the suffix of AWS's names in its partition ("amazonaws.com") and the origins that are listed.
func NewResponder(region, suffix string, origins []string, clock workflow.Clock) (*Responder, error) {
	e, err := egress.New(origins)
	if err != nil {
		return nil, err
	}

	// The name of the bucket: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-vpce-bucketnames.html. CloudFormation names it under S3's
	// endpoint of the Region, in the newer or the older of its two spellings, or under the one that all Regions of the first partition share.
	bucket := "cloudformation-custom-resource-response-" + strings.ReplaceAll(region, "-", "")
	hosts := []string{bucket + ".s3." + region + "." + suffix, bucket + ".s3-" + region + "." + suffix}

	if suffix == "amazonaws.com" {
		hosts = append(hosts, bucket+".s3."+suffix)
	}

	return &Responder{egress: e, hosts: hosts, clock: clock}, nil
}

// Check implements Sender.
func (r *Responder) Check(raw string) error {
	if refused := r.egress.CheckURL(raw); refused != nil {
		return refused
	}

	if r.egress.Listed(raw) {
		return nil
	}

	// Host is compared with its port, as it is written: nothing but the names above gets through.
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || !slices.Contains(r.hosts, u.Host) || len(u.Path) < 2 {
		return errors.New("the ResponseURL is not that of CloudFormation in this Region")
	}

	return nil
}

// Send implements Sender.
func (r *Responder) Send(ctx context.Context, to string, body []byte) error {
	if err := r.Check(to); err != nil {
		return errors.Join(ErrRefused, err)
	}

	var failed error

	for try := range tries {
		if try > 0 {
			r.clock.Sleep(ctx, time.Second<<(try-1))
		}

		var again bool
		if again, failed = r.put(ctx, to, body); failed == nil || !again {
			return failed
		}
	}

	return failed
}

// put sends the answer once. The signature covers no Content-Type, and CloudFormation's own clients send none.
func (r *Responder) put(ctx context.Context, to string, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, bytes.NewReader(body))
	if err != nil {
		return false, errors.Join(ErrRefused, errors.New("the ResponseURL cannot be read")) // the error would quote it
	}

	status, err := r.egress.Do(req)

	switch {
	case err != nil:
		return true, err
	case status >= http.StatusOK && status <= 299:
		return false, nil
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return true, fmt.Errorf("the receiver answered %d", status)
	default:
		return false, fmt.Errorf("%w: the receiver answered %d", ErrRefused, status)
	}
}
