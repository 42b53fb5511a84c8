package posts

import "github.com/prometheus/client_golang/prometheus"

// metrics tell how many connections there are, net/http's among them.
type metrics struct {
	connections prometheus.Gauge
	refused     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_posts_connections", Help: "Connections to the ingest listener that are open.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_posts_connections_refused_total", Help: "Connections to the ingest listener that were closed at once, because there are too many.",
		}),
	}
	reg.MustRegister(m.connections, m.refused)
	return m
}
