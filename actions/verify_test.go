package actions

import (
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
			script: "0s orders=outage\n1s",
			want: `
				0s protect-1 started: run the Jenkins job shop/orders-rollback, because orders is outage
				0s protect-1 started: no answer yet, trying on: it is down
				1s protect-2 started: put plugin request-termination on service="recommendations", because orders is outage
				1s protect-2 applied: done`,
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
