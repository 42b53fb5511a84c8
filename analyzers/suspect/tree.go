package suspect

import (
	"cmp"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// spanID is that of a span; of zeros it is none.
type spanID [8]byte

// node is what is kept of a span.
type node struct {
	id, parent spanID
	service    uint16
	failed     bool
	kind       gatewarden.SpanKind
	start      int64 // nanoseconds since 1970
	length     int64 // nanoseconds
	peer       string
}

func (n *node) end() int64 { return n.start + n.length }

// tree is a trace whose spans know their parents. Slices are by the index of the node.
type tree struct {
	nodes   []node
	parent  []int // -1 for none that is there
	order   []int // of the nodes: parents come before their children
	byStart []int
	depth   []int  // services above, each time that it changes
	below   []bool // a call to another service, somewhere below, has failed
	self    []int64
	repeats int // nodes that had come already, which are in none of the above
}

// grow makes a tree of the nodes of a trace. Spans may be there twice, and parents may be
// missing or go round in circles.
func grow(all []node) *tree {
	t := &tree{nodes: all[:0:0]}
	places := t.unique(all)
	n := len(t.nodes)
	t.parent, t.depth, t.below, t.self = make([]int, n), make([]int, n), make([]bool, n), make([]int64, n)
	t.byStart = make([]int, n)
	for i := range t.nodes {
		t.parent[i], t.byStart[i] = t.parentOf(i, places), i
	}
	slices.SortFunc(t.byStart, func(a, b int) int {
		return cmp.Or(cmp.Compare(t.nodes[a].start, t.nodes[b].start), cmp.Compare(a, b))
	})
	t.sort()
	t.fall()
	t.spend()
	return t
}

// unique takes each span once, and returns where those of an id are. Two may have the same
// id: with Zipkin's B3, the client's and the server's span of a call share it.
func (t *tree) unique(all []node) map[spanID][]int {
	places := make(map[spanID][]int, len(all))
	for _, n := range all {
		known := places[n.id]
		if len(known) > 1 || len(known) == 1 && !shares(&t.nodes[known[0]], &n) {
			t.repeats++
			continue
		}
		places[n.id] = append(known, len(t.nodes))
		t.nodes = append(t.nodes, n)
	}
	return places
}

// shares reports whether two spans of one id are the two sides of a call.
func shares(a, b *node) bool {
	return a.kind == gatewarden.SpanClient && b.kind == gatewarden.SpanServer ||
		a.kind == gatewarden.SpanServer && b.kind == gatewarden.SpanClient
}

// parentOf returns the parent of a node, -1 when it is not there. Of a shared id, what the
// same service did belongs to its own side, and anything else to the server's.
func (t *tree) parentOf(i int, places map[spanID][]int) int {
	n := &t.nodes[i]
	if n.kind == gatewarden.SpanServer {
		for _, other := range places[n.id] {
			if other != i {
				return other
			}
		}
	}
	best := -1
	if n.parent == (spanID{}) {
		return best
	}
	for _, p := range places[n.parent] {
		if p != i && (best < 0 || t.nodes[p].service == n.service || t.nodes[best].service != n.service && t.nodes[p].kind == gatewarden.SpanServer) {
			best = p
		}
	}
	return best
}

// sort puts parents before children and counts the services above each node. A circle is
// cut where it is found.
func (t *tree) sort() {
	const unseen, onPath, done = 0, 1, 2
	state := make([]uint8, len(t.nodes))
	var path []int
	for i := range t.nodes {
		path = path[:0]
		j := i
		for ; j >= 0 && state[j] == unseen; j = t.parent[j] {
			state[j] = onPath
			path = append(path, j)
		}
		if j >= 0 && state[j] == onPath {
			t.parent[path[len(path)-1]] = -1
		}
		for _, k := range slices.Backward(path) {
			state[k] = done
			t.order = append(t.order, k)
			if p := t.parent[k]; p >= 0 {
				t.depth[k] = t.depth[p]
				if t.nodes[p].service != t.nodes[k].service {
					t.depth[k]++
				}
			}
		}
	}
}

// fall finds out below which nodes a call to another service has failed.
func (t *tree) fall() {
	for _, i := range slices.Backward(t.order) {
		p := t.parent[i]
		if p >= 0 && (t.below[i] || t.nodes[i].failed && t.nodes[i].service != t.nodes[p].service) {
			t.below[p] = true
		}
	}
}

// spend finds out how long each span was at work itself: its length without the time in
// which its children were. Children of the same service go by the same clock, and what
// overlaps counts once. Those of another service may not: they count by their length.
// What takes a message works after its parent, not within it.
func (t *tree) spend() {
	covered, until := make([]int64, len(t.nodes)), make([]int64, len(t.nodes))
	for _, i := range t.byStart {
		p, n := t.parent[i], &t.nodes[i]
		if p < 0 || n.kind == gatewarden.SpanConsumer {
			continue
		}
		parent := &t.nodes[p]
		if n.service != parent.service {
			covered[p] += min(n.length, parent.length)
			continue
		}
		from, to := max(n.start, parent.start, until[p]), min(n.end(), parent.end())
		if to > from {
			covered[p] += to - from
			until[p] = to
		}
	}
	for i := range t.nodes {
		t.self[i] = max(t.nodes[i].length-covered[i], 0)
	}
}

// end returns when the first of the trace's spans was over, that which all others are part
// of, as far as it is there.
func (t *tree) end() time.Time {
	if len(t.order) == 0 {
		return time.Time{}
	}
	top := t.order[0]
	for _, i := range t.order {
		if t.parent[i] < 0 && t.nodes[i].length > t.nodes[top].length {
			top = i
		}
	}
	return time.Unix(0, t.nodes[top].end())
}

// entry reports whether a node is a call that its service took: not a part of another one.
func (t *tree) entry(i int) bool {
	n, p := &t.nodes[i], t.parent[i]
	return n.kind == gatewarden.SpanServer || n.kind == gatewarden.SpanConsumer || p < 0 || t.nodes[p].service != n.service
}

// visit is the part of a service in a trace.
type visit struct {
	service            uint16
	calls, failed, own uint32 // own: failed, and no service below it did
	depth              int    // of its first call
	self               int64  // nanoseconds
}

// everything is no service: all of a trace is wanted.
const everything = -1

// visits returns the services of the trace in so far as they have to do with the calls of
// one: what it calls, and who calls it. There are none when it is not in the trace.
func (t *tree) visits(of int) []visit {
	wanted := t.around(of)
	var list []visit
	for _, i := range t.order {
		if !wanted(i) {
			continue
		}
		n := &t.nodes[i]
		at := slices.IndexFunc(list, func(v visit) bool { return v.service == n.service })
		if at < 0 {
			at = len(list)
			list = append(list, visit{service: n.service, depth: t.depth[i]})
		}
		v := &list[at]
		v.self += t.self[i]
		if !t.entry(i) {
			continue
		}
		v.calls++
		if n.failed {
			v.failed++
			if !t.below[i] {
				v.own++
			}
		}
	}
	return list
}

// around returns which nodes have to do with the calls of a service.
func (t *tree) around(of int) func(i int) bool {
	if of == everything {
		return func(int) bool { return true }
	}
	under, above := make([]bool, len(t.nodes)), map[uint16]bool{}
	for _, i := range t.order {
		p := t.parent[i]
		under[i] = int(t.nodes[i].service) == of || p >= 0 && under[p]
		if int(t.nodes[i].service) != of || p >= 0 && under[p] {
			continue
		}
		for ; p >= 0; p = t.parent[p] {
			above[t.nodes[p].service] = true
		}
	}
	return func(i int) bool { return under[i] || above[t.nodes[i].service] }
}
