package burnrate

import (
	"sort"
	"time"

	"github.com/gatewarden/gatewarden"
)

// ledger is a Counter over whole history: running totals at the seconds that have
// events, found by bisection.
type ledger struct {
	seconds []int64
	totals  []gatewarden.Count // up to and with that second
}

// add counts events of a second that is not before the last one.
func (l *ledger) add(at time.Time, good, bad uint64) {
	s := at.Unix()
	sum := gatewarden.Count{Good: good, Bad: bad}
	if n := len(l.seconds); n > 0 {
		sum = plus(l.totals[n-1], sum)
		if l.seconds[n-1] == s {
			l.totals[n-1] = sum
			return
		}
	}
	l.seconds = append(l.seconds, s)
	l.totals = append(l.totals, sum)
}

// fill adds the same counts for every second of [from, to).
func (l *ledger) fill(from, to time.Time, good, bad uint64) {
	for at := from; at.Before(to); at = at.Add(time.Second) {
		l.add(at, good, bad)
	}
}

func (l *ledger) before(s int64) gatewarden.Count {
	i := sort.Search(len(l.seconds), func(i int) bool { return l.seconds[i] >= s })
	if i == 0 {
		return gatewarden.Count{}
	}
	return l.totals[i-1]
}

func (l *ledger) Count(from, to time.Time) gatewarden.Count {
	a, b := l.before(from.Unix()), l.before(to.Unix())
	c := gatewarden.Count{Good: b.Good - a.Good, Bad: b.Bad - a.Bad}
	if len(l.seconds) > 0 { // watched since the first event
		c.Coverage = min(float64(to.Unix()-l.seconds[0])/to.Sub(from).Seconds(), 1)
	}
	return c
}

func (l *ledger) Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	until(l, to, lengths, counts)
}

func (l *ledger) Revise(from time.Time, counts []gatewarden.Count) int {
	return revise(l, from, counts)
}

func (l *ledger) Step(time.Time) (length, offset time.Duration) { return time.Second, 0 }

func (l *ledger) Late() uint32 { return 0 } // nothing comes late to it

// oneByOne is what can count one window after the other.
type oneByOne interface {
	Count(from, to time.Time) gatewarden.Count
}

func until(c oneByOne, to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	for i, length := range lengths {
		counts[i] = c.Count(to.Add(-length), to)
	}
}

func revise(c oneByOne, from time.Time, counts []gatewarden.Count) (first int) {
	first = len(counts)
	for i := range counts {
		now := c.Count(from, from.Add(time.Second))
		if now.Good != counts[i].Good || now.Bad != counts[i].Bad {
			first = min(first, i)
			counts[i] = now
		}
		from = from.Add(time.Second)
	}
	return first
}

func plus(a, b gatewarden.Count) gatewarden.Count {
	return gatewarden.Count{Good: a.Good + b.Good, Bad: a.Bad + b.Bad}
}

// promise is an SLO of 99.9 % over 30 days with the workbook's pairs.
func promise() gatewarden.SLO {
	window := 30 * 24 * time.Hour
	return gatewarden.SLO{
		Name: "orders-availability", Series: gatewarden.Series{Service: "orders"},
		Objective: 0.999, Window: gatewarden.BudgetWindow{Rolling: window},
		Pairs:  gatewarden.WorkbookPairs(window),
		Outage: &gatewarden.OutageLine{},
	}
}
