package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Start reads the journal and takes up what was under way when the guard stopped:
// calls whose outcome is not known are made again, reverts go on, what has outlived
// its lease is reverted, the rest is adopted. It is called once, before the first
// Tick. After an error too what was taken up goes on, so Close must be called.
//
// A ladder of before goes on with the policy of now when its steps are still what
// they were; otherwise it climbs no more, and what is in place is taken back as the
// actions themselves say.
func (e *Engine) Start(ctx context.Context, at time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started {
		return gatewarden.Errorf(gatewarden.Internal, "the engine of actions was started twice")
	}
	past, err := readPast(ctx, e.cfg.Journal)
	if err != nil {
		return fmt.Errorf("reading the journal for what was under way: %w", err)
	}
	e.adopt(past)
	if err := e.recall(ctx, at); err != nil {
		return err
	}
	if err := e.adoptLeases(ctx); err != nil {
		return fmt.Errorf("reading the leases: %w", err)
	}
	e.started = true
	e.publish()
	if !e.leads() {
		return nil
	}
	var errs []error
	if e.halted != nil {
		errs = append(errs, e.tellHalted(ctx, nil, e.halted))
	}
	for _, l := range e.ladders {
		errs = append(errs, e.expire(ctx, l, at))
		if l.moves {
			errs = append(errs, e.replaceHeld(ctx, l, at))
		}
		if l.released != "" {
			errs = append(errs, e.takeHalfBack(ctx, l, at))
		}
		for i := range l.rungs {
			if a := l.rungs[i].current; a != nil {
				e.takeUp(a, at)
			}
		}
		if l.over() {
			errs = append(errs, e.withdraw(ctx, l, at), e.descend(ctx, l, at))
		}
	}
	e.removeOrphans()
	e.measure(at)
	return errors.Join(errs...)
}

// takeUp sets a goroutine to what was under way.
func (e *Engine) takeUp(a *action, at time.Time) {
	switch {
	case a.busy:
	case a.Status == gatewarden.ActionReverting:
		e.start(a, e.revert)
	case a.Status == gatewarden.ActionWaiting && a.By != "": // approved, not begun
		e.start(a, e.apply)
	case a.watchable():
		e.start(a, e.learnSign)
	case a.Status != gatewarden.ActionStarted:
	case a.Spec.Kind.Reversible(), at.Sub(e.seen).Abs() < a.ladder.policy.Lease, e.runsOutside(a):
		e.start(a, e.apply)
	default:
		// A job that was perhaps never triggered must not be triggered hours later. When the last
		// event is of the future, how long ago that was is not known.
		e.start(a, func(ctx context.Context, a *action) {
			e.settleOrLog(ctx, a, change{to: gatewarden.ActionUnknown, reason: "the guard was away for longer than a lease while this was under way, please look whether it was done"})
		})
	}
}

// runsOutside reports whether what an action began goes on without the guard: to take it up
// begins nothing.
func (e *Engine) runsOutside(a *action) bool {
	x, ok := e.cfg.Executors[a.kind].(Follower)
	return ok && x.Begun(a.Memo)
}

// past is what the journal says happened, folded.
type past struct {
	actions map[string]*gatewarden.Action
	byHand  map[string]bool // actions that a person took back or rejected
	ladders []*pastLadder   // in the order in which they began
	paused  *Pause
	orders  map[string]*ordinals
	changes uint64    // of actions
	seen    time.Time // the last sign of life of a guard: when the last event was written, by its clock
}

type pastLadder struct {
	id       string
	begun    *gatewarden.Event // how a ladder that answers a run began, nil for others
	actions  []string          // ids, in the order in which they came up
	joined   []string          // SLOs that held it up besides the one that began it
	closed   bool
	released string
	ended    time.Time // zero while it is active
}

// first returns the event's or the action's word on what the ladder is.
func (l *pastLadder) first(p *past) *gatewarden.Action {
	if l.begun != nil {
		return l.begun.Action
	}
	return p.actions[l.actions[0]]
}

// readPast folds the journal.
func readPast(ctx context.Context, j Journal) (*past, error) {
	p := &past{actions: make(map[string]*gatewarden.Action), byHand: make(map[string]bool), orders: make(map[string]*ordinals)}
	ladders := make(map[string]*pastLadder)
	for event, err := range j.All(ctx, gatewarden.EventAction) {
		if err != nil {
			return nil, err
		}
		p.seen = event.At
		switch {
		case event.Name == gatewarden.PauseFileName: // whether the file is there is seen by looking
		case event.State == gatewarden.GuardPaused:
			p.paused = &Pause{By: event.By, Reason: event.Reason, At: event.At}
		case event.State == gatewarden.GuardResumed:
			p.paused = nil
		case event.State == gatewarden.LadderBegun && event.Action != nil:
			p.ladder(event.Name, ladders).begun = &event
		case event.State == gatewarden.LadderClosed, event.State == gatewarden.LadderReleased, event.State == gatewarden.LadderEnded:
			if l := ladders[event.Name]; l != nil {
				l.see(&event)
			}
		case joins(&event):
			if l := ladders[event.Action.Ladder]; l != nil {
				l.joined = append(l.joined, event.Action.Trigger.Name)
			}
		case event.Action != nil:
			p.fold(&event, ladders)
		}
	}
	return p, nil
}

