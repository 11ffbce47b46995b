package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/client"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/door"
)

// installation runs a test as a deployer of tenant acme against a simulated installation, in virtual time.
func installation(t *testing.T, test func(t *testing.T, d *door.Door, c *client.Client)) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		w, err := simulation.NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}

		d := door.New(w)
		test(t, d, as(t, d, "acme", deploy.Deployer))
	})
}

func as(t *testing.T, d *door.Door, tenant string, role deploy.Role) *client.Client {
	t.Helper()

	c, err := client.New(client.Options{URL: door.URL + "/", Authorize: client.Bearer(door.Token(tenant, role)), HTTP: &http.Client{Transport: d}})
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func TestNew(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct{ reason, url, says string }{
		"HTTPS":     {reason: "any host over TLS", url: "https://api.example.com"},
		"Base":      {reason: "callers who sign have another base", url: "https://api.example.com/iam/"},
		"Loopback":  {reason: "the emulator on this computer", url: "http://127.0.0.1:8080"},
		"Localhost": {reason: "likewise", url: "http://localhost:8080"},
		"HTTP":      {reason: "a token in the clear", url: "http://api.example.com", says: "use https"},
		"Empty":     {reason: "nothing set", url: "", says: "like https://"},
		"NoHost":    {reason: "a host alone is no URL", url: "api.example.com", says: "like https://"},
		"Scheme":    {reason: "not HTTP at all", url: "ftp://api.example.com", says: "does not begin with https://"},
		"Query":     {reason: "a link to a page", url: "https://api.example.com/?a=b", says: "like https://"},
		"UserInfo":  {reason: "a password in a URL ends up in logs", url: "https://a:b@api.example.com", says: "like https://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := client.New(client.Options{URL: tc.url, Authorize: client.Bearer("t")})
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}

func TestLifeOfADeployment(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		ctx := t.Context()

		op, err := c.Create(ctx, client.CreateRequest{Name: "research", Labels: map[string]string{"team": "data"}, Spec: client.Spec{
			Network: client.Network{CIDR: "10.30.0.0/20"}, Compute: client.Compute{Environments: []client.Environment{{Name: "small", MaxVcpus: 8}}},
		}})
		if err != nil {
			t.Fatal(err)
		}

		versions, states := 0, map[client.StepState]bool{}
		last := int64(-1)

		for seen, err := range c.Watch(ctx, op.ID) {
			if err != nil {
				t.Fatal(err)
			}

			if seen.Version <= last && !seen.Done {
				t.Errorf("version %d was yielded after %d", seen.Version, last)
			}

			last, op = seen.Version, seen
			versions++

			for _, s := range seen.Steps {
				states[s.State] = true
			}
		}

		if op.State != client.Succeeded || versions < 10 || !states[client.StepWaiting] || !states[client.StepReady] {
			t.Fatalf("%s after %d versions with step states %v", op.State, versions, states)
		}

		for _, path := range d.Requests()[2:] {
			if !strings.Contains(path.Query, "wait=25s") || !strings.Contains(path.Query, "after=") {
				t.Fatalf("a watch must let the API wait: %s?%s", path.Path, path.Query)
			}
		}

		got, err := c.Deployment(ctx, "research")
		if err != nil || got.Phase != client.Active || got.Spec.Network.CIDR != "10.30.0.0/20" || got.Spec.Compute.Environments[0].MaxVcpus != 8 || got.Resources.Ready == 0 {
			t.Fatalf("%+v %v", got, err)
		}

		n := 0

		for each, err := range c.Deployments(ctx, client.ListOptions{Filter: "phase=ACTIVE,label.team=data"}) {
			if n++; err != nil || each.Name != "research" {
				t.Errorf("%+v %v", each, err)
			}
		}

		for each, err := range c.Resources(ctx, "research") {
			if n++; err != nil || each.State != client.StepReady {
				t.Errorf("%+v %v", each, err)
			}
		}

		if n != 1+got.Resources.Total {
			t.Errorf("%d deployments and resources, want 1 and %d", n, got.Resources.Total)
		}

		var config map[string]string
		if text, err := c.Configuration(ctx, "research", client.JSON); err != nil || json.Unmarshal(text, &config) != nil || config["METAFLOW_DEFAULT_DATASTORE"] != "s3" {
			t.Errorf("%v %v", config, err)
		}

		if op, err = c.Delete(ctx, "research", client.DeleteOptions{Data: client.Purge}); err != nil {
			t.Fatal(err)
		}

		if op, err = c.Wait(ctx, op.ID); err != nil || op.Kind != "DELETE" {
			t.Fatalf("%+v %v", op, err)
		}

		if op, err := c.Delete(ctx, "research", client.DeleteOptions{AllowMissing: true}); op != nil || err != nil {
			t.Errorf("there is nothing to delete: %+v %v", op, err)
		}

		var history []string
		for each, err := range c.Operations(ctx, "research") {
			if err != nil {
				t.Fatal(err)
			}

			history = append(history, each.Kind)
		}

		if strings.Join(history, " ") != "DELETE CREATE" {
			t.Errorf("history %v", history)
		}
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		pages := []string{`{"deployments":[{"name":"a"},{"name":"b","later":1}],"nextPageToken":"p2"}`, `{"deployments":[],"nextPageToken":"p3"}`, `{"deployments":[{"name":"c"}]}`}
		d.Before = func(door.Request) (*door.Reply, error) {
			page := pages[0]
			pages = pages[1:]

			return door.Answer(200, page), nil
		}

		var names []string

		for each, err := range c.Deployments(t.Context(), client.ListOptions{ShowDeleted: true}) {
			if err != nil {
				t.Fatal(err)
			}

			names = append(names, each.Name)

			if each.Name == "b" && string(each.Raw) != `{"name":"b","later":1}` {
				t.Errorf("Raw must hold what this version does not know: %s", each.Raw)
			}
		}

		if strings.Join(names, "") != "abc" {
			t.Errorf("an empty page in between is no end: %v", names)
		}

		var asked []string
		for _, r := range d.Requests() {
			asked = append(asked, r.Query)
		}

		want := "pageSize=100&showDeleted=true pageSize=100&pageToken=p2&showDeleted=true pageSize=100&pageToken=p3&showDeleted=true"
		if strings.Join(asked, " ") != want {
			t.Errorf("other parameters must stay the same from page to page: %v", asked)
		}
	})
}

// TestRetries breaks the n-th attempt of a create in ways that pass, and in ways that do not.
func TestRetries(t *testing.T) {
	t.Parallel()

	lost := errors.New("connection reset by peer")
	gateway := `{"message":"Service Unavailable"}`

	for name, tc := range map[string]struct {
		reason string
		// answers stand in for the API, one an attempt; nil lets the request through, and lose lets it through and breaks the answer.
		answers  []func(door.Request) (*door.Reply, error)
		attempts int
		atLeast  time.Duration
		atMost   time.Duration
		code     string
	}{
		"Lost":        {reason: "nobody was reached", answers: repeat(2, nil, lost), attempts: 3, atMost: 2 * time.Second},
		"GatewayBusy": {reason: "API Gateway's own 503", answers: repeat(1, door.Answer(503, gateway), nil), attempts: 2, atMost: time.Second},
		"Throttled": {
			reason: "Retry-After is honoured", answers: repeat(1, door.Answer(429, `{"message":"Too Many Requests"}`, "Retry-After", "7"), nil),
			attempts: 2, atLeast: 7 * time.Second, atMost: 8 * time.Second,
		},
		"Date": {
			reason: "as a date, too", answers: repeat(1, door.Answer(503, gateway, "Retry-After", time.Date(2000, 1, 1, 0, 0, 9, 0, time.UTC).Format(http.TimeFormat)), nil),
			attempts: 2, atLeast: 9 * time.Second, atMost: 10 * time.Second,
		},
		"Admitting": {
			reason:  "our own first attempt is still being admitted",
			answers: repeat(1, door.Answer(409, `{"code":"request_in_progress","retryable":true,"detail":"x"}`, "Retry-After", "2"), nil), attempts: 2, atLeast: 2 * time.Second, atMost: 3 * time.Second,
		},
		"TooLong":  {reason: "an hour is for the caller to decide", answers: repeat(1, door.Answer(503, gateway, "Retry-After", "3600"), nil), attempts: 1, code: "unavailable"},
		"Conflict": {reason: "what is there stays there", answers: repeat(1, door.Answer(409, `{"code":"already_exists","detail":"x"}`), nil), attempts: 1, code: "already_exists"},
		"Broken":   {reason: "a fault of the service is not repeated", answers: repeat(1, door.Answer(500, `{"code":"internal","detail":"x"}`), nil), attempts: 1, code: "internal"},
		"Redirect": {reason: "credentials are for one host", answers: repeat(1, door.Answer(302, "", "Location", "https://elsewhere.test/"), nil), attempts: 1, code: "unexpected_answer"},
		"ForEver":  {reason: "somewhere it ends", answers: repeat(9, door.Answer(503, gateway), nil), attempts: 5, atMost: 8 * time.Second, code: "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
				answers := tc.answers
				d.Before = func(r door.Request) (*door.Reply, error) {
					if r.Method != http.MethodPost || len(answers) == 0 {
						return nil, nil //nolint:nilnil // let it through
					}

					answer := answers[0]
					answers = answers[1:]

					return answer(r)
				}

				began := time.Now()
				op, err := c.Create(t.Context(), client.CreateRequest{Name: "research"})
				took := time.Since(began)

				if p, _ := errors.AsType[*client.Problem](err); (tc.code == "") != (err == nil) || p != nil && p.Code != tc.code {
					t.Fatalf("%s: %v", tc.reason, err)
				}

				keys := map[string]bool{}
				for _, r := range d.Requests() {
					keys[r.Key] = true
				}

				if n := len(d.Requests()); n != tc.attempts || len(keys) != 1 || keys[""] {
					t.Errorf("%s: %d attempts, want %d, with keys %v", tc.reason, n, tc.attempts, keys)
				}

				if took < tc.atLeast || tc.atMost > 0 && took > tc.atMost {
					t.Errorf("%s: took %s of virtual time", tc.reason, took)
				}

				if err == nil {
					if _, err := c.Wait(t.Context(), op.ID); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func repeat(n int, reply *door.Reply, err error) []func(door.Request) (*door.Reply, error) {
	var all []func(door.Request) (*door.Reply, error)
	for range n {
		all = append(all, func(door.Request) (*door.Reply, error) { return reply, err })
	}

	return all
}

// TestALostAnswerMakesNothingTwice lets the API admit a create and loses its answer.
func TestALostAnswerMakesNothingTwice(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		lose := true
		d.After = func(r door.Request) error {
			if r.Method == http.MethodPost && lose {
				lose = false

				return errors.New("unexpected EOF")
			}

			return nil
		}

		op, err := c.Create(t.Context(), client.CreateRequest{Name: "research"})
		if err != nil {
			t.Fatalf("the second attempt has the first one's key and gets its answer: %v", err)
		}

		if _, err := c.Create(t.Context(), client.CreateRequest{Name: "research"}); code(err) != "already_exists" {
			t.Errorf("another call is another request: %v", err)
		}

		if _, err := c.Wait(t.Context(), op.ID); err != nil {
			t.Error(err)
		}
	})
}

func code(err error) string {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return p.Code
	}

	return ""
}

// TestLabels: an update leaves the labels, replaces them, or takes them all away.
func TestLabels(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason string
		labels map[string]string
		want   string
	}{
		"Nil":   {reason: "what is not said stays", want: "map[team:data]"},
		"Other": {reason: "others take their place", labels: map[string]string{"stage": "test"}, want: "map[stage:test]"},
		"Empty": {reason: "none are said aloud", labels: map[string]string{}, want: "map[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installation(t, func(t *testing.T, _ *door.Door, c *client.Client) {
				ctx := t.Context()
				standing(t, c, "research")

				op, err := c.Update(ctx, "research", client.UpdateRequest{Spec: client.Spec{}, Labels: tc.labels})
				if err != nil {
					t.Fatal(err)
				}

				if _, err := c.Wait(ctx, op.ID); err != nil {
					t.Fatal(err)
				}

				if got, err := c.Deployment(ctx, "research"); err != nil || fmt.Sprint(got.Labels) != tc.want {
					t.Errorf("%s: got %v %v, want %s", tc.reason, got, err, tc.want)
				}
			})
		})
	}
}

