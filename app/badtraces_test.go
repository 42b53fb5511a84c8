package app

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// What is not looked up must not be bad by any SLO, whatever there is of SLOs and records.
func TestARecordThatNoSLOCanCallBadIsBadByNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		millis := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(-1, 5).Draw(t, name)) * time.Millisecond
		}
		var slos []gatewarden.SLO
		for _, kind := range rapid.SliceOfN(rapid.SampledFrom([]gatewarden.SLIKind{
			gatewarden.SLIAvailability, gatewarden.SLILatency, gatewarden.SLIGood,
		}), 0, 3).Draw(t, "kinds") {
			slo := gatewarden.SLO{Name: rapid.StringMatching("[a-z]{8}").Draw(t, "name"), SLI: gatewarden.SLI{Kind: kind}}
			switch kind {
			case gatewarden.SLILatency:
				slo.SLI.Threshold = max(millis("threshold"), 0)
				slo.SLI.Of = rapid.SampledFrom([]gatewarden.LatencyPart{"", gatewarden.OfRequest, gatewarden.OfUpstream, gatewarden.OfKong}).Draw(t, "of")
			case gatewarden.SLIGood:
				slo.SLI.Expr = "never"
				slo.SLI.Holds = func(*gatewarden.Record) (bool, error) { return false, nil }
			case gatewarden.SLIAvailability:
			}
			slos = append(slos, slo)
		}
		var b badTraces
		b.serve(slos)
		r := gatewarden.Record{
			Service: "orders", TraceID: "a", Status: rapid.SampledFrom([]int{9, 200, 404, 500, 599, 700}).Draw(t, "status"), Weight: 1,
			Latency: gatewarden.Latency{Request: millis("request"), Upstream: millis("upstream"), Kong: millis("kong")},
		}
		b.see([]gatewarden.Record{r})
		for i := range slos {
			good, valid := slos[i].SLI.Judge(&r)
			if bad := valid && !good; bad != (len(b.of(slos[i].Name)) == 1) {
				t.Errorf("%+v is bad by %+v: %t; its trace is kept: %t", r, slos[i].SLI, bad, !bad)
			}
		}
	})
}
