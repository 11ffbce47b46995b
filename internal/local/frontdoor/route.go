package frontdoor

import (
	"fmt"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

// route is a route with its key taken apart.
type route struct {
	samtemplate.Route
	method   string   // "ANY" matches all
	segments []string // nil for $default
}

func parseRoute(r samtemplate.Route) (route, error) {
	if r.Key == "$default" {
		return route{Route: r, method: "ANY"}, nil
	}
	method, path, ok := strings.Cut(r.Key, " ")
	if !ok || !strings.HasPrefix(path, "/") {
		return route{}, fmt.Errorf("route %s: key %q is neither \"METHOD /path\" nor $default", r.LogicalID, r.Key)
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		if strings.HasSuffix(s, "+}") && i != len(segments)-1 {
			return route{}, fmt.Errorf("route %s: a greedy variable must end the path %q", r.LogicalID, path)
		}
	}
	return route{Route: r, method: method, segments: segments}, nil
}

// match picks the route as API Gateway does: a full match of method and path first, then variables,
// then a greedy variable, then $default; the method itself before ANY.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
func match(routes []route, method, path string) (best route, params map[string]string, ok bool) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	bestScore := -1
	for _, r := range routes {
		if r.method != "ANY" && r.method != method {
			continue
		}
		score, vars, fits := r.fit(segments)
		if !fits {
			continue
		}
		score *= 2
		if r.method != "ANY" {
			score++
		}
		if score > bestScore {
			best, params, bestScore, ok = r, vars, score, true
		}
	}
	return best, params, ok
}

// fit scores how closely a path fits a route: the more literal segments the better, a greedy
// variable worst but for $default.
func (r route) fit(path []string) (score int, params map[string]string, ok bool) {
	if r.segments == nil {
		return 0, nil, true
	}
	params = map[string]string{}
	score = 1
	for i, s := range r.segments {
		if i >= len(path) {
			return 0, nil, false
		}
		name, variable := strings.CutPrefix(s, "{")
		name = strings.TrimSuffix(name, "}")
		greedy, isGreedy := strings.CutSuffix(name, "+")
		switch {
		case variable && isGreedy:
			// It takes a path that ends in the slash before it, too: no route may end in a slash itself.
			params[greedy] = strings.Join(path[i:], "/")
			return score, params, true
		case variable:
			if path[i] == "" {
				return 0, nil, false
			}
			params[name] = path[i]
			score += 2
		case s != path[i]:
			return 0, nil, false
		default:
			score += 3
		}
	}
	if len(path) != len(r.segments) {
		return 0, nil, false
	}
	return score + 1000, params, true // more than any greedy route reaches
}
