package export

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	events   prometheus.Counter
	failures prometheus.Counter
	behind   prometheus.Gauge
}

// newMetrics registers the metrics of one target with reg; nil registers nothing.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		events: f.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_export_events_total", Help: "Events of the journal that a target has taken.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_export_failures_total", Help: "Times that a target could not be read or written.",
		}),
		behind: f.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_export_behind_events", Help: "Events of the journal that a target does not have yet, as far as it could be asked.",
		}),
	}
}
