package actions

import (
	"context"
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

// enterUpstream waits for the only right to change the weights of an upstream: a call
// must see what the one before it has done. Upstreams are told apart by the name that
// the rules give them.
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
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "another change of the weights of upstream %s is not over yet: %w", name, ctx.Err())
	}
}

// overlapping returns the other changes of weights of the same upstream that matter to
// a call for a, as Layered wants them.
func (e *Engine) overlapping(a *gatewarden.Action) []gatewarden.Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	var others []*action
	since := e.cfg.Now()
	if a.StartedAt != nil {
		since = *a.StartedAt
	}
	for _, o := range e.actions {
		if o.id == a.ID || o.StartedAt == nil || upstreamOf(&o.Spec) != upstreamOf(&a.Spec) {
			continue
		}
		others = append(others, o)
		if o.inPlace() && !o.abandoned() && o.StartedAt.Before(since) {
			since = *o.StartedAt
		}
	}
	var list []gatewarden.Action
	for _, o := range others {
		c := o.Action
		if o.abandoned() {
			c.Status = gatewarden.ActionReplaced
		}
		if c.Status.InPlace() || !lastChange(&c).Before(since) {
			list = append(list, c)
		}
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
