package burnrate

import (
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

func TestOutageRatio(t *testing.T) {
	for name, c := range map[string]struct {
		slo  gatewarden.SLO
		want float64
	}{
		"ten per cent for a strict promise":   {gatewarden.SLO{Objective: 0.999}, 0.1},
		"fifty times the budget if more":      {gatewarden.SLO{Objective: 0.99}, 0.5},
		"never so high that nothing is above": {gatewarden.SLO{Objective: 0.9}, 0.9},
		"as the rules say":                    {gatewarden.SLO{Objective: 0.999, Outage: &gatewarden.OutageLine{Ratio: 0.25}}, 0.25},
		"what a good slice may have is no outage": {gatewarden.SLO{
			Objective: 0.999, Timeslice: time.Minute, TimesliceObjective: 0.8,
		}, 0.2},
	} {
		t.Run(name, func(t *testing.T) {
			if c.slo.Outage == nil {
				c.slo.Outage = &gatewarden.OutageLine{}
			}
			if got := outageRatio(&c.slo); got < c.want-1e-9 || got > c.want+1e-9 {
				t.Errorf("ratio %v, want %v", got, c.want)
			}
		})
	}
}

// late reports whether the line finds a fault when records arrive late by a fixed
// number of seconds, negative when the sender's clock is ahead.
func late(t *testing.T, seconds int64) bool {
	t.Helper()
	r := &ring{newest: start.Unix() - 60}
	o := newOutage(0.1, r)
	for s := range int64(60) {
		at := start.Unix() + s
		if s < 30 {
			r.add(at-seconds, gatewarden.Count{Good: 100})
		} else {
			r.add(at-seconds, gatewarden.Count{Good: 50, Bad: 50})
		}
		o.judge(time.Unix(at, 5e8), false)
		if o.firing && s < 30 {
			t.Fatalf("fires before the fault, at %d s", s)
		}
	}
	return o.firing
}

func TestOutageSeesLateRecords(t *testing.T) {
	for seconds, want := range map[int64]bool{-1: true, 0: true, 3: true, 8: true, 9: true, 12: true, 14: true, 15: true, 20: false} {
		if got := late(t, seconds); got != want {
			t.Errorf("records %d s late: fires %v, want %v", seconds, got, want)
		}
	}
}

// Late records correct the seconds they belong to: bad ones whose good ones come
// a tick later count as what they are together.
func TestLateRecordsRevise(t *testing.T) {
	r := &ring{newest: start.Unix() - 60}
	o, plain := newOutage(0.1, r), newOutage(0.1, r)
	at := start
	for range 20 {
		r.add(at.Unix(), gatewarden.Count{Good: 100})
		at = at.Add(time.Second)
		o.judge(at, false)
	}
	r.add(at.Unix()-1, gatewarden.Count{Bad: 20})
	o.judge(at, false)
	r.add(at.Unix()-1, gatewarden.Count{Good: 900})
	o.judge(at, false)
	r.cells[(at.Unix()-3)%128].Good -= 40 // counts of another rule set: fewer
	got := o.judge(at, false)

	for s := start; !s.After(at); s = s.Add(time.Second) { // the same cells, all there from the beginning
		plain.judge(s, false)
	}
	want := plain.judge(at, false)
	if got.LogEvidence != want.LogEvidence || got.ShortCount != want.ShortCount {
		t.Errorf("evidence %v of %+v, want %v of %+v", got.LogEvidence, got.ShortCount, want.LogEvidence, want.ShortCount)
	}
}

func TestOutageSurvivesJumpsOfTime(t *testing.T) {
	for name, jump := range map[string]time.Duration{"a pause": time.Minute, "a clock set back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			r := &ring{newest: start.Add(-2 * time.Hour).Unix()}
			o := newOutage(0.1, r)
			at := start
			fault := func(seconds int) {
				for range seconds {
					if at.Unix() < r.newest {
						*r = ring{newest: at.Unix() - 100}
					}
					r.add(at.Unix(), gatewarden.Count{Bad: 100})
					at = at.Add(time.Second)
					o.judge(at, false)
				}
			}
			r.add(at.Unix(), gatewarden.Count{Good: 100})
			o.judge(at, false)
			at = at.Add(jump)
			fault(1)
			if o.firing {
				t.Error("fires after one second")
			}
			fault(4)
			if !o.firing {
				t.Error("does not fire after five seconds of failures")
			}
		})
	}
}

// Single failures far apart are no outage, however long a row they make.
func TestOldEvidenceIsForgotten(t *testing.T) {
	run := func(every time.Duration) bool {
		r := &ring{newest: start.Unix() - 60}
		o := newOutage(0.1, r)
		for at := start; at.Before(start.Add(time.Hour)); at = at.Add(time.Second) {
			if at.Sub(start)%every == 0 {
				r.add(at.Unix(), gatewarden.Count{Bad: 1})
			}
			o.judge(at.Add(time.Second), false)
		}
		return o.firing
	}
	if !run(50 * time.Second) {
		t.Error("nothing but failures, one each 50 s, do not fire within an hour")
	}
	if run(70 * time.Second) {
		t.Error("failures 70 s apart fire")
	}
}
