package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/actions/kong"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/api/page"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/journal/export"
)

// drainWithin is the part of a stop that calls under way get. A build that is followed for
// minutes will not end meanwhile: the next term takes it up. The rest of the time belongs
// to what must be written.
const drainWithin = 5 * time.Second

// term is a time in which this guard leads: of those that share a state one alone judges
// and acts. What it needs for that lives for one term; the rest of the App goes on. A guard
// that is alone has one term, from its start to its stop.
type term struct {
	*App
	registry *prometheus.Registry // of what only the guard that leads shows
	life     context.Context      // ends with the term
	end      context.CancelFunc

	journal   *journal.Journal
	loop      *loop
	judges    *judges
	executors map[gatewarden.StepKind]actions.Executor
	shown     curtain            // before the actions, for the API
	exporters []*export.Exporter // of the journal, to those that audit names
	sources   []source           // that ask others: two guards would count the same twice
	handler   http.Handler       // of the API

	hearing hearing // the other guards
	closers closers
	judged  atomic.Bool // there are verdicts to be asked for
	deposed atomic.Bool // another guard leads: what this one knows is no longer the truth
}

// begin takes up what the last term left, here or at another guard. The term does nothing
// yet. On an error everything of it is closed again.
func (a *App) begin(ctx context.Context, set settings) (*term, error) {
	t := &term{App: a, registry: prometheus.NewRegistry()}
	t.life, t.end = context.WithCancel(context.WithoutCancel(ctx))
	for _, build := range []func(context.Context, settings) error{
		t.tidy, t.openJournal, t.announce, t.openAudit, t.openEngine, t.openSources, t.share,
	} {
		if err := build(ctx, set); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	t.exposeJudgements()
	t.handler = t.api()
	return t, nil
}

// close ends everything of the term, the newest first, within stopWithin.
func (t *term) close() error {
	t.end()
	return t.closers.close()
}

// tidy clears away what a death in the middle of writing may have left.
func (t *term) tidy(ctx context.Context, _ settings) error {
	for name, sweep := range map[string]func(context.Context) error{"snapshots": t.snapshots.Sweep, "runs of canaries": t.runs.Sweep, "leases": t.leases.Tidy} {
		if err := sweep(ctx); err != nil {
			return fmt.Errorf("clearing away what was left of the %s: %w", name, err)
		}
	}
	return nil
}

func (t *term) openJournal(ctx context.Context, _ settings) (err error) {
	t.journal, err = journal.Open(ctx, t.state.JetStream(), journal.Config{
		Replicas: t.state.Replicas(), Logger: t.logger.With("component", "journal"), Registerer: t.registry,
	})
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	return nil
}

// announce writes down that this guard leads, if it is one of several: from then on who led
// before finds that it can write no more.
func (t *term) announce(ctx context.Context, _ settings) error {
	if !t.state.Shared() {
		return nil
	}
	me := t.guards.me
	_, err := t.journal.Append(ctx, gatewarden.Event{
		At: t.now(), Type: gatewarden.EventGuard, Name: me.Name, State: gatewarden.GuardLeads, Reason: me.Name + " was elected: it judges and acts",
	})
	if err != nil {
		return fmt.Errorf("writing to the journal who leads: %w", err)
	}
	return nil
}

func (t *term) openEngine(ctx context.Context, set settings) (err error) {
	m, err := t.mark(ctx, set.rules.Policies)
	if err != nil {
		return err
	}
	if t.executors, err = executors(set.config, m, t.now, t.logger, t.registry); err != nil {
		return err
	}
	t.tracks.ask(ctx) // before the first record: runs that go on must see it
	var late func(time.Time) (bool, string)
	if t.state.Shared() {
		late = t.late
	}
	t.loop, t.judges, err = newLoop(ctx, parts{
		rules: set.rules, store: t.store, intake: t.intake, journal: t.journal, started: t.now(), registry: t.registry, moves: true, halt: t.stopper.look(),
		gates: gates.Config{Runs: t.runs, Log: t.observations, Tracks: t.tracks, Late: late, Logger: t.logger.With("component", "gates")},
		engine: actions.Config{
			Around: t.tracing.call, Policies: set.rules.Policies, Executors: t.executors, Leases: t.leases, Failpoint: t.opts.Failpoint,
			Leader: func() bool { return !t.deposed.Load() }, Now: t.now, Logger: t.logger.With("component", "actions"),
		},
	})
	if err != nil {
		return err
	}
	t.loop.tracing = t.tracing
	t.closers.add("the engine", t.drain)
	t.closers.add("the runs of canaries", t.closeRuns)
	t.closers.add("the loop", t.writeRest)
	t.stopper.engine.Store(t.loop.engine)
	t.closers.add("obeying signals", func(context.Context) error { t.stopper.engine.Store(nil); return nil })
	return t.watchDrift(ctx, set)
}

// drain ends the engine. Calls that have to be cut short for it are no error.
func (t *term) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	err := t.loop.engine.Close(ctx)
	if gatewarden.ErrorCode(err) == gatewarden.Unavailable {
		t.logger.Info("actions that are under way go on in the next term", "because", err)
		return nil
	}
	return err
}

