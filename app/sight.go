package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/burnrate"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/store"
)

// Who is silent, and who cannot judge for that. An SLO lives on the sources that bring
// its events: one on Kong's requests on those that brought requests of its service, one
// on spans on those that bring spans, one on PromQL on the Prometheus that it asks. It is
// blind when all of these are silent, whatever others say.

// asker is a source that knows of each series how far it is counted.
type asker interface {
	// Silent reports whether the events of a series end longer than a limit before what
	// is judged at an instant, and why.
	Silent(series gatewarden.Series, at time.Time, limit time.Duration) (bool, string)
	// Lag is how far behind the present they are judged.
	Lag() time.Duration
}

// laggard is a source of spans that has them later than they end, and knows by how much.
type laggard interface{ Lag() time.Duration }

// filler is a source that may be there for the past only: it follows nothing then, and that
// it says nothing is no silence.
type filler interface{ Follows() bool }

const (
	signalQueries = "prometheus" // stands for the signals of all queries
	signalPast    = "past"       // of what follows nothing: no SLO lives on it
)

// signalOf returns the signal of what sources of a kind bring.
func signalOf(kind string) string {
	switch kind {
	case "otlp", "zipkin", "jaeger":
		return gatewarden.SignalTraces
	case "prometheus":
		return signalQueries
	default:
		return ""
	}
}

// maxBrought bounds how many services are known of a source.
const maxBrought = 4096

// bring notes which services a source brings requests of. It looks at one batch a second:
// what a source brings, it brings again. in.mu is held.
func (h *sourceHealth) bring(records []gatewarden.Record, now time.Time) {
	if now.Sub(h.asked) < time.Second && !h.asked.IsZero() {
		return
	}
	h.asked = now
	for i := range records {
		service := records[i].Service
		if service == "" || h.brings[service] || len(h.brings) >= maxBrought {
			continue
		}
		if h.brings == nil {
			h.brings = map[string]bool{}
		}
		h.brings[strings.Clone(service)] = true
	}
}

// serve makes the SLOs known that are judged from now on.
func (in *intake) serve(slos []gatewarden.SLO) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.slos = slos
	in.bad.serve(slos)
	in.spans.serve(slos)
}

// asks makes a source be asked about its series.
func (in *intake) asks(name string, source collector.Source) {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.sources[name]
	if a, ok := source.(asker); ok {
		h.asker = a
	} else if l, ok := source.(laggard); ok {
		h.lags = l.Lag()
	}
	if f, ok := source.(filler); ok && !f.Follows() {
		h.signal = signalPast
	}
}

// asked returns the source that a query is answered by, nil when there is none.
func (in *intake) asked(q *gatewarden.Query) (name string, a asker) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for name, h := range in.sources {
		if h.asker != nil && (q.Source == name || q.Source == "") {
			return name, h.asker
		}
	}
	return q.Source, nil
}

// lagOf returns how far behind the present an SLO is judged.
func (in *intake) lagOf(slo *gatewarden.SLO) time.Duration {
	if slo.SLI.Query == nil {
		return in.lagOfSignal(slo.Series.Signal)
	}
	if _, a := in.asked(slo.SLI.Query); a != nil {
		return a.Lag()
	}
	return 0
}

// lagOfSignal returns that of the latest source of a signal.
func (in *intake) lagOfSignal(signal string) (lag time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, h := range in.sources {
		if h.signal == signal {
			lag = max(lag, h.lags)
		}
	}
	return lag
}

// Blind reports whether no source of Kong's requests has said anything for so long that
// silence can no longer be told from peace, and why. Without a word since the start the
// guard is blind from the start on.
func (in *intake) Blind(at time.Time) (bool, string) { return in.blindTo("", "", at) }

// BlindTo reports whether all that an SLO lives on is silent, and why.
func (in *intake) BlindTo(slo *gatewarden.SLO, at time.Time) (bool, string) {
	q := slo.SLI.Query
	if q == nil {
		return in.blindTo(slo.Series.Signal, slo.Series.Service, at)
	}
	name, a := in.asked(q)
	if a == nil {
		return true, fmt.Sprintf("there is no source %s to ask", name)
	}
	return a.Silent(slo.Series, at, in.blindAfter)
}

// blindTo reports whether all sources of a signal are silent; or, of requests, all that
// ever brought any of a service.
func (in *intake) blindTo(signal, service string, at time.Time) (bool, string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	var last, lastOf time.Time // of any source, and of one that brings the service
	var of []string
	for name, h := range in.sources {
		if h.signal != signal {
			continue
		}
		if h.arrived.After(last) {
			last = h.arrived
		}
		if service != "" && h.brings[service] {
			of = append(of, name)
			if h.arrived.After(lastOf) {
				lastOf = h.arrived
			}
		}
	}
	blind := at.Sub(last) > in.blindAfter || len(of) > 0 && at.Sub(lastOf) > in.blindAfter
	if !blind {
		return false, ""
	}
	what := "record"
	if signal == gatewarden.SignalTraces {
		what = "span"
	}
	why, astray := in.strays(signal, service, at)
	switch {
	case astray:
		return true, why
	case last.IsZero():
		return true, "no source has delivered a " + what + " yet"
	case at.Sub(last) > in.blindAfter:
		return true, fmt.Sprintf("no source has delivered a %s for %s", what, in.silence(at.Sub(last)))
	default:
		slices.Sort(of)
		return true, fmt.Sprintf("%s, which brings the %ss of %s, has delivered nothing for %s", strings.Join(of, " and "), what, service, in.silence(at.Sub(lastOf)))
	}
}

