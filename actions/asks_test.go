package actions

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// untilWithdrawn is an executor of something that goes on until the answer is taken back.
type untilWithdrawn struct{}

func (untilWithdrawn) Prepare(context.Context, gatewarden.Action) (json.RawMessage, error) {
	return json.RawMessage(`{}`), nil
}

func (untilWithdrawn) Apply(ctx context.Context, _ gatewarden.Action, _ func(json.RawMessage) error) (gatewarden.Outcome, error) {
	for !Withdrawn(ctx) {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return gatewarden.Outcome{}, ctx.Err()
		}
	}
	return gatewarden.Outcome{Status: gatewarden.ActionFailed, Reason: "given up"}, nil
}

func (untilWithdrawn) Revert(context.Context, gatewarden.Action) (gatewarden.Outcome, error) {
	return gatewarden.Outcome{Status: gatewarden.ActionLeft}, nil
}

func TestAnExecutorHearsThatTheAnswerIsTakenBack(t *testing.T) {
	if Withdrawn(t.Context()) {
		t.Error("nobody said so")
	}
	synctest.Test(t, func(t *testing.T) {
		p := protect()
		p.Steps = []gatewarden.Step{jenkinsStep(0)}
		w := newWorld([]gatewarden.ActionPolicy{p}, []gatewarden.SLO{slo("orders", "protect")})
		w.config.Executors = map[gatewarden.StepKind]Executor{gatewarden.StepJenkins: untilWithdrawn{}}
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer w.kill()
		story := timetable(t, w, `
			0s   orders=outage
			40s  !revert
			1m`, map[string]func(*Engine) error{
			"revert": func(e *Engine) error { return e.Revert(context.Background(), e.List()[0].Ladder, "ada") },
		})
		if at := strings.Index(story, "protect closed"); at < 0 || !strings.Contains(story[at:], "protect-1 failed") {
			t.Errorf("it was not given up after it was taken back:\n%s", story)
		}
	})
}

// looksFirst is an executor that looks for ten seconds before it does anything, which takes a while.
type looksFirst struct {
	done  *[]time.Duration
	takes time.Duration
}

func (looksFirst) Prepare(context.Context, gatewarden.Action) (json.RawMessage, error) {
	return json.RawMessage(`{}`), nil
}

func (x looksFirst) Apply(ctx context.Context, a gatewarden.Action, _ func(json.RawMessage) error) (gatewarden.Outcome, error) {
	time.Sleep(10*time.Second + 100*time.Millisecond) // between two ticks
	if err := Held(ctx); err != nil {
		return gatewarden.Outcome{}, err
	}
	*x.done = append(*x.done, time.Since(*a.StartedAt).Truncate(time.Second))
	time.Sleep(x.takes)
	return gatewarden.Outcome{Status: gatewarden.ActionApplied}, nil
}

func (looksFirst) Revert(context.Context, gatewarden.Action) (gatewarden.Outcome, error) {
	return gatewarden.Outcome{Status: gatewarden.ActionLeft}, nil
}

func TestAPauseHoldsWhatHasOnlyLookedSoFar(t *testing.T) {
	if err := Held(t.Context()); err != nil {
		t.Error("nobody said so")
	}
	synctest.Test(t, func(t *testing.T) {
		p := protect()
		p.Steps = []gatewarden.Step{jenkinsStep(0)}
		w := newWorld([]gatewarden.ActionPolicy{p}, []gatewarden.SLO{slo("orders", "protect")})
		var done []time.Duration
		w.config.Executors = map[gatewarden.StepKind]Executor{gatewarden.StepJenkins: looksFirst{done: &done}}
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer w.kill()
		story := timetable(t, w, `
			0s   orders=outage
			5s   !pause
			40s  !resume
			1m`, map[string]func(*Engine) error{
			"pause":  func(e *Engine) error { return e.Pause(context.Background(), "ada", "lunch") },
			"resume": func(e *Engine) error { return e.Resume(context.Background(), "ada") },
		})
		if len(done) != 1 || done[0] < 40*time.Second {
			t.Errorf("it was done after %v, want once after the pause of 5 to 40 s:\n%s", done, story)
		}
	})
}

// A pause is no trouble with the peer: the steps after a job that is verified wait for it
// before, in and after the pause.
func TestAPauseIsNoReasonForTheNextStepToBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := protect()
		p.Steps = []gatewarden.Step{verified(0, 5*time.Minute), weightStep(0, "v2")}
		w := newWorld([]gatewarden.ActionPolicy{p}, []gatewarden.SLO{slo("orders", "protect")})
		w.config.Executors = map[gatewarden.StepKind]Executor{gatewarden.StepJenkins: looksFirst{new([]time.Duration), 10 * time.Minute}}
		w.mustBoot(t)
		defer w.kill()
		timetable(t, w, `
			0s   orders=outage
			5s   !pause
			40s  !resume
			16m`, map[string]func(*Engine) error{
			"pause":  func(e *Engine) error { return e.Pause(context.Background(), "ada", "lunch") },
			"resume": func(e *Engine) error { return e.Resume(context.Background(), "ada") },
		})
		want := `
			0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is outage
			5s guard paused: lunch
			10.1s protect-1 started: begun, and held because ada paused the guard: lunch
			40s guard resumed: ada resumed the guard
			10m50.2s protect-1 applied: 
			15m51s protect-1 ineffective: it was done, but the breach has lasted for 5m1s since, so the next step is due
			15m51s protect-2 started: set the weight of v2 in upstream orders to 0, because orders is outage
			15m51s protect-2 applied: done`
		if diff := cmp.Diff(lines(want), lines(w.told())); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
