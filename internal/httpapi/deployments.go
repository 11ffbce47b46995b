package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// Acting is what every route under /v1 takes.
type Acting struct {
	Tenant string `query:"tenant" maxLength:"63" doc:"Act on this tenant instead of your own; admins only"`
}

// CreateDeployment is the body of a create.
type CreateDeployment struct {
	Name   string            `json:"name" maxLength:"256" doc:"3 to 24 of [a-z0-9-], starts with a letter, ends with a letter or digit, no double hyphen"`
	Spec   deploy.Spec       `json:"spec,omitzero" doc:"What you want; empty is Metaflow's default environment"`
	Labels map[string]string `json:"labels,omitempty" doc:"Yours, for filters; at most 50"`
	TTL    string            `json:"ttl,omitempty" maxLength:"32" doc:"How long it may live, from now: 72h, 3d; 1 hour to 90 days. Then it is deleted, and a bucket with data is kept. Left out, it lives until somebody deletes it"`
	Verify bool              `json:"verify,omitempty" doc:"Send a probe job through the default queue before the create succeeds"`
}

const idempotencyKey = "Idempotency-Key"

type createInput struct {
	Acting
	ValidateOnly bool   `query:"validateOnly" doc:"Answer the plan with 200, and do nothing"`
	Key          string `header:"Idempotency-Key" doc:"1 to 255 visible ASCII characters. The same key and body within 24 hours get the same answer again"`
}

type accepted struct {
	Location   string `header:"Location" doc:"The operation"`
	RetryAfter string `header:"Retry-After" doc:"Seconds after which it is worth a look at the operation; ?wait= is quicker"`
	Body       Operation
}

type acceptedOrPlanned struct {
	Status     int
	Location   string `header:"Location" doc:"The operation"`
	RetryAfter string `header:"Retry-After" doc:"Seconds after which it is worth a look at the operation; ?wait= is quicker"`
	Body       any
}

type acceptedOrNot struct {
	Status     int
	Location   string `header:"Location" doc:"The operation"`
	RetryAfter string `header:"Retry-After" doc:"Seconds after which it is worth a look at the operation; ?wait= is quicker"`
	Body       *Operation
}

// soon is the Retry-After of what takes some seconds at least: in them a step of it is done.
const soon = "5"

// Named is what every route of one deployment takes. It is exported because huma sees no other embedded structs.
type Named struct {
	Acting
	Name string `path:"name" maxLength:"256" doc:"The deployment's name"`
}

// Matching is what a route takes that changes a deployment. It is exported because huma sees no other embedded structs.
type Matching struct {
	IfMatch string `header:"If-Match" doc:"An ETag: 412 if the deployment is another one by now"`
}

// match compares strongly, as RFC 9110 13.1.1 wants it of If-Match: a weak ETag never matches. Without the header it is nil.
func (m Matching) match() func(deploy.Deployment) bool {
	if m.IfMatch == "" {
		return nil
	}

	return func(d deploy.Deployment) bool {
		for part := range strings.SplitSeq(m.IfMatch, ",") {
			if part = strings.TrimSpace(part); part == etag(d) || part == "*" {
				return true
			}
		}

		return false
	}
}

type getInput struct {
	Named
	ShowDeleted bool   `query:"showDeleted" doc:"Show it in phase DELETED too"`
	IfNoneMatch string `header:"If-None-Match" doc:"An ETag; 304 if it still holds and no operation runs"`
}

type getOutput struct {
	Status int
	ETag   string `header:"ETag"`
	Body   *Deployment
}

type deleteInput struct {
	Named
	Matching
	Data         string `query:"data" enum:"keep,purge" default:"keep" doc:"keep: a bucket that we made stays with its objects. purge: it goes with everything in it"`
	AllowMissing bool   `query:"allowMissing" doc:"204 instead of 404 if there is nothing to delete"`
}

type configurationInput struct {
	Named
	Format string `query:"format" enum:"json,env" default:"json" doc:"json: Metaflow's config.json. env: shell exports, with the Region"`
}

type raw struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type resourcesInput struct {
	Named
	Page
	ShowDeleted bool `query:"showDeleted" doc:"Show the bucket that a deleted deployment kept"`
}

// Resources is a page of resources.
type Resources struct {
	Resources     []Resource `json:"resources"`
	NextPageToken string     `json:"nextPageToken,omitempty" doc:"For ?pageToken=; left out at the end"`
}

type resourcesOutput struct{ Body Resources }

type listInput struct {
	Acting
	Page
	Filter      string `query:"filter" maxLength:"1024" doc:"Terms that must all hold, joined by comma or AND: phase=ACTIVE, label.team=data"`
	ShowDeleted bool   `query:"showDeleted" doc:"Show those in phase DELETED too"`
}

