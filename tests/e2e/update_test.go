package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/google/go-cmp/cmp"
)

// two is a spec with two environments, the second of a kind and size.
func two(second object, priority int) object {
	return object{
		"compute": object{
			"environments": []object{{"name": "small", "maxVcpus": 32}, second},
			"queues":       []object{{"name": "jobs", "priority": priority, "environments": []string{"small", "extra"}}},
		},
		"tags": object{"team": "ml"},
	}
}

func (w *world) update(name string, spec object) operation {
	w.Helper()

	return as[operation](w, w.ask(request{method: "PUT", path: "/v1/deployments/" + name, body: object{"spec": spec}}), http.StatusAccepted)
}

// TestUpdate changes one deployment as its owner would: the order of the queue, then an environment that Batch cannot change in place, then something that
// AWS refuses, which leads back to what stood before.
func TestUpdate(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	before := w.inventory()

	w.active("research", two(object{"name": "extra"}, 1))

	// The queue's environments, in place.
	spec := two(object{"name": "extra"}, 7)
	spec["compute"].(object)["queues"] = []object{{"name": "jobs", "priority": 7, "environments": []string{"extra", "small"}}} //nolint:forcetypeassert // made above
	op := w.finish(w.update("research", spec).ID, "SUCCEEDED")

	if op.Kind != "UPDATE" || len(op.Steps) == 0 {
		t.Errorf("an update shows its steps: %s", show(op))
	}

	queue := w.queue("research")
	if aws.ToInt32(queue.Priority) != 7 || !strings.Contains(aws.ToString(queue.ComputeEnvironmentOrder[0].ComputeEnvironment), "-extra-") {
		t.Errorf("the queue is not as asked for: %s", show(queue))
	}

	// A replacement: the new environment stands under a name of its own before the old one goes.
	old := w.environments("research", "extra")
	op = w.finish(w.update("research", two(object{"name": "extra", "type": "UNMANAGED"}, 7)).ID, "SUCCEEDED")

	if now := w.environments("research", "extra"); len(old) != 1 || len(now) != 1 || old[0] == now[0] {
		t.Errorf("the environment was %v and is %v", old, now)
	}

	removed := false
	for _, s := range op.Steps {
		removed = removed || s.Action == "REMOVE" && strings.HasPrefix(s.Resource, "compute-environment/extra") && s.State == "GONE"
	}

	if !removed {
		t.Errorf("the old one was removed by a step of the update: %s", show(op))
	}

	// One that fails midway: everything is as it was, the configuration too.
	standing := w.inventory()
	config := w.ask(request{method: "GET", path: "/v1/deployments/research/configuration"}).body

	w.rule(object{"service": "batch", "action": "CreateJobQueue", "then": denial("batch")})

	spec = two(object{"name": "extra", "type": "UNMANAGED"}, 3)
	compute := spec["compute"].(object) //nolint:forcetypeassert // made above
	compute["environments"] = append(compute["environments"].([]object), object{"name": "third", "maxVcpus": 8})
	compute["queues"] = append(compute["queues"].([]object), object{"name": "more", "environments": []string{"third"}})

	op = w.finish(w.update("research", spec).ID, "ROLLED_BACK")
	if op.Error == nil || op.Error.Resource != "job-queue/more" || op.Error.Class != "denied" || op.Error.Remedy == "" {
		t.Errorf("the caller is told why: %s", show(op.Error))
	}

	if phase := w.deployment("research").Phase; phase != "ACTIVE" {
		t.Errorf("after the rollback it is %s", phase)
	}

	w.same("after an update that was rolled back", standing, w.inventory())

	if again := w.ask(request{method: "GET", path: "/v1/deployments/research/configuration"}).body; string(again) != string(config) {
		t.Errorf("the configuration was\n%s\nand is\n%s", config, again)
	}

	if p := aws.ToInt32(w.queue("research").Priority); p != 7 {
		t.Errorf("the queue has priority %d", p)
	}

	w.unbroken()

	type report struct {
		Drifted   bool `json:"drifted"`
		Resources []struct {
			Resource    string `json:"resource"`
			Differences []any  `json:"differences"`
		} `json:"resources"`
	}

	if d := as[report](w, w.ask(request{method: "POST", path: "/v1/deployments/research:drift"}), http.StatusOK); d.Drifted {
		t.Errorf("what stands is not what the spec says: %s", show(d))
	}

	w.gone("research")
	w.same("after the delete", before, w.inventory())
}