// standing creates a deployment and waits for it.
func standing(t *testing.T, c *client.Client, name string) {
	t.Helper()

	op, err := c.Create(t.Context(), client.CreateRequest{Name: name, Labels: map[string]string{"team": "data"}})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := c.Wait(t.Context(), op.ID); err != nil {
		t.Fatal(err)
	}
}

// TestARepeatedDelete breaks the first attempt of what takes something away: if the next one finds nothing, that is the end that was asked for, unless the
// first one cannot have brought it about.
func TestARepeatedDelete(t *testing.T) {
	t.Parallel()

	type act func(ctx context.Context, c *client.Client, webhook string) (*client.Operation, error)

	unsubscribe := func(ctx context.Context, c *client.Client, webhook string) (*client.Operation, error) {
		return nil, c.Unsubscribe(ctx, webhook)
	}
	withdraw := func(ctx context.Context, c *client.Client, _ string) (*client.Operation, error) {
		return nil, c.Withdraw(ctx, "bucket", "acme-flows")
	}
	remove := func(o client.DeleteOptions) act {
		return func(ctx context.Context, c *client.Client, _ string) (*client.Operation, error) {
			return c.Delete(ctx, "research", o)
		}
	}
	reset := repeat(1, nil, errors.New("connection reset by peer"))
	away := append(repeat(1, nil, nil), repeat(3, door.Answer(503, `{}`, "Retry-After", "60"), nil)...) // as long as an operation may take

	for name, tc := range map[string]struct {
		reason string
		// made: there is something to take away, and the answer of the first attempt is lost. answers are as in TestRetries.
		made    bool
		answers []func(door.Request) (*door.Reply, error)
		act     act
		op      client.OperationState
		code    string
	}{
		"Webhook":    {reason: "no event goes there any more", made: true, answers: away, act: unsubscribe},
		"Grant":      {reason: "it is not allowed any more", made: true, answers: away, act: withdraw},
		"Deployment": {reason: "the operation that did it is there to be watched", made: true, answers: away, act: remove(client.DeleteOptions{}), op: client.Succeeded},
		"Missing":    {reason: "the API's own answer where that is no error", made: true, answers: away, act: remove(client.DeleteOptions{AllowMissing: true})},
		"NoWebhook":  {reason: "nothing is there at first sight", act: unsubscribe, code: "not_found"},
		"NoGrant":    {reason: "likewise", act: withdraw, code: "not_found"},
		"NotMade":    {reason: "likewise", act: remove(client.DeleteOptions{}), code: "not_found"},
		"Never":      {reason: "nor was there ever an operation to answer", answers: reset, act: remove(client.DeleteOptions{}), code: "not_found"},
		"Throttled":  {reason: "what was turned away did nothing", answers: repeat(1, door.Answer(429, `{"message":"Too Many Requests"}`), nil), act: unsubscribe, code: "not_found"},
		"Busy":       {reason: "likewise", answers: repeat(1, door.Answer(503, `{"code":"busy","detail":"x"}`), nil), act: unsubscribe, code: "not_found"},
		"Elsewhere": {
			reason:  "whoever answers knows nothing of webhooks",
			answers: append(reset, repeat(1, door.Answer(404, `{"message":"Not Found"}`), nil)...), act: unsubscribe, code: "no_such_route",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installation(t, func(t *testing.T, d *door.Door, _ *client.Client) {
				ctx, c, webhook := t.Context(), as(t, d, "acme", deploy.Admin), "nothing"

				if tc.made {
					w, err := c.Subscribe(ctx, "https://hooks.example.com/a")
					if err != nil {
						t.Fatal(err)
					}

					if _, err := c.Allow(ctx, "bucket", "acme-flows"); err != nil {
						t.Fatal(err)
					}

					standing(t, c, "research")
					webhook = w.ID
				}

				answers := tc.answers
				d.Before = func(r door.Request) (*door.Reply, error) {
					if len(answers) == 0 {
						return nil, nil //nolint:nilnil // let it through
					}

					answer := answers[0]
					answers = answers[1:]

					return answer(r)
				}

				lose := tc.made
				d.After = func(door.Request) error {
					if !lose {
						return nil
					}

					lose = false

					return errors.New("unexpected EOF")
				}

				op, err := tc.act(ctx, c, webhook)
				if (err != nil) != (tc.code != "") || code(err) != tc.code {
					t.Errorf("%s: %v", tc.reason, err)
				}

				if (op != nil) != (tc.op != "") || op != nil && (op.Kind != "DELETE" || op.State != tc.op) {
					t.Errorf("%s: %+v", tc.reason, op)
				}
			})
		})
	}
}

