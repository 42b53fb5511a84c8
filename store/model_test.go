package store

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// model is the store as one would write it with no regard for time and memory: it
// keeps every record and sums them up anew for each question.
type model struct {
	head    int64
	records []gatewarden.Record
	sheds   []gatewarden.Shed
	shed    []bool
	seen    map[string]time.Time
	watched map[int64]bool
}

// add returns what Store.Add should.
func (m *model) add(records []gatewarden.Record, now time.Time) (a Added) {
	m.head = max(m.head, now.Unix())
	for _, r := range records {
		at, seen := m.seen[r.ID]
		switch {
		case r.At.Unix() < m.head-92*24*3600:
			a.TooLate++
			continue
		case r.At.After(now.Add(10 * time.Second)):
			a.Future++
			continue
		case r.ID != "" && seen && now.Sub(at) <= 3*time.Minute:
			a.Duplicate++
			continue
		}
		m.seen[r.ID] = now
		shed := slices.ContainsFunc(m.sheds, func(s gatewarden.Shed) bool { return s.Matches(&r) })
		m.records, m.shed = append(m.records, r), append(m.shed, shed)
		if shed {
			a.Shed++
		} else {
			a.Counted++
		}
	}
	return a
}

// floor rounds an end of a window down as the package comment says.
func (m *model) floor(t time.Time) int64 {
	sec := t.Unix()
	for _, level := range []struct{ age, slot int64 }{{3600, 1}, {36000, 30}, {5 * 86400, 300}, {92 * 86400, 3600}} {
		if m.head-sec <= level.age {
			return sec / level.slot * level.slot
		}
	}
	return (m.head - 92*86400) / 3600 * 3600
}

// latencyFloor does so for latency distributions.
func (m *model) latencyFloor(t time.Time) int64 {
	sec := t.Unix()
	switch {
	case sec >= m.head/60*60-5*60:
		return sec
	case sec >= m.head/3600*3600-2*3600:
		return sec / 60 * 60
	default:
		return max(sec/3600*3600, m.head/3600*3600-26*3600)
	}
}

func (m *model) count(series gatewarden.Series, sli *gatewarden.SLI, from, to time.Time) (c gatewarden.Count) {
	lo, hi := m.floor(from), m.floor(to)
	for i, r := range m.records {
		if sec := r.At.Unix(); m.shed[i] || sec < lo || sec >= hi || !series.Matches(&r) {
			continue
		}
		switch good, valid := sli.Judge(&r); {
		case !valid:
		case good:
			c.Good += uint64(r.Weight)
		default:
			c.Bad += uint64(r.Weight)
		}
	}
	c.Coverage = m.coverage(from, to)
	return c
}

func (m *model) window(series gatewarden.Series, from, to time.Time) gatewarden.Window {
	w := gatewarden.Window{Series: series, From: from, To: to, Coverage: m.coverage(from, to)}
	lo, hi, latencyLo, latencyHi := m.floor(from), m.floor(to), m.latencyFloor(from), m.latencyFloor(to)
	for i, r := range m.records {
		if !series.Matches(&r) {
			continue
		}
		sec := r.At.Unix()
		in := lo <= sec && sec < hi
		switch {
		case m.shed[i] && in:
			w.Shed += uint64(r.Weight)
		case !m.shed[i] && in:
			w.ByClass[gatewarden.Class(r.Status)] += uint64(r.Weight)
		}
		if !m.shed[i] && latencyLo <= sec && sec < latencyHi && r.Latency.Request >= 0 {
			w.Latency.Add(r.Latency.Request, uint64(r.Weight))
		}
	}
	return w
}

// coverage counts watched seconds; the test watches and asks in whole seconds.
func (m *model) coverage(from, to time.Time) float64 {
	if !from.Before(to) {
		return 0
	}
	n := 0
	for sec := range m.watched {
		if from.Unix() <= sec && sec < to.Unix() {
			n++
		}
	}
	return float64(n) / to.Sub(from).Seconds()
}

