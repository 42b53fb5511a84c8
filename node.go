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
	Datastore *bool          `json:"datastore_reachable,omitempty"`
	Targets   []TargetHealth `json:"targets,omitempty"` // of its upstreams, when it says
	// ConfigHash is of the configuration of a node without a database, and Plugins are those
	// that it can run; only its Admin API says either.
	ConfigHash string   `json:"config_hash,omitempty"`
	Plugins    []string `json:"plugins,omitempty"`

	DataPlanes []DataPlane `json:"data_planes,omitempty"` // that a control plane has heard of
}

// DataPlane is what a control plane knows of a data plane.
type DataPlane struct {
	ID       string    `json:"id"`
	Hostname string    `json:"hostname,omitempty"`
	IP       string    `json:"ip,omitempty"`
	Version  string    `json:"version,omitempty"` // Kong's; "" when it is not told
	Seen     time.Time `json:"seen,omitzero"`     // when it was in touch last
	// ConfigHash is of the configuration that it runs, as the number that Kong makes of
	// it: good for telling whether two are equal, and for nothing else.
	ConfigHash string `json:"config_hash,omitempty"`
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
