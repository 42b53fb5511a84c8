// Package burnrate judges one SLO from its windows: how much of the error budget is
// left, whether it burns too fast (pairs of windows, as in the SRE workbook), and
// whether something broke seconds ago (the outage line). It sits between the store,
// which counts, and the Evaluator of the parent package, which tells what changed.
//
//	pair.go        the multi-window alerts and the evidence that a page needs
//	outage.go      the sequential detector over one-second cells
//	budget.go      the error budget and its forecast
//	timeslices.go  SLOs that count slices of time instead of requests
//	reason.go      the verdict as a sentence
//
// No data is never good and never bad. An alert that fires goes on firing while
// there is nothing to judge it by, and the verdict says inconclusive: remediation
// starts nothing on that and takes nothing back.
package burnrate

import (
	"hash/fnv"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers"
)

// Windows counts the events of an SLI over [from, to); the store does. Counts of
// the last hour are exact to the second.
type Windows interface {
	Count(series gatewarden.Series, sli *gatewarden.SLI, from, to time.Time) gatewarden.Count
}

// Blind says whether the sources that an SLO lives on are silent, and which: a
// plain half sentence such as "no log from Kong for 12s". A nil Blind never is.
type Blind func(at time.Time) (blind bool, why string)

// counter counts the events that an SLO is about: requests, or slices.
type counter interface {
	count(from, to time.Time) gatewarden.Count
	// grain is the shortest window that can hold an event.
	grain() time.Duration
}

// minEvidence is how improbable a page's bad count must be unless the SLO says.
const minEvidence = 1e-4

// wholeEvery is how often all of an SLO is judged. Who asks more often than that gets
// the outage line judged anew, which is what half a second matters to, and the rest
// as it was.
const wholeEvery = time.Second

// Analyzer judges one SLO. It remembers since when alerts fire, the evidence of the
// outage line and its last verdict; its methods must not be called concurrently.
type Analyzer struct {
	slo    gatewarden.SLO
	blind  Blind
	events counter
	words  words

	pairs  []pair
	outage *outage                                   // nil when the SLO has no outage line
	since  [gatewarden.SeverityOutage + 1]*time.Time // since when each severity fires, nil when it does not; never changed in place

	last  gatewarden.Verdict // the last whole one
	blank bool               // whether it was blind
	next  time.Time          // when the next whole one is due
}

var (
	_ analyzers.Analyzer  = (*Analyzer)(nil)
	_ analyzers.Explainer = (*Analyzer)(nil)
	_ analyzers.Resumer   = (*Analyzer)(nil)
)

// New returns an Analyzer of slo.
func New(slo gatewarden.SLO, windows Windows, blind Blind) *Analyzer {
	if slo.MinEvidence == 0 {
		slo.MinEvidence = minEvidence
	}
	if blind == nil {
		blind = func(time.Time) (bool, string) { return false, "" }
	}
	a := &Analyzer{slo: slo, blind: blind}
	requests := &requests{windows: windows, series: slo.Series, sli: &a.slo.SLI}
	a.events = requests
	if slo.Timeslice > 0 {
		a.events = newTimeslices(&a.slo, requests)
	}
	for _, p := range slo.Pairs {
		a.pairs = append(a.pairs, pair{AlertPair: p})
	}
	if slo.Outage != nil {
		a.outage = newOutage(outageRatio(&slo), requests)
	}
	a.words = newWords(&a.slo)
	return a
}

// Name returns the SLO's name.
func (a *Analyzer) Name() string { return a.slo.Name }

// Analyze judges the SLO at the given instant. The verdict is
//
//	Breach        when an alert fires on data that is there; its severity is the
//	              highest of those
//	Inconclusive  when blind, when alerts fire but there is nothing new to judge
//	              them by, and without any event in the longest window of the pairs
//	Healthy       otherwise
//
// The alerts in the evidence say what fires in any case.
func (a *Analyzer) Analyze(at time.Time) gatewarden.Verdict {
	at = at.Round(0) // without the monotonic clock, which no journal keeps
	blind, why := a.blind(at)
	if a.unchanged(at, blind) {
		v := a.last
		v.At = at
		return v
	}
	v := a.whole(at, blind, why)
	a.next = a.due(at)
	a.last, a.blank = v, blind
	return v
}

// unchanged reports whether the last whole verdict is recent enough, and the outage
// line says what it said then.
func (a *Analyzer) unchanged(at time.Time, blind bool) bool {
	if !at.Before(a.next) || at.Before(a.last.At) || blind != a.blank {
		return false
	}
	if a.outage == nil {
		return true
	}
	fired := a.outage.firing
	a.outage.judge(at, blind)
	return a.outage.firing == fired
}

// due returns when the next whole verdict is. Half of the SLOs wait half as long for
// their second one, so that of many not all fall due at the same tick.
func (a *Analyzer) due(at time.Time) time.Time {
	if a.last.At.IsZero() {
		h := fnv.New32a()
		h.Write([]byte(a.slo.Name))
		if h.Sum32()%2 == 1 {
			return at.Add(wholeEvery / 2)
		}
	}
	return at.Add(wholeEvery)
}

