package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/actions/kong"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/api/page"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/internal/version"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/journal/export"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/state"
	"github.com/gatewarden/gatewarden/store"
)

// stopWithin is how long a stop may take: calls to Kong that are under way end, and
// the counts are written.
const stopWithin = 15 * time.Second

// drainWithin is the part of it that calls under way get. A build that is followed for
// minutes will not end meanwhile: the next start takes it up. The rest of the time
// belongs to what must be written.
const drainWithin = 5 * time.Second

// Options are what a guard needs from its surroundings.
type Options struct {
	ConfigFile string
	Env        func(string) (string, bool) // os.LookupEnv
	Logger     *slog.Logger
	// Failpoint is for the crash test; see actions.Config.
	Failpoint func(name string)
	// Now is the wall clock that everything is judged and written down by, time.Now unless
	// set. The chaos test sets it, to set the clock of one guard and of no other process.
	Now func() time.Time
}

// App is a guard that runs: everything of doc.go's picture.
type App struct {
	opts     Options
	logger   *slog.Logger
	registry *prometheus.Registry
	tracing  *tracing // nil when there is none

	state    *state.State
	journal  *journal.Journal
	store    *store.Store
	intake   *intake
	keeper   *keeper
	tracks   *tracks
	loop     *loop
	reloader *reloader
	stopper  *stopper

	ingest    *http.ServeMux
	headers   *collector.Headers // that records are to carry
	sources   []collector.Source
	exporters []*export.Exporter      // of the journal, to those that audit names
	listeners map[string]net.Listener // by their names in the configuration
	closers   []closer
	started   time.Time
	ready     atomic.Bool
	hup       chan os.Signal // SIGHUP, from the first moment on: it must never end a guard
}

// closer is something to end at a stop, in the reverse order of its beginning.
type closer struct {
	name  string
	close func(ctx context.Context) error
}

// New reads the files, opens the state, takes up what the last life left and
// listens. The App does nothing yet. On an error everything is closed again.
func New(ctx context.Context, opts Options) (*App, error) {
	set, problems := load(opts.ConfigFile, opts.Env)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	a := &App{
		opts: opts, logger: slog.New(traceIDs{opts.Logger.Handler()}),
		registry: prometheus.NewRegistry(), ingest: http.NewServeMux(), headers: &collector.Headers{}, listeners: map[string]net.Listener{},
		hup: make(chan os.Signal, 1),
	}
	a.started = a.now()
	signal.Notify(a.hup, syscall.SIGHUP)
	a.stopper = newStopper(set.config.PauseFile, a.now, opts.Logger.With("component", "pause"))
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, build := range []func(context.Context, settings) error{
		a.openListeners, a.openTracing, a.openState, a.openAudit, a.openStore, a.openEngine, a.openSources,
	} {
		if err := build(ctx, set); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	for _, p := range problems {
		a.logger.Warn("the files can be used, but look at this", "problem", p.String(), "hint", p.Hint)
	}
	return a, nil
}

// now is the wall clock.
func (a *App) now() time.Time {
	if a.opts.Now == nil {
		return time.Now()
	}
	return a.opts.Now()
}

func (a *App) onClose(name string, f func(ctx context.Context) error) {
	a.closers = append(a.closers, closer{name, f})
}

// close ends everything, the newest first, within stopWithin.
func (a *App) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	var errs []error
	for len(a.closers) > 0 {
		c := a.closers[len(a.closers)-1]
		a.closers = a.closers[:len(a.closers)-1]
		if err := c.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("closing %s: %w", c.name, err))
		}
	}
	return errors.Join(errs...)
}

