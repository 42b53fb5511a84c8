package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/internal/version"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/state"
)

// Several guards that share a state are one: Kong sends its log to any of them, and people
// ask any of them.
//
//	record → a guard's store ─cells→ every guard's store      (keeper.follow)
//	record → a guard's scout ─reports→ the leader's runs      (term.listen)
//	how its sources do ─told→ the leader                      (term.hear)
//	the leader: what it sheds, what old runs look at ─board→ every guard
//	request to the API → the leader                           (api.Passer)
//
// The journal's compare-and-set decides in the end: who has been overtaken cannot write,
// and what is not written is not done.
type guards struct {
	app      *App
	me       state.Candidate
	election *state.Election
	board    *state.Board    // nil for a guard that is alone
	observer *gates.Observer // the same
	passer   http.Handler
	first    *term // of a guard that is alone: it leads before it runs

	mu     sync.Mutex
	others map[string]told   // by name, what they told last; of whom leads only
	shown  map[string][]byte // on the board, by key
}

// The keys of the board.
const (
	boardSheds = "sheds" // what changes of the guard answer
	boardOlder = "older" // definitions that runs began with and that the rules no longer have
	boardTries = "tries" // whether first tries on targets are to be counted
)

// openGuards makes this guard one of those that share the state. One that is alone leads
// from here on.
func (a *App) openGuards(ctx context.Context, set settings) (err error) {
	cfg := &set.config.State
	gs := &guards{app: a, others: map[string]told{}, shown: map[string][]byte{}}
	a.guards = gs
	if gs.me, err = a.candidate(cfg); err != nil {
		return err
	}
	if gs.election, err = a.state.Election(ctx, gs.me, a.logger.With("component", "election")); err != nil {
		return fmt.Errorf("opening the election: %w", err)
	}
	if gs.passer, err = gs.newPasser(cfg); err != nil {
		return err
	}
	a.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatewarden_app_leads", Help: "Whether this guard judges and acts: of those that share a state, one does.",
	}, func() float64 {
		if a.leads() {
			return 1
		}
		return 0
	}))
	if !a.state.Shared() {
		if gs.first, err = gs.begin(ctx); err != nil {
			return err
		}
		t := gs.first
		a.closers.add("the term", func(context.Context) error { return gs.finish(t) }) // it may never run
		return nil
	}
	if gs.board, err = a.state.Board(ctx); err != nil {
		return fmt.Errorf("opening the board: %w", err)
	}
	gs.observer = gates.NewObserver(a.tracks)
	gs.observer.SetCanaries(set.rules.Canaries)
	a.intake.scout.Store(&scout{gs.observer, a.keeper.reports})
	a.intake.witness.Store(newWitness(a.store, a.intake))
	a.intake.tellDeliveries()
	return nil
}

// candidate says what this guard is called, and where the others reach its API.
func (a *App) candidate(cfg *rules.State) (state.Candidate, error) {
	name, err := guardName(cfg)
	me := state.Candidate{Name: name, API: cfg.API}
	if err != nil || me.API != "" {
		return me, err
	}
	host := me.Name
	if cfg.Cluster != nil {
		if h, _, err := net.SplitHostPort(cfg.Cluster.Peers[me.Name]); err == nil {
			host = h
		}
	}
	_, port, _ := net.SplitHostPort(a.Addr("api")) // of a listener: it has one
	me.API = "http://" + net.JoinHostPort(host, port)
	return me, nil
}

// guardName returns what this guard is called among others.
func guardName(cfg *rules.State) (string, error) {
	if cfg.Name != "" {
		return cfg.Name, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", gatewarden.Errorf(gatewarden.Invalid, "this guard has no name, and neither has its host: %w", err).WithHint("set state.name")
	}
	return host, nil
}

