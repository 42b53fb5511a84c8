package burnrate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// sliced is a promise of 99 % good minutes a day, a minute being good when 95 % of
// its requests are.
func sliced() gatewarden.SLO {
	slo := promise()
	slo.Objective, slo.Timeslice, slo.TimesliceObjective = 0.99, time.Minute, 0.95
	slo.Window.Rolling, slo.Pairs, slo.Outage = day, gatewarden.WorkbookPairs(day), nil
	return slo
}

func TestSlicesCountMinutes(t *testing.T) {
	l := &ledger{}
	minute := func(i int, good, bad uint64) {
		l.add(start.Add(time.Duration(i)*time.Minute+30*time.Second), good, bad)
	}
	for i := range 100 {
		minute(i, 1000, 0)
	}
	minute(100, 95, 5)         // just good
	minute(101, 949, 51)       // bad
	minute(102, 0, 1)          // bad, though it is one request
	minute(105, 100_000, 4000) // 103 and 104 are idle: no events. 4 % is good
	minute(106, 0, 1000)       // not over yet
	slo := sliced()
	slo.Pairs = nil
	a := New(slo, l, nil)
	v := a.Analyze(start.Add(106*time.Minute + 45*time.Second))
	if c := v.SLO.Count; c.Good != 102 || c.Bad != 2 {
		t.Errorf("%d good and %d bad slices, want 102 and 2", c.Good, c.Bad)
	}
	if want := "1.92 % of 104 slices of 1m were bad in the last 1d, overspending the budget of 1 % 1.92 times"; a.Explain(&v, gatewarden.SeverityNone) != want {
		t.Errorf("reason %q, want %q", a.Explain(&v, gatewarden.SeverityNone), want)
	}
}

// However late records arrive within the time that slices are judged again, and
// however irregular the looks, the count is that of all slices judged at once.
func TestSlicesAgreeWithCountingAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		slo := sliced()
		slo.Window.Rolling = 3 * time.Hour
		slo.Pairs = gatewarden.WorkbookPairs(slo.Window.Rolling)
		slo.Timeslice = time.Duration(rapid.SampledFrom([]int{10, 60, 90, 600}).Draw(t, "slice")) * time.Second
		w := &table3h{}
		kept := New(slo, w, nil)
		at := start
		for range rapid.IntRange(1, 12).Draw(t, "looks") {
			for range rng.IntN(30) {
				w.add(at.Add(-time.Duration(rng.IntN(60))*time.Second), rng.Uint64N(20), rng.Uint64N(2))
			}
			at = at.Add(time.Duration(1+rng.IntN(90)) * time.Second)
			got := kept.Analyze(at).SLO
			want := New(slo, w, nil).Analyze(at).SLO
			if got.Count != want.Count || got.Alerts[0].LongCount != want.Alerts[0].LongCount {
				t.Fatalf("%v: %+v, counted anew %+v", at.Sub(start), got.Count, want.Count)
			}
		}
	})
}

// table3h is a Counter that takes records in any order. Like the store it tells when one is
// older than an hour.
type table3h struct {
	cells [8 * 3600]gatewarden.Count
	late  uint32
	asked int // counts
}

func (w *table3h) Step(time.Time) (length, offset time.Duration) { return time.Second, 0 }

func (w *table3h) Late() uint32 { return w.late }

func (w *table3h) index(at time.Time) int64 { return at.Unix() - start.Unix() + 4*3600 }

func (w *table3h) add(at time.Time, good, bad uint64) {
	c := &w.cells[w.index(at)]
	c.Good += good
	c.Bad += bad
}

func (w *table3h) Count(from, to time.Time) gatewarden.Count {
	w.asked++
	var sum gatewarden.Count
	for i := max(w.index(from), 0); i < w.index(to); i++ {
		sum = plus(sum, w.cells[i])
	}
	return sum
}

func (w *table3h) Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	until(w, to, lengths, counts)
}

func (w *table3h) Revise(from time.Time, counts []gatewarden.Count) int {
	return revise(w, from, counts)
}

// A source that was away and catches up, or that fills in the past, changes slices that were
// judged long ago, and nothing is looked at anew while none does.
func TestSlicesSeeWhatIsFilledIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 3))
		slo := sliced()
		slo.Window.Rolling = 3 * time.Hour
		slo.Pairs = gatewarden.WorkbookPairs(slo.Window.Rolling)
		slo.Timeslice = time.Duration(rapid.SampledFrom([]int{10, 60, 90, 420, 4000}).Draw(t, "slice")) * time.Second
		w := &table3h{}
		kept := New(slo, w, nil)
		at := start
		pass := func(d time.Duration) {
			for end := at.Add(d); at.Before(end); at = at.Add(20 * time.Second) {
				w.add(at, 9, rng.Uint64N(2))
				kept.Analyze(at)
			}
		}
		pass(time.Duration(rapid.IntRange(60, 9000).Draw(t, "before")) * time.Second)
		for range rapid.IntRange(1, 3).Draw(t, "bursts") {
			age := time.Duration(rapid.IntRange(0, 10000).Draw(t, "age")) * time.Second
			for range 300 {
				w.add(at.Add(-age), 0, 1)
				if age >= time.Hour {
					w.late++
				}
				age += time.Second
			}
			pass(70 * time.Second)
		}
		got, want := kept.Analyze(at).SLO, New(slo, w, nil).Analyze(at).SLO
		if got.Count != want.Count || got.Alerts[0].LongCount != want.Alerts[0].LongCount {
			t.Fatalf("%v: %+v, counted anew %+v", at.Sub(start), got.Count, want.Count)
		}
		w.asked = 0
		if pass(60 * time.Second); slo.Timeslice == time.Minute && w.asked > 500 {
			t.Fatalf("%d counts in a minute in which nothing came late", w.asked)
		}
	})
}

