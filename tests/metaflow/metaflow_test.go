package metaflow_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/lambdapool"
	"github.com/metaflow-deployer/metaflow-deployer/tests/metaflow"
	"github.com/metaflow-deployer/metaflow-deployer/tests/needs"
)

// tenant is whose environments these are. Its token has the role deployer only, so that tags count for what exists.
const tenant = "science"

// parallel is how many worlds live side by side. They mostly wait.
const parallel = "8"

func TestMain(m *testing.M) {
	flag.Parse()

	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })

	if !given {
		_ = flag.Set("test.parallel", parallel) // the flag is there: testing declares it
	}

	os.Exit(m.Run())
}

// product is a running copy of the product in an account, with a runner of jobs.
type product struct {
	stack   *local.Stack
	account string
	url     string // of the API
	runner  *metaflow.Runner
	venv    string
	token   string
}

// start runs the product in the first account of an AWS that is as unkind as it can be here.
func start(t *testing.T) *product {
	t.Helper()

	venv, built := os.Getenv("METAFLOW_DEPLOYER_VENV"), os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	if venv == "" || built == "" {
		t.Skip("METAFLOW_DEPLOYER_VENV names no Python environment with Metaflow, or METAFLOW_DEPLOYER_LOCAL no built functions")
	}

	// What is below must end before its folders are removed, which is cleaned up last.
	jobs, state := t.TempDir(), t.TempDir()
	p := &product{venv: venv, runner: metaflow.NewRunner(venv, jobs)}

	stack, err := local.Start(t.Context(), local.Options{
		Root: "../..", Functions: filepath.Join(built, "functions"), Venv: venv, State: state, Intercept: p.runner.Intercept, Strict: true, WaitFactor: 0.01,
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		p.runner.Close()

		if err := stack.Close(); err != nil {
			t.Error(err)
		}
	})

	p.stack, p.account, p.url = stack, local.Account, stack.URL
	if p.token, err = stack.Token(tenant, "deployer"); err != nil {
		t.Fatal(err)
	}

	return p
}

// call is a request to the API that must be answered with the status. It is sent again, as its answer asks for, when the API could not do its work for a moment;
// and where what an owner made a moment ago is not visible to everybody yet.
func (p *product) call(t *testing.T, method, target string, body any, want int) []byte {
	t.Helper()

	for tries := 1; ; tries++ {
		status, out := p.ask(t, method, target, body)
		if status == want {
			return out
		}

		again := bytes.Contains(out, []byte(`"retryable":true`)) || bytes.Contains(out, []byte(`"existing_not_found"`))
		if tries == 5 || !again {
			t.Fatalf("%s %s: %d, want %d\n%s", method, target, status, want, out)
		}

		time.Sleep(time.Second)
	}
}

// ask is a request to the API and its answer.
func (p *product) ask(t *testing.T, method, target string, body any) (status int, answer []byte) {
	t.Helper()

	var text []byte

	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}

	req, err := http.NewRequestWithContext(t.Context(), method, p.url+target, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}

	req.Header.Set("Authorization", "Bearer "+p.token)

	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", fmt.Sprintf("%x", sha256.Sum256(text))) // what is sent again is the same request
	}

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()

	out, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}

	return res.StatusCode, out
}

// operation is what the API says of one.
type operation struct {
	ID, State string
	Done      bool
	Version   int64
	Error     *struct{ Code, Class, AWSCode, Resource, Remedy string }
	Steps     []struct{ Resource, State, WaitingFor string }
}

// finish waits for the operation that an answer announced, which must succeed.
func (p *product) finish(t *testing.T, answer []byte) { t.Helper(); p.end(t, answer, "SUCCEEDED") }