func TestAGivenKeyIsKept(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, _ *door.Door, c *client.Client) {
		request := client.CreateRequest{Name: "research", IdempotencyKey: "mine"}

		first, err := c.Create(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}

		if again, err := c.Create(t.Context(), request); err != nil || again.ID != first.ID {
			t.Errorf("%+v %v", again, err)
		}

		if _, err := c.Wait(t.Context(), first.ID); err != nil {
			t.Error(err)
		}
	})
}

// TestIfMatch: whatever changes a deployment may be bound to the state that the caller has seen.
func TestIfMatch(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, _ *door.Door, c *client.Client) {
		standing(t, c, "research")

		for _, change := range []struct {
			name string
			act  func(ctx context.Context, etag string) (*client.Operation, error)
		}{
			{"Update", func(ctx context.Context, etag string) (*client.Operation, error) {
				return c.Update(ctx, "research", client.UpdateRequest{Spec: client.Spec{}, IfMatch: etag})
			}},
			{"Repair", func(ctx context.Context, etag string) (*client.Operation, error) {
				return c.Repair(ctx, "research", client.ChangeOptions{IfMatch: etag})
			}},
			{"Verify", func(ctx context.Context, etag string) (*client.Operation, error) {
				return c.Verify(ctx, "research", client.ChangeOptions{IfMatch: etag})
			}},
			{"Extend", func(ctx context.Context, etag string) (*client.Operation, error) {
				_, err := c.Extend(ctx, "research", "3d", client.ChangeOptions{IfMatch: etag})

				return nil, err
			}},
			{"Delete", func(ctx context.Context, etag string) (*client.Operation, error) {
				return c.Delete(ctx, "research", client.DeleteOptions{IfMatch: etag})
			}},
		} {
			seen, err := c.Deployment(t.Context(), "research")
			if err != nil {
				t.Fatal(err)
			}

			if _, err := change.act(t.Context(), `"1"`); code(err) != "precondition_failed" {
				t.Fatalf("%s of another state: %v", change.name, err)
			}

			op, err := change.act(t.Context(), seen.ETag)
			if err == nil && op != nil {
				_, err = c.Wait(t.Context(), op.ID)
			}

			if err != nil {
				t.Fatalf("%s of the state that is there: %v", change.name, err)
			}
		}
	})
}

