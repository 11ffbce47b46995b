package e2e

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestDefaultEnvironment(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	before := w.inventory()

	seen := w.follow(w.create("research", nil).ID)
	onTheWay(w, seen)

	got := w.inventory()
	for ref, lines := range got.ours("research") {
		if len(lines) != 1 {
			t.Errorf("%s is there %d times: %v", ref, len(lines), lines)
		}
	}

	config := configuration(w, "research")
	bucket := strings.Split(strings.TrimPrefix(config["METAFLOW_DATASTORE_SYSROOT_S3"], "s3://"), "/")[0]

	if _, ok := got["s3 bucket "+bucket]; !ok {
		t.Errorf("the configuration names the bucket %q, the account has %v", bucket, slices.Sorted(maps.Keys(got)))
	}

	if _, ok := got["batch queue "+config["METAFLOW_BATCH_JOB_QUEUE"]]; !ok && !strings.Contains(config["METAFLOW_BATCH_JOB_QUEUE"], "job-queue/") {
		t.Errorf("the configuration names the queue %q", config["METAFLOW_BATCH_JOB_QUEUE"])
	}

	w.gone("research")
	w.same("after the delete", before, w.inventory())
	as[problem](w, w.ask(request{method: "GET", path: "/v1/deployments/research"}), http.StatusNotFound)
}

// onTheWay checks what a caller sees who watches a create.
func onTheWay(w *world, seen []operation) {
	w.Helper()

	last := seen[len(seen)-1]
	if last.State != "SUCCEEDED" || w.deployment("research").Phase != "ACTIVE" {
		w.Fatalf("the create did not succeed: %s", show(last))
	}

	running, mixed := false, false

	for i, op := range seen {
		if i > 0 && op.Version <= seen[i-1].Version {
			w.Errorf("version %d follows %d", op.Version, seen[i-1].Version)
		}

		states := map[string]bool{}
		for _, s := range op.Steps {
			states[s.State] = true
		}

		running = running || states["RUNNING"]
		mixed = mixed || states["READY"] && (states["RUNNING"] || states["WAITING"] || states["PENDING"])
	}

	if !running || !mixed {
		w.Errorf("nobody could see the steps at work: running %v, some before others %v", running, mixed)
	}

	if len(last.Steps) == 0 {
		w.Error("a finished operation shows no steps")
	}

	for _, s := range last.Steps {
		if s.State != "READY" {
			w.Errorf("step %s ended %s", s.Resource, s.State)
		}
	}
}

// configuration downloads both formats and checks that they say the same.
func configuration(w *world, name string) map[string]string {
	w.Helper()

	a := w.ask(request{method: "GET", path: "/v1/deployments/" + name + "/configuration"})
	config := as[map[string]string](w, a, http.StatusOK)

	env := w.ask(request{method: "GET", path: "/v1/deployments/" + name + "/configuration?format=env"})
	if env.status != http.StatusOK {
		w.Fatalf("the exports: %d %s", env.status, env.body)
	}

	exports := map[string]string{}

	for line := range strings.Lines(string(env.body)) {
		key, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if !ok {
			w.Errorf("the line %q exports nothing", line)
		}

		exports[key] = strings.Trim(value, "'")
	}

	for key, value := range config {
		if exports[key] != value {
			w.Errorf("%s is %q in JSON and %q in the exports", key, value, exports[key])
		}
	}

	if exports["AWS_DEFAULT_REGION"] == "" {
		w.Error("the exports name no Region")
	}

	for _, key := range []string{
		"METAFLOW_DEFAULT_DATASTORE", "METAFLOW_DATASTORE_SYSROOT_S3", "METAFLOW_DATATOOLS_S3ROOT", "METAFLOW_BATCH_JOB_QUEUE", "METAFLOW_ECS_S3_ACCESS_IAM_ROLE",
	} {
		if config[key] == "" {
			w.Errorf("the configuration has no %s: %s", key, show(config))
		}
	}

	return config
}

func TestKeptBucket(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	before := w.inventory()
	w.active("research", nil)

	bucket := find(w, "research", "bucket").ID
	for _, key := range []string{"flows/a", "flows/a", "data-tools/b"} { // a twice: the bucket keeps versions
		must[*s3.PutObjectOutput](w)(w.aws.s3.PutObject(w.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(key)}))
	}

	w.finish(w.delete("research", "keep").ID, "SUCCEEDED")

	kept := w.inventory()
	more := maps.Clone(kept)
	maps.DeleteFunc(more, func(line, _ string) bool {
		return line == "s3 bucket "+bucket || strings.HasPrefix(line, "s3 object "+bucket+"/")
	})
	w.same("after a delete that keeps the data, the bucket and its objects aside", before, more)

	if n := len(kept) - len(more); n != 4 {
		t.Fatalf("%d lines are left of the bucket and its three versions: %s", n, show(kept))
	}

	w.rule(object{"service": "batch", "action": "CreateJobQueue", "then": denial("batch")})
	w.finish(w.create("research", nil).ID, "ROLLED_BACK")
	w.unbroken()
	w.same("after a failed create over the kept bucket", kept, w.inventory())

	w.active("research", nil)

	if r := find(w, "research", "bucket"); r.ID != bucket || r.Origin != "REUSED" {
		t.Errorf("the new deployment's bucket is %s %s, want the kept %s", r.Origin, r.ID, bucket)
	}

	w.gone("research")
	w.same("after the purge", before, w.inventory())
}

// find gives a deployment's resource.
func find(w *world, name, ref string) resource {
	w.Helper()

	all := w.resources(name)

	i := slices.IndexFunc(all, func(r resource) bool { return r.Ref == ref })
	if i < 0 {
		w.Fatalf("%s has no %s: %s", name, ref, show(all))
	}

	return all[i]
}

// denial is how a service refuses for good.
func denial(service string) object {
	code := map[string]string{"s3": "AccessDenied", "iam": "AccessDenied", "ec2": "UnauthorizedOperation", "batch": "AccessDeniedException"}[service]

	return object{"error": object{"status": 403, "code": code, "message": "refused on purpose"}}
}
