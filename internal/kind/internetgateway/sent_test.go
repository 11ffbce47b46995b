package internetgateway_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/internetgateway"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
)

// repeating plays the SDK, which sends a call again whose answer is lost unless it is told not to.
type repeating struct{ *awsfake.EC2 }

func (r repeating) CreateInternetGateway(ctx context.Context, in *ec2.CreateInternetGatewayInput, opts ...func(*ec2.Options)) (*ec2.CreateInternetGatewayOutput, error) {
	o := ec2.Options{RetryMaxAttempts: 3}
	for _, opt := range opts {
		opt(&o)
	}

	for {
		out, err := r.EC2.CreateInternetGateway(ctx, in)
		if o.RetryMaxAttempts--; err == nil || o.RetryMaxAttempts == 0 {
			return out, err
		}
	}
}

// TestSDKDoesNotRepeatTheCreate: AWS cannot tell a repetition of CreateInternetGateway from a wish for another one.
func TestSDKDoesNotRepeatTheCreate(t *testing.T) {
	known := build(t)
	b := kindtest.New(t, internetgateway.New(repeating{known.World.EC2}), known.World, known.Clock, deploy.Spec{}, "internet-gateway")
	b.Others = known.Others
	b.World.Fault = kindtest.LoseOnce("CreateInternetGateway")

	b.Ensure(t)

	if got := count(t, b); got != 1 {
		t.Errorf("one lost answer made %d of them", got)
	}
}
