package app

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// atScrape is a collector of gauges that are filled in when Prometheus asks: nobody pays
// for them in between, and what is gone leaves no stale value behind.
type atScrape struct {
	mu   sync.Mutex // one scrape at a time
	vecs []*prometheus.GaugeVec
	fill func()
}

// gauge adds a gauge with labels.
func (s *atScrape) gauge(vec *prometheus.GaugeVec) *prometheus.GaugeVec {
	s.vecs = append(s.vecs, vec)
	return vec
}

// Describe is prometheus.Collector's.
func (s *atScrape) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range s.vecs {
		v.Describe(ch)
	}
}

// Collect is prometheus.Collector's.
func (s *atScrape) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.vecs {
		v.Reset()
	}
	s.fill()
	for _, v := range s.vecs {
		v.Collect(ch)
	}
}

// exposeJudgements registers what is filled in at a scrape: SLOs, canaries and traffic as
// the page shows them.
func (t *term) exposeJudgements() {
	slos := func() ([]gatewarden.SLO, []gatewarden.Verdict) {
		return t.reloader.current().rules.SLOs, t.loop.judged()
	}
	t.registry.MustRegister(
		newSLOMetrics(t.store, slos),
		newCanaryMetrics(t.loop.runs.Canaries),
		newTrafficMetrics(t.store, &t.intake.failed, t.now),
		newGatewayMetrics(t.intake, t.loop.drifts.current, t.now))
}

// judged returns the verdicts of the last tick, without the reasons of healthy ones.
func (l *loop) judged() []gatewarden.Verdict {
	l.judging.Lock()
	defer l.judging.Unlock()
	return l.verdicts
}
