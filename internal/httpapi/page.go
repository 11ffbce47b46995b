package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Page is what every list takes.
type Page struct {
	PageSize  int    `query:"pageSize" default:"50" doc:"How many to answer at most: 1 to 100, anything else is taken for the nearest"`
	PageToken string `query:"pageToken" maxLength:"1024" doc:"nextPageToken of the page before, with the other parameters unchanged"`
}

func (p Page) size() int { return min(max(p.PageSize, 1), 100) }

// cursor is what a page token holds. After is a place in the caller's own list and reveals nothing; For binds the token to tenant and parameters, so
// that a token which wandered is refused rather than misread. It needs no secret: whoever forges one reaches their own list only.
type cursor struct {
	After string `json:"a"`
	For   string `json:"f"`
}

// scope names a list: whose it is and what it is filtered by.
func scope(parts ...string) string {
	b, _ := json.Marshal(parts) //nolint:errchkjson // strings always marshal
	sum := sha256.Sum256(b)

	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func pageToken(after, scope string) string {
	b, _ := json.Marshal(cursor{After: after, For: scope}) //nolint:errchkjson // strings always marshal

	return base64.RawURLEncoding.EncodeToString(b)
}

// after is the place that a token stands for, empty without a token.
func (p Page) after(scope string) (string, error) {
	if p.PageToken == "" {
		return "", nil
	}

	var c cursor

	b, err := base64.RawURLEncoding.DecodeString(p.PageToken)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}

	if err != nil || c.For != scope || c.After == "" {
		return "", problem(http.StatusBadRequest, deploy.Invalid, "bad_page_token", "The page token is not one of this list.").at("pageToken").
			remedy("Start again without a token; keep the other parameters the same from page to page.")
	}

	return c.After, nil
}

// filter parses `phase=ACTIVE, label.team=x` (or joined by AND) into a predicate. All terms must hold. Phases are compared exactly.
func filter(text string) (func(deploy.Deployment) bool, error) {
	type term struct{ member, value string }

	refuse := func(detail string, args ...any) error {
		return problem(http.StatusUnprocessableEntity, deploy.Invalid, "invalid_filter", detail, args...).at("filter").
			remedy("Write it like phase=ACTIVE,label.team=data.")
	}

	if strings.TrimSpace(text) == "" {
		return func(deploy.Deployment) bool { return true }, nil
	}

	var terms []term

	for part := range strings.SplitSeq(strings.ReplaceAll(text, " AND ", ","), ",") {
		member, value, ok := strings.Cut(part, "=")
		member, value = strings.TrimSpace(member), strings.TrimSpace(value)

		switch {
		case !ok:
			return nil, refuse("A term of the filter is a member, = and a value.")
		case member == "phase" && !slices.Contains(phases(), deploy.Phase(value)):
			return nil, refuse("There is no such phase; there are: %s.", strings.Trim(fmt.Sprint(phases()), "[]"))
		case member != "phase" && (!strings.HasPrefix(member, "label.") || member == "label."):
			return nil, refuse("A filter knows phase and label.KEY.")
		}

		terms = append(terms, term{member, value})
	}

	return func(d deploy.Deployment) bool {
		for _, t := range terms {
			have, ok := string(d.Phase), true
			if key, isLabel := strings.CutPrefix(t.member, "label."); isLabel {
				have, ok = d.Labels[key]
			}

			if !ok || have != t.value {
				return false
			}
		}

		return true
	}, nil
}

func phases() []deploy.Phase {
	return []deploy.Phase{
		deploy.PhaseCreating, deploy.PhaseActive, deploy.PhaseUpdating, deploy.PhaseDeleting, deploy.PhaseDeleted, deploy.PhaseFailed, deploy.PhaseNeedsAttention,
	}
}
