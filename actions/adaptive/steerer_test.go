package adaptive

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// second is what a service did in one second.
type second struct{ good, bad, failed, shed uint64 }

// log is what services did in the seconds up to noon, the newest last.
type log map[string][]second

func (l log) sum(service string, from, to time.Time) (sum second) {
	list := l[service]
	for i, s := range list {
		at := noon.Add(-time.Duration(len(list)-i) * time.Second)
		if !at.Before(from) && at.Before(to) {
			sum.good, sum.bad, sum.failed, sum.shed = sum.good+s.good, sum.bad+s.bad, sum.failed+s.failed, sum.shed+s.shed
		}
	}
	return sum
}

func (l log) Count(series gatewarden.Series, _ *gatewarden.SLI, from, to time.Time) gatewarden.Count {
	s := l.sum(series.Service, from, to)
	return gatewarden.Count{Good: s.good, Bad: s.bad}
}

func (l log) Window(series gatewarden.Series, from, to time.Time) gatewarden.Window {
	s := l.sum(series.Service, from, to)
	w := gatewarden.Window{Tally: gatewarden.Tally{Shed: s.shed}}
	w.ByClass[2], w.ByClass[5] = s.good+s.bad-s.failed, s.failed
	return w
}

// times repeats a second.
func times(n int, s second) (list []second) {
	for range n {
		list = append(list, s)
	}
	return list
}

func concat(lists ...[]second) (all []second) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func steererOf(l log) *Steerer {
	return New(l, []gatewarden.SLO{{Name: "o", Series: gatewarden.Series{Service: "orders"}, Objective: 0.99}})
}

func stepFor(service string) *gatewarden.AdaptiveStep {
	return &gatewarden.AdaptiveStep{SLO: "o", Service: service, Floor: 5, Ceiling: 500}
}

func TestALimitBeginsAtWhatWasDoneJustBeforeItWentBad(t *testing.T) {
	for name, c := range map[string]struct {
		log     log
		service string
		value   int
	}{
		"an overload of a service that was half busy":    {log{"orders": concat(times(50, second{good: 50}), times(2, second{good: 100}), times(6, second{bad: 20}))}, "orders", 49},
		"a service that has lost half of what it had":    {log{"orders": concat(times(50, second{good: 90}), times(2, second{good: 50}), times(6, second{bad: 20}))}, "orders", 24},
		"a page for a little that is bad all the time":   {log{"orders": times(60, second{good: 95, bad: 5})}, "orders", 88},
		"nothing was ever good":                          {log{"orders": times(60, second{bad: 20})}, "orders", 5},
		"nothing at all was seen":                        {log{}, "orders", 5},
		"what is shed for it is measured by itself":      {log{"orders": concat(times(52, second{good: 50}), times(6, second{bad: 20})), "search": times(58, second{good: 30, bad: 10, failed: 10})}, "search", 15},
		"what came back in time, not what only came":     {log{"orders": concat(times(52, second{good: 50, bad: 3}), times(6, second{bad: 60}))}, "orders", 24},
		"trouble of a minute ago is not the one at hand": {log{"orders": concat(times(9, second{bad: 9}), times(70, second{good: 80}))}, "orders", 78},
	} {
		t.Run(name, func(t *testing.T) {
			limit, err := steererOf(c.log).Begin(stepFor(c.service), noon)
			if err != nil {
				t.Fatal(err)
			}
			if limit.Value != c.value || !limit.Since.Equal(noon) {
				t.Errorf("it begins at %d, %s, want %d", limit.Value, limit.Since, c.value)
			}
		})
	}
}

func TestALimitIsSteeredOnceItHasSettled(t *testing.T) {
	busy := log{"orders": times(60, second{good: 50, bad: 50, shed: 100})}
	s := steererOf(busy)
	limit, err := write(gatewarden.Limit{}, settled(), noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		since time.Duration
		moves bool
	}{
		"not before":       {5900 * time.Millisecond, false},
		"as soon as it is": {6 * time.Second, true},
		"later":            {time.Hour, true},
	} {
		limit.Since = noon.Add(-c.since)
		got := s.Steer(stepFor("orders"), limit, noon)
		if (got.To != nil) != c.moves || !got.Binds {
			t.Errorf("%s: %+v", name, got)
		}
		if got.To != nil && (got.To.Before != 100 || got.To.Value != 70 || !strings.Contains(got.Reason, `the limit of service="orders" goes from 100 to 70 requests a second: 50 % of `)) {
			t.Errorf("%s: it goes to %d, before %d: %s", name, got.To.Value, got.To.Before, got.Reason)
		}
	}
}

func TestALimitThatNothingCanSteerStays(t *testing.T) {
	s := steererOf(log{"orders": times(60, second{bad: 50, shed: 100})})
	limit, err := write(gatewarden.Limit{}, settled(), noon.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	unreadable := limit
	unreadable.Law = []byte(`"x"`)
	if got := s.Steer(stepFor("orders"), unreadable, noon); got.To != nil {
		t.Errorf("with a memory that cannot be read it goes to %d", got.To.Value)
	}
	s.SetSLOs(nil)
	if got := s.Steer(stepFor("orders"), limit, noon); got.To != nil || got.Binds {
		t.Errorf("without its SLO: %+v", got)
	}
	if _, err := s.Begin(stepFor("orders"), noon); gatewarden.ErrorCode(err) != gatewarden.NotFound {
		t.Errorf("beginning without its SLO: %v", err)
	}
}

func TestALimitBindsForAWhileAfterItKeptSomethingBack(t *testing.T) {
	limit, err := write(gatewarden.Limit{}, settled(), noon)
	if err != nil {
		t.Fatal(err)
	}
	for quiet, want := range map[int]bool{0: true, 10: true, 14: true, 15: false, 60: false} {
		l := log{"orders": concat(times(60, second{good: 10, shed: 100}), times(quiet, second{good: 10}))}
		if got := steererOf(l).Steer(stepFor("orders"), limit, noon).Binds; got != want {
			t.Errorf("%d s after the last refusal it binds: %v, want %v", quiet, got, want)
		}
	}
}
