package actions

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

// TestACrashAtEveryFailpoint kills the engine at each failpoint, the first, second
// and third time that it is passed, starts another, and lets the story end.
func TestACrashAtEveryFailpoint(t *testing.T) {
	for _, name := range Failpoints() {
		for nth := 1; nth <= 3; nth++ {
			if nth > passes(name) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crashAt(t, name, nth) })
			})
		}
	}
}

// passes returns how often an undisturbed story passes a failpoint: it has three
// steps, of which two are taken back, and one end.
func passes(name string) int {
	switch name {
	case failLadderFinished:
		return 1
	case failRevertPlanned, failReverting, failRevertCalled, failReverted, failLeaseDeleted:
		return 2
	default:
		return 3
	}
}

func crashAt(t *testing.T, name string, nth int) {
	p := protect()
	p.Steps = []gatewarden.Step{weightStep(0, "v2"), pluginStep(5*time.Second, "recommendations"), jenkinsStep(10 * time.Second)}
	p.Revert = gatewarden.RevertPolicy{After: 10 * time.Second, Stepwise: true}
	w := newWorld([]gatewarden.ActionPolicy{p}, []gatewarden.SLO{slo("orders", "protect")})
	passed, crashes := 0, 0
	w.crashAt = func(at string) bool {
		if at == name {
			passed++
		}
		return at == name && passed == nth
	}
	if err := w.boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for second := range 120 {
		word := "outage"
		if second >= 30 {
			word = "healthy"
		}
		err := w.apart(func() error {
			return w.engine.Tick(t.Context(), time.Now(), []gatewarden.Verdict{verdict("orders", word, time.Now())})
		})
		if err != nil && !w.crashed() {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if w.crashed() {
			crashes++
			w.kill()
			if err := w.boot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	defer w.close(t)
	if crashes != 1 {
		t.Fatalf("it crashed %d times: the failpoint was passed %d times", crashes, passed)
	}
	if left := w.outside.left(); len(left) > 0 {
		t.Errorf("left in place: %v", left)
	}
	if len(w.outside.ran) != 1 {
		t.Errorf("jobs run: %v", w.outside.ran)
	}
	if len(w.outside.reverted) != 2 || !strings.HasSuffix(w.outside.reverted[0], "-2") {
		t.Errorf("reverted in this order: %v", w.outside.reverted)
	}
	if !strings.HasSuffix(w.story(), "protect ended\n") || strings.Count(w.story(), "protect ended") != 1 {
		t.Errorf("the ladder did not end once:\n%s", w.story())
	}
}

func TestWhatIsTakenBackInTheLastMomentOfItsCallIsReverted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] })}, []gatewarden.SLO{slo("orders", "protect")})
		done := false
		w.onFailpoint = func(name string) {
			if name != failApplied || done {
				return
			}
			done = true
			// The action is applied, and its goroutine not yet at rest.
			if err := w.engine.Revert(t.Context(), w.engine.List()[0].ID, "ada"); err != nil {
				t.Error(err)
			}
		}
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer w.close(t)
		timetable(t, w, "0s orders=outage\n5s", nil)
		if left := w.outside.left(); len(left) > 0 {
			t.Errorf("left in place: %v\n%s", left, w.story())
		}
	})
}

func TestAStartAfterALongAbsence(t *testing.T) {
	for name, c := range map[string]struct {
		step gatewarden.Step
		at   string
		want string
	}{
		"reverts what has outlived its lease":             {weightStep(0, "v2"), failApplied, "reverted"},
		"reverts what may have been applied":              {weightStep(0, "v2"), failCalled, "reverted"},
		"does not trigger a job for a breach of long ago": {jenkinsStep(0), failStarted, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{c.step} })}, []gatewarden.SLO{slo("orders", "protect")})
				w.crashAt = func(name string) bool { return name == c.at }
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				tick(t, w, map[string]string{"orders": "outage"})
				if !w.crashed() {
					t.Fatal("it did not crash")
				}
				w.kill()
				w.crashAt = nil
				time.Sleep(time.Hour)
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				defer w.close(t)
				synctest.Wait()
				if got := w.engine.List()[0].Status; string(got) != c.want {
					t.Errorf("it is %s", got)
				}
				if len(w.outside.left()) > 0 || len(w.outside.ran) > 0 {
					t.Errorf("outside: %v, %v", w.outside.left(), w.outside.ran)
				}
			})
		})
	}
}

func TestARestartKeepsPausesAndRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{protect()}, slo("orders", "protect"))
		timetable(t, w, "0s orders=outage\n5s !pause\n6s", map[string]func(*Engine) error{
			"pause": func(e *Engine) error { return e.Pause(context.Background(), "ada", "looking") },
		})
		w.kill()
		// The policy has changed meanwhile: what is in place is still known and taken
		// back, the new steps are not mixed into the old answer.
		w.config.Policies = []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{jenkinsStep(0), jenkinsStep(0)} })}
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer w.close(t)
		want := &Pause{By: "ada", Reason: "looking", At: w.begun.Add(5 * time.Second)}
		if diff := cmp.Diff(want, w.engine.Paused()); diff != "" {
			t.Error(diff)
		}
		if err := w.engine.Resume(t.Context(), "ada"); err != nil {
			t.Error(err)
		}
		timetable(t, w, "10s orders=outage\n5m orders=healthy\n11m", nil)
		if len(w.outside.ran) > 0 || len(w.outside.left()) > 0 || !strings.HasSuffix(w.story(), "10m7s protect-1 reverted\n10m8s protect ended\n") {
			t.Errorf("%v %v\n%s", w.outside.ran, w.outside.left(), w.story())
		}
	})
}

func TestADeposedGuardDoesNothingAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{protect()}, slo("orders", "protect"))
		defer w.close(t)
		w.ledger.fault = func() error { return gatewarden.Errorf(gatewarden.Conflict, "another guard") }
		for range 40 {
			tick(t, w, map[string]string{"orders": "outage"})
		}
		if len(w.outside.applied) > 0 {
			t.Errorf("it did %v", w.outside.applied)
		}
		if err := w.engine.Pause(t.Context(), "ada", ""); gatewarden.ErrorCode(err) != gatewarden.Conflict {
			t.Errorf("a pause: %v", err)
		}
	})
}

func TestWithoutALeadNothingIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld([]gatewarden.ActionPolicy{protect()}, []gatewarden.SLO{slo("orders", "protect")})
		w.config.Leader = func() bool { return false }
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer w.close(t)
		timetable(t, w, "0s orders=outage\n5s", nil)
		if w.story() != "" {
			t.Error(w.story())
		}
	})
}

func TestPeopleAreToldWhatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{jenkinsStep(0), weightStep(0, "v2")} })
		w := newWorld([]gatewarden.ActionPolicy{p}, []gatewarden.SLO{slo("orders", "protect")})
		engine, err := New(Config{Journal: &connection{w.ledger, func() bool { return true }}})
		if err != nil {
			t.Fatal(err)
		}
		if err := engine.Pause(t.Context(), "ada", ""); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Errorf("before the start: %v", err)
		}
		if err := engine.Tick(t.Context(), time.Now(), nil); err == nil {
			t.Error("a tick before the start")
		}
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		e, ctx := w.engine, t.Context()
		timetable(t, w, "0s orders=outage\n5s", nil)
		job, weight := e.List()[1], e.List()[0]
		for name, c := range map[string]struct {
			err  error
			code gatewarden.Code
		}{
			"approve what is not there":    {e.Approve(ctx, "nothing", "ada"), gatewarden.NotFound},
			"approve what is done":         {e.Approve(ctx, job.ID, "ada"), gatewarden.Conflict},
			"approve a ladder that climbs": {e.Approve(ctx, job.Ladder, "ada"), gatewarden.Conflict},
			"reject what is done":          {e.Reject(ctx, job.ID, "ada", ""), gatewarden.Conflict},
			"revert a job":                 {e.Revert(ctx, job.ID, "ada"), gatewarden.Conflict},
			"revert what is not there":     {e.Revert(ctx, "nothing", ""), gatewarden.NotFound},
			"resume what is not paused":    {e.Resume(ctx, ""), gatewarden.Conflict},
			"revert":                       {e.Revert(ctx, weight.ID, ""), ""},
			"revert twice":                 {errAfter(synctest.Wait, func() error { return e.Revert(ctx, weight.ID, "") }), gatewarden.Conflict},
			"start twice":                  {e.Start(ctx, time.Now()), gatewarden.Internal},
		} {
			if gatewarden.ErrorCode(c.err) != c.code {
				t.Errorf("%s: %v", name, c.err)
			}
		}
		got, ok := e.Get(weight.ID)
		if !ok || got.Status != gatewarden.ActionReverted || got.By != somebody || got.Change != "it changed" {
			t.Errorf("%+v", got)
		}
		if _, ok := e.Get("nothing"); ok {
			t.Error("nothing is known")
		}
		w.close(t)
		if err := e.Pause(ctx, "ada", ""); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Errorf("after the end: %v", err)
		}
	})
}

