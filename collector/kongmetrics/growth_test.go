package kongmetrics

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestWhatARealKongCountedInTwelveSeconds(t *testing.T) {
	first, second := mustRead(t, captured(t, "metrics-1.txt")), mustRead(t, captured(t, "metrics-2.txt"))
	g, err := second.since(first.keep(noon, nil, false), noon.Add(12*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]uint64{"orders": 60}, g.byService()); diff != "" {
		t.Errorf("requests by service (-want +got)\n%s", diff)
	}
	byStatus, slow := map[int]uint32{}, uint32(0)
	for _, r := range g.records() {
		if r.Service != "orders" || r.Route != "orders-route" || r.Workspace != "default" || !r.At.Equal(noon.Add(12*time.Second)) {
			t.Errorf("a record of something else: %+v", r)
		}
		byStatus[r.Status] += r.Weight
		if r.Latency.Request > 25*time.Millisecond {
			slow += r.Weight
		}
	}
	if diff := cmp.Diff(map[int]uint32{200: 50, 503: 10}, byStatus); diff != "" {
		t.Errorf("requests by status (-want +got)\n%s", diff)
	}
	if slow != 34 { // its histogram went from 53 to 79 up to 25 ms, and from 140 to 200 in all
		t.Errorf("%d of them took longer than 25 ms, want 34", slow)
	}
}

// said is an exposition of one node with two counters and one of nginx.
func said(t *testing.T, id string, ok, failed, all int) *exposition {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "kong_node_info{node_id=%q} 1\nkong_nginx_requests_total{subsystem=\"http\"} %d\n", id, all)
	if ok >= 0 {
		fmt.Fprintf(&b, "kong_http_requests_total{service=\"orders\",route=\"r\",code=\"200\",source=\"service\"} %d\n", ok)
	}
	if failed >= 0 {
		fmt.Fprintf(&b, "kong_http_requests_total{service=\"orders\",route=\"r\",code=\"502\",source=\"kong\"} %d\n", failed)
	}
	return mustRead(t, b.String())
}

func TestWhatCountersGrewBy(t *testing.T) {
	type step struct {
		ok, failed, all int // -1: the series is not there
		want            string
	}
	cases := map[string][]step{
		"they grow":                          {{10, 5, 20, ""}, {12, 5, 30, "2 0"}, {12, 6, 40, "0 1"}},
		"a new series began at zero":         {{10, -1, 20, ""}, {10, 3, 30, "0 3"}},
		"a restart begins at zero":           {{100, 5, 200, ""}, {4, 1, 9, "4 1 reset"}, {6, 1, 12, "2 0"}},
		"a busy one passed its old value":    {{100, 50, 200, ""}, {120, 2, 130, "120 2 reset"}},
		"a restart that only nginx shows":    {{100, 5, 200, ""}, {120, -1, 130, "120 0 reset"}},
		"a series that was lost comes back":  {{100, 50, 200, ""}, {110, -1, 220, "10 0"}, {110, 51, 230, "0 1"}},
		"nothing was there and still is not": {{-1, -1, 5, ""}, {-1, -1, 6, "0 0"}},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			var before *counters
			for i, s := range steps {
				e := said(t, "a", s.ok, s.failed, s.all)
				at := noon.Add(time.Duration(i) * time.Second)
				var g growth
				if before != nil {
					var err error
					if g, err = e.since(before, at); err != nil {
						t.Fatal(err)
					}
					byStatus := map[int]uint64{}
					for k, n := range g.requests {
						byStatus[k.code] += n
					}
					got := fmt.Sprint(byStatus[200], " ", byStatus[502])
					if g.reset {
						got += " reset"
					}
					if got != s.want {
						t.Errorf("look %d: %q, want %q", i+1, got, s.want)
					}
				}
				before = e.keep(at, before, g.reset)
			}
		})
	}
}

func TestAnAbsurdGrowthIsRefused(t *testing.T) {
	e := said(t, "a", 1<<40, 0, 5)
	if _, err := e.since(said(t, "a", 0, 0, 4).keep(noon, nil, false), noon.Add(time.Second)); err == nil {
		t.Error("a million million requests in a second were believed")
	}
}

// What the records add up to is what was counted: by status exactly, and by latency at
// every bound of a bucket.
func TestRecordsAddUp(t *testing.T) {
	bounds := []float64{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000, math.Inf(1)}
	rapid.Check(t, func(t *rapid.T) {
		g := growth{at: noon, requests: map[requestKey]uint64{}, buckets: map[bucketKey]uint64{}}
		total := map[routeKey]uint64{}
		byStatus := map[int]uint64{}
		for route := range rapid.IntRange(1, 3).Draw(t, "routes") {
			key := routeKey{"default", "orders", fmt.Sprint(route)}
			for _, code := range []int{9, 200, 404, 502} {
				n := rapid.Uint64Range(0, 1<<33).Draw(t, "requests")
				g.requests[requestKey{key, "", code, gatewarden.OriginUpstream}] = n
				total[key] += n
				byStatus[code] += n
			}
			for of := range latencies {
				left := total[key]
				sum := uint64(0)
				for _, le := range bounds {
					n := rapid.Uint64Range(0, left).Draw(t, "latencies")
					left, sum = left-n, sum+n
					g.buckets[bucketKey{key, of, bound(le)}] = sum
				}
				g.highest[of] = 60000
			}
		}
		list := g.records()
		for route, want := range total {
			got := uint64(0)
			for _, r := range list {
				if r.Route == route.route {
					got += uint64(r.Weight)
				}
			}
			if got != want {
				t.Fatalf("route %s has %d requests, counted were %d", route.route, got, want)
			}
			for of, pick := range []func(gatewarden.Latency) time.Duration{
				func(l gatewarden.Latency) time.Duration { return l.Request },
				func(l gatewarden.Latency) time.Duration { return l.Upstream },
				func(l gatewarden.Latency) time.Duration { return l.Kong },
			} {
				for _, le := range bounds[:len(bounds)-1] {
					atMost := uint64(0)
					for _, r := range list {
						if d := pick(r.Latency); r.Route == route.route && d >= 0 && d <= time.Duration(le)*time.Millisecond {
							atMost += uint64(r.Weight)
						}
					}
					if want := g.buckets[bucketKey{route, of, bound(le)}]; atMost != want {
						t.Fatalf("latency %d of route %s: %d up to %v ms, counted were %d", of, route.route, atMost, le, want)
					}
				}
			}
		}
		for code, want := range byStatus {
			got := uint64(0)
			for _, r := range list {
				if r.Status == code {
					got += uint64(r.Weight)
				}
			}
			if got != want {
				t.Fatalf("%d with status %d, counted were %d", got, code, want)
			}
		}
		if slices.ContainsFunc(list, func(r gatewarden.Record) bool { return r.Weight == 0 }) {
			t.Fatal("a record of nothing")
		}
	})
}
