package gates

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

func TestAHealthyCanaryPassesAndIsJudgedOn(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "build-7")
	if want := "orders-20261122-021501-x1"; run.ID != want || !run.StartedAt.Equal(t0.Truncate(time.Second).Add(time.Second)) {
		t.Errorf("the run is %s from %s, want %s from the next whole second", run.ID, run.StartedAt, want)
	}
	w.pass(time.Minute, "orders", 5, false)
	got := w.run(run.ID)
	if got.State != gatewarden.RunPass || !got.Watched || got.Reason != "0 of 300 requests failed" {
		t.Errorf("after a minute it is %s, watched %v: %s", got.State, got.Watched, got.Reason)
	}
	// 30 s after the start the evidence is there, three seconds more are kept open.
	if want := run.StartedAt.Add(33 * time.Second); !got.EndedAt.Equal(want) {
		t.Errorf("it ended at %s, want %s", got.EndedAt, want)
	}
	w.pass(2*time.Minute, "orders", 5, false)
	if got := w.run(run.ID); got.Watched || got.State != gatewarden.RunPass {
		t.Errorf("after the deadline it is %s, watched %v", got.State, got.Watched)
	}
	want := []string{"gate orders running", "gate orders pass", "canary orders healthy"}
	if diff := cmp.Diff(want, w.states()); diff != "" {
		t.Errorf("the journal (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"cheer orders pass"}, w.disk.answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestABadCanaryFailsAtOnce(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	w.pass(20*time.Second, "orders", 5, true)
	got := w.run(run.ID)
	if got.State != gatewarden.RunFail || got.Watched || got.Verdict.State != gatewarden.Breach {
		t.Errorf("it is %s, watched %v, verdict %v", got.State, got.Watched, got.Verdict)
	}
	if diff := cmp.Diff([]string{"drain orders fail"}, w.disk.answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if len(got.Trail) == 0 || got.Trail[len(got.Trail)-1].Fail <= got.Trail[0].Fail {
		t.Errorf("the trail does not show the evidence: %v", got.Trail)
	}
}

func TestWithoutAnAnswerTheDeadlineDecides(t *testing.T) {
	for sentence, c := range map[string]struct {
		on      gatewarden.Inconclusiveness
		state   gatewarden.RunState
		says    string
		answers []string
	}{
		"hold: it is inconclusive": {gatewarden.Hold, gatewarden.RunInconclusive, "no answer by the deadline", nil},
		"pass: it passes":          {gatewarden.HoldsAPass, gatewarden.RunPass, "on_inconclusive: pass", []string{"cheer orders pass"}},
		"fail: it fails":           {gatewarden.HoldsAFail, gatewarden.RunFail, "on_inconclusive: fail", []string{"drain orders fail"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			canary := canaryOf("orders")
			canary.OnInconclusive = c.on
			w := newWorld(t, canary)
			run := w.start("orders", "")
			w.pass(3*time.Minute, "orders", 0, false)
			got := w.run(run.ID)
			if got.State != c.state || got.Watched || !strings.Contains(got.Reason, c.says) || !got.EndedAt.Equal(run.Deadline) {
				t.Errorf("it is %s at %s, watched %v: %s", got.State, got.EndedAt, got.Watched, got.Reason)
			}
			if diff := cmp.Diff(c.answers, w.disk.answers); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestABreakAfterThePassIsAnswered(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps = []int{50}
	w := newWorld(t, canary)
	run := w.start("orders", "")
	w.pass(40*time.Second, "orders", 5, false)
	w.pass(10*time.Second, "orders", 5, true)
	got := w.run(run.ID)
	if got.State != gatewarden.RunPass || got.Watched {
		t.Errorf("it is %s, watched %v", got.State, got.Watched)
	}
	want := []string{"gate orders running", "canary orders step", "gate orders pass", "canary orders step", "canary orders breach", "canary orders step"}
	if diff := cmp.Diff(want, w.states()); diff != "" {
		t.Errorf("the journal (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"cheer orders pass", "drain orders pass"}, w.disk.answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"orders 50", "orders 100", "orders 0"}, w.disk.moves); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
}

func TestWatchingEnds(t *testing.T) {
	for sentence, c := range map[string]struct {
		then func(w *world)
		says string
	}{
		"when the canary takes no requests any more": {func(w *world) { w.pass(62*time.Second, "orders", 0, false) }, "no requests any more"},
		"when the next run begins":                   {func(w *world) { w.start("orders", "next"); w.pass(time.Second, "orders", 0, false) }, "the next run began"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, canaryOf("orders"))
			run := w.start("orders", "")
			w.pass(40*time.Second, "orders", 5, false)
			c.then(w)
			if got := w.run(run.ID); got.Watched {
				t.Error("it is still watched")
			}
			found := false
			for _, e := range w.disk.events {
				found = found || e.Type == gatewarden.EventCanary && strings.Contains(e.Reason, c.says)
			}
			if !found {
				t.Errorf("the journal does not say %q: %v", c.says, w.states())
			}
		})
	}
}

func TestTheGuardMovesTheWeightsStepByStep(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps = []int{5, 25, 50}
	w := newWorld(t, canary)
	run := w.start("orders", "")
	w.pass(time.Second, "orders", 5, false)
	if got := w.run(run.ID); got.Step != 1 || w.disk.share["orders"] != 0.05 {
		t.Errorf("at first it is at step %d with a share of %g", got.Step, w.disk.share["orders"])
	}
	w.pass(39*time.Second, "orders", 5, false)
	if got := w.run(run.ID); got.State != gatewarden.RunPass || got.Step != 4 {
		t.Errorf("it is %s at step %d: %s", got.State, got.Step, got.Reason)
	}
	want := []string{"orders 5", "orders 25", "orders 50", "orders 100"}
	if diff := cmp.Diff(want, w.disk.moves); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
	var steps []time.Duration
	for _, e := range w.disk.events {
		if e.State == "step" {
			steps = append(steps, e.At.Sub(t0))
		}
	}
	// Each of the steps lasts a quarter of the 30 s.
	for i := 1; i < len(steps)-1; i++ {
		if took := steps[i] - steps[i-1]; took < 7500*time.Millisecond {
			t.Errorf("step %d lasted %s only", i, took)
		}
	}
}

func TestAStepNeedsItsPartOfTheEvidence(t *testing.T) {
	for sentence, c := range map[string]struct {
		perTick int
		failed  bool
		step    int
	}{
		"enough of it":         {2, false, 2},
		"too few requests":     {0, false, 1},
		"a failure too many":   {1, true, 1}, // 12 by then: more than a tenth of what a fail needs
		"few requests, but ok": {1, false, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			canary := canaryOf("orders")
			canary.Steps = []int{5, 25, 50}
			w := newWorld(t, canary)
			run := w.start("orders", "")
			w.pass(12*time.Second+500*time.Millisecond, "orders", c.perTick, c.failed)
			if c.perTick == 2 {
				w.pass(4*time.Second, "orders", 2, false)
			}
			if got := w.run(run.ID); got.Step != c.step || got.State != gatewarden.RunRunning {
				t.Errorf("it is %s at step %d, want %d: %v", got.State, got.Step, c.step, got.Verdict)
			}
		})
	}
}

func TestAFailTakesTheWeightsBackAtOnce(t *testing.T) {
	for sentence, end := range map[string]func(w *world, id string) error{
		"by evidence": func(w *world, _ string) error { w.pass(10*time.Second, "orders", 5, true); return nil },
		"by a person": func(w *world, id string) error {
			_, err := w.book.Override(w.t.Context(), w.now, id, gatewarden.RunFail, "ada", "the boss is looking")
			return err
		},
		"by cancelling it": func(w *world, id string) error {
			_, err := w.book.Cancel(w.t.Context(), w.now, id, "jenkins", "the build was aborted")
			return err
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			canary := canaryOf("orders")
			canary.Steps = []int{5, 50}
			w := newWorld(t, canary)
			run := w.start("orders", "")
			w.pass(time.Second, "orders", 1, false)
			if err := end(w, run.ID); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"orders 5", "orders 0"}, w.disk.moves); diff != "" {
				t.Errorf("moves (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnInconclusiveRunLeavesTheWeights(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps = []int{5, 50}
	w := newWorld(t, canary)
	w.start("orders", "")
	w.pass(3*time.Minute, "orders", 0, false)
	if diff := cmp.Diff([]string{"orders 5"}, w.disk.moves); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
}

func TestWeightsThatAreHeldShowInTheReasonAndTheEvidenceDecides(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps = []int{5, 50}
	w := newWorld(t, canary)
	w.disk.held = gatewarden.Errorf(gatewarden.Conflict, "the mode is observe")
	run := w.start("orders", "")
	w.pass(2*time.Second, "orders", 5, false)
	if got := w.run(run.ID); !strings.HasSuffix(got.Reason, "; the weights are not moved: the mode is observe") {
		t.Errorf("the reason is %q", got.Reason)
	}
	w.pass(40*time.Second, "orders", 5, false)
	if got := w.run(run.ID); got.State != gatewarden.RunPass || !strings.Contains(got.Reason, "the mode is observe") {
		t.Errorf("it is %s: %s", got.State, got.Reason)
	}
	w.disk.held = nil
	w.pass(time.Second, "orders", 5, false)
	if got := w.run(run.ID); strings.Contains(got.Reason, "the mode is observe") {
		t.Errorf("what is no longer held still says %q", got.Reason)
	}
	if diff := cmp.Diff([]string{"orders 100"}, w.disk.moves); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
}

func TestStepsWaitForWhatPassesByItself(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps = []int{5, 25, 50}
	w := newWorld(t, canary)
	run := w.start("orders", "")
	w.pass(8*time.Second, "orders", 5, false)
	w.disk.held = gatewarden.Errorf(gatewarden.Unavailable, "Kong does not answer")
	for range 100 { // until it is to make its second step
		if w.pass(500*time.Millisecond, "orders", 50, false); w.run(run.ID).Step == 2 {
			break
		}
	}
	w.pass(30*time.Second, "orders", 50, false) // all that a pass needs
	if got := w.run(run.ID); got.State != gatewarden.RunRunning || got.Step != 2 || !strings.HasSuffix(got.Reason, "Kong does not answer") {
		t.Errorf("it is %s at step %d: %s", got.State, got.Step, got.Reason)
	}
	w.boot()
	w.disk.held = nil
	w.pass(30*time.Second, "orders", 50, false)
	if got := w.run(run.ID); got.State != gatewarden.RunPass || got.Step != 4 {
		t.Errorf("it is %s at step %d: %s", got.State, got.Step, got.Reason)
	}
	if diff := cmp.Diff([]string{"orders 5", "orders 25", "orders 50", "orders 100"}, w.disk.moves); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
}

func TestWhatCouldNotBeMovedIsGivenUp(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps = []int{5, 50}
	w := newWorld(t, canary)
	w.disk.held = gatewarden.Errorf(gatewarden.Conflict, "paused")
	run := w.start("orders", "")
	w.pass(10*time.Second, "orders", 5, true)
	if got := w.run(run.ID); got.State != gatewarden.RunFail {
		t.Fatalf("it is %s", got.State)
	}
	for range followUp / mostSpent {
		w.now = w.now.Add(mostSpent)
		if err := w.book.Tick(t.Context(), w.now); err != nil {
			t.Fatal(err)
		}
	}
	w.disk.held = nil
	w.pass(time.Second, "orders", 0, false)
	if len(w.disk.moves) != 0 {
		t.Errorf("an hour later the weights were moved: %v", w.disk.moves)
	}
}

func TestAKeyFindsItsRunForEver(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "build-7")
	for range 2 {
		again, created, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders", Key: "build-7", Replace: true})
		if err != nil || created || again.ID != run.ID {
			t.Errorf("the same key: %s, created %v, %v", again.ID, created, err)
		}
		w.pass(20*time.Second, "orders", 5, true) // it fails
		w.boot()
	}
	if got := w.run(run.ID); got.State != gatewarden.RunFail || len(got.Trail) == 0 {
		t.Errorf("after a restart it is %s with %d points", got.State, len(got.Trail))
	}
}

func TestAnotherRunMustWaitOrReplace(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "a")
	_, _, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders", Key: "b"})
	if gatewarden.ErrorCode(err) != gatewarden.Conflict || !strings.Contains(err.Error(), run.ID) {
		t.Errorf("while one is running: %v", err)
	}
	w.now = w.now.Add(time.Second)
	next, created, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders", Key: "b", By: "bob", Replace: true})
	if err != nil || !created {
		t.Fatalf("replacing: created %v, %v", created, err)
	}
	if got := w.run(run.ID); got.State != gatewarden.RunCancelled || !strings.Contains(got.Reason, "bob") {
		t.Errorf("the one before is %s: %s", got.State, got.Reason)
	}
	if latest, err := w.book.Latest("orders"); err != nil || latest.ID != next.ID {
		t.Errorf("the latest is %s, %v", latest.ID, err)
	}
	want := []string{"gate orders running", "gate orders cancelled", "gate orders running"}
	if diff := cmp.Diff(want, w.states()); diff != "" {
		t.Errorf("the journal (-want +got):\n%s", diff)
	}
}

func TestWhatCannotBeDoneIsRefusedWithItsCode(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "a")
	if _, err := w.book.Cancel(t.Context(), w.now, run.ID, "ada", ""); err != nil {
		t.Fatal(err)
	}
	start := func(r Request) error {
		_, _, err := w.book.Start(t.Context(), w.now, r)
		return err
	}
	override := func(id string, s gatewarden.RunState, by string) error {
		_, err := w.book.Override(t.Context(), w.now, id, s, by, "")
		return err
	}
	for sentence, c := range map[string]struct {
		err  error
		code gatewarden.Code
	}{
		"a canary that is none":        {start(Request{Canary: "x"}), gatewarden.NotFound},
		"a callback without a host":    {start(Request{Canary: "orders", Callback: &gatewarden.Callback{URL: "http:///x"}}), gatewarden.Invalid},
		"a callback to a file":         {start(Request{Canary: "orders", Callback: &gatewarden.Callback{URL: "file:///etc/passwd"}}), gatewarden.Invalid},
		"a header of two lines":        {start(Request{Canary: "orders", Callback: &gatewarden.Callback{URL: "http://x/", Authorization: gatewarden.NewSecret("a\r\nb: c")}}), gatewarden.Invalid},
		"a key beyond any sense":       {start(Request{Canary: "orders", Key: strings.Repeat("k", 300)}), gatewarden.Invalid},
		"parameters beyond any sense":  {start(Request{Canary: "orders", Parameters: map[string]string{"a": strings.Repeat("k", 20<<10)}}), gatewarden.Invalid},
		"a run that is none":           {override("x", gatewarden.RunPass, "ada"), gatewarden.NotFound},
		"a run that is over":           {override(run.ID, gatewarden.RunPass, "ada"), gatewarden.Conflict},
		"an answer that is none":       {override(run.ID, gatewarden.RunCancelled, "ada"), gatewarden.Invalid},
		"nobody":                       {override(run.ID, gatewarden.RunPass, " "), gatewarden.Invalid},
		"cancelling twice is no error": {func() error { _, err := w.book.Cancel(t.Context(), w.now, run.ID, "ada", ""); return err }(), ""},
	} {
		if got := gatewarden.ErrorCode(c.err); got != c.code {
			t.Errorf("%s: %q (%v), want %q", sentence, got, c.err, c.code)
		}
	}
}

func TestAPersonCanDecide(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	w.pass(5*time.Second, "orders", 1, false)
	got, err := w.book.Override(t.Context(), w.now, run.ID, gatewarden.RunPass, "ada", "it is the day before Christmas")
	if err != nil {
		t.Fatal(err)
	}
	if got.State != gatewarden.RunPass || got.Reason != "ada said so: it is the day before Christmas" || got.Override == nil || got.Override.By != "ada" || got.Watched {
		t.Errorf("it is %s, watched %v: %s, %v", got.State, got.Watched, got.Reason, got.Override)
	}
	if diff := cmp.Diff([]string{"cheer orders pass"}, w.disk.answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if e := w.disk.events[len(w.disk.events)-1]; e.By != "ada" || e.Run == nil || e.Run.Trail != nil {
		t.Errorf("the event is %+v", e)
	}
}

func TestTheBaselinesHistoryIsAtHand(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.pass(25*time.Minute, "orders", 1, false)
	view, err := w.book.Canary("orders")
	if err != nil {
		t.Fatal(err)
	}
	if view.History < 10*time.Minute || view.History > 20*time.Minute {
		t.Errorf("%s of the baseline were seen", view.History)
	}
	w.boot() // a restart loses a minute at most
	run := w.start("orders", "")
	w.pass(10*time.Second, "orders", 1, false)
	if got := time.Duration(w.run(run.ID).Verdict.History); got < 17*time.Minute || got > 40*time.Minute { // 2 requests a second count as seconds here
		t.Errorf("the run knows %s of it", got)
	}
}

func TestAStartCostsNoHistory(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.pass(25*time.Minute, "orders", 1, false)
	for i := range 3 { // as a pipeline that tries again
		run, _, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders", Key: fmt.Sprint(i), Replace: true})
		if err != nil {
			t.Fatal(err)
		}
		w.pass(10*time.Second, "orders", 1, false)
		// 2 requests a second count as seconds here
		if got := time.Duration(w.run(run.ID).Verdict.History) / 2; got < 10*time.Minute {
			t.Errorf("run %d knows %s of the baseline", i, got)
		}
	}
}

func TestAnotherDefinitionBeginsAnew(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	changed := canaryOf("orders")
	changed.FalseAlarm = 0.001
	changed.Series.Route = "nowhere"
	if err := w.book.SetCanaries([]gatewarden.Canary{changed}); err != nil {
		t.Fatal(err)
	}
	w.pass(20*time.Second, "orders", 5, true)
	if got := w.run(run.ID); got.State != gatewarden.RunFail {
		t.Errorf("the run that had begun before is %s: %s", got.State, got.Reason)
	}
	view, err := w.book.Canary("orders")
	if err != nil || view.Canary.FalseAlarm != 0.001 || view.Tracks[gatewarden.TrackCanary].Requests != 0 {
		t.Errorf("the canary is %+v, %v", view, err)
	}
}

func TestACanaryThatIsGoneEndsItsRunAllTheSame(t *testing.T) {
	w := newWorld(t, canaryOf("orders"), canaryOf("payments"))
	run := w.start("orders", "")
	w.canaries = w.canaries[1:]
	if err := w.book.SetCanaries(w.canaries); err != nil {
		t.Fatal(err)
	}
	w.pass(3*time.Second, "orders", 1, true)
	w.boot()
	w.pass(30*time.Second, "orders", 5, true)
	if got := w.run(run.ID); got.State != gatewarden.RunFail {
		t.Errorf("it is %s: %s", got.State, got.Reason)
	}
	if views := w.book.Canaries(); len(views) != 1 || views[0].Canary.Name != "payments" {
		t.Errorf("the canaries are %v", views)
	}
	if _, _, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders"}); gatewarden.ErrorCode(err) != gatewarden.NotFound {
		t.Errorf("another run of it: %v", err)
	}
}

func TestABadDefinitionChangesNothing(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	if err := w.book.SetCanaries([]gatewarden.Canary{canaryOf("payments"), {Name: "bad"}}); err == nil {
		t.Error("a canary that cannot be judged is taken")
	}
	if views := w.book.Canaries(); len(views) != 1 || views[0].Canary.Name != "orders" {
		t.Errorf("the canaries are %v", views)
	}
}

func TestACanaryShowsWhatWasSeenOfIt(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.disk.share["orders"] = 0.5
	w.pass(2*time.Minute, "orders", 5, false)
	v, err := w.book.Canary("orders")
	if err != nil {
		t.Fatal(err)
	}
	got := v.Tracks[gatewarden.TrackCanary]
	if got.Requests != 1200 || got.Failures != 0 || got.Rate < 9.5 || got.Rate > 10.5 || !got.Newest.Equal(w.now) {
		t.Errorf("the canary's track is %+v", got)
	}
	if diff := cmp.Diff([]string{"10.0.0.1:2"}, got.Targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if !v.Known || v.Share != 0.5 || v.Run != nil {
		t.Errorf("the view is %+v", v)
	}
}

func TestWhoWaitsForAnAnswerFindsItInTheTimeline(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	got := make(chan gatewarden.Run)
	told := make(chan int)
	go func() {
		r, err := w.book.Wait(context.Background(), run.ID, "")
		if err != nil {
			t.Error(err)
		}
		told <- len(w.states())
		got <- r
	}()
	w.pass(20*time.Second, "orders", 5, true)
	if n := <-told; n < 2 {
		t.Errorf("the answer is told with %d events in the timeline, want that it began and that it failed", n)
	}
	if r := <-got; r.State != gatewarden.RunFail {
		t.Errorf("it is told that the run is %s", r.State)
	}
}

// What comes while a run begins is of its past, or its own: a run whose judge was copied,
// and that was not the canary's yet, missed it.
func TestARunMissesNothingOfTheMomentInWhichItBegins(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.send("orders", gatewarden.TrackBaseline, 3, false)
	r, old, err := w.book.begin(w.now, w.book.slot("orders"), Request{Canary: "orders", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	w.send("orders", gatewarden.TrackBaseline, 4, false) // before it is written down
	if err := w.book.launch(t.Context(), w.now, w.book.slot("orders"), r, old); err != nil {
		t.Fatal(err)
	}
	w.send("orders", gatewarden.TrackBaseline, 5, false)
	w.pass(10*time.Second, "orders", 0, false)
	if seen := r.judge.(*fakeJudge).History; seen != 12 {
		t.Errorf("of 12 requests of the baseline before the start the run knows %d", seen)
	}
}
