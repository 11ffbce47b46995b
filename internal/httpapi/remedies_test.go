package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRemedies reads what a refusal tells people: what is wrong, and what to do.
func TestRemedies(t *testing.T) {
	t.Parallel()

	const (
		create, one = "POST /v1/deployments", "/v1/deployments/team-a"
		documented  = "GET /openapi.json says what the request takes."
		lists       = "GET /v1/deployments lists those that there are; with ?showDeleted=true the deleted ones too."
		sentBack    = "A deployment as GET answers it holds more than this request takes: send only "
	)

	spec := func(members string) string { return `{"name":"team-a","spec":{` + members + `}}` }
	env := func(members string) string { return spec(`"compute":{"environments":[{"name":"a",` + members + `}]}`) }

	tests := map[string]struct {
		reason, request, body string
		// at is the pointer or the parameter; detail and remedy are looked for as a whole.
		code, at, detail, remedy string
	}{
		"OtherCase":     {"the same letters", create, env(`"maxVCPUs":8`), "unknown_member", "/spec/compute/environments/0/maxVCPUs", "There is no member maxVCPUs here.", "Did you mean maxVcpus?"},
		"OtherLetters":  {"one too many", create, spec(`"networks":{}`), "unknown_member", "/spec/networks", "There is no member networks here.", "Did you mean network?"},
		"Part":          {"half of it", create, spec(`"network":{"existing":{"vpc":"vpc-0a1b2c3d","vpcId":"vpc-0a1b2c3d","subnetIds":["subnet-0a1b2c3d"]}}`), "unknown_member", "/spec/network/existing/vpc", "There is no member vpc here.", "Did you mean vpcId?"},
		"Top":           {"of the request itself", create, `{"name":"team-a","lables":{}}`, "unknown_member", "/lables", "There is no member lables here.", "Did you mean labels?"},
		"Nothing":       {"none is near", create, spec(`"storage":{"bucket":"x"}`), "unknown_member", "/spec/storage/bucket", "There is no member bucket here.", "Members here are: dataToolsPrefix, existing, flowsPrefix and oldVersionsDays."},
		"OneMember":     {"there is one", "POST /v1/webhooks", `{"url":"https://a.example","colour":"red"}`, "unknown_member", "/colour", "There is no member colour here.", "Members here are: url."},
		"Huge":          {"nobody types so much by mistake", create, `{"name":"team-a","` + strings.Repeat("name", 50) + `":1}`, "unknown_member", "/" + strings.Repeat("name", 50), "There is no member " + strings.Repeat("name", 50) + " here.", "Members here are: labels, name, spec, ttl and verify."},
		"Component":     {"one level too high", create, `{"name":"team-a","compute":{}}`, "unknown_member", "/compute", "There is no member compute here.", "Write compute under spec."},
		"ComponentPUT":  {"likewise", "PUT " + one, `{"spec":{},"tags":{}}`, "unknown_member", "/tags", "There is no member tags here.", "Write tags under spec."},
		"ComponentNear": {"mistyped too", create, `{"name":"team-a","networks":{}}`, "unknown_member", "/networks", "There is no member networks here.", "Did you mean network? Write it under spec."},
		"Region":        {"there is one Region", create, `{"name":"team-a","region":"eu-west-1"}`, "unknown_member", "/region", "There is no member region here.", "Leave it out: this installation works in one Region, us-east-1."},
		"RegionInSpec":  {"likewise", create, spec(`"region":"eu-west-1"`), "unknown_member", "/spec/region", "There is no member region here.", "Leave it out: this installation works in one Region, us-east-1."},
		"RegionOfHook":  {"a webhook has none", "POST /v1/webhooks", `{"url":"https://a.example","region":"us-east-1"}`, "unknown_member", "/region", "There is no member region here.", "Members here are: url."},
		"SentBack":      {"what a GET answered", create, `{"name":"team-a","spec":{},"etag":"\"1\"","phase":"ACTIVE"}`, "unknown_member", "/etag", "There is no member etag here.", sentBack + "labels, name, spec, ttl and verify."},
		"SentBackPUT":   {"likewise, and a name is for life", "PUT " + one, `{"name":"team-a","spec":{}}`, "unknown_member", "/name", "There is no member name here.", sentBack + "labels, spec and ttl."},
		"Tenant":        {"a tenant is never believed", "POST /v1/deployments:plan", `{"name":"team-a","tenant":"other"}`, "unknown_member", "/tenant", "There is no member tenant here.", sentBack + "labels, name, spec, ttl and verify."},

		"NumberQuoted": {"a number in quotes", create, env(`"maxVcpus":"64"`), "invalid_value", "/spec/compute/environments/0/maxVcpus", "A whole number belongs here, not a string.", "Write 64 without quotes."},
		"NumberWord":   {"no number in quotes", create, env(`"maxVcpus":"many"`), "invalid_value", "/spec/compute/environments/0/maxVcpus", "A whole number belongs here, not a string.", documented},
		"NumberObject": {"no number at all", create, env(`"maxVcpus":{}`), "invalid_value", "/spec/compute/environments/0/maxVcpus", "A whole number belongs here, not an object.", documented},
		"TextBare":     {"a string without quotes", create, `{"name":7}`, "invalid_value", "/name", "A string belongs here, not a number.", `Write it in quotes: "7".`},
		"TextTrue":     {"likewise", create, spec(`"tags":{"a":true}`), "invalid_value", "/spec/tags/a", "A string belongs here, not true or false.", `Write it in quotes: "true".`},
		"TextNull":     {"nothing is no text", create, `{"name":"team-a","labels":{"a":null}}`, "invalid_value", "/labels/a", "A string belongs here, not null.", documented},
		"ListOfOne":    {"one instead of a list", create, env(`"instanceTypes":"m5.large"`), "invalid_value", "/spec/compute/environments/0/instanceTypes", "An array belongs here, not a string.", `Write it in brackets: ["m5.large"].`},
		"ListOfMany":   {"an object instead of a list", create, spec(`"compute":{"environments":{}}`), "invalid_value", "/spec/compute/environments", "An array belongs here, not an object.", documented},
		"Object":       {"a list instead of an object", create, `{"name":"team-a","spec":[]}`, "invalid_value", "/spec", "An object belongs here, not an array.", documented},
		"Bool":         {"a word for it", create, `{"name":"team-a","verify":"yes"}`, "invalid_value", "/verify", "true or false belongs here, not a string.", "Write true or false, without quotes."},
		"EnumCase":     {"in another case", create, env(`"type":"ec2"`), "invalid_value", "/spec/compute/environments/0/type", "One of these belongs here: EC2, UNMANAGED.", "Did you mean EC2?"},
		"Enum":         {"another thing", create, env(`"type":"LAMBDA"`), "invalid_value", "/spec/compute/environments/0/type", "One of these belongs here: EC2, UNMANAGED.", "Write one of them."},

		"Parameter":      {"mistyped", "DELETE " + one + "?date=purge", "", "unknown_parameter", "date", "There is no such parameter here.", "Did you mean data?"},
		"ParameterOther": {"none is near", "DELETE " + one + "?force=true", "", "unknown_parameter", "force", "There is no such parameter here.", "Parameters here are: allowMissing, data and tenant."},
		"ParameterCase":  {"in another case", "DELETE " + one + "?data=PURGE", "", "invalid_parameter", "data", "One of these belongs here: keep, purge.", "Did you mean purge?"},
		"ParameterValue": {"another thing", "GET " + one + "/configuration?format=toml", "", "invalid_parameter", "format", "One of these belongs here: json, env.", "Write one of them."},

		"Empty":      {"nothing was sent", create, "", "invalid_json", "", "The body is empty.", "Send a JSON object; it needs: name."},
		"Blank":      {"nor here", "POST /v1/grants", " \n", "invalid_json", "", "The body is empty.", "Send a JSON object; it needs: kind, value."},
		"EmptyPUT":   {"nor here", "PUT " + one, "", "invalid_json", "", "The body is empty.", "Send a JSON object; it needs: spec."},
		"Comma":      {"a comma too many", create, "{\n  \"name\": \"team-a\",\n}", "invalid_json", "", "The body is not valid JSON in UTF-8: line 3, column 1 has the character } where it cannot be.", "Send one JSON object in UTF-8."},
		"Quote":      {"another language's quotes", create, `{'name': 'team-a'}`, "invalid_json", "", "The body is not valid JSON in UTF-8: line 1, column 2 has the character ' where it cannot be.", "Send one JSON object in UTF-8."},
		"Characters": {"characters count, not bytes", create, `{"näme": é}`, "invalid_json", "", "The body is not valid JSON in UTF-8: line 1, column 10 has the character é where it cannot be.", "Send one JSON object in UTF-8."},
		"Unseen":     {"what cannot be seen has a number", create, "\ufeff{}", "invalid_json", "", "The body is not valid JSON in UTF-8: line 1, column 1 has the character U+FEFF where it cannot be.", "Send one JSON object in UTF-8."},
		"LineBreak":  {"a string ends where its line ends", create, "{\"name\":\"team\n-a\"}", "invalid_json", "", "The body is not valid JSON in UTF-8: line 1, column 14 has the character U+000A where it cannot be.", "Send one JSON object in UTF-8."},
		"Trailing":   {"one object is asked for", create, `{"name":"team-a"}{}`, "invalid_json", "", "The body is not valid JSON in UTF-8: line 1, column 18 has the character { where it cannot be.", "Send one JSON object in UTF-8."},
		"CutOff":     {"it breaks off", create, "{\"name\":\n", "invalid_json", "", "The body is not valid JSON in UTF-8: line 2, column 1 has the end, before the JSON is complete.", "Send one JSON object in UTF-8."},
		"Byte":       {"no text", create, "{\"name\":\"\xff\"}", "invalid_json", "", "The body is not valid JSON in UTF-8: line 1, column 10 has the byte 0xFF, which is not UTF-8.", "Send one JSON object in UTF-8."},
		"VeryDeep":   {"deeper than a parser goes", create, strings.Repeat("[", 30000), "invalid_json", "", "The body is nested deeper than 10 levels.", "Nothing that this API takes is that deep: look for what is nested by mistake."},

		"NoDeployment":  {"the name is repeated", "GET /v1/deployments/nope", "", "not_found", "", "There is no deployment nope in tenant acme.", lists},
		"Malformed":     {"a name that cannot be one too, on one line", "GET /v1/deployments/no%0Ape", "", "not_found", "", "There is no deployment no pe in tenant acme.", lists},
		"NoResources":   {"below it", "GET /v1/deployments/nope/resources", "", "not_found", "", "There is no deployment nope in tenant acme.", lists},
		"NoUpdate":      {"to change it", "PUT /v1/deployments/nope", `{"spec":{}}`, "not_found", "", "There is no deployment nope in tenant acme.", lists},
		"NoPlan":        {"to plan", "POST /v1/deployments/nope:plan", `{"spec":{}}`, "not_found", "", "There is no deployment nope in tenant acme.", lists},
		"NoRepair":      {"to repair", "POST /v1/deployments/nope:repair", "", "not_found", "", "There is no deployment nope in tenant acme.", lists},
		"NoDrift":       {"to look at", "POST /v1/deployments/nope:drift", "", "not_found", "", "There is no deployment nope in tenant acme.", lists},
		"NoExtend":      {"to extend", "POST /v1/deployments/nope:extend", `{"ttl":"3d"}`, "not_found", "", "There is no deployment nope in tenant acme.", lists},
		"NoDelete":      {"to delete", "DELETE /v1/deployments/nope?data=purge", "", "not_found", "", "There is no deployment nope in tenant acme.", lists + " With allowMissing=true a delete answers 204 then."},
		"NoHistory":     {"its history", "GET /v1/operations?deployment=nope", "", "not_found", "", "There is no deployment nope in tenant acme.", lists},
		"NoOperation":   {"an id that was never given out", "GET /v1/operations/nope-00000000000000000000000000", "", "not_found", "", "There is no operation nope-00000000000000000000000000 in tenant acme.", "GET /v1/operations?deployment=nope lists the operations of a deployment, with their ids."},
		"OperationName": {"a deployment's name is no operation's id", "POST /v1/operations/nope:cancel", "", "not_found", "", "There is no operation nope in tenant acme.", "GET /v1/operations?deployment=nope lists the operations of a deployment, with their ids."},
		"OperationElse": {"nor is anything else", "GET /v1/operations/N0", "", "not_found", "", "There is no operation N0 in tenant acme.", "GET /v1/operations?deployment=NAME lists the operations of a deployment, with their ids."},
		"NoWebhook":     {"likewise", "DELETE /v1/webhooks/nope", "", "not_found", "", "There is no webhook nope in tenant acme.", "GET /v1/webhooks lists those that there are."},
		"NoGrant":       {"likewise, of the tenant that was named", "DELETE /v1/grants?tenant=other&kind=bucket&value=nope", "", "not_found", "", "There is no grant of bucket nope in tenant other.", "GET /v1/grants?tenant=other lists those that there are."},
		"NoMethod":      {"what can be done with one is another thing than one", "GET /v1/deployments/nope:heal", "", "not_found", "", "There is no method heal here.", "GET /openapi.json lists those that there are, such as :repair of a deployment and :cancel of an operation."},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			method, path, _ := strings.Cut(tc.request, " ")

			a := w.do(method, path, tc.body, "X-Test-Who", "acme admin")
			if a.status < http.StatusBadRequest || a.field("code") != tc.code || a.text("detail") != tc.detail || a.text("remedy") != tc.remedy {
				t.Errorf("%s: %d %v\n%q, want\n%q\n%q, want\n%q", tc.reason, a.status, a.field("code"), a.text("detail"), tc.detail, a.text("remedy"), tc.remedy)
			}

			if tc.at != "" {
				a.want(a.status, tc.code, tc.at)
			}
		})
	}
}