// end waits for the operation that an answer announced, and its state.
func (p *product) end(t *testing.T, answer []byte, state string) operation {
	t.Helper()

	for {
		var op operation
		if err := json.Unmarshal(answer, &op); err != nil {
			t.Fatalf("%v\n%s", err, answer)
		}

		if op.Done {
			if op.State != state {
				t.Fatalf("the operation ended %s, want %s\n%s", op.State, state, answer)
			}

			return op
		}

		answer = p.call(t, http.MethodGet, fmt.Sprintf("/v1/operations/%s?wait=25s&after=%d", op.ID, op.Version), nil, 200)
	}
}

// create makes an environment and waits until it is ACTIVE.
func (p *product) create(t *testing.T, name string, spec any) {
	t.Helper()
	p.finish(t, p.call(t, http.MethodPost, "/v1/deployments", map[string]any{"name": name, "spec": spec}, 202))

	var d struct{ Phase string }
	if err := json.Unmarshal(p.call(t, http.MethodGet, "/v1/deployments/"+name, nil, 200), &d); err != nil || d.Phase != "ACTIVE" {
		t.Fatalf("the phase is %q, %v", d.Phase, err)
	}
}

// configuration is the config.json of an environment, as it came and decoded.
func (p *product) configuration(t *testing.T, name string) ([]byte, map[string]string) {
	t.Helper()

	text := p.call(t, http.MethodGet, "/v1/deployments/"+name+"/configuration", nil, 200)

	var config map[string]string
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}

	return text, config
}

// aws is the configuration of the person at this computer.
func (p *product) aws() aws.Config { return p.stack.AWS(p.account) }

func (p *product) s3() *s3.Client {
	return s3.NewFromConfig(p.aws(), func(o *s3.Options) { o.UsePathStyle = true })
}

// keys lists a bucket.
func (p *product) keys(t *testing.T, bucket string) []string {
	t.Helper()

	var keys []string

	pages := s3.NewListObjectsV2Paginator(p.s3(), &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
	}

	return keys
}

// scientist is somebody with Metaflow, a key of their own, and nothing else: no home, no profile, no Region.
type scientist struct {
	p    *product
	dir  string
	key  string
	env  []string
	file string // a script to source first, or empty
}

// scientist n uses an own access key, so that the journal tells what they called.
func (p *product) scientist(t *testing.T, n int) *scientist {
	t.Helper()

	s := &scientist{p: p, dir: t.TempDir(), key: fmt.Sprintf("LOCAL-%s-user-%d", local.Account, n)}
	s.env = append(metaflow.LoopbackOnly(),
		"PATH="+filepath.Join(p.venv, "bin")+":"+os.Getenv("PATH"), "HOME="+s.dir, "TMPDIR="+s.dir, "USER=scientist", "PYTHONDONTWRITEBYTECODE=1",
		"METAFLOW_HOME="+filepath.Join(s.dir, "metaflow"),
		"AWS_ENDPOINT_URL="+p.stack.Endpoint, "AWS_ACCESS_KEY_ID="+s.key, "AWS_SECRET_ACCESS_KEY=local")

	if err := os.Mkdir(filepath.Join(s.dir, "metaflow"), 0o750); err != nil {
		t.Fatal(err)
	}

	return s
}

func (s *scientist) write(t *testing.T, name string, text []byte) {
	t.Helper()

	if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// python runs a script of flows/ and gives what it wrote to its standard output.
func (s *scientist) python(t *testing.T, script string, args ...string) []byte {
	t.Helper()

	flows, err := filepath.Abs("flows")
	if err != nil {
		t.Fatal(err)
	}

	needs.Files(t, filepath.Join(flows, script), filepath.Join(s.p.venv, ".test"))

	line := `exec python "$@"`
	if s.file != "" {
		line = `. "./` + s.file + `" && ` + line
	}

	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", line, "bash", filepath.Join(flows, script)}, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = lambdapool.Leash()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

	var stdout, stderr bytes.Buffer

	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s\n%s\n%s", script, args, err, stdout.Bytes(), stderr.Bytes(), s.p.logs())
	}

	return stdout.Bytes()
}