// meters that the model test configures from the start: selectors of every kind, and
// SLIs of every kind.
func modelMeters() []Meter {
	return []Meter{
		{Series: gatewarden.Series{}},
		{Series: gatewarden.Series{Service: "orders"}, SLI: slow(300 * time.Millisecond)},
		{Series: gatewarden.Series{Service: "orders"}, SLI: gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: 55 * time.Millisecond, Of: gatewarden.OfUpstream}},
		{Series: gatewarden.Series{Service: "orders", Route: "list"}, SLI: gets()},
		{Series: gatewarden.Series{Tag: "core"}, SLI: slow(42 * time.Millisecond)},
		{Series: gatewarden.Series{Service: "payments", Tag: "core"}},
		{Series: gatewarden.Series{Consumer: "ann"}},
		{Series: gatewarden.Series{Workspace: "west", Route: "list"}, SLI: gets()},
		{Series: gatewarden.Series{Route: "list"}},
	}
}

// gets is a good SLI by expression: about GET requests only, good when not a 500.
func gets() gatewarden.SLI {
	return gatewarden.SLI{Kind: gatewarden.SLIGood, Expr: "status != 500", Holds: func(r *gatewarden.Record) (bool, error) {
		if r.Method != "GET" {
			return false, gatewarden.Errorf(gatewarden.Invalid, "not a GET")
		}
		return r.Status != 500, nil
	}}
}

// play is one run of the model test: a store, what it is compared with, and a log of
// its messages.
type play struct {
	t        *rapid.T
	now      time.Time
	model    *model
	store    *Store
	follower *Store
	log      [][]byte
	snapshot []byte
	from     int                   // the first message of log that snapshot may not hold
	counters map[*Store][]*Counter // by modelMeters, kept for as long as their store
	ids      int
}

func TestStoreAnswersAsTheSumOfAllItsRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &play{
			t: t, now: noon,
			model: &model{seen: map[string]time.Time{}, watched: map[int64]bool{}},
			store: newModelStore(), follower: newModelStore(), counters: map[*Store][]*Counter{},
		}
		p.add()
		t.Repeat(map[string]func(*rapid.T){
			"add":      func(t *rapid.T) { p.t = t; p.add() },
			"add more": func(t *rapid.T) { p.t = t; p.add() },
			"wait":     func(t *rapid.T) { p.t = t; p.wait() },
			"watch":    func(t *rapid.T) { p.t = t; p.watch() },
			"shed":     func(t *rapid.T) { p.t = t; p.shed() },
			"reload":   func(t *rapid.T) { p.t = t; p.reload() },
			"drain":    func(t *rapid.T) { p.t = t; p.drain() },
			"snapshot": func(t *rapid.T) { p.t = t; p.save() },
			"restart":  func(t *rapid.T) { p.t = t; p.restart() },
			"":         func(t *rapid.T) { p.t = t; p.compare(p.store) },
		})
		p.drain()
		p.feed(p.follower, p.log)
		p.compare(p.follower)
	})
}

func newModelStore() *Store {
	s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	s.Configure(modelMeters())
	return s
}

func (p *play) record() gatewarden.Record {
	t := p.t
	offset := rapid.OneOf(
		rapid.Int64Range(-3, 0),
		rapid.Int64Range(-400, 15),
		rapid.Int64Range(-2*3600, 0),
		rapid.Int64Range(-30*3600, 0),
		rapid.Int64Range(-94*86400, 0),
	).Draw(t, "offset")
	latency := time.Duration(rapid.OneOf(rapid.Int64Range(-1, 130), rapid.Int64Range(0, 5000)).Draw(t, "latency")) * time.Millisecond
	if latency < 0 {
		latency = gatewarden.NoLatency
	}
	r := gatewarden.Record{
		At:        p.now.Add(time.Duration(offset) * time.Second),
		Workspace: rapid.SampledFrom([]string{"", "west"}).Draw(t, "workspace"),
		Service:   rapid.SampledFrom([]string{"", "orders", "payments"}).Draw(t, "service"),
		Route:     rapid.SampledFrom([]string{"", "list", "pay"}).Draw(t, "route"),
		Consumer:  rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(t, "consumer"),
		Tags:      rapid.SampledFrom([][]string{nil, {"core"}, {"core", "core", "edge"}}).Draw(t, "tags"),
		Method:    rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method"),
		Status:    rapid.SampledFrom([]int{200, 201, 302, 404, 429, 500, 503, 9, 101, 700}).Draw(t, "status"),
		Origin:    rapid.SampledFrom([]gatewarden.Origin{gatewarden.OriginKong, gatewarden.OriginUpstream}).Draw(t, "origin"),
		Latency:   gatewarden.Latency{Request: latency, Upstream: latency / 2, Kong: gatewarden.NoLatency},
		Weight:    rapid.SampledFrom([]uint32{1, 1, 1, 0, 7, 300, 70_000, math.MaxUint32}).Draw(t, "weight"),
	}
	switch rapid.SampledFrom([]string{"new", "new", "none", "repeat"}).Draw(t, "id") {
	case "new":
		p.ids++
		r.ID = fmt.Sprint(p.ids)
	case "repeat":
		r.ID = fmt.Sprint(max(p.ids-rapid.IntRange(0, 5).Draw(t, "back"), 0))
		if at, ok := p.model.seen[r.ID]; ok && p.now.Sub(at) > 3*time.Minute && p.now.Sub(at) < 5*time.Minute {
			r.ID = "" // between the promised and the possible memory
		}
	}
	return r
}

