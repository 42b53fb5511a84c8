package app

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Who is silent is judged by the guard that leads, and a source may bring its records to
// another one: each tells how its sources do.

// sourceSight is how a source does at a guard. Ages instead of instants: the clocks of two
// machines differ.
type sourceSight struct {
	Records uint64           `json:"records"`
	Age     time.Duration    `json:"age"`              // nanoseconds since the last batch that told of the present
	Astray  string           `json:"astray,omitempty"` // what is wrong with those that came since
	Lag     time.Duration    `json:"lag"`              // nanoseconds
	Brings  []string         `json:"brings,omitempty"`
	Came    map[int64]uint64 `json:"came,omitempty"` // of late, by the second since 1970 of their completion
	counts
}

// elsewhere is what another guard took of a source.
type elsewhere struct {
	astray  string // what is wrong with what came last, if it told nothing of the present
	records uint64
	came    deliveries
	heard   time.Time
	counts
}

// never is the age of what never came.
const never = time.Duration(math.MaxInt64)

// cameTold is how many seconds of deliveries a guard tells another.
const cameTold = 10

// tellDeliveries makes deliveries be counted for whoever leads.
func (in *intake) tellDeliveries() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, h := range in.sources {
		h.came = &deliveries{}
	}
}

// sights returns how the sources here do, those that have delivered anything, if only what
// could not be used.
func (in *intake) sights(now time.Time) map[string]sourceSight {
	in.mu.Lock()
	defer in.mu.Unlock()
	sights := map[string]sourceSight{}
	for name, h := range in.sources {
		c := h.counted(now, in.started)
		if h.records == 0 && c == (counts{}) {
			continue
		}
		s := sourceSight{Records: h.records, Age: never, Astray: h.astrayHere(now, in.blindAfter), Lag: h.lag, Brings: slices.Sorted(maps.Keys(h.brings)), counts: c}
		if !h.arrived.IsZero() {
			s.Age = now.Sub(h.arrived)
		}
		if h.came != nil {
			s.Came = h.came.recent(cameTold)
		}
		sights[name] = s
	}
	return sights
}

// heed takes how the sources of another guard do: what a source brings there it brings.
func (in *intake) heed(guard string, sights map[string]sourceSight, now time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for name, s := range sights {
		h, ok := in.sources[name]
		if !ok {
			continue // of a configuration that is not the one here
		}
		if h.elsewhere == nil {
			h.elsewhere = map[string]*elsewhere{}
		}
		e := h.elsewhere[guard]
		if e == nil {
			e = &elsewhere{}
			h.elsewhere[guard] = e
		}
		e.records, e.counts, e.heard = s.Records, s.counts, now
		for _, second := range slices.Sorted(maps.Keys(s.Came)) {
			if second >= 0 && second <= now.Unix()+cameTold && e.came.reach(second) {
				e.came.ring[second%int64(len(e.came.ring))] = s.Came[second]
			}
		}
		if e.astray = ""; s.Astray != "" {
			e.astray = "at " + guard + ": " + s.Astray
		}
		// What arrived in the future did so before the clock here was set back.
		if at := now.Add(-max(s.Age, 0)); s.Age < never && (at.After(h.arrived) || h.arrived.After(now)) {
			h.arrived, h.lag = at, s.Lag
		}
		for _, service := range s.Brings {
			if h.brings == nil {
				h.brings = map[string]bool{}
			}
			if len(h.brings) < maxBrought {
				h.brings[service] = true
			}
		}
	}
}

// delivered returns how many records a source brought, here and elsewhere. The intake's mu
// is held.
func (h *sourceHealth) delivered() uint64 {
	n := h.records
	for _, e := range h.elsewhere {
		n += e.records
	}
	return n
}

// cameBetween returns how many of them completed in [from, to).
func (h *sourceHealth) cameBetween(from, to time.Time) uint64 {
	n := h.came.between(from, to)
	for _, e := range h.elsewhere {
		n += e.came.between(from, to)
	}
	return n
}