func errAfter(wait func(), f func() error) error {
	wait()
	return f()
}

func TestSheds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policyWith(func(p *gatewarden.ActionPolicy) {
			p.Steps = []gatewarden.Step{pluginStep(0, "recommendations"), weightStep(0, "v2")}
		})
		w := start(t, []gatewarden.ActionPolicy{p}, slo("orders", "protect"))
		defer w.close(t)
		w.outside.delay = 2 * time.Second
		timetable(t, w, "0s orders=outage\n3s", nil)
		want := gatewarden.Shed{
			Action: w.engine.List()[len(w.engine.List())-1].ID, Scope: gatewarden.Series{Service: "recommendations"},
			Status: 503, From: w.begun.Add(2 * time.Second),
		}
		if diff := cmp.Diff([]gatewarden.Shed{want}, w.engine.Sheds()); diff != "" {
			t.Errorf("while the call is under way:\n%s", diff)
		}
		timetable(t, w, "1m orders=healthy\n12m", nil)
		a, _ := w.engine.Get(want.Action)
		want.To = a.EndedAt.Add(15 * time.Second)
		if diff := cmp.Diff([]gatewarden.Shed{want}, w.engine.Sheds()); diff != "" {
			t.Errorf("after the revert:\n%s", diff)
		}
		time.Sleep(6 * time.Minute)
		if got := w.engine.Sheds(); len(got) > 0 {
			t.Errorf("long after the revert: %v", got)
		}
	})
}

// remover is an executor that knows of orphans.
type remover struct {
	*executor
	orphans []Orphan
	refuse  int
	removed []string
}

func (r *remover) Orphans(_ context.Context, known func(string) bool) ([]Orphan, error) {
	if r.refuse > 0 {
		r.refuse--
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "no answer")
	}
	return slices.DeleteFunc(slices.Clone(r.orphans), func(o Orphan) bool { return known(o.Action) }), nil
}

func (r *remover) RemoveOrphan(_ context.Context, o Orphan) error {
	r.removed = append(r.removed, o.ID)
	return nil
}

func TestOrphansAreRemovedAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{protect()}, slo("orders", "protect"))
		timetable(t, w, "0s orders=outage\n5s", nil)
		w.kill()
		alive := func() bool { return true }
		r := &remover{executor: &executor{w.outside, alive}, refuse: 2, orphans: []Orphan{
			{ID: "p1", Action: w.engine.List()[0].ID, Change: "in place"},
			{ID: "p2", Action: "lost-1", Change: "plugin request-termination"},
			{ID: "p3"},
		}}
		e, err := New(Config{Journal: &connection{w.ledger, alive}, Executors: map[gatewarden.StepKind]Executor{
			gatewarden.StepPlugin: r, gatewarden.StepDrain: r, gatewarden.StepWeight: r,
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"p2", "p3"}, r.removed); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(w.story(), "lost-1 reverted") {
			t.Error(w.story())
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseCutsLongCallsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{jenkinsStep(0)} })}, slo("orders", "protect"))
		w.outside.fault = func(call, _ string) error {
			if call == "apply" {
				time.Sleep(15 * time.Second)
			}
			return nil
		}
		tick(t, w, map[string]string{"orders": "outage"})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := w.engine.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		w := newWorld([]gatewarden.ActionPolicy{protect()}, []gatewarden.SLO{slo("orders", "protect")})
		w.config.Registerer = reg
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer w.close(t)
		timetable(t, w, "0s orders=outage\n40s", nil)
		const want = `
			# HELP gatewarden_actions_in_place Actions that are in place or under way, by kind of step and status.
			# TYPE gatewarden_actions_in_place gauge
			gatewarden_actions_in_place{kind="drain",status="applied"} 1
			gatewarden_actions_in_place{kind="plugin",status="applied"} 1
			# HELP gatewarden_actions_lease_remaining_seconds Time until the first lease of a policy's actions runs out.
			# TYPE gatewarden_actions_lease_remaining_seconds gauge
			gatewarden_actions_lease_remaining_seconds{policy="protect"} 860
			# HELP gatewarden_actions_status_changes_total Actions that came to a status, by kind of step.
			# TYPE gatewarden_actions_status_changes_total counter
			gatewarden_actions_status_changes_total{kind="drain",status="applied"} 1
			gatewarden_actions_status_changes_total{kind="drain",status="started"} 1
			gatewarden_actions_status_changes_total{kind="plugin",status="applied"} 1
			gatewarden_actions_status_changes_total{kind="plugin",status="started"} 1
		`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "gatewarden_actions_in_place", "gatewarden_actions_lease_remaining_seconds", "gatewarden_actions_status_changes_total"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
			t.Errorf("promlint: %v %v", problems, err)
		}
	})
}

func TestObservingIsTheSameEveryTime(t *testing.T) {
	play := func() string {
		w := &world{outside: newOutside(), ledger: &ledger{}, leases: NewMemoryLeases(), begun: time.Unix(1_800_000_000, 0).UTC()}
		e, err := New(Config{
			Policies: []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Mode = gatewarden.ModeObserve })},
			SLOs:     []gatewarden.SLO{slo("orders", "protect"), slo("latency", "protect")},
			Journal:  &connection{w.ledger, func() bool { return true }},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context(), w.begun); err != nil {
			t.Fatal(err)
		}
		for s := range 3600 {
			at := w.begun.Add(time.Duration(s) * time.Second)
			orders := map[bool]string{true: "outage", false: "healthy"}[s%1200 < 200]
			if err := e.Tick(t.Context(), at, []gatewarden.Verdict{verdict("orders", orders, at), verdict("latency", "healthy", at)}); err != nil {
				t.Fatal(err)
			}
		}
		var lines []string
		for _, line := range w.ledger.lines {
			lines = append(lines, string(line))
		}
		return strings.Join(lines, "\n")
	}
	first := play()
	if diff := cmp.Diff(first, play()); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(first, "observe mode"); n != 9 {
		t.Errorf("%d steps were observed, want 3 in each of 3 breaches:\n%s", n, first)
	}
}

// What was only observed is not done because of a restart; what observed ends, like at a
// running guard, when the rules that it finds let it do more, and the breach is answered anew.
func TestARestartDoesWhatTheRulesSayThen(t *testing.T) {
	for mode, want := range map[gatewarden.Mode]string{
		gatewarden.ModeObserve: "",
		gatewarden.ModeEnforce: "30s protect ended\n31s protect-1 started\n31s protect-1 applied\n",
		gatewarden.ModeApprove: "30s protect ended\n31s protect-1 waiting\n",
	} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := func(mode gatewarden.Mode) []gatewarden.ActionPolicy {
					return []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
						p.Mode, p.Steps, p.Limits = mode, p.Steps[:1], gatewarden.Limits{Cooldown: 10 * time.Minute}
					})}
				}
				w := start(t, in(gatewarden.ModeObserve), slo("orders", "protect"))
				defer w.close(t)
				breach := map[string]string{"orders": "outage"}
				for range 30 {
					tick(t, w, breach)
				}
				seen := w.story()
				if seen != "0s protect-1 skipped\n" {
					t.Fatalf("it has observed:\n%s", seen)
				}
				w.kill()
				w.config.Policies = in(mode)
				w.mustBoot(t)
				for range 30 {
					tick(t, w, breach)
				}
				w.kill()
				w.mustBoot(t)
				for range 30 {
					tick(t, w, breach)
				}
				if got := strings.TrimPrefix(w.story(), seen); got != want {
					t.Errorf("after the restart:\n%swant:\n%s", got, want)
				}
			})
		})
	}
}

func TestARestartRemembersWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
			p.Mode, p.Steps, p.ApprovalExpires = gatewarden.ModeApprove, p.Steps[:1], time.Minute
		})}, slo("orders", "protect"))
		timetable(t, w, "0s orders=outage\n2m", nil)
		w.kill()
		w.mustBoot(t)
		defer w.close(t)
		const expired = "0s protect-1 waiting\n1m0s protect-1 expired\n"
		if got := timetable(t, w, "0s orders=outage\n3m", nil); got != expired {
			t.Errorf("while the same breach lasts:\n%s", got)
		}
		again := timetable(t, w, "0s orders=healthy\n4m orders=outage\n5m", nil)
		if n := strings.Count(again, "protect-1r2 waiting"); n != 1 {
			t.Errorf("in the next breach it is asked for %d times:\n%s", n, again)
		}
	})
}

// The end of a ladder came into the journal, but the answer to that was lost: the ladder went on, and
// what it did then is the guard's after a restart too.
func TestWhatALadderDidAfterItsEndWasWrittenIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = p.Steps[:1] })
		w := start(t, []gatewarden.ActionPolicy{p}, slo("orders", "protect"))
		timetable(t, w, "0s orders=outage\n1m orders=healthy\n5m59s", nil)
		w.ledger.unheard = gatewarden.LadderEnded
		for w.ledger.unheard != "" {
			_ = w.engine.Tick(t.Context(), time.Now(), []gatewarden.Verdict{verdict("orders", "healthy", time.Now())})
			synctest.Wait()
			time.Sleep(time.Second)
		}
		timetable(t, w, "0s orders=outage\n5s", nil)
		if story := w.story(); !strings.Contains(story, "protect ended\n") || !strings.HasSuffix(story, "protect-1r2 applied\n") {
			t.Fatalf("the story is another:\n%s", story)
		}
		w.kill()
		w.mustBoot(t)
		defer w.close(t)
		timetable(t, w, "0s orders=healthy\n1h", nil)
		if left := w.outside.left(); len(left) > 0 {
			t.Errorf("left in place: %v\n%s", left, w.story())
		}
	})
}

// A write that fails when a step is to be taken back costs no more than the time until the next tick.
func TestAStepThatCouldNotBeTakenBackIsWithTheNextTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{protect()}, slo("orders", "protect"))
		defer w.close(t)
		timetable(t, w, "0s orders=outage\n3m orders=healthy\n7m59s", nil)
		for _, fails := range []bool{true, false} {
			w.ledger.fault = func() error {
				if fails {
					return gatewarden.Errorf(gatewarden.Unavailable, "the disk is full")
				}
				return nil
			}
			err := w.engine.Tick(t.Context(), time.Now(), []gatewarden.Verdict{verdict("orders", "healthy", time.Now())})
			if fails != (err != nil) {
				t.Fatalf("at %s: %v", time.Since(w.begun), err)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if story := w.story(); !strings.HasSuffix(story, "8m1s protect-2 reverting\n8m1s protect-2 reverted\n") {
			t.Errorf("the story is another:\n%s", story)
		}
	})
}

// follower is an executor of jobs that go on without it for as long as they take.
type follower struct {
	*executor
	takes time.Duration
	begun *time.Time // when the job began, in the outside
}

