package samtemplate

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func inputs() Inputs {
	return Inputs{Region: "us-east-1", Account: "111122223333", StackName: "st", APIEndpoint: "http://127.0.0.1:1"}
}

// value resolves one expression as an environment variable of a function.
func value(t *testing.T, expression string) (string, error) {
	t.Helper()
	tmpl, err := Parse([]byte(`
Parameters:
  Text: {Type: String, Default: abc}
  Count: {Type: Number, Default: 7}
  List: {Type: CommaDelimitedList, Default: "x, y"}
Mappings:
  Sizes: {us-east-1: {small: 1}}
Conditions:
  Yes: !Equals [!Ref Text, abc]
  No: !Not [!Condition Yes]
  Both: !And [!Condition Yes, !Condition No]
  Either: {"Fn::Or": [{Condition: Yes}, {Condition: No}]}
Resources:
  Table: {Type: AWS::DynamoDB::Table, Properties: {TableName: !Sub "${AWS::StackName}-t"}}
  Bare: {Type: AWS::DynamoDB::Table}
  Role: {Type: AWS::IAM::Role, Properties: {Path: /p/}}
  Policy: {Type: AWS::IAM::ManagedPolicy, Properties: {Path: !Sub "/${Text}/", ManagedPolicyName: named}}
  Log: {Type: AWS::Logs::LogGroup}
  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: HTTP}}
  Machine: {Type: AWS::Serverless::StateMachine, Properties: {DefinitionUri: m.json}}
  Function:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: build/fn/
      Environment:
        Variables:
          V: ` + expression + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	st, err := tmpl.Resolve(inputs())
	if err != nil {
		return "", err
	}
	return st.Functions[0].Env["V"], nil
}

func TestIntrinsics(t *testing.T) {
	for name, tc := range map[string]struct{ reason, expression, want string }{
		"Parameter":     {"a parameter's default", "!Ref Text", "abc"},
		"Number":        {"numbers keep their form", "!Ref Count", "7"},
		"BigNumber":     {"numbers keep their form", "1000000", "1000000"},
		"Bool":          {"as CloudFormation writes it", "true", "true"},
		"Region":        {"pseudo parameter", "!Ref AWS::Region", "us-east-1"},
		"Account":       {"pseudo parameter", "!Ref AWS::AccountId", "111122223333"},
		"Partition":     {"pseudo parameter", "!Ref AWS::Partition", "aws"},
		"Suffix":        {"pseudo parameter", "!Ref AWS::URLSuffix", "amazonaws.com"},
		"RefTable":      {"a table's name as given", "!Ref Table", "st-t"},
		"RefBare":       {"a table without a name", "!Ref Bare", "st-Bare"},
		"RefFunction":   {"a function's folder", "!Ref Function", "fn"},
		"RefMachine":    {"Ref of a state machine is its ARN", "!Ref Machine", "arn:aws:states:us-east-1:111122223333:stateMachine:st-Machine"},
		"RefPolicy":     {"Ref of a managed policy is its ARN", "!Ref Policy", "arn:aws:iam::111122223333:policy/abc/named"},
		"RefLog":        {"a log group", "!Ref Log", "st-Log"},
		"RefAPI":        {"an API's id", "!Ref Api", "api"},
		"Long":          {"the long form", "{Ref: Text}", "abc"},
		"GetAtt":        {"the short form", "!GetAtt Table.Arn", "arn:aws:dynamodb:us-east-1:111122223333:table/st-t"},
		"GetAttLong":    {"the long form", `{"Fn::GetAtt": [Function, Arn]}`, "arn:aws:lambda:us-east-1:111122223333:function:fn"},
		"GetAttRole":    {"a role with a path", "!GetAtt Role.Arn", "arn:aws:iam::111122223333:role/p/st-Role"},
		"GetAttSAMRole": {"the role that SAM makes", "!GetAtt FunctionRole.Arn", "arn:aws:iam::111122223333:role/st-FunctionRole"},
		"GetAttLog":     {"a log group's ARN ends in a star", "!GetAtt Log.Arn", "arn:aws:logs:us-east-1:111122223333:log-group:st-Log:*"},
		"GetAttAPI":     {"where the API answers", "!GetAtt Api.ApiEndpoint", "http://127.0.0.1:1"},
		"Sub":           {"all kinds of names", `!Sub "${Text}:${AWS::Region}:${Table.Arn}:${!Literal}:${Count}"`, "abc:us-east-1:arn:aws:dynamodb:us-east-1:111122223333:table/st-t:${Literal}:7"},
		"SubList":       {"own variables first", `!Sub ["${Text}-${X}", {X: !Ref AWS::Region, Text: own}]`, "own-us-east-1"},
		"SubLong":       {"the long form", `{"Fn::Sub": "${Text}"}`, "abc"},
		"Join":          {"a list", `!Join ["-", [a, !Ref Text, 1]]`, "a-abc-1"},
		"JoinParameter": {"a list parameter", `!Join ["+", !Ref List]`, "x+y"},
		"Select":        {"one of a list", "!Select [1, !Ref List]", "y"},
		"Split":         {"inside Select", `!Select [2, !Split ["-", a-b-c]]`, "c"},
		"If":            {"the first if it holds", "!If [Yes, a, b]", "a"},
		"IfNot":         {"the second if not", "!If [No, a, !Ref Text]", "abc"},
		"IfAnd":         {"and", "!If [Both, a, b]", "b"},
		"IfOr":          {"or, the long form", `{"Fn::If": [Either, a, b]}`, "a"},
		"FindInMap":     {"a mapping", "!FindInMap [Sizes, !Ref AWS::Region, small]", "1"},
		"Base64":        {"encodes", "!Base64 hi", "aGk="},
		"NoValue":       {"a variable that is not there", "!Ref AWS::NoValue", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := value(t, tc.expression)
			if err != nil || got != tc.want {
				t.Errorf("%s: got %q, want %q (%v)", tc.reason, got, tc.want, err)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	for name, tc := range map[string]struct{ reason, expression, want string }{
		"Function":   {"an intrinsic function that is not known", "!Cidr [a, 1, 2]", "Variables.V (line 27): the intrinsic function Fn::Cidr is not known here"},
		"Long":       {"in its long form", `{"Fn::ImportValue": x}`, "the intrinsic function Fn::ImportValue is not known here"},
		"Ref":        {"nothing of that name", "!Ref Nothing", "Variables.V: the template has nothing named Nothing"},
		"GetAtt":     {"nothing of that name", "!GetAtt Nothing.Arn", "the template has nothing named Nothing"},
		"Attribute":  {"an attribute that is not known", "!GetAtt Table.TableId", "attribute TableId of Table (AWS::DynamoDB::Table) is not known here"},
		"SubRef":     {"inside a text", `!Sub "${Nothing}"`, "the template has nothing named Nothing"},
		"Condition":  {"no such condition", "!If [Maybe, a, b]", "the template has no condition Maybe"},
		"Map":        {"no such key", "!FindInMap [Sizes, x, y]", "Fn::FindInMap finds no x"},
		"List":       {"a list where a text belongs", "[a]", "wants a text"},
		"SelectPast": {"past the end", "!Select [5, !Ref List]", "selects nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := value(t, tc.expression)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "Resources.Function.Properties.Environment") {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}

// TestRefused lists what the gateway could only play wrongly.
func TestRefused(t *testing.T) {
	const fn = "F: {Type: AWS::Serverless::Function, Properties: {CodeUri: build/f/"
	const api = "A: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: HTTP}}\n  "
	for name, tc := range map[string]struct{ reason, resources, want string }{
		"Cron":       {"schedules other than rate", fn + `, Events: {E: {Type: Schedule, Properties: {Schedule: "cron(0 * * * ? *)"}}}}}`, "only rate"},
		"Event":      {"events that nothing here sends", fn + `, Events: {E: {Type: SQS, Properties: {Queue: x}}}}}`, "SQS is not played here"},
		"CORS":       {"CORS", `A: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: HTTP, CorsConfiguration: {AllowOrigins: ["*"]}}}`, "only an HTTP API without"},
		"WebSocket":  {"another protocol", `A: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET}}`, "only an HTTP API"},
		"TwoAPIs":    {"a second API", api + `B: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: HTTP}}`, "a second API"},
		"Stage":      {"a stage of another name", api + `S: {Type: AWS::ApiGatewayV2::Stage, Properties: {StageName: prod}}`, "only $default"},
		"NoTarget":   {"a route to nowhere", api + `R: {Type: AWS::ApiGatewayV2::Route, Properties: {RouteKey: GET /x}}`, "no integration"},
		"Custom":     {"an authorizer function", api + `R: {Type: AWS::ApiGatewayV2::Route, Properties: {RouteKey: GET /x, AuthorizationType: CUSTOM}}`, "CUSTOM is not played here"},
		"Authorizer": {"an authorizer that is not there", api + `R: {Type: AWS::ApiGatewayV2::Route, Properties: {RouteKey: GET /x, AuthorizationType: JWT, AuthorizerId: nope}}`, "no authorizer of the template"},
		"Payload":    {"payload format 1.0", api + `I: {Type: AWS::ApiGatewayV2::Integration, Properties: {IntegrationType: AWS_PROXY, IntegrationUri: x, PayloadFormatVersion: "1.0"}}` + "\n  " + `R: {Type: AWS::ApiGatewayV2::Route, Properties: {RouteKey: GET /x, Target: !Sub "integrations/${I}"}}`, "PayloadFormatVersion 2.0"},
		"Elsewhere":  {"a function that is not ours", api + `I: {Type: AWS::ApiGatewayV2::Integration, Properties: {IntegrationType: AWS_PROXY, IntegrationUri: "arn:aws:lambda:us-east-1:1:function:x", PayloadFormatVersion: "2.0"}}` + "\n  " + `R: {Type: AWS::ApiGatewayV2::Route, Properties: {RouteKey: GET /x, Target: !Sub "integrations/${I}"}}`, "no function of the template"},
		"NoCode":     {"a function without a folder", `F: {Type: AWS::Serverless::Function, Properties: {InlineCode: x}}`, "CodeUri names no folder"},
		"Name":       {"a name that does not resolve", `T: {Type: AWS::DynamoDB::Table, Properties: {TableName: !Cidr [x]}}`, "Resources.T.Properties.TableName (line 3): the intrinsic function Fn::Cidr is not known here"},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := Parse([]byte("\nResources:\n  " + tc.resources + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tmpl.Resolve(inputs()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct{ reason, text, want string }{
		"Empty":       {"nothing", "", "not a mapping"},
		"NoResources": {"no resources", "Parameters: {}", "no Resources"},
		"NoType":      {"a resource without a type", "Resources: {A: {Properties: {}}}", "Resources.A (line 1): no Type"},
		"NoYAML":      {"no YAML", "a: [", "parse template"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}

func TestParameters(t *testing.T) {
	tmpl, err := Parse([]byte("Parameters: {A: {Type: String}, N: {Type: Number, Default: 1}}\nResources: {L: {Type: AWS::Logs::LogGroup}}"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		given  map[string]string
		want   string
	}{
		"Given":    {"a value for what has no default", map[string]string{"A": "x"}, ""},
		"Missing":  {"no value and no default", nil, "parameter A has no default"},
		"Unknown":  {"a value for nothing", map[string]string{"A": "x", "B": "y"}, "no parameter B"},
		"NoNumber": {"a text for a number", map[string]string{"A": "x", "N": "y"}, `"y" is no number`},
	} {
		t.Run(name, func(t *testing.T) {
			in := inputs()
			in.Parameters = tc.given
			_, err := tmpl.Resolve(in)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}

// TestProduct resolves the product's own template: what it holds must be playable here.
func TestProduct(t *testing.T) {
	text, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	in := inputs()
	in.Parameters = map[string]string{"OidcIssuer": "http://issuer", "OidcAudience": "aud"}
	st, err := tmpl.Resolve(in)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Function{}
	for _, f := range st.Functions {
		byName[f.Name] = f
		if f.Timeout <= 0 || f.Timeout > 60*time.Second {
			t.Errorf("function %s: timeout %s", f.Name, f.Timeout)
		}
		if f.Env["TABLE"] != "st-Table" {
			t.Errorf("function %s: TABLE=%s: Globals are not merged", f.Name, f.Env["TABLE"])
		}
	}
	if byName["api"].Env["STATE_MACHINE"] != st.StateMachines[0].ARN {
		t.Errorf("api: STATE_MACHINE=%s", byName["api"].Env["STATE_MACHINE"])
	}
	for name, arn := range st.StateMachines[0].Substitutions {
		if !strings.HasPrefix(arn, "arn:aws:lambda:us-east-1:111122223333:function:") {
			t.Errorf("%s = %s", name, arn)
		}
	}
	routes := map[string]string{}
	for _, r := range st.API.Routes {
		routes[r.Key] = r.Authorization
		if r.Function != byName["api"].ARN || r.Timeout != 30*time.Second {
			t.Errorf("%s: %s %s", r.Key, r.Function, r.Timeout)
		}
		if r.Authorization == "JWT" {
			if diff := cmp.Diff(&Authorizer{LogicalID: r.Authorizer.LogicalID, Issuer: "http://issuer", Audience: []string{"aud"}}, r.Authorizer); diff != "" {
				t.Errorf("%s (-want +got):\n%s", r.Key, diff)
			}
		}
	}
	for key, want := range map[string]string{"ANY /v1/{proxy+}": "JWT", "ANY /iam/v1/{proxy+}": "AWS_IAM", "ANY /healthz": "NONE"} {
		if routes[key] != want {
			t.Errorf("%s: %q, want %s", key, routes[key], want)
		}
	}
	events, minutely := 0, map[string]bool{}
	sweeps := map[string]bool{}
	for _, r := range st.Rules {
		if r.Every == 30*time.Minute && r.Input == `{"verb": "sweep"}` {
			sweeps[r.Function] = true

			continue
		}
		if r.Every == time.Minute {
			minutely[r.Function] = true
		}
		if len(r.Pattern) > 0 && json.Valid(r.Pattern) && r.Function == byName["watchdog"].ARN {
			events++
		}
	}
	for _, worker := range []string{"s3", "iam", "ec2", "batch"} {
		if !sweeps[byName[worker].ARN] {
			t.Errorf("the function %s is never asked to sweep", worker)
		}
	}
	if events != 1 || len(minutely) != 2 || !minutely[byName["watchdog"].ARN] || !minutely[byName["customresource"].ARN] {
		t.Errorf("%d event rules, want the watchdog's; each minute %v are called", events, minutely)
	}
	if len(st.Tables) != 1 || st.Tables[0].TimeToLiveSpecification == nil || st.Tables[0].StreamSpecification == nil || len(st.Tables[0].GlobalSecondaryIndexes) == 0 {
		t.Errorf("table: %+v", st.Tables)
	}
	if len(st.Policies) != 1 || !strings.Contains(string(st.Policies[0].Document), `"Version":"2012-10-17"`) {
		t.Errorf("boundary: %+v", st.Policies)
	}
}

// TestStacks binds an account's stacks to a tenant: by an alias, and by nothing unless both are given.
func TestStacks(t *testing.T) {
	text, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		parameters map[string]string
		want       []string
	}{
		"None":    {nil, nil},
		"Bound":   {map[string]string{"StackTenant": "acme", "StackAccount": "111122223333"}, []string{"acme"}},
		"Unbound": {map[string]string{"StackTenant": "acme"}, nil},
	} {
		in := inputs()
		in.Parameters = tc.parameters
		st, err := tmpl.Resolve(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range st.Functions {
			want := tc.want
			if f.Name != "customresource" {
				want = nil
			}
			if diff := cmp.Diff(want, f.Aliases); diff != "" {
				t.Errorf("%s: aliases of %s (-want +got):\n%s", name, f.Name, diff)
			}
		}
	}
}
