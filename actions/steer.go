package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Steerer says where the limits of adaptive steps are to be. It is asked with each tick,
// under the engine's lock, and by the goroutines at work on actions.
type Steerer interface {
	// Begin returns where a limit begins that is about to be put in place.
	Begin(step *gatewarden.AdaptiveStep, at time.Time) (gatewarden.Limit, error)
	// Steer looks at what a limit in place came to.
	Steer(step *gatewarden.AdaptiveStep, limit gatewarden.Limit, at time.Time) Steering
}

// Steering is what a Steerer says of a limit in place.
type Steering struct {
	To     *gatewarden.Limit // where it is to go, nil when it is to stay
	Reason string            // one plain sentence, when it is to go
	Binds  bool              // it keeps requests back: its ladder is not to descend
}

// Adjuster is an Executor of adaptive steps.
type Adjuster interface {
	Executor
	// Adjust brings a change that is in place to a.Limit, idempotently. The outcome's Status
	// is applied; or left when somebody else changed it meanwhile: then it was not touched.
	Adjust(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error)
}

// steered is what the running engine knows of an adaptive limit.
type steered struct {
	binds   bool
	brought time.Time // the Since of the limit that the executor was last brought to; zero after a restart
	left    bool      // somebody else changed the plugin: the limit goes nowhere any more
	retryAt time.Time // when a call that failed is made again
}

// limitOf returns where an adaptive action begins, nil for another. It passes on what
// preparing it came to.
func (e *Engine) limitOf(a *action, prepared error) (*gatewarden.Limit, error) {
	if prepared != nil || a.kind != gatewarden.StepAdaptive {
		return nil, prepared
	}
	if e.cfg.Steerer == nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "the engine of actions has nothing to steer a limit by")
	}
	limit, err := e.cfg.Steerer.Begin(e.snapshot(a).Spec.Adaptive, e.cfg.Now())
	return &limit, err
}

// begun says where a limit begins.
func begun(limit *gatewarden.Limit) string {
	if limit == nil {
		return ""
	}
	return fmt.Sprintf(", %d to begin with", limit.Value)
}

// restrain keeps a ladder from descending while a limit of it keeps requests back: it is
// well because of that. During a pause nothing is kept beyond its breach.
func (l *ladder) restrain(at time.Time) {
	if l.condition == calm && l.binds() {
		l.calmSince, l.descents = at, 0
	}
}

func (l *ladder) binds() bool {
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.inPlace() && a.steered.binds {
			return true
		}
	}
	return false
}

// steer lets the limits of a ladder go where they are to be. The intent is in the journal
// before the call is made. A call whose end is not known, or that failed, is made again.
func (e *Engine) steer(ctx context.Context, l *ladder, at time.Time) error {
	var errs []error
	for i := range l.rungs {
		a := l.rungs[i].current
		if a == nil || a.kind != gatewarden.StepAdaptive || a.Status != gatewarden.ActionApplied || a.Limit == nil || e.cfg.Steerer == nil {
			continue
		}
		s := e.cfg.Steerer.Steer(a.Spec.Adaptive, *a.Limit, at)
		a.steered.binds = s.Binds
		held := a.busy || a.steered.left || l.over() || l.condition == blind || e.pause() != nil || at.Before(a.steered.retryAt)
		switch {
		case held:
		case !a.steered.brought.Equal(a.Limit.Since):
			// First of all: the peer has this limit or the one before, and a third would be
			// taken for somebody else's.
			e.start(a, e.adjust)
		case s.To != nil:
			errs = append(errs, e.redirect(ctx, a, s, at))
		}
	}
	return errors.Join(errs...)
}

// redirect puts the intent to change a limit into the journal, and sets a goroutine to it.
func (e *Engine) redirect(ctx context.Context, a *action, s Steering, at time.Time) error {
	if err := e.record(ctx, a, change{at: at, to: a.Status, limit: s.To, reason: s.Reason}); err != nil {
		return err
	}
	e.failpoint(failLimitDecided)
	e.start(a, e.adjust)
	return nil
}

// adjust brings one limit to where it is to be. What fails is tried again by a later tick;
// only then may the limit go on.
func (e *Engine) adjust(ctx context.Context, a *action) {
	wanted := e.snapshot(a)
	var outcome gatewarden.Outcome
	err := e.call(ctx, wanted, "adjust", func(ctx context.Context, x Executor, a gatewarden.Action) (err error) {
		adjuster, ok := x.(Adjuster)
		if !ok {
			return gatewarden.Errorf(gatewarden.Internal, "what carries out a step of kind %s cannot adjust it", a.Spec.Kind)
		}
		outcome, err = adjuster.Adjust(ctx, a)
		return err
	})
	e.noteCut(a, err != nil && (ctx.Err() != nil || retryable(err)))
	e.failpoint(failLimitCalled)
	switch {
	case e.stopping() || ctx.Err() != nil: // it is taken back, or taken up at the next start
	case err == nil && outcome.Status == gatewarden.ActionApplied:
		e.brought(a, wanted.Limit)
	case err == nil:
		e.notBrought(ctx, a, func() { a.steered.left = true }, change{reason: "the limit goes nowhere any more: " + outcome.Reason, outcome: &gatewarden.Outcome{Details: outcome.Details}})
	case retryable(err), wanted.Limit.Before <= 0, !e.broughtBefore(a):
		e.notBrought(ctx, a, func() { a.steered.retryAt = e.cfg.Now().Add(refusedAgain) }, change{reason: "the limit could not be changed yet, trying on: " + err.Error()})
	default: // the peer does not take it, so the one before stands
		back := *wanted.Limit
		back.Value, back.Before, back.Since = back.Before, back.Value, e.cfg.Now()
		e.notBrought(ctx, a, func() { a.steered.brought = back.Since }, change{limit: &back, reason: "the limit stays as it was: " + err.Error()})
	}
}

// broughtBefore reports whether this engine has brought the limit somewhere, from where it was
// to go elsewhere. One that was just put in place, or found at a start, has nowhere to go back to.
func (e *Engine) broughtBefore(a *action) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !a.steered.brought.IsZero()
}

// brought notes that a limit is where it is to be.
func (e *Engine) brought(a *action, limit *gatewarden.Limit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.steered.brought, a.steered.retryAt, a.trouble = limit.Since, time.Time{}, nil
	e.metrics.limits.WithLabelValues(a.Policy).Inc()
}

// notBrought notes that a limit could not be changed, and says so once for each trouble.
func (e *Engine) notBrought(ctx context.Context, a *action, note func(), c change) {
	e.mu.Lock()
	note()
	said := a.trouble != nil && a.trouble.Error() == c.reason
	a.trouble = errors.New(c.reason)
	e.mu.Unlock()
	if !said || c.limit != nil {
		applied := func() bool { return a.Status == gatewarden.ActionApplied }
		e.logUnsettled(a, e.settle(ctx, a, applied, c))
	}
}

// Quiet waits until no call is under way: for who drives the engine through time that is
// not real, between two ticks.
func (e *Engine) Quiet() { e.work.Wait() }
