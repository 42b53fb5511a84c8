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
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/posts"
	"github.com/gatewarden/gatewarden/internal/version"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/state"
	"github.com/gatewarden/gatewarden/store"
)

// stopWithin is how long a stop may take: calls to Kong that are under way end, and
// the counts are written.
const stopWithin = 15 * time.Second

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

// App is a guard that runs: everything of doc.go's picture that it does whether it leads or
// not. What it does only while it leads is a term.
type App struct {
	opts     Options
	logger   *slog.Logger
	registry *prometheus.Registry // of what every guard shows
	tracing  *tracing             // nil when there is none

	state        *state.State
	snapshots    *state.Blobs
	runs         *state.Blobs // of canaries
	observations *state.Log
	leases       *state.Leases
	store        *store.Store
	intake       *intake
	keeper       *keeper
	tracks       *tracks
	reloader     *reloader
	stopper      *stopper
	guards       *guards // those that share the state, this one among them
	term         atomic.Pointer[term]

	ingest    *http.ServeMux
	headers   *collector.Headers      // that records are to carry
	sources   []source                // that others send to, or that read what is here
	listeners map[string]net.Listener // by their names in the configuration
	closers   closers
	started   time.Time
	stopping  atomic.Bool
	hup       chan os.Signal // SIGHUP, from the first moment on: it must never end a guard
}

// closers are what is to be ended, in the reverse order of its beginning.
type closers []closer

type closer struct {
	name  string
	close func(ctx context.Context) error
}

func (c *closers) add(name string, f func(ctx context.Context) error) {
	*c = append(*c, closer{name, f})
}

// close ends everything, the newest first, within stopWithin.
func (c *closers) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	var errs []error
	for len(*c) > 0 {
		last := (*c)[len(*c)-1]
		*c = (*c)[:len(*c)-1]
		if err := last.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("closing %s: %w", last.name, err))
		}
	}
	return errors.Join(errs...)
}

