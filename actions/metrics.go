package actions

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/gatewarden/gatewarden"
)

type metrics struct {
	changes   *prometheus.CounterVec
	inPlace   *prometheus.GaugeVec
	waiting   *prometheus.GaugeVec
	ladders   prometheus.Gauge
	lease     *prometheus.GaugeVec
	calls     *prometheus.HistogramVec
	retries   *prometheus.CounterVec
	held      *prometheus.CounterVec
	limits    *prometheus.CounterVec
	limit     *prometheus.GaugeVec
	paused    prometheus.Gauge
	unwritten prometheus.Counter
}

// newMetrics registers the engine's metrics with reg; nil registers nothing.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		changes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_actions_status_changes_total",
			Help: "Actions that came to a status, by kind of step.",
		}, []string{"kind", "status"}),
		inPlace: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_actions_in_place",
			Help: "Actions that are in place or under way, by kind of step and status.",
		}, []string{"kind", "status"}),
		waiting: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_actions_waiting",
			Help: "Actions that wait for a person to approve them.",
		}, []string{"policy"}),
		ladders: f.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_actions_ladders_active",
			Help: "Breaches and runs that are being answered.",
		}),
		lease: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_actions_lease_remaining_seconds",
			Help: "Time until the first lease of a policy's actions runs out.",
		}, []string{"policy"}),
		calls: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "gatewarden_actions_call_duration_seconds",
			Help:                        "How long one call of an executor took (prepare, apply, revert).",
			Buckets:                     prometheus.ExponentialBuckets(0.005, 4, 10),
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"kind", "call"}),
		retries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_actions_retries_total",
			Help: "Calls of an executor that failed and were tried again.",
		}, []string{"kind", "call"}),
		held: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_actions_held_total",
			Help: "Actions that a gate stopped, at least for a while.",
		}, []string{"gate"}),
		limits: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_actions_limit_changes_total",
			Help: "Changes of adaptive limits in place that an executor has made.",
		}, []string{"policy"}),
		limit: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_actions_limit_requests_per_second",
			Help: "Where the adaptive limits in place are, for the whole gateway.",
		}, []string{"policy", "service", "route"}),
		paused: f.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_actions_paused",
			Help: "1 while a person or a file pauses the guard.",
		}),
		unwritten: f.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_actions_write_failures_total",
			Help: "Writes to the journal or the leases that failed and are tried again.",
		}),
	}
}

// answering counts the ladders that have something left to do: one that answers a run
// may stay for days after that.
func (e *Engine) answering() (n int) {
	for _, l := range e.ladders {
		if !l.ofRun() || (!l.moves && !l.through()) {
			n++
		}
	}
	return n
}

// measure sets the gauges as of an instant.
func (e *Engine) measure(at time.Time) {
	e.metrics.inPlace.Reset()
	e.metrics.waiting.Reset()
	e.metrics.lease.Reset()
	e.metrics.limit.Reset()
	e.metrics.ladders.Set(float64(e.answering()))
	first := make(map[string]time.Duration)
	for _, a := range e.actions {
		if a.Status == gatewarden.ActionWaiting && a.By == "" { // else it is approved, and about to begin
			e.metrics.waiting.WithLabelValues(a.Policy).Inc()
		}
		if !a.inPlace() || a.ladder.ended {
			continue
		}
		e.metrics.inPlace.WithLabelValues(string(a.Spec.Kind), string(a.Status)).Inc()
		if s := a.Spec.Adaptive; s != nil && a.Limit != nil {
			e.metrics.limit.WithLabelValues(a.Policy, s.Service, s.Route).Set(float64(a.Limit.Value))
		}
		if a.LeaseUntil == nil || a.Status == gatewarden.ActionReverting {
			continue
		}
		left := a.LeaseUntil.Sub(at)
		if shortest, ok := first[a.Policy]; !ok || left < shortest {
			first[a.Policy] = left
		}
	}
	for policy, left := range first {
		e.metrics.lease.WithLabelValues(policy).Set(left.Seconds())
	}
	paused := 0.0
	if e.pause() != nil {
		paused = 1
	}
	e.metrics.paused.Set(paused)
}
