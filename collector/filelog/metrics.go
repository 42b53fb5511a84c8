package filelog

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	files     prometheus.Gauge
	backlog   prometheus.Gauge
	rotations prometheus.Counter
	lost      prometheus.Counter
	failures  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		files: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_filelog_files", Help: "Files that are followed.",
		}),
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_filelog_backlog_bytes", Help: "What the files hold and was not read yet.",
		}),
		rotations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_filelog_rotations_total", Help: "Files that were renamed, removed or truncated while they were followed.",
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_filelog_lost_files_total", Help: "Files that went away before they were read to their end, as far as can be told.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_filelog_failures_total", Help: "Files and folders that could not be opened or read.",
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.files, m.backlog, m.rotations, m.lost, m.failures} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
