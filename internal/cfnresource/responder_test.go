package cfnresource_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/cfnresource"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

const (
	bucket = "cloudformation-custom-resource-response-euwest1"
	good   = "https://" + bucket + ".s3.eu-west-1.amazonaws.com/"
	signed = "arn%3Aaws%3Acloudformation%3Aeu-west-1%3A123456789012%3Astack/ml/6f6b2f60%7CEnv%7C8a1c?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=7200&" + capability
)

func responder(t *testing.T, region, suffix string, origins ...string) *cfnresource.Responder {
	t.Helper()

	r, err := cfnresource.NewResponder(region, suffix, origins, hurried{})
	if err != nil {
		t.Fatal(err)
	}

	return r
}

// hurried is a clock on which nobody waits.
type hurried struct{ workflow.WallClock }

func (hurried) Sleep(context.Context, time.Duration) {}

// hostile is what somebody who sends requests himself may name, by the reason why nothing must be sent there.
func hostile() map[string][]string {
	host := func(names ...string) []string {
		var list []string
		for _, name := range names {
			list = append(list, "https://"+name+"/"+signed)
		}

		return list
	}

	return map[string][]string{
		"not a URL of a bucket's object": {
			"", " ", "/", "x", "https:", "https://", "https:///", "https://" + bucket, "https:" + bucket + ".s3.eu-west-1.amazonaws.com/x", "//" + bucket + ".s3.eu-west-1.amazonaws.com/x",
			bucket + ".s3.eu-west-1.amazonaws.com/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com", good, good + "?" + capability, "https://?x", "arn:aws:s3:::" + bucket + "/x", "s3://" + bucket + "/x",
		},
		"another scheme": {
			strings.Replace(good, "https", "http", 1) + signed, strings.Replace(good, "https", "HTTP", 1) + signed, strings.Replace(good, "https", "ftp", 1) + signed, strings.Replace(good, "https", "gopher", 1) + signed,
			strings.Replace(good, "https", "ws", 1) + signed, strings.Replace(good, "https", "wss", 1) + signed, strings.Replace(good, "https", "file", 1) + signed, strings.Replace(good, "https", "httpss", 1) + signed,
			"file:///etc/passwd", "data:text/plain,x", "javascript:alert(1)", "unix:///var/run/docker.sock", "jar:" + good + "!/x", "view-source:" + good + signed, "blob:" + good + signed,
			"dict://localhost:11211/stat", "ldap://localhost/x", "https+unix://%2Frun%2Fx/y",
		},
		"somebody before an @": {
			"https://user@" + bucket + ".s3.eu-west-1.amazonaws.com/x", "https://user:secret@" + bucket + ".s3.eu-west-1.amazonaws.com/x", "https://@" + bucket + ".s3.eu-west-1.amazonaws.com/x",
			"https://" + bucket + ".s3.eu-west-1.amazonaws.com@evil.com/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com:443@evil.com/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com@127.0.0.1/x",
			"https://" + bucket + ".s3.eu-west-1.amazonaws.com%40evil.com/x", "https://a@b@" + bucket + ".s3.eu-west-1.amazonaws.com/x", "https://evil.com%2f@" + bucket + ".s3.eu-west-1.amazonaws.com/x",
		},
		"a port, also the usual one: CloudFormation writes none": {
			"https://" + bucket + ".s3.eu-west-1.amazonaws.com:443/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com:80/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com:8443/x",
			"https://" + bucket + ".s3.eu-west-1.amazonaws.com:22/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com:0/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com:/x",
			"https://" + bucket + ".s3.eu-west-1.amazonaws.com:00443/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com:65536/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com:443:443/x",
		},
		"another bucket": host(
			"s3.eu-west-1.amazonaws.com", "evil.s3.eu-west-1.amazonaws.com", "cloudformation-custom-resource-response.s3.eu-west-1.amazonaws.com", "cloudformation-custom-resource-response-.s3.eu-west-1.amazonaws.com",
			"cloudformation-custom-resource-response-eu-west-1.s3.eu-west-1.amazonaws.com", "cloudformation-waitcondition-eu-west-1.s3.eu-west-1.amazonaws.com",
			"xcloudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com", "cloudformation-custom-resource-response-euwest1x.s3.eu-west-1.amazonaws.com",
			"cloudformation-custom-resource-response-euwest1-evil.s3.eu-west-1.amazonaws.com", "cloudformation-custom-resource-responses-euwest1.s3.eu-west-1.amazonaws.com",
			"evil."+bucket+".s3.eu-west-1.amazonaws.com", bucket+".evil.s3.eu-west-1.amazonaws.com", "cloudformation_custom_resource_response_euwest1.s3.eu-west-1.amazonaws.com",
			bucket+"..s3.eu-west-1.amazonaws.com", "."+bucket+".s3.eu-west-1.amazonaws.com", bucket+"-s3alias.s3.eu-west-1.amazonaws.com", bucket+"-123456789012.s3-accesspoint.eu-west-1.amazonaws.com",
		),
		"another Region's bucket": host(
			"cloudformation-custom-resource-response-useast1.s3.eu-west-1.amazonaws.com", "cloudformation-custom-resource-response-useast1.s3.amazonaws.com", "cloudformation-custom-resource-response-useast1.s3.us-east-1.amazonaws.com",
			"cloudformation-custom-resource-response-euwest2.s3.eu-west-1.amazonaws.com", "cloudformation-custom-resource-response-euwest2.s3.eu-west-2.amazonaws.com", "cloudformation-custom-resource-response-euwest11.s3.eu-west-1.amazonaws.com",
			"cloudformation-custom-resource-response-euwest.s3.eu-west-1.amazonaws.com", "cloudformation-custom-resource-response-uswest2.s3-us-west-2.amazonaws.com", "cloudformation-custom-resource-response-cnnorth1.s3.cn-north-1.amazonaws.com.cn",
			"cloudformation-custom-resource-response-usgovwest1.s3-us-gov-west-1.amazonaws.com", "cloudformation-custom-resource-response-EUWEST1.s3.eu-west-1.amazonaws.com",
		),
		"the bucket at another Region's S3": host(
			bucket+".s3.us-east-1.amazonaws.com", bucket+".s3-us-east-1.amazonaws.com", bucket+".s3.eu-west-2.amazonaws.com", bucket+".s3-eu-west-2.amazonaws.com", bucket+".s3.eu-west-11.amazonaws.com",
			bucket+".s3.euwest1.amazonaws.com", bucket+".s3.cn-north-1.amazonaws.com.cn", bucket+".s3-external-1.amazonaws.com", bucket+".s3-1.amazonaws.com",
		),
		"another service, or another form of S3 that CloudFormation does not use": host(
			bucket+".s3-website.eu-west-1.amazonaws.com", bucket+".s3-website-eu-west-1.amazonaws.com", bucket+".s3.dualstack.eu-west-1.amazonaws.com", bucket+".s3-fips.eu-west-1.amazonaws.com",
			bucket+".s3-accelerate.amazonaws.com", bucket+".s3-control.eu-west-1.amazonaws.com", bucket+".s3-object-lambda.eu-west-1.amazonaws.com", bucket+".s3express-euw1-az1.eu-west-1.amazonaws.com",
			bucket+".execute-api.eu-west-1.amazonaws.com", bucket+".lambda-url.eu-west-1.on.aws", bucket+".elb.eu-west-1.amazonaws.com", bucket+".eu-west-1.amazonaws.com", bucket+".amazonaws.com", bucket+".s3", bucket,
			bucket+".vpce-1.s3.eu-west-1.vpce.amazonaws.com", "s3.eu-west-1.amazonaws.com/"+bucket, "s3-eu-west-1.amazonaws.com/"+bucket, bucket+".cloudfront.net", bucket+".compute.amazonaws.com",
		),
		"a name that only looks like AWS's": host(
			bucket+".s3.eu-west-1.amazonaws.com.evil.com", bucket+".s3.eu-west-1.amazonaws.com.cn", bucket+".s3.eu-west-1.amazonaws.co", bucket+".s3.eu-west-1.amazonaws.org", bucket+".s3.eu-west-1.evilamazonaws.com",
			bucket+".s3.eu-west-1.amazonaws-com.evil.com", bucket+".s3.eu-west-1.amazonaws.com-evil.com", "evil.com/"+bucket+".s3.eu-west-1.amazonaws.com", "evil.com?"+bucket+".s3.eu-west-1.amazonaws.com",
			"evil.com#"+bucket+".s3.eu-west-1.amazonaws.com", bucket+".s3.eu-west-1.amazonaws.eu", bucket+".s3.eu-west-1.api.aws", bucket+".s3.eu-west-1.amazonaws.com.", bucket+".s3.eu-west-1.arnazonaws.com",
			bucket+".s3.eu-west-1.amaz\u043enaws.com", bucket+".s3.eu-west-1\u3002amazonaws.com", bucket+".s3.eu-west-1\uff0eamazonaws.com", "\u24d2loudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com",
			bucket+"\u00ad.s3.eu-west-1.amazonaws.com", bucket+".s3.eu-west-1.xn--amaznaws-6wb.com", strings.ToUpper(bucket)+".s3.eu-west-1.amazonaws.com", bucket+".S3.eu-west-1.amazonaws.com", bucket+".s3.eu-west-1.AMAZONAWS.com",
		),
		"written so that two readers see two hosts": {
			"https://" + bucket + ".s3.eu-west-1.amazonaws.com\\@evil.com/x", "https://evil.com\\." + bucket + ".s3.eu-west-1.amazonaws.com/x", "https:\\\\" + bucket + ".s3.eu-west-1.amazonaws.com/x",
			"https://" + bucket + ".s3.eu-west-1.amazonaws.com\t/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com\n/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com\r\nHost: evil.com/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com /x",
			" " + good + signed, good + signed + " ", good + signed + "\n", good + "x\x00", good + "x\x7f", "https://evil.com\x00." + bucket + ".s3.eu-west-1.amazonaws.com/x", "https://evil.com%00." + bucket + ".s3.eu-west-1.amazonaws.com/x",
			"https://evil.com%2f." + bucket + ".s3.eu-west-1.amazonaws.com/x", "https://evil.com%23." + bucket + ".s3.eu-west-1.amazonaws.com/x", "https://evil.com%3f." + bucket + ".s3.eu-west-1.amazonaws.com/x",
			"https://%63loudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com/x", "https://" + bucket + ".s3%2Eeu-west-1.amazonaws.com/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com;evil.com/x",
			"https://" + bucket + ".s3.eu-west-1.amazonaws.com,evil.com/x", "https://{" + bucket + "}.s3.eu-west-1.amazonaws.com/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com&evil.com/x", good + "%zz", good + "\u202e",
		},
		"a fragment": {good + signed + "#", good + signed + "#@evil.com", "https://evil.com/#" + good, "https://evil.com#" + bucket + ".s3.eu-west-1.amazonaws.com/x"},
		"an address, in whatever notation": {
			"https://127.0.0.1/x", "https://127.1/x", "https://2130706433/x", "https://0x7f000001/x", "https://0177.0.0.1/x", "https://0/x", "https://10.0.0.1/x", "https://192.168.0.1/x", "https://172.16.0.1/x", "https://100.64.0.1/x",
			"https://169.254.169.254/latest/meta-data/iam/security-credentials/", "https://169.254.170.2/v2/credentials", "https://2852039166/latest/", "https://0xa9fea9fe/latest/", "https://0251.0376.0251.0376/latest/",
			"https://[::1]/x", "https://[::]/x", "https://[::ffff:127.0.0.1]/x", "https://[::ffff:169.254.169.254]/x", "https://[fd00:ec2::254]/latest/", "https://[64:ff9b::a9fe:a9fe]/x", "https://[2002:7f00:1::]/x", "https://[fe80::1%25eth0]/x",
			"https://8.8.8.8/x", "https://[2606:4700::1111]/x", "https://\uff11\uff12\uff17.0.0.1/x", "https://127\u30020\u30020\u30021/x",
		},
		"a name of this computer, of a private network or of a metadata service": {
			"https://localhost/x", "https://localhost:9001/2018-06-01/runtime/invocation/next", "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next", "http://169.254.169.254/latest/api/token", "http://169.254.100.1:9001/x", "https://metadata.google.internal/x",
			"https://instance-data.ec2.internal/x", "https://" + bucket + ".s3.eu-west-1.amazonaws.com.internal/x", "https://" + bucket + ".localhost/x", "https://kubernetes.default.svc.cluster.local/x", "https://127.0.0.1.nip.io/x", "https://localtest.me/x",
			"https://169-254-169-254.sslip.io/x", "https://rebind.network/x", "https://7f000001.c0a80001.rbndr.us/x",
		},
		"too long": {good + strings.Repeat("a", 9<<10)},
	}
}

