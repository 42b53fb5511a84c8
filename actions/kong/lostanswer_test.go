package kong

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// TestARevertWhoseAnswerWasLostIsNotTakenForSomebodyElses: a weight lies on a drain. Its
// revert sets what the drain wants, and the answer is lost. Before it is tried again the
// drain is taken back, which leaves the target to the weight, still in place.
func TestARevertWhoseAnswerWasLostIsNotTakenForSomebodyElses(t *testing.T) {
	t.Parallel()
	b := newBench(t, fakekong.Config{})
	before := b.get("/upstreams/orders-up/targets")
	at := func(second int) *time.Time {
		instant := time.Date(2026, 11, 22, 12, 0, second, 0, time.UTC)
		return &instant
	}
	drain := weightAction("drain-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"})
	weight := weightAction("weight-1", gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 5})
	among := func(other *record) { b.exec = b.exec.Among([]gatewarden.Action{other.Action}).(*Executor) }
	drain.StartedAt, drain.AppliedAt, drain.Status = at(1), at(1), gatewarden.ActionApplied
	b.mustRun(drain)
	weight.StartedAt, weight.AppliedAt, weight.Status = at(2), at(2), gatewarden.ActionApplied
	among(drain)
	b.mustRun(weight)

	weight.Status = gatewarden.ActionReverting
	b.mustRevert(weight) // nobody hears of it
	drain.Status = gatewarden.ActionReverting
	among(weight)
	b.mustRevert(drain)
	drain.Status, drain.EndedAt = gatewarden.ActionReverted, at(3)
	among(drain)
	out := b.mustRevert(weight)
	wantStatus(t, out, gatewarden.ActionReverted)
	if after := b.get("/upstreams/orders-up/targets"); after != before {
		t.Errorf("the targets are not as before:\n%s\n%s", strings.TrimSpace(before), after)
	}
}

// begun returns an instant as bench.laid counts them.
func begun(second int) *time.Time {
	instant := time.Date(2026, 11, 22, 3, 0, second, 0, time.UTC)
	return &instant
}

// TestAStepTakenOffUnheardIsNotTakenForSomebodyElses: three limits lie on one plugin. One is taken off,
// and the answer is lost; then the others go, before it is tried again or after.
func TestAStepTakenOffUnheardIsNotTakenForSomebodyElses(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"it is tried again first": true, "the others go first": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, fakekong.Config{})
			b.send("POST", "/plugins", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":6000,"policy":"local"},"tags":["theirs"]}`)
			before := b.get("/plugins")
			limit := func(id string, config map[string]any) *record {
				return pluginAction(id, gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: config})
			}
			low, middle, high := limit("a-1", map[string]any{"hour": 90000}), limit("a-2", map[string]any{"second": 50}), limit("a-3", map[string]any{"second": 70})
			b.laid(low, 1)
			b.laid(middle, 2, low)
			b.laid(high, 3, low, middle)

			middle.Status = gatewarden.ActionReverting
			b.among(low, high)
			b.mustRevert(middle) // nobody hears of it: its memo is what it was
			retry := func() { wantStatus(t, b.takenBack(middle, 6, low, high), gatewarden.ActionReverted) }
			if again {
				retry()
			}
			wantStatus(t, b.takenBack(high, 7, low, middle), gatewarden.ActionReverted)
			wantStatus(t, b.takenBack(low, 8, middle, high), gatewarden.ActionReverted)
			if !again {
				retry()
			}
			if after := b.get("/plugins"); after != before {
				t.Errorf("the plugin is not as before:\n%s\n%s", before, after)
			}
		})
	}
}

