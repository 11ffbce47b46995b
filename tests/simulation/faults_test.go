package simulation_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// sample takes some of the trials, the same ones each time: a plain `go test` few, `make test` more, `make simulate` (METAFLOW_DEPLOYER_SIMULATE=all) all.
func sample(trials []simulation.Trial, few, more int) []simulation.Trial {
	n := few

	switch {
	case os.Getenv("METAFLOW_DEPLOYER_SIMULATE") == "all":
		return trials
	case os.Getenv("METAFLOW_DEPLOYER_VENV") != "":
		n = more
	}

	if n >= len(trials) {
		return trials
	}

	r := rand.New(rand.NewPCG(uint64(len(trials)), 7))

	var some []simulation.Trial
	for _, i := range r.Perm(len(trials))[:n] {
		some = append(some, trials[i])
	}

	return some
}

// shard takes the part of the trials that METAFLOW_DEPLOYER_SHARD names, "2/8" being the second of eight; what takes an hour can be run in parts.
func shard(trials []simulation.Trial) []simulation.Trial {
	var part, of int

	if n, _ := fmt.Sscanf(os.Getenv("METAFLOW_DEPLOYER_SHARD"), "%d/%d", &part, &of); n < 2 {
		return trials
	}

	var some []simulation.Trial
	for i := part - 1; i < len(trials); i += of {
		some = append(some, trials[i])
	}

	return some
}

// one runs a trial in a bubble of virtual time of its own.
func one(t *testing.T, trial simulation.Trial, undisturbed *simulation.Report) (r simulation.Report) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		t.Helper()

		r = trial.Run(t.Context(), undisturbed)
	})

	return r
}

// undisturbed runs the trial's life and weather without a fault.
func undisturbed(t *testing.T, weather, life string) *simulation.Report {
	t.Helper()

	trial := simulation.Trial{Seed: 1, Weather: weather, Life: life}

	r := one(t, trial, nil)
	if r.Err != nil {
		t.Fatalf("%s\n%v", again(trial), r.Err)
	}

	return &r
}

// again is the line that runs a trial again.
func again(trial simulation.Trial) string {
	return fmt.Sprintf("METAFLOW_DEPLOYER_WORLD='%s' go test -count 1 -v -run TestReplay ./tests/simulation", trial)
}

// each runs trials on all processors and tells what came of them, one after the other.
func each(t *testing.T, trials []simulation.Trial, calm calms, tell func(i int, r simulation.Report)) {
	t.Helper()

	var (
		next atomic.Int64
		wait sync.WaitGroup
		mu   sync.Mutex
	)

	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(trials) {
					return
				}

				r := one(t, trials[i], calm[trials[i].Life])

				mu.Lock()
				tell(i, r)
				mu.Unlock()
			}
		})
	}

	wait.Wait()
}

// calms are the undisturbed worlds of lives.
type calms map[string]*simulation.Report

// family runs many trials and prints what came of them. It answers the points at which nothing broke, where the trials are of one life and all of them are
// run.
func family(t *testing.T, name string, trials []simulation.Trial, calm calms) (missed []string) {
	t.Helper()

	var (
		wrong   []simulation.Trial
		reports simulation.Sum
		began   = time.Now()
	)

	some := shard(trials)

	each(t, some, calm, func(i int, r simulation.Report) {
		total.Lock()
		total.Add(r)
		total.Unlock()

		reports.Add(r)

		if r.Err != nil {
			wrong = append(wrong, some[i])
		}
	})

	// Many worlds usually fail for one reason.
	for _, trial := range wrong[:min(len(wrong), 5)] {
		small := shrink(t, trial, calm[trial.Life])
		t.Errorf("%s\n%v", again(small), one(t, small, calm[trial.Life]).Err)
	}

	var whole *simulation.Report
	for life := range calm {
		whole = calm[life]
	}

	if len(calm) != 1 {
		whole = nil
	}

	t.Logf("%-28s %s", name, reports.String(time.Since(began), whole))

	if len(some) < len(trials) || os.Getenv("METAFLOW_DEPLOYER_SIMULATE") != "all" {
		return nil
	}

	return reports.Missed(whole)
}

// shrink drops faults one by one as long as the world stays wrong.
func shrink(t *testing.T, trial simulation.Trial, calm *simulation.Report) simulation.Trial {
	t.Helper()

	for i := 0; i < len(trial.Faults) && len(trial.Faults) > 1; {
		smaller := trial
		smaller.Faults = slices.Delete(slices.Clone(trial.Faults), i, i+1)

		if one(t, smaller, calm).Err != nil {
			trial = smaller
		} else {
			i++
		}
	}

	return trial
}

// singles breaks every point of a life once, in every way that can happen there.
func singles(weather, life string, points []string) []simulation.Trial {
	var trials []simulation.Trial

	for _, f := range simulation.Faults() {
		for i, p := range points {
			if f.At(simulation.ParsePoint(p)) {
				trials = append(trials, simulation.Trial{
					Seed: uint64(i + 1), Weather: weather, Life: life, Faults: []simulation.Injection{{Point: p, Action: f.Action}},
				})
			}
		}
	}

	return trials
}

