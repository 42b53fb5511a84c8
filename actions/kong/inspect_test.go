package kong

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden"
)

// TestWhatIsTakenAwayIsToldAndNotFought lets decK, an ingress controller or a person undo or
// change what a ladder has in place.
func TestWhatIsTakenAwayIsToldAndNotFought(t *testing.T) {
	plugin := gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: map[string]any{"status_code": 503}}}
	drain := gatewarden.Step{Kind: gatewarden.StepDrain, Weight: &gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}}
	for name, c := range map[string]struct {
		step  gatewarden.Step
		do    func(*tower)
		tells string
		ends  gatewarden.ActionStatus
		value func(*tower) any // of the place, which must stay as somebody else has left it
	}{
		"a sync removes the plugin": {
			plugin, func(w *tower) { w.remove("request-termination") }, "plugin request-termination on service recommendations is gone", gatewarden.ActionReverted,
			func(w *tower) any { return w.find("/services/recommendations", "request-termination") == nil },
		},
		"a person changes it": {
			plugin, func(w *tower) { w.edit("request-termination") }, `config.trigger: null → "x-1"`, gatewarden.ActionLeft,
			func(w *tower) any {
				return w.plugin("/services/recommendations", "request-termination")["trigger"] == "x-1"
			},
		},
		"a sync removes a limit that stands": {
			gatewarden.Step{Kind: gatewarden.StepAdaptive, Adaptive: &gatewarden.AdaptiveStep{SLO: "a", Service: "orders", Route: "orders-list", Floor: 100, Ceiling: 200}},
			func(w *tower) { w.remove("rate-limiting") }, "plugin rate-limiting on route orders-list is gone", gatewarden.ActionReverted,
			func(w *tower) any { return w.find("/routes/orders-list", "rate-limiting") == nil },
		},
		"a sync sets a weight": {
			drain, func(w *tower) { w.edit("10.0.0.8:8080") }, "the weight of 10.0.0.8:8080 is 41, not 0", gatewarden.ActionLeft,
			func(w *tower) any { return w.weights() == "90 41 5" },
		},
		"a person leads the route elsewhere": {
			gatewarden.Step{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "orders-list", To: "recommendations"}},
			func(w *tower) { w.edit("route") }, "the service of route orders-list: ", gatewarden.ActionLeft,
			func(w *tower) any { return w.send("GET", "/routes/orders-list/service", "")["name"] == "other-1" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigOf(t.Context(), t, false, []gatewarden.ActionPolicy{{
					Name: "on-a", Steps: []gatewarden.Step{c.step}, Lease: time.Hour, Mode: gatewarden.ModeEnforce, Revert: gatewarden.RevertPolicy{After: time.Second},
				}}, []gatewarden.SLO{{Name: "a", OnOutage: []string{"on-a"}}})
				defer r.close()
				w := newTower(r, false)
				w.burning["a"] = true
				w.pass(70)
				w.follow()
				if told := strings.Join(w.log, "\n"); strings.Contains(told, "drifted") {
					t.Fatalf("nobody has touched it yet:\n%s", told)
				}
				c.do(w)
				w.pass(100)
				w.follow()
				told := strings.Join(w.log, "\n")
				if strings.Count(told, "drifted") != 1 || !strings.Contains(told, c.tells) {
					t.Errorf("%q is not told, or not once:\n%s", c.tells, told)
				}
				w.burning["a"] = false
				w.pass(10)
				w.follow()
				if got := w.engine.List()[0]; got.Status != c.ends {
					t.Errorf("it is %s, want %s:\n%s", got.Status, c.ends, strings.Join(w.log, "\n"))
				}
				if c.value(w) != true {
					t.Errorf("what somebody else has done is gone: %v", w.look())
				}
			})
		})
	}
}
