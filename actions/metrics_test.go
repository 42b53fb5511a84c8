package actions

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

func TestWhatWaitsForAPersonIsCountedUntilSomebodyDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		policy := policyWith(func(p *gatewarden.ActionPolicy) { p.Mode, p.Steps = gatewarden.ModeApprove, p.Steps[:1] })
		w := newWorld([]gatewarden.ActionPolicy{policy}, []gatewarden.SLO{slo("orders", policy.Name)})
		w.config.Registerer = reg
		if err := w.boot(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer w.close(t)
		counts := func(want string) func(*Engine) error {
			if want != "" {
				want = "# HELP gatewarden_actions_waiting Actions that wait for a person to approve them.\n# TYPE gatewarden_actions_waiting gauge\n" + want
			}
			return func(*Engine) error {
				return testutil.GatherAndCompare(reg, strings.NewReader(want), "gatewarden_actions_waiting")
			}
		}
		timetable(t, w, `
			0s  !nobody orders=outage
			5s  !somebody !approve
			10s !nobody`, map[string]func(*Engine) error{
			"nobody": counts(""), "somebody": counts("gatewarden_actions_waiting{policy=\"protect\"} 1\n"),
			"approve": func(e *Engine) error { return e.Approve(t.Context(), waiting(e), "ada") },
		})
	})
}
