package analyzers

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const (
	none   = gatewarden.SeverityNone
	ticket = gatewarden.SeverityTicket
	page   = gatewarden.SeverityPage
	outage = gatewarden.SeverityOutage
)

// script is an Analyzer that says what it is told: dark, or what fires.
type script struct {
	name    string
	dark    bool
	fires   map[gatewarden.Severity]bool
	resumed []gatewarden.Event
}

func (s *script) Name() string                       { return s.name }
func (s *script) Resume(standing []gatewarden.Event) { s.resumed = standing }

func (s *script) Explain(_ *gatewarden.Verdict, severity gatewarden.Severity) string {
	return "about the " + severity.String()
}

func (s *script) Analyze(at time.Time) gatewarden.Verdict {
	v := gatewarden.Verdict{At: at, Kind: gatewarden.EventSLO, Name: s.name, State: gatewarden.Healthy, Reason: "fine", SLO: &gatewarden.SLOEvidence{}}
	for _, severity := range severities {
		v.SLO.Alerts = append(v.SLO.Alerts, gatewarden.AlertEvidence{Severity: severity, Firing: s.fires[severity]})
		if s.fires[severity] && v.Severity == none {
			v.State, v.Severity, v.Reason = gatewarden.Breach, severity, "broken"
		}
	}
	if s.dark {
		v.State, v.Severity, v.Reason = gatewarden.Inconclusive, none, "no data"
	}
	return v
}

// say sets what the analyzer sees: "dark", or the severities that fire.
func (s *script) say(words ...string) {
	s.dark, s.fires = false, map[gatewarden.Severity]bool{}
	for _, w := range words {
		if w == "dark" {
			s.dark = true
			continue
		}
		var severity gatewarden.Severity
		if err := severity.UnmarshalText([]byte(w)); err != nil {
			panic(err)
		}
		s.fires[severity] = true
	}
}

func brief(events []gatewarden.Event) []string {
	var out []string
	for _, ev := range events {
		line := ev.Name + " " + ev.State
		if ev.Severity != "" {
			line += " " + ev.Severity
		}
		out = append(out, line)
	}
	return out
}

// moment is a line of a timetable: at this offset the analyzer says this, and
// these events are expected.
type moment struct {
	at   time.Duration
	says []string
	want []string
}

func TestTickAnnouncesChanges(t *testing.T) {
	m := time.Minute
	dark := []string{"dark"}
	cases := map[string][]moment{
		"the first verdict is announced, then nothing while it stays": {
			{0, nil, []string{"a healthy"}}, {m, nil, nil}, {2 * m, nil, nil},
		},
		"the first verdict can be inconclusive, and its end is told at once": {
			{0, dark, []string{"a inconclusive"}}, {m, dark, nil}, {2 * m, nil, []string{"a healthy"}},
		},
		"the first verdict can be a breach": {
			{0, []string{"page", "ticket"}, []string{"a breach page", "a breach ticket"}},
		},
		"each severity is told by itself": {
			{0, nil, []string{"a healthy"}},
			{1 * m, []string{"outage"}, []string{"a breach outage"}},
			{2 * m, []string{"outage", "page"}, []string{"a breach page"}},
			{3 * m, []string{"page", "ticket"}, []string{"a healthy outage", "a breach ticket"}},
			{4 * m, []string{"ticket"}, []string{"a healthy page"}},
			{5 * m, nil, []string{"a healthy ticket"}},
		},
		"a second of darkness is not worth an event": {
			{0, nil, []string{"a healthy"}}, {m, dark, nil}, {m + time.Second, nil, nil}, {m + 2*time.Second, dark, nil}, {2*m + time.Second, dark, nil},
		},
		"darkness is told when it has lasted, and so is its end": {
			{0, nil, []string{"a healthy"}}, {m, dark, nil}, {2 * m, dark, []string{"a inconclusive"}}, {3 * m, dark, nil}, {4 * m, nil, []string{"a healthy"}},
		},
		"an idle service tells of its darkness once an hour at most": {
			{0, nil, []string{"a healthy"}}, {m, dark, nil}, {2 * m, dark, []string{"a inconclusive"}}, {10 * m, nil, []string{"a healthy"}},
			{11 * m, dark, nil}, {20 * m, dark, nil}, {21 * m, nil, nil}, {30 * m, dark, nil}, {61 * m, dark, nil}, {62 * m, dark, []string{"a inconclusive"}},
		},
		"darkness ends no breach": {
			{0, []string{"page"}, []string{"a breach page"}}, {m, dark, nil}, {2 * m, dark, []string{"a inconclusive"}},
			{3 * m, []string{"page"}, []string{"a breach page"}}, {4 * m, nil, []string{"a healthy page"}},
		},
		"a breach that is over when the light comes back is told as over": {
			{0, []string{"page", "ticket"}, []string{"a breach page", "a breach ticket"}}, {m, dark, nil}, {2 * m, dark, []string{"a inconclusive"}},
			{3 * m, []string{"ticket"}, []string{"a healthy page", "a breach ticket"}},
		},
		"a breach out of a darkness that was not told": {
			{0, nil, []string{"a healthy"}}, {m, dark, nil}, {m + time.Second, []string{"outage"}, []string{"a breach outage"}},
		},
	}
	for name, moments := range cases {
		t.Run(name, func(t *testing.T) {
			a := &script{name: "a"}
			e := NewEvaluator([]Analyzer{a})
			for _, now := range moments {
				a.say(now.says...)
				r := e.Tick(t.Context(), start.Add(now.at))
				if diff := cmp.Diff(now.want, brief(r.Events)); diff != "" {
					t.Errorf("at %v, %v: events (-want +got)\n%s", now.at, now.says, diff)
				}
				if len(r.Verdicts) != 1 {
					t.Errorf("%d verdicts of one analyzer", len(r.Verdicts))
				}
			}
		})
	}
}

