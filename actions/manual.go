package actions

import (
	"cmp"
	"context"
	"errors"

	"github.com/gatewarden/gatewarden"
)

// somebody stands for a person who did not say who they are.
const somebody = "somebody"

// Approve lets a waiting action begin, or all those of a ladder. Errors: not_found;
// conflict when it does not wait, or while the guard is paused.
func (e *Engine) Approve(ctx context.Context, id, by string) error {
	by = cmp.Or(by, somebody)
	return e.eachWaiting(id, func(a *action) error {
		if p := e.pause(); p != nil {
			return gatewarden.Errorf(gatewarden.Conflict, "%s paused the guard", p.By).WithHint("resume it first")
		}
		if err := e.record(ctx, a, change{at: e.cfg.Now(), to: gatewarden.ActionWaiting, by: by, reason: by + " approved it"}); err != nil {
			return err
		}
		e.start(a, e.apply)
		return nil
	})
}

// Reject ends a waiting action, or all those of a ladder, undone; they do not come
// up again while the same breach lasts. Errors as of Approve.
func (e *Engine) Reject(ctx context.Context, id, by, reason string) error {
	by = cmp.Or(by, somebody)
	text := by + " rejected it"
	if reason != "" {
		text += ": " + reason
	}
	return e.eachWaiting(id, func(a *action) error {
		err := e.record(ctx, a, change{at: e.cfg.Now(), to: gatewarden.ActionSkipped, by: by, reason: text})
		if err == nil {
			a.ladder.rungs[a.Step-1].settled = true
		}
		return err
	})
}

// eachWaiting does something to a waiting action, or to all those of a ladder.
func (e *Engine) eachWaiting(id string, do func(*action) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(); err != nil {
		return err
	}
	if l := e.ladderByID(id); l != nil {
		found := false
		for i := range l.rungs {
			if a := l.rungs[i].current; a != nil && a.waits() {
				found = true
				if err := do(a); err != nil {
					return err
				}
			}
		}
		if !found {
			return gatewarden.Errorf(gatewarden.Conflict, "nothing of %s waits for approval", id)
		}
		return nil
	}
	a, err := e.known(id)
	if err != nil {
		return err
	}
	if !a.waits() {
		return gatewarden.Errorf(gatewarden.Conflict, "%s does not wait for approval, it is %s", id, a.Status)
	}
	return do(a)
}

// waits reports whether it waits for a person who has not answered yet.
func (a *action) waits() bool { return a.Status == gatewarden.ActionWaiting && !a.busy }

// Revert takes an action back, or a whole ladder, and keeps it from being done again
// while the same breach lasts. It returns when the intent is in the journal. Errors:
// not_found; conflict when there is nothing that can be taken back.
func (e *Engine) Revert(ctx context.Context, id, by string) error {
	by = cmp.Or(by, somebody)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(); err != nil {
		return err
	}
	if l := e.ladderByID(id); l != nil {
		return e.closeLadder(ctx, l, by)
	}
	a, err := e.known(id)
	switch {
	case err != nil:
		return err
	case a.ladder.ended && a.inPlace():
		return gatewarden.Errorf(gatewarden.Conflict, "%s is no longer the guard's to take back: a newer run of %s has begun", id, a.Trigger.Name).WithHint("its undo says how to do it by hand")
	case !a.Spec.Kind.Reversible():
		return gatewarden.Errorf(gatewarden.Conflict, "%s cannot be taken back: a %s step is done once and for all", id, a.Spec.Kind)
	case !a.revertible():
		return gatewarden.Errorf(gatewarden.Conflict, "%s is not in place, it is %s", id, a.Status)
	}
	if a.ladder.moves {
		// The weights from before the run come back, so the run is not to move on.
		return e.closeLadder(ctx, a.ladder, by)
	}
	if err := e.takeBack(ctx, a, e.cfg.Now(), by, by+" takes it back"); err != nil {
		return err
	}
	a.ladder.rungs[a.Step-1].settled = true
	return nil
}

// closeLadder takes a whole ladder back; it climbs no more while its breach lasts.
func (e *Engine) closeLadder(ctx context.Context, l *ladder, by string) error {
	if l.closed {
		return gatewarden.Errorf(gatewarden.Conflict, "%s is being taken back already", l.id)
	}
	now := e.cfg.Now()
	_, err := e.append(ctx, gatewarden.Event{
		At: now, Type: gatewarden.EventAction, Name: l.id, State: gatewarden.LadderClosed,
		Severity: l.trigger.Severity.String(), Reason: by + " takes the whole answer back", By: by,
	})
	if err != nil {
		return err
	}
	l.closed, l.recorded = true, true
	l.cutShort()
	return errors.Join(e.withdraw(ctx, l, now), e.descend(ctx, l, now))
}

// cutShort ends what is only being prepared before anything is changed; a call under
// way is cut short when it is taken back.
func (l *ladder) cutShort() {
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.busy && !a.Status.InPlace() {
			a.cancel()
		}
	}
}

// ready refuses what people ask for before Start and after Close.
func (e *Engine) ready() error {
	if !e.started || e.closing {
		return gatewarden.Errorf(gatewarden.Unavailable, "the guard is starting or stopping")
	}
	if !e.leads() {
		return gatewarden.Errorf(gatewarden.Conflict, "this guard does not lead").WithHint("ask the one that does")
	}
	return nil
}

func (e *Engine) ladderByID(id string) *ladder {
	for _, l := range e.ladders {
		if l.id == id {
			return l
		}
	}
	return nil
}

// known returns the action of that id, once it has been decided on.
func (e *Engine) known(id string) (*action, error) {
	a, ok := e.actions[id]
	if !ok || a.Status == "" {
		err := gatewarden.Errorf(gatewarden.NotFound, "there is no action or active ladder %q", id)
		return nil, err.WithHint("%s", "gatewarden actions lists them")
	}
	return a, nil
}
