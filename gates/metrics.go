package gates

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/gatewarden/gatewarden"
)

type metrics struct {
	runs         *prometheus.CounterVec
	running      prometheus.Gauge
	watched      prometheus.Gauge
	evidence     *prometheus.GaugeVec
	observations *prometheus.CounterVec
	appends      prometheus.Histogram
	appendFails  prometheus.Counter
	saveFails    prometheus.Counter
	callbacks    *prometheus.CounterVec
	reports      *prometheus.CounterVec
	observed     *prometheus.CounterVec
}

// What can become of a report of another guard, and of what it tells.
const (
	reportTaken     = "taken"
	reportAgain     = "again"
	reportInvalid   = "invalid"
	observedTaken   = "taken"
	observedUnknown = "unknown"
)

// newMetrics registers the metrics with reg; nil registers nothing.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		runs: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_gates_runs_total",
			Help: "Runs of canaries by the state that they came to; running counts those that began.",
		}, []string{"state"}),
		running: f.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_gates_running",
			Help: "Runs of canaries that have no answer yet.",
		}),
		watched: f.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_gates_watched",
			Help: "Canaries that are judged on after their pass.",
		}),
		evidence: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_gates_evidence",
			Help: "Evidence about a canary that is judged, for a fail or for a pass, as a common logarithm.",
		}, []string{"canary", "for"}),
		observations: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_gates_observations_total",
			Help: "Requests that were shown to the judges of runs, by track.",
		}, []string{"canary", "track"}),
		appends: f.NewHistogram(prometheus.HistogramOpts{
			Name:                        "gatewarden_gates_log_append_seconds",
			Help:                        "How long it took to make observations durable; batches that wait meanwhile go together.",
			Buckets:                     prometheus.ExponentialBuckets(0.0005, 2, 13),
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}),
		appendFails: f.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_gates_log_append_failures_total",
			Help: "Times observations could not be made durable; they count all the same.",
		}),
		saveFails: f.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_gates_save_failures_total",
			Help: "Times a run could not be written down; it is tried again.",
		}),
		callbacks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_gates_callbacks_total",
			Help: "Calls to those who wanted to know that a run is over, by result: delivered, failed (and tried again) or abandoned.",
		}, []string{"result"}),
		reports: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_gates_reports_total",
			Help: "Reports of other guards on what they saw of canaries, by fate: taken, again (it had been taken) or invalid.",
		}, []string{"fate"}),
		observed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_gates_reported_observations_total",
			Help: "Requests in reports of other guards, by fate: taken, or unknown, as their rules are not the ones here.",
		}, []string{"fate"}),
	}
	for _, s := range []gatewarden.RunState{
		gatewarden.RunRunning, gatewarden.RunPass, gatewarden.RunFail, gatewarden.RunInconclusive, gatewarden.RunCancelled,
	} {
		m.runs.WithLabelValues(string(s)) // from 0 on: the first run must show in a rate
	}
	for _, result := range []string{callDelivered, callFailed, callAbandoned} {
		m.callbacks.WithLabelValues(result)
	}
	for _, fate := range []string{reportTaken, reportAgain, reportInvalid} {
		m.reports.WithLabelValues(fate)
	}
	for _, fate := range []string{observedTaken, observedUnknown} {
		m.observed.WithLabelValues(fate)
	}
	return m
}

// unregister takes the metrics back from reg; nil has none.
func (m *metrics) unregister(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	for _, c := range []prometheus.Collector{
		m.runs, m.running, m.watched, m.evidence, m.observations, m.appends, m.appendFails, m.saveFails, m.callbacks, m.reports, m.observed,
	} {
		reg.Unregister(c)
	}
}

// showEvidence sets the gauges of a canary.
func (m *metrics) showEvidence(canary string, v *gatewarden.CanaryVerdict) {
	m.evidence.WithLabelValues(canary, "fail").Set(v.Evidence)
	m.evidence.WithLabelValues(canary, "pass").Set(v.PassEvidence())
}

// forget removes a canary that nobody judges any more.
func (m *metrics) forget(canary string) {
	m.evidence.DeletePartialMatch(prometheus.Labels{"canary": canary})
}
