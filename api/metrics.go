package api

import "github.com/prometheus/client_golang/prometheus"

// WithMetrics makes the server count the pages and the streams that are open.
func (s *Server) WithMetrics(reg prometheus.Registerer) *Server {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatewarden_api_viewers", Help: "Live pages that are open.",
		}, func() float64 { return float64(s.viewers.taken.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatewarden_api_viewers_refused_total", Help: "Live pages that were refused because too many are open.",
		}, func() float64 { return float64(s.viewers.refused.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatewarden_api_followers", Help: "Streams of events and of runs that are open.",
		}, func() float64 { return float64(s.follows.taken.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatewarden_api_followers_refused_total", Help: "Streams of events and of runs that were refused because too many are open.",
		}, func() float64 { return float64(s.follows.refused.Load()) }),
	)
	return s
}
