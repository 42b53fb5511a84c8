package kongmetrics

import (
	"time"

	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	looks    *prometheus.CounterVec
	seconds  prometheus.Histogram
	resets   prometheus.Counter
	nodes    prometheus.Gauge
	leftOut  prometheus.Gauge
	failures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_kongmetrics_looks_total", Help: "Looks at /metrics of Kong's nodes, by their outcome: ok or failed.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatewarden_kongmetrics_look_seconds", Help: "How long a node took to answer, and the answer to be read.",
			Buckets:                     []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}),
		resets: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_kongmetrics_resets_total", Help: "Times that a node's counters began anew, because it restarted.",
		}),
		nodes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_kongmetrics_nodes", Help: "Nodes of Kong's that are looked at.",
		}),
		leftOut: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_kongmetrics_nodes_left_out", Help: "Nodes that were found and are not looked at, because there are more than max_nodes.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_kongmetrics_lookup_failures_total", Help: "Names that could not be resolved; the nodes known before stay.",
		}),
	}
	for _, outcome := range []string{"ok", "failed"} {
		m.looks.WithLabelValues(outcome)
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.looks, m.seconds, m.resets, m.nodes, m.leftOut, m.failures} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
