package canary

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// epoch is when the runs of these tests start.
var epoch = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// traffic makes the requests of a service with a canary, from a seed.
type traffic struct {
	rng      *rand.Rand
	rate     float64 // requests a second
	share    float64 // the canary's
	clients  int
	names    []string
	failing  func(second int, t gatewarden.Track) float64 // probability of a failure
	slowness func(second int, t gatewarden.Track) float64 // factor on latency
	observe  func(second int, o *gatewarden.Observation)  // a last change, nil for none
	history  int                                          // seconds before the start
}

func newTraffic(seed uint64) *traffic {
	names := make([]string, 500)
	for i := range names {
		names[i] = fmt.Sprint("client-", i)
	}
	return &traffic{
		names: names,
		rng:   rand.New(rand.NewPCG(seed, 1)), rate: 200, share: 0.1, clients: 500, history: 300,
		failing:  func(int, gatewarden.Track) float64 { return 0.001 },
		slowness: func(int, gatewarden.Track) float64 { return 1 },
	}
}

// second adds one second's requests to the judge. Seconds count from the start.
func (tr *traffic) second(j *Judge, second int) { tr.requests(second, j.Add) }

// requests makes one second's requests.
func (tr *traffic) requests(second int, add func(*gatewarden.Observation)) {
	n := int(tr.rate)
	if tr.rng.Float64() < tr.rate-float64(n) {
		n++
	}
	for range n {
		o := gatewarden.Observation{
			At:    epoch.Add(time.Duration(second)*time.Second + time.Duration(tr.rng.IntN(1000))*time.Millisecond),
			Route: "list", Latency: gatewarden.NoLatency, ID: "request",
		}
		client := tr.rng.IntN(tr.clients)
		o.Client, o.Target = tr.names[client], tr.names[client%9]
		if second >= 0 && tr.rng.Float64() < tr.share {
			o.Track, o.Target = Canary, "10.0.1.1"
		}
		o.Failed = tr.rng.Float64() < tr.failing(second, o.Track)
		if !o.Failed {
			ms := 50 * math.Exp(0.5*tr.rng.NormFloat64()) * tr.slowness(second, o.Track)
			o.Latency = time.Duration(ms) * time.Millisecond
		}
		if tr.observe != nil {
			tr.observe(second, &o)
		}
		add(&o)
	}
}

// run judges for so many seconds or until the run is decided, and returns the last
// verdict and its second.
func (tr *traffic) run(t *testing.T, p Policy, seconds int) (gatewarden.CanaryVerdict, int) {
	t.Helper()
	j := begin(t, tr, p)
	for s := range seconds {
		tr.second(j, s)
		at := epoch.Add(time.Duration(s+1) * time.Second)
		if state, _ := j.Standing(at); state != gatewarden.Inconclusive {
			return j.Verdict(at), s + 1
		}
	}
	return j.Verdict(epoch.Add(time.Duration(seconds) * time.Second)), seconds
}

// prompt is a policy without waiting.
func prompt() Policy {
	p := DefaultPolicy()
	p.Delay, p.WarmUp = 0, 0
	return p
}

// by returns a probability of failing for each track.
func by(baseline, canary float64) func(int, gatewarden.Track) float64 {
	return func(_ int, t gatewarden.Track) float64 { return [2]float64{baseline, canary}[t] }
}

func TestHealthyCanariesAreNeverFailed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*traffic){
		"plain": func(*traffic) {},
		"an outage of both tracks": func(tr *traffic) {
			tr.failing = func(s int, _ gatewarden.Track) float64 {
				if s >= 100 && s < 130 {
					return 0.7
				}
				return 0.001
			}
			tr.slowness = func(s int, _ gatewarden.Track) float64 {
				if s >= 200 && s < 240 {
					return 6
				}
				return 1
			}
		},
		"five clients that fail again and again": func(tr *traffic) {
			tr.clients, tr.failing = 5, by(0.3, 0.3)
		},
		"one client of the canary whose requests all fail": func(tr *traffic) {
			last := -1
			tr.observe = func(s int, o *gatewarden.Observation) {
				if s > last && o.Track == Canary {
					last = s
					o.Client, o.Failed, o.Latency = "broken", true, gatewarden.NoLatency
				}
			}
		},
		"most traffic on the canary": func(tr *traffic) { tr.share = 0.8 },
		"no history":                 func(tr *traffic) { tr.history = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				tr := newTraffic(seed)
				tr.rate = 60
				change(tr)
				p := prompt()
				p.MinDuration = p.Deadline // so that no pass ends it early
				if v, at := tr.run(t, p, 300); v.State != gatewarden.Inconclusive {
					t.Errorf("seed %d: %s after %d s: %s", seed, v.State, at, v.Reason)
				}
			}
		})
	}
}

