package store

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// Counter answers what Store.Count does, for one meter and for somebody who asks
// again and again: it finds its series once for as long as they stay the same, and
// remembers what lies so far back that it hardly changes. It must not be used
// concurrently; the Store goes on being safe for that.
type Counter struct {
	store  *Store
	series gatewarden.Series
	key    sliKey

	era     int         // of the book that in and columns are from
	in      *series     // nil when the store does not have it
	columns *sliColumns // nil for availability, and when they are not configured
	vouched *watched    // nil when nobody vouches for anything
	past    []past      // by the index of a window in Until
}

// past is how many events there were before a second that only coarse levels resolve.
type past struct {
	second int64
	late   uint32 // the series' count of late records at that time
	before goodBad
}

// Counter returns a Counter of the SLI in the series.
func (s *Store) Counter(of gatewarden.Series, sli *gatewarden.SLI) *Counter {
	return &Counter{store: s, series: of, key: keyOf(sli), era: -1}
}

// Count is Store.Count.
func (c *Counter) Count(from, to time.Time) gatewarden.Count {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	if !c.find() {
		return gatewarden.Count{}
	}
	start, end := c.before(c.store.cal.round(from.Unix())), c.before(c.store.cal.round(to.Unix()))
	n := between(start, end)
	n.Coverage = c.store.coverage(c.meter(), c.in, c.since(), from, to)
	return n
}

// Until counts windows that end at the same instant, all as of one moment: counts[i]
// is what Store.Count says of the window of lengths[i].
func (c *Counter) Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	clear(counts)
	if !c.find() {
		return
	}
	for len(c.past) < len(lengths) {
		c.past = append(c.past, past{second: -1})
	}
	end := c.before(c.store.cal.round(to.Unix()))
	since, known := c.store.watchedSince(c.series, c.in, c.since())
	for i, length := range lengths {
		from := to.Add(-length)
		counts[i] = between(c.beforeWindow(i, c.store.cal.round(from.Unix())), end)
		if length > 0 {
			counts[i].Coverage = float64(c.store.covered(c.meter(), c.vouched, since, known, nanos(from), nanos(to))) / float64(length)
		}
	}
}

// Revise counts the seconds from the given one on anew, one by one, without their
// coverage. It returns the index of the first one that differs from what counts said
// before, and len(counts) when none does.
func (c *Counter) Revise(from time.Time, counts []gatewarden.Count) (first int) {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	known := c.find()
	first = len(counts)
	var now [16]gatewarden.Count // a few at a time, so that they need no memory of their own
	for at := 0; at < len(counts); at += len(now) {
		piece := counts[at:min(at+len(now), len(counts))]
		clear(now[:])
		if known {
			c.seconds(from.Unix()+int64(at), now[:len(piece)])
		}
		for i := range piece {
			if piece[i].Good != now[i].Good || piece[i].Bad != now[i].Bad {
				first = min(first, at+i)
				piece[i] = now[i]
			}
		}
	}
	return first
}

// Step returns how long the slots are in which the store counts what was at an instant. They
// begin with multiples of that, 0 after.
func (c *Counter) Step(at time.Time) (length, offset time.Duration) {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	level := 0
	for level < coarsest && at.Unix() < c.store.cal.horizon(level) {
		level++
	}
	if c.find() && c.in != nil { // after a clock was ahead some of it may be kept more coarsely
		level = min(max(level, c.in.shelves.level(at.Unix())), coarsest)
	}
	return time.Duration(slotWidth(level)) * time.Second, 0
}

// Late returns how often something was counted in the series further back than seconds
// are told apart.
func (c *Counter) Late() uint32 {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	if !c.find() || c.in == nil {
		return 0
	}
	return c.in.late
}

// seconds adds what was counted in the seconds from first on.
func (c *Counter) seconds(first int64, counts []gatewarden.Count) {
	switch {
	case c.in == nil:
	case first < max(c.store.cal.horizon(0), c.in.shelves[0]):
		c.coarse(first, counts)
	case c.columns != nil:
		c.columns.good.seconds(first, counts, false)
		c.columns.bad.seconds(first, counts, true)
	default:
		for k, column := range c.in.counts[:shedKind] {
			if column != nil {
				column.seconds(first, counts, isBad(k))
			}
		}
	}
}

// coarse is seconds where the store does not know them one by one.
func (c *Counter) coarse(first int64, counts []gatewarden.Count) {
	start := c.before(c.store.cal.round(first))
	for i := range counts {
		end := c.before(c.store.cal.round(first + int64(i) + 1))
		counts[i] = between(start, end)
		start = end
	}
}

// find finds the series, and reports whether there is an answer to give. An SLI other
// than availability must be configured for the series. The caller holds the lock.
func (c *Counter) find() bool {
	if c.era != c.store.book.era || c.in == nil {
		c.era, c.past = c.store.book.era, c.past[:0]
		c.in, c.columns, c.vouched = c.store.book.series[c.series], nil, c.store.vouched[c.meter()]
		if c.in != nil && c.key.kind != gatewarden.SLIAvailability {
			c.columns = c.in.find(c.key)
		}
	}
	return c.key.kind == gatewarden.SLIAvailability || c.columns != nil
}

// meter returns what is counted.
func (c *Counter) meter() meterKey { return meterKey{c.series, c.key} }

// since returns the first second from which on the SLI was judged.
func (c *Counter) since() int64 {
	if c.columns == nil {
		return 0
	}
	return c.columns.since
}

// beforeWindow is before for where window i begins.
func (c *Counter) beforeWindow(i int, second int64) goodBad {
	if c.in == nil || second >= c.store.cal.horizon(0) {
		return c.before(second)
	}
	p := &c.past[i]
	if p.second != second || p.late != c.in.late {
		*p = past{second: second, late: c.in.late, before: c.before(second)}
	}
	return p.before
}

// before returns how many events there were before a rounded second.
func (c *Counter) before(second int64) (n goodBad) {
	switch {
	case c.in == nil:
	case c.columns != nil:
		n.good = c.columns.good.before(&c.in.shelves, second)
		n.bad = c.columns.bad.before(&c.in.shelves, second)
	default:
		for k, column := range c.in.counts[:shedKind] {
			switch {
			case column == nil:
			case isBad(k):
				n.bad += column.before(&c.in.shelves, second)
			default:
				n.good += column.before(&c.in.shelves, second)
			}
		}
	}
	return n
}

// between returns what is in upTo and not in before, of which it holds more unless the
// window is the wrong way round.
func between(before, upTo goodBad) gatewarden.Count {
	return gatewarden.Count{
		Good: max(upTo.good, before.good) - before.good,
		Bad:  max(upTo.bad, before.bad) - before.bad,
	}
}

// isBad reports whether a class of status counts as failed, as Record.Failed has it.
func isBad(class int) bool { return class == 0 || class == 5 }
