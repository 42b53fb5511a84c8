package store

import "github.com/prometheus/client_golang/prometheus"

// metrics tell what became of the records and where a limit was met.
type metrics struct {
	records    [future + 1]prometheus.Counter
	overflowed prometheus.Counter
	forgotten  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Store) *metrics {
	records := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatewarden_store_records_total",
		Help: "Records by what became of them: counted, shed (made by a change of the guard), duplicate (of an id seen before), too_late (older than anything kept) or future (further ahead than the limit).",
	}, []string{"result"})
	m := &metrics{
		overflowed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_store_overflowed_records_total",
			Help: "Records counted in the overflow series because the limit on series was reached.",
		}),
		forgotten: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_store_dedup_early_turns_total",
			Help: "Times the limit on remembered request ids was reached, so that the oldest third was forgotten before its time.",
		}),
	}
	for f, result := range [...]string{counted: "counted", shed: "shed", duplicate: "duplicate", tooLate: "too_late", future: "future"} {
		m.records[f] = records.WithLabelValues(result)
	}
	reg.MustRegister(records, m.overflowed, m.forgotten,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatewarden_store_series",
			Help: "Series that tallies are kept for, those of configured meters among them.",
		}, func() float64 { return float64(s.seriesCount()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatewarden_store_dedup_ids",
			Help: "Request ids that are remembered, so that repeats count once.",
		}, func() float64 { return float64(s.dedup.len()) }),
	)
	return m
}

// add counts n records of each fate.
func (m *metrics) add(n [future + 1]int) {
	for f, n := range n {
		if n > 0 {
			m.records[f].Add(float64(n))
		}
	}
}
