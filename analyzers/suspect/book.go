package suspect

import (
	"cmp"
	"encoding/hex"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Config bounds a Book.
type Config struct {
	Quiet       time.Duration // a trace is whole when no span of it has come for so long
	Longest     time.Duration // or so long after its first one
	MaxSpans    int           // of traces that are not whole yet
	MaxTrace    int           // of one trace
	MaxServices int           // beyond it, new services count together
	MaxTallies  int           // of a service as seen from an SLO's; beyond it, new ones do not count

	// Closed, if set, is told of each trace that is whole.
	Closed func(Trace)
}

// DefaultConfig returns what fits most: Kong's queue waits for a second, batches of
// tracing libraries for five. It comes to some 15 MB at most.
func DefaultConfig() Config {
	return Config{Quiet: 6 * time.Second, Longest: time.Minute, MaxSpans: 50_000, MaxTrace: 2000, MaxServices: 500, MaxTallies: 500}
}

// Counts is what became of the spans that a Book was shown.
type Counts struct {
	Spans   uint64 // that were taken
	Repeats uint64 // of them, that came more than once
	Late    uint64 // left out: their trace had been closed
	Beyond  uint64 // left out: their trace has too many already
	Untimed uint64 // left out: their trace ended long ago, or is to end in the future
	Hurried uint64 // traces that were closed before they were whole, because too many spans waited
	Traces  uint64 // that were closed
	Full    uint64 // times that a service did not count, because there are too many
}

// Book gathers spans into traces, and what traces say into tallies.
type Book struct {
	cfg    Config
	names  []string // of services; the first stands for those beyond the limit
	byName map[string]uint16
	scopes []string // services that SLOs are about
	open   map[traceID]*trace
	spans  int                 // in open
	closed [2]map[traceID]bool // lately, and before that
	turned time.Time           // when closed was turned last
	tally  map[tallyKey]*tally
	counts Counts
}

type traceID [16]byte

// trace is one that is not whole yet.
type trace struct {
	id          traceID
	first, last time.Time // when its first and its last span came
	nodes       []node
}

// New returns an empty Book.
func New(cfg Config) *Book {
	return &Book{
		cfg: cfg, names: []string{gatewarden.Overflow}, byName: map[string]uint16{gatewarden.Overflow: 0},
		open: map[traceID]*trace{}, closed: [2]map[traceID]bool{{}, {}}, tally: map[tallyKey]*tally{},
	}
}

// SetScopes says which services will be asked about; "" is the whole gateway. Of others
// nothing is kept.
func (b *Book) SetScopes(services []string) {
	b.scopes = slices.Compact(slices.Sorted(slices.Values(services)))
	for k := range b.tally {
		if !slices.Contains(b.scopes, k.scope) {
			delete(b.tally, k)
		}
	}
}

// Counts returns what became of what Add was given.
func (b *Book) Counts() Counts { return b.counts }

// Waiting returns how many spans wait for their trace to be whole.
func (b *Book) Waiting() int { return b.spans }

// Add takes spans that came at an instant. It keeps nothing of the slice.
func (b *Book) Add(spans []gatewarden.Span, now time.Time) {
	for i := range spans {
		b.add(&spans[i], now)
	}
	if b.spans > b.cfg.MaxSpans {
		b.hurry(now)
	}
}

func (b *Book) add(s *gatewarden.Span, now time.Time) {
	var id traceID
	n := node{service: b.service(s.Service), kind: s.Kind, failed: s.Failed(), start: s.Start.UnixNano(), length: int64(s.Duration)}
	if !read(id[:], s.TraceID) || !read(n.id[:], s.ID) || s.Parent != "" && !read(n.parent[:], s.Parent) {
		return // no source lets such ids through
	}
	if b.closed[0][id] || b.closed[1][id] {
		b.counts.Late++
		return
	}
	if s.Kind == gatewarden.SpanClient {
		n.peer = s.Peer
	}
	t := b.open[id]
	if t == nil {
		t = &trace{id: id, first: now}
		b.open[id] = t
	}
	if len(t.nodes) >= b.cfg.MaxTrace {
		b.counts.Beyond++
		return
	}
	t.last = now
	t.nodes = append(t.nodes, n)
	b.spans++
	b.counts.Spans++
}

func read(to []byte, digits string) bool {
	if len(digits) != 2*len(to) {
		return false
	}
	_, err := hex.Decode(to, []byte(digits))
	return err == nil
}

// service returns the number of a service's name.
func (b *Book) service(name string) uint16 {
	no, ok := b.byName[name]
	if !ok && len(b.names) <= b.cfg.MaxServices {
		no = uint16(len(b.names))
		b.names = append(b.names, name)
		b.byName[name] = no
	}
	return no
}

// Close closes the traces that are whole at an instant, and forgets what is too old. It is
// to be called each second or so.
func (b *Book) Close(now time.Time) {
	for _, t := range b.open {
		if now.Sub(t.last) >= b.cfg.Quiet || now.Sub(t.first) >= b.cfg.Longest || now.Before(t.last) {
			b.close(t, now)
		}
	}
	if now.Sub(b.turned) < b.cfg.Longest && !now.Before(b.turned) {
		return
	}
	b.turned = now
	b.turn()
	for k, t := range b.tally {
		if t.idle(now) {
			delete(b.tally, k)
		}
	}
}

// turn forgets the traces that were closed before the last turn.
func (b *Book) turn() { b.closed = [2]map[traceID]bool{{}, b.closed[0]} }

// hurry closes the traces that have waited longest, until there is room again.
func (b *Book) hurry(now time.Time) {
	list := make([]*trace, 0, len(b.open))
	for _, t := range b.open {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *trace) int { return cmp.Or(a.first.Compare(b.first), slices.Compare(a.id[:], b.id[:])) })
	for _, t := range list {
		if b.spans <= b.cfg.MaxSpans*3/4 {
			return
		}
		b.counts.Hurried++
		b.close(t, now)
	}
}

