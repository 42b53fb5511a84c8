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
	if got := moved(&run); got.Reason != run.Reason {
		t.Errorf("the weights of a pass are moved for %q", got.Reason)
	}
	if got := triggered(&run); got.Reason != "run r1 of the canary orders: it is within its margins" || !got.Since.Equal(ended) {
		t.Errorf("a pass is answered by %+v", got)
	}
	run.Verdict = &gatewarden.CanaryVerdict{State: gatewarden.Breach, Since: &broke, Reason: "it is worse"}
	if got := triggered(&run); got.Reason != "run r1 of the canary orders: after its pass: it is worse" || !got.Since.Equal(broke) {
		t.Errorf("a break after it is answered by %+v", got)
	}
	if got := moved(&run); got.Reason != "after its pass: it is worse" || run.Reason != "it is within its margins" {
		t.Errorf("after it the weights are taken back for %q, and the run is %q", got.Reason, run.Reason)
	}
	run.Override = &gatewarden.Override{State: gatewarden.RunPass, By: "ada"}
	run.Reason = "ada said so"
	if got := triggered(&run); got.Reason != "run r1 of the canary orders: ada said so" || !got.Since.Equal(ended) {
		t.Errorf("what ada said of a canary that was about to fail is answered by %+v", got)
	}
}
