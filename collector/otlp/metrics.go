package otlp

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ connections prometheus.Counter }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{connections: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatewarden_otlp_connections_refused_total", Help: "Connections that were closed at once, because there are too many.",
	})}
	return m, reg.Register(m.connections)
}