func TestEventsSayWhy(t *testing.T) {
	a := &script{name: "a"}
	e := NewEvaluator([]Analyzer{a})
	a.say("outage", "ticket")
	first := e.Tick(t.Context(), start)
	a.say("ticket")
	second := e.Tick(t.Context(), start.Add(90*time.Second))
	var got []string
	for _, ev := range append(first.Events, second.Events...) {
		got = append(got, ev.Reason)
		if ev.SLO == nil || ev.Type != gatewarden.EventSLO || ev.At.IsZero() {
			t.Errorf("incomplete event %+v", ev)
		}
	}
	want := []string{"about the outage", "about the ticket", "the outage is over after 1m30s: about the outage"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got)\n%s", diff)
	}
}

// Whatever the analyzers say: stopping at any tick and resuming from the journal
// gives the events that an uninterrupted run gives, up to the announcement of
// darkness, whose minute starts anew.
func TestResumeAnnouncesNothingTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := []string{"", "outage", "page", "ticket"}
		said := rapid.SliceOfN(rapid.SampledFrom(words), 1, 30).Draw(t, "said")
		stop := rapid.IntRange(0, len(said)).Draw(t, "stop")
		run := func(restart bool) []gatewarden.Event {
			a := &script{name: "a"}
			e := NewEvaluator([]Analyzer{a})
			var journal []gatewarden.Event
			for i, w := range said {
				if restart && i == stop {
					e = NewEvaluator([]Analyzer{a})
					e.Resume(throughJSON(t, journal))
				}
				if a.say(); w != "" {
					a.say(w)
				}
				journal = append(journal, e.Tick(context.Background(), start.Add(time.Duration(i)*time.Second)).Events...)
			}
			return journal
		}
		if diff := cmp.Diff(run(false), run(true)); diff != "" {
			t.Errorf("events differ after a restart (-without +with)\n%s", diff)
		}
	})
}

func throughJSON(t interface{ Fatal(...any) }, events []gatewarden.Event) []gatewarden.Event {
	b, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	var back []gatewarden.Event
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestResumeHandsOutStandingBreaches(t *testing.T) {
	a, b := &script{name: "a"}, &script{name: "b"}
	e := NewEvaluator([]Analyzer{a, b})
	e.Resume([]gatewarden.Event{
		{At: start, Type: gatewarden.EventSLO, Name: "a", State: "breach", Severity: "page"},
		{At: start, Type: gatewarden.EventSLO, Name: "a", State: "breach", Severity: "ticket"},
		{At: start, Type: gatewarden.EventAction, Name: "b", State: "applied"},
		{At: start, Type: gatewarden.EventSLO, Name: "a", State: "healthy", Severity: "page"},
		{At: start, Type: gatewarden.EventSLO, Name: "b", State: "splendid"},
	})
	if diff := cmp.Diff([]string{"a breach ticket"}, brief(a.resumed)); diff != "" {
		t.Errorf("a is handed (-want +got)\n%s", diff)
	}
	if len(b.resumed) != 0 {
		t.Errorf("b is handed %v", brief(b.resumed))
	}
	a.say()
	b.say()
	got := brief(e.Tick(t.Context(), start.Add(time.Minute)).Events)
	if diff := cmp.Diff([]string{"a healthy ticket", "b healthy"}, got); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
}

func TestReplace(t *testing.T) {
	a, b, kept := &script{name: "a"}, &script{name: "b"}, &script{name: "kept"}
	e := NewEvaluator([]Analyzer{a, b, kept})
	a.say("page")
	kept.say("page")
	e.Tick(t.Context(), start)

	again, c := &script{name: "a"}, &script{name: "c"}
	e.Replace([]Analyzer{again, c, kept})
	if len(kept.resumed) != 0 {
		t.Error("an analyzer that stays is told what it knows")
	}
	again.say("page")
	if diff := cmp.Diff([]string{"a breach page"}, brief(again.resumed)); diff != "" {
		t.Errorf("the new a is handed (-want +got)\n%s", diff)
	}
	got := brief(e.Tick(t.Context(), start.Add(time.Second)).Events)
	if diff := cmp.Diff([]string{"c healthy", "b inconclusive"}, got); diff != "" {
		t.Errorf("events after the reload (-want +got)\n%s", diff)
	}
	if got := brief(e.Tick(t.Context(), start.Add(2*time.Second)).Events); len(got) != 0 {
		t.Errorf("events a second later: %v", got)
	}
}

func TestTickStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := NewEvaluator([]Analyzer{&script{name: "a"}}).Tick(ctx, start)
	if len(r.Verdicts)+len(r.Events) != 0 {
		t.Errorf("a cancelled tick says %+v", r)
	}
}
