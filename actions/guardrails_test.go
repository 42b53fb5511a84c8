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

// said is the journal with its reasons, as far as it tells of what was not done.
func (w *world) said() string {
	var b strings.Builder
	for _, e := range w.ledger.events() {
		if e.State == string(gatewarden.ActionSkipped) || e.State == string(gatewarden.ActionExpired) || e.State == string(gatewarden.ActionWaiting) || e.Action == nil && e.State != gatewarden.LadderEnded {
			fmt.Fprintf(&b, "%s %s %s: %s\n", e.At.Sub(w.begun), hash.ReplaceAllString(e.Name, ""), e.State, e.Reason)
		}
	}
	return b.String()
}

// shop is the traffic of the worked example: orders are half of it.
func shop(time.Time) []gatewarden.Flow {
	return []gatewarden.Flow{
		{Service: "orders", Route: "orders-list", Requests: 400}, {Service: "orders", Requests: 100},
		{Service: "payments", Requests: 100}, {Service: "inventory", Requests: 100}, {Service: "recommendations", Requests: 300},
	}
}

func TestGuardrails(t *testing.T) {
	one := func(steps ...gatewarden.Step) gatewarden.ActionPolicy {
		return policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = steps })
	}
	onRoute := func(route string) gatewarden.Step {
		s := pluginStep(0, "")
		s.Plugin.Route = route
		return s
	}
	// The clock of synctest begins at midnight UTC on Saturday, 2000-01-01.
	begun := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		rails  gatewarden.Guardrails
		policy gatewarden.ActionPolicy
		slo    gatewarden.SLO
		flows  func(time.Time) []gatewarden.Flow
		do     map[string]func(*Engine) error
		script string
		said   string
		left   []string // policies' steps in place at the end
	}{
		"quiet hours hold what begins, until they are over": {
			rails:  gatewarden.Guardrails{QuietHours: []gatewarden.QuietHours{{Days: [7]bool{time.Friday: true}, From: 22 * time.Hour, To: 10 * time.Minute, Reason: "the sale"}}},
			policy: one(weightStep(0, "v2")),
			script: "0s orders=outage\n11m",
			said:   "0s protect-1 skipped: not begun: these are quiet hours (22:00 to 00:10), until 2000-01-01T00:10:00Z: the sale",
			left:   []string{"protect-1"},
		},
		"quiet hours do not keep what is in place from being put back": {
			rails:  gatewarden.Guardrails{QuietHours: []gatewarden.QuietHours{{Days: [7]bool{time.Saturday: true}, From: time.Minute, To: 24 * time.Hour}}},
			policy: one(weightStep(0, "v2")),
			script: "0s orders=outage\n2m orders=healthy\n8m",
		},
		"maintenance holds the answer to a breach of its service": {
			rails:  gatewarden.Guardrails{Maintenance: []gatewarden.Maintenance{{From: begun, To: begun.Add(time.Hour), Services: []string{"orders"}, Reason: "database upgrade"}}},
			policy: one(pluginStep(0, "recommendations")),
			slo:    gatewarden.SLO{Series: gatewarden.Series{Service: "orders"}},
			script: "0s orders=outage\n1m",
			said:   "0s protect-1 skipped: not begun: there is maintenance until 2000-01-01T01:00:00Z: database upgrade",
		},
		"maintenance holds a change of its service": {
			rails:  gatewarden.Guardrails{Maintenance: []gatewarden.Maintenance{{From: begun, To: begun.Add(time.Hour), Services: []string{"recommendations"}}}},
			policy: one(pluginStep(0, "recommendations")),
			script: "0s orders=outage\n1m",
			said:   "0s protect-1 skipped: not begun: there is maintenance until 2000-01-01T01:00:00Z",
		},
		"maintenance of another service holds nothing": {
			rails:  gatewarden.Guardrails{Maintenance: []gatewarden.Maintenance{{From: begun, To: begun.Add(time.Hour), Services: []string{"inventory"}}}},
			policy: one(pluginStep(0, "recommendations")),
			script: "0s orders=outage\n1m",
			left:   []string{"protect-1"},
		},
		"no more services are touched than the limit lets": {
			rails:  gatewarden.Guardrails{MaxServices: 0.5},
			policy: one(pluginStep(0, "recommendations"), pluginStep(0, "inventory"), pluginStep(0, "payments")),
			flows:  shop,
			script: "0s orders=outage\n1m",
			said:   "0s protect-3 skipped: not begun: changes would touch 3 of 4 services at once (inventory, payments, recommendations), 75 %, and the limit is 50 %",
			left:   []string{"protect-1", "protect-2"},
		},
		"a service that is touched already may be touched again": {
			rails:  gatewarden.Guardrails{MaxServices: 0.25},
			policy: one(weightStep(0, "v2"), onRoute("orders-list")),
			flows:  shop,
			script: "0s orders=outage\n1m",
			left:   []string{"protect-1", "protect-2"},
		},
		"no more traffic is touched than the limit lets": {
			rails:  gatewarden.Guardrails{MaxTraffic: 0.4},
			policy: one(pluginStep(0, "recommendations"), onRoute("orders-list")),
			flows:  shop,
			script: "0s orders=outage\n1m",
			said:   "0s protect-2 skipped: not begun: changes would touch 70 % of the requests at once, and the limit is 40 %",
			left:   []string{"protect-1"},
		},
		"a plugin on the whole gateway touches all of it": {
			rails:  gatewarden.Guardrails{MaxTraffic: 0.9},
			policy: one(pluginStep(0, "")),
			flows:  shop,
			script: "0s orders=outage\n1m",
			said:   "0s protect-1 skipped: not begun: changes would touch 100 % of the requests at once, and the limit is 90 %",
		},
		"weights take no request away": {
			rails:  gatewarden.Guardrails{MaxTraffic: 0.01},
			policy: one(weightStep(0, "v2")),
			flows:  shop,
			script: "0s orders=outage\n1m",
			left:   []string{"protect-1"},
		},
		"weights take no request away, also when it is not known how many there are": {
			rails:  gatewarden.Guardrails{MaxTraffic: 0.01},
			policy: one(weightStep(0, "v2")),
			script: "0s orders=outage\n1m",
			left:   []string{"protect-1"},
		},
		"a share of nothing is not known": {
			rails:  gatewarden.Guardrails{MaxTraffic: 0.4},
			policy: one(pluginStep(0, "recommendations")),
			script: "0s orders=outage\n1m",
			said:   "0s protect-1 skipped: not begun: there were no requests of late, so it cannot be told how many of them changes would touch, and the limit is 40 %",
		},
		"what touches no request is not held by a limit on them": {
			rails:  gatewarden.Guardrails{MaxTraffic: 0.01, MaxServices: 0.01},
			policy: one(webhookStep()),
			script: "0s orders=outage\n1m",
		},
		"a policy that only observes says what would have held it": {
			rails: gatewarden.Guardrails{MaxServices: 0.2},
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.Steps = gatewarden.ModeObserve, []gatewarden.Step{pluginStep(0, "recommendations")}
			}),
			flows:  shop,
			script: "0s orders=outage\n1m",
			said: `0s protect-1 skipped: observe mode: would not have begun to put plugin request-termination on service="recommendations": ` +
				"changes would touch 1 of 4 services at once (recommendations), 25 %, and the limit is 20 %",
		},
		"an approval expires, and the next step is asked for": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.ApprovalExpires, p.Steps = gatewarden.ModeApprove, 10*time.Minute, []gatewarden.Step{weightStep(0, "v2"), weightStep(11*time.Minute, "v3")}
			}),
			script: "0s orders=outage\n15m",
			said: `
				0s protect-1 waiting: waits for approval to set the weight of v2 in upstream orders to 0, because orders is outage
				10m0s protect-1 expired: nobody approved it within 10m
				11m0s protect-2 waiting: waits for approval to set the weight of v3 in upstream orders to 0, because orders is outage`,
		},
		"an approval does not expire while nobody can give it": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.ApprovalExpires, p.Steps = gatewarden.ModeApprove, 10*time.Minute, []gatewarden.Step{weightStep(0, "v2")}
			}),
			do: map[string]func(*Engine) error{
				"pause":  func(e *Engine) error { return e.Pause(t.Context(), "bob", "tea") },
				"resume": func(e *Engine) error { return e.Resume(t.Context(), "bob") },
			},
			script: "0s orders=outage\n5m !pause\n20m !resume\n20m",
			said: `
				0s protect-1 waiting: waits for approval to set the weight of v2 in upstream orders to 0, because orders is outage
				5m0s guard paused: tea
				20m0s guard resumed: bob resumed the guard
				20m0s protect-1 expired: nobody approved it within 10m`,
		},
		"a file pauses the guard for as long as it is there, whatever people say": {
			policy: one(weightStep(0, "v2")),
			do: map[string]func(*Engine) error{
				"file": func(e *Engine) error { return e.Halt(t.Context(), &Pause{By: "the file stop", Reason: "load test"}) },
				"gone": func(e *Engine) error { return e.Halt(t.Context(), nil) },
				"resume": func(e *Engine) error {
					if err := e.Resume(t.Context(), "bob"); gatewarden.ErrorCode(err) != gatewarden.Conflict || !strings.Contains(err.Error(), "the file stop") {
						return fmt.Errorf("resume: %w, want a conflict that names the file", err)
					}
					return nil
				},
			},
			script: "0s !file !file orders=outage\n1m !resume\n2m !gone\n3m",
			said: `
				0s pause-file paused: the file stop is there: load test
				0s protect-1 skipped: not begun: the file stop paused the guard: load test
				2m0s pause-file resumed: the file stop is gone`,
			left: []string{"protect-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := c.slo
				s.Name, s.OnOutage = "orders", []string{"protect"}
				w := newWorld([]gatewarden.ActionPolicy{c.policy}, []gatewarden.SLO{s})
				w.config.Guardrails, w.config.Traffic = c.rails, c.flows
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				timetable(t, w, c.script, c.do)
				if diff := cmp.Diff(lines(c.said), lines(w.said())); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				var left []string
				for _, id := range w.outside.left() {
					left = append(left, hash.ReplaceAllString(id, ""))
				}
				if diff := cmp.Diff(c.left, left); diff != "" {
					t.Errorf("in place at the end (-want +got)\n%s", diff)
				}
				w.close(t)
			})
		})
	}
}

