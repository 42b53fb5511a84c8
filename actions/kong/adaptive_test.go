package kong

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// adaptiveAction is an action with a limit of 60 requests a second on route orders-list.
func adaptiveAction(id string, nodes int) *record {
	step := &gatewarden.AdaptiveStep{SLO: "o", Service: "orders", Route: "orders-list", Floor: 5, Ceiling: 500, Nodes: nodes}
	return &record{gatewarden.Action{
		ID: id, Spec: gatewarden.Step{Kind: gatewarden.StepAdaptive, Adaptive: step}, Limit: &gatewarden.Limit{Value: 60},
		StartedAt: new(time.Unix(1e9, 0)), Status: gatewarden.ActionApplied,
	}}
}

// goTo decides on another limit, as the engine does before the call.
func (r *record) goTo(limit int) { r.Limit = &gatewarden.Limit{Value: limit, Before: r.Limit.Value} }

func (b *bench) adjust(r *record) (gatewarden.Outcome, error) {
	return b.exec.Adjust(b.t.Context(), r.Action)
}

func (b *bench) mustAdjust(r *record) gatewarden.Outcome {
	b.t.Helper()
	out, err := b.adjust(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// wantIn checks what the Admin API shows.
func (b *bench) wantIn(path, part string) {
	b.t.Helper()
	if got := b.get(path); !strings.Contains(got, part) {
		b.t.Errorf("%s is not in %s", part, got)
	}
}

func TestAnAdaptiveLimitComesGoesWhereItIsToBeAndIsRemoved(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	before := b.get("/plugins")
	r := adaptiveAction("adapt-1", 3)
	out := b.mustRun(r)
	wantStatus(t, out, gatewarden.ActionApplied)
	if want := "the limit is in place, 60 requests a second (20 on each of 3 nodes); o steers it from now on"; out.Reason != want {
		t.Errorf("reason %q, want %q", out.Reason, want)
	}
	path := "/plugins/" + pluginID(r.ID)
	b.wantIn(path, `"second":20`)
	b.wantIn(path, `"policy":"local"`)
	b.wantIn(path, `"limit_by":"service"`)
	for _, limit := range []int{100, 31, 500} {
		r.goTo(limit)
		for range 2 { // again is the same as once
			wantStatus(t, b.mustAdjust(r), gatewarden.ActionApplied)
		}
	}
	b.wantIn(path, `"second":167`) // of 500, rounded up
	wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

func TestTheUsersOwnLimitComesBackAsItWasAfterItWasSteered(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.send("POST", "/plugins", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"second":400,"hour":90000,"limit_by":"ip"},"tags":["team:shop"]}`)
	before := b.get("/plugins")
	r := adaptiveAction("adapt-1", 1)
	wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
	for _, limit := range []int{30, 90} {
		r.goTo(limit)
		wantStatus(t, b.mustAdjust(r), gatewarden.ActionApplied)
	}
	b.wantIn("/plugins", `"second":90`)
	b.wantIn("/plugins", `"hour":null`) // each client's, which Kong would count for all together
	wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

func TestALimitThatIsSomebodyElsesIsLeftAlone(t *testing.T) {
	for name, c := range map[string]struct{ method, body string }{
		"another limit":   {"PATCH", `{"config":{"second":7}}`},
		"another setting": {"PATCH", `{"config":{"error_code":503}}`},
		"without a mark":  {"PATCH", `{"tags":["mine"]}`},
		"deleted":         {"DELETE", ``},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			r := adaptiveAction("adapt-1", 1)
			wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
			if drift, err := b.exec.Inspect(t.Context(), r.Action); err != nil || len(drift) > 0 {
				t.Errorf("nobody has touched it yet: %v %v", drift, err)
			}
			b.send(c.method, "/plugins/"+pluginID(r.ID), c.body)
			theirs := b.get("/plugins")
			if drift, err := b.exec.Inspect(t.Context(), r.Action); err != nil || len(drift) == 0 {
				t.Errorf("it is not told: %v", err)
			}
			r.goTo(80)
			wantStatus(t, b.mustAdjust(r), gatewarden.ActionLeft)
			if diff := cmp.Diff(theirs, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
			want := gatewarden.ActionLeft
			if c.method == "DELETE" {
				want = gatewarden.ActionReverted // there is nothing of it
			}
			wantStatus(t, b.mustRevert(r), want)
			if diff := cmp.Diff(theirs, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A guard may die between the intent and the call, and between the call and anything else:
// Kong then has the limit of the action, or the one before. Either can be taken back.
func TestACrashAroundACallLeavesALimitThatIsTheGuardsOwn(t *testing.T) {
	for name, user := range map[string]bool{"its own plugin": false, "the user's plugin": true} {
		for call, calls := range map[string]int{"before the call": 0, "the answer was lost": 1, "after it": 2} {
			t.Run(name+", "+call, func(t *testing.T) {
				b := newBench(t, fakekong.Config{})
				if user {
					b.send("POST", "/plugins", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"second":400}}`)
				}
				before := b.get("/plugins")
				r := adaptiveAction("adapt-1", 1)
				wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
				r.goTo(30)
				wantStatus(t, b.mustAdjust(r), gatewarden.ActionApplied)
				r.goTo(90)
				b.wire.cutAfter(calls, true)
				_, err := b.adjust(r)
				wantCode(t, err, gatewarden.Unavailable)
				b.wire.mend()
				wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
				if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestALimitUnderThatOfAnotherStepWaitsForIt(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	before := b.get("/plugins")
	below := adaptiveAction("adapt-1", 1)
	wantStatus(t, b.mustRun(below), gatewarden.ActionApplied)
	above := pluginAction("protect-1", rateLimit(10))
	above.StartedAt, above.Status = new(time.Unix(1e9+1, 0)), gatewarden.ActionApplied
	among := func(r *record, other *record) *bench {
		c := *b
		c.exec = b.exec.Among([]gatewarden.Action{other.Action}).(*Executor)
		return &c
	}
	wantStatus(t, among(above, below).mustRun(above), gatewarden.ActionApplied)
	below.goTo(80)
	out := among(below, above).mustAdjust(below)
	wantStatus(t, out, gatewarden.ActionApplied)
	if want := "the limit of protect-1 lies on it, and comes first"; out.Reason != want {
		t.Errorf("reason %q, want %q", out.Reason, want)
	}
	b.wantIn("/plugins", `"second":10`)
	out = among(above, below).mustRevert(above)
	wantStatus(t, out, gatewarden.ActionReverted)
	above.Status = gatewarden.ActionReverted
	b.wantIn("/plugins", `"second":80`) // where it went meanwhile
	if out.Memo != nil {
		above.Memo = out.Memo
	}
	below.goTo(90)
	wantStatus(t, among(below, above).mustAdjust(below), gatewarden.ActionApplied)
	b.wantIn("/plugins", `"second":90`)
	wantStatus(t, among(below, above).mustRevert(below), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

func TestPreflightAsksKongAboutAnAdaptiveStep(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	step := adaptiveAction("adapt-1", 1).Spec
	if err := b.exec.Preflight(t.Context(), step); err != nil {
		t.Errorf("a step that can be done: %v", err)
	}
	step.Adaptive.Config = map[string]any{"polcy": "local"}
	wantCode(t, b.exec.Preflight(t.Context(), step), gatewarden.Invalid, "polcy")
	step.Adaptive.Config, step.Adaptive.Route = nil, "order-list"
	wantCode(t, b.exec.Preflight(t.Context(), step), gatewarden.NotFound, "did you mean orders-list?")
}

func TestAdjustingWhatIsNoLimitIsADefect(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	_, err := b.adjust(pluginAction("protect-1", rateLimit(10)))
	wantCode(t, err, gatewarden.Internal)
	_, err = b.adjust(adaptiveAction("adapt-1", 1)) // never prepared
	wantCode(t, err, gatewarden.Internal, "no memo")
}

// TestALimitForAllDoesNotCountAgainstTheUsersLimitForEach has a limit of 60 a minute for each
// client, under which Kong would refuse all but one request a second once the guard has them
// counted together.
func TestALimitForAllDoesNotCountAgainstTheUsersLimitForEach(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBench(t, fakekong.Config{
		Strict: true, Now: func() time.Time { return now },
		Transport: upstream(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
		}),
	})
	b.send("POST", "/plugins", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":60,"limit_by":"ip"}}`)
	before := b.get("/plugins")
	r := adaptiveAction("adapt-1", 1)
	r.Limit = &gatewarden.Limit{Value: 50}
	wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
	proxy := b.kong.Proxy()
	for i := range 120 { // 40 a second
		now = now.Add(25 * time.Millisecond)
		req := httptest.NewRequest(http.MethodGet, "/orders", nil)
		req.Header.Set("X-Real-Ip", fmt.Sprint("10.9.0.", i%20))
		resp := httptest.NewRecorder()
		if proxy.ServeHTTP(resp, req); resp.Code != http.StatusOK {
			t.Fatalf("request %d: %d %s", i, resp.Code, resp.Body)
		}
	}
	r.goTo(70) // more than the user's limit of a minute
	wantStatus(t, b.mustAdjust(r), gatewarden.ActionApplied)
	wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

// upstream answers whatever the gateway passes on.
type upstream func(*http.Request) (*http.Response, error)

func (u upstream) RoundTrip(r *http.Request) (*http.Response, error) { return u(r) }

// TestTheUsersOwnStatusWaits: by the status the guard tells the refusals that it has asked for
// from failures.
func TestTheUsersOwnStatusWaits(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.send("POST", "/plugins", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"second":400,"error_code":503}}`)
	before := b.get("/plugins")
	r := adaptiveAction("adapt-1", 1)
	wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
	if shed, ok := r.Spec.Sheds(); !ok || shed.Status != 429 {
		t.Errorf("%+v", shed)
	}
	b.wantIn("/plugins", `"error_code":429`)
	wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

// TestWhatWasSwitchedOffStaysSo takes a plugin that ends the requests of some clients, and is
// switched off: the step's settings come into force, and nothing of the user's with them.
func TestWhatWasSwitchedOffStaysSo(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.send("POST", "/plugins", `{"name":"request-termination","service":{"name":"recommendations"},"enabled":false,"config":{"status_code":418,"trigger":"x-1","message":"short and stout"}}`)
	before := b.get("/plugins")
	r := pluginAction("a-1", gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: map[string]any{"status_code": 503}})
	on := pluginAction("a-2", gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: map[string]any{"content_type": "text/plain", "body": "closed"}})
	b.laid(r, 1)
	b.wantIn("/plugins", `"message":null,"status_code":503,"trigger":null`)
	b.laid(on, 2, r)
	wantStatus(t, b.takenBack(r, 3, on), gatewarden.ActionReverted)
	b.wantIn("/plugins", `"body":"closed"`)
	b.wantIn("/plugins", `"message":null,"status_code":503,"trigger":null`)
	wantStatus(t, b.takenBack(on, 4, r), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}
