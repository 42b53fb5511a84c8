package actions

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden"
)

// changes returns when something was begun or taken back.
func (w *world) changes() (begun, back []time.Duration) {
	seen := make(map[string]bool) // an event tells of a status more than once
	for _, e := range w.ledger.events() {
		first := !seen[e.Name+e.State]
		seen[e.Name+e.State] = true
		switch {
		case !first:
		case e.State == string(gatewarden.ActionStarted):
			begun = append(begun, e.At.Sub(w.begun))
		case e.State == string(gatewarden.ActionReverting):
			back = append(back, e.At.Sub(w.begun))
		}
	}
	return begun, back
}

// busiest returns how many of the instants lie in the busiest hour.
func busiest(instants []time.Duration) (most int) {
	for i, from := range instants {
		end, _ := slices.BinarySearch(instants, from+time.Hour)
		most = max(most, end-i)
	}
	return most
}

func flapping() gatewarden.ActionPolicy {
	return policyWith(func(p *gatewarden.ActionPolicy) {
		p.Steps = []gatewarden.Step{weightStep(0, "v2"), pluginStep(30*time.Second, "recommendations")}
		p.Limits = gatewarden.Limits{Cooldown: 10 * time.Minute, PerHour: 4, MaxActive: 2}
	})
}

func TestAnInputThatFlipsEvery30sChangesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{flapping()}, slo("orders", "protect"))
		for i := range 3 * 60 * 60 {
			word := "outage"
			if i/30%2 == 1 {
				word = "healthy"
			}
			tick(t, w, map[string]string{"orders": word})
		}
		if begun, back := w.changes(); len(begun) != 2 || len(back) != 0 {
			t.Errorf("begun at %v, taken back at %v; want each step once, and to stay", begun, back)
		}
		w.close(t)
	})
}

// The bound that docs/rules.md states, whatever the input and whenever the guard is
// restarted.
func TestFlappingIsBounded(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 11))
			p := flapping()
			p.Revert.After = time.Duration(1+rnd.IntN(120)) * time.Second
			p.Revert.Stepwise = rnd.IntN(2) == 0
			p.Limits.Cooldown = time.Duration(1+rnd.IntN(300)) * time.Second
			w := start(t, []gatewarden.ActionPolicy{p}, slo("orders", "protect"))
			for time.Since(w.begun) < 90*time.Minute {
				word := []string{"outage", "healthy", "healthy", "blind"}[rnd.IntN(4)]
				for range 1 + rnd.IntN(400) {
					tick(t, w, map[string]string{"orders": word})
				}
				if rnd.IntN(10) == 0 {
					w.kill()
					if err := w.boot(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			begun, back := w.changes()
			if n := busiest(begun); n > p.Limits.PerHour {
				t.Errorf("seed %d: %d begun in an hour, %v, and the limit is %d", seed, n, begun, p.Limits.PerHour)
			}
			if n := busiest(back); n > p.Limits.PerHour+p.Limits.MaxActive {
				t.Errorf("seed %d: %d taken back in an hour: %v", seed, n, back)
			}
			w.close(t)
		})
	}
}
