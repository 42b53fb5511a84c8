package burnrate

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers"
)

const day = 24 * time.Hour

func TestVerdictSaysWhy(t *testing.T) {
	cases := map[string]struct {
		slo    func(*gatewarden.SLO)
		feed   func(l *ledger) // history up to start
		blind  Blind
		state  gatewarden.State
		sev    gatewarden.Severity
		reason string
	}{
		"nothing was ever seen": {
			state: gatewarden.Inconclusive, reason: "can't judge: no requests in the last 3d",
		},
		"all is well": {
			feed:  func(l *ledger) { l.fill(start.Add(-time.Hour), start, 10, 0); l.add(start.Add(-time.Second), 0, 9) },
			state: gatewarden.Healthy, reason: "0.025 % of 36,009 requests failed in the last 30d; 75 % of the error budget is left",
		},
		"the budget is spent but nothing burns any more": {
			feed: func(l *ledger) {
				l.fill(start.Add(-20*day), start.Add(-20*day+time.Hour), 0, 1)
				l.fill(start.Add(-time.Hour), start, 10, 0)
			},
			state: gatewarden.Healthy, reason: "9.09 % of 39,600 requests failed in the last 30d, overspending the budget of 0.1 % 90.9 times",
		},
		"idle for a day": {
			feed:  func(l *ledger) { l.fill(start.Add(-26*time.Hour), start.Add(-25*time.Hour), 10, 0) },
			state: gatewarden.Healthy, reason: "0 % of 36,000 requests failed in the last 30d; 100 % of the error budget is left",
		},
		"idle for four days": {
			feed:  func(l *ledger) { l.fill(start.Add(-97*time.Hour), start.Add(-96*time.Hour), 10, 0) },
			state: gatewarden.Inconclusive, reason: "can't judge: no requests in the last 3d",
		},
		"blind": {
			feed:  func(l *ledger) { l.fill(start.Add(-time.Hour), start, 5, 5) },
			blind: func(time.Time) (bool, string) { return true, "no log from Kong for 12s" },
			state: gatewarden.Inconclusive, reason: "can't judge: no log from Kong for 12s",
		},
		"a page": {
			slo: func(s *gatewarden.SLO) { s.Outage = nil },
			feed: func(l *ledger) {
				l.fill(start.Add(-time.Hour), start.Add(-10*time.Minute), 1, 0)
				l.fill(start.Add(-10*time.Minute), start, 4, 1)
			},
			state: gatewarden.Breach, sev: gatewarden.SeverityPage,
			reason: "10 % of 6,000 requests failed in the last 1h, 100 times the budget of 0.1 %; 5m agrees",
		},
		"a ticket": {
			slo:   func(s *gatewarden.SLO) { s.Outage = nil },
			feed:  func(l *ledger) { l.fill(start.Add(-3*day), start, 498, 2) },
			state: gatewarden.Breach, sev: gatewarden.SeverityTicket,
			reason: "0.4 % of 43,200,000 requests failed in the last 1d, 4 times the budget of 0.1 %; 2h agrees",
		},
		"latency": {
			slo: func(s *gatewarden.SLO) {
				s.Outage = nil
				s.SLI = gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: 300 * time.Millisecond, Of: gatewarden.OfUpstream}
			},
			feed:  func(l *ledger) { l.fill(start.Add(-time.Hour), start, 50, 50) },
			state: gatewarden.Breach, sev: gatewarden.SeverityPage,
			reason: "50 % of 360,000 requests took longer than 300ms in the upstream in the last 1h, 500 times the budget of 0.1 %; 5m agrees",
		},
		"no pairs, no outage line": {
			slo:   func(s *gatewarden.SLO) { s.Outage, s.Pairs = nil, nil },
			feed:  func(l *ledger) { l.fill(start.Add(-time.Hour), start, 1, 1) },
			state: gatewarden.Healthy, reason: "50 % of 7,200 requests failed in the last 30d, overspending the budget of 0.1 % 500 times",
		},
		"no pairs and no requests": {
			slo:   func(s *gatewarden.SLO) { s.Outage, s.Pairs = nil, nil },
			state: gatewarden.Inconclusive, reason: "can't judge: no requests in the last 30d",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			slo, l := promise(), &ledger{}
			if c.slo != nil {
				c.slo(&slo)
			}
			if c.feed != nil {
				c.feed(l)
			}
			a := New(slo, l, c.blind)
			v := a.Analyze(start)
			v.Reason = a.Explain(&v, gatewarden.SeverityNone)
			if v.State != c.state || v.Severity != c.sev || v.Reason != c.reason {
				t.Errorf("%v %v %q\nwant %v %v %q", v.State, v.Severity, v.Reason, c.state, c.sev, c.reason)
			}
			if _, err := json.Marshal(v); err != nil {
				t.Errorf("can't be written as JSON: %v", err)
			}
		})
	}
}

// story drives an analyzer, a second at a time.
type story struct {
	t      *testing.T
	l      *ledger
	a      *Analyzer
	at     time.Time
	events []string
	e      *analyzers.Evaluator
	v      gatewarden.Verdict
}

