package gates

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Batch is a number of records that arrive together. It is used by one goroutine.
type Batch struct {
	book  *Book
	at    time.Time
	plan  *plan
	shown []shown
}

// shown is what a feed made of the records.
type shown struct {
	feed         *feed
	observations []gatewarden.Observation
}

// Batch begins a batch of records that arrived at the given instant.
func (b *Book) Batch(at time.Time) *Batch {
	return &Batch{book: b, at: at, plan: b.plan.Load()}
}

// Add shows a record to every canary. Only records that were counted belong here: no
// repeats, and no answers that a change of the guard made. The record must stay as it is
// until Commit returns.
func (t *Batch) Add(r *gatewarden.Record) {
	// Instants that the log could not write are nobody's traffic.
	if year := r.At.Year(); year < 1970 || year > 2200 {
		return
	}
	for _, f := range t.plan.byService[r.Service] {
		t.show(f, r)
	}
	for _, f := range t.plan.others {
		t.show(f, r)
	}
}

func (t *Batch) show(f *feed, r *gatewarden.Record) {
	o, ok := f.canary.Observe(r, f.track)
	if !ok {
		return
	}
	// A batch is mostly about one service, so about one canary.
	for i := len(t.shown) - 1; i >= 0; i-- {
		if t.shown[i].feed == f {
			t.shown[i].observations = append(t.shown[i].observations, o)
			return
		}
	}
	t.shown = append(t.shown, shown{feed: f, observations: []gatewarden.Observation{o}})
}

// Commit gives the observations to the judges. It returns when a crash can no longer lose
// those of runs, and when ctx ends. While they cannot be written down, they count all the
// same.
func (t *Batch) Commit(ctx context.Context) {
	if len(t.shown) == 0 {
		return
	}
	b := t.book
	b.mu.Lock()
	var entries []entry
	for _, s := range t.shown {
		entries = b.take(s.feed, s.observations, entries)
	}
	g := b.logged(entries)
	b.mu.Unlock()
	t.shown = nil
	if g != nil {
		b.await(ctx, g, t.at)
	}
}

// take gives the observations of a feed to its judges, and adds what a run was shown to
// the entries for the log; mu is held.
func (b *Book) take(f *feed, observations []gatewarden.Observation, entries []entry) []entry {
	if len(observations) == 0 {
		return entries
	}
	if f.slot.canary == f.canary {
		for i := range observations {
			o := &observations[i]
			f.slot.seen[o.Track].add(o)
			f.slot.past.add(o)
		}
	}
	r := f.slot.active
	if r == nil || r.judge == nil || r.canary != f.canary {
		return entries
	}
	if b.known != nil {
		observations = b.unknown(observations)
	}
	if len(observations) == 0 {
		return entries
	}
	var tracks [2]int
	for i := range observations {
		r.add(&observations[i])
		tracks[observations[i].Track]++
	}
	for track, n := range tracks {
		if n > 0 {
			b.metrics.observations.WithLabelValues(r.Canary, gatewarden.Track(track).String()).Add(float64(n))
		}
	}
	return append(entries, entry{run: r.ID, advanced: r.advanced, observations: observations})
}

// unknown leaves out what the log had already when the guard started: Kong sends a record
// again when the guard died between writing it down and saying so. mu is held.
func (b *Book) unknown(observations []gatewarden.Observation) []gatewarden.Observation {
	kept := observations[:0]
	for i := range observations {
		if id := observations[i].ID; id == "" || !b.known[id] {
			kept = append(kept, observations[i])
		}
	}
	return kept
}

// logged puts what runs were told into the log, and returns what to wait for: nil when
// there is nothing. mu is held.
func (b *Book) logged(entries []entry) *group {
	if len(entries) == 0 || b.cfg.Log == nil || b.log.down {
		return nil
	}
	g := b.log.add(entries)
	for _, e := range entries {
		b.runs[e.run].applied = b.log.sections
	}
	return g
}