// TestSingleFaults breaks every point of a life once in every way: of each sort of life there is.
func TestSingleFaults(t *testing.T) {
	t.Parallel()

	for life, size := range map[string]struct{ few, more int }{
		"purge": {250, 600}, "rollback": {120, 300}, "rollback-chain": {60, 150}, "keep": {80, 200}, "regret": {80, 200}, "resume": {40, 100}, "resume-rollback": {40, 100}, "skip": {40, 100},
		"supersede-5": {40, 100}, "supersede-20": {40, 100}, "cancel-5": {40, 100}, "cancel-20": {40, 100},
		"update": {40, 100}, "replace": {40, 100}, "update-rollback": {40, 100}, "replace-rollback": {40, 100}, "update-resume": {20, 50},
		"update-rollback-resume": {20, 50}, "repair": {20, 50}, "repair-resume": {20, 50}, "repair-cancel": {20, 50}, "expire": {20, 50}, "expire-resume": {20, 50},
		"verify": {20, 50}, "verify-fails": {20, 50}, "create-verify": {20, 50}, "create-verify-resume": {20, 50}, "create-verify-fails": {20, 50},
		"update-cancel-2": {20, 50}, "update-cancel-5": {20, 50}, "update-supersede-2": {20, 50}, "update-supersede-5": {20, 50},
	} {
		t.Run(life, func(t *testing.T) {
			t.Parallel()

			calm := undisturbed(t, "calm", life)

			if missed := family(t, "single faults, "+life, sample(singles("calm", life, calm.Points), size.few, size.more), calms{life: calm}); len(missed) > 0 {
				t.Errorf("nothing broke at %v", missed)
			}
		})
	}
}

// TestPairsOfCrashes lets a process die anywhere, and after that a second one anywhere on the way that the recovery takes: every pair of deaths that a life
// has. The life "purge" is a create and a delete, "rollback" and "rollback-chain" are creates that are rolled back.
func TestPairsOfCrashes(t *testing.T) {
	t.Parallel()

	for life, size := range map[string]struct{ few, more int }{"purge": {100, 400}, "rollback": {50, 200}, "rollback-chain": {25, 100}} {
		t.Run(life, func(t *testing.T) {
			t.Parallel()

			calm := undisturbed(t, "calm", life)

			var first []simulation.Trial
			for i, death := range calm.Deaths() {
				first = append(first, simulation.Trial{Seed: uint64(i + 1), Weather: "calm", Life: life, Faults: []simulation.Injection{death}})
			}

			// A sample need not learn every way.
			first = sample(first, size.few/5, size.more/5)
			second := make([][]simulation.Trial, len(first))

			each(t, first, calms{life: calm}, func(i int, r simulation.Report) {
				deaths := r.Deaths()
				at := slices.Index(deaths, first[i].Faults[0])

				for _, death := range deaths[at+1:] {
					trial := first[i]
					trial.Faults = []simulation.Injection{first[i].Faults[0], death}
					second[i] = append(second[i], trial)
				}
			})

			family(t, "pairs of crashes, "+life, sample(slices.Concat(second...), size.few, size.more), calms{life: calm})
		})
	}
}

// TestTriples breaks three points of a life at once, thrown with dice.
func TestTriples(t *testing.T) {
	t.Parallel()

	lives := []string{"purge", "rollback", "rollback-chain", "keep", "update", "expire-resume", "supersede-10", "cancel-10"}

	for _, life := range lives {
		t.Run(life, func(t *testing.T) {
			t.Parallel()

			calm := undisturbed(t, "calm", life)

			var trials []simulation.Trial

			r := rand.New(rand.NewPCG(1, 3))
			all := singles("calm", life, calm.Points)

			for seed := range 10_000 / len(lives) {
				trial := simulation.Trial{Seed: uint64(seed), Weather: "calm", Life: life}
				for range 3 {
					trial.Faults = append(trial.Faults, all[r.IntN(len(all))].Faults[0])
				}

				trials = append(trials, trial)
			}

			family(t, "triples, "+life, sample(trials, 30, 80), calms{life: calm})
		})
	}
}

// TestWeathers tries every life in every weather, with many seeds, and lets processes die, stand still and lose answers in it. Whatever the weather, a life
// ends as it does in a calm one.
func TestWeathers(t *testing.T) {
	t.Parallel()

	calm := calms{}
	for _, life := range slices.Sorted(maps.Keys(simulation.Lives())) {
		calm[life] = undisturbed(t, "calm", life)
	}

	for weather := range simulation.Weathers() {
		t.Run(weather, func(t *testing.T) {
			t.Parallel()

			var trials []simulation.Trial

			for life := range calm {
				for seed := range uint64(10) {
					trials = append(trials, simulation.Trial{Seed: seed, Weather: weather, Life: life})
				}
			}

			slices.SortFunc(trials, func(a, b simulation.Trial) int { return strings.Compare(a.String(), b.String()) })

			purge := one(t, simulation.Trial{Seed: 1, Weather: weather, Life: "purge"}, nil)
			for _, trial := range singles(weather, "purge", purge.Points) {
				if a := trial.Faults[0].Action; a == simulation.CrashAfter || a == simulation.LoseAnswer || a == simulation.Pause {
					trials = append(trials, trial)
				}
			}

			family(t, "weather "+weather, sample(trials, 30, 100), calm)
		})
	}
}

// TestReplay runs the world of METAFLOW_DEPLOYER_WORLD ten times: what happens at the same instant happens in any order.
func TestReplay(t *testing.T) {
	t.Parallel()

	line := os.Getenv("METAFLOW_DEPLOYER_WORLD")
	if line == "" {
		t.Skip("METAFLOW_DEPLOYER_WORLD names no world")
	}

	trial, err := simulation.ParseTrial(line)
	if err != nil {
		t.Fatal(err)
	}

	calm := one(t, simulation.Trial{Seed: 1, Weather: "calm", Life: trial.Life}, nil)

	for range 10 {
		if r := one(t, trial, &calm); r.Err != nil {
			t.Errorf("%d of %d faults happened\n%v", len(r.Hit), len(trial.Faults), r.Err)
		}
	}
}
