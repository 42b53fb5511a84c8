package notify

import (
	"encoding/json"
	"time"

	"github.com/gatewarden/gatewarden"
)

// messageVersion changes when a field changes its meaning or goes. New fields do
// not change it: receivers ignore what they do not know.
const messageVersion = 1

// Message is the body of a webhook, in JSON. Its shape is a promise to those who
// receive it.
type Message struct {
	Version   int       `json:"version"`    // 1
	Action    string    `json:"action"`     // the action's id, the same in each repeat
	Policy    string    `json:"policy"`     // the action's name in the rules
	Ladder    string    `json:"ladder"`     // the same for all steps of one answer to one breach
	Step      int       `json:"step"`       // from 1
	PlannedAt time.Time `json:"planned_at"` // RFC 3339, UTC
	Trigger   Trigger   `json:"trigger"`
}

// Trigger is what the action answers to.
type Trigger struct {
	Kind     string    `json:"kind"` // "slo", "canary", or "alert" of somebody else
	Name     string    `json:"name"`
	Severity string    `json:"severity"` // "outage", "page", "ticket" or ""
	Since    time.Time `json:"since"`    // RFC 3339, UTC
	Reason   string    `json:"reason"`   // one plain sentence
}

// subjectOf says what sort of thing a trigger is about, in the word that receivers know: a
// gate's answer is about the canary that was asked about.
func subjectOf(t gatewarden.Trigger) string {
	if t.Kind == gatewarden.EventGate {
		return "canary"
	}
	return string(t.Kind)
}

// body returns the message about a. It is the same in each repeat.
func body(a gatewarden.Action) ([]byte, error) {
	b, err := json.Marshal(Message{
		Version: messageVersion, Action: a.ID, Policy: a.Policy, Ladder: a.Ladder, Step: a.Step, PlannedAt: a.PlannedAt.UTC(),
		Trigger: Trigger{
			Kind: subjectOf(a.Trigger), Name: a.Trigger.Name, Severity: a.Trigger.Severity.String(),
			Since: a.Trigger.Since.UTC(), Reason: a.Trigger.Reason,
		},
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "writing the message about action %s: %w", a.ID, err)
	}
	return append(b, '\n'), nil
}
