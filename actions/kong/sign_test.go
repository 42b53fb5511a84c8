package kong

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

func TestChangesSayHowTheyShow(t *testing.T) {
	v2 := gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}
	drained := gatewarden.Sign{
		Text: "first tries on other targets of upstream orders-up", Within: 7 * time.Second, Every: true,
		Targets: []string{"10.0.0.8:8080", "10.0.0.9:8000"}, Others: []string{"10.0.0.7:8080"},
	}
	for name, c := range map[string]struct {
		kong   fakekong.Config
		action *record
		then   func(*bench)
		want   gatewarden.Sign
		ok     bool
	}{
		"a drain, on any node": {fakekong.Config{}, weightAction("a-1", gatewarden.StepDrain, v2), nil, drained, true},
		"a weight is no drain": {fakekong.Config{}, weightAction("a-1", gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2", Weight: 3}), nil, gatewarden.Sign{}, false},
		"a drain that was undone by somebody": {
			fakekong.Config{}, weightAction("a-1", gatewarden.StepDrain, v2), func(b *bench) {
				b.send("PATCH", "/upstreams/orders-up/targets/10.0.0.8:8080", `{"weight":1}`)
				b.send("PATCH", "/upstreams/orders-up/targets/10.0.0.9:8000", `{"weight":1}`)
			}, gatewarden.Sign{}, false,
		},
		"a plugin waits for two ticks": {
			fakekong.Config{}, pluginAction("a-1", gatewarden.PluginStep{Name: "request-termination", Service: "recommendations"}), nil,
			gatewarden.Sign{Text: "responses 503 made by Kong", Within: 12 * time.Second, Scope: gatewarden.Series{Service: "recommendations"}, Shed: true, Every: true}, true,
		},
		"where workers are strict, for those of other nodes": {
			fakekong.Config{Strict: true, Tick: time.Second}, pluginAction("a-1", rateLimit(200)), nil,
			gatewarden.Sign{Text: "responses 429 made by Kong", Within: 3 * time.Second, Scope: gatewarden.Series{Route: "orders-list"}, Shed: true, Limit: 200}, true,
		},
		"a plugin that answers nothing by itself": {
			fakekong.Config{}, pluginAction("a-1", gatewarden.PluginStep{Name: "cors", Service: "orders"}), nil, gatewarden.Sign{}, false,
		},
		"a divert": {
			fakekong.Config{}, divertAction("a-1"), nil, gatewarden.Sign{
				Text: "requests of the route that go to service recommendations", Within: 12 * time.Second, Every: true,
				Scope: gatewarden.Series{Route: "orders-list"}, Shows: &gatewarden.Series{Service: "recommendations", Route: "orders-list"},
			}, true,
		},
		"a divert that somebody has changed": {
			fakekong.Config{}, divertAction("a-1"), func(b *bench) { b.send("PATCH", "/routes/orders-list", `{"service":null}`) }, gatewarden.Sign{}, false,
		},
		"a service that is disabled": {
			fakekong.Config{}, serviceAction("a-1", false), nil,
			gatewarden.Sign{Text: "no more requests of the service", Within: 12 * time.Second, Every: true, Scope: gatewarden.Series{Service: "recommendations"}}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.kong)
			b.mustRun(c.action)
			if c.then != nil {
				c.then(b)
			}
			got, ok, err := b.exec.Sign(t.Context(), c.action.Action)
			if ok != c.ok || err != nil {
				t.Fatalf("ok %v, %v: %+v", ok, err, got)
			}
			// Targets that were made in the same second come in any order.
			if diff := cmp.Diff(c.want, got, cmpopts.SortSlices(strings.Compare)); ok && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTargetsByNameAreKnownByTheirAddresses takes a name that the gateway resolves.
func TestTargetsByNameAreKnownByTheirAddresses(t *testing.T) {
	var later time.Duration // a new upstream's health is not told for some seconds
	b := newBench(t, fakekong.Config{Now: func() time.Time { return time.Now().Add(later) }})
	later = time.Minute
	b.send("POST", "/upstreams/orders-up/targets", `{"target":"localhost:8081","weight":5,"tags":["named"]}`)
	r := weightAction("a-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "named"})
	b.mustRun(r)
	sign, ok, err := b.exec.Sign(t.Context(), r.Action)
	if err != nil || !ok || len(sign.Targets) == 0 {
		t.Fatalf("ok %v, %v: %+v", ok, err, sign)
	}
	for _, target := range sign.Targets {
		if target != "127.0.0.1:8081" && target != "[::1]:8081" {
			t.Errorf("target %s", target)
		}
	}
	b.kong.SetFaults(fakekong.Faults{Status: 500})
	if sign, ok, err := b.exec.Sign(t.Context(), r.Action); ok || gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("a gateway that does not answer said %+v, %v; want to hear that it may answer later", sign, err)
	}
}
