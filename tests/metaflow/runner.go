// Package metaflow runs a real Metaflow flow on an environment that the product has deployed on this computer.
//
// What the emulator lacks is running Batch jobs: it calls each one SUCCEEDED at once. Runner does it, as processes of this computer. It is no sandbox and
// pulls no image: what it proves is that the configuration, the queue, the job role and the bucket are right, not the image nor the network.
package metaflow

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
	"github.com/metaflow-deployer/metaflow-deployer/internal/local/lambdapool"
)

// Runner stands in front of the AWS endpoint and runs the jobs that people (not functions of the product) submit. Its zero value is not usable; make it
// with NewRunner and end it with Close, before the endpoint.
type Runner struct {
	venv, dir string
	running   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	jobs   []*job // in the order of their submission
}

// Job is what is known of a job.
type Job struct {
	ID, Name string
	// QueueARN is the queue's, Role the job role's ARN; Environment is the name of the queue's first compute environment, which every job is said to run in.
	QueueARN, Environment, Role, Image string
	// AccessKeys are the keys of the job role's sessions that the job had, one for each attempt.
	AccessKeys []string
	Status     types.JobStatus
	Reason     string
	Attempts   []Attempt
	// Logs are the files with what each attempt wrote.
	Logs []string
}

// Attempt is one process of a job.
type Attempt struct {
	Started, Stopped time.Time
	ExitCode         int
}

// job guards its Job with the runner's lock.
type job struct {
	Job

	command  []string
	env      []string
	attempts int // how many Batch may make
	endpoint string
	account  string
	cancel   context.CancelFunc
	killed   string // the reason given to TerminateJob
}

// NewRunner takes the Python environment whose interpreter is the jobs' python, and a folder for their files.
func NewRunner(venv, dir string) *Runner { return &Runner{venv: venv, dir: dir} }

// person matches the access keys of people in an Authorization header.
var person = regexp.MustCompile(`Credential=LOCAL-(\d{12})-user-`)

// Intercept is for local.Options.
func (r *Runner) Intercept(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		key := person.FindStringSubmatch(req.Header.Get("Authorization"))
		edit, ours := map[string]func(*http.Request, string, []byte, map[string]any) error{
			"/v1/submitjob": r.submit, "/v1/describejobs": r.describe, "/v1/terminatejob": r.terminate, "/v1/listjobs": r.list,
		}[req.URL.Path]

		if key == nil || !ours {
			next.ServeHTTP(w, req)

			return
		}

		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the caller left
		}

		req.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, req)
		answer := rec.Body.Bytes()

		if rec.Code == http.StatusOK {
			answer, err = edited(answer, func(out map[string]any) error { return edit(req, key[1], body, out) })
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)

				return
			}
		}

		for name, values := range rec.Header() {
			if name != "Content-Length" {
				w.Header()[name] = values
			}
		}

		w.WriteHeader(rec.Code)
		_, _ = w.Write(answer) // who asked is gone; there is nobody to tell
	})
}

func edited(answer []byte, edit func(map[string]any) error) ([]byte, error) {
	out := map[string]any{}
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &out); err != nil {
			return nil, fmt.Errorf("decode the emulator's answer: %w", err)
		}
	}

	if err := edit(out); err != nil {
		return nil, err
	}

	return json.Marshal(out)
}

// submit starts the job that the emulator has accepted.
func (r *Runner) submit(req *http.Request, account string, body []byte, out map[string]any) error {
	var in struct {
		JobDefinition      string
		JobQueue           string
		ContainerOverrides struct {
			Command     []string
			Environment []struct{ Name, Value string }
		}
		RetryStrategy struct{ Attempts int }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return fmt.Errorf("decode the job: %w", err)
	}

	j := &job{Job: Job{ID: fmt.Sprint(out["jobId"]), Name: fmt.Sprint(out["jobName"]), Status: types.JobStatusStarting}, endpoint: "http://" + req.Host, account: account}
	api := batch.NewFromConfig(j.aws())

	queues, err := api.DescribeJobQueues(req.Context(), &batch.DescribeJobQueuesInput{JobQueues: []string{in.JobQueue}})
	if err != nil {
		return err
	}

	queue := queues.JobQueues[0] // it has taken the job
	j.QueueARN = aws.ToString(queue.JobQueueArn)
	j.Environment = path.Base(aws.ToString(queue.ComputeEnvironmentOrder[0].ComputeEnvironment))

	definition, err := define(req.Context(), api, in.JobDefinition)
	if err != nil {
		return err
	}

	container := definition.ContainerProperties
	j.Role, j.Image = aws.ToString(container.JobRoleArn), aws.ToString(container.Image)
	j.command = container.Command

	if len(in.ContainerOverrides.Command) > 0 {
		j.command = in.ContainerOverrides.Command
	}

	for _, v := range container.Environment {
		j.env = append(j.env, aws.ToString(v.Name)+"="+aws.ToString(v.Value))
	}

	for _, v := range in.ContainerOverrides.Environment {
		j.env = append(j.env, v.Name+"="+v.Value)
	}

	j.attempts = max(1, in.RetryStrategy.Attempts)
	if s := definition.RetryStrategy; s != nil && in.RetryStrategy.Attempts == 0 {
		j.attempts = max(1, int(aws.ToInt32(s.Attempts)))
	}

	// The job outlives the request that submitted it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(req.Context()))
	j.cancel = cancel

	r.mu.Lock()
	defer r.mu.Unlock()

	if r.closed {
		cancel()

		return errors.New("the runner has ended")
	}

	r.jobs = append(r.jobs, j)

	r.running.Go(func() {
		defer cancel()

		r.run(ctx, j)
	})

	return nil
}

