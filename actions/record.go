package actions

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// writeTimeout bounds one write to the journal that is not part of a tick.
const writeTimeout = 10 * time.Second

// maxText is how long a text of an executor may be, in bytes.
const maxText = 16 << 10

// change is one change of an action, as the journal gets it.
type change struct {
	at      time.Time
	to      gatewarden.ActionStatus
	reason  string
	by      string // the person behind it
	memo    json.RawMessage
	outcome *gatewarden.Outcome
	limit   *gatewarden.Limit // where an adaptive limit goes

	verified bool // it is known now whether it helped
	shown    bool // the traffic shows it
}

// record makes a change durable, and only then true. It is called with mu held.
func (e *Engine) record(ctx context.Context, a *action, c change) error {
	next := a.Action
	next.Status = c.to
	if c.by != "" {
		next.By = c.by
	}
	if c.memo != nil {
		next.Memo = slices.Clone(c.memo)
	}
	if c.limit != nil {
		next.Limit = c.limit
	}
	if o := c.outcome; o != nil {
		next.Change, next.Undo = cmp.Or(clip(o.Change), next.Change), cmp.Or(clip(o.Undo), next.Undo)
		next.Link, next.Details = cmp.Or(clip(o.Link), next.Link), cmp.Or(clip(o.Details), next.Details)
		if o.Memo != nil {
			next.Memo = slices.Clone(o.Memo)
		}
	}
	if next.Status != a.Status {
		c.at = e.afterOthers(a, c.at)
	}
	stamp(&next, a.Status, c.at, a.lease())
	if c.verified {
		next.VerifiedAt, next.EndedAt = &c.at, &c.at
	}
	if c.shown {
		next.VerifiedAt = &c.at
	}
	_, err := e.append(ctx, gatewarden.Event{
		At: c.at, Type: gatewarden.EventAction, Name: next.ID, State: string(next.Status),
		Severity: next.Trigger.Severity.String(), Reason: clip(c.reason), By: c.by, Action: &next,
	})
	if err != nil {
		return err
	}
	if a.Status != next.Status {
		e.metrics.changes.WithLabelValues(string(next.Spec.Kind), string(next.Status)).Inc()
	}
	a.order.note(a.Status, next.Status, e.next())
	a.Action = next
	a.ladder.recorded = true
	e.actions[a.ID] = a
	e.publish()
	return nil
}

// clockSlack is how far back a clock may go without changing the order of things.
const clockSlack = time.Second

// afterOthers returns the time, or the instant after the last change of the same thing by
// another action: the order in which changes came and went is the one in which they lie on
// top of one another, and a clock may be coarse.
func (e *Engine) afterOthers(a *action, at time.Time) time.Time {
	what := changedBy(&a.Spec)
	if what == "" || a.kind == gatewarden.StepShare { // the moves of a run wait for one another
		return at
	}
	for _, o := range e.actions {
		if last := lastChange(&o.Action); o != a && !at.After(last) && last.Sub(at) < clockSlack && changedBy(&o.Spec) == what {
			at = last.Add(time.Nanosecond)
		}
	}
	if a.StartedAt != nil && at.Before(*a.StartedAt) && a.StartedAt.Sub(at) < clockSlack {
		at = *a.StartedAt
	}
	return at
}

// stamp sets the times that belong to a status; a lease of 0 is none.
func stamp(a *gatewarden.Action, from gatewarden.ActionStatus, at time.Time, lease time.Duration) {
	if a.Status == from {
		return
	}
	switch a.Status {
	case gatewarden.ActionStarted:
		a.StartedAt = &at
		if lease > 0 {
			until := at.Add(lease)
			a.LeaseUntil = &until
		}
	case gatewarden.ActionApplied:
		if from == gatewarden.ActionUnverified {
			return // it has been all the time
		}
		a.AppliedAt = &at
		if !a.Spec.Kind.Reversible() && verifies(&a.Spec) == 0 {
			a.EndedAt = &at
		}
	case gatewarden.ActionFailed, gatewarden.ActionUnknown, gatewarden.ActionReverted, gatewarden.ActionLeft, gatewarden.ActionReplaced, gatewarden.ActionExpired, gatewarden.ActionIneffective:
		a.EndedAt = &at
		a.LeaseUntil = nil
	default: // waiting, skipped and reverting have no time of their own
	}
}

// clip bounds what a peer may make the journal remember.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + " …"
}

// append writes one event.
func (e *Engine) append(ctx context.Context, event gatewarden.Event) (gatewarden.Event, error) {
	written, err := e.cfg.Journal.Append(ctx, event)
	if err != nil {
		e.metrics.unwritten.Inc()
	}
	if gatewarden.ErrorCode(err) == gatewarden.Conflict && !e.deposed {
		e.deposed = true
		e.cfg.Logger.Error("another guard has taken over the journal; this one does nothing any more", "error", err)
	}
	return written, err
}

// drop forgets an ended ladder, and its actions when there are more ended ones than
// are kept.
func (e *Engine) drop(l *ladder) {
	l.ended = true
	e.ladders = slices.DeleteFunc(e.ladders, func(o *ladder) bool { return o == l })
	e.prune()
	e.publish()
}

func (e *Engine) prune() {
	if len(e.actions) <= e.cfg.Keep {
		return
	}
	active := make(map[*ladder]bool, len(e.ladders))
	for _, l := range e.ladders {
		active[l] = true
	}
	for _, a := range newestFirst(e.actions)[e.cfg.Keep:] {
		if !active[a.ladder] {
			delete(e.actions, a.ID)
		}
	}
}
