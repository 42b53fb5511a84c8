package chaos

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// bothKinds runs a test with a database and without one.
func bothKinds(t *testing.T, name string, test func(t *testing.T, dbless bool)) {
	t.Helper()
	for _, dbless := range []bool{false, true} {
		with := map[bool]string{false: name, true: name + " without a database"}
		t.Run(with[dbless], func(t *testing.T) { t.Parallel(); test(t, dbless) })
	}
}

func openGateway(t *testing.T, dbless bool) (*Gateway, Snapshot) {
	t.Helper()
	stand := fakekong.New(fakekong.Config{Seed: 1, DBLess: dbless})
	t.Cleanup(stand.Close)
	server := httptest.NewServer(stand.Admin())
	t.Cleanup(server.Close)
	g, err := Open(t.Context(), server.URL, "test-")
	if err != nil {
		t.Fatal(err)
	}
	before, err := g.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g, before
}

// TestCheck changes the gateway as an action would, and holds that this is what Check
// wants while that action is in place, and only then.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec gatewarden.Step
		do   func(*Gateway) (method, path string, body any)
	}{
		"a move of a canary": {
			gatewarden.Step{Kind: gatewarden.StepShare, Share: &gatewarden.ShareStep{Upstream: "test-orders", Percent: 25}},
			func(g *Gateway) (string, string, any) {
				return "PATCH", g.targetsPath() + "/" + g.ids["target v2"], Entity{"weight": 33}
			},
		},
		"a drain": {
			gatewarden.Step{Kind: gatewarden.StepDrain, Weight: &gatewarden.WeightStep{Upstream: "test-orders", TargetTag: "version:v2"}},
			func(g *Gateway) (string, string, any) {
				return "PATCH", g.targetsPath() + "/" + g.ids["target v2"], Entity{"weight": 0}
			},
		},
		"a weight": {
			gatewarden.Step{Kind: gatewarden.StepWeight, Weight: &gatewarden.WeightStep{Upstream: "test-orders", TargetTag: "version:v2", Weight: 5}},
			func(g *Gateway) (string, string, any) {
				return "PATCH", g.targetsPath() + "/" + g.ids["target v2"], Entity{"weight": 5}
			},
		},
		"a route that is diverted": {
			gatewarden.Step{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "test-queue-route", To: "test-search"}},
			func(g *Gateway) (string, string, any) {
				return "PATCH", "/routes/" + g.ids["route queue"], Entity{"service": Entity{"id": g.ids["service search"]}}
			},
		},
		"a service that is disabled": {
			gatewarden.Step{Kind: gatewarden.StepService, Service: &gatewarden.ServiceStep{Name: "test-search"}},
			func(g *Gateway) (string, string, any) {
				return "PATCH", "/services/" + g.ids["service search"], Entity{"enabled": false}
			},
		},
		"a plugin of the guard's": {
			gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{
				Name: "request-termination", Service: "test-recommendations", Config: map[string]any{"status_code": 503.0},
			}},
			func(g *Gateway) (string, string, any) {
				return "POST", "/services/" + g.ids["service recommendations"] + "/plugins", Entity{
					"name": "request-termination", "config": Entity{"status_code": 503}, "tags": []string{"gatewarden", actionTag + "a-1"},
				}
			},
		},
		"the user's plugin": {
			gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{
				Name: "rate-limiting", Route: "test-orders-route", Config: map[string]any{"second": 50.0, "limit_by": "service"},
			}},
			func(g *Gateway) (string, string, any) {
				return "PATCH", g.own, Entity{"config": Entity{"second": 50, "minute": nil, "limit_by": "service"}, "tags": []string{"team:checkout", "gatewarden", "gatewarden-guard:x", actionTag + "a-1"}}
			},
		},
	} {
		bothKinds(t, name, func(t *testing.T, dbless bool) {
			g, before := openGateway(t, dbless)
			memo := []byte(`{"targets":[{"id":"` + g.ids["target v2"] + `","set":33}]}`)
			inPlace := []gatewarden.Action{{ID: "a-1", Spec: c.spec, Memo: memo}}
			if got := g.Check(before, before, nil, nil); len(got) > 0 {
				t.Errorf("nothing has happened, and yet: %q", got)
			}
			if got := g.Check(before, before, inPlace, nil); len(got) == 0 {
				t.Error("that it is not there is not seen")
			}
			method, path, body := c.do(g)
			if _, err := g.Ask(t.Context(), method, path, body); err != nil {
				t.Fatal(err)
			}
			now, err := g.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := g.Check(before, now, inPlace, nil); len(got) > 0 {
				t.Errorf("it is there, and yet: %q", got)
			}
			if got := g.Check(before, now, nil, nil); len(got) == 0 {
				t.Error("that it is left is not seen")
			}
		})
	}
}

