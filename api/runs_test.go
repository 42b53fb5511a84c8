package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// gates are Gates of one canary, with recorded calls.
type gates struct {
	calls []string
	known bool // the key is known
	err   error
	runs  chan gatewarden.Run // what WaitRun returns
	now   gatewarden.Run      // what it returned last
}

var _ Gates = (*gates)(nil)

var aRun = gatewarden.Run{
	ID: "orders-1", Canary: "orders", State: gatewarden.RunRunning, Version: 7, Reason: "12 of 600 requests failed",
	StartedAt: time.Date(2026, 11, 22, 2, 15, 0, 0, time.UTC), Trail: []gatewarden.RunPoint{{Fail: 1}},
}

func (g *gates) call(format string, args ...any) error {
	g.calls = append(g.calls, fmt.Sprintf(format, args...))
	return g.err
}

func (g *gates) Canaries() []Canary { return []Canary{{Name: "orders"}} }
func (g *gates) Canary(name string) (Canary, error) {
	if name != "orders" {
		return Canary{}, gatewarden.Errorf(gatewarden.NotFound, "there is no canary named %q", name)
	}
	return Canary{Name: name, Plan: &Plan{Rate: 200}}, nil
}

func (g *gates) Runs(q RunQuery) []gatewarden.Run {
	_ = g.call("runs %+v", q)
	if q.Canary != "" && q.Canary != "orders" {
		return nil
	}
	run := aRun
	run.Trail = nil
	return []gatewarden.Run{run}
}

func (g *gates) Run(id string) (gatewarden.Run, error) {
	if id != aRun.ID {
		return gatewarden.Run{}, gatewarden.Errorf(gatewarden.NotFound, "there is no run %q", id)
	}
	return aRun, nil
}
func (g *gates) LatestRun(string) (gatewarden.Run, error) { return aRun, nil }

func (g *gates) WaitRun(ctx context.Context, id, seen string) (gatewarden.Run, error) {
	select {
	case g.now = <-g.runs:
		return g.now, g.call("wait %s %s", id, seen)
	case <-ctx.Done():
		return g.now, g.call("waited %s %s", id, seen)
	}
}

func (g *gates) StartRun(_ context.Context, canary string, req RunRequest) (gatewarden.Run, bool, error) {
	secret := ""
	if req.Callback != nil {
		secret = req.Callback.Authorization.Reveal()
	}
	return aRun, !g.known, g.call("start %s %s %s %v %s %v", canary, req.Key, req.By, req.Parameters, secret, req.Replace)
}

func (g *gates) CancelRun(_ context.Context, id, by, reason string) (gatewarden.Run, error) {
	return aRun, g.call("cancel %s %s %s", id, by, reason)
}

func (g *gates) OverrideRun(_ context.Context, id string, state gatewarden.RunState, by, reason string) (gatewarden.Run, error) {
	return aRun, g.call("override %s %s %s %s", id, state, by, reason)
}

func serveGates(g Gates) http.Handler {
	return New(&guard{}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)).WithGates(g).Handler()
}

func TestReadingCanariesAndRuns(t *testing.T) {
	for sentence, c := range map[string]struct {
		target string
		status int
		want   string
	}{
		"canaries are listed":                   {"/api/v1/canaries", 200, `"name": "orders"`},
		"one canary comes with its plan":        {"/api/v1/canaries/orders", 200, `"rate": 200`},
		"an unknown canary is not found":        {"/api/v1/canaries/x", 404, `"code": "not_found"`},
		"its runs are listed":                   {"/api/v1/canaries/orders/runs", 200, `"id": "orders-1"`},
		"an unknown canary has none":            {"/api/v1/canaries/x/runs", 404, `"code": "not_found"`},
		"its newest run is shown":               {"/api/v1/canaries/orders/runs/latest", 200, `"trail": [`},
		"runs are listed":                       {"/api/v1/runs?state=running&limit=5", 200, `"runs": [`},
		"a state that is none is refused":       {"/api/v1/runs?state=passed", 400, `the states are running,`},
		"a bad limit is refused":                {"/api/v1/runs?limit=0", 400, `from 1 to 1000`},
		"one run is shown":                      {"/api/v1/runs/orders-1", 200, `"trail": [`},
		"an unknown run is not found":           {"/api/v1/runs/x", 404, `"code": "not_found"`},
		"the events of an unknown run are none": {"/api/v1/runs/x/events", 404, `"code": "not_found"`},
		"waiting ends after the time given":     {"/api/v1/runs/orders-1?wait=1ms&seen=running", 200, `"version": 7`},
		"a wait that is no duration is refused": {"/api/v1/runs/orders-1?wait=soon", 400, `write a number and a unit`},
		"a wait beyond any sense is refused":    {"/api/v1/runs/orders-1?wait=1d", 400, `up to 5m`},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := do(serveGates(&gates{now: aRun}), "GET", c.target, "", "")
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("GET %s: %d %s, want %d with %s", c.target, w.Code, w.Body, c.status, c.want)
			}
		})
	}
}

