package collector

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Spans takes the spans of the sources that bring traces.
type Spans interface {
	// AcceptSpans takes all of spans, or none of them and says why, as Sink.Accept does.
	// The slice is valid until it returns.
	AcceptSpans(ctx context.Context, source string, spans []gatewarden.Span) error
}

// SpanSink returns where the spans of a source go: Env.Spans, and nowhere when that is nil.
func (e Env) SpanSink() Spans {
	if e.Spans == nil {
		return noSpans{}
	}
	return e.Spans
}

type noSpans struct{}

func (noSpans) AcceptSpans(context.Context, string, []gatewarden.Span) error { return nil }

// Errors of bodies that hold spans.
var (
	// ErrTooManySpans says that there are more spans than the limit.
	ErrTooManySpans = errors.New("there are more spans than the limit")
	// ErrSpanID says that a span has an id that is none: of a wrong length, or not hexadecimal.
	ErrSpanID = errors.New("an id is not of the length that it must have, in hexadecimal digits")
)

// SpanBatch gathers the spans of one body, within a limit.
type SpanBatch struct {
	Spans    []gatewarden.Span
	Rejected int    // those left out: with ids of zeros, without a service, or of impossible times
	Reason   string // why the first of them was
	Max      int    // how many there may be
	total    int    // with those that were left out
	resolved int    // how many of Spans know their service
}

// SpanDraft is a span while what it says of itself is being read.
type SpanDraft struct {
	gatewarden.Span
	Nanos          [2]uint64 // its start and its end, since 1970
	host, port     string    // of the peer
	legacy, stable int       // statuses by the old and by the new name
}

// MaxSpanName is the longest name of a service, a version or an operation, in bytes. What is
// longer is cut.
const MaxSpanName = 256

// Name returns a name as it is kept: valid, and not too long.
func Name(s string) string {
	if len(s) > MaxSpanName {
		s = s[:MaxSpanName]
	}
	return strings.ToValidUTF8(s, "�")
}

// Wanted reports whether the attribute of that name says something that a span keeps.
func Wanted(key string) bool {
	switch key {
	case "http.status_code", "http.response.status_code", "rpc.grpc.status_code", "error", "otel.status_code", "span.kind",
		"net.peer.ip", "net.peer.port", "network.peer.address", "network.peer.port", "service.name", "service.version":
		return true
	}
	return false
}

// Attribute takes an attribute, whose value is given as text: numbers in decimal, with a
// point if they were read with one.
func (d *SpanDraft) Attribute(key, value string) {
	switch key {
	case "http.status_code":
		d.legacy = statusOf(value)
	case "http.response.status_code":
		d.stable = statusOf(value)
	case "rpc.grpc.status_code":
		d.Error = d.Error || failsGRPC(value)
	case "error":
		d.Error = d.Error || strings.EqualFold(value, "true")
	case "otel.status_code":
		d.Error = d.Error || value == "ERROR"
	case "span.kind":
		d.Kind = kindOf(value)
	case "net.peer.ip", "network.peer.address":
		d.host = Name(value)
	case "net.peer.port", "network.peer.port":
		if port, ok := wholeNumber(value); ok && port > 0 && port <= math.MaxUint16 {
			d.port = strconv.Itoa(port)
		}
	case "service.name":
		d.Service = Name(value)
	case "service.version":
		d.Version = Name(value)
	}
}

