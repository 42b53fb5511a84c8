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
	now func() time.Time

	mu      sync.Mutex
	waiting []parcel
	size    int
	sending time.Time // since when what is being written down has waited; zero: nothing is
	written uint64    // position of the newest in the log
}

// parcel is what is written down at once.
type parcel struct {
	message []byte    // some reports one after the other, with their lengths
	since   time.Time // when its first one was added
}

func newReports(ctx context.Context, s *state.State, now func() time.Time) (*reports, error) {
	log, err := s.Observed(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the log of what other guards saw of canaries: %w", err)
	}
	return &reports{log: log, now: now}, nil
}

// add puts a report on its way. When too much waits, the oldest go: a run that misses
// requests takes longer.
func (r *reports) add(report []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.waiting); n == 0 || len(r.waiting[n-1].message)+len(report) > reportSize {
		r.waiting = append(r.waiting, parcel{since: r.now()})
	}
	last := &r.waiting[len(r.waiting)-1]
	before := len(last.message)
	last.message = append(binary.AppendUvarint(last.message, uint64(len(report))), report...)
	r.size += len(last.message) - before
	for r.size > maxReports && len(r.waiting) > 1 {
		r.size -= len(r.waiting[0].message)
		r.waiting = r.waiting[1:]
	}
}

// progress returns how far they are.
func (r *reports) progress() progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	oldest := r.sending
	if oldest.IsZero() && len(r.waiting) > 0 {
		oldest = r.waiting[0].since
	}
	p := progress{Written: r.written}
	if !oldest.IsZero() {
		p.Waits = max(r.now().Sub(oldest), 0)
	}
	return p
}

// take takes the oldest parcel off.
func (r *reports) take() (p parcel, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return parcel{}, false
	}
	p = r.waiting[0]
	r.waiting, r.size, r.sending = r.waiting[1:], r.size-len(p.message), p.since
	return p, true
}

// sent notes what became of a parcel that was taken off: it is at a position of the log, or
// left out, or, with an error, waits again.
func (r *reports) sent(p parcel, at uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sending, r.written = time.Time{}, max(r.written, at)
	if err != nil {
		r.waiting, r.size = append([]parcel{p}, r.waiting...), r.size+len(p.message)
	}
}

// send writes down what is on its way. What will never be taken, as it is too large, is left
// out, and what comes after it does not wait for it: a run that misses requests takes longer.
func (r *reports) send(ctx context.Context, leftOut func(size int, why error)) error {
	for p, ok := r.take(); ok; p, ok = r.take() {
		at, err := r.log.Append(ctx, p.message)
		if gatewarden.ErrorCode(err) == gatewarden.Invalid {
			leftOut(len(p.message), err)
			err = nil
		}
		if r.sent(p, at, err); err != nil {
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
