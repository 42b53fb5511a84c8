package notify

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts the calls.
type metrics struct {
	calls *prometheus.CounterVec // by status; "none" without an answer
}

// newMetrics returns the metrics, registered unless reg is nil. Executors built
// one after the other on the same registry, as a reload does, share them.
func newMetrics(reg prometheus.Registerer) *metrics {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatewarden_notify_calls_total", Help: "Calls of webhooks, by the status of the answer.",
	}, []string{"status"})
	if reg == nil {
		return &metrics{calls: calls}
	}
	err := reg.Register(calls)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(*prometheus.CounterVec); ok {
			return &metrics{calls: existing}
		}
	}
	if err != nil {
		panic(err) // two different metrics of one name are a defect of this program
	}
	return &metrics{calls: calls}
}

func (m *metrics) call(status int) {
	text := "none"
	if status > 0 {
		text = strconv.Itoa(status)
	}
	m.calls.WithLabelValues(text).Inc()
}
