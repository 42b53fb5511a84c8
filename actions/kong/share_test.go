package kong

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

func tagged2(baseline, canary string) [2]gatewarden.Selector {
	return [2]gatewarden.Selector{
		{Kind: gatewarden.ByTargetTag, Values: []string{baseline}},
		{Kind: gatewarden.ByTargetTag, Values: []string{canary}},
	}
}

// shareAction moves the shop's v2, two targets of weights 10 and 5, against v1.
func shareAction(id string, percent float64) *record {
	return &record{gatewarden.Action{ID: id, Ladder: "move-r1", Spec: gatewarden.Step{Kind: gatewarden.StepShare, Share: &gatewarden.ShareStep{
		Upstream: "orders-up", Tracks: tagged2("version:v1", "version:v2"), Percent: percent,
	}}}}
}

// weights returns the weights of an upstream's targets.
func (b *bench) weights(upstream string) map[string]int {
	b.t.Helper()
	all, err := b.exec.Targets(b.t.Context(), upstream)
	if err != nil {
		b.t.Fatal(err)
	}
	w := make(map[string]int)
	for _, t := range all {
		w[t.Target] = t.Weight
	}
	return w
}

func TestShares(t *testing.T) {
	for name, c := range map[string]struct {
		percent float64
		want    map[string]int
	}{
		"a quarter":  {25, map[string]int{"10.0.0.7:8080": 75, "10.0.0.8:8080": 17, "10.0.0.9:8000": 8}},
		"a tenth":    {10, map[string]int{"10.0.0.7:8080": 107, "10.0.0.8:8080": 8, "10.0.0.9:8000": 4}},
		"everything": {100, map[string]int{"10.0.0.7:8080": 0, "10.0.0.8:8080": 10, "10.0.0.9:8000": 5}},
		"nothing":    {0, map[string]int{"10.0.0.7:8080": 90, "10.0.0.8:8080": 0, "10.0.0.9:8000": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			before := b.get("/upstreams/orders-up/targets")
			r := shareAction("a-1", c.percent)
			for range 2 {
				out := b.mustRun(r)
				wantStatus(t, out, gatewarden.ActionApplied)
				if !strings.Contains(out.Change, "the canary's share of upstream orders-up") || !strings.Contains(out.Undo, `{"weight":90}`) {
					t.Errorf("%+v", out)
				}
				if diff := cmp.Diff(c.want, b.weights("orders-up")); diff != "" {
					t.Error(diff)
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

func TestACanaryAtWeightZeroGetsItsShareEvenly(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	for _, target := range []string{"10.0.0.8:8080", "10.0.0.9:8000"} {
		b.send("PATCH", "/upstreams/orders-up/targets/"+target, `{"weight":0}`)
	}
	b.mustRun(shareAction("a-1", 50))
	if diff := cmp.Diff(map[string]int{"10.0.0.7:8080": 50, "10.0.0.8:8080": 25, "10.0.0.9:8000": 25}, b.weights("orders-up")); diff != "" {
		t.Error(diff)
	}
}

func TestSharesThatCannotBe(t *testing.T) {
	target := func(values ...string) gatewarden.Selector {
		return gatewarden.Selector{Kind: gatewarden.ByTarget, Values: values}
	}
	for name, c := range map[string]struct {
		tracks   [2]gatewarden.Selector
		upstream string
		percent  float64
		dbless   bool
		code     gatewarden.Code
		words    []string
	}{
		"no target of the canary":   {tracks: tagged2("version:v1", "version:v3"), code: gatewarden.NotFound, words: []string{"no target of the canary", "version:v3"}},
		"no target of the baseline": {tracks: tagged2("version:v0", "version:v2"), code: gatewarden.NotFound, words: []string{"no target of the baseline", "version:v0"}},
		"a target of both": {tracks: [2]gatewarden.Selector{target("10.0.0.7:8080", "10.0.0.8:8080"), target("10.0.0.8:8080", "10.0.0.9")},
			code: gatewarden.Invalid, words: []string{"10.0.0.8:8080", "both tracks"}},
		"a target of neither": {tracks: [2]gatewarden.Selector{target("10.0.0.7:8080"), target("10.0.0.8:8080")},
			code: gatewarden.Conflict, words: []string{"10.0.0.9:8000", "neither track"}},
		"a track by header": {tracks: [2]gatewarden.Selector{{Kind: gatewarden.ByResponseHeader, Header: "x-version", Values: []string{"v1"}}, target("10.0.0.8:8080")},
			code: gatewarden.Invalid, words: []string{"baseline", "response_header", "target_tag"}},
		"no such upstream":           {tracks: tagged2("version:v1", "version:v2"), upstream: "order-up", code: gatewarden.NotFound, words: []string{`no upstream "order-up"`}},
		"less than a weight can say": {tracks: tagged2("version:v1", "version:v2"), percent: 0.0001, code: gatewarden.Invalid, words: []string{"no weights"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			before := b.get("/upstreams/orders-up/targets")
			r := shareAction("a-1", 25)
			r.Spec.Share.Tracks = c.tracks
			if c.upstream != "" {
				r.Spec.Share.Upstream = c.upstream
			}
			if c.percent != 0 {
				r.Spec.Share.Percent = c.percent
			}
			_, err := b.run(r)
			wantCode(t, err, c.code, c.words...)
			wantCode(t, b.exec.Preflight(t.Context(), r.Spec), c.code)
			if diff := cmp.Diff(before, b.get("/upstreams/orders-up/targets")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAShareOfAKongWithoutADatabase(t *testing.T) {
	b := newBench(t, fakekong.Config{DBLess: true})
	r := shareAction("a-1", 25)
	_, err := b.run(r)
	wantCode(t, err, gatewarden.Invalid, "405", "without a database")
	wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	wantCode(t, b.exec.Preflight(t.Context(), r.Spec), gatewarden.Invalid, "without a database")
}

// TestACanaryThatIsGoneGetsNothing has its targets deleted while a run fails.
func TestACanaryThatIsGoneGetsNothing(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	first := shareAction("a-1", 100)
	b.mustRun(first)
	for _, target := range []string{"10.0.0.8:8080", "10.0.0.9:8000"} {
		b.send("DELETE", "/upstreams/orders-up/targets/"+target, "")
	}
	last := shareAction("a-2", 0)
	memo := first.Memo
	last.Memo = memo
	prepared, err := b.exec.Prepare(t.Context(), last.Action)
	if err != nil {
		t.Fatal(err)
	}
	last.Memo = prepared
	wantStatus(t, b.mustRun(last), gatewarden.ActionApplied)
	if diff := cmp.Diff(map[string]int{"10.0.0.7:8080": 90}, b.weights("orders-up")); diff != "" {
		t.Error(diff)
	}
}

func TestWeightsOfARunThatSomebodyElseSetAreLeft(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	r := shareAction("a-1", 25)
	b.mustRun(r)
	b.send("PATCH", "/upstreams/orders-up/targets/10.0.0.7:8080", `{"weight":33}`)
	out := b.mustRevert(r)
	wantStatus(t, out, gatewarden.ActionLeft)
	if !strings.Contains(out.Details, "the weight of 10.0.0.7:8080 is 33, not 75") {
		t.Error(out.Details)
	}
	if diff := cmp.Diff(map[string]int{"10.0.0.7:8080": 33, "10.0.0.8:8080": 10, "10.0.0.9:8000": 5}, b.weights("orders-up")); diff != "" {
		t.Error(diff)
	}
}

func TestTargets(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	got, err := b.exec.Targets(t.Context(), "orders-up")
	if err != nil {
		t.Fatal(err)
	}
	tags := make(map[string]string)
	for _, target := range got {
		tags[target.Target] = strings.Join(target.Tags, ",")
	}
	if diff := cmp.Diff(map[string]string{"10.0.0.7:8080": "version:v1", "10.0.0.8:8080": "version:v2", "10.0.0.9:8000": "version:v2"}, tags); diff != "" {
		t.Error(diff)
	}
	_, err = b.exec.Targets(t.Context(), "order-up")
	wantCode(t, err, gatewarden.NotFound, "orders-up")
}

// TestDivideIsExact holds weights to the share within 2 %, to Kong's limits, and to the
// parts within a track.
func TestDivideIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(0, 1000), 1, 8)
		present := [2][]int{weights.Draw(t, "baseline"), weights.Draw(t, "canary")}
		percent := rapid.Float64Range(0.5, 99.5).Draw(t, "percent")
		w, err := divide(percent, present)
		if err != nil {
			t.Fatal(err)
		}
		share := float64(sum(w[1])) / float64(sum(w[0])+sum(w[1]))
		if off := math.Abs(share - percent/100); off > 0.02*percent/100 || off > 0.02*(1-percent/100) {
			t.Errorf("a share of %v, not %v: %v", share, percent/100, w)
		}
		for track := range w {
			for i, n := range w[track] {
				if n < 0 || n > maxWeight || (n == 0) != (present[track][i] == 0 && sum(present[track]) > 0) {
					t.Errorf("weight %d in place of %d: %v", n, present[track][i], w)
				}
			}
		}
	})
}

func TestDivideStaysSmall(t *testing.T) {
	for _, c := range []struct {
		percent float64
		present [2][]int
		total   int
	}{
		{5, [2][]int{{100}, {0}}, 100},
		{5, [2][]int{{100, 100}, {0}}, 101},
		{5, [2][]int{{100}, {100, 100, 100}}, 180},
		{1, [2][]int{{100}, {0}}, 100},
		{0.1, [2][]int{{100}, {0}}, 1000},
	} {
		w, err := divide(c.percent, c.present)
		if err != nil {
			t.Fatal(err)
		}
		if got := sum(w[0]) + sum(w[1]); got > c.total {
			t.Errorf("%v %% of %v: %v, a sum of %d, want at most %d", c.percent, c.present, w, got, c.total)
		}
	}
}

// FuzzMemos feeds memos that no guard has written.
func FuzzMemos(f *testing.F) {
	b := fakekong.New(fakekong.Config{})
	f.Cleanup(b.Close)
	for _, seed := range []string{"", "null", "{}", `{"upstream":"x","targets":[{"id":"a","track":9}]}`, `{"upstream":"x","targets":[{"id":"a","before":-1,"set":1e3}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, memo []byte) {
		a := shareAction("a-1", 25).Action
		a.Memo = json.RawMessage(memo)
		if l, ok := weightLayer(&a, "x"); ok {
			all := layers[int]{l}
			for id := range l.places {
				all.beneath(&l, id)
				all.holder(&l, id)
			}
		}
		m := &shareMemo{}
		if found, err := decode(a, m); found && err == nil {
			next := &shareMemo{Targets: []shareTarget{{ID: "a", Found: 10}, {ID: "b", Track: gatewarden.TrackCanary, Found: 1}}}
			if err := next.plan(25, m); err != nil && gatewarden.ErrorCode(err) != gatewarden.Invalid {
				t.Error(err)
			}
		}
	})
}
