// Package awsquota asks Service Quotas how much of something the account may have.
package awsquota

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
)

// patience bounds one answer: a check that runs inside a request does without rather than make the caller wait.
const patience = 3 * time.Second

type api interface {
	GetServiceQuota(ctx context.Context, in *servicequotas.GetServiceQuotaInput, opts ...func(*servicequotas.Options)) (*servicequotas.GetServiceQuotaOutput, error)
}

// Quotas answers limits of this account and Region.
type Quotas struct {
	quotas api
	log    *slog.Logger
}

// New takes the client.
func New(client api, log *slog.Logger) *Quotas { return &Quotas{quotas: client, log: log} }

// Limit is the quota in force, or otherwise if Service Quotas does not say: quotas that were never raised are sometimes unknown to it.
func (q *Quotas) Limit(ctx context.Context, service, code string, otherwise int) int {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	out, err := q.quotas.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String(service), QuotaCode: aws.String(code)})
	if err != nil {
		q.log.WarnContext(ctx, "read a quota", "service", service, "quota", code, "error", err)

		return otherwise
	}

	if out.Quota == nil || out.Quota.Value == nil {
		return otherwise
	}

	return int(*out.Quota.Value)
}
