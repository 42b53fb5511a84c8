package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/store"
)

// sights is an intake with a clock.
type sights struct {
	*intake
	now time.Time
}

func newSights(t *testing.T, kinds ...string) *sights {
	t.Helper()
	reg := prometheus.NewRegistry()
	s := &sights{now: noon}
	s.intake = newIntake(store.New(store.Config{}, reg), func() time.Time { return s.now }, time.Minute, reg)
	for _, kind := range kinds {
		s.expect(kind, kind, noon)
	}
	return s
}

func (s *sights) bring(t *testing.T, source string, r gatewarden.Record) {
	t.Helper()
	r.At = s.now
	s.come(t, source, r)
}

func (s *sights) come(t *testing.T, source string, r gatewarden.Record) {
	t.Helper()
	r.Weight, r.Status = 1, 200
	if err := s.Accept(t.Context(), source, []gatewarden.Record{r}); err != nil {
		t.Fatal(err)
	}
}

// query is a source that is asked.
type query struct{ silent string }

func (q query) Silent(gatewarden.Series, time.Time, time.Duration) (bool, string) {
	return q.silent != "", q.silent
}
func (query) Lag() time.Duration { return time.Minute }

func sloOn(s gatewarden.Series) *gatewarden.SLO { return &gatewarden.SLO{Name: "a", Series: s} }

func TestBlindnessIsOfWhatAnSLOLivesOn(t *testing.T) {
	orders, payments := sloOn(gatewarden.Series{Service: "orders"}), sloOn(gatewarden.Series{Service: "payments"})
	gateway := sloOn(gatewarden.Series{})
	spans := sloOn(gatewarden.Series{Signal: gatewarden.SignalTraces, Service: "orders"})
	asked := sloOn(gatewarden.Series{Signal: "prometheus:1"})
	asked.SLI.Query = &gatewarden.Query{Total: "a", Error: "b"}
	elsewhere := sloOn(gatewarden.Series{Signal: "prometheus:2"})
	elsewhere.SLI.Query = &gatewarden.Query{Total: "a", Error: "b", Source: "prometheus-7"}

	s := newSights(t, "httplog", "tcplog", "otlp", "prometheus")
	s.sources["prometheus"].asker = query{}
	check := func(what string, want map[*gatewarden.SLO]string) {
		t.Helper()
		for slo, text := range want {
			blind, why := s.BlindTo(slo, s.now)
			if blind != (text != "") || !strings.Contains(why, text) {
				t.Errorf("%s: an slo on %s %v is blind: %v, %q; want %q", what, slo.Series, slo.SLI.Query, blind, why, text)
			}
		}
	}
	check("at first", map[*gatewarden.SLO]string{
		orders: "no source has delivered a record yet", spans: "no source has delivered a span yet", asked: "", elsewhere: "there is no source prometheus-7 to ask",
	})
	for range 3 {
		s.now = s.now.Add(30 * time.Second)
		s.bring(t, "httplog", gatewarden.Record{Service: "orders"})
		s.bring(t, "tcplog", gatewarden.Record{Service: "payments"})
		s.bring(t, "otlp", gatewarden.Record{Signal: gatewarden.SignalTraces, Service: "orders"})
	}
	check("all is well", map[*gatewarden.SLO]string{orders: "", payments: "", gateway: "", spans: "", asked: ""})

	s.sources["prometheus"].asker = query{silent: "it is down"}
	for range 5 { // only httplog goes on
		s.now = s.now.Add(30 * time.Second)
		s.bring(t, "httplog", gatewarden.Record{Service: "orders"})
	}
	check("only httplog goes on", map[*gatewarden.SLO]string{
		orders: "", gateway: "", asked: "it is down",
		payments: "tcplog, which brings the records of payments, has delivered nothing for 2m30s (the limit is 1m)",
		spans:    "no source has delivered a span for 2m30s",
	})
	s.bring(t, "httplog", gatewarden.Record{Service: "payments"}) // it has moved, or comes both ways
	s.now = s.now.Add(time.Second)
	s.bring(t, "httplog", gatewarden.Record{Service: "payments"})
	check("another brings it now", map[*gatewarden.SLO]string{payments: ""})
}

