package gatewarden

import "time"

// SpanKind says which side of a call a span is, in the words of OpenTelemetry.
type SpanKind string

// The kinds of spans.
const (
	SpanInternal SpanKind = "internal" // no call at all; also what does not say its kind
	SpanServer   SpanKind = "server"
	SpanClient   SpanKind = "client"
	SpanProducer SpanKind = "producer"
	SpanConsumer SpanKind = "consumer"
)

// Span is a piece of work that one service did for a request, as a tracing library
// reported it. Its strings are its own: they share memory with nothing.
type Span struct {
	TraceID   string // 32 lower-case hexadecimal digits, not all 0
	ID        string // 16 of them, not all 0
	Parent    string // the span that this one is part of; "" for the first of a trace
	Service   string // service.name
	Version   string // service.version; "" when the service does not say
	Operation string // the span's name
	Kind      SpanKind
	Start     time.Time
	Duration  time.Duration
	Status    int    // of HTTP; 0 when it has none
	Error     bool   // the service itself called it an error
	Peer      string // "ip:port" of the other side; "" when it does not say
}

// End returns when the span was over.
func (s *Span) End() time.Time { return s.Start.Add(s.Duration) }

// Failed reports whether the work failed by the fault of the service: what a service
// calls an error, except when it is the client's as HTTP says it (4xx), and a status of
// 500 and above, which Kong does not call one.
func (s *Span) Failed() bool {
	if s.Status >= 400 && s.Status < 500 {
		return false
	}
	return s.Error || s.Status >= 500
}

// Record returns the span as a record of SignalTraces, so that SLIs can count it: its
// operation is the route, its kind the only tag, and its duration the latency of the
// request. A failed span without a status of its own has 500, another one 200. The id is
// that of the span within its trace: a span that is sent twice is counted once.
func (s *Span) Record() Record {
	r := Record{
		Signal: SignalTraces, ID: s.TraceID + "-" + s.ID, At: s.End(), Service: s.Service, Route: s.Operation, Tags: []string{string(s.Kind)},
		TraceID: s.TraceID, Status: s.Status, Weight: 1,
		Latency: Latency{Request: s.Duration, Upstream: NoLatency, Kong: NoLatency},
	}
	switch {
	case s.Failed() && s.Status < 500:
		r.Status = 500
	case s.Status == 0:
		r.Status = 200
	}
	return r
}
