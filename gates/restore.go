package gates

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Restore takes up what the last life of the guard left, at the instant of the start.
// It is called once, after SetCanaries and before anything else. Runs that were running
// go on: their judges are given what the log held, and are not advanced for some seconds
// from the first tick on, as Kong sends again what it could not deliver. After the catching up they
// are where they would be without the interruption.
//
// An error means that the store or the log could not be read. What is damaged is left out
// and logged: a run whose judge cannot be read has no answer, one that is no run at all is
// lost, and the guard starts. What is left of such a one is kept for keepDamaged.
func (b *Book) Restore(ctx context.Context, at time.Time) error {
	b.steer.Lock()
	defer b.steer.Unlock()
	if b.cfg.Runs == nil {
		return nil
	}
	err := b.cfg.Runs.All(ctx, func(name string, blob []byte) error {
		canary, isPast := strings.CutPrefix(name, pastPrefix)
		switch {
		case isPast:
			b.restorePast(name, canary, blob, at)
		case name == damagedName:
			b.damaged.restore(blob)
		default:
			b.restoreRun(name, blob, at)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the runs of canaries: %w", err)
	}
	b.mu.Lock()
	b.damaged.settle(at)
	b.tellDamaged()
	b.mu.Unlock()
	if err := b.replay(ctx, at); err != nil {
		return fmt.Errorf("reading what the runs of canaries were shown: %w", err)
	}
	b.resume(at)
	return nil
}

func (b *Book) restorePast(name, canary string, blob []byte, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.slot(canary)
	if s == nil || s.canary == nil {
		b.gone = append(b.gone, name)
		return
	}
	p, err := decodePast(blob, s.canary, b.cfg.LoadJudge)
	if err != nil {
		b.cfg.Logger.Error("the baseline's history of a canary is damaged; it begins anew", "canary", canary, "error", err)
		return
	}
	if p != nil && len(p.judges) > 0 {
		p.missed(at.Sub(p.advanced))
		s.past = *p
	}
}

func (b *Book) restoreRun(name string, blob []byte, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := decodeRun(blob, b.cfg.LoadJudge)
	if r == nil {
		b.damaged.find(name, err)
		return
	}
	r.lastSeen, r.savedAt, r.left = at, at, followUp
	r.Version++ // whoever has seen the last life's may look again
	b.enter(r)
	if err == nil {
		return
	}
	b.cfg.Logger.Error("the judge of a run is damaged; the run goes on without one", "run", r.ID, "error", err)
	b.giveUp(r, at, "the guard was restarted and could not read what it knew: "+err.Error())
}

// enter makes a run known; mu is held.
func (b *Book) enter(r *run) {
	b.runs[r.ID] = r
	if r.Key != "" {
		b.byKey[runKey{r.Canary, r.Key}] = r
	}
	s := b.slot(r.Canary)
	if s == nil {
		if r.judge == nil {
			return
		}
		s = &slot{name: r.Canary}
		b.slots = append(b.slots, s)
	}
	if s.latest == nil || later(r, s.latest) {
		s.latest = r
	}
	if r.judge == nil {
		return
	}
	if s.canary != nil && reflect.DeepEqual(s.canary, r.canary) {
		r.canary = s.canary // so that what is shown to one is shown to the other
	}
	// A crash between writing down a new run and that the one before is no longer judged
	// leaves both.
	if old := s.active; old != nil && old != r {
		if later(old, r) {
			old, r = r, old
		}
		old.unwatch(old.advanced, gatewarden.Inconclusive, nextRunBegan)
	}
	s.active = r
}

// replay gives the judges what the log holds of them.
func (b *Book) replay(ctx context.Context, at time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := uint64(1)
	for _, r := range b.runs {
		next = max(next, r.applied+1)
	}
	known := map[string]bool{}
	err := b.cfg.Log.Read(ctx, 0, func(seq uint64, data []byte) error {
		sections, err := parseMessage(data)
		if err != nil {
			// One damaged message must not keep the guard from starting.
			b.cfg.Logger.Error("a message of the log of observations is damaged and left out", "seq", seq, "error", err)
			return nil
		}
		for i := range sections {
			b.apply(&sections[i], known)
			next = max(next, sections[i].number+1)
		}
		b.log.written = append(b.log.written, message{seq: seq, last: next - 1, at: at})
		return nil
	})
	b.log.reset(next)
	b.known, b.until = known, at.Add(knownFor)
	return err
}

// apply gives a section to the judges that do not have it yet; mu is held.
func (b *Book) apply(s *section, known map[string]bool) {
	for i := range s.entries {
		e := &s.entries[i]
		for k := range e.observations {
			if id := e.observations[k].ID; id != "" {
				known[id] = true
			}
		}
		r := b.runs[e.run]
		if r == nil || r.judge == nil || r.applied >= s.number {
			continue
		}
		r.advance(e.advanced)
		if e.split != nil {
			r.split(*e.split)
		}
		for k := range e.observations {
			r.add(&e.observations[k])
		}
	}
	for i := range s.entries {
		if r := b.runs[s.entries[i].run]; r != nil {
			r.applied = max(r.applied, s.number)
		}
	}
}

// resume says which runs wait for what Kong sends again.
func (b *Book) resume(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lived := map[string]bool{}
	n := 0
	for _, s := range b.slots {
		r := s.active
		if r == nil {
			continue
		}
		n++
		// Not all in the same tick.
		r.savedAt = at.Add(-time.Duration(n) * saveEvery / 16 % saveEvery)
		if away := at.Sub(r.advanced); away >= 0 && away <= holdUpTo {
			lived[r.ID] = true
		}
		b.cfg.Logger.Info("a run goes on after the restart", "run", r.ID, "state", r.State, "away", at.Sub(r.advanced).Round(time.Second))
	}
	b.lived = lived
	b.replan()
	b.forgetOld()
}
