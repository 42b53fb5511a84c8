package store

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// A snapshot is a mark with the version, the CRC-32C of the rest, the length of the
// content, and the content, deflated. One of version 2 is read, too: it does not say how the
// clock has leapt.
const (
	snapshotMark = "gwstore\x03"
	olderMark    = "gwstore\x02"
	snapshotHead = len(snapshotMark) + 4 + 8

	// maxSnapshot bounds the content, so that a false length cannot claim all memory.
	maxSnapshot = 4 << 30
)

// saving is a Snapshot under way. It takes one series at a time, so that adding
// goes on; what is about to change before its turn has come is taken first.
type saving struct {
	todo map[*series]struct{}
	out  encoder
}

// save takes a series down as it is now, unless that was done. A nil saving is none.
func (v *saving) save(s *series) {
	if v == nil {
		return
	}
	if _, ok := v.todo[s]; ok {
		delete(v.todo, s)
		v.out.state(s)
	}
}

// Snapshot returns the whole state, compact, versioned and checksummed. Adding and
// reading go on meanwhile; the snapshot is of the moment of the call and holds
// everything drained before, and what the next Drain returns for the time before.
func (s *Store) Snapshot() ([]byte, error) {
	s.reform.Lock()
	defer s.reform.Unlock()
	rest, all := s.begin()
	for _, one := range all {
		s.mu.Lock()
		s.saving.save(one)
		s.mu.Unlock()
	}
	s.mu.Lock()
	series := s.saving.out.b
	s.saving = nil
	s.mu.Unlock()
	return pack(slices.Concat(rest, series))
}

// begin starts a snapshot: it cuts what is pending, so that the snapshot holds whole
// frames, and writes what concerns all series.
func (s *Store) begin() (common []byte, all []*series) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
	s.saving = &saving{todo: make(map[*series]struct{}, len(s.book.series))}
	for _, one := range s.book.list {
		if one != nil {
			s.saving.todo[one] = struct{}{}
			all = append(all, one)
		}
	}
	var e encoder
	e.uint(uint64(s.cal.known()))
	e.int(s.moved)
	e.uint(uint64(s.book.overflowed + 1))
	e.spans(s.watched.spans)
	e.vouches(listed(s.vouched))
	applied := s.applied
	if s.number > 0 {
		applied = maps.Clone(applied)
		applied[s.origin] = &frames{upTo: s.number, head: s.cal.head}
	}
	e.progress(applied)
	e.uint(uint64(len(all)))
	return e.b, all
}

// pack deflates content and puts the mark and checksum before it.
func pack(content []byte) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(snapshotMark)
	out.Write(make([]byte, snapshotHead-len(snapshotMark)))
	deflate, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("writing a snapshot of tallies: %w", err)
	}
	if _, err := deflate.Write(content); err != nil {
		return nil, fmt.Errorf("writing a snapshot of tallies: %w", err)
	}
	if err := deflate.Close(); err != nil {
		return nil, fmt.Errorf("writing a snapshot of tallies: %w", err)
	}
	b := out.Bytes()
	binary.LittleEndian.PutUint64(b[len(snapshotMark)+4:], uint64(len(content)))
	binary.LittleEndian.PutUint32(b[len(snapshotMark):], checksum(b[len(snapshotMark)+4:]))
	return b, nil
}

// unpack returns the content of a snapshot, and whether it is of the older version.
func unpack(b []byte) (content []byte, older bool, err error) {
	const what = "snapshot of tallies"
	older = bytes.HasPrefix(b, []byte(olderMark))
	if len(b) < snapshotHead || !older && !bytes.HasPrefix(b, []byte(snapshotMark)) {
		return nil, false, damaged(what, "it does not begin as one of this version")
	}
	rest := b[len(snapshotMark)+4:]
	if binary.LittleEndian.Uint32(b[len(snapshotMark):]) != checksum(rest) {
		return nil, false, damaged(what, "its checksum is wrong")
	}
	length := binary.LittleEndian.Uint64(rest)
	if length > maxSnapshot {
		return nil, false, damaged(what, "it claims to hold %d bytes", length)
	}
	var out bytes.Buffer
	inflate := flate.NewReader(bytes.NewReader(rest[8:]))
	if n, err := io.Copy(&out, io.LimitReader(inflate, int64(length)+1)); err != nil || uint64(n) != length {
		return nil, false, damaged(what, "its content does not have the length that it should have")
	}
	return out.Bytes(), older, nil
}

