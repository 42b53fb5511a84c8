package gatewarden

import (
	"slices"
	"strings"
	"time"
)

// Origin says who made the response that the client saw.
type Origin uint8

// The origins. Kong's log calls them "kong" and "upstream", its Prometheus
// plugin "kong" and "service".
const (
	OriginUnknown  Origin = iota
	OriginUpstream        // the upstream answered
	OriginKong            // Kong answered by itself: a plugin, or an error it met
)

// String returns the word of Kong's log for o, or "" when it is unknown.
func (o Origin) String() string {
	switch o {
	case OriginUpstream:
		return "upstream"
	case OriginKong:
		return "kong"
	default:
		return ""
	}
}

// NoLatency stands for a latency that does not exist for this request, for
// example the upstream's when nothing was proxied (Kong logs -1 there).
const NoLatency time.Duration = -1

// Latency is where a request's time went. A part that is not known is
// NoLatency. Kong logs whole milliseconds.
type Latency struct {
	Request  time.Duration // the whole request as the client saw it (latencies.request)
	Upstream time.Duration // waiting for the upstream, last try only (latencies.proxy)
	Kong     time.Duration // inside Kong: plugins, and tries before the last (latencies.kong)
}

// Try is one attempt of Kong's balancer to have the request answered.
type Try struct {
	Target string // "ip:port"
	Failed bool   // Kong logged a state for it, which it does for failed tries only
	Code   int    // the code of a failed try, 0 when there is none
}

// Header is a header of a request or of its response, one of those that were asked for.
type Header struct {
	Response bool
	Name     string // in lower case
	Value    string // the first one, when Kong logged several
}

// Record is one request as Kong saw it, or Weight identical ones when the source
// is a counter.
//
// Its strings may share the memory of the body they were decoded from, or that of a
// decoder which the next body overwrites: keep a Record for as long as it is being counted,
// and Clone it, or a string of it, to keep it longer.
type Record struct {
	// Signal says what the record is of: "" a request that Kong logged, SignalTraces a
	// span (Service, its operation as Route, its kind as the only one of Tags), and what
	// Query.Signal returns events that a monitoring system counted. Only a Series of the
	// same signal counts it.
	Signal    string
	ID        string    // Kong's request.id; "" when the source has none. Repeats are dropped by it
	At        time.Time // when the request completed: started_at + latencies.request
	Workspace string    // workspace_name; "" when not logged
	Service   string    // the service's name, else its host, else its id; "" without a service
	Route     string    // the route's name, else its id; "" when no route matched
	Consumer  string    // username, else custom_id, else id; "" when anonymous
	Tags      []string  // of the service and of the route
	Method    string
	Path      string // request.uri without the query
	ClientIP  string
	TraceID   string // lower-case hexadecimal (trace_id.w3c first), "" when not traced
	Status    int    // what the client saw. 9 has been seen from an upstream that does not speak HTTP
	Origin    Origin
	Latency   Latency
	Tries     []Try
	LastTry   int      // the status of the last try (last item of upstream_status), 0 when there is none
	Headers   []Header // those that were asked for and that there are; in no order that means something
	Weight    uint32   // how many identical requests this stands for; a log line is 1
}

// Header returns the value of a header that was asked for, by its name in lower case,
// and whether the record has it.
func (r *Record) Header(response bool, name string) (value string, ok bool) {
	for i := range r.Headers {
		if h := &r.Headers[i]; h.Response == response && h.Name == name {
			return h.Value, true
		}
	}
	return "", false
}

// Clone returns a copy of r that shares no memory with what it was decoded from.
func (r *Record) Clone() Record {
	k := *r
	for _, s := range [...]*string{
		&k.Signal, &k.ID, &k.Workspace, &k.Service, &k.Route, &k.Consumer, &k.Method, &k.Path, &k.ClientIP, &k.TraceID,
	} {
		*s = strings.Clone(*s)
	}
	k.Tags, k.Tries, k.Headers = slices.Clone(k.Tags), slices.Clone(k.Tries), slices.Clone(k.Headers)
	for i := range k.Tags {
		k.Tags[i] = strings.Clone(k.Tags[i])
	}
	for i := range k.Tries {
		k.Tries[i].Target = strings.Clone(k.Tries[i].Target)
	}
	for i := range k.Headers {
		k.Headers[i].Name, k.Headers[i].Value = strings.Clone(k.Headers[i].Name), strings.Clone(k.Headers[i].Value)
	}
	return k
}

// Failed reports whether the request counts as an error of the service: a status
// of 500 and above, or one that HTTP does not know.
func (r *Record) Failed() bool { return r.Status >= 500 || r.Status < 100 }
