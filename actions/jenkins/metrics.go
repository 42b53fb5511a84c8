package jenkins

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the executor does at Jenkins.
type metrics struct {
	requests *prometheus.CounterVec // by method and status; "none" without an answer
	triggers prometheus.Counter
	outcomes *prometheus.CounterVec // by status of the outcome
}

// newMetrics returns the metrics, registered unless reg is nil. Executors built
// one after the other on the same registry, as a reload does, share them.
func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		requests: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_jenkins_requests_total", Help: "Requests to Jenkins, by method and by the status of the answer.",
		}, []string{"method", "status"})),
		triggers: register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_jenkins_triggers_total", Help: "Requests for a build that were sent to Jenkins.",
		})),
		outcomes: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewarden_jenkins_outcomes_total", Help: "Jobs followed to an outcome, by its status.",
		}, []string{"status"})),
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	if err != nil {
		panic(err) // two different metrics of one name are a defect of this program
	}
	return c
}

func (m *metrics) request(method string, status int) {
	text := "none"
	if status > 0 {
		text = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(method, text).Inc()
}