// Restore replaces the state by that of a snapshot; call it before anything is
// added. now is the time of the clock, which may have been ahead when the snapshot was
// taken. A damaged snapshot is an error of code invalid and changes nothing.
func (s *Store) Restore(snapshot []byte, now time.Time) error {
	content, older, err := unpack(snapshot)
	if err != nil {
		return err
	}
	in := decoder{b: content}
	head, moved := in.second(), int64(0)
	if !older {
		moved = in.distance()
	}
	overflowed, spans, vouches, applied := in.second()-1, in.spans(), in.vouches(), in.progress()
	fresh := newBook(s.cfg.MaxSeries)
	fresh.overflowed = overflowed
	for range in.count() {
		in.state(fresh, s.cal)
		if in.bad {
			break
		}
	}
	if in.bad || len(in.b) > 0 {
		return damaged("snapshot of tallies", "its content is malformed")
	}
	s.reform.Lock()
	defer s.reform.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh.era = s.book.era + 1
	s.cal.head, s.cal.leapt, s.moved, s.watched, s.applied = head, leap{}, moved, spans, applied
	s.reach(secondOf(now)) // first: what is not older by this clock keeps its place
	if s.book.meters != nil {
		fresh.configure(s.meters, &s.cal)
	}
	s.book, s.swept = fresh, 0
	s.dirty, s.drained, s.fresh = nil, nil, watched{}
	clear(s.vouched)
	clear(s.freshVouches)
	for _, v := range vouches {
		s.vouched[v.meter] = &v.watched
	}
	s.retract()
	return nil
}

// state writes all that is kept for a series.
func (e *encoder) state(s *series) {
	e.series(s.name)
	e.uint(uint64(s.since))
	e.uint(uint64(s.last))
	e.uint(uint64(s.settled))
	for _, c := range s.counts {
		if c == nil {
			c = &column{}
		}
		e.column(c)
	}
	e.uint(uint64(len(s.slis)))
	for i := range s.slis {
		e.sli(s.slis[i].key)
		e.uint(uint64(s.slis[i].since))
		e.column(&s.slis[i].good)
		e.column(&s.slis[i].bad)
	}
	e.latencies(&s.latency)
}

// state reads a series into b.
func (d *decoder) state(b *book, cal calendar) {
	name, since := d.series(), d.second()
	s := b.series[name]
	if s == nil {
		s = b.insert(name, since)
	}
	s.since, s.last, s.settled = since, d.second(), d.second()
	cal.head = s.settled * minute
	s.shelves = cal.shelves()
	for k := range s.counts {
		if c := d.column(); c.total > 0 {
			s.counts[k] = c
		}
	}
	s.slis = nil
	for range d.count() {
		s.slis = append(s.slis, sliColumns{key: d.sli(), since: d.second(), good: *d.column(), bad: *d.column()})
		if d.bad {
			return
		}
	}
	s.latency = d.latencies()
	s.bear(&cal)
}

func (e *encoder) latencies(l *latencies) {
	for _, cells := range [][]sealed{l.hours, l.minutes} {
		e.uint(uint64(len(cells)))
		for _, c := range cells {
			e.uint(uint64(c.no))
			e.bytes(c.data)
		}
	}
	e.uint(uint64(len(l.recent)))
	for _, m := range l.recent {
		e.uint(uint64(m.no))
		e.uint(uint64(len(m.entries)))
		for _, n := range m.entries {
			e.uint(uint64(n))
		}
	}
}

func (d *decoder) latencies() (l latencies) {
	for _, cells := range []*[]sealed{&l.hours, &l.minutes} {
		for range d.count() {
			c := sealed{no: d.number(), data: bytes.Clone(d.bytes())}
			if !checkMarks(c.data) || (len(*cells) > 0 && (*cells)[len(*cells)-1].no >= c.no) {
				d.fail()
				return l
			}
			*cells = append(*cells, c)
		}
	}
	for range d.count() {
		m := minuteLog{no: d.number()}
		for range d.count() {
			m.entries = append(m.entries, d.entry())
		}
		if len(l.recent) > 0 && l.recent[len(l.recent)-1].no >= m.no {
			d.fail()
			return l
		}
		l.recent = append(l.recent, m)
	}
	return l
}
