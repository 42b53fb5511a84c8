package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden"
)

// verifies returns how long after its end a step's effect is waited for, 0 for not at
// all.
func verifies(s *gatewarden.Step) time.Duration {
	if s.Jenkins == nil {
		return 0
	}
	return time.Duration(s.Jenkins.Verify)
}

// patience is how long the steps after a job whose effect is waited for wait for a peer in
// which it cannot be begun: as long as a proxy that is loaded anew may take, and not as long
// as a Jenkins that starts.
const patience = 10 * time.Second

// undecided reports whether the steps after the action wait for it to help. They wait from
// its first call, but not for a peer in which it cannot be begun. Once it is, an answer that
// failed before that matters no more.
func (e *Engine) undecided(a *action, at time.Time) bool {
	switch {
	case a == nil || verifies(&a.Spec) == 0:
		return false
	case a.Status == gatewarden.ActionStarted, a.busy && a.StartedAt == nil:
		return a.trouble == nil || at.Sub(a.troubled).Abs() < patience || e.runsOutside(a)
	default:
		return a.verifying()
	}
}

// doer returns the action that does a step of a ladder, which may be another ladder's; nil
// when there is none.
func (e *Engine) doer(l *ladder, i int) *action {
	a := l.rungs[i].current
	if a == nil || a.Status != gatewarden.ActionSkipped {
		return a
	}
	if other := e.actions[knownBy(&a.Action)]; other != nil {
		return other
	}
	return a
}

// verifying reports whether the action is done and it is not known yet whether that
// helped.
func (a *action) verifying() bool {
	return a.Status == gatewarden.ActionApplied && a.VerifiedAt == nil && verifies(&a.Spec) > 0 && !a.ladder.over()
}

// verify says of what is done whether it helped. A breach that cannot be judged is waited
// for beyond the time.
func (e *Engine) verify(ctx context.Context, l *ladder, at time.Time) error {
	var errs []error
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.verifying() && a.AppliedAt != nil {
			errs = append(errs, e.verifyOne(ctx, a, at))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) verifyOne(ctx context.Context, a *action, at time.Time) error {
	l, within := a.ladder, verifies(&a.Spec)
	since := gatewarden.Duration(at.Sub(*a.AppliedAt).Round(time.Second))
	late := at.Sub(*a.AppliedAt) - within
	who := l.trigger.Name + " is"
	if l.ofRun() {
		who = "all SLOs are"
	}
	switch {
	case e.recovered(l):
		return e.record(ctx, a, change{at: at, to: a.Status, verified: true, reason: fmt.Sprintf("it helped: %s well, %s after it was done", who, since)})
	case late < 0:
		return nil
	case l.condition != blind:
		return e.record(ctx, a, change{at: at, to: gatewarden.ActionIneffective, reason: fmt.Sprintf("it was done, but the breach has lasted for %s since, so the next step is due", since)})
	case late >= forgetAfter || !e.rules.answered(l):
		return e.record(ctx, a, change{at: at, to: a.Status, verified: true, reason: fmt.Sprintf("whether it helped could not be judged for %s", since)})
	default:
		return nil
	}
}

// recovered reports whether what a ladder climbs for is over. One that answers a run
// knows of no breach of its own: no SLO may be in outage or page.
func (e *Engine) recovered(l *ladder) bool {
	if l.ofRun() {
		return !e.urgent()
	}
	return l.condition == calm
}

// urgent reports whether any SLO is in outage or pages.
func (e *Engine) urgent() bool {
	for _, v := range e.verdicts {
		if fires(v, gatewarden.SeverityOutage) || fires(v, gatewarden.SeverityPage) {
			return true
		}
	}
	return false
}
