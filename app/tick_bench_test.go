package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

// BenchmarkTick judges 1,000 SLOs over 500 series that have an hour of history at two
// requests a second each, and go on like that between the ticks. It reports what the
// ticks alone take.
func BenchmarkTick(b *testing.B) {
	var text strings.Builder
	text.WriteString("slos:\n")
	for i := range 250 {
		for j, rest := range []string{"sli: {availability: {}}", "sli: {latency: {threshold: 300ms}}", "route: r%d, sli: {availability: {}}", "route: r%d, sli: {latency: {threshold: 250ms}}"} {
			if strings.Contains(rest, "%") {
				rest = fmt.Sprintf(rest, i)
			}
			fmt.Fprintf(&text, "  - {name: s%d-%d, service: s%d, objective: 99.9, window: 30d, %s}\n", i, j, i, rest)
		}
	}
	set := loadText(b, text.String())
	reg := prometheus.NewRegistry()
	s := store.New(store.Config{}, reg)
	s.Configure(meters(set))
	now := noon
	in := newIntake(s, func() time.Time { return now }, 24*time.Hour, reg)
	for range 3600 {
		benchmarkTraffic(b, in, now, 2)
		now = now.Add(time.Second)
	}
	l, _, err := newLoop(b.Context(), parts{
		rules: set, store: s, intake: in, journal: journal.NewMemory(), started: now, registry: reg, engine: actions.Config{},
	})
	if err != nil {
		b.Fatal(err)
	}
	var took time.Duration
	for b.Loop() {
		benchmarkTraffic(b, in, now, 1)
		now = now.Add(tickEvery)
		began := time.Now()
		if err := l.Tick(b.Context(), now); err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	b.ReportMetric(took.Seconds()*1e3/float64(b.N), "ms/tick")
}

// benchmarkTraffic is n requests for each of 250 services, from the given instant on.
func benchmarkTraffic(b *testing.B, in *intake, at time.Time, n int) {
	var records []gatewarden.Record
	for i := range 250 {
		for k := range n {
			records = append(records, gatewarden.Record{
				At: at.Add(time.Duration(k) * 300 * time.Millisecond), Service: fmt.Sprintf("s%d", i), Route: fmt.Sprintf("r%d", i), Status: 200, Weight: 1,
				Latency: gatewarden.Latency{Request: time.Duration(5+i) * time.Millisecond},
			})
		}
	}
	if err := in.Accept(b.Context(), "bench", records); err != nil {
		b.Fatal(err)
	}
}
