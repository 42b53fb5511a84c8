package store

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// Requests returns how many requests of a series there were in [from, to), ends rounded
// down to the resolution there, those among them that were shed; and whether there ever
// was one.
func (s *Store) Requests(series gatewarden.Series, from, to time.Time) (n uint64, ever bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	in := s.book.series[series]
	if in == nil {
		return 0, false
	}
	for _, count := range in.between(s.cal.round(from.Unix()), s.cal.round(to.Unix())) {
		n += count
	}
	return n, in.last > 0
}
