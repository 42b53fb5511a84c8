package elasticsearch

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests  *prometheus.CounterVec
	seconds   prometheus.Histogram
	documents *prometheus.CounterVec
	buckets   prometheus.Counter
	lag       prometheus.Gauge
	past      prometheus.Gauge
	usable    prometheus.Gauge
	unkept    prometheus.Gauge
}

// The outcomes of requests, and the fates of documents.
const (
	outcomeOK      = "ok"
	outcomeFailed  = "failed"
	outcomePartial = "partial"

	fateRead     = "read"
	fateKnown    = "known"
	fateRejected = "rejected"
	fateBroken   = "broken"
)

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_elasticsearch_requests_total",
			Help: "Requests to Elasticsearch, by their outcome: ok, failed, or partial (answered without all data, and not counted).",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatewarden_elasticsearch_request_seconds", Help: "How long Elasticsearch took to answer, and the answer to be read.",
			Buckets: []float64{.005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		documents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_elasticsearch_documents_total",
			Help: "Documents that were read, by their fate: read, known (counted before), rejected (no log record of Kong's) or broken (no JSON).",
		}, []string{"fate"}),
		buckets: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_elasticsearch_buckets_total", Help: "Buckets that Elasticsearch counted documents in.",
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_elasticsearch_lag_seconds", Help: "How far behind now the reading is, the safety lag included.",
		}),
		past: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_elasticsearch_past_remaining_seconds", Help: "How much of the past is still to be filled in.",
		}),
		usable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_elasticsearch_usable", Help: "1 when the index has the fields that are needed, 0 when not, or not known yet.",
		}),
		unkept: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_elasticsearch_unkept_seconds",
			Help: "Of the time within lateness, how much is not kept over a restart because it has too many rows: what comes late for it meanwhile is missed.",
		}),
	}
	for _, outcome := range []string{outcomeOK, outcomeFailed, outcomePartial} {
		m.requests.WithLabelValues(outcome)
	}
	for _, fate := range []string{fateRead, fateKnown, fateRejected, fateBroken} {
		m.documents.WithLabelValues(fate)
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.documents, m.buckets, m.lag, m.past, m.usable, m.unkept} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
