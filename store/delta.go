package store

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// A message of Drain is one frame after another. A frame is
//
//	version (1 byte), origin (8), length of the payload (4), payload, CRC-32C of all that (4)
//
// and its payload
//
//	number, head, overflowed + 1, spans watched, spans vouched for by meter, series
//
// where a series is its name, since when it counts, its SLIs with since when they
// judge, and its cells. Numbers are varints unless said otherwise, so most cells
// take 10 to 30 bytes.
const (
	frameVersion = 2
	frameHead    = 1 + 8 + 4
	frameTail    = 4
)

// delta is the content of a frame: what one store counted between two Drains.
type delta struct {
	origin     uint64 // the store that counted, drawn by lot when it was made
	number     uint64 // of this store's frames, from 1
	head       int64
	overflowed int64
	watched    watched
	vouches    []vouch
	series     []seriesDelta
}

type seriesDelta struct {
	name  gatewarden.Series
	since int64
	slis  []sliSince
	cells []cell
}

// sliSince is an SLI and the first second from which on it was judged.
type sliSince struct {
	key   sliKey
	since int64
}

// Drain returns what was added and watched since the last Drain as one message for
// Apply, and nil when there was nothing or Config.KeepDeltas is false.
func (s *Store) Drain() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
	message := s.drained
	s.drained = nil
	return message
}

// cut moves what is pending into a frame of its own that the next Drain returns. The
// caller holds mu.
func (s *Store) cut() {
	if len(s.dirty) == 0 && len(s.fresh.spans) == 0 && len(s.freshVouches) == 0 {
		return
	}
	s.number++
	d := delta{
		origin: s.origin, number: s.number, head: s.cal.head,
		overflowed: s.book.overflowed, watched: s.fresh, vouches: listed(s.freshVouches),
	}
	for _, from := range s.dirty {
		part := seriesDelta{name: from.name, since: from.since, cells: from.pending}
		for i := range from.slis {
			part.slis = append(part.slis, sliSince{from.slis[i].key, from.slis[i].since})
		}
		d.series = append(d.series, part)
	}
	s.drained = appendFrame(s.drained, &d)
	for _, from := range s.dirty {
		if from.pending = from.pending[:0]; cap(from.pending) > 16 {
			from.pending = nil // many seconds at once are rare: do not keep their memory
			continue
		}
		for i, all := 0, from.pending[:cap(from.pending)]; i < len(all); i++ {
			if cap(all[i].marks) > 2*fewMarks {
				all[i].marks = nil // nor that of a busy second for good
			}
		}
	}
	clear(s.dirty)
	s.waiting = 0
	s.dirty, s.fresh = s.dirty[:0], watched{}
	clear(s.freshVouches)
}

func appendFrame(b []byte, d *delta) []byte {
	e := encoder{b: append(b, frameVersion)}
	e.word(d.origin)
	length := len(e.b)
	e.b = append(e.b, 0, 0, 0, 0)
	e.uint(d.number)
	e.uint(uint64(d.head))
	e.uint(uint64(d.overflowed + 1))
	e.spans(d.watched.spans)
	e.vouches(d.vouches)
	e.uint(uint64(len(d.series)))
	for i := range d.series {
		e.seriesDelta(&d.series[i])
	}
	binary.LittleEndian.PutUint32(e.b[length:], uint32(len(e.b)-length-4))
	e.seal(len(b))
	return e.b
}

func (e *encoder) seriesDelta(d *seriesDelta) {
	e.series(d.name)
	e.uint(uint64(d.since))
	e.uint(uint64(len(d.slis)))
	for _, s := range d.slis {
		e.sli(s.key)
		e.uint(uint64(s.since))
	}
	e.uint(uint64(len(d.cells)))
	for i := range d.cells {
		e.cell(&d.cells[i], len(d.slis))
	}
}

func (e *encoder) cell(c *cell, slis int) {
	e.uint(uint64(c.second))
	used := byte(0)
	for k, n := range c.counts {
		if n > 0 {
			used |= 1 << k
		}
	}
	e.b = append(e.b, used)
	for _, n := range c.counts {
		if n > 0 {
			e.uint(n)
		}
	}
	for i := range slis {
		var n goodBad
		if i < len(c.slis) {
			n = c.slis[i]
		}
		e.uint(n.good)
		e.uint(n.bad)
	}
	c.marks = tidy(c.marks)
	e.scratch = appendMarks(e.scratch[:0], c.marks)
	e.bytes(e.scratch)
}

// decodeMessage reads all frames of a message.
func decodeMessage(message []byte) (deltas []*delta, err error) {
	for b := message; len(b) > 0; {
		if len(b) < frameHead+frameTail || b[0] != frameVersion {
			return nil, damaged("message of tallies", "byte %d is no frame of version %d", len(message)-len(b), frameVersion)
		}
		end := uint64(frameHead) + uint64(binary.LittleEndian.Uint32(b[9:]))
		if end+frameTail > uint64(len(b)) {
			return nil, damaged("message of tallies", "it is cut short")
		}
		if binary.LittleEndian.Uint32(b[end:]) != checksum(b[:end]) {
			return nil, damaged("message of tallies", "the checksum of the frame at byte %d is wrong", len(message)-len(b))
		}
		in := decoder{b: b[frameHead:end]}
		d := in.delta()
		d.origin = binary.LittleEndian.Uint64(b[1:])
		if in.bad || len(in.b) > 0 {
			return nil, damaged("message of tallies", "the frame at byte %d is malformed", len(message)-len(b))
		}
		deltas = append(deltas, d)
		b = b[end+frameTail:]
	}
	return deltas, nil
}