// joins reports whether an event says that a ladder answers one more SLO; see Engine.tellJoined.
func joins(event *gatewarden.Event) bool {
	return event.Action != nil && event.Action.Step == 0 && event.Action.Status == gatewarden.ActionSkipped
}

// see takes in what became of the whole ladder.
func (l *pastLadder) see(event *gatewarden.Event) {
	switch event.State {
	case gatewarden.LadderClosed:
		l.closed = true
	case gatewarden.LadderReleased:
		l.released = event.Reason
	default:
		l.ended = event.At
	}
}

// ladder returns the ladder of that id, a new one when it is not known yet.
func (p *past) ladder(id string, ladders map[string]*pastLadder) *pastLadder {
	l := ladders[id]
	if l == nil {
		l = &pastLadder{id: id}
		ladders[id] = l
		p.ladders = append(p.ladders, l)
	}
	return l
}

func (p *past) fold(event *gatewarden.Event, ladders map[string]*pastLadder) {
	a := *event.Action
	before := gatewarden.ActionStatus("")
	l := p.ladder(a.Ladder, ladders)
	if was, seen := p.actions[a.ID]; seen {
		before = was.Status
	} else {
		l.actions = append(l.actions, a.ID)
		p.orders[a.ID] = &ordinals{}
	}
	if a.Status == gatewarden.ActionWaiting || inPlace(&a) {
		l.ended = time.Time{} // its end was written without the guard's hearing so, and it went on
	}
	p.changes++
	p.orders[a.ID].note(before, a.Status, p.changes)
	p.actions[a.ID] = &a
	if event.By != "" && (a.Status == gatewarden.ActionReverting || a.Status == gatewarden.ActionSkipped) {
		p.byHand[a.ID] = true
	}
}

// adopt rebuilds the ladders.
func (e *Engine) adopt(p *past) {
	e.paused, e.changes, e.seen = p.paused, p.changes, p.seen
	for _, old := range p.ladders {
		l := e.rebuild(p, old)
		if old.ended.IsZero() {
			e.ladders = append(e.ladders, l)
		} else {
			l.ended = true
			e.remember(l, old.ended)
		}
	}
	e.prune()
}

// rebuild makes a ladder of what the journal says about its actions.
func (e *Engine) rebuild(p *past, old *pastLadder) *ladder {
	first := old.first(p)
	if first.Spec.Kind == gatewarden.StepShare {
		return e.rebuildMoves(p, old, first)
	}
	policy, known := e.rules.policies[first.Policy]
	steps := 0
	for _, id := range old.actions {
		a := p.actions[id]
		steps = max(steps, a.Step)
		known = known && a.Step >= 1 && a.Step <= len(policy.Steps) && sameStep(&a.Spec, &policy.Steps[a.Step-1])
	}
	if !known {
		policy = gatewarden.ActionPolicy{
			Name: first.Policy, Steps: make([]gatewarden.Step, max(steps, 1)),
			Revert: policy.Revert, Lease: policy.Lease, Limits: policy.Limits, Mode: gatewarden.ModeEnforce,
		}
		if policy.Revert.After == 0 {
			policy.Revert = gatewarden.RevertPolicy{After: defaultRevertAfter, Stepwise: true}
		}
		for _, id := range old.actions {
			if a := p.actions[id]; a.Step >= 1 {
				policy.Steps[a.Step-1] = a.Spec
			}
		}
	}
	if first.Mode != "" {
		policy.Mode = first.Mode // what was only observed is not done because of a restart
	}
	l := newLadder(policy, first.Trigger)
	l.id, l.frozen, l.recorded = old.id, !known, true
	l.closed, l.released = old.closed, old.released
	for _, slo := range old.joined {
		l.answers[slo] = true
	}
	if old.begun != nil && len(old.actions) == 0 {
		l.begun = old.begun.At // no gate has kept it from beginning
	}
	for _, id := range old.actions {
		if a := p.actions[id]; a.Step >= 1 {
			e.rebuildRung(l, a, *p.orders[id], p.byHand[id])
		}
	}
	return l
}

