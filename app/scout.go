package app

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/state"
	"github.com/gatewarden/gatewarden/store"
)

// scout sees the requests of canaries for the guard that keeps their runs, which is
// another one.
type scout struct {
	observer *gates.Observer
	reports  *reports
}

// add counts records in the store and reports what of them is a canary's.
func (s *scout) add(to *store.Store, records []gatewarden.Record, now time.Time) store.Added {
	seen := s.observer.Batch(now)
	added := to.Add(records, now, seen.Add)
	s.report(seen.Message())
	return added
}

// report puts a message of what was seen on its way; nil is none, and without a scout
// nobody keeps runs elsewhere.
func (s *scout) report(message []byte) {
	if s != nil && message != nil {
		s.reports.add(message)
	}
}

const (
	// maxReports bounds what waits in memory while the state cannot be written.
	maxReports = 16 << 20
	// reportSize is how long one message of several reports gets at most: less than what a NATS
	// takes unless it is told otherwise.
	reportSize = 512 << 10
)

// reports are on their way to the guard that leads.
type reports struct {
	log *state.Log

	mu      sync.Mutex
	waiting [][]byte // each some reports one after the other, with their lengths
	size    int
}

func newReports(ctx context.Context, s *state.State) (*reports, error) {
	log, err := s.Observed(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the log of what other guards saw of canaries: %w", err)
	}
	return &reports{log: log}, nil
}

// add puts a report on its way. When too much waits, the oldest go: a run that misses
// requests takes longer.
func (r *reports) add(report []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.waiting); n == 0 || len(r.waiting[n-1])+len(report) > reportSize {
		r.waiting = append(r.waiting, nil)
	}
	last := &r.waiting[len(r.waiting)-1]
	before := len(*last)
	*last = append(binary.AppendUvarint(*last, uint64(len(report))), report...)
	r.size += len(*last) - before
	for r.size > maxReports && len(r.waiting) > 1 {
		r.size -= len(r.waiting[0])
		r.waiting = r.waiting[1:]
	}
}

// take takes the oldest message off, nil when there is none.
func (r *reports) take() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return nil
	}
	message := r.waiting[0]
	r.waiting, r.size = r.waiting[1:], r.size-len(message)
	return message
}

// back puts a message back that could not be sent.
func (r *reports) back(message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting, r.size = append([][]byte{message}, r.waiting...), r.size+len(message)
}

// send writes down what is on its way. What will never be taken, as it is too large, is left
// out, and what comes after it does not wait for it: a run that misses requests takes longer.
func (r *reports) send(ctx context.Context, leftOut func(size int, why error)) error {
	for message := r.take(); message != nil; message = r.take() {
		_, err := r.log.Append(ctx, message)
		switch {
		case gatewarden.ErrorCode(err) == gatewarden.Invalid:
			leftOut(len(message), err)
		case err != nil:
			r.back(message)
			return fmt.Errorf("telling what was seen of canaries: %w", err)
		}
	}
	return nil
}

// split takes a message of reports apart.
func split(message []byte) (list [][]byte, err error) {
	for len(message) > 0 {
		size, n := binary.Uvarint(message)
		if n <= 0 || size > uint64(len(message)-n) {
			return list, gatewarden.Errorf(gatewarden.Invalid, "a message of reports is damaged after %d of them", len(list))
		}
		list = append(list, message[n:n+int(size)])
		message = message[n+int(size):]
	}
	return list, nil
}
