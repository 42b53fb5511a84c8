package app

import (
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/store"
)

// history is what sources that fill in the past ask the guard, and tell it.
type history struct {
	store *store.Store
	rules func() *rules.Rules // in force
}

var _ collector.Past = history{}

// Resolution implements collector.Past.
func (h history) Resolution(age time.Duration) time.Duration { return store.Resolution(age) }

// SLOs implements collector.Past.
func (h history) SLOs() []gatewarden.SLO { return h.rules().SLOs }

// Since implements collector.Past.
func (h history) Since() time.Time { return h.store.Since() }

// Watched implements collector.Past. It is vouched for what there is to judge now: a meter
// that comes later has not been counted there.
func (h history) Watched(from, to time.Time) {
	for _, slo := range h.rules().SLOs {
		if slo.Series.Signal == "" {
			h.Covered(&slo, from, to)
		}
	}
}

// Covered is collector.Env.Covered: one SLO's events are counted.
func (h history) Covered(slo *gatewarden.SLO, from, to time.Time) {
	h.store.Vouch(store.Meter{Series: slo.Series, SLI: slo.SLI}, from, to)
}
