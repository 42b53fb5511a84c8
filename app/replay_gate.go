package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/gates"
)

// ReplayGate asks a replay to judge a rollout that was recorded.
type ReplayGate struct {
	Canary string
	Start  time.Time // when its run starts; zero: with the first request of the canary
}

// replayGates starts the runs of a replay when their time has come.
type replayGates struct {
	book    *gates.Book
	tracks  *tracks
	waiting []waitingGate
	started []string // ids of runs
}

type waitingGate struct {
	ReplayGate
	canary *gatewarden.Canary
}

// newReplayGates checks that the canaries are there and that their tracks can be told
// apart in a log.
func newReplayGates(opts *ReplayOptions, t *tracks) (*replayGates, error) {
	g := &replayGates{tracks: t}
	for _, want := range opts.Gates {
		i := slices.IndexFunc(opts.Rules.Canaries, func(c gatewarden.Canary) bool { return c.Name == want.Canary })
		if i < 0 {
			return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no canary %s in the rules", want.Canary).
				WithHint("%s", canaryNames(opts.Rules.Canaries))
		}
		c := &opts.Rules.Canaries[i]
		if err := t.told(c); err != nil {
			return nil, err
		}
		g.waiting = append(g.waiting, waitingGate{want, c})
	}
	return g, nil
}

func canaryNames(list []gatewarden.Canary) string {
	if len(list) == 0 {
		return "the rules have no canaries:"
	}
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.Name
	}
	return "the canaries are " + strings.Join(names, ", ")
}

// told reports whether a log tells the tracks of c apart, as an error when it does not.
func (t *tracks) told(c *gatewarden.Canary) error {
	if !c.Tracks[gatewarden.TrackCanary].Targets() {
		return nil
	}
	var seen [2]bool
	for _, track := range t.known[c.Name].of {
		seen[track] = true
	}
	if seen[gatewarden.TrackBaseline] && seen[gatewarden.TrackCanary] {
		return nil
	}
	return gatewarden.Errorf(gatewarden.Invalid, "the log says which address served a request, but not which of them are the %s of the canary %s",
		c.Tracks[gatewarden.TrackCanary], c.Name).
		WithHint(`give the upstream's targets of that time by --targets FILE: what "curl $KONG_ADMIN/upstreams/%s/targets" answers`, c.Upstream)
}

// look starts the runs that are due before a record is counted.
func (g *replayGates) look(ctx context.Context, r *gatewarden.Record) error {
	for i := 0; i < len(g.waiting); i++ {
		w := g.waiting[i]
		at := w.Start
		switch {
		case !w.Start.IsZero() && r.At.Before(w.Start):
			continue
		case w.Start.IsZero():
			o, ok := w.canary.Observe(r, func(target string) (gatewarden.Track, bool) { return g.tracks.Track(w.canary.Name, target) })
			if !ok || o.Track != gatewarden.TrackCanary {
				continue
			}
			at = r.At
		}
		// A run begins with the next whole second: this one, if it is to begin in it.
		at = at.Truncate(time.Second).Add(-time.Millisecond)
		run, _, err := g.book.Start(ctx, at, gates.Request{Canary: w.Canary, By: "replay"})
		if err != nil {
			return fmt.Errorf("starting the run of %s: %w", w.Canary, err)
		}
		g.started = append(g.started, run.ID)
		g.waiting = slices.Delete(g.waiting, i, i+1)
		i--
	}
	return nil
}

// settle is how long after the last record the judges still close seconds.
const settle = 5 * time.Second

// end closes the seconds that the judges hold open for late records, and returns the runs.
// One that the recording leaves without an answer says so.
func (g *replayGates) end(ctx context.Context, now time.Time) ([]gatewarden.Run, error) {
	for at := now; !at.After(now.Add(settle)); at = at.Add(tickEvery) {
		if err := g.book.Tick(ctx, at); err != nil {
			return nil, err
		}
	}
	var runs []gatewarden.Run
	for _, id := range g.started {
		run, err := g.book.Run(id)
		if err != nil {
			return nil, err
		}
		if !run.Over() {
			run.State = gatewarden.RunInconclusive
			run.Reason = "the recording ends before there is an answer: " + run.Reason
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// neverBegan returns the canaries whose runs never began, with the reason.
func (g *replayGates) neverBegan() []error {
	var errs []error
	for _, w := range g.waiting {
		why := "the log has no request of the canary"
		if !w.Start.IsZero() {
			why = "the log ends before " + w.Start.Format(time.RFC3339)
		}
		errs = append(errs, gatewarden.Errorf(gatewarden.NotFound, "the run of %s never began: %s", w.Canary, why).
			WithHint("the canary's requests are those of %s", w.canary.Tracks[gatewarden.TrackCanary]))
	}
	return errs
}
