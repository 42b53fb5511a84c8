package gatewarden

import "time"

// EventType names what an event is about.
type EventType string

// The types of events.
const (
	EventSLO    EventType = "slo"
	EventCanary EventType = "canary"
	EventGate   EventType = "gate"
	EventAction EventType = "action"
	EventSource EventType = "source"
	EventAlert  EventType = "alert" // of somebody else
	// EventSuspect names, once it is known, the service that a breach of an SLO seems to
	// come from: its State.
	EventSuspect EventType = "suspect"
	EventDrift   EventType = "drift" // of the gateway's nodes from one another
	EventGuard   EventType = "guard" // which of several leads
)

// States of events of alerts.
const (
	AlertFiring   = "firing"
	AlertResolved = "resolved"
	AlertSilent   = "silent" // it was neither repeated nor resolved for so long that it says nothing any more
)

// GuardLeads is the state of the events of guards.
const GuardLeads = "leads"

// Event is something that happened and is worth remembering: a change of a
// verdict, a step of an action, a source that went silent. The journal keeps
// events; printed, an event is one JSON object on one line.
type Event struct {
	Seq      uint64    `json:"seq,omitempty"` // position in the journal, 0 outside of one
	At       time.Time `json:"at"`
	Type     EventType `json:"type"`
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Severity string    `json:"severity,omitempty"`
	Reason   string    `json:"reason"`
	By       string    `json:"by,omitempty"` // the person behind it, if any

	SLO    *SLOEvidence `json:"slo,omitempty"`
	Action *Action      `json:"action,omitempty"`
	Alert  *Alert       `json:"alert,omitempty"`
	Run    *Run         `json:"run,omitempty"` // of a gate or a canary; without its trail
	Drift  *Drift       `json:"drift,omitempty"`
}