// Deployments is a page of deployments.
type Deployments struct {
	Deployments   []Deployment `json:"deployments"`
	NextPageToken string       `json:"nextPageToken,omitempty" doc:"For ?pageToken=; left out at the end"`
}

type listOutput struct{ Body Deployments }

func (s *server) deployments() {
	schema := s.schema(CreateDeployment{})

	create := s.route(http.MethodPost, "/v1/deployments", "createDeployment", "Create a deployment", deploy.Deployer, 202, 400, 403, 409, 413, 415, 422, 503)
	create.Responses["200"] = s.planOrTemplate()
	create.Responses["202"] = &huma.Response{
		Description: http.StatusText(http.StatusAccepted), Content: map[string]*huma.MediaType{"application/json": {Schema: s.schema(Operation{})}},
	}

	huma.Register(s.api, s.takesBody(create, schema), s.create)
	huma.Register(s.api, s.route(http.MethodGet, "/v1/deployments", "listDeployments", "List deployments", deploy.Viewer, 200, 400, 403, 422, 503), s.list)
	huma.Register(s.api, s.route(http.MethodGet, "/v1/deployments/{name}", "getDeployment", "Show a deployment", deploy.Viewer, 200, 304, 403, 404, 422, 503), s.get)
	huma.Register(s.api, s.route(http.MethodDelete, "/v1/deployments/{name}", "deleteDeployment", "Delete a deployment", deploy.Deployer, 202, 204, 403, 404, 409, 412, 422, 503), s.delete)
	huma.Register(s.api, s.configurationRoute(), s.configuration)
	huma.Register(s.api, s.route(http.MethodGet, "/v1/deployments/{name}/resources", "listResources", "List a deployment's resources", deploy.Viewer, 200, 400, 403, 404, 422, 503), s.resources)
}

func (s *server) create(ctx context.Context, in *createInput) (*acceptedOrPlanned, error) {
	req := of(ctx)

	if in.ValidateOnly {
		plan, err := s.planCreate(ctx, &planInput{Acting: in.Acting})
		if err != nil {
			return nil, err
		}

		return &acceptedOrPlanned{Status: http.StatusOK, Body: plan.Body}, nil
	}

	var body CreateDeployment
	if err := json.Unmarshal(req.body, &body); err != nil {
		return nil, s.fail(ctx, fmt.Errorf("decode a body that fits the schema: %w", err))
	}

	claim, err := claim(req, "POST /v1/deployments", in.Key)
	if err != nil {
		return nil, err
	}

	ttl, findings := wished(body.TTL, deploy.Validate(s.Place, body.Name, body.Spec, body.Labels))
	if len(findings) > 0 {
		return nil, fromFindings(findings)
	}

	admitted, err := s.Control.Create(ctx, req.principal, workflow.CreateRequest{
		Name: body.Name, Spec: body.Spec.WithDefaults(), Labels: body.Labels, TTL: ttl, Verify: body.Verify, Claim: claim,
	})
	if exists, ok := errors.AsType[*workflow.Exists](err); ok {
		return nil, problem(http.StatusConflict, deploy.Conflict, workflow.CodeAlreadyExists, "There is a deployment %s in your tenant; its last operation is %s.", body.Name, exists.Operation).
			remedy("Use the one that is there, delete it first, or choose another name.").inTheWay(ctx, exists.Operation)
	}

	if err != nil {
		return nil, s.fail(ctx, err)
	}

	return &acceptedOrPlanned{
		Status: http.StatusAccepted, Location: req.base + "/v1/operations/" + admitted.Operation.ID, RetryAfter: soon,
		Body: operationView(admitted.Operation, admitted.Operation.Steps, admitted.Version),
	}, nil
}

// wished reads a time to live, and adds what is wrong with it to what else is wrong with a request.
func wished(text string, findings []deploy.Finding) (time.Duration, []deploy.Finding) {
	if text == "" {
		return 0, findings
	}

	ttl, err := deploy.ParseTTL(text)
	if err != nil {
		return 0, append(findings, deploy.AsError(err).Finding())
	}

	return ttl, findings
}

// claim is the request's idempotency key with a fingerprint of what it asks for, nil without a key. Order of members and white space do not count.
func claim(req *request, what, key string) (*store.Claim, error) {
	if key == "" {
		return nil, nil //nolint:nilnil // no key is no claim, and no error
	}

	if len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, problem(http.StatusUnprocessableEntity, deploy.Invalid, "invalid_idempotency_key", "A key has 1 to 255 visible ASCII characters.").
			at(idempotencyKey).remedy("Use a UUID.")
	}

	var canonical []byte

	if len(req.body) > 0 {
		doc, err := strict(req.body)
		if err != nil {
			return nil, refused(err)
		}

		if canonical, err = json.Marshal(doc); err != nil {
			return nil, fmt.Errorf("write a canonical body: %w", err)
		}
	}

	sum := sha256.Sum256(slices.Concat([]byte(what+"\n"), canonical))

	return &store.Claim{Tenant: req.principal.Tenant, Key: key, Fingerprint: hex.EncodeToString(sum[:])}, nil
}

