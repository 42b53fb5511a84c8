package elasticsearch_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// BenchmarkPast fills in the ten minutes before now, at 500 requests a second, in buckets
// of a second: the densest part of a past, of which a day has an hour.
//
//	GATEWARDEN_TEST_HEAP=1500m go test -run '^$' -bench Past -benchtime 2x -timeout 30m .
func BenchmarkPast(b *testing.B) {
	const documents = 300_000
	url, index := start(b, "elasticsearch"), "kong-bench"
	s, now := newShop(11), time.Now()
	call(b, "DELETE", url+"/kong-*", "")
	logstash.create(b, url, index, `"requests.cache.enable":false`)
	for range documents / perBulk {
		logstash.ship(b, url, index, s.between(now.Add(-10*time.Minute), now.Add(-20*time.Second), perBulk))
	}
	for b.Loop() {
		g := newGuard([]gatewarden.SLO{{Name: "orders", Series: gatewarden.Series{Service: "orders"}}, {
			Name: "fast", SLI: gatewarden.SLI{Kind: gatewarden.SLILatency, Of: gatewarden.OfRequest, Threshold: 300 * time.Millisecond},
		}})
		set := settings(url, index)
		set.Read, set.PastReach = "nothing", gatewarden.Duration(time.Hour)
		m := measuring(b, url)
		stop, reg := g.run(b, set)
		until(b, g, "the past", func() bool { return g.total() == documents })
		m.report(b, reg, documents)
		stop()
	}
}

// measure is what was used when it began: the columns of interest are those of this process
// (the guard) and of the server, each by what it grows with.
type measure struct {
	url           string
	guard, server float64 // seconds of CPU
	began         time.Time
}

func measuring(tb testing.TB, url string) measure {
	tb.Helper()
	return measure{url, cpuSeconds(tb), serverSeconds(tb, url), time.Now()}
}

// report tells what was used for so many documents since.
func (m measure) report(b *testing.B, reg *prometheus.Registry, documents int) {
	b.Helper()
	took, used, server := time.Since(m.began).Seconds(), cpuSeconds(b)-m.guard, serverSeconds(b, m.url)-m.server
	rows := value(b, reg, "gatewarden_elasticsearch_buckets_total")
	b.Logf("%.1f s, guard %.2f s of CPU, server %.1f s, %.0f rows", took, used, server, rows) // each time; below is the last one
	b.ReportMetric(float64(documents), "documents")
	b.ReportMetric(rows, "rows")
	b.ReportMetric(used, "guard-CPU-s")
	b.ReportMetric(used*1e6/rows, "guard-CPU-µs/row")
	b.ReportMetric(server*1e6/float64(documents), "server-CPU-µs/document")
	b.ReportMetric(took, "s")
}

// serverSeconds returns what CPU the server has used, all its nodes together.
func serverSeconds(tb testing.TB, url string) (used float64) {
	tb.Helper()
	for _, node := range call(tb, "GET", url+"/_nodes/stats/process", "")["nodes"].(map[string]any) {
		process := node.(map[string]any)["process"].(map[string]any)
		used += process["cpu"].(map[string]any)["total_in_millis"].(float64) / 1000
	}
	return used
}

func cpuSeconds(tb testing.TB) float64 {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func value(tb testing.TB, reg *prometheus.Registry, name string) float64 {
	tb.Helper()
	families, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	tb.Fatalf("there is no metric %s", name)
	return 0
}
