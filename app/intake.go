package app

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/completeness"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/kongmetrics"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/store"
)

// intake is the sink of all sources: it counts records in the store and knows how
// each source does.
type intake struct {
	store      *store.Store
	now        func() time.Time
	blindAfter time.Duration
	log        *slog.Logger
	quiet      collector.Quiet
	runs       atomic.Pointer[gates.Book] // of canaries; nil until there is one
	failed     exemplars
	bad        badTraces
	spans      *spans
	tracing    *tracing
	gateway    *gateway
	witness    atomic.Pointer[witness] // nil until there is an engine
	scout      atomic.Pointer[scout]   // nil unless another guard keeps the runs

	mu      sync.Mutex
	sources map[string]*sourceHealth
	started time.Time        // since when silence counts
	slos    []gatewarden.SLO // those that are judged

	records *prometheus.CounterVec
	lag     *prometheus.GaugeVec
}

var _ collector.Sink = (*intake)(nil)

// sourceHealth is what is known of one source.
type sourceHealth struct {
	name      string
	kind      string
	signal    string        // of what it brings; signalQueries for those of all queries
	asker     asker         // nil unless it knows by itself how far it is
	lags      time.Duration // by how much what it brings is always late
	blind     bool          // as of the last event
	records   uint64
	elsewhere map[string]*elsewhere // what other guards took of it, by their names
	arrived   time.Time             // when the last batch came that told of the present
	astray    string                // what is wrong with the last batch, if it did not
	strayed   time.Time             // when that came
	lag       time.Duration         // from the newest record's completion to its arrival
	came      *deliveries           // nil when nothing checks the log
	brings    map[string]bool       // services that it brought requests of
	asked     time.Time             // when that was last looked at

	pace                pace   // of what arrives here
	duplicates, dropped uint64 // of it
	troubles            *troubles

	metrics exposed
}

func newIntake(s *store.Store, now func() time.Time, blindAfter time.Duration, reg prometheus.Registerer) *intake {
	in := &intake{
		store: s, now: now, blindAfter: blindAfter, log: slog.New(slog.DiscardHandler),
		sources: map[string]*sourceHealth{}, gateway: newGateway(s),
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_app_records_total",
			Help: "Records that sources handed in, by what became of them.",
		}, []string{"source", "fate"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_source_lag_seconds",
			Help: "Time from the end of the newest request to the arrival of its record.",
		}, []string{"source"}),
	}
	reg.MustRegister(in.records, in.lag)
	in.spans = newSpans(in, reg)
	return in
}

// expect makes a source known before its first record, and starts the clock of
// silence.
func (in *intake) expect(name, kind string, at time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sources[name] = &sourceHealth{name: name, kind: kind, signal: signalOf(kind)}
	in.sources[name].expose(in) // from 0 on: the first batch must show in a rate
	if in.started.IsZero() {
		in.started = at
	}
}

// show makes the runs of canaries see from now on what counts.
func (in *intake) show(runs *gates.Book) { in.runs.Store(runs) }

// Accept counts the records. It has no way to fail: what the store drops, it
// counts as dropped.
func (in *intake) Accept(ctx context.Context, source string, records []gatewarden.Record) error {
	in.count(ctx, source, records)
	return nil
}

// count counts the records and says what became of them.
func (in *intake) count(ctx context.Context, source string, records []gatewarden.Record) store.Added {
	ctx, end := in.tracing.batch(ctx, source, len(records))
	now := in.now()
	var added store.Added
	if runs := in.runs.Load(); runs != nil {
		batch := runs.Batch(now)
		added = in.store.Add(records, now, batch.Add)
		if err := batch.Commit(ctx); err != nil { // another guard keeps the runs since just now
			in.scout.Load().report(batch.Message())
		}
	} else if scout := in.scout.Load(); scout != nil {
		added = scout.add(in.store, records, now)
	} else {
		added = in.store.Add(records, now, nil)
	}
	end(added)
	in.failed.see(records)
	in.bad.see(records)
	in.witness.Load().see(records)
	in.note(source, records, now, added)
	return added
}

// fate is one of the things that can become of records, and of how many it did.
type fate struct {
	name string
	n    int
}

// fates are what can become of a record, with how many it became of, always in this
// order.
func fates(a store.Added) [5]fate {
	return [...]fate{{"counted", a.Counted}, {"shed", a.Shed}, {"duplicate", a.Duplicate}, {"too_late", a.TooLate}, {"future", a.Future}}
}

// exposed are the metrics of a source, looked up once: each batch counts in them.
type exposed struct {
	fates [5]prometheus.Counter // in the order of fates
	lag   prometheus.Gauge      // nil before there was a lag
}

// expose makes the source's metrics.
func (h *sourceHealth) expose(in *intake) {
	for i, f := range fates(store.Added{}) {
		h.metrics.fates[i] = in.records.WithLabelValues(h.name, f.name)
	}
}

// staleAfter is how long ago the newest record of a batch may have completed, if blind_after
// is not longer: what is late by more says nothing of the seconds that are judged now.
const staleAfter = time.Minute

