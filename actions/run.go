package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	firstBackOff  = 500 * time.Millisecond
	longestWait   = 30 * time.Second
	defaultFollow = 30 * time.Minute // how long a Jenkins build is followed when the step does not say
	defaultHook   = 10 * time.Second // how long a webhook may take when the step does not say
)

// errHeld says that a call has changed nothing, because a pause holds it.
var errHeld = errors.New("held")

// errOvertaken says that a change no longer applies, because another came first.
var errOvertaken = errors.New("overtaken by another change")

// start sets a goroutine to work on an action; there is never more than one. It is
// called with mu held.
func (e *Engine) start(a *action, do func(context.Context, *action)) {
	if e.closing {
		return
	}
	ctx, cancel := context.WithCancel(e.run)
	a.busy, a.cancel = true, cancel
	e.work.Go(func() {
		defer cancel()
		defer e.rest(a)
		do(ctx, a)
	})
}

// rest ends the work on an action and lets its ladder go on without waiting for the
// next tick.
func (e *Engine) rest(a *action) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.busy = false
	if a.again && !e.closing {
		a.again = false
		e.start(a, e.revert)
		return
	}
	e.goOn(a.ladder)
}

// goOn lets a ladder climb or descend further between two ticks, on the verdicts of
// the last. It is called with mu held.
func (e *Engine) goOn(l *ladder) {
	if e.closing || !e.leads() {
		return
	}
	ctx, cancel := context.WithTimeout(e.run, writeTimeout)
	defer cancel()
	now := e.cfg.Now()
	onward := e.climb
	if l.moves {
		onward = e.push
	}
	if err := errors.Join(onward(ctx, l, now), e.descend(ctx, l, now)); err != nil {
		e.cfg.Logger.Warn("the next step has to wait for the next tick", "ladder", l.id, "error", err)
	}
}

// apply brings one action about: the outside is looked at, the intent goes into the
// journal, the call is made, its outcome goes into the journal.
func (e *Engine) apply(ctx context.Context, a *action) {
	e.failpoint(failPlanned)
	if e.snapshot(a).Status != gatewarden.ActionStarted && !e.prepare(ctx, a) {
		return
	}
	outcome, err := e.callApply(ctx, a)
	if err == nil && e.follows(a) {
		outcome, err = e.applyAgain(ctx, a)
	}
	e.noteCut(a, err != nil && (ctx.Err() != nil || retryable(err)))
	e.failpoint(failCalled)
	switch now := e.snapshot(a); {
	case now.Status == gatewarden.ActionReverting: // it was taken back meanwhile
		e.revert(ctx, a)
	case err != nil && e.isOvertaken(a):
		e.settleOrLog(ctx, a, change{to: gatewarden.ActionReplaced, reason: "cut short, because a newer move of the run takes its place"})
	case err != nil && e.stopping():
		// It stays started, and is taken up at the next start.
	case err != nil, outcome.Status == gatewarden.ActionFailed && a.kind.Reversible():
		e.fail(ctx, a, &outcome, err)
	default:
		e.conclude(ctx, a, outcome)
		e.learnSign(ctx, a)
	}
	e.failpoint(failApplied)
}

// prepare looks at the outside and puts the intent into the journal. It reports
// whether the call is to be made.
func (e *Engine) prepare(ctx context.Context, a *action) bool {
	var memo json.RawMessage
	err := e.attempt(ctx, a, "prepare", func(ctx context.Context, x Executor, a gatewarden.Action) (err error) {
		if err := e.unsettledBefore(&a); err != nil {
			return err
		}
		memo, err = x.Prepare(ctx, a)
		return err
	})
	e.failpoint(failPrepared)
	limit, err := e.limitOf(a, err)
	if err != nil {
		if !e.stopping() {
			e.notBegun(ctx, a, err)
		}
		return false
	}
	snapshot := e.snapshot(a)
	err = e.settle(ctx, a, func() bool {
		gate, _ := e.shutSince(a, e.cfg.Now())
		return gate == "" && !a.ladder.over() && !a.overtaken && !a.ladder.rungs[a.Step-1].settled
	},
		change{to: gatewarden.ActionStarted, memo: memo, limit: limit, reason: Describe(&snapshot.Spec) + begun(limit) + ", because " + snapshot.Trigger.Reason})
	switch {
	case errors.Is(err, errOvertaken) && e.heldAgain(ctx, a):
	case errors.Is(err, errOvertaken):
		e.notBegun(ctx, a, gatewarden.Errorf(gatewarden.Unavailable, "it was taken back before it had begun"))
	case gatewarden.ErrorCode(err) == gatewarden.Invalid: // its memo does not fit into the journal
		e.notBegun(ctx, a, err)
	}
	if err != nil {
		return false
	}
	e.failpoint(failStarted)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.goOn(a.ladder) // the next step may begin now
	return true
}

