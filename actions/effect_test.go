package actions

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// watch is traffic of which each second is the same, until it is changed.
type watch struct {
	since   time.Time // of when it is as it is now
	perSec  gatewarden.Effect
	silence bool
}

func (w *watch) Effect(_ *gatewarden.Sign, from, to time.Time) (gatewarden.Effect, bool) {
	if from.Before(w.since) {
		from = w.since
	}
	seconds := uint64(max(to.Sub(from), 0) / time.Second)
	return gatewarden.Effect{For: w.perSec.For * seconds, Against: w.perSec.Against * seconds}, !w.silence
}

// turn makes the traffic so from now on.
func (w *watch) turn(shows, against uint64) func(*Engine) error {
	return func(*Engine) error {
		w.since, w.perSec, w.silence = time.Now(), gatewarden.Effect{For: shows, Against: against}, false
		return nil
	}
}

func TestChangesAreLookedForInTheTraffic(t *testing.T) {
	every := gatewarden.Sign{Text: "responses 503", Within: 12 * time.Second, Every: true}
	some := gatewarden.Sign{Text: "responses 429", Within: 12 * time.Second}
	steps := []gatewarden.Step{pluginStep(0, "recommendations"), weightStep(10*time.Minute, "v2"), jenkinsStep(20 * time.Minute)}
	first := "0s protect-1 started: put plugin request-termination on service=\"recommendations\", because orders is outage\n0s protect-1 applied: done\n"
	second := func(at string) string {
		return at + " protect-2 started: set the weight of v2 in upstream orders to 0, because orders is outage\n" + at + " protect-2 applied: done\n"
	}
	for name, c := range map[string]struct {
		sign   gatewarden.Sign
		script string
		want   string
	}{
		"it shows": {
			every, "0s orders=outage !shows\n60s",
			first + "13s protect-1 applied: the traffic shows it, 13s after it was done: of responses 503 in the last 1s, 20 are as they should be and 0 are not\n",
		},
		"it does not: it is unverified, and the next step runs at once, the one after it in its own time": {
			every, "0s orders=outage !doesnot\n60s",
			first + "15s protect-1 unverified: it was done 15s ago and should show in the traffic since 3s, but it does not: of responses 503 in the last 3s, 0 are as they should be and 60 are not; the next step is due\n" +
				second("15s") + "30s protect-2 unverified: it was done 15s ago and should show in the traffic since 3s, but it does not: of responses 503 in the last 3s, 0 are as they should be and 60 are not; the next step is due\n" +
				"30s protect-3 started: run the Jenkins job shop/orders-rollback, because orders is outage\n30s protect-3 applied: done\n",
		},
		"without traffic there is no telling":       {every, "0s orders=outage !nothing\n120s", first},
		"while nobody can see there is none either": {every, "0s orders=outage !silence\n120s", first},
		"a few slow requests are no proof":          {every, "0s orders=outage !nothing\n12s !slow\n14s !nothing\n120s", first},
		"one in twenty is as good as all": {
			every, "0s orders=outage !mostly\n60s",
			first + "13s protect-1 applied: the traffic shows it, 13s after it was done: of responses 503 in the last 1s, 19 are as they should be and 1 are not\n",
		},
		"it shows late": {
			every, "0s orders=outage !doesnot\n20s !shows\n29s",
			first + "15s protect-1 unverified: it was done 15s ago and should show in the traffic since 3s, but it does not: of responses 503 in the last 3s, 0 are as they should be and 60 are not; the next step is due\n" +
				second("15s") + "21s protect-1 applied: the traffic shows it, 21s after it was done: of responses 503 in the last 9s, 20 are as they should be and 0 are not\n" +
				"28s protect-2 applied: the traffic shows it, 13s after it was done: of responses 503 in the last 1s, 20 are as they should be and 0 are not\n",
		},
		"a limit that has nothing to do is no failure": {some, "0s orders=outage !nothing\n120s", first},
		"a limit shows before its time, when it binds": {some, "0s orders=outage\n3s !shows\n60s", first + "4s protect-1 applied: the traffic shows it, 4s after it was done: of responses 429 in the last 4s, 20 are as they should be and 0 are not\n"},
		"what is unverified is taken back when all is well": {
			every, "0s orders=outage !doesnot\n16s !nothing orders=healthy\n1000s",
			first + "15s protect-1 unverified: it was done 15s ago and should show in the traffic since 3s, but it does not: of responses 503 in the last 3s, 0 are as they should be and 60 are not; the next step is due\n" +
				second("15s") +
				"5m16s protect-2 reverting: orders has been well for 5m\n5m16s protect-2 reverted: put back\n" +
				"10m16s protect-1 reverting: orders has been well for 10m\n10m16s protect-1 reverted: put back\n" +
				"10m17s protect ended: orders is well again and everything is put back (2)\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &watch{since: time.Now()}
				w := newWorld([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) { p.Steps = steps })}, []gatewarden.SLO{slo("orders", "protect")})
				w.config.Watch, w.outside.sign = seen, &c.sign
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				timetable(t, w, c.script, map[string]func(*Engine) error{
					"shows": seen.turn(20, 0), "doesnot": seen.turn(0, 20), "nothing": seen.turn(0, 0), "mostly": seen.turn(19, 1), "slow": seen.turn(0, 2),
					"silence": func(*Engine) error { seen.silence = true; return nil },
				})
				if diff := cmp.Diff(lines(c.want), lines(w.told())); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				w.close(t)
			})
		})
	}
}

func TestARestartGoesOnLookingForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &watch{since: time.Now(), perSec: gatewarden.Effect{Against: 20}}
		w := newWorld([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
			p.Steps = []gatewarden.Step{pluginStep(0, "recommendations"), weightStep(10*time.Minute, "v2")}
		})}, []gatewarden.SLO{slo("orders", "protect")})
		w.config.Watch, w.outside.sign = seen, &gatewarden.Sign{Text: "responses 503", Within: 12 * time.Second, Every: true}
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		verdicts := map[string]string{"orders": "outage"}
		for range 10 {
			tick(t, w, verdicts)
		}
		w.kill()
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			tick(t, w, verdicts)
		}
		w.kill() // unverified, and known as such
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = seen.turn(20, 0)(nil)
		for range 20 {
			tick(t, w, verdicts)
		}
		told := w.told()
		for _, want := range []string{"15s protect-1 unverified: ", "15s protect-2 applied: done", "21s protect-1 applied: the traffic shows it"} {
			if !strings.Contains(told, want) {
				t.Errorf("%q is not in\n%s", want, told)
			}
		}
		if n := strings.Count(told, "protect-1 unverified"); n != 1 {
			t.Errorf("%d times unverified in\n%s", n, told)
		}
		if applied := w.outside.applied; applied[w.engine.List()[0].ID] != 1 || applied[w.engine.List()[1].ID] != 1 {
			t.Errorf("applied %v", applied)
		}
		w.close(t)
	})
}

// A gateway that was in trouble when a change was made, or when the guard came up, is asked
// again how the change shows: without an answer it would never be seen that it does not.
func TestAGatewayThatDoesNotSayHowAChangeShowsIsAskedAgain(t *testing.T) {
	for name, restart := range map[string]bool{"after the change": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &watch{since: time.Now(), perSec: gatewarden.Effect{Against: 20}}
				w := newWorld([]gatewarden.ActionPolicy{policyWith(func(p *gatewarden.ActionPolicy) {
					p.Steps = []gatewarden.Step{pluginStep(0, "recommendations"), weightStep(10*time.Minute, "v2")}
				})}, []gatewarden.SLO{slo("orders", "protect")})
				w.config.Watch, w.outside.sign = seen, &gatewarden.Sign{Text: "responses 503", Within: 12 * time.Second, Every: true}
				asked := 0
				w.outside.fault = func(call, _ string) error {
					if call != "sign" {
						return nil
					}
					if asked++; time.Since(w.begun) < 27*time.Second {
						return gatewarden.Errorf(gatewarden.Unavailable, "it is down")
					}
					return nil
				}
				w.mustBoot(t)
				verdicts := map[string]string{"orders": "outage"}
				for i := range 40 {
					if restart && i == 8 {
						w.kill()
						w.mustBoot(t)
					}
					tick(t, w, verdicts)
				}
				for _, want := range []string{" protect-1 unverified: ", " protect-2 applied: done"} {
					if !strings.Contains(w.told(), want) {
						t.Errorf("%q is not in\n%s", want, w.told())
					}
				}
				if asked > 12 {
					t.Errorf("it was asked %d times in 40 s", asked)
				}
				w.close(t)
			})
		})
	}
}