// define finds a definition by ARN, by name and revision, or by name alone (the newest).
func define(ctx context.Context, api *batch.Client, name string) (types.JobDefinition, error) {
	in := &batch.DescribeJobDefinitionsInput{JobDefinitions: []string{name}}
	if !strings.Contains(name, ":") {
		in = &batch.DescribeJobDefinitionsInput{JobDefinitionName: &name, Status: aws.String("ACTIVE")}
	}

	out, err := api.DescribeJobDefinitions(ctx, in)
	if err != nil {
		return types.JobDefinition{}, err
	}

	if len(out.JobDefinitions) == 0 {
		return types.JobDefinition{}, fmt.Errorf("job definition %s is not there", name)
	}

	newest := slices.MaxFunc(out.JobDefinitions, func(a, b types.JobDefinition) int {
		return cmp.Compare(aws.ToInt32(a.Revision), aws.ToInt32(b.Revision))
	})
	if newest.ContainerProperties == nil {
		return types.JobDefinition{}, fmt.Errorf("job definition %s has no container", name)
	}

	return newest, nil
}

// aws is the configuration of what stands for the container agent: not a person, so that its calls are not intercepted.
func (j *job) aws() aws.Config {
	return aws.Config{
		Region: local.Region, BaseEndpoint: &j.endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("LOCAL-"+j.account+"-agent-0", "local", ""),
		HTTPClient:  &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// run makes the attempts.
func (r *Runner) run(ctx context.Context, j *job) {
	for n := 1; ; n++ {
		err := r.attempt(ctx, j, n)

		r.mu.Lock()
		done := err == nil || n >= j.attempts || j.killed != "" || ctx.Err() != nil

		switch {
		case err == nil:
			j.Status, j.Reason = types.JobStatusSucceeded, "Essential container in task exited"
		case !done:
			j.Status = types.JobStatusRunnable
		default:
			j.Status, j.Reason = types.JobStatusFailed, cmp.Or(j.killed, err.Error())
		}
		r.mu.Unlock()

		if done {
			return
		}
	}
}

// attempt runs the command once, as the job role.
func (r *Runner) attempt(ctx context.Context, j *job, n int) error {
	session, err := sts.NewFromConfig(j.aws()).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &j.Role, RoleSessionName: &j.ID})
	if err != nil {
		return fmt.Errorf("assume job role %s: %w", j.Role, err)
	}

	dir := filepath.Join(r.dir, j.ID, strconv.Itoa(n))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the job's folder: %w", err)
	}

	name := dir + ".log"

	log, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("open the job's log: %w", err)
	}
	defer log.Close()

	cmd := exec.CommandContext(ctx, j.command[0], j.command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = lambdapool.Leash()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// Later settings win. What the job asks for comes first, so that it cannot take the place of what Batch and the agent set.
	cmd.Env = append(slices.Clone(j.env),
		"PATH="+filepath.Join(r.venv, "bin")+":"+os.Getenv("PATH"), "HOME="+dir, "TMPDIR="+dir,
		"AWS_BATCH_JOB_ID="+j.ID, "AWS_BATCH_JOB_ATTEMPT="+strconv.Itoa(n), "AWS_BATCH_CE_NAME="+j.Environment,
		"AWS_BATCH_JQ_NAME="+path.Base(j.QueueARN), "AWS_EXECUTION_ENV=AWS_ECS_EC2",
		"AWS_ACCESS_KEY_ID="+aws.ToString(session.Credentials.AccessKeyId), "AWS_SECRET_ACCESS_KEY="+aws.ToString(session.Credentials.SecretAccessKey),
		"AWS_SESSION_TOKEN="+aws.ToString(session.Credentials.SessionToken), "AWS_ENDPOINT_URL="+j.endpoint,
		"METAFLOW_SKIP_INSTALL_DEPENDENCIES=1")
	cmd.Env = append(cmd.Env, LoopbackOnly()...)

	r.mu.Lock()
	j.Status = types.JobStatusRunning
	j.AccessKeys = append(j.AccessKeys, aws.ToString(session.Credentials.AccessKeyId))
	j.Logs = append(j.Logs, name)
	j.Attempts = append(j.Attempts, Attempt{Started: time.Now()})
	r.mu.Unlock()

	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // a container takes what it started along
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	last := &j.Attempts[len(j.Attempts)-1]
	last.Stopped = time.Now()

	if cmd.ProcessState != nil {
		last.ExitCode = cmd.ProcessState.ExitCode()
	}

	if err != nil {
		return fmt.Errorf("essential container in task exited: %w", err)
	}

	return nil
}

