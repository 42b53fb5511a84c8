package kong

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_kong_requests_total",
			Help: "Requests to the Admin API by method and status; the status is none when no answer came.",
		}, []string{"method", "status"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:                        "gatewarden_kong_request_duration_seconds",
			Help:                        "How long the Admin API took to answer.",
			Buckets:                     []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.duration)
	}
	return m
}
