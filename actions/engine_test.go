package actions

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

func weightStep(after time.Duration, target string) gatewarden.Step {
	return gatewarden.Step{Kind: gatewarden.StepDrain, After: gatewarden.Duration(after), Weight: &gatewarden.WeightStep{Upstream: "orders", Target: target}}
}

func pluginStep(after time.Duration, service string) gatewarden.Step {
	return gatewarden.Step{Kind: gatewarden.StepPlugin, After: gatewarden.Duration(after), Plugin: &gatewarden.PluginStep{
		Name: "request-termination", Service: service, Config: map[string]any{"status_code": 503}}}
}

func jenkinsStep(after time.Duration) gatewarden.Step {
	return gatewarden.Step{Kind: gatewarden.StepJenkins, After: gatewarden.Duration(after), Jenkins: &gatewarden.JenkinsStep{Job: "shop/orders-rollback"}}
}

func webhookStep() gatewarden.Step {
	return gatewarden.Step{Kind: gatewarden.StepWebhook, Webhook: &gatewarden.WebhookStep{URL: "http://127.0.0.1/"}}
}

// protect is the policy of the worked example.
func protect() gatewarden.ActionPolicy {
	return gatewarden.ActionPolicy{
		Name:   "protect",
		Steps:  []gatewarden.Step{weightStep(0, "v2"), pluginStep(30*time.Second, "recommendations"), jenkinsStep(2 * time.Minute)},
		Lease:  15 * time.Minute,
		Revert: gatewarden.RevertPolicy{After: 5 * time.Minute, Stepwise: true},
		Mode:   gatewarden.ModeEnforce,
	}
}

func slo(name string, onOutage ...string) gatewarden.SLO {
	return gatewarden.SLO{Name: name, OnOutage: onOutage}
}

// verdict of an SLO: "outage", "page", "ticket", "healthy" or "blind".
func verdict(name, word string, at time.Time) gatewarden.Verdict {
	v := gatewarden.Verdict{At: at, Kind: gatewarden.EventSLO, Name: name, Reason: name + " is " + word}
	switch word {
	case "healthy":
		v.State = gatewarden.Healthy
	case "blind":
	default:
		v.State = gatewarden.Breach
		if err := v.Severity.UnmarshalText([]byte(word)); err != nil {
			panic(err)
		}
	}
	return v
}

// unansweredFor lets a kind of call go without an answer for so long.
func unansweredFor(w *world, call string, d time.Duration) func(string, string) error {
	return func(made, _ string) error {
		if made == call && time.Since(w.begun) < d {
			return gatewarden.Errorf(gatewarden.Unavailable, "no answer")
		}
		return nil
	}
}

