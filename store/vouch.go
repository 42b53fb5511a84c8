package store

import (
	"cmp"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// meterKey is what a Meter counts.
type meterKey struct {
	series gatewarden.Series
	sli    sliKey
}

// vouch is when the events of one meter were counted, by the word of who counted them.
type vouch struct {
	meter meterKey
	watched
}

// Vouch notes that all events of a meter in [from, to) have been added, whatever Watched
// says of that time: history that was filled in, or what another system counts. It is
// all that covers a meter whose series has a signal. A meter that is not configured is
// left out.
func (s *Store) Vouch(m Meter, from, to time.Time) {
	key := meterKey{m.Series, keyOf(&m.SLI)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vouch(key, nanos(from), nanos(to))
	if s.cfg.KeepDeltas && s.vouched[key] != nil {
		fresh := s.freshVouches[key]
		if fresh == nil {
			fresh = &watched{}
			s.freshVouches[key] = fresh
		}
		fresh.add(nanos(from), nanos(to))
	}
}

// Since returns since when the guard has been watching, as far as is known; zero when it
// never did.
func (s *Store) Since() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.watched.spans) == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.watched.spans[0].from).UTC()
}

// vouch adds a span to what is vouched for. The caller holds mu.
func (s *Store) vouch(key meterKey, from, to int64) {
	if !s.book.asks(key) {
		return
	}
	w := s.vouched[key]
	if w == nil {
		w = &watched{}
		s.vouched[key] = w
		s.book.era++ // Counters look for it again
	}
	w.add(from, to)
}

// asks reports whether a meter is configured, or may be.
func (b *book) asks(key meterKey) bool {
	return b.meters == nil || slices.ContainsFunc(b.meters[key.series], func(sli gatewarden.SLI) bool { return keyOf(&sli) == key.sli })
}

// retract forgets what nobody asks for any more. The caller holds mu.
func (s *Store) retract() {
	for _, vouches := range []map[meterKey]*watched{s.vouched, s.freshVouches} {
		for key := range vouches {
			if !s.book.asks(key) {
				delete(vouches, key)
			}
		}
	}
}

// covered returns how much of [from, to), in nanoseconds since 1970, was watched or
// vouched for. Watching counts from start on, if it counts at all. The caller holds mu.
func (s *Store) covered(meter meterKey, vouched *watched, start int64, watching bool, from, to int64) (sum int64) {
	if meter.series.Signal != "" {
		if vouched == nil {
			return 0
		}
		return vouched.within(from, to)
	}
	seen := func(from, to int64) int64 {
		if !watching {
			return 0
		}
		return s.watched.within(max(from, start), to)
	}
	sum = seen(from, to)
	if vouched == nil {
		return sum
	}
	for _, v := range vouched.spans {
		if a, b := max(v.from, from), min(v.to, to); a < b {
			sum += b - a - seen(a, b)
		}
	}
	return sum
}

// listed returns vouches as they are written.
func listed(vouches map[meterKey]*watched) []vouch {
	list := make([]vouch, 0, len(vouches))
	for key, w := range vouches {
		list = append(list, vouch{key, watched{slices.Clone(w.spans)}})
	}
	slices.SortFunc(list, func(a, b vouch) int {
		return cmp.Or(compareSeries(a.meter.series, b.meter.series), a.meter.sli.compare(b.meter.sli))
	})
	return list
}

func (e *encoder) vouches(list []vouch) {
	e.uint(uint64(len(list)))
	for _, v := range list {
		e.series(v.meter.series)
		e.sli(v.meter.sli)
		e.spans(v.spans)
	}
}

func (d *decoder) vouches() (list []vouch) {
	for range d.count() {
		list = append(list, vouch{meterKey{d.series(), d.sli()}, d.spans()})
		if d.bad {
			return nil
		}
	}
	return list
}

// compare orders keys, so that what is written is the same each time.
func (k sliKey) compare(o sliKey) int {
	return cmp.Or(cmp.Compare(k.kind, o.kind), cmp.Compare(k.threshold, o.threshold), cmp.Compare(k.of, o.of), cmp.Compare(k.expr, o.expr))
}
