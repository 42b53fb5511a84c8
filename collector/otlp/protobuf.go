package otlp

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gatewarden/gatewarden/collector"
)

// errProtobuf says that a body is no protobuf.
var errProtobuf = errors.New("the body is no ExportTraceServiceRequest in protobuf")

// decodeProtobuf adds the spans of an ExportTraceServiceRequest. It reads the wire format
// itself: the generated types would make of a hostile body of a megabyte hundreds of them
// in memory, and most of what they hold (events, links, scopes) is not wanted. The numbers
// of the fields are those of opentelemetry-proto 1.x, trace.proto.
func decodeProtobuf(b *collector.SpanBatch, body []byte) error {
	return fields(body, func(f field) error {
		if f.number != 1 {
			return nil
		}
		return f.message(func(body []byte) error { return resourceSpans(b, body) })
	})
}

// field is a field of a message, whose value is in n or, when it has a length, in bytes.
type field struct {
	number protowire.Number
	wire   protowire.Type
	n      uint64
	bytes  []byte
}

// fields calls f for each field of a message. Groups are passed over.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return broken(n)
		}
		b = b[n:]
		v := field{number: number, wire: wire}
		switch wire {
		case protowire.VarintType:
			v.n, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v.n, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var short uint32
			short, n = protowire.ConsumeFixed32(b)
			v.n = uint64(short)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, wire, b)
		}
		if n < 0 {
			return broken(n)
		}
		b = b[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

func broken(n int) error { return fmt.Errorf("%w: %w", errProtobuf, protowire.ParseError(n)) }

// message calls f with the bytes of a message within another one. A field of that number
// but of another type is unknown, as for every reader of protobuf.
func (f field) message(g func([]byte) error) error {
	if f.wire != protowire.BytesType {
		return nil
	}
	return g(f.bytes)
}

func resourceSpans(b *collector.SpanBatch, body []byte) error {
	var of collector.SpanDraft
	err := fields(body, func(f field) error {
		const resource, scopeSpans = 1, 2
		if f.number == resource {
			return f.message(func(body []byte) error { return attributes(&of, body) })
		}
		if f.number == scopeSpans {
			return f.message(func(body []byte) error { return spans(b, body) })
		}
		return nil
	})
	b.Resource(of.Service, of.Version)
	return err
}

// attributes reads those of a resource.
func attributes(d *collector.SpanDraft, body []byte) error {
	return fields(body, func(f field) error {
		if f.number != 1 {
			return nil
		}
		return f.message(func(body []byte) error { return attribute(d, body) })
	})
}

// spans reads those of a scope.
func spans(b *collector.SpanBatch, body []byte) error {
	return fields(body, func(f field) error {
		if f.number != 2 {
			return nil
		}
		return f.message(func(body []byte) error { return span(b, body) })
	})
}

func span(b *collector.SpanBatch, body []byte) error {
	if err := b.Begin(); err != nil {
		return err
	}
	var d collector.SpanDraft
	err := fields(body, func(f field) (err error) {
		switch {
		case f.number == 1 && f.wire == protowire.BytesType:
			d.TraceID, err = collector.BinaryID(f.bytes, collector.TraceDigits/2)
		case f.number == 2 && f.wire == protowire.BytesType:
			d.ID, err = collector.BinaryID(f.bytes, collector.SpanDigits/2)
		case f.number == 4 && f.wire == protowire.BytesType:
			d.Parent, err = collector.BinaryID(f.bytes, collector.SpanDigits/2)
		case f.number == 5 && f.wire == protowire.BytesType:
			d.Operation = string(f.bytes[:min(len(f.bytes), collector.MaxSpanName)])
		case f.number == 6 && f.wire == protowire.VarintType:
			d.KindNumber(f.n)
		case f.number == 7 && f.wire == protowire.Fixed64Type:
			d.Nanos[0] = f.n
		case f.number == 8 && f.wire == protowire.Fixed64Type:
			d.Nanos[1] = f.n
		case f.number == 9:
			return f.message(func(body []byte) error { return attribute(&d, body) })
		case f.number == 15:
			return f.message(func(body []byte) error { return spanStatus(&d, body) })
		}
		return err
	})
	if err != nil {
		return err
	}
	b.End(&d)
	return nil
}

func spanStatus(d *collector.SpanDraft, body []byte) error {
	return fields(body, func(f field) error {
		if f.number == 3 && f.wire == protowire.VarintType {
			d.Error = d.Error || f.n == 2
		}
		return nil
	})
}

// attribute reads an attribute. Its value is read only when it says something that a span
// keeps.
func attribute(d *collector.SpanDraft, body []byte) error {
	var key string
	var value []byte
	err := fields(body, func(f field) error {
		switch {
		case f.number == 1 && f.wire == protowire.BytesType:
			if key = ""; collector.Wanted(string(f.bytes)) {
				key = string(f.bytes)
			}
		case f.number == 2 && f.wire == protowire.BytesType:
			value = append(value, f.bytes...) // given twice, a message is both together
		}
		return nil
	})
	if err != nil || key == "" {
		return err
	}
	text, err := anyValue(value)
	d.Attribute(key, text)
	return err
}

// anyValue returns a string, a number or a bool as text, and "" for what is none of these.
// Of several the last holds.
func anyValue(body []byte) (text string, err error) {
	err = fields(body, func(f field) error {
		switch {
		case f.number == 1 && f.wire == protowire.BytesType:
			text = collector.Name(string(f.bytes[:min(len(f.bytes), collector.MaxSpanName)]))
		case f.number == 2 && f.wire == protowire.VarintType:
			text = strconv.FormatBool(f.n != 0)
		case f.number == 3 && f.wire == protowire.VarintType:
			text = strconv.FormatInt(int64(f.n), 10)
		case f.number == 4 && f.wire == protowire.Fixed64Type:
			text = strconv.FormatFloat(math.Float64frombits(f.n), 'f', -1, 64)
		case f.number >= 5 && f.number <= 7 && f.wire == protowire.BytesType:
			text = ""
		}
		return nil
	})
	return text, err
}
