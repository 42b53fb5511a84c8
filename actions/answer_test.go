package actions

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// failed is the trigger of a run that failed so long after the world began.
func failed(w *world, canary string, after time.Duration) gatewarden.Trigger {
	return gatewarden.Trigger{Kind: gatewarden.EventGate, Name: canary, Since: w.begun.Add(after), Reason: "the canary fails more often"}
}

// answering returns what a script calls !answer and !release for.
func answering(t *testing.T, w *world) map[string]func(*Engine) error {
	return map[string]func(*Engine) error{
		"answer": func(e *Engine) error { return e.Answer(t.Context(), time.Now(), failed(w, "orders", 0), "protect") },
		"answer-payments": func(e *Engine) error {
			return e.Answer(t.Context(), time.Now(), failed(w, "payments", 0), "protect")
		},
		"release": func(e *Engine) error { return e.Release(t.Context(), time.Now(), "orders", "another run begins") },
		"pause":   func(e *Engine) error { return e.Pause(t.Context(), "zoë", "lunch") },
		"resume":  func(e *Engine) error { return e.Resume(t.Context(), "zoë") },
		"restart": func(*Engine) error {
			w.kill()
			return w.boot(t.Context())
		},
		"forget": func(*Engine) error {
			w.config.Policies = nil
			return nil
		},
		"revert": func(e *Engine) error { return e.Revert(t.Context(), e.List()[0].Ladder, "zoë") },
		"approve": func(e *Engine) error {
			return e.Approve(t.Context(), e.List()[0].ID, "zoë")
		},
		"reject": func(e *Engine) error { return e.Reject(t.Context(), e.List()[0].ID, "zoë", "no") },
	}
}

