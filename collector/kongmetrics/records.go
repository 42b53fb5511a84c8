package kongmetrics

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// records returns the requests of g as records: as many of each service, route, status,
// origin and consumer as Kong counted, and with the latencies that its histograms have
// for the route.
//
// Kong counts statuses and latencies apart. Each record gets both, so that either adds
// up rightly, but which request was how slow is not known: the statuses in ascending
// order are laid beside the latencies in ascending order. A latency is the upper bound
// of its bucket, because a request is at most that slow, and a threshold that is a bound
// is judged exactly. In the last bucket, which has none, it is twice the highest bound.
// Requests beyond what a histogram counted have no such latency.
func (g *growth) records() []gatewarden.Record {
	routes := map[routeKey][]requestKey{}
	for k := range g.requests {
		routes[k.routeKey] = append(routes[k.routeKey], k)
	}
	values := map[routeKey]*[latencies][]run{}
	for k := range g.buckets {
		v := values[k.routeKey]
		if v == nil {
			v = &[latencies][]run{}
			values[k.routeKey] = v
		}
		v[k.of] = append(v[k.of], run{le: float64(k.le), n: g.buckets[k]})
	}
	var list []gatewarden.Record
	for route, keys := range routes {
		var laid [latencies]runs
		if v := values[route]; v != nil {
			for of := range laid {
				laid[of] = layOut(v[of], g.highest[of])
			}
		}
		slices.SortFunc(keys, func(a, b requestKey) int {
			return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(b.origin, a.origin), cmp.Compare(a.consumer, b.consumer))
		})
		for _, k := range keys {
			list = g.lay(list, k, &laid)
		}
	}
	return list
}

// lay appends the requests of k, cut where a latency changes.
func (g *growth) lay(list []gatewarden.Record, k requestKey, laid *[latencies]runs) []gatewarden.Record {
	for left := g.requests[k]; left > 0; {
		n := left
		for of := range laid {
			n = laid[of].atMost(n)
		}
		n = min(n, math.MaxUint32)
		var found [latencies]time.Duration
		for of := range laid {
			found[of] = laid[of].take(n)
		}
		list = append(list, gatewarden.Record{
			At: g.at, Workspace: k.workspace, Service: k.service, Route: k.route, Consumer: k.consumer, Status: k.code, Origin: k.origin,
			Latency: gatewarden.Latency{Request: found[ofRequest], Upstream: found[ofUpstream], Kong: found[ofKong]},
			Weight:  uint32(n),
		})
		left -= n
	}
	return list
}

// run is a number of requests up to a bound, in milliseconds.
type run struct {
	le float64
	n  uint64
}

// runs are latencies in ascending order, used up from the front.
type runs []run

// layOut makes runs of cumulative buckets, whose highest bound is given.
func layOut(buckets []run, highest float64) runs {
	slices.SortFunc(buckets, func(a, b run) int { return cmp.Compare(a.le, b.le) })
	var list runs
	before := uint64(0)
	for _, b := range buckets {
		if math.IsInf(b.le, 1) {
			b.le = 2 * highest
		}
		if b.n > before { // lower would be a histogram that was read while it changed
			list = append(list, run{b.le, b.n - before})
			before = b.n
		}
	}
	return list
}

// atMost returns how many of n requests have the same latency as the next one.
func (r runs) atMost(n uint64) uint64 {
	if len(r) == 0 {
		return n
	}
	return min(n, r[0].n)
}

// take uses n requests up and returns their latency.
func (r *runs) take(n uint64) time.Duration {
	if len(*r) == 0 {
		return gatewarden.NoLatency
	}
	first := &(*r)[0]
	latency := time.Duration(min(first.le, maxMillis) * float64(time.Millisecond))
	if first.n -= n; first.n == 0 {
		*r = (*r)[1:]
	}
	return latency
}

// maxMillis keeps a hostile bound within a Duration.
const maxMillis = 1e9