// TestPlans: what a create and an update would do, as a plan and as a template.
func TestPlans(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		ctx := t.Context()
		create := client.CreateRequest{Name: "research"}
		update := client.UpdateRequest{Spec: client.Spec{Network: client.Network{CIDR: "10.30.0.0/20"}}}

		if plan, err := c.PlanCreate(ctx, create); err != nil || len(plan.Steps) < 10 {
			t.Errorf("%+v %v", plan, err)
		}

		if text, err := c.PlanCreateTemplate(ctx, create); err != nil || !strings.Contains(string(text), `"AWS::Batch::JobQueue"`) {
			t.Errorf("%s %v", text, err)
		}

		if _, err := c.PlanUpdateTemplate(ctx, "research", update); code(err) != "not_found" {
			t.Errorf("there is nothing to update: %v", err)
		}

		standing(t, c, "research")

		if plan, err := c.PlanUpdate(ctx, "research", update); err != nil || len(plan.Steps) < 10 {
			t.Errorf("%+v %v", plan, err)
		}

		if text, err := c.PlanUpdateTemplate(ctx, "research", update); err != nil || !strings.Contains(string(text), `"10.30.0.0/20"`) {
			t.Errorf("%s %v", text, err)
		}

		d.Before = func(door.Request) (*door.Reply, error) { return door.Answer(200, `{"hello":true}`), nil }

		if _, err := c.PlanCreateTemplate(ctx, create); code(err) != "unexpected_answer" {
			t.Errorf("somebody else's JSON is no template: %v", err)
		}
	})
}

