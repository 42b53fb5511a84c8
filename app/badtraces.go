package app

import (
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

// badTraces remembers of each SLO the traces of its newest bad events: what somebody who
// reads of a breach wants to look at first.
type badTraces struct {
	index atomic.Pointer[badIndex]
}

// badIndex finds the SLOs that a record may be an event of.
type badIndex struct {
	bySLO     map[string]*badOf
	byService map[badKey][]*badOf
	// What no SLO can call bad is not looked up: what did not fail and took no longer than
	// the smallest threshold, unless an expression is to say.
	smallest    time.Duration
	expressions bool
}

type badKey struct{ signal, service string }

// badOf are those of one SLO.
type badOf struct {
	slo gatewarden.SLO

	mu     sync.Mutex
	traces []api.BadTrace // the newest first
}

const (
	// mostBad is how many traces are kept of an SLO.
	mostBad = 5
	// badEvery is how far apart they are: five of one instant would be of one cause.
	badEvery = time.Second
)

// serve makes the SLOs known that are judged from now on. One that stays keeps its traces.
func (b *badTraces) serve(slos []gatewarden.SLO) {
	old := b.index.Load()
	next := &badIndex{bySLO: map[string]*badOf{}, byService: map[badKey][]*badOf{}, smallest: math.MaxInt64}
	for _, slo := range slos {
		if slo.SLI.Query != nil {
			continue
		}
		of := &badOf{slo: slo}
		if old != nil && old.bySLO[slo.Name] != nil {
			of.traces = b.of(slo.Name)
		}
		key := badKey{slo.Series.Signal, slo.Series.Service}
		switch slo.SLI.Kind {
		case gatewarden.SLILatency:
			next.smallest = min(next.smallest, slo.SLI.Threshold)
		case gatewarden.SLIGood:
			next.expressions = true
		case gatewarden.SLIAvailability:
		}
		next.bySLO[slo.Name], next.byService[key] = of, append(next.byService[key], of)
	}
	b.index.Store(next)
}

// maybe reports whether some SLO may call a record bad.
func (x *badIndex) maybe(r *gatewarden.Record) bool {
	return x.expressions || r.Failed() || max(r.Latency.Request, r.Latency.Upstream, r.Latency.Kong) > x.smallest
}

// see takes a batch. Records without a trace, which most are where traces are sampled, and
// those that are good by every measure cost nothing.
func (b *badTraces) see(records []gatewarden.Record) {
	index := b.index.Load()
	if index == nil {
		return
	}
	for i := range records {
		r := &records[i]
		if r.TraceID == "" || len(r.TraceID) > maxTraceID || !index.maybe(r) {
			continue
		}
		for _, of := range index.byService[badKey{r.Signal, r.Service}] {
			of.see(r)
		}
		if r.Service != "" {
			for _, of := range index.byService[badKey{signal: r.Signal}] {
				of.see(r)
			}
		}
	}
}

func (b *badOf) see(r *gatewarden.Record) {
	if !b.slo.Series.Matches(r) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.traces) > 0 && r.At.Sub(b.traces[0].At) < badEvery {
		return
	}
	if good, valid := b.slo.SLI.Judge(r); good || !valid {
		return
	}
	b.traces = slices.Insert(b.traces, 0, api.BadTrace{TraceID: strings.Clone(r.TraceID), At: r.At, Status: r.Status})
	b.traces = b.traces[:min(len(b.traces), mostBad)]
}

// of returns the traces of an SLO, the newest first.
func (b *badTraces) of(slo string) []api.BadTrace {
	index := b.index.Load()
	if index == nil || index.bySLO[slo] == nil {
		return nil
	}
	of := index.bySLO[slo]
	of.mu.Lock()
	defer of.mu.Unlock()
	return slices.Clone(of.traces)
}
