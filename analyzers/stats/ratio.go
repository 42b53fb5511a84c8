package stats

import "math"

// The null ratios of a RatioSequence: 60 from 0.05 to 190, evenly on a logarithmic
// scale, each tested on both sides against the alternatives of sequenceGrid.
const (
	sequenceNulls = 60
	sequenceLow   = 0.05
	sequenceHigh  = 190
)

var sequenceGrid = [3]float64{1.5, 4, 40}

// RatioSequence is a confidence sequence for an odds ratio, the canary's odds of a bad
// event over the baseline's: an interval that holds the ratio at all times together with
// the probability that it was made for (Howard, Ramdas, McAuliffe and Sekhon,
// time-uniform confidence sequences). It inverts share bets: for each null ratio one bet
// that the ratio is higher and one that it is lower; the interval is what neither has
// ruled out, and never grows again. Dependence beyond a block is not covered. A bet
// against a null on the far side of 1 is exact for events that are few among the requests.
type RatioSequence struct {
	Above [][len(sequenceGrid)]float64 `json:"above"` // log evidence that the ratio is above null i
	Below [][len(sequenceGrid)]float64 `json:"below"`
	Lo    int                          `json:"lo"` // the first null that is not ruled out from below
	Hi    int                          `json:"hi"` // the last one that is not ruled out from above
}

// NewRatioSequence returns a sequence that rules nothing out.
func NewRatioSequence() RatioSequence {
	return RatioSequence{
		Above: make([][len(sequenceGrid)]float64, sequenceNulls),
		Below: make([][len(sequenceGrid)]float64, sequenceNulls),
		Hi:    sequenceNulls - 1,
	}
}

// nullRatios are the null ratios.
var nullRatios = func() (ratios [sequenceNulls]float64) {
	for i := range ratios {
		ratios[i] = sequenceLow * math.Pow(sequenceHigh/sequenceLow, float64(i)/(sequenceNulls-1))
	}
	return ratios
}()

// Next takes a block of m bad events with the canary's share u, m positive. nullShare
// says what q0 is at an odds ratio (ShareNull, weighted over strata). miss is the
// probability that the interval may ever miss the ratio, shared by both sides. Nulls
// that are ruled out already cost nothing.
func (r *RatioSequence) Next(m, u, miss float64, nullShare func(ratio float64) float64) {
	need := math.Log(2/miss) + math.Log(float64(len(sequenceGrid)))
	lo, hi := r.Lo, r.Hi
	for i := r.Lo; i <= r.Hi; i++ {
		q0 := nullShare(nullRatios[i])
		for g, ratio := range sequenceGrid {
			r.Above[i][g] += ShareGain(q0, ratio, m, u)
			r.Below[i][g] += ShareGain(1-q0, ratio, m, 1-u)
		}
		if reaches(&r.Above[i], need) {
			lo = max(lo, i+1)
		}
		if reaches(&r.Below[i], need) {
			hi = min(hi, i-1)
		}
	}
	if lo <= hi { // otherwise the blocks contradict each other: the ratio has changed; keep what was known
		r.Lo, r.Hi = lo, hi
	}
}

// Bounds returns the interval. A bound that the nulls do not reach is 0 or +Inf.
func (r *RatioSequence) Bounds() (low, high float64) {
	low, high = 0, math.Inf(1)
	if r.Lo > 0 {
		low = nullRatios[r.Lo-1]
	}
	if r.Hi < sequenceNulls-1 {
		high = nullRatios[r.Hi+1]
	}
	return low, high
}

// Valid reports whether r is a state that a RatioSequence can be in.
func (r *RatioSequence) Valid() bool {
	ok := len(r.Above) == sequenceNulls && len(r.Below) == sequenceNulls && r.Lo >= 0 && r.Lo <= r.Hi && r.Hi < sequenceNulls
	for _, side := range [2][][len(sequenceGrid)]float64{r.Above, r.Below} {
		for i := range side {
			for _, x := range side[i] {
				ok = ok && math.Abs(x) < 1e12
			}
		}
	}
	return ok
}

// reaches reports whether the sum of numbers that are given by their logarithms is at least
// as large as one that is given so.
func reaches(logs *[len(sequenceGrid)]float64, need float64) bool {
	top := max(logs[0], logs[1], logs[2])
	if top < need-2 { // their sum is less than e^2 times the largest
		return false
	}
	var sum float64
	for _, x := range logs {
		sum += math.Exp(x - top)
	}
	return top+math.Log(sum) >= need
}
