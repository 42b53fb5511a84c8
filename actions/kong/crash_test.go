package kong

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// scenarios are steps with what was at the gateway before them.
var scenarios = map[string]struct {
	theirs string
	action func() *record
}{
	"a plugin of our own":       {"", func() *record { return pluginAction("a-1", rateLimit(200)) }},
	"the user's plugin":         {`{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":60000},"tags":["x"]}`, func() *record { return pluginAction("a-1", rateLimit(200)) }},
	"a plugin that can't merge": {`{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":60}}`, func() *record { return pluginAction("a-1", rateLimit(200)) }},
	"two targets drained": {"", func() *record {
		return weightAction("a-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"})
	}},
	"a route diverted": {"", func() *record {
		return &record{gatewarden.Action{ID: "a-1", Spec: gatewarden.Step{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "orders-list", To: "recommendations"}}}}
	}},
	"a service disabled": {"", func() *record {
		return &record{gatewarden.Action{ID: "a-1", Spec: gatewarden.Step{Kind: gatewarden.StepService, Service: &gatewarden.ServiceStep{Name: "recommendations"}}}}
	}},
	"a canary's share": {"", func() *record { return shareAction("a-1", 40) }},
}

// TestACrashBetweenAnyTwoCalls cuts the wire after every number of requests, with
// the next one lost on its way or its answer lost, in Apply and in Revert. What
// comes after is a new guard with the memo that the journal has.
func TestACrashBetweenAnyTwoCalls(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			if s.theirs != "" {
				b.send("POST", "/plugins", s.theirs)
			}
			before := b.get("/plugins") + b.get("/upstreams/orders-up/targets") + b.get("/routes") + b.get("/services")
			after := ""
			for _, deaf := range []bool{false, true} {
				for _, phase := range []string{"apply, then apply again", "apply, then revert", "revert"} {
					for cut := 0; ; cut++ {
						at := fmt.Sprintf("%s, cut after %d, deaf %v", phase, cut, deaf)
						survived, during := b.crash(s.action(), phase, cut, deaf)
						if during != "" {
							if after == "" {
								after = during
							}
							if diff := cmp.Diff(after, during); diff != "" {
								t.Fatalf("%s: applied twice is not applied once:\n%s", at, diff)
							}
						}
						if diff := cmp.Diff(before, b.get("/plugins")+b.get("/upstreams/orders-up/targets")+b.get("/routes")+b.get("/services")); diff != "" {
							t.Fatalf("%s: not as before:\n%s", at, diff)
						}
						if survived {
							break
						}
						if cut > 50 {
							t.Fatal("it never gets through")
						}
					}
				}
			}
			if after == before {
				t.Error("it did nothing")
			}
		})
	}
}

// crash runs an action whose phase is cut after so many requests, and then to its
// end. It returns whether the phase needed no more than those, and what the
// gateway held while the action was in place ("" when it was reverted at once).
func (b *bench) crash(r *record, phase string, cut int, deaf bool) (survived bool, during string) {
	b.t.Helper()
	if phase == "revert" {
		b.mustRun(r)
	}
	b.wire.cutAfter(cut, deaf)
	var err error
	if phase == "revert" {
		_, err = b.exec.Revert(context.Background(), r.Action)
	} else {
		_, err = b.run(r)
	}
	if err != nil {
		wantCode(b.t, err, gatewarden.Unavailable)
	}
	b.wire.mend()
	b.exec = b.executor(Config{})
	if phase == "apply, then apply again" {
		out := b.mustRun(r)
		wantStatus(b.t, out, gatewarden.ActionApplied)
		during = withoutCreation(b.get("/plugins")) + b.get("/upstreams/orders-up/targets")
	}
	wantStatus(b.t, b.mustRevert(r), gatewarden.ActionReverted)
	return err == nil, during
}

// withoutCreation hides when our own plugin was made, and by which round.
func withoutCreation(plugins string) string { return createdAt.ReplaceAllString(plugins, "") }