// TestSomebodyElsesChangeIsSeenWhileAnAnswerIsLost changes what no step sets, and in what a person
// can tell, while a step was taken off unheard: it stays.
func TestSomebodyElsesChangeIsSeenWhileAnAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]string{"a setting": `{"config":{"day":70000}}`, "it is off": `{"enabled":false}`, "a tag": `{"tags":["gatewarden","gatewarden-action:a-2","mine"]}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, fakekong.Config{})
			low, high := pluginAction("a-1", rateLimit(200)), pluginAction("a-2", rateLimit(50))
			b.laid(low, 1)
			b.laid(high, 2, low)
			low.Status = gatewarden.ActionReverting
			b.among(high)
			b.mustRevert(low) // nobody hears of it
			b.send("PATCH", "/plugins/"+pluginID("a-1"), edit)
			theirs := b.get("/plugins")
			wantStatus(t, b.takenBack(high, 5, low), gatewarden.ActionLeft)
			if after := b.get("/plugins"); after != theirs {
				t.Errorf("what somebody else has changed is lost:\n%s\n%s", theirs, after)
			}
		})
	}
}

// TestADivertsRevertWhoseAnswerWasLostIsKnownAgain: a divert lies on another. Its revert leads the
// route where the other does, and the answer is lost; then the other is taken back.
func TestADivertsRevertWhoseAnswerWasLostIsKnownAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, fakekong.Config{})
	if err := b.kong.Load(fakekong.Setup{Services: []fakekong.Service{{Name: "elsewhere", Host: "elsewhere"}}}); err != nil {
		t.Fatal(err)
	}
	before := b.get("/routes")
	low, high := divertAction("a-1"), divertAction("a-2")
	high.Spec.Divert.To = "elsewhere"
	b.laid(low, 1)
	b.laid(high, 2, low)
	high.Status = gatewarden.ActionReverting
	b.among(low)
	b.mustRevert(high) // nobody hears of it
	wantStatus(t, b.takenBack(low, 4, high), gatewarden.ActionReverted)
	wantStatus(t, b.takenBack(high, 5, low), gatewarden.ActionReverted)
	if after := b.get("/routes"); after != before {
		t.Errorf("the routes are not as before:\n%s\n%s", before, after)
	}
}

// TestALayerThatCameToBeUnheardIsNotWhatTheNextOneGoesBackTo: a weight is set, and nobody hears of it.
// Another one lies on it before it fails and is taken back.
func TestALayerThatCameToBeUnheardIsNotWhatTheNextOneGoesBackTo(t *testing.T) {
	t.Parallel()
	b := newBench(t, fakekong.Config{})
	before := b.get("/upstreams/orders-up/targets")
	low := weightAction("a-1", gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 3})
	high := weightAction("a-2", gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 7})
	low.StartedAt, low.Status = begun(1), gatewarden.ActionStarted
	b.mustRun(low)
	b.laid(high, 2, low)
	low.Status = gatewarden.ActionReverting // it never was applied, as far as anybody heard
	wantStatus(t, b.takenBack(low, 4, high), gatewarden.ActionReverted)
	low.Status = gatewarden.ActionFailed
	wantStatus(t, b.takenBack(high, 5, low), gatewarden.ActionReverted)
	if after := b.get("/upstreams/orders-up/targets"); after != before {
		t.Errorf("the targets are not as before:\n%s\n%s", before, after)
	}
}

// TestWhatSomebodySetBeforeTheNextLayerComesBack: a step is prepared, its call is lost on the way,
// somebody else changes the same, another step is laid on that, and only then is the call made again.
func TestWhatSomebodySetBeforeTheNextLayerComesBack(t *testing.T) {
	t.Parallel()
	weight := func(id string, weight int) *record {
		return weightAction(id, gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: weight})
	}
	for name, c := range map[string]struct {
		low, high *record
		table     string
		edit      func(b *bench)
	}{
		"a weight": {weight("a-1", 3), weight("a-2", 7), "/upstreams/orders-up/targets", func(b *bench) {
			b.send("PATCH", "/upstreams/orders-up/targets/10.0.0.8:8080", `{"weight":42}`)
		}},
		"a divert": {divertAction("a-1"), divertAction("a-2"), "/routes", func(b *bench) {
			b.send("PATCH", "/routes/orders-list", `{"service":{"name":"theirs"}}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, fakekong.Config{})
			if err := b.kong.Load(fakekong.Setup{Services: []fakekong.Service{{Name: "elsewhere", Host: "elsewhere"}, {Name: "theirs", Host: "theirs"}}}); err != nil {
				t.Fatal(err)
			}
			if c.high.Spec.Divert != nil {
				c.high.Spec.Divert.To = "elsewhere"
			}
			memo, err := b.exec.Prepare(t.Context(), c.low.Action)
			if err != nil {
				t.Fatal(err)
			}
			c.low.Memo, c.low.StartedAt, c.low.Status = memo, begun(1), gatewarden.ActionStarted
			c.edit(b)
			theirs := b.get(c.table)
			b.laid(c.high, 3, c.low)
			b.among(c.high)
			wantStatus(t, b.mustRun(c.low), gatewarden.ActionApplied)
			c.low.Status, c.low.AppliedAt = gatewarden.ActionApplied, begun(4)
			wantStatus(t, b.takenBack(c.high, 6, c.low), gatewarden.ActionReverted)
			wantStatus(t, b.takenBack(c.low, 7, c.high), gatewarden.ActionReverted)
			if after := b.get(c.table); after != theirs {
				t.Errorf("what somebody else has set is lost:\n%s\n%s", theirs, after)
			}
		})
	}
}

