package elasticsearch_test

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/elasticsearch"
	"github.com/gatewarden/gatewarden/store"
)

// guard is what the source is given of the rest of the program: the real store, and what
// outlives the process.
type guard struct {
	mu    sync.Mutex
	store *store.Store
	slos  []gatewarden.SLO
	since time.Time
	at    time.Time // the instant that it is for the store; zero for the clock's
	kept  map[string][]byte
	fail  int // so many counts to come are refused
	log   bytes.Buffer
}

func newGuard(slos []gatewarden.SLO) *guard {
	return &guard{store: newStore(slos, time.Time{}), slos: slos, kept: map[string][]byte{}}
}

func newStore(slos []gatewarden.SLO, at time.Time) *store.Store {
	s := store.New(store.Config{}, prometheus.NewRegistry())
	var meters []store.Meter
	for _, slo := range slos {
		meters = append(meters, store.Meter{Series: slo.Series, SLI: slo.SLI})
	}
	s.Configure(meters)
	if !at.IsZero() {
		s.Add(nil, at, nil)
	}
	return s
}

func (g *guard) Load(string) map[string][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.kept)
}

func (g *guard) Accept(_ context.Context, _ string, records []gatewarden.Record, values map[string][]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail > 0 {
		g.fail--
		return gatewarden.Errorf(gatewarden.Unavailable, "not now")
	}
	at := g.at
	if at.IsZero() {
		at = time.Now()
	}
	g.store.Add(records, at, nil)
	maps.Copy(g.kept, values)
	return nil
}

func (g *guard) Resolution(age time.Duration) time.Duration {
	if !g.at.IsZero() {
		age -= time.Since(g.at)
	}
	return store.Resolution(age)
}

func (g *guard) SLOs() []gatewarden.SLO {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.slos
}
func (g *guard) Since() time.Time            { return g.since }
func (g *guard) Watched(from, to time.Time)  { g.store.Watched(from, to) }
func (g *guard) Write(p []byte) (int, error) { g.mu.Lock(); defer g.mu.Unlock(); return g.log.Write(p) }
func (g *guard) said() string                { g.mu.Lock(); defer g.mu.Unlock(); return g.log.String() }
func (g *guard) total() (n uint64) {
	for _, t := range g.store.Totals(func(s gatewarden.Series) bool { return s == gatewarden.Series{} }) {
		for _, c := range t.ByClass {
			n += c
		}
		n += t.Shed
	}
	return n
}

// sink is the guard as a collector.Sink.
type sink struct{ *guard }

func (s sink) Accept(ctx context.Context, source string, records []gatewarden.Record) error {
	return s.guard.Accept(ctx, source, records, nil)
}

// run lets a source read until the returned function is called.
func (g *guard) run(t testing.TB, settings elasticsearch.Settings) (stop func(), reg *prometheus.Registry) {
	t.Helper()
	reg = prometheus.NewRegistry()
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	source, err := elasticsearch.New(collector.Env{
		Name: "elasticsearch", Sink: sink{g}, Checkpoints: g, Past: g, Metrics: reg,
		Log: slog.New(slog.NewTextHandler(g, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop, reg
}

// settings returns those of a test: the defaults, but in a hurry.
func settings(url, index string) elasticsearch.Settings {
	s := elasticsearch.DefaultSettings()
	s.URL, s.Index = url, index
	s.Poll = gatewarden.Duration(100 * time.Millisecond)
	s.Lag = gatewarden.Duration(10 * time.Second) // a busy machine needs seconds for a bulk
	return s
}

// until waits for something to come true.
func until(t testing.TB, g *guard, what string, is func() bool) {
	t.Helper()
	within(t, g, patience, what, is)
}

func within(t testing.TB, g *guard, patience time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s; counted %d\n%.4000s", patience, what, g.total(), g.said())
		}
	}
}

// slos are those of the tests: one of each kind that buckets can be judged by.
func slos() []gatewarden.SLO {
	orders := gatewarden.Series{Service: "orders"}
	latency := func(of gatewarden.LatencyPart, threshold time.Duration) gatewarden.SLI {
		return gatewarden.SLI{Kind: gatewarden.SLILatency, Of: of, Threshold: threshold}
	}
	return []gatewarden.SLO{
		{Name: "everything", SLI: gatewarden.SLI{}},
		{Name: "orders", Series: orders},
		{Name: "unnamed", Series: gatewarden.Series{Service: "-up"}},
		{Name: "a route", Series: gatewarden.Series{Service: "orders", Route: "orders-1"}},
		{Name: "orders are fast", Series: orders, SLI: latency(gatewarden.OfRequest, 137*time.Millisecond)},
		{Name: "all are fast", SLI: latency(gatewarden.OfRequest, 300*time.Millisecond)},
		{Name: "upstreams are fast", SLI: latency(gatewarden.OfUpstream, 61*time.Millisecond)},
		{Name: "Kong is fast", SLI: latency(gatewarden.OfKong, 2*time.Millisecond)},
		{Name: "production", Series: gatewarden.Series{Tag: "env:prod"}},
		{Name: "the team's", Series: gatewarden.Series{Tag: "team:shop"}, SLI: latency(gatewarden.OfRequest, 50*time.Millisecond)},
		{Name: "alice", Series: gatewarden.Series{Consumer: "alice"}},
		{Name: "partners", Series: gatewarden.Series{Workspace: "partners", Service: "payments"}},
	}
}

// same fails when an SLO's counts in any of the windows differ from those of the lines
// themselves.
func same(t testing.TB, g *guard, want *store.Store, at time.Time, windows ...time.Duration) {
	t.Helper()
	g.store.Add(nil, at, nil)
	want.Add(nil, at, nil)
	events := uint64(0)
	for _, slo := range g.slos {
		for _, window := range windows {
			w := want.Count(slo.Series, &slo.SLI, at.Add(-window), at)
			got := g.store.Count(slo.Series, &slo.SLI, at.Add(-window), at)
			if w.Good != got.Good || w.Bad != got.Bad {
				t.Errorf("%s over %s: %d good, %d bad; the lines say %d and %d", slo.Name, gatewarden.Duration(window), got.Good, got.Bad, w.Good, w.Bad)
			}
			events += w.Good * w.Bad
		}
	}
	if events == 0 {
		t.Error("no window has good and bad events: nothing was compared")
	}
}
