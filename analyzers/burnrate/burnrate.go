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
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers"
)

// Counter counts the events of an SLO's SLI in its series; the store's does. Counts of
// the last hour are exact to the second.
type Counter interface {
	// Count counts [from, to).
	Count(from, to time.Time) gatewarden.Count
	// Until counts windows that end at the same instant, of the given lengths.
	Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count)
	// Revise counts the seconds from the given one on anew, one by one, without their
	// coverage. It returns the index of the first one that differs from what counts said
	// before, and len(counts) when none does.
	Revise(from time.Time, counts []gatewarden.Count) (first int)
	// Step returns how long the steps are in which is counted what was at an instant, and how
	// long after multiples of their length they begin, which is the same for all: windows
	// begin and end with one.
	Step(at time.Time) (length, offset time.Duration)
	// Late tells by another number than before that events were counted further back than
	// counts are exact.
	Late() uint32
}

// Blind says whether the sources that an SLO lives on are silent, and which: a
// plain half sentence such as "no log from Kong for 12s". A nil Blind never is.
type Blind func(at time.Time) (blind bool, why string)

// events counts what an SLO is about: requests, or slices.
type events interface {
	Count(from, to time.Time) gatewarden.Count
	Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count)
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
	slo   gatewarden.SLO
	blind Blind
	look  look
	words words

	recent  int // where look has the window that "the current rate" is of
	rolling int // and the SLO's, unless that is of the calendar

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

// New returns an Analyzer of slo, whose events requests counts.
func New(slo gatewarden.SLO, requests Counter, blind Blind) *Analyzer {
	if slo.MinEvidence == 0 {
		slo.MinEvidence = minEvidence
	}
	if blind == nil {
		blind = func(time.Time) (bool, string) { return false, "" }
	}
	a := &Analyzer{slo: slo, blind: blind}
	if slo.Timeslice > 0 {
		a.look = look{events: newTimeslices(&a.slo, requests), grain: max(slo.Timeslice.Truncate(time.Second), time.Second)}
	} else {
		a.look = look{events: requests, grain: time.Second}
	}
	a.pairs = make([]pair, 0, len(slo.Pairs))
	for _, p := range slo.Pairs {
		a.pairs = append(a.pairs, pair{AlertPair: p, long: a.look.at(p.Long), short: a.look.at(p.Short)})
	}
	a.recent = a.look.at(recentWindow(&slo))
	if slo.Window.Calendar == "" {
		a.rolling = a.look.at(slo.Window.Rolling)
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
	a.outage.step(at, blind)
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

// evidence is what a verdict rests on, in one piece of memory.
type evidence struct {
	gatewarden.SLOEvidence
	alerts [5]gatewarden.AlertEvidence // as many as the workbook's pairs and the outage line
}

// whole judges everything.
func (a *Analyzer) whole(at time.Time, blind bool, why string) gatewarden.Verdict {
	a.look.take(at)
	piece := &evidence{}
	ev := &piece.SLOEvidence
	ev.Objective, ev.Alerts = a.slo.Objective, piece.alerts[:0]
	a.budget(at, ev)

	var fires, fresh [gatewarden.SeverityOutage + 1]bool
	events := ev.Count.Total() > 0 && len(a.pairs) == 0
	for i := range a.pairs {
		ev.Alerts = append(ev.Alerts, gatewarden.AlertEvidence{})
		alert := &ev.Alerts[i]
		a.pairs[i].judge(&a.slo, &a.look, blind, alert)
		fires[alert.Severity] = fires[alert.Severity] || alert.Firing
		fresh[alert.Severity] = fresh[alert.Severity] || alert.Firing && alert.ShortCount.Total() > 0
		events = events || alert.LongCount.Total() > 0
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
	if v.State != gatewarden.Healthy {
		v.Reason = a.words.verdict(&v, blind, why)
	}
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

// look answers the windows of one instant, each asked for once: the pairs of the
// workbook share some. Windows end with the second that the instant is in, so that
// what arrived a moment ago counts, and are whole seconds long.
type look struct {
	events  events
	grain   time.Duration // the shortest window that can hold an event
	to      time.Time
	lengths []time.Duration
	counts  []gatewarden.Count // by lengths
}

// at returns where the count of a window will be.
func (l *look) at(window time.Duration) int {
	window = max(window, l.grain)
	if i := slices.Index(l.lengths, window); i >= 0 {
		return i
	}
	l.lengths, l.counts = append(l.lengths, window), append(l.counts, gatewarden.Count{})
	return len(l.lengths) - 1
}

// take counts all windows.
func (l *look) take(at time.Time) {
	l.to = at.Add(time.Second - 1).Truncate(time.Second)
	l.events.Until(l.to, l.lengths, l.counts)
}

// last counts a window that is not always needed.
func (l *look) last(window time.Duration) gatewarden.Count {
	return l.events.Count(l.to.Add(-max(window, l.grain)), l.to)
}
