package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/gates"
)

// canaryMetrics exposes the canaries with their newest runs.
type canaryMetrics struct {
	atScrape
	canaries func() []gates.View

	state, share, needed, requests, failures, latency *prometheus.GaugeVec
	errorRatio, latencyRatio                          *prometheus.GaugeVec
}

func newCanaryMetrics(canaries func() []gates.View) *canaryMetrics {
	m := &canaryMetrics{canaries: canaries}
	m.state = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_canary_state",
		Help: "State of a canary's newest run: 0 there is none, 1 running, 2 pass, 3 fail, 4 inconclusive, 5 cancelled.",
	}, []string{"canary"}))
	m.share = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_canary_share_ratio",
		Help: "Share of the requests that the canary takes: configured, and observed in its newest run.",
	}, []string{"canary", "of"}))
	m.needed = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_canary_evidence_needed",
		Help: "Evidence that a fail or a pass needs, as a common logarithm.",
	}, []string{"canary", "for"}))
	m.requests = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_canary_requests",
		Help: "Requests of a canary's newest run by track.",
	}, []string{"canary", "track"}))
	m.failures = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_canary_failures",
		Help: "Requests of a canary's newest run that failed, by track.",
	}, []string{"canary", "track"}))
	m.latency = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_canary_latency_seconds",
		Help: "Percentiles of latencies in a canary's newest run, by track.",
	}, []string{"canary", "track", "percentile"}))
	m.errorRatio = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_canary_error_ratio",
		Help: "Odds of a failure, canary over baseline: an estimate, and the interval that holds it with 95 % probability.",
	}, []string{"canary", "bound"}))
	m.latencyRatio = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_canary_latency_ratio",
		Help: "Latencies, canary over baseline: an estimate, and the interval that holds it with 95 % probability.",
	}, []string{"canary", "bound"}))
	m.fill = m.all
	return m
}

// all fills in every canary.
func (m *canaryMetrics) all() {
	for _, c := range m.canaries() {
		name := c.Canary.Name
		if c.Known {
			m.share.WithLabelValues(name, "configured").Set(c.Share)
		}
		if c.Run == nil {
			m.state.WithLabelValues(name).Set(0)
			continue
		}
		m.state.WithLabelValues(name).Set(runNumber(c.Run.State))
		if c.Run.Verdict != nil {
			m.judged(name, c.Run.Verdict)
		}
	}
}

// runNumber is the value of gatewarden_app_canary_state.
func runNumber(s gatewarden.RunState) float64 {
	return map[gatewarden.RunState]float64{
		gatewarden.RunRunning: 1, gatewarden.RunPass: 2, gatewarden.RunFail: 3, gatewarden.RunInconclusive: 4, gatewarden.RunCancelled: 5,
	}[s]
}

// judged fills in what the run's verdict says.
func (m *canaryMetrics) judged(name string, v *gatewarden.CanaryVerdict) {
	for track, t := range map[gatewarden.Track]*gatewarden.TrackCounts{gatewarden.TrackBaseline: &v.Baseline, gatewarden.TrackCanary: &v.Canary} {
		m.requests.WithLabelValues(name, track.String()).Set(float64(t.Requests))
		m.failures.WithLabelValues(name, track.String()).Set(float64(t.Failures))
		if t.Requests == 0 {
			continue
		}
		for p, d := range map[int]gatewarden.Duration{50: t.P50, 99: t.P99} {
			m.latency.WithLabelValues(name, track.String(), strconv.Itoa(p)).Set(float64(d) / 1e9)
		}
	}
	if v.Baseline.Requests+v.Canary.Requests > 0 {
		m.share.WithLabelValues(name, "observed").Set(v.Split.Observed)
	}
	m.needed.WithLabelValues(name, "fail").Set(v.Needed)
	m.needed.WithLabelValues(name, "pass").Set(v.PassNeeded)
	interval(m.errorRatio, name, v.ErrorRatio)
	interval(m.latencyRatio, name, v.LatencyRatio)
}

// interval sets the bounds that there are.
func interval(vec *prometheus.GaugeVec, name string, i gatewarden.Interval) {
	if i.Low == 0 && i.High == 0 && i.Estimate == 0 {
		return // nothing is known yet
	}
	vec.WithLabelValues(name, "low").Set(i.Low)
	if i.High > 0 {
		vec.WithLabelValues(name, "high").Set(i.High)
	}
	if i.Estimate > 0 {
		vec.WithLabelValues(name, "estimate").Set(i.Estimate)
	}
}
