package app

import (
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/store"
)

// scout sees the requests of canaries for the guard that keeps their runs, which is
// another one.
type scout struct {
	look func(at time.Time) look
	tell func(message []byte) // to that guard; it never waits
}

// look is a batch of records as a scout sees it.
type look interface {
	Add(r *gatewarden.Record)
	Message() []byte // nil when there was nothing to see
}

// add counts records in the store and tells what of them is a canary's.
func (s *scout) add(to *store.Store, records []gatewarden.Record, now time.Time) store.Added {
	seen := s.look(now)
	added := to.Add(records, now, seen.Add)
	if message := seen.Message(); message != nil {
		s.tell(message)
	}
	return added
}
