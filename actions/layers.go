package actions

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
)

// upstreamOf returns the upstream whose weights a step changes, "" when it changes none.
func upstreamOf(s *gatewarden.Step) string {
	switch {
	case s.Weight != nil:
		return s.Weight.Upstream
	case s.Share != nil:
		return s.Share.Upstream
	default:
		return ""
	}
}

// changedBy names what a step changes and only one call at a time may, "" for nothing.
func changedBy(s *gatewarden.Step) string {
	switch {
	case upstreamOf(s) != "":
		return "the weights of upstream " + upstreamOf(s)
	case s.Puts() != nil:
		p := s.Puts()
		return "plugin " + p.Name + " on " + gatewarden.Series{Service: p.Service, Route: p.Route, Consumer: p.Consumer}.String()
	case s.Divert != nil:
		return "route " + s.Divert.Route
	case s.Service != nil:
		return "service " + s.Service.Name
	default:
		return ""
	}
}

// enterUpstream waits for the only right to change something: a call must see what the
// one before it has done. Things are told apart by the names that the rules give them.
func (e *Engine) enterUpstream(ctx context.Context, name string) (leave func(), err error) {
	e.mu.Lock()
	right, ok := e.upstreams[name]
	if !ok {
		right = make(chan struct{}, 1)
		e.upstreams[name] = right
	}
	e.mu.Unlock()
	select {
	case right <- struct{}{}:
		return func() { <-right }, nil
	case <-ctx.Done():
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "another change of %s is not over yet: %w", name, ctx.Err())
	}
}

// ordinals say when an action came to be what it is, counted in changes of all actions: clocks are set
// back, and the order in which changes came and went is the one in which they lie on one another.
type ordinals struct{ started, applied, ended, undone uint64 }

// note takes in a change of the action's status, which is the n-th of all.
func (o *ordinals) note(from, to gatewarden.ActionStatus, n uint64) {
	switch {
	case to == from:
	case to == gatewarden.ActionStarted:
		o.started = n
	case to == gatewarden.ActionApplied && from != gatewarden.ActionUnverified:
		o.applied = n
	case to.InPlace(), to == gatewarden.ActionWaiting, to == gatewarden.ActionSkipped:
	case o.undone > 0: // it was over when its call was
		o.ended = o.undone
	default:
		o.ended = n
	}
}

// inOrder returns an action whose times are instants in the order of what happened.
func (o *ordinals) inOrder(a gatewarden.Action) gatewarden.Action {
	for _, t := range []struct {
		at *(*time.Time)
		n  uint64
	}{{&a.StartedAt, o.started}, {&a.AppliedAt, o.applied}, {&a.EndedAt, o.ended}} {
		if *t.at != nil {
			*t.at = instant(t.n)
		}
	}
	return a
}

func instant(n uint64) *time.Time {
	at := time.Unix(int64(n), 0)
	return &at
}

// next counts one more change of an action. It is called with mu held.
func (e *Engine) next() uint64 {
	e.changes++
	return e.changes
}

// overlapping returns an action and the other changes of the same thing that matter to
// a call for it, as Layered wants them.
func (e *Engine) overlapping(a gatewarden.Action) (gatewarden.Action, []gatewarden.Action) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if live := e.actions[a.ID]; live != nil {
		a = live.order.inOrder(a)
	}
	since := *instant(e.changes + 1)
	if a.StartedAt != nil {
		since = *a.StartedAt
	}
	var rest, list []gatewarden.Action
	for _, o := range e.actions {
		if o.id == a.ID || o.StartedAt == nil || changedBy(&o.Spec) != changedBy(&a.Spec) {
			continue
		}
		c := o.order.inOrder(o.Action)
		if o.undone != nil && c.Status == gatewarden.ActionReverting {
			c = o.order.inOrder(*o.undone)
			c.EndedAt = instant(o.order.undone)
		}
		if o.abandoned() {
			c.Status = gatewarden.ActionReplaced
		}
		rest = append(rest, c)
	}
	// One that ended meanwhile matters, and so does what ended while that was in place.
	for more := true; more; {
		more = false
		rest = slices.DeleteFunc(rest, func(c gatewarden.Action) bool {
			matters := c.Status.InPlace() || !lastChange(&c).Before(since)
			if matters {
				more = true
				list = append(list, c)
				if c.StartedAt.Before(since) {
					since = *c.StartedAt
				}
			}
			return matters
		})
	}
	return a, list
}

// lastChange returns when an action last changed something.
func lastChange(a *gatewarden.Action) (last time.Time) {
	for _, t := range []*time.Time{a.StartedAt, a.AppliedAt, a.EndedAt} {
		if t != nil && t.After(last) {
			last = *t
		}
	}
	return last
}

// percent writes a share.
func percent(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) + " %" }