// TestVerify proves an environment with a probe job, on the emulator with one that succeeds at once, and leaves nothing of it.
func TestVerify(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.active("research", nil)

	standing := w.inventory()
	op := as[operation](w, w.ask(request{method: "POST", path: "/v1/deployments/research:verify"}), http.StatusAccepted)
	op = w.finish(op.ID, "SUCCEEDED")

	if len(op.Steps) != 2 || op.Steps[0].Resource != "probe" || op.Steps[0].State != "READY" || op.Steps[1].State != "GONE" {
		t.Errorf("a verification is one probe that comes and goes: %s", show(op))
	}

	w.same("after the verification", standing, w.inventory())

	// The emulator runs no container. So what the container would run is run here, by a Python that stands in for the image's.
	w.runProbe()

	if left := w.inventory(); cmp.Diff(standing, left) == "" {
		t.Error("the probe wrote nothing into the bucket")
	}

	w.gone("research")
}

// runProbe runs the command of the newest job definition with its environment.
func (w *world) runProbe() {
	w.Helper()

	out := must[*batch.DescribeJobDefinitionsOutput](w)(w.aws.batch.DescribeJobDefinitions(w.Context(), &batch.DescribeJobDefinitionsInput{}))
	if len(out.JobDefinitions) == 0 {
		w.Fatal("no job definition was ever registered")
	}

	container := out.JobDefinitions[len(out.JobDefinitions)-1].ContainerProperties

	cmd := exec.CommandContext(w.Context(), container.Command[0], container.Command[1:]...)
	cmd.Env = []string{
		"PATH=" + filepath.Join(os.Getenv("METAFLOW_DEPLOYER_VENV"), "bin") + ":" + os.Getenv("PATH"), "HOME=" + w.TempDir(), "AWS_BATCH_JOB_ID=probe-1",
		"AWS_ENDPOINT_URL=" + w.stack.Endpoint, "AWS_ACCESS_KEY_ID=" + w.AccessKey(), "AWS_SECRET_ACCESS_KEY=local",
	}

	for _, e := range container.Environment {
		cmd.Env = append(cmd.Env, aws.ToString(e.Name)+"="+aws.ToString(e.Value))
	}

	if text, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(text), "the environment works") {
		w.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
}

// queue is the job queue that the spec calls jobs.
func (w *world) queue(name string) types.JobQueueDetail {
	w.Helper()

	out := must[*batch.DescribeJobQueuesOutput](w)(w.aws.batch.DescribeJobQueues(w.Context(), &batch.DescribeJobQueuesInput{}))

	for _, q := range out.JobQueues {
		if n := aws.ToString(q.JobQueueName); strings.HasPrefix(n, name+"-") && strings.HasSuffix(n, "-jobs") {
			return q
		}
	}

	w.Fatalf("there is no job queue of %s: %s", name, show(out.JobQueues))

	return types.JobQueueDetail{}
}

// environments lists the names of a deployment's compute environments of one name in the spec, whatever their generation.
func (w *world) environments(name, environment string) (names []string) {
	w.Helper()

	out := must[*batch.DescribeComputeEnvironmentsOutput](w)(w.aws.batch.DescribeComputeEnvironments(w.Context(), &batch.DescribeComputeEnvironmentsInput{}))

	for _, e := range out.ComputeEnvironments {
		if n := aws.ToString(e.ComputeEnvironmentName); strings.HasPrefix(n, name+"-") && strings.Contains(n, "-"+environment+"-") {
			names = append(names, n)
		}
	}

	return names
}
