package store

import (
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// A series keeps one column for each class of status and one for shed responses.
const (
	shedKind = len(gatewarden.Tally{}.ByClass)
	kinds    = shedKind + 1
)

// series is what is kept for a gatewarden.Series.
type series struct {
	name  gatewarden.Series
	index int // in book.list
	meter bool
	since int64  // the first second from which on everything that belongs here was counted
	last  int64  // the latest second with a record, 0 when there was none
	late  uint32 // how often something was counted further back than the finest level reaches

	counts  [kinds]*column // nil where nothing was ever counted
	slis    []sliColumns
	latency latencies
	settled int64   // the minute that things were last put in their places
	shelves shelves // those places
	borne   int64   // the minute until which bear keeps some of them from where they belong

	pending []cell // what Drain has not taken yet
}

// sliColumns counts the good and bad events of one SLI. Availability needs none: the
// classes of status answer it.
type sliColumns struct {
	key       sliKey
	since     int64 // the first second from which on it was judged
	good, bad column
}

// sliKey says what gatewarden.SLI.ID says, without the cost of a string.
type sliKey struct {
	kind      gatewarden.SLIKind
	threshold time.Duration
	of        gatewarden.LatencyPart
	expr      string
}

func keyOf(s *gatewarden.SLI) sliKey {
	switch s.Kind {
	case gatewarden.SLILatency:
		of := s.Of
		if of == "" {
			of = gatewarden.OfRequest // as LatencyPart.Pick has it
		}
		return sliKey{kind: s.Kind, threshold: s.Threshold, of: of}
	case gatewarden.SLIGood:
		return sliKey{kind: s.Kind, expr: s.Expr}
	default:
		return sliKey{}
	}
}

// guessable reports whether latency distributions can tell what the SLI counted.
func (k sliKey) guessable() bool {
	return k.kind == gatewarden.SLILatency && k.of == gatewarden.OfRequest
}

// find returns the columns of an SLI, nil when it is not configured.
func (s *series) find(key sliKey) *sliColumns {
	for i := range s.slis {
		if s.slis[i].key == key {
			return &s.slis[i]
		}
	}
	return nil
}

// goodBad is what an SLI made of some events.
type goodBad struct{ good, bad uint64 }

// cell is what a series counted in a second, or in the part of it that one batch or
// message brought.
type cell struct {
	second int64
	counts [kinds]uint64
	slis   []goodBad // by index into series.slis
	marks  []mark
	tidied int // how many marks there were when merge last put them in order
}

// fewMarks is how many marks are not worth putting in order, nor their memory giving back.
const fewMarks = 64

// merge adds o to c.
func (c *cell) merge(o *cell) {
	for k, n := range o.counts {
		c.counts[k] += n
	}
	for len(c.slis) < len(o.slis) {
		c.slis = append(c.slis, goodBad{})
	}
	for i, n := range o.slis {
		c.slis[i].good += n.good
		c.slis[i].bad += n.bad
	}
	c.marks = append(c.marks, o.marks...)
	if len(c.marks) > max(fewMarks, 2*c.tidied) {
		c.marks = tidy(c.marks)
		c.tidied = len(c.marks)
	}
}

// add counts a cell.
func (s *series) add(cal *calendar, c *cell) {
	s.settle(cal)
	if c.second < cal.known()-cal.keep[0] {
		s.late++
	}
	for k, n := range c.counts {
		if n == 0 {
			continue
		}
		if s.counts[k] == nil {
			s.counts[k] = &column{}
		}
		s.counts[k].add(&s.shelves, c.second, n)
	}
	for i, n := range c.slis {
		if n.good > 0 {
			s.slis[i].good.add(&s.shelves, c.second, n.good)
		}
		if n.bad > 0 {
			s.slis[i].bad.add(&s.shelves, c.second, n.bad)
		}
	}
	s.latency.add(cal.head, c.second, c.marks)
	s.last = max(s.last, c.second)
}

// settle puts everything where its age belongs, once a minute.
func (s *series) settle(cal *calendar) {
	now := cal.head / minute
	if now == s.settled {
		return
	}
	back := now < s.settled
	s.settled, s.shelves = now, cal.shelves()
	if back || now <= s.borne {
		s.bear(cal)
	}
	s.latency.roll(cal.head)
	for _, c := range s.counts {
		if c != nil {
			c.settle(&s.shelves)
		}
	}
	for i := range s.slis {
		s.slis[i].good.settle(&s.shelves)
		s.slis[i].bad.settle(&s.shelves)
	}
}

// bear moves the shelves on to where nothing is kept more coarsely already, as it is after a
// clock was ahead: each event is in one level, and the finer levels are the later ones.
func (s *series) bear(cal *calendar) {
	s.borne = 0
	for l := coarsest - 1; l >= 0; l-- {
		from := s.shelves[l+1]
		for _, c := range s.counts {
			if c != nil {
				from = max(from, c.end(l+1))
			}
		}
		for i := range s.slis {
			from = max(from, s.slis[i].good.end(l+1), s.slis[i].bad.end(l+1))
		}
		if from > s.shelves[l] {
			s.shelves[l] = from
			s.borne = max(s.borne, (from+cal.keep[l]+chunkWidth(l))/minute+1)
		}
	}
}

// keep remembers a cell for Drain, and reports whether there was none of its second yet.
func (s *series) keep(c *cell) (fresh bool) {
	for i := len(s.pending) - 1; i >= 0; i-- {
		if s.pending[i].second == c.second {
			s.pending[i].merge(c)
			return false
		}
	}
	n := len(s.pending)
	s.pending = slices.Grow(s.pending, 1)[:n+1]
	next := &s.pending[n] // what was drained from it left its memory there
	*next = cell{second: c.second, slis: next.slis[:0], marks: next.marks[:0]}
	next.merge(c)
	return true
}
