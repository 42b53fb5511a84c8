package jenkins

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

func (r *run) neverCancels() bool {
	return r.step.Cancel != gatewarden.CancelQueued && r.step.Cancel != gatewarden.CancelRunning
}

// givesUp says when the job is given up, which is now, and is "" while it is followed. That a
// person takes the answer back matters to a step that may be cancelled only.
func (r *run) givesUp(ctx context.Context) string {
	switch {
	case r.late():
		return "after " + gatewarden.Duration(r.wait()).String()
	case !r.neverCancels() && actions.Withdrawn(ctx):
		return "when its answer was taken back"
	default:
		return ""
	}
}

// notRun is the outcome of a job of which nothing ran.
func (r *run) notRun(reason string) gatewarden.Outcome {
	return gatewarden.Outcome{Status: gatewarden.ActionFailed, Link: r.jobLink(), Reason: reason}
}

// dequeue cancels the item at path, which has just been seen to be the action's, and asks
// what came of it: it may have become a build meanwhile. still says why.
func (r *run) dequeue(ctx context.Context, path, still string) (gatewarden.Outcome, error) {
	const cancel = "/queue/cancelItem"
	ans, _, err := r.client.post(ctx, cancel, url.Values{"id": {strconv.FormatInt(r.memo.QueueID, 10)}}, nil, func() {})
	if err == nil && ans.status != http.StatusNoContent {
		err = r.client.refusal(cancel, ans)
	}
	var it queueItem
	if askErr := r.ask(ctx, path, queueItemTree(), &it); ctx.Err() != nil {
		return gatewarden.Outcome{}, ctx.Err()
	} else if err == nil {
		err = askErr
	}
	switch ours := it.isOf(r.step.Job, r.action.ID); {
	case ours && it.Executable.Number > 0:
		r.memo.Build = it.Executable.Number
		if err := r.store(); err != nil {
			return gatewarden.Outcome{}, err
		}
		return r.followBuild(ctx)
	case ours && it.Cancelled:
		return r.notRun(still + ", and the guard cancelled it there; nothing ran"), nil
	case err != nil:
		return r.unknown("%s; whether it could be cancelled is not known, and it may start later: %v", still, err), nil
	default:
		return r.unknown("%s; it was cancelled, and Jenkins does not say so; it may start later", still), nil
	}
}

// stopDue reports whether the build, which runs, is to be stopped: it carries the action and is
// given up. One that was about to be told when the guard died is told once more.
func (r *run) stopDue(ctx context.Context, b *build) bool {
	return r.step.Cancel == gatewarden.CancelRunning && b.Building && b.Actions.action() == r.action.ID &&
		(r.memo.Stopped != "" || r.givesUp(ctx) != "")
}

// stopping is how far a call has come with stopping a build.
type stopping struct {
	heard bool      // Jenkins has answered
	until time.Time // when that, and then the build's end, is waited for no longer; zero before the first try
}

// stop tells Jenkins to stop the build. That it answers says nothing of what came of it: the
// build is looked at on. The outcome has a status only when Jenkins refuses.
func (r *run) stop(ctx context.Context, s *stopping) (gatewarden.Outcome, error) {
	if r.memo.Stopped == "" {
		r.memo.Stopped = r.givesUp(ctx)
		if err := r.store(); err != nil {
			return gatewarden.Outcome{}, err
		}
	}
	path := fmt.Sprintf("%s/%d/stop", jobPath(r.step.Job), r.memo.Build)
	ans, _, err := r.client.post(ctx, path, nil, nil, func() {})
	if err == nil && ans.status >= http.StatusBadRequest {
		err = r.client.refusal(path, ans)
	}
	unanswered := gatewarden.ErrorCode(err) == gatewarden.Unavailable // it may have come through
	if s.heard = !unanswered; s.heard || s.until.IsZero() {
		s.until = r.cfg.Now().Add(r.cfg.Settle)
	}
	switch {
	case ctx.Err() != nil:
		return gatewarden.Outcome{}, ctx.Err()
	case unanswered:
		r.logger.Warn("the build may not have been stopped; telling it once more when it is seen to run", "build", r.memo.Build, "err", err)
	case err != nil:
		return r.unknown("build #%d of the Jenkins job %s could not be stopped %s, and was left running: %v", r.memo.Build, r.step.Job, r.memo.Stopped, err), nil
	}
	return gatewarden.Outcome{}, nil
}
