package promquery

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of a question.
const (
	answered = "ok"      // with what can be counted
	failed   = "failed"  // no answer, or one that is none
	partial  = "partial" // an answer that says of itself that it is not all
	refused  = "refused" // the server refuses the query, or its answer is not one series
)

// The fates of a step.
const (
	counted = "counted"
	missing = "missing" // nothing, or no number, where there should be one
)

type metrics struct {
	questions *prometheus.CounterVec
	seconds   prometheus.Histogram
	steps     *prometheus.CounterVec
	events    prometheus.Counter
	followed  prometheus.Gauge
	behind    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_promquery_questions_total", Help: "Questions to the query API, by their outcome: ok, failed, partial, refused.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatewarden_promquery_question_seconds", Help: "How long an answer took, with waiting for a turn left out.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_promquery_steps_total", Help: "Steps of queries by what became of them: counted, or missing because there was nothing that could be.",
		}, []string{"fate"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_promquery_events_total", Help: "Events that queries said there were, history included.",
		}),
		followed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_promquery_queries", Help: "Queries that are asked.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_promquery_behind_seconds", Help: "How long ago the last step ended that was counted, of the query that is furthest behind.",
		}),
	}
	for _, outcome := range []string{answered, failed, partial, refused} {
		m.questions.WithLabelValues(outcome)
	}
	for _, fate := range []string{counted, missing} {
		m.steps.WithLabelValues(fate)
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.questions, m.seconds, m.steps, m.events, m.followed, m.behind} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
