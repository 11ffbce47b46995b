package awsmodel_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

func toys(t *testing.T) *awsmodel.Catalog {
	t.Helper()

	c, err := awsmodel.Open("testdata/models")
	if err != nil {
		t.Fatal(err)
	}

	return c
}

// sent makes a request as an SDK would sign it.
func sent(method, target, scope, body string, header map[string]string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if scope != "" {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/"+scope+"/aws4_request, SignedHeaders=host, Signature=0")
	}

	for name, value := range header {
		r.Header.Set(name, value)
	}

	return r
}

func TestDecode(t *testing.T) {
	t.Parallel()

	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	alpha := map[string]string{"X-Amz-Target": "Alpha_1.MakeThing"}

	for name, tt := range map[string]struct {
		reason              string
		method, path, scope string
		body                string
		header              map[string]string
		service, want       string
		input               map[string]any
	}{
		"JSON": {
			reason: "numbers keep their kind, times become text, null is absent, what is unknown stays",
			method: "POST", path: "/", scope: "alphas", header: alpha,
			body:    `{"name":"abc","size":3,"ratio":1,"at":1.5,"data":"aGk=","labels":{"abc":1},"inner":{"name":"x","color":null},"what":[1,{"a":2.5}]}`,
			service: "alphathings", want: "MakeThing",
			input: map[string]any{
				"name": "abc", "size": int64(3), "ratio": 1.0, "at": "1970-01-01T00:00:01.5Z", "data": "aGk=", "labels": map[string]any{"abc": int64(1)},
				"inner": map[string]any{"name": "x"}, "what": []any{int64(1), map[string]any{"a": 2.5}},
			},
		},
		"JSONWithoutInput": {
			reason: "an operation that takes nothing", method: "POST", path: "/", scope: "alphas", body: "{}",
			header: map[string]string{"X-Amz-Target": "Alpha_1.CountThings"}, service: "alphathings", want: "CountThings", input: map[string]any{},
		},
		"Query": {
			reason: "lists, lists with named items, flattened lists, maps, more than nine items in order, unknown parameters",
			method: "POST", path: "/", scope: "beta", header: form,
			body: "Action=Put&Version=2020-01-01&List.member.1=a&List.member.2=b&List.member.10=c&Named.Item.1=n&Flat.1=f&Flat.2=g" +
				"&Map.entry.1.key=k&Map.entry.1.value=v&Count=12&On=true&Odd.x=1",
			service: "beta", want: "Put",
			input: map[string]any{
				"List": []any{"a", "b", "c"}, "Named": []any{"n"}, "Flat": []any{"f", "g"}, "Map": map[string]any{"k": "v"}, "Count": int64(12), "On": true,
				"Odd": map[string]any{"x": "1"},
			},
		},
		"QueryInTheAddress": {
			reason: "parameters may stand in the query", method: "GET", path: "/?Action=Put&Version=2020-01-01&List=", scope: "beta",
			service: "beta", want: "Put", input: map[string]any{"List": []any{}},
		},
		"QueryNotANumber": {
			reason: "what does not fit stays text, for the check to find", method: "POST", path: "/", scope: "beta", header: form, body: "Action=Put&Count=many",
			service: "beta", want: "Put", input: map[string]any{"Count": "many"},
		},
		"EC2": {
			reason: "names in capitals, queryName first, lists without member", method: "POST", path: "/", scope: "gamma", header: form,
			body: "Action=Put&Id.1=a&Id.2=b&Plain=p&Asked=q", service: "gamma", want: "Put",
			input: map[string]any{"Ids": []any{"a", "b"}, "Plain": "p", "Query": "q"},
		},
		"RestLabels": {
			reason: "labels, a greedy one, escapes, metadata; the body is no input", method: "PUT", path: "/box/a/b%20c%2Fd", scope: "delta", body: "data",
			header: map[string]string{"X-Amz-Meta-User-Attr": "me"}, service: "delta", want: "PutObject",
			input: map[string]any{"Box": "box", "Key": "a/b c/d", "Metadata": map[string]any{"user-attr": "me"}},
		},
		"RestByParameter": {
			reason: "a required parameter tells two operations at one path apart", method: "PUT", path: "/box/k?part=4", scope: "delta", service: "delta",
			want: "PutPart", input: map[string]any{"Box": "box", "Key": "k", "Part": int64(4)},
		},
		"RestHeader": {
			reason: "a date in a header", method: "GET", path: "/box/k", scope: "delta", header: map[string]string{"If-Modified-Since": "Fri, 02 Jan 2026 03:04:05 GMT"},
			service: "delta", want: "GetObject", input: map[string]any{"Box": "box", "Key": "k", "Since": "2026-01-02T03:04:05Z"},
		},
		"RestHeaderList": {
			reason: "a list in a header", method: "PUT", path: "/box", scope: "delta", header: map[string]string{"X-Colors": "red, blue"}, service: "delta",
			want: "MakeBox", input: map[string]any{"Box": "box", "Colors": []any{"red", "blue"}},
		},
		"RestXML": {
			reason: "a payload: flattened and wrapped lists, a map, an attribute; the newer of two operations at one place",
			method: "PUT", path: "/box?rules", scope: "delta",
			body: `<Rules xmlns:xsi="x" xsi:type="T"><Rule><Days>3</Days><On>true</On></Rule><Rule><Days>x</Days></Rule><List><member>a</member></List>` +
				`<Map><entry><key>k</key><value>v</value></entry></Map><Odd>1</Odd></Rules>`,
			service: "delta", want: "PutRules",
			input: map[string]any{"Box": "box", "Rules": map[string]any{
				"Kind": "T", "Each": []any{map[string]any{"Days": int64(3), "On": true}, map[string]any{"Days": "x"}}, "List": []any{"a"},
				"Map": map[string]any{"k": "v"}, "Odd": "1",
			}},
		},
		"Presigned": {
			reason: "the scope may stand in the query", method: "GET", path: "/box/k?X-Amz-Credential=AKIA%2F20260101%2Feu-west-1%2Fdelta%2Faws4_request",
			service: "delta", want: "GetObject", input: map[string]any{"Box": "box", "Key": "k"},
		},
		"Host": {
			reason: "unsigned, the host names the service", method: "GET", path: "http://delta.eu-west-1.amazonaws.com/box/k", service: "delta", want: "GetObject",
			input: map[string]any{"Box": "box", "Key": "k"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r := sent(tt.method, tt.path, tt.scope, tt.body, tt.header)

			req, err := toys(t).Find(r, []byte(tt.body))
			if err != nil {
				t.Fatalf("%s: %v", tt.reason, err)
			}

			input, err := req.Decode(r, []byte(tt.body))
			if err != nil {
				t.Fatalf("%s: %v", tt.reason, err)
			}

			if req.Service.Name != tt.service || req.Operation.Name != tt.want {
				t.Errorf("%s: recognised %s.%s, want %s.%s", tt.reason, req.Service.Name, req.Operation.Name, tt.service, tt.want)
			}

			if diff := cmp.Diff(tt.input, input); diff != "" {
				t.Errorf("%s: input (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestFindUnknown(t *testing.T) {
	t.Parallel()

	for name, r := range map[string]*http.Request{
		"Scope":     sent("POST", "/", "omega", "", nil),
		"Target":    sent("POST", "/", "alphas", "{}", map[string]string{"X-Amz-Target": "Beta_1.MakeThing"}),
		"Operation": sent("POST", "/", "alphas", "{}", map[string]string{"X-Amz-Target": "Alpha_1.Nothing"}),
		"Action":    sent("POST", "/?Action=Nothing", "beta", "", nil),
		"Version":   sent("POST", "/?Action=Put&Version=1999-01-01", "beta", "", nil),
		"Method":    sent("PATCH", "/box/key", "delta", "", nil),
		"Path":      sent("PUT", "/", "delta", "", nil),
		"Unsigned":  sent("PUT", "/box", "", "", nil),
	} {
		if _, err := toys(t).Find(r, nil); !errors.Is(err, awsmodel.ErrUnknown) {
			t.Errorf("%s: got %v, want ErrUnknown", name, err)
		}
	}
}

func TestOpenNothing(t *testing.T) {
	t.Parallel()

	for _, dir := range []string{t.TempDir(), "testdata/none"} {
		if _, err := awsmodel.Open(dir); err == nil {
			t.Errorf("%s is taken for a directory of models", dir)
		}
	}
}

func TestBrokenBodies(t *testing.T) {
	t.Parallel()

	for name, r := range map[string]struct {
		scope, path, body string
		header            map[string]string
	}{
		"JSON": {"alphas", "/", `{"name":`, map[string]string{"X-Amz-Target": "Alpha_1.MakeThing"}},
		"XML":  {"delta", "/box?rules", `<Rules><Rule>`, nil},
	} {
		request := sent("PUT", r.path, r.scope, r.body, r.header)

		req, err := toys(t).Find(request, nil)
		if err != nil {
			t.Fatal(err)
		}

		if _, err := req.Decode(request, []byte(r.body)); err == nil {
			t.Errorf("%s: a broken body is read", name)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()

	op, err := toys(t).Operation("alphathings", "MakeThing")
	if err != nil {
		t.Fatal(err)
	}

	for name, tt := range map[string]struct {
		reason string
		input  map[string]any
		want   []string
	}{
		"Good": {"everything fits", map[string]any{
			"name": "abcä", "size": int64(10), "color": "red", "tags": []any{"abc"}, "labels": map[string]any{"abc": int64(1)}, "on": true, "ratio": 0.5,
			"at": "2026-01-01T00:00:00Z", "data": "aGk=", "look": "x", "inner": map[string]any{"name": "xyz"},
		}, nil},
		"Missing":  {"a required member", map[string]any{}, []string{"MakeThing.name is required"}},
		"Unknown":  {"a member of no shape", map[string]any{"name": "abc", "nam": 1}, []string{"MakeThing.nam is not a member of MakeThingInput"}},
		"Short":    {"a minimum of characters", map[string]any{"name": "ab"}, []string{"MakeThing.name has 2 characters, at least 3 are needed"}},
		"Long":     {"characters are counted, not bytes", map[string]any{"name": "ääääääääa"}, []string{"MakeThing.name has 9 characters, at most 8 are allowed"}},
		"Pattern":  {"the whole text must match", map[string]any{"name": "abc1"}, []string{`MakeThing.name does not match [a-z\u00e4]+`}},
		"Enum":     {"one of the list", map[string]any{"name": "abc", "color": "green"}, []string{`MakeThing.color is "green", not one of red, blue`}},
		"Less":     {"a range", map[string]any{"name": "abc", "size": int64(0)}, []string{"MakeThing.size is 0, less than 1"}},
		"More":     {"a range", map[string]any{"name": "abc", "size": int64(11)}, []string{"MakeThing.size is 11, more than 10"}},
		"Items":    {"a maximum of items", map[string]any{"name": "abc", "tags": []any{"abc", "abc", "abc"}}, []string{"MakeThing.tags has 3 items, at most 2 are allowed"}},
		"Nested":   {"items and members are looked into", map[string]any{"name": "abc", "tags": []any{"a"}, "inner": map[string]any{}}, []string{"MakeThing.inner.name is required", "MakeThing.tags[0] has 1 characters, at least 3 are needed"}},
		"MapKey":   {"keys too", map[string]any{"name": "abc", "labels": map[string]any{"a": int64(1)}}, []string{"MakeThing.labels key has 1 characters, at least 3 are needed"}},
		"MapValue": {"and values", map[string]any{"name": "abc", "labels": map[string]any{"abc": int64(0)}}, []string{"MakeThing.labels.abc is 0, less than 1"}},
		"Types": {"values of another type", map[string]any{
			"name": 1, "size": "x", "tags": "x", "labels": []any{}, "on": "true", "ratio": "1", "inner": "x", "at": 1, "data": false,
		}, []string{
			"MakeThing.at is not a timestamp", "MakeThing.data is not a blob", "MakeThing.inner is not a structure", "MakeThing.labels is not a map",
			"MakeThing.name is not a string", "MakeThing.on is not a boolean", "MakeThing.ratio is not a double", "MakeThing.size is not a integer",
			"MakeThing.tags is not a list",
		}},
	} {
		var got []string
		for _, err := range awsmodel.Validate(op, tt.input) {
			got = append(got, err.Error())
		}

		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, tt.reason, diff)
		}
	}

	count, err := toys(t).Operation("alphathings", "CountThings")
	if err != nil {
		t.Fatal(err)
	}

	if errs := awsmodel.Validate(count, map[string]any{"x": 1}); len(errs) != 1 {
		t.Errorf("input of an operation that takes none: %v", errs)
	}
}

func TestWriteError(t *testing.T) {
	t.Parallel()

	for name, tt := range map[string]struct {
		reason, service, operation string
		header, body               string
	}{
		"JSON":  {"the type in the body and in a header", "alphathings", "MakeThing", "x-amzn-RequestId", `{"__type":"Odd","message":"a \u003c b"}`},
		"Query": {"ErrorResponse in the service's namespace", "beta", "Put", "x-amzn-RequestId", `<ErrorResponse xmlns="https://beta.example/"><Error><Type>Sender</Type><Code>Odd</Code><Message>a &lt; b</Message></Error><RequestId>`},
		"EC2":   {"Response", "gamma", "Put", "", `<Response><Errors><Error><Code>Odd</Code><Message>a &lt; b</Message></Error></Errors><RequestID>`},
		"REST":  {"a bare Error", "delta", "MakeBox", "x-amz-request-id", `<Error><Code>Odd</Code><Message>a &lt; b</Message><RequestId>`},
	} {
		op, err := toys(t).Operation(tt.service, tt.operation)
		if err != nil {
			t.Fatal(err)
		}

		w := httptest.NewRecorder()
		awsmodel.WriteError(w, op, 418, "Odd", "a < b")

		if w.Code != 418 || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%s: %s: answered %d %s", name, tt.reason, w.Code, w.Body)
		}

		if tt.header != "" && len(w.Header()[tt.header]) != 1 {
			t.Errorf("%s: no %s in %v", name, tt.header, w.Header())
		}
	}

	op, err := toys(t).Operation("alphathings", "MakeThing")
	if err != nil {
		t.Fatal(err)
	}

	for code, want := range map[string]int{"ThingTaken": 409, "Odd": 400} {
		w := httptest.NewRecorder()
		if awsmodel.WriteError(w, op, 0, code, ""); w.Code != want {
			t.Errorf("%s without a status is %d, want the model's %d", code, w.Code, want)
		}
	}
}

func TestCredentialOf(t *testing.T) {
	t.Parallel()

	r := sent("GET", "/", "alphas", "", nil)
	if got, ok := awsmodel.CredentialOf(r); !ok || got != (awsmodel.Credential{AccessKey: "AKIA", Region: "eu-west-1", Scope: "alphas"}) {
		t.Errorf("the credential is %+v", got)
	}

	for _, broken := range []string{"", "Bearer x", "AWS4-HMAC-SHA256 Credential=a/b/c", "AWS4-HMAC-SHA256 Credential="} {
		r.Header.Set("Authorization", broken)

		if got, ok := awsmodel.CredentialOf(r); ok {
			t.Errorf("%q gives %+v", broken, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("Action=Put&Version=2020-01-01&List.member.1=a", uint8(0))
	f.Add(`{"name":"abc","labels":{"a":null}}`, uint8(1))
	f.Add(`<Rules><Rule><Days>1</Days></Rule></Rules>`, uint8(2))

	catalog, err := awsmodel.Open("testdata/models")
	if err != nil {
		f.Fatal(err)
	}

	f.Fuzz(func(t *testing.T, body string, which uint8) {
		var r *http.Request

		switch which % 3 {
		case 0:
			r = sent("POST", "/?Action=Put", "beta", body, map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
		case 1:
			r = sent("POST", "/", "alphas", body, map[string]string{"X-Amz-Target": "Alpha_1.MakeThing"})
		default:
			r = sent("PUT", "/box?rules", "delta", body, nil)
		}

		req, err := catalog.Find(r, []byte(body))
		if err != nil {
			return // the body names another operation
		}

		input, err := req.Decode(r, []byte(body))
		if err == nil {
			_ = fmt.Sprint(awsmodel.Validate(req.Operation, input))
		}
	})
}