// openListeners comes first: an address in use is the commonest reason not to start,
// and nothing has been touched yet.
func (a *App) openListeners(ctx context.Context, set settings) error {
	var lc net.ListenConfig
	for name, addr := range map[string]string{
		"api": set.config.Listen.API, "ingest": set.config.Listen.Ingest, "metrics": set.config.Listen.Metrics,
	} {
		if addr == "" {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return gatewarden.Errorf(gatewarden.Conflict, "listening for %s on %s: %w", name, addr, err).
				WithHint("another address goes into listen.%s of %s", name, set.config.File)
		}
		a.listeners[name] = l
		a.onClose("the "+name+" listener", func(context.Context) error {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return nil
}

func (a *App) openTracing(ctx context.Context, set settings) (err error) {
	if a.tracing, err = newTracing(ctx, set.config.Tracing, a.started, a.logger.With("component", "tracing")); err != nil {
		return fmt.Errorf("setting up tracing: %w", err)
	}
	if a.tracing != nil {
		a.onClose("tracing", a.tracing.close)
	}
	return nil
}

func (a *App) openState(ctx context.Context, set settings) error {
	cfg := state.Config{Dir: set.config.State.Dir}
	if n := set.config.State.NATS; n != nil {
		cfg = state.Config{URL: n.URL, CredentialsFile: n.CredentialsFile}
	}
	var err error
	if a.state, err = state.Open(ctx, cfg, a.logger.With("component", "state")); err != nil {
		return fmt.Errorf("opening the state: %w", err)
	}
	a.onClose("the state", func(context.Context) error { return a.state.Close() })
	a.journal, err = journal.Open(ctx, a.state.JetStream(), journal.Config{
		Logger: a.logger.With("component", "journal"), Registerer: a.registry,
	})
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	return nil
}

func (a *App) openStore(ctx context.Context, set settings) error {
	a.store = store.New(store.Config{KeepDeltas: true}, a.registry)
	a.store.Configure(meters(set.rules)) // before the restore, which keeps only what has a meter
	k := &keeper{store: a.store, logger: a.logger.With("component", "keeper"), checkpoints: newCheckpoints()}
	var err error
	if k.cells, err = a.state.Cells(ctx); err != nil {
		return fmt.Errorf("opening the log of cells: %w", err)
	}
	if k.snapshots, err = a.state.Snapshots(ctx); err != nil {
		return fmt.Errorf("opening the snapshots: %w", err)
	}
	if err := k.restore(ctx); err != nil {
		return err
	}
	a.keeper = k
	a.onClose("the keeper", func(ctx context.Context) error { k.finish(ctx); return nil })
	a.intake = newIntake(a.store, a.now, set.config.BlindAfter, a.registry)
	k.checkpoints.sink = a.intake
	return nil
}

func (a *App) openEngine(ctx context.Context, set settings) error {
	byKind, err := executors(set.config, a.now, a.logger, a.registry)
	if err != nil {
		return err
	}
	leases, err := a.state.Leases(ctx)
	if err != nil {
		return fmt.Errorf("opening the leases: %w", err)
	}
	var j *judges
	book, err := a.gatesConfig(ctx, set, byKind)
	if err != nil {
		return err
	}
	a.loop, j, err = newLoop(ctx, parts{
		rules: set.rules, store: a.store, intake: a.intake, journal: a.journal, started: a.now(), registry: a.registry,
		gates: book, moves: true, halt: a.stopper.look(),
		engine: actions.Config{
			Around: a.tracing.call, Policies: set.rules.Policies, Executors: byKind, Leases: leases, Failpoint: a.opts.Failpoint,
			Now: a.now, Logger: a.logger.With("component", "actions"),
		},
	})
	if err != nil {
		return err
	}
	if err := a.watchDrift(ctx, set, byKind); err != nil {
		return err
	}
	a.stopper.engine = a.loop.engine
	a.onClose("the engine", a.drain)
	a.onClose("the runs of canaries", a.loop.runs.Close)
	a.reloader = newReloader(a, set, j, byKind)
	a.exposeJudgements()
	return nil
}

// gatesConfig says where the runs of canaries live and who knows their tracks.
func (a *App) gatesConfig(ctx context.Context, set settings, byKind map[gatewarden.StepKind]actions.Executor) (gates.Config, error) {
	logger := a.logger.With("component", "gates")
	log, err := a.state.Observations(ctx)
	if err != nil {
		return gates.Config{}, fmt.Errorf("opening the log of observations: %w", err)
	}
	runs, err := a.state.Runs(ctx)
	if err != nil {
		return gates.Config{}, fmt.Errorf("opening the runs of canaries: %w", err)
	}
	a.tracks = newTracks(targetsOf(byKind), logger)
	a.intake.spans.follow(a.tracks.tracksOf)
	a.tracks.kept = a.keeper.snapshots
	a.tracks.SetCanaries(set.rules.Canaries)
	a.tracks.restore(ctx)
	a.tracks.ask(ctx) // before the first record: runs that go on must see it
	a.headers.Set(set.rules.Headers())
	return gates.Config{Runs: runs, Log: log, Tracks: a.tracks, Logger: logger}, nil
}

// targetsOf returns how to ask Kong for the targets of an upstream, nil without a Kong.
func targetsOf(byKind map[gatewarden.StepKind]actions.Executor) func(context.Context, string) ([]kong.Target, error) {
	if e, ok := byKind[gatewarden.StepShare].(*kong.Executor); ok {
		return e.Targets
	}
	return nil
}

// drain ends the engine. Calls that have to be cut short for it are no error.
func (a *App) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	err := a.loop.engine.Close(ctx)
	if gatewarden.ErrorCode(err) == gatewarden.Unavailable {
		a.logger.Info("actions that are under way go on at the next start", "because", err)
		return nil
	}
	return err
}

func (a *App) openSources(_ context.Context, set settings) error {
	byKind := map[string]collector.Factory{}
	for _, f := range factories() {
		byKind[f.Kind] = f
	}
	past := history{a.store, func() *rules.Rules { return a.reloader.current().rules }}
	names := rules.SourceNames(set.config.Sources)
	for i, s := range set.config.Sources {
		name := names[i]
		source, err := byKind[s.Kind].Build(collector.Env{
			Name: name, Sink: a.intake, Spans: a.intake.spans, Mux: a.ingest, Headers: a.headers,
			Dir: filepath.Dir(set.config.File), Checkpoints: a.keeper.checkpoints,
			Gateway: a.intake.gateway, Logged: logged(set.config.Sources),
			Queries: func() []gatewarden.SLO { return queriesOf(a.reloader.current().rules, name) },
			Covered: past.Covered, Past: past,
			Log:     a.logger.With("component", "collector"),
			Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"source": name}, a.registry),
		}, s.Decode)
		if err != nil {
			return fmt.Errorf("setting up the source %s of %s:%d: %w", name, s.File, s.Line, err)
		}
		if c, ok := source.(io.Closer); ok { // it listens already; Run may never be called
			a.onClose("the source "+name, func(context.Context) error { return c.Close() })
		}
		a.intake.expect(name, s.Kind, a.started)
		a.intake.asks(name, source)
		a.sources = append(a.sources, source)
	}
	a.intake.check(a.sources)
	return nil
}

