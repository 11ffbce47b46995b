package awsproxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

func dryRuns() []entry {
	return []entry{{
		name: "correction/dry-run",
		source: "EC2 API reference, Common parameters: DryRun checks the permissions without making the request; the answer is DryRunOperation. " +
			"moto really creates for most actions.",
		service: "ec2",
		apply: func(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
			if c.input["DryRun"] != true {
				return next(ctx, c)
			}

			p.touch(c, "correction/dry-run")

			return c.refuse(http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."), nil
		},
	}}
}

func ec2Corrections() []entry {
	return []entry{
		{
			name: "correction/deleted-endpoints",
			source: "VPC user guide, Delete a gateway endpoint: a deleted endpoint goes away. moto lists it for ever, in the state deleted, " +
				"and finds it by tag.",
			service: "ec2", actions: []string{"DescribeVpcEndpoints"},
			apply: hideDeletedEndpoints,
		},
		{
			name: "correction/missing-endpoints",
			source: "EC2 API reference, DeleteVpcEndpoints: what cannot be deleted is listed in Unsuccessful, inside a good answer. " +
				"moto refuses the whole call, and deletes a deleted endpoint again.",
			service: "ec2", actions: []string{"DeleteVpcEndpoints"},
			apply: missingEndpoints,
		},
		{
			name:    "correction/endpoint-type",
			source:  "EC2 API reference, CreateVpcEndpoint, VpcEndpointType: the default is Gateway. moto knows no default and cannot delete such an endpoint.",
			service: "ec2", actions: []string{"CreateVpcEndpoint"},
			apply: endpointType,
		},
		{
			name: "correction/missing-templates",
			source: "EC2 user guide, Error codes for the Amazon EC2 API: InvalidLaunchTemplateId.NotFound and InvalidLaunchTemplateName.NotFoundException. " +
				"moto finds nothing without complaint, and calls a name it does not know a missing parameter.",
			service: "ec2", actions: []string{"DescribeLaunchTemplates", "DeleteLaunchTemplate"},
			apply: missingTemplates,
		},
		{
			name: "correction/template-tags",
			source: "EC2 API reference, LaunchTemplate, Tags: the tags that the template carries. moto shows those of its create, whatever CreateTags and " +
				"DeleteTags did since.",
			service: "ec2", actions: []string{"DescribeLaunchTemplates"},
			apply: templateTags,
		},
	}
}

// templateTags asks moto for the tags of each template that an answer shows.
func templateTags(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	root, err := a.xml()
	if err != nil {
		return nil, err
	}

	templates := root.Child("launchTemplates")
	if templates == nil || len(templates.Children) == 0 {
		return a, nil
	}

	for _, item := range templates.Children {
		tags, err := p.askEC2(ctx, c, "DescribeTags", url.Values{"Filter.1.Name": {"resource-id"}, "Filter.1.Value.1": {item.ChildText("launchTemplateId")}})
		if err != nil {
			return nil, err
		}

		shown := &awsmodel.Element{Name: "tagSet"}

		if set := tags.Child("tagSet"); set != nil {
			for _, tag := range set.Children {
				shown.Children = append(shown.Children, &awsmodel.Element{Name: "item", Children: []*awsmodel.Element{
					{Name: "key", Text: tag.ChildText("key")}, {Name: "value", Text: tag.ChildText("value")},
				}})
			}
		}

		item.Children = append(slices.DeleteFunc(item.Children, func(e *awsmodel.Element) bool { return e.Name == "tagSet" }), shown)
	}

	p.touch(c, "correction/template-tags")
	a.setBody(root.Bytes())

	return a, nil
}

func endpointType(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	if c.text("VpcEndpointType") != "" {
		return next(ctx, c)
	}

	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return next(ctx, c)
	}

	p.touch(c, "correction/endpoint-type")
	form.Set("VpcEndpointType", "Gateway")
	c.body = []byte(form.Encode())

	return next(ctx, c)
}

