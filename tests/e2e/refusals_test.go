package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// refusal is a request that the API must refuse, and how.
type refusal struct {
	reason string
	// body is text that is sent as it is, or an object; spec stands for {"name": "research", "spec": spec}.
	body   any
	spec   object
	header map[string]string

	status        int
	code, pointer string
}

func compute(environment object) object {
	environment["name"] = "small"

	return object{"compute": object{"environments": []object{environment}}}
}

func badBodies() map[string]refusal {
	return map[string]refusal{
		"NoBody":          {reason: "a body is needed", body: "", status: 400, code: "invalid_json"},
		"Broken":          {reason: "the JSON breaks off", body: `{"name": "research"`, status: 400, code: "invalid_json"},
		"Trailing":        {reason: "something follows", body: `{"name": "research"} x`, status: 400, code: "invalid_json"},
		"Twice":           {reason: "readers would differ in what it means", body: `{"name": "research", "name": "other"}`, status: 400, code: "invalid_json", pointer: "/name"},
		"Deep":            {reason: "deeper than ten", body: `{"name": "research", "spec": ` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 41), status: 400, code: "invalid_json", pointer: "/spec" + strings.Repeat("/a", 9)},
		"VeryDeep":        {reason: "no stack to exhaust", body: strings.Repeat("[", 30000) + strings.Repeat("]", 30000), status: 400, code: "invalid_json"},
		"Large":           {reason: "more than 64 KiB", body: `{"name": "` + strings.Repeat("a", 64<<10) + `"}`, status: 413, code: "body_too_large"},
		"ContentType":     {reason: "not declared as JSON", body: `name: research`, header: map[string]string{"Content-Type": "application/yaml"}, status: 415, code: "unsupported_media_type"},
		"Array":           {reason: "an object is asked for", body: `[]`, status: 422, code: "invalid_value"},
		"NoName":          {reason: "the one member that is needed", body: `{}`, status: 422, code: "missing_member", pointer: "/name"},
		"NameShort":       {reason: "three characters at least", body: object{"name": "ab"}, status: 422, code: "invalid_name", pointer: "/name"},
		"NameLong":        {reason: "24 at most", body: object{"name": strings.Repeat("a", 25)}, status: 422, code: "invalid_name", pointer: "/name"},
		"NameUpper":       {reason: "lower case only", body: object{"name": "Research"}, status: 422, code: "invalid_name", pointer: "/name"},
		"NameDigit":       {reason: "starts with a letter", body: object{"name": "1research"}, status: 422, code: "invalid_name", pointer: "/name"},
		"NameHyphen":      {reason: "ends with a letter or digit", body: object{"name": "research-"}, status: 422, code: "invalid_name", pointer: "/name"},
		"NameHyphens":     {reason: "no double hyphen", body: object{"name": "re--search"}, status: 422, code: "invalid_name", pointer: "/name"},
		"NamePath":        {reason: "no path", body: object{"name": "../../etc"}, status: 422, code: "invalid_name", pointer: "/name"},
		"NameUnicode":     {reason: "ASCII only", body: object{"name": "résearch"}, status: 422, code: "invalid_name", pointer: "/name"},
		"NameNull":        {reason: "null is no name", body: `{"name": null}`, status: 422, code: "missing_member", pointer: "/name"},
		"NameNumber":      {reason: "nor is a number", body: `{"name": 7}`, status: 422, code: "invalid_value", pointer: "/name"},
		"Unknown":         {reason: "unknown members are refused", body: object{"name": "research", "colour": "red"}, status: 422, code: "unknown_member", pointer: "/colour"},
		"Tenant":          {reason: "a tenant in a body is never believed", body: object{"name": "research", "tenant": "other"}, status: 422, code: "unknown_member", pointer: "/tenant"},
		"UnknownDeep":     {reason: "at any depth", spec: object{"storage": object{"bucket": "x"}}, status: 422, code: "unknown_member", pointer: "/spec/storage/bucket"},
		"UnknownCase":     {reason: "members are exact", spec: object{"Storage": object{}}, status: 422, code: "unknown_member", pointer: "/spec/Storage"},
		"SpecText":        {reason: "an object belongs there", body: `{"name": "research", "spec": "default"}`, status: 422, code: "invalid_value", pointer: "/spec"},
		"VcpusText":       {reason: "a number belongs there", spec: compute(object{"maxVcpus": "64"}), status: 422, code: "invalid_value", pointer: "/spec/compute/environments/0/maxVcpus"},
		"VcpusOrder":      {reason: "min above max", spec: compute(object{"minVcpus": 9, "maxVcpus": 8}), status: 422, code: "invalid_vcpus", pointer: "/spec/compute/environments/0/minVcpus"},
		"InstanceType":    {reason: "the shape of a type", spec: compute(object{"instanceTypes": []string{"m5 large"}}), status: 422, code: "invalid_instance_type", pointer: "/spec/compute/environments/0/instanceTypes/0"},
		"Architectures":   {reason: "AWS Batch takes one in an environment", spec: compute(object{"instanceTypes": []string{"m5", "m6g"}}), status: 422, code: "mixed_architectures", pointer: "/spec/compute/environments/0/instanceTypes"},
		"Spot":            {reason: "not built yet, so not ignored", spec: compute(object{"type": "SPOT"}), status: 422, code: "not_offered_yet", pointer: "/spec/compute/environments/0/type"},
		"Metadata":        {reason: "not built yet, so not ignored", spec: object{"metadata": object{"enabled": true}}, status: 422, code: "not_offered_yet", pointer: "/spec/metadata"},
		"UnmanagedFirst":  {reason: "Metaflow reads the first environment", spec: compute(object{"type": "UNMANAGED"}), status: 422, code: "unmanaged_first", pointer: "/spec/compute/environments/0"},
		"CIDRHost":        {reason: "host bits are set", spec: object{"network": object{"cidr": "10.20.30.40/16"}}, status: 422, code: "invalid_cidr", pointer: "/spec/network/cidr"},
		"CIDRSmall":       {reason: "smaller than /24", spec: object{"network": object{"cidr": "10.20.0.0/28"}}, status: 422, code: "invalid_cidr", pointer: "/spec/network/cidr"},
		"CIDRPublic":      {reason: "not private", spec: object{"network": object{"cidr": "8.8.0.0/16"}}, status: 422, code: "invalid_cidr", pointer: "/spec/network/cidr"},
		"CIDRText":        {reason: "no range at all", spec: object{"network": object{"cidr": "everything"}}, status: 422, code: "invalid_cidr", pointer: "/spec/network/cidr"},
		"ZoneOne":         {reason: "two at least", spec: object{"network": object{"zones": []string{"us-east-1a"}}}, status: 422, code: "invalid_zones", pointer: "/spec/network/zones"},
		"ZoneTwice":       {reason: "each once", spec: object{"network": object{"zones": []string{"us-east-1a", "us-east-1a"}}}, status: 422, code: "duplicate", pointer: "/spec/network/zones/1"},
		"ZoneRegion":      {reason: "of this Region", spec: object{"network": object{"zones": []string{"us-east-1a", "eu-west-1a"}}}, status: 422, code: "wrong_region", pointer: "/spec/network/zones/1"},
		"ZoneUnknown":     {reason: "AWS knows no such zone", spec: object{"network": object{"zones": []string{"us-east-1a", "us-east-1z"}}}, status: 422, code: "unknown_zone", pointer: "/spec/network/zones/1"},
		"PrefixUp":        {reason: "no way out of the bucket", spec: object{"storage": object{"flowsPrefix": "../x"}}, status: 422, code: "invalid_prefix", pointer: "/spec/storage/flowsPrefix"},
		"PrefixSlash":     {reason: "no slash in front", spec: object{"storage": object{"flowsPrefix": "/x"}}, status: 422, code: "invalid_prefix", pointer: "/spec/storage/flowsPrefix"},
		"PrefixWild":      {reason: "no pattern in a policy", spec: object{"storage": object{"flowsPrefix": "x*"}}, status: 422, code: "invalid_prefix", pointer: "/spec/storage/flowsPrefix"},
		"PrefixesOverlap": {reason: "one within the other", spec: object{"storage": object{"flowsPrefix": "a", "dataToolsPrefix": "a/b"}}, status: 422, code: "overlapping_prefixes", pointer: "/spec/storage/dataToolsPrefix"},
		"TagReserved":     {reason: "ours", spec: object{"tags": object{"metaflow-deployer:tenant": "other"}}, status: 422, code: "reserved_tag", pointer: "/spec/tags/metaflow-deployer:tenant"},
		"TagAWS":          {reason: "AWS's", spec: object{"tags": object{"aws:x": "y"}}, status: 422, code: "reserved_tag", pointer: "/spec/tags/aws:x"},
		"Tags":            {reason: "more than 42", spec: object{"tags": manyTags(43)}, status: 422, code: "too_many_tags", pointer: "/spec/tags"},
		"QueueUnknown": {
			reason: "a queue over an environment that is not there", spec: object{"compute": object{"queues": []object{{"name": "q", "environments": []string{"none"}}}}},
			status: 422, code: "unknown_environment", pointer: "/spec/compute/queues/0/environments/0",
		},
		"KeyBlank": {reason: "a key has no blanks", body: object{"name": "research"}, header: map[string]string{"Idempotency-Key": "a b"}, status: 422, code: "invalid_idempotency_key"},
	}
}

