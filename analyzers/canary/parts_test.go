package canary

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/stats"
)

func TestBinsAreEvenOnALogarithmicScale(t *testing.T) {
	table := newBinTable()
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(time.Hour/2)).Draw(t, "d"))
		shifted := time.Duration(1.1*float64(d+binShift)) - binShift
		if got := table.bin(shifted) - table.bin(d); got < 9 || got > 11 {
			t.Errorf("%s and %s, ten per cent more, are %d bins apart", d, shifted, got)
		}
		if got := exactBin(d); got != table.bin(d) {
			t.Errorf("the table says %d for %s, the formula %d", table.bin(d), d, got)
		}
		if off := math.Log(float64(binLatency(table.bin(d))+binShift) / float64(d+binShift)); math.Abs(off) > binWidth {
			t.Errorf("bin %d of %s has its middle at %s", table.bin(d), d, binLatency(table.bin(d)))
		}
	})
	for _, d := range []time.Duration{-1, -time.Second, math.MinInt64, math.MaxInt64} {
		if b := table.bin(d); b < 0 || b >= bins {
			t.Errorf("%d ns is in bin %d", d, b)
		}
	}
	if shiftAtLeast(1.1) != 10 || shiftAtMost(1.1) != 10 || shiftAtLeast(1.25) != 24 || shiftAtMost(1.25) != 23 || shiftAtLeast(1) != 0 {
		t.Error("shifts are off")
	}
}

// ranks agrees with counting all pairs one by one.
func TestRanksCountPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b rankBlock
		shifts := []int{0, 0, 10, 10, 73, 2000}
		want := make([]stats.Ranks, len(shifts))
		for stratum := range 2 {
			base := rapid.SliceOfN(rapid.IntRange(0, 120), 0, 2*maxUsed).Draw(t, "baseline")
			canary := rapid.SliceOfN(rapid.IntRange(0, 150), 0, 2*maxUsed).Draw(t, "canary")
			for _, x := range base {
				b.stratum(stratum)[Baseline].add(x, 1)
			}
			for _, x := range canary {
				b.stratum(stratum)[Canary].add(x, 1)
			}
			for k, shift := range shifts {
				var w float64
				for _, x := range canary {
					for _, y := range base {
						if x > y+shift || k%2 == 1 && x == y+shift {
							w++
						}
					}
				}
				if len(base) > 0 && len(canary) > 0 {
					want[k].Add(w, float64(len(canary)), float64(len(base)))
				}
			}
		}
		got := make([]stats.Ranks, len(shifts))
		b.ranks(shifts, got)
		for k := range shifts {
			if math.Abs(got[k].Z()-want[k].Z()) > 1e-9 {
				t.Errorf("shift %d: z = %v, want %v", shifts[k], got[k].Z(), want[k].Z())
			}
		}
	})
}

func TestHistogramQuantilesAndTails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(1, 60), rapid.IntRange(2*maxUsed, 4*maxUsed)).Draw(t, "n") // crowded as well
		values := rapid.SliceOfN(rapid.IntRange(0, bins-1), n, n).Draw(t, "values")
		var a, h histogram
		for i, v := range values {
			if i%2 == 0 {
				a.add(v, 1)
			} else {
				h.add(v, 1)
			}
		}
		if rapid.Bool().Draw(t, "restarted") { // then it has forgotten which bins are not empty
			a, h = histogram{First: a.First, Counts: a.Counts, Total: a.Total}, histogram{First: h.First, Counts: h.Counts, Total: h.Total}
		}
		h.merge(&a)
		slices.Sort(values)
		q := rapid.Float64Range(0, 0.999).Draw(t, "q")
		if got, want := h.quantile(q), values[int(q*float64(len(values)))]; got != want {
			t.Errorf("quantile(%v) of %v = %d, want %d", q, values, got, want)
		}
		limit := rapid.IntRange(0, bins).Draw(t, "limit")
		want := uint64(0)
		for _, v := range values {
			if v >= limit {
				want++
			}
		}
		if got := h.from(limit); got != want || !h.valid() {
			t.Errorf("from(%d) of %v = %d, want %d; valid %v", limit, values, got, want, h.valid())
		}
		h.clear()
		if h.from(0) != 0 || !h.valid() || slices.Max(h.Counts) != 0 {
			t.Error("a cleared histogram is not empty")
		}
	})
}

