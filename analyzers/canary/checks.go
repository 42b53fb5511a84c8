package canary

import (
	"math"
	"slices"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// The checks, in the order in which verdicts list them. Their weights share out
// the probability of a false alarm.
const (
	checkErrors = iota // the canary's share of the failures
	checkRank          // the whole latency distribution
	checkTail          // its share of latencies beyond the baseline's 99th percentile
	checkTail2         // and beyond twice that: where a few requests became very slow
	checkCount
)

var checkNames = [checkCount]string{"errors", "latency", "latency_tail", "latency_tail_twice"}

var checkWeights = [checkCount]float64{0.55, 0.25, 0.1, 0.1}

// The grids of alternatives. A prior says what the lanes' weights are to each other; without
// one they are alike. What a weight costs is a number of events: where each says little, in
// small effects, that is a long time, so their lanes have most of it. Of slow requests large
// effects are sought; small ones are the rank bet's.
var (
	shareGrid  = [...]float64{1.7, 2.7, 5, 12, 100} // times the odds of the null
	errorPrior = [len(shareGrid)]float64{9, 3, 2, 3, 3}
	tailPrior  = [len(shareGrid)]float64{1, 1, 2, 3, 3}
	tiltGrid   = [...]stats.Tilt{{Slope: 0.3, Lift: 1}, {Slope: 0.6, Lift: 1}, {Slope: 1.2, Lift: 1.06}, {Slope: 3, Lift: 5}}
	tiltPrior  = [len(tiltGrid)]float64{5, 10, 3, 2}
	rankGrid   = [...]float64{0.3, 0.6, 1.2, 3}    // slopes of the rank bet for a pass
	rareGrid   = [...]float64{0.05, 0.2, 0.4, 0.7} // shares of the null's ratio
	mirrorGrid = [...]float64{1 / 0.05, 1 / 0.15, 1 / 0.3, 1 / 0.5, 1 / 0.7, 1 / 0.85}
	ladderGrid = [...]float64{0.4, 1.5}                           // slopes of the bets that an effect's size is found with
	ladder     = [...]float64{1, 1.05, 1.1, 1.2, 1.35, 1.5, 2, 3} // latency ratios that an effect is placed between
)

// Shift lists: the two margins, then the ladder. Even shifts ask "slower than", odd ones
// "faster than".
const (
	shiftMax = iota
	shiftPass
	shiftLadder
	shiftCount = shiftLadder + 2*len(ladder)
)

// passing is evidence that the canary is better than its pass margin.
type passing struct {
	Mix stats.Mixture `json:"mix"`
	Top float64       `json:"top"` // the greatest logarithm so far
}

func (p *passing) next(gains []float64) {
	p.Mix.Next(gains, 0)
	p.Top = max(p.Top, p.Mix.Log())
}

// passSlack is how far, in natural logarithms, evidence may have fallen from what it
// needed and still count: what was shown long ago must not be gainsaid by now.
const passSlack = 1

// shown reports whether it suffices.
func (p *passing) shown(need float64) bool { return p.Top >= need && p.Mix.Log() >= need-passSlack }

// errorCheck bets on failures.
type errorCheck struct {
	Block shareBlock          `json:"block"`
	Fail  stats.Mixture       `json:"fail"`
	Pass  passing             `json:"pass"`
	Ratio stats.RatioSequence `json:"ratio"`

	Blocks  int      `json:"blocks"`  // in which the canary failed
	Clients []uint64 `json:"clients"` // of the canary that failed, distinct, up to enoughClients
	Served  []uint64 `json:"served"`  // by client: good requests of it on the baseline since its last event
	Unknown int      `json:"unknown"` // its failures that are no single client's, up to enoughClients
	Closed  int      `json:"closed"`  // blocks judged
}

// What failures must rest on at least before they fail a run: one client's trouble, or
// one moment's, is none of the release's. A client whom the baseline serves well while the
// canary fails it has no trouble of its own: each of its events counts as another client's.
// Where everybody comes through one proxy there is no other.
const (
	enoughBlocks  = 3
	enoughClients = 3
	servedWell    = 30 // good requests on the baseline between two events
)

func newErrorCheck() errorCheck {
	return errorCheck{
		Fail: stats.NewMixtureOf(errorPrior[:], laterStarts), Pass: passing{Mix: stats.NewMixture(len(rareGrid), 0)},
		Ratio: stats.NewRatioSequence(),
	}
}

// laterStarts is the weight of the possibility that trouble starts after the first
// block; it is spread evenly over the blocks up to the deadline.
const laterStarts = 0.3

// log returns the evidence for a fail. Below enoughBlocks and enoughClients it counts
// only as far as it speaks for the canary.
func (e *errorCheck) log() float64 {
	if x := e.Fail.Log(); x < 0 || e.Blocks >= enoughBlocks && len(e.Clients)+e.Unknown >= enoughClients {
		return x
	}
	return 0
}

// met remembers a client of the canary that failed.
func (e *errorCheck) met(client uint64) {
	switch i := slices.Index(e.Clients, client); {
	case i < 0 && len(e.Clients) < enoughClients:
		e.Clients, e.Served = append(e.Clients, client), append(e.Served, 0)
	case i >= 0 && e.Served[i] >= servedWell:
		e.Served[i] = 0
		e.Unknown = min(e.Unknown+1, enoughClients)
	}
}

// waitsFor reports whether it matters how the baseline serves this client.
func (e *errorCheck) waitsFor(client uint64) bool {
	return len(e.Clients) > 0 && len(e.Clients)+e.Unknown < enoughClients && slices.Contains(e.Clients, client)
}

// serve counts good requests of a client on the baseline.
func (e *errorCheck) serve(client, n uint64) {
	if i := slices.Index(e.Clients, client); i >= 0 {
		e.Served[i] = min(e.Served[i]+n, servedWell)
	}
}

// close judges the block and begins the next.
func (e *errorCheck) close(m *gatewarden.ErrorMargins, weight float64, t *tuning) {
	b := &e.Block
	if b.both() {
		e.Closed++
		e.bet(m, weight, t.Crowd[eventFailed])
		if !b.Trouble {
			e.betPass(m, t.Phi)
		}
	}
	b.reset()
}

func (e *errorCheck) bet(margins *gatewarden.ErrorMargins, weight, crowd float64) {
	b := &e.Block
	m, canary := b.events(0)
	q0 := b.nullShare(0, margins.MaxRatio)
	var gains [len(shareGrid)]float64
	for g, ratio := range shareGrid {
		gains[g] = -stats.ShareMargin(q0, ratio, margins.MaxDifference, float64(b.N[Canary]))
		if m > 0 {
			gains[g] += stats.ShareGain(q0, ratio, crowds(m, crowd), canary/m)
		}
	}
	e.Fail.Next(gains[:], weight)
	if canary > 0 {
		e.Blocks++
	}
	if m > 0 {
		e.Ratio.Next(crowds(m, crowd), canary/m, effectMiss, func(rho float64) float64 { return b.nullShare(0, rho) })
	}
}

// crowds returns how many independent events m are worth when they come in crowds: what
// a bet stakes on them. It is in the bet's favour only, not needed for its fairness.
func crowds(m, crowd float64) float64 { return max(1, m/crowd) }

// betPass adds up the mirror bets of the routes. The product of their factors has a mean
// of at most 1 while the canary's mean ratio of failures is at least what the baseline's
// ratios, route by route, come to over the canary's own mix of routes, with the margins:
// another mix is no difference. A route that the baseline does not have counts as one on
// which it never fails.
func (e *errorCheck) betPass(margins *gatewarden.ErrorMargins, phi float64) {
	b := &e.Block
	var gains [len(rareGrid)]float64
	for i := range b.Strata {
		s := &b.Strata[i]
		canary, base := float64(s.Events[0][Canary]), float64(s.Events[0][Baseline])
		ratio, requests := margins.PassRatio, float64(s.N[Baseline])
		if requests == 0 {
			ratio, requests = 0, 1
		}
		for g, a := range rareGrid {
			gains[g] += stats.RareGain(a, ratio, margins.PassDifference, canary, float64(s.N[Canary]), base, requests) / phi
		}
	}
	e.Pass.next(gains[:])
}

// effectMiss is the probability that the interval given for an effect ever misses it.
const effectMiss = 0.05

// rankCheck bets on the whole distribution of latencies.
type rankCheck struct {
	Block  rankBlock     `json:"block"`
	Fail   stats.Mixture `json:"fail"`
	Pass   passing       `json:"pass"`
	Closed int           `json:"closed"`

	Slower [len(ladder)]stats.Mixture `json:"slower"` // evidence that the canary is slower than ladder i
	Faster [len(ladder)]stats.Mixture `json:"faster"`
}

func newRankCheck() rankCheck {
	r := rankCheck{
		Fail: stats.NewMixtureOf(tiltPrior[:], laterStarts), Pass: passing{Mix: stats.NewMixture(len(rankGrid), 0)},
	}
	for i := range ladder {
		r.Slower[i] = stats.NewMixture(len(ladderGrid), 0)
		r.Faster[i] = stats.NewMixture(len(ladderGrid), 0)
	}
	return r
}

// rankShifts returns the shifts, in bins, that a rank block is asked about.
func rankShifts(m *gatewarden.LatencyMargins) [shiftCount]int {
	var s [shiftCount]int
	s[shiftMax], s[shiftPass] = shiftAtLeast(m.MaxRatio), shiftAtMost(m.PassRatio)
	for i, ratio := range ladder {
		s[shiftLadder+2*i], s[shiftLadder+2*i+1] = shiftAtLeast(ratio), shiftAtMost(ratio)
	}
	return s
}

func (r *rankCheck) close(shifts *[shiftCount]int, weight float64) {
	if r.Block.both() {
		r.Closed++
		var ranks [shiftCount]stats.Ranks
		r.Block.ranks(shifts[:], ranks[:])
		r.bet(ranks[shiftMax].Z(), weight)
		if !r.Block.Trouble {
			gains := rankGains(-ranks[shiftPass].Z())
			r.Pass.next(gains[:])
		}
		for i := range ladder {
			gains := ladderGains(ranks[shiftLadder+2*i].Z())
			r.Slower[i].Next(gains[:], 0)
			gains = ladderGains(-ranks[shiftLadder+2*i+1].Z())
			r.Faster[i].Next(gains[:], 0)
		}
	}
	r.Block.reset()
}

func (r *rankCheck) bet(z, weight float64) {
	share := r.Block.share()
	var gains [len(tiltGrid)]float64
	for g, tilt := range tiltGrid {
		gains[g] = tilt.Gain(z, share)
	}
	r.Fail.Next(gains[:], weight)
}

func rankGains(z float64) (gains [len(rankGrid)]float64) {
	for g, c := range rankGrid {
		gains[g] = stats.RankGain(c, z)
	}
	return gains
}

func ladderGains(z float64) (gains [len(ladderGrid)]float64) {
	for g, c := range ladderGrid {
		gains[g] = stats.RankGain(c, z)
	}
	return gains
}

// bounds returns the interval that the ratio of latencies lies in. As evidence falls from
// rung to rung, the whole interval misses with effectMiss at most.
func (r *rankCheck) bounds() (low, high float64) {
	low, high = 0, math.Inf(1)
	need := math.Log(2 / effectMiss)
	for i, ratio := range ladder {
		if r.Slower[i].Log() >= need {
			low = ratio
		}
		if r.Faster[i].Log() >= need {
			high = min(high, ratio)
		}
	}
	return low, high
}

// The events of a tail block.
const (
	tailOnce  = iota // beyond the threshold; the canary's beyond its margin as well
	tailTwice        // beyond twice the threshold, likewise
	tailPass         // as tailOnce, with the margin for passing
)

// tailCheck bets on latencies beyond a threshold.
type tailCheck struct {
	Block  shareBlock       `json:"block"`
	Fail   [2]stats.Mixture `json:"fail"` // tailOnce, tailTwice
	Pass   passing          `json:"pass"`
	Closed int              `json:"closed"`
}

func newTailCheck() tailCheck {
	return tailCheck{
		Fail: [2]stats.Mixture{stats.NewMixtureOf(tailPrior[:], laterStarts), stats.NewMixtureOf(tailPrior[:], laterStarts)},
		Pass: passing{Mix: stats.NewMixture(len(mirrorGrid), 0)},
	}
}

// tailDifference is what the share of slow requests may differ by, as with failures.
const tailDifference = 1e-4

func (t *tailCheck) close(weight float64, crowd *[measured]float64) {
	b := &t.Block
	if b.both() {
		t.Closed++
		for kind := range t.Fail {
			t.bet(kind, weight, crowd[eventTail+kind])
		}
		if m, canary := b.events(tailPass); m > 0 && !b.Trouble {
			q0 := b.nullShare(tailPass, 1)
			var gains [len(mirrorGrid)]float64
			for g, ratio := range mirrorGrid {
				gains[g] = stats.ShareGain(1-q0, ratio, m, 1-canary/m)
			}
			t.Pass.next(gains[:])
		}
	}
	b.reset()
}

// bet stakes little where slow requests come in crowds: a stall of one instance makes all
// of its requests slow, so few crowds are much larger than their mean.
func (t *tailCheck) bet(kind int, weight, crowd float64) {
	b := &t.Block
	m, canary := b.events(kind)
	q0 := b.nullShare(kind, 1)
	var gains [len(shareGrid)]float64
	for g, ratio := range shareGrid {
		gains[g] = -stats.ShareMargin(q0, ratio, tailDifference, float64(b.N[Canary]))
		if m > 0 {
			gains[g] += stats.ShareGain(q0, ratio, crowds(m, crowd*crowd), canary/m)
		}
	}
	t.Fail[kind].Next(gains[:], weight)
}
