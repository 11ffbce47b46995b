// Command generate writes what is derived from the code: statemachine/deployment.asl.json. `make generate` runs it in the root of the project; a test
// fails when the file is stale.
package main

import (
	"fmt"
	"os"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/all"
	"github.com/metaflow-deployer/metaflow-deployer/internal/workflow"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	graphs, err := workflow.NewGraphs(all.Kinds(all.Clients{}))
	if err != nil {
		return err
	}

	asl, err := workflow.Compile(graphs)
	if err != nil {
		return err
	}

	return os.WriteFile("statemachine/deployment.asl.json", asl, 0o644) //nolint:gosec // a file of the project, to be read by everybody
}
