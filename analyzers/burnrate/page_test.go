package burnrate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// The 1h window burns at 14.4 once 3600 s of traffic at 1.44 % have failed: the
// floor under any engine with these windows is 3600 s × 14.4 × budget ÷ ratio.
func TestPageComesAtTheFloor(t *testing.T) {
	for _, ratio := range []float64{1, 0.95, 0.5, 0.2, 0.05} {
		for phase := range 5 {
			t.Run(fmt.Sprintf("%v fail, phase %d", ratio, phase), func(t *testing.T) {
				const perTenth = 20
				slo := promise()
				slo.Outage = nil
				l := &ledger{}
				fault := start.Add(6 * time.Hour)
				l.fill(start, fault, perTenth*tenths, 0)
				a := New(slo, l, nil)
				floor := time.Duration(3600 * 14.4 * slo.ErrorBudget() / ratio * float64(time.Second))

				for tenth := 1; ; tenth++ {
					bad := uint64(perTenth * ratio)
					l.add(fault.Add(time.Duration(tenth-1)*time.Second/tenths), perTenth-bad, bad)
					since := time.Duration(tenth) * time.Second / tenths
					if tenth%tenths != 2*phase {
						continue
					}
					if v := a.Analyze(fault.Add(since)); v.Fires(gatewarden.SeverityPage) {
						t.Logf("floor %v, page %v after it", floor.Round(time.Millisecond), (since - floor).Round(time.Millisecond))
						// The window ends with the present second, so it begins up to a second late.
						if since < floor*3599/3600 || since > floor+1500*time.Millisecond {
							t.Errorf("page after %v, the floor is %v", since, floor)
						}
						return
					}
					if since > floor+time.Minute {
						t.Fatalf("no page a minute after the floor of %v", floor)
					}
				}
			})
		}
	}
}

// At one request a minute and just the errors that the budget allows, burn rates
// alone page for nothing.
func TestLowTrafficPages(t *testing.T) {
	months := uint64(1)
	if *table {
		months = 20
	}
	pages := func(evidence float64) (n int) {
		for seed := range months {
			slo := promise()
			slo.Outage = nil
			slo.MinEvidence = evidence
			l := &ledger{}
			a := New(slo, l, nil)
			rng := rand.New(rand.NewPCG(seed, 60))
			var was bool
			for minute := range 33 * 24 * 60 {
				at := start.Add(time.Duration(minute) * time.Minute)
				if rng.Float64() < 0.001 {
					l.add(at, 0, 1)
				} else {
					l.add(at, 1, 0)
				}
				v := a.Analyze(at.Add(time.Second))
				if fires := v.Fires(gatewarden.SeverityPage); fires && !was && minute >= 3*24*60 {
					n++
				}
				was = v.Fires(gatewarden.SeverityPage)
			}
		}
		return n
	}
	const always = 2 // every probability is below it
	without, with := float64(pages(always))/float64(months), float64(pages(minEvidence))/float64(months)
	t.Logf("1 request a minute, 0.1 %% fail: %.1f pages a month on burn rates alone, %.2f with evidence (%d months)", without, with, months)
	if without < 10 {
		t.Errorf("%.1f pages a month without evidence: the test does not show the trouble", without)
	}
	if with > 0.5 {
		t.Errorf("%.2f pages a month with evidence", with)
	}
}

// Evidence does not stand in the way of a page where traffic is low and the fault
// is real.
func TestLowTrafficStillPages(t *testing.T) {
	slo := promise()
	slo.Outage = nil
	l := &ledger{}
	for minute := range 24 * 60 {
		l.add(start.Add(time.Duration(minute)*time.Minute), 1, 0)
	}
	a := New(slo, l, nil)
	for failures := 1; failures <= 10; failures++ {
		at := start.Add(24*time.Hour + time.Duration(failures)*time.Minute)
		l.add(at, 0, 1)
		if v := a.Analyze(at.Add(time.Second)); v.Fires(gatewarden.SeverityPage) {
			if failures != 3 { // P(X >= 3 | 61, 0.1 %) = 3.5e-5, of 2 it is 1.8e-3
				t.Errorf("pages after %d failures, want 3", failures)
			}
			return
		}
	}
	t.Error("ten failures in a row at a request a minute do not page")
}
