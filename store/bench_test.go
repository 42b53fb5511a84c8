package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// noon is the instant that tests begin at.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// shop makes records like those of facts about a real gateway: services and routes of
// Zipf's popularity, log-normal latencies, 3 % 4xx and 0.2 % 5xx.
type shop struct {
	rand             *rand.Rand
	services, routes int
	zipf             *rand.Zipf
	names            [][2]string
	ids              int
}

func newShop(services, routes int) *shop {
	r := rand.New(rand.NewPCG(1, 2))
	s := &shop{rand: r, services: services, routes: routes, zipf: rand.NewZipf(r, 1.2, 4, uint64(routes-1))}
	for i := range routes {
		s.names = append(s.names, [2]string{fmt.Sprintf("service-%d", i%services), fmt.Sprintf("route-%d", i)})
	}
	return s
}

func (s *shop) record(route int, at time.Time) gatewarden.Record {
	status := 200
	switch p := s.rand.Float64(); {
	case p < 0.002:
		status = 503
	case p < 0.032:
		status = 404
	}
	s.ids++
	return gatewarden.Record{
		ID: fmt.Sprintf("%032x", s.ids), At: at, Service: s.names[route][0], Route: s.names[route][1],
		Status: status, Origin: gatewarden.OriginUpstream, Weight: 1,
		Latency: gatewarden.Latency{
			Request:  time.Duration(math.Exp(s.rand.NormFloat64()*0.6+3.5)) * time.Millisecond,
			Upstream: 20 * time.Millisecond, Kong: time.Millisecond,
		},
	}
}

func (s *shop) batch(n int, at time.Time, spread time.Duration) []gatewarden.Record {
	var records []gatewarden.Record
	for range n {
		records = append(records, s.record(int(s.zipf.Uint64()), at.Add(-time.Duration(s.rand.Int64N(int64(spread))))))
	}
	return records
}

func (s *shop) meters() []Meter {
	var meters []Meter
	for i := range s.services {
		series := gatewarden.Series{Service: s.names[i][0]}
		meters = append(meters, Meter{Series: series}, Meter{Series: series, SLI: slow(300 * time.Millisecond)})
	}
	return meters
}

func slow(threshold time.Duration) gatewarden.SLI {
	return gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: threshold, Of: gatewarden.OfRequest}
}

// cpuTime returns the processor time that the process has used: it says the same on a
// busy machine as on an idle one.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAdd folds batches of 100 at 1,000 records per simulated second: 20
// services, 60 routes, a latency SLI each service. The figure is of one record.
func BenchmarkAdd(b *testing.B) {
	for _, c := range []struct {
		name   string
		batch  int
		deltas bool
	}{{"batch of 100", 100, false}, {"batch of 100 with deltas", 100, true}, {"batch of 1", 1, false}} {
		b.Run(c.name, func(b *testing.B) {
			shop := newShop(20, 60)
			s := New(Config{KeepDeltas: c.deltas}, prometheus.NewRegistry())
			s.Configure(shop.meters())
			const pool = 20_000
			var batches [][]gatewarden.Record
			at := noon
			for range pool / c.batch {
				at = at.Add(time.Duration(c.batch) * time.Millisecond)
				batches = append(batches, shop.batch(c.batch, at, time.Second))
			}
			runtime.GC()
			b.ReportAllocs()
			b.ResetTimer()
			n, round, cpu, began := 0, 0, time.Duration(0), cpuTime()
			for i := 0; n < b.N; i++ {
				if i == len(batches) {
					b.StopTimer()
					cpu += cpuTime() - began
					round, i = round+1, 0
					for _, batch := range batches {
						for j := range batch {
							batch[j].At = batch[j].At.Add(pool * time.Millisecond)
							batch[j].ID = fmt.Sprintf("%04d%s", round, batch[j].ID[4:])
						}
					}
					began = cpuTime()
					b.StartTimer()
				}
				n += s.Add(batches[i], batches[i][c.batch-1].At.Add(time.Second), nil).Counted
				if i%10 == 9 && c.deltas {
					s.Drain()
				}
			}
			cpu += cpuTime() - began
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(n), "cpu-ns/record")
		})
	}
}

// history is a store with what a guard knows of a shop with so many services and
// routes: 3 days, the last hours of them dense, at 2 requests a second for each route,
// and two meters for each service and route.
func history(services, routes int) (*Store, []Meter, time.Time) {
	const rate = 2
	shop := newShop(services, routes)
	var meters []Meter
	for i := range routes {
		series := gatewarden.Series{Service: shop.names[i][0], Route: shop.names[i][1]}
		meters = append(meters, Meter{Series: series}, Meter{Series: series, SLI: slow(300 * time.Millisecond)})
	}
	meters = append(meters, shop.meters()...)
	s := New(Config{}, prometheus.NewRegistry())
	s.Configure(meters)
	add := func(at time.Time, weight uint32) {
		var batch []gatewarden.Record
		for route := range routes {
			r := shop.record(route, at)
			r.Weight = weight
			if weight > 1 {
				r.ID = ""
			}
			batch = append(batch, r)
		}
		s.Add(batch, at, nil)
	}
	at := noon.Add(-72 * time.Hour)
	for ; at.Before(noon.Add(-26 * time.Hour)); at = at.Add(5 * time.Minute) {
		add(at, 300*rate)
	}
	for ; at.Before(noon.Add(-3 * time.Hour)); at = at.Add(15 * time.Second) {
		add(at, 15*rate)
	}
	for ; at.Before(noon); at = at.Add(time.Second / rate) {
		add(at, 1)
	}
	s.Watched(noon.Add(-72*time.Hour), noon)
	return s, meters, at
}

// windows are those of the workbook's pairs and of the budget.
func windows() []time.Duration {
	return []time.Duration{
		5 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour, 30 * 24 * time.Hour,
	}
}

// heap returns how much of it is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkHistory asks a store of 500 series and 1,000 meters, and prints its size.
func BenchmarkHistory(b *testing.B) {
	before := heap()
	s, meters, at := history(100, 400)
	b.Logf("%d series, %d meters: %.1f MB of heap", s.seriesCount(), len(meters), float64(heap()-before)/1e6)
	b.Run("Count", func(b *testing.B) {
		b.ReportAllocs()
		lengths, began := windows(), cpuTime()
		defer func() { b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/float64(b.N), "cpu-ns/op") }()
		for i := range b.N {
			m := &meters[i/len(lengths)%len(meters)] // as a tick asks: one SLO after another
			s.Count(m.Series, &m.SLI, at.Add(-lengths[i%len(lengths)]), at)
		}
	})
	b.Run("Window of 1 h", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			s.Window(meters[i%len(meters)].Series, at.Add(-time.Hour), at)
		}
	})
	b.Run("Snapshot", func(b *testing.B) {
		for range b.N {
			snapshot, err := s.Snapshot()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(snapshot)), "bytes")
		}
	})
	b.Run("Restore", func(b *testing.B) {
		snapshot, err := s.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		for range b.N {
			if err := s.Restore(snapshot, ever); err != nil {
				b.Fatal(err)
			}
		}
	})
}
