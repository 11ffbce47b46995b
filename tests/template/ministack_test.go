package template_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestTheTemplateDeploys deploys the whole template on MiniStack, whose CloudFormation expands it with SAM's own translator, and asks the API that comes
// out of it. It is a check of the template and no more: MiniStack does not run the workflow as AWS does.
func TestTheTemplateDeploys(t *testing.T) {
	t.Parallel()

	venv := os.Getenv("METAFLOW_DEPLOYER_MINISTACK")
	if venv == "" {
		t.Skip("METAFLOW_DEPLOYER_MINISTACK names no virtual environment with MiniStack: see `make ministack`")
	}

	m := startMiniStack(t, venv, "eu-central-1", "test")
	address := m.packaged(t)

	m.cloudFormation(t, "CreateStack", url.Values{
		"StackName": {"app"}, "TemplateURL": {address}, "Capabilities.member.1": {"CAPABILITY_IAM"}, "Capabilities.member.2": {"CAPABILITY_AUTO_EXPAND"},
	}, nil)

	var described struct {
		Stacks []struct {
			StackStatus       string
			StackStatusReason string
			Outputs           []struct{ OutputKey, OutputValue string } `xml:"Outputs>member"`
		} `xml:"DescribeStacksResult>Stacks>member"`
	}

	for deadline := time.Now().Add(3 * time.Minute); ; {
		described.Stacks = nil
		m.cloudFormation(t, "DescribeStacks", url.Values{"StackName": {"app"}}, &described)

		if len(described.Stacks) != 1 {
			t.Fatalf("the stack is not there: %v", described)
		}

		if s := described.Stacks[0].StackStatus; s == "CREATE_COMPLETE" {
			break
		} else if s != "CREATE_IN_PROGRESS" || time.Now().After(deadline) {
			t.Fatalf("the stack is %s: %s\n%s", s, described.Stacks[0].StackStatusReason, m.events(t, "app"))
		}

		pause(t)
	}

	outputs := map[string]string{}
	for _, o := range described.Stacks[0].Outputs {
		outputs[o.OutputKey] = o.OutputValue
	}

	for _, name := range []string{"Url", "Table", "StateMachine"} {
		if outputs[name] == "" {
			t.Errorf("the stack has no output %s: %v", name, outputs)
		}
	}

	endpoint, err := url.Parse(outputs["Url"])
	if err != nil {
		t.Fatal(err)
	}

	id, _, _ := strings.Cut(endpoint.Hostname(), ".")

	cases := map[string]struct {
		reason, path string
		want         int
	}{
		"health":        {"the route, its integration, the function and its environment work", "/healthz", http.StatusOK},
		"document":      {"the document is served from the function", "/openapi.json", http.StatusOK},
		"without token": {"the JWT authorizer stands before the API", "/v1/deployments", http.StatusUnauthorized},
	}

	for name, c := range cases {
		status, body := m.api(t, id, c.path)
		if status != c.want {
			t.Errorf("%s: %s: GET %s answers %d, want %d: %.300s", name, c.reason, c.path, status, c.want, body)
		}
	}
}

type miniStack struct {
	port, region, key string
	log               *bytes.Buffer
}

func (m *miniStack) url() string { return "http://127.0.0.1:" + m.port }

// startMiniStack runs MiniStack for one Region. An access key that is an account's number works in that account.
func startMiniStack(t *testing.T, venv, region, key string) *miniStack {
	t.Helper()

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close() // MiniStack takes the port over; it cannot choose one by itself

	m := &miniStack{port: port, region: region, key: key, log: &bytes.Buffer{}}

	cmd := exec.Command(filepath.Join(venv, "bin", "ministack")) // it is ended below, with its children
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = m.log, m.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "BIND_HOST=127.0.0.1", "GATEWAY_PORT="+port, "AWS_ENDPOINT_URL="+m.url(), "SFTP_ENABLED=0", "IOT_MTLS_ENABLED=0",
		"AWS_ACCESS_KEY_ID="+key, "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION="+region, "AWS_DEFAULT_REGION="+region, "MINISTACK_REGION="+region)

	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()

		if t.Failed() {
			log := m.log.String()
			t.Logf("MiniStack said at last:\n%s", log[max(0, len(log)-4000):])
		}
	})

	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		resp, err := m.get(t.Context(), m.url()+"/_ministack/health", "")
		if err == nil {
			_ = resp.Body.Close()

			return m
		}

		pause(t)
	}

	t.Fatal("MiniStack does not answer")

	return nil
}

