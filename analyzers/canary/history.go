package canary

import (
	"math"
	"slices"
)

// What the baseline did before the run tells three things: how its bad events cluster
// in time, and so how long a block must be for blocks to be independent; how much more
// its counts vary than independent requests would; and what a slow request is.
const (
	historyEnough  = 270  // seconds: five minutes, less what is open or late; with less, the careful defaults hold
	historySamples = 1000 // latencies that a threshold must rest on
	chunkSeconds   = 10   // the threshold is the median over chunks, so that an outage does not move it
	chunkSamples   = 200
	chunkCount     = 30
	maxHistory     = 3600 // seconds before the first instant that are looked at
	longIdle       = 60   // seconds without traffic that say something; more of them, as of a guard that was away, don't
	halfHistory    = maxHistory / 2
	warmSeconds    = 30 // without a history the threshold comes from the run's first seconds

	oneBlock     = 1 // seconds
	shortBlock   = 2
	defaultBlock = 5
	longBlock    = 10

	tailQuantile = 0.99
	// Where slow requests come in crowds, as with instances that stall, there are chunks with
	// and without one, and their 99th percentiles are of two kinds. A threshold between the
	// two shows nothing for a pass: whoever stalls exceeds it by more than the margin. So the
	// pass is judged at one that lies among those of the chunks with crowds. Outages of all
	// instances are no crowds of one.
	tailCrowds = 2       // dispersion from which on they do
	tailAbove  = 2. / 3. // of the chunks are below that threshold
	// twice is how many bins a factor of two is.
	twice = 73
)

// The kinds of events whose clustering is measured.
const (
	eventFailed = iota
	eventSlow   // slower than the median
	eventTail   // beyond the tail threshold
	eventTail2  // beyond twice the tail threshold
	measured
)

// virtualArms is how many pretended canaries the baseline is split into.
const virtualArms = 9

// The ways of splitting it: by instance, and by client.
const (
	byTarget = iota
	byClient
	schemes
)

// dispersionSpans are the lengths of time, in seconds, at which dispersion is measured.
var dispersionSpans = [5]int{oneBlock, shortBlock, defaultBlock, longBlock, 60}

// virtualCell counts one second of the baseline by pretended canary.
type virtualCell struct {
	Median int `json:"median"` // bins beyond which a latency is slow, or in the tail; 0 while unknown
	Tail   int `json:"tail"`
	counts
}

// counts are requests and events by pretended canary.
type counts struct {
	N [schemes][virtualArms]uint64           `json:"n"`
	X [measured][schemes][virtualArms]uint64 `json:"x"`
}

func (c *counts) merge(o *counts) {
	for s := range c.N {
		for v := range c.N[s] {
			c.N[s][v] += o.N[s][v]
			for k := range c.X {
				c.X[k][s][v] += o.X[k][s][v]
			}
		}
	}
}

// latency counts a request of the given latency bin, -1 for none.
func (v *virtualCell) latency(arms [schemes]uint8, bin int, n uint64) {
	for s, arm := range arms {
		v.N[s][arm] += n
		if v.Median > 0 && bin >= v.Median {
			v.X[eventSlow][s][arm] += n
		}
		if v.Tail > 0 && bin >= v.Tail {
			v.X[eventTail][s][arm] += n
			if bin >= v.Tail+twice {
				v.X[eventTail2][s][arm] += n
			}
		}
	}
}

// history is what is known of the baseline before the run: of its last half an hour to an
// hour with traffic. It is cut where so much of it is full, whenever the run starts, so that a judge
// which waits for its start knows what one that had known it would.
type history struct {
	Seconds  int       `json:"seconds"`        // from the first one with traffic on, without those that longIdle leaves out
	Idle     int       `json:"idle,omitempty"` // seconds since the last one with traffic, up to longIdle
	Samples  uint64    `json:"samples"`
	Chunk    histogram `json:"chunk"`
	ChunkAge int       `json:"chunk_age"`
	Medians  []int     `json:"medians,omitempty"` // of the last chunks, as bins
	Tails    []int     `json:"tails,omitempty"`

	Open       [len(dispersionSpans)]counts `json:"open"` // the spans that are being gathered
	Dispersion [measured]dispersion         `json:"dispersion"`
	Former     [measured]dispersion         `json:"former"` // of the half before
}

