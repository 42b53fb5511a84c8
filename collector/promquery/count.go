package promquery

import (
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
)

// span is a row of steps of one width: the first begins at from.
type span struct {
	from  time.Time
	width time.Duration
	n     int
}

func (s span) end(i int) time.Time { return s.from.Add(time.Duration(i+1) * s.width) }
func (s span) to() time.Time       { return s.end(s.n - 1) }

// events are those of one step: how many, or why nobody can tell.
type events struct {
	n    float64
	lack lack
}

// lack is why a step has no number.
type lack uint8

const (
	nothing   lack = iota + 1 // no value at all
	noNumber                  // NaN, an infinity, or less than none
	fell                      // a computed counter that is lower than it was
	tooMany                   // more bad or good events than events
	beginning                 // a counter's first value, which there is nothing to compare with
)

// why explains a lack of one side of a query.
func (l lack) why(e *expression) error {
	switch l {
	case nothing:
		err := gatewarden.Errorf(gatewarden.Unavailable, "%s gives nothing", e.key)
		if e.key != totalKey {
			return err.WithHint("if that means none, write (...) or vector(0)")
		}
		if e.is == counter {
			return err
		}
		return err.WithHint("is there such a metric? a rate needs two scrapes in the window")
	case noNumber:
		return gatewarden.Errorf(gatewarden.Unavailable, "%s gives no number of events", e.key)
	case fell:
		return gatewarden.Errorf(gatewarden.Unavailable, "%s fell, so some process of it restarted or went", e.key).
			WithHint("rate(...[{{.window}}]) follows each process by itself")
	case tooMany:
		return gatewarden.Errorf(gatewarden.Unavailable, "%s gives more events than %s", e.key, totalKey).WithHint("both must count the same things")
	default:
		return gatewarden.Errorf(gatewarden.Unavailable, "%s has nothing before it to compare with", e.key)
	}
}

// grid returns where e must be evaluated for the steps of s. last is its value where they
// begin, NaN when that is not known: a counter needs it.
func (e *expression) grid(s span, last float64) grid {
	g := grid{from: s.end(0), to: s.to(), step: s.width}
	if e.is == counter && math.IsNaN(last) {
		g.from = s.from
	}
	return g
}

// count returns the events of each step, and the value where they end, NaN when there
// is none.
func (e *expression) count(l line, s span, window time.Duration, last float64) ([]events, float64) {
	list := make([]events, s.n)
	if e.is != counter {
		for i := range list {
			v, ok := l.points[s.end(i).Unix()]
			list[i] = e.windowed(v, ok, s.width, max(window, s.width))
		}
		return list, math.NaN()
	}
	if v, ok := l.points[s.from.Unix()]; ok && math.IsNaN(last) {
		last = v
	}
	for i := range list {
		v, ok := l.points[s.end(i).Unix()]
		list[i] = grown(last, v, ok, l.bare)
		if !ok || !isCount(v) {
			v = math.NaN()
		}
		last = v
	}
	return list, last
}

func (e *expression) windowed(v float64, ok bool, step, window time.Duration) events {
	switch {
	case !ok:
		return events{lack: nothing}
	case !isCount(v):
		return events{lack: noNumber}
	default:
		return events{n: e.events(v, step, window)}
	}
}

// grown returns by how much a counter grew from one value to the next.
func grown(before, now float64, ok, bare bool) events {
	switch {
	case !ok:
		return events{lack: nothing}
	case !isCount(now):
		return events{lack: noNumber}
	case math.IsNaN(before):
		return events{lack: beginning}
	case now >= before:
		return events{n: now - before}
	case bare:
		return events{n: now} // it restarted, and began at 0
	default:
		return events{lack: fell}
	}
}

// maxEvents bounds what a step may have, so that nothing overflows.
const maxEvents = 1e12

func isCount(v float64) bool { return v >= 0 && !math.IsInf(v, 1) } // NaN is not

// outcome is what a step comes to: good and bad events, or which side lacks what.
type outcome struct {
	good, bad float64
	err       error
}

// judge puts both sides of the query together.
func (q *query) judge(total, other events) outcome {
	switch {
	case total.lack != 0:
		return outcome{err: total.lack.why(&q.total)}
	case total.n > maxEvents:
		return outcome{err: noNumber.why(&q.total)}
	case total.n == 0 && other.lack != 0:
		return outcome{} // an idle step has nothing that could be missing
	case other.lack != 0:
		return outcome{err: other.lack.why(&q.other)}
	case other.n > total.n*(1+slack)+1:
		return outcome{err: tooMany.why(&q.other)}
	}
	part := min(other.n, total.n)
	if q.good {
		return outcome{good: part, bad: total.n - part}
	}
	return outcome{good: total.n - part, bad: part}
}

// slack is by how much one side may exceed the other, because rates are extrapolated.
const slack = 0.01