// close counts a trace and forgets its spans.
func (b *Book) close(t *trace, now time.Time) {
	delete(b.open, t.id)
	b.spans -= len(t.nodes)
	if b.closed[0][t.id] = true; len(b.closed[0]) > b.cfg.MaxSpans {
		b.turn()
	}
	tree := grow(t.nodes)
	b.counts.Traces++
	b.counts.Repeats += uint64(tree.repeats)
	end := tree.end()
	if end.After(now.Add(resolution)) || now.Sub(end) > remembered/2 {
		b.counts.Untimed += uint64(len(t.nodes))
		return
	}
	for _, scope := range b.scopes {
		b.count(scope, tree, end)
	}
	if b.cfg.Closed != nil {
		b.cfg.Closed(b.describe(t.id, tree, end))
	}
}

// count adds what a trace says about the requests of a service.
func (b *Book) count(scope string, tree *tree, end time.Time) {
	of := everything
	if scope != "" {
		no, ok := b.byName[scope]
		if !ok || !slices.ContainsFunc(tree.nodes, func(n node) bool { return n.service == no }) {
			return
		}
		of = int(no)
	}
	for _, v := range tree.visits(of) {
		key := tallyKey{scope, v.service}
		t := b.tally[key]
		if t == nil {
			if len(b.tally) >= b.cfg.MaxTallies {
				b.counts.Full++
				continue
			}
			t = &tally{}
			b.tally[key] = t
		}
		t.add(end, &v)
	}
}

// describe makes of a trace what others want to know of it.
func (b *Book) describe(id traceID, tree *tree, end time.Time) Trace {
	out := Trace{ID: hex.EncodeToString(id[:]), End: end}
	for _, i := range tree.byStart {
		if p := tree.nodes[i].peer; p != "" {
			out.Peers = append(out.Peers, p)
		}
	}
	for _, v := range tree.visits(everything) {
		out.Services = append(out.Services, Visit{Service: b.names[v.service], Calls: int(v.calls), Failed: int(v.failed), Depth: v.depth})
	}
	slices.SortFunc(out.Services, func(a, b Visit) int { return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Service, b.Service)) })
	return out
}