// note remembers that the source is alive, and what became of its records. A record from
// the future says nothing about how late the source is. Records that were all dropped, or
// are all of long ago, do not make a source seen: no data of the present is never good.
func (in *intake) note(source string, records []gatewarden.Record, now time.Time, added store.Added) {
	var newest time.Time
	ahead := 0
	for i := range records {
		switch at := records[i].At; {
		case at.After(now):
			ahead++
		case at.After(newest):
			newest = at
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	h, ok := in.sources[source]
	if !ok {
		h = &sourceHealth{name: source}
		h.expose(in)
		in.sources[source] = h
	}
	for i, f := range fates(added) {
		if f.n > 0 {
			h.metrics.fates[i].Add(float64(f.n))
		}
	}
	h.records += uint64(len(records))
	h.pace.add(now, len(records))
	h.duplicates += uint64(added.Duplicate)
	h.dropped += uint64(added.TooLate + added.Future)
	switch stale := now.Sub(newest) > max(in.blindAfter, staleAfter)+h.lags; {
	case len(records) == 0, !stale, ahead > added.Future: // an empty batch is a word, too
		h.arrived, h.astray = now, ""
	default:
		in.stray(h, records, now, added.Future)
	}
	if h.signal == "" {
		h.bring(records, now)
	}
	if h.came != nil {
		for i := range records {
			h.came.add(&records[i], now.Unix())
		}
	}
	if !newest.IsZero() {
		h.lag = now.Sub(newest)
		if h.metrics.lag == nil {
			h.metrics.lag = in.lag.WithLabelValues(source)
		}
		h.metrics.lag.Set(h.lag.Seconds())
	}
}

// stray notes what is wrong with a batch that tells nothing of the present. in.mu is held.
func (in *intake) stray(h *sourceHealth, records []gatewarden.Record, now time.Time, future int) {
	nearest := time.Duration(math.MaxInt64)
	for i := range records {
		if d := records[i].At.Sub(now); (d > 0) == (future > 0) {
			nearest = min(nearest, d.Abs())
		}
	}
	off := gatewarden.Duration(nearest.Truncate(time.Second))
	h.strayed = now
	if future == 0 {
		h.astray = fmt.Sprintf("its newest records are %s old: either it is catching up, or the clocks differ (gatewarden doctor compares them)", off)
		return
	}
	h.astray = fmt.Sprintf("its records lie %s ahead of this guard's clock and are dropped: compare the clocks, gatewarden doctor does", off)
	if due, held := in.quiet.Due(now); due {
		in.log.Warn("records lie ahead of this guard's clock and are dropped", "source", h.name, "ahead", off, "records", future,
			"times_before_unlogged", held, "hint", "compare the clocks: gatewarden doctor")
	}
}

// views returns the sources for the API.
func (in *intake) views(at time.Time) []api.Source {
	in.mu.Lock()
	defer in.mu.Unlock()
	list := make([]api.Source, 0, len(in.sources))
	for name, h := range in.sources {
		silent, _ := in.silent(name, h, at)
		c := h.countedAll(at, in.started)
		v := api.Source{
			Name: name, Kind: h.kind, Records: h.delivered(), LagSeconds: h.lag.Seconds(), Silent: silent,
			Rate: c.Rate, Duplicates: c.Duplicates, Dropped: c.Dropped, Errors: c.Errors,
		}
		if !h.arrived.IsZero() {
			arrived := h.arrived // a copy: whoever shows it holds no lock
			v.LastRecord = &arrived
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b api.Source) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// check makes the log be checked by those of the sources that can: how much of what
// Kong's counters say came by each source is known from now on.
func (in *intake) check(sources []source) {
	for _, s := range sources {
		checking, ok := s.Source.(*kongmetrics.Source)
		if !ok {
			continue
		}
		how, ok := checking.Completeness()
		if !ok {
			continue
		}
		in.gateway.check(completeness.Config{
			Limit: float64(how.Limit), Window: time.Duration(how.Window), Settle: time.Duration(how.Settle) + in.lagOfSignal(""), MinRequests: uint64(how.MinRequests),
		})
		in.mu.Lock()
		for _, h := range in.sources {
			h.came = &deliveries{}
		}
		in.mu.Unlock()
	}
}

// shares returns which share of what Kong counted came by each source. Records that came
// twice count twice here. It is empty when Kong counted nothing.
func (in *intake) shares(c *api.Completeness) map[string]float64 {
	shares := map[string]float64{}
	if c == nil || c.All.Counted == 0 {
		return shares
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for name, h := range in.sources {
		if h.came != nil && !h.arrived.IsZero() {
			shares[name] = float64(h.cameBetween(c.From, c.To)) / float64(c.All.Counted)
		}
	}
	return shares
}

// share tells each of the sources its share.
func (in *intake) share(sources []api.Source, c *api.Completeness) {
	shares := in.shares(c)
	for i := range sources {
		if share, ok := shares[sources[i].Name]; ok {
			sources[i].Completeness = &share
		}
	}
}
