package store

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// book knows every series, and which of them a record counts in.
type book struct {
	max       int // how many series may come by themselves
	automatic int // how many have
	series    map[gatewarden.Series]*series
	list      []*series // by series.index; nil where one was dropped
	free      []int     // the indexes of those

	// overflowed is the latest second in which a record found no series of its own,
	// -1 when that never happened. A series that comes later did not count all of
	// its records until then.
	overflowed int64

	meters     map[gatewarden.Series][]gatewarden.SLI // nil until Configure was called
	selectors  map[string][]*series                   // those no record finds by its service and route, by their service
	workspaces map[string]bool                        // named by a selector
	consumers  map[string]bool
	tags       map[string]uint64 // named by a selector, each with a random number

	shapes map[uint64]*shape // what was found out already, by shapeKey.hash
	seed   maphash.Seed
	era    int // changes with anything that makes a shape wrong
}

// shapeKey is what decides which series a record counts in. Names that no selector
// asks for are left out, so that there are few keys.
type shapeKey struct {
	signal, workspace, service, route, consumer string
	tags                                        uint64 // the sum of the tags' numbers
}

// shape is what records of one key have in common.
type shape struct {
	key        shapeKey
	members    []member
	slis       []judge
	overflowed bool
}

// member is a series that records of a shape count in.
type member struct {
	series *series
	slis   []int // by index into series.slis: the index into shape.slis
}

// judge is an SLI that records of a shape are judged by.
type judge struct {
	key sliKey
	sli gatewarden.SLI
}

func newBook(limit int) *book {
	b := &book{
		max:        limit,
		series:     map[gatewarden.Series]*series{},
		overflowed: -1,
		shapes:     map[uint64]*shape{},
		seed:       maphash.MakeSeed(),
	}
	b.insert(gatewarden.Series{}, 0)
	return b
}

// byItself reports whether a series comes by itself, from the service and route of
// the records seen.
func byItself(s gatewarden.Series) bool {
	return s == gatewarden.Series{Service: s.Service, Route: s.Route} && (s.Service != "" || s.Route == "")
}

// bounded reports whether a series is one of those that Config.MaxSeries bounds.
func bounded(s gatewarden.Series) bool { return byItself(s) && s.Service != "" && s != overflow() }

func overflow() gatewarden.Series { return gatewarden.Series{Service: gatewarden.Overflow} }

// key returns the key of r's shape. It shares r's strings.
func (b *book) key(r *gatewarden.Record) shapeKey {
	k := shapeKey{signal: r.Signal, service: r.Service, route: r.Route}
	if len(b.workspaces) > 0 && b.workspaces[r.Workspace] {
		k.workspace = r.Workspace
	}
	if len(b.consumers) > 0 && b.consumers[r.Consumer] {
		k.consumer = r.Consumer
	}
	if len(b.tags) > 0 {
		for _, t := range r.Tags {
			k.tags += b.tags[t]
		}
	}
	return k
}

// known returns the shape of a key, nil when it was not found out yet.
func (b *book) known(key shapeKey) *shape {
	sh := b.shapes[b.hash(&key)]
	if sh == nil || sh.key != key { // another key has the same hash: they take turns
		return nil
	}
	return sh
}

// hash returns a number for k. Looking names up by it costs half of looking them up
// by themselves, since most of them are empty.
func (b *book) hash(k *shapeKey) uint64 {
	h := k.tags
	for _, name := range [...]string{k.service, k.route, k.workspace, k.consumer, k.signal} {
		h *= 0x9e3779b97f4a7c15 // odd, so that no name's bits are lost; the order of names matters
		if name != "" {
			h += maphash.String(b.seed, name)
		}
	}
	return h
}

