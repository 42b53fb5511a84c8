package stats

import (
	"math"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ratios are alternatives from mild to extreme.
var ratios = []float64{1.05, 1.35, 2.7, 25, 400}

// withOdds returns the probability whose odds are ratio times those of p.
func withOdds(p, ratio float64) float64 { return ratio * p / (ratio*p + 1 - p) }

// The mean of one share bet given the number of events, for independent requests whose
// probabilities differ from request to request, the canary's odds being rho times what
// they would be on the baseline: at most 1, by enumeration.
func TestShareBetHasAMeanOfAtMostOneGivenTheEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rho := rapid.SampledFrom([]float64{1, 1.1, 1.5, 3}).Draw(t, "rho")
		share := rapid.Float64Range(0.01, 1).Draw(t, "part of rho that the canary uses")
		p := rapid.Float64Range(0.001, 0.9).Draw(t, "p")
		nc, nb := rapid.IntRange(1, 12).Draw(t, "nc"), rapid.IntRange(1, 30).Draw(t, "nb")
		canary := density(slices.Repeat([]float64{withOdds(p, rho*share)}, nc))
		base := density(slices.Repeat([]float64{p}, nb))
		q0 := ShareNull(float64(nc)/float64(nc+nb), rho)
		for m := 1; m <= nc+nb; m++ {
			for _, ratio := range ratios {
				var mean, all float64
				for xc := max(0, m-nb); xc <= min(m, nc); xc++ {
					w := canary[xc] * base[m-xc]
					all += w
					mean += w * math.Exp(ShareGain(q0, ratio, float64(m), float64(xc)/float64(m)))
				}
				if all > 0 && mean/all > 1+1e-9 {
					t.Errorf("rho %v, %d of %d: mean factor %v for m = %d, ratio %v", rho, nc, nc+nb, mean/all, m, ratio)
				}
			}
		}
	})
}

// Crowds of events of any sizes, each of which falls on the canary with probability q0
// at most: the mean is at most 1, and no block is worth more than 1/q0.
func TestShareBetSurvivesClustersOfAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 1000), 1, 9).Draw(t, "sizes")
		q0 := rapid.Float64Range(0.001, 0.95).Draw(t, "q0")
		q := q0 * rapid.OneOf(rapid.Just(1.0), rapid.Float64Range(0, 1)).Draw(t, "part of q0")
		total := 0
		for _, n := range sizes {
			total += n
		}
		for _, ratio := range ratios {
			var mean float64
			for set := range 1 << len(sizes) {
				hit := 0
				for i, n := range sizes {
					hit += n * (set >> i & 1)
				}
				k := bits.OnesCount(uint(set))
				gain := ShareGain(q0, ratio, float64(total), float64(hit)/float64(total))
				if gain > -math.Log(q0)+1e-12 || math.IsNaN(gain) || math.IsInf(gain, 0) {
					t.Fatalf("one block is worth e^%v at q0 = %v", gain, q0)
				}
				mean += math.Pow(q, float64(k)) * math.Pow(1-q, float64(len(sizes)-k)) * math.Exp(gain)
			}
			if mean > 1+1e-9 {
				t.Errorf("mean factor %v for ratio %v", mean, ratio)
			}
		}
	})
}

// With the margin paid, the canary may fail with the probability of odds ratio rho and a
// difference d besides: the mean over everything is at most 1.
func TestShareMarginPaysForADifference(t *testing.T) {
	const nc, nb = 10, 60
	for _, rho := range []float64{1, 1.1, 1.5} {
		for _, d := range []float64{1e-4, 1e-2, 0.05} {
			for _, p := range []float64{0.0001, 0.001, 0.01, 0.1} {
				canary := density(slices.Repeat([]float64{withOdds(p, rho) + d}, nc))
				base := density(slices.Repeat([]float64{p}, nb))
				q0 := ShareNull(float64(nc)/(nc+nb), rho)
				for _, ratio := range ratios {
					var mean float64
					for xc, pc := range canary {
						for xb, pb := range base {
							gain := -ShareMargin(q0, ratio, d, nc)
							if m := float64(xc + xb); m > 0 {
								gain += ShareGain(q0, ratio, m, float64(xc)/m)
							}
							mean += pc * pb * math.Exp(gain)
						}
					}
					if mean > 1+1e-9 {
						t.Errorf("rho %v, d %v, p %v, ratio %v: mean factor %v", rho, d, p, ratio, mean)
					}
				}
			}
		}
	}
}

