package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

// gateGuard is a guard that answers about runs, as far as gate and canary ask. What
// becomes of a run is a matter of time: it ends as its course says. As a RoundTripper it
// works in virtual time, as a Handler behind a real server.
type gateGuard struct {
	course map[string]course // by canary

	mu      sync.Mutex
	runs    []*gatewarden.Run
	asked   []string // "METHOD path", as it came
	headers []string // the header Authorization of each
	trouble func(asked int, r *http.Request) (status int, err error)
	hastily bool // long polls are answered at once
}

// course is what becomes of the runs of a canary.
type course struct {
	ends    time.Duration // 0: never
	as      gatewarden.RunState
	like    string // the stored run whose evidence it has
	steps   []time.Duration
	message string
}

var _ api.Gates = (*gateGuard)(nil)

// ServeHTTP is the real API over these runs.
func (g *gateGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.asked = append(g.asked, r.Method+" "+r.URL.Path)
	g.headers = append(g.headers, r.Header.Get("Authorization"))
	g.mu.Unlock()
	api.New(nil, nil, slog.New(slog.DiscardHandler)).WithGates(g).Handler().ServeHTTP(w, r)
}

// RoundTrip answers in the caller's goroutine and time.
func (g *gateGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.trouble != nil {
		g.mu.Lock()
		status, err := g.trouble(len(g.asked), r)
		if status != 0 || err != nil {
			g.asked = append(g.asked, "trouble")
		}
		g.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if status != 0 {
			w := httptest.NewRecorder()
			w.WriteHeader(status)
			_, _ = w.WriteString("<html>a proxy</html>")
			return w.Result(), nil
		}
	}
	w := httptest.NewRecorder()
	if g.ServeHTTP(w, r); r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	return w.Result(), nil
}

var errRefused = &url.Error{Op: "Get", URL: "http://guard", Err: syscall.ECONNREFUSED}

// down makes the guard unreachable from one instant after the test's start to another.
func (g *gateGuard) down(from, to time.Duration) {
	began := time.Now()
	g.trouble = func(int, *http.Request) (int, error) {
		if since := time.Since(began); since >= from && since < to {
			return 0, errRefused
		}
		return 0, nil
	}
}

// Canaries has one with a plan and one without traffic.
func (g *gateGuard) Canaries() []api.Canary {
	names := slices.Sorted(maps.Keys(g.course))
	list := make([]api.Canary, len(names))
	for i, name := range names {
		list[i] = api.CanaryOf(&gatewarden.Canary{
			Name: name, Description: "The releases of " + name + ".", Series: gatewarden.Series{Service: name}, Upstream: name,
			Tracks: [2]gatewarden.Selector{
				{Kind: gatewarden.ByTargetTag, Values: []string{"version:v1"}}, {Kind: gatewarden.ByTargetTag, Values: []string{"version:v2"}},
			},
			Errors:  &gatewarden.ErrorMargins{MaxRatio: 1.1, MaxDifference: 0.0001, PassRatio: 1.5, PassDifference: 0.001},
			Latency: &gatewarden.LatencyMargins{MaxRatio: 1.1, PassRatio: 1.25}, FalseAlarm: 0.01, FalsePass: 0.05,
			MinDuration: 5 * time.Minute, Deadline: 30 * time.Minute, OnInconclusive: gatewarden.Hold, OnFail: []string{"roll-back"},
		})
		if runs := g.Runs(api.RunQuery{Canary: name, Limit: 1}); len(runs) > 0 {
			list[i].Run = &runs[0]
		}
		if name == "orders" {
			newest, tenth := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC), 0.1
			list[i].Share = &tenth
			list[i].Canary.Rate, list[i].Canary.Requests, list[i].Canary.Targets, list[i].Canary.Newest = 20.2, 6060, []string{"10.0.1.1:8080"}, &newest
			list[i].Baseline.Rate, list[i].Baseline.Requests, list[i].Baseline.Failures = 180, 54000, 54
		}
	}
	return list
}

