package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// logDelay is how long a request may take to be in the log after the change is in
	// force: Kong gathers records for a second by default, and sends them.
	logDelay = 3 * time.Second
	// watchWindow is how far back is looked for a sign.
	watchWindow = 10 * time.Second
	// leastAgainst is how many requests must speak against a change: a few that began before
	// it and took long are no proof.
	leastAgainst = 5
	// strayShare is the share of requests that may speak against a change that is in force:
	// the same slow ones.
	strayShare = 0.1
)

// Shower is an Executor that knows how its changes show in the traffic.
type Shower interface {
	Executor
	// Sign returns how an applied action shows and by when, and false when that cannot be
	// told by requests. When the error is unavailable, or the call ran into its deadline, it is asked again.
	Sign(ctx context.Context, a gatewarden.Action) (sign gatewarden.Sign, ok bool, err error)
}

// Watch counts what the requests of [from, to) say of a sign. known is false when there
// can be no telling, such as while no source delivers.
type Watch interface {
	Effect(sign *gatewarden.Sign, from, to time.Time) (e gatewarden.Effect, known bool)
}

// watchable reports whether it is still to be seen whether the action shows in the traffic.
// What the moves of a run come to is seen by its judge, and an adaptive limit by what steers
// it.
func (a *action) watchable() bool {
	if a.kind == gatewarden.StepShare || a.kind == gatewarden.StepAdaptive || a.kind == gatewarden.StepAlertmanager {
		return false
	}
	return a.kind.Reversible() && a.standing() && a.AppliedAt != nil && a.VerifiedAt == nil
}

// signAgain is how long after a question for a sign that got no answer it is put again.
const signAgain = 5 * time.Second

// learnSign asks the executor how what it has just done shows. Of what cannot be told nobody
// looks for a sign; an answer that did not come is asked for again.
func (e *Engine) learnSign(ctx context.Context, a *action) {
	snapshot := e.snapshot(a)
	x, ok := e.cfg.Executors[a.kind].(Shower)
	e.mu.Lock()
	wanted := a.watchable() && e.cfg.Watch != nil && !e.closing && e.leads()
	e.mu.Unlock()
	if !ok || !wanted {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	sign, ok, err := x.Sign(ctx, snapshot)
	e.mu.Lock()
	defer e.mu.Unlock()
	said := !a.askSign.IsZero()
	a.askSign = time.Time{}
	switch {
	case retryable(err):
		a.askSign = e.cfg.Now().Add(signAgain)
		if !said {
			e.cfg.Logger.Warn("whether a change shows in the traffic is not known yet; asking again", "action", a.id, "error", err)
		}
	case err != nil:
		e.cfg.Logger.Warn("whether a change shows in the traffic is not looked for", "action", a.id, "error", err)
	case ok:
		a.sign = &sign
	}
}

// watch looks whether the changes of a ladder show in the traffic within the time that the
// gateway's settings allow. One that does not is unverified, and hastens the next step.
func (e *Engine) watch(ctx context.Context, l *ladder, at time.Time) error {
	for i := range l.rungs {
		a := l.rungs[i].current
		if a == nil || a.busy || !a.watchable() {
			continue
		}
		if a.sign == nil {
			if !a.askSign.IsZero() && !at.Before(a.askSign) {
				e.start(a, e.learnSign)
			}
			continue
		}
		if err := e.watchOne(ctx, a, at); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) watchOne(ctx context.Context, a *action, at time.Time) error {
	due := a.AppliedAt.Add(a.sign.Within)
	from := due
	if !a.sign.Every {
		from = *a.AppliedAt // what shows it, shows it at any time
	}
	if late := at.Add(-watchWindow); late.After(from) {
		from = late
	}
	if !from.Before(at) {
		return nil
	}
	effect, known := e.cfg.Watch.Effect(a.sign, from, at)
	if !known {
		return nil
	}
	since := gatewarden.Duration(at.Sub(*a.AppliedAt).Round(time.Second))
	figures := fmt.Sprintf("of %s in the last %s, %d are as they should be and %d are not", a.sign.Text, gatewarden.Duration(at.Sub(from).Round(time.Second)), effect.For, effect.Against)
	against := float64(effect.Against) > strayShare*float64(effect.For+effect.Against)
	switch {
	case effect.For > 0 && !against:
		return e.record(ctx, a, change{at: at, to: gatewarden.ActionApplied, shown: true, reason: fmt.Sprintf("the traffic shows it, %s after it was done: %s", since, figures)})
	case a.Status == gatewarden.ActionUnverified || effect.Against < leastAgainst || !against || at.Before(due.Add(logDelay)):
		return nil
	default:
		return e.record(ctx, a, change{at: at, to: gatewarden.ActionUnverified, reason: fmt.Sprintf(
			"it was done %s ago and should show in the traffic since %s, but it does not: %s; the next step is due",
			since, gatewarden.Duration(at.Sub(due).Round(time.Second)), figures)})
	}
}

// hastened reports whether a step is due at once, because the one before it does not show
// in the traffic.
func (l *ladder) hastened(i int) bool {
	if i == 0 {
		return false
	}
	a := l.rungs[i-1].current
	return a != nil && a.Status == gatewarden.ActionUnverified
}
