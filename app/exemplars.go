package app

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// maxTraceID is the longest trace id that is kept: twice that of W3C, as much as an
// exemplar of OpenMetrics (128 characters with its names) has room for.
const maxTraceID = 64

// exemplars remembers of each service the trace of its latest failed request, for
// Prometheus to show beside the count of failures.
type exemplars struct {
	mu        sync.Mutex
	byService map[string]prometheus.Exemplar
}

// see takes a batch's failed requests. Of most batches there are none, and nothing is
// locked.
func (e *exemplars) see(records []gatewarden.Record) {
	for i := len(records) - 1; i >= 0; i-- {
		if r := &records[i]; r.Signal == "" && r.Status >= 500 && r.TraceID != "" && len(r.TraceID) <= maxTraceID {
			e.note(r)
		}
	}
}

func (e *exemplars) note(r *gatewarden.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old, ok := e.byService[r.Service]
	if (ok && !r.At.After(old.Timestamp)) || (!ok && len(e.byService) >= maxServices) {
		return
	}
	if e.byService == nil {
		e.byService = map[string]prometheus.Exemplar{}
	}
	e.byService[strings.Clone(r.Service)] = prometheus.Exemplar{
		Value: 1, Timestamp: r.At, Labels: prometheus.Labels{"trace_id": strings.Clone(r.TraceID)},
	}
}

// of returns a service's exemplar.
func (e *exemplars) of(service string) (prometheus.Exemplar, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x, ok := e.byService[service]
	return x, ok
}
