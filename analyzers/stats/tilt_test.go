package stats

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// rankLaw returns the probabilities of the Mann-Whitney statistic of n against m
// exchangeable values without ties: the coefficients of the Gaussian binomial coefficient,
// as a product of (1-q^(m+i)) / (1-q^i). It is the same with n and m exchanged; the fewer
// factors the better the sums keep their digits.
func rankLaw(n, m int) []float64 {
	n, m = min(n, m), max(n, m)
	law := make([]float64, n*m+1)
	law[0] = 1
	for i := 1; i <= n; i++ {
		for w := len(law) - 1; w >= m+i; w-- {
			law[w] -= law[w-m-i]
		}
		for w := i; w < len(law); w++ {
			law[w] += law[w-i]
		}
		for w := range law {
			law[w] *= float64(i) / float64(m+i)
		}
	}
	return law
}

func TestRankLawCountsOrders(t *testing.T) {
	for i, p := range rankLaw(2, 2) { // of the six orders: one, one, two, one, one
		if want := []float64{1, 1, 2, 1, 1}[i] / 6; math.Abs(p-want) > 1e-12 {
			t.Errorf("P(W = %d) = %v, want %v", i, p, want)
		}
	}
}

// tilts are lanes of all steepnesses with as much lift as they can bear.
var tilts = []Tilt{{0.1, 1}, {0.3, 1}, {0.6, 1}, {1.2, 1.06}, {3, 5}}

// meanFactor is the mean of a lane's factor over strata of the given sizes.
func meanFactor(lane Tilt, strata [][2]int) float64 {
	type point struct{ w, p float64 }
	sums := []point{{0, 1}}
	for _, s := range strata {
		var next []point
		for w, p := range rankLaw(s[0], s[1]) {
			for _, q := range sums {
				next = append(next, point{q.w + float64(w), q.p * p})
			}
		}
		sums = next
	}
	var mean float64
	for _, at := range sums {
		var r Ranks
		for i, s := range strata {
			w := 0.0
			if i == 0 {
				w = at.w // only the sum matters
			}
			r.Add(w, float64(s[0]), float64(s[1]))
		}
		mean += at.p * math.Exp(lane.Gain(r.Z(), 0.1))
	}
	return mean
}

// For all sizes of samples: exactly, from one against one to blocks of a busy service.
func TestTiltedBetHasAMeanOfAtMostOne(t *testing.T) {
	sizes := []int{1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 38, 60, 100, 180, 400}
	for _, n := range sizes {
		for _, m := range sizes {
			if n*m > 8000 {
				continue
			}
			for _, lane := range tilts {
				if mean := meanFactor(lane, [][2]int{{n, m}}); mean > 1+1e-9 {
					t.Errorf("%d against %d, slope %v: mean factor %v", n, m, lane.Slope, mean)
				}
			}
		}
	}
}

// Two strata of one against one each have a steep lane's z of 1.4 with a probability of a
// quarter, just what its cap of 4 bears: they bound its lift.
func TestTiltedBetHasAMeanOfAtMostOneOverTwoStrata(t *testing.T) {
	var sizes [][2]int
	for n := range 7 {
		for m := range 7 {
			sizes = append(sizes, [2]int{n + 1, m + 1})
		}
	}
	for i, one := range sizes {
		for _, other := range sizes[i:] {
			for _, lane := range tilts {
				if mean := meanFactor(lane, [][2]int{one, other}); mean > 1+1e-9 {
					t.Errorf("%v and %v, slope %v: mean factor %v", one, other, lane.Slope, mean)
				}
			}
		}
	}
}

func TestTiltedBetHasAMeanOfAtMostOneOverStrata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 7)
		strata := make([][2]int, rapid.IntRange(1, 3).Draw(t, "strata"))
		for i := range strata {
			strata[i] = [2]int{size.Draw(t, "canary"), size.Draw(t, "baseline")}
		}
		for _, lane := range tilts {
			if mean := meanFactor(lane, strata); mean > 1+1e-9 {
				t.Errorf("%v, slope %v: mean factor %v", strata, lane.Slope, mean)
			}
		}
	})
}

func TestTiltedBetIsBounded(t *testing.T) {
	for _, z := range []float64{-1e9, -3, 0, 3, 1e9} {
		for _, lane := range tilts {
			if g := lane.Gain(z, 0.1); !(g <= math.Log(0.05+0.95*4)+1e-12 && g >= math.Log(0.05)-1e-12) {
				t.Errorf("z = %v is worth e^%v at slope %v", z, g, lane.Slope)
			}
		}
	}
}

// A crowd that makes all of one track's requests slow falls on the canary with the
// probability of its share: what the bet may win then is not more than what makes that fair.
func TestTiltedBetIsForSmallShares(t *testing.T) {
	lane := Tilt{Slope: 1.2, Lift: 1.06}
	for share, want := range map[float64]float64{0.01: 3.85, 0.25: 3.85, 0.26: 1.95, 0.5: 1.95, 0.9: 1.95} {
		if got := math.Exp(lane.Gain(100, share)); math.Abs(got-want) > 1e-9 || got*share > 1 && share < 0.5 {
			t.Errorf("at a share of %v a block wins a factor of %v at most, want %v", share, got, want)
		}
	}
}

// What it is for: a shift that is less than a standard deviation of z in each block.
func TestTiltedBetWinsMoreThanTheSymmetricOne(t *testing.T) {
	growth := func(mu float64, gain func(z float64) float64) (mean float64) {
		const step = 0.01
		for x := -8.0; x <= 8; x += step {
			mean += step * math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) * gain(mu+x)
		}
		return mean
	}
	slopes := []float64{0.3, 0.6, 1.2, 3}
	for _, mu := range []float64{0.5, 0.7, 1, 2, 5} {
		var symmetric, tilted []float64
		for i, c := range slopes {
			symmetric = append(symmetric, growth(mu, func(z float64) float64 { return RankGain(c, z) }))
			tilted = append(tilted, growth(mu, func(z float64) float64 { return tilts[i+1].Gain(z, 0.1) }))
		}
		if a, b := slices.Max(symmetric), slices.Max(tilted); b < 1.05*a {
			t.Errorf("z about %v: a block is worth e^%.3f tilted, e^%.3f symmetric", mu, b, a)
		}
	}
}

// With a prior a Mixture is what the same lanes would be as so many copies.
func TestAPriorIsLikeCopiesOfLanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := NewMixtureOf([]float64{6, 2}, 0.3), NewMixture(4, 0.3)
		for range rapid.IntRange(0, 20).Draw(t, "blocks") {
			x, y := rapid.Float64Range(-2, 2).Draw(t, "x"), rapid.Float64Range(-2, 2).Draw(t, "y")
			a.Next([]float64{x, y}, 0.02)
			b.Next([]float64{x, x, x, y}, 0.02)
			if math.Abs(a.Log()-b.Log()) > 1e-9 {
				t.Fatalf("%v, with copies %v", a.Log(), b.Log())
			}
		}
		if !a.Valid(2) || a.Valid(3) {
			t.Error("its validity is wrong")
		}
	})
	m := NewMixtureOf([]float64{1, 1}, 0)
	m.Prior[0] = 1
	if m.Valid(2) {
		t.Error("a prior of more than 1 is valid")
	}
}