// timetable plays a script second by second in virtual time and returns what the
// journal says, a line an event: when, what, its state. Each line of the script is
// an instant and what begins then: verdicts ("orders=outage") or "!name", something
// to do.
func timetable(t *testing.T, w *world, script string, do map[string]func(*Engine) error) string {
	t.Helper()
	verdicts := make(map[string]string)
	now := w.begun
	for line := range strings.Lines(strings.TrimSpace(script)) {
		fields := strings.Fields(line)
		until, err := time.ParseDuration(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		for ; now.Before(w.begun.Add(until)); now = now.Add(time.Second) {
			tick(t, w, verdicts)
		}
		for _, f := range fields[1:] {
			if name, ok := strings.CutPrefix(f, "!"); ok {
				if err := do[name](w.engine); err != nil {
					t.Fatalf("%s at %s: %v", name, fields[0], err)
				}
				synctest.Wait()
				continue
			}
			name, word, _ := strings.Cut(f, "=")
			verdicts[name] = word
		}
	}
	tick(t, w, verdicts)
	return w.story()
}

// tick lets a second pass.
func tick(t *testing.T, w *world, verdicts map[string]string) {
	t.Helper()
	var all []gatewarden.Verdict
	for name, word := range verdicts {
		all = append(all, verdict(name, word, time.Now()))
	}
	if err := w.engine.Tick(t.Context(), time.Now(), all); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	time.Sleep(time.Second)
	synctest.Wait()
}

var hash = regexp.MustCompile(`-[0-9a-f]{10}`)

// story is the journal as the tests read it; that a memo was noted is left out.
func (w *world) story() string {
	var b strings.Builder
	for _, e := range w.ledger.events() {
		if strings.HasPrefix(e.Reason, "noted") {
			continue
		}
		fmt.Fprintf(&b, "%s %s %s\n", e.At.Sub(w.begun), hash.ReplaceAllString(e.Name, ""), e.State)
	}
	return b.String()
}

func start(t *testing.T, policies []gatewarden.ActionPolicy, slos ...gatewarden.SLO) *world {
	t.Helper()
	w := newWorld(policies, slos)
	if err := w.boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) close(t *testing.T) {
	t.Helper()
	if err := w.engine.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func lines(s string) string {
	var out []string
	for line := range strings.Lines(strings.TrimSpace(s)) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(out, "\n") + "\n"
}

func policyWith(change func(*gatewarden.ActionPolicy)) gatewarden.ActionPolicy {
	p := protect()
	change(&p)
	return p
}

func TestTimetables(t *testing.T) {
	const full = `
		0s   orders=outage
		3m   orders=healthy
		20m`
	for name, c := range map[string]struct {
		policy gatewarden.ActionPolicy
		slos   []gatewarden.SLO
		setup  func(*world)
		do     map[string]func(*Engine) error
		script string
		want   string
		left   []string
	}{
		"a ladder climbs while the breach lasts, and descends step by step": {
			policy: protect(),
			script: full,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				30s  protect-2 started
				30s  protect-2 applied
				2m0s protect-3 started
				2m0s protect-3 applied
				8m0s protect-2 reverting
				8m0s protect-2 reverted
				13m0s protect-1 reverting
				13m0s protect-1 reverted
				13m1s protect ended`,
		},
		"without stepwise everything goes back at once, the last step first": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Revert.Stepwise = false }),
			script: full,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				30s  protect-2 started
				30s  protect-2 applied
				2m0s protect-3 started
				2m0s protect-3 applied
				8m0s protect-2 reverting
				8m0s protect-2 reverted
				8m0s protect-1 reverting
				8m0s protect-1 reverted
				8m1s protect ended`,
		},
		"a slow revert is waited for before the step below it goes back": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps, p.Revert.Stepwise = p.Steps[:2], false }),
			setup:  func(w *world) { w.outside.delay = 2700 * time.Millisecond },
			script: `
				0s   orders=outage
				1m   orders=healthy
				7m`,
			want: `
				2.7s   protect-1 started
				5.4s   protect-1 applied
				32.7s  protect-2 started
				35.4s  protect-2 applied
				6m0s protect-2 reverting
				6m2.7s protect-2 reverted
				6m2.7s protect-1 reverting
				6m5.4s protect-1 reverted
				6m6s protect ended`,
		},
		"a short breach climbs one step only, and a break in health starts the wait again": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:2] }),
			script: `
				0s   orders=outage
				20s  orders=healthy
				4m   orders=outage
				4m5s orders=healthy
				10m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				4m0s protect-2 started
				4m0s protect-2 applied
				9m5s protect-2 reverting
				9m5s protect-2 reverted`,
			left: []string{"protect-1"},
		},
		"a breach in the middle of the descent climbs again, and the job is run once": {
			policy: protect(),
			script: `
				0s   orders=outage
				3m   orders=healthy
				9m   orders=outage
				12m  orders=healthy
				30m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				30s  protect-2 started
				30s  protect-2 applied
				2m0s protect-3 started
				2m0s protect-3 applied
				8m0s protect-2 reverting
				8m0s protect-2 reverted
				9m30s protect-2r2 started
				9m30s protect-2r2 applied
				17m0s protect-2r2 reverting
				17m0s protect-2r2 reverted
				22m0s protect-1 reverting
				22m0s protect-1 reverted
				22m1s protect ended`,
		},
		"when the source goes silent the leases run out, and the breach is answered again when it can be seen": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:2] }),
			script: `
				0s   orders=outage
				1m   orders=blind
				20m  orders=outage
				21m  orders=healthy
				35m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				30s  protect-2 started
				30s  protect-2 applied
				15m0s protect-1 reverting
				15m0s protect-1 reverted
				15m30s protect-2 reverting
				15m30s protect-2 reverted
				20m0s protect-1r2 started
				20m0s protect-1r2 applied
				20m30s protect-2r2 started
				20m30s protect-2r2 applied
				26m0s protect-2r2 reverting
				26m0s protect-2r2 reverted
				31m0s protect-1r2 reverting
				31m0s protect-1r2 reverted
				31m1s protect ended`,
		},
		"a long breach keeps its leases": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			script: `
				0s   orders=outage
				60m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied`,
			left: []string{"protect-1"},
		},
		"the cool-down holds the next ladder, once": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Steps, p.Limits.Cooldown = p.Steps[:1], 10*time.Minute
			}),
			script: `
				0s   orders=outage
				1m   orders=healthy
				7m   orders=outage
				20m  orders=outage`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				6m0s protect-1 reverting
				6m0s protect-1 reverted
				6m1s protect ended
				7m0s protect-1 skipped
				16m1s protect-1 started
				16m1s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"the limit per hour holds the third action until the first is an hour old": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Steps = []gatewarden.Step{weightStep(0, "a"), weightStep(time.Second, "b"), weightStep(2*time.Second, "c")}
				p.Limits.PerHour = 2
			}),
			script: `
				0s   orders=outage
				61m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				1s   protect-2 started
				1s   protect-2 applied
				2s   protect-3 skipped
				1h0m0s protect-3 started
				1h0m0s protect-3 applied`,
			left: []string{"protect-1", "protect-2", "protect-3"},
		},
		"the limit on actions in place holds the next": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Steps = []gatewarden.Step{weightStep(0, "a"), weightStep(10*time.Second, "b"), weightStep(20*time.Second, "c")}
				p.Limits.MaxActive = 1
			}),
			script: `
				0s   orders=outage
				1m   `,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				10s  protect-2 skipped`,
			left: []string{"protect-1"},
		},
		"observe mode says what it would do and touches nothing": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Mode = gatewarden.ModeObserve }),
			script: full,
			want: `
				0s   protect-1 skipped
				30s  protect-2 skipped
				2m0s protect-3 skipped
				8m0s protect ended`,
		},
		"observe that becomes enforce acts while the breach lasts, whatever it would have been held by": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.Steps, p.Limits = gatewarden.ModeObserve, p.Steps[:1], gatewarden.Limits{Cooldown: 10 * time.Minute, PerHour: 1}
			}),
			do: map[string]func(*Engine) error{"enforce": func(e *Engine) error {
				e.SetRules([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
					p.Steps, p.Limits = p.Steps[:1], gatewarden.Limits{Cooldown: 10 * time.Minute, PerHour: 1}
				})}, []gatewarden.SLO{slo("orders", "protect")})
				return nil
			}},
			script: `
				0s   orders=outage
				1m   !enforce
				2m   orders=healthy
				8m   orders=outage
				9m`,
			want: `
				0s   protect-1 skipped
				1m0s protect ended
				1m1s protect-1 started
				1m1s protect-1 applied
				7m0s protect-1 reverting
				7m0s protect-1 reverted
				7m1s protect ended
				8m0s protect-1 skipped`,
		},
		"observe that becomes enforce after the breach waits for the next one": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Mode, p.Steps = gatewarden.ModeObserve, p.Steps[:1] }),
			do: map[string]func(*Engine) error{"enforce": func(e *Engine) error {
				e.SetRules([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] })}, []gatewarden.SLO{slo("orders", "protect")})
				return nil
			}},
			script: `
				0s   orders=outage
				1m   orders=healthy
				2m   !enforce
				3m   orders=outage
				3m5s`,
			want: `
				0s   protect-1 skipped
				2m0s protect ended
				3m0s protect-1 started
				3m0s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"approve mode waits for a person": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Mode, p.Steps = gatewarden.ModeApprove, p.Steps[:2] }),
			do: map[string]func(*Engine) error{
				"approve": func(e *Engine) error { return e.Approve(context.Background(), waiting(e), "ada") },
			},
			script: `
				0s   orders=outage
				10s  !approve
				1m   orders=healthy
				7m`,
			want: `
				0s   protect-1 waiting
				10s  protect-1 waiting
				10s  protect-1 started
				10s  protect-1 applied
				30s  protect-2 waiting
				1m0s protect-2 skipped
				6m0s protect-1 reverting
				6m0s protect-1 reverted
				6m1s protect ended`,
		},
		"what waits for a person is not asked for again when the ladder climbs anew": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.Steps, p.Lease = gatewarden.ModeApprove, p.Steps[:2], time.Minute
			}),
			do: map[string]func(*Engine) error{
				"approve": func(e *Engine) error { return e.Approve(context.Background(), waiting(e), "ada") },
			},
			script: `
				0s   orders=outage
				10s  !approve
				40s  orders=blind
				2m   orders=outage
				3m   orders=healthy
				9m`,
			want: `
				0s   protect-1 waiting
				10s  protect-1 waiting
				10s  protect-1 started
				10s  protect-1 applied
				30s  protect-2 waiting
				1m30s protect-1 reverting
				1m30s protect-1 reverted
				2m0s protect-1r2 waiting
				3m0s protect-1r2 skipped
				3m0s protect-2 skipped
				8m0s protect ended`,
		},
		"what waited for a person when the breach was over is asked for again when it comes back": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Mode, p.Steps = gatewarden.ModeApprove, p.Steps[:1] }),
			script: `
				0s   orders=outage
				1m   orders=healthy
				2m   orders=outage
				3m`,
			want: `
				0s   protect-1 waiting
				1m0s protect-1 skipped
				2m0s protect-1r2 waiting`,
		},
		"to be asked is not to begin: what was withdrawn does not count for the limit per hour, what was done does": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.Steps, p.Limits.PerHour, p.Revert.After = gatewarden.ModeApprove, p.Steps[:1], 1, 10*time.Second
			}),
			do: map[string]func(*Engine) error{
				"approve": func(e *Engine) error { return e.Approve(context.Background(), waiting(e), "ada") },
			},
			script: `
				0s   orders=outage
				1m   orders=healthy
				1m5s orders=outage
				50m  !approve
				51m  orders=healthy
				52m  orders=outage
				111m`,
			want: `
				0s   protect-1 waiting
				1m0s protect-1 skipped
				1m5s protect-1r2 waiting
				50m0s protect-1r2 waiting
				50m0s protect-1r2 started
				50m0s protect-1r2 applied
				51m10s protect-1r2 reverting
				51m10s protect-1r2 reverted
				51m11s protect ended
				52m0s protect-1 skipped
				1h50m0s protect-1 waiting`,
		},
		"what waits for approval counts for the limit per hour, because it may begin at any moment": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.Limits.PerHour = gatewarden.ModeApprove, 2
				p.Steps = []gatewarden.Step{weightStep(0, "a"), weightStep(time.Second, "b"), weightStep(2*time.Second, "c")}
			}),
			do: map[string]func(*Engine) error{
				"reject": func(e *Engine) error { return e.Reject(context.Background(), waiting(e), "ada", "") },
			},
			script: `
				0s   orders=outage
				70m  !reject
				71m`,
			want: `
				0s   protect-1 waiting
				1s   protect-2 waiting
				2s   protect-3 skipped
				1h10m0s protect-2 skipped
				1h10m0s protect-3 waiting`,
		},
		"what nobody approved in time is not asked for again in the same breach, but in the next": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.Steps, p.ApprovalExpires = gatewarden.ModeApprove, p.Steps[:1], time.Minute
			}),
			script: `
				0s   orders=outage
				2m   orders=blind
				3m   orders=outage
				4m   orders=healthy
				4m1s orders=outage
				4m30s`,
			want: `
				0s   protect-1 waiting
				1m0s protect-1 expired
				4m1s protect-1r2 waiting`,
		},
		"what expired as the breach was over is asked for in the next": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) {
				p.Mode, p.Steps, p.ApprovalExpires = gatewarden.ModeApprove, p.Steps[:1], time.Minute
			}),
			script: `
				0s   orders=outage
				1m   orders=healthy
				1m1s orders=outage
				1m5s`,
			want: `
				0s   protect-1 waiting
				1m0s protect-1 expired
				1m1s protect-1r2 waiting`,
		},
		"what a person rejects does not come up again": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Mode, p.Steps = gatewarden.ModeApprove, p.Steps[:1] }),
			do: map[string]func(*Engine) error{
				"reject": func(e *Engine) error { return e.Reject(context.Background(), waiting(e), "ada", "no") },
			},
			script: `
				0s   orders=outage
				10s  !reject
				5m   orders=healthy
				11m`,
			want: `
				0s   protect-1 waiting
				10s  protect-1 skipped
				10m0s protect ended`,
		},
		"what a person takes back stays back, and the rest of the ladder goes on": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:2] }),
			do: map[string]func(*Engine) error{
				"revert": func(e *Engine) error { return e.Revert(context.Background(), e.List()[0].ID, "ada") },
			},
			script: `
				0s   orders=outage
				10s  !revert
				5m   orders=healthy
				11m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				10s  protect-1 reverting
				10s  protect-1 reverted
				30s  protect-2 started
				30s  protect-2 applied
				10m0s protect-2 reverting
				10m0s protect-2 reverted
				10m1s protect ended`,
		},
		"a ladder that a person takes back stays back until the breach is over": {
			policy: protect(),
			do: map[string]func(*Engine) error{
				"revert": func(e *Engine) error { return e.Revert(context.Background(), e.List()[0].Ladder, "ada") },
			},
			script: `
				0s   orders=outage
				40s  !revert
				5m   orders=healthy
				11m  orders=outage
				11m5s`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				30s  protect-2 started
				30s  protect-2 applied
				40s  protect closed
				40s  protect-2 reverting
				40s  protect-2 reverted
				40s  protect-1 reverting
				40s  protect-1 reverted
				10m0s protect ended
				11m0s protect-1 started
				11m0s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"a pause holds what is new, keeps what is in place while the breach lasts, and no longer than a lease after": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:2] }),
			do: map[string]func(*Engine) error{
				"pause":  func(e *Engine) error { return e.Pause(context.Background(), "ada", "looking") },
				"resume": func(e *Engine) error { return e.Resume(context.Background(), "ada") },
			},
			script: `
				0s   orders=outage
				10s  !pause
				30m  orders=healthy
				50m  !resume
				51m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				10s  guard paused
				30s  protect-2 skipped
				40m0s protect-1 reverting
				40m0s protect-1 reverted
				40m1s protect ended
				50m0s guard resumed`,
		},
		"what waits for a peer when somebody pauses is not begun until that is over": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup:  func(w *world) { w.outside.fault = unansweredFor(w, "prepare", 20*time.Second) },
			do: map[string]func(*Engine) error{
				"pause":  func(e *Engine) error { return e.Pause(context.Background(), "ada", "looking") },
				"resume": func(e *Engine) error { return e.Resume(context.Background(), "ada") },
			},
			script: `
				0s   orders=outage
				10s  !pause
				1m   !resume
				1m5s`,
			want: `
				0s   protect-1 skipped
				10s  guard paused
				31.5s protect-1 skipped
				1m0s guard resumed
				1m0s protect-1 started
				1m0s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"what waits for a peer when maintenance begins is not begun until that is over": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup: func(w *world) {
				w.outside.fault = unansweredFor(w, "prepare", 20*time.Second)
				w.engine.SetGuardrails(gatewarden.Guardrails{Maintenance: []gatewarden.Maintenance{{From: w.begun.Add(10 * time.Second), To: w.begun.Add(time.Minute)}}})
			},
			script: `
				0s   orders=outage
				1m5s`,
			want: `
				0s   protect-1 skipped
				31.5s protect-1 skipped
				1m0s protect-1 started
				1m0s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"what a person approves during maintenance begins": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Mode, p.Steps = gatewarden.ModeApprove, p.Steps[:1] }),
			setup: func(w *world) {
				w.engine.SetGuardrails(gatewarden.Guardrails{Maintenance: []gatewarden.Maintenance{{From: w.begun.Add(10 * time.Second), To: w.begun.Add(time.Minute)}}})
			},
			do: map[string]func(*Engine) error{
				"approve": func(e *Engine) error { return e.Approve(context.Background(), waiting(e), "ada") },
			},
			script: `
				0s   orders=outage
				20s  !approve
				30s`,
			want: `
				0s   protect-1 waiting
				20s  protect-1 waiting
				20s  protect-1 started
				20s  protect-1 applied`,
			left: []string{"protect-1"},
		},
		"a call that is being tried when somebody pauses is not made again until that is over": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup:  func(w *world) { w.outside.fault = unansweredFor(w, "apply", 12*time.Second) },
			do: map[string]func(*Engine) error{
				"pause":  func(e *Engine) error { return e.Pause(context.Background(), "ada", "looking") },
				"resume": func(e *Engine) error { return e.Resume(context.Background(), "ada") },
			},
			script: `
				0s   orders=outage
				10s  !pause
				1m   !resume
				1m5s`,
			want: `
				0s   protect-1 started
				0s   protect-1 started
				10s  guard paused
				15.5s protect-1 started
				1m0s guard resumed
				1m0.25s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"a call that a pause holds is not made when the breach is over meanwhile": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup:  func(w *world) { w.outside.fault = unansweredFor(w, "apply", 12*time.Second) },
			do: map[string]func(*Engine) error{
				"pause":  func(e *Engine) error { return e.Pause(context.Background(), "ada", "looking") },
				"resume": func(e *Engine) error { return e.Resume(context.Background(), "ada") },
			},
			script: `
				0s   orders=outage
				10s  !pause
				30s  orders=healthy
				1m   !resume
				6m`,
			want: `
				0s   protect-1 started
				0s   protect-1 started
				10s  guard paused
				15.5s protect-1 started
				30.25s protect-1 reverting
				31.25s protect-1 failed
				1m0s guard resumed
				5m30s protect ended`,
		},
		"a step that fails is cleaned up and does not stop the next": {
			policy: protect(),
			setup: func(w *world) {
				w.outside.fault = func(call, id string) error {
					if call == "apply" && strings.HasSuffix(id, "-1") {
						return gatewarden.Errorf(gatewarden.Invalid, "no such target")
					}
					return nil
				}
			},
			script: `
				0s   orders=outage
				31s`,
			want: `
				0s   protect-1 started
				0s   protect-1 reverting
				0s   protect-1 failed
				30s  protect-2 started
				30s  protect-2 applied`,
			left: []string{"protect-2"},
		},
		"a peer that does not answer is tried while the breach lasts": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup: func(w *world) {
				w.outside.fault = func(call, _ string) error {
					if call == "prepare" && time.Since(w.begun) < 10*time.Second {
						return gatewarden.Errorf(gatewarden.Unavailable, "no answer")
					}
					return nil
				}
			},
			script: `
				0s   orders=outage
				20s`,
			want: `
				0s   protect-1 skipped
				15.5s protect-1 started
				15.5s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"when the breach is over first, nothing is begun": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup: func(w *world) {
				w.outside.fault = func(string, string) error { return gatewarden.Errorf(gatewarden.Unavailable, "no answer") }
			},
			script: `
				0s   orders=outage
				5s   orders=healthy
				6m`,
			want: `
				0s   protect-1 skipped
				7.5s protect-1 skipped
				5m5s protect ended`,
		},
		"what was not begun before the breach was over is begun when it comes back": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps, p.Limits.PerHour = p.Steps[:1], 1 }),
			setup:  func(w *world) { w.outside.fault = unansweredFor(w, "prepare", 20*time.Second) },
			script: `
				0s   orders=outage
				5s   orders=healthy
				8s   orders=outage
				1m`,
			want: `
				0s   protect-1 skipped
				7.5s protect-1 skipped
				8s   protect-1r2 skipped
				23.5s protect-1r2 started
				23.5s protect-1r2 applied`,
			left: []string{"protect-1r2"},
		},
		"what was given up because the breach was over is done when it comes back": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup:  func(w *world) { w.outside.fault = unansweredFor(w, "apply", 9*time.Second) },
			script: `
				0s   orders=outage
				5s   orders=healthy
				10s  orders=outage
				1m`,
			want: `
				0s   protect-1 started
				0s   protect-1 started
				7.5s protect-1 reverting
				8.5s protect-1 failed
				10s  protect-1r2 started
				10s  protect-1r2 applied`,
			left: []string{"protect-1r2"},
		},
		"a call that may have come through is put back when the breach is over": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup: func(w *world) {
				w.outside.after = func(call, _ string) error {
					if call == "apply" {
						return gatewarden.Errorf(gatewarden.Unavailable, "the answer was lost")
					}
					return nil
				}
			},
			script: `
				0s   orders=outage
				5s   orders=healthy
				6m`,
			want: `
				0s   protect-1 started
				0s   protect-1 started
				7.5s protect-1 reverting
				8.5s protect-1 failed
				5m5s protect ended`,
		},
		"a job whose answer never came is for a person to look at": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{jenkinsStep(0)} }),
			setup: func(w *world) {
				w.outside.after = func(string, string) error { return gatewarden.Errorf(gatewarden.Unavailable, "the answer was lost") }
			},
			script: `
				0s   orders=outage
				5s   orders=healthy
				6m`,
			want: `
				0s   protect-1 started
				0s   protect-1 started
				7.5s protect-1 unknown
				5m5s protect ended`,
		},
		"a revert is never given up, and does not keep the others in place": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps, p.Revert.Stepwise = p.Steps[:2], false }),
			setup: func(w *world) {
				w.outside.fault = func(call, id string) error {
					if call == "revert" && strings.HasSuffix(id, "-2") && time.Since(w.begun) < time.Hour {
						return gatewarden.Errorf(gatewarden.Invalid, "not now")
					}
					return nil
				}
			},
			script: `
				0s   orders=outage
				1m   orders=healthy
				61m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				30s  protect-2 started
				30s  protect-2 applied
				6m0s protect-2 reverting
				6m0s protect-2 reverting
				6m0s protect-1 reverting
				6m0s protect-1 reverted
				1h0m1.5s protect-2 reverted
				1h0m2s protect ended`,
		},
		"a slow call does not hold up the rest": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:2] }),
			setup:  func(w *world) { w.outside.delay = 20 * time.Second },
			script: `
				0s   orders=outage
				2m`,
			want: `
				20s  protect-1 started
				40s  protect-1 applied
				50s  protect-2 started
				1m10s protect-2 applied`,
			left: []string{"protect-1", "protect-2"},
		},
		"a call that never ends is cut off and tried again": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			setup: func(w *world) {
				w.outside.delay = time.Hour
				time.AfterFunc(time.Minute, func() {
					w.outside.mu.Lock()
					w.outside.delay = 0
					w.outside.mu.Unlock()
				})
			},
			script: `
				0s   orders=outage
				2m`,
			want: `
				30s  protect-1 skipped
				1m1.5s protect-1 started
				1m1.5s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"SLOs that name the same policy share a ladder, and all must be well": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			slos:   []gatewarden.SLO{slo("orders", "protect"), slo("latency", "protect")},
			script: `
				0s   orders=outage latency=healthy
				10s  latency=outage
				1m   orders=healthy
				10m  latency=healthy
				16m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				10s  protect-1 skipped
				15m0s protect-1 reverting
				15m0s protect-1 reverted
				15m1s protect ended`,
		},
		"a policy that only tells people tells them of each SLO": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{webhookStep()} }),
			slos:   []gatewarden.SLO{slo("orders", "protect"), slo("latency", "protect")},
			script: `
				0s   orders=outage latency=healthy
				10s  latency=outage
				1m   orders=healthy latency=healthy
				7m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				10s  protect-1 started
				10s  protect-1 applied
				6m0s protect ended
				6m0s protect ended`,
		},
		"one of two SLOs that a reload removes is not waited for": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			slos:   []gatewarden.SLO{slo("orders", "protect"), slo("latency", "protect")},
			do: map[string]func(*Engine) error{"reload": func(e *Engine) error {
				e.SetRules([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] })}, []gatewarden.SLO{slo("latency", "protect")})
				return nil
			}},
			script: `
				0s   orders=outage latency=healthy
				10s  latency=outage
				1m   !reload orders=blind
				2m   latency=healthy
				8m   latency=outage
				8m5s`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				10s  protect-1 skipped
				7m0s protect-1 reverting
				7m0s protect-1 reverted
				7m1s protect ended
				8m0s protect-1 started
				8m0s protect-1 applied`,
			left: []string{"protect-1"},
		},
		"a less urgent alert does not keep a ladder up, a more urgent one does": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] }),
			slos:   []gatewarden.SLO{{Name: "orders", OnPage: []string{"protect"}}},
			script: `
				0s   orders=page
				1m   orders=outage
				10m  orders=ticket
				16m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				15m0s protect-1 reverting
				15m0s protect-1 reverted
				15m1s protect ended`,
		},
		"a reload does not change the ladder that is climbing, and what lost its SLO runs out": {
			policy: policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:2] }),
			do: map[string]func(*Engine) error{
				"reload": func(e *Engine) error {
					e.SetRules([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{jenkinsStep(0)} })}, []gatewarden.SLO{slo("orders", "protect")})
					return nil
				},
				"remove": func(e *Engine) error { e.SetRules(nil, nil); return nil },
			},
			script: `
				0s   orders=outage
				10s  !reload
				1m   !remove orders=blind
				20m`,
			want: `
				0s   protect-1 started
				0s   protect-1 applied
				30s  protect-2 started
				30s  protect-2 applied
				15m0s protect-1 reverting
				15m0s protect-1 reverted
				15m30s protect-2 reverting
				15m30s protect-2 reverted
				15m31s protect ended`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.slos == nil {
					c.slos = []gatewarden.SLO{slo("orders", "protect")}
				}
				w := start(t, []gatewarden.ActionPolicy{c.policy}, c.slos...)
				defer w.close(t)
				if c.setup != nil {
					c.setup(w)
				}
				got := timetable(t, w, c.script, c.do)
				if diff := cmp.Diff(lines(c.want), got); diff != "" {
					t.Errorf("the story differs (-want +got):\n%s", diff)
				}
				var left []string
				for _, id := range w.outside.left() {
					left = append(left, hash.ReplaceAllString(id, ""))
				}
				if diff := cmp.Diff(c.left, left); diff != "" {
					t.Errorf("what is left outside (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestAfterARestartALadderStaysForAllSLOsThatHeldItUp kills the guard while an SLO that had
// joined the ladder of another one cannot be judged: it is not known to be well.
func TestAfterARestartALadderStaysForAllSLOsThatHeldItUp(t *testing.T) {
	for name, script := range map[string]string{
		"both at once": `
				0s   orders=outage latency=outage
				1m   !restart orders=healthy latency=blind
				10m  latency=outage
				11m  latency=healthy
				17m`,
		"one after the other, and two restarts": `
				0s   orders=outage latency=healthy
				10s  latency=outage
				1m   !restart orders=healthy latency=blind
				2m   !restart
				10m  latency=outage
				11m  latency=healthy
				17m`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := protect()
				policy.Steps = policy.Steps[:1]
				w := start(t, []gatewarden.ActionPolicy{policy}, slo("orders", "protect"), slo("latency", "protect"))
				defer func() { w.close(t) }()
				got := timetable(t, w, script, map[string]func(*Engine) error{"restart": func(*Engine) error {
					w.kill()
					return w.boot(t.Context())
				}})
				want := lines(`
				0s   protect-1 started
				0s   protect-1 applied
				16m0s protect-1 reverting
				16m0s protect-1 reverted
				16m1s protect ended`)
				joined := regexp.MustCompile(`(?m)^\d+s protect-1 skipped\n`)
				if diff := cmp.Diff(want, joined.ReplaceAllString(got, "")); diff != "" || len(joined.FindAllString(got, -1)) != 1 {
					t.Errorf("the story differs (-want +got):\n%s\n%s", diff, got)
				}
			})
		})
	}
}

// waiting returns the id of the action that waits for approval.
func waiting(e *Engine) string {
	for _, a := range e.List() {
		if a.Status == gatewarden.ActionWaiting {
			return a.ID
		}
	}
	return "nothing waits"
}
