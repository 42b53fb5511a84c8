package canary

import (
	"math"
	"time"
)

// trail remembers the evidence of the last minute, to say where it is heading.
type trail struct {
	Points []point `json:"points,omitempty"`
}

// point is the evidence after a second, as natural logarithms.
type point struct {
	Second int64   `json:"second"`
	Fail   float64 `json:"fail"`
	Pass   float64 `json:"pass"`
}

const (
	trailStep   = 5 // seconds between points
	trailPoints = 13
)

// add remembers every trailStep-th second.
func (t *trail) add(second int64, fail, pass float64) {
	if second%trailStep != 0 {
		return
	}
	if len(t.Points) == trailPoints {
		copy(t.Points, t.Points[1:])
		t.Points = t.Points[:trailPoints-1]
	}
	t.Points = append(t.Points, point{Second: second, Fail: fail, Pass: pass})
}

// expected says how long it takes until the evidence reaches need if it grows as it did
// within the last minute, 0 when that can't be said. It is an order of magnitude, not a
// promise.
func (t *trail) expected(need float64, pick func(point) float64) time.Duration {
	if len(t.Points) < 3 {
		return 0
	}
	first, last := t.Points[0], t.Points[len(t.Points)-1]
	slope := (pick(last) - pick(first)) / float64(last.Second-first.Second)
	seconds := (need - pick(last)) / slope
	if !(slope > 0 && seconds > 0 && seconds < 1e6) {
		return 0
	}
	return time.Duration(math.Ceil(seconds)) * time.Second
}
