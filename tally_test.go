package gatewarden

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// tallyGen draws tallies of a few records and shed responses.
func tallyGen() *rapid.Generator[Tally] {
	return rapid.Custom(func(t *rapid.T) (tally Tally) {
		for range rapid.IntRange(0, 6).Draw(t, "records") {
			tally.Add(&Record{
				Status:  rapid.IntRange(-5, 700).Draw(t, "status"),
				Latency: Latency{Request: latencyGen().Draw(t, "latency")},
				Weight:  uint32(rapid.IntRange(0, 9).Draw(t, "weight")),
			})
		}
		tally.Shed = rapid.Uint64Range(0, 5).Draw(t, "shed")
		return tally
	})
}

func TestTalliesMergeInAnyOrder(t *testing.T) {
	sum := func(parts ...Tally) (sum Tally) {
		for _, p := range parts {
			sum.Merge(&p)
		}
		return sum
	}
	type view struct {
		ByClass [6]uint64
		Shed    uint64
		Latency map[int]uint64
	}
	see := func(t Tally) view { return view{t.ByClass, t.Shed, counts(t.Latency)} }
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := tallyGen().Draw(t, "a"), tallyGen().Draw(t, "b"), tallyGen().Draw(t, "c")
		want := see(sum(a, b, c))
		for name, got := range map[string]Tally{
			"a+(b+c)": sum(a, sum(b, c)),
			"(c+b)+a": sum(sum(c, b), a),
			"0+a+b+c": sum(Tally{}, a, Tally{}, b, c),
		} {
			if diff := cmp.Diff(want, see(got)); diff != "" {
				t.Errorf("%s is not a+b+c, -want +got:\n%s", name, diff)
			}
		}
	})
}

func TestATallyCountsWhatTheRecordSays(t *testing.T) {
	for name, c := range map[string]struct {
		record                     Record
		requests, errors, measured uint64
	}{
		"a success":                         {Record{Status: 200, Weight: 1}, 1, 0, 1},
		"the client's mistake is no error":  {Record{Status: 404, Weight: 1}, 1, 0, 1},
		"a failure":                         {Record{Status: 503, Weight: 1}, 1, 1, 1},
		"a status that HTTP does not know":  {Record{Status: 9, Weight: 1}, 1, 1, 1},
		"a status beyond those of HTTP":     {Record{Status: 700, Weight: 1}, 1, 1, 1},
		"a counter's delta":                 {Record{Status: 500, Weight: 40}, 40, 40, 40},
		"a counter that did not move":       {Record{Status: 500, Weight: 0}, 0, 0, 0},
		"a request of unknown duration":     {Record{Status: 200, Weight: 3, Latency: Latency{Request: NoLatency}}, 3, 0, 0},
		"an informational answer":           {Record{Status: 101, Weight: 1}, 1, 0, 1},
		"a redirect":                        {Record{Status: 302, Weight: 1}, 1, 0, 1},
		"a negative status, which is wrong": {Record{Status: -1, Weight: 1}, 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var tally Tally
			tally.Add(&c.record)
			if got := tally.Requests(); got != c.requests {
				t.Errorf("Requests() = %d, want %d", got, c.requests)
			}
			if got := tally.Errors(); got != c.errors {
				t.Errorf("Errors() = %d, want %d", got, c.errors)
			}
			if got := tally.Latency.Count(); got != c.measured {
				t.Errorf("%d latencies, want %d", got, c.measured)
			}
		})
	}
}

func TestATallysErrorsAreTheRecordsThatFailed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Record{Status: rapid.Int().Draw(t, "status"), Weight: 1}
		var tally Tally
		tally.Add(&r)
		if failed := tally.Errors() == 1; failed != r.Failed() {
			t.Errorf("status %d: an error of the tally %v, Failed() %v", r.Status, failed, r.Failed())
		}
	})
}

func TestAnIdleWindowHasNoBadRatio(t *testing.T) {
	if got := (Count{}).BadRatio(); got != 0 {
		t.Errorf("BadRatio of nothing = %v, want 0", got)
	}
	if got := (Count{Good: 3, Bad: 1}).BadRatio(); got != 0.25 {
		t.Errorf("BadRatio of 1 in 4 = %v, want 0.25", got)
	}
}

func TestLatencyPartsNameTheirField(t *testing.T) {
	l := Latency{Request: 3 * time.Second, Upstream: 2 * time.Second, Kong: time.Second}
	for part, want := range map[LatencyPart]time.Duration{OfRequest: l.Request, OfUpstream: l.Upstream, OfKong: l.Kong, "": l.Request} {
		if got := part.Pick(l); got != want {
			t.Errorf("%q picks %s, want %s", part, got, want)
		}
	}
}
