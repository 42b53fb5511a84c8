package canary

import (
	"math"
	"math/bits"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Latencies are kept in bins that are evenly wide on a logarithmic scale, ten to a
// factor of 1.1, so that "ten per cent slower" is a shift by ten bins, exactly.
const (
	binWidth = 0.0095310179804324860044 // log(1.1) / 10
	bins     = 1660                     // up to an hour; longer latencies count as that long
	// binShift is added to a latency first. Kong logs whole milliseconds: without it
	// everything below 1 ms would be nothing.
	binShift = 500 * time.Microsecond
)

// binTable holds the bins of whole milliseconds below its length.
type binTable [2048]uint16

func newBinTable() *binTable {
	var t binTable
	for ms := range t {
		t[ms] = uint16(exactBin(time.Duration(ms) * time.Millisecond))
	}
	return &t
}

// bin returns the bin of d.
func (t *binTable) bin(d time.Duration) int {
	if d >= 0 && d%time.Millisecond == 0 && d.Milliseconds() < int64(len(t)) {
		return int(t[d.Milliseconds()])
	}
	return exactBin(d)
}

func exactBin(d time.Duration) int {
	d = min(max(d, 0), 2*time.Hour)
	x := math.Log(float64(d+binShift)/float64(binShift)) / binWidth
	return int(min(x, bins-1))
}

// binLatency returns the middle of a bin.
func binLatency(bin int) time.Duration {
	return time.Duration(float64(binShift)*math.Exp((float64(bin)+0.5)*binWidth)) - binShift
}

// shiftAtLeast returns how many bins a ratio is, rounded up; shiftAtMost rounds down.
// The careful side of a margin that the canary must exceed is up, of one that it must
// stay below is down.
func shiftAtLeast(ratio float64) int { return int(math.Ceil(math.Log(ratio)/binWidth - 1e-6)) }
func shiftAtMost(ratio float64) int  { return int(math.Floor(math.Log(ratio)/binWidth + 1e-6)) }

// histogram counts latencies by bin, over the span of bins in use. While few bins are not
// empty it knows which: a second of a quiet service, or of a small canary, has few. When
// they are many it knows only between which bins they lie.
type histogram struct {
	First  int      `json:"first"`
	Counts []uint64 `json:"counts,omitempty"`
	Total  uint64   `json:"total"`

	used    []uint16 // the bins that are not empty, in no order, unless it is crowded
	crowded bool     // then none but those from lo to hi are not empty
	lo, hi  int
}

// maxUsed is how many bins may be not empty before a histogram is crowded.
const maxUsed = 64

func (h *histogram) add(bin int, n uint64) {
	h.know()
	if i := bin - h.First; i < 0 || i >= len(h.Counts) {
		h.span(bin, bin)
	}
	h.count(bin, n)
}

// count adds n, which is positive, to a bin within the span.
func (h *histogram) count(bin int, n uint64) {
	at := &h.Counts[bin-h.First]
	if *at == 0 {
		h.use(bin)
	}
	*at += n
	h.Total += n
}

// use takes note of a bin that is no longer empty.
func (h *histogram) use(bin int) {
	switch {
	case h.crowded:
		h.lo, h.hi = min(h.lo, bin), max(h.hi, bin)
	case len(h.used) < maxUsed:
		h.used = append(h.used, uint16(bin))
	default:
		lo, hi := h.ends()
		h.crowd(min(lo, bin), max(hi, bin))
	}
}

func (h *histogram) crowd(lo, hi int) { h.crowded, h.lo, h.hi, h.used = true, lo, hi, h.used[:0] }

// know says where values may lie when a restart has forgotten it.
func (h *histogram) know() {
	if h.Total > 0 && !h.crowded && len(h.used) == 0 {
		h.crowd(h.First, h.First+len(h.Counts)-1)
	}
}

func (h *histogram) merge(o *histogram) {
	if o.Total == 0 {
		return
	}
	h.know()
	lo, hi := o.ends()
	h.span(lo, hi)
	if !o.crowded {
		for _, bin := range o.used {
			h.count(int(bin), o.Counts[int(bin)-o.First])
		}
		return
	}
	if from := o.Counts[lo-o.First : hi-o.First+1]; h.Total > 0 {
		first, last := h.ends()
		h.crowd(min(first, lo), max(last, hi))
		into := h.Counts[lo-h.First:][:len(from)]
		for i, n := range from {
			into[i] += n
		}
	} else {
		h.crowd(lo, hi)
		copy(h.Counts[lo-h.First:], from)
	}
	h.Total += o.Total
}

// ends returns a range of bins that holds all that are not empty, of a histogram that is
// not empty.
func (h *histogram) ends() (lo, hi int) {
	h.know()
	if h.crowded {
		return h.lo, h.hi
	}
	first, last := h.used[0], h.used[0]
	for _, bin := range h.used {
		first, last = min(first, bin), max(last, bin)
	}
	return int(first), int(last)
}

// span makes the bins from lo to hi addressable; room to spare is left on both sides,
// so that a stream of latencies does not grow it again and again.
func (h *histogram) span(lo, hi int) {
	const spare = 64
	if len(h.Counts) > 0 {
		last := h.First + len(h.Counts) - 1
		if lo >= h.First && hi <= last {
			return
		}
		lo, hi = min(lo, h.First), max(hi, last)
	}
	lo, hi = max(lo-spare, 0), min(hi+spare, bins-1)
	grown := make([]uint64, hi-lo+1)
	if len(h.Counts) > 0 {
		copy(grown[h.First-lo:], h.Counts)
	}
	h.First, h.Counts = lo, grown
}

// clear empties h and keeps its memory.
func (h *histogram) clear() {
	if h.Total == 0 {
		return
	}
	if h.know(); h.crowded {
		clear(h.Counts[h.lo-h.First : h.hi-h.First+1])
	}
	for _, bin := range h.used {
		h.Counts[int(bin)-h.First] = 0
	}
	h.Total, h.used, h.crowded = 0, h.used[:0], false
}

// from returns how many values are in the given bin or above.
func (h *histogram) from(bin int) uint64 {
	var sum uint64
	if h.know(); h.crowded && bin <= h.hi {
		for _, n := range h.Counts[max(bin, h.lo)-h.First : h.hi-h.First+1] {
			sum += n
		}
	}
	for _, at := range h.used {
		if int(at) >= bin {
			sum += h.Counts[int(at)-h.First]
		}
	}
	return sum
}

// quantile returns the bin that holds the q-quantile, 0 when h is empty.
func (h *histogram) quantile(q float64) int {
	rank := uint64(q * float64(h.Total))
	for i, n := range h.Counts {
		if n > rank {
			return h.First + i
		}
		rank -= n
	}
	return h.First + max(len(h.Counts)-1, 0)
}

func (h *histogram) valid() bool {
	var sum uint64
	for _, n := range h.Counts {
		if sum += n; n > maxCount || sum > maxCount {
			return false
		}
	}
	return h.First >= 0 && h.First <= bins && h.First+len(h.Counts) <= bins && sum == h.Total
}

// maxCount bounds what a restored state may claim.
const maxCount = 1 << 53

// cell is one second of both tracks while it is open.
type cell struct {
	Second  int64                `json:"second"` // Unix
	Strata  []cellStratum        `json:"strata"`
	Failed  map[uint64]failure   `json:"failed,omitempty"` // by client: its first failure of the second
	Good    map[uint64]uint64    `json:"good,omitempty"`   // good requests of the clients that have failed lately
	Served  map[uint64]uint64    `json:"served,omitempty"` // those on the baseline of the clients that the errors check waits for
	InRun   uint64               `json:"in_run,omitempty"` // requests on the canary, good or not, of clients that have failed lately
	Visits  visits               `json:"visits,omitempty"` // what becomes of the three above when the second is closed
	Suspect []gatewarden.Suspect `json:"suspects,omitempty"`
	Added   uint64               `json:"added"`             // observations
	Virtual *virtualCell         `json:"virtual,omitempty"` // before the start only
	// Apart holds what the canary did in a second that lies before the start as it stands
	// now. It counts if the start turns out to be earlier.
	Apart *cell `json:"apart,omitempty"`
}

// cellStratum is what one route did within the second, by track.
type cellStratum struct {
	Requests  [2]uint64    `json:"n"`
	Failures  [2]uint64    `json:"failed"`              // all of them
	Anonymous [2]uint64    `json:"anonymous,omitempty"` // failures whose client is not known: each is an episode
	Latency   [2]histogram `json:"latency"`
	Slow      uint64       `json:"slow,omitempty"` // of the canary, beyond the policy's own limit
}

// failure is a client's first failure within a second.
type failure struct {
	Nanos   int64            `json:"t"` // since the second began
	Track   gatewarden.Track `json:"track"`
	Stratum int              `json:"stratum"`
	Target  uint8            `json:"target"` // virtual arm
}

const (
	maxFailing = 4096 // clients whose failures of one second are told apart; beyond, a failure is anonymous
	maxSuspect = 8    // suspects that a second, and a run, remembers
	maxStrata  = 64   // routes told apart; the rest share the last stratum
)

func (c *cell) stratum(i int) *cellStratum {
	for len(c.Strata) <= i {
		if len(c.Strata) < cap(c.Strata) {
			c.Strata = c.Strata[:len(c.Strata)+1] // a recycled one: empty, with its memory
		} else {
			c.Strata = append(c.Strata, cellStratum{})
		}
	}
	return &c.Strata[i]
}

// reset makes c an empty cell of the given second, and keeps its memory.
func (c *cell) reset(second int64) {
	c.Second = second
	for i := range c.Strata {
		s := &c.Strata[i]
		s.Requests, s.Failures, s.Anonymous = [2]uint64{}, [2]uint64{}, [2]uint64{}
		s.Slow = 0
		s.Latency[Baseline].clear()
		s.Latency[Canary].clear()
	}
	c.Strata = c.Strata[:0]
	clear(c.Failed)
	clear(c.Good)
	clear(c.Served)
	c.InRun = 0
	c.Visits = c.Visits[:0]
	c.Suspect = nil
	c.Added = 0
	c.Virtual = nil
	c.Apart = nil
}

// apart returns the cell for what the canary did in a second before the start.
func (c *cell) apart() *cell {
	if c.Apart == nil {
		c.Apart = &cell{Second: c.Second}
	}
	return c.Apart
}

// observations returns how many observations c has taken.
func (c *cell) observations() uint64 {
	if c.Apart != nil {
		return c.Added + c.Apart.Added
	}
	return c.Added
}

// begin makes c, a second before the start, one of the run.
func (c *cell) begin() {
	c.Virtual = nil
	apart := c.Apart
	if apart == nil {
		return
	}
	c.Apart = nil
	c.Added += apart.Added
	c.InRun += apart.InRun
	c.Visits = append(c.Visits, apart.Visits...)
	for i := range apart.Strata {
		s, a := c.stratum(i), &apart.Strata[i]
		s.Requests[Canary] += a.Requests[Canary]
		s.Failures[Canary] += a.Failures[Canary]
		s.Anonymous[Canary] += a.Anonymous[Canary]
		s.Latency[Canary].merge(&a.Latency[Canary])
		s.Slow += a.Slow
	}
	for client, n := range apart.Good {
		c.good(client, n)
	}
	for client, f := range apart.Failed {
		if !c.fail(client, f) {
			c.stratum(f.Stratum).Anonymous[Canary]++
		}
	}
	c.Suspect = apart.Suspect // the baseline has none
}

// fail remembers a failure: the client's first of the second, whatever the order in
// which records arrive. It reports false when the client can't be remembered.
func (c *cell) fail(client uint64, f failure) bool {
	if c.Failed == nil {
		c.Failed = map[uint64]failure{}
	}
	known, ok := c.Failed[client]
	switch {
	case !ok && len(c.Failed) >= maxFailing:
		return false
	case !ok || f.before(known, client):
		c.Failed[client] = f
	}
	return true
}

// good counts good requests of a client.
func (c *cell) good(client, n uint64) {
	if c.Good == nil {
		c.Good = map[uint64]uint64{}
	}
	c.Good[client] += n
}

// serve counts good requests of a client on the baseline.
func (c *cell) serve(client, n uint64) {
	if c.Served == nil {
		c.Served = map[uint64]uint64{}
	}
	c.Served[client] += n
}

// before orders the failures of one client. At the same instant on both tracks a bit of
// the client's key decides, so that neither track is preferred.
func (f failure) before(o failure, client uint64) bool {
	switch {
	case f.Nanos != o.Nanos:
		return f.Nanos < o.Nanos
	case f.Track != o.Track:
		return uint64(f.Track) == client>>17&1
	case f.Stratum != o.Stratum:
		return f.Stratum < o.Stratum
	}
	return f.Target < o.Target
}

// hash returns the FNV-1a hash of s with a final mix, the same in every process: it is
// part of the state.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	hi, lo := bits.Mul64(h, 0x9e3779b97f4a7c15)
	return hi ^ lo
}
