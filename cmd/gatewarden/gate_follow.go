package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/report"
)

// How a follower asks.
const (
	longPoll   = 10 * time.Second // shorter than what proxies take for silence
	liveLine   = time.Second      // between looks, where somebody watches
	answerIn   = 15 * time.Second // for an answer that need not be waited for
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
	// Jenkins kills five seconds after it has asked a process to end.
	lastWord  = 3 * time.Second // for cancelling when we are told to end
	lingering = 2 * time.Second // for the answer to a start that is under way then
	forever   = time.Duration(math.MaxInt64)
	// A run has its answer at its deadline; a minute later it will not come.
	overdue = time.Minute
)

// follower follows one run, over restarts of the guard and cuts of the network.
type follower struct {
	client      *client
	canary, by  string
	timeout     time.Duration // 0: from the run's deadline
	unreachable time.Duration // how long the guard may be silent
	wait        time.Duration // of one look
	say         func(format string, args ...any)
	show        func(run *gatewarden.Run)
	told        func() // called when we are told to end, before the run is cancelled

	heard  time.Time // when the guard last answered
	silent bool      // it has not answered since
	found  bool      // the run was over when it was found
}

// errTimeout is why a context ends at --timeout.
var errTimeout = errors.New("the time of --timeout is over")

// judge starts the run, or takes up the one with the given id, and follows it to its
// end, or to ours.
func (f *follower) judge(ctx context.Context, id string, req api.RunRequest) ending {
	f.heard = time.Now()
	asked := ctx
	if f.timeout > 0 {
		var cancel context.CancelFunc
		asked, cancel = context.WithTimeoutCause(ctx, f.timeout, errTimeout)
		defer cancel()
	}
	run, err := f.begin(asked, id, req)
	if err == nil {
		f.found = run.Over()
		run, err = f.follow(asked, run)
	}
	switch {
	case err == nil:
		return answered(run)
	case ctx.Err() != nil:
		return f.interrupted(ctx, run, id, req.Key)
	case errors.Is(err, errTimeout):
		return f.timedOut(ctx, run, req.Key)
	case run.ID != "":
		err = fmt.Errorf("%w; the run goes on at the guard, `gatewarden gate %s --run %s` takes it up", err, f.canary, run.ID)
	}
	return failed(run, err)
}

// answered is the ending of a run that is over.
func answered(run gatewarden.Run) ending {
	end := ending{report: report.Report{Run: run}}
	switch run.State {
	case gatewarden.RunPass:
	case gatewarden.RunFail:
		end.code = exitFail
	case gatewarden.RunInconclusive, gatewarden.RunCancelled:
		end.code = exitOpen
	default:
		return failed(run, fmt.Errorf("the guard says that run %s is %q, which is no state: is it newer than this command?", run.ID, run.State))
	}
	return end
}

// begin starts the run, or finds it.
func (f *follower) begin(ctx context.Context, id string, req api.RunRequest) (gatewarden.Run, error) {
	nothing := gatewarden.Run{Canary: f.canary}
	var run gatewarden.Run
	err := f.persist(ctx, func() error {
		if id != "" {
			return f.ask(ctx, f.patience(0), http.MethodGet, f.runPath(id), nil, &run)
		}
		// The answer to a start is waited for a little even when we are told to end: it
		// names what is to be cancelled.
		starting, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(lingering, cancel) })()
		return f.ask(starting, f.patience(0), http.MethodPost, f.canaryPath(), req, &run)
	})
	if err != nil {
		return nothing, err
	}
	if run.Canary != f.canary {
		return nothing, gatewarden.Errorf(gatewarden.Invalid, "run %s is of the canary %s, not of %s", run.ID, run.Canary, f.canary)
	}
	return run, nil
}

func (f *follower) canaryPath() string {
	return "/api/v1/canaries/" + url.PathEscape(f.canary) + "/runs"
}

func (f *follower) runPath(id string) string {
	if id == "latest" {
		return f.canaryPath() + "/latest"
	}
	return "/api/v1/runs/" + url.PathEscape(id)
}