func TestBadCanariesAreFound(t *testing.T) {
	t.Parallel()
	onlyCanary := func(f float64) func(int, gatewarden.Track) float64 {
		return func(_ int, t gatewarden.Track) float64 { return [2]float64{1, f}[t] }
	}
	for name, c := range map[string]struct {
		change  func(*traffic)
		median  int // seconds, of five seeds
		leading string
	}{
		"half of its requests fail":         {func(tr *traffic) { tr.failing = by(0.001, 0.5) }, 12, "errors"},
		"ten times the errors":              {func(tr *traffic) { tr.failing = by(0.001, 0.01) }, 75, "errors"},
		"a fifth slower":                    {func(tr *traffic) { tr.slowness = onlyCanary(1.2) }, 75, "latency"},
		"twice as slow":                     {func(tr *traffic) { tr.slowness = onlyCanary(2) }, 20, "latency"},
		"five addresses, ten times as much": {func(tr *traffic) { tr.clients, tr.failing = 5, by(0.001, 0.01) }, 140, "errors"},
		"a few requests hang": {func(tr *traffic) {
			n := 0
			tr.observe = func(s int, o *gatewarden.Observation) {
				if n++; s >= 0 && o.Track == Canary && !o.Failed && n%50 == 0 {
					o.Latency += time.Second
				}
			}
		}, 40, "latency_tail"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var delays []int
			for seed := range uint64(5) {
				tr := newTraffic(seed)
				c.change(tr)
				v, at := tr.run(t, prompt(), 300)
				if v.State != gatewarden.Breach || !strings.HasPrefix(v.Leading, c.leading) {
					t.Errorf("seed %d: %s by %q: %s", seed, v.State, v.Leading, v.Reason)
				}
				if len(v.Suspects) == 0 && c.leading == "errors" {
					t.Errorf("seed %d: no suspects", seed)
				}
				delays = append(delays, at)
			}
			slices.Sort(delays)
			if delays[2] > c.median {
				t.Errorf("found after %v s, want a median of %d s", delays, c.median)
			}
		})
	}
}

func TestLateTroubleIsFoundAfterAPass(t *testing.T) {
	tr := newTraffic(3)
	const onset = 600
	tr.failing = func(s int, k gatewarden.Track) float64 {
		if s >= onset && k == Canary {
			return 0.02
		}
		return 0.001
	}
	j := begin(t, tr, prompt())
	passed := 0
	for s := range 800 {
		tr.second(j, s)
		switch v := j.Verdict(epoch.Add(time.Duration(s+1) * time.Second)); {
		case v.State == gatewarden.Healthy && passed == 0:
			passed = s + 1
		case v.State == gatewarden.Breach:
			if passed < 300 || passed >= onset {
				t.Errorf("it passed at %d s", passed)
			}
			if s < onset || s > onset+90 {
				t.Errorf("found at %d s, the trouble began at %d s", s, onset)
			}
			return
		}
	}
	t.Error("not found")
}

func TestAPassNeedsEvidence(t *testing.T) {
	t.Run("a quiet service has none", func(t *testing.T) {
		tr := newTraffic(1)
		tr.rate = 2
		v, _ := tr.run(t, prompt(), 1801)
		if v.State != gatewarden.Inconclusive || !v.Over || !strings.Contains(v.Reason, "deadline") {
			t.Errorf("%s, over %v: %s", v.State, v.Over, v.Reason)
		}
	})
	t.Run("a canary in an outage of both has none", func(t *testing.T) {
		tr := newTraffic(1)
		tr.failing = by(0.001, 0.01) // bad, and hidden by outages most of the time
		worse := tr.failing
		tr.failing = func(s int, k gatewarden.Track) float64 {
			if s >= 0 && s%90 >= 10 && s%90 < 70 {
				return 0.5
			}
			return worse(s, k)
		}
		p := prompt()
		p.FalseAlarm = 1e-9 // so that failing does not end it
		if v, at := tr.run(t, p, 700); v.State != gatewarden.Inconclusive {
			t.Errorf("%s after %d s: %s", v.State, at, v.Reason)
		}
	})
	t.Run("a healthy canary passes", func(t *testing.T) {
		v, at := newTraffic(1).run(t, prompt(), 900)
		if v.State != gatewarden.Healthy || at < 300 {
			t.Errorf("%s after %d s: %s", v.State, at, v.Reason)
		}
	})
}

func TestAVerdictShowsTheDistribution(t *testing.T) {
	tr := newTraffic(1)
	j := begin(t, tr, prompt())
	for s := range 60 {
		tr.second(j, s)
	}
	v := j.Verdict(epoch.Add(time.Minute))
	for name, c := range map[string]gatewarden.TrackCounts{"baseline": v.Baseline, "canary": v.Canary} {
		if len(c.Latencies) != len(gatewarden.LatencyPercents()) || !slices.IsSorted(c.Latencies) || c.Latencies[4] != c.P50 || c.Latencies[8] != c.P99 {
			t.Errorf("%s: %v, p50 %s, p99 %s", name, c.Latencies, c.P50, c.P99)
		}
	}
	if v := begin(t, newTraffic(2), prompt()).Verdict(epoch.Add(time.Second)); v.Canary.Latencies != nil {
		t.Errorf("latencies without requests: %v", v.Canary.Latencies)
	}
}