func TestAnApprovalThatExpiredIsNotAskedForAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policyWith(func(p *gatewarden.ActionPolicy) {
			p.Mode, p.ApprovalExpires, p.Steps = gatewarden.ModeApprove, time.Minute, []gatewarden.Step{weightStep(0, "v2")}
		})
		w := start(t, []gatewarden.ActionPolicy{p}, slo("orders", "protect"))
		timetable(t, w, "0s orders=outage\n2m", nil)
		w.kill()
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := w.story()
		for range 120 {
			tick(t, w, map[string]string{"orders": "outage"})
		}
		if diff := cmp.Diff(before, w.story()); diff != "" {
			t.Errorf("the restart changed something (-before +after)\n%s", diff)
		}
		w.close(t)
	})
}

func TestAPauseByAFileIsNotRememberedOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{protect()}, slo("orders", "protect"))
		if err := w.engine.Halt(t.Context(), &Pause{By: "the file stop"}); err != nil {
			t.Fatal(err)
		}
		if p := w.engine.Paused(); p == nil || p.By != "the file stop" {
			t.Errorf("paused by %v, want the file", p)
		}
		w.kill()
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := w.engine.Paused(); p != nil {
			t.Errorf("paused by %v, though nobody has looked whether the file is there", p)
		}
		w.close(t)
	})
}