// follow looks at the run until it is over, and returns it as it was last seen.
func (f *follower) follow(ctx context.Context, run gatewarden.Run) (gatewarden.Run, error) {
	if f.timeout == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, untilOverdue(&run), errTimeout)
		defer cancel()
	}
	for f.show(&run); !run.Over(); f.show(&run) {
		began := time.Now()
		var next gatewarden.Run
		err := f.persist(ctx, func() error { return f.look(ctx, &run, &next) })
		if err != nil {
			return run, err
		}
		run = next
		// A proxy may not wait for the guard: we are not to ask without a pause.
		if rest := min(f.wait, liveLine) - time.Since(began); !run.Over() && rest > 0 {
			if err := pause(ctx, rest); err != nil {
				return run, err
			}
		}
	}
	return run, nil
}

// untilOverdue is how long to wait for an answer at most. It reckons by the guard's clock,
// which ours need not agree with.
func untilOverdue(run *gatewarden.Run) time.Duration {
	now := run.StartedAt
	if run.Verdict != nil && run.Verdict.At.After(now) {
		now = run.Verdict.At
	}
	return max(run.Deadline.Sub(now), 0) + overdue
}

// look asks once for the run, which the guard answers when its state has changed, or
// when it has waited long enough.
func (f *follower) look(ctx context.Context, run, next *gatewarden.Run) error {
	wait := min(f.wait, max(f.unreachable/2, time.Second))
	if f.silent {
		wait = 0 // to know soon that it is there again
	}
	query := url.Values{"wait": {gatewarden.Duration(wait).String()}, "seen": {string(run.State)}}
	*next = gatewarden.Run{} // of an answer before that broke off
	return f.ask(ctx, f.patience(wait), http.MethodGet, f.runPath(run.ID)+"?"+query.Encode(), nil, next)
}

// patience is how long one request may take which the guard is to answer after wait: a
// guard that takes requests and says nothing is no more reachable than one that is gone.
func (f *follower) patience(wait time.Duration) time.Duration {
	left := f.unreachable - time.Since(f.heard)
	return min(wait+answerIn, max(left, wait+time.Second))
}

// ask sends one request for a run, and expects an answer in time.
func (f *follower) ask(ctx context.Context, within time.Duration, method, path string, body any, run *gatewarden.Run) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := f.client.send(ctx, method, path, body, run); err != nil {
		return err
	}
	if run.ID == "" || run.State == "" {
		return statusError{http.StatusOK, fmt.Sprintf("%s answers %s %s with something that is no run: is that a gatewarden?", f.client.shown(), method, path)}
	}
	return nil
}

// jittered is a pause of half to all of retry: many that lost one guard do not come back in
// step.
func jittered(retry time.Duration) time.Duration { return retry/2 + rand.N(retry/2) }

// persist tries until it works, the guard has been silent for too long, its answer says
// that another try is of no use, or ctx ends; then the error is the cause of that.
func (f *follower) persist(ctx context.Context, try func() error) error {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := try()
		switch since := time.Since(f.heard).Round(time.Second); {
		case err == nil:
			if f.silent {
				f.say("The guard answers again, after %s.", gatewarden.Duration(since))
			}
			f.heard, f.silent = time.Now(), false
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case final(err):
			return err
		case time.Since(f.heard) >= f.unreachable:
			return gatewarden.Errorf(gatewarden.Unavailable, "there was no answer for %s: %w", gatewarden.Duration(since), err)
		case !f.silent:
			f.silent = true
			if f.unreachable == forever {
				f.say("%v. Trying again.", err)
			} else {
				f.say("%v. Trying again for up to %s.", err, gatewarden.Duration(f.unreachable))
			}
		}
		left := f.unreachable - time.Since(f.heard)
		if err := pause(ctx, min(jittered(retry), max(left, time.Millisecond))); err != nil {
			return err
		}
	}
}

