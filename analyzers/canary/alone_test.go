package canary

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// aloneTraffic is traffic of a canary whose baseline is silent since the start.
func aloneTraffic(seed uint64, failing float64) (*traffic, Policy) {
	tr := newTraffic(seed)
	tr.rate, tr.share = 40, 1
	tr.failing = by(0.001, failing)
	p := prompt()
	p.Absolute = &Absolute{MaxErrors: 0.01, MaxLatency: 300 * time.Millisecond, MaxSlow: 0.05}
	return tr, p
}

// rollouts judges some seeds and returns how many came to the state, and the last verdict.
func rollouts(t *testing.T, seeds uint64, state gatewarden.State, seconds int, of func(seed uint64) (*traffic, Policy)) (int, gatewarden.CanaryVerdict) {
	t.Helper()
	n := 0
	var last gatewarden.CanaryVerdict
	for seed := range seeds {
		tr, p := of(seed)
		if last, _ = tr.run(t, p, seconds); last.State == state {
			n++
		}
	}
	return n, last
}

func TestACanaryWithoutBaselineIsJudgedByItsOwnLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failing float64
		slow    float64
		change  func(*Policy)
		want    gatewarden.State
		reason  string
	}{
		"well within them":             {0.001, 1, nil, gatewarden.Healthy, "no baseline to compare with: 0."},
		"too many failures":            {0.05, 1, nil, gatewarden.Breach, "1 % is allowed"},
		"all fail":                     {1, 1, nil, gatewarden.Breach, "beyond its own limits"},
		"too slow":                     {0.001, 4, nil, gatewarden.Breach, "may take longer than 300ms"},
		"failing exactly as allowed":   {0.01, 1, nil, gatewarden.Inconclusive, "judged by its own limits only"},
		"slow, when only errors count": {0.001, 4, func(p *Policy) { p.Absolute.MaxLatency, p.Absolute.MaxSlow = 0, 0 }, gatewarden.Healthy, ""},
		"no limits are given":          {0.5, 1, func(p *Policy) { p.Absolute = nil }, gatewarden.Inconclusive, "has no limits of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, v := rollouts(t, 3, c.want, 500, func(seed uint64) (*traffic, Policy) {
				tr, p := aloneTraffic(seed, c.failing)
				tr.slowness = func(int, gatewarden.Track) float64 { return c.slow }
				if c.change != nil {
					c.change(&p)
				}
				return tr, p
			})
			if n != 3 || !strings.Contains(v.Reason, c.reason) {
				t.Errorf("%d of 3 are %s: %s", n, c.want, v.Reason)
			}
			if alone := c.reason != "has no limits of its own"; v.Absolute != alone {
				t.Errorf("absolute is %v: %s", v.Absolute, v.Reason)
			}
		})
	}
}

// One bad moment, however bad, is not held against a canary that has no baseline either.
func TestAMomentAloneFailsNoRun(t *testing.T) {
	tr, p := aloneTraffic(1, 0)
	tr.failing = func(s int, _ gatewarden.Track) float64 {
		if s == 60 || s == 61 {
			return 1
		}
		return 0.001
	}
	p.MinDuration = p.Deadline
	if v, at := tr.run(t, p, 200); v.State != gatewarden.Inconclusive {
		t.Errorf("%s after %d s: %s", v.State, at, v.Reason)
	}
}

// When the baseline comes after all, the comparison takes over: trouble of both is not
// held against the canary, even if it was beyond its own limits before.
func TestTheComparisonTakesOver(t *testing.T) {
	tr, p := aloneTraffic(1, 0)
	p.FalseAlarm = 1e-9
	tr.failing = by(0.04, 0.04)
	j := begin(t, tr, p)
	j.SetSplit(epoch, 2) // not known
	var before gatewarden.CanaryVerdict
	for s := range 400 {
		if s == 50 {
			before = j.Verdict(epoch.Add(50 * time.Second))
			tr.share = 0.2
		}
		tr.second(j, s)
	}
	v := j.Verdict(epoch.Add(400 * time.Second))
	if !before.Absolute || before.Evidence < 1 || before.Leading != "errors_alone" {
		t.Errorf("before it came: absolute %v, evidence %v by %q", before.Absolute, before.Evidence, before.Leading)
	}
	if v.Absolute || v.Evidence > 0.5 || len(v.Checks) != int(checkCount) {
		t.Errorf("absolute %v, evidence %v, %d checks: %s", v.Absolute, v.Evidence, len(v.Checks), v.Reason)
	}
}