func (f *follower) Apply(ctx context.Context, _ gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	if f.begun.IsZero() {
		*f.begun = time.Now()
	}
	if err := save(json.RawMessage(`{"build":1}`)); err != nil {
		return gatewarden.Outcome{}, err
	}
	select {
	case <-time.After(time.Until(f.begun.Add(f.takes))):
		return gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: "SUCCESS"}, nil
	case <-ctx.Done():
		return gatewarden.Outcome{}, ctx.Err()
	}
}

func (*follower) Begun(memo json.RawMessage) bool { return strings.Contains(string(memo), "build") }

func TestAJobThatOutlastsALeaseIsFollowedOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := jenkinsStep(0)
		job.Jenkins.Verify = gatewarden.Duration(5 * time.Minute)
		w := newWorld([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{job, weightStep(0, "v2")} })}, []gatewarden.SLO{slo("orders", "protect")})
		f := &follower{executor: &executor{w.outside, func() bool { return true }}, takes: 30 * time.Minute, begun: new(time.Time)}
		w.config.Executors = map[gatewarden.StepKind]Executor{gatewarden.StepJenkins: f}
		w.mustBoot(t)
		timetable(t, w, "0s orders=outage\n16m", nil)
		w.kill()
		w.mustBoot(t)
		defer w.close(t)
		got := timetable(t, w, "0s orders=outage\n16m", nil)
		if diff := cmp.Diff("0s protect-1 started\n30m0s protect-1 applied\n", got); diff != "" {
			t.Errorf("the story differs (-want +got):\n%s", diff)
		}
	})
}

// A guard that tried until it was killed was not away, however long it had tried.
func TestAStartCountsItsAbsenceFromTheLastSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{jenkinsStep(0)} })
		w := start(t, []gatewarden.ActionPolicy{p}, slo("orders", "protect"))
		w.outside.fault = unansweredFor(w, "apply", 18*time.Minute)
		timetable(t, w, "0s orders=outage\n16m !pause\n17m !resume\n17m10s", map[string]func(*Engine) error{
			"pause":  func(e *Engine) error { return e.Pause(context.Background(), "ada", "looking") },
			"resume": func(e *Engine) error { return e.Resume(context.Background(), "ada") },
		})
		w.kill()
		w.mustBoot(t)
		defer w.close(t)
		timetable(t, w, "0s orders=outage\n3m", nil)
		if got := w.engine.List()[0].Status; got != gatewarden.ActionApplied {
			t.Errorf("it is %s\n%s", got, w.story())
		}
	})
}

// A job whose trigger was under way when the guard died is not triggered hours later, whatever
// is in the journal besides.
func TestAGuardThatWasAwayForLongTriggersNothing(t *testing.T) {
	ahead := func(w *world) {
		_, err := w.ledger.append(gatewarden.Event{
			At: time.Now().Add(24 * time.Hour), Type: gatewarden.EventAction, Name: gatewarden.GuardName, State: gatewarden.GuardResumed, By: "ada",
		})
		if err != nil {
			panic(err)
		}
	}
	for name, c := range map[string]struct {
		before, died func(*world)
		halted       bool
	}{
		"and nothing else":                                    {},
		"it is started with the pause file there":             {halted: true},
		"its clock was a day ahead for a moment":              {before: ahead},
		"its clock was a day ahead in the end":                {died: ahead},
		"the file is there, and the clock was ahead a moment": {before: ahead, halted: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{jenkinsStep(0)} })
				w := start(t, []gatewarden.ActionPolicy{p}, slo("orders", "protect"))
				w.outside.fault = unansweredFor(w, "apply", 2*time.Minute)
				if c.before != nil {
					c.before(w)
				}
				timetable(t, w, "0s orders=outage\n1m", nil)
				if c.died != nil {
					c.died(w)
				}
				w.kill()
				time.Sleep(3 * time.Hour)
				if c.halted {
					w.beforeStart = func(e *Engine) error { return e.Halt(t.Context(), &Pause{By: "the file stop", At: time.Now()}) }
				}
				w.mustBoot(t)
				defer w.close(t)
				for range 60 {
					tick(t, w, map[string]string{"orders": "outage"})
				}
				if err := w.engine.Halt(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				for range 60 {
					tick(t, w, map[string]string{"orders": "outage"})
				}
				if got := w.engine.List()[0].Status; got != gatewarden.ActionUnknown || len(w.outside.ran) != 0 {
					t.Errorf("it is %s, and ran %v\n%s", got, w.outside.ran, w.told())
				}
				if told := strings.Count(w.told(), "pause-file paused"); c.halted != (told == 1) {
					t.Errorf("that the file is there was told %d times:\n%s", told, w.told())
				}
			})
		})
	}
}

