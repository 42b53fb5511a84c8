package main

import (
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/canary"
)

// judge is one way of judging a rollout. see is called for every second from the history
// on and reports whether the canary is rolled back at its end.
type judge interface {
	see(s *second) bool
}

// entry is a judge of the table.
type entry struct {
	name    string
	oracle  bool // knows what nobody does: only for bad canaries, and only from the onset on
	errors  bool // has nothing to say on latency
	prepare func(s *scenario) judge
}

// entries are the columns of the table. The shipped judge comes first.
func entries(p canary.Policy) []entry {
	return []entry{
		{name: "gatewarden", prepare: func(s *scenario) judge { return newShipped(p, s) }},
		{name: "oracle O1", oracle: true, prepare: func(*scenario) judge { return &oracle1{} }},
		{name: "oracle O2", oracle: true, errors: true, prepare: func(s *scenario) judge { return &oracle2{odds: s.odds} }},
		{name: "naive-E", prepare: func(*scenario) judge { return newNaive() }},
		{name: "z/min", prepare: func(*scenario) judge { return &zTest{} }},
		{name: "Kayenta/min", prepare: func(*scenario) judge { return &kayenta{from: 5, every: 1} }},
		{name: "Kayenta@30", prepare: func(*scenario) judge { return &kayenta{from: 30, every: 30} }},
		{name: "Flagger", prepare: func(*scenario) judge { return &flagger{} }},
		{name: "Argo", prepare: func(*scenario) judge { return &argo{} }},
	}
}

// shipped is the project's own judge.
type shipped struct {
	judge *canary.Judge
	mail  mail
	share float64
	pass  int // the second of the pass, 0 for none
	loose int // when the evidence reached 20, the threshold of a false alarm of 5 %
}

func newShipped(p canary.Policy, s *scenario) *shipped {
	j, err := canary.New(p, epoch)
	if err != nil {
		panic(err) // the flags were checked
	}
	return &shipped{judge: j, share: -1, mail: newMail(s)}
}

func (w *shipped) see(s *second) bool {
	if s.t >= 0 && s.share != w.share {
		w.share = s.share
		w.judge.SetSplit(epoch.Add(time.Duration(s.t)*time.Second), s.share)
	}
	w.mail.deliver(s, w.judge.Add)
	at := epoch.Add(time.Duration(s.t+1) * time.Second)
	if s.t < 0 {
		w.judge.Advance(at)
		return false
	}
	state, evidence := w.judge.Standing(at)
	if state == gatewarden.Healthy && w.pass == 0 {
		w.pass = s.t + 1
	}
	if evidence >= math.Log10(20) && w.loose == 0 {
		w.loose = s.t + 1
	}
	return state == gatewarden.Breach
}

// bound is the evidence that the oracles ask for: as for a false alarm of 1 %.
var bound = math.Log(100)

// oracle1 is the sequential probability ratio test that knows everything: the rates, the
// effect, its onset, the density of latencies. Nothing can be faster on independent
// requests.
type oracle1 struct{ log float64 }

func (o *oracle1) see(s *second) bool {
	o.log += s.likely
	return o.log >= bound
}

// oracle2 knows the effect and its onset but not the error rate that both tracks share:
// the bound for anything that an outage of both must not move.
type oracle2 struct{ odds, log float64 }

func (o *oracle2) see(s *second) bool {
	share := s.share
	q := o.odds * share / (o.odds*share + 1 - share)
	o.log += float64(s.primary[canary.Canary])*math.Log(q/share) + float64(s.primary[canary.Baseline])*math.Log((1-q)/(1-share))
	return o.log >= bound
}

// zTest is the pooled test of two proportions at 5 %, one-sided, on all counts so far,
// looked at once a minute: failures, and latencies above the baseline's p95.
type zTest struct {
	n, failed [2]float64
	latency   [2][]int32 // by millisecond
	samples   [2]float64
}

// slowest is the longest latency, in milliseconds, that samples tell apart.
const slowest = 20000