func TestShareBetOfOneEventIsTheLikelihoodRatio(t *testing.T) {
	for _, q0 := range []float64{0.01, 0.1, 0.5} {
		for _, ratio := range ratios {
			q1 := ShareNull(q0, ratio)
			for u, want := range map[float64]float64{1: math.Log(q1 / q0), 0: math.Log((1 - q1) / (1 - q0))} {
				if got := ShareGain(q0, ratio, 1, u); math.Abs(got-want) > 1e-9 {
					t.Errorf("q0 %v, ratio %v, u %v: %v, want %v", q0, ratio, u, got, want)
				}
			}
		}
	}
}

// The stake on m events gains nearly what the best stake would, for independent events:
// looked for on a grid: at least nine tenths of it.
func TestStakesAreNearTheBest(t *testing.T) {
	for _, share := range []float64{0.02, 0.1, 0.5} {
		for _, ratio := range []float64{1.6, 2.7, 5, 12, 100} {
			q0 := ShareNull(share, 1.1)
			q1 := ShareNull(q0, ratio)
			for _, m := range []int{1, 2, 3, 5, 8, 13, 30} {
				events := density(slices.Repeat([]float64{q1}, m))
				gain := func(stake float64) float64 {
					var mean float64
					for x, p := range events {
						mean += p * math.Log1p(stake*(float64(x)/float64(m)-q0))
					}
					return mean
				}
				best := 0.0
				for part := 0.005; part <= stakeCap; part += 0.005 {
					best = max(best, gain(part/q0))
				}
				if got := gain(ShareStake(q0, ratio, float64(m))); got < 0.9*best {
					t.Errorf("share %v, ratio %v, %d events: mean gain %v of %v", share, ratio, m, got, best)
				}
			}
		}
	}
}

func TestShareBetCanWin(t *testing.T) {
	if got := ShareGain(0.1, 25, 10, 0.8); got < 1 {
		t.Errorf("eight of ten events on a tenth of the requests are worth e^%v", got)
	}
	if ShareGain(0.1, 25, 0, 0) != 0 || ShareGain(0, 25, 3, 0) != 0 || ShareGain(1, 25, 3, 1) != 0 {
		t.Error("a bet on nothing is worth something")
	}
}

// The bet on rareness, for requests whose probabilities are all different: its mean is at
// most 1 while the canary's mean probability is at the pass margin or above.
func TestRareBetHasAMeanOfAtMostOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rho := rapid.SampledFrom([]float64{1, 1.5, 3}).Draw(t, "rho")
		d := rapid.SampledFrom([]float64{1e-3, 1e-2, 0.1}).Draw(t, "d")
		base := rapid.SliceOfN(rapid.Float64Range(0, 0.2), 1, 20).Draw(t, "baseline")
		var pb float64
		for _, p := range base {
			pb += p / float64(len(base))
		}
		canary := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 10).Draw(t, "canary")
		var pc float64
		for _, p := range canary {
			pc += p / float64(len(canary))
		}
		if pc < rho*pb+d {
			for i := range canary { // lift it onto the margin
				canary[i] += (1 - canary[i]) * min((rho*pb+d-pc)/(1-pc), 1)
			}
		}
		nc, nb := float64(len(canary)), float64(len(base))
		for _, a := range []float64{0.05, 0.5, 0.85} {
			var mean float64
			for xc, wc := range density(canary) {
				for xb, wb := range density(base) {
					mean += wc * wb * math.Exp(RareGain(a, rho, d, float64(xc), nc, float64(xb), nb))
				}
			}
			if mean > 1+1e-9 {
				t.Errorf("a = %v: mean factor %v", a, mean)
			}
		}
	})
}

// Every way in which n canary and m baseline latencies can be ordered is as likely as
// every other: the rank bet has a mean of at most 1, and so has its mirror, when ties are
// counted against the bet.
func TestRankBetHasAMeanOfAtMostOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.IntRange(0, 8), 2, 10).Draw(t, "values")
		n := rapid.IntRange(1, len(values)-1).Draw(t, "canary")
		for _, c := range []float64{0.3, 1.2, 3} {
			var mean, mirror, count float64
			for set := range 1 << len(values) {
				if bits.OnesCount(uint(set)) != n {
					continue
				}
				var strict, weak float64
				for i, x := range values {
					for k, y := range values {
						if set>>i&1 == 1 && set>>k&1 == 0 {
							strict += map[bool]float64{true: 1}[x > y]
							weak += map[bool]float64{true: 1}[x >= y]
						}
					}
				}
				var slower, faster Ranks
				slower.Add(strict, float64(n), float64(len(values)-n))
				faster.Add(weak, float64(n), float64(len(values)-n))
				mean += math.Exp(RankGain(c, slower.Z()))
				mirror += math.Exp(RankGain(c, -faster.Z()))
				count++
			}
			if mean/count > 1+1e-9 || mirror/count > 1+1e-9 {
				t.Errorf("c = %v: mean factors %v and %v", c, mean/count, mirror/count)
			}
		}
	})
}

