package gatewarden_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

func TestTheFirstTryOwnsTheRequest(t *testing.T) {
	byTarget := gatewarden.Selector{Kind: gatewarden.ByTarget}
	release := gatewarden.Canary{Tracks: [2]gatewarden.Selector{byTarget, byTarget}}
	track := func(target string) (gatewarden.Track, bool) {
		t, ok := map[string]gatewarden.Track{"10.0.0.1:80": gatewarden.TrackBaseline, "10.0.0.2:80": gatewarden.TrackCanary}[target]
		return t, ok
	}
	const old, fresh = "10.0.0.1:80", "10.0.0.2:80"
	good := gatewarden.Latency{Request: 12 * time.Millisecond, Upstream: 10 * time.Millisecond}
	for name, c := range map[string]struct {
		record gatewarden.Record
		ok     bool
		want   gatewarden.Observation
	}{
		"an answer of the canary": {
			gatewarden.Record{Status: 200, Latency: good, Tries: []gatewarden.Try{{Target: fresh}}, ClientIP: "1.2.3.4"}, true,
			gatewarden.Observation{Track: gatewarden.TrackCanary, Target: fresh, Client: "1.2.3.4", Latency: 10 * time.Millisecond},
		},
		"a dead canary rescued by the baseline": {
			gatewarden.Record{Status: 200, Latency: good, Tries: []gatewarden.Try{{Target: fresh, Failed: true, Code: 502}, {Target: old}}}, true,
			gatewarden.Observation{Track: gatewarden.TrackCanary, Target: fresh, Failed: true, Latency: gatewarden.NoLatency},
		},
		"a dead baseline rescued by the canary": {
			gatewarden.Record{Status: 200, Latency: good, Tries: []gatewarden.Try{{Target: old, Failed: true}, {Target: fresh}}}, true,
			gatewarden.Observation{Track: gatewarden.TrackBaseline, Target: old, Failed: true, Latency: gatewarden.NoLatency},
		},
		"a later try that fails is not the first one's": {
			gatewarden.Record{Status: 502, Latency: good, Tries: []gatewarden.Try{{Target: old}, {Target: fresh, Failed: true}}}, true,
			gatewarden.Observation{Track: gatewarden.TrackBaseline, Target: old, Latency: gatewarden.NoLatency},
		},
		"an error of the canary's own": {
			gatewarden.Record{Status: 503, Latency: good, Tries: []gatewarden.Try{{Target: fresh}}, Consumer: "ann", ClientIP: "1.2.3.4"}, true,
			gatewarden.Observation{Track: gatewarden.TrackCanary, Target: fresh, Client: "ann", Failed: true, Latency: gatewarden.NoLatency},
		},
		"a connection that no try could make": {
			gatewarden.Record{Status: 502, Latency: good, Tries: []gatewarden.Try{{Target: fresh, Failed: true}}}, true,
			gatewarden.Observation{Track: gatewarden.TrackCanary, Target: fresh, Failed: true, Latency: gatewarden.NoLatency},
		},
		"no try at all is nobody's":    {gatewarden.Record{Status: 401, Latency: good}, false, gatewarden.Observation{}},
		"a target of neither track is": {gatewarden.Record{Status: 500, Tries: []gatewarden.Try{{Target: "10.0.0.9:80"}}}, false, gatewarden.Observation{}},
	} {
		got, ok := release.Observe(&c.record, track)
		if diff := cmp.Diff(c.want, got); ok != c.ok || diff != "" {
			t.Errorf("%s: ok %v, want %v, -want +got:\n%s", name, ok, c.ok, diff)
		}
	}
}

func TestTracksOfServicesRoutesAndHeaders(t *testing.T) {
	version := func(v string) []gatewarden.Header {
		return []gatewarden.Header{{Response: true, Name: "x-app-version", Value: v}, {Name: "x-canary", Value: "1"}}
	}
	by := func(kind gatewarden.SelectorKind, header, value string) gatewarden.Selector {
		return gatewarden.Selector{Kind: kind, Header: header, Values: []string{value}}
	}
	for name, c := range map[string]struct {
		baseline, canary gatewarden.Selector
		record           gatewarden.Record
		track            string // "" for none
		stratum          string
	}{
		"a response header": {
			by(gatewarden.ByResponseHeader, "x-app-version", "v1"), by(gatewarden.ByResponseHeader, "x-app-version", "v2"),
			gatewarden.Record{Route: "list", Headers: version(" v2 ")}, "canary", "list",
		},
		"a request header within a service": {
			by(gatewarden.ByService, "", "orders"), by(gatewarden.ByRequestHeader, "x-canary", "1"),
			gatewarden.Record{Service: "orders", Route: "list", Headers: version("v1")}, "canary", "list",
		},
		"the service without that header": {
			by(gatewarden.ByService, "", "orders"), by(gatewarden.ByRequestHeader, "x-canary", "1"),
			gatewarden.Record{Service: "orders", Route: "list"}, "baseline", "list",
		},
		"a header of the request is not one of the response": {
			by(gatewarden.ByResponseHeader, "x-canary", "0"), by(gatewarden.ByResponseHeader, "x-canary", "1"),
			gatewarden.Record{Headers: version("v1")}, "", "",
		},
		"a route of its own is compared with the other one": {
			by(gatewarden.ByRoute, "", "orders"), by(gatewarden.ByRoute, "", "orders-canary"),
			gatewarden.Record{Route: "orders-canary"}, "canary", "",
		},
		"a service of its own": {
			by(gatewarden.ByService, "", "orders"), by(gatewarden.ByService, "", "orders-v2"),
			gatewarden.Record{Service: "orders-v2", Route: "list"}, "canary", "",
		},
		"neither": {
			by(gatewarden.ByService, "", "orders"), by(gatewarden.ByService, "", "orders-v2"),
			gatewarden.Record{Service: "payments"}, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			release := gatewarden.Canary{Tracks: [2]gatewarden.Selector{c.baseline, c.canary}}
			o, ok := release.Observe(&c.record, nil)
			got := ""
			if ok {
				got = o.Track.String()
			}
			if got != c.track || o.Route != c.stratum {
				t.Errorf("track %q of stratum %q, want %q of %q", got, o.Route, c.track, c.stratum)
			}
		})
	}
}

func TestOnlyTheSeriesOfACanaryIsObserved(t *testing.T) {
	release := gatewarden.Canary{
		Series: gatewarden.Series{Route: "list"},
		Tracks: [2]gatewarden.Selector{{Kind: gatewarden.ByService, Values: []string{"orders"}}, {Kind: gatewarden.ByService, Values: []string{"orders-v2"}}},
	}
	for route, want := range map[string]bool{"list": true, "cart": false} {
		if _, ok := release.Observe(&gatewarden.Record{Service: "orders", Route: route}, nil); ok != want {
			t.Errorf("route %s: observed %t", route, ok)
		}
	}
}
