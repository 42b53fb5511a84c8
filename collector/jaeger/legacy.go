package jaeger

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden/collector"
)

// v1 is the API under /api that Jaeger's page had, up to 2.20.
type v1 struct{}

func (v1) services() string { return "api/services" }

func (v1) known(w *collector.Walker) (known bool, err error) {
	err = w.Object(func(name string) error {
		known = known || name == "data"
		return w.Skip()
	})
	return known, err
}

func (v1) search() string { return "api/traces" }

func (v1) query(service string, from, to time.Time, limit int) url.Values {
	micros := func(t time.Time) []string { return []string{strconv.FormatInt(t.UnixMicro(), 10)} }
	return url.Values{
		"service": {service}, "start": micros(from), "end": micros(to.Add(-time.Microsecond)), // both are within
		"limit": {strconv.Itoa(limit)},
	}
}

func (v1) nothing(int, string) bool { return false }

func (v1) read(b *collector.SpanBatch, w *collector.Walker) (traces int, err error) {
	seen := false
	err = w.Object(func(name string) error {
		switch name {
		case "data":
			seen = true
			return w.Array(func() error {
				traces++
				return trace(b, w)
			})
		case "errors":
			return w.Array(func() error {
				text, err := problem(w)
				if err == nil {
					err = fmt.Errorf("it says %q", text)
				}
				return err
			})
		}
		return w.Skip()
	})
	if err == nil && !seen {
		err = errUnknown
	}
	return traces, err
}

// problem reads an error of Jaeger's.
func problem(w *collector.Walker) (text string, err error) {
	err = w.Object(func(name string) (err error) {
		if name != "msg" {
			return w.Skip()
		}
		text, err = w.Text()
		return err
	})
	return collector.Name(text), err
}

// process is a service, as a trace lists it.
type process struct{ service, version string }

// trace reads one. Its services may come after its spans.
func trace(b *collector.SpanBatch, w *collector.Walker) error {
	var drafts []collector.SpanDraft
	var of []string // the process of each
	processes := map[string]process{}
	err := w.Object(func(name string) error {
		switch name {
		case "spans":
			return w.Array(func() error {
				if err := b.Begin(); err != nil {
					return err
				}
				d, process, err := span(w)
				drafts, of = append(drafts, d), append(of, process)
				return err
			})
		case "processes":
			return w.Object(func(name string) error {
				if len(processes) > maxProcesses {
					return w.Skip()
				}
				p, err := readProcess(w)
				processes[name] = p
				return err
			})
		}
		return w.Skip()
	})
	if err != nil {
		return err
	}
	for i := range drafts {
		b.End(&drafts[i])
		b.Resource(processes[of[i]].service, processes[of[i]].version)
	}
	return nil
}

// maxProcesses is how many services one trace may list.
const maxProcesses = 10_000

func readProcess(w *collector.Walker) (process, error) {
	var d collector.SpanDraft
	err := w.Object(func(name string) (err error) {
		switch name {
		case "serviceName":
			d.Service, err = w.Text()
			d.Service = collector.Name(d.Service)
			return err
		case "tags":
			return tags(&d, w)
		}
		return w.Skip()
	})
	return process{d.Service, d.Version}, err
}

func span(w *collector.Walker) (d collector.SpanDraft, process string, err error) {
	var start, length uint64 // microseconds
	err = w.Object(func(name string) (err error) {
		switch name {
		case "traceID":
			d.TraceID, err = w.ID(collector.TraceDigits, true)
		case "spanID":
			d.ID, err = w.ID(collector.SpanDigits, true)
		case "operationName":
			d.Operation, err = w.Text()
		case "startTime":
			start, err = w.Number()
		case "duration":
			length, err = w.Number()
		case "processID":
			process, err = w.Text()
		case "references":
			return w.Array(func() error { return reference(&d, w) })
		case "tags":
			return tags(&d, w)
		default:
			return w.Skip()
		}
		return err
	})
	if start <= math.MaxInt64/1000 && length <= math.MaxInt64/2000 {
		d.Nanos = [2]uint64{start * 1000, (start + length) * 1000}
	}
	return d, process, err
}

// reference reads one. The first that is to a part of the same trace is the parent.
func reference(d *collector.SpanDraft, w *collector.Walker) error {
	var kind, id string
	err := w.Object(func(name string) (err error) {
		switch name {
		case "refType":
			kind, err = w.Text()
		case "spanID":
			id, err = w.ID(collector.SpanDigits, true)
		default:
			return w.Skip()
		}
		return err
	})
	if kind == "CHILD_OF" && d.Parent == "" {
		d.Parent = id
	}
	return err
}

func tags(d *collector.SpanDraft, w *collector.Walker) error {
	return w.Array(func() error {
		var key, value string
		err := w.Object(func(name string) (err error) {
			switch name {
			case "key":
				key, err = w.Text()
			case "value":
				value, err = w.Text()
			default:
				return w.Skip()
			}
			return err
		})
		if key != "service.name" { // of the process
			d.Attribute(key, value)
		}
		return err
	})
}
