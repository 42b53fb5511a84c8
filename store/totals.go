package store

import (
	"slices"

	"github.com/gatewarden/gatewarden"
)

// Totals is how many requests of a series were counted in all: since the guard first saw
// it, over restarts, also those that are too old to be asked for by their time. They only
// grow, but for what a crash took.
type Totals struct {
	Series  gatewarden.Series
	ByClass [shedKind]uint64 // as gatewarden.Tally has them
	Shed    uint64
}

// Totals returns the totals of those kept series that want chooses, in the order of
// their fields.
func (s *Store) Totals(want func(gatewarden.Series) bool) []Totals {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Totals
	for name, in := range s.book.series {
		if !want(name) {
			continue
		}
		t := Totals{Series: name}
		for k, c := range in.counts {
			switch {
			case c == nil:
			case k == shedKind:
				t.Shed = c.total
			default:
				t.ByClass[k] = c.total
			}
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Totals) int { return compareSeries(a.Series, b.Series) })
	return list
}