// pause is between two looks at another process.
func pause(t *testing.T) {
	t.Helper()

	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-time.After(200 * time.Millisecond):
	}
}

func (m *miniStack) get(ctx context.Context, address, host string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}

	req.Host = host

	return http.DefaultClient.Do(req)
}

// artifacts makes the bucket of that name and answers what puts something there.
func (m *miniStack) artifacts(t *testing.T) func(key string, data []byte) {
	t.Helper()

	client := s3.New(s3.Options{
		Region: m.region, BaseEndpoint: aws.String(m.url()), UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(m.key, "test", ""),
	})

	in := &s3.CreateBucketInput{Bucket: aws.String("artifacts")}
	if m.region != "us-east-1" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(m.region)}
	}

	if _, err := client.CreateBucket(t.Context(), in); err != nil {
		t.Fatal(err)
	}

	return func(key string, data []byte) {
		t.Helper()

		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("artifacts"), Key: &key, Body: bytes.NewReader(data)}); err != nil {
			t.Fatal(err)
		}
	}
}

// packaged does what `sam package` does: functions and the definition go to a bucket, and the template names them there. It goes there itself, because
// CloudFormation takes 51,200 bytes and no more in a call, and is known by its address. The functions are built for this computer.
func (m *miniStack) packaged(t *testing.T) string {
	t.Helper()

	put := m.artifacts(t)

	_, s := stack(t)
	text := string(read(t, "template.yaml"))

	for _, f := range s.Functions {
		put(f.Name+".zip", built(t, "functions/"+f.Name))

		from := "CodeUri: build/" + f.Name + "/"
		if !strings.Contains(text, from) {
			t.Fatalf("the template has no %q", from)
		}

		text = strings.Replace(text, from, "CodeUri: s3://artifacts/"+f.Name+".zip", 1)
	}

	put("deployment.asl.json", read(t, definition))

	put("template.yaml", []byte(strings.Replace(text, "DefinitionUri: "+definition, "DefinitionUri: s3://artifacts/deployment.asl.json", 1)))

	return m.url() + "/artifacts/template.yaml"
}

// built is a folder's program as Lambda takes it.
func built(t *testing.T, folder string) []byte {
	t.Helper()

	file := filepath.Join(t.TempDir(), "bootstrap")

	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", file, "./"+folder)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")

	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", folder, err, out)
	}

	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	var b bytes.Buffer

	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	h.SetMode(0o755)

	w, err := z.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}

	if err := z.Close(); err != nil {
		t.Fatal(err)
	}

	return b.Bytes()
}

// cloudFormation makes one call of the Query protocol.
func (m *miniStack) cloudFormation(t *testing.T, action string, form url.Values, into any) {
	t.Helper()

	form.Set("Action", action)
	form.Set("Version", "2010-05-15")
	body := form.Encode()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.url()+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}

	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: m.key, SecretAccessKey: "test"}, req, hex.EncodeToString(sum[:]),
		"cloudformation", m.region, time.Now()); err != nil {
		t.Fatal(err)
	}

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}

	defer func() { _ = resp.Body.Close() }()

	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v\n%s", action, resp.StatusCode, err, data)
	}

	if into != nil {
		if err := xml.Unmarshal(data, into); err != nil {
			t.Fatalf("%s: %v\n%s", action, err, data)
		}
	}
}

// events says which resources failed, and why.
func (m *miniStack) events(t *testing.T, stack string) string {
	t.Helper()

	var out struct {
		Events []struct{ LogicalResourceId, ResourceStatus, ResourceStatusReason string } `xml:"DescribeStackEventsResult>StackEvents>member"` //nolint:revive,staticcheck // CloudFormation's spelling
	}

	m.cloudFormation(t, "DescribeStackEvents", url.Values{"StackName": {stack}}, &out)

	var b strings.Builder

	for _, e := range out.Events {
		if strings.Contains(e.ResourceStatus, "FAILED") {
			fmt.Fprintln(&b, e.LogicalResourceId, e.ResourceStatus, e.ResourceStatusReason)
		}
	}

	return b.String()
}

// api asks the API as a caller does: by its host name.
func (m *miniStack) api(t *testing.T, id, route string) (int, string) {
	t.Helper()

	resp, err := m.get(t.Context(), m.url()+route, id+".execute-api.localhost:"+m.port)
	if err != nil {
		t.Fatal(err)
	}

	defer func() { _ = resp.Body.Close() }()

	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}

	return resp.StatusCode, string(body)
}
