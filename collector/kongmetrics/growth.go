package kongmetrics

import (
	"maps"
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
)

// counters are what a node had counted at a look. Nothing in them is changed later.
type counters struct {
	at time.Time
	counts
}

// counts are the counters of an exposition.
type counts struct {
	requests map[requestKey]float64
	buckets  map[bucketKey]float64 // cumulative; only when asked for
	others   map[string]float64    // counters that fall when a node restarts, and at no other time
}

// above reports whether a counter is lower in o. One that falls says that all of the
// node's began anew: a busy one may have passed its old value since.
func (c *counts) above(o *counts) bool {
	return fell(c.requests, o.requests) || fell(c.others, o.others)
}

// growth is what a node counted between two looks.
type growth struct {
	since, at time.Time
	reset     bool // the node restarted in between: only what it counted afterwards is known
	requests  map[requestKey]uint64
	buckets   map[bucketKey]uint64 // cumulative, as Kong has them
	highest   [latencies]float64   // the highest bound of any bucket
}

// keep returns what is to be remembered of e, looked at after before (nil for the first
// time). A series that is not there this time is remembered as it was: an answer can
// lose its end, and a series that came back would be taken for new.
func (e *exposition) keep(at time.Time, before *counters, reset bool) *counters {
	now := &counters{at, e.counts}
	if before == nil || reset {
		return now
	}
	now.requests, now.buckets, now.others = over(before.requests, e.requests), over(before.buckets, e.buckets), over(before.others, e.others)
	return now
}

// over returns what is in below and above, as above has it. It returns above itself
// when that has all of it, which is nearly always.
func over[K comparable](below, above map[K]float64) map[K]float64 {
	for k := range below {
		if _, ok := above[k]; !ok {
			all := maps.Clone(below)
			maps.Copy(all, above)
			return all
		}
	}
	return above
}

// since returns what was counted between two looks at the same node.
func (e *exposition) since(before *counters, at time.Time) (growth, error) {
	g := growth{since: before.at, at: at, reset: before.above(&e.counts)}
	base := before
	if g.reset {
		base = &counters{}
	}
	var err error
	if g.requests, err = grown(base.requests, e.requests); err != nil {
		return g, err
	}
	for k := range e.buckets {
		if le := float64(k.le); !math.IsInf(le, 1) {
			g.highest[k.of] = max(g.highest[k.of], le)
		}
	}
	g.buckets, err = grown(base.buckets, e.buckets)
	return g, err
}

// fell reports whether a counter is lower than it was.
func fell[K comparable](before, now map[K]float64) bool {
	for k, v := range now {
		if v < before[k] {
			return true
		}
	}
	return false
}

// grown returns by how much each counter has grown, those that did. One that was not
// there began at 0. What no Record can hold is an error.
func grown[K comparable](before, now map[K]float64) (map[K]uint64, error) {
	all := map[K]uint64{}
	for k, v := range now {
		switch d := v - before[k]; {
		case d > math.MaxUint32:
			return nil, gatewarden.Errorf(gatewarden.Invalid, "a counter grew by %.0f between two looks", d)
		case d >= 1:
			all[k] = uint64(math.Round(d))
		}
	}
	return all, nil
}

// byService adds the requests up by service. Those without one are left out.
func (g *growth) byService() map[string]uint64 {
	sums := map[string]uint64{}
	for k, n := range g.requests {
		if k.service != "" {
			sums[k.service] += n
		}
	}
	return sums
}
