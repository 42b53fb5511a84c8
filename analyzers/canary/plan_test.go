package canary

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// What is planned is what happens, within a factor of two.
func TestPlansAreOfTheRightOrder(t *testing.T) {
	t.Parallel()
	shop := Traffic{Rate: 200, Share: 0.1, Errors: 0.001}
	p := prompt()
	for name, c := range map[string]struct {
		plan   time.Duration
		change func(*traffic)
		state  gatewarden.State
	}{
		"ten times the errors":   {p.TimeToFailErrors(shop, 10), func(tr *traffic) { tr.failing = by(0.001, 0.01) }, gatewarden.Breach},
		"three times the errors": {p.TimeToFailErrors(shop, 3), func(tr *traffic) { tr.failing = by(0.001, 0.003) }, gatewarden.Breach},
		"half of them fail":      {p.TimeToFailErrors(shop, 1000), func(tr *traffic) { tr.failing = by(0.001, 0.5) }, gatewarden.Breach},
		"a fifth slower": {p.TimeToFailLatency(shop, 1.2), func(tr *traffic) {
			tr.slowness = func(_ int, k gatewarden.Track) float64 { return 1 + 0.2*float64(k) }
		}, gatewarden.Breach},
		"healthy": {p.TimeToPass(shop), func(*traffic) {}, gatewarden.Healthy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var took []int
			for seed := range uint64(5) {
				tr := newTraffic(seed)
				c.change(tr)
				v, at := tr.run(t, p, 1500)
				if v.State != c.state {
					at = 1500
				}
				took = append(took, at)
			}
			slices.Sort(took)
			t.Logf("planned %s, took %v s", c.plan, took)
			if r := float64(took[2]) / c.plan.Seconds(); r < 0.5 || r > 2 {
				t.Errorf("planned %s, took %v s", c.plan, took)
			}
		})
	}
}

func TestPlansOfWhatNeverHappens(t *testing.T) {
	p := DefaultPolicy()
	for name, got := range map[string]time.Duration{
		"a ratio within the margin":   p.TimeToFailErrors(Traffic{Rate: 200, Share: 0.1, Errors: 0.01}, 1.05),
		"a latency within the margin": p.TimeToFailLatency(Traffic{Rate: 200, Share: 0.1}, 1.05),
		"no traffic":                  p.TimeToFailErrors(Traffic{Share: 0.1}, 5),
		"no canary":                   p.TimeToPass(Traffic{Rate: 200, Errors: 0.01}),
		"nonsense":                    p.TimeToFailLatency(Traffic{Rate: math.NaN(), Share: 0.1}, 2),
	} {
		if got < never {
			t.Errorf("%s: %s", name, got)
		}
	}
}
