package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Journal is where the engine writes what it decided, before it does it, and what
// it reads after a crash.
type Journal interface {
	// Append makes the event durable and returns it with its place in the journal. A
	// conflict means that another guard has taken over.
	Append(ctx context.Context, e gatewarden.Event) (gatewarden.Event, error)
	// All yields every event of a type in order, from the oldest kept. A message that
	// cannot be read is skipped; an error ends the sequence.
	All(ctx context.Context, t gatewarden.EventType) iter.Seq2[gatewarden.Event, error]
}

// Leases keeps until when each action in place may live. They are renewed every
// few minutes, which is why they are not in the journal.
type Leases interface {
	Put(ctx context.Context, actionID string, until time.Time) error
	Delete(ctx context.Context, actionID string) error // one that is not there is no error
	All(ctx context.Context) (map[string]time.Time, error)
}

// Config is what an Engine is made of. Executors and Journal are needed, the rest
// has a default.
type Config struct {
	Policies   []gatewarden.ActionPolicy
	SLOs       []gatewarden.SLO
	Guardrails gatewarden.Guardrails
	Executors  map[gatewarden.StepKind]Executor
	Journal    Journal
	Leases     Leases // in memory when nil, which forgets renewals with the process

	// Traffic returns what was requested of late, for the share that changes touch. It
	// is asked under the engine's lock. nil knows of no requests.
	Traffic func(at time.Time) []gatewarden.Flow

	// Watch tells whether a change shows in the traffic. nil tells nothing, and nothing is
	// unverified.
	Watch Watch

	// Steerer says where the limits of adaptive steps are to be. Without one such steps
	// cannot be begun.
	Steerer Steerer

	// Around, when set, is called before each call of an executor, which gets the context
	// that it returns; end is given the call's error.
	Around func(ctx context.Context, a *gatewarden.Action, call string) (inside context.Context, end func(error))

	// Leader reports whether this guard may act; nil is always. Once it may not, it does not
	// any more: another one has taken up what was under way, and no call is made again.
	Leader func() bool
	// Now stamps what happens between ticks: outcomes and what people do. time.Now
	// when nil.
	Now func() time.Time
	// CallTimeout bounds one call of an executor, 30 s unless set. A Jenkins step gets
	// the time it may be followed for on top.
	CallTimeout time.Duration
	// Keep is how many ended actions List remembers, 1000 unless set.
	Keep int
	// Failpoint, when set, is called between every two steps with one of the names of
	// Failpoints. A crash test kills the process there.
	Failpoint func(name string)

	Logger     *slog.Logger          // discarded when nil
	Registerer prometheus.Registerer // not registered when nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Journal == nil {
		return c, gatewarden.Errorf(gatewarden.Internal, "the engine of actions has no journal")
	}
	if c.Leases == nil {
		c.Leases = NewMemoryLeases()
	}
	if c.Leader == nil {
		c.Leader = func() bool { return true }
	}
	if c.Around == nil {
		c.Around = func(ctx context.Context, _ *gatewarden.Action, _ string) (context.Context, func(error)) {
			return ctx, func(error) {}
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.CallTimeout = cmp.Or(c.CallTimeout, 30*time.Second)
	c.Keep = cmp.Or(c.Keep, 1000)
	return c, nil
}

// Engine is the one road to the outside. Its methods are safe for concurrent use.
//
// Deciding is serial and under mu: ticks, what people do, and what the goroutines
// at work on single actions report. Calls of executors are made without it. Readers
// never wait for it: they read a view that is swapped after each change.
type Engine struct {
	cfg     Config
	metrics *metrics
	view    atomic.Pointer[view]

	work sync.WaitGroup  // the goroutines at work on actions
	quit chan struct{}   // closed by Close: no new call
	run  context.Context // of all calls; ended when the drain takes too long
	stop context.CancelFunc

	mu       sync.Mutex
	started  bool
	closing  bool
	rules    ruleBook
	verdicts map[string]*gatewarden.Verdict
	ladders  []*ladder            // the active ones, the oldest first
	lastEnd  map[string]time.Time // when the last ladder of a key ended
	lastDone map[string]time.Time // the same, of those that did not only observe
	actions  map[string]*action
	changes  uint64            // of actions, in the order of the journal
	seen     time.Time         // the last sign of life in the journal at the start
	paused   *Pause            // by a person
	halted   *Pause            // by a file
	alarms   map[string]*alarm // of others, by their fingerprints: those that fire, or did until they fell silent
	deposed  bool              // the journal has another writer: this guard decides nothing any more

	answered  map[string]time.Time     // ids of the ladders of runs that have ended, and when
	upstreams map[string]chan struct{} // who has one holds the only right to change its weights
}

// New returns an engine that does nothing until Start.
func New(cfg Config) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg:     cfg,
		metrics: newMetrics(cfg.Registerer),
		quit:    make(chan struct{}),
		rules:   newRuleBook(cfg.Policies, cfg.SLOs),
		actions: make(map[string]*action),

		lastEnd:   make(map[string]time.Time),
		lastDone:  make(map[string]time.Time),
		answered:  make(map[string]time.Time),
		upstreams: make(map[string]chan struct{}),
	}
	e.run, e.stop = context.WithCancel(context.Background())
	e.publish()
	return e, nil
}

// SetRules swaps the rules. Ladders that are climbing keep the policy that they
// were started with; those that only observed end when their policy is to do more.
func (e *Engine) SetRules(policies []gatewarden.ActionPolicy, slos []gatewarden.SLO) {
	book := newRuleBook(policies, slos)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rules = book
}