func manyTags(n int) object {
	tags := object{}
	for i := range n {
		tags[fmt.Sprintf("key-%d", i)] = "x"
	}

	return tags
}

// badNames names things under existing that cannot be used.
func badNames(o own, made []resource) map[string]refusal {
	arnOf := map[string]string{}
	idOf := map[string]string{}

	for _, r := range made {
		arnOf[r.Kind], idOf[r.Kind] = r.ARN, r.ID
	}

	network := func(vpc string, subnets ...string) object {
		return object{"network": object{"existing": object{"vpcId": vpc, "subnetIds": subnets}}}
	}
	bucket := func(name string) object { return object{"storage": object{"existing": object{"bucket": name}}} }
	role := func(arn string) object { return object{"access": object{"existing": object{"jobRoleArn": arn}}} }
	queue := func(arn string) object {
		return object{"compute": object{"queues": []object{{"name": "q", "existing": object{"arn": arn}}}}}
	}

	const theBucket, theVPC, theSubnet = "/spec/storage/existing/bucket", "/spec/network/existing/vpcId", "/spec/network/existing/subnetIds/0"

	const theRole, theQueue = "/spec/access/existing/jobRoleArn", "/spec/compute/queues/0/existing/arn"

	return map[string]refusal{
		"VPCMalformed":   {reason: "no id of a VPC", spec: network("my-vpc", o.subnets[0]), status: 422, code: "invalid_id", pointer: theVPC},
		"VPCAbsent":      {reason: "there is no such VPC", spec: network("vpc-0123456789abcdef0", o.subnets[0]), status: 422, code: "existing_not_found", pointer: theVPC},
		"VPCMade":        {reason: "another deployment's, which goes with it", spec: network(idOf["vpc"], idOf["subnet"]), status: 403, code: "existing_belongs_to_deployment", pointer: theVPC},
		"SubnetAbsent":   {reason: "there is no such subnet", spec: network(o.vpc, "subnet-0123456789abcdef0"), status: 422, code: "existing_not_found", pointer: theSubnet},
		"SubnetForeign":  {reason: "of another VPC", spec: network(o.vpc, idOf["subnet"]), status: 403, code: "existing_belongs_to_deployment", pointer: theSubnet},
		"BucketURL":      {reason: "a name alone", spec: bucket("s3://own"), status: 422, code: "invalid_bucket", pointer: theBucket},
		"BucketAbsent":   {reason: "there is no such bucket", spec: bucket("there-is-no-such-bucket"), status: 422, code: "existing_not_found", pointer: theBucket},
		"BucketUntagged": {reason: "not tagged for the tenant", spec: bucket("untagged-" + o.account()), status: 403, code: "existing_not_allowed", pointer: theBucket},
		"BucketMade":     {reason: "another deployment's", spec: bucket(idOf["bucket"]), status: 403, code: "existing_belongs_to_deployment", pointer: theBucket},
		"RoleMalformed":  {reason: "an ARN is asked for", spec: role("jobs"), status: 422, code: "invalid_arn", pointer: theRole},
		"RoleAccount":    {reason: "of another account", spec: role("arn:aws:iam::999999999999:role/jobs"), status: 422, code: "wrong_account", pointer: theRole},
		"RoleAbsent":     {reason: "there is no such role", spec: role("arn:aws:iam::" + o.account() + ":role/none"), status: 422, code: "existing_not_found", pointer: theRole},
		"RoleUntagged":   {reason: "not tagged for the tenant", spec: role("arn:aws:iam::" + o.account() + ":role/untagged"), status: 403, code: "existing_not_allowed", pointer: theRole},
		"RoleMade":       {reason: "another deployment's", spec: role(arnOf["job-role"]), status: 403, code: "existing_belongs_to_deployment", pointer: theRole},
		"QueueMalformed": {reason: "an ARN is asked for", spec: queue("batch"), status: 422, code: "invalid_arn", pointer: theQueue},
		"QueueAbsent":    {reason: "there is no such queue", spec: queue(o.queue + "-none"), status: 422, code: "existing_not_found", pointer: theQueue},
		"QueueMade":      {reason: "another deployment's", spec: queue(arnOf["job-queue"]), status: 403, code: "existing_belongs_to_deployment", pointer: theQueue},
	}
}

