package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
)

// refusedAgain is how long a move waits that Kong's state forbids, or of which nothing
// came, before it is tried again: a deployment may be on its way.
const refusedAgain = 5 * time.Second

// MoveRequest asks for a share of the requests for the canary of a run. One action
// answers (run, Run.Step, Step.Percent).
type MoveRequest struct {
	Run  *gatewarden.Run
	Step gatewarden.ShareStep
	Mode gatewarden.Mode
}

// MoveLadder returns the id of the ladder that holds the moves of a run: what a person
// reverts to put the weights from before the run back.
func MoveLadder(runID string) string { return "move-" + runID }

func (m *MoveRequest) actionID() string {
	return MoveLadder(m.Run.ID) + "-" + strconv.Itoa(m.Run.Step) + "-" + strconv.FormatFloat(m.Step.Percent, 'f', -1, 64)
}

// Move brings a run's canary to its share. It is called with each tick until it reports
// done; calls to Kong are made meanwhile. While not done, the error says what keeps it:
// "paused by X", no approval yet, Kong's refusal; it is nil while the call is under way.
// In observe mode it is done when the journal has what would have been done. A newer
// move of the run takes the place of one that is not done yet.
//
// One action holds the weights for a run: that of the last move. It knows the weights
// from before the run, and gives them back when a person reverts it or the ladder
// (MoveLadder); the run cannot move on after that. Health, and a guard that was away,
// do not take it back: it has no lease.
//
// Ladders that answer SLOs come first. What such a ladder has set or drained stays so
// while it lasts, whatever a run's moves say of these targets; when it is undone, they
// get what the run has set by then.
func (e *Engine) Move(ctx context.Context, at time.Time, m MoveRequest) (done bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(); err != nil {
		return false, err
	}
	if m.Run == nil || m.Run.ID == "" || !(m.Step.Percent >= 0 && m.Step.Percent <= 100) || math.IsNaN(m.Step.Percent) {
		return false, gatewarden.Errorf(gatewarden.Invalid, "a move needs a run and a share between 0 and 100 %%")
	}
	l, err := e.moveLadder(&m)
	if err != nil {
		if a := e.actions[m.actionID()]; a != nil && (a.abandoned() || a.observed) {
			return true, nil
		}
		return false, err
	}
	a := l.move(&m)
	if err := e.push(ctx, l, at); err != nil {
		return false, err
	}
	return a.moved()
}

// moveLadder returns the ladder that holds the moves of a run, a new one for the first.
func (e *Engine) moveLadder(m *MoveRequest) (*ladder, error) {
	id := MoveLadder(m.Run.ID)
	l := e.ladderByID(id)
	_, ended := e.answered[id]
	switch {
	case l == nil && ended, l != nil && l.released != "":
		return nil, gatewarden.Errorf(gatewarden.Conflict, "the weights are no longer those of run %s: they were taken back, or a newer run has begun", m.Run.ID)
	case l != nil && l.closed:
		return nil, gatewarden.Errorf(gatewarden.Conflict, "the weights from before run %s were put back, so it moves no further", m.Run.ID)
	case l != nil:
		return l, nil
	}
	l = newMoves(m.Run.Canary, id, gatewarden.Trigger{
		Kind: gatewarden.EventGate, Name: m.Run.Canary, Since: m.Run.StartedAt, Reason: "run " + m.Run.ID + " began",
	})
	e.ladders = append(e.ladders, l)
	return l, nil
}

func newMoves(canary, id string, t gatewarden.Trigger) *ladder {
	name := "canary/" + canary // no policy can have that name
	return &ladder{
		id: id, key: name, moves: true, condition: burning, trigger: t, round: 1,
		policy: gatewarden.ActionPolicy{Name: name},
	}
}

// move returns the action that a request means, the newest of its ladder when it is new.
func (l *ladder) move(m *MoveRequest) *action {
	id := m.actionID()
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.id == id {
			return a
		}
	}
	trigger := l.trigger
	if m.Run.Reason != "" {
		trigger.Reason = m.Run.Reason
	}
	step := gatewarden.Step{Kind: gatewarden.StepShare, Share: &m.Step}
	a := newAction(l, gatewarden.Action{
		ID: id, Policy: l.policy.Name, Ladder: l.id, Step: len(l.rungs) + 1,
		Spec: step, Trigger: trigger, Mode: m.Mode,
	})
	l.policy.Steps = append(l.policy.Steps, step)
	l.rungs = append(l.rungs, rung{current: a})
	return a
}

