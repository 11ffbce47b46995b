package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

// TestRouter walks the router itself: a route that was registered past the document would be in no list that a person keeps.
func TestRouter(t *testing.T) {
	t.Parallel()

	s := serving(Options{Control: &workflow.Control{}, Graphs: &workflow.Graphs{}, Portal: http.NotFoundHandler()})

	var served, documented []string

	err := chi.Walk(s.mux, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		// The page is for people, and says itself what it is.
		if !strings.HasPrefix(route, "/portal") {
			served = append(served, method+" "+route)
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	for path, item := range s.api.OpenAPI().Paths {
		for method, is := range map[string]bool{
			"GET": item.Get != nil, "POST": item.Post != nil, "PUT": item.Put != nil, "PATCH": item.Patch != nil, "DELETE": item.Delete != nil,
			"HEAD": item.Head != nil, "OPTIONS": item.Options != nil, "TRACE": item.Trace != nil,
		} {
			if is {
				documented = append(documented, method+" "+path)
			}
		}
	}

	slices.Sort(served)
	slices.Sort(documented)

	if diff := cmp.Diff(documented, served); diff != "" || len(served) < 25 {
		t.Errorf("%d routes are served (-documented +served):\n%s", len(served), diff)
	}
}
