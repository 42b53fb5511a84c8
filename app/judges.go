package app

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers"
	"github.com/gatewarden/gatewarden/analyzers/burnrate"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/store"
)

// judges makes one analyzer an SLO. Over a reload an SLO that did not change keeps
// its analyzer, and with it the evidence gathered so far.
type judges struct {
	store  *store.Store
	intake *intake
	blind  burnrate.Blind // to Kong's requests, whatever their service
	// lacks says whether too much is missing to judge a series; nil never does.
	lacks func(series gatewarden.Series, at time.Time) (bool, string)
	kept  map[[sha256.Size]byte]analyzers.Analyzer // by the SLO's print
	spans []store.Meter                            // those of traced spans
}

// blindOnce answers blind once for each instant, however many judges ask: it goes
// through all sources and may write a sentence.
func blindOnce(blind burnrate.Blind) burnrate.Blind {
	var (
		asked time.Time
		is    bool
		why   string
	)
	return func(at time.Time) (bool, string) {
		if !at.Equal(asked) {
			asked = at
			is, why = blind(at)
		}
		return is, why
	}
}

func (j *judges) of(slos []gatewarden.SLO) []analyzers.Analyzer {
	kept := make(map[[sha256.Size]byte]analyzers.Analyzer, len(slos))
	list := make([]analyzers.Analyzer, len(slos))
	j.spans = nil
	j.intake.serve(slos)
	for i, s := range slos {
		if s.Series.Signal == gatewarden.SignalTraces {
			j.spans = append(j.spans, store.Meter{Series: s.Series, SLI: s.SLI})
		}
		key := printOf(s)
		a, ok := j.kept[key]
		if !ok {
			a = burnrate.New(s, j.counter(&s), j.blindTo(&s))
		}
		kept[key], list[i] = a, a
	}
	j.kept = kept
	return list
}

// counter counts the events of an SLO, as of when all of them have come.
func (j *judges) counter(slo *gatewarden.SLO) burnrate.Counter {
	c := j.store.Counter(slo.Series, &slo.SLI)
	if slo.SLI.Query == nil && slo.Series.Signal == "" {
		return behind{c, j.intake.lagOfLog}
	}
	return behind{c, func() time.Duration { return j.intake.lagOf(slo) }}
}

// blindTo says whether an SLO can be judged: all that it lives on may be silent, or Kong's
// log lack too much of it.
func (j *judges) blindTo(slo *gatewarden.SLO) burnrate.Blind {
	if slo.Series.Signal != "" {
		return func(at time.Time) (bool, string) { return j.intake.BlindTo(slo, at) }
	}
	return func(at time.Time) (bool, string) {
		if blind, why := j.blind(at); blind {
			return blind, why
		}
		if slo.Series.Service != "" {
			if blind, why := j.intake.BlindTo(slo, at); blind {
				return blind, why
			}
		}
		if j.lacks == nil {
			return false, ""
		}
		return j.lacks(slo.Series, at)
	}
}

// queriesOf returns the SLOs whose events the named source is to ask for.
func queriesOf(r *rules.Rules, source string) []gatewarden.SLO { return asking(r.SLOs, source) }

// asking returns those of slos whose events the named source is to ask for.
func asking(slos []gatewarden.SLO, source string) []gatewarden.SLO {
	var asked []gatewarden.SLO
	for _, s := range slos {
		if q := s.SLI.Query; q != nil && (q.Source == "" || q.Source == source) {
			asked = append(asked, s)
		}
	}
	return asked
}

// printOf is equal for SLOs that judge alike, and only for them.
func printOf(s gatewarden.SLO) [sha256.Size]byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("an SLO is plain data: " + err.Error())
	}
	return sha256.Sum256(b)
}

// meters are what the store must count for the SLOs.
func meters(r *rules.Rules) []store.Meter {
	list := make([]store.Meter, len(r.SLOs))
	for i, s := range r.SLOs {
		list[i] = store.Meter{Series: s.Series, SLI: s.SLI}
	}
	return list
}
