package canary

import (
	"math"

	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// Does the split agree with the configured weights (sample ratio mismatch)? If not,
// something chooses the requests of the canary, and a comparison may be of two kinds of
// requests instead of two releases. It is a share bet on request counts to both sides
// (Lindon and Malek use a multinomial test; a crowd of requests of one client would break
// that one, not this one).
const (
	splitSeconds = 2    // a block
	splitSettle  = 5    // seconds after a change that do not count: workers of Kong learn one by one
	splitSaid    = 1.25 // times the configured odds, or a part of them: worth a word
	splitLarge   = 3    // from here on the comparison is not trusted
)

// splitAlarm is the probability of ever finding a mismatch where there is none.
const splitAlarm = 1e-3

var splitGrid = [3]float64{1.2, 2, 6}

// split checks the configured share of the canary.
type split struct {
	Share  float64          `json:"share"` // configured, 0 while unknown
	Quiet  int64            `json:"quiet"` // the first second that counts
	Block  block            `json:"block"`
	Seen   [2]uint64        `json:"seen"`   // requests since the share was configured
	Margin [2]stats.Mixture `json:"margin"` // evidence against splitSaid and against splitLarge
	gains  [2 * len(splitGrid)]float64
}

var splitMargins = [2]float64{splitSaid, splitLarge}

// set begins anew with another share.
func (s *split) set(share float64, second int64) {
	*s = split{Share: share, Quiet: second + splitSettle}
	for i := range s.Margin {
		s.Margin[i] = stats.NewMixture(len(s.gains), 0)
	}
}

// checks reports whether there is anything to check against.
func (s *split) checks() bool { return s.Share > 0 && s.Share < 1 }

// add takes a second's requests.
func (s *split) add(second int64, n [2]uint64) {
	if !s.checks() || second < s.Quiet {
		return
	}
	s.Block.Age++
	for t := range n {
		s.Block.N[t] += n[t]
		s.Seen[t] += n[t]
	}
	if s.Block.Age < splitSeconds {
		return
	}
	m := float64(s.Block.N[Baseline] + s.Block.N[Canary])
	if m > 0 {
		u := float64(s.Block.N[Canary]) / m
		for i, margin := range splitMargins {
			high := stats.ShareNull(s.Share, margin)
			low := stats.ShareNull(s.Share, 1/margin)
			for g, ratio := range splitGrid {
				s.gains[2*g] = stats.ShareGain(high, ratio, m, u)
				s.gains[2*g+1] = stats.ShareGain(1-low, ratio, m, 1-u)
			}
			s.Margin[i].Next(s.gains[:], 0)
		}
	}
	s.Block = block{}
}

// found returns whether the split is off, and whether it is so far off that nothing can
// be compared.
func (s *split) found() (said, large bool) {
	if !s.checks() {
		return false, false
	}
	need := -math.Log(splitAlarm)
	return s.Margin[0].Log() >= need, s.Margin[1].Log() >= need
}
