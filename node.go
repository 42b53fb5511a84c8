package gatewarden

import "time"

// Node is what one node of the gateway said of itself when it was asked last.
type Node struct {
	Address string    `json:"address"`           // where it is asked
	ID      string    `json:"id,omitempty"`      // Kong's own name for the node
	Version string    `json:"version,omitempty"` // Kong's
	At      time.Time `json:"at"`                // when it was asked
	Problem string    `json:"problem,omitempty"` // why it gave no answer; the rest is then as of its last one

	// Datastore is whether it reaches its database; nil when it does not say.
	Datastore *bool `json:"datastore_reachable,omitempty"`
	// ConfigHash is of the configuration that a data plane runs, "" when it does not say.
	ConfigHash string         `json:"config_hash,omitempty"`
	Targets    []TargetHealth `json:"targets,omitempty"` // of its upstreams, unless it does not say
}

// The states of a target, in Kong's words.
const (
	TargetHealthy   = "healthy"
	TargetUnhealthy = "unhealthy"
	TargetDNSError  = "dns_error"
	TargetUnchecked = "healthchecks_off"
)

// TargetHealth is what a node of the gateway thinks of a target.
type TargetHealth struct {
	Upstream string `json:"upstream"`
	Target   string `json:"target"`            // as Kong lists it
	Address  string `json:"address,omitempty"` // "ip:port"; "" when its name has none
	State    string `json:"state"`
}