// logs are the ends of what the failed jobs wrote.
func (p *product) logs() string {
	var all strings.Builder

	for _, j := range p.runner.Jobs() {
		if j.Status != batchtypes.JobStatusFailed {
			continue
		}

		fmt.Fprintf(&all, "--- %s: %s\n", j.Name, j.Reason)

		for _, name := range j.Logs {
			text, _ := os.ReadFile(name) // its absence shows
			all.Write(text[max(0, len(text)-4000):])
		}
	}

	return all.String()
}

// result is what flows/result.py prints.
type result struct {
	Successful         bool
	Attempt            int
	URLs, Texts        map[string]string
	Absent             bool
	Log                string
	Steps              []string
	Queues             []string
	Environments, Jobs []string
	Code               bool
}

// run runs the flow on Batch and holds the result against what the environment promises. It gives the run's jobs.
func (s *scientist) run(t *testing.T, config map[string]string) []metaflow.Job {
	t.Helper()

	s.python(t, "everything.py", "--no-pylint", "run", "--with", "batch", "--run-id-file", "run-id")

	id, err := os.ReadFile(filepath.Join(s.dir, "run-id"))
	if err != nil {
		t.Fatal(err)
	}

	run := "EverythingFlow/" + strings.TrimSpace(string(id))
	inRun := "-" + strings.ReplaceAll(run, "/", "-") + "-"
	jobs := slices.DeleteFunc(s.p.runner.Jobs(), func(j metaflow.Job) bool { return !strings.Contains(j.Name, inRun) })

	if len(jobs) == 0 {
		t.Fatalf("run %s submitted no job", run)
	}

	var got result
	if text := s.python(t, "result.py", run); json.Unmarshal(text, &got) != nil {
		t.Fatalf("no result: %s", text)
	}

	if !strings.Contains(got.Log, "started on attempt 1") {
		t.Errorf("the log of the first step that was kept in the bucket is %q", got.Log)
	}

	tools := config["METAFLOW_DATATOOLS_S3ROOT"] + "/" + run + "/"
	want := result{
		Successful: true, Attempt: 1,
		URLs:  map[string]string{"alpha": tools + "alpha", "beta": tools + "beta"},
		Texts: map[string]string{"alpha": "alphaalphaalpha", "beta": "betabetabeta"},
		Steps: []string{"end", "gather", "start", "write", "write"}, Code: true,
		Log: got.Log, Queues: []string{path.Base(config["METAFLOW_BATCH_JOB_QUEUE"])}, Environments: []string{jobs[0].Environment},
	}

	// The Client API shows the metadata of a task's last attempt.
	for _, j := range jobs {
		if j.Status == batchtypes.JobStatusSucceeded {
			want.Jobs = append(want.Jobs, j.ID)
		}
	}

	slices.Sort(want.Jobs)

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the run (-want +got):\n%s", diff)
	}

	// One step broke once, and @retry submitted it again.
	states := map[batchtypes.JobStatus]int{}

	for _, j := range jobs {
		states[j.Status]++

		if j.QueueARN != config["METAFLOW_BATCH_JOB_QUEUE"] || j.Role != config["METAFLOW_ECS_S3_ACCESS_IAM_ROLE"] {
			t.Errorf("job %s: queue %s, role %s; configured are %s and %s", j.Name, j.QueueARN, j.Role,
				config["METAFLOW_BATCH_JOB_QUEUE"], config["METAFLOW_ECS_S3_ACCESS_IAM_ROLE"])
		}

		// The configuration names no image: Metaflow takes that of the client's own Python.
		if !strings.HasPrefix(j.Image, "python:3.") {
			t.Errorf("job %s: image %q", j.Name, j.Image)
		}
	}

	if diff := cmp.Diff(map[batchtypes.JobStatus]int{batchtypes.JobStatusFailed: 1, batchtypes.JobStatusSucceeded: 5}, states); diff != "" {
		t.Errorf("the jobs (-want +got):\n%s", diff)
	}

	return jobs
}

