package burnrate

import (
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// The outage line. Times are in seconds of event time.
const (
	// lateSeconds is how long after its second a record may arrive, as Kong gathers
	// them for up to a second before it sends them. What comes later than that is too
	// old to say what happens now.
	lateSeconds = 15
	// aheadSeconds is how far the clock of a Kong may be ahead.
	aheadSeconds = 1
	// openSeconds is how many seconds are judged again at each tick, the present one
	// among them.
	openSeconds = lateSeconds + 1 + aheadSeconds
	// gateSeconds: the line fires only if the bad ratio over this long is above it.
	gateSeconds = 5
	// readSeconds is how many seconds are read at each tick: the open ones, and before
	// them what the gate needs when the oldest of them has the newest events.
	readSeconds = openSeconds + gateSeconds
	// forgetSeconds: after this long without an event what came before says nothing
	// about now.
	forgetSeconds = 60

	// raiseRunLength is the mean number of seconds between two false alarms of a
	// service whose bad ratio is just at the line: 30.44 days.
	raiseRunLength = 2.63e6
	// raiseSeconds is how many seconds must bring the strongest evidence: one crowd
	// of errors in one second is no outage, whatever its size.
	raiseSeconds = 2
	// clearRunLength is the mean number of seconds until a breach is wrongly taken
	// as over when the bad ratio stays just at the line; well above it, it is never.
	clearRunLength = 3600
	// clearSeconds is how many seconds with events it takes at least to clear.
	clearSeconds = 5
)

// The default of the line's ratio.
const (
	defaultRatio  = 0.10
	budgetsRatio  = 50   // times the error budget, if that is more
	greatestRatio = 0.90 // so that there is something above it to detect
)

// outageRatio returns the bad ratio of requests that must not be exceeded.
func outageRatio(slo *gatewarden.SLO) float64 {
	ratio := slo.Outage.Ratio
	if ratio <= 0 {
		ratio = max(defaultRatio, budgetsRatio*slo.ErrorBudget())
		if slo.Timeslice > 0 {
			ratio = max(ratio, 1-slo.TimesliceObjective) // what a good slice may have is no outage
		}
	}
	return min(ratio, greatestRatio)
}

// outage finds, within seconds, that the bad ratio has gone above the line, and
// that it is below it again.
//
// Its evidence is a stats.Detector over one-second cells: NewAbove while it is
// quiet, NewBelow while it fires. The newest cells are read again at each tick and
// the sums recomputed from the first one that is still open, so a cell counts with
// what has arrived of it and is corrected by what arrives later. Evidence is
// multiplied request by request in the order of arrival, which keeps its mean at
// most 1 (the cap is a minimum with a constant, which keeps it as well).
//
// Besides, it fires only when the bad ratio of the last gateSeconds is above the
// line. The newest second has only begun, so the bad requests of the newest five
// cells are compared with all requests of the newest six: five seconds and the part
// that has arrived hold more requests than any five seconds in them. Errors that
// stay at or under the ratio over any five seconds therefore never fire, however
// they come; this presumes that good and bad requests arrive alike.
//
// It never fires and never clears by silence.
type outage struct {
	ratio    float64
	requests Counter

	firing bool
	newest int64                         // the newest open second, Unix; 0 before the first tick
	stale  int64                         // from this second on, runs no longer hold
	from   int64                         // evidence counts from this second on
	counts [readSeconds]gatewarden.Count // of the newest seconds, the oldest first
	base   run                           // up to the second before the oldest open one
	runs   [openSeconds]run              // up to and with each open second, by second modulo openSeconds
	raise  stats.Detector
	clear  stats.Detector
}

// run is the evidence up to some second.
type run struct {
	sums    stats.Sums
	seconds int   // with events
	last    int64 // the last second with events
}

func newOutage(ratio float64, requests Counter) *outage {
	return &outage{
		ratio: ratio, requests: requests,
		raise: stats.NewAbove(ratio, raiseRunLength, raiseSeconds),
		clear: stats.NewBelow(ratio, clearRunLength, clearSeconds),
	}
}

// judge takes a step, and says how the line stands. While it fires, the evidence in the
// answer is that for its being over.
func (o *outage) judge(at time.Time, blind bool) gatewarden.AlertEvidence {
	r := o.step(at, blind)
	return gatewarden.AlertEvidence{
		Severity: gatewarden.SeverityOutage, Firing: o.firing, Ratio: o.ratio,
		Short: gatewarden.Duration(gateSeconds * time.Second), ShortCount: o.gate(gateSeconds),
		LogEvidence: o.detector().Log(r.sums),
	}
}

// step takes in what has arrived by the given instant, and returns the evidence that
// decided. When blind it gathers evidence and changes nothing.
func (o *outage) step(at time.Time, blind bool) run {
	o.advance(at.Unix() + aheadSeconds)
	o.read()
	r := o.evidence()
	if !blind && o.turns(r) {
		o.turn(!o.firing, o.lastActive()+1)
	}
	return r
}

// turn begins to gather evidence for the other side, from the given second on.
func (o *outage) turn(firing bool, from int64) {
	o.firing, o.from = firing, from
	o.base, o.stale = run{}, o.oldest()
}

// resume lets the line fire as it did before a restart.
func (o *outage) resume() { o.turn(true, 0) }

// fresh reports whether there is any event to judge by.
func (o *outage) fresh() bool { return o.lastActive() > 0 }

// turns reports whether the evidence suffices to fire, or to clear.
func (o *outage) turns(r run) bool {
	if !o.detector().Alarm(r.sums) {
		return false
	}
	if !o.fresh() {
		return false
	}
	short, long := o.gate(gateSeconds), o.gate(gateSeconds+1)
	if o.firing {
		return r.seconds >= clearSeconds && float64(long.Bad) <= o.ratio*float64(short.Total())
	}
	return float64(short.Bad) > o.ratio*float64(long.Total())
}

func (o *outage) detector() *stats.Detector {
	if o.firing {
		return &o.clear
	}
	return &o.raise
}

// evidence returns the evidence up to the newest cell.
func (o *outage) evidence() run {
	r := o.base
	if o.stale > o.oldest() {
		r = o.runs[index(o.stale-1)]
	}
	for s := max(o.stale, o.oldest()); s <= o.newest; s++ {
		r = o.next(r, s)
		o.runs[index(s)] = r
	}
	o.stale = o.newest + 1
	return r
}

// next adds the evidence of the open second s to r.
func (o *outage) next(r run, s int64) run {
	c := o.count(s)
	if s < o.from || c.Total() == 0 {
		return r
	}
	if s-r.last > forgetSeconds {
		r.sums = stats.Sums{}
	}
	r.sums = o.detector().Next(r.sums, c.Good, c.Bad)
	r.seconds++
	r.last = s
	return r
}

// advance opens the seconds up to newest and closes the oldest ones.
func (o *outage) advance(newest int64) {
	d := newest - o.newest
	switch {
	case d >= openSeconds || d <= -openSeconds: // the first tick, a long pause, a clock set back
		o.newest, o.counts = newest, [readSeconds]gatewarden.Count{}
		o.turn(o.firing, 0)
	case d > 0:
		o.evidence() // of what is closed, for the last time
		o.base = o.runs[index(o.oldest()+d-1)]
		o.newest = newest
		copy(o.counts[:], o.counts[d:])
		clear(o.counts[readSeconds-d:])
	}
}

// read reads the newest seconds again. What changes before the open ones is too late for
// the evidence.
func (o *outage) read() {
	oldest := o.newest - readSeconds + 1
	if first := o.requests.Revise(time.Unix(oldest, 0), o.counts[:]); first < readSeconds {
		o.stale = min(o.stale, max(oldest+int64(first), o.oldest()))
	}
}

// oldest returns the oldest open second.
func (o *outage) oldest() int64 { return o.newest - openSeconds + 1 }

// count returns what was read of a second, one of the readSeconds newest.
func (o *outage) count(s int64) *gatewarden.Count { return &o.counts[s-o.newest+readSeconds-1] }

// index returns where second s is in runs.
func index(s int64) int64 { return ((s % openSeconds) + openSeconds) % openSeconds }

// lastActive returns the newest open second with events, 0 when there is none.
func (o *outage) lastActive() int64 {
	for s := o.newest; s >= o.oldest(); s-- {
		if o.count(s).Total() > 0 {
			return s
		}
	}
	return 0
}

// gate counts the last n seconds up to the newest one with events.
func (o *outage) gate(n int64) (sum gatewarden.Count) {
	last := o.lastActive()
	for s := last; last > 0 && s > last-n; s-- {
		c := o.count(s)
		sum.Good, sum.Bad = sum.Good+c.Good, sum.Bad+c.Bad
	}
	return sum
}
