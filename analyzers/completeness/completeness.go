// Package completeness judges whether the log says enough to judge by: it compares how
// many requests the gateway's own counters say there were with how many records the log
// brought. It sits between the sources and the judgement of SLOs: what it finds
// incomplete, nobody judges.
//
// The two are never read at the same instant. A counter that grew between two looks grew
// at some instant in between; Kong's workers tell each other their counts once a second;
// the clocks of Kong and of the guard differ. All that displaces a request by at most
// the time between two looks and skew. So there are two figures: an estimate to show, of
// the same stretch of time for both; and a bound to judge by, for which the records of a
// stretch that is longer by so much at both ends are counted: had the log lost nothing,
// the bound would be at least 1. A gap in the looks makes it higher, never lower.
//
// The log is incomplete when the bound is below the limit: over the window, which sees
// at once that it is silent; or over ten windows, where a small loss shows, if it still
// goes on by the estimate of the last one.
package completeness

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
)

// skew is how far Kong's counters may be behind its log, and its clock off the guard's.
const skew = 2 * time.Second

// longWindows is how many windows the long one has.
const longWindows = 10

// maxServices bounds how many services are compared. What is beyond it is not.
const maxServices = 1000

// Config says when a log is incomplete.
type Config struct {
	Limit       float64       // the least share of requests that must be in the log
	Window      time.Duration // over which both are counted, whole seconds
	Settle      time.Duration // how long records may be on their way, and counters unread
	MinRequests uint64        // below so many requests nothing is said
}

// Logged says how many records of a service the log brought that completed in
// [from, to), and whether it ever brought one.
type Logged func(service string, from, to time.Time) (n uint64, ever bool)

// Service is what is known of one service, or of all together when it has no name.
type Service struct {
	Name    string
	Counted uint64  // requests by the gateway's counters, over the window
	Logged  uint64  // records of them
	Ratio   float64 // estimate of the share that is in the log; 1 without requests
	Lacking bool    // it is too little to judge by
	Why     string  // half a sentence, when it is
}

// Report is what a look at an instant came to.
type Report struct {
	From, To time.Time // the window
	// Whole says that every node's counters are known for all of the window. When they
	// are not, more may be missing than it seems.
	Whole    bool
	All      Service // of the services that the log ever brought
	Services map[string]Service
}

// Book keeps what the gateway counted. Its methods must not be called concurrently.
type Book struct {
	cfg    Config
	logged Logged
	cells  map[string][]float64 // requests by service and second, in a ring
	head   int64                // the latest second in the ring
	tidied int64                // the second of the last forget
	nodes  map[string]map[string]*node
}

// node is what is known of the looks at one node.
type node struct {
	since, last time.Time // counters are known without a gap from since to last
	longest     []stretch // between two looks, the recent ones
}

type stretch struct {
	to     time.Time
	length time.Duration
}

// New returns an empty book.
func New(cfg Config, logged Logged) *Book {
	cfg.Window = max(cfg.Window.Truncate(time.Second), time.Second)
	return &Book{cfg: cfg, logged: logged, cells: map[string][]float64{}, nodes: map[string]map[string]*node{}}
}

// size returns how many seconds the ring has.
func (b *Book) size() int64 {
	return int64((longWindows*b.cfg.Window+b.cfg.Settle)/time.Second) + 2*int64(b.cfg.Window/time.Second) + 8
}

// Looked notes that a node, known by its address and by its own id, was looked at. since
// is the look before, with which requests are compared: by how much its counters grew,
// by service. It is zero when nothing is known of the time before, as at a first look.
//
// Instants are those of the wall clock, as those of records are: a machine that slept has
// another opinion of how long it was. When that clock was set back everything begins anew,
// because what was counted lies at times that come once more.
func (b *Book) Looked(address, id string, since, at time.Time, requests map[string]uint64) {
	since, at = since.Round(0), at.Round(0)
	if since.Sub(at) > skew || time.Unix(b.head, 0).Sub(at) > b.cfg.Window+b.cfg.Settle {
		clear(b.cells)
		clear(b.nodes)
		b.head, since = 0, time.Time{}
	}
	ids := b.nodes[address]
	if ids == nil {
		ids = map[string]*node{}
		b.nodes[address] = ids
	}
	n := ids[id]
	if n == nil || since.IsZero() || !n.last.Equal(since) {
		n = &node{since: at}
		if !since.IsZero() {
			n.since = since
		}
		ids[id] = n
	}
	n.last = at
	b.advance(at.Unix())
	if since.IsZero() || !since.Before(at) {
		return
	}
	n.stretched(stretch{at, at.Sub(since)}, time.Duration(b.size())*time.Second)
	for service, count := range requests {
		b.spread(service, since, at, float64(count))
	}
}

// Failed notes that there was no answer at an address, which is one of those that are
// asked.
func (b *Book) Failed(address string) {
	if b.nodes[address] == nil {
		b.nodes[address] = map[string]*node{}
	}
}

// Gone notes that an address is asked no more.
func (b *Book) Gone(address string) { delete(b.nodes, address) }

// stretched notes how long a stretch between two looks was: the longest ones that a
// window can still see, in falling order.
func (n *node) stretched(s stretch, keep time.Duration) {
	n.longest = slices.DeleteFunc(n.longest, func(o stretch) bool { return o.length <= s.length || s.to.Sub(o.to) > keep })
	n.longest = append(n.longest, s)
}