// notBegun ends an action of which nothing was done. One that was tried for as long as it was
// wanted is begun again when the breach comes back.
func (e *Engine) notBegun(ctx context.Context, a *action, err error) {
	if a.kind == gatewarden.StepShare {
		e.refused(ctx, a, err)
		return
	}
	c := change{to: gatewarden.ActionFailed, reason: "not done: " + err.Error()}
	if retryable(err) {
		c = change{to: gatewarden.ActionSkipped, reason: "not begun in time: " + err.Error()}
		e.climbAnew(a)
	}
	e.settleOrLog(ctx, a, c)
}

// climbAnew lets the ladder of an action that came to nothing begin a new round when its breach
// comes back.
func (e *Engine) climbAnew(a *action) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.ladder.descended = true
}

// callApply makes the call until it succeeds or no longer matters.
func (e *Engine) callApply(ctx context.Context, a *action) (outcome gatewarden.Outcome, err error) {
	save := func(memo json.RawMessage) error {
		err := e.settle(ctx, a, nil, change{memo: memo, reason: e.noted(a, memo)})
		e.failpoint(failSaved)
		return err
	}
	ctx = WithWithdrawn(ctx, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return a.ladder.closed
	})
	ctx = WithHeld(ctx, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if p := e.pause(); p != nil {
			return gatewarden.Errorf(gatewarden.Unavailable, "%w: %s", errHeld, p.says())
		}
		return nil
	})
	err = e.attempt(ctx, a, "apply", func(ctx context.Context, x Executor, a gatewarden.Action) (err error) {
		outcome, err = x.Apply(ctx, a, save)
		return err
	})
	return outcome, err
}

// applyAgain makes a call once more when what an earlier move asked for has come about: that
// was cut short for this one, and would lie on it.
func (e *Engine) applyAgain(ctx context.Context, a *action) (gatewarden.Outcome, error) {
	if !e.pass(ctx, afterCut) {
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Unavailable, "it ends before what was cut short for it has come about")
	}
	return e.callApply(ctx, a)
}

// noted says what a memo is that an executor has saved.
func (e *Engine) noted(a *action, memo json.RawMessage) string {
	if x, ok := e.cfg.Executors[a.kind].(Noter); ok {
		if text := x.Noted(memo); text != "" {
			return text
		}
	}
	return "noted what it will be recognised by"
}

// conclude writes down what a call came to.
func (e *Engine) conclude(ctx context.Context, a *action, outcome gatewarden.Outcome) {
	c := change{to: outcome.Status, reason: outcome.Reason, outcome: &outcome}
	switch outcome.Status {
	case gatewarden.ActionApplied, gatewarden.ActionFailed, gatewarden.ActionUnknown, gatewarden.ActionLeft:
	default:
		c.to = gatewarden.ActionUnknown
		c.reason = fmt.Sprintf("the executor answered with status %q, which says nothing: %s", outcome.Status, outcome.Reason)
	}
	e.noteTrouble(a, c)
	err := e.settle(ctx, a, func() bool { return a.Status == gatewarden.ActionStarted }, c)
	if errors.Is(err, errOvertaken) {
		e.revert(ctx, a) // it was taken back just now
	} else {
		e.logUnsettled(a, err)
	}
	if err == nil && a.kind == gatewarden.StepShare {
		e.replaceEarlier(ctx, a.ladder)
	}
}

