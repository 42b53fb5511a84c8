package main

import "time"

// scenario is one kind of rollout.
type scenario struct {
	name      string // as a person would say it
	key       string // as -only takes it
	rate      float64
	share     func(t int) float64
	errors    func(t int) float64                  // of a healthy track
	badErrors func(t int, healthy float64) float64 // of the canary from the onset on
	odds      float64                              // the canary's odds of failing over the baseline's, 1 when it is no worse
	sigma     float64                              // of the logarithm of the latency
	slower    float64                              // factor on the canary's latency
	tail      float64                              // factor on the slowest 1.5 % of it
	onset     int
	history   int
	clients   int // 0: 500 users who stick to their track

	outages, stalls, podGamma, drifting, poisoned bool
	retryMean                                     float64
	bad                                           bool

	hostile
}

// hostile is what real logs have besides, all absent in the scenarios of the table.
type hostile struct {
	median  float64             // of the latency, in milliseconds; 0: 50
	tide    float64             // amplitude of the rate over half an hour, in parts of it
	routes  []route             // nil: one
	wander  bool                // a retry goes to any track
	heavy   bool                // a few users make half of the requests
	cut     float64             // milliseconds after which a request is cut off, 0: never
	hang    float64             // share of requests that take for ever, and so until they are cut off
	cold    int                 // seconds for which the canary is slow at first: half as slow again, twice, and so on down to nothing
	blips   float64             // blips a second and pod, in which all requests of the pod fail for 1 to 3 s
	bursts  bool                // crowds of failures within a second, on both tracks alike
	delay   int                 // records come up to so many seconds late, in any order
	skew    time.Duration       // of the clocks of two gateways, one early, the other late
	quiet   func(t int) bool    // seconds without any request
	gone    func(t int) bool    // seconds in which the canary takes none
	drifted func(t int) float64 // the share that the canary really takes; nil: as configured
}

// route is one of a service's routes.
type route struct {
	name   string
	mix    [2]float64 // part of the track's requests
	slower float64
	errors float64 // factor
}

// The splits.
func ninetyTen(int) float64 { return 0.1 }

func steps(t int) float64 { return [...]float64{0.05, 0.1, 0.25, 0.5}[min(max(t, 0)/300, 3)] }

func constant(p float64) func(int) float64 { return func(int) float64 { return p } }

func becomes(p float64) func(int, float64) float64 { return func(int, float64) float64 { return p } }

func same(_ int, healthy float64) float64 { return healthy }

// odd returns the odds ratio of two probabilities.
func odd(p, q float64) float64 {
	if q == 0 {
		return 1e6
	}
	return p / (1 - p) * (1 - q) / q
}

// healthy returns a rollout whose canary is like the baseline.
func healthy(key, name string, change func(*scenario)) *scenario {
	s := &scenario{
		key: key, name: name, rate: 200, share: ninetyTen, errors: constant(0.001), badErrors: same, odds: 1,
		sigma: 0.5, slower: 1, history: 300,
	}
	if change != nil {
		change(s)
	}
	return s
}

// failing returns a rollout whose canary fails with probability to instead of from.
func failing(key, name string, from, to float64, change func(*scenario)) *scenario {
	return healthy(key, name, func(s *scenario) {
		s.bad, s.errors, s.badErrors, s.odds = true, constant(from), becomes(to), odd(to, from)
		if change != nil {
			change(s)
		}
	})
}

// slow returns a rollout whose canary takes longer.
func slow(key, name string, factor, tail float64, change func(*scenario)) *scenario {
	return healthy(key, name, func(s *scenario) {
		s.bad, s.slower, s.tail = true, factor, tail
		if change != nil {
			change(s)
		}
	})
}

