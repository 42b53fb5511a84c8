package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/chaos"
)

// chaosSum counts what happened in all runs, so that a test of nothing shows.
type chaosSum struct {
	runs, actions, applied, builds, kills, hit, edits, refused, expired, looks atomic.Int64
	approved, rejected, ignored, moves, failed, passed, dbless                 atomic.Int64
	overrun                                                                    atomic.Int64 // the longest, in ms
}

func (s *chaosSum) String() string {
	return fmt.Sprintf("%d actions, %d events of something done, %d builds; %d kills, %d requests hit by a fault, %d edits by somebody else, "+
		"%d refusals while paused, %d leases run out (seen %d ms late at most); %d steps approved, %d rejected, %d expired; "+
		"%d moves of canaries, %d of whose runs failed and %d passed; %d runs with a Kong without a database; "+
		"%d looks at the gateway while changes were in place",
		s.actions.Load(), s.applied.Load(), s.builds.Load(), s.kills.Load(), s.hit.Load(), s.edits.Load(),
		s.refused.Load(), s.expired.Load(), s.overrun.Load(), s.approved.Load(), s.rejected.Load(), s.ignored.Load(),
		s.moves.Load(), s.failed.Load(), s.passed.Load(), s.dbless.Load(), s.looks.Load())
}

func (r *chaosRun) count(audit *chaos.Audit) {
	r.sum.runs.Add(1)
	seen := map[string]bool{}
	for _, e := range audit.Events {
		if e.Action == nil {
			continue
		}
		if !seen[e.Name] {
			seen[e.Name] = true
			r.sum.actions.Add(1)
		}
		if e.Action.Status == gatewarden.ActionApplied {
			r.sum.applied.Add(1)
		}
		switch s := e.Action; {
		case s.Status == gatewarden.ActionWaiting && e.By != "":
			r.sum.approved.Add(1)
		case s.Status == gatewarden.ActionSkipped && e.By != "":
			r.sum.rejected.Add(1)
		case s.Status == gatewarden.ActionExpired:
			r.sum.ignored.Add(1)
		case s.Status == gatewarden.ActionApplied && s.Spec.Share != nil:
			r.sum.moves.Add(1)
		}
		if strings.Contains(e.Reason, "paused the guard") {
			r.sum.refused.Add(1)
		}
		if end, ran := chaos.LeaseRanOut(&e); ran && r.plan.Skew() == 0 {
			r.sum.expired.Add(1)
			r.late(&e, end)
		}
	}
	for _, e := range audit.Events {
		switch {
		case e.Type != gatewarden.EventGate:
		case e.State == string(gatewarden.RunFail):
			r.sum.failed.Add(1)
		case e.State == string(gatewarden.RunPass):
			r.sum.passed.Add(1)
		}
	}
	r.sum.builds.Add(int64(len(audit.Builds)))
	for _, calls := range [][]chaos.Call{audit.Kong, audit.Jenkins} {
		for _, c := range calls {
			if c.Fault != "" {
				r.sum.hit.Add(1)
			}
		}
	}
}

// late holds how late a guard saw that a lease had run out: from the first time that it judged after that.
func (r *chaosRun) late(e *gatewarden.Event, end time.Time) {
	for _, up := range r.lives {
		if up.After(end) && !up.After(e.At) {
			end = up // it was away; the next start takes back what has run out
		}
	}
	for longest, late := r.sum.overrun.Load(), e.At.Sub(end).Milliseconds(); late > longest; longest = r.sum.overrun.Load() {
		r.sum.overrun.CompareAndSwap(longest, late)
	}
	for _, tick := range r.ticks {
		if late := e.At.Sub(tick); !tick.Before(end) && late > leaseSlack {
			r.problem("the guard judged after the lease of %s had run out, and saw it %s later", e.Name, late.Round(time.Millisecond))
			return
		}
	}
}