// moved says whether a move is done, and if not, what keeps it; no error while its call
// is under way. The code is unavailable as long as it may come about.
func (a *action) moved() (bool, error) {
	switch {
	case a.observed, a.Status == gatewarden.ActionApplied, a.Status == gatewarden.ActionReplaced && a.AppliedAt != nil:
		return true, nil
	case a.Status == gatewarden.ActionReplaced:
		return false, gatewarden.Errorf(gatewarden.Conflict, "a newer move of the run took the place of %s", a.id)
	case a.Status == gatewarden.ActionWaiting && !a.busy:
		return false, gatewarden.Errorf(gatewarden.Unavailable, "%s waits for approval", a.id).WithHint("gatewarden actions approve %s", a.id)
	case a.ladder.rungs[a.Step-1].settled:
		return false, gatewarden.Errorf(gatewarden.Conflict, "%s was rejected or taken back", a.id)
	case a.trouble == nil && a.ended():
		return false, gatewarden.Errorf(gatewarden.Conflict, "%s is %s", a.id, a.Status).WithHint("gatewarden actions %s says why", a.id)
	case a.trouble != nil && !a.ended():
		return false, gatewarden.Errorf(gatewarden.Unavailable, "%w", a.trouble) // a pause, or Kong: it is tried again
	default:
		return false, a.trouble
	}
}

// ended reports whether nothing more becomes of the action by itself.
func (a *action) ended() bool {
	switch a.Status {
	case gatewarden.ActionFailed, gatewarden.ActionUnknown, gatewarden.ActionReverted, gatewarden.ActionLeft, gatewarden.ActionReplaced:
		return true
	default:
		return false
	}
}

// push brings the newest move of a run further. It waits for an older one that is not
// done to be cut short.
func (e *Engine) push(ctx context.Context, l *ladder, at time.Time) error {
	if len(l.rungs) == 0 || l.over() {
		return nil
	}
	goal := l.rungs[len(l.rungs)-1].current
	for i := range l.rungs[:len(l.rungs)-1] {
		a := l.rungs[i].current
		switch {
		case a == nil:
		case a.busy:
			a.overtaken = true
			a.cancel()
			return nil // it pushes on when it rests
		case a.Status == gatewarden.ActionWaiting:
			if err := e.record(ctx, a, change{at: at, to: gatewarden.ActionSkipped, reason: "a newer move of the run takes its place"}); err != nil {
				return err
			}
		}
	}
	open := goal != nil && (goal.Status == "" || goal.Status == gatewarden.ActionSkipped)
	if !open || goal.busy || goal.observed || l.rungs[goal.Step-1].settled || at.Before(goal.retryAt) {
		return nil
	}
	return e.beginMove(ctx, goal, at)
}

// beginMove lets a move through the gates.
func (e *Engine) beginMove(ctx context.Context, a *action, at time.Time) error {
	a.PlannedAt = at
	switch {
	case a.Mode == gatewarden.ModeObserve:
		return e.observeOnly(ctx, a, at, "observe mode: would "+Describe(&a.Spec)+", because "+a.Trigger.Reason)
	case e.pause() != nil:
		a.trouble = gatewarden.Errorf(gatewarden.Conflict, "paused by %s: %s", e.pause().By, e.pause().Reason)
		return e.holdMove(ctx, a, at, gatePaused, a.trouble)
	case a.Mode == gatewarden.ModeEnforce:
		a.Memo, a.trouble = a.ladder.memoBefore(a), nil
		a.retryAt = at.Add(refusedAgain)
		e.actions[a.id] = a
		e.start(a, e.apply)
		return nil
	default: // approve, and what a newer version may know: ask
		a.Memo = a.ladder.memoBefore(a)
		return e.record(ctx, a, change{at: at, to: gatewarden.ActionWaiting,
			reason: "waits for approval to " + Describe(&a.Spec) + ", because " + a.Trigger.Reason})
	}
}

