package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// density returns P(k bad events) for independent events that are bad with the
// given probabilities, which need not be equal.
func density(ps []float64) []float64 {
	d := []float64{1}
	for _, p := range ps {
		next := make([]float64, len(d)+1)
		for k, x := range d {
			next[k] += x * (1 - p)
			next[k+1] += x * p
		}
		d = next
	}
	return d
}

func detectors(r float64) map[string]Detector {
	return map[string]Detector{"above": NewAbove(r, 2.63e6, 2), "below": NewBelow(r, 3600, 5)}
}

// onNull moves a probability to the side of r that the detector must be silent on.
func onNull(name string, r, share float64) float64 {
	if name == "above" {
		return r * share
	}
	return r + (1-r)*(1-share)
}

// The mean of one second's evidence, by enumeration of all counts: at most 1 while
// the null hypothesis holds, whatever the single probabilities are.
func TestEvidenceOfASecondHasAMeanOfAtMostOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom([]float64{0.01, 0.1, 0.3, 0.5, 0.9}).Draw(t, "r")
		shares := rapid.SliceOfN(rapid.OneOf(rapid.Just(1.0), rapid.Float64Range(0, 1)), 1, 60).Draw(t, "shares")
		for name, d := range detectors(r) {
			ps := make([]float64, len(shares))
			for i, share := range shares {
				ps[i] = onNull(name, r, share)
			}
			for lane := range lanes {
				var mean float64
				for k, p := range density(ps) {
					mean += p * d.evidence(lane, float64(len(ps)-k), float64(k))
				}
				if mean > 1+1e-9 {
					t.Errorf("%s %v, lane %d: mean evidence %v", name, r, lane, mean)
				}
			}
		}
	})
}

// A cell counts with what has arrived of it: one more request, whichever second it
// belongs to, does not raise the mean of its second's evidence.
func TestEvidenceIsFairRequestByRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom([]float64{0.01, 0.1, 0.5, 0.9}).Draw(t, "r")
		good := rapid.Float64Range(0, 300).Draw(t, "good")
		bad := rapid.Float64Range(0, 300).Draw(t, "bad")
		share := rapid.Float64Range(0, 1).Draw(t, "share")
		for name, d := range detectors(r) {
			p := onNull(name, r, share)
			good, bad := math.Floor(good), math.Floor(bad)
			for lane := range lanes {
				before := d.evidence(lane, good, bad)
				after := p*d.evidence(lane, good, bad+1) + (1-p)*d.evidence(lane, good+1, bad)
				if after > before*(1+1e-9) {
					t.Errorf("%s %v, lane %d, %v good and %v bad: %v, then %v", name, r, lane, good, bad, before, after)
				}
			}
		}
	})
}

// The mean of the sum after t seconds is at most t, by enumeration of every path
// of six seconds of three requests.
func TestSumGrowsByAtMostOneASecond(t *testing.T) {
	const requests, seconds = 3, 6
	for _, r := range []float64{0.05, 0.1, 0.5} {
		for name, d := range detectors(r) {
			for _, share := range []float64{0, 0.5, 1} {
				ps := []float64{onNull(name, r, 1), onNull(name, r, share), onNull(name, r, share)}
				p := density(ps)
				var mean [seconds + 1]float64
				var walk func(s Sums, weight float64, second int)
				walk = func(s Sums, weight float64, second int) {
					mean[second] += weight * d.Mean(s)
					if second == seconds {
						return
					}
					for k := range uint64(requests + 1) {
						walk(d.Next(s, requests-k, k), weight*p[k], second+1)
					}
				}
				walk(Sums{}, 1, 0)
				for second, m := range mean {
					if m > float64(second)*(1+1e-9) {
						t.Errorf("%s %v: mean of the sum after %d seconds is %v", name, r, second, m)
					}
				}
			}
		}
	}
}

// The mean run length on the bound itself, the worst of the null hypothesis, is at
// least what was asked for.
func TestRunLength(t *testing.T) {
	const want, runs = 200, 1000
	for name, d := range map[string]Detector{"above": NewAbove(0.1, want, 2), "below": NewBelow(0.1, want, 5)} {
		for _, n := range []int{1, 10} {
			rng := rand.New(rand.NewPCG(1, uint64(n)))
			var sum float64
			for range runs {
				var s Sums
				for !d.Alarm(s) && sum < runs*want*20 {
					var bad uint64
					for range n {
						if rng.Float64() < 0.1 {
							bad++
						}
					}
					s = d.Next(s, uint64(n)-bad, bad)
					sum++
				}
			}
			t.Logf("%s, %d a second: mean run length %.0f s, asked for %d", name, n, sum/runs, want)
			if sum/runs < 0.9*want { // the mean of so many runs is off by 3 % (one standard deviation)
				t.Errorf("%s, %d a second: mean run length %.0f s, want at least %d", name, n, sum/runs, want)
			}
		}
	}
}

// However many requests one second holds and however they end, it takes more than
// one second to raise an alarm after good traffic, and two of the strongest do.
func TestNoSingleSecondRaisesAnAlarm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.Float64Range(0.01, 0.9).Draw(t, "r")
		d := NewAbove(r, 2.63e6, 2)
		var s Sums
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		level := rapid.Uint64Range(1, 50).Draw(t, "level")
		for range rapid.IntRange(0, 300).Draw(t, "quiet") {
			s = d.Next(s, rng.Uint64N(level), 0)
		}
		bad := rapid.Uint64Range(0, 1<<60).Draw(t, "bad")
		if s = d.Next(s, rapid.Uint64Range(0, 1<<60).Draw(t, "rest"), bad); d.Alarm(s) {
			t.Errorf("an alarm by one second with %d bad events", bad)
		}
		s = d.Next(Sums{}, 0, 1_000_000)
		if s = d.Next(s, 0, 1_000_000); !d.Alarm(s) {
			t.Errorf("no alarm after two seconds of nothing but failures at %v: %v", r, d.Log(s))
		}
	})
}

func TestClearingTakesItsSeconds(t *testing.T) {
	d := NewBelow(0.1, 3600, 5)
	var s Sums
	for second := 1; second <= 5; second++ {
		if s = d.Next(s, 1_000_000, 0); d.Alarm(s) != (second == 5) {
			t.Errorf("after %d seconds without an error: alarm %v", second, d.Alarm(s))
		}
	}
}

func TestIdleSecondsAreNoEvidence(t *testing.T) {
	d := NewAbove(0.1, 2.63e6, 2)
	s := d.Next(Sums{}, 3, 2)
	if got := d.Next(s, 0, 0); got != s {
		t.Errorf("an idle second turns %v into %v", s, got)
	}
	if d.Log(Sums{}) != 0 {
		t.Errorf("no evidence is %v", d.Log(Sums{}))
	}
}

func BenchmarkNext(b *testing.B) {
	d := NewAbove(0.1, 2.63e6, 2)
	var s Sums
	for b.Loop() {
		s = d.Next(s, 99, 1)
	}
}