// whole judges everything.
func (a *Analyzer) whole(at time.Time, blind bool, why string) gatewarden.Verdict {
	look := newLook(a.events, at)
	ev := &gatewarden.SLOEvidence{
		Objective: a.slo.Objective,
		Alerts:    make([]gatewarden.AlertEvidence, 0, len(a.pairs)+1),
	}
	budgetOf(&a.slo, &look, at, ev)

	var fires, fresh [gatewarden.SeverityOutage + 1]bool
	events := ev.Count.Total() > 0 && len(a.pairs) == 0
	for i := range a.pairs {
		alert := a.pairs[i].judge(&a.slo, &look, blind)
		fires[alert.Severity] = fires[alert.Severity] || alert.Firing
		fresh[alert.Severity] = fresh[alert.Severity] || alert.Firing && alert.ShortCount.Total() > 0
		events = events || alert.LongCount.Total() > 0
		ev.Alerts = append(ev.Alerts, alert)
	}
	if a.outage != nil {
		alert := a.outage.judge(at, blind)
		fires[alert.Severity] = alert.Firing
		fresh[alert.Severity] = alert.Firing && a.outage.fresh()
		events = events || a.outage.fresh()
		ev.Alerts = append(ev.Alerts, alert)
	}
	a.stamp(at, fires, ev.Alerts)

	v := gatewarden.Verdict{At: at, Kind: gatewarden.EventSLO, Name: a.slo.Name, SLO: ev}
	v.State, v.Severity = state(blind, events, fires, fresh)
	v.Reason = a.words.verdict(&v, blind, why)
	return v
}

// state weighs what fires on fresh data and what fires on memory only.
func state(blind, events bool, fires, fresh [gatewarden.SeverityOutage + 1]bool) (gatewarden.State, gatewarden.Severity) {
	if blind {
		return gatewarden.Inconclusive, gatewarden.SeverityNone
	}
	held := false
	for s := gatewarden.SeverityOutage; s > gatewarden.SeverityNone; s-- {
		if fresh[s] {
			return gatewarden.Breach, s
		}
		held = held || fires[s]
	}
	if held || !events {
		return gatewarden.Inconclusive, gatewarden.SeverityNone
	}
	return gatewarden.Healthy, gatewarden.SeverityNone
}

// stamp keeps since when each severity fires. A second alert of a severity that
// fires already shares its beginning: it is one breach, answered once.
func (a *Analyzer) stamp(at time.Time, fires [gatewarden.SeverityOutage + 1]bool, alerts []gatewarden.AlertEvidence) {
	for s := range fires {
		switch {
		case !fires[s]:
			a.since[s] = nil
		case a.since[s] == nil:
			since := at
			a.since[s] = &since
		}
	}
	for i := range alerts {
		if alerts[i].Firing {
			alerts[i].Since = a.since[alerts[i].Severity]
		}
	}
}

// Resume takes up the breaches that were standing before a restart or a reload.
func (a *Analyzer) Resume(standing []gatewarden.Event) {
	for _, ev := range standing {
		if ev.SLO == nil {
			continue
		}
		for _, alert := range ev.SLO.Alerts {
			if !alert.Firing || alert.Severity.String() != ev.Severity || !a.resume(alert) {
				continue
			}
			a.since[alert.Severity] = alert.Since
			if alert.Since == nil {
				a.since[alert.Severity] = &ev.At
			}
		}
	}
}

// resume lets the alert fire that fired before, if the rules still have it.
func (a *Analyzer) resume(alert gatewarden.AlertEvidence) bool {
	if alert.Severity == gatewarden.SeverityOutage {
		if a.outage != nil {
			a.outage.resume()
		}
		return a.outage != nil
	}
	for i := range a.pairs {
		p := &a.pairs[i]
		if p.Severity == alert.Severity && p.Long == time.Duration(alert.Long) && p.Short == time.Duration(alert.Short) {
			p.firing = true
			return true
		}
	}
	return false
}

// requests counts requests, the events of an SLO by occurrences.
type requests struct {
	windows Windows
	series  gatewarden.Series
	sli     *gatewarden.SLI
}

func (r *requests) count(from, to time.Time) gatewarden.Count {
	return r.windows.Count(r.series, r.sli, from, to)
}

func (r *requests) grain() time.Duration { return time.Second }

// look answers the windows of one instant, each asked for once: the pairs of the
// workbook share some. Windows end with the second that the instant is in, so that
// what arrived a moment ago counts, and are whole seconds long.
type look struct {
	events counter
	to     time.Time
	asked  [8]struct {
		window time.Duration
		count  gatewarden.Count
	}
	n int
}

func newLook(events counter, at time.Time) look {
	return look{events: events, to: at.Add(time.Second - 1).Truncate(time.Second)}
}

// last counts the window of the given length.
func (l *look) last(window time.Duration) gatewarden.Count {
	window = max(window, l.events.grain())
	for _, a := range l.asked[:l.n] {
		if a.window == window {
			return a.count
		}
	}
	c := l.events.count(l.to.Add(-window), l.to)
	if l.n < len(l.asked) {
		l.asked[l.n].window, l.asked[l.n].count = window, c
		l.n++
	}
	return c
}