func TestTheContextEndsACall(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		d.Before = func(door.Request) (*door.Reply, error) { return nil, errors.New("no route to host") }

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)

		began := time.Now()
		if _, err := c.Deployment(ctx, "research"); !errors.Is(err, context.Canceled) || time.Since(began) > time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}

		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()

		if _, err := c.Deployment(ctx, "research"); err == nil || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("what went wrong says more than that time was up: %v", err)
		}
	})
}

// TestWatchOutlastsAnOutage takes the API away for a minute in the middle of a create.
func TestWatchOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		op, err := c.Create(t.Context(), client.CreateRequest{Name: "research"})
		if err != nil {
			t.Fatal(err)
		}

		from := time.Now().Add(5 * time.Second)
		d.Before = func(door.Request) (*door.Reply, error) {
			if now := time.Now(); now.After(from) && now.Before(from.Add(time.Minute)) {
				return nil, errors.New("network is unreachable")
			}

			return nil, nil //nolint:nilnil // let it through
		}

		if _, err := c.Wait(t.Context(), op.ID); err != nil {
			t.Error(err)
		}
	})
}

// TestWatchOfAnImpatientAPI: an API that does not wait must not be asked without end.
func TestWatchOfAnImpatientAPI(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		began := time.Now()
		d.Before = func(door.Request) (*door.Reply, error) {
			if time.Since(began) > time.Minute {
				return door.Answer(200, `{"id":"x","version":2,"state":"SUCCEEDED","done":true}`), nil
			}

			return door.Answer(200, `{"id":"x","version":1,"state":"RUNNING"}`), nil
		}

		seen := 0
		for _, err := range c.Watch(t.Context(), "x") {
			if seen++; err != nil {
				t.Fatal(err)
			}
		}

		if n := len(d.Requests()); n > 70 || seen != 2 {
			t.Errorf("%d requests in a minute, %d versions", n, seen)
		}
	})
}

