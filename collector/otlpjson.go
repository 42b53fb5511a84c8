package collector

import (
	"fmt"
	"strconv"
)

// ReadOTLP adds the spans of an object in the JSON of OTLP ({"resourceSpans": [...]}),
// which is that of protobuf but for ids, which are hexadecimal. Its OTLP is the message
// ExportTraceServiceRequest of opentelemetry-proto 1.x; what a span does not keep is
// passed over.
func (b *SpanBatch) ReadOTLP(w *Walker) error {
	return w.Object(func(name string) error {
		if name != "resourceSpans" {
			return w.Skip()
		}
		return w.Array(func() error { return b.resourceSpans(w) })
	})
}

func (b *SpanBatch) resourceSpans(w *Walker) error {
	var of SpanDraft
	err := w.Object(func(name string) error {
		switch name {
		case "resource":
			return w.Object(func(name string) error {
				if name != "attributes" {
					return w.Skip()
				}
				return of.attributes(w)
			})
		case "scopeSpans":
			return w.Array(func() error {
				return w.Object(func(name string) error {
					if name != "spans" {
						return w.Skip()
					}
					return w.Array(func() error { return b.span(w) })
				})
			})
		}
		return w.Skip()
	})
	b.Resource(of.Service, of.Version)
	return err
}

func (b *SpanBatch) span(w *Walker) error {
	if err := b.Begin(); err != nil {
		return err
	}
	var d SpanDraft
	err := w.Object(func(name string) (err error) {
		switch name {
		case "traceId":
			d.TraceID, err = w.ID(TraceDigits, false)
		case "spanId":
			d.ID, err = w.ID(SpanDigits, false)
		case "parentSpanId":
			d.Parent, err = w.ID(SpanDigits, false)
		case "name":
			d.Operation, err = w.Text()
		case "kind":
			return d.kind(w)
		case "startTimeUnixNano":
			d.Nanos[0], err = w.Number()
		case "endTimeUnixNano":
			d.Nanos[1], err = w.Number()
		case "attributes":
			return d.attributes(w)
		case "status":
			return d.status(w)
		default:
			return w.Skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	b.End(&d)
	return nil
}

// ID reads an id; see the function ID.
func (w *Walker) ID(digits int, short bool) (string, error) {
	text, err := w.Text()
	if err != nil {
		return "", err
	}
	id, err := ID(text, digits, short)
	if err != nil {
		return "", fmt.Errorf("%q before byte %d: %w", Name(text), w.dec.InputOffset(), err)
	}
	return id, nil
}

// kind reads a kind by its number or by its name.
func (d *SpanDraft) kind(w *Walker) error {
	text, err := w.Text()
	if n, notNumber := strconv.ParseUint(text, 10, 8); notNumber == nil {
		d.KindNumber(n)
		return err
	}
	d.KindNumber(map[string]uint64{
		"SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3, "SPAN_KIND_PRODUCER": 4, "SPAN_KIND_CONSUMER": 5,
	}[text])
	return err
}

func (d *SpanDraft) status(w *Walker) error {
	return w.Object(func(name string) error {
		if name != "code" {
			return w.Skip()
		}
		code, err := w.Text()
		d.Error = d.Error || code == "2" || code == "STATUS_CODE_ERROR"
		return err
	})
}

// attributes reads a list of attributes. A value that is neither a string nor a number nor
// a bool says nothing that is wanted.
func (d *SpanDraft) attributes(w *Walker) error {
	return w.Array(func() error {
		var key, value string
		err := w.Object(func(name string) (err error) {
			switch name {
			case "key":
				key, err = w.Text()
				return err
			case "value":
				return w.Object(func(name string) (err error) {
					switch name {
					case "stringValue", "intValue", "doubleValue", "boolValue":
						value, err = w.Text()
						return err
					}
					return w.Skip()
				})
			}
			return w.Skip()
		})
		d.Attribute(key, value)
		return err
	})
}

// Limits of what one body may hold, unless the settings of a source say otherwise.
const (
	// DefaultMaxSpans is how many spans a body may have. Kong sends up to 200.
	DefaultMaxSpans = 20_000
	// DefaultMaxSpanBody is how large a body with spans may be, decompressed: as much as gRPC
	// takes in its default.
	DefaultMaxSpanBody = 4 * MiB
)
