package canary

import "math"

// Trouble of the baseline itself. In an outage that hits both tracks the canary fails as
// often as the baseline, so it looks well within any ratio: such seconds are no evidence
// for passing. Fails need no such care, as their bets compare shares.
//
// Where bad events come in crowds, so many at once are nothing out of the ordinary: that
// one of the instances stalls now and then is how such a service is, and not an outage. To
// leave out the seconds in which an instance of the baseline stalled would leave in those
// in which the canary did.
const (
	troubleSeconds = 10
	troubleOdds    = 3 // times the odds of the long run
	troubleEvents  = 5 // and so many events above what chance makes of it
	troubleSigmas  = 4
	troubleLearn   = 60  // seconds with traffic before there is a long run
	troubleNormal  = 300 // trouble that lasts so many seconds is how things are now
)

// trouble watches one kind of bad event of the baseline.
type trouble struct {
	Ring    [troubleSeconds][2]uint64 `json:"ring"` // requests, events
	At      int                       `json:"at"`
	Long    [2]float64                `json:"long"`    // of quiet seconds
	Seconds int                       `json:"seconds"` // with traffic
	Lasting int                       `json:"lasting"` // seconds of trouble up to now
}

// add takes a second and reports whether the baseline is in trouble. crowd is how many
// events come at once in ordinary times, at least 1.
func (t *trouble) add(requests, events uint64, crowd float64) bool {
	t.Ring[t.At] = [2]uint64{requests, events}
	t.At = (t.At + 1) % troubleSeconds
	var n, x float64
	for _, s := range t.Ring {
		n += float64(s[0])
		x += float64(s[1])
	}
	p := 0.0
	if t.Long[0] > 0 {
		p = t.Long[1] / t.Long[0]
	}
	mean := n * p
	if requests > 0 {
		t.Seconds++
	}
	bad := t.Seconds > troubleLearn && x*(1-p) > troubleOdds*p*(n-x) && x > troubleEvents*crowd+mean+troubleSigmas*math.Sqrt(crowd*mean)
	if bad {
		if t.Lasting++; t.Lasting < troubleNormal {
			return true
		}
		t.Long = [2]float64{n, x}
	}
	t.Lasting = 0
	t.Long[0] += float64(requests)
	t.Long[1] += float64(events)
	return false
}