func TestHostileResponseURLs(t *testing.T) {
	t.Parallel()

	r := responder(t, "eu-west-1", "amazonaws.com")
	rows, seen := 0, map[string]bool{}

	for reason, urls := range hostile() {
		for _, raw := range urls {
			rows++

			if seen[raw] {
				t.Errorf("%q stands there twice", raw)
			}

			seen[raw] = true

			err := r.Check(raw)
			if err == nil {
				t.Errorf("%q is let through: %s", raw, reason)

				continue
			}

			if len(raw) > 20 && strings.Contains(err.Error(), raw) || strings.Contains(err.Error(), "c0ffee") {
				t.Errorf("the refusal quotes the URL: %v", err)
			}

			// Whoever got one into the table in some other way gets no further.
			if err := r.Send(t.Context(), raw, []byte("{}")); !errors.Is(err, cfnresource.ErrRefused) || strings.Contains(err.Error(), "c0ffee") {
				t.Errorf("%q: %v: %s", raw, err, reason)
			}
		}
	}

	if rows < 150 {
		t.Errorf("there are %d hostile URLs", rows)
	}

	t.Logf("%d URLs refused", rows)
}

func TestResponseURLs(t *testing.T) {
	t.Parallel()

	for region, c := range map[string]struct {
		suffix string
		urls   []string
	}{
		"eu-west-1": {"amazonaws.com", []string{
			good + signed, "https://" + bucket + ".s3-eu-west-1.amazonaws.com/" + signed, "https://" + bucket + ".s3.amazonaws.com/" + signed,
			good + signed + "&X-Amz-Security-Token=" + strings.Repeat("IQoJb3JpZ2luX2Vj%2F%2B", 150),
		}},
		"us-gov-west-1": {"amazonaws.com", []string{"https://cloudformation-custom-resource-response-usgovwest1.s3-us-gov-west-1.amazonaws.com/" + signed}},
		"cn-north-1":    {"amazonaws.com.cn", []string{"https://cloudformation-custom-resource-response-cnnorth1.s3.cn-north-1.amazonaws.com.cn/" + signed}},
	} {
		r := responder(t, region, c.suffix)
		for _, raw := range c.urls {
			if err := r.Check(raw); err != nil {
				t.Errorf("%s is refused in %s: %v", raw, region, err)
			}
		}
	}

	if err := responder(t, "cn-north-1", "amazonaws.com.cn").Check("https://cloudformation-custom-resource-response-cnnorth1.s3.amazonaws.com/x"); err == nil {
		t.Error("China has no part in the endpoint that all Regions of the first partition share")
	}

	r := responder(t, "eu-west-1", "amazonaws.com", "http://127.0.0.1:4566")
	for raw, fits := range map[string]bool{
		good + signed: true, "http://127.0.0.1:4566/response/1": true,
		"http://127.0.0.1:4567/response/1": false, "https://127.0.0.1:4566/response/1": false, "http://localhost:4566/response/1": false, "https://evil.com/": false,
	} {
		if err := r.Check(raw); (err == nil) != fits {
			t.Errorf("%s, with one origin listed: %v", raw, err)
		}
	}

	if _, err := cfnresource.NewResponder("eu-west-1", "amazonaws.com", []string{"not an origin"}, hurried{}); err == nil {
		t.Error("an origin that is none is taken")
	}
}

