package awsquota_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas/types"
	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsquota"
)

// service knows some quotas of an account, as Service Quotas does.
type service struct {
	quotas map[string]types.ServiceQuota
	hangs  bool
}

func (s *service) GetServiceQuota(ctx context.Context, in *servicequotas.GetServiceQuotaInput, _ ...func(*servicequotas.Options)) (*servicequotas.GetServiceQuotaOutput, error) {
	if s.hangs {
		<-ctx.Done()

		return nil, ctx.Err()
	}

	q, ok := s.quotas[aws.ToString(in.ServiceCode)+" "+aws.ToString(in.QuotaCode)]
	if !ok {
		return nil, &smithy.GenericAPIError{Code: "NoSuchResourceException", Message: "The request failed because the specified service does not exist."}
	}

	return &servicequotas.GetServiceQuotaOutput{Quota: &q}, nil
}

func TestLimit(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		fake := &service{quotas: map[string]types.ServiceQuota{"vpc L-F678F1CE": {Value: aws.Float64(12)}, "vpc L-EMPTY": {}}}
		q := awsquota.New(fake, slog.New(slog.DiscardHandler))

		for name, tc := range map[string]struct {
			reason, code string
			hangs        bool
			want         int
		}{
			"Known":   {"raised to 12", "L-F678F1CE", false, 12},
			"Unknown": {"never raised", "L-0", false, 5},
			"Empty":   {"without a value", "L-EMPTY", false, 5},
			"Slow":    {"a caller waits for the answer", "L-F678F1CE", true, 5},
		} {
			fake.hangs = tc.hangs
			if got := q.Limit(t.Context(), "vpc", tc.code, 5); got != tc.want {
				t.Errorf("%s: %d, want %d: %s", name, got, tc.want, tc.reason)
			}
		}
	})
}
