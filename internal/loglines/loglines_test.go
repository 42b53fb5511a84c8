package loglines

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

func TestALineDecodesToWhatWasAskedFor(t *testing.T) {
	at := time.UnixMilli(1795293551913).UTC()
	line := NewWriter().Append(nil, Line{ID: 7, At: at, Service: "orders", Target: "10.0.0.7:8080", Status: 502, Millis: 42})
	batch, err := collector.NewDecoder(collector.DefaultLimits()).Decode(line)
	if err != nil || len(batch.Records) != 1 {
		t.Fatalf("%d records, error %v, from %s", len(batch.Records), err, line)
	}
	got := batch.Records[0]
	got.At = got.At.UTC()
	want := gatewarden.Record{
		ID: "3fd2247cf508f50c0000000000000007", At: at, Workspace: "default", Service: "orders", Route: "orders-route",
		Tags: []string{"team:shop", "env:prod", "tier:gold"}, Method: "GET", Path: "/orders/status/204", ClientIP: "203.0.113.35",
		TraceID: "d0ff63e86ed2332f0000000000000007", Status: 502, Origin: gatewarden.OriginUpstream,
		Latency: gatewarden.Latency{Request: 42 * time.Millisecond, Upstream: 41 * time.Millisecond, Kong: time.Millisecond},
		Tries:   []gatewarden.Try{{Target: "10.0.0.7:8080"}}, LastTry: 502, Weight: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