// lasting stands for an Idempotency-Key in what a request asked for, which remembers it for as long as it is there; empty without a key.
func lasting(req *request, noun deploy.Ref, key string) (string, error) {
	claimed, err := claim(req, string(noun), key)
	if err != nil || claimed == nil {
		return "", err
	}

	return deploy.Owner{Tenant: req.principal.Tenant}.Token(noun, key), nil
}

// load reads a deployment of the tenant that the caller acts on. A name that cannot be one is as unknown as any other.
func (s *server) load(ctx context.Context, name string, deleted bool) (*store.Record, error) {
	if !deploy.ValidName(name) {
		return nil, noDeployment(ctx, name)
	}

	record, err := s.Records.Load(ctx, deploy.Key{Tenant: of(ctx).principal.Tenant, Name: name})
	if err != nil {
		return nil, s.failAt(ctx, err, noDeployment(ctx, name))
	}

	if record.Deployment.Phase == deploy.PhaseDeleted && !deleted {
		return nil, noDeployment(ctx, name)
	}

	return record, nil
}

func (s *server) get(ctx context.Context, in *getInput) (*getOutput, error) {
	record, err := s.load(ctx, in.Name, in.ShowDeleted)
	if err != nil {
		return nil, err
	}

	out := &getOutput{Status: http.StatusOK, ETag: etag(record.Deployment)}

	if !record.Deployment.Unfinished && matches(in.IfNoneMatch, out.ETag) {
		out.Status = http.StatusNotModified

		return out, nil
	}

	view := s.deploymentView(record.Deployment, count(record))
	out.Body = &view

	return out, nil
}

// matches compares weakly, as RFC 9110 13.1.2 wants it of If-None-Match.
func matches(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		if part = strings.TrimPrefix(strings.TrimSpace(part), "W/"); part == etag || part == "*" {
			return true
		}
	}

	return false
}

func (s *server) list(ctx context.Context, in *listInput) (*listOutput, error) {
	match, err := filter(in.Filter)
	if err != nil {
		return nil, err
	}

	tenant := of(ctx).principal.Tenant
	here := scope("deployments", tenant, in.Filter, fmt.Sprint(in.ShowDeleted))

	after, err := in.after(here)
	if err != nil {
		return nil, err
	}

	// A store may stop early where few match: then the next page goes on behind what was looked at.
	last := after
	looked := func(d deploy.Deployment) bool {
		last = max(last, d.Name)

		return match(d)
	}

	page, more, err := s.Records.Deployments(ctx, store.List{Tenant: tenant, Size: in.size(), After: after, Deleted: in.ShowDeleted, Match: looked})
	if err != nil {
		return nil, s.fail(ctx, err)
	}

	// Live and deleted ones may be looked at separately, so with both only what was found tells how far the store has come.
	if len(page) == in.size() || in.ShowDeleted && len(page) > 0 {
		last = page[len(page)-1].Name
	}

	out := &listOutput{Body: Deployments{Deployments: make([]Deployment, len(page))}}
	for i, d := range page {
		out.Body.Deployments[i] = s.deploymentView(d, Count{Total: d.Total, Ready: d.Ready})
	}

	if more && last > after {
		out.Body.NextPageToken = pageToken(last, here)
	}

	return out, nil
}

func (s *server) delete(ctx context.Context, in *deleteInput) (*acceptedOrNot, error) {
	req := of(ctx)

	err := error(store.ErrNotFound)

	var admitted workflow.Admitted

	if deploy.ValidName(in.Name) {
		admitted, err = s.Control.Delete(ctx, req.principal, workflow.DeleteRequest{Name: in.Name, Data: deploy.Data(in.Data), Match: in.match()})
	}

	if errors.Is(err, store.ErrNotFound) {
		if in.AllowMissing {
			return &acceptedOrNot{Status: http.StatusNoContent}, nil
		}

		return nil, s.nothingToDelete(ctx, in)
	}

	if exists, ok := errors.AsType[*workflow.Exists](err); ok {
		p := problem(http.StatusConflict, deploy.Conflict, "operation_in_progress", "Operation %s already deletes this deployment, and treats its data otherwise.", exists.Operation).
			remedy("Wait for that operation. A delete cannot be stopped: a bucket that was made for the deployment goes with everything in it.").inTheWay(ctx, exists.Operation)
		if in.Data == string(deploy.Purge) {
			p = p.remedy("Wait for that operation, which keeps the bucket. Then, to purge it: %s.", purgeLater)
		}

		return nil, p
	}

	if err != nil {
		return nil, s.fail(ctx, err)
	}

	op := admitted.Operation
	view := operationView(op, op.Steps, admitted.Version)

	return &acceptedOrNot{Status: http.StatusAccepted, Location: req.base + "/v1/operations/" + op.ID, RetryAfter: soon, Body: &view}, nil
}

