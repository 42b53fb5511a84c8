package gatewarden

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuietHours(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	hours := func(from, to time.Duration, zone *time.Location, actions []string, days ...time.Weekday) QuietHours {
		q := QuietHours{From: from, To: to, Zone: zone, Actions: actions}
		for _, d := range days {
			q.Days[d] = true
		}
		return q
	}
	night := hours(22*time.Hour, 6*time.Hour, nil, nil, time.Friday)
	for name, c := range map[string]struct {
		quiet QuietHours
		at    string
		until string // "" when nothing is held
	}{
		"before they begin":                                     {night, "2026-11-20T21:59:59Z", ""},
		"as they begin":                                         {night, "2026-11-20T22:00:00Z", "2026-11-21T06:00:00Z"},
		"the morning after, which is another day":               {night, "2026-11-21T05:59:59Z", "2026-11-21T06:00:00Z"},
		"as they end":                                           {night, "2026-11-21T06:00:00Z", ""},
		"the same time on another day":                          {night, "2026-11-21T22:30:00Z", ""},
		"in their own zone":                                     {hours(9*time.Hour, 17*time.Hour, berlin, nil, time.Monday), "2026-11-23T08:00:00Z", "2026-11-23T16:00:00Z"},
		"not by the clocks of another zone":                     {hours(9*time.Hour, 17*time.Hour, berlin, nil, time.Monday), "2026-11-23T16:30:00Z", ""},
		"the clocks are put back meanwhile":                     {hours(1*time.Hour, 4*time.Hour, berlin, nil, time.Sunday), "2026-10-25T02:30:00Z", "2026-10-25T03:00:00Z"},
		"to midnight":                                           {hours(20*time.Hour, 24*time.Hour, nil, nil, time.Monday), "2026-11-23T23:59:59Z", "2026-11-24T00:00:00Z"},
		"for another action only":                               {hours(0, 24*time.Hour, nil, []string{"other"}, time.Monday), "2026-11-23T12:00:00Z", ""},
		"for the action among others":                           {hours(0, 24*time.Hour, nil, []string{"other", "protect"}, time.Monday), "2026-11-23T12:00:00Z", "2026-11-24T00:00:00Z"},
		"the zero value holds nothing, whatever its hours mean": {QuietHours{}, "2026-11-23T12:00:00Z", ""},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if until, held := c.quiet.Holds("protect", at); held {
				got = until.UTC().Format(time.RFC3339)
			}
			if diff := cmp.Diff(c.until, got); diff != "" {
				t.Errorf("held until (-want +got)\n%s", diff)
			}
		})
	}
}

func TestMaintenance(t *testing.T) {
	from := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	all := Maintenance{From: from, To: from.Add(time.Hour)}
	orders := all
	orders.Services = []string{"orders"}
	for name, c := range map[string]struct {
		m        Maintenance
		at       time.Time
		services []string
		want     bool
	}{
		"before":                        {all, from.Add(-1), nil, false},
		"from its first instant":        {all, from, nil, true},
		"its end is not part of it":     {all, from.Add(time.Hour), nil, false},
		"of a service, for that":        {orders, from, []string{"payments", "orders"}, true},
		"of a service, for another one": {orders, from, []string{"payments"}, false},
		"of a service, for none":        {orders, from, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.m.Holds(c.at, c.services...); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