func (p *play) add() {
	var batch []gatewarden.Record
	for range rapid.IntRange(0, 12).Draw(p.t, "records") {
		batch = append(batch, p.record())
	}
	if got, want := p.store.Add(batch, p.now, nil), p.model.add(batch, p.now); got != want {
		p.t.Fatalf("Add at %s returned %+v, want %+v", p.now, got, want)
	}
}

func (p *play) wait() {
	step := rapid.SampledFrom([]int64{1, 1, 7, 60, 200, 4000, 8 * 3600, 40 * 3600, 20 * 86400}).Draw(p.t, "step")
	p.now = p.now.Add(time.Duration(step) * time.Second)
	if step > farOff {
		hold(p.store, p.now)
	}
	p.add()
}

func (p *play) watch() {
	from := p.now.Unix() - rapid.Int64Range(0, 50).Draw(p.t, "from")
	to := from + rapid.Int64Range(0, 30).Draw(p.t, "length")
	p.store.Watched(time.Unix(from, 0), time.Unix(to, 0))
	for sec := from; sec < to; sec++ {
		p.model.watched[sec] = true
	}
}

func (p *play) shed() {
	p.model.sheds = []gatewarden.Shed{{
		Scope:  rapid.SampledFrom([]gatewarden.Series{{}, {Service: "orders"}, {Service: "payments", Route: "pay"}}).Draw(p.t, "scope"),
		Status: 503, From: p.now.Add(-time.Minute), To: p.now.Add(time.Hour),
	}}
	p.store.SetSheds(p.model.sheds)
}

// reload adds a meter, or takes it away, that is no matter of the comparison: the
// others must keep their counts.
func (p *play) reload() {
	meters := modelMeters()
	if rapid.Bool().Draw(p.t, "more") {
		meters = append(meters,
			Meter{Series: gatewarden.Series{Service: "orders"}, SLI: slow(7 * time.Millisecond)},
			Meter{Series: gatewarden.Series{Consumer: "bob"}, SLI: slow(300 * time.Millisecond)},
		)
	}
	if rapid.Bool().Draw(p.t, "in another order") {
		slices.Reverse(meters)
	}
	p.store.Configure(meters)
}

func (p *play) drain() {
	if message := p.store.Drain(); message != nil {
		p.log = append(p.log, message)
	}
}

func (p *play) save() {
	var err error
	p.from = len(p.log)
	if p.snapshot, err = p.store.Snapshot(); err != nil {
		p.t.Fatal(err)
	}
}

// restart makes a new store from the snapshot and the log.
func (p *play) restart() {
	p.drain()
	p.store = newModelStore()
	p.store.SetSheds(p.model.sheds)
	log := p.log
	if p.snapshot != nil {
		if err := p.store.Restore(p.snapshot, p.now); err != nil {
			p.t.Fatal(err)
		}
		log = p.log[rapid.IntRange(0, p.from).Draw(p.t, "log from"):]
	}
	p.feed(p.store, log)
	clear(p.model.seen)
}

// feed applies a log in any order, with repeats.
func (p *play) feed(s *Store, log [][]byte) {
	order := append(slices.Clone(log), log[:len(log)/2]...)
	if len(order) > 0 {
		order = rapid.Permutation(order).Draw(p.t, "order")
	}
	for _, message := range order {
		if err := s.Apply(message, p.now); err != nil {
			p.t.Fatal(err)
		}
	}
	hold(s, p.now)
}

