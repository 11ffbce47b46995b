package simulation_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// TestHerd lets many deployments come at once: 10,000 over 200 account-Regions, of whose tenants each may have as many operations at work as template.yaml
// lets it by default; the others wait in their tenants' queues. A plain run takes 100 over 2, which is as dense. Time is printed and not judged: the aim for
// the whole is 90 s on one core, which is for a machine to show.
func TestHerd(t *testing.T) {
	h := struct{ deployments, accounts int }{100, 2}

	if os.Getenv("METAFLOW_DEPLOYER_SIMULATE") == "all" {
		h.deployments, h.accounts = 10_000, 200

		// On one core; and the collector may take its time until memory is short, for what is kept of ten thousand deployments is much.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(500 << 20))
	} else {
		t.Parallel()
	}

	one := herd(t, 1, 1, 1)

	// The machine may be busy with other things: what counts is the processor's own time.
	began := processorSeconds(t)
	r := herd(t, h.deployments, h.accounts, float64(h.deployments)/10_000)
	took := processorSeconds(t) - began

	// Attempts: invocations of functions and calls of AWS, those that were refused and throttled among them.
	invocations := float64(r.Invocations) / float64(h.deployments) / float64(one.Invocations)
	calls := float64(r.Calls) / float64(h.deployments) / float64(one.Calls)

	t.Logf("%d deployments at once over %d account-Regions: %d ended, %d ACTIVE, %.1f s of processor time, peak %d MB, longest wait of a caller %s, longest start delay %s, longest create %s (alone %s), "+
		"%d throttled calls, %d refused starts, %d refused invocations, %.2f times the invocations and %.2f times the calls of AWS of one alone",
		h.deployments, h.accounts, r.Ended, r.Active, took, r.Peak>>20, r.Admission, r.StartDelay, r.Makespan, one.Makespan,
		r.Throttled, r.RefusedStarts, r.RefusedInvocations, invocations, calls)

	if r.Ended != h.deployments || r.Active != h.deployments {
		t.Errorf("%d of %d ended, %d are ACTIVE", r.Ended, h.deployments, r.Active)
	}

	if r.Things != h.deployments*one.Things {
		t.Errorf("%d things are there, not %d for each deployment", r.Things, one.Things)
	}

	if one.Calls == 0 || max(invocations, calls) > 3 {
		t.Errorf("more than 3 times the attempts of one alone, or none were counted")
	}

	if r.Peak > 512<<20 {
		t.Errorf("%d MB were in use, more than 512", r.Peak>>20)
	}
}

func processorSeconds(t *testing.T) float64 {
	t.Helper()

	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}

	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func herd(t *testing.T, deployments, accounts int, share float64) (r simulation.HerdReport) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		t.Helper()

		var err error

		h := &simulation.Herd{Deployments: deployments, Accounts: accounts, Share: share}
		if r, err = h.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})

	return r
}
