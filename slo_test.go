package gatewarden

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const testDay = 24 * time.Hour

func TestWorkbookPairsOf30DaysAreThoseOfTheBook(t *testing.T) {
	want := []AlertPair{
		{SeverityPage, 14.4, time.Hour, 5 * time.Minute},
		{SeverityPage, 6, 6 * time.Hour, 30 * time.Minute},
		{SeverityTicket, 3, testDay, 2 * time.Hour},
		{SeverityTicket, 1, 3 * testDay, 6 * time.Hour},
	}
	if diff := cmp.Diff(want, WorkbookPairs(30*testDay)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWorkbookPairsKeepTheirShareOfTheBudgetInAnyWindow(t *testing.T) {
	shares := []float64{0.02, 0.05, 0.10, 0.10}
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.Int64Range(int64(time.Hour), int64(365*testDay)).Draw(t, "window"))
		for i, p := range WorkbookPairs(window) {
			if p.Long%time.Second != 0 || p.Short%time.Second != 0 || p.Short < time.Second {
				t.Errorf("pair %d of %s has windows %s and %s, want whole seconds, at least one", i, window, p.Long, p.Short)
			}
			share := p.Factor * float64(p.Long) / float64(window)
			rounding := p.Factor * float64(time.Second) / float64(window)
			if math.Abs(share-shares[i]) > rounding {
				t.Errorf("pair %d of %s lets %.4f of the budget go, want %.2f", i, window, share, shares[i])
			}
			if p.Long > 10*time.Minute && math.Abs(float64(p.Long)/float64(p.Short)-12) > 1 {
				t.Errorf("pair %d of %s: the long window is %.1f times the short one, want 12", i, window, float64(p.Long)/float64(p.Short))
			}
		}
	})
}

func TestNoWindowIsTooShortForItsPairs(t *testing.T) {
	for _, p := range WorkbookPairs(time.Second) {
		if p.Long < time.Second || p.Short < time.Second {
			t.Errorf("%+v: windows must be at least a second", p)
		}
	}
}

func TestCalendarWindowsBeginAtTheirMidnight(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai"} {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 7, 2, 15, 4, 5, 6, location) // a Thursday
		for calendar, want := range map[string]time.Time{
			"day":     time.Date(2026, 7, 2, 0, 0, 0, 0, location),
			"week":    time.Date(2026, 6, 29, 0, 0, 0, 0, location),
			"month":   time.Date(2026, 7, 1, 0, 0, 0, 0, location),
			"quarter": time.Date(2026, 7, 1, 0, 0, 0, 0, location),
			"year":    time.Date(2026, 1, 1, 0, 0, 0, 0, location),
		} {
			if got := (BudgetWindow{Calendar: calendar}).Start(at); !got.Equal(want) {
				t.Errorf("%s: the %s of %s began %s, want %s", zone, calendar, at, got, want)
			}
		}
	}
}

func TestACalendarWindowContainsItsInstantAndNoEarlierStart(t *testing.T) {
	longest := map[string]time.Duration{
		"day": 25 * time.Hour, "week": 7*testDay + time.Hour, "month": 31*testDay + time.Hour,
		"quarter": 92*testDay + time.Hour, "year": 366 * testDay,
	}
	berlin, err := time.LoadLocation("Europe/Berlin") // with its days of 23 and 25 hours
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), 0).In(berlin)
		calendar := rapid.SampledFrom([]string{"day", "week", "month", "quarter", "year"}).Draw(t, "calendar")
		w := BudgetWindow{Calendar: calendar}
		start := w.Start(at)
		if start.After(at) || at.Sub(start) >= longest[calendar] {
			t.Errorf("the %s of %s began %s", calendar, at, start)
		}
		if again := w.Start(start); !again.Equal(start) {
			t.Errorf("the %s of its own start %s began %s", calendar, start, again)
		}
		if calendar == "week" && start.Weekday() != time.Monday {
			t.Errorf("the week of %s began on a %s", at, start.Weekday())
		}
	})
}

func TestARollingWindowReachesBackItsLength(t *testing.T) {
	at := time.Date(2026, 7, 2, 15, 0, 0, 0, time.UTC)
	w := BudgetWindow{Rolling: 7 * testDay}
	if got := at.Sub(w.Start(at)); got != w.Length() || got != 7*testDay {
		t.Errorf("a window of 7d reaches back %s and is %s long", got, w.Length())
	}
}

