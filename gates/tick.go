package gates

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// tickWithin bounds what one tick spends on others: the journal, the policies, the
	// mover. What is left is for the next one.
	tickWithin = 2 * time.Second
	// holdFor is how long the runs of the last life are not advanced from the first tick on:
	// Kong sends again what it could not deliver, and those records would come too late. It
	// cannot before: what a guard does between Restore and its first tick may take seconds.
	holdFor = 10 * time.Second
	// holdUpTo is the longest absence for which that makes sense: a judge can't keep more
	// seconds open.
	holdUpTo = 200 * time.Second
	// knownFor is for how long after a start records are looked up among those that the
	// log held.
	knownFor = 2 * time.Minute
)

// Tick judges all runs at the instant, twice a second, and does what follows. The error
// joins what could not be done or written; all of it is tried again at the next tick. A
// book that is abandoned does nothing.
func (b *Book) Tick(ctx context.Context, at time.Time) error {
	b.steer.Lock()
	defer b.steer.Unlock()
	if b.over() != nil {
		return nil
	}
	passed := b.passed(at)
	errs := []error{b.judge(at)}
	b.flush(ctx, at) // what the judges were told of the split
	errs = append(errs, b.saveChanged(ctx, at))

	ctx, cancel := context.WithTimeout(ctx, tickWithin)
	defer cancel()
	for _, r := range b.all((*run).busy) {
		b.spend(r, passed)
		errs = append(errs, b.settle(ctx, at, r))
	}
	return errors.Join(errs...)
}

// passed returns the time since the last tick, 0 at the first one.
func (b *Book) passed(at time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at.IsZero() {
		return 0
	}
	return at.Sub(b.at)
}

// judge lets time pass for everything that is judged.
func (b *Book) judge(at time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known != nil && at.After(b.until) {
		b.known = nil
	}
	b.at = at
	var errs []error
	var entries []entry
	running, watched := 0, 0
	for i, s := range b.slots {
		if s.past.advanced.IsZero() { // not all of them in the same tick
			s.past.advanced = at.Add(-pastAdvance * time.Duration(i%16) / 16)
		}
		if s.canary != nil {
			errs = append(errs, s.past.tick(at, b.wait, func() (Judge, error) { return b.cfg.NewJudge(s.canary, farFuture()) }))
		}
		r := s.active
		if r == nil {
			continue
		}
		if back := r.advanced.Sub(at); back > setBack {
			b.giveUp(r, at, fmt.Sprintf("the clock was set back by %s, and what was seen before it says nothing now", gatewarden.Duration(back.Round(time.Second))))
			b.retire(s)
			continue
		}
		if b.held(r, at) {
			if r.decision != nil { // the last life was about to act upon it
				b.act(s, at)
			}
			continue
		}
		if share, known := b.share(s.name); known && share != r.share {
			change := split{At: at, Share: share}
			r.split(change)
			entries = append(entries, entry{run: r.ID, advanced: r.advanced, split: &change})
		}
		b.pass(s, at)
		switch {
		case r.State == gatewarden.RunRunning:
			running++
		case r.Watched:
			watched++
		}
	}
	b.logged(entries)
	b.metrics.running.Set(float64(running))
	b.metrics.watched.Set(float64(watched))
	return errors.Join(errs...)
}

// giveUp ends the judging of a run that can be judged no further; mu is held.
func (b *Book) giveUp(r *run, at time.Time, why string) {
	if r.State != gatewarden.RunRunning {
		r.unwatch(at, gatewarden.Inconclusive, why)
		return
	}
	state, reason := r.unanswered(why, false)
	r.conclude(at, at, state, reason, "")
	b.ended(r)
}

// held reports whether the run waits for what Kong sends again; mu is held.
func (b *Book) held(r *run, at time.Time) bool {
	if b.lived == nil {
		return false
	}
	if b.hold.IsZero() {
		b.hold = at.Add(holdFor)
	}
	if !at.Before(b.hold) {
		b.lived = nil
		return false
	}
	return b.lived[r.ID]
}

// split tells the judge of a change of the configured share.
func (r *run) split(s split) {
	r.judge.SetSplit(s.At, s.Share)
	r.share = s.Share
}

// pass lets time pass for the canary's run; mu is held.
func (b *Book) pass(s *slot, at time.Time) {
	r := s.active
	before := r.advanced
	r.advance(at)
	b.lacking(r, at)
	if before.Unix() != r.advanced.Unix() {
		r.refresh()
		b.metrics.showEvidence(r.Canary, r.Verdict)
		r.changed()
	}
	b.act(s, at)
}

// act acts upon how the canary's run stands; mu is held.
func (b *Book) act(s *slot, at time.Time) {
	r := s.active
	switch {
	case r.undecided():
	case r.State != gatewarden.RunRunning:
		r.watch(at)
	case r.decision != nil:
		r.decide(at)
		b.ended(r)
	default:
		r.step(at)
	}
	if r.judge == nil {
		b.retire(s)
	}
}

// ended counts a run that has its answer.
func (b *Book) ended(r *run) { b.metrics.runs.WithLabelValues(string(r.State)).Inc() }

// retire lets go of a canary's run that is judged no more; mu is held.
func (b *Book) retire(s *slot) {
	shared := s.canary == s.active.canary
	s.active = nil
	b.metrics.forget(s.name)
	if s.canary == nil {
		for i, o := range b.slots {
			if o == s {
				b.slots = append(b.slots[:i:i], b.slots[i+1:]...)
				break
			}
		}
	}
	if !shared {
		b.replan()
	}
	b.forgetOld()
}