func TestWhatIsLeftBesideAnEditIsSeen(t *testing.T) {
	t.Parallel()
	g, before := openGateway(t, false)
	f, err := g.Make(t.Context(), EditOwn)
	if err != nil {
		t.Fatal(err)
	}
	now, err := g.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Beside(before, now); len(got) > 0 {
		t.Errorf("nobody else has changed it, and yet: %q", got)
	}
	if _, err := g.Ask(t.Context(), http.MethodPatch, g.own, Entity{"config": Entity{"second": 50}}); err != nil {
		t.Fatal(err)
	}
	if now, err = g.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.Beside(before, now); len(got) == 0 {
		t.Error("the guard's change beside it is not seen")
	}
	if left := happened("drain left"); !(&Audit{Events: left}).Left("/upstreams/x/targets/"+targetID) || (&Audit{Events: left}).Left(f.Path) {
		t.Error("what was left is not known by its path")
	}
}

func TestEditsAreSeenToSurvive(t *testing.T) {
	t.Parallel()
	for _, edit := range []Edit{EditOwn, EditWeight, EditRoute, EditService, EditBeside, EditChange, EditDelete} {
		bothKinds(t, string(edit), func(t *testing.T, dbless bool) {
			g, _ := openGateway(t, dbless)
			plugin, err := g.Ask(t.Context(), "POST", "/services/"+g.ids["service search"]+"/plugins", Entity{
				"name": "request-termination", "tags": []string{"gatewarden", actionTag + "a-1"},
			})
			if err != nil {
				t.Fatal(err)
			}
			f, err := g.Make(t.Context(), edit)
			if err != nil || f == nil {
				t.Fatalf("%v, %v", f, err)
			}
			now, err := g.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Survived(now, nil); err != nil {
				t.Error(err)
			}
			if edit == EditDelete {
				now[f.Path] = plugin
			} else {
				delete(now, f.Path)
			}
			looked := Call{At: f.At.Add(time.Second), Method: "GET", Status: 200, Path: f.Path}
			wrote := Call{At: f.At.Add(2 * time.Second), Method: "PATCH", Status: 200, Path: f.Path, Changes: true}
			if f.Survived(now, []Call{looked, wrote}) == nil {
				t.Error("that it was undone is not seen")
			}
			if err := f.Survived(now, []Call{wrote}); err != nil {
				t.Errorf("a write that was decided on before: %v", err)
			}
			hash := Call{At: looked.At, Method: "GET", Status: 200, Path: "/status"}
			whole := Call{At: wrote.At, Method: "POST", Status: 201, Path: "/config", Changes: true, Touched: []string{path.Base(f.Path)}}
			if f.Survived(now, []Call{looked, hash, whole}) == nil {
				t.Error("that it was undone by a whole configuration is not seen")
			}
			for _, one := range []Call{looked, hash} {
				if err := f.Survived(now, []Call{one, whole}); err != nil {
					t.Errorf("a configuration that was made before: %v", err)
				}
			}
		})
	}
}

// TestNothingIsLeftOfARun holds that a gateway that is not a stand-in is as it was.
func TestNothingIsLeftOfARun(t *testing.T) {
	t.Parallel()
	bothKinds(t, "a gateway", func(t *testing.T, dbless bool) {
		g, _ := openGateway(t, dbless)
		for _, edit := range []Edit{EditRoute, EditBeside} {
			if _, err := g.Make(t.Context(), edit); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		left, err := g.Snapshot(t.Context())
		if err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("%v, %v: want that the upstream is gone", left, err)
		}
	})
}

