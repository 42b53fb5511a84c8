package gatewarden

import "time"

// DriftKind says in what the parts of a gateway differ, or what of it is not as it was.
type DriftKind string

// The kinds of drift, in the words of the rules files.
const (
	DriftConfiguration DriftKind = "configuration" // nodes run different configurations
	DriftVersion       DriftKind = "version"       // nodes are of different versions
	DriftPlugins       DriftKind = "plugins"       // nodes have different plugins to run
	DriftTargets       DriftKind = "targets"       // a target of an upstream is unhealthy, or its name leads nowhere
	DriftEntities      DriftKind = "entities"      // what an action or a canary relies on is gone
)

// DriftKinds returns all of them.
func DriftKinds() []DriftKind {
	return []DriftKind{DriftConfiguration, DriftVersion, DriftPlugins, DriftTargets, DriftEntities}
}

// DriftName is the name of the verdicts and events about drift: no SLO has such a name.
const DriftName = "kong/drift"

// DriftPolicy says when drift is a breach, and what answers it.
type DriftPolicy struct {
	Grace    time.Duration // how long a difference may last: nodes follow a change one by one
	Ignore   []DriftKind   // these are shown and are no breach
	Severity Severity      // of the breach
	OnDrift  []string      // names of action policies
}

// Drift is how alike the parts of the gateway are at one instant.
type Drift struct {
	At       time.Time      `json:"at"`
	State    State          `json:"state"`
	Since    *time.Time     `json:"since,omitempty"` // since when it is a breach
	Reason   string         `json:"reason"`          // one plain sentence
	Findings []DriftFinding `json:"findings,omitempty"`
}

// DriftFinding is one difference, or one thing that is not as it was.
type DriftFinding struct {
	Kind    DriftKind `json:"kind"`
	Subject string    `json:"subject"`         // what it is about: "kong:8100", "orders/10.0.0.7:8080", "route orders-list"
	Since   time.Time `json:"since"`           // when it was first seen so
	Counts  bool      `json:"counts"`          // it has lasted longer than the grace, and is not ignored
	Reason  string    `json:"reason"`          // one plain sentence
	Nodes   []string  `json:"nodes,omitempty"` // addresses of the nodes that it was seen at
}

// MissingEntity is something that actions or canaries name and the peer does not have.
type MissingEntity struct {
	Entity string   `json:"entity"` // "route orders-list"
	For    []string `json:"for"`    // who needs it: "action protect-orders"
}
