package awsconf

import (
	"context"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
)

// Quota returns a function that asks Service Quotas how much of something this account may have. Where Service Quotas does not say (it knows only
// quotas that apply, and may be denied), the answer is otherwise, AWS's default: a wrong default costs a late failure, not a wrong resource.
func Quota(client *servicequotas.Client, log *slog.Logger) func(ctx context.Context, service, code string, otherwise int) int {
	return func(ctx context.Context, service, code string, otherwise int) int {
		out, err := client.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String(service), QuotaCode: aws.String(code)})
		if err != nil || out.Quota == nil || out.Quota.Value == nil {
			log.DebugContext(ctx, "quota not known", "service", service, "code", code, "error", err)

			return otherwise
		}

		return int(*out.Quota.Value)
	}
}