// strays returns what is wrong with what comes from a source of a signal, or of a service,
// when it tells nothing of the present. in.mu is held.
func (in *intake) strays(signal, service string, at time.Time) (why string, is bool) {
	for _, name := range slices.Sorted(maps.Keys(in.sources)) {
		h := in.sources[name]
		if h.signal != signal || service != "" && len(h.brings) > 0 && !h.brings[service] {
			continue
		}
		if why = h.straying(at, in.blindAfter); why != "" {
			return name + ": " + why, true
		}
	}
	return "", false
}

// straying returns what is wrong with what a source brings of late, here or to another
// guard, "" when it tells of the present.
func (h *sourceHealth) straying(at time.Time, limit time.Duration) string {
	if why := h.astrayHere(at, limit); why != "" {
		return why
	}
	for _, guard := range slices.Sorted(maps.Keys(h.elsewhere)) {
		if e := h.elsewhere[guard]; e.astray != "" && at.Sub(e.heard) <= limit {
			return e.astray
		}
	}
	return ""
}

func (h *sourceHealth) astrayHere(at time.Time, limit time.Duration) string {
	if at.Sub(h.strayed) > limit {
		return ""
	}
	return h.astray
}

func (in *intake) silence(d time.Duration) string {
	return fmt.Sprintf("%s (the limit is %s)", gatewarden.Duration(d.Truncate(time.Second)), gatewarden.Duration(in.blindAfter))
}

// silent reports whether one source is, and why. in.mu is held.
func (in *intake) silent(name string, h *sourceHealth, at time.Time) (bool, string) {
	heard := h.arrived
	if heard.IsZero() {
		heard, _ = in.gateway.answered(name) // it may bring no records, and is not meant to
	}
	switch {
	case h.signal == signalPast:
		return false, ""
	case h.asker != nil:
		return in.allSilent(h, at)
	case heard.IsZero() && at.Sub(in.started) <= in.blindAfter:
		return false, "" // there was no time yet to be silent
	case at.Sub(heard) > in.blindAfter && h.straying(at, in.blindAfter) != "":
		return true, h.straying(at, in.blindAfter)
	case heard.IsZero():
		return true, "it has delivered nothing yet"
	case at.Sub(heard) > in.blindAfter:
		return true, "it has delivered nothing for " + in.silence(at.Sub(heard))
	default:
		return false, ""
	}
}

// livesOn returns the sources that bring the events of an SLO, as far as is known yet: of
// requests none, before the first of its service has come.
func (in *intake) livesOn(slo *gatewarden.SLO) []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var names []string
	for name, h := range in.sources {
		q, service := slo.SLI.Query, slo.Series.Service
		switch {
		case q != nil:
			if h.asker == nil || q.Source != "" && q.Source != name {
				continue
			}
		case h.signal != slo.Series.Signal, h.signal == "" && (h.arrived.IsZero() || service != "" && !h.brings[service]):
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// allSilent reports whether each query of a source is. in.mu is held.
func (in *intake) allSilent(h *sourceHealth, at time.Time) (silent bool, why string) {
	if at.Sub(in.started) <= in.blindAfter {
		return false, ""
	}
	for _, slo := range asking(in.slos, h.name) {
		is, reason := h.asker.Silent(slo.Series, at, in.blindAfter)
		if !is {
			return false, ""
		}
		silent, why = true, reason
	}
	return silent, why
}

// events returns the events of sources that fell silent, and of those that speak again,
// since the last call.
func (in *intake) events(at time.Time) []gatewarden.Event {
	in.mu.Lock()
	defer in.mu.Unlock()
	var events []gatewarden.Event
	for name, h := range in.sources {
		silent, why := in.silent(name, h, at)
		if silent == h.blind {
			continue
		}
		h.blind = silent
		state := "blind"
		if !silent {
			state, why = "seeing", "records arrive again"
		}
		events = append(events, gatewarden.Event{At: at, Type: gatewarden.EventSource, Name: name, State: state, Reason: why})
	}
	slices.SortFunc(events, func(a, b gatewarden.Event) int { return strings.Compare(a.Name, b.Name) })
	return events
}

// watch notes for which time the meters are covered whose sources spoke.
func (in *intake) watch(from, to, at time.Time, spans []store.Meter) {
	if blind, _ := in.Blind(at); !blind {
		in.store.Watched(from, to)
	}
	if len(spans) == 0 {
		return
	}
	if blind, _ := in.blindTo(gatewarden.SignalTraces, "", at); !blind {
		for _, m := range spans {
			in.store.Vouch(m, from, to)
		}
	}
}

// behind counts events as they were a while ago: those that another system counts come
// late, and what is not there yet must not look like silence.
type behind struct {
	counter burnrate.Counter
	lag     func() time.Duration
}

var _ burnrate.Counter = behind{}

// Count counts a window that is as long and as much earlier.
func (b behind) Count(from, to time.Time) gatewarden.Count {
	lag := b.lag()
	return b.counter.Count(from.Add(-lag), to.Add(-lag))
}

// Until counts windows that end as much earlier.
func (b behind) Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	b.counter.Until(to.Add(-b.lag()), lengths, counts)
}

// Revise counts seconds that are as much earlier.
func (b behind) Revise(from time.Time, counts []gatewarden.Count) int {
	return b.counter.Revise(from.Add(-b.lag()), counts)
}

// Step is that of instants that are as much earlier.
func (b behind) Step(at time.Time) (length, offset time.Duration) {
	lag := b.lag()
	length, offset = b.counter.Step(at.Add(-lag))
	return length, offset + lag
}

// Late is the counter's.
func (b behind) Late() uint32 { return b.counter.Late() }