// underPrefixes holds the bucket's objects against the two prefixes of the configuration.
func underPrefixes(t *testing.T, config map[string]string, bucket string, keys []string) {
	t.Helper()

	flows := strings.TrimPrefix(config["METAFLOW_DATASTORE_SYSROOT_S3"], "s3://"+bucket+"/") + "/"
	tools := strings.TrimPrefix(config["METAFLOW_DATATOOLS_S3ROOT"], "s3://"+bucket+"/") + "/"
	count := map[string]int{}

	for _, key := range keys {
		switch {
		case strings.HasPrefix(key, flows+"EverythingFlow/"):
			count["flows"]++
		case strings.HasPrefix(key, tools+"EverythingFlow/"):
			count["tools"]++
		default:
			t.Errorf("the object %s is under neither %s nor %s", key, flows, tools)
		}
	}

	if count["tools"] != 2 || count["flows"] < 10 {
		t.Errorf("the run left %d objects under %s and %d under %s", count["flows"], flows, count["tools"], tools)
	}
}

// TestFlow runs flows on two environments of an account whose AWS is as unkind as it can be here. Beside them, in accounts of their own, stand the situations
// that make AWS unkind in ways that no healthy life meets. In the end every strict rule has taken effect.
func TestFlow(t *testing.T) {
	p := start(t)

	t.Run("Lives", func(t *testing.T) {
		t.Run("MadeEnvironment", madeEnvironment(p))
		t.Run("ExistingResources", existingResources(p))

		for i, s := range situations() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()

				p := p.beside(t, i+1)
				t.Cleanup(func() { p.explain(t) })
				s.live(t, p)
			})
		}
	})
	t.Run("StrictRules", strictRules(p))
}

// explain shows what was asked of AWS in the account of a test that failed, without the looks into the table.
func (p *product) explain(t *testing.T) {
	t.Helper()

	for _, c := range p.stack.Proxy().Calls() {
		if t.Failed() && c.Account == p.account && c.Service != "dynamodb" {
			t.Logf("%s %s %s %s %s %d %s %s", c.Time.Format("15:04:05.000"), c.Function, c.Service, c.Action, c.Target, c.Status, c.Code, c.Rule)
		}
	}
}

// madeEnvironment: everything is made by the product, and Metaflow is configured by config.json.
func madeEnvironment(p *product) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel() // Metaflow spends half of its time waiting

		p.create(t, "made", map[string]any{})
		text, config := p.configuration(t, "made")

		s := p.scientist(t, 1)
		s.write(t, "metaflow/config.json", text)
		s.env = append(s.env, "AWS_DEFAULT_REGION="+local.Region) // Metaflow has no key for it

		jobs := s.run(t, config)
		bucket, _, _ := strings.Cut(strings.TrimPrefix(config["METAFLOW_DATASTORE_SYSROOT_S3"], "s3://"), "/")
		underPrefixes(t, config, bucket, p.keys(t, bucket))
		p.judgeUser(t, s)
		p.judgeJobs(t, jobs)

		t.Run("BatchRetriesAndTerminates", plainJobs(p, config))

		p.finish(t, p.call(t, http.MethodDelete, "/v1/deployments/made?data=purge", nil, 202))

		_, err := p.s3().HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: &bucket})
		if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "NotFound" {
			t.Errorf("after the purge, the bucket answers %v", err)
		}
	}
}

