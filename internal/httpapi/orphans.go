package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Orphan is a thing in AWS that no record knows.
type Orphan struct {
	Resource   deploy.Ref         `json:"resource" doc:"Which resource of its deployment the thing's tags say that it is"`
	Kind       string             `json:"kind"`
	ID         string             `json:"id" doc:"AWS's"`
	ARN        string             `json:"arn"`
	Tenant     string             `json:"tenant" doc:"As its tags say"`
	Deployment string             `json:"deployment" doc:"As its tags say; there may be none of that name"`
	FirstSeen  time.Time          `json:"firstSeen" doc:"Since when every sweep has seen it"`
	State      deploy.OrphanState `json:"state" enum:"NOTED,REMOVING,REFUSED,HELD" doc:"NOTED: is removed when it is time. REFUSED: would be, if the table could be trusted. HELD: is never removed by the sweeper"`
	Reason     string             `json:"reason" doc:"Why it stands as it does"`
}

// Orphans is a page of orphans.
type Orphans struct {
	Orphans       []Orphan `json:"orphans"`
	NextPageToken string   `json:"nextPageToken,omitempty" doc:"For ?pageToken=; left out at the end"`
}

type orphansOutput struct{ Body Orphans }

func (s *server) orphans() {
	huma.Register(s.api, s.route(http.MethodGet, "/v1/orphans", "listOrphans", "List what the sweeper found, of all tenants", deploy.Admin, 200, 400, 403, 422, 503), s.listOrphans)
}

func (s *server) listOrphans(ctx context.Context, in *struct{ Page }) (*orphansOutput, error) {
	here := scope("orphans")

	after, err := in.after(here)
	if err != nil {
		return nil, err
	}

	page, more, err := s.Records.Orphans(ctx, in.size(), after)
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	out := &orphansOutput{Body: Orphans{Orphans: []Orphan{}}}

	for _, o := range page {
		out.Body.Orphans = append(out.Body.Orphans, Orphan{
			Resource: o.Resource, Kind: o.Resource.Kind(), ID: o.ID, ARN: o.ARN, Tenant: o.Key.Tenant, Deployment: o.Key.Name,
			FirstSeen: o.FirstSeen, State: o.State, Reason: o.Reason,
		})
	}

	if more {
		out.Body.NextPageToken = pageToken(page[len(page)-1].Name(), here)
	}

	return out, nil
}
