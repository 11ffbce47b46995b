package httpapi_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryProblemHasItsEntry: a problem's type leads to the page's entry for it, whichever room the problem comes from.
func TestEveryProblemHasItsEntry(t *testing.T) {
	t.Parallel()

	page := string(newWorld(t).do(http.MethodGet, "/docs", "").want(http.StatusOK).body)
	made := regexp.MustCompile(`(?:Errorf|problem)\((?:http\.\w+, )?(?:deploy\.)?\w+, "([a-z]+(?:_[a-z]+)*)"`)
	found := map[string]bool{}

	for _, room := range []string{"awserr", "deploy", "egress", "httpapi", "kind", "lambdahttp", "workflow"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}

			text, err := os.ReadFile(path)

			for _, m := range made.FindAllStringSubmatch(string(text), -1) {
				if found[m[1]] = true; !strings.Contains(page, `id="problem-`+m[1]+`"`) {
					t.Errorf("%s: the page has no entry for %s", path, m[1])
				}
			}

			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	if len(found) < 60 {
		t.Errorf("only %d problems were found", len(found))
	}
}