// fail ends an action that could not be done. What can be reverted is, so that
// nothing half done stays.
func (e *Engine) fail(ctx context.Context, a *action, outcome *gatewarden.Outcome, err error) {
	reason := outcome.Reason
	if err != nil {
		reason = err.Error()
	}
	e.noteTrouble(a, change{to: gatewarden.ActionFailed, reason: reason})
	if !a.kind.Reversible() {
		c := change{to: gatewarden.ActionFailed, reason: reason, outcome: outcome}
		if retryable(err) { // it may have come through
			c.to, c.reason = gatewarden.ActionUnknown, "given up without an answer, please look: "+reason
		}
		e.settleOrLog(ctx, a, c)
		return
	}
	if retryable(err) {
		e.climbAnew(a) // it was tried for as long as it was wanted
	}
	err = e.settle(ctx, a, nil, change{to: gatewarden.ActionReverting, outcome: outcome, reason: "it failed, and what it may have changed is put back: " + reason})
	if err != nil {
		e.logUnsettled(a, err)
		return
	}
	e.revertTo(ctx, a, gatewarden.ActionFailed, reason)
}

// revert takes an action back whose intent to be reverted is in the journal.
func (e *Engine) revert(ctx context.Context, a *action) {
	e.revertTo(ctx, a, gatewarden.ActionReverted, "")
}

// revertTo takes an action back, for as long as that takes, and gives it the status
// it ends with when all is as it was before.
func (e *Engine) revertTo(_ context.Context, a *action, end gatewarden.ActionStatus, reason string) {
	// The context of the call that was cut short is of no more use.
	ctx, cancel := context.WithCancel(e.run)
	defer cancel()
	e.mu.Lock()
	a.again = false
	e.mu.Unlock()
	e.failpoint(failReverting)
	var outcome gatewarden.Outcome
	live := a
	putBack := func(ctx context.Context, x Executor, a gatewarden.Action) (err error) {
		if outcome, err = x.Revert(ctx, a); err == nil && outcome.Status != gatewarden.ActionReverted && outcome.Status != gatewarden.ActionLeft {
			err = fmt.Errorf("the executor answered with status %q: %s", outcome.Status, outcome.Reason)
		}
		if err == nil {
			e.noteUndone(live, &outcome)
		}
		return err
	}
	err := e.attempt(ctx, a, "revert", putBack)
	if err == nil && e.wasCut(a) {
		if !e.pass(ctx, afterCut) {
			return // the next start puts it back once more
		}
		err = e.attempt(ctx, a, "revert", putBack) // what was on its way has come by now
	}
	e.failpoint(failRevertCalled)
	if err != nil {
		return // only because the engine stops
	}
	c := change{to: outcome.Status, reason: outcome.Reason, outcome: &outcome}
	if outcome.Status == gatewarden.ActionReverted && end == gatewarden.ActionFailed {
		c.to, c.reason = end, reason+"; nothing of it is left"
	}
	if err := e.settle(ctx, a, nil, c); err != nil {
		e.logUnsettled(a, err)
		return
	}
	e.failpoint(failReverted)
	if err := e.cfg.Leases.Delete(ctx, a.id); err != nil {
		e.cfg.Logger.Warn("the lease of a reverted action stays until the next start", "action", a.id, "error", err)
	}
	e.failpoint(failLeaseDeleted)
}

// afterCut is how long a request may still come to the peer whose caller has gone away. What was put
// back meanwhile is put back once more.
const afterCut = time.Second

// noteCut notes whether a call was cut short, or got no answer: what it asked for may come about later.
func (e *Engine) noteCut(a *action, cut bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.cut = cut
}

// wasCut reports whether the last call was, once.
func (e *Engine) wasCut(a *action) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	cut := a.cut
	a.cut = false
	return cut
}