// resolve finds out the shape of r and remembers it under key.
func (b *book) resolve(key shapeKey, r *gatewarden.Record) *shape {
	if sh := b.known(key); sh != nil {
		return sh // another batch was faster
	}
	if len(b.shapes) > 4*b.max+1000 {
		clear(b.shapes) // hostile names: forgetting costs time, remembering all of them memory
	}
	key.workspace, key.consumer = strings.Clone(key.workspace), strings.Clone(key.consumer)
	key.service, key.route, key.signal = strings.Clone(key.service), strings.Clone(key.route), strings.Clone(key.signal)
	sh := &shape{key: key}
	if key.signal == "" {
		b.join(sh, b.series[gatewarden.Series{}])
	}
	if key.signal == "" && key.service != "" {
		b.joinByName(sh, gatewarden.Series{Service: key.service})
		if key.route != "" {
			b.joinByName(sh, gatewarden.Series{Service: key.service, Route: key.route})
		}
	}
	for _, s := range b.selectors[""] {
		if s.name.Matches(r) {
			b.join(sh, s)
		}
	}
	for _, s := range b.selectors[key.service] {
		if key.service != "" && s.name.Matches(r) {
			b.join(sh, s)
		}
	}
	b.shapes[b.hash(&key)] = sh
	return sh
}

// joinByName makes a series a member of sh, or the overflow series when there is no
// room for it.
func (b *book) joinByName(sh *shape, name gatewarden.Series) {
	s := b.series[name]
	if s == nil && (b.automatic < b.max || !bounded(name)) {
		s = b.insert(name, b.overflowed+1)
	}
	if s == nil {
		sh.overflowed = true
		if s = b.series[overflow()]; s == nil {
			s = b.insert(overflow(), 0)
		}
	}
	for _, m := range sh.members {
		if m.series == s {
			return // service and route both overflow: once is enough
		}
	}
	b.join(sh, s)
}

// join makes s a member of sh.
func (b *book) join(sh *shape, s *series) {
	m := member{series: s}
	slis := b.meters[s.name]
	for i := range s.slis {
		key := s.slis[i].key
		at := slices.IndexFunc(sh.slis, func(j judge) bool { return j.key == key })
		if at < 0 {
			in := slices.IndexFunc(slis, func(sli gatewarden.SLI) bool { return keyOf(&sli) == key })
			if in >= 0 { // else restored, and not configured yet
				sh.slis, at = append(sh.slis, judge{key, slis[in]}), len(sh.slis)
			}
		}
		m.slis = append(m.slis, at)
	}
	sh.members = append(sh.members, m)
}

// insert adds a series that counts everything from second since on.
func (b *book) insert(name gatewarden.Series, since int64) *series {
	s := &series{name: name, since: since, meter: b.meters[name] != nil}
	if n := len(b.free); n > 0 {
		s.index, b.free = b.free[n-1], b.free[:n-1]
		b.list[s.index] = s
	} else {
		s.index, b.list = len(b.list), append(b.list, s)
	}
	b.series[name] = s
	if !s.meter && bounded(name) {
		b.automatic++
	}
	return s
}

// drop removes a series.
func (b *book) drop(s *series) {
	delete(b.series, s.name)
	b.list[s.index] = nil
	b.free = append(b.free, s.index)
	if !s.meter && bounded(s.name) {
		b.automatic--
	}
	b.reshape()
}

// reshape forgets which series records count in, because it has changed.
func (b *book) reshape() {
	clear(b.shapes)
	b.era++
}

// sinceOf returns from which second on a series that does not exist would have counted
// its records, had there been any, and false when it would not have existed.
func (b *book) sinceOf(name gatewarden.Series) (since int64, ok bool) {
	return b.overflowed + 1, byItself(name)
}

// configure makes meters the configured ones. The latest second is head.
func (b *book) configure(meters []Meter, cal *calendar) {
	b.meters = map[gatewarden.Series][]gatewarden.SLI{}
	for _, m := range meters {
		slis := b.meters[m.Series]
		if !slices.ContainsFunc(slis, func(s gatewarden.SLI) bool { return keyOf(&s) == keyOf(&m.SLI) }) {
			b.meters[m.Series] = append(slis, m.SLI)
		}
	}
	for _, s := range slices.Clone(b.list) {
		if s == nil {
			continue
		}
		b.setMeter(s, b.meters[s.name] != nil)
		switch {
		case s.meter:
		case byItself(s.name):
			s.measure(nil, cal)
		default:
			b.drop(s)
		}
	}
	for name, slis := range b.meters {
		s := b.series[name]
		if s == nil {
			since, ok := b.sinceOf(name)
			if !ok {
				since = cal.next()
			}
			s = b.insert(name, since)
		}
		s.measure(slis, cal)
	}
	b.selectBy()
	b.reshape()
}

