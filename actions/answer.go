package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// forgetRuns is how long an ended ladder of a run is known, so that the run is not
// answered again: the journal forgets in the same time unless it is told otherwise.
const forgetRuns = 90 * 24 * time.Hour

// Answer begins the ladder of a policy that a run of a canary named: trigger has Kind
// EventGate, the canary's Name, and in Since when the run ended. It returns nil when
// that is in the journal. The id of the ladder is made of policy and trigger, so called
// again, after a restart too, it does nothing. Errors: not_found when no such policy is
// in the rules; conflict when this guard does not lead; the journal's.
//
// The ladder climbs by the After of its steps until it is through with them, whatever
// the SLOs say, and goes the one road: mode, limits, pauses, leader, journal. It is not
// undone by health. A drained canary gets its traffic back when a person reverts the
// ladder, and stays drained when a newer run begins (Release); its weights have no
// lease, so that it does not get it back because the guard was away either. Plugins in
// such a ladder are sheds: they have a lease, and are undone Revert.After once the
// ladder is through and no SLO is in outage or pages.
func (e *Engine) Answer(ctx context.Context, at time.Time, trigger gatewarden.Trigger, policy string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(); err != nil {
		return err
	}
	if trigger.Kind != gatewarden.EventGate || trigger.Name == "" || trigger.Since.IsZero() {
		return gatewarden.Errorf(gatewarden.Internal, "%s cannot answer %q: that is no run of a canary which has ended", policy, trigger.Name)
	}
	id := ladderID(policy, &trigger)
	if _, ended := e.answered[id]; ended || e.ladderByID(id) != nil {
		return nil
	}
	p, ok := e.rules.policies[policy]
	if !ok {
		return gatewarden.Errorf(gatewarden.NotFound, "canary %s names the action %q, which is not in the rules", trigger.Name, policy)
	}
	l := newLadder(p, trigger)
	_, err := e.append(ctx, gatewarden.Event{
		At: at, Type: gatewarden.EventAction, Name: l.id, State: gatewarden.LadderBegun,
		Reason: policy + " answers the run of " + trigger.Name + ": " + trigger.Reason,
		Action: &gatewarden.Action{ID: l.id, Policy: policy, Ladder: l.id, Trigger: trigger, Mode: p.Mode, PlannedAt: at},
	})
	if err != nil {
		return err
	}
	l.recorded, l.condition = true, burning
	e.ladders = append(e.ladders, l)
	if err := e.climb(ctx, l, at); err != nil {
		e.cfg.Logger.Warn("the first step has to wait for the next tick", "ladder", l.id, "error", err)
	}
	return nil
}

// Release ends all ladders that answer runs of a canary or hold weights for one, because
// a newer run begins (call it before the first Move of that). Weights stay as they are
// and are nobody's from then on; sheds still in place are taken back first; what waits
// for approval is withdrawn; weights that are just being changed are put back. The
// reason is one plain sentence. It returns nil when that is in the journal, and when
// there is nothing to end.
func (e *Engine) Release(ctx context.Context, at time.Time, canary, reason string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(); err != nil {
		return err
	}
	var errs []error
	for _, l := range slices.Clone(e.ladders) {
		if l.ofRun() && l.trigger.Name == canary && l.released == "" {
			errs = append(errs, e.release(ctx, l, at, reason))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) release(ctx context.Context, l *ladder, at time.Time, reason string) error {
	if reason == "" {
		reason = "a newer run of " + l.trigger.Name + " begins"
	}
	l.released = reason
	if !l.unfinished() {
		err := e.finish(ctx, l, at)
		if err != nil {
			l.released = ""
		}
		return err
	}
	_, err := e.append(ctx, gatewarden.Event{
		At: at, Type: gatewarden.EventAction, Name: l.id, State: gatewarden.LadderReleased, Reason: reason,
	})
	if err != nil {
		l.released = ""
		return err
	}
	l.cutShort()
	return errors.Join(e.withdraw(ctx, l, at), e.takeHalfBack(ctx, l, at), e.descend(ctx, l, at))
}

// takeHalfBack takes back what a released ladder was about to set: it is not known to be
// as it should, and nobody will look after it.
func (e *Engine) takeHalfBack(ctx context.Context, l *ladder, at time.Time) error {
	var errs []error
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.stays() && a.Status == gatewarden.ActionStarted {
			errs = append(errs, e.takeBack(ctx, a, at, "", l.released))
		}
	}
	return errors.Join(errs...)
}

// ofRun reports whether the ladder answers a run of a canary, or holds weights for one.
func (l *ladder) ofRun() bool { return l.trigger.Kind == gatewarden.EventGate }

// over reports whether a person or a newer run has put an end to the ladder: it begins
// nothing more.
func (l *ladder) over() bool { return l.closed || l.released != "" }

// stays reports whether neither health nor the end of a lease takes the action back: it
// sets weights for a run.
func (a *action) stays() bool {
	return a.ladder.ofRun() && a.kind.Weighs()
}

// abandoned reports whether the action's change was left as it is for good.
func (a *action) abandoned() bool {
	return a.stays() && a.standing() && !a.busy && (a.ladder.released != "" || a.ladder.ended)
}

// lease returns how long the action's change may live unrenewed, 0 for ever.
func (a *action) lease() time.Duration {
	if !a.kind.Reversible() || a.stays() {
		return 0
	}
	return a.ladder.policy.Lease
}

// conditionOfRun is conditionOf for a ladder that answers a run: it burns until it is
// through with its steps, and what it sheds stays while an SLO is in outage or pages.
func (e *Engine) conditionOfRun(l *ladder) condition {
	if !l.through() {
		return burning
	}
	if e.urgent() {
		return uneasy
	}
	return calm
}

// through reports whether all steps have been got over with, calls included.
func (l *ladder) through() bool {
	for i := range l.rungs {
		a := l.rungs[i].current
		switch {
		case a != nil && a.busy && a.Status != gatewarden.ActionReverting:
			return false
		case a != nil && (a.Status == gatewarden.ActionWaiting || a.verifying()):
			return false
		case !l.passed(i) && !l.frozen && !l.over():
			return false
		}
	}
	return true
}

// lastBegun returns when the newest of the ladder's steps was begun.
func (l *ladder) lastBegun() (last time.Time) {
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.begunAt().After(last) {
			last = a.begunAt()
		}
	}
	return last
}

