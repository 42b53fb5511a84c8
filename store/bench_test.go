package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
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
			const pool = 200_000
			var batches [][]gatewarden.Record
			at := noon
			for range pool / c.batch {
				at = at.Add(time.Duration(c.batch) * time.Millisecond)
				batches = append(batches, shop.batch(c.batch, at, time.Second))
			}
			runtime.GC()
			b.ReportAllocs()
			b.ResetTimer()
			n, round := 0, 0
			for i := 0; n < b.N; i++ {
				if i == len(batches) {
					b.StopTimer()
					round, i = round+1, 0
					for _, batch := range batches {
						for j := range batch {
							batch[j].At = batch[j].At.Add(pool * time.Millisecond)
							batch[j].ID = fmt.Sprintf("%d-%s", round, batch[j].ID[:16]) + batch[j].ID[20:]
						}
					}
					b.StartTimer()
				}
				got := s.Add(batches[i], batches[i][c.batch-1].At.Add(time.Second))
				n += got.Counted
				if i%10 == 9 && c.deltas {
					s.Drain()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
		})
	}
}
