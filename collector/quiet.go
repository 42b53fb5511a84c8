package collector

import (
	"sync"
	"time"
)

// Quiet keeps a message that hostile or broken input causes from flooding the log: it
// lets one through each ten seconds. The zero Quiet is ready.
type Quiet struct {
	mu   sync.Mutex
	last time.Time
	held int
}

const quietFor = 10 * time.Second

// Due reports whether a message may be logged, and how many were held back since the
// last one that was.
func (q *Quiet) Due(at time.Time) (due bool, held int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.last.IsZero() && at.Sub(q.last) < quietFor {
		q.held++
		return false, 0
	}
	held, q.held, q.last = q.held, 0, at
	return true, held
}
