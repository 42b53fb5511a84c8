package actions

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Pause says who paused the guard, when and why.
type Pause struct {
	By     string
	Reason string
	At     time.Time
}

func (p *Pause) says() string { return fmt.Sprintf("%s paused the guard: %s", p.By, p.Reason) }

// Pause stops the engine from beginning anything and from climbing down. What is in
// place stays while the breach lasts; after that its lease runs out. It holds over
// restarts.
func (e *Engine) Pause(ctx context.Context, by, reason string) error {
	p := &Pause{By: cmp.Or(by, somebody), Reason: cmp.Or(reason, "no reason given"), At: e.cfg.Now()}
	return e.setPause(ctx, p, gatewarden.Event{
		At: p.At, State: gatewarden.GuardPaused, By: p.By, Reason: p.Reason,
	})
}

// Resume ends a pause. Error: conflict when there is none, and while a file holds the
// guard.
func (e *Engine) Resume(ctx context.Context, by string) error {
	by = cmp.Or(by, somebody)
	return e.setPause(ctx, nil, gatewarden.Event{
		At: e.cfg.Now(), State: gatewarden.GuardResumed, By: by, Reason: by + " resumed the guard",
	})
}

func (e *Engine) setPause(ctx context.Context, p *Pause, event gatewarden.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(); err != nil {
		return err
	}
	switch {
	case p == nil && e.paused == nil && e.halted != nil:
		return gatewarden.Errorf(gatewarden.Conflict, "%s pauses the guard", e.halted.By).WithHint("remove the file")
	case p == nil && e.paused == nil:
		return gatewarden.Errorf(gatewarden.Conflict, "the guard is not paused")
	}
	event.Type, event.Name = gatewarden.EventAction, gatewarden.GuardName
	if _, err := e.append(ctx, event); err != nil {
		return err
	}
	e.paused = p
	e.publish()
	return nil
}

// Halt pauses the guard for as long as a file is there, nil when it is gone. It is a
// pause of its own beside that of a person, holds whether or not the journal takes it,
// and is not remembered over a restart: the file is. Who calls it does so before Start
// too, so that nothing is begun before the file was looked at.
func (e *Engine) Halt(ctx context.Context, p *Pause) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.halted
	e.halted = p
	e.publish()
	if (was == nil) == (p == nil) || !e.started || !e.leads() {
		return nil // what is so before Start, that writes down
	}
	return e.tellHalted(ctx, was, p)
}

// tellHalted writes down that a file holds the guard, or that the one that did is gone.
func (e *Engine) tellHalted(ctx context.Context, was, p *Pause) error {
	event := gatewarden.Event{At: e.cfg.Now(), Type: gatewarden.EventAction, Name: gatewarden.PauseFileName, State: gatewarden.GuardResumed}
	if p != nil {
		event.State, event.Reason = gatewarden.GuardPaused, p.By+" is there: "+p.Reason
	} else {
		event.Reason = was.By + " is gone"
	}
	if _, err := e.append(ctx, event); err != nil {
		return fmt.Errorf("writing that %s to the journal: %w", event.Reason, err)
	}
	return nil
}

// pause returns the pause in force, nil when there is none. It is called with mu held.
func (e *Engine) pause() *Pause {
	if e.halted != nil {
		return e.halted
	}
	return e.paused
}

// shutSince returns the gate that was shut while an action was being prepared, and why; ""
// when there is none. What a person has approved, and the moves of a run, only a pause holds.
// It is called with mu held.
func (e *Engine) shutSince(a *action, at time.Time) (gate, reason string) {
	if p := e.pause(); p != nil {
		return gatePaused, p.says()
	}
	if a.By != "" || a.ladder.moves {
		return "", ""
	}
	return e.timeGate(a.ladder, a.Step-1, at)
}

// heldAgain puts an action back before the gates that was about to begin when one of them
// was shut, such as by a pause, and reports false when none was. Nothing but a look was done
// for it; it begins when the gate is open, if it is still wanted then.
func (e *Engine) heldAgain(ctx context.Context, a *action) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	now, l := e.cfg.Now(), a.ladder
	gate, reason := e.shutSince(a, now)
	if gate == "" || l.over() || a.overtaken || l.moves {
		return false
	}
	l.rungs[a.Step-1].round = l.round - 1
	a.By = "" // who approved it is asked again
	e.logUnsettled(a, e.hold(ctx, a, now, gate, "not begun: "+reason))
	return true
}

// lookAgain is how often a call that a pause holds looks whether that is over.
const lookAgain = 250 * time.Millisecond

// untilResumed holds a call of an action that has begun for as long as the guard is
// paused: a call under way may end, but none is made, or made again. It returns an error
// when the action is not wanted any more.
func (e *Engine) untilResumed(ctx context.Context, a *action) error {
	said := false
	for {
		e.mu.Lock()
		p := e.pause()
		e.mu.Unlock()
		if p == nil {
			return nil
		}
		if !said {
			said = true
			e.noteAnswer(a, "apply", nil)
			e.settleOrLog(ctx, a, change{reason: "begun, and held because " + p.says()})
		}
		timer := time.NewTimer(lookAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-e.quit:
		}
		timer.Stop()
		if ctx.Err() != nil || e.stopping() || !e.wanted(a) {
			return gatewarden.Errorf(gatewarden.Unavailable, "held for as long as it was wanted: %s", p.says())
		}
	}
}
