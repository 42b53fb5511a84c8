package app

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// paceOver is the time over which the rate of a source is taken.
const paceOver = time.Minute

// pace counts what arrives, by the second.
type pace struct {
	counts  [paceOver/time.Second + 1]uint64 // and the second under way
	seconds [paceOver/time.Second + 1]int64  // which second each is of
}

func (p *pace) add(now time.Time, n int) {
	second := now.Unix()
	i := second % int64(len(p.counts))
	if p.seconds[i] != second {
		p.seconds[i], p.counts[i] = second, 0
	}
	p.counts[i] += uint64(n)
}

// rate returns how many arrived a second in the last minute, or since then if that is less.
func (p *pace) rate(now, since time.Time) float64 {
	second, n := now.Unix(), uint64(0)
	for i, s := range p.seconds {
		if s < second && second-s < int64(len(p.counts)) {
			n += p.counts[i]
		}
	}
	return float64(n) / min(max(now.Sub(since), time.Second), paceOver).Seconds()
}

// troubles is where a source registers its metrics: those by which it counts what it could
// not use are read again, for the status.
type troubles struct {
	prometheus.Registerer
	counters *prometheus.Registry
}

func newTroubles(reg prometheus.Registerer) *troubles {
	return &troubles{reg, prometheus.NewRegistry()}
}

// Register registers c, and keeps it when it is a counter or has some.
func (t *troubles) Register(c prometheus.Collector) error {
	switch c.(type) {
	case prometheus.Counter, *prometheus.CounterVec:
		if err := t.Registerer.Register(c); err != nil {
			return err
		}
		return t.counters.Register(c)
	default:
		return t.Registerer.Register(c) // others may lock what the source holds
	}
}

// MustRegister registers all of them, and panics when it cannot.
func (t *troubles) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		if err := t.Register(c); err != nil {
			panic(err)
		}
	}
}

// droppedBefore counts what was dropped before it was a record.
const droppedBefore = "gatewarden_collector_datagrams_dropped_total"

// unusable are the metrics by which sources count what they could not use, each with those
// values of its label that are none of that.
func unusable() map[string][]string {
	return map[string][]string{
		"gatewarden_collector_records_rejected_total":    nil,
		"gatewarden_collector_frames_broken_total":       nil,
		"gatewarden_collector_frames_too_long_total":     nil,
		"gatewarden_collector_spans_rejected_total":      nil,
		"gatewarden_collector_span_bodies_refused_total": nil,
		"gatewarden_httplog_records_rejected_total":      nil,
		"gatewarden_httplog_requests_total":              {"200"},
		"gatewarden_elasticsearch_documents_total":       {"read", "known"},
		"gatewarden_elasticsearch_requests_total":        {"ok"},
		"gatewarden_promquery_questions_total":           {"ok"},
		"gatewarden_kongmetrics_looks_total":             {"ok"},
		"gatewarden_jaeger_questions_total":              {"ok"},
	}
}

// watchTroubles makes a source's status tell what goes wrong with what comes to it.
func (in *intake) watchTroubles(name string, t *troubles) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sources[name].troubles = t
}

// read returns how much was dropped before it was a record, and how much could not be used.
func (t *troubles) read() (dropped, errors uint64) {
	if t == nil {
		return 0, 0
	}
	families, _ := t.counters.Gather() // of counters alone: nothing in them can fail
	all := unusable()
	for _, f := range families {
		good, is := all[f.GetName()]
		for _, m := range f.GetMetric() {
			n := uint64(m.GetCounter().GetValue())
			switch {
			case f.GetName() == droppedBefore:
				dropped += n
			case is && !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return slices.Contains(good, l.GetValue()) }):
				errors += n
			}
		}
	}
	return dropped, errors
}

// counts are how a source did at one guard, besides its records.
type counts struct {
	Rate       float64 `json:"rate,omitempty"`       // records a second
	Duplicates uint64  `json:"duplicates,omitempty"` // records that were known
	Dropped    uint64  `json:"dropped,omitempty"`    // of another time, or before they were records
	Errors     uint64  `json:"errors,omitempty"`     // what could not be used
}

// counted returns how the source does here. in.mu is held.
func (h *sourceHealth) counted(now, since time.Time) counts {
	dropped, errors := h.troubles.read()
	return counts{Rate: h.pace.rate(now, since), Duplicates: h.duplicates, Dropped: h.dropped + dropped, Errors: errors}
}

// countedAll returns how the source does here and elsewhere. in.mu is held.
func (h *sourceHealth) countedAll(now, since time.Time) counts {
	c := h.counted(now, since)
	for _, e := range h.elsewhere {
		c.Duplicates, c.Dropped, c.Errors = c.Duplicates+e.Duplicates, c.Dropped+e.Dropped, c.Errors+e.Errors
		if now.Sub(e.heard) < goneAfter {
			c.Rate += e.Rate
		}
	}
	return c
}
