package store

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// Count returns how many events of the SLI were good and bad in [from, to), ends
// rounded down to the resolution there: the running second is left out unless to
// lies behind it. An SLI other than availability must be configured for the series;
// Coverage counts only the time in which it was. Who asks often asks a Counter.
func (s *Store) Count(series gatewarden.Series, sli *gatewarden.SLI, from, to time.Time) gatewarden.Count {
	c := Counter{store: s, series: series, key: keyOf(sli)}
	return c.Count(from, to)
}

// Window returns the tally of a series over [from, to), ends rounded down to the
// resolution there. Its latency distribution reaches back 26 hours at most.
func (s *Store) Window(series gatewarden.Series, from, to time.Time) gatewarden.Window {
	s.mu.RLock()
	defer s.mu.RUnlock()
	in := s.book.series[series]
	w := gatewarden.Window{Series: series, From: from, To: to, Coverage: s.coverage(meterKey{series: series}, in, 0, from, to)}
	if in == nil {
		return w
	}
	counts := in.between(s.cal.round(from.Unix()), s.cal.round(to.Unix()))
	copy(w.ByClass[:], counts[:shedKind])
	w.Shed = counts[shedKind]
	w.Latency = in.latency.histogram(s.cal.head, from.Unix(), to.Unix())
	return w
}

// List returns the series that the store keeps, in the order of their fields.
func (s *Store) List() []SeriesInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.book.infos()
}

// within returns how many events the column counted in [from, to), both rounded.
func (c *column) within(s *shelves, from, to int64) uint64 {
	before, upTo := c.before(s, from), c.before(s, to)
	return max(upTo, before) - before
}

// between returns the series' counts in [from, to), both rounded.
func (s *series) between(from, to int64) (counts [kinds]uint64) {
	for k, c := range s.counts {
		if c != nil {
			counts[k] = c.within(&s.shelves, from, to)
		}
	}
	return counts
}

// coverage returns the share of [from, to) in which the guard was watching, and
// counting what is asked for: series in, which may be nil, from second since on; or that
// somebody vouches for.
func (s *Store) coverage(meter meterKey, in *series, since int64, from, to time.Time) float64 {
	length := to.Sub(from)
	if length <= 0 {
		return 0
	}
	start, known := s.watchedSince(meter.series, in, since)
	return float64(s.covered(meter, s.vouched[meter], start, known, nanos(from), nanos(to))) / float64(length)
}

// watchedSince returns the instant, in nanoseconds since 1970, from which on watching
// counts for what coverage is asked for, and false when it never does.
func (s *Store) watchedSince(name gatewarden.Series, in *series, since int64) (start int64, known bool) {
	if in != nil {
		return max(since, in.since) * int64(time.Second), true
	}
	would, ok := s.book.sinceOf(name)
	return max(since, would) * int64(time.Second), ok
}

// nanos returns t in nanoseconds since 1970, kept within the range that has them.
func nanos(t time.Time) int64 {
	const last = 1 << 33 // seconds; the year 2242
	switch sec := t.Unix(); {
	case sec < 0:
		return 0
	case sec > last:
		return last * int64(time.Second)
	default:
		return t.UnixNano()
	}
}

// instant returns the time of second sec, zero for 0.
func instant(sec int64) time.Time {
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0).UTC()
}
