package app

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/suspect"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
)

// spans is where the spans of all sources go:
//
//	source ─AcceptSpans→ spans ─┬ those that an SLO is about, as records → intake
//	                            └ all → suspect.Book ─┬ Find, for each breach → the words of its verdict, an event
//	                                                  └ traces that are whole → downstream, for canaries
type spans struct {
	intake *intake

	mu       sync.Mutex
	book     *suspect.Book
	closed   time.Time                 // when the book was last told to close what is whole
	slos     map[string]gatewarden.SLO // by name
	asked    map[string]bool           // services of SLOs on spans; "" for any
	accused  map[string]*accusation    // by SLO
	tracksOf func(target string) []trackOf
	down     downstream
}

var _ collector.Spans = (*spans)(nil)

// accusation is what is known of where a breach comes from.
type accusation struct {
	from   time.Time // since when there is trouble
	asked  time.Time // when the book was asked last
	told   time.Time // when an event said so
	who    suspect.Suspect
	is     bool
	inform suspect.Suspect // of the event
}

const (
	// closeEvery is how often the book closes what is whole.
	closeEvery = time.Second
	// accuseEvery is how often the book is asked about a breach.
	accuseEvery = 2 * time.Second
	// accuseAgain is how long the suspect of a breach stays the one that was told of.
	accuseAgain = time.Minute
	// longestOnset bounds how long before its alert a breach is taken to have begun.
	longestOnset = 10 * time.Minute
)

func newSpans(in *intake, reg prometheus.Registerer) *spans {
	s := &spans{intake: in, accused: map[string]*accusation{}, down: downstream{}}
	cfg := suspect.DefaultConfig()
	cfg.Closed = s.whole
	s.book = suspect.New(cfg)
	s.expose(reg)
	return s
}

// serve makes the SLOs known that are judged from now on.
func (s *spans) serve(slos []gatewarden.SLO) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slos, s.asked = make(map[string]gatewarden.SLO, len(slos)), map[string]bool{}
	var scopes []string
	for _, slo := range slos {
		if slo.SLI.Query != nil {
			continue // nobody knows what service it is about
		}
		s.slos[slo.Name] = slo
		scopes = append(scopes, slo.Series.Service)
		if slo.Series.Signal == gatewarden.SignalTraces {
			s.asked[slo.Series.Service] = true
		}
	}
	s.book.SetScopes(scopes)
}

// follow makes the targets known that canaries' tracks are.
func (s *spans) follow(tracksOf func(target string) []trackOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracksOf = tracksOf
}

// AcceptSpans implements collector.Spans. The source is heard of also when nobody asks for
// its spans: it is not silent.
func (s *spans) AcceptSpans(ctx context.Context, source string, list []gatewarden.Span) error {
	now := s.intake.now()
	s.mu.Lock()
	var records []gatewarden.Record
	for i := range list {
		if s.asked[list[i].Service] || s.asked[""] {
			records = append(records, list[i].Record())
		}
	}
	s.book.Add(list, now)
	s.mu.Unlock()
	return s.intake.Accept(ctx, source, records)
}

// tick closes what is whole, and returns the events of breaches whose suspect is now known,
// or is another one than was told.
func (s *spans) tick(at time.Time, verdicts []gatewarden.Verdict) []gatewarden.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.Sub(s.closed) >= closeEvery {
		s.closed = at
		s.book.Close(at)
	}
	var events []gatewarden.Event
	for i := range verdicts {
		v := &verdicts[i]
		if v.State != gatewarden.Breach || v.SLO == nil {
			delete(s.accused, v.Name)
			continue
		}
		slo, ok := s.slos[v.Name]
		if !ok {
			continue
		}
		a := s.accused[v.Name]
		if a == nil {
			a = &accusation{from: onset(v)}
			s.accused[v.Name] = a
		}
		if at.Sub(a.asked) < accuseEvery {
			continue
		}
		a.asked = at
		who, found := s.book.Find(suspect.Question{Service: slo.Series.Service, From: a.from, At: at, Slow: slo.SLI.Kind == gatewarden.SLILatency})
		if !found {
			continue // what was found before may be so still: what it was compared with is forgotten in time
		}
		a.who, a.is = who, true
		if a.inform.Service == who.Service && a.inform.Cause == who.Cause || !a.told.IsZero() && at.Sub(a.told) < accuseAgain {
			continue
		}
		a.told, a.inform = at, who
		events = append(events, gatewarden.Event{At: at, Type: gatewarden.EventSuspect, Name: v.Name, State: who.Service, Severity: v.Severity.String(), Reason: who.String()})
	}
	return events
}