func TestCalendarWindowsHaveNominalLengths(t *testing.T) {
	for calendar, want := range map[string]time.Duration{
		"day": testDay, "week": 7 * testDay, "month": 30 * testDay, "quarter": 90 * testDay, "year": 365 * testDay,
	} {
		if got := (BudgetWindow{Calendar: calendar}).Length(); got != want {
			t.Errorf("a %s is %s long, want %s", calendar, got, want)
		}
	}
}

func TestAnSLIJudgesRecords(t *testing.T) {
	slow := SLI{Kind: SLILatency, Threshold: 300 * time.Millisecond, Of: OfUpstream}
	expr := SLI{Kind: SLIGood, Expr: "x", Holds: func(r *Record) (bool, error) {
		if r.Method == "" {
			return true, Errorf(Invalid, "no method")
		}
		return r.Method == "GET", nil
	}}
	for name, c := range map[string]struct {
		sli         SLI
		record      Record
		good, valid bool
	}{
		"a success is available":                 {SLI{}, Record{Status: 200}, true, true},
		"a failure is not":                       {SLI{}, Record{Status: 500}, false, true},
		"a latency at the threshold is good":     {slow, Record{Latency: Latency{Upstream: 300 * time.Millisecond}}, true, true},
		"a latency beyond it is bad":             {slow, Record{Latency: Latency{Upstream: 301 * time.Millisecond}}, false, true},
		"only the part that is named counts":     {slow, Record{Latency: Latency{Request: time.Hour}}, true, true},
		"what was never proxied is no event":     {slow, Record{Latency: Latency{Upstream: NoLatency}}, true, false},
		"an expression that is true is good":     {expr, Record{Method: "GET"}, true, true},
		"one that is false is bad":               {expr, Record{Method: "PUT"}, false, true},
		"one that cannot be judged is no event":  {expr, Record{}, true, false},
		"the failure of a strange status counts": {SLI{}, Record{Status: 9}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			good, valid := c.sli.Judge(&c.record)
			if valid != c.valid || valid && good != c.good {
				t.Errorf("good %v, valid %v, want %v, %v", good, valid, c.good, c.valid)
			}
		})
	}
}

func TestAnSLIsIDNamesWhatItCounts(t *testing.T) {
	for want, sli := range map[string]SLI{
		"availability":           {},
		"latency:request<=300ms": {Kind: SLILatency, Of: OfRequest, Threshold: 300 * time.Millisecond},
		"latency:kong<=1.5s":     {Kind: SLILatency, Of: OfKong, Threshold: 1500 * time.Millisecond},
		"good:status < 500":      {Kind: SLIGood, Expr: "status < 500"},
	} {
		if got := sli.ID(); got != want {
			t.Errorf("ID() = %q, want %q", got, want)
		}
	}
}

func TestSeveritiesAndStatesReadBackAsWritten(t *testing.T) {
	for _, want := range []Severity{SeverityNone, SeverityTicket, SeverityPage, SeverityOutage} {
		b, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got Severity
		if err := got.UnmarshalText(b); err != nil || got != want {
			t.Errorf("%d is written %q, which reads as %d, %v", want, b, got, err)
		}
	}
	var s Severity
	if err := s.UnmarshalText([]byte("panic")); ErrorCode(err) != Invalid {
		t.Errorf("an unknown severity: %v, want an error of code invalid", err)
	}
}

func TestTheBudgetBurnsAtOneWhenItLastsTheWindow(t *testing.T) {
	slo := SLO{Objective: 0.999}
	if got := slo.BurnRate(0.001); math.Abs(got-1) > 1e-9 {
		t.Errorf("BurnRate(0.1 %%) at 99.9 %% = %v, want 1", got)
	}
	if got := slo.BurnRate(0.5); math.Abs(got-500) > 1e-6 {
		t.Errorf("BurnRate(50 %%) at 99.9 %% = %v, want 500", got)
	}
}

func TestEachSeverityHasItsPolicies(t *testing.T) {
	slo := SLO{OnOutage: []string{"a"}, OnPage: []string{"b"}, OnTicket: []string{"c"}}
	for severity, want := range map[Severity][]string{SeverityOutage: {"a"}, SeverityPage: {"b"}, SeverityTicket: {"c"}, SeverityNone: nil} {
		if got := slo.Policies(severity); !slices.Equal(got, want) {
			t.Errorf("%q starts %v, want %v", severity, got, want)
		}
	}
}
