package burnrate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// onset returns how long the line needs from the moment that traffic turns from
// before to after. phase is that moment's tenth within a second.
func onset(t testing.TB, l *lane, phase int64, before, after traffic) time.Duration {
	t.Helper()
	if early := l.alarms(30*time.Second+time.Duration(phase)*time.Second/tenths, before); len(early) > 0 {
		t.Fatalf("fires at %v, before the fault", early)
	}
	const limit = 5 * time.Minute
	began := l.at()
	if alarms := l.alarms(limit, after); len(alarms) > 0 {
		return alarms[0].Sub(began)
	}
	return limit
}

type delays []time.Duration

func (d delays) at(q float64) time.Duration {
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}

// stepDelays measures the delay of a step from 0.1 % to the given bad ratio, over
// all phases of onset and of Kong's batches against the ticks.
func stepDelays(t testing.TB, rate, bad float64, immediate bool, rounds uint64) delays {
	var all delays
	for seed := range rounds {
		for phase := range int64(tenths) {
			for flush := range int64(tenths) {
				rng := rand.New(rand.NewPCG(seed, uint64(phase*tenths+flush)))
				l := newLane(0.1, start, flush, rng.Int64N(tenths))
				l.immediate = immediate
				all = append(all, onset(t, l, phase, steady(rng, rate, 0.001), steady(rng, rate, bad)))
			}
		}
	}
	return all
}

func TestOutageIsFoundInTime(t *testing.T) {
	cases := map[string]struct {
		rate, bad   float64
		immediate   bool
		median, max time.Duration
	}{
		"half of 100/s fails, Kong's batches":    {rate: 100, bad: 0.5, median: 2500 * time.Millisecond, max: 4 * time.Second},
		"half of 100/s fails, no batches":        {rate: 100, bad: 0.5, immediate: true, median: 2 * time.Second, max: 3 * time.Second},
		"half of 1000/s fails, Kong's batches":   {rate: 1000, bad: 0.5, median: 2500 * time.Millisecond, max: 4 * time.Second},
		"all of 100/s fails, Kong's batches":     {rate: 100, bad: 1, median: 2500 * time.Millisecond, max: 4 * time.Second},
		"half of 10/s fails, Kong's batches":     {rate: 10, bad: 0.5, median: 6 * time.Second, max: 20 * time.Second},
		"all of 1/s fails, Kong's batches":       {rate: 1, bad: 1, median: 11 * time.Second, max: 30 * time.Second},
		"a fifth of 100/s fails, Kong's batches": {rate: 100, bad: 0.2, median: 7 * time.Second, max: 20 * time.Second},
	}
	rounds := uint64(1)
	if *table {
		rounds = 20
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := stepDelays(t, c.rate, c.bad, c.immediate, rounds)
			t.Logf("%d rounds: median %v, 90 %% %v, max %v", len(d), d.at(0.5), d.at(0.9), d.at(1))
			if d.at(0.5) > c.median || d.at(1) > c.max {
				t.Errorf("median %v, max %v; want at most %v and %v", d.at(0.5), d.at(1), c.median, c.max)
			}
		})
	}
}

// A fault that creeps in from 5 % to all requests within a minute is found soon
// after it crosses the line of 10 %, never before.
func TestOutageRamp(t *testing.T) {
	for _, rate := range []float64{10, 100, 1000} {
		var after delays
		for seed := range uint64(15) {
			rng := rand.New(rand.NewPCG(seed, uint64(rate)))
			l := newLane(0.1, start, rng.Int64N(tenths), rng.Int64N(tenths))
			began := l.now + 30*tenths
			ramp := func(tenth int64) gatewarden.Count {
				return steady(rng, rate, 0.05+0.95*float64(tenth-began)/(60*tenths))(tenth)
			}
			crosses := time.Minute * 5 / 95
			after = append(after, onset(t, l, 0, steady(rng, rate, 0.001), ramp)-crosses)
		}
		t.Logf("%4.0f/s: after the line is crossed: min %v, median %v, max %v", rate, after.at(0), after.at(0.5), after.at(1))
		if after.at(0) < 0 || after.at(0.5) > 20*time.Second || after.at(1) > 30*time.Second {
			t.Errorf("%v/s: found between %v and %v after the line is crossed", rate, after.at(0), after.at(1))
		}
	}
}

// After the fault the line clears within seconds where there is traffic, by
// evidence of at least clearSeconds, and not in a pause of the fault.
func TestOutageClears(t *testing.T) {
	const never = 15 * time.Minute // the line still fires when we stop looking
	for name, c := range map[string]struct {
		rate, bad, then float64
		pause           int64 // seconds of good traffic between minutes of fault
		min, max        time.Duration
	}{
		"100/s healed":                    {rate: 100, bad: 0.5, then: 0.001, min: 5 * time.Second, max: 10 * time.Second},
		"1000/s healed":                   {rate: 1000, bad: 1, then: 0, min: 5 * time.Second, max: 10 * time.Second},
		"10/s healed":                     {rate: 10, bad: 0.5, then: 0.001, min: 5 * time.Second, max: 45 * time.Second},
		"1/s healed":                      {rate: 1, bad: 1, then: 0.001, min: 45 * time.Second, max: 4 * time.Minute},
		"100/s healed to half the line":   {rate: 100, bad: 0.5, then: 0.05, min: 5 * time.Second, max: time.Minute},
		"100/s still at twice the line":   {rate: 100, bad: 0.5, then: 0.2, min: never, max: never},
		"100/s with a pause of a second":  {rate: 100, bad: 0.5, then: 0.5, pause: 1, min: never, max: never},
		"100/s with a pause of 3 seconds": {rate: 100, bad: 0.5, then: 0.5, pause: 3, min: never, max: never},
		"silence":                         {rate: 100, bad: 0.5, then: -1, min: never, max: never},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				rng := rand.New(rand.NewPCG(seed, 7))
				l := newLane(0.1, start, rng.Int64N(tenths), rng.Int64N(tenths))
				l.alarms(30*time.Second, steady(rng, c.rate, 0.001))
				l.alarms(5*time.Minute, steady(rng, c.rate, c.bad))
				if !l.line.firing {
					t.Fatal("does not fire")
				}
				began := l.now
				after := steady(rng, c.rate, c.then)
				if c.then < 0 {
					after = func(int64) gatewarden.Count { return gatewarden.Count{} }
				}
				paused := func(tenth int64) gatewarden.Count {
					if c.pause > 0 && (tenth-began)/tenths%60 < c.pause {
						return steady(rng, c.rate, 0)(tenth)
					}
					return after(tenth)
				}
				took := never
				for l.now < began+int64(never/time.Second)*tenths {
					if l.step(paused) && !l.line.firing {
						took = l.at().Sub(start) - time.Duration(began-start.Unix()*tenths)*time.Second/tenths
						break
					}
				}
				if took < c.min || took > c.max {
					t.Errorf("seed %d: clears after %v, want %v to %v", seed, took, c.min, c.max)
				}
			}
		})
	}
}