// advance moves the ring on to a second, and empties what comes into use again.
func (b *Book) advance(second int64) {
	if second <= b.head {
		return
	}
	size := b.size()
	for _, ring := range b.cells {
		for s := max(b.head+1, second-size+1); s <= second; s++ {
			ring[s%size] = 0
		}
	}
	b.head = second
}

// spread lays requests evenly over [from, to).
func (b *Book) spread(service string, from, to time.Time, requests float64) {
	ring := b.cells[service]
	size := b.size()
	if ring == nil {
		if len(b.cells) >= maxServices && !b.forget() {
			return
		}
		ring = make([]float64, size)
		b.cells[service] = ring
	}
	length := to.Sub(from).Seconds()
	for s := max(from.Unix(), b.head-size+1); s <= to.Unix(); s++ {
		begin, end := time.Unix(s, 0), time.Unix(s+1, 0)
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if part := end.Sub(begin).Seconds(); part > 0 {
			ring[s%size] += requests * part / length
		}
	}
}

// forget makes room: it drops the services without requests in the ring, and reports
// whether there were any. It looks at most once a second: names may come without end.
func (b *Book) forget() bool {
	if b.tidied == b.head {
		return false
	}
	b.tidied = b.head
	before := len(b.cells)
	maps.DeleteFunc(b.cells, func(_ string, ring []float64) bool {
		return !slices.ContainsFunc(ring, func(v float64) bool { return v > 0 })
	})
	return len(b.cells) < before
}

// counted returns how many requests there were in [from, to), whole seconds.
func (b *Book) counted(ring []float64, from, to time.Time) float64 {
	sum, size := 0.0, b.size()
	for s := max(from.Unix(), b.head-size+1); s < min(to.Unix(), b.head+1); s++ {
		sum += ring[s%size]
	}
	return sum
}

// Judge compares what was counted and what was logged, up to the given instant.
func (b *Book) Judge(at time.Time) Report {
	b.advance(at.Unix())
	to := at.Add(-b.cfg.Settle).Truncate(time.Second)
	r := Report{From: to.Add(-b.cfg.Window), To: to, Services: make(map[string]Service, len(b.cells))}
	r.Whole = b.whole(r.From, to)
	slack := b.slack(at)
	var all [2]pair
	for name, ring := range b.cells {
		var of [2]pair // of the window, and of the long one
		ever := false
		for i := range of {
			from := to.Add(-b.cfg.Window)
			if i == 1 {
				from = to.Add(-longWindows * b.cfg.Window)
			}
			of[i].counted = b.counted(ring, from, to)
			of[i].logged, ever = b.logged(name, from, to)
			of[i].bound, _ = b.logged(name, from.Add(-slack), to.Add(slack))
			if ever {
				all[i].add(of[i])
			}
		}
		r.Services[name] = b.service(name, of, ever)
	}
	r.All = b.service("", all, true)
	return r
}

// pair is what was counted and logged in a window.
type pair struct {
	counted       float64
	logged, bound uint64 // in the same stretch, and in one that is longer by the slack
}

func (p *pair) add(o pair) {
	p.counted += o.counted
	p.logged += o.logged
	p.bound += o.bound
}

// slack returns by how much a request may be displaced.
func (b *Book) slack(at time.Time) time.Duration {
	longest := time.Duration(0)
	keep := time.Duration(b.size()) * time.Second
	for _, ids := range b.nodes {
		for _, n := range ids {
			for _, s := range n.longest {
				if at.Sub(s.to) <= keep {
					longest = max(longest, s.length)
				}
			}
		}
	}
	return skew + longest
}

// whole reports whether the counters of every node are known over [from, to).
func (b *Book) whole(from, to time.Time) bool {
	for _, ids := range b.nodes {
		known := false
		for _, n := range ids {
			known = known || !n.since.After(from) && !n.last.Before(to)
		}
		if !known {
			return false
		}
	}
	return len(b.nodes) > 0
}

// service judges one, or all together.
func (b *Book) service(name string, of [2]pair, ever bool) Service {
	short, long := of[0], of[1]
	s := Service{Name: name, Counted: uint64(math.Round(short.counted)), Logged: short.logged, Ratio: 1}
	if short.counted > 0 {
		s.Ratio = float64(short.logged) / short.counted
	}
	over, p := b.cfg.Window, short
	switch {
	case b.lacks(short):
	case b.lacks(long) && short.counted > 0 && s.Ratio < b.cfg.Limit:
		over, p = longWindows*b.cfg.Window, long
	default:
		return s
	}
	s.Lacking = true
	requests := "requests"
	if name != "" {
		requests = "requests to " + name
	}
	s.Why = fmt.Sprintf("of %.0f %s that Kong counted in %s, the log brought %d (%s %%, the limit is %s %%)",
		p.counted, requests, gatewarden.Duration(over), min(p.logged, uint64(p.counted)), percent(min(float64(p.logged)/p.counted, b.cfg.Limit)), percent(b.cfg.Limit))
	if !ever {
		s.Why = fmt.Sprintf("Kong counted %.0f %s in %s, and the log has never brought one: is a log plugin enabled there?", p.counted, requests, gatewarden.Duration(over))
	}
	return s
}

// lacks reports whether the log is incomplete in any case.
func (b *Book) lacks(p pair) bool {
	return p.counted >= float64(b.cfg.MinRequests) && float64(p.bound) < b.cfg.Limit*p.counted
}

// percent writes a ratio to three digits.
func percent(ratio float64) string { return strconv.FormatFloat(ratio*100, 'g', 3, 64) }
