package gatewarden

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestASpanFailsByTheFaultOfItsService(t *testing.T) {
	for name, c := range map[string]struct {
		span   Span
		failed bool
		status int // of its record
	}{
		"a span that says nothing is good":                         {Span{}, false, 200},
		"one that its service calls an error":                      {Span{Error: true}, true, 500},
		"one with a status of 500, which Kong does not call one":   {Span{Status: 503}, true, 503},
		"what the client did wrong is not the service's fault":     {Span{Status: 404}, false, 404},
		"not even when the client's own span calls it an error":    {Span{Status: 404, Error: true}, false, 404},
		"an answer that was good before something else went wrong": {Span{Status: 200, Error: true}, true, 500},
		"an error with a status of its own":                        {Span{Status: 504, Error: true}, true, 504},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.span.Record()
			if got := c.span.Failed(); got != c.failed || r.Status != c.status || r.Failed() != c.failed {
				t.Errorf("failed is %v, want %v; its record has status %d, want %d", got, c.failed, r.Status, c.status)
			}
		})
	}
}

func TestASpanIsARecordOfItsSignal(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := Span{
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", ID: "00f067aa0ba902b7", Service: "payments", Operation: "POST /pay", Kind: SpanServer,
		Start: start, Duration: 45 * time.Millisecond, Status: 201,
	}
	want := Record{
		Signal: SignalTraces, ID: "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", At: start.Add(45 * time.Millisecond),
		Service: "payments", Route: "POST /pay", Tags: []string{"server"}, TraceID: s.TraceID, Status: 201, Weight: 1,
		Latency: Latency{Request: 45 * time.Millisecond, Upstream: NoLatency, Kong: NoLatency},
	}
	got := s.Record()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !(Series{Signal: SignalTraces, Service: "payments", Route: "POST /pay", Tag: "server"}).Matches(&got) {
		t.Error("the series of its service, operation and kind does not match it")
	}
	if (Series{Service: "payments"}).Matches(&got) {
		t.Error("the series of the requests that Kong logged matches it")
	}
}
