package store

import (
	"slices"
	"time"
)

// Ages count from the latest second that the clock has shown, and what is aged is made
// coarser, and dropped in the end: a clock that is wrong for a moment must not do that. Nor
// is each instant that comes later than another one the clock's: a batch may have waited for
// long. So a leap, and a step back, is believed once it has held for a minute, or at once if it
// undoes one that did. Until then what is counted is counted at the time that it has.
const (
	holdFor = minute
	farOff  = hour        // ahead; that much is believed at once
	alike   = fiveMinutes // within which two leaps are of one length
)

// leap is where the clock seems to have gone.
type leap struct {
	since int64 // the first second that it showed there, 0 when there is none
	by    int64 // seconds, below 0 for back
}

// advance moves the store's calendar on to now, and returns its latest second.
func (s *Store) advance(now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reach(min(now.Unix(), lastSecond))
	return s.cal.head
}

// reach moves the latest second to what the clock shows, if that can be believed. The caller
// holds mu.
func (s *Store) reach(second int64) {
	by := second - s.cal.head
	if s.cal.head == 0 || by >= -s.slack() && by <= farOff {
		s.cal.head, s.leapt = max(s.cal.head, second), leap{}
		return
	}
	if l := s.leapt; l.since == 0 || (by < 0) != (l.by < 0) || second < l.since {
		s.leapt = leap{second, by}
	}
	undoes := s.watched.undoes(s.leapt)
	if second-s.leapt.since < holdFor && !undoes {
		return
	}
	by, s.leapt, s.cal.head = s.leapt.by, leap{}, second
	s.book.era++ // Counters remember the past by where it was
	switch {
	case by > 0:
		s.cfg.Logger.Info("the clock has leapt ahead, or nothing has come for long: what was counted before is that much older", "seconds", by)
	case undoes:
		s.cfg.Logger.Warn("the clock, which had leapt ahead, was set back: what was counted at times that have not come is dropped", "seconds", -by)
		s.drop(second + s.slack())
	default:
		s.cfg.Logger.Warn("the clock was set back: what was counted while it was ahead stays at the times it said", "seconds", -by)
	}
}

// slack returns how many seconds ahead of the clock anything may be.
func (s *Store) slack() int64 { return int64(s.cfg.MaxFuture / time.Second) }

// undoes reports whether a step back is as long as the last long time in which nobody watched,
// which is what a leap ahead looks like. What was watched since the step is not looked at.
func (w *watched) undoes(back leap) bool {
	later := int64(0)
	for _, s := range slices.Backward(w.spans) {
		from, to := s.from/int64(time.Second), s.to/int64(time.Second)
		if from >= back.since-alike && to <= back.since+alike {
			continue
		}
		if gap := later - to; later > 0 && gap > farOff {
			return max(gap+back.by, -back.by-gap) <= alike
		}
		later = from
	}
	return false
}

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
