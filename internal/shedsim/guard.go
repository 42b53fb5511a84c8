package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/actions/adaptive"
	"github.com/gatewarden/gatewarden/actions/kong"
	"github.com/gatewarden/gatewarden/analyzers"
	"github.com/gatewarden/gatewarden/analyzers/burnrate"
	"github.com/gatewarden/gatewarden/store"
)

// tickEvery is as often as the shipped loop ticks.
const tickEvery = 500 * time.Millisecond

// guard is the shipped packages, joined as app joins them, in virtual time.
type guard struct {
	gateway   *gateway
	store     *store.Store
	evaluator *analyzers.Evaluator
	engine    *actions.Engine
	journal   *journal
	verdicts  []gatewarden.Verdict // of the last tick
}

func newGuard(c *clock, g *gateway, slo gatewarden.SLO, policies []gatewarden.ActionPolicy) (*guard, error) {
	reg := prometheus.NewRegistry()
	s := store.New(store.Config{}, reg)
	s.Configure([]store.Meter{{Series: slo.Series, SLI: slo.SLI}})
	slos := []gatewarden.SLO{slo}
	executor, err := kong.New(kong.Config{AdminURL: adminURL, Transport: g, Registerer: reg})
	if err != nil {
		return nil, fmt.Errorf("setting up the way to Kong: %w", err)
	}
	j := &journal{}
	engine, err := actions.New(actions.Config{
		Policies: policies, SLOs: slos, Journal: j, Now: c.Now, Registerer: reg, Steerer: adaptive.New(s, slos),
		Executors: map[gatewarden.StepKind]actions.Executor{gatewarden.StepPlugin: executor, gatewarden.StepAdaptive: executor},
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the engine: %w", err)
	}
	if err := engine.Start(context.Background(), c.now); err != nil {
		return nil, fmt.Errorf("starting the engine: %w", err)
	}
	engine.Quiet()
	return &guard{
		gateway: g, store: s, engine: engine, journal: j,
		evaluator: analyzers.NewEvaluator([]analyzers.Analyzer{burnrate.New(slo, s.Counter(slo.Series, &slo.SLI), nil)}),
	}, nil
}

// tick is one tick of the loop, and what follows from it at the gateway.
func (g *guard) tick(ctx context.Context, at time.Time) error {
	g.store.Watched(at.Add(-tickEvery).Truncate(time.Second), at.Truncate(time.Second))
	g.verdicts = g.evaluator.Tick(ctx, at).Verdicts
	err := g.engine.Tick(ctx, at, g.verdicts)
	g.engine.Quiet()
	g.store.SetSheds(g.engine.Sheds())
	return errors.Join(err, g.gateway.look(ctx))
}

// journal keeps events in memory.
type journal struct{ events []gatewarden.Event }

func (j *journal) Append(_ context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	e.Seq = uint64(len(j.events) + 1)
	j.events = append(j.events, e)
	return e, nil
}

func (j *journal) All(_ context.Context, t gatewarden.EventType) iter.Seq2[gatewarden.Event, error] {
	return func(yield func(gatewarden.Event, error) bool) {
		for _, e := range j.events {
			if e.Type == t && !yield(e, nil) {
				return
			}
		}
	}
}
