package app

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/burnrate"
	"github.com/gatewarden/gatewarden/store"
)

// What a source fills in late changes the slices that it belongs to, and no others: those
// were judged when the store knew them better.
func TestSlicesOfTheStoreSeeWhatIsFilledIn(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	slo := gatewarden.SLO{
		Name: "minutes", Series: gatewarden.Series{Service: "orders"}, Objective: 0.99,
		Timeslice: time.Minute, TimesliceObjective: 0.95, Window: gatewarden.BudgetWindow{Rolling: 24 * time.Hour},
	}
	s := store.New(store.Config{}, prometheus.NewRegistry())
	s.Configure([]store.Meter{{Series: slo.Series}})
	judge := burnrate.New(slo, s.Counter(slo.Series, &slo.SLI), nil)
	at := noon.Add(-13 * time.Hour)
	add := func(when time.Time, status int) {
		s.Add([]gatewarden.Record{{Service: "orders", Status: status, At: when, Weight: 10}}, at, nil)
	}
	pass := func(until time.Time, status int) (bad uint64) {
		for ; at.Before(until); at = at.Add(30 * time.Second) {
			add(at, status)
			v := judge.Analyze(at)
			bad = v.SLO.Count.Bad
		}
		return bad
	}
	pass(noon.Add(-12*time.Hour), 200)
	pass(noon.Add(-12*time.Hour+time.Minute), 500) // one bad minute: of five minutes as the store knows them by noon, all would be
	pass(noon, 200)
	for i := range 10 {
		add(noon.Add(-11*time.Hour+time.Duration(i)*time.Minute), 500)
	}
	for i := range 5 {
		add(noon.Add(-20*time.Minute+time.Duration(i)*time.Minute), 500)
	}
	if bad := pass(noon.Add(2*time.Minute), 200); bad != 1+10+5 {
		t.Errorf("%d minutes are bad, want one, ten that are filled in and five that come late", bad)
	}
	// After a restart the minutes in a step of the store get its mean: five for the one.
	kept, anew := judge.Analyze(at).SLO.Count, burnrate.New(slo, s.Counter(slo.Series, &slo.SLI), nil).Analyze(at).SLO.Count
	if anew.Total() != kept.Total() || anew.Bad != 5+10+5 {
		t.Errorf("after a restart %d of %d minutes are bad, before %d of %d", anew.Bad, anew.Total(), kept.Bad, kept.Total())
	}
}