// onset returns when a breach began, as far as its verdict tells: an alert needs about its
// short window to fire.
func onset(v *gatewarden.Verdict) time.Time {
	from := v.At
	for i := range v.SLO.Alerts {
		a := &v.SLO.Alerts[i]
		if !a.Firing {
			continue
		}
		since := v.At
		if a.Since != nil {
			since = *a.Since
		}
		before := max(min(time.Duration(a.Short), longestOnset), 10*time.Second)
		if began := since.Add(-before); began.Before(from) {
			from = began
		}
	}
	return from
}

// explain adds the suspect to the reasons of verdicts, where it is known.
func (s *spans) explain(verdicts []gatewarden.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range verdicts {
		if a := s.accused[verdicts[i].Name]; a != nil && a.is && verdicts[i].State == gatewarden.Breach {
			verdicts[i].Reason += "; " + a.who.String()
		}
	}
}

// expose registers what becomes of spans.
func (s *spans) expose(reg prometheus.Registerer) {
	counts := func() suspect.Counts {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.book.Counts()
	}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatewarden_app_spans_waiting", Help: "Spans that wait for their trace to be whole.",
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(s.book.Waiting())
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatewarden_app_traces_total", Help: "Traces that were looked at for suspects.",
		}, func() float64 { return float64(counts().Traces) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatewarden_app_traces_hurried_total", Help: "Traces that were looked at before they were whole, because too many spans waited.",
		}, func() float64 { return float64(counts().Hurried) }),
	)
	for fate, of := range map[string]func(suspect.Counts) uint64{
		"taken": func(c suspect.Counts) uint64 { return c.Spans - c.Repeats - c.Untimed }, "repeat": func(c suspect.Counts) uint64 { return c.Repeats },
		"late":    func(c suspect.Counts) uint64 { return c.Late },
		"beyond":  func(c suspect.Counts) uint64 { return c.Beyond },
		"untimed": func(c suspect.Counts) uint64 { return c.Untimed },
	} {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatewarden_app_spans_total", ConstLabels: prometheus.Labels{"fate": fate},
			Help: "Spans by what became of them in the search for suspects: taken, repeat, late (their trace was closed), beyond (of a trace that is too large), untimed.",
		}, func() float64 { return float64(of(counts())) }))
	}
}

// trackOf is a track of a canary.
type trackOf struct {
	canary string
	track  gatewarden.Track
}

// whole counts what a trace says about the tracks of canaries: which services failed below
// the target that the gateway tried first. s.mu is held.
func (s *spans) whole(t suspect.Trace) {
	if s.tracksOf == nil {
		return
	}
	counted := map[string]bool{}
	for _, peer := range t.Peers {
		for _, of := range s.tracksOf(peer) {
			if counted[of.canary] {
				continue // a later try, which is not the first one's fault
			}
			counted[of.canary] = true
			for _, v := range t.Services {
				if v.Depth > 0 { // not the gateway itself
					s.down.add(downKey{of, v.Service}, t.End, v)
				}
			}
		}
	}
}

// downKey is a service below a track.
type downKey struct {
	trackOf
	service string
}

// downstream counts, by the minute, the calls of services below the tracks of canaries.
type downstream map[downKey]*[60]minuteOf

type minuteOf struct {
	minute        int64 // since 1970
	calls, failed uint64
}

// maxDownstream bounds how many services are counted.
const maxDownstream = 500

func (d downstream) add(k downKey, at time.Time, v suspect.Visit) {
	ring := d[k]
	if ring == nil {
		if len(d) >= maxDownstream {
			clear(d) // names without end: begin anew
		}
		ring = &[60]minuteOf{}
		d[k] = ring
	}
	minute := at.Unix() / 60
	m := &ring[minute%int64(len(ring))]
	if m.minute > minute {
		return // an hour late
	}
	if m.minute < minute {
		*m = minuteOf{minute: minute}
	}
	m.calls += uint64(v.Calls)
	m.failed += uint64(v.Failed)
}

// below returns the services that were called below a track since an instant, at most an
// hour ago, in the order of their names.
func (s *spans) below(of trackOf, since, now time.Time) []api.Downstream {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []api.Downstream
	for k, ring := range s.down {
		if k.trackOf != of {
			continue
		}
		n := api.Downstream{Service: k.service}
		for _, m := range ring {
			if m.minute >= since.Unix()/60 && m.minute > now.Unix()/60-int64(len(ring)) {
				n.Calls += m.calls
				n.Failed += m.failed
			}
		}
		if n.Calls > 0 {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b api.Downstream) int { return strings.Compare(a.Service, b.Service) })
	return list
}
