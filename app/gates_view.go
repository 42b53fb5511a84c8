package app

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/gates"
)

var _ api.Gates = (*view)(nil)

// Canaries returns every canary of the rules with its newest run.
func (v *view) Canaries() []api.Canary {
	views := v.loop.runs.Canaries()
	list := make([]api.Canary, len(views))
	for i := range views {
		list[i] = canaryView(&views[i])
		v.lookBelow(&list[i])
	}
	return list
}

// Canary returns one canary with its plan.
func (v *view) Canary(name string) (api.Canary, error) {
	c, err := v.loop.runs.Canary(name)
	if err != nil {
		return api.Canary{}, gatewarden.Errorf(gatewarden.NotFound, "there is no canary %s", name).
			WithHint("%s", canaryNames(v.reloader.current().rules.Canaries))
	}
	out := canaryView(&c)
	p := plan(&c.Canary, v.store, plannedShare(&c.Canary, c.Share, c.Known), v.now())
	v.lookBelow(&out)
	out.Plan, out.Trouble = &p, v.tracks.trouble(name)
	return out, nil
}

// lookBelow adds what traces say of the services below the two tracks, since the newest run
// began.
func (v *view) lookBelow(c *api.Canary) {
	var since time.Time
	if c.Run != nil {
		since = c.Run.StartedAt
	}
	for t, track := range map[gatewarden.Track]*api.Track{gatewarden.TrackBaseline: &c.Baseline, gatewarden.TrackCanary: &c.Canary} {
		track.Downstream = v.intake.spans.below(trackOf{c.Name, t}, since, v.now())
	}
}

// canaryView is a canary as the API shows it.
func canaryView(c *gates.View) api.Canary {
	out := api.CanaryOf(&c.Canary)
	if c.Known {
		out.Share = &c.Share
	}
	out.History, out.Run = gatewarden.Duration(c.History.Truncate(time.Second)), c.Run
	for t, track := range map[gatewarden.Track]*api.Track{gatewarden.TrackBaseline: &out.Baseline, gatewarden.TrackCanary: &out.Canary} {
		seen := c.Tracks[t]
		track.Targets, track.Requests, track.Failures, track.Rate = seen.Targets, seen.Requests, seen.Failures, seen.Rate
		if !seen.Newest.IsZero() {
			track.Newest = &seen.Newest
		}
	}
	return out
}

// Runs returns what the query selects, the newest first.
func (v *view) Runs(q api.RunQuery) []gatewarden.Run {
	return v.loop.runs.Runs(gates.Filter{Canary: q.Canary, State: q.State, Limit: q.Limit})
}

// Run returns a run with its trail.
func (v *view) Run(id string) (gatewarden.Run, error) { return v.loop.runs.Run(id) }

// LatestRun returns a canary's newest run.
func (v *view) LatestRun(canary string) (gatewarden.Run, error) { return v.loop.runs.Latest(canary) }

// WaitRun returns a run when it has changed.
func (v *view) WaitRun(ctx context.Context, id, seen string) (gatewarden.Run, error) {
	return v.loop.runs.Wait(ctx, id, seen)
}

// StartRun starts a run. What an earlier run of the canary left in place is let go of
// before the new one moves any weight: no tick happens in between.
func (v *view) StartRun(ctx context.Context, canary string, req api.RunRequest) (run gatewarden.Run, created bool, err error) {
	v.loop.mu.Lock()
	defer v.loop.mu.Unlock()
	now := v.now()
	run, created, err = v.loop.runs.Start(ctx, now, gates.Request{
		Canary: canary, Key: req.Key, By: req.By, Parameters: req.Parameters, Callback: req.Callback, Replace: req.Replace,
	})
	if err == nil && created {
		err = v.loop.releases.begin(ctx, now, canary)
	}
	return run, created, err
}

// CancelRun ends a run without an answer.
func (v *view) CancelRun(ctx context.Context, id, by, reason string) (gatewarden.Run, error) {
	return v.loop.runs.Cancel(ctx, v.now(), id, by, reason)
}

// OverrideRun ends a run with a person's answer.
func (v *view) OverrideRun(ctx context.Context, id string, state gatewarden.RunState, by, reason string) (gatewarden.Run, error) {
	return v.loop.runs.Override(ctx, v.now(), id, state, by, reason)
}