// healthyScenarios are the rollouts that must not be rolled back.
func healthyScenarios() []*scenario {
	return []*scenario{
		healthy("aa", "A/A 200 rps 90/10, 0.1 % errors", nil),
		healthy("aa-2rps", "A/A 2 rps, 1 % errors", func(s *scenario) { s.rate, s.errors = 2, constant(0.01) }),
		healthy("aa-clean", "A/A without any errors", func(s *scenario) { s.errors = constant(0) }),
		healthy("aa-outages", "A/A, outages of both tracks", func(s *scenario) { s.outages = true }),
		healthy("aa-retry", "A/A, retry clusters (mean 5), 0.5 %", func(s *scenario) { s.errors, s.retryMean = constant(0.005), 5 }),
		healthy("aa-pods", "A/A, error rate by pod and 10 s, 0.5 %", func(s *scenario) { s.errors, s.podGamma = constant(0.005), true }),
		healthy("aa-stalls", "A/A, pods that stall for 1-3 s", func(s *scenario) { s.stalls = true }),
		healthy("aa-heavy", "A/A, heavy-tailed and drifting latency", func(s *scenario) { s.sigma, s.drifting = 1.5, true }),
		healthy("aa-steps", "A/A, split 5/10/25/50 %, errors rise 0.05 -> 1 %", func(s *scenario) {
			s.share, s.errors = steps, func(t int) float64 { return 0.0005 + 0.0095*float64(max(t, 0))/1800 }
		}),
		healthy("aa-retry-rare", "A/A, retry clusters (mean 5), 0.1 %", func(s *scenario) { s.retryMean = 5 }),
		healthy("aa-poison", "A/A, one user whose requests all fail", func(s *scenario) { s.poisoned = true }),
		healthy("aa-new", "A/A without history", func(s *scenario) { s.history = 0 }),
		healthy("margin-errors", "errors at the margin: 0.1 -> 0.12 %", func(s *scenario) { s.badErrors = becomes(0.0012) }),
		healthy("margin-latency", "latency at the margin: +10 %", func(s *scenario) { s.slower = 1.1 }),
		healthy("latency-5", "latency +5 %", func(s *scenario) { s.slower = 1.05 }),
		healthy("better", "canary better: errors 0.5 -> 0.1 %, latency -20 %", func(s *scenario) {
			s.errors, s.badErrors, s.slower = constant(0.005), becomes(0.001), 0.8
		}),
	}
}

// badScenarios are the rollouts that must be found.
func badScenarios() []*scenario {
	late := func(s *scenario) { s.onset = 600 }
	return []*scenario{
		failing("errors-2.5", "errors 0.1 -> 0.25 % (the pass margin)", 0.001, 0.0025, nil),
		failing("errors-2", "errors 0.1 -> 0.2 % (between the margins)", 0.001, 0.002, nil),
		failing("errors-10", "errors 0.1 -> 1 %", 0.001, 0.01, nil),
		failing("errors-3", "errors 0.1 -> 0.3 %", 0.001, 0.003, nil),
		failing("errors-new", "errors 0 -> 0.5 %", 0, 0.005, nil),
		failing("errors-half", "half of the canary's requests fail", 0.001, 0.5, nil),
		failing("errors-1-2", "errors 1 -> 2 %", 0.01, 0.02, nil),
		slow("latency-20", "latency +20 %", 1.2, 0, nil),
		slow("latency-x2", "latency x2", 2, 0, nil),
		slow("heavy-x2", "heavy-tailed, latency x2", 2, 0, func(s *scenario) { s.sigma = 1.5 }),
		slow("tail-x3", "the slowest 1.5 % x3", 1, 3, nil),
		failing("late-errors", "errors 0.1 -> 1 % from 10 min", 0.001, 0.01, late),
		slow("late-latency", "latency +20 % from 10 min", 1.2, 0, late),
		failing("steps-errors", "split 5/10/25/50 %, errors 0.1 -> 1 %", 0.001, 0.01, func(s *scenario) { s.share = steps }),
		failing("steps-late", "split 5/10/25/50 %, errors 0.1 -> 0.5 % from 10 min", 0.001, 0.005, func(s *scenario) { s.share, s.onset = steps, 600 }),
		failing("outages-errors", "outages of both, errors 0.1 -> 1 %", 0.001, 0.01, func(s *scenario) { s.outages = true }),
		failing("retry-errors", "retry clusters, errors 0.5 -> 2.5 %", 0.005, 0.025, func(s *scenario) { s.retryMean = 5 }),
		slow("stalls-tail", "pods stall, the slowest 1.5 % x3", 1, 3, func(s *scenario) { s.stalls = true }),
		failing("2rps-errors", "2 rps, errors 1 -> 20 %", 0.01, 0.2, func(s *scenario) { s.rate = 2 }),
		failing("20rps-errors", "20 rps, errors 0.1 -> 5 %", 0.001, 0.05, func(s *scenario) { s.rate = 20 }),
		failing("nat-errors", "5 client addresses, errors 0.1 -> 1 %", 0.001, 0.01, func(s *scenario) { s.clients = 5 }),
		failing("pods-errors", "error rate by pod, errors 0.5 -> 2.5 %", 0.005, 0.025, func(s *scenario) { s.podGamma = true }),
		slow("stalls-latency", "pods stall, latency +20 %", 1.2, 0, func(s *scenario) { s.stalls = true }),
	}
}
