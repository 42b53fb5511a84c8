package actions

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

func crashing(fingerprint string, firing bool, at time.Time) gatewarden.Alert {
	return gatewarden.Alert{
		Fingerprint: fingerprint, Labels: map[string]string{"alertname": "PodsCrash", "service": "orders"}, Summary: "orders restart every minute",
		Firing: firing, StartsAt: at,
	}
}

// alerted is the policy of the worked example, started by alerts.
func alerted() gatewarden.ActionPolicy {
	return policyWith(func(p *gatewarden.ActionPolicy) {
		p.Steps = []gatewarden.Step{weightStep(0, "v2")}
		p.OnAlert = []gatewarden.Matcher{{"alertname": "Other"}, {"alertname": "PodsCrash", "service": "orders"}}
	})
}

func TestAlertsStartAndEndActions(t *testing.T) {
	begun := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	hear := func(list ...gatewarden.Alert) func(*Engine) error {
		return func(e *Engine) error { _, err := e.Hear(t.Context(), list); return err }
	}
	do := map[string]func(*Engine) error{
		"a": hear(crashing("a", true, begun)), "b": hear(crashing("b", true, begun.Add(time.Minute))),
		"a-over": hear(crashing("a", false, begun)), "b-over": hear(crashing("b", false, begun)),
		"other": hear(gatewarden.Alert{Fingerprint: "c", Labels: map[string]string{"alertname": "PodsCrash", "service": "payments"}, Firing: true, StartsAt: begun}),
	}
	const answered = `
		0s PodsCrash firing: the alert PodsCrash: orders restart every minute
		0s protect-1 started: set the weight of v2 in upstream orders to 0, because the alert PodsCrash: orders restart every minute
		0s protect-1 applied: done`
	for name, c := range map[string]struct{ script, want string }{
		"an alert, repeated, then resolved": {"0s !a !a\n1m !a\n2m !a-over !a-over\n8m", answered + `
			2m0s PodsCrash resolved: the alert PodsCrash: orders restart every minute
			7m0s protect-1 reverting: alerts/protect has been well for 5m
			7m0s protect-1 reverted: put back
			7m1s protect ended: alerts/protect is well again and everything is put back (1)`},
		"as long as one of two fires": {"0s !a\n1m !b\n2m !a-over\n20m", answered + `
			1m0s PodsCrash firing: the alert PodsCrash: orders restart every minute
			2m0s PodsCrash resolved: the alert PodsCrash: orders restart every minute`},
		"one that nobody wants": {"0s !other\n1m", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, []gatewarden.ActionPolicy{alerted()})
				timetable(t, w, c.script, do)
				if diff := cmp.Diff(lines(c.want), lines(w.told())); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				w.close(t)
			})
		})
	}
}

func TestAlertsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{alerted()})
		if n, err := w.engine.Hear(t.Context(), []gatewarden.Alert{crashing("a", true, time.Now())}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		tick(t, w, nil)
		w.kill()
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 60 * 60 {
			tick(t, w, nil)
		}
		if left := w.outside.left(); len(left) != 1 {
			t.Errorf("in place: %v; the alert still fires", left)
		}
		if _, err := w.engine.Hear(t.Context(), []gatewarden.Alert{crashing("a", false, time.Now())}); err != nil {
			t.Fatal(err)
		}
		for range 6 * 60 {
			tick(t, w, nil)
		}
		if left := w.outside.left(); len(left) != 0 {
			t.Errorf("in place: %v; the alert is resolved", left)
		}
		w.close(t)
	})
}

func TestAnAlertThatIsSilentForADaySaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{alerted()})
		if _, err := w.engine.Hear(t.Context(), []gatewarden.Alert{crashing("a", true, time.Now())}); err != nil {
			t.Fatal(err)
		}
		tick(t, w, nil)
		for _, c := range []struct {
			after time.Duration
			want  gatewarden.State
		}{{silentAlert - time.Minute, gatewarden.Breach}, {2 * time.Minute, gatewarden.Inconclusive}} {
			time.Sleep(c.after)
			tick(t, w, nil)
			if got := w.engine.verdicts[alarmName("protect")].State; got != c.want {
				t.Errorf("after %s more: %s, want %s", c.after, got, c.want)
			}
		}
		w.close(t)
	})
}