func TestWarmUpIsForLatenciesOnly(t *testing.T) {
	p := prompt()
	p.WarmUp = time.Minute
	slow := newTraffic(1)
	slow.slowness = func(s int, k gatewarden.Track) float64 {
		if s < 60 && k == Canary {
			return 5
		}
		return 1
	}
	if v, at := slow.run(t, p, 200); v.State != gatewarden.Inconclusive {
		t.Errorf("slow while it warms up: %s after %d s: %s", v.State, at, v.Reason)
	}
	failing := newTraffic(1)
	failing.failing = by(0.001, 0.5)
	if v, at := failing.run(t, p, 60); v.State != gatewarden.Breach {
		t.Errorf("failing while it warms up: %s after %d s: %s", v.State, at, v.Reason)
	}
}

func TestTheSplitIsChecked(t *testing.T) {
	run := func(actual func(s int) float64) gatewarden.CanaryVerdict {
		tr := newTraffic(1)
		j := begin(t, tr, prompt())
		j.SetSplit(epoch.Add(50*time.Second), 0.25)
		for s := range 150 {
			tr.share = actual(s)
			tr.second(j, s)
		}
		return j.Verdict(epoch.Add(150 * time.Second))
	}
	steps := func(second, late int, a, b float64) float64 {
		if second < 50+late {
			return a
		}
		return b
	}
	if v := run(func(s int) float64 { return steps(s, 2, 0.1, 0.25) }); v.Split.Mismatch {
		t.Errorf("a split that is as configured, two seconds later: %+v", v.Split)
	}
	if v := run(func(s int) float64 { return steps(s, 0, 0.1, 0.4) }); !v.Split.Mismatch || v.Split.Large {
		t.Errorf("40 %% instead of 25 %%: %+v", v.Split)
	}
	v := run(func(s int) float64 { return steps(s, 0, 0.1, 0.9) })
	if !v.Split.Large || v.State != gatewarden.Inconclusive || !strings.Contains(v.Reason, "25 % is configured") {
		t.Errorf("90 %% instead of 25 %%: %s: %s, %+v", v.State, v.Reason, v.Split)
	}
}

func TestNothingToCompareIsNoVerdict(t *testing.T) {
	for want, share := range map[string]float64{"the canary has taken no requests": 0, "the baseline has taken no requests": 1} {
		tr := newTraffic(1)
		tr.share, tr.history = share, 0
		tr.failing = by(0.5, 0.5)
		j := begin(t, tr, prompt())
		j.SetSplit(epoch, 2) // not known
		for s := range 100 {
			tr.second(j, s)
		}
		if v := j.Verdict(epoch.Add(100 * time.Second)); v.State != gatewarden.Inconclusive || !strings.Contains(v.Reason, want) {
			t.Errorf("%s: %s", v.State, v.Reason)
		}
	}
}

func TestSilenceIsNoPass(t *testing.T) {
	tr := newTraffic(1)
	j := begin(t, tr, prompt())
	for s := range 250 {
		tr.second(j, s)
		j.Advance(epoch.Add(time.Duration(s+1) * time.Second))
	}
	for s := 250; s < 900; s++ {
		if v := j.Verdict(epoch.Add(time.Duration(s) * time.Second)); v.State != gatewarden.Inconclusive {
			t.Fatalf("%s after %d s, %d s of them silent: %s", v.State, s, s-250, v.Reason)
		}
	}
	if v := j.Verdict(epoch.Add(900 * time.Second)); !strings.Contains(v.Reason, "no requests since 09:04:09") {
		t.Errorf("the reason is %q", v.Reason)
	}
}

// A canary with more of the slow route is not slower.
func TestRoutesAreComparedWithThemselves(t *testing.T) {
	mixed := func(canarySlow float64) func(int, *gatewarden.Observation) {
		rng := rand.New(rand.NewPCG(9, 9))
		return func(s int, o *gatewarden.Observation) {
			share := 0.1
			if o.Track == Canary {
				share = canarySlow
			}
			if rng.Float64() < share {
				o.Route = "report"
				if o.Latency >= 0 {
					o.Latency *= 8
				}
				o.Failed = rng.Float64() < 0.05
			}
		}
	}
	tr := newTraffic(1)
	tr.observe = mixed(0.6)
	p := prompt()
	p.MinDuration = p.Deadline
	if v, at := tr.run(t, p, 300); v.State != gatewarden.Inconclusive {
		t.Errorf("another mix of routes: %s after %d s: %s", v.State, at, v.Reason)
	}
}

// begin returns a judge that has seen the history.
func begin(t testing.TB, tr *traffic, p Policy) *Judge {
	t.Helper()
	j, err := New(p, epoch)
	if err != nil {
		t.Fatal(err)
	}
	j.SetSplit(epoch, tr.share)
	for s := -tr.history; s < 0; s++ {
		tr.second(j, s)
		j.Advance(epoch.Add(time.Duration(s+1) * time.Second))
	}
	return j
}