// follows reports whether a move takes the place of one whose last call was cut short, once.
func (e *Engine) follows(a *action) (cut bool) {
	if a.kind != gatewarden.StepShare {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range a.ladder.rungs[:a.Step-1] {
		if r.current != nil {
			cut = cut || r.current.cut
			r.current.cut = false
		}
	}
	return cut
}

// noteUndone lets the next call for the same thing know of a revert that is not in the
// journal yet.
func (e *Engine) noteUndone(a *action, outcome *gatewarden.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	undone := a.Action
	at := e.afterOthers(a, e.cfg.Now())
	undone.Status, undone.EndedAt = outcome.Status, &at
	if outcome.Memo != nil {
		undone.Memo = outcome.Memo
	}
	a.undone, a.order.undone = &undone, e.next()
}

// renewOutside tells an executor of a renewed lease.
func (e *Engine) renewOutside(ctx context.Context, a *action, x Renewer) {
	err := e.attempt(ctx, a, "renew", func(ctx context.Context, _ Executor, a gatewarden.Action) error { return x.Renew(ctx, a) })
	if err != nil && ctx.Err() == nil && !e.stopping() {
		e.cfg.Logger.Warn("what an action does outside may end before its lease", "action", a.id, "error", err)
	}
}

// attempt calls an executor until it succeeds, fails for good, no longer matters, or
// the engine stops or leads no more. Failures to revert are never for good.
func (e *Engine) attempt(ctx context.Context, a *action, call string, f func(context.Context, Executor, gatewarden.Action) error) error {
	for n := 0; ; {
		if call == "apply" {
			if err := e.untilResumed(ctx, a); err != nil {
				return err
			}
		}
		snapshot := e.snapshot(a)
		err := e.call(ctx, snapshot, call, f)
		switch {
		case err == nil:
			e.noteAnswer(a, call, nil)
			return nil
		case ctx.Err() != nil || (call != "revert" && !retryable(err)), e.stopping():
			return err
		case errors.Is(err, errHeld):
			continue // the peer has no part in it: untilResumed says so, and waits
		}
		e.noteAnswer(a, call, err)
		e.metrics.retries.WithLabelValues(string(snapshot.Spec.Kind), call).Inc()
		e.cfg.Logger.Warn("a call failed and is tried again", "action", a.id, "call", call, "attempt", n+1, "error", err)
		if n == 0 {
			e.sayRetrying(ctx, a, call, err)
		}
		if !e.wait(ctx, n) || (call != "revert" && !e.wanted(a)) {
			return err
		}
		n++
	}
}

// call makes one call, within its time.
func (e *Engine) call(ctx context.Context, a gatewarden.Action, call string, f func(context.Context, Executor, gatewarden.Action) error) (err error) {
	x, ok := e.cfg.Executors[a.Spec.Kind]
	if !ok {
		return gatewarden.Errorf(gatewarden.Invalid, "nothing here can carry out a step of kind %s", a.Spec.Kind).
			WithHint("is the address of its peer set in gatewarden.yaml?")
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout(&a.Spec, call))
	defer cancel()
	asked := a
	if name := changedBy(&a.Spec); name != "" {
		leave, err := e.enterUpstream(ctx, name)
		if err != nil {
			return err
		}
		defer leave()
		if layered, ok := x.(Layered); ok {
			var others []gatewarden.Action
			asked, others = e.overlapping(a)
			x = layered.Among(others)
		}
	}
	if e.stopping() { // it may have waited long for its turn
		return gatewarden.Errorf(gatewarden.Unavailable, "the guard stops, or leads no more")
	}
	begun := e.cfg.Now()
	ctx, end := e.cfg.Around(ctx, &a, call)
	defer func() { end(err) }()
	defer func() {
		e.metrics.calls.WithLabelValues(string(a.Spec.Kind), call).Observe(e.cfg.Now().Sub(begun).Seconds())
		// A defect in one executor must not take the whole guard down, and again at the
		// next start.
		if p := recover(); p != nil {
			err = gatewarden.Errorf(gatewarden.Internal, "the executor of %s panicked: %v", a.Spec.Kind, p)
		}
	}()
	return f(ctx, x, asked)
}

func (e *Engine) timeout(s *gatewarden.Step, call string) time.Duration {
	if call != "apply" && s.Alertmanager == nil {
		return e.cfg.CallTimeout
	}
	follow := time.Duration(0)
	switch {
	case s.Jenkins != nil:
		if follow = time.Duration(s.Jenkins.Wait); follow == 0 {
			follow = defaultFollow
		}
	case s.Webhook != nil:
		if follow = time.Duration(s.Webhook.Timeout); follow == 0 {
			follow = defaultHook
		}
	case s.Slack != nil:
		follow = time.Duration(s.Slack.Timeout)
	case s.Alertmanager != nil:
		follow = time.Duration(s.Alertmanager.Timeout)
	}
	return e.cfg.CallTimeout + follow
}

// sayRetrying tells the journal's readers that an action is having trouble.
func (e *Engine) sayRetrying(ctx context.Context, a *action, call string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	now := e.cfg.Now()
	var written error
	switch call {
	case "prepare":
		written = e.hold(ctx, a, now, gatePeer, "not begun yet, trying on: "+err.Error())
		e.goOn(a.ladder)
	case "renew": // the lease is longer than a few attempts take
	case "apply":
		written = e.record(ctx, a, change{at: now, to: a.Status, reason: "no answer yet, trying on: " + err.Error()})
	default:
		written = e.record(ctx, a, change{at: now, to: a.Status, reason: "could not be put back yet, trying on: " + err.Error()})
		a.tries++
		e.goOn(a.ladder)
	}
	e.logUnsettled(a, written)
}

// noteAnswer keeps why the calls fail that are to do an action, and since when; nil says that they
// do not, or that it is not known.
func (e *Engine) noteAnswer(a *action, call string, err error) {
	if call != "prepare" && call != "apply" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil || a.trouble == nil {
		a.trouble, a.troubled = err, e.cfg.Now()
	}
}

// wait sleeps before the next attempt, twice as long each time. It reports false
// when the engine stops or the action is taken back.
func (e *Engine) wait(ctx context.Context, n int) bool {
	return e.pass(ctx, min(firstBackOff<<min(n, 10), longestWait))
}

// pass is wait for a time.
func (e *Engine) pass(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-e.quit:
	}
	return false
}