// An alert that fell silent days ago starts nothing at the next start; when it is heard again, it does.
func TestAnAlertThatFellSilentDoesNotFireAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{alerted()})
		hear := func() {
			t.Helper()
			if _, err := w.engine.Hear(t.Context(), []gatewarden.Alert{crashing("a", true, w.begun)}); err != nil {
				t.Fatal(err)
			}
		}
		hear()
		for range 49 * 60 {
			tick(t, w, nil)
			time.Sleep(time.Minute - time.Second)
		}
		w.kill()
		w.mustBoot(t)
		defer w.close(t)
		for range 60 {
			tick(t, w, nil)
		}
		if n := strings.Count(w.story(), "started"); n != 1 || strings.Count(w.story(), "PodsCrash silent") != 1 {
			t.Errorf("it was begun %d times:\n%s", n, w.story())
		}
		hear()
		tick(t, w, nil)
		if n := strings.Count(w.story(), "started"); n != 2 {
			t.Errorf("heard again, it was begun %d times:\n%s", n, w.story())
		}
	})
}

// An alert that fell silent is not known to be over, in the next life either: its ladder is not
// well again, and when it is heard once more what cannot be done twice is not.
func TestAnAlertThatFellSilentIsNotOverAfterARestart(t *testing.T) {
	for _, restarts := range []int{0, 1, 2} {
		synctest.Test(t, func(t *testing.T) {
			p := alerted()
			p.Steps = []gatewarden.Step{jenkinsStep(0)}
			w := start(t, []gatewarden.ActionPolicy{p})
			defer w.close(t)
			hear := func() {
				t.Helper()
				if _, err := w.engine.Hear(t.Context(), []gatewarden.Alert{crashing("a", true, w.begun)}); err != nil {
					t.Fatal(err)
				}
			}
			hear()
			for range 25 * 60 {
				tick(t, w, nil)
				time.Sleep(time.Minute - time.Second)
			}
			for range restarts {
				w.kill()
				w.mustBoot(t)
			}
			for range 10 * 60 {
				tick(t, w, nil)
			}
			hear()
			tick(t, w, nil)
			if story := w.story(); len(w.outside.ran) != 1 || strings.Contains(story, "ended") {
				t.Errorf("%d restarts: it ran %v, want once, by a ladder that has not ended:\n%s", restarts, w.outside.ran, story)
			}
		})
	}
}

func TestASilentAlertIsForgotten(t *testing.T) {
	for name, restart := range map[string]bool{"by the guard that heard it": false, "by the next": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, []gatewarden.ActionPolicy{alerted()})
				defer w.close(t)
				if _, err := w.engine.Hear(t.Context(), []gatewarden.Alert{crashing("a", true, w.begun)}); err != nil {
					t.Fatal(err)
				}
				for time.Since(w.begun) < forgetAlert {
					tick(t, w, nil)
					time.Sleep(10 * time.Minute)
				}
				if n := len(w.engine.alarms); n != 1 {
					t.Errorf("%d alarms before %s", n, forgetAlert)
				}
				time.Sleep(silentAlert) // it is counted from when it fell silent, at the next tick
				if restart {
					w.kill()
					w.mustBoot(t)
				} else {
					tick(t, w, nil)
				}
				if n := len(w.engine.alarms); n != 0 {
					t.Errorf("%d alarms after %s", n, forgetAlert+silentAlert)
				}
			})
		})
	}
}

func TestAlertsTheJournalDoesNotTakeAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, []gatewarden.ActionPolicy{alerted()})
		w.ledger.fault = func() error { return gatewarden.Errorf(gatewarden.Unavailable, "the disk is full") }
		_, err := w.engine.Hear(t.Context(), []gatewarden.Alert{crashing("a", true, time.Now())})
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("%v", err)
		}
		w.ledger.fault = nil
		tick(t, w, nil)
		if got := w.told(); got != "" {
			t.Errorf("something was done for it:\n%s", got)
		}
		w.close(t)
	})
}