// wholeNumber reads a number that may have been a double: "8080.0".
func wholeNumber(text string) (int, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

func statusOf(text string) int {
	if n, ok := wholeNumber(text); ok && n > 0 && n < 1000 {
		return n
	}
	return 0
}

// failsGRPC reports whether a status of gRPC is the server's fault, by OpenTelemetry's
// semantic conventions for RPC: unknown, deadline exceeded, unimplemented, internal,
// unavailable and data loss.
func failsGRPC(text string) bool {
	switch n, _ := wholeNumber(text); n {
	case 2, 4, 12, 13, 14, 15:
		return true
	}
	return false
}

func kindOf(text string) gatewarden.SpanKind {
	k := gatewarden.SpanKind(strings.ToLower(text))
	if slices.Contains(kinds(), k) {
		return k
	}
	return gatewarden.SpanInternal
}

// kinds are those that OTLP has, by their numbers.
func kinds() []gatewarden.SpanKind {
	const unspecified = gatewarden.SpanInternal
	return []gatewarden.SpanKind{
		unspecified, gatewarden.SpanInternal, gatewarden.SpanServer, gatewarden.SpanClient, gatewarden.SpanProducer, gatewarden.SpanConsumer,
	}
}

// KindNumber takes the kind by its number in OTLP.
func (d *SpanDraft) KindNumber(n uint64) {
	d.Kind = gatewarden.SpanInternal
	if known := kinds(); n < uint64(len(known)) {
		d.Kind = known[n]
	}
}

// ID returns an id of so many hexadecimal digits in lower case. One of half of the digits
// or fewer is filled up with zeros where short ids are allowed, as they are of old tracers.
// An empty one, and one that is all zeros, is "".
func ID(text string, digits int, short bool) (string, error) {
	if text == "" {
		return "", nil
	}
	if len(text) > digits || len(text) < digits && !short {
		return "", ErrSpanID
	}
	zero := true
	for i := range len(text) {
		switch c := text[i]; {
		case c == '0':
		case c >= '1' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			zero = false
		default:
			return "", ErrSpanID
		}
	}
	if zero {
		return "", nil
	}
	return strings.Repeat("0", digits-len(text)) + strings.ToLower(text), nil
}

// BinaryID is ID for an id in bytes.
func BinaryID(b []byte, size int) (string, error) {
	switch len(b) {
	case 0:
		return "", nil
	case size:
		return ID(hex.EncodeToString(b), 2*size, false)
	}
	return "", ErrSpanID
}

// The digits of ids.
const (
	TraceDigits = 32
	SpanDigits  = 16
)

// Begin says that a span begins, which is an error beyond the limit.
func (b *SpanBatch) Begin() error {
	if b.total++; b.total > b.Max {
		return ErrTooManySpans
	}
	return nil
}

// End adds a span that has been read. Its service may be missing until Resource.
func (b *SpanBatch) End(d *SpanDraft) {
	start, end := d.Nanos[0], d.Nanos[1]
	switch {
	case d.TraceID == "" || d.ID == "":
		b.reject("its trace id or its span id is missing or all zeros")
		return
	case start == 0 || end < start || end > math.MaxInt64:
		b.reject("its times are missing, or it ends before it begins")
		return
	}
	s := d.Span
	s.Start, s.Duration = time.Unix(0, int64(start)).UTC(), time.Duration(end-start)
	s.Operation = Name(s.Operation)
	if s.Kind == "" {
		s.Kind = gatewarden.SpanInternal
	}
	if s.Status = d.stable; s.Status == 0 {
		s.Status = d.legacy
	}
	if d.host != "" && d.port != "" {
		s.Peer = net.JoinHostPort(d.host, d.port)
	}
	b.Spans = append(b.Spans, s)
}

func (b *SpanBatch) reject(why string) {
	if b.Rejected++; b.Reason == "" {
		b.Reason = why
	}
}

// Resource says what the spans since the last one share: the service and its version. The
// spans of a service without a name are rejected.
func (b *SpanBatch) Resource(service, version string) {
	if service == "" {
		for range b.Spans[b.resolved:] {
			b.reject("its service has no name (service.name)")
		}
		b.Spans = b.Spans[:b.resolved]
		return
	}
	for i := b.resolved; i < len(b.Spans); i++ {
		b.Spans[i].Service, b.Spans[i].Version = service, version
	}
	b.resolved = len(b.Spans)
}