func missingTemplates(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil {
		return nil, err
	}

	const name = "correction/missing-templates"

	if c.action == "DescribeLaunchTemplates" {
		ids := c.texts("LaunchTemplateIds")
		if !a.ok() || len(ids) == 0 {
			return a, nil
		}

		root, err := a.xml()
		if err != nil {
			return nil, err
		}

		if root.Child("launchTemplates", "item") != nil {
			return a, nil
		}

		p.touch(c, name)

		return c.refuse(http.StatusBadRequest, "InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID "+ids[0]+", does not exist."), nil
	}

	if a.fault != "MissingParameter" && a.fault != "InvalidLaunchTemplateName.NotFoundException" {
		return a, nil
	}

	if id := c.text("LaunchTemplateId"); id != "" {
		p.touch(c, name)

		return c.refuse(http.StatusBadRequest, "InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID "+id+", does not exist."), nil
	}

	if c.text("LaunchTemplateName") == "" {
		return a, nil
	}

	p.touch(c, name)

	return c.refuse(http.StatusBadRequest, "InvalidLaunchTemplateName.NotFoundException",
		"At least one of the launch templates specified in the request does not exist."), nil
}

func hideDeletedEndpoints(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	root, err := a.xml()
	if err != nil {
		return nil, err
	}

	set := root.Child("vpcEndpointSet")
	if set == nil {
		return a, nil
	}

	before := len(set.Children)
	set.Children = slices.DeleteFunc(set.Children, func(e *awsmodel.Element) bool { return strings.EqualFold(e.ChildText("state"), "deleted") })

	if len(set.Children) == before {
		return a, nil
	}

	p.touch(c, "correction/deleted-endpoints")

	if ids := c.texts("VpcEndpointIds"); len(ids) > 0 && len(set.Children) == 0 {
		return c.refuse(http.StatusBadRequest, "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '"+ids[0]+"' does not exist"), nil
	}

	a.setBody(root.Bytes())

	return a, nil
}

// missingEndpoints sends on the ids that exist, and lists the others as AWS does.
func missingEndpoints(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	var there, missing []string

	for _, id := range c.texts("VpcEndpointIds") {
		root, err := p.askEC2(ctx, c, "DescribeVpcEndpoints", url.Values{"VpcEndpointId.1": {id}})

		item := root.Child("vpcEndpointSet", "item")
		if err != nil || item == nil || strings.EqualFold(item.ChildText("state"), "deleted") {
			missing = append(missing, id)

			continue
		}

		there = append(there, id)
	}

	if len(missing) == 0 {
		return next(ctx, c)
	}

	p.touch(c, "correction/missing-endpoints")

	failed := &awsmodel.Element{Name: "unsuccessful"}
	for _, id := range missing {
		failed.Children = append(failed.Children, unsuccessful(id, "InvalidVpcEndpoint.NotFound", "The Vpc Endpoint Id '"+id+"' does not exist"))
	}

	if len(there) > 0 {
		form := url.Values{"Action": {"DeleteVpcEndpoints"}, "Version": {"2016-11-15"}}
		for i, id := range there {
			form.Set("VpcEndpointId."+strconv.Itoa(i+1), id)
		}

		part := *c
		part.body = []byte(form.Encode())

		if a, err := next(ctx, &part); err != nil || !a.ok() {
			return a, err
		}
	}

	return c.xml("DeleteVpcEndpointsResponse", failed), nil
}

// unsuccessful is an UnsuccessfulItem of EC2.
func unsuccessful(id, code, message string) *awsmodel.Element {
	return &awsmodel.Element{Name: "item", Children: []*awsmodel.Element{
		{Name: "resourceId", Text: id},
		{Name: "error", Children: []*awsmodel.Element{{Name: "code", Text: code}, {Name: "message", Text: message}}},
	}}
}

// xml is a good answer of EC2.
func (c *call) xml(name string, members ...*awsmodel.Element) *answer {
	root := &awsmodel.Element{Name: name, Children: append([]*awsmodel.Element{{Name: "requestId", Text: awsmodel.NewRequestID()}}, members...)}

	return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"text/xml;charset=UTF-8"}}, body: root.Bytes()}
}

// replay is the answer that a client token was given. Whoever comes while it is on its way waits for it.
type replay struct {
	sum   [sha256.Size]byte
	at    time.Time
	life  time.Duration
	done  chan struct{}
	saved *answer // nil where the call was refused: the token is free again
	id    string
}

// tokened says for which calls a token counts: where it stands, and how the thing it made is looked for.
type tokened struct {
	service, action, member string
	describe, ids           string
	mismatch                string
	// life is how long AWS remembers the token; 0 as long as the thing is there.
	life time.Duration
}

