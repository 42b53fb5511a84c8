package adaptive

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// second is what a service did in one second: of what was bad, some failed, some was left by
// its clients, and the rest came late. It took so many milliseconds.
type second struct{ good, bad, failed, left, shed, took uint64 }

// log is what services did in the seconds up to noon, the newest last.
type log map[string][]second

func (l log) sum(service string, from, to time.Time) (sum second) {
	list := l[service]
	for i, s := range list {
		at := noon.Add(-time.Duration(len(list)-i) * time.Second)
		if !at.Before(from) && at.Before(to) {
			sum.good, sum.bad, sum.failed, sum.left = sum.good+s.good, sum.bad+s.bad, sum.failed+s.failed, sum.left+s.left
			sum.shed, sum.took = sum.shed+s.shed, s.took
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
	w.ByClass[2], w.ByClass[4], w.ByClass[5] = s.good+s.bad-s.failed-s.left, s.left, s.failed
	if s.took > 0 {
		w.Latency.Add(time.Duration(s.took)*time.Millisecond, s.good+s.bad)
	}
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
	gone := times(6, second{bad: 200, left: 200}) // nobody waits for an answer any more
	for name, c := range map[string]struct {
		log          log
		service      string
		known, value int // of the service; and where the limit begins
	}{
		"an overload of a service that was half busy":      {log{"orders": concat(times(50, second{good: 50}), times(2, second{good: 100}), gone)}, "orders", 97, 15},
		"a service that has lost half of what it had":      {log{"orders": concat(times(50, second{good: 90}), times(2, second{good: 50}), gone)}, "orders", 49, 7},
		"in the first of two seconds it was not full":      {log{"orders": concat(times(50, second{good: 50}), times(1, second{good: 100}), gone)}, "orders", 90, 13},
		"late answers say what it does as well":            {log{"orders": concat(times(50, second{good: 50}), times(2, second{good: 10, bad: 90}), gone)}, "orders", 97, 15},
		"those that it refuses are none that it cannot do": {log{"orders": concat(times(50, second{good: 50}), times(6, second{good: 100, bad: 200, failed: 200}))}, "orders", 97, 97},
		"a page for a little that is bad all the time":     {log{"orders": times(60, second{good: 95, bad: 5})}, "orders", 92, 78},
		"nothing was ever answered":                        {log{"orders": times(60, second{bad: 20, failed: 20})}, "orders", 5, 5},
		"nothing at all was seen":                          {log{}, "orders", 5, 5},
		"what is shed for it is measured by itself":        {log{"orders": concat(times(52, second{good: 50}), gone), "search": times(58, second{good: 30, bad: 10, failed: 10})}, "search", 29, 15},
		"one bad request of a quiet minute is no trouble":  {log{"orders": concat(times(9, second{good: 1, bad: 1}), times(40, second{good: 2}), times(2, second{good: 100}), times(2, second{bad: 200, left: 200}))}, "orders", 97, 15},
		"trouble of a minute ago is not the one at hand":   {log{"orders": concat(times(9, second{bad: 9}), times(70, second{good: 80}))}, "orders", 78, 78},
	} {
		t.Run(name, func(t *testing.T) {
			limit, err := steererOf(c.log).Begin(stepFor(c.service), noon)
			if err != nil {
				t.Fatal(err)
			}
			p, err := read(limit)
			if err != nil {
				t.Fatal(err)
			}
			if known := int(math.Round(p.Known)); known != c.known || limit.Value != c.value || !limit.Since.Equal(noon) {
				t.Errorf("it begins at %d of %d, %s, want %d of %d", limit.Value, known, limit.Since, c.value, c.known)
			}
		})
	}
}

func TestALimitGoesBackAsSoonAsTheQueueHasDrained(t *testing.T) {
	full, drain := second{bad: 100, left: 100, shed: 100, took: 2000}, second{good: 15, shed: 185, took: 100}
	for name, c := range map[string]struct {
		log   []second
		goes  bool
		usual time.Duration
	}{
		"not while clients leave":                    {times(5, full), false, 0},
		"as soon as a whole second is well":          {concat(times(2, full), times(3, drain)), true, 100 * time.Millisecond},
		"not in the second that is not whole yet":    {concat(times(3, full), times(2, drain)), false, 0},
		"not while the limit does not show":          {concat(times(2, full), times(3, second{good: 100, shed: 100, took: 100})), false, 0},
		"nor while it keeps nothing back":            {concat(times(2, full), times(3, second{good: 15, took: 100})), false, 0},
		"not while a queue stands":                   {concat(times(2, full), times(3, second{good: 15, shed: 185, took: 500})), false, 100 * time.Millisecond},
		"nor on too few events":                      {concat(times(3, full), times(2, second{good: 4, shed: 196, took: 100})), false, 0},
		"few a second say something in some of them": {concat(times(1, full), times(5, second{good: 4, shed: 196, took: 100})), true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := place{limit: 15, memory: memory{Known: 97, Best: 100, Cut: true, Usual: c.usual, Changes: bucket, Filled: noon}}
			limit, err := write(gatewarden.Limit{}, p, noon.Add(-5*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			got := steererOf(log{"orders": c.log}).Steer(stepFor("orders"), limit, noon)
			if (got.To != nil) != c.goes || got.To != nil && got.To.Value != 97 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What comes back is looked at from when on a limit is in force.
func TestTheFlowUnderALimitBeginsWhenItIsInForce(t *testing.T) {
	before, under := second{good: 15, shed: 200, took: 100}, second{good: 97, shed: 100, took: 500}
	for name, c := range map[string]struct {
		log     []second
		nodes   int
		before  int
		seconds int
	}{
		"as soon as it shows":                    {concat(times(2, before), times(8, under)), 1, 15, 5},
		"when it shows late":                     {concat(times(3, before), times(7, under)), 1, 15, 4},
		"when Settle is over, of a small change": {concat(times(2, before), times(8, under)), 1, 90, 3},
		"or with several nodes":                  {concat(times(2, before), times(8, under)), 2, 15, 3},
		"when it never shows":                    {times(10, before), 1, 15, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s, step := steererOf(log{"orders": c.log}), stepFor("orders")
			step.Nodes = c.nodes
			slo, _ := s.slo(step)
			p := place{limit: 97, before: float64(c.before), since: noon.Add(-10 * time.Second), memory: memory{Since: noon.Add(-10 * time.Second)}}
			f := s.flow(step, slo, &p, noon.Add(-2*time.Second))
			if f.seconds != c.seconds {
				t.Errorf("%d s, want %d", f.seconds, c.seconds)
			}
			if name == "as soon as it shows" && (math.Abs(f.rate-97) > 1e-9 || f.last != gatewarden.NoLatency && f.last < 490*time.Millisecond) {
				t.Errorf("%+v", f)
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
		if got.To != nil && (got.To.Before != 100 || got.To.Value != 50 || !strings.Contains(got.Reason, `the limit of service="orders" goes from 100 to 50 requests a second: 50 % of `)) {
			t.Errorf("%s: it goes to %d, before %d: %s", name, got.To.Value, got.To.Before, got.Reason)
		}
	}
}

// TestAClockThatIsSetBackDoesNotFreezeALimit lets the limit have been decided on in what is the
// future by now; half of the requests go wrong.
func TestAClockThatIsSetBackDoesNotFreezeALimit(t *testing.T) {
	s := steererOf(log{"orders": times(60, second{good: 50, bad: 50, shed: 100})})
	for name, p := range map[string]place{
		"of a limit that was well":       settled(),
		"of one that was lowered":        {limit: 100, before: 200, memory: memory{Known: 150, Best: 200, Cut: true, Changes: bucket, Filled: noon}},
		"of one at which a queue drains": {limit: 15, before: 30, memory: memory{Known: 100, Best: 100, Cut: true, Changes: bucket, Filled: noon}},
	} {
		limit, err := write(gatewarden.Limit{Value: int(p.before)}, p, noon.Add(10*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		got := s.Steer(stepFor("orders"), limit, noon)
		if got.To == nil || got.To.Value >= limit.Value || !got.To.Since.Equal(noon) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestAClockThatIsSetBackByLessThanASettleIsWaitedFor lets a limit begin, and the clock step back
// right after: what is seen then are requests from before it.
func TestAClockThatIsSetBackByLessThanASettleIsWaitedFor(t *testing.T) {
	s := steererOf(log{"orders": times(60, second{good: 50, bad: 50, shed: 100})})
	step := stepFor("orders")
	for _, ahead := range []time.Duration{time.Millisecond, 20 * time.Millisecond, defaultSettle} {
		limit, err := s.Begin(step, noon.Add(ahead))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Steer(step, limit, noon); got.To != nil {
			t.Errorf("%s back: it goes from %d to %d", ahead, limit.Value, got.To.Value)
		}
	}
	limit, err := s.Begin(step, noon.Add(defaultSettle+time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Steer(step, limit, noon); got.To == nil || got.To.Value >= limit.Value {
		t.Errorf("more than that: it stays at %d: %+v", limit.Value, got)
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