func TestARollbackIsAnError(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		d.World.Fault = func(point string) simulation.Action {
			if strings.Contains(point, "batch.CreateJobQueue") {
				return simulation.Refuse
			}

			return simulation.None
		}

		op, err := c.Create(t.Context(), client.CreateRequest{Name: "research"})
		if err != nil {
			t.Fatal(err)
		}

		op, err = c.Wait(t.Context(), op.ID)

		failed, ok := errors.AsType[*client.OperationError](err)
		if !ok || failed.Operation != op || op.State != client.RolledBack {
			t.Fatalf("%+v %v", op, err)
		}

		if p, ok := errors.AsType[*client.Problem](err); !ok || p.Resource != "job-queue/default" || p.AWSCode == "" || p.Remedy == "" {
			t.Errorf("the error must carry the problem: %+v", p)
		}
	})
}

func TestProblems(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		ctx := t.Context()

		_, err := c.Create(ctx, client.CreateRequest{Name: "research", Spec: map[string]any{"network": map[string]any{"cdir": "10.0.0.0/16"}, "storge": 1}})
		if p, _ := errors.AsType[*client.Problem](err); p == nil || p.Status != 422 || len(p.Errors) != 2 || p.Pointer == "" || p.RequestID != "request-1" {
			t.Errorf("both unknown members must be told: %+v", p)
		}

		if _, err := c.Deployment(ctx, "nothing"); code(err) != "not_found" {
			t.Errorf("%v", err)
		}

		if _, err := as(t, d, "acme", deploy.Viewer).Create(ctx, client.CreateRequest{Name: "research"}); code(err) != "role_missing" {
			t.Errorf("%v", err)
		}

		for status, want := range map[int]string{401: "unauthenticated", 403: "forbidden", 404: "no_such_route", 413: "unexpected_answer", 500: "unexpected_answer"} {
			d.Before = func(door.Request) (*door.Reply, error) {
				return door.Answer(status, `{"message":"in its own words"}`, "Apigw-Requestid", "gw-1"), nil
			}

			_, err := c.Deployment(ctx, "research")
			if p, _ := errors.AsType[*client.Problem](err); p == nil || p.Code != want || p.Status != status || p.Detail != "in its own words" || p.RequestID != "gw-1" || p.Remedy == "" {
				t.Errorf("what API Gateway itself answers is a problem, too: %d %+v", status, p)
			}
		}

		for challenge, want := range map[string]string{
			`Bearer scope="" error="invalid_token" error_description="token is malformed: no dots"`: "Unauthorized: token is malformed: no dots",
			`Bearer`: "Unauthorized",
		} {
			d.Before = func(door.Request) (*door.Reply, error) {
				return door.Answer(401, `{"message":"Unauthorized"}`, "Www-Authenticate", challenge), nil
			}

			_, err := c.Deployment(ctx, "research")
			if p, _ := errors.AsType[*client.Problem](err); p == nil || p.Detail != want {
				t.Errorf("why a token is refused stands in the challenge %s: %+v", challenge, p)
			}
		}

		d.Before = func(door.Request) (*door.Reply, error) {
			return door.Answer(200, "<html>a portal of a hotel</html>"), nil
		}

		if _, err := c.Deployment(ctx, "research"); err == nil {
			t.Error("what is not JSON is no deployment")
		}
	})
}