// Canary has figures as the judge planned them once for 200 requests a second, 90/10, and
// 0.1 % errors.
func (g *gateGuard) Canary(name string) (api.Canary, error) {
	for _, c := range g.Canaries() {
		if c.Name != name {
			continue
		}
		c.Plan = &api.Plan{Deadline: c.Deadline, Share: 0.1}
		if c.Canary.Rate > 0 {
			c.Plan.Rate, c.Plan.Errors, c.Plan.ToPass = 200, 0.001, gatewarden.Duration(356*time.Second)
			c.Plan.Rows = []api.PlanRow{
				{What: "latency +20 %", Ratio: 1.2, Time: gatewarden.Duration(77 * time.Second), InTime: true},
				{What: "latency +11 %", Ratio: 1.11, Time: gatewarden.Duration(4 * time.Hour)},
			}
		}
		return c, nil
	}
	return api.Canary{}, gatewarden.Errorf(gatewarden.NotFound, "there is no canary %q", name)
}

// StartRun starts a run, or finds it by its key.
func (g *gateGuard) StartRun(_ context.Context, name string, req api.RunRequest) (gatewarden.Run, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.course[name]; !known {
		return gatewarden.Run{}, false, gatewarden.Errorf(gatewarden.NotFound, "there is no canary %q", name)
	}
	for _, run := range g.runs {
		switch g.progress(run); {
		case run.Key == req.Key:
			return *run, false, nil
		case run.Canary == name && !run.Over() && req.Replace:
			end(run, gatewarden.RunCancelled, "another run takes its place")
		case run.Canary == name && !run.Over():
			return gatewarden.Run{}, false, gatewarden.Errorf(gatewarden.Conflict, "run %s of the canary %s goes on under another key", run.ID, name)
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	run := &gatewarden.Run{
		ID: fmt.Sprintf("%s-%d", name, len(g.runs)+1), Canary: name, Key: req.Key, By: req.By, Parameters: req.Parameters,
		State: gatewarden.RunRunning, Reason: "not decided yet", StartedAt: now, Deadline: now.Add(30 * time.Minute),
	}
	if steps := g.course[name].steps; len(steps) > 0 {
		run.Steps, run.Step = []int{5, 10, 25, 50}[:len(steps)+1], 1
	}
	g.runs = append(g.runs, run)
	return *run, true, nil
}

// progress moves a run along its course.
func (g *gateGuard) progress(run *gatewarden.Run) {
	c := g.course[run.Canary]
	since := time.Since(run.StartedAt)
	if run.Over() {
		return
	}
	for i, step := range c.steps {
		if since >= step {
			run.Step = i + 2
		}
	}
	if c.like != "" {
		stored := storedRun(c.like)
		run.Verdict, run.Trail = stored.Verdict, stored.Trail
		for i := range run.Trail {
			run.Trail[i].At = run.StartedAt.Add(run.Trail[i].At.Sub(stored.StartedAt))
		}
		run.Verdict.At = run.StartedAt.Add(since)
		run.Reason = stored.Reason
	}
	if c.ends > 0 && since >= c.ends {
		end(run, c.as, cmp.Or(c.message, run.Reason))
	}
}

// storedRun is one that the real judge judged.
func storedRun(name string) gatewarden.Run {
	raw, err := os.ReadFile(filepath.Join("..", "..", "internal", "report", "testdata", "runs", name+".json"))
	if err != nil {
		panic(err)
	}
	var run gatewarden.Run
	if err := json.Unmarshal(raw, &run); err != nil {
		panic(err)
	}
	return run
}

func end(run *gatewarden.Run, as gatewarden.RunState, reason string) {
	now := time.Now().UTC()
	run.State, run.Reason, run.EndedAt = as, reason, &now
}

// find returns the run that fits, the newest first.
func (g *gateGuard) find(fits func(*gatewarden.Run) bool) (*gatewarden.Run, error) {
	for _, run := range slices.Backward(g.runs) {
		if fits(run) {
			g.progress(run)
			return run, nil
		}
	}
	return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no such run")
}

func byID(id string) func(*gatewarden.Run) bool {
	return func(run *gatewarden.Run) bool { return run.ID == id }
}

func (g *gateGuard) one(fits func(*gatewarden.Run) bool) (gatewarden.Run, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	run, err := g.find(fits)
	if err != nil {
		return gatewarden.Run{}, err
	}
	return *run, nil
}

// Run returns a run as it is.
func (g *gateGuard) Run(id string) (gatewarden.Run, error) { return g.one(byID(id)) }

// LatestRun returns a canary's newest.
func (g *gateGuard) LatestRun(name string) (gatewarden.Run, error) {
	return g.one(func(run *gatewarden.Run) bool { return run.Canary == name })
}

// WaitRun waits for another state than the one that was seen.
func (g *gateGuard) WaitRun(ctx context.Context, id, seen string) (gatewarden.Run, error) {
	for {
		run, err := g.Run(id)
		if err != nil || g.hastily || run.Over() || string(run.State) != seen || pause(ctx, 50*time.Millisecond) != nil {
			return run, err
		}
	}
}

// Runs lists, the newest first.
func (g *gateGuard) Runs(q api.RunQuery) []gatewarden.Run {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []gatewarden.Run
	for _, run := range slices.Backward(g.runs) {
		g.progress(run)
		if (q.Canary == "" || run.Canary == q.Canary) && (q.State == "" || run.State == q.State) && len(list) < q.Limit {
			bare := *run
			bare.Trail = nil
			list = append(list, bare)
		}
	}
	return list
}

// finish ends a run that is not over.
func (g *gateGuard) finish(id string, do func(*gatewarden.Run)) (gatewarden.Run, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	run, err := g.find(byID(id))
	if err != nil {
		return gatewarden.Run{}, err
	}
	if run.Over() {
		return gatewarden.Run{}, gatewarden.Errorf(gatewarden.Conflict, "run %s is over already: %s", run.ID, run.State)
	}
	do(run)
	return *run, nil
}

// CancelRun ends a run without an answer.
func (g *gateGuard) CancelRun(_ context.Context, id, by, reason string) (gatewarden.Run, error) {
	return g.finish(id, func(run *gatewarden.Run) {
		end(run, gatewarden.RunCancelled, strings.TrimSuffix(by+" cancelled it: "+reason, ": "))
	})
}

// OverrideRun ends a run with a person's answer.
func (g *gateGuard) OverrideRun(_ context.Context, id string, state gatewarden.RunState, by, reason string) (gatewarden.Run, error) {
	return g.finish(id, func(run *gatewarden.Run) {
		end(run, state, by+" said so: "+reason)
		run.Override = &gatewarden.Override{State: state, By: by, Reason: reason, At: *run.EndedAt}
	})
}

// begin starts a run.
func (g *gateGuard) begin(t *testing.T, canary, key string) {
	t.Helper()
	c := client{base: "http://guard:8080", http: &http.Client{Transport: g}}
	if err := c.send(t.Context(), http.MethodPost, "/api/v1/canaries/"+canary+"/runs", api.RunRequest{Key: key, By: "jenkins"}, &gatewarden.Run{}); err != nil {
		t.Fatal(err)
	}
}

// startGateGuard starts a guard for a session, whose runs end within two seconds.
func startGateGuard(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: gateguard")
	}
	g := &gateGuard{course: map[string]course{
		"orders":    {ends: 2 * time.Second, as: gatewarden.RunPass, like: "pass", steps: []time.Duration{500 * time.Millisecond, time.Second, 1500 * time.Millisecond}},
		"payments":  {ends: time.Second, as: gatewarden.RunFail, like: "fail"},
		"search":    {ends: time.Second, as: gatewarden.RunInconclusive, like: "inconclusive"},
		"inventory": {like: "cancelled"},
	}}
	server := httptest.NewServer(g)
	ts.Defer(server.Close)
	ts.Setenv("GATEWARDEN_SERVER", server.URL)
}

// only returns the guard's single run.
func (g *gateGuard) only(t *testing.T) gatewarden.Run {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.runs) != 1 {
		t.Fatalf("the guard has %d runs, want 1", len(g.runs))
	}
	return *g.runs[0]
}