// TestRefusals sends what cannot be: each is refused with the member and the remedy, and nothing is made.
func TestRefusals(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	o := w.makeOwn()
	w.active("other", nil)
	w.makeBucket("untagged-" + w.Account)
	w.makeRole("untagged")

	begun := len(w.calls())
	before := w.inventory()

	for _, all := range []map[string]refusal{badBodies(), badNames(o, w.resources("other"))} {
		for name, c := range all {
			t.Run(name, func(t *testing.T) {
				w := &world{T: t, World: w.World, stack: w.stack, token: w.token, aws: w.aws}

				body := c.body
				if c.spec != nil {
					body = object{"name": "research", "spec": c.spec}
				}

				a := w.ask(request{method: "POST", path: "/v1/deployments", body: body, header: c.header})
				if media := a.header.Get("Content-Type"); media != "application/problem+json" {
					t.Errorf("%s: the answer is %s", c.reason, media)
				}

				p := as[problem](w, a, c.status)
				if p.Code != c.code || p.Pointer != c.pointer || p.Remedy == "" || p.Detail == "" || p.Status != c.status || p.Type == "" {
					t.Errorf("%s: want %s at %q, got %s", c.reason, c.code, c.pointer, show(p))
				}
			})
		}
	}

	if p := as[problem](w, w.ask(request{method: "GET", path: "/v1/deployments?pageToken=made-up"}), http.StatusBadRequest); p.Code != "bad_page_token" || p.Parameter != "pageToken" {
		t.Errorf("a page token that was made up: %s", show(p))
	}

	if p := as[problem](w, w.ask(request{method: "GET", path: "/v1/deployments/research"}), http.StatusNotFound); p.Code != "not_found" {
		t.Errorf("nothing was created: %s", show(p))
	}

	for _, call := range w.calls()[begun:] {
		if changing(call) && call.Service != "dynamodb" {
			t.Errorf("%s was called: %s %s %s", call.Function, call.Service, call.Action, call.Target)
		}

		if key, _ := call.Input["Item"].(map[string]any); changing(call) && call.Service == "dynamodb" && !strings.Contains(show(key), "CLAIM") && key != nil {
			t.Errorf("%s wrote %s", call.Function, show(key))
		}
	}

	w.same("after all refusals", before, w.inventory())
}

