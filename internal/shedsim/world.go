package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	shop      = "orders"  // the service, and its route
	policy    = "adapt"   // the action
	objective = "in-time" // the SLO
	work      = 200 * time.Millisecond
	threshold = 1500 * time.Millisecond // of the SLO's latency
	patience  = 2 * time.Second         // of clients
	tries     = 3                       // of a client, in all
)

// strategy is what stands between the clients and the service.
type strategy struct {
	name     string
	fixed    float64 // limit of each node as a share of the nominal capacity, 0 for none
	adaptive bool
}

// outcome is what became of one simulation.
type outcome struct {
	goodput []float64 // good answers of each second, as shares of the capacity then
	limits  []float64 // the limit configured in each second, all nodes together, as shares; 0 for none
	bad     []float64 // share of bad events of the SLO in each second, as the store has it
	writes  int       // to the Admin API
	events  []gatewarden.Event
	freed   time.Duration // when the limit was taken away for the last time, 0 when it was not
}

// world is one simulation.
type world struct {
	*scenario
	clock   *clock
	gateway *gateway
	service *service
	clients *clients
	guard   *guard
	start   time.Time
	good    []int
	out     outcome
}

func simulate(ctx context.Context, s *scenario, how strategy, seed uint64) (*outcome, error) {
	w, err := newWorld(s, how, seed)
	if err != nil {
		return nil, err
	}
	for at := tickEvery; at <= s.length; at += tickEvery {
		w.service.resize(s.workersAt(at))
		w.clock.run(w.start.Add(at))
		if err := w.guard.tick(ctx, w.clock.now); err != nil {
			return nil, err
		}
		if at%time.Second == 0 {
			w.note(at)
		}
	}
	return w.sum(), nil
}

func newWorld(s *scenario, how strategy, seed uint64) (*world, error) {
	rng := rand.New(rand.NewPCG(seed, 7))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &world{scenario: s, clock: newClock(start), start: start, good: make([]int, s.length/time.Second+2)}
	var err error
	records := func(lines []gatewarden.Record) { w.guard.store.Add(lines, w.clock.now, nil) }
	if w.gateway, err = newGateway(w.clock, rng, s.nodes, s.strict, records); err != nil {
		return nil, err
	}
	var policies []gatewarden.ActionPolicy
	if how.adaptive {
		policies = s.policies()
	}
	if w.guard, err = newGuard(w.clock, w.gateway, s.slo(), policies); err != nil {
		return nil, err
	}
	if how.fixed > 0 {
		w.gateway.states[0].limit = int(how.fixed * s.capacityAt(0) / float64(s.nodes))
	}
	w.service = &service{clock: w.clock, rng: rng, workers: s.workersAt(0), mean: work, queued: s.queued}
	w.clients = &clients{
		clock: w.clock, rng: rng, gateway: w.gateway, service: w.service, rate: s.rateAt, start: start, patience: patience, tries: tries,
		done: func(at time.Time, took time.Duration) {
			if i := int(at.Sub(start) / time.Second); took <= threshold && i < len(w.good) {
				w.good[i]++
			}
		},
	}
	w.clients.arrivals()
	return w, nil
}

// note takes down the second that has ended.
func (w *world) note(at time.Duration) {
	second := int(at/time.Second) - 1
	nominal := w.capacityAt(at - time.Second)
	limit := w.gateway.states[len(w.gateway.states)-1].limit * w.nodes
	w.out.goodput = append(w.out.goodput, float64(w.good[second])/nominal)
	w.out.limits = append(w.out.limits, float64(limit)/nominal)
	if n := len(w.out.limits); limit == 0 && n > 1 && w.out.limits[n-2] > 0 {
		w.out.freed = at
	}
}

// sum ends the simulation.
func (w *world) sum() *outcome {
	slo := w.slo()
	for i := range w.out.goodput {
		from := w.start.Add(time.Duration(i) * time.Second)
		w.out.bad = append(w.out.bad, w.guard.store.Count(slo.Series, &slo.SLI, from, from.Add(time.Second)).BadRatio())
	}
	w.out.writes, w.out.events = w.gateway.writes, w.guard.journal.events
	return &w.out
}
