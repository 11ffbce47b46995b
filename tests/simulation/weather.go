package simulation

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Weather is what an account is like for the whole of a world.
type Weather struct {
	Why     string
	Excuses bool
	set     func(w *World)
}

// Weathers lists them by name.
func Weathers() map[string]Weather {
	lag := func(d time.Duration) func(w *World) {
		return func(w *World) { w.AWS.EC2.Lag, w.AWS.S3.Lag, w.AWS.IAM.Lag, w.AWS.IAM.IDLag = d, d, d, d }
	}

	return map[string]Weather{
		"calm":    {"what was made shows after some seconds", false, func(*World) {}},
		"sharp":   {"what was made shows at once", false, lag(0)},
		"late-1":  {"what was made shows after 1 s", false, lag(time.Second)},
		"late-20": {"what was made shows after 20 s", false, lag(20 * time.Second)},
		"late-60": {"what was made shows after a minute", false, lag(59 * time.Second)},
		"gusty":   {"after the SDK's own retries, every 30th call is still throttled and every 60th answer lost", false, gusty},
		"invalid-once": {"the compute environment turns INVALID at first, because the role does not show yet", false, func(w *World) {
			invalid(w, 1, "CLIENT_ERROR - Not authorized to perform sts:AssumeRole (Service: AWSSecurityTokenService; Status Code: 403; Error Code: AccessDenied)")
		}},
		"invalid": {"the compute environment turns INVALID whatever is done", true, func(w *World) {
			invalid(w, 1000, "CLIENT_ERROR - The image id '[ami-1]' does not exist")
		}},
		"clinging": {"a network interface stays for 45 minutes after its environment", false, clinging},
		"partial":  {"DeleteObjects and DeleteVpcEndpoints refuse inside their 200", true, partial},
	}
}

func gusty(w *World) {
	var mu sync.Mutex

	fault, r := w.Fault, rand.New(rand.NewPCG(w.seed, 1))

	w.Fault = func(point string) Action {
		if fault != nil {
			if a := fault(point); a != None {
				return a
			}
		}

		mu.Lock()
		defer mu.Unlock()

		switch n := r.IntN(60); {
		case n < 2:
			return Throttle
		case n < 3:
			return LoseAnswer
		default:
			return None
		}
	}
}

func invalid(w *World, times int, reason string) {
	w.AWS.Batch.Invalid = func(name string, leaving types.CEStatus) string {
		if times == 0 || name == "theirs" || leaving == types.CEStatusDeleting {
			return ""
		}

		times--

		return reason
	}
}

// clinging leaves an interface of Batch's in every subnet when the environment goes.
func clinging(w *World) {
	before(w, "DeleteComputeEnvironment", func() {
		var group string

		var subnets []string

		for id, tags := range w.AWS.Inventory() {
			id = strings.TrimPrefix(id, "ec2 ")

			switch {
			case !ours(tags):
			case strings.HasPrefix(id, "sg-"):
				group = id
			case strings.HasPrefix(id, "subnet-"):
				subnets = append(subnets, id)
			}
		}

		slices.Sort(subnets)

		for _, s := range subnets {
			eni := w.AWS.EC2.PlantInterface(s, "arn:aws:ecs:us-east-1:123456789012:attachment/1", false, group)
			time.AfterFunc(45*time.Minute, func() { w.AWS.EC2.PullInterface(eni) })
		}
	})
}

func partial(w *World) {
	w.AWS.EC2.Unsuccessful = "InternalError"

	before(w, "DeleteObjects", func() {
		for id, tags := range w.AWS.Inventory() {
			if bucket, ok := strings.CutPrefix(id, "s3 "); ok && ours(tags) && tags[deploy.TagResource] == "bucket" {
				w.AWS.S3.Lock(bucket, object, true)
				time.AfterFunc(2*time.Minute, func() { w.AWS.S3.Lock(bucket, object, false) })
			}
		}
	})
}

// before does something once, when an operation is first called.
func before(w *World, operation string, act func()) {
	var once sync.Once

	fault := w.AWS.Fault
	w.AWS.Fault = func(ctx context.Context, c awsfake.Call) awsfake.Fault {
		if c.Operation == operation {
			once.Do(act)
		}

		return fault(ctx, c)
	}
}
