package main

import (
	"cmp"
	"encoding/json"
	"fmt"
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

	mu       sync.Mutex
	runs     []*gatewarden.Run
	asked    []string // "METHOD path", as it came
	headers  []string // the header Authorization of each
	trouble  func(asked int, r *http.Request) (status int, err error)
	hastily  bool // long polls are answered at once
	answered time.Time
}

// course is what becomes of the runs of a canary.
type course struct {
	ends    time.Duration // 0: never
	as      gatewarden.RunState
	like    string // the stored run whose evidence it has
	steps   []time.Duration
	message string
}

// ServeHTTP answers like api.Server.
func (g *gateGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/canaries/{name}/runs", g.start)
	mux.HandleFunc("GET /api/v1/canaries/{name}/runs", g.list)
	mux.HandleFunc("GET /api/v1/canaries/{name}/runs/latest", g.run)
	mux.HandleFunc("GET /api/v1/runs", g.list)
	mux.HandleFunc("GET /api/v1/runs/{id}", g.run)
	mux.HandleFunc("POST /api/v1/runs/{id}/cancel", g.finish)
	mux.HandleFunc("POST /api/v1/runs/{id}/override", g.finish)
	g.mu.Lock()
	g.asked = append(g.asked, r.Method+" "+r.URL.Path)
	g.headers = append(g.headers, r.Header.Get("Authorization"))
	g.mu.Unlock()
	mux.ServeHTTP(w, r)
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

func refuse(w http.ResponseWriter, status int, code gatewarden.Code, format string, args ...any) {
	var body api.ErrorBody
	body.Error.Code, body.Error.Message = code, fmt.Sprintf(format, args...)
	answerJSON(w, status, body)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (g *gateGuard) start(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := r.PathValue("name")
	if _, known := g.course[name]; !known {
		refuse(w, http.StatusNotFound, gatewarden.NotFound, "there is no canary %q", name)
		return
	}
	var req startRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		refuse(w, http.StatusBadRequest, gatewarden.Invalid, "%v", err)
		return
	}
	for _, run := range g.runs {
		switch g.progress(run); {
		case run.Key == req.Key:
			answerJSON(w, http.StatusOK, run)
			return
		case run.Canary == name && !run.Over() && req.Replace:
			end(run, gatewarden.RunCancelled, "another run takes its place")
		case run.Canary == name && !run.Over():
			refuse(w, http.StatusConflict, gatewarden.Conflict, "run %s of the canary %s goes on under another key", run.ID, name)
			return
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
	answerJSON(w, http.StatusCreated, run)
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

func (g *gateGuard) find(r *http.Request) *gatewarden.Run {
	id, name := r.PathValue("id"), r.PathValue("name")
	for _, run := range slices.Backward(g.runs) {
		if run.ID == id || id == "" && run.Canary == name {
			return run
		}
	}
	return nil
}

func (g *gateGuard) run(w http.ResponseWriter, r *http.Request) {
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	deadline := time.Now().Add(wait)
	for {
		g.mu.Lock()
		run := g.find(r)
		if run == nil {
			g.mu.Unlock()
			refuse(w, http.StatusNotFound, gatewarden.NotFound, "there is no run %q", r.PathValue("id"))
			return
		}
		g.progress(run)
		left := time.Until(deadline)
		if run.Over() || left <= 0 || g.hastily {
			answerJSON(w, http.StatusOK, run)
			g.answered = time.Now()
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		if pause(r.Context(), min(left, 50*time.Millisecond)) != nil {
			return
		}
	}
}

func (g *gateGuard) list(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := []gatewarden.Run{}
	for _, run := range slices.Backward(g.runs) {
		if name := r.PathValue("name"); name == "" || run.Canary == name {
			g.progress(run)
			bare := *run
			bare.Trail = nil
			list = append(list, bare)
		}
	}
	answerJSON(w, http.StatusOK, map[string]any{"runs": list})
}

// finish cancels or overrides.
func (g *gateGuard) finish(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var order struct {
		By, Reason string
		State      gatewarden.RunState
	}
	run := g.find(r)
	switch {
	case run == nil:
		refuse(w, http.StatusNotFound, gatewarden.NotFound, "there is no run %q", r.PathValue("id"))
		return
	case json.NewDecoder(r.Body).Decode(&order) != nil || order.By == "":
		refuse(w, http.StatusBadRequest, gatewarden.Invalid, "say who decides this")
		return
	}
	if g.progress(run); run.Over() {
		refuse(w, http.StatusConflict, gatewarden.Conflict, "run %s is over already: %s", run.ID, run.State)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/cancel") {
		end(run, gatewarden.RunCancelled, strings.TrimSuffix(order.By+" cancelled it: "+order.Reason, ": "))
	} else {
		end(run, order.State, order.By+" said so: "+order.Reason)
		run.Override = &gatewarden.Override{State: order.State, By: order.By, Reason: order.Reason, At: *run.EndedAt}
	}
	answerJSON(w, http.StatusOK, run)
}

// begin starts a run.
func (g *gateGuard) begin(t *testing.T, canary, key string) {
	t.Helper()
	c := client{base: "http://guard:8080", http: &http.Client{Transport: g}}
	if err := c.send(t.Context(), http.MethodPost, "/api/v1/canaries/"+canary+"/runs", startRequest{Key: key, By: "jenkins"}, &gatewarden.Run{}); err != nil {
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