// wanted reports whether an action that does not succeed is still worth trying: the
// breach lasts, or cannot be judged and has not been able to for less than a lease.
func (e *Engine) wanted(a *action) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := a.ladder
	switch {
	case l.over(), a.overtaken, l.condition == calm:
		return false
	case l.condition == blind:
		return l.blindSince.IsZero() || e.cfg.Now().Before(l.blindSince.Add(l.policy.Lease))
	default:
		return true
	}
}

// settle records a change from outside of a tick, and tries until the journal has
// it: what was done must not be forgotten because a disk was busy. With allowed
// false the change is not made and errOvertaken is returned.
func (e *Engine) settle(ctx context.Context, a *action, allowed func() bool, c change) error {
	for n := 0; ; n++ {
		err := e.settleOnce(ctx, a, allowed, c)
		if err == nil || !retryable(err) {
			return err
		}
		e.cfg.Logger.Error("the journal does not take what was done, trying on", "action", a.id, "status", c.to, "error", err)
		// Not cut short by the action's own context: it may be what ended the call.
		if !e.wait(e.run, n) {
			return err
		}
	}
}

func (e *Engine) settleOnce(ctx context.Context, a *action, allowed func() bool, c change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	if allowed != nil && !allowed() {
		return errOvertaken
	}
	if c.to == "" {
		c.to = a.Status
	}
	c.at = e.cfg.Now()
	return e.record(ctx, a, c)
}

func (e *Engine) settleOrLog(ctx context.Context, a *action, c change) {
	e.logUnsettled(a, e.settle(ctx, a, nil, c))
}

func (e *Engine) logUnsettled(a *action, err error) {
	if err != nil && !errors.Is(err, errOvertaken) {
		e.cfg.Logger.Error("the journal did not take what became of an action; the next start finds it as it was", "action", a.id, "error", err)
	}
}

// takeBack puts the intent to revert into the journal and sets a goroutine to it. A
// call under way is cut short, and its goroutine goes on to revert. It is called
// with mu held.
func (e *Engine) takeBack(ctx context.Context, a *action, at time.Time, by, reason string) error {
	e.failpoint(failRevertPlanned)
	if err := e.record(ctx, a, change{at: at, to: gatewarden.ActionReverting, reason: reason, by: by}); err != nil {
		return err
	}
	if by == "" {
		a.ladder.descended = true
	}
	a.tries = 0
	if a.busy {
		a.again = true
		a.cancel()
		return nil
	}
	e.start(a, e.revert)
	return nil
}

func (e *Engine) snapshot(a *action) gatewarden.Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	return a.Action
}

// stopping reports whether no call is to be made any more: the engine is being closed, or
// another guard leads, which has taken up what is under way.
func (e *Engine) stopping() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closing || e.run.Err() != nil || !e.leads()
}

// retryable reports whether a call may succeed when it is made again.
func retryable(err error) bool {
	return gatewarden.ErrorCode(err) == gatewarden.Unavailable || errors.Is(err, context.DeadlineExceeded)
}