func newStory(t *testing.T, slo gatewarden.SLO, blind Blind) *story {
	l := &ledger{}
	a := New(slo, l, blind)
	return &story{t: t, l: l, a: a, at: start, e: analyzers.NewEvaluator([]analyzers.Analyzer{a})}
}

// run lets d pass with so many requests a second.
func (s *story) run(d time.Duration, good, bad uint64) {
	for end := s.at.Add(d); s.at.Before(end); {
		if good+bad > 0 {
			s.l.add(s.at, good, bad)
		}
		s.at = s.at.Add(time.Second)
		r := s.e.Tick(context.Background(), s.at)
		s.v = r.Verdicts[0]
		for _, ev := range r.Events {
			s.events = append(s.events, strings.TrimSpace(ev.State+" "+ev.Severity))
		}
	}
}

func (s *story) want(state gatewarden.State, fires ...gatewarden.Severity) {
	s.t.Helper()
	if s.v.State != state {
		s.t.Errorf("after %v the verdict is %v (%s), want %v", s.at.Sub(start), s.v.State, s.v.Reason, state)
	}
	var got []gatewarden.Severity
	for _, sev := range []gatewarden.Severity{gatewarden.SeverityOutage, gatewarden.SeverityPage, gatewarden.SeverityTicket} {
		if s.v.Fires(sev) {
			got = append(got, sev)
		}
	}
	if diff := cmp.Diff(fires, got); diff != "" {
		s.t.Errorf("after %v these fire (-want +got)\n%s", s.at.Sub(start), diff)
	}
}

const (
	outageSev = gatewarden.SeverityOutage
	pageSev   = gatewarden.SeverityPage
	ticketSev = gatewarden.SeverityTicket
)

func TestSilenceIsNoRecovery(t *testing.T) {
	slo := promise()
	slo.Pairs = slo.Pairs[:2] // the pages
	s := newStory(t, slo, nil)
	s.run(time.Hour, 100, 0)
	s.want(gatewarden.Healthy)
	s.run(3*time.Minute, 50, 50)
	s.want(gatewarden.Breach, outageSev, pageSev)
	s.run(2*time.Minute, 0, 0)
	s.want(gatewarden.Breach, outageSev, pageSev) // the page's short window still has data
	s.run(4*time.Minute, 0, 0)
	s.want(gatewarden.Inconclusive, outageSev, pageSev)
	s.run(2*time.Hour, 0, 0)
	s.want(gatewarden.Inconclusive, outageSev, pageSev)
	s.run(10*time.Second, 100, 0)
	s.want(gatewarden.Healthy)
	if diff := cmp.Diff([]string{
		"healthy", "breach outage", "breach page", // the fault
		"inconclusive",                  // both have nothing to go by
		"breach outage", "healthy page", // good traffic: the page's windows say no, the outage wants evidence
		"healthy outage",
	}, s.events); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
}

func TestBlindChangesNothing(t *testing.T) {
	blind := false
	s := newStory(t, promise(), func(time.Time) (bool, string) { return blind, "the log is silent" })
	s.run(time.Hour, 100, 0)
	blind = true
	s.run(3*time.Minute, 50, 50)
	s.want(gatewarden.Inconclusive)
	blind = false
	s.run(time.Second, 50, 50)
	s.want(gatewarden.Breach, outageSev, pageSev)
	blind = true
	s.run(10*time.Minute, 100, 0)
	s.want(gatewarden.Inconclusive, outageSev, pageSev)
	blind = false
	s.run(time.Second, 100, 0)
	s.want(gatewarden.Healthy)
}

func TestABreachGoesOnAfterARestart(t *testing.T) {
	s := newStory(t, promise(), nil)
	s.run(time.Hour, 100, 0)
	s.run(3*time.Minute, 50, 50)
	s.want(gatewarden.Breach, outageSev, pageSev)
	since := func() (at []time.Time) {
		for _, a := range s.v.SLO.Alerts {
			if a.Firing {
				at = append(at, a.Since.UTC())
			}
		}
		return at
	}
	before := since()

	var journal []gatewarden.Event
	for _, sev := range []gatewarden.Severity{outageSev, pageSev} {
		journal = append(journal, gatewarden.Event{
			At: s.at, Type: gatewarden.EventSLO, Name: s.a.Name(), State: "breach", Severity: sev.String(), SLO: s.v.SLO,
		})
	}
	s.a = New(promise(), s.l, nil)
	s.e = analyzers.NewEvaluator([]analyzers.Analyzer{s.a})
	s.e.Resume(journal)
	s.events = nil
	s.run(time.Second, 100, 0)
	s.want(gatewarden.Breach, outageSev, pageSev) // one good second is no recovery
	if diff := cmp.Diff(before, since()); diff != "" {
		t.Errorf("the breaches begin anew (-before +after)\n%s", diff)
	}
	s.run(6*time.Minute, 100, 0)
	s.want(gatewarden.Healthy)
	if diff := cmp.Diff([]string{"healthy outage", "healthy page"}, s.events); diff != "" {
		t.Errorf("events after the restart (-want +got)\n%s", diff)
	}
}

