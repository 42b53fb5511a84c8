package jenkins

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

// reply classifies what came back from a trigger.
type reply int

const (
	accepted reply = iota // queued; the item's number is known
	refused               // Jenkins said no, and nothing was queued
	notNow                // nothing was queued, but it may be later
	perhaps               // a proxy gave up, or Jenkins starts: queued or not
	strange               // an answer that says neither; not worth a second trigger
	lost                  // no answer, or one without the number: it is never sent again
)

// classify reads the answer to a trigger. sent reports whether the request may
// have reached Jenkins; ans is nil without an answer.
func classify(ans *answer, sent bool) (reply, int64) {
	if ans == nil {
		if sent {
			return lost, 0
		}
		return notNow, 0
	}
	switch s := ans.status; s {
	case http.StatusCreated, http.StatusSeeOther: // 303: an equal item is queued, and it carries our id, so it is ours
		if id := queueID(ans.header.Get("Location")); id > 0 {
			return accepted, id
		}
		return lost, 0
	case http.StatusRequestTimeout:
		return lost, 0
	case http.StatusTooManyRequests:
		return notNow, 0
	case http.StatusServiceUnavailable:
		if ans.jenkins() {
			return notNow, 0
		}
		// A starting Jenkins does not name itself, and neither does a proxy (Envoy's UC and UR)
		// whose connection broke after Jenkins had taken the request.
		return perhaps, 0
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return perhaps, 0
	default:
		if s >= 400 && s < 500 {
			return refused, 0
		}
		return strange, 0
	}
}

// queueID takes the number, and nothing else, out of ".../queue/item/4711/".
func queueID(location string) int64 {
	u, err := url.Parse(location)
	if err != nil {
		return 0
	}
	_, number, ok := strings.Cut(u.Path, "/queue/item/")
	if !ok {
		return 0
	}
	id, err := strconv.ParseInt(strings.TrimSuffix(number, "/"), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// trigger asks for the build, once, after a search found none.
func (r *run) trigger(ctx context.Context) (gatewarden.Outcome, error) {
	def, err := r.check(ctx, r.step)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	// The search before it takes up to Settle, and longer when Jenkins is slow. What has not
	// begun needs no Cancel to be given up.
	if actions.Withdrawn(ctx) {
		return r.notRun(fmt.Sprintf("the Jenkins job %s was not triggered: its answer was taken back", r.step.Job)), nil
	}
	if err := actions.Held(ctx); err != nil {
		return gatewarden.Outcome{}, err
	}
	before := r.memo
	if !r.memo.Open {
		r.memo.NextBuild = def.NextBuildNumber
	}
	r.memo.Sent = r.cfg.Now()
	if r.memo.Since.IsZero() {
		r.memo.Since = r.memo.Sent
	}
	r.memo.Open = true
	if err := r.store(); err != nil {
		return gatewarden.Outcome{}, err
	}
	ans, sent, err := r.post(ctx)
	kind, id := classify(ans, sent)
	switch kind {
	case accepted:
		r.memo.QueueID = id
		if err := r.store(); err != nil {
			return gatewarden.Outcome{}, err
		}
		r.logger.Info("the build is queued", "queue_id", id)
		return r.followItem(ctx)
	case refused, notNow:
		r.memo = before
		if err := r.store(); err != nil {
			return gatewarden.Outcome{}, err
		}
		return gatewarden.Outcome{}, r.notTriggered(ans, err)
	case lost:
		r.logger.Warn("the answer to the trigger was lost; looking for the build", "err", err)
		r.memo.Lost = true
		if err := r.store(); err != nil {
			return gatewarden.Outcome{}, err
		}
		return r.resume(ctx)
	default: // perhaps, strange
		found, out, searchErr := r.searchOr(ctx, r.unsettled())
		if searchErr != nil || out.Status != "" {
			return out, searchErr
		}
		if found == something {
			return r.apply(ctx)
		}
		return gatewarden.Outcome{}, r.notTriggered(ans, err)
	}
}

// post sends the trigger. It is not cut short when ctx ends: that could not take the
// request back, only lose its answer.
func (r *run) post(ctx context.Context) (*answer, bool, error) {
	form := url.Values{ActionParameter: {r.action.ID}}
	for name, value := range r.step.Parameters {
		form.Set(name, value)
	}
	return r.client.post(context.WithoutCancel(ctx), jobPath(r.step.Job)+"/buildWithParameters", url.Values{"delay": {"0sec"}}, form, r.metrics.triggers.Inc)
}

// notTriggered says why no build was queued.
func (r *run) notTriggered(ans *answer, err error) error {
	if ans == nil {
		return err
	}
	refusal := r.client.refusal(jobPath(r.step.Job)+"/buildWithParameters", ans)
	refusal.Message = fmt.Sprintf("the Jenkins job %s was not triggered: %s", r.step.Job, refusal.Message)
	if kind, _ := classify(ans, true); kind == strange {
		refusal.Code = gatewarden.Invalid // the same request would get the same answer
	}
	return refusal
}