// dispersion compares how counts vary between pretended canaries with how they would if
// events were independent, by span.
type dispersion struct {
	Square [len(dispersionSpans)][schemes]float64 `json:"square"` // sum of (x_v - m n_v/n)^2
	Chance [len(dispersionSpans)][schemes]float64 `json:"chance"` // sum of m (n_v/n) (1 - n_v/n)
	Events [len(dispersionSpans)]float64          `json:"events"` // sum over the spans of min(m, 8)
}

// idle reports whether the baseline took no requests in the second.
func (c *cell) idle() bool {
	return c == nil || c.Virtual == nil || c.Virtual.N[byTarget] == [virtualArms]uint64{}
}

// add takes one closed second, c being nil when nothing happened in it.
func (h *history) add(c *cell) {
	if c.idle() {
		if h.Seconds == 0 || h.Idle == longIdle {
			return // nothing yet, or nothing more
		}
		h.Idle++
	} else {
		h.Idle = 0
	}
	h.Seconds++
	h.ChunkAge++
	if c != nil && c.Virtual != nil {
		for i := range c.Strata {
			l := &c.Strata[i].Latency[Baseline]
			h.Chunk.merge(l)
			h.Samples += l.Total
		}
		for i := range h.Open {
			h.Open[i].merge(&c.Virtual.counts)
		}
	}
	if h.ChunkAge >= chunkSeconds && h.Chunk.Total >= chunkSamples {
		h.Medians = appendLast(h.Medians, h.Chunk.quantile(0.5)+1)
		h.Tails = appendLast(h.Tails, h.Chunk.quantile(tailQuantile)+1)
		h.Chunk.clear()
		h.ChunkAge = 0
	}
	for i, span := range dispersionSpans {
		if h.Seconds%span == 0 {
			for k := range h.Dispersion {
				h.Dispersion[k].add(i, &h.Open[i].N, &h.Open[i].X[k])
			}
			h.Open[i] = counts{}
		}
	}
	if h.Seconds%halfHistory == 0 {
		h.Former, h.Dispersion = h.Dispersion, [measured]dispersion{}
	}
}

// seconds returns how many seconds the dispersion rests on.
func (h *history) seconds() int {
	if h.Seconds < halfHistory {
		return h.Seconds
	}
	return halfHistory + h.Seconds%halfHistory
}

// dispersion returns that of one kind of events.
func (h *history) dispersion(kind int) *dispersion {
	sum := h.Dispersion[kind]
	former := &h.Former[kind]
	for i := range sum.Square {
		sum.Events[i] += former.Events[i]
		for s := range sum.Square[i] {
			sum.Square[i][s] += former.Square[i][s]
			sum.Chance[i][s] += former.Chance[i][s]
		}
	}
	return &sum
}

// median and tail return the thresholds as bins: the first bin that is beyond, 0 when
// they are not known yet.
func (h *history) median() int { return medianOf(h.Medians) }
func (h *history) tail() int   { return medianOf(h.Tails) }

// add takes one span of the given length.
func (d *dispersion) add(span int, n, x *[schemes][virtualArms]uint64) {
	for s := range n {
		var sumN, m float64
		for v := range n[s] {
			sumN += float64(n[s][v])
			m += float64(x[s][v])
		}
		if m == 0 {
			continue
		}
		for v := range n[s] {
			share := float64(n[s][v]) / sumN
			off := float64(x[s][v]) - m*share
			d.Square[span][s] += off * off
			d.Chance[span][s] += m * share * (1 - share)
		}
		if s == byTarget {
			d.Events[span] += min(m, 8)
		}
	}
}

