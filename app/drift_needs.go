package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/kong"
	"github.com/gatewarden/gatewarden/rules"
)

// watchDrift sets up what looks after the nodes of the gateway.
func (t *term) watchDrift(ctx context.Context, set settings) error {
	w := newDrifts(t.intake.gateway, t.now, t.logger.With("component", "drift"))
	if e, ok := t.executors[gatewarden.StepPlugin].(*kong.Executor); ok {
		w.kong = e
		w.apis = []adminAPI{{hostOf(set.config.Kong.AdminURL), e.Node}}
	}
	for _, node := range set.config.Kong.Nodes {
		one := set.config.Kong
		one.AdminURL = node
		e, err := kongExecutor(one, mark{}, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			return fmt.Errorf("setting up the way to the node %s: %w", hostOf(node), err)
		}
		w.apis = append(w.apis, adminAPI{hostOf(node), e.Node})
	}
	if p, ok := t.executors[gatewarden.StepJenkins].(preflighter); ok {
		w.jenkins = p
	}
	w.SetRules(set.rules)
	if err := w.resume(ctx, t.journal); err != nil {
		return err
	}
	t.loop.drifts = w
	return nil
}

// hostOf is an address without what may be secret in it.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(unreadable)"
	}
	return u.Host
}

// needsOf lists what the steps of actions and the canaries rely on. What an action that
// only observes would need is not among it, nor are targets, which come and go with
// releases.
func (w *drifts) needsOf(r *rules.Rules) []need {
	var list []need
	want := func(who string, n need) {
		i := slices.IndexFunc(list, func(o need) bool { return o.entity == n.entity })
		switch {
		case n.there == nil:
		case i < 0:
			n.by = []string{who}
			list = append(list, n)
		case !slices.Contains(list[i].by, who):
			list[i].by = append(list[i].by, who)
		}
	}
	for i := range r.Policies {
		p := &r.Policies[i]
		if p.Mode == gatewarden.ModeObserve {
			continue
		}
		for k := range p.Steps {
			for _, n := range w.needsOfStep(&p.Steps[k]) {
				want("the action "+p.Name, n)
			}
		}
	}
	for i := range r.Canaries {
		if c := &r.Canaries[i]; c.Tracks[gatewarden.TrackCanary].Targets() {
			want("the canary "+c.Name, w.entity("upstreams", c.Upstream))
		}
	}
	return list
}

func (w *drifts) needsOfStep(s *gatewarden.Step) []need {
	var list []need
	add := func(table, name string) {
		if name != "" {
			list = append(list, w.entity(table, name))
		}
	}
	switch {
	case s.Adaptive != nil:
		add("services", s.Adaptive.Service) // of a limit on a route too: its requests are steered by
		add("routes", s.Adaptive.Route)
	case s.Puts() != nil:
		add("services", s.Puts().Service)
		add("routes", s.Puts().Route)
		add("consumers", s.Puts().Consumer)
	case s.Weight != nil:
		add("upstreams", s.Weight.Upstream)
	case s.Share != nil:
		add("upstreams", s.Share.Upstream)
	case s.Divert != nil:
		add("routes", s.Divert.Route)
		add("services", s.Divert.To)
	case s.Service != nil:
		add("services", s.Service.Name)
	case s.Jenkins != nil && w.jenkins != nil:
		list = append(list, w.job(s))
	}
	return list
}

// entity is one of Kong's; it cannot be looked for without an Admin API.
func (w *drifts) entity(table, name string) need {
	n := need{entity: "the " + table[:len(table)-1] + " " + name}
	if w.kong != nil {
		n.there = func(ctx context.Context) (bool, error) { return w.kong.Has(ctx, table, name) }
	}
	return n
}

// job is one of Jenkins': gone when Jenkins says that there is none, or none that the user
// may see.
func (w *drifts) job(s *gatewarden.Step) need {
	step := *s
	return need{entity: "the Jenkins job " + step.Jenkins.Job, job: true, there: func(ctx context.Context) (bool, error) {
		switch err := w.jenkins.Preflight(ctx, step); gatewarden.ErrorCode(err) {
		case gatewarden.NotFound:
			return false, nil
		case gatewarden.Unavailable:
			return false, err
		default: // it is there, whatever else may be wrong with it
			return true, nil
		}
	}}
}
