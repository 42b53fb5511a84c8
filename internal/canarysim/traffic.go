package main

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/canary"
)

// The shop of the simulation: what all scenarios share unless they say otherwise.
const (
	medianMillis = 50.0
	baselinePods = 9
	stickyUsers  = 500
)

// epoch is when every run starts; nothing depends on it.
var epoch = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

// second is what one second of a rollout held.
type second struct {
	t        int // since the start, in seconds; negative before it
	share    float64
	requests []gatewarden.Observation
	millis   []float64 // their latencies, exact: tools read quantiles that are interpolated, so rounding would wrong them
	likely   float64   // log likelihood ratio of "bad as it is" against "healthy", of the canary's requests
	primary  [2]int    // failures that are no retries, by track
	n        [2]int
	failed   [2]int
}

// rollout makes the requests of one rollout, second by second.
type rollout struct {
	*scenario
	rng     *rand.Rand
	users   []float64 // where a user falls on the scale of the split: below the share, on the canary
	names   []string
	pods    []string
	retries map[int][]int             // by second: users who try again
	stalled [baselinePods + 1]int     // until when
	podRate [baselinePods + 1]float64 // factor on the failure ratio
	outage  outage
	poison  bool // the poisoned user is on the canary
	drift   float64
	now     second
}

// outage is trouble of both tracks alike.
type outage struct {
	until   int
	failing float64
	slower  float64
}

func newRollout(s *scenario, seed uint64) *rollout {
	r := &rollout{scenario: s, rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), retries: map[int][]int{}}
	users := stickyUsers
	if s.clients > 0 {
		users = s.clients
	}
	// Every split finds its exact part of the users, in a random order.
	for i, at := range r.rng.Perm(users) {
		r.users = append(r.users, (float64(at)+0.5)/float64(users))
		r.names = append(r.names, "10.1."+strconv.Itoa(i/250)+"."+strconv.Itoa(i%250))
	}
	for i := range baselinePods + 1 {
		r.pods = append(r.pods, "10.0.0."+strconv.Itoa(i)+":8080")
		r.podRate[i] = 1
		r.stalled[i] = -s.history
	}
	r.outage.until = -s.history
	r.poison = r.rng.Float64() < s.share(0)
	return r
}

// next makes second t.
func (r *rollout) next(t int) *second {
	r.now = second{t: t, requests: r.now.requests[:0], millis: r.now.millis[:0]}
	if t >= 0 {
		r.now.share = r.share(t)
	}
	r.events(t)
	for range r.poisson(r.rate) {
		r.request(r.rng.IntN(len(r.users)), true)
	}
	for _, user := range r.retries[t] {
		r.request(user, false)
	}
	delete(r.retries, t)
	if r.poisoned {
		r.poisonRequest()
	}
	return &r.now
}

// events lets outages, stalls and pods' troubles begin and end.
func (r *rollout) events(t int) {
	if r.outages && t >= r.outage.until && r.rng.Float64() < 1.0/300 {
		r.outage = outage{until: t + 5 + r.rng.IntN(56), failing: 0.05 + 0.95*r.rng.Float64(), slower: 1.5 + 6*r.rng.Float64()}
	}
	if r.drifting {
		r.drift = 0.4 * math.Sin(2*math.Pi*float64(t)/700)
	}
	for pod := range r.podRate {
		if r.stalls && t >= r.stalled[pod] && r.rng.Float64() < 1.0/120 {
			r.stalled[pod] = t + 1 + r.rng.IntN(3)
		}
		if r.podGamma && (t%10 == 0 || t == -r.history) {
			r.podRate[pod] = r.rng.ExpFloat64()
		}
	}
}

// track says where a user's request goes.
func (r *rollout) track(user int) gatewarden.Track {
	at := r.users[user]
	if r.clients > 0 { // a few addresses with many people behind each: the balancer decides by request
		at = r.rng.Float64()
	}
	if at < r.now.share {
		return canary.Canary
	}
	return canary.Baseline
}

// failing returns the probability that a request fails, and what it would be if the
// canary were healthy.
func (r *rollout) failing(track gatewarden.Track, pod int) (p, healthy float64) {
	p, healthy = r.errors(r.now.t), r.errors(r.now.t)
	if track == canary.Canary && r.now.t >= r.onset {
		p = r.badErrors(r.now.t, p)
	}
	if r.now.t < r.outage.until {
		p, healthy = 1-(1-p)*(1-r.outage.failing), 1-(1-healthy)*(1-r.outage.failing)
	}
	return min(p*r.podRate[pod], 1), min(healthy*r.podRate[pod], 1)
}

