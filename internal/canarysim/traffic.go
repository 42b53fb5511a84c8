package main

import (
	"math"
	"math/rand/v2"
	"slices"
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
	minute   *minute // what was read at its end, nil but once a minute
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
	blip    [baselinePods + 1]int // until when all requests of the pod fail
	burst   int                   // until when many do, everywhere
	weights []float64             // of users, summed up; nil when all are alike
	poison  bool                  // the poisoned user is on the canary
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
		r.stalled[i], r.blip[i] = -s.history, -s.history
	}
	r.outage.until, r.burst = -s.history, -s.history
	if s.heavy { // the k-th has the weight 1/k
		var sum float64
		for i := range users {
			sum += 1 / float64(i+1)
			r.weights = append(r.weights, sum)
		}
	}
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
	for range r.poisson(r.rate * r.level(t)) {
		r.request(r.user(), true)
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

// level returns the factor on the rate.
func (r *rollout) level(t int) float64 {
	switch {
	case r.quiet != nil && r.quiet(t):
		return 0
	case r.tide > 0:
		return 1 + r.tide*math.Sin(2*math.Pi*float64(t)/1800)
	}
	return 1
}

// user returns who makes the next request.
func (r *rollout) user() int {
	if r.weights == nil {
		return r.rng.IntN(len(r.users))
	}
	at := r.rng.Float64() * r.weights[len(r.weights)-1]
	i, _ := slices.BinarySearch(r.weights, at)
	return min(i, len(r.users)-1)
}

// theRoute is that of a service with only one.
var theRoute = route{name: "list", slower: 1, errors: 1}

// route returns which route a request of the track takes.
func (r *rollout) route(track gatewarden.Track) *route {
	if r.routes == nil {
		return &theRoute
	}
	at := r.rng.Float64()
	for i := range r.routes {
		if at -= r.routes[i].mix[track]; at < 0 {
			return &r.routes[i]
		}
	}
	return &r.routes[len(r.routes)-1]
}

// events lets outages, stalls and pods' troubles begin and end.
func (r *rollout) events(t int) {
	if r.outages && t >= r.outage.until && r.rng.Float64() < 1.0/300 {
		r.outage = outage{until: t + 5 + r.rng.IntN(56), failing: 0.05 + 0.95*r.rng.Float64(), slower: 1.5 + 6*r.rng.Float64()}
	}
	if r.bursts && t >= r.burst && r.rng.Float64() < 1.0/60 {
		r.burst = t + 1
	}
	if r.drifting {
		r.drift = 0.4 * math.Sin(2*math.Pi*float64(t)/700)
	}
	for pod := range r.podRate {
		if r.stalls && t >= r.stalled[pod] && r.rng.Float64() < 1.0/120 {
			r.stalled[pod] = t + 1 + r.rng.IntN(3)
		}
		if r.blips > 0 && t >= r.blip[pod] && r.rng.Float64() < r.blips {
			r.blip[pod] = t + 1 + r.rng.IntN(3)
		}
		if r.podGamma && (t%10 == 0 || t == -r.history) {
			r.podRate[pod] = r.rng.ExpFloat64()
		}
	}
}

// track says where a user's request goes.
func (r *rollout) track(user int, first bool) gatewarden.Track {
	at := r.users[user]
	share := r.now.share
	if r.drifted != nil && r.now.t >= 0 {
		share = r.drifted(r.now.t)
	}
	if r.gone != nil && r.gone(r.now.t) {
		share = 0
	}
	if r.clients > 0 || r.wander && !first { // a few addresses with many people behind each: the balancer decides by request
		at = r.rng.Float64()
	}
	if at < share {
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
	track := r.track(user, first)
	pod := user % baselinePods
	if track == canary.Canary {
		pod = baselinePods
	}
	way := r.route(track)
	o := gatewarden.Observation{
		At: epoch.Add(time.Duration(r.now.t)*time.Second + time.Duration(r.rng.IntN(1000))*time.Millisecond), Track: track,
		Route: way.name, Client: r.names[user], Target: r.pods[pod], Latency: gatewarden.NoLatency,
	}
	failed := !first
	if first {
		p, healthy := r.failing(track, pod)
		p, healthy = min(p*way.errors, 1), min(healthy*way.errors, 1)
		if r.now.t < r.blip[pod] || r.now.t < r.burst && r.rng.Float64() < 0.3 {
			p, healthy = 1, 1
		}
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
		ms = r.latency(track, pod) * way.slower
		if r.hang > 0 && r.rng.Float64() < r.hang {
			ms = math.Inf(1)
		}
		if r.cut > 0 {
			ms = min(ms, r.cut)
		}
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
	if track == canary.Canary && r.now.t < r.cold {
		factor *= 1 + 2*float64(r.cold-r.now.t)/float64(r.cold)
	}
	median := r.median
	if median == 0 {
		median = medianMillis
	}
	ms := median * math.Exp(r.sigma*z) * factor
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