// writeRest writes the events that the journal has not taken yet. Who leads no longer writes
// none: the guard that is just taking over would find another's in its journal.
func (t *term) writeRest(ctx context.Context) error {
	if t.deposed.Load() {
		return nil
	}
	if err := t.loop.close(ctx); err != nil {
		t.logger.Warn("events are lost: the journal did not take them before the end", "error", err)
	}
	return nil
}

// closeRuns ends the runs of canaries here.
func (t *term) closeRuns(ctx context.Context) error {
	t.intake.runs.Store(nil)
	defer t.loop.runs.Abandon() // batches that are under way are another guard's
	if t.deposed.Load() {
		return nil
	}
	return t.loop.runs.Close(ctx)
}

// openSources prepares the sources that ask others.
func (t *term) openSources(_ context.Context, set settings) (err error) {
	t.intake.gateway.forget() // what another term knew of the nodes
	t.sources, err = t.buildSources(set, t.registry, &t.closers, asks)
	t.intake.check(t.sources)
	return err
}

// api answers people and pipelines.
func (t *term) api() http.Handler {
	var gatherer prometheus.Gatherer
	if t.Addr("metrics") == "" {
		gatherer = t.App
	}
	guard := &view{t}
	return api.New(guard, gatherer, t.logger.With("component", "api")).WithGates(guard).
		WithPast(guard).WithPage(page.Handler()).WithMetrics(t.registry).
		WithTraceURL(t.reloader.current().config.Web.TraceURL).Handler()
}

// errOvertaken ends a term whose journal has another writer.
var errOvertaken = errors.New("another guard has written to the journal")

// run judges and acts until ctx ends, which is no error, until another guard leads, which
// is none either, or until a part of it cannot go on. Then the term is over.
func (t *term) run(ctx context.Context) error {
	var g run.Group
	g.Add(run.ContextHandler(ctx))
	for _, s := range t.sources {
		addActor(ctx, &g, s.Run)
	}
	for _, e := range t.exporters {
		addActor(ctx, &g, e.Run)
	}
	addActor(ctx, &g, t.loop.drifts.Run)
	addActor(ctx, &g, t.preflight)
	addActor(ctx, &g, t.keeper.keepSnapshots)
	addActor(ctx, &g, t.keepRuns)
	addActor(ctx, &g, t.trim)
	if t.state.Shared() {
		addActor(ctx, &g, t.tell)
		addActor(ctx, &g, t.listen)
	}
	addActor(ctx, &g, t.tick)
	err := g.Run()
	switch {
	case errors.Is(err, errOvertaken):
		t.deposed.Store(true)
		t.logger.Warn("another guard has written to the journal: this one no longer leads")
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, run.ErrSignal):
		return nil
	}
	return err
}

// tick runs the loop at every whole tickEvery of the clock.
func (t *term) tick(ctx context.Context) error {
	for {
		now := t.now()
		next := now.Truncate(tickEvery).Add(tickEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next.Sub(now)):
		}
		err := t.loop.Tick(ctx, next)
		if errors.Is(err, errOvertaken) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			t.logger.Error("a tick was not all it should be", "error", err)
		}
		t.judged.Store(true)
	}
}

// preflight looks once whether the steps of actions would work.
func (t *term) preflight(ctx context.Context) error {
	if err := t.reloader.checkSteps(ctx, t.reloader.current().rules.Policies); err != nil && ctx.Err() == nil {
		t.logger.Error("a step would not work as things are; it is judged on, but the step will fail", "error", err)
	}
	<-ctx.Done()
	return nil
}

// keepRuns writes the runs of canaries down, beside the ticks.
func (t *term) keepRuns(ctx context.Context) error {
	return every(ctx, tickEvery, t.loop.runs.Keep, func(err error) {
		t.logger.Warn("runs of canaries are not written down; a crash would cost some of what the judges know", "error", err)
	})
}

// trimEvery is how often the journal is held to its limits.
const trimEvery = time.Hour

// trim keeps the journal within its limits.
func (t *term) trim(ctx context.Context) error {
	return every(ctx, trimEvery, t.journal.Trim, func(err error) {
		t.logger.Warn("the journal could not be trimmed; it is tried again in an hour", "error", err)
	})
}

// targets returns how to ask Kong for the targets of an upstream, nil without a Kong.
func targets(set settings) (func(context.Context, string) ([]kong.Target, error), error) {
	if set.config.Kong.AdminURL == "" {
		return nil, nil
	}
	e, err := kongExecutor(set.config.Kong, mark{}, nil, nil)
	if err != nil {
		return nil, err
	}
	return e.Targets, nil
}
