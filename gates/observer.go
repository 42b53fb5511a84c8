package gates

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Observer sees for a Book that another guard keeps: what it makes of records is handed to
// that Book's Observed. It keeps nothing, and is safe for concurrent use.
type Observer struct {
	tracks Tracks
	plan   atomic.Pointer[plan]

	mu       sync.Mutex
	canaries []gatewarden.Canary // of the rules that are in force here
	older    []gatewarden.Canary // that runs of the Book began with
}

// NewObserver returns an observer without canaries. Tracks may be nil: then no target
// belongs to a track.
func NewObserver(tracks Tracks) *Observer {
	o := &Observer{tracks: tracks}
	o.plan.Store(newPlan())
	return o
}

// SetCanaries replaces the canaries of the rules that are in force here. Nobody may change
// them afterwards.
func (o *Observer) SetCanaries(rules []gatewarden.Canary) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.canaries = slices.Clone(rules)
	o.replan()
}

// SetOlder replaces what the Book's Older returned. Nobody may change it afterwards. What
// the rules here have as well is observed once.
func (o *Observer) SetOlder(list []gatewarden.Canary) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.older = slices.Clone(list)
	o.replan()
}

// replan makes a plan from the definitions; mu is held.
func (o *Observer) replan() {
	p := newPlan()
	for _, list := range [...][]gatewarden.Canary{o.canaries, o.older} {
		for i := range list {
			f := newFeed(&list[i], o.tracks)
			if !slices.ContainsFunc(p.byName[list[i].Name], func(other *feed) bool { return other.print == f.print }) {
				p.add(f)
			}
		}
	}
	o.plan.Store(p)
}

// Batch begins a report about records that arrived at the given instant.
func (o *Observer) Batch(at time.Time) *Report {
	return &Report{at: at, seen: gathering{plan: o.plan.Load()}}
}

// Report is what an Observer saw in records that arrived together. It is used by one
// goroutine.
type Report struct {
	at   time.Time
	seen gathering
}

// Add shows a record to every canary, as Batch.Add does. The record must stay as it is
// until Message returns.
func (r *Report) Add(record *gatewarden.Record) { r.seen.add(record) }

// Message returns the report for Book.Observed, nil when nothing was seen. It is for one
// call: a Book takes the messages of two calls for two reports.
func (r *Report) Message() []byte { return r.seen.message(r.at) }