// stateConfig translates the configuration.
func stateConfig(cfg *rules.State) (state.Config, error) {
	if n := cfg.NATS; n != nil {
		return state.Config{URL: n.URL, CredentialsFile: n.CredentialsFile, Replicas: n.Replicas}, nil
	}
	k := cfg.Cluster
	if k == nil {
		return state.Config{Dir: cfg.Dir}, nil
	}
	text, err := secret(k.Secret, k.SecretFile)
	if err != nil {
		return state.Config{}, fmt.Errorf("state.cluster: %w", err)
	}
	name, err := guardName(cfg)
	if err != nil {
		return state.Config{}, err
	}
	cluster := &state.Cluster{Name: name, Listen: k.Listen, Peers: k.Peers, Secret: text}
	if k.CertFile != "" {
		if cluster.TLS, err = mutualTLS(k.CAFile, k.CertFile, k.KeyFile); err != nil {
			return state.Config{}, fmt.Errorf("state.cluster: %w", err)
		}
	}
	return state.Config{Dir: cfg.Dir, Cluster: cluster}, nil
}

// newPasser returns what answers the API while another guard leads.
func (gs *guards) newPasser(cfg *rules.State) (http.Handler, error) {
	ca := ""
	if cfg.Cluster != nil {
		ca = cfg.Cluster.CAFile
	}
	t, err := transport(ca)
	if err != nil {
		return nil, fmt.Errorf("state.cluster: %w", err)
	}
	var gatherer prometheus.Gatherer
	if gs.app.Addr("metrics") == "" {
		gatherer = gs.app
	}
	return api.NewPasser(gs.me.Name, gs, gatherer, t, gs.app.logger.With("component", "api")).Handler(), nil
}

// Leader implements api.Follower.
func (gs *guards) Leader() (name string, at *url.URL, err error) {
	leader, _, ok := gs.election.Leader()
	switch {
	case gs.app.stopping.Load():
		return "", nil, gatewarden.Errorf(gatewarden.Unavailable, "the guard is stopping")
	case !ok:
		return "", nil, gatewarden.Errorf(gatewarden.Unavailable, "no guard leads at the moment")
	case leader.Name == gs.me.Name:
		return "", nil, gatewarden.Errorf(gatewarden.Unavailable, "this guard is about to lead")
	}
	at, err = url.Parse(leader.API)
	if err != nil {
		return leader.Name, nil, gatewarden.Errorf(gatewarden.Internal, "the guard %s says that its API is at %q", leader.Name, leader.API)
	}
	return leader.Name, at, nil
}

// Ready implements api.Follower.
func (gs *guards) Ready() error {
	_, _, err := gs.Leader()
	return err
}

// Reload implements api.Follower.
func (gs *guards) Reload(ctx context.Context) error { return gs.app.reloader.Reload(ctx) }

// add adds what a guard among others does, and the election that makes it lead.
func (gs *guards) add(ctx context.Context, g *run.Group) {
	if gs.board != nil {
		addActor(ctx, g, gs.app.keeper.follow)
		addActor(ctx, g, gs.look)
		addActor(ctx, g, gs.speak)
	}
	addActor(ctx, g, func(ctx context.Context) error { return gs.election.Run(ctx, gs.lead) })
}

// begin begins a term of this guard with the rules in force.
func (gs *guards) begin(ctx context.Context) (*term, error) {
	a := gs.app
	t, err := a.reloader.lead(func(set settings) (*term, error) { return a.begin(ctx, set) })
	if err != nil {
		gs.heedAll()
		return nil, err
	}
	a.term.Store(t)
	return t, nil
}

// finish ends a term. It may be called again.
func (gs *guards) finish(t *term) error {
	gs.app.term.CompareAndSwap(t, nil)
	gs.app.reloader.follow()
	err := t.close()
	gs.heedAll()
	return err
}

// heedAll heeds all that is on the board: the guard that leads next may have shown it before
// this one knew that it does not.
func (gs *guards) heedAll() {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for key, value := range gs.shown {
		gs.heed(key, value)
	}
}

// again is how long a guard waits that was elected and could not begin.
const again = 2 * time.Second