// unsettledBefore returns what a move waits for: weights that an earlier run of the canary was about
// to set when it was released, and that are not put back yet. They would be taken for what was there
// before this run.
func (e *Engine) unsettledBefore(a *gatewarden.Action) error {
	if a.Spec.Kind != gatewarden.StepShare {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.ladders {
		if l.id == a.Ladder || l.released == "" || l.trigger.Name != a.Trigger.Name {
			continue
		}
		for i := range l.rungs {
			if b := l.rungs[i].current; b != nil && b.stays() && (b.Status == gatewarden.ActionStarted || b.Status == gatewarden.ActionReverting) {
				return gatewarden.Errorf(gatewarden.Unavailable, "the weights of %s are still being put back", b.id)
			}
		}
	}
	return nil
}

// memoBefore returns the memo of the move that holds the weights before a.
func (l *ladder) memoBefore(a *action) json.RawMessage {
	for _, r := range slices.Backward(l.rungs[:a.Step-1]) {
		if b := r.current; b != nil && (b.Status == gatewarden.ActionApplied || b.Status == gatewarden.ActionReplaced) {
			return b.Memo
		}
	}
	return nil
}

// holdMove records that a gate stopped a move, once for each reason.
func (e *Engine) holdMove(ctx context.Context, a *action, at time.Time, gate string, why error) error {
	held := gate + ": " + why.Error()
	if a.held == held {
		return nil
	}
	if err := e.record(ctx, a, change{at: at, to: gatewarden.ActionSkipped, reason: "not begun: " + why.Error()}); err != nil {
		return err
	}
	a.held = held
	e.metrics.held.WithLabelValues(gate).Inc()
	return nil
}

// refused ends an attempt at a move before anything was changed. What Kong's state
// forbids now it may allow later.
func (e *Engine) refused(ctx context.Context, a *action, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case a.overtaken:
		err = gatewarden.Errorf(gatewarden.Conflict, "a newer move of the run takes its place")
	case a.ladder.over():
		err = gatewarden.Errorf(gatewarden.Conflict, "it was taken back before it had begun")
	case e.pause() != nil:
		err = gatewarden.Errorf(gatewarden.Conflict, "paused by %s: %s", e.pause().By, e.pause().Reason)
	}
	now := e.cfg.Now()
	a.trouble, a.retryAt = err, now.Add(refusedAgain)
	if err := e.holdMove(ctx, a, now, gateRefused, err); err != nil {
		e.logUnsettled(a, err) // the next attempt says it
	}
}

// isOvertaken reports whether a newer move takes the place of a call under way.
func (e *Engine) isOvertaken(a *action) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return a.overtaken && a.Status == gatewarden.ActionStarted
}

// noteTrouble keeps what a call came to for whoever asks for the move.
func (e *Engine) noteTrouble(a *action, c change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.trouble = nil
	if c.to != gatewarden.ActionApplied {
		a.trouble = errors.New(c.reason)
	}
}

// outdated returns the moves whose hold on the weights a newer one has.
func (l *ladder) outdated() (list []*action) {
	held, calling := false, false
	for _, r := range slices.Backward(l.rungs) {
		switch a := r.current; {
		case a == nil:
		case a.Status == gatewarden.ActionApplied && held, a.Status == gatewarden.ActionStarted && (held || calling):
			list = append(list, a)
		case a.Status == gatewarden.ActionApplied:
			held = true
		case a.Status == gatewarden.ActionStarted:
			calling = true
		}
	}
	return list
}

func replacedBy(l *ladder) string {
	return fmt.Sprintf("the next move of the run of %s holds the weights now", l.trigger.Name)
}

// replaceEarlier ends the moves before one that has just been applied.
func (e *Engine) replaceEarlier(ctx context.Context, l *ladder) {
	e.mu.Lock()
	list := l.outdated()
	e.mu.Unlock()
	for _, a := range list {
		held := func() bool { return a.Status == gatewarden.ActionApplied || a.Status == gatewarden.ActionStarted }
		e.logUnsettled(a, e.settle(ctx, a, held, change{to: gatewarden.ActionReplaced, reason: replacedBy(l)}))
	}
}

// replaceHeld is replaceEarlier for what a restart found.
func (e *Engine) replaceHeld(ctx context.Context, l *ladder, at time.Time) error {
	var errs []error
	for _, a := range l.outdated() {
		errs = append(errs, e.record(ctx, a, change{at: at, to: gatewarden.ActionReplaced, reason: replacedBy(l)}))
	}
	return errors.Join(errs...)
}

// rebuildMoves makes a ladder of what the journal says about the moves of a run.
func (e *Engine) rebuildMoves(p *past, old *pastLadder, first *gatewarden.Action) *ladder {
	l := newMoves(first.Trigger.Name, old.id, first.Trigger)
	l.closed, l.released, l.recorded = old.closed, old.released, true
	for _, id := range old.actions {
		a := newAction(l, *p.actions[id])
		a.order = *p.orders[id]
		for len(l.rungs) < a.Step {
			l.rungs = append(l.rungs, rung{})
			l.policy.Steps = append(l.policy.Steps, a.Spec)
		}
		a.observed = a.Status == gatewarden.ActionSkipped && a.Mode == gatewarden.ModeObserve
		l.rungs[a.Step-1] = rung{current: a, settled: p.byHand[id]}
		e.actions[a.id] = a
	}
	return l
}
