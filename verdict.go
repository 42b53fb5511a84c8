package gatewarden

import "time"

// State is what a judgement came to. Inconclusive is the zero value: an empty
// window or a failed query is never good news and never a breach.
type State uint8

// The states.
const (
	Inconclusive State = iota
	Healthy
	Breach
)

// String returns the word that events use.
func (s State) String() string {
	return [...]string{"inconclusive", "healthy", "breach"}[s]
}

// MarshalText writes the word of String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of String.
func (s *State) UnmarshalText(b []byte) error {
	for _, v := range []State{Inconclusive, Healthy, Breach} {
		if v.String() == string(b) {
			*s = v
			return nil
		}
	}
	return Errorf(Invalid, "unknown state %q", b)
}

// Verdict is what an analyzer says about one subject at one instant, with the
// evidence that it rests on.
type Verdict struct {
	At       time.Time    `json:"at"`
	Kind     EventType    `json:"kind"` // EventSLO, later EventCanary
	Name     string       `json:"name"`
	State    State        `json:"state"`
	Severity Severity     `json:"severity,omitempty"` // the highest that fires; SeverityNone unless State is Breach
	Reason   string       `json:"reason"`             // one plain sentence
	SLO      *SLOEvidence `json:"slo,omitempty"`
}

// Fires reports whether the alert of the given severity fires, which it can also
// do below the verdict's highest one.
func (v *Verdict) Fires(s Severity) bool { return v.Firing()[s] }

// Firing says of each severity whether its alert fires.
func (v *Verdict) Firing() (firing [SeverityOutage + 1]bool) {
	if v.SLO == nil {
		firing[v.Severity] = v.State == Breach
		return firing
	}
	for i := range v.SLO.Alerts {
		if a := &v.SLO.Alerts[i]; a.Firing {
			firing[a.Severity] = true
		}
	}
	return firing
}

// SLOEvidence is what a verdict on an SLO rests on.
type SLOEvidence struct {
	Objective float64         `json:"objective"`           // ratio
	SLI       float64         `json:"sli"`                 // good ratio over the window, 1 without events
	Count     Count           `json:"count"`               // over the window
	Budget    float64         `json:"budget"`              // share of the error budget that is left; negative when overspent
	Exhausted *time.Time      `json:"exhausted,omitempty"` // when it ends at the current rate; nil when it outlasts the window, or is spent
	Alerts    []AlertEvidence `json:"alerts"`
}

// AlertEvidence is the state of one alert of an SLO: a pair of windows, or the
// outage line.
type AlertEvidence struct {
	Severity    Severity   `json:"severity"`
	Firing      bool       `json:"firing"`
	Since       *time.Time `json:"since,omitempty"` // since when it fires
	Factor      float64    `json:"factor,omitempty"`
	Long        Duration   `json:"long,omitempty"`
	Short       Duration   `json:"short,omitempty"`
	LongBurn    float64    `json:"long_burn,omitempty"`
	ShortBurn   float64    `json:"short_burn,omitempty"`
	LongCount   Count      `json:"long_count,omitzero"`
	ShortCount  Count      `json:"short_count"`
	Probability float64    `json:"probability,omitempty"` // of so many bad events under the budget's own rate
	Ratio       float64    `json:"ratio,omitempty"`       // outage line: the ratio that must not be exceeded
	LogEvidence float64    `json:"log_evidence"`          // outage line: natural logarithm of the evidence

	// Reason says why this alert fires, in the verdict with which it begins; the
	// verdict's own Reason is about the most urgent one. It is not for printing: the
	// event of the alert has it.
	Reason string `json:"-"`
}
