package mutation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// listed is what the go command tells of a package.
type listed struct {
	Dir, ImportPath, Export string
	GoFiles                 []string
}

// packages lists the product's packages by folder, and where the compiler left what it knows of each package that they import.
func packages(t *testing.T) (ours map[string]listed, exports map[string]string) {
	t.Helper()

	out, err := run(t.Context(), "list", "-export", "-deps", "-json=Dir,ImportPath,Export,GoFiles", "./internal/...", "./functions/...", "./client/...", "./cmd/...")
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}

	ours, exports = map[string]listed{}, map[string]string{}

	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return ours, exports
		} else if err != nil {
			t.Fatal(err)
		}

		exports[p.ImportPath] = p.Export
		if dir, err := filepath.Rel(root(), p.Dir); err == nil {
			ours[dir] = p
		}
	}
}

// compiles says what is wrong with the package that a mutation changes, as a compiler would.
func (m mutation) compiles(set *token.FileSet, known types.Importer, p listed) error {
	text, err := m.mutated()
	if err != nil {
		return err
	}

	var files []*ast.File

	for _, name := range p.GoFiles {
		content := text
		if name != filepath.Base(m.file) {
			if content, err = os.ReadFile(filepath.Join(p.Dir, name)); err != nil {
				return err
			}
		}

		f, err := parser.ParseFile(set, name, content, parser.SkipObjectResolution)
		if err != nil {
			return err
		}

		files = append(files, f)
	}

	_, err = (&types.Config{Importer: known}).Check(p.ImportPath, set, files, nil)

	return err
}

// TestMutationsCompile: a change that the compiler refuses is caught by no test.
func TestMutationsCompile(t *testing.T) {
	t.Parallel()

	ours, exports := packages(t)
	set := token.NewFileSet()
	known := importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("nobody compiled %s", path)
		}

		return os.Open(exports[path])
	})

	for _, m := range mutations() {
		p, ok := ours[filepath.Dir(m.file)]
		if !ok {
			t.Errorf("%s: %s is in no package of the product", m.name, m.file)

			continue
		}

		if err := m.compiles(set, known, p); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}
