package kong

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// laid runs an action among others, as one that begins so many seconds after the first.
func (b *bench) laid(r *record, second int, others ...*record) gatewarden.Outcome {
	b.t.Helper()
	begun := time.Date(2026, 11, 22, 3, 0, second, 0, time.UTC)
	r.StartedAt, r.Status = &begun, gatewarden.ActionStarted
	b.among(others...)
	out := b.mustRun(r)
	r.Status, r.AppliedAt = gatewarden.ActionApplied, &begun
	return out
}

func (b *bench) among(others ...*record) {
	b.exec.others = nil
	for _, o := range others {
		b.exec.others = append(b.exec.others, o.Action)
	}
}

// takenBack reverts an action among others, at the given second.
func (b *bench) takenBack(r *record, second int, others ...*record) gatewarden.Outcome {
	b.t.Helper()
	b.among(others...)
	out := b.mustRevert(r)
	ended := time.Date(2026, 11, 22, 3, 0, second, 0, time.UTC)
	r.Status, r.EndedAt = out.Status, &ended
	if out.Memo != nil {
		r.Memo = out.Memo
	}
	return out
}

func movingLimit(id string, limit int) *record {
	return &record{gatewarden.Action{ID: id, Limit: &gatewarden.Limit{Value: limit}, Spec: gatewarden.Step{
		Kind: gatewarden.StepAdaptive, Adaptive: &gatewarden.AdaptiveStep{SLO: "orders", Service: "orders", Route: "orders-list", Floor: 10, Ceiling: 1000},
	}}}
}

func TestALimitThatMovesMayLieBeneathAndAboveOthers(t *testing.T) {
	for name, above := range map[string]bool{"beneath a fixed one": false, "above it": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			before := b.get("/plugins")
			moves, fixed := movingLimit("a-1", 100), pluginAction("a-2", rateLimit(50))
			holds := func(second string) {
				t.Helper()
				if got := b.get("/routes/orders-list/plugins"); !strings.Contains(got, `"second":`+second+",") && !strings.Contains(got, `"second":`+second+"}") {
					t.Errorf("not %s a second: %s", second, got)
				}
			}
			if above {
				b.laid(fixed, 1)
				b.laid(moves, 2, fixed)
				holds("100")
			} else {
				b.laid(moves, 1)
				b.laid(fixed, 2, moves)
				holds("50")
			}
			moves.Limit = &gatewarden.Limit{Value: 80, Before: 100}
			b.among(fixed)
			out, err := b.exec.Adjust(t.Context(), moves.Action)
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, out, gatewarden.ActionApplied)
			holds(map[bool]string{true: "80", false: "50"}[above])
			wantStatus(t, b.takenBack(fixed, 5, moves), gatewarden.ActionReverted)
			holds("80")
			moves.Limit = &gatewarden.Limit{Value: 60, Before: 80}
			b.among(fixed)
			if out, err = b.exec.Adjust(t.Context(), moves.Action); err != nil {
				t.Fatal(err)
			}
			wantStatus(t, out, gatewarden.ActionApplied)
			holds("60")
			wantStatus(t, b.takenBack(moves, 9, fixed), gatewarden.ActionReverted)
			if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAPluginOfAStackIsClearedAwayWhenTheJournalIsLost leaves a plugin whose maker is gone,
// while another action lies on it.
func TestAPluginOfAStackIsClearedAwayWhenTheJournalIsLost(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	before := b.get("/plugins")
	first, second := pluginAction("a-1", rateLimit(200)), pluginAction("a-2", rateLimit(50))
	b.laid(first, 1)
	b.laid(second, 2, first)
	wantStatus(t, b.takenBack(first, 3, second), gatewarden.ActionReverted)
	b.among()
	if list, err := b.exec.Orphans(t.Context(), func(id string) bool { return id == "a-2" }); err != nil || len(list) != 0 {
		t.Errorf("an action that is known is no orphan: %v %v", list, err)
	}
	list, err := b.exec.Orphans(t.Context(), func(string) bool { return false })
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := b.exec.RemoveOrphan(t.Context(), list[0]); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

// TestWhatDoesNotMergeStandsAlone lays a body on a message, which Kong takes only one of.
func TestWhatDoesNotMergeStandsAlone(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	before := b.get("/plugins")
	step := func(config map[string]any) gatewarden.PluginStep {
		return gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: config}
	}
	first := pluginAction("a-1", step(map[string]any{"message": "busy"}))
	second := pluginAction("a-2", step(map[string]any{"body": "<p>busy", "content_type": "text/html"}))
	third := pluginAction("a-3", step(map[string]any{"status_code": 429}))
	b.laid(first, 1)
	b.laid(second, 2, first)
	b.laid(third, 3, first, second)
	holds := func(want string) {
		t.Helper()
		if got := b.get("/services/recommendations/plugins"); !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	holds(`"message":null`)
	holds(`"status_code":429`)
	wantStatus(t, b.takenBack(second, 4, first, third), gatewarden.ActionReverted)
	holds(`"message":"busy"`)
	holds(`"body":null`)
	wantStatus(t, b.takenBack(first, 5, second, third), gatewarden.ActionReverted)
	holds(`"message":null`)
	holds(`"status_code":429`)
	wantStatus(t, b.takenBack(third, 6, first, second), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

// Two that want the same begin together: the later one looks around while the earlier one is
// known to have begun, and has set nothing yet. What it finds then is not what it lies on.
func TestOneThatIsPreparedBeforeTheOneBeneathIsDoneLiesOnIt(t *testing.T) {
	drain := func(id string) *record {
		return weightAction(id, gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"})
	}
	for name, c := range map[string]struct {
		action func(id string) *record
		path   string
	}{
		"a divert": {divertAction, "/routes/orders-list"},
		"a drain":  {drain, "/upstreams/orders-up/targets"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			before := b.get(c.path)
			first, second := c.action("a-1"), c.action("a-2")
			begun := time.Date(2026, 11, 22, 3, 0, 1, 0, time.UTC)
			first.StartedAt, first.Status = &begun, gatewarden.ActionStarted
			for _, r := range []*record{first, second} {
				memo, err := b.exec.Prepare(t.Context(), r.Action)
				if err != nil {
					t.Fatal(err)
				}
				r.Memo = memo
				b.among(first)
			}
			b.laid(first, 1)
			set := b.get(c.path)
			b.laid(second, 2, first)
			wantStatus(t, b.takenBack(second, 3, first), gatewarden.ActionReverted)
			if diff := cmp.Diff(set, b.get(c.path)); diff != "" {
				t.Errorf("the later one took the earlier one's change with it:\n%s", diff)
			}
			wantStatus(t, b.takenBack(first, 4, second), gatewarden.ActionReverted)
			if diff := cmp.Diff(before, b.get(c.path)); diff != "" {
				t.Errorf("in the end (-want +got):\n%s", diff)
			}
		})
	}
}