// TestWhatIsSetWhileADeclarationWaitsIsSeen lets a step wait for another's declaration, which hangs, and
// somebody else change what it is about to set.
func TestWhatIsSetWhileADeclarationWaitsIsSeen(t *testing.T) {
	t.Parallel()
	b := newDBLess(t)
	leave, err := b.exec.client.enter(t.Context()) // of the other one
	if err != nil {
		t.Fatal(err)
	}
	drain := weightAction("a-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"})
	if drain.Memo, err = b.exec.Prepare(t.Context(), drain.Action); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := b.exec.Apply(t.Context(), drain.Action, drain.save)
		done <- err
	}()
	hand := b.executor(Config{DBLess: true})
	up, err := hand.client.named(t.Context(), "upstream", "upstreams", "name", "orders-up")
	if err != nil {
		t.Fatal(err)
	}
	m := &weightMemo{}
	if _, err := decode(drain.Action, m); err != nil {
		t.Fatal(err)
	}
	if err := hand.client.setWeight(t.Context(), stringIn(up, "id"), m.Targets[0].ID, 42); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.wantIn("/upstreams/orders-up/targets", `"weight":0`)
	wantStatus(t, b.mustRevert(drain), gatewarden.ActionReverted)
	b.wantIn("/upstreams/orders-up/targets", `"weight":42`)
}

// TestAStepIsNotHeldByOneWhoseCallNeverArrived: two steps are begun, and neither call arrives. When the
// lower one is made again it is carried out, though the other is above it.
func TestAStepIsNotHeldByOneWhoseCallNeverArrived(t *testing.T) {
	t.Parallel()
	weight := func(id string, weight int) *record {
		return weightAction(id, gatewarden.StepWeight, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: weight})
	}
	for name, c := range map[string]struct {
		low, high    *record
		table, holds string
	}{
		"a weight": {weight("a-1", 3), weight("a-2", 7), "/upstreams/orders-up/targets", `"weight":3`},
		"a divert": {divertAction("a-1"), divertAction("a-2"), "/routes/orders-list/service", `"name":"recommendations"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, fakekong.Config{})
			if err := b.kong.Load(fakekong.Setup{Services: []fakekong.Service{{Name: "elsewhere", Host: "elsewhere"}}}); err != nil {
				t.Fatal(err)
			}
			before := b.get(c.table)
			if c.high.Spec.Divert != nil {
				c.high.Spec.Divert.To = "elsewhere"
			}
			for i, r := range []*record{c.low, c.high} {
				memo, err := b.exec.Prepare(t.Context(), r.Action)
				if err != nil {
					t.Fatal(err)
				}
				r.Memo, r.StartedAt, r.Status = memo, begun(i+1), gatewarden.ActionStarted
			}
			b.among(c.high)
			wantStatus(t, b.mustRun(c.low), gatewarden.ActionApplied)
			c.low.Status, c.low.AppliedAt = gatewarden.ActionApplied, begun(3)
			b.wantIn(c.table, c.holds)
			c.high.Status = gatewarden.ActionReverting
			wantStatus(t, b.takenBack(c.high, 4, c.low), gatewarden.ActionReverted)
			b.wantIn(c.table, c.holds)
			wantStatus(t, b.takenBack(c.low, 5, c.high), gatewarden.ActionReverted)
			if after := b.get(c.table); after != before {
				t.Errorf("not as before:\n%s\n%s", before, after)
			}
		})
	}
}
