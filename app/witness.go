package app

import (
	"cmp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/store"
)

var _ actions.Watch = (*witness)(nil)

const (
	triesKept  = 32               // seconds of first tries that are kept
	triesWhile = 30 * time.Second // how long they are counted after nobody asks any more
	maxTried   = 4096             // targets that are counted
	// unknownNodes is how many nodes of Kong there may be that each let a limit through, when
	// nobody says how many there are.
	unknownNodes = 4
)

// witness tells the engine whether its changes show in the traffic: from the store what was
// shed and what was led where, and from the first tries of the records which targets still
// get requests. Those are counted only while somebody asks.
type witness struct {
	store *store.Store
	blind func(at time.Time) (bool, string)
	nodes func() int // of Kong that are known, 0 when nobody asks them

	asked atomic.Bool // tries are counted
	mu    sync.Mutex
	since time.Time // from when on they are
	last  time.Time // when they were asked for last
	tries map[string]*tried
	away  map[string]map[string]*tried // those that other guards have counted, by guard
}

// tried counts the first tries on a target by the second in which the request began.
type tried struct {
	second [triesKept]int64
	count  [triesKept]uint64
}

func newWitness(s *store.Store, in *intake) *witness {
	return &witness{store: s, blind: in.Blind, nodes: func() int { return proxies(in.gateway.list()) }, tries: map[string]*tried{}, away: map[string]map[string]*tried{}}
}

// proxies counts the nodes that let requests through. One that is asked at two addresses, or
// by two sources, is one; the data planes of a control plane count in its place.
func proxies(nodes []gatewarden.Node) int {
	seen := map[string]bool{}
	for i := range nodes {
		n := &nodes[i]
		for _, p := range n.DataPlanes {
			seen[p.ID] = true
		}
		if len(n.DataPlanes) == 0 {
			seen[cmp.Or(n.ID, n.Address)] = true
		}
	}
	return len(seen)
}

// see takes a batch.
func (w *witness) see(records []gatewarden.Record) {
	if w == nil || !w.asked.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range records {
		if r := &records[i]; len(r.Tries) > 0 {
			w.add(r)
		}
	}
}

// add counts a record by its beginning: one that took long was led by what was in force
// then.
func (w *witness) add(r *gatewarden.Record) {
	t := w.tries[r.Tries[0].Target]
	if t == nil {
		if len(w.tries) >= maxTried {
			return
		}
		t = &tried{}
		w.tries[strings.Clone(r.Tries[0].Target)] = t
	}
	second := r.At.Add(-max(r.Latency.Request, 0)).Unix()
	i := ((second % triesKept) + triesKept) % triesKept
	switch {
	case t.second[i] > second:
		return // long gone
	case t.second[i] < second:
		t.second[i], t.count[i] = second, 0
	}
	t.count[i] += uint64(r.Weight)
}

// Effect implements actions.Watch.
func (w *witness) Effect(sign *gatewarden.Sign, from, to time.Time) (gatewarden.Effect, bool) {
	if blind, _ := w.blind(to); blind {
		return gatewarden.Effect{}, false
	}
	if len(sign.Targets) > 0 {
		return w.tried(sign, from, to), true
	}
	of, known := w.count(sign.Scope, from, to)
	if !known {
		return gatewarden.Effect{}, false
	}
	e := gatewarden.Effect{Against: of.Requests()}
	switch {
	case sign.Shed:
		// Other plugins may refuse a request before the one that sheds sees it.
		e.For, e.Against = of.Shed, of.Requests()-of.ByClass[4]
	case sign.Shows != nil:
		shows, _ := w.count(*sign.Shows, from, to)
		e.For = shows.Requests()
		e.Against -= min(e.For, e.Against)
	default: // the service is to get none: what others get shows that the log lives
		all, _ := w.count(gatewarden.Series{}, from, to)
		e.For = all.Requests() - min(e.Against, all.Requests())
	}
	if !sign.Every {
		e.Against = w.beyond(sign.Limit, e, from, to)
	}
	return e, true
}

// beyond returns how many of the requests that were let through are more than a limit
// allows, 0 without one or when some were kept back.
func (w *witness) beyond(limit float64, e gatewarden.Effect, from, to time.Time) uint64 {
	if limit <= 0 || e.For > 0 {
		return 0
	}
	nodes := w.nodes()
	if nodes == 0 {
		nodes = unknownNodes
	}
	allowed := uint64(limit * float64(nodes) * (to.Sub(from).Seconds() + 1))
	return e.Against - min(allowed, e.Against)
}

// count returns what there was in a scope, without latencies. A consumer's requests are not
// counted apart, nor are those of a workspace or a tag.
func (w *witness) count(scope gatewarden.Series, from, to time.Time) (sum gatewarden.Tally, known bool) {
	if scope.Consumer != "" || scope.Workspace != "" || scope.Tag != "" {
		return sum, false
	}
	wanted := []gatewarden.Series{scope}
	if scope.Route != "" && scope.Service == "" {
		wanted = nil
		for _, s := range w.store.List() {
			if s.Series.Service != "" && s.Series == (gatewarden.Series{Service: s.Series.Service, Route: scope.Route}) {
				wanted = append(wanted, s.Series)
			}
		}
	}
	for _, s := range wanted {
		window := w.store.Window(s, from, to)
		sum.Shed += window.Shed
		for class, n := range window.ByClass {
			sum.ByClass[class] += n
		}
	}
	return sum, true
}

// tried counts what first tries say of a sign, from when on they are counted.
func (w *witness) tried(sign *gatewarden.Sign, from, to time.Time) (e gatewarden.Effect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asked.Load() {
		w.since = to
		w.asked.Store(true)
	}
	w.last = to
	if from.Before(w.since) {
		from = w.since
	}
	for _, target := range sign.Others {
		e.For += w.between(target, from, to)
	}
	for _, target := range sign.Targets {
		e.Against += w.between(target, from, to)
	}
	return e
}

// between returns how many there were in [from, to), by whole seconds.
func (t *tried) between(from, to time.Time) (n uint64) {
	if t == nil {
		return 0
	}
	for i, second := range t.second {
		if second > from.Unix() && second < to.Unix() {
			n += t.count[i]
		}
	}
	return n
}

// rest stops counting tries when nobody has asked for a while.
func (w *witness) rest(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked.Load() && at.Sub(w.last) > triesWhile {
		w.asked.Store(false)
		clear(w.tries)
		clear(w.away)
	}
}