// TestTokens shows tokens that API Gateway's authorizer must not take, in its own words.
func TestTokens(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}

	issuer := w.stack.Issuer()
	claims := func(change jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{
			"iss": issuer.URL(), "aud": "metaflow-deployer", "sub": "someone", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			"tenant": "research", "roles": []string{"admin"},
		}
		for k, v := range change {
			c[k] = v
		}

		return c
	}

	sign := func(method jwt.SigningMethod, key any, kid string) string {
		token := jwt.NewWithClaims(method, claims(nil))
		if kid != "" {
			token.Header["kid"] = kid
		}

		s, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}

		return s
	}

	ours := func(change jwt.MapClaims) string {
		s, err := issuer.Sign(claims(change))
		if err != nil {
			t.Fatal(err)
		}

		return s
	}

	good := ours(nil)
	if a := w.ask(request{method: "GET", path: "/v1/deployments", header: map[string]string{"Authorization": "Bearer " + good}}); a.status != http.StatusOK {
		t.Fatalf("a good token gets %d %s", a.status, a.body)
	}

	for name, c := range map[string]struct{ reason, header string }{
		"Missing":  {"no token", ""},
		"Empty":    {"nothing behind the scheme", "Bearer "},
		"Garbage":  {"no JWT", "Bearer abc"},
		"Expired":  {"its time is over", "Bearer " + ours(jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()})},
		"NotYet":   {"its time has not come", "Bearer " + ours(jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()})},
		"None":     {"not signed", "Bearer " + sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, issuer.KeyID())},
		"HS256":    {"a shared secret", "Bearer " + sign(jwt.SigningMethodHS256, []byte("secret"), issuer.KeyID())},
		"OtherKey": {"somebody else's key under the issuer's id", "Bearer " + sign(jwt.SigningMethodRS256, other, issuer.KeyID())},
		"OtherKid": {"a key that the issuer does not publish", "Bearer " + sign(jwt.SigningMethodRS256, other, "other")},
		"NoKid":    {"no key named", "Bearer " + sign(jwt.SigningMethodRS256, other, "")},
		"Issuer":   {"another issuer", "Bearer " + ours(jwt.MapClaims{"iss": "https://issuer.example"})},
		"Audience": {"for somebody else", "Bearer " + ours(jwt.MapClaims{"aud": "another"})},
		"Tampered": {"changed after it was signed", "Bearer " + good[:len(good)-4] + "AAAA"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, World: w.World, stack: w.stack, aws: w.aws}

			a := w.ask(request{method: "POST", path: "/v1/deployments", body: object{"name": "research"}, header: map[string]string{"Authorization": c.header}})
			if p := as[problem](w, a, http.StatusUnauthorized); p.Message != "Unauthorized" || p.Code != "" {
				t.Errorf("%s: %s", c.reason, a.body)
			}
		})
	}

	for _, call := range w.calls() {
		if changing(call) {
			t.Errorf("%s called %s %s", call.Function, call.Service, call.Action)
		}
	}
}