// Addr returns where the named listener ("api", "ingest" or "metrics") listens, ""
// when it does not.
func (a *App) Addr(name string) string {
	if l, ok := a.listeners[name]; ok {
		return l.Addr().String()
	}
	return ""
}

// Run guards until ctx ends, which is no error, or until a part of it cannot go on.
func (a *App) Run(ctx context.Context) error {
	var g run.Group
	g.Add(run.ContextHandler(ctx))
	for name, l := range a.listeners {
		a.addServer(&g, name, l)
	}
	for _, s := range a.sources {
		addActor(ctx, &g, s.Run)
	}
	for _, e := range a.exporters {
		addActor(ctx, &g, e.Run)
	}
	addActor(ctx, &g, a.keeper.Run)
	addActor(ctx, &g, a.reloader.Run)
	addActor(ctx, &g, a.tracks.Run)
	addActor(ctx, &g, a.loop.drifts.Run)
	addActor(ctx, &g, a.keepRuns)
	addActor(ctx, &g, a.stopper.Run)
	addActor(ctx, &g, a.tick)
	addActor(ctx, &g, a.trim)
	a.logger.Info("guarding", "version", version.Get().Version, "api", a.Addr("api"), "ingest", a.Addr("ingest"),
		"slos", len(a.reloader.current().rules.SLOs), "policies", len(a.reloader.current().rules.Policies))
	err := g.Run()
	a.ready.Store(false)
	if errors.Is(err, context.Canceled) || errors.Is(err, run.ErrSignal) || errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	a.logger.Info("stopping")
	return errors.Join(err, a.close())
}

