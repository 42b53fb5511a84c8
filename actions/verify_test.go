package actions

import (
	stdcmp "cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// verified is a job whose effect is waited for.
func verified(after, within time.Duration) gatewarden.Step {
	s := jenkinsStep(after)
	s.Jenkins.Verify = gatewarden.Duration(within)
	return s
}

// told is the journal with its reasons, without that memos were noted.
func (w *world) told() string {
	var b strings.Builder
	for _, e := range w.ledger.events() {
		if !strings.HasPrefix(e.Reason, "noted") {
			fmt.Fprintf(&b, "%s %s %s: %s\n", e.At.Sub(w.begun), hash.ReplaceAllString(e.Name, ""), e.State, e.Reason)
		}
	}
	return b.String()
}

func TestEffectsAreVerified(t *testing.T) {
	for name, c := range map[string]struct {
		steps  []gatewarden.Step
		script string
		do     map[string]func(*Engine) error
		fault  bool // the job's peer does not answer
		want   string
	}{
		"the breach ends in time": {
			steps:  []gatewarden.Step{verified(0, 5*time.Minute), pluginStep(0, "recommendations")},
			script: "0s orders=outage\n3m orders=healthy\n9m",
			want: `
				0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is outage
				0s protect-1 applied: done
				3m0s protect-1 applied: it helped: orders is well, 3m after it was done
				8m0s protect ended: orders is well again and what can be put back is (0), the rest stays (1)`,
		},
		"the breach lasts: it is ineffective, and the next step runs": {
			steps:  []gatewarden.Step{verified(0, 5*time.Minute), pluginStep(0, "recommendations")},
			script: "0s orders=outage\n6m",
			want: `
				0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is outage
				0s protect-1 applied: done
				5m0s protect-1 ineffective: it was done, but the breach has lasted for 5m since, so the next step is due
				5m0s protect-2 started: put plugin request-termination on service="recommendations", because orders is outage
				5m0s protect-2 applied: done`,
		},
		"the next step still waits for its own time": {
			steps:  []gatewarden.Step{verified(0, time.Minute), pluginStep(3*time.Minute, "recommendations")},
			script: "0s orders=outage\n4m",
			want: `
				0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is outage
				0s protect-1 applied: done
				1m0s protect-1 ineffective: it was done, but the breach has lasted for 1m since, so the next step is due
				3m0s protect-2 started: put plugin request-termination on service="recommendations", because orders is outage
				3m0s protect-2 applied: done`,
		},
		"a more urgent alert than the one that names it is no recovery": {
			steps:  []gatewarden.Step{verified(0, time.Minute)},
			script: "0s orders=page\n30s orders=outage\n2m",
			want: `
				0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is page
				0s protect-1 applied: done
				1m0s protect-1 ineffective: it was done, but the breach has lasted for 1m since, so the next step is due`,
		},
		"what cannot be judged is waited for": {
			steps:  []gatewarden.Step{verified(0, time.Minute), pluginStep(0, "recommendations")},
			script: "0s orders=outage\n30s orders=blind\n10m orders=outage\n11m",
			want: `
				0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is outage
				0s protect-1 applied: done
				10m0s protect-1 ineffective: it was done, but the breach has lasted for 10m since, so the next step is due
				10m0s protect-2 started: put plugin request-termination on service="recommendations", because orders is outage
				10m0s protect-2 applied: done`,
		},
		"a peer that does not answer is not waited for": {
			steps:  []gatewarden.Step{verified(0, 5*time.Minute), pluginStep(0, "recommendations")},
			fault:  true,
			script: "0s orders=outage\n30s",
			want: `
				0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is outage
				0s protect-1 started: no answer yet, trying on: it is down
				10s protect-2 started: put plugin request-termination on service="recommendations", because orders is outage
				10s protect-2 applied: done`,
		},
		"a ladder that was taken back verifies nothing more": {
			steps: []gatewarden.Step{verified(0, time.Minute), pluginStep(0, "recommendations")},
			do: map[string]func(*Engine) error{"revert": func(e *Engine) error {
				return e.Revert(t.Context(), e.List()[0].Ladder, "bob")
			}},
			script: "0s orders=outage\n30s !revert\n2m orders=healthy\n8m",
			want: `
				0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is outage
				0s protect-1 applied: done
				30s protect closed: bob takes the whole answer back
				7m0s protect ended: orders is well again and what can be put back is (0), the rest stays (1)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = c.steps })},
					gatewarden.SLO{Name: "orders", OnPage: []string{"protect"}, OnOutage: []string{"protect"}})
				if strings.Contains(c.script, "page") {
					w.engine.SetRules(w.config.Policies, []gatewarden.SLO{{Name: "orders", OnPage: []string{"protect"}}})
				}
				w.outside.fault = func(call, id string) error {
					if c.fault && call == "apply" && strings.HasSuffix(id, "-1") {
						return gatewarden.Errorf(gatewarden.Unavailable, "it is down")
					}
					return nil
				}
				timetable(t, w, c.script, c.do)
				if diff := cmp.Diff(lines(c.want), lines(w.told())); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				w.close(t)
			})
		})
	}
}

// builder is an executor of what goes on outside for ten minutes, at a peer that is in trouble
// now and then.
type builder struct{ fault func(call string) error }

func (x *builder) Prepare(context.Context, gatewarden.Action) (json.RawMessage, error) {
	return json.RawMessage(`{}`), x.fault("prepare")
}

func (x *builder) Apply(ctx context.Context, _ gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	if err := x.fault("look"); err != nil {
		return gatewarden.Outcome{}, err
	}
	time.Sleep(2 * time.Second)
	if err := Held(ctx); err != nil {
		return gatewarden.Outcome{}, err
	}
	if err := save(json.RawMessage(`{"sent":true}`)); err != nil {
		return gatewarden.Outcome{}, err
	}
	if err := x.fault("trigger"); err != nil {
		return gatewarden.Outcome{}, err
	}
	if err := save(json.RawMessage(`{"begun":true}`)); err != nil {
		return gatewarden.Outcome{}, err
	}
	select {
	case <-time.After(10 * time.Minute):
		return gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: "done"}, nil
	case <-ctx.Done():
		return gatewarden.Outcome{}, ctx.Err()
	}
}

func (*builder) Revert(context.Context, gatewarden.Action) (gatewarden.Outcome, error) {
	return gatewarden.Outcome{Status: gatewarden.ActionLeft}, nil
}

func (*builder) Begun(memo json.RawMessage) bool { return strings.Contains(string(memo), "begun") }

// begins is when each step began, counted from the beginning of the world; 0 for not.
func (w *world) begins(steps int) []time.Duration {
	list := make([]time.Duration, steps)
	for _, e := range w.ledger.events() {
		if a := e.Action; a != nil && a.Step > 0 && a.StartedAt != nil {
			list[a.Step-1] = a.StartedAt.Sub(w.begun)
		}
	}
	return list
}

func TestAJobThatWasNotBegunAtTheFirstCallHoldsTheNextStepsBack(t *testing.T) {
	const verify = 5 * time.Minute
	ineffective := 10*time.Minute + verify // after the job began, less than a few seconds
	for name, c := range map[string]struct {
		call    string        // that fails
		until   time.Duration // from the beginning of the breach
		restart time.Duration // of the guard; 0 is none
		pause   time.Duration // from 1 s on
		second  time.Duration // when the second step begins, due at once, or up to 10 s later
		third   time.Duration // when the third does
		due     time.Duration // of the third; three minutes unless set
	}{
		"all goes well":                                  {second: ineffective, third: ineffective},
		"one question before it failed":                  {call: "prepare", until: time.Millisecond, second: ineffective, third: ineffective},
		"one call failed":                                {call: "look", until: time.Millisecond, second: ineffective, third: ineffective},
		"one trigger failed":                             {call: "trigger", until: 2500 * time.Millisecond, second: ineffective, third: ineffective},
		"one call failed, and the guard starts anew":     {call: "look", until: time.Millisecond, restart: 2 * time.Minute, second: 2*time.Minute + ineffective, third: 2*time.Minute + ineffective},
		"it does not answer for a minute":                {call: "prepare", until: time.Minute, second: patience, third: time.Minute + ineffective},
		"it answers again when the third step is due":    {call: "prepare", until: time.Minute, second: patience, third: time.Minute + ineffective, due: 62 * time.Second},
		"it was not to be called for a minute":           {call: "look", until: time.Minute, second: patience, third: time.Minute + ineffective},
		"it answers, and takes no trigger, for a minute": {call: "trigger", until: time.Minute, second: patience, third: time.Minute + ineffective},
		"it takes no trigger at all":                     {call: "trigger", until: time.Hour, second: patience, third: 3 * time.Minute},
		"two calls failed, and a pause came":             {call: "look", until: 1200 * time.Millisecond, pause: 2 * time.Minute, second: 2*time.Minute + ineffective, third: 2*time.Minute + ineffective},
		"one call failed, and a pause came":              {call: "look", until: time.Millisecond, pause: 2 * time.Minute, second: 2*time.Minute + ineffective, third: 2*time.Minute + ineffective},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
					p.Steps = []gatewarden.Step{verified(0, verify), pluginStep(0, "recommendations"), weightStep(stdcmp.Or(c.due, 3*time.Minute), "v2")}
				})}, []gatewarden.SLO{slo("orders", "protect")})
				w.config.Executors = map[gatewarden.StepKind]Executor{gatewarden.StepJenkins: &builder{func(call string) error {
					if call == c.call && time.Since(w.begun) < c.until {
						return gatewarden.Errorf(gatewarden.Unavailable, "it is down")
					}
					return nil
				}}}
				w.mustBoot(t)
				verdicts := map[string]string{"orders": "outage"}
				var err error
				for time.Since(w.begun) < 30*time.Minute {
					switch at := time.Since(w.begun).Truncate(time.Second); {
					case c.restart > 0 && at == c.restart:
						w.kill()
						w.mustBoot(t)
					case c.pause > 0 && at == time.Second:
						err = w.engine.Pause(t.Context(), "ada", "lunch")
					case c.pause > 0 && at == c.pause:
						err = w.engine.Resume(t.Context(), "ada")
					}
					if err != nil {
						t.Fatal(err)
					}
					tick(t, w, verdicts)
				}
				for i, want := range []time.Duration{c.second, c.third} {
					got := w.begins(3)[i+1]
					if late := got - want; late < 0 || late > 40*time.Second {
						t.Errorf("step %d began after %s, want %s or soon after\n%s", i+2, got, want, w.told())
					}
				}
				w.close(t)
			})
		})
	}
}

// Two ladders of one action, one for a run and one for an SLO, run the job once, and both
// wait for it to help.
func TestAJobThatAnotherLadderRanHoldsTheNextStepBackToo(t *testing.T) {
	for name, restart := range map[string]bool{"while the guard runs": false, "over a restart": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
					p.Steps = []gatewarden.Step{verified(0, 5*time.Minute), weightStep(0, "v2")}
				})}, slo("orders", "protect"))
				if err := w.engine.Answer(t.Context(), time.Now(), gatewarden.Trigger{
					Kind: gatewarden.EventGate, Name: "orders", Since: time.Now(), Reason: "the run failed",
				}, "protect"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				verdicts := map[string]string{"orders": "outage"}
				for i := range 6 * 60 {
					if restart && i == 60 {
						w.kill()
						w.mustBoot(t)
					}
					tick(t, w, verdicts)
				}
				begun, ran := map[string]time.Duration{}, 0
				for _, a := range w.engine.List() {
					switch {
					case a.StartedAt == nil:
					case a.Step == 2:
						begun[a.Ladder] = a.StartedAt.Sub(w.begun)
					default:
						ran++
					}
				}
				if ran != 1 || len(begun) != 2 {
					t.Errorf("the job ran %d times, and then the second step began %v", ran, begun)
				}
				for ladder, at := range begun {
					if at < 5*time.Minute {
						t.Errorf("the second step of %s began after %s\n%s", ladder, at, w.told())
					}
				}
				w.close(t)
			})
		})
	}
}

func TestAnAnswerToARunVerifiesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
			p.Steps = []gatewarden.Step{verified(0, time.Minute), pluginStep(0, "recommendations")}
		})}, slo("orders"))
		timetable(t, w, "0s orders=outage !answer\n2m", map[string]func(*Engine) error{"answer": func(e *Engine) error {
			return e.Answer(t.Context(), time.Now(), gatewarden.Trigger{
				Kind: gatewarden.EventGate, Name: "orders", Since: time.Now(), Reason: "the run failed",
			}, "protect")
		}})
		for _, want := range []string{"1m0s protect-1 ineffective: ", "1m0s protect-2 applied: "} {
			if !strings.Contains(w.told(), want) {
				t.Errorf("%q is not in\n%s", want, w.told())
			}
		}
		w.close(t)
	})
}

func TestARestartGoesOnVerifying(t *testing.T) {
	for name, c := range map[string]struct {
		before, after time.Duration // that pass until the crash, and from then on
		word          string        // of the breach after the restart
		want          string
	}{
		"before the time is over":            {30 * time.Second, 2 * time.Minute, "outage", "5m0s protect-1 ineffective"},
		"and it was well meanwhile":          {30 * time.Second, 2 * time.Minute, "healthy", "it helped: orders is well"},
		"what was ineffective is so":         {6 * time.Minute, time.Minute, "outage", "5m0s protect-1 ineffective"},
		"what helped is not in doubt":        {6 * time.Minute, time.Minute, "healthy", ""},
		"the job is never run a second time": {2 * time.Minute, 30 * time.Minute, "outage", "5m0s protect-1 ineffective"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
					p.Steps = []gatewarden.Step{verified(0, 5*time.Minute), pluginStep(0, "recommendations")}
				})}, slo("orders", "protect"))
				verdicts := map[string]string{"orders": "outage"}
				for range int(c.before / time.Second) {
					tick(t, w, verdicts)
				}
				w.kill()
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				verdicts["orders"] = c.word
				for time.Since(w.begun) < max(c.before+c.after, 5*time.Minute+5*time.Second) {
					tick(t, w, verdicts)
				}
				if !strings.Contains(w.told(), c.want) {
					t.Errorf("%q is not in\n%s", c.want, w.told())
				}
				for id, n := range w.outside.ran {
					if n != 1 {
						t.Errorf("%s ran %d times", id, n)
					}
				}
				if n := strings.Count(w.told(), "ineffective"); n > 1 {
					t.Errorf("%d times ineffective in\n%s", n, w.told())
				}
				w.close(t)
			})
		})
	}
}
