package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Entry is one line of the audit trail.
type Entry struct {
	ID         string         `json:"id"`
	Time       time.Time      `json:"time"`
	Actor      string         `json:"actor" doc:"Who asked; expiry where a deployment's time was over"`
	Action     string         `json:"action" doc:"CREATE, UPDATE, REPAIR, DELETE, VERIFY, or cancel, resume, skip, extend, allow, withdraw, subscribe, unsubscribe"`
	Outcome    deploy.Outcome `json:"outcome" doc:"ADMITTED, and later the state in which the operation ended; DONE for what needs no operation; REFUSED"`
	Deployment string         `json:"deployment,omitempty"`
	Operation  string         `json:"operation,omitempty"`
	Subject    string         `json:"subject,omitempty" doc:"What it was about, if it was no deployment"`
	Code       string         `json:"code,omitempty" doc:"Why it did not succeed"`
	Detail     string         `json:"detail,omitempty"`
}

// Audit is a page of the audit trail.
type Audit struct {
	Entries       []Entry `json:"entries"`
	NextPageToken string  `json:"nextPageToken,omitempty" doc:"For ?pageToken=; left out at the end"`
}

type auditInput struct {
	Acting
	Page
	Deployment string `query:"deployment" maxLength:"256" doc:"Only what was about this deployment, in all its lives"`
}

type auditOutput struct{ Body Audit }

func (s *server) audit() {
	huma.Register(s.api, s.route(http.MethodGet, "/v1/audit", "listAudit", "Who asked for what, with what outcome, newest first", deploy.Viewer, 200, 400, 403, 422, 503), s.listAudit)
}

func (s *server) listAudit(ctx context.Context, in *auditInput) (*auditOutput, error) {
	tenant := of(ctx).principal.Tenant
	here := scope("audit", tenant, in.Deployment)

	before, err := in.after(here)
	if err != nil {
		return nil, err
	}

	page, last, more, err := s.Records.Entries(ctx, tenant, in.Deployment, in.size(), before)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	out := &auditOutput{Body: Audit{Entries: []Entry{}}}

	for _, e := range page {
		out.Body.Entries = append(out.Body.Entries, Entry{
			ID: e.ID, Time: e.Time.UTC(), Actor: e.Actor, Action: e.Action, Outcome: e.Outcome, Deployment: e.Deployment, Operation: e.Operation,
			Subject: e.Subject, Code: e.Code, Detail: e.Detail,
		})
	}

	if more && last != "" {
		out.Body.NextPageToken = pageToken(last, here)
	}

	return out, nil
}