// final reports whether another try is of no use. What is none of the guard's answers,
// such as a proxy's 502, may be over in a moment; but what is no server's trouble says that
// the address is wrong.
func final(err error) bool {
	if e, ok := errors.AsType[*gatewarden.Error](err); ok {
		return e.Code != gatewarden.Unavailable && e.Code != gatewarden.Internal
	}
	if e, ok := errors.AsType[statusError](err); ok {
		return e.status < http.StatusInternalServerError && e.status != http.StatusTooManyRequests && e.status != http.StatusRequestTimeout
	}
	_, garbled := errors.AsType[*json.SyntaxError](err)
	return garbled
}

// pause waits, or returns why ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// timedOut cancels a run that takes too long for whoever asked.
func (f *follower) timedOut(ctx context.Context, run gatewarden.Run, key string) ending {
	waited := "the run has no answer a minute after its deadline"
	if f.timeout > 0 {
		waited = fmt.Sprintf("there is no answer after %s, as --timeout says", gatewarden.Duration(f.timeout))
	}
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	if run.ID == "" {
		return f.neverBegan(ctx, run, key, errors.New(waited))
	}
	f.say("Giving up: %s. The run is cancelled.", waited)
	return f.cancel(ctx, run, waited)
}

// cancel ends the run at the guard, and returns as what it ended: somebody or the
// evidence may have been faster.
func (f *follower) cancel(ctx context.Context, run gatewarden.Run, why string) ending {
	err := f.client.send(ctx, http.MethodPost, f.runPath(run.ID)+"/cancel", map[string]string{"by": f.by, "reason": why}, &struct{}{})
	if err != nil && gatewarden.ErrorCode(err) != gatewarden.Conflict {
		return failed(run, fmt.Errorf("%s, and the run could not be cancelled, it goes on at the guard: %w", why, err))
	}
	var last gatewarden.Run
	if f.ask(ctx, answerIn, http.MethodGet, f.runPath(run.ID), nil, &last) == nil && last.Over() {
		f.show(&last)
		return answered(last)
	}
	run.State, run.Reason = gatewarden.RunCancelled, why
	return answered(run)
}

// interrupted cancels the run because we are told to end.
func (f *follower) interrupted(ctx context.Context, run gatewarden.Run, id, key string) ending {
	f.told()
	why := "gate was told to end"
	// A signal names itself as the cause, and is a cancellation all the same.
	if cause := context.Cause(ctx).Error(); cause != context.Canceled.Error() {
		why += ": " + cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	if run.ID == "" && id == "" {
		return f.neverBegan(ctx, run, key, errors.New(why))
	}
	if run.ID == "" {
		run.ID = id
	}
	return f.abandoned(f.cancel(ctx, run, why), why)
}

// neverBegan ends a gate that never learned whether its run began. If it did, it is found
// by its key and cancelled.
func (f *follower) neverBegan(ctx context.Context, nothing gatewarden.Run, key string, why error) ending {
	var list api.RunList
	if err := f.client.send(ctx, http.MethodGet, f.canaryPath(), nil, &list); err != nil {
		return failed(nothing, fmt.Errorf("%w; the guard never said whether the run began: %w", why, err))
	}
	for _, run := range list.Runs {
		if key != "" && run.Key == key && !run.Over() {
			return f.abandoned(f.cancel(ctx, run, why.Error()), why.Error())
		}
	}
	return failed(nothing, fmt.Errorf("%w; no run was begun", why))
}

// abandoned turns the ending of a run that we cancelled into our own: an error, whatever
// the run came to meanwhile.
func (f *follower) abandoned(end ending, why string) ending {
	if end.err != nil {
		return end // it could not be cancelled
	}
	run := &end.report.Run
	said := fmt.Errorf("%s; run %s is cancelled", why, run.ID)
	if run.State != gatewarden.RunCancelled {
		said = fmt.Errorf("%s; run %s had ended: %s", why, run.ID, run.State)
	}
	end.code, end.err, end.report.Error = 1, said, said.Error()
	return end
}
