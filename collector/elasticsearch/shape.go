package elasticsearch

import (
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// shape says what rows must tell apart, for the rules to judge by them as they would by
// single records.
type shape struct {
	Cuts       [len(parts)][]time.Duration `json:"cuts"` // upper bounds of ranges of latency, ascending; none where nobody asks
	Consumers  bool                        `json:"consumers,omitempty"`
	Workspaces bool                        `json:"workspaces,omitempty"`
	Tags       []string                    `json:"tags,omitempty"`
}

func (sh *shape) equal(o *shape) bool {
	for i := range sh.Cuts {
		if !slices.Equal(sh.Cuts[i], o.Cuts[i]) {
			return false
		}
	}
	return sh.Consumers == o.Consumers && sh.Workspaces == o.Workspaces && slices.Equal(sh.Tags, o.Tags)
}

// mostTags bounds how many tags rows are told apart by: each doubles the searches.
const mostTags = 4

// coarse are the bounds that a distribution of latencies is told by, besides the thresholds
// of the rules.
var coarse = []time.Duration{
	1 * time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 35 * time.Millisecond,
	50 * time.Millisecond, 75 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond,
	500 * time.Millisecond, 750 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second, 3 * time.Second, 5 * time.Second,
	10 * time.Second, 30 * time.Second,
}

// shapeOf returns the shape that the SLOs need. The error says what rows cannot do, and
// single records can.
func shapeOf(slos []gatewarden.SLO, distribution bool) (*shape, error) {
	sh := &shape{}
	if distribution {
		sh.Cuts[0] = slices.Clone(coarse)
	}
	for i := range slos {
		slo := &slos[i]
		if slo.Series.Signal != "" || slo.SLI.Query != nil {
			continue // not of requests that Kong logged
		}
		sh.Consumers = sh.Consumers || slo.Series.Consumer != ""
		sh.Workspaces = sh.Workspaces || slo.Series.Workspace != ""
		if tag := slo.Series.Tag; tag != "" && !slices.Contains(sh.Tags, tag) {
			sh.Tags = append(sh.Tags, tag)
		}
		switch slo.SLI.Kind {
		case gatewarden.SLIAvailability: // the status tells
		case gatewarden.SLIGood:
			return nil, gatewarden.Errorf(gatewarden.Invalid, "the SLO %s judges single records (good:), which buckets are not", slo.Name)
		case gatewarden.SLILatency:
			part := max(slices.Index(parts[:], slo.SLI.Of), 0)
			sh.Cuts[part] = append(sh.Cuts[part], slo.SLI.Threshold)
		}
	}
	if len(sh.Tags) > mostTags {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the SLOs name %d tags: buckets can be told apart by %d", len(sh.Tags), mostTags)
	}
	slices.Sort(sh.Tags)
	for part := range sh.Cuts {
		slices.Sort(sh.Cuts[part])
		sh.Cuts[part] = slices.Compact(sh.Cuts[part])
	}
	return sh, nil
}

// records appends records that stand for the requests of a row.
func (sh *shape) records(records []gatewarden.Record, r *row) []gatewarden.Record {
	one := gatewarden.Record{
		At: time.UnixMilli(r.at).UTC(), Service: r.kind.service, Route: r.kind.route, Consumer: r.kind.consumer, Workspace: r.kind.workspace,
		Status: r.kind.status, Origin: r.kind.origin, Tags: sh.tagsOf(r.kind.tags),
	}
	var at [len(parts)]cursor
	for part := range at {
		at[part] = cursor{cuts: sh.Cuts[part], counts: slices.Clone(r.count.parts[part])}
	}
	// Which request had which upstream latency along with which latency in all is not
	// known, and no SLI looks at both: the shortest of each are put together.
	for left := r.count.n; left > 0; {
		n := min(left, maxWeight)
		for part := range at {
			n = min(n, at[part].run())
		}
		one.Latency = gatewarden.Latency{Request: at[0].latency(), Upstream: at[1].latency(), Kong: at[2].latency()}
		one.Weight = uint32(n)
		records = append(records, one)
		for part := range at {
			at[part].use(n)
		}
		left -= n
	}
	return records
}

// maxWeight is the largest weight of one record.
const maxWeight = 1<<32 - 1

func (sh *shape) tagsOf(set uint8) []string {
	var list []string
	for i, tag := range sh.Tags {
		if set>>i&1 == 1 {
			list = append(list, tag)
		}
	}
	return list
}

// cursor goes through the ranges of one part's latencies.
type cursor struct {
	cuts   []time.Duration
	counts []uint64 // what is left of them
	i      int
}

// run returns how many requests the range at hand has left, without end behind the last
// one: the latency of those is not known.
func (c *cursor) run() uint64 {
	for c.i < len(c.counts) && c.counts[c.i] == 0 {
		c.i++
	}
	if c.i == len(c.counts) {
		return maxWeight
	}
	return c.counts[c.i]
}

func (c *cursor) use(n uint64) {
	if c.i < len(c.counts) {
		c.counts[c.i] -= n
	}
}

// latency returns the middle of the range at hand: whatever the rules compare it with, it
// compares as all latencies of the range do.
func (c *cursor) latency() time.Duration {
	if c.i >= len(c.counts) {
		return gatewarden.NoLatency
	}
	low := time.Duration(0)
	if c.i > 0 {
		low = c.cuts[c.i-1]
	}
	if c.i == len(c.cuts) {
		return low + max(low/2, time.Millisecond)
	}
	return low + (c.cuts[c.i]-low+1)/2
}