// setMeter notes whether a series is configured: only one that came by itself is
// bounded.
func (b *book) setMeter(s *series, meter bool) {
	if s.meter == meter {
		return
	}
	s.meter = meter
	switch {
	case !bounded(s.name):
	case meter:
		b.automatic--
	default:
		b.automatic++
	}
}

// selectBy indexes the series that no record finds by its service and route alone.
func (b *book) selectBy() {
	b.selectors = map[string][]*series{}
	b.workspaces, b.consumers, b.tags = map[string]bool{}, map[string]bool{}, map[string]uint64{}
	for _, s := range b.list {
		if s == nil || byItself(s.name) {
			continue
		}
		b.selectors[s.name.Service] = append(b.selectors[s.name.Service], s)
		if s.name.Workspace != "" {
			b.workspaces[s.name.Workspace] = true
		}
		if s.name.Consumer != "" {
			b.consumers[s.name.Consumer] = true
		}
		if s.name.Tag != "" {
			b.tags[s.name.Tag] = maphash.String(b.seed, s.name.Tag)
		}
	}
}

// measure makes slis the ones that s judges by: known ones keep their counts, new
// ones start from what the latency distributions tell.
func (s *series) measure(slis []gatewarden.SLI, cal *calendar) {
	s.settle(cal)
	had := s.slis
	s.slis = nil
	for i := range slis {
		if slis[i].Kind == gatewarden.SLIAvailability {
			continue
		}
		key := keyOf(&slis[i])
		at := slices.IndexFunc(had, func(c sliColumns) bool { return c.key == key })
		if at >= 0 {
			s.slis = append(s.slis, had[at])
			continue
		}
		s.slis = append(s.slis, s.estimate(key, cal))
	}
	s.remap(had)
}

// remap gives the cells that wait for Drain the order of the SLIs now.
func (s *series) remap(had []sliColumns) {
	for i := range s.pending {
		c := &s.pending[i]
		was := c.slis
		c.slis = nil
		for j := range s.slis {
			at := slices.IndexFunc(had, func(h sliColumns) bool { return h.key == s.slis[j].key })
			var n goodBad
			if at >= 0 && at < len(was) {
				n = was[at]
			}
			c.slis = append(c.slis, n)
		}
	}
}

// estimate begins the columns of an SLI with what is known of the past: for the
// latency of whole requests the distributions, for anything else nothing.
func (s *series) estimate(key sliKey, cal *calendar) sliColumns {
	c := sliColumns{key: key, since: cal.next()}
	if !key.guessable() {
		return c
	}
	c.since = max(s.since, hoursFrom(cal.known())*hour)
	guess := newGuess(key.threshold)
	s.latency.each(cal.known(), c.since, lastSecond, func(sec int64, marks []mark) {
		n := guess.judge(marks)
		if n.good > 0 {
			c.good.add(&s.shelves, sec, n.good)
		}
		if n.bad > 0 {
			c.bad.add(&s.shelves, sec, n.bad)
		}
	})
	return c
}

// infos returns the series in the order of their fields.
func (b *book) infos() []SeriesInfo {
	var infos []SeriesInfo
	for _, s := range b.list {
		if s != nil {
			infos = append(infos, SeriesInfo{Series: s.name, Last: instant(s.last)})
		}
	}
	slices.SortFunc(infos, func(a, b SeriesInfo) int { return compareSeries(a.Series, b.Series) })
	return infos
}

func compareSeries(a, b gatewarden.Series) int {
	return cmp.Or(
		cmp.Compare(a.Signal, b.Signal),
		cmp.Compare(a.Workspace, b.Workspace),
		cmp.Compare(a.Service, b.Service),
		cmp.Compare(a.Route, b.Route),
		cmp.Compare(a.Consumer, b.Consumer),
		cmp.Compare(a.Tag, b.Tag),
	)
}
