package store

import (
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// fold is the working memory of one Add: a batch, folded into cells by series and
// second, so that the lock is held for the cells and not for the records.
type fold struct {
	hashes []uint64
	fates  []fate
	shapes []*shape
	judged []goodBad // by shape.slis, of the record at hand

	cells  []foldCell
	latest []int32 // by series.index: 1 + the index of the series' latest cell
	slis   []goodBad
	links  []link
	out    cell // what apply hands on, one at a time
}

// fate is what becomes of a record.
type fate uint8

const (
	counted fate = iota
	shed
	duplicate
	tooLate
	future
)

// foldCell is a cell in the making.
type foldCell struct {
	series *series
	second int64
	counts [kinds]uint64
	slis   int32 // its first in fold.slis, as many as the series has
	marks  int32 // 1 + the index of its latest link
	before int32 // like latest: the series' cell before this one, of another second
}

// link is a mark in a chain.
type link struct {
	mark   mark
	before int32
}

// Add counts records; now is the time of their arrival. A batch becomes visible to
// readers as a whole. Strings of the records are not kept.
//
// each, if set, is then called for every request of Kong's that counts as good or bad, in
// their order: not for what has a signal, not for repeats, not for those too late or of
// the future, and not for what a change of the guard answered. No lock is held.
func (s *Store) Add(records []gatewarden.Record, now time.Time, each func(*gatewarden.Record)) Added {
	f := s.folds.Get().(*fold)
	defer s.folds.Put(f)
	head := s.advance(now)
	s.decide(f, records, now, head)
	for {
		era := s.shape(f, records)
		f.reset()
		for i := range records {
			if f.fates[i] <= shed {
				f.add(&records[i], f.shapes[i], f.fates[i] == shed)
			}
		}
		if s.apply(f, era) {
			break
		}
	}
	if each != nil {
		for i := range records {
			if f.fates[i] == counted && records[i].Signal == "" {
				each(&records[i])
			}
		}
	}
	return s.report(f)
}

// decide settles each record's fate. It is called once for a batch: from here on its
// ids count as seen.
func (s *Store) decide(f *fold, records []gatewarden.Record, now time.Time, head int64) {
	f.hashes, f.fates = f.hashes[:0], f.fates[:0]
	oldest, newest := max(head-s.cal.keep[coarsest], 0), now.Add(s.cfg.MaxFuture)
	sheds := *s.sheds.Load()
	for i := range records {
		r := &records[i]
		hash, fate := uint64(0), counted
		switch sec := r.At.Unix(); {
		case sec < oldest:
			fate = tooLate
		case r.At.After(newest) || sec >= lastSecond:
			fate = future
		case slices.ContainsFunc(sheds, func(s gatewarden.Shed) bool { return s.Matches(r) }):
			fate = shed
		}
		if r.ID != "" {
			hash = s.dedup.hash(r.ID)
		}
		f.hashes, f.fates = append(f.hashes, hash), append(f.fates, fate)
	}
	s.dedup.mu.Lock()
	defer s.dedup.mu.Unlock()
	s.dedup.turn(now)
	s.dedup.touch(f.hashes)
	for i := range records {
		if f.fates[i] > shed || records[i].ID == "" {
			continue
		}
		if s.dedup.knows(f.hashes[i]) {
			f.fates[i] = duplicate
			continue
		}
		if s.dedup.full() {
			s.dedup.forgetOldest()
			s.metrics.forgotten.Inc()
		}
		s.dedup.insert(f.hashes[i])
	}
}

// shape finds the shapes of the records, and the era they hold for.
func (s *Store) shape(f *fold, records []gatewarden.Record) (era int) {
	f.shapes = slices.Grow(f.shapes[:0], len(records))[:len(records)]
	if era, ok := s.shapeKnown(f, records); ok {
		return era
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range records {
		if f.fates[i] <= shed {
			f.shapes[i] = s.book.resolve(s.book.key(&records[i]), &records[i])
		}
	}
	f.latest = slices.Grow(f.latest[:0], len(s.book.list))[:len(s.book.list)]
	return s.book.era
}

// shapeKnown is shape for records like those seen before, which hinder nobody.
func (s *Store) shapeKnown(f *fold, records []gatewarden.Record) (era int, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range records {
		if f.fates[i] <= shed {
			if f.shapes[i] = s.book.known(s.book.key(&records[i])); f.shapes[i] == nil {
				return 0, false
			}
		}
	}
	f.latest = slices.Grow(f.latest[:0], len(s.book.list))[:len(s.book.list)]
	return s.book.era, true
}

// reset makes f ready to fold.
func (f *fold) reset() {
	clear(f.latest)
	f.cells, f.slis, f.links = f.cells[:0], f.slis[:0], f.links[:0]
}

// add folds a record into the cells of its series.
func (f *fold) add(r *gatewarden.Record, sh *shape, isShed bool) {
	second, n := r.At.Unix(), uint64(r.Weight)
	kind := shedKind
	if !isShed {
		kind = gatewarden.Class(r.Status)
		f.judge(r, sh.slis)
	}
	for i := range sh.members {
		m := &sh.members[i]
		c := f.cell(m, second)
		c.counts[kind] += n
		if isShed {
			continue
		}
		for j, k := range m.slis {
			if k >= 0 {
				f.slis[int(c.slis)+j].good += f.judged[k].good
				f.slis[int(c.slis)+j].bad += f.judged[k].bad
			}
		}
		if r.Latency.Request >= 0 && n > 0 {
			f.mark(c, uint16(gatewarden.BucketOf(r.Latency.Request)), n)
		}
	}
}

// judge fills f.judged with what the SLIs make of r.
func (f *fold) judge(r *gatewarden.Record, slis []judge) {
	f.judged = f.judged[:0]
	for i := range slis {
		var n goodBad
		switch good, valid := slis[i].sli.Judge(r); {
		case !valid:
		case good:
			n.good = uint64(r.Weight)
		default:
			n.bad = uint64(r.Weight)
		}
		f.judged = append(f.judged, n)
	}
}

// cell returns the cell of a member and second. It reads nothing of the series that
// may change: the lock is not held.
func (f *fold) cell(m *member, second int64) *foldCell {
	latest := &f.latest[m.series.index]
	for at := *latest; at > 0; at = f.cells[at-1].before {
		if f.cells[at-1].second == second {
			return &f.cells[at-1]
		}
	}
	f.cells = append(f.cells, foldCell{series: m.series, second: second, slis: int32(len(f.slis)), before: *latest})
	*latest = int32(len(f.cells))
	for range m.slis {
		f.slis = append(f.slis, goodBad{})
	}
	return &f.cells[len(f.cells)-1]
}

// mark adds a latency to c. One like the latest is added to it, because a record of
// weight and a run of fast answers are both common.
func (f *fold) mark(c *foldCell, bucket uint16, n uint64) {
	if c.marks > 0 && f.links[c.marks-1].mark.bucket == bucket {
		f.links[c.marks-1].mark.n += n
		return
	}
	f.links = append(f.links, link{mark: mark{bucket, n}, before: c.marks})
	c.marks = int32(len(f.links))
}

// maxWaiting is how many cells may wait for Drain before they are written down, in which
// form they take far less memory. Only history that is caught up with comes to it.
const maxWaiting = 10_000

// apply counts the cells of f, unless the series have changed since era.
func (s *Store) apply(f *fold, era int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book.era != era {
		return false
	}
	for i := range f.cells {
		c := &f.cells[i]
		out := &f.out
		out.second, out.counts = c.second, c.counts
		out.slis = f.slis[c.slis : int(c.slis)+len(c.series.slis)]
		out.marks = out.marks[:0]
		for at := c.marks; at > 0; at = f.links[at-1].before {
			out.marks = append(out.marks, f.links[at-1].mark)
		}
		s.count(c.series, out)
	}
	for i, sh := range f.shapes {
		if f.fates[i] <= shed && sh.overflowed {
			s.book.overflowed = s.cal.known()
			s.metrics.overflowed.Inc()
		}
	}
	if s.waiting >= maxWaiting {
		s.cut()
	}
	s.sweep()
	return true
}

// count adds a cell to a series, and to what waits for Drain. The caller holds mu.
func (s *Store) count(to *series, c *cell) {
	s.saving.save(to)
	to.add(&s.cal, c)
	if s.cfg.KeepDeltas {
		if len(to.pending) == 0 {
			s.dirty = append(s.dirty, to)
		}
		if to.keep(c) {
			s.waiting++
		}
	}
}

// sweep looks after one series, each time another: it settles what has fallen silent
// and lets go of what nobody has seen for as long as anything is kept. The caller
// holds mu.
func (s *Store) sweep() {
	s.swept++
	if s.swept >= len(s.book.list) {
		s.swept = 0
		past := (s.cal.head - s.cal.keep[coarsest]) * int64(time.Second)
		s.watched.forget(past)
		for _, w := range s.vouched {
			w.forget(past)
		}
	}
	to := s.book.list[s.swept]
	if to == nil {
		return
	}
	to.settle(&s.cal)
	if bounded(to.name) && !to.meter && len(to.pending) == 0 && to.last < s.cal.horizon(coarsest) {
		s.book.drop(to)
	}
}

// report sums up what became of the records.
func (s *Store) report(f *fold) Added {
	var n [future + 1]int
	for _, fate := range f.fates {
		n[fate]++
	}
	s.metrics.add(n)
	clear(f.shapes)
	return Added{Counted: n[counted], Shed: n[shed], Duplicate: n[duplicate], TooLate: n[tooLate], Future: n[future]}
}