// phi returns the dispersion at a span: 1 for independent events. A prior worth ten
// events keeps few of them from saying much.
func (d *dispersion) phi(span int) float64 {
	const prior = 10
	worst := 0.0
	for s := range d.Square[span] {
		worst = max(worst, (prior+d.Square[span][s])/(prior+d.Chance[span][s]))
	}
	return worst
}

// noise is the standard error of phi, relative.
func (d *dispersion) noise(span int) float64 { return math.Sqrt(2 / max(4, d.Events[span])) }

// length returns the shortest block length at which dispersion has stopped growing:
// then one block's events say nothing about the next one's. The shortest blocks must
// stand against ten seconds, which are known better, and against a minute, which sees
// longer clusters.
func (d *dispersion) length() int {
	const one, two, five, ten, minute = 0, 1, 2, 3, 4
	switch {
	case d.phi(ten) <= (1+2*d.noise(ten))*d.phi(one) && d.phi(minute) <= (1+1.5*d.noise(minute))*d.phi(one):
		return oneBlock
	case d.phi(ten) <= (1+2*d.noise(ten))*d.phi(two) && d.phi(minute) <= (1+1.5*d.noise(minute))*d.phi(two):
		return shortBlock
	case d.phi(minute) <= (1+2*d.noise(minute))*d.phi(five):
		return defaultBlock
	}
	return longBlock
}

// inflation returns by how much evidence for passing is divided: the dispersion of
// failures over ten seconds, or over a minute where that is clearly more, and one standard
// error more.
func (d *dispersion) inflation() float64 {
	const ten, minute = 3, 4
	if long := max(1, d.phi(minute)); long > (1+d.noise(minute))*max(1, d.phi(ten)) {
		return long * (1 + d.noise(minute))
	}
	return max(1, d.phi(ten)) * (1 + d.noise(ten))
}

// tuning is what is chosen once, before the first second of the run is judged. It rests
// on the past only, so that the bets stay fair.
type tuning struct {
	Done    bool    `json:"done"`
	History int     `json:"history"`  // seconds of it
	Errors  int     `json:"errors_s"` // block lengths
	Rank    int     `json:"rank_s"`
	Tail    int     `json:"tail_s"`
	Phi     float64 `json:"phi"`
	TailBin int     `json:"tail_bin"` // 0 while unknown
	PassBin int     `json:"pass_bin"` // the tail's threshold for a pass
	// Crowd is the dispersion within a block, by kind of event: how many events come at once.
	Crowd [measured]float64 `json:"crowd"`
}

func (h *history) tune() tuning {
	t := tuning{
		Done: true, History: h.seconds(), Errors: defaultBlock, Rank: defaultBlock, Tail: defaultBlock,
		Phi: h.dispersion(eventFailed).inflation(),
	}
	if h.Seconds >= historyEnough {
		t.Errors = h.dispersion(eventFailed).length()
		t.Rank = h.dispersion(eventSlow).length()
		t.Tail = max(h.dispersion(eventTail).length(), h.dispersion(eventTail2).length())
	}
	for kind, length := range [measured]int{eventFailed: t.Errors, eventSlow: t.Rank, eventTail: t.Tail, eventTail2: t.Tail} {
		t.Crowd[kind] = max(1, h.dispersion(kind).phi(slices.Index(dispersionSpans[:], length)))
	}
	if h.Samples >= historySamples {
		t.TailBin, t.PassBin = h.tail(), h.tail()
		if t.Crowd[eventTail] >= tailCrowds {
			t.PassBin = quantileOf(h.Tails, tailAbove)
		}
	}
	return t
}

func appendLast(s []int, x int) []int {
	if s = append(s, x); len(s) > chunkCount {
		s = slices.Delete(s, 0, 1)
	}
	return s
}

func medianOf(s []int) int { return quantileOf(s, 0.5) }

// quantileOf returns the q-quantile of s, q in [0, 1), 0 when s is empty.
func quantileOf(s []int, q float64) int {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(q*float64(len(sorted)))]
}