// A Kong whose clock is off: its records come without a pause, and none of them says
// anything of the seconds that are judged.
func TestRecordsOfAnotherTimeAreNoSight(t *testing.T) {
	orders := sloOn(gatewarden.Series{Service: "orders"})
	for name, c := range map[string]struct {
		off  time.Duration
		why  string
		warn bool
	}{
		"ahead by more than the store takes": {11 * time.Second, "httplog: its records lie 11s ahead of this guard's clock and are dropped: compare the clocks", true},
		"ahead by what the store takes":      {9 * time.Second, "", false},
		"two hours behind":                   {-2 * time.Hour, "httplog: its newest records are 2h old", false},
		"half a minute behind":               {-30 * time.Second, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := newSights(t, "httplog")
			s.log = slog.New(slog.NewTextHandler(&log, nil))
			s.bring(t, "httplog", gatewarden.Record{Service: "orders"})
			for range 70 {
				s.now = s.now.Add(time.Second)
				s.come(t, "httplog", gatewarden.Record{Service: "orders", At: s.now.Add(c.off)})
			}
			if blind, why := s.BlindTo(orders, s.now); blind != (c.why != "") || !strings.HasPrefix(why, c.why) {
				t.Errorf("blind: %v, %q; want %q", blind, why, c.why)
			}
			if v := s.views(s.now)[0]; v.Silent != (c.why != "") || v.Records != 71 {
				t.Errorf("it is shown as %+v", v)
			}
			if events := s.events(s.now); len(events) > 0 != (c.why != "") || len(events) > 0 && !strings.Contains(c.why, events[0].Reason[:20]) {
				t.Errorf("events: %+v", events)
			}
			if warned := strings.Count(log.String(), "level=WARN"); warned > 0 != c.warn || warned > 7 {
				t.Errorf("%d warnings:\n%s", warned, &log)
			}
			s.come(t, "httplog", gatewarden.Record{Service: "orders", At: s.now})
			if blind, why := s.BlindTo(orders, s.now); blind {
				t.Errorf("the clocks agree again, and it is blind: %s", why)
			}
		})
	}
}

// Another guard that was sent nothing but such records has not seen the source, and says why.
func TestRecordsOfAnotherTimeAreNoSightElsewhere(t *testing.T) {
	there, here := newSights(t, "httplog"), newSights(t, "httplog")
	there.come(t, "httplog", gatewarden.Record{At: noon.Add(time.Hour)})
	here.heed("there", there.sights(noon), noon)
	want := "httplog: at there: its records lie 1h ahead of this guard's clock and are dropped: compare the clocks, gatewarden doctor does"
	if blind, why := here.Blind(noon); !blind || why != want {
		t.Errorf("blind: %v, %q, want %q", blind, why, want)
	}
	there.bring(t, "httplog", gatewarden.Record{})
	here.heed("there", there.sights(noon), noon)
	if blind, why := here.Blind(noon); blind {
		t.Errorf("blind when the clocks agree again: %q", why)
	}
}

