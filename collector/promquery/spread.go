package promquery

import (
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
)

// The statuses that stand for good and bad events, as gatewarden.SLI.Query has them.
const (
	statusGood = 200
	statusBad  = 500
)

// remainder is what is left of events that are no whole number: rates are not. It is
// carried on to the next step, so that no event is lost in the long run.
type remainder struct{ Good, Bad float64 }

// take adds events and returns the whole ones.
func take(rest *float64, n float64) uint64 {
	sum := *rest + n
	whole := math.Floor(sum + 1e-6) // ten times a tenth is one event
	*rest = max(sum-whole, 0)
	return uint64(whole)
}

// spread appends n events of a status to list, evenly over the slots of a step: when they
// happened within it nobody knows.
func spread(list []gatewarden.Record, of gatewarden.Record, n uint64, from time.Time, width, slot time.Duration) []gatewarden.Record {
	slots := uint64(max(width/max(slot, time.Second), 1))
	before := uint64(0)
	for i := range slots {
		upTo := (i+1)*(n/slots) + (i+1)*(n%slots)/slots
		for left := upTo - before; left > 0; {
			of.Weight = uint32(min(left, math.MaxUint32))
			of.At = from.Add(width / time.Duration(slots) * time.Duration(i))
			list = append(list, of)
			left -= uint64(of.Weight)
		}
		before = upTo
	}
	return list
}
