package store

import (
	"slices"
	"time"
)

// Ages count from the latest second that the clock has shown, and what is aged is made
// coarser, and dropped in the end: a clock that is wrong for a moment must not do that. Nor
// is each instant that comes later than another one the clock's: a batch may have waited for
// long. So a leap, and a step back, is believed once it has held for a minute, in which the
// clock has been looked at no more than an hour apart. Until then what is counted is counted
// at the time that it has.
const (
	holdFor = minute
	farOff  = hour        // ahead; that much is believed at once
	alike   = fiveMinutes // within which two leaps are of one length: they are seen when something comes
)

// leap is where the clock seems to have gone.
type leap struct {
	from  int64 // the latest second that was believed, 0 when there is no leap
	since int64 // the first second that the clock showed after it
	last  int64 // the latest one
}

// known returns the latest second of a clock that is believed, 0 when there is none yet.
func (c *calendar) known() int64 {
	if c.leapt.from > 0 {
		return c.leapt.from
	}
	return c.head
}

// secondOf returns a time of the clock, within what the store can keep.
func secondOf(now time.Time) int64 { return min(max(now.Unix(), 1), lastSecond) }

// advance moves the store's calendar on to now, and returns its latest second.
func (s *Store) advance(now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reach(secondOf(now))
	return s.cal.head
}

// reach moves the latest second to what the clock shows, if that can be believed. The caller
// holds mu.
func (s *Store) reach(second int64) {
	known, l := s.cal.known(), &s.cal.leapt
	if known == 0 || second >= known-s.slack() && second <= known+farOff {
		s.cal.head, *l = max(known, second), leap{}
		return
	}
	if l.from == 0 || second < l.since || second > l.last+farOff {
		*l = leap{from: known, since: second}
	}
	l.last = max(l.last, second)
	s.cal.head = known
	if l.last < known-farOff { // seconds are counted as seconds, and nothing is made coarser by that
		s.cal.head = l.last
	}
	if l.last-l.since >= holdFor {
		s.believe(*l)
	}
}

// believe makes what the clock shows since a leap its time. A leap and another one that
// undoes it are as if they had not been. The caller holds mu.
func (s *Store) believe(l leap) {
	by := l.since - l.from
	undone := s.moved != 0 && abs(s.moved+by) <= alike
	s.cal.head, s.cal.leapt = l.last, leap{}
	s.book.era++ // Counters remember the past by where it was
	switch {
	case undone:
		s.moved = 0
	case abs(by) > farOff:
		s.moved = by
	}
	switch {
	case by > 0:
		s.cfg.Logger.Info("the clock has leapt ahead, or nothing has come for long: what was counted before is that much older", "seconds", by)
	case undone:
		s.cfg.Logger.Warn("the clock, which had leapt ahead, was set back: what was counted at times that have not come is dropped", "seconds", -by)
		s.drop(l.last + s.slack())
	default:
		s.cfg.Logger.Warn("the clock was set back: what was counted while it was ahead stays at the times it said", "seconds", -by)
	}
}

func abs(n int64) int64 { return max(n, -n) }

// slack returns how many seconds ahead of the clock anything may be.
func (s *Store) slack() int64 { return int64(s.cfg.MaxFuture / time.Second) }

// drop forgets what was counted, and seen, from a second on. The caller holds mu.
func (s *Store) drop(from int64) {
	for _, one := range s.book.list {
		if one != nil {
			s.saving.save(one)
			one.cut(from)
		}
	}
	s.book.overflowed = min(s.book.overflowed, from)
	s.watched.cut(from * int64(time.Second))
	for _, w := range s.vouched {
		w.cut(from * int64(time.Second))
	}
}

// cut forgets what the series counted from a second on.
func (s *series) cut(from int64) {
	for _, c := range s.counts {
		if c != nil {
			c.cut(from)
		}
	}
	for i := range s.slis {
		one := &s.slis[i]
		one.good.cut(from)
		one.bad.cut(from)
		one.since = min(one.since, from)
	}
	s.latency.cut(from)
	s.since, s.last = min(s.since, from), min(s.last, from)
}

// cut forgets the slots that begin at a second or later.
func (c *column) cut(from int64) {
	for l := range c.levels {
		chunks := c.levels[l]
		no, slot := place(l, from+slotWidth(l)-1)
		keep := find(chunks, no)
		gone := chunks[keep:]
		if len(gone) > 0 && gone[0].no == no && slot > 0 {
			c.total -= gone[0].cut(slot)
			gone, keep = gone[1:], keep+1
		}
		for i := range gone {
			c.total -= gone[i].sum()
		}
		c.levels[l] = slices.Delete(chunks, keep, len(chunks))
	}
}

// cut forgets the events of the slots from i on, which is not the first one, and returns how
// many there were.
func (c *chunk) cut(i int) uint64 {
	gone, width := c.sum()-c.upTo(i-1), c.width()
	for lane := i; lane < lanesPerChunk; lane++ {
		copy(c.totals[lane*width:], c.totals[(i-1)*width:i*width])
	}
	return gone
}

// cut forgets the minutes and hours that begin at a second or later.
func (l *latencies) cut(from int64) {
	l.recent = slices.DeleteFunc(l.recent, func(m minuteLog) bool { return int64(m.no)*minute >= from })
	l.minutes = slices.DeleteFunc(l.minutes, func(c sealed) bool { return int64(c.no)*minute >= from })
	l.hours = slices.DeleteFunc(l.hours, func(c sealed) bool { return int64(c.no)*hour >= from })
}

// cut forgets what was watched at an instant and later.
func (w *watched) cut(at int64) {
	w.spans = slices.DeleteFunc(w.spans, func(s span) bool { return s.from >= at })
	if n := len(w.spans); n > 0 {
		w.spans[n-1].to = min(w.spans[n-1].to, at)
	}
}