// lead leads until ctx ends or another guard does.
func (gs *guards) lead(ctx context.Context) error {
	logger := gs.app.logger.With("component", "election")
	t := gs.first
	if gs.first = nil; t == nil {
		err := gs.app.keeper.catchUp(ctx)
		if err == nil {
			t, err = gs.begin(ctx)
		}
		if err != nil {
			if ctx.Err() == nil {
				logger.Error("this guard was elected and cannot lead; another one may", "error", err)
				sleep(ctx, again)
			}
			return nil
		}
		logger.Info("this guard leads", "name", gs.me.Name)
	}
	err := t.run(ctx)
	if state.Deposed(ctx) {
		t.deposed.Store(true)
		logger.Warn("this guard no longer leads")
	}
	return errors.Join(err, gs.finish(t))
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// look heeds what the leader shows on the board, until ctx ends.
func (gs *guards) look(ctx context.Context) error {
	return gs.board.Watch(ctx, func(key string, value []byte) {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		gs.shown[key] = bytes.Clone(value)
		if gs.app.term.Load() == nil { // otherwise it is this one
			gs.heed(key, value)
		}
	})
}

// heed does as the leader shows.
func (gs *guards) heed(key string, value []byte) {
	var err error
	switch key {
	case boardSheds:
		var sheds []gatewarden.Shed
		if err = json.Unmarshal(value, &sheds); err == nil {
			gs.app.store.SetSheds(sheds)
		}
	case boardTries:
		var wanted bool
		if err = json.Unmarshal(value, &wanted); err == nil {
			gs.app.intake.witness.Load().want(wanted)
		}
	case boardOlder:
		var older []gatewarden.Canary
		if err = json.Unmarshal(value, &older); err == nil {
			gs.observer.SetOlder(older)
		}
	}
	if err != nil {
		gs.app.logger.Error("what the leader shows cannot be read: is it of another version?", "key", key, "error", err)
	}
}

// sightSubject is what guards tell how their sources do by.
const sightSubject = "sight"

// sight is what a guard tells.
type sight struct {
	Name    string                 `json:"name"`
	API     string                 `json:"api"`
	Version string                 `json:"version"`
	Sources map[string]sourceSight `json:"sources"`
	Tries   triesBySecond          `json:"tries,omitempty"` // on targets, while the leader asks
	Reports progress               `json:"reports"`         // of canaries
}

// told is a sight with when it was heard.
type told struct {
	sight
	at time.Time
}

// speak tells how the sources of this guard do, twice a second, while another one leads.
func (gs *guards) speak(ctx context.Context) error {
	return every(ctx, tickEvery, func(context.Context, time.Time) error {
		if gs.app.leads() {
			return nil
		}
		in, now := gs.app.intake, gs.app.now()
		data, err := json.Marshal(sight{
			Name: gs.me.Name, API: gs.me.API, Version: version.Get().Version,
			Sources: in.sights(now), Tries: in.witness.Load().recent(now), Reports: gs.app.keeper.reports.progress(),
		})
		if err == nil {
			err = gs.app.state.Tell(sightSubject, data)
		}
		return err
	}, func(err error) { gs.app.logger.Debug("how the sources do cannot be told", "error", err) })
}

// share makes a term hear the other guards.
func (t *term) share(context.Context, settings) error {
	if !t.state.Shared() {
		return nil
	}
	stop, err := t.state.Hear(sightSubject, t.hear)
	if err != nil {
		return fmt.Errorf("listening to the other guards: %w", err)
	}
	t.closers.add("listening to the other guards", func(context.Context) error { stop(); return nil })
	return nil
}

// hear takes what a guard tells of itself.
func (t *term) hear(data []byte) {
	var s sight
	if err := json.Unmarshal(data, &s); err != nil || s.Name == "" || s.Name == t.guards.me.Name {
		return
	}
	at := t.now()
	t.intake.heed(s.Name, s.Sources, at)
	t.intake.witness.Load().heed(s.Name, s.Tries)
	t.hearing.heed(s.Name, s.Reports, at)
	t.guards.mu.Lock()
	defer t.guards.mu.Unlock()
	t.guards.others[s.Name] = told{s, at}
}

// goneAfter is how long a guard is silent before it is taken to be gone.
const goneAfter = 5 * time.Second

// views returns the guards for the API, nil for one that is alone.
func (gs *guards) views(now time.Time) []api.GuardStatus {
	if gs.board == nil {
		return nil
	}
	list := []api.GuardStatus{{Name: gs.me.Name, API: gs.me.API, Version: version.Get().Version, Leads: true, Up: true, HeardAt: now}}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, o := range gs.others {
		list = append(list, api.GuardStatus{Name: o.Name, API: o.API, Version: o.Version, Up: now.Sub(o.at) < goneAfter, HeardAt: o.at})
	}
	slices.SortFunc(list, func(a, b api.GuardStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// tellWithin bounds how late the others know what the leader shows on the board, after the
// tick that changed it.
const tellWithin = 50 * time.Millisecond

// tell shows the other guards what changes, until ctx ends. What begins to be shed is told
// before Kong's workers know of it.
func (t *term) tell(ctx context.Context) error {
	shown := map[string][]byte{}
	return every(ctx, tellWithin, func(ctx context.Context, _ time.Time) error {
		var errs []error
		for key, value := range map[string]any{
			boardSheds: t.loop.engine.Sheds(), boardOlder: t.loop.runs.Older(), boardTries: t.intake.witness.Load().asked.Load(),
		} {
			data, err := json.Marshal(value)
			if err == nil && !bytes.Equal(data, shown[key]) {
				if err = t.guards.board.Put(ctx, key, data); err == nil {
					shown[key] = data
				}
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}, func(err error) {
		t.logger.Warn("the other guards do not know what is shed now; it is told again", "error", err)
	})
}

// trimReports is how often reports that were taken are dropped. Those that are not come
// again after a take-over, and are known by their ids.
const trimReports = time.Second

// listen takes what the other guards saw of canaries, until ctx ends.
func (t *term) listen(ctx context.Context) error {
	log := t.keeper.reports.log
	for ctx.Err() == nil {
		begin, newest, err := log.Begin(ctx)
		if err == nil {
			t.hearing.begin(begin, newest)
			var trimmed time.Time // each is a write to the disks of most
			err = log.Follow(ctx, begin, func(seq uint64, data []byte) error {
				if err := t.observe(ctx, data); err != nil {
					return err
				}
				if t.hearing.take(seq); time.Since(trimmed) < trimReports {
					return nil
				}
				trimmed = time.Now()
				return log.Trim(ctx, seq)
			})
		}
		if err != nil && ctx.Err() == nil {
			t.logger.Warn("what the other guards see of canaries waits", "error", err)
			sleep(ctx, again)
		}
	}
	return nil
}

// late reports whether something that a guard saw of canaries is on its way to the runs for
// too long, and why: also what this one saw before it led.
func (t *term) late(at time.Time) (bool, string) {
	t.hearing.heed(t.guards.me.Name, t.keeper.reports.progress(), at)
	return t.hearing.late(at)
}

// observe gives reports of other guards to the runs. Those of one message wait together
// until they are durable.
func (t *term) observe(ctx context.Context, message []byte) error {
	list, err := split(message)
	if err != nil {
		t.logger.Error("reports of another guard are damaged and left out", "error", err)
	}
	var waiting sync.WaitGroup
	errs := make([]error, len(list))
	for i, report := range list {
		waiting.Go(func() { errs[i] = t.loop.runs.Observed(ctx, t.now(), report) })
	}
	waiting.Wait()
	for _, err := range errs {
		if gatewarden.ErrorCode(err) == gatewarden.Invalid {
			t.logger.Error("a report of another guard is damaged and left out", "error", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// sinkOf returns where a source hands its records in.
func (a *App) sinkOf(kind string, cfg *rules.State) collector.Sink {
	if kind == "httplog" && cfg.Durable() {
		return durably{a.intake, a.keeper}
	}
	return a.intake
}

// writerOf returns whose checkpoints those of a source are: this guard's own, unless the
// source asks others, which is for the one that leads.
func (a *App) writerOf(kind string, cfg *rules.State) (string, error) {
	if asks(kind) || !a.state.Shared() {
		return "", nil
	}
	return guardName(cfg)
}

// durably is the sink of sources whose senders are told only then that records came when no
// death of a guard can lose them.
type durably struct {
	*intake
	keeper *keeper
}

// Accept counts the records and waits for them to be durable. When that fails they are
// counted all the same, and known by their ids when they come to this guard again. At
// another one they would count twice: once it is known that nothing can be made durable,
// nothing is counted.
func (d durably) Accept(ctx context.Context, source string, records []gatewarden.Record) error {
	if err := d.keeper.ready(); err != nil {
		return err
	}
	d.count(ctx, source, records)
	return d.keeper.settle(ctx)
}
