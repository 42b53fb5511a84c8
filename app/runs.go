package app

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/gates"
)

// releases ties the runs of canaries to the engine of actions, which moves weights and
// answers what came of a run.
type releases struct {
	engine *actions.Engine

	mu       sync.Mutex
	canaries map[string]gatewarden.Canary // also those that the rules no longer have: their runs go on
}

var _ gates.Mover = (*releases)(nil)

func newReleases(engine *actions.Engine, list []gatewarden.Canary) *releases {
	r := &releases{engine: engine, canaries: map[string]gatewarden.Canary{}}
	r.SetCanaries(list)
	return r
}

// SetCanaries takes the canaries of new rules.
func (r *releases) SetCanaries(list []gatewarden.Canary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	canaries := maps.Clone(r.canaries)
	for _, c := range list {
		canaries[c.Name] = c
	}
	r.canaries = canaries
}

func (r *releases) canary(name string) (gatewarden.Canary, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.canaries[name]
	return c, ok
}

// Move gives the canary of a run its share of the requests.
func (r *releases) Move(ctx context.Context, at time.Time, run *gatewarden.Run, percent float64) (done bool, err error) {
	c, ok := r.canary(run.Canary)
	if !ok {
		return false, gatewarden.Errorf(gatewarden.NotFound, "the canary %s is no longer in the rules, so nobody knows its targets", run.Canary)
	}
	return r.engine.Move(ctx, at, actions.MoveRequest{
		Run: moved(run), Mode: c.Mode, Step: gatewarden.ShareStep{Upstream: c.Upstream, Tracks: c.Tracks, Percent: percent},
	})
}

// Answer begins a policy for what came of a run.
func (r *releases) Answer(ctx context.Context, at time.Time, run *gatewarden.Run, policy string) error {
	if run.EndedAt == nil {
		return gatewarden.Errorf(gatewarden.Internal, "the run %s has no end to be answered", run.ID)
	}
	return r.engine.Answer(ctx, at, triggered(run), policy)
}

// triggered returns what the policies of a run that is over are started by: how it ended, or
// that its canary broke after its pass.
func triggered(run *gatewarden.Run) gatewarden.Trigger {
	since, reason := *run.EndedAt, run.Reason
	if brokeLater(run) {
		since, reason = *run.Verdict.Since, afterPass(run)
	}
	return gatewarden.Trigger{
		Kind: gatewarden.EventGate, Name: run.Canary, Since: since,
		Reason: fmt.Sprintf("run %s of the canary %s: %s", run.ID, run.Canary, reason),
	}
}

// moved returns the run as the moves of its weights tell of it: they are moved for its
// reason, or because its canary broke after its pass.
func moved(run *gatewarden.Run) *gatewarden.Run {
	if !brokeLater(run) {
		return run
	}
	m := *run
	m.Reason = afterPass(run)
	return &m
}

// brokeLater reports whether the canary of a run broke after the judge had passed it. What a
// person said of it is no pass that can break.
func brokeLater(run *gatewarden.Run) bool {
	v := run.Verdict
	return run.State == gatewarden.RunPass && run.Override == nil && v != nil && v.State == gatewarden.Breach && v.Since != nil
}

func afterPass(run *gatewarden.Run) string { return "after its pass: " + run.Verdict.Reason }

// begin makes way for a new run of a canary.
func (r *releases) begin(ctx context.Context, at time.Time, canary string) error {
	return r.engine.Release(ctx, at, canary, "a new run of the canary "+canary+" begins")
}