func tokeneds() []tokened {
	const ec2Mismatch = "IdempotentParameterMismatch"

	return []tokened{
		{"ec2", "CreateRouteTable", "ClientToken", "DescribeRouteTables", "RouteTableId", ec2Mismatch, 0},
		{"ec2", "CreateVpcEndpoint", "ClientToken", "DescribeVpcEndpoints", "VpcEndpointId", ec2Mismatch, 0},
		{"ec2", "CreateLaunchTemplate", "ClientToken", "DescribeLaunchTemplates", "LaunchTemplateId", ec2Mismatch, 0},
		{"ec2", "CreateLaunchTemplateVersion", "ClientToken", "", "", ec2Mismatch, 24 * time.Hour},
		{"ec2", "CreateNatGateway", "ClientToken", "DescribeNatGateways", "NatGatewayId", ec2Mismatch, 0},
		// The token of a transaction is good for ten minutes after it ended.
		{"dynamodb", "TransactWriteItems", "ClientRequestToken", "", "", "IdempotentParameterMismatchException", 10 * time.Minute},
	}
}

func tokenCorrections() []entry {
	var table []entry

	for _, t := range tokeneds() {
		source := "EC2 API reference, Ensuring idempotency: the same token and parameters give the first answer again, other parameters " +
			"IdempotentParameterMismatch. moto ignores tokens."
		if t.service == "dynamodb" {
			source = "DynamoDB API reference, TransactWriteItems: ClientRequestToken makes the call idempotent for ten minutes. moto cancels a replay."
		}

		name := "correction/token-" + t.action
		table = append(table, entry{
			name: name, source: source, service: t.service, actions: []string{t.action},
			apply: func(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
				return p.once(ctx, c, next, t, name)
			},
		})
	}

	return table
}

// manyTokens is when expired tokens are looked for: the SDKs send one with every transaction.
const manyTokens = 1000

// prune forgets tokens whose time is over. The caller has the world.
func (w *world) prune(now time.Time) {
	if len(w.tokens) < manyTokens {
		return
	}

	maps.DeleteFunc(w.tokens, func(_ string, r *replay) bool { return r.life > 0 && now.Sub(r.at) > r.life })
}

func tokenKey(c *call, token string) string {
	return c.service + " " + c.action + " " + c.region + " " + token
}

// once lets a call with a token through the first time and gives its answer again afterwards.
func (p *Proxy) once(ctx context.Context, c *call, next handler, t tokened, name string) (*answer, error) {
	token := c.text(t.member)
	if token == "" {
		return next(ctx, c)
	}

	key := tokenKey(c, token)
	params := maps.Clone(c.input)
	delete(params, t.member)
	mine := &replay{sum: sha256.Sum256(mustJSON(params)), at: p.now(), life: t.life, done: make(chan struct{})}

	for {
		var first *replay

		c.world.with(func() {
			first = c.world.tokens[key]
			if first == nil {
				c.world.prune(mine.at)
				c.world.tokens[key] = mine
			}
		})

		if first == nil {
			break
		}

		select {
		case <-first.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}

		if first.saved == nil || !p.lasts(ctx, c, t, first) {
			c.world.with(func() {
				if c.world.tokens[key] == first {
					delete(c.world.tokens, key)
				}
			})

			continue
		}

		p.touch(c, name)

		if !bytes.Equal(first.sum[:], mine.sum[:]) {
			return c.refuse(http.StatusBadRequest, t.mismatch, "The client token was used before with other parameters."), nil
		}

		return first.saved.clone(), nil
	}

	defer close(mine.done)

	a, err := next(ctx, c)
	if err == nil && a.ok() {
		mine.saved, mine.id = a.clone(), created(c, a)
	}

	return a, err
}

// lasts says whether a token still counts: while the thing it made is there, or for a time.
func (p *Proxy) lasts(ctx context.Context, c *call, t tokened, r *replay) bool {
	if t.life > 0 {
		return p.now().Sub(r.at) < t.life
	}

	root, err := p.askEC2(ctx, c, t.describe, url.Values{t.ids + ".1": {r.id}})
	if err != nil {
		return false
	}

	state := ""

	for _, set := range root.Children {
		for _, item := range set.Children {
			state = item.ChildText("state")
		}
	}

	return !strings.EqualFold(state, "deleted")
}

func (a *answer) clone() *answer {
	b := *a
	b.header = a.header.Clone()

	return &b
}
