package gates

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

func TestNothingIsDecidedWhileTooMuchOfTheLogIsMissing(t *testing.T) {
	for sentence, c := range map[string]struct {
		failed bool
		want   gatewarden.RunState
	}{
		"a healthy canary passes when the log is whole again": {false, gatewarden.RunPass},
		"a bad one fails then":                                {true, gatewarden.RunFail},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, canaryOf("orders"))
			w.lacking = true
			run := w.start("orders", "")
			w.pass(50*time.Second, "orders", 5, c.failed)
			got := w.run(run.ID)
			if got.State != gatewarden.RunRunning || !strings.HasSuffix(got.Reason, "; no answer until the log is whole: half of the log of orders is missing") {
				t.Fatalf("with half of the log it is %s: %s", got.State, got.Reason)
			}
			whole := w.now
			w.lacking = false
			w.pass(2*time.Second, "orders", 5, c.failed)
			if got := w.run(run.ID); got.State != c.want || got.EndedAt.Before(whole.Truncate(time.Second)) || strings.Contains(got.Reason, "half of the log") {
				t.Errorf("with the whole log it is %s at %v: %s", got.State, got.EndedAt, got.Reason)
			}
		})
	}
}

func TestARunWithoutEnoughOfTheLogHasNoAnswerAtItsDeadline(t *testing.T) {
	for on, want := range map[gatewarden.Inconclusiveness]gatewarden.RunState{
		gatewarden.Hold:       gatewarden.RunInconclusive,
		gatewarden.HoldsAPass: gatewarden.RunInconclusive, // what there is of the log says that it fails
		gatewarden.HoldsAFail: gatewarden.RunFail,
	} {
		canary := canaryOf("orders")
		canary.OnInconclusive = on
		w := newWorld(t, canary)
		w.lacking = true
		run := w.start("orders", "")
		w.pass(3*time.Minute, "orders", 5, true)
		got := w.run(run.ID)
		if got.State != want || !strings.Contains(got.Reason, "can't judge: half of the log of orders is missing") {
			t.Errorf("with on_inconclusive %s it is %s: %s", on, got.State, got.Reason)
		}
		if want == gatewarden.RunInconclusive && len(w.disk.answers) > 0 {
			t.Errorf("with on_inconclusive %s there are answers: %v", on, w.disk.answers)
		}
	}
}

func TestACanaryThatPassedIsNotCondemnedByHalfALog(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	w.pass(time.Minute, "orders", 5, false)
	w.lacking = true
	w.pass(30*time.Second, "orders", 5, true)
	if got := w.run(run.ID); got.State != gatewarden.RunPass || !got.Watched {
		t.Fatalf("with half of the log it is %s, watched %v: %s", got.State, got.Watched, got.Reason)
	}
	w.lacking = false
	w.pass(2*time.Second, "orders", 5, true)
	if diff := cmp.Diff([]string{"cheer orders pass", "drain orders pass"}, w.disk.answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestARunDoesNotPassBeforeAllOfItIsHere(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.late = true
	run := w.start("orders", "")
	w.pass(50*time.Second, "orders", 5, false)
	if got := w.run(run.ID); got.State != gatewarden.RunRunning || !strings.HasSuffix(got.Reason, "; no pass until all of it is here: another guard is behind") {
		t.Fatalf("it is %s: %s", got.State, got.Reason)
	}
	late := w.now
	w.late = false
	w.pass(2*time.Second, "orders", 5, false)
	if got := w.run(run.ID); got.State != gatewarden.RunPass || got.EndedAt.Before(late.Truncate(time.Second)) || strings.Contains(got.Reason, "behind") {
		t.Errorf("with all of it, it is %s at %v: %s", got.State, got.EndedAt, got.Reason)
	}
}

func TestARunWhoseLogComesLateIsInconclusiveAtItsDeadline(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.late = true
	run := w.start("orders", "")
	w.pass(3*time.Minute, "orders", 5, false)
	if got := w.run(run.ID); got.State != gatewarden.RunInconclusive || !strings.Contains(got.Reason, "can't judge: another guard is behind") {
		t.Errorf("it is %s: %s", got.State, got.Reason)
	}
}

func TestARunThatFailsDoesNotWaitForOthers(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.late = true
	run := w.start("orders", "")
	w.pass(50*time.Second, "orders", 5, true)
	if got := w.run(run.ID); got.State != gatewarden.RunFail {
		t.Errorf("it is %s: %s", got.State, got.Reason)
	}
}
