package jenkins

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// run is one call of Apply.
type run struct {
	*Executor
	action gatewarden.Action
	step   *gatewarden.JenkinsStep
	save   func(json.RawMessage) error
	memo   memo
	logger *slog.Logger
	// troubled says that the last request got no usable answer, which was logged: an
	// hour without Jenkins is one line, not a thousand.
	troubled bool
}

// ask is getJSON that logs when the trouble begins.
func (r *run) ask(ctx context.Context, path string, query url.Values, out any) error {
	err := r.client.getJSON(ctx, path, query, out)
	troubled := gatewarden.ErrorCode(err) == gatewarden.Unavailable && ctx.Err() == nil
	if troubled && !r.troubled {
		r.logger.Warn("Jenkins cannot be asked; asking on", "err", err)
	}
	r.troubled = troubled
	return err
}

func (r *run) store() error {
	b, err := json.Marshal(r.memo)
	if err != nil {
		return fmt.Errorf("writing the memo of action %s: %w", r.action.ID, err)
	}
	return r.save(b)
}

func (r *run) wait() time.Duration {
	if r.step.Wait > 0 {
		return time.Duration(r.step.Wait)
	}
	return defaultWait
}

// deadline is when the job is given up. It counts from the first trigger, over
// restarts, but there is always time for one look.
func (r *run) deadline() time.Time { return r.memo.Since.Add(r.wait()) }

func (r *run) late() bool { return !r.cfg.Now().Before(r.deadline()) }

// unsettled is how long the last trigger may still take to show.
func (r *run) unsettled() time.Duration { return r.memo.Sent.Add(r.cfg.Settle).Sub(r.cfg.Now()) }

// apply takes the action up where its memo left it.
func (r *run) apply(ctx context.Context) (gatewarden.Outcome, error) {
	switch {
	case r.memo.Build > 0:
		return r.followBuild(ctx)
	case r.memo.QueueID > 0:
		return r.followItem(ctx)
	case r.memo.Open:
		return r.resume(ctx)
	}
	// Nothing was ever triggered by this journal's account. One look still costs
	// little, and finds what another guard or a person began for this action.
	found, _, err := r.look(ctx)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if found != (trace{}) {
		r.memo.QueueID, r.memo.Build, r.memo.Since = found.queueID, found.build, r.cfg.Now()
		if err := r.store(); err != nil {
			return gatewarden.Outcome{}, err
		}
		return r.apply(ctx)
	}
	return r.trigger(ctx)
}

// resume goes on after a trigger of which nobody knows whether it was accepted:
// the guard died in the middle, the answer was lost, or a proxy gave up.
func (r *run) resume(ctx context.Context) (gatewarden.Outcome, error) {
	atLeast := r.unsettled()
	if r.memo.Lost {
		atLeast = r.cfg.Settle
	}
	found, out, err := r.searchOr(ctx, atLeast)
	switch {
	case err != nil || out.Status != "":
		return out, err
	case found == something:
		return r.apply(ctx)
	case r.memo.Lost:
		return r.unknown("the answer to the trigger of the Jenkins job %s was lost, and no build carries this action", r.step.Job), nil
	case r.late():
		return r.notRun(fmt.Sprintf("the Jenkins job %s could not be triggered within %s", r.step.Job, gatewarden.Duration(r.wait()))), nil
	}
	return r.trigger(ctx)
}

// searchOr is search with the findings that end the action made into outcomes.
func (r *run) searchOr(ctx context.Context, atLeast time.Duration) (finding, gatewarden.Outcome, error) {
	found, err := r.search(ctx, atLeast)
	switch code := gatewarden.ErrorCode(err); {
	case ctx.Err() != nil:
		return found, gatewarden.Outcome{}, ctx.Err()
	case code == gatewarden.Invalid || code == gatewarden.NotFound:
		return found, r.unknown("Jenkins does not say whether the job %s was started: %v", r.step.Job, err), nil
	case err != nil:
		return found, gatewarden.Outcome{}, err
	case found == unreachable:
		return found, r.unknown("Jenkins did not answer for %s, so whether the job %s was started is not known", gatewarden.Duration(r.wait()), r.step.Job), nil
	case found == unsure:
		return found, r.unknown("builds of the Jenkins job %s since #%d are no longer listed, and one of them may be this action's", r.step.Job, r.memo.NextBuild), nil
	}
	return found, gatewarden.Outcome{}, nil
}