// Tick hands the engine the verdicts of one instant. An SLO without a verdict
// counts as inconclusive. The calls to the outside go on after Tick has returned;
// in observe mode there are none. The error is the journal's or the leases': what
// could not be written is tried again with the next tick.
func (e *Engine) Tick(ctx context.Context, at time.Time, verdicts []gatewarden.Verdict) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.started {
		return gatewarden.Errorf(gatewarden.Internal, "the engine of actions was not started")
	}
	e.verdicts = make(map[string]*gatewarden.Verdict, len(verdicts))
	for i := range verdicts {
		e.verdicts[verdicts[i].Name] = &verdicts[i]
	}
	e.judgeAlarms(at)
	if e.closing || !e.leads() {
		return nil
	}
	e.answerBreaches()
	errs := []error{e.silence(ctx, at)}
	for _, l := range slices.Clone(e.ladders) {
		if l.moves {
			errs = append(errs, e.push(ctx, l, at), e.descend(ctx, l, at), e.finish(ctx, l, at))
			continue
		}
		l.observe(e.conditionOf(l), at)
		l.restrain(at)
		errs = append(errs,
			e.expire(ctx, l, at),
			e.renew(ctx, l, at),
			e.lapse(ctx, l, at),
			e.verify(ctx, l, at),
			e.watch(ctx, l, at),
			e.steer(ctx, l, at),
			e.climb(ctx, l, at),
			e.tellJoined(ctx, l, at),
			e.descend(ctx, l, at),
			e.finish(ctx, l, at))
		e.inspect(l, at)
	}
	e.measure(at)
	return errors.Join(errs...)
}

// answerBreaches begins a ladder for every breach that names a policy and is not
// answered yet. One that is there already answers the breach of one more SLO: it stays
// until that is over as well.
func (e *Engine) answerBreaches() {
	for _, n := range e.rules.namings {
		v := e.verdicts[n.slo]
		if !fires(v, n.severity) {
			continue
		}
		p := e.rules.policies[n.policy]
		t := triggerOf(v, n.severity)
		key := ladderKey(&p, n.slo)
		// A breach that outlasts the end of its ladder is answered anew, by a ladder with
		// another id.
		if end, ok := e.lastEnd[key]; ok && !t.Since.After(end) {
			t.Since = end
		}
		l := e.ladderOf(key)
		if l == nil {
			e.ladders = append(e.ladders, newLadder(p, t))
			continue
		}
		if !l.answers[n.slo] {
			l.answers[n.slo], l.joined = true, append(l.joined, t)
		}
	}
}

// ladderOf returns the ladder that answers SLOs by that key, or nil.
func (e *Engine) ladderOf(key string) *ladder {
	for _, l := range e.ladders {
		if l.key == key && !l.ofRun() {
			return l
		}
	}
	return nil
}

// tellJoined writes down which SLOs a ladder answers besides the one that began it, once
// there is something of the ladder in the journal: a later life keeps it up for them as well.
// The event's action is of no step.
func (e *Engine) tellJoined(ctx context.Context, l *ladder, at time.Time) error {
	for l.recorded && len(l.joined) > 0 {
		t := l.joined[0]
		id := ladderID(l.policy.Name, &t) + "-1"
		_, err := e.append(ctx, gatewarden.Event{
			At: at, Type: gatewarden.EventAction, Name: id,
			State: string(gatewarden.ActionSkipped), Severity: t.Severity.String(),
			Reason: fmt.Sprintf("%s is known already: %s answers %s, and now %s as well", l.policy.Name, l.id, l.trigger.Name, t.Name),
			Action: &gatewarden.Action{ID: id, Policy: l.policy.Name, Ladder: l.id, Trigger: t, Mode: l.policy.Mode, Status: gatewarden.ActionSkipped, PlannedAt: at},
		})
		if err != nil {
			return err
		}
		l.joined = l.joined[1:]
	}
	return nil
}

// leads reports whether this guard may act.
func (e *Engine) leads() bool { return e.cfg.Leader() && !e.deposed }

// conditionOf says what the verdicts mean for a ladder.
func (e *Engine) conditionOf(l *ladder) condition {
	if l.ofRun() {
		return e.conditionOfRun(l)
	}
	namings := e.rules.namingsOf(l)
	for _, n := range namings {
		if fires(e.verdicts[n.slo], n.severity) {
			return burning
		}
	}
	known := e.rules.answered(l)
	for slo := range l.answers {
		if known && !e.rules.slos[slo] {
			continue // a reload has removed it
		}
		if v := e.verdicts[slo]; v == nil || v.State == gatewarden.Inconclusive {
			return blind
		}
	}
	for _, n := range namings {
		for sev := n.severity + 1; sev <= gatewarden.SeverityOutage; sev++ {
			if l.answers[n.slo] && fires(e.verdicts[n.slo], sev) {
				return uneasy
			}
		}
	}
	return calm
}

// Close stops the engine: nothing new begins, and calls under way may end until ctx
// does. What is cut short is taken up at the next start.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if !e.closing {
		e.closing = true
		close(e.quit)
	}
	e.mu.Unlock()
	defer e.stop()
	drained := make(chan struct{})
	go func() {
		e.work.Wait()
		close(drained)
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		e.stop()
		<-drained
		return gatewarden.Errorf(gatewarden.Unavailable, "calls were cut short: %w", ctx.Err()).
			WithHint("they are taken up at the next start")
	}
}
