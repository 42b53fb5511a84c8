package canary

import (
	"math"
	"time"

	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// Traffic is what a plan needs to know of a service.
type Traffic struct {
	Rate   float64 // requests a second, both tracks together
	Share  float64 // the canary's, in (0, 1)
	Errors float64 // ratio of requests that fail on the baseline
	Spread float64 // standard deviation of the logarithm of the latency; 0 means 0.5
}

// The plans answer before a rollout how long a policy takes on some traffic, in the
// median, on a service whose events are independent: an order of magnitude to choose steps
// and deadlines by. The evidence grows by so much a second on average, and must reach
// the threshold and what the mixtures cost: the check's weight, the starts' and the
// grid's. mixtureCost is the grid's, in natural logarithms, as the simulation shows it.
const mixtureCost = 1.5

// never is what a plan answers when it takes longer than any deadline.
const never = maxDeadline

// TimeToFailErrors returns how long it takes to fail a canary whose odds of a failure are
// ratio times the baseline's.
func (p *Policy) TimeToFailErrors(t Traffic, ratio float64) time.Duration {
	if p.Errors == nil {
		return never
	}
	q0, q1 := stats.ShareNull(t.Share, p.Errors.MaxRatio), stats.ShareNull(t.Share, ratio)
	canary := ratio * t.Errors / (ratio*t.Errors + 1 - t.Errors)
	events := t.Rate * (t.Share*canary + (1-t.Share)*t.Errors)
	growth := events*(q1*math.Log(q1/q0)+(1-q1)*math.Log((1-q1)/(1-q0))) - stats.ShareMargin(q0, q1*(1-q0)/(q0*(1-q1)), p.Errors.MaxDifference, t.Rate*t.Share)
	if ratio <= p.Errors.MaxRatio {
		growth = 0
	}
	return max(takes(p.failNeed(checkErrors), growth), enoughBlocks*oneBlock*time.Second)
}

// TimeToFailLatency returns how long it takes to fail a canary whose latencies are ratio
// times the baseline's.
func (p *Policy) TimeToFailLatency(t Traffic, ratio float64) time.Duration {
	if p.Latency == nil {
		return never
	}
	var growth float64
	for _, tilt := range tiltGrid {
		growth = max(growth, t.rankGrowth(ratio/p.Latency.MaxRatio, func(z float64) float64 { return tilt.Gain(z, t.Share) }))
	}
	return takes(p.failNeed(checkRank), growth) + p.WarmUp
}

// TimeToPass returns how long it takes to pass a canary that is like the baseline.
func (p *Policy) TimeToPass(t Traffic) time.Duration {
	longest := p.MinDuration
	need := -math.Log(p.FalsePass)
	if m := p.Errors; m != nil {
		var growth float64
		nc, nb := t.Rate*t.Share, t.Rate*(1-t.Share)
		for _, a := range rareGrid {
			growth = max(growth, stats.RareGain(a, m.PassRatio, m.PassDifference, nc*t.Errors, nc, nb*t.Errors, nb))
		}
		longest = max(longest, takes(need, growth/usualPhi))
	}
	if p.Latency != nil {
		var growth float64
		for _, c := range rankGrid {
			growth = max(growth, t.rankGrowth(p.Latency.PassRatio, func(z float64) float64 { return stats.RankGain(c, z) }))
		}
		longest = max(longest, takes(need, growth)+p.WarmUp)
	}
	return longest
}

// usualPhi is the dispersion of independent failures with the standard error that a
// history of five minutes leaves.
const usualPhi = 1.25

// failNeed returns the evidence that a check must gather to fail a run by itself.
func (p *Policy) failNeed(check int) float64 {
	total := 1.0
	switch {
	case p.Errors == nil:
		total -= checkWeights[checkErrors]
	case p.Latency == nil:
		total = checkWeights[checkErrors]
	}
	return -math.Log(p.FalseAlarm) + math.Log(total/checkWeights[check]) - math.Log(1-laterStarts) + mixtureCost
}

// rankGrowth returns how much a lane of a rank bet grows a second when the canary's latency
// is ratio times what the null allows, latencies being lognormal: z of a block is normal
// with variance 1 about its mean.
func (t Traffic) rankGrowth(ratio float64, gain func(z float64) float64) float64 {
	spread := t.Spread
	if spread <= 0 {
		spread = 0.5
	}
	n, m := t.Rate*t.Share*oneBlock, t.Rate*(1-t.Share)*oneBlock
	above := 0.5 * math.Erfc(-math.Log(ratio)/(2*spread)) // of a canary's latency over a baseline's
	var ranks stats.Ranks
	ranks.Add(above*n*m, n, m)
	var mean float64
	const step = 0.05
	for x := -6.0; x <= 6; x += step {
		mean += step * math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) * gain(ranks.Z()+x)
	}
	return mean / oneBlock
}

// takes returns how long evidence that grows by so much a second needs.
func takes(need, growth float64) time.Duration {
	seconds := need / growth
	if !(growth > 0 && seconds < never.Seconds()) {
		return never
	}
	return time.Duration(math.Ceil(seconds)) * time.Second
}