func TestEachSourceHasEventsOfItsOwn(t *testing.T) {
	s := newSights(t, "httplog", "otlp", "prometheus", "kongmetrics")
	slo := *sloOn(gatewarden.Series{Signal: "prometheus:1"})
	slo.SLI.Query = &gatewarden.Query{Total: "a", Error: "b"}
	s.serve([]gatewarden.SLO{slo})
	s.sources["prometheus"].asker = query{}
	var got []string
	for second := range 300 {
		s.now = noon.Add(time.Duration(second) * time.Second)
		s.bring(t, "httplog", gatewarden.Record{Service: "orders"})
		if second < 50 || second > 200 {
			s.bring(t, "otlp", gatewarden.Record{Signal: gatewarden.SignalTraces})
		}
		switch second {
		case 100:
			s.sources["prometheus"].asker = query{silent: "total_query: no answer"}
		case 150:
			s.sources["prometheus"].asker = query{}
		}
		for _, e := range s.events(s.now) {
			got = append(got, s.now.Format("04:05 ")+e.Name+" "+e.State+": "+e.Reason)
		}
	}
	want := []string{
		"01:01 kongmetrics blind: it has delivered nothing yet",
		"01:40 prometheus blind: total_query: no answer",
		"01:50 otlp blind: it has delivered nothing for 1m1s (the limit is 1m)",
		"02:30 prometheus seeing: records arrive again",
		"03:21 otlp seeing: records arrive again",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, v := range s.views(s.now) {
		if v.Silent != (v.Name == "kongmetrics") {
			t.Errorf("%s is shown silent: %v", v.Name, v.Silent)
		}
	}
}

// Coverage is of what is watched: spans are not covered because Kong's log comes.
func TestWatchingIsOfWhatSpoke(t *testing.T) {
	reg := prometheus.NewRegistry()
	kept := store.New(store.Config{}, reg)
	spans := store.Meter{Series: gatewarden.Series{Signal: gatewarden.SignalTraces, Service: "orders"}}
	requests := store.Meter{Series: gatewarden.Series{Service: "orders"}}
	kept.Configure([]store.Meter{spans, requests})
	s := &sights{now: noon}
	s.intake = newIntake(kept, func() time.Time { return s.now }, time.Minute, reg)
	s.expect("httplog", "httplog", noon)
	s.expect("otlp", "otlp", noon)
	for second := range 600 {
		s.now = noon.Add(time.Duration(second) * time.Second)
		s.bring(t, "httplog", gatewarden.Record{Service: "orders"})
		if second < 240 {
			s.bring(t, "otlp", gatewarden.Record{Signal: gatewarden.SignalTraces, Service: "orders"})
		}
		s.watch(s.now, s.now.Add(time.Second), s.now, []store.Meter{spans})
	}
	for name, c := range map[string]struct {
		meter store.Meter
		want  float64
	}{"spans": {spans, 0.5}, "requests": {requests, 1}} {
		if got := kept.Count(c.meter.Series, &c.meter.SLI, noon, noon.Add(10*time.Minute)).Coverage; got < c.want-0.01 || got > c.want+0.01 {
			t.Errorf("%s are covered by %v, want %v", name, got, c.want)
		}
	}
}

func TestAnSLOSaysWhatItLivesOn(t *testing.T) {
	orders, gateway := sloOn(gatewarden.Series{Service: "orders"}), sloOn(gatewarden.Series{})
	spans := sloOn(gatewarden.Series{Signal: gatewarden.SignalTraces, Service: "orders"})
	asked := sloOn(gatewarden.Series{Signal: "prometheus:1"})
	asked.SLI.Query = &gatewarden.Query{Total: "a", Error: "b"}
	elsewhere := sloOn(gatewarden.Series{Signal: "prometheus:2"})
	elsewhere.SLI.Query = &gatewarden.Query{Total: "a", Error: "b", Source: "prometheus-7"}

	s := newSights(t, "httplog", "tcplog", "kongmetrics", "otlp", "prometheus")
	s.sources["prometheus"].asker = query{}
	check := func(what string, want map[*gatewarden.SLO][]string) {
		t.Helper()
		for slo, names := range want {
			if diff := cmp.Diff(names, s.livesOn(slo)); diff != "" {
				t.Errorf("%s: an SLO on %v (-want +got):\n%s", what, slo.Series, diff)
			}
		}
	}
	check("at first", map[*gatewarden.SLO][]string{orders: nil, gateway: nil, spans: {"otlp"}, asked: {"prometheus"}, elsewhere: nil})
	s.bring(t, "httplog", gatewarden.Record{Service: "orders"})
	s.bring(t, "tcplog", gatewarden.Record{Service: "payments"})
	check("when records have come", map[*gatewarden.SLO][]string{orders: {"httplog"}, gateway: {"httplog", "tcplog"}, spans: {"otlp"}})
}

// past is a source of the past, as elasticsearch with read: nothing.
type past struct{ ending }

func (past) Lag() time.Duration { return 0 }
func (past) Follows() bool      { return false }

// What is not expected to speak is never silent, and nobody is blind for it, or sees by it.
func TestASourceOfThePastIsNeverSilent(t *testing.T) {
	s := newSights(t, "httplog", "elasticsearch")
	s.asks("elasticsearch", past{})
	orders, payments := sloOn(gatewarden.Series{Service: "orders"}), sloOn(gatewarden.Series{Service: "payments"})
	for second := range 300 {
		s.now = noon.Add(time.Duration(second) * time.Second)
		s.bring(t, "httplog", gatewarden.Record{Service: "orders"})
		if second > 100 && second < 110 {
			s.come(t, "elasticsearch", gatewarden.Record{Service: "payments", At: noon.Add(-time.Duration(second) * time.Minute)})
		}
		if events := s.events(s.now); len(events) > 0 {
			t.Fatalf("after %d s: %+v", second, events)
		}
		for _, v := range s.views(s.now) {
			if v.Silent {
				t.Fatalf("after %d s %s is shown as silent", second, v.Name)
			}
		}
	}
	if blind, why := s.BlindTo(payments, s.now); blind {
		t.Errorf("while httplog speaks it is blind to payments: %s", why)
	}
	s.now = s.now.Add(2 * time.Minute)
	s.bring(t, "elasticsearch", gatewarden.Record{Service: "orders"}) // the last of the past
	if blind, why := s.BlindTo(orders, s.now); !blind || !strings.Contains(why, "no source has delivered a record for 2m") {
		t.Errorf("while httplog is silent: %v, %q", blind, why)
	}
	if on := s.livesOn(orders); !cmp.Equal(on, []string{"httplog"}) {
		t.Errorf("orders live on %v", on)
	}
}

// TestAClockThatIsSetBackTakesNoSilenceForSight has a guard that leads take no records itself:
// what another guard told before the clock here was set back held until it was that late again.
func TestAClockThatIsSetBackTakesNoSilenceForSight(t *testing.T) {
	leader, other := newSights(t, "httplog"), newSights(t, "httplog")
	orders := sloOn(gatewarden.Series{Service: "orders"})
	tell := func(d time.Duration) (blind bool) {
		for range int(d / time.Second) {
			other.now, leader.now = other.now.Add(time.Second), leader.now.Add(time.Second)
			leader.heed("other", other.sights(other.now), leader.now)
			blind, _ = leader.BlindTo(orders, leader.now)
		}
		return blind
	}
	other.bring(t, "httplog", gatewarden.Record{Service: "orders"})
	if tell(time.Second) {
		t.Fatal("it is blind to what another guard was sent just now")
	}
	leader.now = leader.now.Add(-time.Hour)
	if tell(30 * time.Second) {
		t.Error("half a minute after the last record it is blind")
	}
	if !tell(time.Minute) || !leader.views(leader.now)[0].Silent {
		t.Error("a minute and a half after the last record it takes silence for sight")
	}
	other.bring(t, "httplog", gatewarden.Record{Service: "orders"})
	if tell(time.Second) {
		t.Error("it is blind although records come again")
	}
}
