package store

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

func TestSignalsCountApart(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	requests := gatewarden.Series{Service: "orders"}
	spans := gatewarden.Series{Signal: gatewarden.SignalTraces, Service: "orders", Tag: "server"}
	slow := gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: 300 * time.Millisecond, Of: gatewarden.OfRequest}
	s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	meters := []Meter{{Series: requests}, {Series: spans}, {Series: spans, SLI: slow}}
	s.Configure(meters)
	s.Add([]gatewarden.Record{
		{Service: "orders", Route: "list", Status: 200, At: now, Weight: 1},
		{Signal: gatewarden.SignalTraces, Service: "orders", Route: "GET /orders", Tags: []string{"server"}, Status: 500, Latency: gatewarden.Latency{Request: time.Second}, At: now, Weight: 3},
		{Signal: gatewarden.SignalTraces, Service: "orders", Route: "GET /stock", Tags: []string{"client"}, Status: 500, At: now, Weight: 5},
		{Signal: "prometheus:1", Service: "orders", Status: 500, At: now, Weight: 7},
	}, now, nil)

	check := func(s *Store) {
		t.Helper()
		for name, c := range map[string]struct {
			series gatewarden.Series
			sli    gatewarden.SLI
			good   uint64
			bad    uint64
		}{
			"the gateway has its requests":  {gatewarden.Series{}, gatewarden.SLI{}, 1, 0},
			"the service has its requests":  {requests, gatewarden.SLI{}, 1, 0},
			"the spans are of one kind":     {spans, gatewarden.SLI{}, 0, 3},
			"they have a latency of theirs": {spans, slow, 0, 3},
		} {
			got := s.Count(c.series, &c.sli, now.Add(-time.Minute), now.Add(time.Second))
			if got.Good != c.good || got.Bad != c.bad {
				t.Errorf("%s: %d good, %d bad", name, got.Good, got.Bad)
			}
		}
	}
	check(s)

	snapshot, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again := New(Config{}, prometheus.NewRegistry())
	again.Configure(meters)
	if err := again.Restore(snapshot, ever); err != nil {
		t.Fatal(err)
	}
	check(again)
	for _, info := range s.List() {
		if info.Series.Signal == "prometheus:1" {
			t.Error("a signal that no meter counts has a series")
		}
	}
}
