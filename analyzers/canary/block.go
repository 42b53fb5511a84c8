package canary

import "github.com/gatewarden/gatewarden/analyzers/stats"

// A block is closed when it is as long as the check wants it and holds enough to say
// something; on a quiet service it waits, but not for ever.
const (
	blockRequests = 40 // of both tracks
	blockFewest   = 10 // for failures, whose bets need no crowd
	blockLongest  = 60 // seconds
)

// block is the clock of a block: how long it is and how much it holds.
type block struct {
	Age     int       `json:"age"` // seconds gathered
	N       [2]uint64 `json:"n"`   // requests, or latencies, by track
	Trouble bool      `json:"trouble,omitempty"`
}

func (b *block) due(length int, requests uint64) bool {
	return b.Age >= length && b.N[Baseline]+b.N[Canary] >= requests && b.N[Canary] >= 1 || b.Age >= blockLongest
}

// both reports whether there is anything to compare.
func (b *block) both() bool { return b.N[Baseline] > 0 && b.N[Canary] > 0 }

// share returns the canary's share of the requests.
func (b *block) share() float64 {
	return float64(b.N[Canary]) / float64(b.N[Canary]+b.N[Baseline])
}

// eventKinds is how many kinds of events a shareBlock can count.
const eventKinds = 3

// shareBlock gathers counts of events by route.
type shareBlock struct {
	block
	Strata []shareStratum `json:"strata,omitempty"`
}

type shareStratum struct {
	N      [2]uint64             `json:"n"`
	Events [eventKinds][2]uint64 `json:"events"`
}

func (b *shareBlock) stratum(i int) *shareStratum {
	for len(b.Strata) <= i {
		b.Strata = append(b.Strata, shareStratum{})
	}
	return &b.Strata[i]
}

func (b *shareBlock) reset() {
	clear(b.Strata)
	b.block = block{}
}

// events returns how many events of a kind there were, and how many were the canary's.
func (b *shareBlock) events(kind int) (m, canary float64) {
	var sum [2]uint64
	for i := range b.Strata {
		e := &b.Strata[i].Events[kind]
		sum[Baseline] += e[Baseline]
		sum[Canary] += e[Canary]
	}
	return float64(sum[Baseline] + sum[Canary]), float64(sum[Canary])
}

// nullShare returns the canary's greatest mean share of the events while its odds are
// at most rho times the baseline's within each route. A different mix of routes does
// not change what it means.
func (b *shareBlock) nullShare(kind int, rho float64) float64 {
	var sum, m float64
	for i := range b.Strata {
		s := &b.Strata[i]
		events := float64(s.Events[kind][Baseline] + s.Events[kind][Canary])
		if events == 0 {
			continue
		}
		share := float64(s.N[Canary]) / float64(s.N[Canary]+s.N[Baseline])
		sum += events * stats.ShareNull(share, rho)
		m += events
	}
	if m == 0 {
		return stats.ShareNull(b.share(), rho)
	}
	return sum / m
}

// rankBlock gathers latencies by route.
type rankBlock struct {
	block
	Strata  [][2]histogram `json:"strata,omitempty"`
	scratch []float64
	used    []usedBin
}

// usedBin is a bin that is not empty.
type usedBin struct {
	bin int
	n   float64
}

func (b *rankBlock) stratum(i int) *[2]histogram {
	for len(b.Strata) <= i {
		b.Strata = append(b.Strata, [2]histogram{})
	}
	return &b.Strata[i]
}

func (b *rankBlock) reset() {
	for i := range b.Strata {
		b.Strata[i][Baseline].clear()
		b.Strata[i][Canary].clear()
	}
	b.block = block{}
}

// ranks adds up, for each shift, how often a canary's latency is more than that many
// bins above a baseline's, over the routes. What is in the same bin is a tie; it counts
// against whoever wants to show something: as not above for the even shifts, which ask
// whether the canary is slower, as above for the odd ones, which ask whether it is faster.
// The count is then never on the better side of one with ties broken by lot, for which
// stats.RankGain is exact: it holds with ties, too, however many they are.
//
// Its cost is the baseline's span of bins, plus the canary's bins in use times the
// shifts, whatever the number of requests.
func (b *rankBlock) ranks(shifts []int, into []stats.Ranks) {
	clear(into)
	for i := range b.Strata {
		base, canary := &b.Strata[i][Baseline], &b.Strata[i][Canary]
		if base.Total == 0 || canary.Total == 0 {
			continue
		}
		first, below := b.cumulate(base)
		b.list(canary, first)
		for k, shift := range shifts {
			var w float64
			for _, u := range b.used {
				at := u.bin - shift + k&1 // with the ties: below the next bin
				w += u.n * below[min(max(at, 0), len(below)-1)]
			}
			into[k].Add(w, float64(canary.Total), float64(base.Total))
		}
	}
}

// list puts h's bins that are not empty into used, counted from the given one.
func (b *rankBlock) list(h *histogram, from int) {
	b.used = b.used[:0]
	if h.know(); h.crowded {
		for i, n := range h.Counts[h.lo-h.First : h.hi-h.First+1] {
			if n > 0 {
				b.used = append(b.used, usedBin{h.lo + i - from, float64(n)})
			}
		}
		return
	}
	for _, bin := range h.used {
		b.used = append(b.used, usedBin{int(bin) - from, float64(h.Counts[int(bin)-h.First])})
	}
}

// cumulate returns the first of the bins that hold all of h, and c with c[i] = number of
// values below the i-th bin from that one on, up to the last one.
func (b *rankBlock) cumulate(h *histogram) (first int, below []float64) {
	if cap(b.scratch) < bins+1 {
		b.scratch = make([]float64, bins+1)
	}
	first, last := h.ends()
	counts := h.Counts[first-h.First : last-h.First+1]
	below = b.scratch[:len(counts)+1]
	sum := 0.0
	below[0] = 0
	for i, n := range counts {
		sum += float64(n)
		below[i+1] = sum
	}
	return first, below
}
