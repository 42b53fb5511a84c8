package httplog

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests     *prometheus.CounterVec
	ok           prometheus.Counter // of requests
	accepted     prometheus.Counter
	rejected     prometheus.Counter
	received     prometheus.Counter
	decodeErrors prometheus.Counter
}

// newMetrics registers the metrics. Those that are registered already, by another
// source of this kind or by the one that this one replaces in a reload, go on.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	var errs []error
	counter := func(name, help string) prometheus.Counter {
		c, err := register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "gatewarden_httplog_" + name, Help: help}))
		errs = append(errs, err)
		return c
	}
	requests, err := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatewarden_httplog_requests_total",
		Help: "Posts of log records, by the status of the answer.",
	}, []string{"code"}))
	errs = append(errs, err)
	m := &metrics{
		requests:     requests,
		ok:           requests.WithLabelValues("200"),
		accepted:     counter("records_accepted_total", "Records that were counted."),
		rejected:     counter("records_rejected_total", "Elements of accepted bodies that are no log records of Kong's."),
		received:     counter("received_bytes_total", "Bytes of bodies, decompressed."),
		decodeErrors: counter("decode_errors_total", "Bodies that are no valid JSON or have too many elements."),
	}
	return m, errors.Join(errs...)
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	err := reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

func (m *metrics) answered(status int) {
	if status == 200 {
		m.ok.Inc()
		return
	}
	m.requests.WithLabelValues(strconv.Itoa(status)).Inc()
}
