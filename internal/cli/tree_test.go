package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/door"
)

// TestLiveTree creates a deployment on a terminal: the tree moves in place, and its last picture stays.
func TestLiveTree(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.screen = newTerminal(d.T, 100, 40)
		d.must("create", "research")

		last := d.screen.last()
		if n := strings.Count(last, "create research"); n != 2 || !strings.Contains(last, "create research  SUCCEEDED") {
			d.Errorf("one tree and one last line must be left, not %d:\n%s", n, last)
		}

		for _, line := range []string{
			"create research  RUNNING  ", "├─ storage\n", "└─ ✓ bucket", "● vpc", "○ job-queue/default", "waits for ",
			"✓ compute-environment/default", "SUCCEEDED  15 of 15",
		} {
			if !d.screen.seen(line) {
				d.Errorf("never seen: %q\n%s", line, last)
			}
		}

		seconds := map[string]bool{}

		for _, p := range d.screen.pictures {
			head, _, _ := strings.Cut(p, "\n")
			seconds[head[strings.LastIndex(head, " ")+1:]] = true
		}

		if len(seconds) < 10 {
			d.Errorf("time must be seen to pass: %v", seconds)
		}

		d.screen = newTerminal(d.T, 100, 40)
		d.env["NO_COLOR"], d.env["LANG"] = "", "C"
		d.must("delete", "research", "--data=purge")

		if last := d.screen.last(); !strings.Contains(last, "`- + bucket") || !strings.Contains(last, "delete research  SUCCEEDED") || strings.ContainsAny(last, "✓├") {
			d.Errorf("where there is no Unicode there is ASCII:\n%s", last)
		}
	})
}

// TestSmallTerminal: a tree that is higher or wider than the terminal must stay in its place all the same; newTerminal fails where it does not.
func TestSmallTerminal(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.screen = newTerminal(d.T, 40, 9)
		lift := d.refuse("batch.CreateJobQueue")

		if r := d.run("create", "research"); r.code != 1 {
			d.Errorf("%d %s", r.code, r.err)
		}

		lift()

		last := d.screen.last()
		if strings.Count(last, "create research  ROLLED_BACK") != 1 || !strings.Contains(last, "✗ job-queue/default") {
			d.Errorf("the last picture is whole:\n%s", last)
		}

		if !d.screen.seen(" more\n") {
			d.Errorf("what does not fit is counted:\n%s", last)
		}
	})
}

func TestDumbTerminal(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		d.screen = newTerminal(d.T, 200, 40)
		d.env["TERM"] = "dumb"
		d.must("create", "research")

		if last := d.screen.last(); !strings.Contains(last, "vpc: READY") {
			d.Error(last)
		}
	})
}

// TestTrees draws operations as they may stand, after a minute and a half.
func TestTrees(t *testing.T) {
	t.Parallel()

	for name, doc := range map[string]string{
		"running": `{"id":"research-1","deployment":"research","kind":"CREATE","state":"RUNNING","version":1,"progress":{"done":1,"total":5},"createTime":"2000-01-01T00:00:00Z","steps":[
			{"resource":"bucket","kind":"bucket","action":"ENSURE","state":"READY","attempts":1,"startTime":"2000-01-01T00:00:01Z","endTime":"2000-01-01T00:00:04Z"},
			{"resource":"job-role","kind":"job-role","action":"ENSURE","state":"RUNNING","attempts":3,"startTime":"2000-01-01T00:00:05Z"},
			{"resource":"vpc","kind":"vpc","action":"ENSURE","state":"RUNNING","waitingFor":"the VPC to be available","attempts":3,"startTime":"2000-01-01T00:00:05Z"},
			{"resource":"job-queue/default","kind":"job-queue","action":"ENSURE","state":"WAITING","waitingFor":"job-role","attempts":1},
			{"resource":"later","kind":"kind-of-tomorrow","action":"ENSURE","state":"PENDING","attempts":0}]}`,
		"rolled-back": `{"id":"research-1","deployment":"research","kind":"CREATE","state":"ROLLED_BACK","done":true,"version":1,"progress":{"done":6,"total":6},
			"createTime":"2000-01-01T00:00:00Z","endTime":"2000-01-01T00:02:03Z",
			"error":{"detail":"The queue was refused.","code":"aws_denied","resource":"job-queue/default","awsCode":"AccessDenied","requestId":"aws-7","remedy":"Ask."},"steps":[
			{"resource":"bucket","kind":"bucket","action":"ENSURE","state":"READY","attempts":1,"startTime":"2000-01-01T00:00:01Z","endTime":"2000-01-01T00:00:04Z"},
			{"resource":"job-queue/default","kind":"job-queue","action":"ENSURE","state":"FAILED","attempts":1,"startTime":"2000-01-01T00:00:05Z","endTime":"2000-01-01T00:00:06Z",
				"error":{"detail":"The queue was \u001b[31mrefused.","code":"aws_denied","awsCode":"AccessDenied"}},
			{"resource":"job-role","kind":"job-role","action":"ENSURE","state":"SKIPPED","attempts":0},
			{"resource":"bucket","kind":"bucket","action":"REMOVE","state":"KEPT","attempts":1,"startTime":"2000-01-01T00:01:00Z","endTime":"2000-01-01T00:01:04Z"},
			{"resource":"job-queue/default","kind":"job-queue","action":"REMOVE","state":"GONE","attempts":1,"startTime":"2000-01-01T00:00:08Z","endTime":"2000-01-01T00:00:09Z"},
			{"resource":"job-role","kind":"job-role","action":"REMOVE","state":"PENDING","attempts":0}]}`,
		"needs-attention": `{"id":"research-1","deployment":"research","kind":"DELETE","state":"NEEDS_ATTENTION","done":true,"version":1,"progress":{"done":2,"total":2},
			"createTime":"2000-01-01T00:00:00Z","endTime":"2000-01-02T01:02:03Z","error":{"detail":"It is in use.","code":"in_use","remedy":"Detach it."},"steps":[
			{"resource":"vpc","kind":"vpc","action":"REMOVE","state":"FAILED","attempts":9,"startTime":"2000-01-01T00:00:01Z","endTime":"2000-01-01T01:00:04Z","error":{"detail":"It is in use.","code":"in_use"}},
			{"resource":"subnet/1","kind":"subnet","action":"REMOVE","state":"SKIPPED","attempts":2,"startTime":"2000-01-01T00:00:01Z","endTime":"2000-01-01T00:10:04Z"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sit(t, func(d *desk) {
				time.Sleep(90 * time.Second)

				d.Before = func(r door.Request) (*door.Reply, error) {
					if strings.HasPrefix(r.Path, "/v1/operations/") {
						return door.Answer(200, doc), nil
					}

					return nil, nil //nolint:nilnil // let it through
				}
				d.env["METAFLOW_DEPLOYER_TOKEN"] = door.Token("acme", deploy.Viewer)

				golden(t, name+".txt", d.must("ops", "research-0123456789abcdefghjkmnpqrs").out)

				if name == "running" {
					return
				}

				r := d.run("watch", "research-0123456789abcdefghjkmnpqrs")
				golden(t, name+"-plain.txt", r.out+"--- standard error\n"+r.err)
			})
		})
	}
}
