package stats

import "math"

// lanes is how many alternatives a Detector mixes.
const lanes = 4

// Sums is the state of a Detector: one Shiryaev-Roberts sum for each alternative.
// The zero value is no evidence. It is a value: a caller that sees counts revised
// goes back to the Sums before them.
type Sums [lanes]float64

// Detector finds out that a bad ratio has changed sides of a bound, without being
// told when to expect it. It is an e-detector (Shin, Ramdas and Rinaldo,
// "E-detectors: a nonparametric framework for sequential change detection", 2022;
// New England Journal of Statistics in Data Science 2, 2024): for each alternative
// q the sum
//
//	M_t = e_t (M_{t-1} + 1),   e_t = (q/r)^bad ((1-q)/(1-r))^good
//
// of the likelihood ratios of "q since second j" against the bound r, over all j up
// to t. While events are bad with probability at most r each (in [NewAbove]; at
// least r in [NewBelow]), e_t has a mean of at most 1, so M_t - t is a
// supermartingale, the mean over the alternatives too, and an alarm at M >= A comes
// after A seconds on average or more (theorem 2.4 there). Time is counted in
// seconds that held events.
//
// The evidence of one second is cut off at a cap: min(e, cap) has a mean of at most
// 1 as well, and no crowd of events within one second, however they depend on each
// other, is worth more than that.
type Detector struct {
	good, bad [lanes]float64 // log likelihood ratio of one event
	logCap    float64
	cap       float64
	alarm     float64
}

// aboveGrid and belowGrid place the alternatives between the bound and the end of
// its side: as a share of the way from r to 1, and as a share of r.
var (
	aboveGrid = [lanes]float64{0.125, 0.3, 0.6, 0.95}
	belowGrid = [lanes]float64{0.02, 0.15, 0.35, 0.6}
)

// NewAbove returns a Detector of a bad ratio above r, a ratio in (0, 1). runLength
// is how many seconds with events pass on average before a false alarm, at least;
// seconds is how many seconds of the strongest evidence make an alarm, at least 2:
// the cap follows from it.
func NewAbove(r, runLength float64, seconds int) Detector {
	var q [lanes]float64
	for i, g := range aboveGrid {
		q[i] = r + g*(1-r)
	}
	return newDetector(r, q, runLength, seconds)
}

// NewBelow returns a Detector of a bad ratio below r: the mirror image of NewAbove.
func NewBelow(r, runLength float64, seconds int) Detector {
	var q [lanes]float64
	for i, g := range belowGrid {
		q[i] = r * g
	}
	return newDetector(r, q, runLength, seconds)
}

// newDetector sets the cap so that one lane alone, at the cap for the given number
// of seconds, lifts the mean of the lanes to the alarm.
func newDetector(r float64, q [lanes]float64, runLength float64, seconds int) Detector {
	d := Detector{alarm: runLength}
	for i := range q {
		d.bad[i] = math.Log(q[i] / r)
		d.good[i] = math.Log((1 - q[i]) / (1 - r))
	}
	d.logCap = (math.Log(runLength) + math.Log(lanes)) / float64(seconds)
	d.cap = math.Exp(d.logCap)
	return d
}

// Next returns the sums after one more second with so many good and bad events. A
// second without events is no second: it changes nothing.
func (d *Detector) Next(s Sums, good, bad uint64) Sums {
	if good+bad == 0 {
		return s
	}
	for i := range s {
		s[i] = d.evidence(i, float64(good), float64(bad)) * (s[i] + 1)
		s[i] = min(s[i], d.alarm*d.cap) // keeps an alarm that lasts from overflowing
	}
	return s
}

// evidence returns the e-value of one second for one alternative.
func (d *Detector) evidence(lane int, good, bad float64) float64 {
	log := good*d.good[lane] + bad*d.bad[lane]
	if log >= d.logCap {
		return d.cap
	}
	return math.Exp(log)
}

// Mean returns the evidence of all alternatives together.
func (d *Detector) Mean(s Sums) float64 {
	var sum float64
	for _, m := range s {
		sum += m
	}
	return sum / lanes
}

// Log returns the natural logarithm of one plus the evidence: 0 without any, and
// LogAlarm at an alarm.
func (d *Detector) Log(s Sums) float64 { return math.Log1p(d.Mean(s)) }

// LogAlarm returns what Log must reach for an alarm.
func (d *Detector) LogAlarm() float64 { return math.Log1p(d.alarm) }

// Alarm reports whether the evidence suffices.
func (d *Detector) Alarm(s Sums) bool { return d.Mean(s) >= d.alarm }
