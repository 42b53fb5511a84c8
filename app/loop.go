package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/actions/adaptive"
	"github.com/gatewarden/gatewarden/analyzers"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/store"
)

// tickEvery is how often everything is judged. Twice a second, because half a second
// is what the phase of the tick adds to the answer to an outage, and a tick costs
// little.
const tickEvery = 500 * time.Millisecond

// maxWatchGap bounds the time that one tick vouches for. A guard that was stopped
// or starved did not watch meanwhile.
const maxWatchGap = 5 * time.Second

const (
	// writeWithin bounds what a tick waits for the journal. A journal that answers needs
	// milliseconds; what one that does not answer leaves open is for the next tick.
	writeWithin = 10 * time.Second
	// eventsWithin is the part of it that events get which only tell: what is decided to be
	// done must be written too.
	eventsWithin = writeWithin / 2
	// maxUnwritten is how many events wait for a journal that does not take them. A tick has
	// few: more than a handful is hundreds of SLOs that change at once.
	maxUnwritten = 10_000
)

// loop is what happens at each tick: judge, remember, act. Live, replay and tests
// run this one.
type loop struct {
	store    *store.Store
	intake   *intake
	journal  chronicle
	engine   *actions.Engine
	steerer  *adaptive.Steerer
	releases *releases
	tracing  *tracing
	runs     *gates.Book
	judges   *judges
	drifts   *drifts // nil in a replay, which has no gateway

	took   prometheus.Histogram // how long a tick takes; nil in a replay
	states *prometheus.GaugeVec // how many SLOs are in which state

	mu        sync.Mutex         // held for a tick and for a swap of the rules
	last      time.Time          // when the last tick was
	unwritten []gatewarden.Event // that the journal did not take yet, the oldest first

	// judging is held while the evaluator is at work, and never while anything is waited for:
	// who asks how things stand is answered in the middle of a tick too. It is taken after mu.
	judging   sync.Mutex
	evaluator *analyzers.Evaluator
	verdicts  []gatewarden.Verdict // of the last tick
}

// chronicle is the journal as a loop needs it.
type chronicle interface {
	actions.Journal
	Events(ctx context.Context, q journal.Query) ([]gatewarden.Event, error)
	Deposed() bool
}

var _ chronicle = (*journal.Journal)(nil)

// parts are what a loop is joined from.
type parts struct {
	rules    *rules.Rules
	store    *store.Store
	intake   *intake
	journal  chronicle
	engine   actions.Config // the rules and the journal are filled in
	gates    gates.Config   // the judges, the journal and the engine are filled in
	moves    bool           // runs may move weights
	halt     *actions.Pause // by a file, from the first instant on
	started  time.Time      // the first instant
	registry prometheus.Registerer
}

// giveUpWithin is how long calls may go on that a loop began which did not come about.
const giveUpWithin = time.Second

// newLoop joins a loop, which takes up what the journal says was under way. On an error
// nothing of it is under way any more: another guard may lead by then.
func newLoop(ctx context.Context, p parts) (l *loop, j *judges, err error) {
	p.store.Configure(meters(p.rules))
	p.engine.Journal, p.engine.SLOs, p.engine.Registerer = p.journal, answerable(p.rules), p.registry
	p.engine.Guardrails, p.engine.Traffic = p.rules.Guardrails, (&flows{store: p.store}).Of
	witness := newWitness(p.store, p.intake)
	p.intake.witness.Store(witness)
	p.engine.Watch = witness
	steerer := adaptive.New(p.store, p.rules.SLOs)
	p.engine.Steerer = steerer
	engine, err := actions.New(p.engine)
	if err != nil {
		return nil, nil, fmt.Errorf("setting up the engine: %w", err)
	}
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpWithin)
		defer cancel()
		_ = engine.Close(ctx) // calls that it cuts short are taken up by whoever leads next
	}()
	if err := engine.Halt(ctx, p.halt); err != nil {
		return nil, nil, err
	}
	if err := engine.Start(ctx, p.started); err != nil {
		return nil, nil, fmt.Errorf("taking up what was under way: %w", err)
	}
	j = &judges{store: p.store, intake: p.intake, blind: blindOnce(p.intake.Blind), lacks: p.intake.gateway.lacks}
	evaluator := analyzers.NewEvaluator(j.of(p.rules.SLOs))
	past, err := p.journal.Events(ctx, journal.Query{Type: gatewarden.EventSLO})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the journal: %w", err)
	}
	evaluator.Resume(past)
	l = &loop{
		store: p.store, intake: p.intake, journal: p.journal, engine: engine, steerer: steerer, evaluator: evaluator, judges: j,
		releases: newReleases(engine, p.rules.Canaries), took: newTickSeconds(p.registry), states: newSLOs(p.registry),
	}
	if l.runs, err = l.newBook(ctx, p); err != nil {
		return nil, nil, err
	}
	return l, j, nil
}

