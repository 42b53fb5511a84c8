package app

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

const benchmarkRuns = 200

// BenchmarkTickOfRuns judges runs of 200 canaries side by side, of services with ten
// requests a second each. It reports what the ticks alone take: their mean, and what half
// and 95 % of them take at most.
func BenchmarkTickOfRuns(b *testing.B) {
	var text strings.Builder
	text.WriteString("canaries:\n")
	for i := range benchmarkRuns {
		fmt.Fprintf(&text, "  - {name: c%d, service: s%d, baseline: {target: \"%s\"}, canary: {target: \"%s\"}, min_duration: 24h, deadline: 2d, on_fail: []}\n", i, i, stableTarget, canaryTarget)
	}
	set := loadText(b, text.String())
	reg := prometheus.NewRegistry()
	s := store.New(store.Config{}, reg)
	now := noon
	in := newIntake(s, func() time.Time { return now }, 24*time.Hour, reg)
	t := newTracks(nil, nil)
	t.SetCanaries(set.Canaries)
	l, _, err := newLoop(b.Context(), parts{
		rules: set, store: s, intake: in, journal: journal.NewMemory(), started: now, registry: reg, engine: actions.Config{},
		gates: gates.Config{Tracks: t},
	})
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	second := func(tick func()) {
		for range 2 {
			benchmarkCanaries(b, in, random, now)
			now = now.Add(tickEvery)
			tick()
		}
	}
	tick := func() {
		if err := l.Tick(b.Context(), now); err != nil {
			b.Fatal(err)
		}
	}
	for range 330 { // of history, as much as the judges want
		second(tick)
	}
	for _, c := range set.Canaries {
		if _, _, err := l.runs.Start(b.Context(), now, gates.Request{Canary: c.Name}); err != nil {
			b.Fatal(err)
		}
	}
	for range 60 {
		second(tick)
	}
	var took []time.Duration
	for b.Loop() {
		second(func() {
			began := time.Now()
			tick()
			took = append(took, time.Since(began))
		})
	}
	if running := l.runs.Runs(gates.Filter{State: gatewarden.RunRunning}); len(running) != benchmarkRuns {
		b.Fatalf("%d runs are running at the end, not %d", len(running), benchmarkRuns)
	}
	slices.Sort(took)
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	b.ReportMetric(sum.Seconds()*1e3/float64(len(took)), "ms/tick")
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "ms/median")
	b.ReportMetric(took[len(took)*95/100].Seconds()*1e3, "ms/p95")
}

// benchmarkCanaries is half a second of requests, a tenth of them on the canaries.
func benchmarkCanaries(b *testing.B, in *intake, random *rand.Rand, at time.Time) {
	var records []gatewarden.Record
	for i := range benchmarkRuns {
		for k := range 5 {
			r := gatewarden.Record{
				At: at.Add(time.Duration(k) * 100 * time.Millisecond), Service: fmt.Sprintf("s%d", i), Route: "r", ClientIP: fmt.Sprint(random.IntN(100)),
				Status: 200, Weight: 1, Tries: []gatewarden.Try{{Target: stableTarget}},
				Latency: gatewarden.Latency{Request: time.Duration(5+random.IntN(40)) * time.Millisecond},
			}
			r.Latency.Upstream = r.Latency.Request
			if random.IntN(10) == 0 {
				r.Tries[0].Target = canaryTarget
			}
			if random.IntN(500) == 0 {
				r.Status = 500
			}
			records = append(records, r)
		}
	}
	if err := in.Accept(b.Context(), "bench", records); err != nil {
		b.Fatal(err)
	}
}
