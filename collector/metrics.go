package collector

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// feedMetrics are those of a Feed, the same for every kind of source that uses one.
type feedMetrics struct {
	received prometheus.Counter
	rejected prometheus.Counter
	broken   prometheus.Counter
	tooLong  prometheus.Counter
	retries  prometheus.Counter
}

func newFeedMetrics(reg prometheus.Registerer) (*feedMetrics, error) {
	r := registrar{reg: reg}
	m := &feedMetrics{
		received: r.counter("gatewarden_collector_received_bytes_total", "Bytes of lines, datagrams and messages."),
		rejected: r.counter("gatewarden_collector_records_rejected_total", "Lines, datagrams and messages that are valid JSON but no log records of Kong's."),
		broken:   r.counter("gatewarden_collector_frames_broken_total", "Lines, datagrams and messages that are no valid JSON."),
		tooLong:  r.counter("gatewarden_collector_frames_too_long_total", "Lines and messages that were left out because they are longer than the limit."),
		retries:  r.counter("gatewarden_collector_count_retries_total", "Times that records could not be counted and were offered again."),
	}
	return m, errors.Join(r.errs...)
}

// streamMetrics are those of a Stream.
type streamMetrics struct {
	connections prometheus.Gauge
	accepted    prometheus.Counter
	refused     prometheus.Counter
	timedOut    prometheus.Counter
	failed      prometheus.Counter
}

func newStreamMetrics(reg prometheus.Registerer) (*streamMetrics, error) {
	r := registrar{reg: reg}
	m := &streamMetrics{
		connections: r.gauge("gatewarden_collector_connections", "Connections that are open."),
		accepted:    r.counter("gatewarden_collector_connections_accepted_total", "Connections that were accepted."),
		refused:     r.counter("gatewarden_collector_connections_refused_total", "Connections that were closed at once, because there are too many."),
		timedOut:    r.counter("gatewarden_collector_connections_timed_out_total", "Connections that were closed because nothing whole came for too long."),
		failed:      r.counter("gatewarden_collector_connections_failed_total", "Connections that ended with an error: reset, or no TLS."),
	}
	return m, errors.Join(r.errs...)
}

// datagramMetrics are those of Datagrams.
type datagramMetrics struct {
	received prometheus.Counter
	dropped  prometheus.Counter
	buffer   prometheus.Gauge
}

func newDatagramMetrics(reg prometheus.Registerer) (*datagramMetrics, error) {
	r := registrar{reg: reg}
	m := &datagramMetrics{
		received: r.counter("gatewarden_collector_datagrams_received_total", "Datagrams that were received."),
		dropped:  r.counter("gatewarden_collector_datagrams_dropped_total", "Datagrams that the kernel dropped because the socket's buffer was full; Linux only."),
		buffer:   r.gauge("gatewarden_collector_socket_buffer_bytes", "What the kernel gives to the socket's buffer; Linux only."),
	}
	return m, errors.Join(r.errs...)
}

// spanMetrics are those of the sources that bring spans.
type spanMetrics struct {
	received prometheus.Counter
	accepted prometheus.Counter
	rejected prometheus.Counter
	refused  prometheus.Counter
}

func newSpanMetrics(reg prometheus.Registerer) (*spanMetrics, error) {
	r := registrar{reg: reg}
	m := &spanMetrics{
		received: r.counter("gatewarden_collector_span_received_bytes_total", "Bytes of bodies with spans, decompressed."),
		accepted: r.counter("gatewarden_collector_spans_accepted_total", "Spans that were handed on."),
		rejected: r.counter("gatewarden_collector_spans_rejected_total", "Spans that were left out of bodies that are good otherwise: ids of zeros, no service, impossible times."),
		refused:  r.counter("gatewarden_collector_span_bodies_refused_total", "Bodies with spans that were refused as a whole: broken, too large, too many at once."),
	}
	return m, errors.Join(r.errs...)
}

// registrar registers metrics. Those that are registered already go on: a source may
// have two streams, or take the place of another.
type registrar struct {
	reg  prometheus.Registerer
	errs []error
}

func (r *registrar) counter(name, help string) prometheus.Counter {
	return register(r, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
}

func (r *registrar) gauge(name, help string) prometheus.Gauge {
	return register(r, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
}

func register[C prometheus.Collector](r *registrar, c C) C {
	err := r.reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	r.errs = append(r.errs, err)
	return c
}