// doneAlready looks whether another ladder of the same policy has done the step: a
// release that fails its run and breaks a promise as well is rolled back once. What can
// be done only once counts as done; so does a shed for a ladder that answers a run. A
// ladder that answers SLOs waits until the other one has taken its shed back. Weights
// are set again: they lie on top of one another.
func (e *Engine) doneAlready(ctx context.Context, l *ladder, i int, at time.Time) (bool, error) {
	kind := l.policy.Steps[i].Kind
	if l.policy.Mode == gatewarden.ModeObserve || !l.shared() || kind.Weighs() {
		return false, nil
	}
	other := e.doneBy(l, i, at)
	if other == nil {
		return false, nil
	}
	a := e.plan(l, i, at)
	if kind.Reversible() && !l.ofRun() {
		return true, e.hold(ctx, a, at, gateKnown, "not begun: "+other.id+" of the same action has it in place")
	}
	memo, err := json.Marshal(knownMemo{other.id})
	if err != nil {
		return true, fmt.Errorf("writing the memo of %s: %w", a.ID, err)
	}
	err = e.record(ctx, a, change{at: at, to: gatewarden.ActionSkipped, memo: memo, reason: "it is known already: " + other.id + " of the same action did it"})
	if err != nil {
		return true, err
	}
	if l.begun.IsZero() {
		l.begun = at
	}
	l.rungs[i].round = l.round
	e.metrics.held.WithLabelValues(gateKnown).Inc()
	return true, nil
}

// knownMemo is the memo of a step that another ladder has done.
type knownMemo struct {
	KnownBy string `json:"known_by"`
}

// knownBy returns the action that did the step instead of a, "" when there is none.
func knownBy(a *gatewarden.Action) string {
	var m knownMemo
	if json.Unmarshal(a.Memo, &m) != nil {
		return ""
	}
	return m.KnownBy
}

// doneBy returns the action of another ladder of the same policy that has done a step,
// or is at it.
func (e *Engine) doneBy(l *ladder, i int, at time.Time) *action {
	for _, o := range e.ladders {
		if o == l || o.policy.Name != l.policy.Name || (!o.ofRun() && !l.ofRun()) || i >= len(o.rungs) || !o.lives(at) {
			continue
		}
		a := o.rungs[i].current
		if a == nil || !sameStep(&a.Spec, &l.policy.Steps[i]) {
			continue
		}
		done := !a.kind.Reversible() && (a.Status == gatewarden.ActionApplied || a.Status == gatewarden.ActionUnknown || a.Status == gatewarden.ActionIneffective)
		if a.pending() || done {
			return a
		}
	}
	return nil
}

// lives reports whether what a ladder has done is still fresh: one that answers a run
// stays when that is long past.
func (l *ladder) lives(at time.Time) bool {
	if !l.ofRun() || !l.through() {
		return true
	}
	var last time.Time
	for i := range l.rungs {
		a := l.rungs[i].current
		if a == nil {
			continue
		}
		if a.kind.Reversible() && !a.kind.Weighs() && a.inPlace() {
			return true
		}
		if t := lastChange(&a.Action); t.After(last) {
			last = t
		}
	}
	return at.Before(last.Add(l.policy.Revert.After))
}
