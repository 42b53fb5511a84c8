package app

import (
	"context"
	"iter"
	"strconv"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/version"
	"github.com/gatewarden/gatewarden/journal"
)

// view shows a guard that leads as the API wants to see it.
type view struct{ *term }

var (
	_ api.Guard  = (*view)(nil)
	_ api.Hearer = (*view)(nil)
)

// Status returns the guard at a glance.
func (v *view) Status() api.Status {
	now := v.now()
	s := api.Status{
		Version: version.Get().Version, StartedAt: v.started, Now: now,
		Config: v.reloader.status(), Sources: v.intake.views(now), Series: len(v.store.List()),
		States: map[string]int{}, Listeners: map[string]string{},
	}
	s.Completeness, s.Nodes = v.intake.gateway.completeness(now), v.intake.gateway.list()
	v.intake.share(s.Sources, s.Completeness)
	s.Drift, s.Guards = v.loop.drifts.current(), v.guards.views(now)
	if p := v.loop.engine.Paused(); p != nil {
		s.Paused = &api.Pause{By: p.By, Reason: p.Reason, At: p.At}
	}
	for _, verdict := range v.loop.current() {
		s.States[verdict.State.String()]++
	}
	for name := range v.listeners {
		s.Listeners[name] = v.Addr(name)
	}
	return s
}

// SLOs returns every SLO in the order of the rules, with its last verdict.
func (v *view) SLOs() []api.SLO {
	last := map[string]gatewarden.Verdict{}
	for _, verdict := range v.loop.current() {
		last[verdict.Name] = verdict
	}
	slos := v.reloader.current().rules.SLOs
	list := make([]api.SLO, len(slos))
	for i, s := range slos {
		verdict, judged := last[s.Name]
		if !judged {
			verdict = gatewarden.Verdict{At: v.started, Kind: gatewarden.EventSLO, Name: s.Name, Reason: "not judged yet"}
		}
		list[i] = api.SLO{
			Name: s.Name, Description: s.Description, Series: s.Series, SLI: s.SLI.ID(),
			Objective: roundPercent(s.Objective), Window: windowText(s.Window),
			OnOutage: s.OnOutage, OnPage: s.OnPage, OnTicket: s.OnTicket, Labels: s.Labels, Verdict: verdict, BadTraces: v.intake.bad.of(s.Name),
			Sources: v.intake.livesOn(&s),
		}
	}
	return list
}

// roundPercent gives back what the rules say: 99.9, not 99.90000000000001.
func roundPercent(ratio float64) float64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(ratio*100, 'g', 10, 64), 64)
	if err != nil {
		return ratio * 100 // not a number, which the rules do not let pass
	}
	return f
}

func windowText(w gatewarden.BudgetWindow) string {
	if w.Calendar != "" {
		return "calendar " + w.Calendar
	}
	return gatewarden.Duration(w.Rolling).String()
}

// Events returns what the query selects, without secrets.
func (v *view) Events(ctx context.Context, q api.EventQuery) ([]gatewarden.Event, error) {
	events, err := v.journal.Events(ctx, journalQuery(q))
	for i := range events {
		events[i] = shownEvent(events[i])
	}
	return events, err
}

// Follow yields what the query selects as it happens.
func (v *view) Follow(ctx context.Context, q api.EventQuery) iter.Seq2[gatewarden.Event, error] {
	return shownEvents(v.journal.Follow(ctx, journalQuery(q)))
}

func journalQuery(q api.EventQuery) journal.Query {
	return journal.Query{After: q.Since, Type: q.Type, Name: q.Name, Limit: q.Limit}
}

// Actions returns the actions, the newest first, without secrets.
func (v *view) Actions() []gatewarden.Action { return v.shown.actions(v.loop.engine.List()) }

// Approve lets a waiting action begin.
func (v *view) Approve(ctx context.Context, id, by string) error {
	return v.loop.engine.Approve(ctx, id, by)
}

// Reject turns a waiting action down.
func (v *view) Reject(ctx context.Context, id, by, reason string) error {
	return v.loop.engine.Reject(ctx, id, by, reason)
}

// Revert takes an action or a ladder back.
func (v *view) Revert(ctx context.Context, id, by string) error {
	return v.loop.engine.Revert(ctx, id, by)
}

// Pause stops the guard from beginning anything.
func (v *view) Pause(ctx context.Context, by, reason string) error {
	return v.loop.engine.Pause(ctx, by, reason)
}

// Resume ends a pause.
func (v *view) Resume(ctx context.Context, by string) error { return v.loop.engine.Resume(ctx, by) }

// Hear takes alerts of others in.
func (v *view) Hear(ctx context.Context, alerts []gatewarden.Alert) (int, error) {
	return v.loop.engine.Hear(ctx, alerts)
}

// Reload reads the files anew.
func (v *view) Reload(ctx context.Context) error { return v.reloader.Reload(ctx) }

// Ready returns why the guard is not ready.
func (v *view) Ready() error {
	if !v.judged.Load() || v.stopping.Load() {
		return gatewarden.Errorf(gatewarden.Unavailable, "the guard is starting or stopping")
	}
	return nil
}