// TestAWholeConfigurationTellsWhatItChanges sends one by a proxy, in which two entities differ.
func TestAWholeConfigurationTellsWhatItChanges(t *testing.T) {
	t.Parallel()
	g, before := openGateway(t, true)
	p, err := NewProxy(g.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	front := httptest.NewServer(p)
	defer front.Close()
	behind := *g
	behind.admin = front.URL
	weight := g.targetsPath() + "/" + g.ids["target v2"]
	if _, err := behind.Ask(t.Context(), http.MethodPatch, weight, Entity{"weight": 0}); err != nil {
		t.Fatal(err)
	}
	var touched []string
	for _, c := range p.Calls() {
		touched = append(touched, c.Touched...)
	}
	if len(touched) != 1 || touched[0] != path.Base(weight) {
		t.Errorf("%q is said to be changed, want %s", touched, weight)
	}
	now, err := g.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for at := range before {
		if changed := len(differences(at, before[at], now[at])) > 0; changed != (at == weight) {
			t.Errorf("%s changed: %v", at, changed)
		}
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  Fault
		path   string
		asked  int // how often the peer was
		status int // 0 for no answer
		body   string
	}{
		"nothing is wrong":             {path: "/plugins", asked: 1, status: 200, body: "the peer's"},
		"an error of Kong's own":       {fault: Fault{Trouble: Error500}, path: "/plugins", status: 500, body: kongError},
		"Jenkins starts":               {fault: Fault{Trouble: Error503}, path: "/job", status: 503, body: gettingReady},
		"no database":                  {fault: Fault{Trouble: DatabaseDown}, path: "/plugins", status: 500, body: kongError},
		"no database, and the status":  {fault: Fault{Trouble: DatabaseDown}, path: "/status", asked: 1, status: 200, body: "the peer's"},
		"it is late":                   {fault: Fault{Trouble: Slow, Delay: time.Millisecond}, path: "/x", asked: 1, status: 200, body: "the peer's"},
		"the request is lost":          {fault: Fault{Trouble: Reset}, path: "/x"},
		"the answer is lost":           {fault: Fault{Trouble: Reset, Handled: true}, path: "/x", asked: 1},
		"half of the answer is lost":   {fault: Fault{Trouble: Cut}, path: "/x", asked: 1},
		"a trigger comes twice":        {fault: Fault{Trouble: Duplicate}, path: "/job/a/buildWithParameters", asked: 2, status: 200, body: "the peer's"},
		"but nothing else":             {fault: Fault{Trouble: Duplicate}, path: "/job/a/stop", asked: 1, status: 200, body: "the peer's"},
		"a build is queued and lost":   {fault: Fault{Trouble: LostItem}, path: "/job/a/buildWithParameters", status: 201},
		"what does not change a thing": {fault: Fault{Trouble: Error500, Changes: true}, path: "/schemas/plugins/validate", asked: 1, status: 200, body: "the peer's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var count atomic.Int64
			peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				count.Add(1)
				fmt.Fprint(w, "the peer's")
			}))
			defer peer.Close()
			p, err := NewProxy(peer.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if c.fault.Trouble != "" {
				p.Set(&c.fault)
			}
			front := httptest.NewServer(p)
			defer front.Close()
			resp, err := http.Post(front.URL+c.path, "application/json", strings.NewReader("{}"))
			status, body := 0, ""
			if err == nil {
				text, readErr := io.ReadAll(resp.Body)
				resp.Body.Close()
				if readErr == nil {
					status, body = resp.StatusCode, string(text)
				}
			}
			asked := int(count.Load())
			if status != c.status || body != c.body || asked != c.asked {
				t.Errorf("answered with %d %q after the peer was asked %d times, want %d %q after %d", status, body, asked, c.status, c.body, c.asked)
			}
			if calls := p.Calls(); len(calls) != 1 || (calls[0].Status > 0) != (c.asked > 0) {
				t.Errorf("calls: %+v", calls)
			}
		})
	}
}

func TestAStrikeKillsAtTheChange(t *testing.T) {
	t.Parallel()
	for _, handled := range []bool{false, true} {
		var asked, killed atomic.Int64
		peer := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		p, err := NewProxy(peer.URL)
		if err != nil {
			t.Fatal(err)
		}
		front := httptest.NewServer(p)
		p.StrikeAt(2, handled, func() { killed.Add(1) })
		for _, method := range []string{"GET", "PATCH", "GET", "PATCH", "PATCH"} {
			req, err := http.NewRequestWithContext(t.Context(), method, front.URL+"/plugins/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		want := int64(4)
		if handled {
			want = 5
		}
		if killed.Load() != 1 || asked.Load() != want {
			t.Errorf("handled %t: killed %d times, the peer was asked %d times, want once and %d", handled, killed.Load(), asked.Load(), want)
		}
		front.Close()
		p.Close()
		peer.Close()
	}
}
