package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// TestConcurrentNames asks 50 times at once for one name: one gets it, and the others are led to that one's operation.
func TestConcurrentNames(t *testing.T) {
	w := newWorld(t)

	answers := w.together(50, func(i int) request {
		r := request{method: "POST", path: "/v1/deployments", body: object{"name": "research"}}
		if i%2 == 0 {
			r.header = map[string]string{"Idempotency-Key": fmt.Sprintf("key-%d", i)}
		}

		return r
	})

	t.Parallel() // until here, fifty functions have been enough for the computer

	var admitted []string

	for _, a := range answers {
		if a.status == http.StatusAccepted {
			admitted = append(admitted, as[operation](w, a, http.StatusAccepted).ID)
		}
	}

	if len(admitted) != 1 {
		t.Fatalf("%d were admitted: %v", len(admitted), admitted)
	}

	for _, a := range answers {
		if a.status == http.StatusAccepted {
			continue
		}

		p := as[problem](w, a, http.StatusConflict)
		if p.Code != "already_exists" || p.Operation != "/v1/operations/"+admitted[0] || a.header.Get("Location") != p.Operation || p.Remedy == "" {
			t.Errorf("a loser is not led to %s: %s", admitted[0], a.body)
		}
	}

	w.finish(admitted[0], "SUCCEEDED")

	for ref, lines := range w.inventory().ours("research") {
		if len(lines) != 1 {
			t.Errorf("%s is there %d times: %v", ref, len(lines), lines)
		}
	}
}

// TestConcurrentRepetition sends one request with one key 20 times at once.
func TestConcurrentRepetition(t *testing.T) {
	w := newWorld(t)
	same := request{method: "POST", path: "/v1/deployments", body: object{"name": "research"}, header: map[string]string{"Idempotency-Key": "one"}}
	ids := map[string]bool{}

	for _, a := range w.together(20, func(int) request { return same }) {
		if a.status == http.StatusAccepted {
			ids[as[operation](w, a, http.StatusAccepted).ID] = true

			continue
		}

		if p := as[problem](w, a, http.StatusConflict); p.Code != "request_in_progress" || p.Remedy == "" {
			t.Errorf("neither the operation nor a request to wait: %s", a.body)
		}
	}

	if len(ids) != 1 {
		t.Errorf("one request became the operations %v", ids)
	}

	other := same
	other.body = object{"name": "another"}

	if p := as[problem](w, w.ask(other), http.StatusUnprocessableEntity); p.Code != "idempotency_key_reused" {
		t.Errorf("the key with another body: %s", show(p))
	}
}

// together sends n requests at once.
func (w *world) together(n int, make func(int) request) []answer {
	w.Helper()

	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		out  []answer
		errs []error
	)

	for i := range n {
		all.Go(func() {
			a, err := w.try(make(i))
			if err == nil && a.status == http.StatusServiceUnavailable {
				a, err = w.try(make(i)) // the problem says that the same request may succeed
			}

			mu.Lock()
			defer mu.Unlock()

			out, errs = append(out, a), append(errs, err)
		})
	}

	all.Wait()

	for _, err := range errs {
		if err != nil {
			w.Fatal(err)
		}
	}

	return out
}