// A baseline that is there from the start leaves the limits without any effect.
func TestLimitsDoNotMatterWhileThereIsABaseline(t *testing.T) {
	p := prompt()
	a, _ := New(p, epoch)
	p.Absolute = &Absolute{MaxErrors: 1e-6, MaxLatency: time.Millisecond, MaxSlow: 1e-6}
	b, _ := New(p, epoch)
	tr := newTraffic(1)
	tr.rate = 50
	for s := range 100 {
		for _, o := range collect(tr, s) {
			a.Add(&o)
			b.Add(&o)
		}
		at := epoch.Add(time.Duration(s+1) * time.Second)
		if x, y := verdictText(t, a, at), verdictText(t, b, at); x != y {
			t.Fatalf("after %d s they differ:\n%s\n%s", s, x, y)
		}
	}
}

// The promise of a canary alone: at its limits it is failed seldom, however its failures
// cluster within a block.
func TestTheLimitsPromise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	failed := 0
	const runs = 400
	for range runs {
		c := newAloneCheck()
		for range 300 { // ten minutes of blocks of two seconds
			bad := uint64(0)
			if rng.Float64() < 0.01*2 { // in one block of fifty half of the requests fail, so that a hundredth does
				bad = 40
			}
			c.Age = 1
			if c.add(80, bad, 2, 0.01, laterStarts/300, 1, 1); c.Fail.Log() >= 4.605 {
				failed++
				break
			}
		}
	}
	if failed > 4+6 {
		t.Errorf("%d of %d are failed, 1 %% is promised", failed, runs)
	}
}

// Where all requests come through a proxy or two, failures are those of one client or two,
// and each of them fails again and again: that is its users' trouble, not a client's own.
func TestACanaryAloneBehindAProxyIsJudged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		clients int
		failing float64
		want    gatewarden.State
	}{
		"one proxy, all requests fail":          {1, 1, gatewarden.Breach},
		"one proxy, too many fail":              {1, 0.05, gatewarden.Breach},
		"two proxies, all requests fail":        {2, 1, gatewarden.Breach},
		"five proxies, all requests fail":       {5, 1, gatewarden.Breach},
		"one proxy, well within the limit":      {1, 0.001, gatewarden.Healthy},
		"one proxy, failing just as allowed":    {1, 0.01, gatewarden.Inconclusive},
		"five proxies, failing just as allowed": {5, 0.01, gatewarden.Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, v := rollouts(t, 3, c.want, 500, func(seed uint64) (*traffic, Policy) {
				tr, p := aloneTraffic(seed, c.failing)
				tr.clients, tr.history = c.clients, 0
				return tr, p
			})
			if n != 3 {
				t.Errorf("%d of 3 are %s: %s", n, c.want, v.Reason)
			}
		})
	}
}

// A client whose requests all fail while others are served well is not what a canary is
// rolled back for, with a baseline or without.
func TestOneBrokenClientFailsNoCanaryAlone(t *testing.T) {
	tr, p := aloneTraffic(1, 0.001)
	last := -1
	tr.observe = func(s int, o *gatewarden.Observation) {
		if s > last {
			last = s
			o.Client, o.Failed, o.Latency = "broken", true, gatewarden.NoLatency
		}
	}
	p.MinDuration = p.Deadline
	if v, at := tr.run(t, p, 400); v.State != gatewarden.Inconclusive || v.Canary.Ratio < p.Absolute.MaxErrors {
		t.Errorf("%s after %d s: %s", v.State, at, v.Reason)
	}
}

// The promise holds behind one proxy too: at the limit, with failures that come in bursts
// of a second, few are failed.
func TestTheLimitsPromiseBehindAProxy(t *testing.T) {
	t.Parallel()
	failed := 0
	const runs = 60
	for seed := range uint64(runs) {
		tr, p := aloneTraffic(seed, 0)
		tr.clients, tr.rate, tr.history = 1, 20, 0
		burst := map[int]bool{}
		tr.failing = func(s int, _ gatewarden.Track) float64 {
			if _, known := burst[s]; !known {
				burst[s] = tr.rng.Float64() < 0.02
			}
			if burst[s] {
				return 0.5
			}
			return 0
		}
		p.MinDuration, p.FalseAlarm = p.Deadline, 0.05
		if v, _ := tr.run(t, p, 300); v.State == gatewarden.Breach {
			failed++
		}
	}
	if failed > 7 { // 3 are expected at most; more than 7 have a probability below 2 %
		t.Errorf("%d of %d are failed, 5 %% is promised", failed, runs)
	}
}