func TestRankBetIsBounded(t *testing.T) {
	for _, z := range []float64{-1e9, -3, 0, 3, 1e9} {
		if g := RankGain(3, z); g > math.Log(1.95)+1e-12 || g < math.Log(0.05)-1e-12 {
			t.Errorf("z = %v is worth e^%v", z, g)
		}
	}
	var none Ranks
	if none.Z() != 0 {
		t.Errorf("no pairs have z = %v", none.Z())
	}
}

// A Mixture is the sum that its comment says, and its mean over all outcomes of fair
// bets is 1: enumerated over every path of coin tosses.
func TestMixtureIsTheSumItSays(t *testing.T) {
	const lanes, blocks, weight = 2, 6, 0.1
	stakes := [lanes]float64{0.9, 0.3}
	var mean float64
	for path := range 1 << blocks {
		m := NewMixture(lanes, 0.5)
		want := 0.0
		var factors [lanes][]float64
		for b := range blocks {
			sign := float64(2*(path>>b&1) - 1)
			var gains [lanes]float64
			for g, stake := range stakes {
				factors[g] = append(factors[g], 1+sign*stake)
				gains[g] = math.Log1p(sign * stake)
			}
			m.Next(gains[:], weight)
		}
		left := 0.5
		for from := range blocks {
			w := min(weight, left)
			left -= w
			for g := range lanes {
				product := 1.0
				for _, f := range factors[g][from:] {
					product *= f
				}
				want += w / lanes * product
				if from == 0 {
					want += 0.5 / lanes * product
				}
			}
		}
		want += left
		if got := math.Exp(m.Log()); math.Abs(got-want) > 1e-9*want {
			t.Fatalf("path %06b: %v, want %v", path, got, want)
		}
		mean += math.Exp(m.Log()) / (1 << blocks)
	}
	if math.Abs(mean-1) > 1e-9 {
		t.Errorf("the mean over all paths is %v, want 1", mean)
	}
}

func TestMixtureForgetsWhatWasLostBefore(t *testing.T) {
	late, plain := NewMixture(1, 0.5), NewMixture(1, 0)
	for range 500 {
		late.Next([]float64{-0.1}, 0.5/1000)
		plain.Next([]float64{-0.1}, 0)
	}
	if late.Log() > 0 {
		t.Errorf("evidence %v from losses", late.Log())
	}
	for range 20 {
		late.Next([]float64{0.7}, 0.5/1000)
		plain.Next([]float64{0.7}, 0)
	}
	if late.Log() < math.Log(100) || plain.Log() > 0 {
		t.Errorf("after a late onset: %v with restarts, %v without", late.Log(), plain.Log())
	}
}

func TestLogMean(t *testing.T) {
	got := LogMean([]float64{math.Log(4), math.Log(1), math.Log(1000)}, []float64{1, 3, 0})
	if want := math.Log(1.75); math.Abs(got-want) > 1e-12 {
		t.Errorf("LogMean = %v, want %v", got, want)
	}
	if got := LogMean([]float64{1}, []float64{0}); got != 0 {
		t.Errorf("the mean of nothing is %v", got)
	}
	if got := LogMean([]float64{5000, -5000}, []float64{1, 1}); math.Abs(got-(5000-math.Ln2)) > 1e-9 {
		t.Errorf("LogMean of extremes = %v", got)
	}
}

// Whatever is lost, the evidence is a number: below exp(-745) the weight that is not spent
// can't be written in the scale of the rest.
func TestWhatIsLostForHoursIsANumber(t *testing.T) {
	m := NewMixture(2, 0)
	for range 400 {
		m.Next([]float64{-3, -3}, 0)
	}
	if got := m.Log(); !(math.Abs(got+1200) < 1e-6) {
		t.Errorf("after 400 blocks that lose 3 each it is %v", got)
	}
}