// damaged returns the error for input that cannot be what this package wrote.
func damaged(what, format string, args ...any) error {
	return gatewarden.Errorf(gatewarden.Invalid, "reading a "+what+": "+format, args...).
		WithHint("it was damaged, or written by another version; what was there before is unchanged")
}

func (d *decoder) delta() *delta {
	out := &delta{number: d.uint(), head: d.second(), overflowed: d.second() - 1, watched: d.spans(), vouches: d.vouches()}
	for range d.count() {
		out.series = append(out.series, d.seriesDelta())
	}
	return out
}

func (d *decoder) seriesDelta() seriesDelta {
	out := seriesDelta{name: d.series(), since: d.second()}
	for range d.count() {
		out.slis = append(out.slis, sliSince{d.sli(), d.second()})
	}
	for range d.count() {
		out.cells = append(out.cells, d.cell(len(out.slis)))
		if d.bad {
			break
		}
	}
	return out
}

func (d *decoder) cell(slis int) cell {
	c := cell{second: d.second()}
	if len(d.b) == 0 {
		d.fail()
		return c
	}
	used := d.b[0]
	d.b = d.b[1:]
	for k := range c.counts {
		if used>>k&1 == 1 {
			c.counts[k] = d.amount()
		}
	}
	for range slis {
		c.slis = append(c.slis, goodBad{d.amount(), d.amount()})
		if d.bad {
			return c
		}
	}
	marks := sealed{data: d.bytes()}
	if !checkMarks(marks.data) {
		d.fail()
		return c
	}
	c.marks = marks.marks(nil)
	for _, m := range c.marks {
		if m.n > maxAmount {
			d.fail()
		}
	}
	return c
}

// maxAmount bounds what a cell can count of anything, far above what a second brings.
const maxAmount = 1 << 48

func (d *decoder) amount() uint64 {
	n := d.uint()
	if n > maxAmount {
		d.fail()
		return 0
	}
	return n
}

// Apply folds a message of Drain in, from this store's past life or from another
// one; now is the time of this one's clock. A message that was applied before, or is this
// store's own, changes nothing. A damaged message is an error of code invalid and changes
// nothing.
func (s *Store) Apply(message []byte, now time.Time) error {
	deltas, err := decodeMessage(message)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range deltas {
		if d.origin != s.origin && s.applied.note(d.origin, d.number, d.head) {
			s.fold(d, secondOf(now))
		}
	}
	return nil
}

// fold counts a delta. The clock of a store that was further ahead of this one's than any
// record may be says nothing about what is how old here. The caller holds mu.
func (s *Store) fold(d *delta, now int64) {
	head := d.head
	if head > now+s.slack() {
		head = now
	}
	if head > s.cal.known() {
		s.reach(head)
	}
	s.book.overflowed = max(s.book.overflowed, d.overflowed)
	for _, w := range d.watched.spans {
		s.watched.add(w.from, w.to)
	}
	for _, v := range d.vouches {
		for _, w := range v.spans {
			s.vouch(v.meter, w.from, w.to)
		}
	}
	// Services come before their routes, so that overflowOf can tell whether a route
	// overflows by itself.
	slices.SortStableFunc(d.series, func(a, b seriesDelta) int { return strings.Compare(a.name.Route, b.name.Route) })
	for i := range d.series {
		part := &d.series[i]
		to := s.book.target(part.name, part.since)
		if bounded(part.name) && (to == nil || to.name != part.name) {
			for j := range part.cells { // here there is no room, whatever the sender has
				s.book.overflowed = max(s.book.overflowed, part.cells[j].second)
			}
		}
		if to == nil {
			continue
		}
		s.saving.save(to)
		to.since = max(to.since, part.since)
		if s.book.meters == nil && to.adopt(part.slis) {
			s.book.reshape()
		}
		for j := range part.cells {
			if c := &part.cells[j]; c.second >= s.cal.horizon(coarsest) {
				to.add(&s.cal, to.translate(c, part.slis))
			}
		}
	}
}

// target returns the series that a name in a delta counts in: the overflow series
// when there is no room for it, nil when nobody asks for it.
func (b *book) target(name gatewarden.Series, since int64) *series {
	s := b.series[name]
	switch {
	case s != nil:
		return s
	case !byItself(name):
		if b.meters == nil { // Configure will tell what is not wanted
			return b.insert(name, since)
		}
		return nil
	case b.automatic < b.max || !bounded(name):
		return b.insert(name, since)
	case name.Route != "" && b.series[gatewarden.Series{Service: name.Service}] == nil:
		return nil // its service has overflowed, and the route's requests with it
	case b.series[overflow()] == nil:
		return b.insert(overflow(), 0)
	default:
		return b.series[overflow()]
	}
}

// adopt makes room for SLIs that are not configured yet, and reports whether there
// were any.
func (s *series) adopt(slis []sliSince) (changed bool) {
	for _, sli := range slis {
		if s.find(sli.key) == nil {
			s.slis = append(s.slis, sliColumns{key: sli.key, since: sli.since})
			changed = true
		}
	}
	return changed
}

// translate returns c with its counts in the order of this series' SLIs. A latency of
// the whole request that the sender did not judge is judged by its distribution; any
// other SLI counts from after c only.
func (s *series) translate(c *cell, from []sliSince) *cell {
	out := cell{second: c.second, counts: c.counts, marks: c.marks}
	for i := range s.slis {
		to := &s.slis[i]
		var n goodBad
		at := slices.IndexFunc(from, func(f sliSince) bool { return f.key == to.key })
		switch {
		case at >= 0:
			n = c.slis[at]
			to.since = max(to.since, from[at].since)
		case to.key.guessable():
			n = newGuess(to.key.threshold).judge(c.marks)
		default:
			to.since = max(to.since, c.second+1)
		}
		out.slis = append(out.slis, n)
	}
	return &out
}
