package jaeger

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	questions *prometheus.CounterVec
	seconds   prometheus.Histogram
	partial   prometheus.Counter
	skipped   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_jaeger_questions_total", Help: "Searches for traces, by their outcome: ok or failed.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatewarden_jaeger_question_seconds", Help: "How long Jaeger took to answer, and the answer to be read.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		partial: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_jaeger_partial_windows_total", Help: "Windows of a second with as many traces as the limit: some may be missing.",
		}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_jaeger_skipped_seconds_total", Help: "Seconds whose traces were never asked for, because Jaeger gave no answer for too long.",
		}),
	}
	for _, outcome := range []string{"ok", "failed"} {
		m.questions.WithLabelValues(outcome)
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.questions, m.seconds, m.partial, m.skipped} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