// TestNobody asks for every route of the document without credentials: only what the document calls open is.
func TestNobody(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	doc := as[struct {
		Paths map[string]map[string]json.RawMessage
	}](w, w.ask(request{method: "GET", path: "/openapi.json"}), http.StatusOK)
	before, routes := w.inventory(), 0

	for path, item := range doc.Paths {
		target := strings.NewReplacer("{name}", "research", "{id}", "research-"+strings.Repeat("0", 26)).Replace(path)

		for method, text := range item {
			if method == "servers" {
				continue
			}

			routes++

			var route struct{ Security *[]object }
			if err := json.Unmarshal(text, &route); err != nil {
				t.Fatal(err)
			}

			open := route.Security != nil // and empty: the routes that need somebody leave it to the document

			for base, status := range map[string]int{"": http.StatusUnauthorized, "/iam": http.StatusForbidden} {
				if open && base != "" {
					continue
				}

				if open {
					status = http.StatusOK
				}

				a := w.ask(request{method: strings.ToUpper(method), path: base + target, body: `{"name":"research"}`, header: map[string]string{"Authorization": ""}})
				if a.status != status {
					t.Errorf("%s %s%s without credentials: %d, want %d: %s", method, base, target, a.status, status, a.body)
				}
			}
		}
	}

	t.Logf("%d routes asked for without credentials", routes)

	for _, call := range w.calls() {
		if call.Function == "api" {
			t.Errorf("the API called %s %s", call.Service, call.Action)
		}
	}

	w.same("after everything that nobody may", before, w.inventory())
}
