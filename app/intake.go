package app

import (
	"context"
	"fmt"
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
	runs       atomic.Pointer[gates.Book] // of canaries; nil until there is one
	failed     exemplars
	tracing    *tracing
	gateway    *gateway

	mu      sync.Mutex
	sources map[string]*sourceHealth
	started time.Time // since when silence counts
	blind   bool      // as of the last event

	records *prometheus.CounterVec
	lag     *prometheus.GaugeVec
}

var _ collector.Sink = (*intake)(nil)

// sourceHealth is what is known of one source.
type sourceHealth struct {
	kind    string
	records uint64
	arrived time.Time     // when the last batch came
	lag     time.Duration // from the newest record's completion to its arrival
	came    *deliveries   // nil when nothing checks the log
}

func newIntake(s *store.Store, now func() time.Time, blindAfter time.Duration, reg prometheus.Registerer) *intake {
	in := &intake{
		store: s, now: now, blindAfter: blindAfter,
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
	return in
}

// expect makes a source known before its first record, and starts the clock of
// silence.
func (in *intake) expect(name, kind string, at time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sources[name] = &sourceHealth{kind: kind}
	for fate := range fates(store.Added{}) {
		in.records.WithLabelValues(name, fate) // from 0 on: the first batch must show in a rate
	}
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
	if runs := in.runs.Load(); runs == nil {
		added = in.store.Add(records, now, nil)
	} else {
		batch := runs.Batch(now)
		added = in.store.Add(records, now, batch.Add)
		batch.Commit(ctx)
	}
	for fate, n := range fates(added) {
		in.records.WithLabelValues(source, fate).Add(float64(n))
	}
	end(added)
	in.failed.see(records)
	in.note(source, records, now)
	return added
}

// fates are what can become of a record, with how many it became of.
func fates(a store.Added) map[string]int {
	return map[string]int{
		"counted": a.Counted, "shed": a.Shed, "duplicate": a.Duplicate, "too_late": a.TooLate, "future": a.Future,
	}
}

// note remembers that the source is alive. A record from the future says nothing about
// how late the source is.
func (in *intake) note(source string, records []gatewarden.Record, now time.Time) {
	var newest time.Time
	for i := range records {
		if at := records[i].At; at.After(newest) && !at.After(now) {
			newest = at
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	h, ok := in.sources[source]
	if !ok {
		h = &sourceHealth{}
		in.sources[source] = h
	}
	h.records += uint64(len(records))
	h.arrived = now
	if h.came != nil {
		for i := range records {
			h.came.add(&records[i], now.Unix())
		}
	}
	if !newest.IsZero() {
		h.lag = now.Sub(newest)
		in.lag.WithLabelValues(source).Set(h.lag.Seconds())
	}
}

// Blind reports whether no source has said anything for so long that silence can
// no longer be told from peace, and why. Without a word since the start the guard
// is blind from the start on.
func (in *intake) Blind(at time.Time) (bool, string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	last := time.Time{}
	for _, h := range in.sources {
		if h.arrived.After(last) {
			last = h.arrived
		}
	}
	switch {
	case last.IsZero():
		return true, "no source has delivered a record yet"
	case at.Sub(last) > in.blindAfter:
		return true, fmt.Sprintf("no source has delivered a record for %s (the limit is %s)",
			gatewarden.Duration(at.Sub(last).Truncate(time.Second)), gatewarden.Duration(in.blindAfter))
	default:
		return false, ""
	}
}

// events returns the event of going blind or of seeing again, when that happened
// since the last call.
func (in *intake) events(at time.Time) []gatewarden.Event {
	blind, why := in.Blind(at)
	in.mu.Lock()
	defer in.mu.Unlock()
	// Before the first record there is nothing to announce until the limit has passed:
	// a guard that starts a second before its gateway is not news.
	if blind && len(in.sources) > 0 && at.Sub(in.started) <= in.blindAfter {
		return nil
	}
	if blind == in.blind {
		return nil
	}
	in.blind = blind
	state, reason := "blind", why
	if !blind {
		state, reason = "seeing", "records arrive again"
	}
	return []gatewarden.Event{{At: at, Type: gatewarden.EventSource, Name: in.names(), State: state, Reason: reason}}
}

func (in *intake) names() string {
	names := make([]string, 0, len(in.sources))
	for name := range in.sources {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// views returns the sources for the API.
func (in *intake) views(at time.Time) []api.Source {
	in.mu.Lock()
	defer in.mu.Unlock()
	list := make([]api.Source, 0, len(in.sources))
	for name, h := range in.sources {
		heard := h.arrived
		if heard.Before(in.started) {
			heard = in.started // there was no time yet to be silent
		}
		v := api.Source{Name: name, Kind: h.kind, Records: h.records, LagSeconds: h.lag.Seconds(), Silent: at.Sub(heard) > in.blindAfter}
		if !h.arrived.IsZero() {
			arrived := h.arrived // a copy: whoever shows it holds no lock
			v.LastRecord = &arrived
		} else if answered, ok := in.gateway.answered(name); ok {
			v.Silent = at.Sub(answered) > in.blindAfter // it brings no records, and is not meant to
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b api.Source) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// check makes the log be checked by those of the sources that can: how much of what
// Kong's counters say came by each source is known from now on.
func (in *intake) check(sources []collector.Source) {
	for _, s := range sources {
		checking, ok := s.(*kongmetrics.Source)
		if !ok {
			continue
		}
		how, ok := checking.Completeness()
		if !ok {
			continue
		}
		in.gateway.check(completeness.Config{
			Limit: float64(how.Limit), Window: time.Duration(how.Window), Settle: time.Duration(how.Settle), MinRequests: uint64(how.MinRequests),
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
			shares[name] = float64(h.came.between(c.From, c.To)) / float64(c.All.Counted)
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