// newBook returns the book of the runs of canaries, with what the last life left. From
// then on the intake shows it what it counts.
func (l *loop) newBook(ctx context.Context, p parts) (book *gates.Book, err error) {
	cfg := p.gates
	cfg.NewJudge, cfg.LoadJudge, cfg.Delay = newJudge, loadJudge, p.intake.delay
	cfg.Journal, cfg.Answer, cfg.Registerer = p.journal, l.releases.Answer, p.registry
	cfg.Lacks = p.intake.gateway.lacks
	if p.moves {
		cfg.Mover = l.releases
	}
	if book, err = gates.New(cfg); err != nil {
		return nil, fmt.Errorf("setting up the runs of canaries: %w", err)
	}
	defer func(book *gates.Book) {
		if err != nil {
			book.Abandon()
		}
	}(book)
	if err := book.SetCanaries(p.rules.Canaries); err != nil {
		return nil, fmt.Errorf("setting up the canaries: %w", err)
	}
	if err := book.Restore(ctx, p.started); err != nil {
		return nil, fmt.Errorf("taking up the runs of canaries: %w", err)
	}
	l.intake.show(book)
	return book, nil
}

// Tick judges the instant at and hands the verdicts on. The error joins what could
// not be written or done; nothing of it keeps the next tick from coming, which takes up what
// is left.
func (l *loop) Tick(ctx context.Context, at time.Time) error {
	defer prometheus.NewTimer(l.took).ObserveDuration()
	l.mu.Lock()
	defer l.mu.Unlock()
	from := at.Add(-tickEvery)
	if !l.last.IsZero() && at.Sub(l.last) <= maxWatchGap {
		from = l.last
	}
	l.intake.watch(from.Truncate(time.Second), at.Truncate(time.Second), at, l.judges.spans) // whole seconds
	l.last = at

	began := time.Now()
	result := l.judge(ctx, at)
	l.tracing.verdicts(ctx, result.Events, began)
	drift, driftEvents := l.drifts.tick(at)
	suspects := l.intake.spans.tick(at, result.Verdicts)
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	errs := []error{l.write(ctx, slices.Concat(l.intake.events(at), l.intake.gateway.events(at), driftEvents, result.Events, suspects))}
	if err := l.runs.Tick(ctx, at); err != nil {
		errs = append(errs, err)
	}
	if err := l.engine.Tick(ctx, at, slices.Concat(result.Verdicts, drift)); err != nil {
		errs = append(errs, err)
	}
	l.store.SetSheds(l.engine.Sheds())
	l.intake.witness.Load().rest(at)
	if l.journal.Deposed() {
		errs = append(errs, errOvertaken)
	}
	return errors.Join(errs...)
}

// judge judges the instant; l.mu is held.
func (l *loop) judge(ctx context.Context, at time.Time) analyzers.Result {
	l.judging.Lock()
	defer l.judging.Unlock()
	result := l.evaluator.Tick(ctx, at)
	l.verdicts = result.Verdicts
	l.count()
	return result
}

// replace puts other analyzers in place of the present ones; l.mu is held.
func (l *loop) replace(list []analyzers.Analyzer) {
	l.judging.Lock()
	defer l.judging.Unlock()
	l.evaluator.Replace(list)
}

// write appends events to the journal, after those that it did not take before. A restart
// goes by them: were the end of a breach left out, it would be believed in for good. Given
// up is only what the journal will never take. l.mu is held.
func (l *loop) write(ctx context.Context, events []gatewarden.Event) error {
	ctx, cancel := context.WithTimeout(ctx, eventsWithin)
	defer cancel()
	var errs []error
	l.unwritten = append(l.unwritten, events...)
	if over := len(l.unwritten) - maxUnwritten; over > 0 {
		l.unwritten = slices.Delete(l.unwritten, 0, over)
		errs = append(errs, fmt.Errorf("the journal takes nothing: the oldest %d events are lost", over))
	}
	done := 0
	for _, e := range l.unwritten {
		_, err := l.journal.Append(ctx, e)
		if err != nil {
			errs = append(errs, fmt.Errorf("writing the event of %s to the journal: %w", e.Name, err))
		}
		if code := gatewarden.ErrorCode(err); err != nil && code != gatewarden.Invalid && code != gatewarden.Conflict {
			break
		}
		done++
	}
	l.unwritten = slices.Delete(l.unwritten, 0, done)
	return errors.Join(errs...)
}

// close writes what the journal has not taken yet: a later life goes by it.
func (l *loop) close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(ctx, nil)
}

// count sets the gauge of states; l.judging is held.
func (l *loop) count() {
	n := map[gatewarden.State]int{gatewarden.Inconclusive: 0, gatewarden.Healthy: 0, gatewarden.Breach: 0}
	for i := range l.verdicts {
		n[l.verdicts[i].State]++
	}
	for state, count := range n {
		l.states.WithLabelValues(state.String()).Set(float64(count))
	}
}

// newSLOs returns the gauge of how many SLOs are in which state.
func newSLOs(reg prometheus.Registerer) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_slos", Help: "SLOs by what the last tick judged of them.",
	}, []string{"state"})
	reg.MustRegister(g)
	return g
}

// current returns the verdicts of the last tick, with their reasons.
func (l *loop) current() []gatewarden.Verdict {
	l.judging.Lock()
	defer l.judging.Unlock()
	verdicts := l.evaluator.Explained(l.verdicts)
	l.intake.spans.explain(verdicts)
	return verdicts
}

// newTickSeconds returns the histogram of how long ticks take.
func newTickSeconds(reg prometheus.Registerer) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:                        "gatewarden_app_tick_seconds",
		Help:                        "How long it took to judge all SLOs once and to decide what follows.",
		Buckets:                     []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
	})
	reg.MustRegister(h)
	return h
}