// addActor runs f in the group with a context that ends when the group does.
func addActor(ctx context.Context, g *run.Group, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	g.Add(func() error { return f(ctx) }, func(error) { cancel() })
}

// tick runs the loop at every whole tickEvery of the clock.
func (a *App) tick(ctx context.Context) error {
	for {
		now := a.now()
		next := now.Truncate(tickEvery).Add(tickEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next.Sub(now)):
		}
		if err := a.loop.Tick(ctx, next); err != nil && ctx.Err() == nil {
			a.logger.Error("a tick was not all it should be", "error", err)
		}
		a.ready.Store(true) // from the first tick on there are verdicts to be asked for
	}
}

// keepRuns writes the runs of canaries down, beside the ticks.
func (a *App) keepRuns(ctx context.Context) error {
	return every(ctx, tickEvery, a.loop.runs.Keep, func(err error) {
		a.logger.Warn("runs of canaries are not written down; a crash would cost some of what the judges know", "error", err)
	})
}

// trimEvery is how often the journal is held to its limits.
const trimEvery = time.Hour

// trim keeps the journal within its limits.
func (a *App) trim(ctx context.Context) error {
	return every(ctx, trimEvery, a.journal.Trim, func(err error) {
		a.logger.Warn("the journal could not be trimmed; it is tried again in an hour", "error", err)
	})
}

// every calls do at each interval until ctx ends, which is no error. An error of do is told
// and not more: the next call comes.
func every(ctx context.Context, interval time.Duration, do func(context.Context, time.Time) error, tell func(error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			if err := do(ctx, now); err != nil && ctx.Err() == nil {
				tell(err)
			}
		}
	}
}

// addServer serves what belongs to the named listener.
func (a *App) addServer(g *run.Group, name string, l net.Listener) {
	server := &http.Server{
		Handler: a.handler(name), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(a.logger.With("component", name).Handler(), slog.LevelDebug),
	}
	streams, endStreams := context.WithCancel(context.Background())
	server.BaseContext = func(net.Listener) context.Context { return streams }
	webConfig := a.reloader.current().config.Web.ConfigFile
	if name == "ingest" {
		webConfig = "" // Kong's http-log posts to it; what protects it is where it listens
	}
	g.Add(func() error { return serveWeb(l, server, webConfig, a.logger) }, func(error) {
		endStreams() // followers of the events would hold the server open
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin/3)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			a.logger.Warn("connections were cut at the stop", "listener", name, "error", err)
		}
	})
}

func (a *App) handler(name string) http.Handler {
	switch name {
	case "ingest":
		return a.ingest
	case "metrics":
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", api.MetricsHandler(a.registry))
		return mux
	default:
		var gatherer prometheus.Gatherer
		if a.Addr("metrics") == "" {
			gatherer = a.registry
		}
		guard := &view{a}
		return api.New(guard, gatherer, a.logger.With("component", "api")).WithGates(guard).
			WithPast(guard).WithPage(page.Handler()).WithMetrics(a.registry).
			WithTraceURL(a.reloader.current().config.Web.TraceURL).Handler()
	}
}