// plainJobs shows that the queue and the role take jobs that are not Metaflow's, and that the runner keeps Batch's rules.
func plainJobs(p *product, config map[string]string) func(*testing.T) {
	return func(t *testing.T) {
		api := batch.NewFromConfig(p.aws())
		queue, role := config["METAFLOW_BATCH_JOB_QUEUE"], config["METAFLOW_ECS_S3_ACCESS_IAM_ROLE"]

		definition, err := api.RegisterJobDefinition(t.Context(), &batch.RegisterJobDefinitionInput{
			JobDefinitionName: aws.String("plain"), Type: batchtypes.JobDefinitionTypeContainer,
			ContainerProperties: &batchtypes.ContainerProperties{
				Image: aws.String("none"), JobRoleArn: &role, Command: []string{"false"},
				ResourceRequirements: []batchtypes.ResourceRequirement{
					{Type: batchtypes.ResourceTypeVcpu, Value: aws.String("1")}, {Type: batchtypes.ResourceTypeMemory, Value: aws.String("128")},
				},
			},
		})
		if err != nil {
			t.Fatal(err)
		}

		submit := func(name string, attempts int32, command ...string) string {
			t.Helper()

			in := &batch.SubmitJobInput{JobName: &name, JobQueue: &queue, JobDefinition: definition.JobDefinitionArn, RetryStrategy: &batchtypes.RetryStrategy{Attempts: &attempts}}
			if len(command) > 0 {
				in.ContainerOverrides = &batchtypes.ContainerOverrides{Command: command}
			}

			out, err := api.SubmitJob(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}

			return aws.ToString(out.JobId)
		}

		reached := func(id string, states ...batchtypes.JobStatus) batchtypes.JobDetail {
			t.Helper()

			for {
				out, err := api.DescribeJobs(t.Context(), &batch.DescribeJobsInput{Jobs: []string{id}})
				if err != nil {
					t.Fatal(err)
				}

				if slices.Contains(states, out.Jobs[0].Status) {
					return out.Jobs[0]
				}

				time.Sleep(20 * time.Millisecond) // bounded by the test's own deadline
			}
		}

		ended := []batchtypes.JobStatus{batchtypes.JobStatusSucceeded, batchtypes.JobStatusFailed}

		if got := reached(submit("second", 2, "bash", "-c", `test "$AWS_BATCH_JOB_ATTEMPT" = 2`), ended...); got.Status != batchtypes.JobStatusSucceeded || len(got.Attempts) != 2 {
			t.Errorf("what succeeds at its second attempt: %s after %d attempts", got.Status, len(got.Attempts))
		}

		if got := reached(submit("never", 1), ended...); got.Status != batchtypes.JobStatusFailed || aws.ToInt32(got.Container.ExitCode) != 1 || len(got.Attempts) != 1 {
			t.Errorf("what fails: %s, exit code %v, %d attempts", got.Status, got.Container.ExitCode, len(got.Attempts))
		}

		id := submit("endless", 3, "bash", "-c", "echo $$; sleep 1000")
		reached(id, batchtypes.JobStatusRunning)

		spoken := func(j metaflow.Job) bool {
			text, err := os.ReadFile(j.Logs[0])

			return err == nil && len(text) > 0
		}
		for !slices.ContainsFunc(p.runner.Jobs(), func(j metaflow.Job) bool { return j.ID == id && spoken(j) }) {
			time.Sleep(20 * time.Millisecond) // bounded by the test's own deadline
		}

		listed, err := api.ListJobs(t.Context(), &batch.ListJobsInput{JobQueue: &queue})
		if err != nil || len(listed.JobSummaryList) != 1 || aws.ToString(listed.JobSummaryList[0].JobId) != id {
			t.Errorf("the running jobs: %+v, %v", listed, err)
		}

		if _, err := api.TerminateJob(t.Context(), &batch.TerminateJobInput{JobId: &id, Reason: aws.String("enough")}); err != nil {
			t.Fatal(err)
		}

		if got := reached(id, ended...); got.Status != batchtypes.JobStatusFailed || aws.ToString(got.StatusReason) != "enough" || len(got.Attempts) != 1 {
			t.Errorf("what was terminated: %s, %s, %d attempts", got.Status, aws.ToString(got.StatusReason), len(got.Attempts))
		}

		for _, j := range p.runner.Jobs() {
			if j.ID != id {
				continue
			}

			text, err := os.ReadFile(j.Logs[0])
			if err != nil {
				t.Fatal(err)
			}

			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}

			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the process of what was terminated: %v", err)
			}
		}
	}
}

