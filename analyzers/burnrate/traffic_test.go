package burnrate

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/gatewarden/gatewarden"
)

// tenths: simulated traffic moves in tenths of a second.
const tenths = 10

// ring is a Counter over the last two minutes for simulations of months.
type ring struct {
	cells  [128]gatewarden.Count
	newest int64
}

func (r *ring) add(second int64, c gatewarden.Count) {
	for r.newest < second {
		r.newest++
		r.cells[r.newest%128] = gatewarden.Count{}
	}
	cell := &r.cells[second%128]
	cell.Good += c.Good
	cell.Bad += c.Bad
}

func (r *ring) Count(from, to time.Time) gatewarden.Count {
	var sum gatewarden.Count
	for s := max(from.Unix(), r.newest-127); s < min(to.Unix(), r.newest+1); s++ {
		sum = plus(sum, r.cells[s%128])
	}
	return sum
}

func (r *ring) Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	until(r, to, lengths, counts)
}

func (r *ring) Step(time.Time) (length, offset time.Duration) { return time.Second, 0 }

func (r *ring) Late() uint32 { return 0 }

func (r *ring) Revise(from time.Time, counts []gatewarden.Count) (first int) {
	first = len(counts)
	for i := range counts {
		var now gatewarden.Count
		if s := from.Unix() + int64(i); s > r.newest-128 && s <= r.newest {
			now = r.cells[s%128]
		}
		if now != counts[i] {
			first, counts[i] = min(first, i), now
		}
	}
	return first
}

// traffic says how many requests complete in each tenth of a second, and how they
// end.
type traffic func(tenth int64) gatewarden.Count

// lane is one simulated service with its outage line: requests reach the ring as
// Kong sends them, in one batch a second at its own phase, and the line is judged
// once a second at another.
type lane struct {
	line      *outage
	ring      *ring
	flush     int64 // tenth of the second in which a batch arrives
	immediate bool  // no batches: requests count when they complete
	tick      int64 // tenth of the second in which the line is judged
	pending   [4]gatewarden.Count
	now       int64 // tenths since epoch
}

func newLane(ratio float64, start time.Time, flush, tick int64) *lane {
	r := &ring{newest: start.Unix() - 1}
	return &lane{
		line: newOutage(ratio, r), ring: r,
		flush: flush, tick: tick, now: start.Unix() * tenths,
	}
}

// step lets a tenth of a second pass and reports whether the line was judged at
// its end.
func (l *lane) step(t traffic) (judged bool) {
	second := l.now / tenths
	p := &l.pending[second%4]
	*p = plus(*p, t(l.now))
	l.now++
	if l.immediate || l.now%tenths == l.flush {
		for s := second - 2; s <= second; s++ {
			if p := &l.pending[s%4]; p.Total() > 0 {
				l.ring.add(s, *p)
				*p = gatewarden.Count{}
			}
		}
	}
	if l.now%tenths != l.tick {
		return false
	}
	l.line.judge(l.at(), false)
	return true
}

func (l *lane) at() time.Time { return time.UnixMilli(l.now * 1000 / tenths) }

// alarms runs the lane for d and returns when the line began to fire.
func (l *lane) alarms(d time.Duration, t traffic) []time.Time {
	var alarms []time.Time
	for end := l.now + int64(d*tenths/time.Second); l.now < end; {
		was := l.line.firing
		if l.step(t) && l.line.firing && !was {
			alarms = append(alarms, l.at())
		}
	}
	return alarms
}

// steady is traffic of a mean rate (requests a second, Poisson) whose requests fail
// independently.
func steady(rng *rand.Rand, rate, bad float64) traffic {
	return func(int64) gatewarden.Count {
		n := poisson(rng, rate/tenths)
		k := binomial(rng, n, bad)
		return gatewarden.Count{Good: n - k, Bad: k}
	}
}

// even is traffic of exactly rate requests a second, evenly spaced.
func even(rate int64) func(tenth int64) uint64 {
	return func(tenth int64) uint64 {
		in := tenth % tenths
		return uint64((in+1)*rate/tenths - in*rate/tenths)
	}
}

// binomial samples how many of n are hit with probability p each: by the gaps
// between hits where these are rare, else one by one, or by the normal distribution
// where that is as good.
func binomial(rng *rand.Rand, n uint64, p float64) uint64 {
	var k uint64
	switch variance := float64(n) * p * (1 - p); {
	case p <= 0 || n == 0:
		return 0
	case variance > 20:
		return uint64(min(max(math.Round(float64(n)*p+math.Sqrt(variance)*rng.NormFloat64()), 0), float64(n)))
	case p > 0.05 || n < 4:
		for range n {
			if rng.Float64() < p {
				k++
			}
		}
		return k
	}
	log := math.Log1p(-p)
	for i := uint64(0); ; i++ {
		gap := math.Log(1-rng.Float64()) / log
		if gap >= float64(n-i) {
			return k
		}
		if i += uint64(gap); i >= n {
			return k
		}
		k++
	}
}

func poisson(rng *rand.Rand, mean float64) uint64 {
	if mean > 30 { // normal, rounded: the error is far below what any test looks at
		return uint64(max(math.Round(mean+math.Sqrt(mean)*rng.NormFloat64()), 0))
	}
	limit, product := math.Exp(-mean), rng.Float64()
	var k uint64
	for product > limit {
		product *= rng.Float64()
		k++
	}
	return k
}