// followItem follows the queue item until it became a build.
func (r *run) followItem(ctx context.Context) (gatewarden.Outcome, error) {
	path := fmt.Sprintf("/queue/item/%d/api/json", r.memo.QueueID)
	var why string
	for {
		var it queueItem
		seen := false // as the action's
		err := r.ask(ctx, path, queueItemTree(), &it)
		switch code := gatewarden.ErrorCode(err); {
		case ctx.Err() != nil:
			return gatewarden.Outcome{}, ctx.Err()
		case err == nil && !it.isOf(r.step.Job, r.action.ID):
			return r.afterItem(ctx)
		case err == nil && it.Executable.Number > 0:
			r.memo.Build = it.Executable.Number
			if err := r.store(); err != nil {
				return gatewarden.Outcome{}, err
			}
			r.logger.Info("the build has started", "build", r.memo.Build)
			return r.followBuild(ctx)
		case err == nil && it.Cancelled:
			return r.notRun("somebody cancelled the Jenkins job " + r.step.Job + " in the queue; nothing ran"), nil
		case err == nil:
			why, seen = it.Why, true
		case code == gatewarden.NotFound:
			return r.afterItem(ctx)
		case code == gatewarden.Unavailable:
			why = "Jenkins does not answer"
		default:
			return r.unknown("the Jenkins job %s is queued, but Jenkins no longer tells about it: %v", r.step.Job, err), nil
		}
		if when := r.givesUp(ctx); when != "" {
			still := fmt.Sprintf("the Jenkins job %s was still in the queue %s (%s)", r.step.Job, when, shorten(printable(why), 200))
			if !seen || r.neverCancels() {
				return r.unknown("%s; it may start later", still), nil
			}
			return r.dequeue(ctx, path, still)
		}
		if err := sleep(ctx, jittered(r.cfg.PollQueue)); err != nil {
			return gatewarden.Outcome{}, err
		}
	}
}

// afterItem looks for the build of an item that Jenkins has forgotten, or whose number it
// has given to another: it forgets one five minutes after it left the queue, and at a restart. An item that was
// lost with the queue is not triggered again.
func (r *run) afterItem(ctx context.Context) (gatewarden.Outcome, error) {
	lost := r.memo.QueueID
	found, out, err := r.searchOr(ctx, 0)
	switch {
	case err != nil || out.Status != "":
		return out, err
	case found == something && (r.memo.Build > 0 || r.memo.QueueID != lost):
		return r.apply(ctx)
	case found == something: // in the list, but not by its own page: ask that again
		if r.late() {
			return r.unknown("the Jenkins job %s was still in the queue after %s; it may start later", r.step.Job, gatewarden.Duration(r.wait())), nil
		}
		if err := sleep(ctx, jittered(r.cfg.PollQueue)); err != nil {
			return gatewarden.Outcome{}, err
		}
		return r.apply(ctx)
	}
	return r.unknown("the Jenkins job %s was queued as item %d, which is gone, and no build carries this action", r.step.Job, lost), nil
}

// followBuild follows the build until it ended.
func (r *run) followBuild(ctx context.Context) (gatewarden.Outcome, error) {
	path := fmt.Sprintf("%s/%d/api/json", jobPath(r.step.Job), r.memo.Build)
	var stopping stopping
	for missing := 0; ; {
		var b build
		err := r.ask(ctx, path, buildTree(), &b)
		switch code := gatewarden.ErrorCode(err); {
		case ctx.Err() != nil:
			return gatewarden.Outcome{}, ctx.Err()
		case err == nil && b.Number == r.memo.Build && b.foreign(r.action.ID):
			return r.unknown("build #%d of the Jenkins job %s is not this action's but that of %s", r.memo.Build, r.step.Job,
				cmp.Or(b.Actions.action(), "none")), nil
		case err == nil && b.Number == r.memo.Build && b.ended():
			return r.finished(ctx, b), nil
		case err == nil && b.Number == r.memo.Build && !stopping.heard && r.stopDue(ctx, &b):
			if out, err := r.stop(ctx, &stopping); err != nil || out.Status != "" {
				return out, err
			}
		case code == gatewarden.NotFound:
			if missing++; missing > 1 {
				return r.unknown("the record of build #%d of the Jenkins job %s is gone", r.memo.Build, r.step.Job), nil
			}
		case err == nil, code == gatewarden.Unavailable:
			missing = 0
		default:
			return r.unknown("build #%d of the Jenkins job %s runs, but Jenkins no longer tells about it: %v", r.memo.Build, r.step.Job, err), nil
		}
		if out := r.longEnough(&stopping); out.Status != "" {
			return out, nil
		}
		if err := sleep(ctx, jittered(r.cfg.PollBuild)); err != nil {
			return gatewarden.Outcome{}, err
		}
	}
}

