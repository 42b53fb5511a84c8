package burnrate

import (
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

func TestBudget(t *testing.T) {
	cest := time.FixedZone("CEST", 2*3600)
	at := func(s string) time.Time {
		when, err := time.ParseInLocation("2006-01-02 15:04", s, cest)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	month := gatewarden.BudgetWindow{Calendar: "month"}
	rolling := gatewarden.BudgetWindow{Rolling: 30 * day}
	type span struct {
		from, to  string
		good, bad uint64 // a minute
	}
	cases := map[string]struct {
		window    gatewarden.BudgetWindow
		at        string
		feed      []span
		budget    float64
		exhausted string // "" for never
	}{
		"nothing happened": {window: rolling, at: "2026-05-20 12:00", budget: 1},
		"rolling: half of it is left and it burns at 1.5": {
			window: rolling, at: "2026-05-31 00:00",
			// 29 days and 23 hours at 0.4986 times the budget and the last hour at 1.5.
			feed:   []span{{"2026-05-01 00:00", "2026-05-30 23:00", 1_000_000_000, 498_857}, {"2026-05-30 23:00", "2026-05-31 00:00", 998_500_000, 1_500_000}},
			budget: 0.5, exhausted: "2026-06-10 00:00",
		},
		"rolling: it lasts longer than the window": {
			window: rolling, at: "2026-05-31 00:00",
			feed:   []span{{"2026-05-01 00:00", "2026-05-31 00:00", 999_500, 500}},
			budget: 0.5, exhausted: "",
		},
		"rolling: spent, since when is not known": {
			window: rolling, at: "2026-05-31 00:00",
			feed:   []span{{"2026-05-01 00:00", "2026-05-31 00:00", 996_000, 4000}},
			budget: -3, exhausted: "",
		},
		"what is older than the window is forgotten": {
			window: rolling, at: "2026-05-31 00:00",
			feed:   []span{{"2026-04-01 00:00", "2026-05-01 00:00", 0, 1000}, {"2026-05-01 00:00", "2026-05-31 00:00", 1000, 0}},
			budget: 1,
		},
		"calendar: the last minute of the month before does not count": {
			window: month, at: "2026-05-02 00:00",
			feed:   []span{{"2026-04-30 00:00", "2026-05-01 00:00", 0, 1000}, {"2026-05-01 00:00", "2026-05-02 00:00", 999_800, 200}},
			budget: 0.8,
		},
		"calendar: ten good days, then it burns at 3": {
			window: month, at: "2026-05-11 01:00",
			// The mean burn rate reaches 1 when 3 t = 240 h + t: 120 h after it began.
			feed:   []span{{"2026-05-01 00:00", "2026-05-11 00:00", 1_000_000, 0}, {"2026-05-11 00:00", "2026-05-11 01:00", 997_000, 3000}},
			budget: 1 - 3./241, exhausted: "2026-05-16 00:00",
		},
		"calendar: the month ends first": {
			window: month, at: "2026-05-29 00:00",
			feed:   []span{{"2026-05-01 00:00", "2026-05-28 23:00", 1_000_000, 0}, {"2026-05-28 23:00", "2026-05-29 00:00", 997_000, 3000}},
			budget: 1 - 3./672,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := &ledger{}
			for _, s := range c.feed {
				for m := at(s.from); m.Before(at(s.to)); m = m.Add(time.Minute) {
					l.add(m, s.good, s.bad)
				}
			}
			slo := promise()
			slo.Window = c.window
			ev := New(slo, l, nil).Analyze(at(c.at)).SLO
			if diff := ev.Budget - c.budget; diff > 1e-4 || diff < -1e-4 {
				t.Errorf("budget %v, want %v", ev.Budget, c.budget)
			}
			switch {
			case (ev.Exhausted == nil) != (c.exhausted == ""):
				t.Errorf("exhausted %v, want %q", ev.Exhausted, c.exhausted)
			case ev.Exhausted != nil && ev.Exhausted.Sub(at(c.exhausted)).Abs() > 5*time.Minute:
				t.Errorf("exhausted %v, want %v", ev.Exhausted, at(c.exhausted))
			}
		})
	}
}

func TestPeriodEnd(t *testing.T) {
	for unit, dates := range map[string][][2]string{
		"day":     {{"2026-05-31", "2026-06-01"}},
		"week":    {{"2026-05-04", "2026-05-11"}},
		"month":   {{"2026-01-01", "2026-02-01"}, {"2026-02-01", "2026-03-01"}, {"2026-12-01", "2027-01-01"}},
		"quarter": {{"2026-01-01", "2026-04-01"}, {"2026-10-01", "2027-01-01"}},
		"year":    {{"2026-01-01", "2027-01-01"}, {"2028-01-01", "2029-01-01"}},
	} {
		for _, d := range dates {
			from, _ := time.Parse(time.DateOnly, d[0])
			if got := periodEnd(gatewarden.BudgetWindow{Calendar: unit}, from).Format(time.DateOnly); got != d[1] {
				t.Errorf("the %s of %s ends on %s, want %s", unit, d[0], got, d[1])
			}
		}
	}
}
