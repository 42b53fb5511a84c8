package main

import (
	"math"
	"time"
)

// The scenarios of -hostile: what the table leaves out and real logs have.

var threeRoutes = []route{
	{"list", [2]float64{0.7, 0.4}, 1, 1},
	{"report", [2]float64{0.1, 0.4}, 12, 10},
	{"health", [2]float64{0.2, 0.2}, 0.05, 0},
}

func some(shares float64) func(int) float64 { return func(int) float64 { return shares } }

func everySeconds(period, length int) func(int) bool {
	return func(t int) bool { return (t%period+period)%period < length }
}

// hostileHealthy must not be rolled back.
func hostileHealthy() []*scenario {
	return []*scenario{
		healthy("h-half-rps", "0.5 rps, 2 % errors, 50/50", func(s *scenario) { s.rate, s.errors, s.share = 0.5, constant(0.02), some(0.5) }),
		healthy("h-5rps", "5 rps, 5 % errors", func(s *scenario) { s.rate, s.errors = 5, constant(0.05) }),
		healthy("h-1pc", "2,000 rps, 1 % on the canary", func(s *scenario) { s.rate, s.share = 2000, some(0.01) }),
		healthy("h-50pc", "200 rps, 50/50, 2 % errors", func(s *scenario) { s.share, s.errors = some(0.5), constant(0.02) }),
		healthy("h-5-errors", "5 % errors", func(s *scenario) { s.errors = constant(0.05) }),
		healthy("h-routes", "three routes, other mixes by track", func(s *scenario) { s.routes = threeRoutes }),
		healthy("h-tide", "rate rises and falls by 60 %, latency drifts", func(s *scenario) { s.tide, s.drifting = 0.6, true }),
		healthy("h-wander", "retries go to any track, 1 %", func(s *scenario) { s.errors, s.retryMean, s.wander = constant(0.01), 4, true }),
		healthy("h-heavy", "a few users make half of the requests, 1 %, they retry", func(s *scenario) { s.errors, s.heavy, s.retryMean = constant(0.01), true, 3 }),
		healthy("h-ties", "latencies of 1-5 ms in whole milliseconds", func(s *scenario) { s.median = 2 }),
		healthy("h-ties-1", "latencies below 1 ms", func(s *scenario) { s.median = 0.6 }),
		healthy("h-cut", "0.5 % of the requests hang until they are cut off at 5 s", func(s *scenario) { s.cut, s.hang = 5000, 0.005 }),
		healthy("h-bursts", "bursts of failures on both tracks", func(s *scenario) { s.bursts = true }),
		healthy("h-blips", "pods fail for 1-3 s, each once in 3 min", func(s *scenario) { s.blips = 1.0 / 180 }),
		healthy("h-blips-rare", "pods fail for 1-3 s, each once in 20 min", func(s *scenario) { s.blips = 1.0 / 1200 }),
		healthy("h-late", "records up to 5 s late, clocks off by 1 s", func(s *scenario) { s.delay, s.skew = 5, time.Second }),
		healthy("h-late-stalls", "the same, with stalls and pod errors", func(s *scenario) {
			s.delay, s.skew, s.stalls, s.podGamma, s.errors = 5, time.Second, true, true, constant(0.005)
		}),
		healthy("h-quiet", "no requests for 7 s of each 20", func(s *scenario) { s.quiet = everySeconds(20, 7) }),
		healthy("h-gone", "the canary loses its traffic for 5 min", func(s *scenario) { s.gone = func(t int) bool { return t > 200 && t < 500 } }),
		healthy("h-moved", "somebody else moves the split to 30 %", func(s *scenario) {
			s.drifted = func(t int) float64 { return 0.1 + 0.2*float64(min(max(t-300, 0), 1)) }
			s.errors = func(t int) float64 { return 0.001 + 0.01*math.Max(0, float64(t))/1800 }
		}),
		healthy("h-pods-2", "error rate by pod and 10 s, 2 %, 50/50", func(s *scenario) { s.podGamma, s.errors, s.share = true, constant(0.02), some(0.5) }),
		healthy("h-pods-rare", "error rate by pod and 10 s, 0.2 %", func(s *scenario) { s.podGamma, s.errors = true, constant(0.002) }),
		healthy("h-stalls-50", "stalls, 50/50", func(s *scenario) { s.stalls, s.share = true, some(0.5) }),
		healthy("h-stalls-new", "stalls, without history", func(s *scenario) { s.stalls, s.history = true, 0 }),
		healthy("h-pods-new", "error rate by pod, 0.5 %, without history", func(s *scenario) { s.podGamma, s.errors, s.history = true, constant(0.005), 0 }),
	}
}

