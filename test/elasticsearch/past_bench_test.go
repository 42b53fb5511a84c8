package elasticsearch_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// BenchmarkPast fills in the ten minutes before now, at 500 requests a second, in buckets
// of a second: the densest part of a past, of which a day has an hour. BenchmarkDay fills
// in a whole day, of which only that hour has so many requests: the guard's work is the
// same, as each bucket has what kinds of requests there are, and the server's is for as
// many documents as there are. The columns of interest are those of this process (guard)
// and of the server, each by what it grows with:
//
//	GATEWARDEN_TEST_HEAP=2g go test -run '^$' -bench 'Past|Day' -benchtime 1x -timeout 60m .
func BenchmarkPast(b *testing.B) {
	benchmarkPast(b, time.Hour, []traffic{{10 * time.Minute, 20 * time.Second, 300_000}})
}

func BenchmarkDay(b *testing.B) {
	benchmarkPast(b, 25*time.Hour, []traffic{ // what is shipped is older when it is read
		{time.Hour, 20 * time.Second, 1_800_000}, {10 * time.Hour, time.Hour, 324_000}, {24 * time.Hour, 10 * time.Hour, 202_000},
	})
}

// traffic is how many documents there are of requests between two ages.
type traffic struct {
	from, to  time.Duration
	documents int
}

// perBulk is how many documents are shipped at a time.
const perBulk = 5000

func benchmarkPast(b *testing.B, reach time.Duration, parts []traffic) {
	url := start(b, "elasticsearch")
	s, now := newShop(11), time.Now()
	index := "kong-bench"
	call(b, "DELETE", url+"/kong-*", "")
	logstash.create(b, url, index)
	documents := 0
	for _, p := range parts {
		for left := p.documents; left > 0; left -= perBulk {
			logstash.ship(b, url, index, s.between(now.Add(-p.from), now.Add(-p.to), min(left, perBulk)))
		}
		documents += p.documents
	}
	call(b, "POST", url+"/"+index+"/_forcemerge?max_num_segments=1", "")
	for b.Loop() {
		g := newGuard([]gatewarden.SLO{{Name: "orders", Series: gatewarden.Series{Service: "orders"}}, {
			Name: "fast", SLI: gatewarden.SLI{Kind: gatewarden.SLILatency, Of: gatewarden.OfRequest, Threshold: 300 * time.Millisecond},
		}})
		set := settings(url, index)
		set.Read, set.PastReach = "nothing", gatewarden.Duration(reach)
		cpu, server, began := cpuSeconds(b), products["elasticsearch"].cpuSeconds(b), time.Now()
		stop, reg := g.run(b, set)
		until(b, g, "the past", func() bool { return g.total() == uint64(documents) })
		took := time.Since(began).Seconds()
		stop()
		used, rows := cpuSeconds(b)-cpu, value(b, reg, "gatewarden_elasticsearch_buckets_total")
		b.ReportMetric(float64(documents), "documents")
		b.ReportMetric(rows, "rows")
		b.ReportMetric(used, "guard-CPU-s")
		b.ReportMetric(used*1e6/rows, "guard-CPU-µs/row")
		b.ReportMetric((products["elasticsearch"].cpuSeconds(b)-server)*1e6/float64(documents), "server-CPU-µs/document")
		b.ReportMetric(took, "s")
	}
}

// cpuSeconds returns what the server has used; it must be one that the test started, on
// Linux.
func (s *server) cpuSeconds(tb testing.TB) float64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.command.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var used float64
	for _, at := range []int{11, 12} { // utime and stime, in hundredths
		n, err := strconv.ParseFloat(strings.Fields(rest)[at], 64)
		if err != nil {
			tb.Fatal(err)
		}
		used += n / 100
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
