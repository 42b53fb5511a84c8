package analyzers

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// When a subject that can't be judged is worth an event. A service that is idle at
// night goes from healthy to inconclusive and back with every stray request; told
// each time, that would bury what matters. So inconclusive is announced once it
// has lasted for settle, and not again within quiet of the last time; its end is
// announced at once if its beginning was. A breach that starts or ends is always
// announced at once. Verdicts, which remediation goes by, are never delayed.
const (
	settle = time.Minute
	quiet  = time.Hour
)

// severities in the order in which their events are told, the most urgent first.
var severities = [...]gatewarden.Severity{
	gatewarden.SeverityOutage, gatewarden.SeverityPage, gatewarden.SeverityTicket,
}

// subject is what was announced about one SLO.
type subject struct {
	known     bool                                             // something was announced
	breaches  [gatewarden.SeverityOutage + 1]*gatewarden.Event // the standing breach of each severity, nil when none
	dark      bool                                             // the last announcement was inconclusive
	darkAt    time.Time                                        // when that was announced last
	darkSince time.Time                                        // since when verdicts are inconclusive, zero when they are not
	seen      *gatewarden.SLOEvidence                          // what the last conclusive verdict rested on; nothing of it is changed
}

// fold takes an event that was announced before a restart.
func (s *subject) fold(ev gatewarden.Event) {
	var state gatewarden.State
	var severity gatewarden.Severity
	if state.UnmarshalText([]byte(ev.State)) != nil || severity.UnmarshalText([]byte(ev.Severity)) != nil {
		return // of a later version of the program
	}
	s.known = true
	s.dark = state == gatewarden.Inconclusive
	switch state {
	case gatewarden.Inconclusive:
		s.darkAt = ev.At
	case gatewarden.Breach:
		s.breaches[severity] = &ev
	case gatewarden.Healthy:
		if severity == gatewarden.SeverityNone {
			s.breaches = [len(s.breaches)]*gatewarden.Event{}
		}
		s.breaches[severity] = nil
	}
}

// standing returns the breaches that are not over, the most urgent first.
func (s *subject) standing() []gatewarden.Event {
	var events []gatewarden.Event
	for _, severity := range severities {
		if ev := s.breaches[severity]; ev != nil {
			events = append(events, *ev)
		}
	}
	return events
}

// announce appends the events that v gives rise to.
func (s *subject) announce(events []gatewarden.Event, a Analyzer, v *gatewarden.Verdict) []gatewarden.Event {
	if v.State == gatewarden.Inconclusive {
		return s.announceDark(events, v)
	}
	s.darkSince = time.Time{}
	again := s.dark || !s.known
	if !again && v.SLO != nil && v.SLO == s.seen {
		return events // the same alerts as before
	}
	s.seen = v.SLO
	before := len(events)
	firing := v.Firing()
	for _, severity := range severities {
		was, fires := s.breaches[severity], firing[severity]
		switch {
		case fires && (was == nil || again):
			ev := newEvent(v, gatewarden.Breach, severity, explain(a, v, severity))
			giveReason(v, severity, ev.Reason)
			s.breaches[severity] = &ev
			events = append(events, ev)
		case !fires && was != nil:
			s.breaches[severity] = nil
			lasted := gatewarden.Duration(v.At.Sub(began(was)).Round(time.Second))
			events = append(events, newEvent(v, gatewarden.Healthy, severity,
				"the "+severity.String()+" is over after "+lasted.String()+": "+explain(a, v, severity)))
		}
	}
	if again && len(events) == before {
		events = append(events, newEvent(v, gatewarden.Healthy, gatewarden.SeverityNone, explain(a, v, gatewarden.SeverityNone)))
	}
	s.known, s.dark = true, false
	return events
}

func (s *subject) announceDark(events []gatewarden.Event, v *gatewarden.Verdict) []gatewarden.Event {
	if s.darkSince.IsZero() {
		s.darkSince = v.At
	}
	settled := v.At.Sub(s.darkSince) >= settle && (s.darkAt.IsZero() || v.At.Sub(s.darkAt) >= quiet)
	if s.dark || s.known && !settled {
		return events
	}
	s.known, s.dark, s.darkAt = true, true, v.At
	return append(events, newEvent(v, gatewarden.Inconclusive, gatewarden.SeverityNone, v.Reason))
}

func newEvent(v *gatewarden.Verdict, state gatewarden.State, severity gatewarden.Severity, reason string) gatewarden.Event {
	return gatewarden.Event{
		At: v.At, Type: v.Kind, Name: v.Name, State: state.String(), Severity: severity.String(), Reason: reason, SLO: v.SLO,
	}
}

func explain(a Analyzer, v *gatewarden.Verdict, severity gatewarden.Severity) string {
	if e, ok := a.(Explainer); ok {
		return e.Explain(v, severity)
	}
	return v.Reason
}

// giveReason tells what is started by an alert of the given severity why it fires.
func giveReason(v *gatewarden.Verdict, severity gatewarden.Severity, reason string) {
	if v.SLO == nil {
		return
	}
	for i := range v.SLO.Alerts {
		if a := &v.SLO.Alerts[i]; a.Severity == severity && a.Firing {
			a.Reason = reason
		}
	}
}

// began returns when the breach that ev announced began.
func began(ev *gatewarden.Event) time.Time {
	if ev.SLO == nil {
		return ev.At
	}
	for _, a := range ev.SLO.Alerts {
		if a.Firing && a.Since != nil && a.Severity.String() == ev.Severity {
			return *a.Since
		}
	}
	return ev.At
}