// existingResources: bucket, network, job role and queue are the owner's, and Metaflow is configured by shell exports.
func existingResources(p *product) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel() // Metaflow spends half of its time waiting

		mine := bring(t, p)
		p.create(t, "brought", map[string]any{
			"storage": map[string]any{"existing": map[string]any{"bucket": mine.bucket, "prefix": "team/one"}},
			"network": map[string]any{"existing": map[string]any{"vpcId": mine.vpc, "subnetIds": mine.subnets, "securityGroupIds": []string{mine.group}}},
			"access":  map[string]any{"existing": map[string]any{"jobRoleArn": mine.role}},
			"compute": map[string]any{
				// An environment and a queue of the product's in the network that was brought, beside the queue that was brought.
				"environments": []any{map[string]any{"name": "own"}},
				"queues":       []any{map[string]any{"name": "mine", "existing": map[string]any{"arn": mine.queue}}, map[string]any{"name": "own", "environments": []string{"own"}}},
				"defaultQueue": "mine",
			},
		})

		after := mine.look(t)
		if diff := cmp.Diff(mine.before, after); diff != "" {
			t.Errorf("the create changed what was brought (-before +after):\n%s", diff)
		}

		_, config := p.configuration(t, "brought")
		want := map[string]string{
			"METAFLOW_DEFAULT_DATASTORE": "s3", "METAFLOW_DEFAULT_METADATA": "local",
			"METAFLOW_DATASTORE_SYSROOT_S3": "s3://" + mine.bucket + "/team/one/flows", "METAFLOW_DATATOOLS_S3ROOT": "s3://" + mine.bucket + "/team/one/data-tools",
			"METAFLOW_BATCH_JOB_QUEUE": mine.queue, "METAFLOW_ECS_S3_ACCESS_IAM_ROLE": mine.role,
		}

		if diff := cmp.Diff(want, config); diff != "" {
			t.Errorf("the configuration (-want +got):\n%s", diff)
		}

		s := p.scientist(t, 2)
		s.file = "configuration.sh"
		s.write(t, s.file, p.call(t, http.MethodGet, "/v1/deployments/brought/configuration?format=env", nil, 200))

		jobs := s.run(t, config)
		underPrefixes(t, config, mine.bucket, p.keys(t, mine.bucket))
		p.judgeUser(t, s)
		p.judgeJobs(t, jobs)

		// The product's own queue stands in the network that was brought, and takes jobs, too.
		own := ownQueue(t, p, "brought")
		t.Run("OwnQueueInThatNetwork", plainJobs(p, map[string]string{"METAFLOW_BATCH_JOB_QUEUE": own, "METAFLOW_ECS_S3_ACCESS_IAM_ROLE": mine.role}))

		keys := p.keys(t, mine.bucket)
		p.finish(t, p.call(t, http.MethodDelete, "/v1/deployments/brought?data=purge", nil, 202))

		if diff := cmp.Diff(mine.before, mine.look(t)); diff != "" {
			t.Errorf("the delete changed what was brought (-before +after):\n%s", diff)
		}

		if diff := cmp.Diff(keys, p.keys(t, mine.bucket)); diff != "" {
			t.Errorf("the delete changed the objects of the bucket that was brought (-before +after):\n%s", diff)
		}
	}
}

// ownQueue is the ARN of the queue that the deployment made.
func ownQueue(t *testing.T, p *product, name string) string {
	t.Helper()

	var page struct {
		Resources []struct{ Ref, Kind, ARN, Origin string }
	}
	if err := json.Unmarshal(p.call(t, http.MethodGet, "/v1/deployments/"+name+"/resources?pageSize=100", nil, 200), &page); err != nil {
		t.Fatal(err)
	}

	for _, r := range page.Resources {
		if strings.HasSuffix(r.Ref, "own") && r.Kind == "job-queue" {
			return r.ARN
		}
	}

	t.Fatalf("no queue of its own among %+v", page.Resources)

	return ""
}
