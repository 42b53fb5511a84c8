package gatewarden

import "time"

// Observation is what a canary judge needs to know of one request, or of Weight identical
// ones.
type Observation struct {
	// At is when the request completed, as everywhere in gatewarden. By its start it
	// would be lost when it took longer than a second stays open, and a canary that hangs
	// would look as if it had no traffic.
	At      time.Time     `json:"at"`
	Track   Track         `json:"track,omitempty"`
	Route   string        `json:"route,omitempty"`  // the stratum: only requests of the same route are compared
	Client  string        `json:"client,omitempty"` // consumer, else address; "" when not known
	Target  string        `json:"target,omitempty"` // the instance that served it; only for the dispersion of the history
	Failed  bool          `json:"failed,omitempty"` // it counts as a failure of its track
	Latency time.Duration `json:"latency"`          // of the upstream, NoLatency when there is none to compare
	Weight  uint32        `json:"weight,omitempty"` // 0 counts as 1
	ID      string        `json:"id,omitempty"`     // for the list of suspects
	TraceID string        `json:"trace_id,omitempty"`
}

// Observe returns what the judge of c is to know of r, and false when r belongs to neither
// track. track tells which track a target ("ip:port") belongs to; it is asked only when c's
// tracks are targets.
//
// Responses that a change of the guard itself made are not to be shown to the judge.
func (c *Canary) Observe(r *Record, track func(target string) (Track, bool)) (Observation, bool) {
	if !c.Series.Matches(r) {
		return Observation{}, false
	}
	if c.Tracks[TrackCanary].Targets() || c.Tracks[TrackBaseline].Targets() {
		return byTries(r, track)
	}
	// The canary's selector may be narrower than the baseline's, never the other way round.
	for _, t := range [...]Track{TrackCanary, TrackBaseline} {
		if c.Tracks[t].matches(r) {
			o := byRecord(r, t)
			o.Route = c.stratum(r)
			return o, true
		}
	}
	return Observation{}, false
}

// stratum returns which requests r is compared with: those of its route, except when the
// canary has a route of its own.
func (c *Canary) stratum(r *Record) string {
	if k := c.Tracks[TrackCanary].Kind; k == ByRoute || k == ByService {
		return ""
	}
	return r.Route
}

// byTries makes an observation of a record whose track is the target that Kong chose.
// The first try owns the request: Kong rescues a failed try on a dead canary by another
// target, and the answer that the client saw is then the baseline's. It is a failure if
// its first try failed or its answer is an error; a latency only if one try was made and
// was good. Without a try there is no observation.
func byTries(r *Record, track func(target string) (Track, bool)) (Observation, bool) {
	if len(r.Tries) == 0 {
		return Observation{}, false
	}
	first := &r.Tries[0]
	t, ok := track(first.Target)
	if !ok {
		return Observation{}, false
	}
	o := byRecord(r, t)
	if first.Failed {
		o.Failed = true
	} else if len(r.Tries) > 1 {
		o.Failed = false // later tries answered for another target
	}
	if o.Failed || len(r.Tries) > 1 {
		o.Latency = NoLatency
	}
	return o, true
}

// byRecord makes an observation of a record of the given track: by service, route or
// header. It is a failure if the record failed.
func byRecord(r *Record, track Track) Observation {
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
		o.Latency = NoLatency
	}
	return o
}