func (z *zTest) see(s *second) bool {
	if s.t < 0 {
		return false
	}
	if z.latency[0] == nil {
		z.latency[0], z.latency[1] = make([]int32, slowest), make([]int32, slowest)
	}
	for i := range s.requests {
		o := &s.requests[i]
		z.n[o.Track]++
		if o.Failed {
			z.failed[o.Track]++
			continue
		}
		z.latency[o.Track][min(o.Latency.Milliseconds(), slowest-1)]++
		z.samples[o.Track]++
	}
	if (s.t+1)%60 != 0 {
		return false
	}
	rank, limit := 0.95*z.samples[0], 0
	for sum := 0.0; limit < slowest-1 && sum+float64(z.latency[0][limit]) < rank; limit++ {
		sum += float64(z.latency[0][limit])
	}
	var above [2]float64
	for t := range above {
		for _, n := range z.latency[t][limit+1:] {
			above[t] += float64(n)
		}
	}
	return pooled(z.n, z.failed) > z95 || pooled(z.samples, above) > z95
}

const z95 = 1.6448536269514722

func pooled(n, x [2]float64) float64 {
	p := (x[0] + x[1]) / (n[0] + n[1])
	if !(p > 0 && p < 1 && n[0] > 0 && n[1] > 0) {
		return 0
	}
	return (x[1]/n[1] - x[0]/n[0]) / math.Sqrt(p*(1-p)*(1/n[0]+1/n[1]))
}

// minute is what tools read from Prometheus once a minute, by track.
type minute struct {
	n, failed [2]float64
	p50, p99  [2]float64 // of the latencies, in milliseconds
	samples   [2]int     // latencies: without one there is no quantile
}

// gatherer makes the minutes of a rollout, once for all judges that look at them.
type gatherer struct {
	now     minute
	latency [2][]float64
}

// see returns the minute that ends with the given second, nil within one.
func (g *gatherer) see(s *second) *minute {
	if s.t < 0 {
		return nil
	}
	for i := range s.requests {
		o := &s.requests[i]
		g.now.n[o.Track]++
		if o.Failed {
			g.now.failed[o.Track]++
		} else {
			g.latency[o.Track] = append(g.latency[o.Track], s.millis[i])
		}
	}
	if (s.t+1)%60 != 0 {
		return nil
	}
	m := g.now
	for t, l := range g.latency {
		if m.samples[t] = len(l); len(l) > 0 {
			m.p50[t], m.p99[t] = nth(l, len(l)/2), nth(l, min(int(0.99*float64(len(l))), len(l)-1))
		}
		g.latency[t] = l[:0]
	}
	g.now = minute{}
	return &m
}

// nth returns the value that would stand at index k if l were sorted; it changes the
// order of l (Hoare's quickselect).
func nth(l []float64, k int) float64 {
	for lo, hi := 0, len(l)-1; lo < hi; {
		pivot := l[(lo+hi)/2]
		i, j := lo, hi
		for i <= j {
			for l[i] < pivot {
				i++
			}
			for l[j] > pivot {
				j--
			}
			if i <= j {
				l[i], l[j] = l[j], l[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return l[k]
		}
	}
	return l[k]
}

// flagger has Flagger's rule with its documented numbers: each minute the success rate
// must be 99 % and p99 500 ms; the fifth failed check rolls back at the next one.
type flagger struct{ failures int }

func (f *flagger) see(s *second) bool {
	m := s.minute
	if m == nil {
		return false
	}
	if f.failures >= 5 {
		return true
	}
	if n := m.n[canary.Canary]; n > 0 && (1-m.failed[canary.Canary]/n < 0.99 || m.samples[canary.Canary] > 0 && m.p99[canary.Canary] > 500) {
		f.failures++
	}
	return false
}

// argo has the rule of Argo Rollouts' documented example: every five minutes a success
// rate of 95 %, and more than three failures abort.
type argo struct {
	n, failed float64
	failures  int
}

func (a *argo) see(s *second) bool {
	if s.t < 0 {
		return false
	}
	a.n += float64(s.n[canary.Canary])
	a.failed += float64(s.failed[canary.Canary])
	if (s.t+1)%300 != 0 {
		return false
	}
	if a.n > 0 && 1-a.failed/a.n < 0.95 {
		a.failures++
	}
	a.n, a.failed = 0, 0
	return a.failures > 3
}