// TestNamesThatLeadElsewhere: what a caller names is one segment of a path, or nothing is sent. API Gateway unescapes the path before it is read, so escaping
// does not help.
func TestNamesThatLeadElsewhere(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct{ reason, named string }{
		"Query":    {reason: "it would be research, with its data", named: "research?data=purge"},
		"Fragment": {reason: "it would be research", named: "research#1"},
		"Route":    {reason: "it would be another route", named: "research/resources"},
		"Verb":     {reason: "likewise", named: "research:verify"},
		"Escape":   {reason: "what it is unescaped to is anybody's guess", named: "research%3Fdata=purge"},
		"Parent":   {reason: "proxies resolve it", named: ".."},
		"Space":    {reason: "no name has one", named: "research "},
		"Line":     {reason: "nor a line's end", named: "research\n"},
		"Case":     {reason: "nor capital letters", named: "Research"},
		"Empty":    {reason: "it would be the list", named: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
				ctx := t.Context()
				first := func(resources iter.Seq2[*client.Resource, error]) error {
					for _, err := range resources {
						return err
					}

					return nil
				}

				for call, act := range map[string]func() error{
					"Update":   func() error { _, err := c.Update(ctx, tc.named, client.UpdateRequest{}); return err },
					"Plan":     func() error { _, err := c.PlanUpdate(ctx, tc.named, client.UpdateRequest{}); return err },
					"Template": func() error { _, err := c.PlanUpdateTemplate(ctx, tc.named, client.UpdateRequest{}); return err },
					"Delete": func() error {
						_, err := c.Delete(ctx, tc.named, client.DeleteOptions{Data: client.Keep, AllowMissing: true})

						return err
					},
					"Deployment":    func() error { _, err := c.Deployment(ctx, tc.named); return err },
					"Deleted":       func() error { _, err := c.DeletedDeployment(ctx, tc.named); return err },
					"Resources":     func() error { return first(c.Resources(ctx, tc.named)) },
					"Configuration": func() error { _, err := c.Configuration(ctx, tc.named, client.Env); return err },
					"Drift":         func() error { _, err := c.Drift(ctx, tc.named); return err },
					"Repair":        func() error { _, err := c.Repair(ctx, tc.named, client.ChangeOptions{}); return err },
					"Verify":        func() error { _, err := c.Verify(ctx, tc.named, client.ChangeOptions{}); return err },
					"Extend":        func() error { _, err := c.Extend(ctx, tc.named, "3d", client.ChangeOptions{}); return err },
					"Operation":     func() error { _, err := c.Operation(ctx, tc.named); return err },
					"Wait":          func() error { _, err := c.Wait(ctx, tc.named); return err },
					"Cancel":        func() error { _, err := c.Cancel(ctx, tc.named); return err },
					"Resume":        func() error { _, err := c.Resume(ctx, tc.named); return err },
					"Skip":          func() error { _, err := c.Skip(ctx, tc.named, "vpc"); return err },
					"Unsubscribe":   func() error { return c.Unsubscribe(ctx, tc.named) },
				} {
					err := act()
					if says := fmt.Sprintf("%q is not the ", tc.named); code(err) != "invalid_name" || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "a-z, 0-9 and -") {
						t.Errorf("%s of %q: %v", call, tc.named, err)
					}
				}

				if n := len(d.Requests()); n != 0 {
					t.Errorf("%s: %d requests were sent", tc.reason, n)
				}
			})
		})
	}
}

func TestTenant(t *testing.T) {
	t.Parallel()
	installation(t, func(t *testing.T, d *door.Door, c *client.Client) {
		op, err := c.Create(t.Context(), client.CreateRequest{Name: "research"})
		if err != nil {
			t.Fatal(err)
		}

		admin, err := client.New(client.Options{
			URL: door.URL, Authorize: client.Bearer(door.Token("root", deploy.Admin)), HTTP: &http.Client{Transport: d}, Tenant: "acme", UserAgent: "mine/1",
		})
		if err != nil {
			t.Fatal(err)
		}

		if got, err := admin.Wait(t.Context(), op.ID); err != nil || got.ID != op.ID {
			t.Errorf("%+v %v", got, err)
		}

		last := d.Requests()[len(d.Requests())-1]
		if last.Header.Get("User-Agent") != "mine/1" {
			t.Errorf("%v", last.Header)
		}
	})
}
