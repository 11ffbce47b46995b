package lambdahttp

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Grant is what a caller who signs with IAM may be.
type Grant struct {
	Tenant string        `json:"tenant"`
	Roles  []deploy.Role `json:"roles"`
}

// Principals tells who calls.
type Principals struct {
	tenantClaim, rolesClaim string
	grants                  map[string]Grant
}

// NewPrincipals takes the names of the claims that hold tenant and roles, and what IAM's principals may be: by the ARN of a role, of a user, or of an
// account's root (arn:aws:iam::123456789012:root), which stands for everybody in that account who is not named otherwise.
func NewPrincipals(tenantClaim, rolesClaim string, grants map[string]Grant) (*Principals, error) {
	p := &Principals{tenantClaim: tenantClaim, rolesClaim: rolesClaim, grants: map[string]Grant{}}

	for arn, g := range grants {
		if !deploy.ValidTenant(g.Tenant) {
			return nil, fmt.Errorf("read the grant of %s: %q is not a tenant's name", arn, g.Tenant)
		}

		for _, role := range g.Roles {
			if !slices.Contains(known(), role) {
				return nil, fmt.Errorf("read the grant of %s: there is no role %q", arn, role)
			}
		}

		if len(g.Roles) == 0 || !strings.HasPrefix(arn, "arn:") {
			return nil, fmt.Errorf("read the grant of %s: want an ARN with at least one role", arn)
		}

		p.grants[canonical(arn)] = g
	}

	return p, nil
}

func known() []deploy.Role { return []deploy.Role{deploy.Viewer, deploy.Deployer, deploy.Admin} }

// Principal is who sent the request. Nothing but what the authorizer verified counts; without a tenant and a known role it is a *deploy.Error of class
// denied.
func (p *Principals) Principal(r *http.Request) (deploy.Principal, error) {
	e := event(r)
	if e == nil || e.RequestContext.Authorizer == nil {
		return deploy.Principal{}, denied("The request carries no verified credentials.")
	}

	switch a := e.RequestContext.Authorizer; {
	case a.JWT != nil:
		return p.token(a.JWT.Claims)
	case a.IAM != nil:
		return p.iam(a.IAM)
	}

	return deploy.Principal{}, denied("The request carries no verified credentials.")
}

func denied(format string, args ...any) error {
	return deploy.Errorf(deploy.Denied, "no_principal", format, args...).
		WithRemedy("Ask an administrator of the installation to give your identity a tenant and a role.")
}

func (p *Principals) token(claims map[string]string) (deploy.Principal, error) {
	tenant := claims[p.tenantClaim]
	if !deploy.ValidTenant(tenant) {
		return deploy.Principal{}, denied("The token's claim %s names no tenant.", p.tenantClaim)
	}

	roles := roles(claims[p.rolesClaim])
	if len(roles) == 0 {
		return deploy.Principal{}, denied("The token's claim %s names no role that is known here.", p.rolesClaim)
	}

	actor := claims["sub"]
	if actor == "" {
		actor = claims["client_id"]
	}

	return deploy.Principal{Tenant: tenant, Actor: deploy.Scrub(actor), Roles: roles}, nil
}

// roles reads a claim as API Gateway hands it over: a string as it is, an array flattened to "[viewer deployer]". Roles that are not ours are left out.
func roles(claim string) []deploy.Role {
	var roles []deploy.Role

	for name := range strings.FieldsFuncSeq(claim, func(r rune) bool { return strings.ContainsRune(`[] ,"`, r) }) {
		if role := deploy.Role(name); slices.Contains(known(), role) && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}

	return roles
}

func (p *Principals) iam(a *events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription) (deploy.Principal, error) {
	arn := canonical(a.UserARN)

	g, ok := p.grants[arn]
	if part := strings.Split(arn, ":"); !ok && len(part) >= 6 {
		g, ok = p.grants["arn:"+part[1]+":iam::"+part[4]+":root"]
	}

	if !ok {
		return deploy.Principal{}, denied("Your IAM identity is not known to this installation.")
	}

	return deploy.Principal{Tenant: g.Tenant, Actor: deploy.Scrub(a.UserARN), Roles: slices.Clone(g.Roles)}, nil
}

// canonical brings the ARN of a role, or of a session of it, into one form: arn:aws:iam::123456789012:role/NAME. The ARN of a session lacks the role's
// path, so paths are left out; names of roles are unique in their account without them.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
func canonical(arn string) string {
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 {
		return arn
	}

	kind, rest, _ := strings.Cut(part[5], "/")

	switch {
	case part[2] == "sts" && kind == "assumed-role":
		rest, _, _ = strings.Cut(rest, "/")
	case part[2] == "iam" && kind == "role":
		rest = rest[strings.LastIndexByte(rest, '/')+1:]
	default:
		return arn
	}

	return "arn:" + part[1] + ":iam::" + part[4] + ":role/" + rest
}
