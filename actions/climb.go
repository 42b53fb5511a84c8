package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// climb begins the steps of a ladder that are due.
func (e *Engine) climb(ctx context.Context, l *ladder, at time.Time) error {
	if l.condition == calm || l.over() {
		return e.withdraw(ctx, l, at)
	}
	if l.condition != burning || l.frozen {
		return nil
	}
	for i := range l.rungs {
		if l.beginning(i) || e.undecided(e.doer(l, i), at) {
			return nil
		}
		if l.passed(i) {
			continue
		}
		if !l.begun.IsZero() && at.Before(l.begun.Add(time.Duration(l.policy.Steps[i].After))) && !l.hastened(i) {
			return nil
		}
		switch known, err := e.doneAlready(ctx, l, i, at); {
		case err != nil:
			return err
		case known && l.passed(i) && !e.undecided(e.doer(l, i), at):
			continue
		case known:
			return nil
		}
		if held, err := e.holdBack(ctx, l, i, at); held || err != nil {
			return err
		}
		if l.begun.IsZero() {
			l.begun = at
			if l.policy.Steps[i].After > 0 {
				return nil
			}
		}
		if err := e.begin(ctx, l, i, at); err != nil || l.beginning(i) {
			return err
		}
	}
	return nil
}

// beginning reports whether a step is on its way to its call. The next one waits for
// that, so that steps begin in order, but not for a peer that does not answer: a
// gateway that is down must not keep a rollback from running.
func (l *ladder) beginning(i int) bool {
	a := l.rungs[i].current
	return a != nil && a.busy && !a.Status.InPlace() && a.held != gatePeer
}

// passed reports whether a step is not to be begun in this round: it was already,
// it is still in place from an earlier one or waits for a person since then, it cannot be done twice, or a person
// took it back.
func (l *ladder) passed(i int) bool {
	r := &l.rungs[i]
	switch {
	case r.settled, r.round == l.round:
		return true
	case r.current == nil || r.round == 0:
		return false
	default:
		status := r.current.Status
		done := !r.current.kind.Reversible() && status != gatewarden.ActionSkipped && status != gatewarden.ActionExpired
		return r.current.pending() || done
	}
}