func TestAnswersToRuns(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*gatewarden.ActionPolicy)
		script string
		want   string
		left   int // changes still at the gateway
	}{
		"it climbs while the service is well, and only the shed is undone": {
			script: `0s orders=healthy !answer
				3m orders=healthy
				2h orders=healthy`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				30s protect-2 started
				30s protect-2 applied
				2m0s protect-3 started
				2m0s protect-3 applied
				7m1s protect-2 reverting
				7m1s protect-2 reverted`,
			left: 1,
		},
		"asked again it does nothing, after a restart neither": {
			script: `0s !answer !answer
				1s !restart !answer
				3m !restart !answer
				10m !answer`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				30s protect-2 started
				30s protect-2 applied
				2m0s protect-3 started
				2m0s protect-3 applied
				8m0s protect-2 reverting
				8m0s protect-2 reverted`,
			left: 1,
		},
		"a guard that was away leaves the weights and takes the shed back": {
			change: func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:2]; p.Revert.After = 24 * time.Hour },
			script: `0s orders=healthy !answer
				1m !away
				1m !restart
				2m orders=healthy`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				30s protect-2 started
				30s protect-2 applied
				1h1m0s protect-2 reverting
				1h1m0s protect-2 reverted`,
			left: 1,
		},
		"sheds stay while an SLO pages": {
			change: func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:2] },
			script: `0s other=page !answer
				20m other=healthy
				40m other=healthy`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				30s protect-2 started
				30s protect-2 applied
				25m0s protect-2 reverting
				25m0s protect-2 reverted`,
			left: 1,
		},
		"a pause keeps it from climbing, also over a restart": {
			script: `0s !pause !answer
				10s !restart
				1m !resume
				5m orders=healthy`,
			want: `0s guard paused
				0s protect begun
				0s protect-1 skipped
				10s protect-1 skipped
				1m0s guard resumed
				1m0s protect-1 started
				1m0s protect-1 applied
				1m30s protect-2 started
				1m30s protect-2 applied
				3m0s protect-3 started
				3m0s protect-3 applied`,
			left: 2,
		},
		"the first step's after counts from the answer, also over a restart": {
			change: func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{weightStep(time.Minute, "v2")} },
			script: `0s orders=healthy !answer
				30s !restart
				10m orders=healthy`,
			want: `0s protect begun
				1m0s protect-1 started
				1m0s protect-1 applied`,
			left: 1,
		},
		"what is no longer in the rules climbs no more, and its weights stay": {
			script: `0s orders=healthy !answer
				10s !forget !restart
				1h orders=healthy
				2h !release`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				2h0m0s protect ended`,
			left: 1,
		},
		"a person takes it back, and it is not done again": {
			script: `0s orders=healthy !answer
				1m !revert
				2m !answer
				20m !restart !answer
				30m orders=healthy`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				30s protect-2 started
				30s protect-2 applied
				1m0s protect closed
				1m0s protect-2 reverting
				1m0s protect-2 reverted
				1m0s protect-1 reverting
				1m0s protect-1 reverted
				1m0s protect ended`,
		},
		"a newer run leaves the weights and takes the shed back": {
			script: `0s orders=healthy !answer
				1m !release
				2m !restart !answer
				30m orders=healthy`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				30s protect-2 started
				30s protect-2 applied
				1m0s protect released
				1m0s protect-2 reverting
				1m0s protect-2 reverted
				1m0s protect ended`,
			left: 1,
		},
		"a newer run after all is done only ends it": {
			change: func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] },
			script: `0s orders=healthy !answer
				1m !release !restart !release
				2h orders=healthy`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				1m0s protect ended`,
			left: 1,
		},
		"nothing in place, so it ends by itself": {
			change: func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{jenkinsStep(0)} },
			script: `0s orders=healthy !answer
				10m !answer
				20m orders=healthy`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				5m0s protect ended`,
		},
		"observe mode only says what it would do": {
			change: func(p *gatewarden.ActionPolicy) { p.Mode = gatewarden.ModeObserve; p.Steps = p.Steps[:2] },
			script: `0s orders=healthy !answer
				1m !restart
				10m orders=healthy`,
			want: `0s protect begun
				0s protect-1 skipped
				30s protect-2 skipped
				6m0s protect ended`,
		},
		"approve mode asks, and a newer run withdraws": {
			change: func(p *gatewarden.ActionPolicy) { p.Mode = gatewarden.ModeApprove; p.Steps = p.Steps[:1] },
			script: `0s orders=healthy !answer
				2h !restart
				3h !release
				4h orders=healthy`,
			want: `0s protect begun
				0s protect-1 waiting
				3h0m0s protect released
				3h0m0s protect-1 skipped
				3h0m0s protect ended`,
		},
		"approve mode goes on when it is approved": {
			change: func(p *gatewarden.ActionPolicy) { p.Mode = gatewarden.ModeApprove; p.Steps = p.Steps[:1] },
			script: `0s orders=healthy !answer
				2h !approve
				3h orders=healthy`,
			want: `0s protect begun
				0s protect-1 waiting
				2h0m0s protect-1 waiting
				2h0m0s protect-1 started
				2h0m0s protect-1 applied`,
			left: 1,
		},
		"a release that fails its run and breaks a promise is rolled back once": {
			change: func(p *gatewarden.ActionPolicy) {
				p.Steps = []gatewarden.Step{weightStep(0, "v2"), jenkinsStep(time.Second)}
				p.Revert.Stepwise = false
			},
			script: `0s orders=outage
				10s !answer
				1m orders=healthy
				5m !restart
				20m orders=healthy`,
			want: `0s protect-1 started
				0s protect-1 applied
				1s protect-2 started
				1s protect-2 applied
				10s protect begun
				10s protect-1 started
				10s protect-1 applied
				11s protect-2 skipped
				10m0s protect-1 reverting
				10m0s protect-1 reverted
				10m1s protect ended`,
			left: 1,
		},
		"long after that, a breach is answered anew": {
			change: func(p *gatewarden.ActionPolicy) {
				p.Steps = []gatewarden.Step{jenkinsStep(0)}
				p.Revert.After = time.Minute
			},
			script: `0s orders=healthy !answer
				10s orders=outage
				20s orders=healthy
				5m orders=outage
				6m orders=healthy
				8m orders=healthy`,
			want: `0s protect begun
				0s protect-1 started
				0s protect-1 applied
				10s protect-1 skipped
				1m20s protect ended
				1m20s protect ended
				5m0s protect-1 started
				5m0s protect-1 applied
				7m0s protect ended`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := protect()
				if c.change != nil {
					c.change(&p)
				}
				w := start(t, []gatewarden.ActionPolicy{p}, slo("orders", "protect"), slo("other"))
				do := answering(t, w)
				do["away"] = func(*Engine) error {
					w.kill()
					time.Sleep(time.Hour)
					return nil
				}
				got := timetable(t, w, c.script, do)
				w.close(t)
				if diff := cmp.Diff(lines(c.want), got); diff != "" {
					t.Error(diff)
				}
				if left := w.outside.left(); len(left) != c.left {
					t.Errorf("left at the gateway: %v", left)
				}
			})
		})
	}
}

func TestWeightsOfARunHaveNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{protect()})
		timetable(t, w, `0s !answer
			1h orders=healthy`, answering(t, w))
		w.close(t)
		leases, err := w.leases.All(t.Context())
		if err != nil || len(leases) != 0 {
			t.Errorf("leases %v, %v", leases, err)
		}
		for _, a := range w.engine.List() {
			if a.LeaseUntil != nil {
				t.Errorf("%s has a lease until %s", a.ID, a.LeaseUntil)
			}
		}
	})
}

func TestWhatCannotBeAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{protect()})
		defer w.close(t)
		ctx, now := t.Context(), time.Now()
		for name, c := range map[string]struct {
			trigger gatewarden.Trigger
			policy  string
			code    gatewarden.Code
		}{
			"no such policy": {failed(w, "orders", 0), "protekt", gatewarden.NotFound},
			"no run":         {gatewarden.Trigger{Kind: gatewarden.EventSLO, Name: "orders", Since: now}, "protect", gatewarden.Internal},
			"a run of when":  {gatewarden.Trigger{Kind: gatewarden.EventGate, Name: "orders"}, "protect", gatewarden.Internal},
		} {
			if err := w.engine.Answer(ctx, now, c.trigger, c.policy); gatewarden.ErrorCode(err) != c.code {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.ledger.fault = func() error { return gatewarden.Errorf(gatewarden.Unavailable, "the disk is full") }
		if err := w.engine.Answer(ctx, now, failed(w, "orders", 0), "protect"); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Errorf("with a full disk: %v", err)
		}
		w.ledger.fault = nil
		if got := w.story(); got != "" {
			t.Errorf("in the journal: %s", got)
		}
		if err := w.engine.Release(ctx, now, "orders", ""); err != nil {
			t.Errorf("nothing to release: %v", err)
		}
		if err := w.engine.Answer(ctx, now, failed(w, "orders", 0), "protect"); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

func TestAReleasedWeightIsNobodysToTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] })})
		timetable(t, w, `0s !answer
			1m !release`, answering(t, w))
		defer w.close(t)
		err := w.engine.Revert(t.Context(), w.engine.List()[0].ID, "zoë")
		if gatewarden.ErrorCode(err) != gatewarden.Conflict || !strings.Contains(err.Error(), "newer run") {
			t.Error(err)
		}
	})
}

// TestACallUnderWayIsPutBackWhenANewerRunBegins has a gateway that takes a minute.
func TestACallUnderWayIsPutBackWhenANewerRunBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] })})
		w.outside.delay = 20 * time.Second
		got := timetable(t, w, `0s !answer
			30s !release
			2m orders=healthy`, answering(t, w))
		w.close(t)
		want := lines(`0s protect begun
			20s protect-1 started
			30s protect released
			30s protect-1 reverting
			1m11s protect-1 reverted
			1m11s protect ended`) // it is put back once more, for what was on its way may have come later
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if left := w.outside.left(); len(left) != 0 {
			t.Errorf("left at the gateway: %v", left)
		}
	})
}

func TestACrashInAnAnswerToARun(t *testing.T) {
	for _, name := range Failpoints() {
		for nth := 1; nth <= 3; nth++ {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crashInAnswer(t, name, nth) })
			})
		}
	}
}

// crashInAnswer kills the engine the nth time that it passes a failpoint, when it does so
// at all. The run is asked to be answered with each tick, as its book does after a
// restart, and a newer one begins after two minutes.
func crashInAnswer(t *testing.T, name string, nth int) {
	p := protect()
	p.Steps = []gatewarden.Step{weightStep(0, "v2"), pluginStep(5*time.Second, "recommendations"), jenkinsStep(10 * time.Second)}
	p.Revert = gatewarden.RevertPolicy{After: 10 * time.Second}
	w := newWorld([]gatewarden.ActionPolicy{p}, nil)
	passed := 0
	w.crashAt = func(at string) bool {
		if at == name {
			passed++
		}
		return at == name && passed == nth
	}
	if err := w.boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for second := range 180 {
		err := w.apart(func() error {
			if second < 120 {
				if err := w.engine.Answer(t.Context(), time.Now(), failed(w, "orders", 0), "protect"); err != nil {
					return err
				}
			} else if err := w.engine.Release(t.Context(), time.Now(), "orders", "another run begins"); err != nil {
				return err
			}
			return w.engine.Tick(t.Context(), time.Now(), nil)
		})
		if err != nil && !w.crashed() {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if w.crashed() {
			w.kill()
			if err := w.boot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	defer w.close(t)
	if left := w.outside.left(); len(left) != 1 || !strings.HasSuffix(left[0], "-1") {
		t.Errorf("left in place: %v\n%s", left, w.story())
	}
	if len(w.outside.ran) != 1 || len(w.outside.reverted) != 1 {
		t.Errorf("jobs run: %v, reverted: %v", w.outside.ran, w.outside.reverted)
	}
	for id, n := range w.outside.applied {
		if n != 1 {
			t.Errorf("%s was done %d times", id, n)
		}
	}
	story := w.story()
	if strings.Count(story, "protect begun") != 1 || strings.Count(story, "protect ended") != 1 {
		t.Errorf("the ladder did not begin and end once:\n%s", story)
	}
}