// A burn rate that hovers at its factor is one page.
func TestPageDoesNotFlap(t *testing.T) {
	slo := promise()
	slo.Outage = nil
	s := newStory(t, slo, nil)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 3 * 60 {
		s.run(time.Minute, 1000-uint64(14+rng.IntN(2)), uint64(14+rng.IntN(2)))
	}
	pages := 0
	for _, ev := range s.events {
		if strings.HasSuffix(ev, "page") {
			pages++
		}
	}
	if pages != 1 {
		t.Errorf("%d events of the page, want 1: %v", pages, s.events)
	}
}

// The pairs of other windows let the same share of the budget go.
func TestPairsScale(t *testing.T) {
	for name, c := range map[string]struct {
		window time.Duration
		floor  time.Duration // 50 % of requests fail
	}{
		"30 days": {30 * day, 103680 * time.Millisecond},
		"7 days":  {7 * day, 24192 * time.Millisecond},
		"1 day":   {day, 3456 * time.Millisecond},
		"an hour": {time.Hour, 144 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			slo := promise()
			slo.Outage, slo.Window.Rolling, slo.Pairs = nil, c.window, gatewarden.WorkbookPairs(c.window)
			s := newStory(t, slo, nil)
			s.run(2*time.Hour, 100, 0)
			began := s.at
			for !s.v.Fires(pageSev) && s.at.Sub(began) < 10*time.Minute {
				s.run(time.Second, 50, 50)
			}
			if took := s.at.Sub(began); took < c.floor || took > c.floor+1500*time.Millisecond {
				t.Errorf("page after %v, the floor is %v", took, c.floor)
			}
		})
	}
}

func TestSameInputSameBytes(t *testing.T) {
	run := func() string {
		rng := rand.New(rand.NewPCG(5, 5))
		l := &ledger{}
		e := analyzers.NewEvaluator([]analyzers.Analyzer{New(promise(), l, nil)})
		var out strings.Builder
		enc := json.NewEncoder(&out)
		for i := range 1200 {
			at := start.Add(time.Duration(i) * time.Second)
			bad := uint64(0)
			if i/300%2 == 1 {
				bad = rng.Uint64N(60)
			}
			l.add(at, 60, bad)
			for _, ev := range e.Tick(context.Background(), at.Add(time.Second)).Events {
				if err := enc.Encode(ev); err != nil {
					t.Fatal(err)
				}
			}
		}
		return out.String()
	}
	first := run()
	if diff := cmp.Diff(first, run()); diff != "" {
		t.Errorf("two runs differ\n%s", diff)
	}
	if !strings.Contains(first, `"severity":"outage"`) || !strings.Contains(first, `"severity":"page"`) {
		t.Errorf("nothing happened: %s", first)
	}
}

// Whatever is counted and however time jumps: no panic, every verdict can be
// written, and its fields agree with each other.
func TestVerdictsHoldTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slo := promise()
		window := time.Duration(rapid.IntRange(1, 90*24).Draw(t, "hours")) * time.Hour
		slo.Window.Rolling, slo.Pairs = window, gatewarden.WorkbookPairs(window)
		slo.Objective = rapid.SampledFrom([]float64{0.5, 0.9, 0.99, 0.999, 0.99999}).Draw(t, "objective")
		if rapid.Bool().Draw(t, "calendar") {
			slo.Window = gatewarden.BudgetWindow{Calendar: rapid.SampledFrom([]string{"day", "week", "month", "quarter", "year"}).Draw(t, "unit")}
		}
		if rapid.Bool().Draw(t, "sliced") {
			slo.Timeslice, slo.TimesliceObjective = time.Duration(rapid.IntRange(60, 3600).Draw(t, "slice"))*time.Second, 0.95
		}
		l := &ledger{}
		a := New(slo, l, func(at time.Time) (bool, string) { return at.Unix()%17 == 0, "resting" })
		at := start
		for range rapid.IntRange(1, 60).Draw(t, "ticks") {
			l.add(at, rapid.Uint64Range(0, 1<<40).Draw(t, "good"), rapid.Uint64Range(0, 1<<40).Draw(t, "bad"))
			at = at.Add(time.Duration(rapid.SampledFrom([]int64{1, 200, 1000, 1000, 5000, 60_000, 86_400_000}).Draw(t, "ms")) * time.Millisecond)
			v := a.Analyze(at)
			if _, err := json.Marshal(v); err != nil {
				t.Fatalf("can't be written: %v", err)
			}
			if (v.State == gatewarden.Breach) != (v.Severity != gatewarden.SeverityNone) || v.State == gatewarden.Breach && !v.Fires(v.Severity) {
				t.Errorf("state %v, severity %v, alerts %+v", v.State, v.Severity, v.SLO.Alerts)
			}
			for _, alert := range v.SLO.Alerts {
				if alert.Firing != (alert.Since != nil) || alert.Firing && v.State == gatewarden.Healthy {
					t.Errorf("state %v, alert %+v", v.State, alert)
				}
			}
			if a.Explain(&v, gatewarden.SeverityNone) == "" {
				t.Error("no reason")
			}
		}
	})
}
