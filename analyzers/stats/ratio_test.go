package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// binomial draws how many of n events happen.
func binomial(rng *rand.Rand, n int, p float64) (k int) {
	for range n {
		if rng.Float64() < p {
			k++
		}
	}
	return k
}

// Looked at after every block, the interval misses the true ratio in at most 5 % of the
// runs, and it closes in on it.
func TestRatioSequenceHoldsTheRatioAtAllTimes(t *testing.T) {
	const runs, blocks, share, miss = 200, 150, 0.1, 0.05
	for _, ratio := range []float64{0.3, 1, 5} {
		rng := rand.New(rand.NewPCG(7, math.Float64bits(ratio)))
		missed, width := 0, 0.0
		for range runs {
			r := NewRatioSequence()
			ok := true
			for range blocks {
				m := 1 + rng.IntN(6)
				xc := binomial(rng, m, ShareNull(share, ratio))
				r.Next(float64(m), float64(xc)/float64(m), miss, func(rho float64) float64 { return ShareNull(share, rho) })
				low, high := r.Bounds()
				ok = ok && low <= ratio && ratio <= high
			}
			if !ok {
				missed++
			}
			low, high := r.Bounds()
			width += math.Log(high/max(low, 0.01)) / runs
		}
		if missed > runs*miss+3*3 { // three standard deviations
			t.Errorf("ratio %v: missed in %d of %d runs", ratio, missed, runs)
		}
		if !(width < math.Log(30)) {
			t.Errorf("ratio %v: the interval is e^%v wide on average", ratio, width)
		}
	}
}

func TestRatioSequenceKnowsNothingAtFirst(t *testing.T) {
	r := NewRatioSequence()
	if low, high := r.Bounds(); low != 0 || !math.IsInf(high, 1) {
		t.Errorf("bounds %v, %v without events", low, high)
	}
	if !r.Valid() {
		t.Error("a new sequence is not valid")
	}
	r.Lo = sequenceNulls
	if r.Valid() {
		t.Error("an interval beyond the nulls is valid")
	}
}