// longEnough is the outcome, unknown, of a build that is followed no longer though it has not
// ended. It has no status while the build is followed.
func (r *run) longEnough(s *stopping) gatewarden.Outcome {
	began := !s.until.IsZero()
	switch over := began && !r.cfg.Now().Before(s.until); {
	case over && s.heard:
		return r.unknown("build #%d of the Jenkins job %s was told to stop %s, and had not ended %s later", r.memo.Build, r.step.Job, r.memo.Stopped, gatewarden.Duration(r.cfg.Settle))
	case over:
		return r.unknown("build #%d of the Jenkins job %s was to be stopped %s, and Jenkins has not answered that for %s; it may run on", r.memo.Build, r.step.Job, r.memo.Stopped, gatewarden.Duration(r.cfg.Settle))
	case !began && r.late():
		return r.unknown("build #%d of the Jenkins job %s had not ended after %s; it was left running", r.memo.Build, r.step.Job, gatewarden.Duration(r.wait()))
	default:
		return gatewarden.Outcome{}
	}
}

// finished makes the outcome of a build that ended. One that was told to stop may end as
// anything: a pipeline can catch that.
func (r *run) finished(ctx context.Context, b build) gatewarden.Outcome {
	took := (time.Duration(b.Duration) * time.Millisecond).Round(time.Second)
	text := fmt.Sprintf("build #%d of the Jenkins job %s ended as %s after %s", b.Number, r.step.Job, shorten(printable(b.Result), 40), gatewarden.Duration(took))
	r.logger.Info("the build has ended", "build", b.Number, "result", b.Result)
	means, ruled := r.step.Results[strings.ToLower(b.Result)]
	switch {
	case b.Result == "SUCCESS":
		means = gatewarden.JobOK
	case r.memo.Stopped != "":
		means, text = gatewarden.JobFailed, text+": the guard had told it to stop "+r.memo.Stopped
	case ruled:
		text += fmt.Sprintf(", which is %s by the rules", means)
	}
	out := gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: text, Link: r.buildLink()}
	if means == gatewarden.JobUnknown {
		out = r.unknown("%s", text)
	}
	out.Change = fmt.Sprintf("ran the Jenkins job %s, build #%d", r.step.Job, b.Number)
	if means == gatewarden.JobOK {
		return out
	}
	if out.Status != gatewarden.ActionUnknown {
		out.Status = gatewarden.ActionFailed
	}
	out.Details = r.console(ctx, b.Number)
	return out
}

// console returns the end of the build's console, or why it cannot be had: the
// build has failed with or without it.
func (r *run) console(ctx context.Context, number int) string {
	const tries = 3
	for i := 1; ; i++ {
		tail, err := r.client.consoleTail(ctx, fmt.Sprintf("%s/%d", jobPath(r.step.Job), number))
		if err == nil {
			return tail
		}
		if i == tries || gatewarden.ErrorCode(err) != gatewarden.Unavailable || sleep(ctx, jittered(r.cfg.PollBuild)) != nil {
			return "the console could not be read: " + err.Error()
		}
	}
}

// unknown ends the action without an answer. The sentence goes on with what that
// means for the reader.
func (r *run) unknown(format string, args ...any) gatewarden.Outcome {
	return gatewarden.Outcome{
		Status: gatewarden.ActionUnknown, Link: r.buildLink(),
		Reason: fmt.Sprintf(format, args...) + ". A person must look; the guard will not start it again",
	}
}

// jobLink and buildLink lead a person to the job, and to the build's console once
// there is one. They are made from the URL that the guard was given.
func (r *run) jobLink() string { return r.client.base + jobPath(r.step.Job) + "/" }

func (r *run) buildLink() string {
	if r.memo.Build == 0 {
		return r.jobLink()
	}
	return fmt.Sprintf("%s%d/console", r.jobLink(), r.memo.Build)
}