func TestEpisodes(t *testing.T) {
	for name, c := range map[string]struct {
		seconds []int64 // in which the client fails
		want    []int64 // of them, those that count
	}{
		"one failure":                    {[]int64{5}, []int64{5}},
		"a run is one":                   {[]int64{5, 6, 9, 18, 27}, []int64{5}},
		"ten quiet seconds end it":       {[]int64{5, 15, 24, 34}, []int64{5, 15, 34}},
		"a run that goes on is one":      {every(1, 0, 500), []int64{0}},
		"seldom enough, each one counts": {every(10, 0, 50), []int64{0, 10, 20, 30, 40, 50}},
		"a pause ends it":                {append(every(1, 0, 100), every(1, 200, 270)...), []int64{0, 200}},
	} {
		e := episodes{}
		var got []int64
		for _, s := range c.seconds {
			if e.counts(1, s, 1) {
				got = append(got, s)
			}
			if s%10 == 0 {
				e.forget(s)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	crowd := episodes{}
	var got []int64
	for s := range int64(80) {
		if crowd.counts(1, s, episodeCrowd) {
			got = append(got, s)
		}
	}
	if diff := cmp.Diff([]int64{0, 10, 30, 70}, got); diff != "" {
		t.Errorf("a run among others: -want +got:\n%s", diff)
	}
	many := episodes{}
	got = nil
	for s := range int64(9) { // fails in each second, and has good requests by the dozen
		if many.counts(1, s, 1) {
			got = append(got, s)
		}
		many.good(1, episodeGood/2)
		many.good(2, episodeGood) // not known
	}
	if diff := cmp.Diff([]int64{0, 2, 4, 6, 8}, got); diff != "" || len(many) != 1 {
		t.Errorf("a client that is many, %d are known: -want +got:\n%s", len(many), diff)
	}
	e := episodes{}
	e.counts(1, 0, 1)
	if e.forget(9); len(e) != 1 {
		t.Error("a run that may go on is forgotten")
	}
	if e.forget(10); len(e) != 0 {
		t.Error("a run that is over is kept")
	}
}

func TestOneClientsFailuresAreEnoughOnlyWhenTheBaselineServesItWell(t *testing.T) {
	for name, c := range map[string]struct {
		served uint64 // between two events
		enough bool
	}{
		"a client of the canary alone":       {0, false},
		"one that the baseline hardly knows": {servedWell / 3, false},
		"a proxy before everybody":           {servedWell, true},
	} {
		e := newErrorCheck()
		for range enoughClients {
			e.met(hash("10.0.0.9"))
			if client := hash("10.0.0.9"); e.waitsFor(client) {
				e.serve(client, c.served)
			}
		}
		if enough := len(e.Clients)+e.Unknown >= enoughClients; enough != c.enough {
			t.Errorf("%s: enough %t, want %t", name, enough, c.enough)
		}
	}
	e := newErrorCheck()
	e.met(hash("1"))
	if e.waitsFor(hash("2")) {
		t.Error("a client that has not failed is waited for")
	}
}

func every(step, from, to int64) []int64 {
	var s []int64
	for x := from; x <= to; x += step {
		s = append(s, x)
	}
	return s
}

func TestPoliciesAreChecked(t *testing.T) {
	d := DefaultPolicy()
	if err := d.Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	for name, change := range map[string]func(*Policy){
		"nothing to check":                func(p *Policy) { p.Errors, p.Latency = nil, nil },
		"no false alarm is impossible":    func(p *Policy) { p.FalseAlarm = 0 },
		"a false alarm that is no number": func(p *Policy) { p.FalseAlarm = math.NaN() },
		"per cent instead of a ratio":     func(p *Policy) { p.FalsePass = 5 },
		"no deadline":                     func(p *Policy) { p.Deadline = 0 },
		"a pass after the deadline":       func(p *Policy) { p.MinDuration = p.Deadline + 1 },
		"a warm-up beyond it":             func(p *Policy) { p.WarmUp = p.Deadline + 1 },
		"a negative delay":                func(p *Policy) { p.Delay = -1 },
		"a margin below equality":         func(p *Policy) { p.Errors.MaxRatio = 0.9 },
		"a pass margin below the other":   func(p *Policy) { p.Errors.PassRatio = 1.05 },
		"no difference to show":           func(p *Policy) { p.Errors.PassDifference, p.Errors.MaxDifference = 0, 0 },
		"a negative difference":           func(p *Policy) { p.Errors.MaxDifference = -1 },
		"equal latency margins":           func(p *Policy) { p.Latency.PassRatio = p.Latency.MaxRatio },
		"a latency margin without end":    func(p *Policy) { p.Latency.PassRatio = math.Inf(1) },
		"a latency margin below one":      func(p *Policy) { p.Latency.MaxRatio = 0.5 },
	} {
		p := DefaultPolicy()
		change(&p)
		_, err := New(p, epoch)
		if gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// feed gives a history so many seconds of n requests and x events a second and arm.
func feed(h *history, seconds int, events func(second, arm int) uint64) {
	for s := range seconds {
		v := &virtualCell{}
		for scheme := range v.N {
			for arm := range v.N[scheme] {
				v.N[scheme][arm] = 20
				v.X[eventFailed][scheme][arm] = events(s, arm)
			}
		}
		h.add(&cell{Virtual: v})
	}
}

func TestBlocksAreAsLongAsClusters(t *testing.T) {
	for name, c := range map[string]struct {
		seconds int
		events  func(s, arm int) uint64
		want    int
	}{
		"events all over the place":            {300, func(s, arm int) uint64 { return uint64((s*7+arm*3)%5) / 4 }, oneBlock},
		"one arm at a time for half a minute":  {300, func(s, arm int) uint64 { return map[bool]uint64{true: 5}[(s/30*4)%9 == arm] }, longBlock},
		"a history that is too short to trust": {historyEnough - 1, func(s, arm int) uint64 { return 0 }, defaultBlock},
		"no events at all":                     {300, func(s, arm int) uint64 { return 0 }, oneBlock},
	} {
		var h history
		feed(&h, c.seconds, c.events)
		if got := h.tune().Errors; got != c.want {
			t.Errorf("%s: blocks of %d s, want %d", name, got, c.want)
		}
	}
}

func TestDispersionOfClustersIsSeen(t *testing.T) {
	var even, clustered history
	feed(&even, 600, func(s, arm int) uint64 { return uint64((s*7+arm*3)%5) / 4 })
	feed(&clustered, 600, func(s, arm int) uint64 { return map[bool]uint64{true: 5}[(s/10*4)%9 == arm] })
	if phi := even.tune().Phi; phi < 1 || phi > 1.5 {
		t.Errorf("dispersion of even events: %v", phi)
	}
	if phi := clustered.tune().Phi; phi < 10 {
		t.Errorf("dispersion of clustered events: %v", phi)
	}
	var none history
	if phi := none.tune().Phi; phi < 1.5 || phi > 2 {
		t.Errorf("dispersion that is not known: %v, want the error of not knowing it", phi)
	}
}

// An outage within the history does not move the tail's threshold.
func TestTheThresholdStandsAnOutage(t *testing.T) {
	threshold := func(outage bool) time.Duration {
		tr := newTraffic(5)
		tr.slowness = func(s int, _ gatewarden.Track) float64 {
			if outage && s > -200 && s < -120 {
				return 10
			}
			return 1
		}
		j := begin(t, tr, prompt())
		j.Advance(epoch.Add(2 * time.Second))
		return binLatency(j.Tuning.TailBin)
	}
	calm, hit := threshold(false), threshold(true)
	if calm < 140*time.Millisecond || calm > 180*time.Millisecond { // 160 ms is the distribution's
		t.Errorf("the threshold is %s", calm)
	}
	if math.Abs(float64(hit-calm)) > 0.1*float64(calm) {
		t.Errorf("an outage moves the threshold from %s to %s", calm, hit)
	}
}

func TestTroubleOfTheBaseline(t *testing.T) {
	var tr trouble
	for range 200 {
		if tr.add(200, 1, 1) {
			t.Fatal("quiet seconds are trouble")
		}
	}
	if tr.add(200, 5, 1) {
		t.Error("five failures are trouble")
	}
	if !tr.add(200, 100, 1) {
		t.Error("a hundred failures are none")
	}
	for range troubleSeconds - 1 {
		if !tr.add(200, 1, 1) {
			t.Error("it is over at once")
		}
	}
	if tr.add(200, 1, 1) || tr.Lasting != 0 {
		t.Error("it is not over when it has left the window")
	}
	seconds := 0
	for ; tr.add(200, 50, 1) && seconds < 1000; seconds++ {
	}
	if seconds != troubleNormal-1 {
		t.Errorf("what lasts is the new normal after %d s, want %d", seconds, troubleNormal-1)
	}
}

func TestNumbersInSentences(t *testing.T) {
	for x, want := range map[float64]string{0: "0 %", 0.0012: "0.12 %", 0.5: "50 %", 1: "100 %", 0.000001: "0.0001 %", 0.0999: "10 %", 0.055: "5.5 %"} {
		if got := percent(x); got != want {
			t.Errorf("percent(%v) = %q, want %q", x, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDamagedStatesAreRefused(t *testing.T) {
	tr := newTraffic(1)
	tr.rate = 20
	j := begin(t, tr, DefaultPolicy())
	for s := range 20 {
		tr.second(j, s)
		j.Advance(epoch.Add(time.Duration(s+1) * time.Second))
	}
	good, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(state map[string]any){
		"a check without its lanes":    func(s map[string]any) { s["errors"].(map[string]any)["fail"] = map[string]any{} },
		"a block length of its own":    func(s map[string]any) { s["tuning"].(map[string]any)["errors_s"] = 7 },
		"a history that is not over":   func(s map[string]any) { s["history"] = map[string]any{} },
		"too many strata":              func(s map[string]any) { s["routes"] = make([]string, maxStrata) },
		"a time beyond all years":      func(s map[string]any) { s["start"] = 1e18 },
		"a histogram that miscounts":   func(s map[string]any) { s["warm"] = map[string]any{"total": 5} },
		"a second where there is none": func(s map[string]any) { s["open"] = map[string]any{"5": nil} },
	} {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(m["state"].(map[string]any))
		b, _ := json.Marshal(m)
		before, _ := json.Marshal(j)
		if err := json.Unmarshal(b, j); gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := json.Marshal(j); string(before) != string(after) {
			t.Errorf("%s: the judge has changed", name)
		}
	}
	for _, text := range []string{`{"version":2}`, `[]`, `{"version":1}`, `{"version":1,"state":null}`} {
		if err := json.Unmarshal([]byte(text), &Judge{}); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// binomials returns the distribution of the number of events among n requests.
func binomials(n int, p float64) []float64 {
	d := []float64{1}
	for range n {
		next := make([]float64, len(d)+1)
		for k, x := range d {
			next[k] += x * (1 - p)
			next[k+1] += x * p
		}
		d = next
	}
	return d
}

// The share bet over two routes with different splits and error rates, the canary's odds
// at the margin in each: given how many events each route had, its mean is at most 1.
func TestTheShareBetIsFairOverRoutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rho := rapid.SampledFrom([]float64{1, 1.1, 1.5}).Draw(t, "rho")
		var n [2][2]int // by route, by track
		var events [2][2][]float64
		for r := range n {
			n[r] = [2]int{rapid.IntRange(0, 12).Draw(t, "baseline"), rapid.IntRange(0, 6).Draw(t, "canary")}
			p := rapid.Float64Range(0.001, 0.8).Draw(t, "p")
			events[r] = [2][]float64{binomials(n[r][Baseline], p), binomials(n[r][Canary], rho*p/(rho*p+1-p))}
		}
		type given struct{ first, second int }
		mean, all := map[given]float64{}, map[given]float64{}
		for b0, p0 := range events[0][Baseline] {
			for c0, q0 := range events[0][Canary] {
				for b1, p1 := range events[1][Baseline] {
					for c1, q1 := range events[1][Canary] {
						var b shareBlock
						for r, e := range [2][2]int{{b0, c0}, {b1, c1}} {
							s := b.stratum(r)
							for track := range e {
								s.N[track], s.Events[0][track] = uint64(n[r][track]), uint64(e[track])
								b.N[track] += s.N[track]
							}
						}
						m, canary := b.events(0)
						if m == 0 {
							continue
						}
						key, w := given{b0 + c0, b1 + c1}, p0*q0*p1*q1
						mean[key] += w * math.Exp(stats.ShareGain(b.nullShare(0, rho), 6, m, canary/m))
						all[key] += w
					}
				}
			}
		}
		for key, w := range all {
			if mean[key]/w > 1+1e-9 {
				t.Errorf("rho %v, %v: mean factor %v given %v events", rho, n, mean[key]/w, key)
			}
		}
	})
}