// purgeLater is how to be rid of a bucket that a delete kept.
const purgeLater = "create the deployment again under that name and delete that with data=purge, or empty and delete the bucket by hand"

// nothingToDelete says that there is no such deployment, and what it left behind if it is deleted and its data was to be purged.
func (s *server) nothingToDelete(ctx context.Context, in *deleteInput) *Problem {
	p := noDeployment(ctx, in.Name)
	p = p.remedy("%s With allowMissing=true a delete answers 204 then.", p.Remedy)

	if in.Data != string(deploy.Purge) || !deploy.ValidName(in.Name) {
		return p
	}

	record, err := s.Records.Load(ctx, deploy.Key{Tenant: of(ctx).principal.Tenant, Name: in.Name})
	if err != nil {
		return s.failAt(ctx, err, p)
	}

	if i := slices.IndexFunc(record.Resources, func(r deploy.Resource) bool { return r.Kept }); i >= 0 {
		p.Detail = deploy.Scrub(fmt.Sprintf("The deployment %s is deleted, and its bucket %s was kept.", in.Name, record.Resources[i].ID))
		p = p.remedy("To purge it: %s.", purgeLater)
	}

	return p
}

func (s *server) configuration(ctx context.Context, in *configurationInput) (*raw, error) {
	record, err := s.load(ctx, in.Name, false)
	if err != nil {
		return nil, err
	}

	d := record.Deployment
	notYet := problem(http.StatusConflict, deploy.Conflict, "not_active", "The deployment is %s; it has a configuration once it is ACTIVE.", d.Phase).
		remedy("Follow the operation %s.", d.Operation).inTheWay(ctx, d.Operation)

	if d.Phase != deploy.PhaseActive && d.Phase != deploy.PhaseUpdating {
		if !d.Unfinished {
			notYet = notYet.remedy("See the operation %s for what went wrong.", d.Operation)
		}

		return nil, notYet
	}

	// Until an update is done, people go on with what it found: what it adds may not be there yet.
	if op := record.Operation; op.Kind == deploy.Update && !op.State.Done() && !op.Restored {
		d.Spec = op.Before.Spec
	}

	config, err := deploy.Configuration(d, record.Resources)
	if err != nil && d.Unfinished {
		return nil, notYet // what was broken is being mended
	}

	if err != nil {
		s.Log.ErrorContext(ctx, "derive a configuration", "error", err)

		return nil, internal()
	}

	if in.Format == "env" {
		config["AWS_DEFAULT_REGION"], config["AWS_REGION"] = d.Region, d.Region

		return &raw{ContentType: "text/plain; charset=utf-8", Body: exports(config)}, nil
	}

	b, err := json.MarshalIndent(config, "", "    ")
	if err != nil {
		return nil, s.fail(ctx, fmt.Errorf("write the configuration: %w", err))
	}

	return &raw{ContentType: "application/json", Body: append(b, '\n')}, nil
}

// exports writes lines that any POSIX shell reads as they are meant.
func exports(config map[string]string) []byte {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(config)) {
		fmt.Fprintf(&b, "export %s='%s'\n", key, strings.ReplaceAll(config[key], `'`, `'\''`))
	}

	return []byte(b.String())
}

func (s *server) resources(ctx context.Context, in *resourcesInput) (*resourcesOutput, error) {
	here := scope("resources", of(ctx).principal.Tenant, in.Name, fmt.Sprint(in.ShowDeleted))

	after, err := in.after(here)
	if err != nil {
		return nil, err
	}

	record, err := s.load(ctx, in.Name, in.ShowDeleted)
	if err != nil {
		return nil, err
	}

	all := record.Resources
	slices.SortFunc(all, func(a, b deploy.Resource) int { return strings.Compare(string(a.Ref), string(b.Ref)) })

	out := &resourcesOutput{Body: Resources{Resources: []Resource{}}}

	for i := range all {
		if string(all[i].Ref) <= after {
			continue
		}

		if len(out.Body.Resources) == in.size() {
			out.Body.NextPageToken = pageToken(string(all[i-1].Ref), here)

			break
		}

		out.Body.Resources = append(out.Body.Resources, resourceView(&all[i]))
	}

	return out, nil
}
