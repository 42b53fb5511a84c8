package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/chaos"
)

// edit lets somebody else change the gateway.
func (r *chaosRun) edit(edit chaos.Edit) {
	f, err := r.gateway.Make(r.ctx, edit)
	if err != nil {
		r.t.Fatalf("%s: %v", edit, err)
	}
	if f != nil {
		r.foreign = append(r.foreign, *f)
		r.sum.edits.Add(1)
	}
}

// decide lets a person decide about what waits for one, or the guard die of it.
func (r *chaosRun) decide() {
	if !r.plan.Approve && !r.plan.ByHand {
		return
	}
	var all api.ActionList
	if r.guard.get("/api/v1/actions", &all) != nil {
		return
	}
	for i := range all.Actions {
		a := &all.Actions[i]
		if a.Status != gatewarden.ActionWaiting || a.By != "" {
			continue
		}
		if r.ambushed {
			r.ambushed = false
			r.end(r.ambush, func() { r.guard.kill(r.t) })
			return
		}
		r.decideOn(a)
	}
}

// decideOn lets a person decide about one step, when it is time. An order that is refused, or
// whose answer is lost, is given again.
func (r *chaosRun) decideOn(a *gatewarden.Action) {
	decision, after := r.plan.Decide(a)
	at, known := r.decideAt[a.ID]
	if !known {
		at = time.Now().Add(after)
		r.decideAt[a.ID] = at
	}
	if time.Now().Before(at) {
		return
	}
	by := map[string]string{"by": "ada"}
	var result map[string]any
	switch decision {
	case chaos.Approves:
		_ = r.guard.order("/api/v1/actions/"+a.ID+"/approve", by, &result)
	case chaos.Rejects:
		_ = r.guard.order("/api/v1/actions/"+a.ID+"/reject", by, &result)
	case chaos.Ignores: // it expires
	}
}

// ask asks for the runs that are due, until the guard has them.
func (r *chaosRun) ask() {
	for len(r.asking) > 0 {
		var run gatewarden.Run
		request := api.RunRequest{Key: r.asking[0], By: "chaos", Replace: true}
		if r.guard.order("/api/v1/canaries/orders/runs", request, &run) != nil {
			return
		}
		r.asked, r.asking = append(r.asked, r.asking[0]), r.asking[1:]
	}
}

// runsOver returns what is missing until all runs of the canary are over, with what they are
// watched for after a pass.
func (r *chaosRun) runsOver() error {
	if len(r.asked) == 0 {
		return nil
	}
	var list api.RunList
	if err := r.guard.get("/api/v1/runs", &list); err != nil {
		return err
	}
	for _, run := range list.Runs {
		if !run.Over() || run.Watched && time.Now().Before(run.Deadline.Add(2*time.Second)) {
			r.steady = time.Time{}
			return fmt.Errorf("run %s is %s: %s", run.ID, run.State, run.Reason)
		}
	}
	return nil
}

// still waits until nothing has been left to do for a while: what answers a run begins a moment
// after its end.
func (r *chaosRun) still() error {
	if len(r.asked) == 0 {
		return nil
	}
	if r.steady.IsZero() {
		r.steady = time.Now()
	}
	if time.Since(r.steady) < 3*time.Second {
		return errors.New("what answers the last run may not have begun")
	}
	return nil
}