// withdraw ends what still waits for a person when the breach is over. When that comes back,
// the person is asked again.
func (e *Engine) withdraw(ctx context.Context, l *ladder, at time.Time) error {
	reason := "the breach was over before anybody approved it"
	switch {
	case l.closed:
		reason = "the whole answer was taken back"
	case l.released != "":
		reason = l.released
	}
	var errs []error
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.Status == gatewarden.ActionWaiting && !a.busy {
			err := e.record(ctx, a, change{at: at, to: gatewarden.ActionSkipped, reason: reason})
			l.descended = l.descended || err == nil
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lapse ends what nobody has approved in time. It does not come up again until the breach
// was over and is back.
func (e *Engine) lapse(ctx context.Context, l *ladder, at time.Time) error {
	within := l.policy.ApprovalExpires
	if within <= 0 || e.pause() != nil {
		return nil // during a pause nobody can approve
	}
	var errs []error
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.waits() && !at.Before(a.PlannedAt.Add(within)) {
			err := e.record(ctx, a, change{at: at, to: gatewarden.ActionExpired, reason: "nobody approved it within " + gatewarden.Duration(within).String()})
			l.lapsed = l.lapsed || err == nil
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// holdBack stops the next step at the first gate that is shut, and says so once.
func (e *Engine) holdBack(ctx context.Context, l *ladder, i int, at time.Time) (bool, error) {
	gate, reason := e.gate(l, i, at)
	if gate == "" {
		return false, nil
	}
	a := e.plan(l, i, at)
	if l.policy.Mode == gatewarden.ModeObserve {
		if l.begun.IsZero() {
			l.begun = at
		}
		return true, e.observeOnly(ctx, a, at, "observe mode: would not have begun to "+Describe(&a.Spec)+": "+reason)
	}
	return true, e.hold(ctx, a, at, gate, "not begun: "+reason)
}

// hold records that a gate stopped an action, once for each gate.
func (e *Engine) hold(ctx context.Context, a *action, at time.Time, gate, reason string) error {
	if a.held == gate {
		return nil
	}
	if err := e.record(ctx, a, change{at: at, to: gatewarden.ActionSkipped, reason: reason}); err != nil {
		return err
	}
	a.held = gate
	e.metrics.held.WithLabelValues(gate).Inc()
	return nil
}

// plan returns the action of a step in this round, which may have been held before.
func (e *Engine) plan(l *ladder, i int, at time.Time) *action {
	r := &l.rungs[i]
	id := l.actionID(i+1, l.round)
	if r.current == nil || r.current.ID != id {
		r.current = newAction(l, gatewarden.Action{
			ID: id, Policy: l.policy.Name, Ladder: l.id, Step: i + 1,
			Spec: l.policy.Steps[i], Trigger: l.trigger, Mode: l.policy.Mode,
		})
	}
	r.current.PlannedAt = at
	return r.current
}

// begin lets a step through the last gate, the policy's mode.
func (e *Engine) begin(ctx context.Context, l *ladder, i int, at time.Time) error {
	a := e.plan(l, i, at)
	switch l.policy.Mode {
	case gatewarden.ModeObserve:
		return e.observeOnly(ctx, a, at, "observe mode: would "+Describe(&a.Spec)+", because "+l.trigger.Reason)
	case gatewarden.ModeEnforce:
		e.actions[a.ID] = a
		l.rungs[i].round = l.round
		e.start(a, e.apply)
		return nil
	default: // approve, and what a newer version may know: ask
		err := e.record(ctx, a, change{at: at, to: gatewarden.ActionWaiting,
			reason: "waits for approval to " + Describe(&a.Spec) + ", because " + l.trigger.Reason})
		if err == nil {
			l.rungs[i].round = l.round
		}
		return err
	}
}

// observeOnly records what a step would have come to.
func (e *Engine) observeOnly(ctx context.Context, a *action, at time.Time, reason string) error {
	err := e.record(ctx, a, change{at: at, to: gatewarden.ActionSkipped, reason: reason})
	if err == nil {
		a.observed = true
		a.ladder.rungs[a.Step-1].round = a.ladder.round
	}
	return err
}

// expire takes back what nobody has renewed in time.
func (e *Engine) expire(ctx context.Context, l *ladder, at time.Time) error {
	var errs []error
	for _, r := range slices.Backward(l.rungs) {
		a := r.current
		if a == nil || !a.revertible() || a.LeaseUntil == nil || at.Before(*a.LeaseUntil) {
			continue
		}
		errs = append(errs, e.takeBack(ctx, a, at, "", fmt.Sprintf("its lease ran out at %s without being renewed", a.LeaseUntil.UTC().Format(time.RFC3339))))
	}
	return errors.Join(errs...)
}

// renew extends the leases while the danger, or the wait after it, can be seen. It
// writes when a third of the lease is used up, not with every tick. During a pause
// what is in place is not kept beyond the breach.
func (e *Engine) renew(ctx context.Context, l *ladder, at time.Time) error {
	if l.condition == blind || (l.condition == calm && e.pause() != nil) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for i := range l.rungs {
		a := l.rungs[i].current
		if a == nil || !a.revertible() || a.LeaseUntil == nil || a.LeaseUntil.Sub(at) > l.policy.Lease*2/3 {
			continue
		}
		until := at.Add(l.policy.Lease)
		if err := e.cfg.Leases.Put(ctx, a.ID, until); err != nil {
			e.metrics.unwritten.Inc()
			return fmt.Errorf("renewing the lease of %s: %w", a.ID, err)
		}
		a.LeaseUntil = &until
		e.publish()
		if x, ok := e.cfg.Executors[a.kind].(Renewer); ok && !a.busy && a.Status == gatewarden.ActionApplied {
			e.start(a, func(ctx context.Context, a *action) { e.renewOutside(ctx, a, x) })
		}
	}
	return nil
}

// descend takes steps back, the last one first, when it has been calm for long
// enough or a person said so. A step is taken back when the one above it is, or has
// at least been tried: one that fails is tried on, but does not keep the others in
// place. With Stepwise each Revert.After takes back one.
func (e *Engine) descend(ctx context.Context, l *ladder, at time.Time) error {
	for _, r := range slices.Backward(l.rungs) {
		a := r.current
		switch {
		case a == nil || !a.Spec.Kind.Reversible() || (a.stays() && !l.closed):
			continue
		case a.busy && a.tries == 0 && (!l.over() || !a.revertible()):
			return nil // its call comes to an end first
		case !a.revertible():
			continue
		}
		reason, due := e.due(l, at)
		if !due {
			return nil
		}
		if err := e.takeBack(ctx, a, at, "", reason); err != nil {
			return err
		}
		l.descents++
		return nil
	}
	return nil
}

// due reports whether the next step is to be taken back, and why.
func (e *Engine) due(l *ladder, at time.Time) (string, bool) {
	switch {
	case l.closed:
		return "the whole answer is taken back", true
	case l.released != "":
		return l.released, true
	}
	if e.pause() != nil {
		return "", false
	}
	n := 1
	if l.policy.Revert.Stepwise {
		n += l.descents
	}
	who := l.trigger.Name + " has"
	if l.ofRun() {
		who = "all SLOs have"
	}
	return fmt.Sprintf("%s been well for %s", who, gatewarden.Duration(at.Sub(l.calmSince).Round(time.Second))), l.wellFor(n, at)
}

// finish ends a ladder of which nothing is left to do.
func (e *Engine) finish(ctx context.Context, l *ladder, at time.Time) error {
	reason := e.endOf(l, at)
	if reason == "" || l.unfinished() {
		return nil
	}
	if l.recorded {
		e.failpoint(failLadderFinished)
		_, err := e.append(ctx, gatewarden.Event{
			At: at, Type: gatewarden.EventAction, Name: l.id, State: gatewarden.LadderEnded,
			Severity: l.trigger.Severity.String(), Reason: reason,
		})
		if err != nil {
			return err
		}
		e.remember(l, at)
	}
	e.drop(l)
	return nil
}

// remember keeps of an ended ladder what later ones need to know.
func (e *Engine) remember(l *ladder, at time.Time) {
	if !l.ofRun() {
		e.noteEnd(l, at)
		return
	}
	e.noteEnd(l, l.lastBegun())
	for id, ended := range e.answered {
		if at.Sub(ended) > forgetRuns {
			delete(e.answered, id)
		}
	}
	e.answered[l.id] = at
}

// noteEnd keeps when a ladder of a key ended; of one that answers a run only when that is
// the latest.
func (e *Engine) noteEnd(l *ladder, at time.Time) {
	ends := []map[string]time.Time{e.lastEnd}
	if l.policy.Mode != gatewarden.ModeObserve {
		ends = append(ends, e.lastDone)
	}
	for _, end := range ends {
		if !l.ofRun() || at.After(end[l.key]) {
			end[l.key] = at
		}
	}
}

// outgrown returns the mode in which the rules let a policy do more than observe, when the
// ladder only observes; "" otherwise.
func (e *Engine) outgrown(l *ladder) gatewarden.Mode {
	p, known := e.rules.policies[l.policy.Name]
	if l.policy.Mode != gatewarden.ModeObserve || !known || p.Mode == gatewarden.ModeObserve {
		return ""
	}
	return p.Mode
}

// endOf says why nothing of the ladder would be left to do, and "" while there is.
func (e *Engine) endOf(l *ladder, at time.Time) string {
	switch {
	case l.released != "":
		return l.released
	case l.ofRun() && l.closed:
		return "it was taken back, and " + l.sum()
	case l.moves:
		return ""
	case l.ofRun() && l.wellFor(1, at):
		return "the answer to the run is through, and " + l.sum()
	case l.ofRun():
		return ""
	case l.wellFor(1, at):
		return fmt.Sprintf("%s is well again and %s", l.trigger.Name, l.sum())
	case e.outgrown(l) != "":
		return fmt.Sprintf("%s only observed, and its mode is %s now", l.policy.Name, e.outgrown(l))
	case l.condition == blind && !e.rules.answered(l):
		return fmt.Sprintf("%s is no longer in the rules, and %s", l.trigger.Name, l.sum())
	case l.condition == blind && at.Sub(l.blindSince) >= forgetAfter:
		return fmt.Sprintf("%s could not be judged for %s, and %s", l.trigger.Name, gatewarden.Duration(forgetAfter), l.sum())
	default:
		return ""
	}
}

// sum says what became of the steps.
func (l *ladder) sum() string {
	back, stays := 0, 0
	for i := range l.rungs {
		switch a := l.rungs[i].current; {
		case a == nil:
		case a.Status == gatewarden.ActionReverted:
			back++
		case a.standing(), a.Status == gatewarden.ActionLeft, a.Status == gatewarden.ActionUnknown, a.Status == gatewarden.ActionIneffective:
			stays++
		}
	}
	switch {
	case back == 0 && stays == 0:
		return "nothing had been changed"
	case stays == 0:
		return fmt.Sprintf("everything is put back (%d)", back)
	default:
		return fmt.Sprintf("what can be put back is (%d), the rest stays (%d)", back, stays)
	}
}
