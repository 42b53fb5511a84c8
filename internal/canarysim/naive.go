package main

import (
	"math"
	"slices"

	"github.com/gatewarden/gatewarden/analyzers/canary"
	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// naive is the obvious sequential test: every second the likelihood ratio of independent
// requests, on failures and on latencies above each of six thresholds of the baseline's
// history. It is exact for independent requests and as fast as can be; requests are not
// independent.
type naive struct {
	past   []float64 // latencies of the history
	limits [naiveTypes - 1]float64
	tests  [naiveTypes]stats.Mixture
}

const (
	naiveTypes  = 7 // failures, then latencies beyond p50, p75, p90, p95, p99 and twice p99
	naiveMargin = 1.1
	naiveDiff   = 1e-4
)

var (
	naiveQuantiles = [naiveTypes - 1]float64{0.5, 0.75, 0.9, 0.95, 0.99, 0.99}
	naiveWeights   = [naiveTypes]float64{0.5, 1. / 12, 1. / 12, 1. / 12, 1. / 12, 1. / 12, 1. / 12}
	naiveGrid      = [...]float64{1.35, 1.75, 2.7, 6, 25, 400}
)

func newNaive() *naive {
	n := &naive{}
	for i := range n.tests {
		n.tests[i] = stats.NewMixture(len(naiveGrid), 0.5)
	}
	return n
}

func (n *naive) see(s *second) bool {
	if n.limits[0] == 0 {
		n.learn(s)
	}
	if s.t < 0 {
		return false
	}
	var count, bad [naiveTypes][2]float64
	for i := range s.requests {
		o := &s.requests[i]
		count[0][o.Track]++
		if o.Failed {
			bad[0][o.Track]++
			continue
		}
		ms := s.millis[i]
		if o.Track == canary.Canary {
			ms /= naiveMargin
		}
		for k, limit := range n.limits {
			if limit == 0 {
				break // not known yet
			}
			count[k+1][o.Track]++
			if ms > limit {
				bad[k+1][o.Track]++
			}
		}
	}
	var logs [naiveTypes]float64
	for k := range n.tests {
		margin := 1.0
		if k == 0 {
			margin = naiveMargin
		}
		n.bet(k, margin, count[k], bad[k])
		logs[k] = n.tests[k].Log()
	}
	return stats.LogMean(logs[:], naiveWeights[:]) >= bound
}

// bet multiplies each lane by a^xc b^xb exp(-(a-1) d nc).
func (n *naive) bet(k int, margin float64, count, bad [2]float64) {
	nb, nc := count[0], count[1]
	if nb == 0 || nc == 0 {
		return
	}
	q0 := stats.ShareNull(nc/(nb+nc), margin)
	var gains [len(naiveGrid)]float64
	for g, ratio := range naiveGrid {
		q1 := stats.ShareNull(q0, ratio)
		gains[g] = bad[1]*math.Log(q1/q0) + bad[0]*math.Log((1-q1)/(1-q0)) - (q1/q0-1)*naiveDiff*nc
	}
	n.tests[k].Next(gains[:], 0.5/1800)
}

// learn takes the thresholds from the history, or from the first thousand requests.
func (n *naive) learn(s *second) {
	if s.t >= 0 && len(n.past) >= 1000 {
		slices.Sort(n.past)
		for i, q := range naiveQuantiles {
			n.limits[i] = n.past[int(q*float64(len(n.past)))]
		}
		n.limits[len(n.limits)-1] *= 2
		n.past = nil
		return
	}
	for i := range s.requests {
		if o := &s.requests[i]; !o.Failed && o.Track == canary.Baseline {
			n.past = append(n.past, s.millis[i])
		}
	}
}
