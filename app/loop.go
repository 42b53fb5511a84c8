package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/analyzers"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

// maxWatchGap bounds the time that one tick vouches for. A guard that was stopped
// or starved did not watch meanwhile.
const maxWatchGap = 5 * time.Second

// loop is what happens each second: judge, remember, act. Live, replay and tests
// run this one.
type loop struct {
	store   *store.Store
	intake  *intake
	journal *journal.Journal
	engine  *actions.Engine

	took prometheus.Histogram // how long a tick takes; nil in a replay

	mu        sync.Mutex // held for a tick and for a swap of the rules
	evaluator *analyzers.Evaluator
	verdicts  []gatewarden.Verdict // of the last tick
	last      time.Time            // when that was
}

// Tick judges the instant at and hands the verdicts on. The error joins what could
// not be written or done; nothing of it keeps the next tick from coming.
func (l *loop) Tick(ctx context.Context, at time.Time) error {
	if l.took != nil {
		defer prometheus.NewTimer(l.took).ObserveDuration()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if blind, _ := l.intake.Blind(at); !blind {
		from := at.Add(-time.Second)
		if !l.last.IsZero() && at.Sub(l.last) <= maxWatchGap {
			from = l.last
		}
		l.store.Watched(from, at)
	}
	l.last = at

	result := l.evaluator.Tick(ctx, at)
	l.verdicts = result.Verdicts
	var errs []error
	for _, e := range append(l.intake.events(at), result.Events...) {
		if _, err := l.journal.Append(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("writing the event of %s to the journal: %w", e.Name, err))
		}
	}
	if err := l.engine.Tick(ctx, at, result.Verdicts); err != nil {
		errs = append(errs, err)
	}
	l.store.SetSheds(l.engine.Sheds())
	return errors.Join(errs...)
}

// current returns the verdicts of the last tick.
func (l *loop) current() []gatewarden.Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.verdicts
}

// newTickSeconds returns the histogram of how long ticks take.
func newTickSeconds(reg prometheus.Registerer) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "gatewarden_app_tick_seconds",
		Help:    "How long it took to judge all SLOs once and to decide what follows.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
	})
	reg.MustRegister(h)
	return h
}