// aging is a Counter that keeps history in coarser steps the older it is, as the store does, and
// answers as of a while ago.
type aging struct {
	lag    time.Duration
	totals []gatewarden.Count // up to each second since the start
	late   uint32
}

// add counts events of an instant; counts of the last hour are exact.
func (w *aging) add(at time.Time, good, bad uint64) {
	second := int(at.Sub(start) / time.Second)
	for len(w.totals) <= second {
		w.totals = append(w.totals, w.before(int64(len(w.totals))))
	}
	for i := second; i < len(w.totals); i++ {
		w.totals[i] = plus(w.totals[i], gatewarden.Count{Good: good, Bad: bad})
	}
	if len(w.totals)-second > 3600 {
		w.late++
	}
}

func (w *aging) before(second int64) gatewarden.Count {
	second = min(second, int64(len(w.totals)))
	if second <= 0 {
		return gatewarden.Count{}
	}
	return w.totals[second-1]
}

func (w *aging) Step(at time.Time) (length, offset time.Duration) {
	switch age := time.Duration(len(w.totals))*time.Second - at.Add(-w.lag).Sub(start); {
	case age <= time.Hour:
		return time.Second, w.lag
	case age <= 10*time.Hour:
		return 30 * time.Second, w.lag
	case age <= 20*time.Hour:
		return 5 * time.Minute, w.lag
	default:
		return time.Hour, w.lag
	}
}

func (w *aging) Late() uint32 { return w.late }

func (w *aging) Count(from, to time.Time) gatewarden.Count {
	round := func(at time.Time) int64 {
		step, _ := w.Step(at)
		return int64(at.Add(-w.lag).Truncate(step).Sub(start) / time.Second)
	}
	a, b := w.before(round(from)), w.before(round(to))
	return gatewarden.Count{Good: b.Good - a.Good, Bad: b.Bad - a.Bad}
}

func (w *aging) Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	until(w, to, lengths, counts)
}

func (w *aging) Revise(from time.Time, counts []gatewarden.Count) int { return revise(w, from, counts) }

// What comes late changes the slices of its hour. Those of other hours know better than the
// coarse steps do that history ages into, wherever those begin.
func TestOneLateEventChangesOneHour(t *testing.T) {
	for _, lag := range []time.Duration{0, 17 * time.Second, 45 * time.Second, 75 * time.Second} {
		for _, slice := range []time.Duration{time.Minute, 7 * time.Minute, 45 * time.Minute} {
			t.Run(fmt.Sprintf("slices of %s, %s behind", slice, lag), func(t *testing.T) {
				slo := sliced()
				slo.Timeslice, slo.Pairs = slice, nil
				w := &aging{lag: lag}
				a := New(slo, w, nil)
				rng := rand.New(rand.NewPCG(uint64(lag), uint64(slice)))
				at := start
				for ; at.Before(start.Add(25 * time.Hour)); at = at.Add(10 * time.Second) {
					good, bad := 50+rng.Uint64N(100), uint64(0)
					if at.Minute()/5 == 4 && at.Hour()%2 == 0 { // five minutes of outage every two hours
						good, bad = 0, good
					}
					w.add(at, good, bad)
					a.Analyze(at)
				}
				look := func() (good, bad uint64) {
					at = at.Add(checkEvery)
					w.add(at, 1, 0)
					c := a.Analyze(at).SLO.Count
					return c.Good, c.Bad
				}
				_, before := look()
				hour := at.Add(-3 * time.Hour).Truncate(2 * time.Hour).Add(time.Hour) // one without an outage
				w.add(hour.Add(30*time.Minute), 1, 0)
				if _, bad := look(); bad+1 < before || bad > before {
					t.Errorf("%d slices were bad, and after one good event that came late %d are", before, bad)
				}
				w.add(hour.Add(30*time.Minute), 0, 1_000_000)
				if _, bad := look(); bad == before || bad > before+3 {
					t.Errorf("%d slices were bad, and after an outage that came late %d are", before, bad)
				}
			})
		}
	}
}

// Bad minutes page once they have spent 2 % of the budget: 14.4 % of the 2m window
// of a day is a bad slice in its last two.
func TestSlicesPage(t *testing.T) {
	slo := sliced()
	s := newStory(t, slo, nil)
	s.run(2*time.Hour, 10, 0)
	s.want(gatewarden.Healthy)
	s.run(10*time.Minute, 5, 5)
	s.want(gatewarden.Breach, pageSev, ticketSev)
	s.run(time.Hour, 10, 0)
	if s.v.Fires(pageSev) {
		t.Errorf("still pages after an hour of good slices: %s", s.v.Reason)
	}
}
