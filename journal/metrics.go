package journal

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	events   *prometheus.CounterVec
	failures *prometheus.CounterVec
	damaged  prometheus.Counter
	cutOff   prometheus.Counter
	append   prometheus.Histogram
}

// newMetrics registers the journal's metrics with reg; nil registers nothing.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_journal_events_total",
			Help: "Events appended to the journal, by type.",
		}, []string{"type"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_journal_append_failures_total",
			Help: "Events that could not be appended, by code; conflict means that another guard writes the journal.",
		}, []string{"code"}),
		damaged: f.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_journal_damaged_messages_total",
			Help: "Messages met in the journal that are no events and were passed over.",
		}),
		cutOff: f.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_journal_followers_cut_off_total",
			Help: "Live readers that were too slow and were cut off.",
		}),
		append: f.NewHistogram(prometheus.HistogramOpts{
			Name:                        "gatewarden_journal_append_duration_seconds",
			Help:                        "How long it took until an event was durable.",
			Buckets:                     prometheus.ExponentialBuckets(0.0005, 2, 14),
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}),
	}
}

// timeAppend starts the clock of one append; calling what it returns stops it.
func (m *metrics) timeAppend() func() {
	begun := time.Now()
	return func() { m.append.Observe(time.Since(begun).Seconds()) }
}
