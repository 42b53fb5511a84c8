package actions

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// renewing is an executor that notes until when it was told that changes live.
type renewing struct {
	Executor
	mu    sync.Mutex
	begun time.Time
	until []time.Duration
	fails int // of the next calls
}

func (r *renewing) Renew(_ context.Context, a gatewarden.Action) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails > 0 {
		r.fails--
		return gatewarden.Errorf(gatewarden.Unavailable, "it is down")
	}
	r.until = append(r.until, a.LeaseUntil.Sub(r.begun))
	return nil
}

func TestAlertsAreRenewedWithTheirLease(t *testing.T) {
	for _, fails := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			step := gatewarden.Step{Kind: gatewarden.StepAlertmanager, Alertmanager: &gatewarden.AlertmanagerStep{URL: "http://am"}}
			w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{step} })}, slo("orders", "protect"))
			x := &renewing{Executor: w.engine.cfg.Executors[gatewarden.StepPlugin], begun: w.begun, fails: fails}
			w.engine.cfg.Executors[gatewarden.StepAlertmanager] = x
			timetable(t, w, "0s orders=outage\n11m orders=healthy\n17m", nil)
			if diff := cmp.Diff([]time.Duration{20 * time.Minute, 25 * time.Minute, 30 * time.Minute}, x.until); diff != "" {
				t.Errorf("with %d failures, renewed until (-want +got)\n%s", fails, diff)
			}
			if last := w.engine.List()[0]; last.Status != gatewarden.ActionReverted || !slices.Contains(w.outside.reverted, last.ID) {
				t.Errorf("in the end it is %s", last.Status)
			}
			w.close(t)
		})
	}
}