// LoopbackOnly keeps a process that would look for an instance's metadata service from reaching one: whatever is not on loopback is refused at once.
func LoopbackOnly() []string {
	return []string{"HTTP_PROXY=http://127.0.0.1:9", "http_proxy=http://127.0.0.1:9", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1", "AWS_EC2_METADATA_DISABLED=true"}
}

func (r *Runner) find(id string) *job {
	i := slices.IndexFunc(r.jobs, func(j *job) bool { return j.ID == id })
	if i < 0 {
		return nil
	}

	return r.jobs[i]
}

// describe lays what we know over the emulator's answer.
func (r *Runner) describe(_ *http.Request, _ string, _ []byte, out map[string]any) error {
	r.mu.Lock()
	defer r.mu.Unlock()

	list, _ := out["jobs"].([]any)
	for _, item := range list {
		shown, _ := item.(map[string]any)
		if j := r.find(fmt.Sprint(shown["jobId"])); j != nil {
			j.show(shown)
		}
	}

	return nil
}

// show writes status and attempts as Batch does.
func (j *job) show(out map[string]any) {
	container, _ := out["container"].(map[string]any)
	if container == nil {
		container = map[string]any{}
		out["container"] = container
	}

	container["image"], container["jobRoleArn"] = j.Image, j.Role
	delete(container, "exitCode")

	for _, name := range []string{"startedAt", "stoppedAt", "statusReason"} {
		delete(out, name)
	}

	out["status"] = j.Status
	attempts := []any{}

	for _, a := range j.Attempts {
		out["startedAt"] = a.Started.UnixMilli()

		if !a.Stopped.IsZero() {
			attempts = append(attempts, map[string]any{
				"startedAt": a.Started.UnixMilli(), "stoppedAt": a.Stopped.UnixMilli(), "container": map[string]any{"exitCode": a.ExitCode},
			})
		}
	}

	out["attempts"] = attempts

	if !j.done() {
		return
	}

	out["statusReason"], out["stoppedAt"] = j.Reason, time.Now().UnixMilli()

	if len(j.Attempts) > 0 {
		last := j.Attempts[len(j.Attempts)-1]
		out["stoppedAt"], container["exitCode"] = last.Stopped.UnixMilli(), last.ExitCode
	}
}

func (j *job) done() bool {
	return j.Status == types.JobStatusSucceeded || j.Status == types.JobStatusFailed
}

// list answers from our own jobs; by default those that run, as Batch does.
func (r *Runner) list(_ *http.Request, account string, body []byte, out map[string]any) error {
	var in struct{ JobQueue, JobStatus string }
	if err := json.Unmarshal(body, &in); err != nil {
		return fmt.Errorf("decode the listing: %w", err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	found := []any{}

	for _, j := range r.jobs {
		if j.account == account && path.Base(j.QueueARN) == path.Base(in.JobQueue) && string(j.Status) == cmp.Or(in.JobStatus, string(types.JobStatusRunning)) {
			found = append(found, map[string]any{"jobId": j.ID, "jobName": j.Name, "status": j.Status})
		}
	}

	out["jobSummaryList"] = found

	return nil
}

// terminate kills the job's process. What has ended stays as it is.
func (r *Runner) terminate(_ *http.Request, _ string, body []byte, _ map[string]any) error {
	var in struct{ JobID, Reason string }
	if err := json.Unmarshal(body, &in); err != nil {
		return fmt.Errorf("decode the termination: %w", err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	if j := r.find(in.JobID); j != nil && !j.done() {
		j.killed = in.Reason
		j.cancel()
	}

	return nil
}

// Jobs are copies of all jobs, in the order of their submission.
func (r *Runner) Jobs() []Job {
	r.mu.Lock()
	defer r.mu.Unlock()

	var all []Job

	for _, j := range r.jobs {
		one := j.Job
		one.Attempts, one.AccessKeys, one.Logs = slices.Clone(j.Attempts), slices.Clone(j.AccessKeys), slices.Clone(j.Logs)
		all = append(all, one)
	}

	return all
}

// Close kills what runs and waits for its end. No process is left after it, and no job is taken.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true

	for _, j := range r.jobs {
		j.cancel()
	}
	r.mu.Unlock()

	r.running.Wait()
}