// compare asks s and the model the same questions.
func (p *play) compare(s *Store) {
	ages := rapid.OneOf(
		rapid.Int64Range(-15, 20), rapid.Int64Range(0, 700), rapid.Int64Range(0, 3*3600),
		rapid.Int64Range(0, 40*3600), rapid.Int64Range(0, 100*86400),
	)
	meters := modelMeters()
	for range 4 {
		m := rapid.SampledFrom(meters).Draw(p.t, "meter")
		a, b := ages.Draw(p.t, "age"), ages.Draw(p.t, "other age")
		from, to := p.now.Add(-time.Duration(max(a, b))*time.Second), p.now.Add(-time.Duration(min(a, b))*time.Second)
		got, want := s.Count(m.Series, &m.SLI, from, to), p.model.count(m.Series, &m.SLI, from, to)
		if diff := cmp.Diff(want, got, cmp.Comparer(near)); diff != "" {
			p.t.Fatalf("Count(%s, %s) over [%s, %s) at %s, -want +got:\n%s", m.Series, m.SLI.ID(), from, to, p.now, diff)
		}
		gotWindow, wantWindow := s.Window(m.Series, from, to), p.model.window(m.Series, from, to)
		if diff := cmp.Diff(wantWindow, gotWindow, cmp.Comparer(near), cmp.Comparer(sameHistogram)); diff != "" {
			p.t.Fatalf("Window(%s) over [%s, %s) at %s, -want +got:\n%s", m.Series, from, to, p.now, diff)
		}
	}
	p.compareCounter(s)
}

// modelWindows are the lengths that a Counter is asked for at each step, as an SLO asks.
var modelWindows = []time.Duration{
	time.Minute, 5 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour, 720 * time.Hour,
}

// compareCounter asks a counter, which has answered before, what the model knows.
func (p *play) compareCounter(s *Store) {
	meters := modelMeters()
	if p.counters[s] == nil {
		for _, m := range meters {
			p.counters[s] = append(p.counters[s], s.Counter(m.Series, &m.SLI))
		}
	}
	i := rapid.IntRange(0, len(meters)-1).Draw(p.t, "counter")
	m, c := meters[i], p.counters[s][i]
	to := p.now.Add(time.Duration(rapid.Int64Range(-2, 2).Draw(p.t, "end")) * time.Second)
	got := make([]gatewarden.Count, len(modelWindows))
	c.Until(to, modelWindows, got)
	for j, length := range modelWindows {
		want := p.model.count(m.Series, &m.SLI, to.Add(-length), to)
		if diff := cmp.Diff(want, got[j], cmp.Comparer(near)); diff != "" {
			p.t.Fatalf("the last %s of %s, %s at %s, -want +got:\n%s", length, m.Series, m.SLI.ID(), to, diff)
		}
	}
	from := p.now.Add(-time.Duration(rapid.OneOf(rapid.Int64Range(-2, 100), rapid.Int64Range(3500, 3700)).Draw(p.t, "seconds ago")) * time.Second)
	seconds := make([]gatewarden.Count, 18)
	for j := range rapid.IntRange(0, len(seconds)).Draw(p.t, "known") {
		seconds[j] = p.model.count(m.Series, &m.SLI, from.Add(time.Duration(j)*time.Second), from.Add(time.Duration(j+1)*time.Second))
	}
	before := slices.Clone(seconds)
	first := c.Revise(from, seconds)
	for j := range seconds {
		want := p.model.count(m.Series, &m.SLI, from.Add(time.Duration(j)*time.Second), from.Add(time.Duration(j+1)*time.Second))
		if want.Good != seconds[j].Good || want.Bad != seconds[j].Bad {
			p.t.Fatalf("second %s + %d of %s, %s: %+v, want %+v", from, j, m.Series, m.SLI.ID(), seconds[j], want)
		}
		if changed := want.Good != before[j].Good || want.Bad != before[j].Bad; changed && j < first || !changed && j == first {
			p.t.Fatalf("second %s + %d of %s, %s: was %+v, is %+v, but the first that differs is said to be %d", from, j, m.Series, m.SLI.ID(), before[j], want, first)
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func sameHistogram(a, b gatewarden.Histogram) bool {
	buckets := map[int]uint64{}
	for i, n := range a.All {
		buckets[i] += n
	}
	for i, n := range b.All {
		buckets[i] -= n
	}
	for _, n := range buckets {
		if n != 0 {
			return false
		}
	}
	return a.Count() == b.Count()
}
