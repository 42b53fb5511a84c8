package gatewarden

import (
	"fmt"
	"slices"
	"time"
)

// Guardrails bound what all policies together may begin, and when. The zero value
// bounds nothing. What is in place when a guardrail begins to hold stays, and is taken
// back as always.
type Guardrails struct {
	MaxServices float64 // share of the services that changes may touch at once, 0 for any
	MaxTraffic  float64 // share of the requests that they may touch at once, 0 for any
	QuietHours  []QuietHours
	Maintenance []Maintenance
}

// QuietHours are times that come again each week and in which nothing is begun.
type QuietHours struct {
	Days     [7]bool       // the days on which it begins, by time.Weekday
	From, To time.Duration // since midnight; To at or before From is on the next day
	Zone     *time.Location
	Actions  []string // the policies that it holds, empty for all
	Reason   string
}

// Holds reports whether a policy is to begin nothing at an instant, and until when.
func (q *QuietHours) Holds(policy string, at time.Time) (until time.Time, held bool) {
	if len(q.Actions) > 0 && !slices.Contains(q.Actions, policy) {
		return time.Time{}, false
	}
	zone := q.Zone
	if zone == nil {
		zone = time.UTC
	}
	local := at.In(zone)
	for _, before := range []int{0, 1} { // what began yesterday may last into today
		day := local.AddDate(0, 0, -before)
		if !q.Days[day.Weekday()] {
			continue
		}
		from, to := onDay(day, q.From), onDay(day, q.To)
		if q.To <= q.From {
			to = onDay(day.AddDate(0, 0, 1), q.To)
		}
		if !at.Before(from) && at.Before(to) {
			return to, true
		}
	}
	return time.Time{}, false
}

// onDay returns when the clocks of a day's place show a time of day. The day on which
// they are changed is an hour shorter or longer; the time of day counts.
func onDay(day time.Time, clock time.Duration) time.Time {
	minutes := int(clock / time.Minute)
	return time.Date(day.Year(), day.Month(), day.Day(), minutes/60, minutes%60, 0, 0, day.Location())
}

// String says when it is, as a person would.
func (q *QuietHours) String() string {
	return fmt.Sprintf("%02d:%02d to %02d:%02d", int(q.From.Hours()), int(q.From.Minutes())%60, int(q.To.Hours()), int(q.To.Minutes())%60)
}

// Maintenance is planned work: what breaks meanwhile is expected.
type Maintenance struct {
	From, To time.Time // the end is not part of it
	Services []string  // whose breaches, and changes, it holds; empty for all
	Reason   string
}

// Holds reports whether it is under way for one of the services at an instant.
func (m *Maintenance) Holds(at time.Time, services ...string) bool {
	if at.Before(m.From) || !at.Before(m.To) {
		return false
	}
	return len(m.Services) == 0 || slices.ContainsFunc(services, func(s string) bool { return slices.Contains(m.Services, s) })
}

// Flow is how many requests a route of a service had of late.
type Flow struct {
	Service  string
	Route    string // "" for those of no route that is known
	Requests uint64 // shed ones too
}
