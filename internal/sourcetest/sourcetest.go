// Package sourcetest is what the tests of sources share: a sink that counts, a wait for
// something to come true, a look at a metric.
package sourcetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Sink counts the records that it is given.
type Sink struct {
	Hold chan struct{} // unless nil, nothing is taken before it is closed

	mu      sync.Mutex
	records int
}

// Accept counts the records.
func (s *Sink) Accept(_ context.Context, _ string, records []gatewarden.Record) error {
	if s.Hold != nil {
		<-s.Hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records += len(records)
	return nil
}

// Count returns how many records have come.
func (s *Sink) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records
}

// Until waits for something to come true; how long that takes says nothing.
func Until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}

// Metric returns the value of a metric without labels.
func Metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if m := f.GetMetric(); f.GetName() == name && len(m) == 1 {
			return m[0].GetCounter().GetValue() + m[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
