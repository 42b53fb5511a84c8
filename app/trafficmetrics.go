package app

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/store"
)

// maxServices is how many services have metrics of their own, in the order of their
// names. Prometheus pays for each series for as long as it is there.
const maxServices = 1000

// latencyOver is what the gauges of latencies are over, and percentiles which they are.
const latencyOver = time.Minute

var percentiles = [...]float64{50, 95, 99}

// trafficMetrics exposes what the guard counted of each service, to stand beside what
// Kong's own metrics say.
type trafficMetrics struct {
	atScrape
	store    *store.Store
	now      func() time.Time
	failed   *exemplars
	requests *prometheus.Desc
	hidden   *prometheus.Desc
	latency  *prometheus.GaugeVec
}

func newTrafficMetrics(s *store.Store, failed *exemplars, now func() time.Time) *trafficMetrics {
	m := &trafficMetrics{
		store: s, now: now, failed: failed,
		requests: prometheus.NewDesc("gatewarden_app_requests_total",
			"Requests that were counted by service and class of status, or shed by a change of the guard.", []string{"service", "class"}, nil),
		hidden: prometheus.NewDesc("gatewarden_app_services_not_shown",
			"Services that have no metrics of their own, because there are more than 1,000.", nil, nil),
	}
	m.latency = m.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_latency_seconds",
		Help: "Percentiles of the whole request's latency, over the last minute; absent without requests.",
	}, []string{"service", "percentile"}))
	m.fill = m.latencies
	return m
}

// ofService chooses the series of whole services.
func ofService(s gatewarden.Series) bool {
	return s.Service != "" && s.Service != gatewarden.Overflow && s == gatewarden.Series{Service: s.Service}
}

// Describe is prometheus.Collector's.
func (m *trafficMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.requests
	ch <- m.hidden
	m.atScrape.Describe(ch)
}

// Collect is prometheus.Collector's.
func (m *trafficMetrics) Collect(ch chan<- prometheus.Metric) {
	services := m.store.Totals(ofService)
	for i := range min(len(services), maxServices) {
		m.count(ch, &services[i])
	}
	ch <- prometheus.MustNewConstMetric(m.hidden, prometheus.GaugeValue, float64(max(len(services)-maxServices, 0)))
	m.atScrape.Collect(ch)
}

// count sends the counters of a service; a class that never came has none.
func (m *trafficMetrics) count(ch chan<- prometheus.Metric, t *store.Totals) {
	send := func(class string, n uint64) {
		if n == 0 {
			return
		}
		c := prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n), t.Series.Service, class)
		if e, ok := m.failed.of(t.Series.Service); ok && class == "5xx" {
			if with, err := prometheus.NewMetricWithExemplars(c, e); err == nil {
				c = with
			}
		}
		ch <- c
	}
	for class, n := range t.ByClass {
		send(className(class), n)
	}
	send("shed", t.Shed)
}

// latencies fills in the percentiles of the services that had requests of late.
func (m *trafficMetrics) latencies() {
	to := m.now().Truncate(time.Second)
	shown := 0
	for _, info := range m.store.List() {
		if !ofService(info.Series) || to.Sub(info.Last) > latencyOver || shown == maxServices {
			continue
		}
		shown++
		w := m.store.Window(info.Series, to.Add(-latencyOver), to)
		if w.Latency.Count() == 0 {
			continue
		}
		for _, p := range percentiles {
			m.latency.WithLabelValues(info.Series.Service, strconv.FormatFloat(p, 'g', -1, 64)).Set(w.Latency.Quantile(p / 100).Seconds())
		}
	}
}
