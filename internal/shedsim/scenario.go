package main

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// scenario is one story of load and capacity.
type scenario struct {
	key, name string
	length    time.Duration
	from, to  time.Duration // of the overload
	nodes     int
	strict    bool
	settle    time.Duration
	steps     []gatewarden.Step                      // of the action; an adaptive limit unless set
	good      func(*gatewarden.Record) (bool, error) // of the SLO; holds unless set
	queued    int                                    // places in the service's queue
	load      func(at time.Duration) float64         // originals, as a share of the nominal capacity
	left      func(at time.Duration) float64         // share of the workers that is there; nil is all
}

// nominal is how many workers there are: at 200 ms a request, 100 requests a second.
const nominal = 20

func (s *scenario) workersAt(at time.Duration) int {
	if s.left == nil {
		return nominal
	}
	return int(nominal * s.left(at))
}

// capacityAt returns what the service can do, requests a second.
func (s *scenario) capacityAt(at time.Duration) float64 {
	return float64(s.workersAt(at)) / work.Seconds()
}

func (s *scenario) rateAt(at time.Duration) float64 {
	return s.load(at) * nominal / work.Seconds()
}

// goodExpr is what a rules file would say: a client that left (499) is no success, and a
// fast 503 is none either.
const goodExpr = "status < 499 && latency.request <= 1500"

func holds(r *gatewarden.Record) (bool, error) {
	return r.Status < 499 && r.Latency.Request <= threshold, nil
}

func (s *scenario) slo() gatewarden.SLO {
	good := s.good
	if good == nil {
		good = holds
	}
	return gatewarden.SLO{
		Name: objective, Series: gatewarden.Series{Service: shop}, Objective: 0.99,
		Window: gatewarden.BudgetWindow{Rolling: 30 * 24 * time.Hour},
		SLI:    gatewarden.SLI{Kind: gatewarden.SLIGood, Expr: goodExpr, Holds: good},
		Pairs:  gatewarden.WorkbookPairs(30 * 24 * time.Hour), Outage: &gatewarden.OutageLine{},
		OnOutage: []string{policy},
	}
}

func (s *scenario) policies() []gatewarden.ActionPolicy {
	steps := s.steps
	if steps == nil {
		steps = []gatewarden.Step{{Kind: gatewarden.StepAdaptive, Adaptive: &gatewarden.AdaptiveStep{
			SLO: objective, Service: shop, Floor: 5, Ceiling: 1000, Nodes: s.nodes, Settle: gatewarden.Duration(s.settle),
		}}}
	}
	return []gatewarden.ActionPolicy{{
		Name: policy, Mode: gatewarden.ModeEnforce, Lease: 15 * time.Minute, Steps: steps,
		Revert: gatewarden.RevertPolicy{After: time.Minute, Stepwise: true},
	}}
}

// step is a load of before, then of during, then of after.
func step(from, to time.Duration, before, during, after float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		switch {
		case at < from:
			return before
		case at < to:
			return during
		default:
			return after
		}
	}
}

func scenarios() []*scenario {
	const from, to, length = time.Minute, 6 * time.Minute, 9 * time.Minute
	base := scenario{length: length, from: from, to: to, nodes: 1, queued: 400, load: step(from, to, 0.6, 3, 0.5)}
	vary := func(key, name string, change func(*scenario)) *scenario {
		s := base
		s.key, s.name = key, name
		change(&s)
		return &s
	}
	return []*scenario{
		vary("sale", "a flash sale: 3 times what it can do, at once", func(*scenario) {}),
		vary("ramp", "the same, reached within a minute", func(s *scenario) {
			s.load = func(at time.Duration) float64 {
				const full = from - 10*time.Second // more than all comes from `from` on
				if at >= full && at < full+time.Minute {
					return 0.6 + 2.4*float64(at-full)/float64(time.Minute)
				}
				return base.load(at)
			}
		}),
		vary("quiet", "from a quiet night", func(s *scenario) { s.load = step(from, to, 0.1, 3, 0.1) }),
		vary("deep", "a queue of 10 s of work", func(s *scenario) { s.queued = 1000 }),
		vary("half", "half of the service dies at 90 % load", func(s *scenario) {
			s.load = step(from, to, 0.9, 0.9, 0.4)
			s.left = step(from, to, 1, 0.5, 1)
		}),
		vary("heals", "half of the service is gone, and comes back during a sale", func(s *scenario) {
			s.from = from + 90*time.Second
			s.load = step(from, to, 0.3, 3, 0.5)
			s.left = step(0, s.from, 1, 0.5, 1)
		}),
		vary("refuses", "a service that refuses what it cannot do at once", func(s *scenario) { s.queued = 20 }),
		vary("strict", "Kong with worker_consistency=strict, settle: 2s", func(s *scenario) { s.strict, s.settle = true, 2*time.Second }),
		vary("nodes", "3 nodes of Kong, settle: 11s", func(s *scenario) { s.nodes, s.settle = 3, 11*time.Second }),
	}
}

func strategies() []strategy {
	return []strategy{
		{name: "none"},
		{name: "fixed at 150 %", fixed: 1.5},
		{name: "fixed at 95 %", fixed: 0.95},
		{name: "adaptive", adaptive: true},
	}
}
