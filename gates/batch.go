package gates

import (
	"context"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Batch is a number of records that arrive together. It is used by one goroutine.
type Batch struct {
	book *Book
	at   time.Time
	seen gathering
}

// Batch begins a batch of records that arrived at the given instant.
func (b *Book) Batch(at time.Time) *Batch {
	return &Batch{book: b, at: at, seen: gathering{plan: b.plan.Load()}}
}

// Add shows a record to every canary. Only records that were counted belong here: no
// repeats, and no answers that a change of the guard made. The record must stay as it is
// until Commit returns.
func (t *Batch) Add(r *gatewarden.Record) { t.seen.add(r) }

// Commit gives the observations to the judges. It returns when a crash can no longer lose
// those of runs, and when ctx ends. While they cannot be written down, they count all the
// same. An error, unavailable, says that the book was abandoned meanwhile: then Message is
// for the one that took its place.
func (t *Batch) Commit(ctx context.Context) error {
	if len(t.seen.shown) == 0 {
		return nil
	}
	b := t.book
	b.mu.Lock()
	var entries []entry
	for _, s := range t.seen.shown {
		entries = b.take(s.feed, s.observations, entries)
	}
	g := b.logged(entries)
	b.mu.Unlock()
	if g != nil {
		b.await(ctx, g, t.at)
	}
	return b.over()
}

// Message returns what the batch has seen as an Observer's report would.
func (t *Batch) Message() []byte { return t.seen.message(t.at) }

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
// again when the guard died between writing it down and saying so, and so does another
// guard with what it saw. mu is held.
func (b *Book) unknown(observations []gatewarden.Observation) []gatewarden.Observation {
	known := func(o gatewarden.Observation) bool { return o.ID != "" && b.known[o.ID] }
	if !slices.ContainsFunc(observations, known) {
		return observations
	}
	return slices.DeleteFunc(slices.Clone(observations), known) // they may be another feed's too
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
