package app

import (
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// A canary that broke after its pass is rolled back because it broke, and since it did.
func TestARollbackIsForWhatHappened(t *testing.T) {
	ended := time.Date(2026, 11, 22, 2, 15, 0, 0, time.UTC)
	broke := ended.Add(time.Minute)
	run := gatewarden.Run{ID: "r1", Canary: "orders", State: gatewarden.RunPass, EndedAt: &ended, Reason: "it is within its margins"}
	run.Verdict = &gatewarden.CanaryVerdict{State: gatewarden.Healthy}
	if got := triggered(&run); got.Reason != "run r1 of the canary orders: it is within its margins" || !got.Since.Equal(ended) {
		t.Errorf("a pass is answered by %+v", got)
	}
	run.Verdict = &gatewarden.CanaryVerdict{State: gatewarden.Breach, Since: &broke, Reason: "it is worse"}
	if got := triggered(&run); got.Reason != "run r1 of the canary orders: after its pass: it is worse" || !got.Since.Equal(broke) {
		t.Errorf("a break after it is answered by %+v", got)
	}
}
