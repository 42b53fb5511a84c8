package gatewarden

import "time"

// Tally counts requests by outcome and keeps the distribution of their latency.
// Merging is associative and commutative, the zero Tally is its unit, so tallies
// of seconds, of guards and of series can be added up in any order.
type Tally struct {
	// ByClass counts by the first digit of the status: [2] is 2xx. [0] takes what
	// HTTP does not know, such as the 9 of an upstream that speaks another protocol.
	ByClass [6]uint64
	// Shed counts the responses that a change of the guard itself made. They are in
	// none of the other counts: the remedy must not feed the alarm.
	Shed uint64
	// Latency is of the whole request, as the client saw it.
	Latency Histogram
}

// Class returns the index into Tally.ByClass for a status.
func Class(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status / 100
}

// Add counts r, as often as its weight says.
func (t *Tally) Add(r *Record) {
	n := uint64(r.Weight)
	t.ByClass[Class(r.Status)] += n
	if r.Latency.Request >= 0 {
		t.Latency.Add(r.Latency.Request, n)
	}
}

// Merge adds o to t.
func (t *Tally) Merge(o *Tally) {
	for i, n := range o.ByClass {
		t.ByClass[i] += n
	}
	t.Shed += o.Shed
	t.Latency.Merge(&o.Latency)
}

// Requests returns how many requests were counted, the shed ones not among them.
func (t *Tally) Requests() uint64 {
	var sum uint64
	for _, n := range t.ByClass {
		sum += n
	}
	return sum
}

// Errors returns how many requests failed in the sense of Record.Failed.
func (t *Tally) Errors() uint64 { return t.ByClass[5] + t.ByClass[0] }

// Window is the tally of a series over [From, To).
type Window struct {
	Series Series
	From   time.Time
	To     time.Time
	Tally
	Coverage float64 // share of the window in which the guard was watching, 0 to 1
}

// Count is what an SLI makes of a window: how many events were good and bad. A
// request that the SLI does not apply to is in neither.
type Count struct {
	Good uint64 `json:"good"`
	Bad  uint64 `json:"bad"`
	// Coverage is the share of the window in which the guard was watching, 0 to 1.
	Coverage float64 `json:"coverage"`
}

// Total returns how many events there were.
func (c Count) Total() uint64 { return c.Good + c.Bad }

// BadRatio returns the share of bad events, and 0 when there were none at all:
// an idle hour is no events, never NaN.
func (c Count) BadRatio() float64 {
	if c.Total() == 0 {
		return 0
	}
	return float64(c.Bad) / float64(c.Total())
}