// counting counts the calls of an executor, orphans included.
type counting struct {
	*remover
	calls *atomic.Int64
}

func (c *counting) Prepare(ctx context.Context, a gatewarden.Action) (json.RawMessage, error) {
	c.calls.Add(1)
	return c.remover.Prepare(ctx, a)
}

func (c *counting) Apply(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	c.calls.Add(1)
	return c.remover.Apply(ctx, a, save)
}

func (c *counting) Revert(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	c.calls.Add(1)
	return c.remover.Revert(ctx, a)
}

func (c *counting) Orphans(ctx context.Context, known func(string) bool) ([]Orphan, error) {
	c.calls.Add(1)
	return c.remover.Orphans(ctx, known)
}

func (c *counting) RemoveOrphan(ctx context.Context, o Orphan) error {
	c.calls.Add(1)
	return c.remover.RemoveOrphan(ctx, o)
}

// An engine that starts at a silent peer, with a change whose lease ran out, tries on: until it stops to
// lead, finds that it was deposed, or is closed, also when its start has failed.
func TestAnEngineThatIsNotToActCallsNobody(t *testing.T) {
	silent := func(string, string) error { return gatewarden.Errorf(gatewarden.Unavailable, "no answer") }
	for name, c := range map[string]struct {
		fails bool // the start
		stop  func(t *testing.T, w *world, led *atomic.Bool)
	}{
		"it leads no more": {stop: func(_ *testing.T, _ *world, led *atomic.Bool) { led.Store(false) }},
		"it was deposed": {stop: func(t *testing.T, w *world, _ *atomic.Bool) {
			w.ledger.fault = func() error { return gatewarden.Errorf(gatewarden.Conflict, "another guard") }
			if err := w.engine.Pause(t.Context(), "ada", ""); gatewarden.ErrorCode(err) != gatewarden.Conflict {
				t.Errorf("a pause: %v", err)
			}
		}},
		"it is closed after a start that failed": {fails: true, stop: func(t *testing.T, w *world, _ *atomic.Bool) { w.close(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = []gatewarden.Step{pluginStep(0, "a"), weightStep(0, "v2")} })
				w := start(t, []gatewarden.ActionPolicy{p}, slo("orders", "protect"))
				timetable(t, w, "0s orders=outage\n5s", nil)
				if err := w.engine.Revert(t.Context(), w.engine.List()[0].ID, "ada"); err != nil {
					t.Fatal(err)
				}
				w.kill()
				time.Sleep(time.Hour)
				var led atomic.Bool
				led.Store(true)
				calls := new(atomic.Int64)
				x := &counting{&remover{executor: &executor{w.outside, func() bool { return true }}, refuse: 2, orphans: []Orphan{{ID: "p1", Action: "lost-1"}}}, calls}
				w.config.Leader = led.Load
				w.config.Executors = map[gatewarden.StepKind]Executor{gatewarden.StepPlugin: x, gatewarden.StepDrain: x}
				w.outside.fault = silent
				if c.fails {
					w.ledger.fault = func() error { return gatewarden.Errorf(gatewarden.Unavailable, "the disk is full") }
				}
				if err := w.boot(t.Context()); c.fails != (err != nil) {
					t.Fatalf("the start: %v", err)
				}
				synctest.Wait()
				c.stop(t, w, &led)
				synctest.Wait()
				before := calls.Load()
				if before == 0 {
					t.Error("nothing was called at all")
				}
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if n := calls.Load() - before; n > 0 || len(x.removed) > 0 {
					t.Errorf("%d more calls, orphans removed: %v", n, x.removed)
				}
				w.close(t)
			})
		})
	}
}
