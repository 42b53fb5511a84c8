package burnrate

import (
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// asked counts what is asked of the ledger.
type asked struct {
	*ledger
	windows map[time.Duration]int
}

func (a asked) Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	for _, l := range lengths {
		a.windows[l]++
	}
	a.ledger.Until(to, lengths, counts)
}

// Twice a second is often enough to see an outage, and once is for the rest.
func TestBetweenWholeVerdictsOnlyTheOutageLineMoves(t *testing.T) {
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	slo := promise()
	slo.Outage = &gatewarden.OutageLine{Ratio: 0.1}
	l := asked{&ledger{}, map[time.Duration]int{}}
	a := New(slo, l, nil)
	var outageAt time.Time
	for tick := range 40 {
		at := begin.Add(time.Duration(tick) * time.Second / 2)
		good, bad := uint64(50), uint64(0)
		if tick >= 30 {
			good, bad = 25, 25
		}
		l.add(at.Add(-time.Second/2), good, bad) // adds up within the second
		v := a.Analyze(at)
		if !v.At.Equal(at) {
			t.Fatalf("the verdict of %s says it is of %s", at, v.At)
		}
		if v.Fires(gatewarden.SeverityOutage) && outageAt.IsZero() {
			outageAt = at
			if v.State != gatewarden.Breach || v.Severity != gatewarden.SeverityOutage {
				t.Errorf("the outage at %s is not in the verdict: %s %s", at, v.State, v.Severity)
			}
		}
	}
	if onset := begin.Add(15 * time.Second); outageAt.IsZero() || outageAt.Sub(onset) > 3*time.Second {
		t.Errorf("the outage of %s was found at %s", onset, outageAt)
	}
	if n := l.windows[6*time.Hour]; n > 22 {
		t.Errorf("the 6 h window was asked for %d times in 20 s: once a second is enough", n)
	}
}

func TestGoingBlindIsSaidAtOnce(t *testing.T) {
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	l := &ledger{}
	l.fill(begin.Add(-time.Minute), begin, 50, 0)
	blind := false
	a := New(promise(), l, func(time.Time) (bool, string) { return blind, "nothing is heard" })
	if v := a.Analyze(begin); v.State != gatewarden.Healthy {
		t.Fatalf("before: %s: %s", v.State, v.Reason)
	}
	blind = true
	if v := a.Analyze(begin.Add(time.Second / 10)); v.State != gatewarden.Inconclusive {
		t.Errorf("a tenth of a second later: %s: %s", v.State, v.Reason)
	}
}
