package simulation_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// tally adds up the families for the last line that is printed.
type tally struct {
	sync.Mutex
	simulation.Sum
}

var total tally

func TestMain(m *testing.M) {
	began := time.Now()

	// Worlds are small and short-lived: with Go's own setting, a third of the time goes into collecting what is left of them.
	debug.SetGCPercent(1000)

	code := m.Run()

	if total.Worlds > 0 && os.Getenv("METAFLOW_DEPLOYER_SIMULATE") != "" {
		fmt.Printf("total: %s\n", total.String(time.Since(began), nil)) //nolint:forbidigo // the command's result
	}

	os.Exit(code)
}