func TestSend(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason   string
		statuses []int
		tries    int64
		fails    bool
		refused  bool
	}{
		"taken":          {"it arrives", []int{200}, 1, false, false},
		"stumbles":       {"S3 stumbles twice", []int{503, 500, 200}, 3, false, false},
		"slow down":      {"S3 asks for patience", []int{429, 408, 200}, 3, false, false},
		"down":           {"it stays down", []int{503, 503, 503, 200}, 3, true, false},
		"over":           {"the signature is over", []int{403}, 1, true, true},
		"bad":            {"S3 does not understand it", []int{400}, 1, true, true},
		"no bucket":      {"the bucket is not there", []int{404}, 1, true, true},
		"elsewhere":      {"a redirect leads where nobody checked", []int{307}, 1, true, true},
		"elsewhere, 301": {"likewise", []int{301}, 1, true, true},
		"silent":         {"nothing in it", []int{204}, 1, false, false},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var asked, strayed atomic.Int64

			elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
			defer elsewhere.Close()

			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := asked.Add(1)

				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != `{"Status":"SUCCESS"}` || r.Method != http.MethodPut || r.RequestURI != "/"+signed || r.ContentLength != int64(len(body)) {
					t.Errorf("%s %s with %q: %v", r.Method, r.RequestURI, body, err)
				}

				if _, there := r.Header["Content-Type"]; there || slices.Contains(r.TransferEncoding, "chunked") {
					t.Errorf("the signature does not cover %v %v", r.Header, r.TransferEncoding)
				}

				w.Header().Set("Location", elsewhere.URL)
				w.WriteHeader(c.statuses[min(n, int64(len(c.statuses)))-1])
			}))
			defer server.Close()

			err := responder(t, "eu-west-1", "amazonaws.com", server.URL).Send(t.Context(), server.URL+"/"+signed, []byte(`{"Status":"SUCCESS"}`))
			if (err != nil) != c.fails || errors.Is(err, cfnresource.ErrRefused) != c.refused || asked.Load() != c.tries || strayed.Load() > 0 {
				t.Errorf("%s: %v after %d tries, strayed %d times", c.reason, err, asked.Load(), strayed.Load())
			}

			if err != nil && strings.Contains(err.Error(), "c0ffee") {
				t.Errorf("the error quotes the URL: %v", err)
			}
		})
	}

	// Nobody listens.
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()

	err := responder(t, "eu-west-1", "amazonaws.com", server.URL).Send(t.Context(), server.URL+"/"+signed, nil)
	if err == nil || errors.Is(err, cfnresource.ErrRefused) || strings.Contains(err.Error(), "c0ffee") {
		t.Errorf("where nobody listens: %v", err)
	}
}