// request makes one request. A retry always fails.
func (r *rollout) request(user int, first bool) {
	track := r.track(user)
	pod := user % baselinePods
	if track == canary.Canary {
		pod = baselinePods
	}
	o := gatewarden.Observation{
		At: epoch.Add(time.Duration(r.now.t)*time.Second + time.Duration(r.rng.IntN(1000))*time.Millisecond), Track: track,
		Route: "list", Client: r.names[user], Target: r.pods[pod], Latency: gatewarden.NoLatency,
	}
	failed := !first
	if first {
		p, healthy := r.failing(track, pod)
		if r.retryMean > 0 {
			p, healthy = p/r.retryMean, healthy/r.retryMean // the mean ratio counts the retries too
		}
		failed = r.rng.Float64() < p
		if track == canary.Canary && r.now.t >= r.onset {
			r.now.likely += bernoulli(failed, p, healthy)
		}
		if failed {
			r.now.primary[track]++
			r.retry(user)
		}
	}
	o.Failed = failed
	ms := 0.0
	if !failed {
		ms = r.latency(track, pod)
		o.Latency = time.Duration(ms) * time.Millisecond // Kong logs whole milliseconds
	}
	r.add(o, ms)
}

func (r *rollout) add(o gatewarden.Observation, ms float64) {
	r.now.n[o.Track]++
	if o.Failed {
		r.now.failed[o.Track]++
	}
	r.now.requests = append(r.now.requests, o)
	r.now.millis = append(r.now.millis, ms)
}

// retry lets a user who has failed try again, so that the failures of a run number
// retryMean on average, half a second apart.
func (r *rollout) retry(user int) {
	for k := 1; r.retryMean > 0 && r.rng.Float64() > 1/r.retryMean; k++ {
		at := r.now.t + (k+1)/2
		r.retries[at] = append(r.retries[at], user)
	}
}

// latency draws a latency in milliseconds.
func (r *rollout) latency(track gatewarden.Track, pod int) float64 {
	z := r.rng.NormFloat64()
	factor := math.Exp(r.drift)
	if r.now.t < r.outage.until {
		factor *= r.outage.slower
	}
	if track == canary.Canary && r.now.t >= r.onset {
		if r.tail > 0 {
			r.now.likely += tailLikelihood(z, r.sigma, r.tail)
			if z > tailZ {
				factor *= r.tail
			}
		} else if r.slower != 0 && r.slower != 1 {
			shift := math.Log(r.slower) / r.sigma
			r.now.likely += ((z+shift)*(z+shift) - z*z) / 2
			factor *= r.slower
		}
	}
	ms := medianMillis * math.Exp(r.sigma*z) * factor
	if r.now.t < r.stalled[pod] {
		ms += 400
	}
	return ms
}

// poisonRequest is the request that one user's broken client sends each second.
func (r *rollout) poisonRequest() {
	o := gatewarden.Observation{
		At: epoch.Add(time.Duration(r.now.t)*time.Second + 500*time.Millisecond), Route: "list", Client: "10.9.9.9",
		Target: r.pods[0], Failed: true, Latency: gatewarden.NoLatency,
	}
	if r.now.t >= 0 && r.poison {
		o.Track, o.Target = canary.Canary, r.pods[baselinePods]
	}
	r.add(o, 0)
}

// poisson draws the number of requests of a second.
func (r *rollout) poisson(mean float64) int {
	if mean > 50 {
		return max(int(math.Round(mean+math.Sqrt(mean)*r.rng.NormFloat64())), 0)
	}
	n, limit := 0, math.Exp(-mean)
	for p := r.rng.Float64(); p > limit; p *= r.rng.Float64() {
		n++
	}
	return n
}

// bernoulli returns the log likelihood ratio of p against q.
func bernoulli(failed bool, p, q float64) float64 {
	switch {
	case p == q:
		return 0
	case failed:
		return math.Log(p / max(q, 1e-9))
	}
	return math.Log((1 - p) / (1 - q))
}

// tailZ is the quantile of the normal distribution beyond which 1.5 % lie.
const tailZ = 2.1700903775845606

// tailLikelihood is the log likelihood ratio of the latency that z turns into when those
// beyond tailZ are stretched by factor. Nothing falls between the quantile and its
// stretched place.
func tailLikelihood(z, sigma, factor float64) float64 {
	if z <= tailZ {
		return 0
	}
	stretched := z + math.Log(factor)/sigma
	return (stretched*stretched - z*z) / 2
}
