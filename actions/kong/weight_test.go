package kong

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

func TestWeightsAreSetAndSetBack(t *testing.T) {
	for name, c := range map[string]struct {
		kind   gatewarden.StepKind
		step   gatewarden.WeightStep
		change string
	}{
		"one target drained":                  {gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"}, "weight of 10.0.0.8:8080 in upstream orders-up: 10 → 0"},
		"one without its port":                {gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.9"}, "weight of 10.0.0.9:8000 in upstream orders-up: 5 → 0"},
		"all that carry a tag":                {gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}, "weight of 10.0.0.9:8000 in upstream orders-up: 5 → 0; weight of 10.0.0.8:8080 in upstream orders-up: 10 → 0"},
		"a weight, not none":                  {gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 50}, "weight of 10.0.0.8:8080 in upstream orders-up: 10 → 50"},
		"a drain takes no notice of a weight": {gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 50}, "weight of 10.0.0.8:8080 in upstream orders-up: 10 → 0"},
		"the weight that it has":              {gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 10}, "weight of 10.0.0.8:8080 in upstream orders-up: 10 → 10"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			before := b.get("/upstreams/orders-up/targets")
			r := weightAction("a-1", c.kind, c.step)
			for range 2 {
				out := b.mustRun(r)
				wantStatus(t, out, gatewarden.ActionApplied)
				if changes := strings.Split(out.Change, "; "); !sameParts(changes, strings.Split(c.change, "; ")) {
					t.Errorf("change %q, want %q", out.Change, c.change)
				}
				if !strings.Contains(out.Undo, "curl -X PATCH") || !strings.Contains(out.Undo, `{"weight":`) {
					t.Errorf("undo %q", out.Undo)
				}
			}
			for range 2 {
				wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
			}
			if diff := cmp.Diff(before, b.get("/upstreams/orders-up/targets")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func sameParts(a, b []string) bool {
	seen := map[string]int{}
	for _, s := range a {
		seen[s]++
	}
	for _, s := range b {
		seen[s]--
	}
	for _, n := range seen {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestAnUpstreamKeepsATargetWithAWeight(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.mustRun(weightAction("a-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}))
	before := b.get("/upstreams/orders-up/targets")
	_, err := b.run(weightAction("a-2", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.7:8080"}))
	wantCode(t, err, gatewarden.Conflict, "without any target", "503")
	if diff := cmp.Diff(before, b.get("/upstreams/orders-up/targets")); diff != "" {
		t.Error(diff)
	}
}

func TestAWeightGoesNotBackToNoneAsTheLast(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.send("PATCH", "/upstreams/orders-up/targets/10.0.0.8:8080", `{"weight":0}`)
	r := weightAction("a-1", gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 10})
	b.mustRun(r)
	for _, other := range []string{"10.0.0.7:8080", "10.0.0.9:8000"} {
		b.send("PATCH", "/upstreams/orders-up/targets/"+other, `{"weight":0}`)
	}
	out := b.mustRevert(r)
	wantStatus(t, out, gatewarden.ActionLeft)
	if !strings.Contains(out.Details, "only target") {
		t.Error(out.Details)
	}
}

func TestWeightsThatSomebodyElseSetAreLeft(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *bench)
		status gatewarden.ActionStatus
		says   string
	}{
		"set to something else": {func(b *bench) { b.send("PATCH", "/upstreams/orders-up/targets/10.0.0.8:8080", `{"weight":33}`) }, gatewarden.ActionLeft, "the weight of 10.0.0.8:8080 is 33, not 0"},
		"set back":              {func(b *bench) { b.send("PATCH", "/upstreams/orders-up/targets/10.0.0.8:8080", `{"weight":10}`) }, gatewarden.ActionReverted, "as they were"},
		"deleted":               {func(b *bench) { b.send("DELETE", "/upstreams/orders-up/targets/10.0.0.8:8080", "") }, gatewarden.ActionLeft, "10.0.0.8:8080 is no longer in the upstream"},
		"with its upstream": {func(b *bench) {
			b.send("PATCH", "/services/orders", `{"host":"elsewhere"}`)
			b.send("DELETE", "/upstreams/orders-up", "")
		}, gatewarden.ActionLeft, "no longer in the upstream"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			r := weightAction("a-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"})
			b.mustRun(r)
			c.change(b)
			out := b.mustRevert(r)
			wantStatus(t, out, c.status)
			if !strings.Contains(out.Reason+out.Details, c.says) {
				t.Errorf("%q is not said: %+v", c.says, out)
			}
		})
	}
}

func TestWeightsStackAndComeOffInReverseOrder(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	before := b.get("/upstreams/orders-up/targets")
	first := weightAction("a-1", gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 5})
	second := weightAction("a-2", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"})
	b.mustRun(first)
	b.mustRun(second)
	wantStatus(t, b.mustRevert(second), gatewarden.ActionReverted)
	wantStatus(t, b.mustRevert(first), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/upstreams/orders-up/targets")); diff != "" {
		t.Error(diff)
	}
}

func TestAWeightThatChangesBetweenPrepareAndApplyComesBackAsItWasLast(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	r := weightAction("a-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"})
	memo, err := b.exec.Prepare(t.Context(), r.Action)
	if err != nil {
		t.Fatal(err)
	}
	r.Memo = memo
	b.send("PATCH", "/upstreams/orders-up/targets/10.0.0.8:8080", `{"weight":25}`)
	before := b.get("/upstreams/orders-up/targets")
	out := b.mustRun(r)
	if want := "weight of 10.0.0.8:8080 in upstream orders-up: 25 → 0"; out.Change != want {
		t.Errorf("change %q, want %q", out.Change, want)
	}
	wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/upstreams/orders-up/targets")); diff != "" {
		t.Error(diff)
	}
}

func TestTargetsThatDoNotExist(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	for name, c := range map[string]struct {
		step  gatewarden.WeightStep
		code  gatewarden.Code
		words []string
	}{
		"no such upstream": {gatewarden.WeightStep{Upstream: "order-up", Target: "10.0.0.8:8080"}, gatewarden.NotFound, []string{`no upstream "order-up"`, "did you mean orders-up?"}},
		"no such target":   {gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8081"}, gatewarden.NotFound, []string{"no target 10.0.0.8:8081", "did you mean 10.0.0.8:8080?"}},
		"no such tag":      {gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v3"}, gatewarden.NotFound, []string{"the tag version:v3"}},
		"no weight at all": {gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 70000}, gatewarden.Invalid, []string{"65535"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.run(weightAction("a-1", gatewarden.StepWeight, c.step))
			wantCode(t, err, c.code, c.words...)
		})
	}
}

func TestMoreTargetsThanAPageHolds(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	var many []fakekong.Target
	for i := range 1200 {
		many = append(many, fakekong.Target{Target: "10.1." + itoa(i/250) + "." + itoa(i%250) + ":80", Weight: 1, Tags: []string{"old"}})
	}
	if err := b.kong.Load(fakekong.Setup{Upstreams: []fakekong.Upstream{{Name: "many", Targets: many}}}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, b.mustRun(weightAction("a-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "many", Target: "10.1.0.3:80"})), gatewarden.ActionApplied)
	all, err := b.exec.client.targets(t.Context(), "many")
	if err != nil || len(all) != 1200 {
		t.Errorf("%d targets, %v", len(all), err)
	}
}

func itoa(n int) string { return compact(n) }
