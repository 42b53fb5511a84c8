package canary

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// Track is a side of the comparison.
type Track uint8

// The tracks. Arrays of two are indexed by them.
const (
	Baseline Track = iota
	Canary
)

// String returns the track's word.
func (t Track) String() string {
	if t == Canary {
		return "canary"
	}
	return "baseline"
}

// Observation is what the judge needs to know of one request, or of Weight identical
// ones. Its strings are not kept unless they become part of the state, and are cloned then.
type Observation struct {
	// At is when the request completed, as everywhere in gatewarden. By its start it
	// would be lost when it took longer than a second stays open, and a canary that hangs
	// would look as if it had no traffic.
	At      time.Time
	Track   Track
	Route   string        // the stratum: only requests of the same route are compared
	Client  string        // consumer, else address; "" when not known
	Target  string        // the instance that served it; only for the dispersion of the history
	Failed  bool          // it counts as a failure of its track
	Latency time.Duration // of the upstream, gatewarden.NoLatency when there is none to compare
	Weight  uint32        // 0 counts as 1
	ID      string        // for the list of suspects
	TraceID string
}

// ByTries makes an observation of a record whose track is the target that Kong chose.
// The first try owns the request: Kong rescues a failed try on a dead canary by another
// target, and the answer that the client saw is then the baseline's. It is a failure if
// its first try failed or its answer is an error; a latency only if one try was made and
// was good. track tells which track a target ("ip:port") belongs to; without a try, or
// when the target belongs to neither, there is no observation.
//
// Responses that a change of the guard itself made are not to be shown to the judge.
func ByTries(r *gatewarden.Record, track func(target string) (Track, bool)) (Observation, bool) {
	if len(r.Tries) == 0 {
		return Observation{}, false
	}
	first := &r.Tries[0]
	t, ok := track(first.Target)
	if !ok {
		return Observation{}, false
	}
	o := ByRecord(r, t)
	o.Target = first.Target
	if first.Failed {
		o.Failed = true
	} else if len(r.Tries) > 1 {
		o.Failed = false // later tries answered for another target
	}
	if o.Failed || len(r.Tries) > 1 {
		o.Latency = gatewarden.NoLatency
	}
	return o, true
}

// ByRecord makes an observation of a record of the given track: by service, route or
// header. It is a failure if the record failed.
func ByRecord(r *gatewarden.Record, track Track) Observation {
	o := Observation{
		At: r.At, Track: track, Route: r.Route, Client: r.Consumer, Failed: r.Failed(), Latency: r.Latency.Upstream,
		Weight: r.Weight, ID: r.ID, TraceID: r.TraceID,
	}
	if o.Client == "" {
		o.Client = r.ClientIP
	}
	if len(r.Tries) > 0 {
		o.Target = r.Tries[0].Target
	}
	if o.Failed {
		o.Latency = gatewarden.NoLatency
	}
	return o
}
