package kong

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// TestARevertWhoseAnswerWasLostIsNotTakenForSomebodyElses: a weight lies on a drain. Its
// revert sets what the drain wants, and the answer is lost. Before it is tried again the
// drain is taken back, which leaves the target to the weight, still in place.
func TestARevertWhoseAnswerWasLostIsNotTakenForSomebodyElses(t *testing.T) {
	t.Parallel()
	b := newBench(t, fakekong.Config{})
	before := b.get("/upstreams/orders-up/targets")
	at := func(second int) *time.Time {
		instant := time.Date(2026, 11, 22, 12, 0, second, 0, time.UTC)
		return &instant
	}
	drain := weightAction("drain-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"})
	weight := weightAction("weight-1", gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 5})
	among := func(other *record) { b.exec = b.exec.Among([]gatewarden.Action{other.Action}).(*Executor) }
	drain.StartedAt, drain.AppliedAt, drain.Status = at(1), at(1), gatewarden.ActionApplied
	b.mustRun(drain)
	weight.StartedAt, weight.AppliedAt, weight.Status = at(2), at(2), gatewarden.ActionApplied
	among(drain)
	b.mustRun(weight)

	weight.Status = gatewarden.ActionReverting
	b.mustRevert(weight) // nobody hears of it
	drain.Status = gatewarden.ActionReverting
	among(weight)
	b.mustRevert(drain)
	drain.Status, drain.EndedAt = gatewarden.ActionReverted, at(3)
	among(drain)
	out := b.mustRevert(weight)
	wantStatus(t, out, gatewarden.ActionReverted)
	if after := b.get("/upstreams/orders-up/targets"); after != before {
		t.Errorf("the targets are not as before:\n%s\n%s", strings.TrimSpace(before), after)
	}
}
