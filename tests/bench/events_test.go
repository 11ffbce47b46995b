package bench

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// BenchmarkEvents measures how long events take from the moment that stands in them, just before they are written, to a webhook on this computer: through
// the table's stream, a function, a queue and another function.
func BenchmarkEvents(b *testing.B) {
	d := startStack(b)

	type arrival struct {
		phase string
		took  float64
	}

	arrivals := make(chan arrival, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e struct {
			Time  time.Time
			Phase string
		}

		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &e)
		}

		if err != nil {
			b.Error(err)
		}

		arrivals <- arrival{e.Phase, time.Since(e.Time).Seconds()}
	}))
	b.Cleanup(receiver.Close)

	d.ask(http.MethodPost, "/v1/webhooks", `{"url": "`+receiver.URL+`"}`)
	d.finish(http.MethodPost, "/v1/deployments", `{"name": "research"}`)
	d.finish(http.MethodDelete, "/v1/deployments/research?data=purge", "")

	var took []float64

	for end := time.After(patience); ; {
		select {
		case a := <-arrivals:
			took = append(took, a.took)

			if a.phase != "DELETED" {
				continue
			}
		case <-end:
			b.Fatalf("after %d events the last one is missing", len(took))
		}

		break
	}

	slices.Sort(took)
	results.count(b, "events", "from the store to a webhook, median", took[len(took)/2], 0, "s")
	results.count(b, "events", "from the store to a webhook, slowest", took[len(took)-1], 0, "s")
}