// rebuildRung puts an action, in the order of the journal, where it belongs.
func (e *Engine) rebuildRung(l *ladder, past *gatewarden.Action, order ordinals, byHand bool) {
	a := newAction(l, *past)
	a.order = order
	e.actions[a.ID] = a
	r := &l.rungs[a.Step-1]
	if r.current != nil && r.current.pending() && !a.pending() {
		return // never lose sight of what is in place
	}
	r.current = a
	round := roundOf(past)
	if round > l.round {
		l.round, l.begun, l.descended, l.lapsed = round, time.Time{}, false, false
	}
	switch {
	case a.Status == gatewarden.ActionSkipped && knownBy(past) != "":
		r.round = round
	case a.Status == gatewarden.ActionSkipped && !byHand && l.policy.Mode == gatewarden.ModeObserve:
		a.observed = true
		r.round = round
	case a.Status == gatewarden.ActionSkipped && !byHand:
		return // held at a gate; it may pass when the breach lasts
	default:
		r.round = round
	}
	r.settled = r.settled || byHand
	if l.begun.IsZero() || a.PlannedAt.Before(l.begun) {
		l.begun = a.PlannedAt
	}
	if a.Status == gatewarden.ActionReverting || a.Status == gatewarden.ActionReverted {
		l.descended = l.descended || !byHand
	}
	// Whether one that failed was given up only because the breach was over is not known any
	// more: it is tried again when that comes back.
	l.lapsed = l.lapsed || a.Status == gatewarden.ActionExpired || a.Status == gatewarden.ActionFailed && a.kind.Reversible()
}

// sameStep reports whether two steps do the same. The configuration of a plugin has
// been through JSON on one side, where all numbers are alike.
func sameStep(a, b *gatewarden.Step) bool {
	return normal(a) == normal(b)
}

// adoptLeases takes the renewed leases over, and clears away those of actions that
// are no longer in place.
func (e *Engine) adoptLeases(ctx context.Context) error {
	leases, err := e.cfg.Leases.All(ctx)
	if err != nil {
		return err
	}
	for id, until := range leases {
		a := e.actions[id]
		if a == nil || !a.inPlace() || a.stays() {
			if err := e.cfg.Leases.Delete(ctx, id); err != nil {
				return err
			}
			continue
		}
		if a.LeaseUntil == nil || a.LeaseUntil.Before(until) {
			a.LeaseUntil = &until
		}
	}
	return nil
}

// removeOrphans lets the executors that can do so clear away what no action in the
// journal accounts for.
func (e *Engine) removeOrphans() {
	var asked []OrphanRemover
	kinds := make([]gatewarden.StepKind, 0, len(e.cfg.Executors))
	for kind := range e.cfg.Executors {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		x, ok := e.cfg.Executors[kind].(OrphanRemover)
		if !ok || !reflect.TypeOf(x).Comparable() || slices.Contains(asked, x) {
			continue
		}
		asked = append(asked, x)
		e.work.Go(func() { e.removeOrphansOf(x) })
	}
}

func (e *Engine) removeOrphansOf(x OrphanRemover) {
	for n := 0; !e.stopping(); n++ {
		err := e.removeOrphansOnce(x)
		if err == nil {
			return
		}
		e.cfg.Logger.Warn("looking for changes that nobody accounts for failed", "error", err)
		if !retryable(err) || !e.wait(e.run, n) {
			return
		}
	}
}

func (e *Engine) removeOrphansOnce(x OrphanRemover) error {
	ctx, cancel := context.WithTimeout(e.run, e.cfg.CallTimeout)
	defer cancel()
	orphans, err := x.Orphans(ctx, e.accountsFor)
	if err != nil {
		return err
	}
	var again error   // what is worth another try
	var final []error // what is not; it keeps no other orphan in place
	for _, o := range orphans {
		if e.stopping() {
			return nil
		}
		if e.accountsFor(o.Action) {
			continue
		}
		if err := x.RemoveOrphan(ctx, o); err != nil {
			if retryable(err) {
				again = err
			} else {
				final = append(final, err)
			}
			continue
		}
		name := o.Action
		if name == "" {
			name = o.ID
		}
		e.mu.Lock()
		_, err := e.append(ctx, gatewarden.Event{
			At: e.cfg.Now(), Type: gatewarden.EventAction, Name: name, State: string(gatewarden.ActionReverted),
			Reason: "removed what no action in the journal accounts for: " + o.Change,
		})
		e.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if again != nil {
		return again
	}
	return errors.Join(final...)
}

// accountsFor reports whether a change that carries the id of an action is to stay:
// the action is in place or being done, or somebody decided to leave it.
func (e *Engine) accountsFor(actionID string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, ok := e.actions[actionID]
	if !ok {
		return false
	}
	switch a.Status {
	case gatewarden.ActionReverted, gatewarden.ActionFailed, gatewarden.ActionExpired:
		return false
	case gatewarden.ActionSkipped:
		return a.busy
	default:
		return true
	}
}

// normal is a step as JSON writes it.
func normal(s *gatewarden.Step) string {
	data, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
