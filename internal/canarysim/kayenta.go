package main

import (
	"cmp"
	"math"
	"slices"

	"github.com/gatewarden/gatewarden/analyzers/canary"
)

// kayenta is Spinnaker's judge, by its documented algorithm: for each metric (here the
// share of failures, p50 and p99 of each minute) R's wilcox.test of the canary's samples
// against the baseline's gives a confidence interval of the shift between them and its
// Hodges-Lehmann estimate; the metric is High when the interval's lower end is above a
// tolerance times the estimate and the mean has risen. One High metric fails the canary.
type kayenta struct {
	from, every int // in minutes: the first judgement, and how often
	minutes     int
	samples     [3][2][]float64
}

const (
	kayentaConfidence = 0.98
	kayentaTolerance  = 0.25
)

func (k *kayenta) see(s *second) bool {
	m := s.minute
	if m == nil {
		return false
	}
	for t := range m.n {
		if m.n[t] > 0 {
			k.samples[0][t] = append(k.samples[0][t], m.failed[t]/m.n[t])
		}
		if m.samples[t] > 0 {
			k.samples[1][t] = append(k.samples[1][t], m.p50[t])
			k.samples[2][t] = append(k.samples[2][t], m.p99[t])
		}
	}
	k.minutes++
	if k.minutes < k.from || (k.minutes-k.from)%k.every != 0 {
		return false
	}
	for i := range k.samples {
		if high(k.samples[i][canary.Canary], k.samples[i][canary.Baseline], kayentaConfidence, kayentaTolerance) {
			return true
		}
	}
	return false
}

// high classifies one metric.
func high(experiment, control []float64, confidence, tolerance float64) bool {
	if len(experiment) == 0 || len(control) == 0 || slices.Equal(experiment, control) {
		return false
	}
	if slices.Min(experiment) == slices.Max(experiment) && slices.Min(control) == slices.Max(control) {
		return experiment[0] > control[0] // the original adds noise to tell such samples apart
	}
	w := newWilcoxon(experiment, control)
	if mean(experiment) < mean(control) || w.notAbove(confidence) {
		return false
	}
	lower, _, estimate := w.interval(confidence)
	return lower > tolerance*math.Abs(estimate)
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// wilcoxon is R's wilcox.test with exact = FALSE, conf.int = TRUE: the normal
// approximation with ties and continuity correction, inverted numerically.
type wilcoxon struct{ x, y []float64 }

func newWilcoxon(x, y []float64) wilcoxon { return wilcoxon{x: x, y: y} }

// statistic returns W for x shifted down by d, and its standard deviation with ties.
func (w wilcoxon) statistic(d float64) (sum, sigma float64) {
	type value struct {
		v float64
		x bool
	}
	all := make([]value, 0, len(w.x)+len(w.y))
	for _, v := range w.x {
		all = append(all, value{v - d, true})
	}
	for _, v := range w.y {
		all = append(all, value{v, false})
	}
	slices.SortFunc(all, func(a, b value) int { return cmp.Compare(a.v, b.v) })
	var ties float64
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		t := float64(j - i)
		ties += t*t*t - t
		for ; i < j; i++ {
			if all[i].x {
				sum += float64(j) - (t-1)/2 // the mean rank of the tie
			}
		}
	}
	n, m := float64(len(w.x)), float64(len(w.y))
	sum -= n * (n + 1) / 2
	return sum, math.Sqrt(n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1))))
}

// z standardises W at shift d; correct is the continuity correction's sign, 0 for none.
func (w wilcoxon) z(d, correct float64) float64 {
	sum, sigma := w.statistic(d)
	if sigma == 0 {
		return 0
	}
	return (sum - float64(len(w.x))*float64(len(w.y))/2 - correct*0.5) / sigma
}

// interval returns the two-sided confidence interval of the shift and its estimate.
func (w wilcoxon) interval(confidence float64) (lower, upper, estimate float64) {
	low, high := slices.Min(w.x)-slices.Max(w.y), slices.Max(w.x)-slices.Min(w.y)
	quantile := math.Sqrt2 * math.Erfinv(confidence)
	lower = root(low, high, func(d float64) float64 { return w.z(d, 1) - quantile })
	upper = root(low, high, func(d float64) float64 { return w.z(d, -1) + quantile })
	estimate = root(low, high, func(d float64) float64 { return w.z(d, 0) })
	return lower, upper, estimate
}

// notAbove reports whether the interval's lower end is at most 0, without finding it:
// nearly always it is.
func (w wilcoxon) notAbove(confidence float64) bool {
	return slices.Min(w.x) <= slices.Max(w.y) && w.z(0, 1) <= math.Sqrt2*math.Erfinv(confidence)
}

// root finds where the falling step function f crosses 0 in [low, high], an end when it
// does not.
func root(low, high float64, f func(float64) float64) float64 {
	if f(low) <= 0 {
		return low
	}
	if f(high) >= 0 {
		return high
	}
	for range 40 {
		if mid := (low + high) / 2; f(mid) > 0 {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}
