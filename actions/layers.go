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

// overlapping returns the other changes of the same thing that matter to
// a call for a, as Layered wants them.
func (e *Engine) overlapping(a *gatewarden.Action) []gatewarden.Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	since := e.cfg.Now()
	if a.StartedAt != nil {
		since = *a.StartedAt
	}
	var rest, list []gatewarden.Action
	for _, o := range e.actions {
		if o.id == a.ID || o.StartedAt == nil || changedBy(&o.Spec) != changedBy(&a.Spec) {
			continue
		}
		c := o.Action
		if o.undone != nil && c.Status == gatewarden.ActionReverting {
			c = *o.undone
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
	return list
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
