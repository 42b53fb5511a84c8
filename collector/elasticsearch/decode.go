package elasticsearch

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewarden/gatewarden/collector"
)

// recordFields are the fields of Kong's object that a record is made of.
var recordFields = []string{
	"started_at", "latencies", "response.status", "session", "upstream_status", "source", "client_ip", "tries", "trace_id", "workspace_name",
	"request.id", "request.method", "request.uri",
	"service.name", "service.host", "service.id", "service.tags", "route.name", "route.id", "route.tags",
	"consumer.username", "consumer.custom_id", "consumer.id",
}

// includes returns the parts of documents that are asked for.
func (s *Source) includes(l *layout) []string {
	if l.status.name == "" { // a string
		return []string{l.prefix}
	}
	var list []string
	for _, name := range recordFields {
		list = append(list, in(l.prefix, name))
	}
	if s.headers.Asked() {
		list = append(list, in(l.prefix, "request.headers"), in(l.prefix, "response.headers"))
	}
	return list
}

// decode makes records of documents, valid until d is used again.
func (s *Source) decode(d *collector.Decoder, l *layout, hits []hit) collector.Batch {
	objects := make([][]byte, 0, len(hits))
	for i := range hits {
		if object, ok := l.object(hits[i].source); ok {
			objects = append(objects, startedAt(nil, object, hits[i].time))
		}
	}
	batch, err := decodeAll(d, objects)
	if err != nil { // nested too deep
		objects = slices.DeleteFunc(objects, func(o []byte) bool { _, err := d.Decode(o); return err != nil })
		if batch, err = decodeAll(d, objects); err != nil {
			s.log.Error("documents cannot be decoded together, though each of them can", "err", err)
			objects = nil
		}
	}
	s.metrics.documents.WithLabelValues(fateBroken).Add(float64(len(hits) - len(objects)))
	s.metrics.documents.WithLabelValues(fateRead).Add(float64(len(batch.Records)))
	s.metrics.documents.WithLabelValues(fateRejected).Add(float64(batch.Rejected))
	if batch.Rejected > 0 {
		s.log.Debug("rejected what is no log record of Kong's", "rejected", batch.Rejected, "reason", batch.Reason)
	}
	return batch
}

func decodeAll(d *collector.Decoder, objects [][]byte) (collector.Batch, error) {
	if len(objects) == 0 {
		return collector.Batch{}, nil
	}
	return d.Decode(bytes.Join(objects, []byte{'\n'}))
}

// object returns Kong's object of a document, and whether there is one that is JSON.
func (l *layout) object(source json.RawMessage) (object []byte, ok bool) {
	at := bytes.TrimSpace(source)
	if l.prefix != "" {
		for key := range strings.SplitSeq(l.prefix, ".") {
			var members map[string]json.RawMessage
			if json.Unmarshal(at, &members) != nil {
				return nil, false
			}
			at = bytes.TrimSpace(members[key])
		}
	}
	if len(at) > 0 && at[0] == '"' {
		var text string
		if json.Unmarshal(at, &text) != nil {
			return nil, false
		}
		at = bytes.TrimSpace([]byte(text))
		if !json.Valid(at) {
			return nil, false
		}
	}
	return at, len(at) > 0 && at[0] == '{'
}

// startedAt appends the object with a started_at before all that it holds: its own, which
// comes after, goes before it, and where a shipper has dropped that the event time does.
func startedAt(body, object []byte, time int64) []byte {
	rest := bytes.TrimLeft(object[1:], " \t\r\n")
	if time <= 0 || len(rest) == 0 || rest[0] == '}' {
		return append(body, object...)
	}
	body = append(body, `{"started_at":`...)
	body = strconv.AppendInt(body, time, 10)
	body = append(body, ',')
	return append(body, rest...)
}