// hostileBad must be found.
func hostileBad() []*scenario {
	return []*scenario{
		failing("b-half-rps", "0.5 rps, 50/50, errors 2 -> 50 %", 0.02, 0.5, func(s *scenario) { s.rate, s.share = 0.5, some(0.5) }),
		failing("b-1pc", "2,000 rps, 1 %, errors 0.1 -> 1 %", 0.001, 0.01, func(s *scenario) { s.rate, s.share = 2000, some(0.01) }),
		failing("b-50pc", "50/50, errors 0.1 -> 1 %", 0.001, 0.01, func(s *scenario) { s.share = some(0.5) }),
		failing("b-50pc-all", "50/50, half of the canary's requests fail", 0.001, 0.5, func(s *scenario) { s.share = some(0.5) }),
		slow("b-50pc-latency", "50/50, latency +20 %", 1.2, 0, func(s *scenario) { s.share = some(0.5) }),
		failing("b-5-errors", "errors 5 -> 10 %", 0.05, 0.1, nil),
		failing("b-routes", "three routes, errors x5", 0.001, 0.005, func(s *scenario) { s.routes = threeRoutes }),
		slow("b-routes-latency", "three routes, latency +30 %", 1.3, 0, func(s *scenario) { s.routes = threeRoutes }),
		slow("b-tide", "rate and latency rise and fall, latency +30 %", 1.3, 0, func(s *scenario) { s.tide, s.drifting = 0.6, true }),
		failing("b-wander", "retries go to any track, errors 1 -> 5 %", 0.01, 0.05, func(s *scenario) { s.retryMean, s.wander = 4, true }),
		failing("b-heavy", "a few users make half of the requests, errors 1 -> 5 %", 0.01, 0.05, func(s *scenario) { s.heavy, s.retryMean = true, 3 }),
		slow("b-ties", "latencies of 1-5 ms, +50 %", 1.5, 0, func(s *scenario) { s.median = 2 }),
		slow("b-ties-x2", "latencies below 1 ms, x2", 2, 0, func(s *scenario) { s.median = 0.6 }),
		slow("b-cut", "hanging requests, latency +30 %", 1.3, 0, func(s *scenario) { s.cut, s.hang = 5000, 0.005 }),
		failing("b-bursts", "bursts on both tracks, errors 0.1 -> 1 %", 0.001, 0.01, func(s *scenario) { s.bursts = true }),
		failing("b-blips", "blips of pods, errors 0.1 -> 2 %", 0.001, 0.02, func(s *scenario) { s.blips = 1.0 / 180 }),
		failing("b-late", "records late, clocks off, errors 0.1 -> 1 %", 0.001, 0.01, func(s *scenario) { s.delay, s.skew = 5, time.Second }),
		failing("b-quiet", "no requests for 7 s of each 20, errors 0.1 -> 1 %", 0.001, 0.01, func(s *scenario) { s.quiet = everySeconds(20, 7) }),
		failing("b-moved", "somebody else moves the split to 30 %, errors 0.1 -> 1 % then", 0.001, 0.01, func(s *scenario) {
			s.drifted = func(t int) float64 { return 0.1 + 0.2*float64(min(max(t-300, 0), 1)) }
			s.onset = 310
		}),
	}
}