func TestSteeringRuns(t *testing.T) {
	const start = "/api/v1/canaries/orders/runs"
	for sentence, c := range map[string]struct {
		target, body string
		known        bool
		status       int
		calls        []string
	}{
		"a new run is 201": {
			start, `{"key":"b7","by":"jenkins","parameters":{"version":"v2"},"callback":{"url":"http://j/x","authorization":"Bearer s"}}`, false, 201,
			[]string{"start orders b7 jenkins map[version:v2] Bearer s false"},
		},
		"a known one is 200":            {start, `{"key":"b7"}`, true, 200, []string{"start orders b7  map[]  false"}},
		"one that replaces":             {start, `{"replace":true}`, false, 201, []string{"start orders   map[]  true"}},
		"an unknown field is refused":   {start, `{"keys":"b7"}`, false, 400, nil},
		"no body is refused":            {start, ``, false, 400, nil},
		"cancelling names the person":   {"/api/v1/runs/orders-1/cancel", `{"by":"ada","reason":"abort"}`, false, 200, []string{"cancel orders-1 ada abort"}},
		"nobody cannot cancel":          {"/api/v1/runs/orders-1/cancel", `{"reason":"abort"}`, false, 400, nil},
		"a person's pass":               {"/api/v1/runs/orders-1/override", `{"state":"pass","by":" ada ","reason":"x"}`, false, 200, []string{"override orders-1 pass ada x"}},
		"nobody cannot decide":          {"/api/v1/runs/orders-1/override", `{"state":"pass"}`, false, 400, nil},
		"an answer that is none":        {"/api/v1/runs/orders-1/override", `{"state":"cancelled","by":"ada"}`, false, 400, nil},
		"an override without an answer": {"/api/v1/runs/orders-1/override", `{"by":"ada"}`, false, 400, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			g := &gates{known: c.known}
			w := do(serveGates(g), "POST", c.target, "application/json", c.body)
			if w.Code != c.status {
				t.Errorf("status %d %s, want %d", w.Code, w.Body, c.status)
			}
			if diff := cmp.Diff(c.calls, g.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if strings.Contains(w.Body.String(), "Bearer s") {
				t.Error("the answer shows the secret")
			}
		})
	}
	conflict := &gates{err: gatewarden.Errorf(gatewarden.Conflict, "the run orders-0 is running")}
	if w := do(serveGates(conflict), "POST", start, "application/json", `{}`); w.Code != 409 || !strings.Contains(w.Body.String(), "orders-0") {
		t.Errorf("while another one runs: %d %s", w.Code, w.Body)
	}
	if w := do(serveGates(&gates{}), "POST", start, "text/plain", `{}`); w.Code != 400 {
		t.Errorf("a form of a foreign page: %d %s", w.Code, w.Body)
	}
}

func TestAGuardWithoutCanariesSaysSo(t *testing.T) {
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/api/v1/canaries", 200}, {"GET", "/api/v1/runs", 200}, {"GET", "/api/v1/canaries/x", 404}, {"GET", "/api/v1/runs/x", 404},
		{"POST", "/api/v1/canaries/x/runs", 404}, {"POST", "/api/v1/runs/x/cancel", 404},
	} {
		body := ""
		if c.method == "POST" {
			body = `{"by":"ada"}`
		}
		if w := do(serve(&guard{}), c.method, c.target, "application/json", body); w.Code != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.target, w.Code, w.Body, c.status)
		}
	}
}

func TestFollowingARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gates{runs: make(chan gatewarden.Run), now: aRun}
		w := httptest.NewRecorder()
		done := make(chan struct{})
		began := time.Now()
		go func() {
			defer close(done)
			serveGates(g).ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/runs/orders-1/events", nil))
		}()
		next := aRun
		next.Version++
		g.runs <- next
		time.Sleep(20 * time.Second) // longer than a silence may last
		over := aRun
		over.Version, over.State = 9, gatewarden.RunPass
		g.runs <- over
		<-done

		var events []string
		for part := range strings.SplitSeq(strings.TrimSpace(w.Body.String()), "\n\n") {
			id, data, ok := strings.Cut(part, "\nevent: run\ndata: ")
			if !ok {
				events = append(events, part)
				continue
			}
			var run gatewarden.Run
			if err := json.Unmarshal([]byte(data), &run); err != nil || run.Trail != nil {
				t.Errorf("%s: %v, trail %v", data, err, run.Trail)
			}
			events = append(events, fmt.Sprintf("%s %s", id, run.State))
		}
		want := []string{"id: 7 running", "id: 8 running", ": nothing new", "id: 9 pass"}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"wait orders-1 7", "waited orders-1 8", "wait orders-1 8"}, g.calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestAFollowerThatLeavesIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequest("GET", "/api/v1/runs/orders-1/events", nil).WithContext(ctx)
			serveGates(&gates{now: aRun}).ServeHTTP(httptest.NewRecorder(), r)
		}()
		time.Sleep(time.Minute)
		leave()
		<-done
	})
}

func TestACanaryShowsWhatTheRulesSay(t *testing.T) {
	c := CanaryOf(&gatewarden.Canary{
		Name: "orders", Series: gatewarden.Series{Service: "orders"}, Deadline: 30 * time.Minute, Steps: []int{5, 50}, FalseAlarm: 0.01,
		Tracks: [2]gatewarden.Selector{
			{Kind: gatewarden.ByTargetTag, Values: []string{"version:v1"}}, {Kind: gatewarden.ByTargetTag, Values: []string{"version:v2"}},
		},
	})
	if c.Baseline.Selector != "target_tag: version:v1" || c.Canary.Selector != "target_tag: version:v2" || c.Deadline.String() != "30m" || len(c.Steps) != 2 {
		t.Errorf("got %+v", c)
	}
}
