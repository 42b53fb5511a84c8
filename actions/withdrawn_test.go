package actions

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