// New reads the files, opens the state, takes up what the last life left and
// listens. The App does nothing yet. Where guards share the state it waits for as many as
// it takes to work on it. On an error everything is closed again.
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
	a.closers.add("the signals", a.stopper.close)
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, build := range []func(context.Context, settings) error{
		a.openListeners, a.openTracing, a.openState, a.openStore, a.openTracks, a.openSources, a.openGuards,
	} {
		if err := build(ctx, set); err != nil {
			return nil, errors.Join(err, a.closers.close())
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
		a.closers.add("the "+name+" listener", func(context.Context) error {
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
		a.closers.add("tracing", a.tracing.close)
	}
	return nil
}

func (a *App) openState(ctx context.Context, set settings) error {
	cfg, err := stateConfig(&set.config.State)
	if err != nil {
		return err
	}
	if a.state, err = state.Open(ctx, cfg, a.logger.With("component", "state")); err != nil {
		return fmt.Errorf("opening the state: %w", err)
	}
	a.closers.add("the state", func(context.Context) error { return a.state.Close() })
	if a.snapshots, err = a.state.Snapshots(ctx); err != nil {
		return fmt.Errorf("opening the snapshots: %w", err)
	}
	if a.runs, err = a.state.Runs(ctx); err != nil {
		return fmt.Errorf("opening the runs of canaries: %w", err)
	}
	if a.observations, err = a.state.Observations(ctx); err != nil {
		return fmt.Errorf("opening the log of observations: %w", err)
	}
	if a.leases, err = a.state.Leases(ctx); err != nil {
		return fmt.Errorf("opening the leases: %w", err)
	}
	return nil
}

func (a *App) openStore(ctx context.Context, set settings) error {
	a.store = store.New(store.Config{KeepDeltas: true, Logger: a.logger.With("component", "store")}, a.registry)
	a.store.Configure(meters(set.rules)) // before the restore, which keeps only what has a meter
	k, err := newKeeper(ctx, a)
	if err != nil {
		return err
	}
	a.keeper = k
	a.closers.add("the keeper", func(ctx context.Context) error { k.finish(ctx); return nil })
	a.intake = newIntake(a.store, a.now, set.config.BlindAfter, a.registry)
	a.intake.tracing, a.intake.log = a.tracing, a.logger.With("component", "intake")
	k.checkpoints.sink = a.intake
	a.reloader = newReloader(a, set)
	return nil
}

// openTracks makes known which targets the canaries have, so that records are told apart.
func (a *App) openTracks(ctx context.Context, set settings) error {
	ask, err := targets(set)
	if err != nil {
		return fmt.Errorf("setting up the way to Kong's Admin API: %w", err)
	}
	a.tracks = newTracks(ask, a.logger.With("component", "gates"))
	a.intake.spans.follow(a.tracks.tracksOf)
	a.tracks.kept, a.tracks.keeps = a.snapshots, a.leads
	a.setRules(set.rules)
	a.tracks.restore(ctx)
	return nil
}

// setRules brings the part of rules into force that every guard heeds.
func (a *App) setRules(r *rules.Rules) {
	a.store.Configure(meters(r))
	a.intake.serve(r.SLOs)
	a.headers.Set(r.Headers())
	a.tracks.SetCanaries(r.Canaries)
	if scout := a.intake.scout.Load(); scout != nil {
		scout.observer.SetCanaries(r.Canaries)
	}
}

// asks reports whether sources of a kind ask others, who would answer every guard alike.
func asks(kind string) bool {
	return slices.Contains([]string{"elasticsearch", "kongmetrics", "prometheus", "jaeger"}, kind)
}

// openSources prepares the sources that others send to, and that read what is on this
// machine.
func (a *App) openSources(_ context.Context, set settings) (err error) {
	a.sources, err = a.buildSources(set, a.registry, &a.closers, func(kind string) bool { return !asks(kind) })
	return err
}

// buildSources builds the sources whose kinds are wanted.
func (a *App) buildSources(set settings, reg prometheus.Registerer, closers *closers, wanted func(kind string) bool) (list []source, err error) {
	byKind := map[string]collector.Factory{}
	for _, f := range factories() {
		byKind[f.Kind] = f
	}
	past := history{a.store, func() *rules.Rules { return a.reloader.current().rules }}
	names := rules.SourceNames(set.config.Sources)
	for i, s := range set.config.Sources {
		if !wanted(s.Kind) {
			continue
		}
		name := names[i]
		writer, err := a.writerOf(s.Kind, &set.config.State)
		if err != nil {
			return list, err
		}
		troubles := newTroubles(prometheus.WrapRegistererWith(prometheus.Labels{"source": name}, reg))
		built, err := byKind[s.Kind].Build(collector.Env{
			Name: name, Sink: a.sinkOf(s.Kind, &set.config.State), Spans: a.intake.spans, Mux: a.ingest, Headers: a.headers,
			Dir: filepath.Dir(set.config.File), Checkpoints: a.keeper.checkpoints.of(writer),
			Gateway: a.intake.gateway, Logged: logged(set.config.Sources),
			Queries: func() []gatewarden.SLO { return queriesOf(a.reloader.current().rules, name) },
			Covered: past.Covered, Past: past,
			Log:     a.logger.With("component", "collector"),
			Metrics: troubles,
		}, s.Decode)
		if err != nil {
			return list, fmt.Errorf("setting up the source %s of %s:%d: %w", name, s.File, s.Line, err)
		}
		if c, ok := built.(io.Closer); ok { // it listens already; Run may never be called
			closers.add("the source "+name, func(context.Context) error { return c.Close() })
		}
		a.intake.expect(name, s.Kind, a.started)
		a.intake.asks(name, built)
		a.intake.watchTroubles(name, troubles)
		list = append(list, source{built, name, a.logger.With("component", "collector")})
	}
	return list, nil
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
	// Until the listeners are shut, posts wait for what they brought to be durable: the keeper
	// ends when the group is interrupted, which is in this order.
	addActor(context.WithoutCancel(ctx), &g, a.keeper.Run)
	addActor(ctx, &g, a.reloader.Run)
	addActor(ctx, &g, a.tracks.Run)
	addActor(ctx, &g, a.stopper.Run)
	a.guards.add(ctx, &g)
	a.logger.Info("guarding", "version", version.Get().Version, "api", a.Addr("api"), "ingest", a.Addr("ingest"),
		"slos", len(a.reloader.current().rules.SLOs), "policies", len(a.reloader.current().rules.Policies))
	err := g.Run()
	a.stopping.Store(true)
	if errors.Is(err, context.Canceled) || errors.Is(err, run.ErrSignal) || errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	a.logger.Info("stopping")
	return errors.Join(err, a.closers.close())
}

// addActor runs f in the group with a context that ends when the group does.
func addActor(ctx context.Context, g *run.Group, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	g.Add(func() error { return f(ctx) }, func(error) { cancel() })
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

// errStopping is why requests under way are cancelled at the end.
var errStopping = errors.New("this guard is stopping")

// newServer returns a server of h. Whoever reads no answer holds no connection for good, also
// where that is not h's own, as to who is not let in; package api has limits of its own, and
// lifts this one: its streams go on, and what is passed on may take long.
func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// addServer serves what belongs to the named listener.
func (a *App) addServer(g *run.Group, name string, l net.Listener) {
	server := newServer(a.handler(name), a.logger.With("component", name))
	streams, endStreams := context.WithCancelCause(context.Background())
	server.BaseContext = func(net.Listener) context.Context { return streams }
	webConfig := a.reloader.current().config.Web
	shut := func() {}
	if name == "ingest" {
		// Kong's http-log posts to it; what protects it is where it listens
		webConfig = rules.Web{}
		open := &untilShut{Handler: server.Handler}
		server.Handler, shut = open, func() { open.shut.Store(true) }
		l = posts.Listen(l, a.ingest, posts.Config{
			MaxConnections: a.reloader.current().config.Listen.MaxConnections, Log: a.logger.With("component", name), Metrics: a.registry, Now: time.Now,
		})
	}
	g.Add(func() error { return serveWeb(l, server, webConfig, a.logger) }, func(error) {
		defer endStreams(errStopping)
		shut()
		if name != "ingest" { // a post whose answer is cut short was counted, and comes again
			endStreams(errStopping) // followers of the events would hold the server open
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin/3)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			a.logger.Warn("connections were cut at the stop", "listener", name, "error", err)
		}
	})
}

// untilShut serves until it is shut. Shutdown closes the connections that wait for a
// request, and one whose request is just being read may be among them: what it brings would
// be counted, and the answer lost.
type untilShut struct {
	http.Handler
	shut atomic.Bool
}

// ServeHTTP implements http.Handler.
func (u *untilShut) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if u.shut.Load() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, errStopping.Error()+": send it again", http.StatusServiceUnavailable)
		return
	}
	u.Handler.ServeHTTP(w, r)
}

func (a *App) handler(name string) http.Handler {
	switch name {
	case "ingest":
		return newIngest(a.ingest, a.reloader.current().config.Sources, a.logger.With("component", name), a.now)
	case "metrics":
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", api.MetricsHandler(a))
		return mux
	default:
		return http.HandlerFunc(a.answer)
	}
}

// answer answers a request to the API: by itself while it leads, and otherwise by the
// guard that does.
func (a *App) answer(w http.ResponseWriter, r *http.Request) {
	t := a.term.Load()
	if t == nil {
		a.guards.passer.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(t.life, cancel)() // followers of the events are to ask the next who leads
	t.handler.ServeHTTP(w, r.WithContext(ctx))
}

// Gather implements prometheus.Gatherer: what every guard shows, and what the one that
// leads does.
func (a *App) Gather() ([]*dto.MetricFamily, error) {
	if t := a.term.Load(); t != nil {
		return prometheus.Gatherers{a.registry, t.registry}.Gather()
	}
	return a.registry.Gather()
}

// leads reports whether this guard judges and acts now.
func (a *App) leads() bool {
	t := a.term.Load()
	return t != nil && !t.deposed.Load()
}
