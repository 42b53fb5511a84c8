package app

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/httplog"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/internal/loglines"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

// liveGuard is a guard in virtual time, from Kong's http-log to the API, without listeners
// and state.
type liveGuard struct {
	t       *testing.T
	app     *term
	handler http.Handler // of both listeners
}

func newLiveGuard(t *testing.T, ruleText string) *liveGuard {
	t.Helper()
	set, reg, logger := loadText(t, ruleText), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	a := &term{App: &App{logger: logger, headers: &collector.Headers{}, started: time.Now(), guards: &guards{}}}
	a.headers.Set(set.Headers())
	a.store = store.New(store.Config{}, reg)
	a.intake = newIntake(a.store, time.Now, time.Minute, reg)
	a.intake.expect("httplog", "httplog", a.started)
	a.tracks = newTracks(nil, logger)
	a.tracks.SetCanaries(set.Canaries)
	var err error
	a.loop, _, err = newLoop(t.Context(), parts{
		rules: set, store: a.store, intake: a.intake, journal: journal.NewMemory(), started: a.started, registry: reg,
		gates: gates.Config{Tracks: a.tracks, Logger: logger}, engine: actions.Config{Logger: logger},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	settings := httplog.DefaultSettings()
	settings.Path = "/ingest/kong"
	if _, err := httplog.New(collector.Env{Name: "httplog", Sink: a.intake, Mux: mux, Log: logger, Metrics: reg, Headers: a.headers}, settings); err != nil {
		t.Fatal(err)
	}
	guard := &view{a}
	mux.Handle("/api/", api.New(guard, nil, logger).WithGates(guard).Handler())
	return &liveGuard{t: t, app: a, handler: mux}
}

// ask sends a request, which must be answered well, and decodes the answer unless v is nil.
func (g *liveGuard) ask(method, path string, body []byte, v any) {
	g.t.Helper()
	req := httptest.NewRequestWithContext(g.t.Context(), method, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if g.handler.ServeHTTP(w, req); w.Code >= http.StatusMultipleChoices {
		g.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		g.t.Fatal(err)
	}
}

// batch is what Kong posts at an instant.
type batch struct {
	at    time.Time
	lines []loglines.Line
}

// posted divides lines as Kong posts them: a batch holds what ended in half a second, and
// comes a little later, sometimes behind the next one.
func posted(lines []loglines.Line) (batches []batch) {
	random := rand.New(rand.NewPCG(3, 5))
	for _, l := range lines {
		due := l.At.Truncate(500 * time.Millisecond)
		if n := len(batches); n == 0 || !batches[n-1].at.Equal(due) {
			batches = append(batches, batch{at: due})
		}
		last := &batches[len(batches)-1]
		last.lines = append(last.lines, l)
	}
	for i := range batches {
		batches[i].at = batches[i].at.Add(500*time.Millisecond + time.Duration(random.IntN(1500))*time.Millisecond)
	}
	slices.SortStableFunc(batches, func(a, b batch) int { return a.at.Compare(b.at) })
	return batches
}

// liveRun lets a guard live through a rollout, a run of which somebody starts by the API at
// the given instant, and returns how it ended.
func liveRun(t *testing.T, ruleText string, lines []loglines.Line, start time.Time) gatewarden.Run {
	t.Helper()
	g := newLiveGuard(t, ruleText)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := loglines.NewWriter()
	var asked gatewarden.Run
	for _, b := range posted(lines) {
		for next := time.Now().Truncate(tickEvery).Add(tickEvery); !next.After(b.at); next = next.Add(tickEvery) {
			if !start.IsZero() && !next.Before(start) {
				time.Sleep(time.Until(start))
				g.ask(http.MethodPost, "/api/v1/canaries/orders/runs", []byte(`{"key": "build-7", "by": "jenkins"}`), &asked)
				start = time.Time{}
			}
			time.Sleep(time.Until(next))
			if err := g.app.loop.Tick(ctx, next); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Until(b.at))
		body := []byte{'['}
		for i, l := range b.lines {
			if i > 0 {
				body = append(body, ',')
			}
			body = w.Append(body, l)
		}
		g.ask(http.MethodPost, "/ingest/kong", append(body, ']'), nil)
	}
	told, err := g.app.loop.journal.Events(ctx, journal.Query{})
	if err != nil {
		t.Fatal(err)
	}
	return answer(t, told)
}

// answer returns the run as it was when it got its answer: after a pass it is judged on.
func answer(t *testing.T, events []gatewarden.Event) gatewarden.Run {
	t.Helper()
	for _, e := range events {
		if e.Type == gatewarden.EventGate && e.State != string(gatewarden.RunRunning) {
			return *e.Run
		}
	}
	t.Fatal("no event says how the run ended")
	return gatewarden.Run{}
}

// TestALiveRunIsJudgedAsItsRecording holds a run that was asked for by the API, with
// batches that come late and out of order, against the replay of the same lines.
func TestALiveRunIsJudgedAsItsRecording(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]struct {
		tracks         string
		during         time.Duration
		errors, slower float64
		want           gatewarden.RunState
	}{
		"a bad and slow one by header": {byHeader, time.Minute, 0.05, 1.6, gatewarden.RunFail},
		"a healthy one by address":     {byAddress + "\nchecks: [{errors: {pass_difference: 1%}}, {latency: {pass_ratio: 1.6}}]", 6 * time.Minute, 0.002, 1, gatewarden.RunPass},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			const before = 310 * time.Second // a little more than what a history must have to be of use
			var lines []loglines.Line
			var alive gatewarden.Run
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now().Add(time.Second)
				for i, l := range rollout(begin, before, c.during, c.errors, c.slower) {
					if i%2 == 0 { // 50 a second will do
						lines = append(lines, l)
					}
				}
				alive = liveRun(t, canaryRules(c.tracks), lines, begin.Add(before+1300*time.Millisecond))
			})
			if alive.State != c.want || alive.Verdict.Late > 0 {
				t.Fatalf("alive it ends %s: %s; %d came too late", alive.State, alive.Reason, alive.Verdict.Late)
			}
			_, events, err := replayGate(t, canaryRules(c.tracks), ReplayGate{Canary: "orders", Start: alive.StartedAt}, nil, lines)
			if err != nil {
				t.Fatal(err)
			}
			same := cmp.Options{
				// Who asked, and what came between the asking and the start, are the live run's own.
				cmpopts.IgnoreFields(gatewarden.Run{}, "ID", "Key", "By", "Version"),
				cmpopts.IgnoreFields(gatewarden.CanaryVerdict{}, "Dropped"),
				// How much the history varies is measured with what had arrived by then, so that
				// the stakes differ a little, and with them the evidence, a logarithm.
				cmpopts.EquateApprox(0, 0.01),
			}
			if diff := cmp.Diff(alive, answer(t, events), same); diff != "" {
				t.Errorf("(-live +replay):\n%s", diff)
			}
		})
	}
}
