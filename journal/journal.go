// Package journal keeps what was decided and done, in order and for good: the end
// of the data's way, and the source of truth after a crash. Every stage that
// decides appends gatewarden.Events to it; the API, the page and the command line
// read them.
package journal

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Config bounds a journal. The zero Config takes the defaults.
type Config struct {
	MaxAge   time.Duration // events older than this may be dropped; 90 days unless set
	MaxBytes int64         // beyond this the oldest may be dropped; 512 MiB unless set
	Memory   int           // how many of the newest events are kept in memory; 4096 unless set
	Replicas int           // how many servers hold the journal; 1 unless set

	Logger     *slog.Logger          // discarded when nil
	Registerer prometheus.Registerer // not registered when nil
}

func (c Config) withDefaults() Config {
	c.MaxAge = cmp.Or(c.MaxAge, 90*24*time.Hour)
	c.MaxBytes = cmp.Or(c.MaxBytes, 512<<20)
	c.Memory = cmp.Or(c.Memory, 4096)
	c.Replicas = cmp.Or(c.Replicas, 1)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Query selects events. Zero fields select all.
type Query struct {
	After uint64 // those after this position
	Type  gatewarden.EventType
	Name  string
	Limit int // the newest so many
}

func (q Query) selects(e *gatewarden.Event) bool {
	return e.Seq > q.After && (q.Type == "" || q.Type == e.Type) && (q.Name == "" || q.Name == e.Name)
}

// Journal is an append-only record of events. It is safe for concurrent use.
//
// Events share what they point to with everybody who reads them: an appended event
// is not changed any more.
type Journal struct {
	cfg     Config
	metrics *metrics
	log     *log // nil in memory

	writing sync.Mutex // held by the one append under way; taken before mu
	deposed atomic.Bool

	mu     sync.Mutex
	recent []gatewarden.Event // the newest, in order
	behind uint64             // the newest position that recent no longer holds
	last   uint64
	grown  chan struct{} // closed when recent grows
	open   ladders
}

// NewMemory returns a journal that lives and dies with the process, for replay and
// tests. It forgets nothing.
func NewMemory() *Journal {
	return newJournal(Config{})
}

// Open opens the journal that js holds, and creates it when there is none.
func Open(ctx context.Context, js jetstream.JetStream, cfg Config) (*Journal, error) {
	j := newJournal(cfg)
	log, err := openLog(ctx, js, j)
	if err != nil {
		return nil, err
	}
	j.log = log
	err = j.load(ctx)
	// A guard takes over when a server is lost, and then the servers must agree first.
	for tries := 1; err != nil && j.cfg.Replicas > 1 && tries < loadTries && sleep(ctx, openAgain); tries++ {
		err = j.load(ctx)
	}
	if err != nil {
		return nil, err
	}
	return j, nil
}

func newJournal(cfg Config) *Journal {
	return &Journal{
		cfg:     cfg.withDefaults(),
		metrics: newMetrics(cfg.Registerer),
		grown:   make(chan struct{}),
		open:    make(ladders),
	}
}

// load reads what Append would have kept in memory, had it been this process that
// appended it.
func (j *Journal) load(ctx context.Context) error {
	j.recent, j.open = nil, make(ladders)
	first, last, err := j.log.bounds(ctx)
	if err != nil {
		return err
	}
	for e, err := range j.log.read(ctx, 0, gatewarden.EventAction) {
		if err != nil {
			return err
		}
		j.open.see(&e)
	}
	memory := uint64(j.cfg.Memory)
	if last >= first+memory {
		first = last - memory + 1
	}
	j.behind = max(first, 1) - 1
	for e, err := range j.log.read(ctx, j.behind, "") {
		if err != nil {
			return err
		}
		j.recent = append(j.recent, e)
	}
	j.last = last
	return nil
}

// Append gives the event its place and returns it when it is durable. Errors: a
// conflict when another guard has written since, which means that this one has been
// deposed and its decision no longer counts; unavailable when the event could not
// be made durable now; invalid when it is none.
func (j *Journal) Append(ctx context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	e.Seq, e.At = 0, e.At.Round(0).UTC()
	data, err := encode(&e)
	if err != nil {
		return e, err
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.log == nil {
		e.Seq = j.Last() + 1
	} else if e.Seq, err = j.log.append(ctx, e.Type, data); err != nil {
		j.metrics.failures.WithLabelValues(string(gatewarden.ErrorCode(err))).Inc()
		if gatewarden.ErrorCode(err) == gatewarden.Conflict {
			j.deposed.Store(true)
		}
		return e, err
	}
	j.metrics.events.WithLabelValues(string(e.Type)).Inc()
	j.remember(e)
	return e, nil
}

// Deposed reports whether an append has found that another guard has written since: none
// will succeed any more.
func (j *Journal) Deposed() bool { return j.deposed.Load() }

// remember puts an event that is durable where readers find it.
func (j *Journal) remember(e gatewarden.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open.see(&e)
	j.last = e.Seq
	j.recent = append(j.recent, e)
	// Twice as many before the older half goes, so that an append costs O(1).
	if j.log != nil && len(j.recent) >= 2*j.cfg.Memory {
		cut := len(j.recent) - j.cfg.Memory
		j.behind = j.recent[cut-1].Seq
		j.recent = slices.Clone(j.recent[cut:])
	}
	close(j.grown)
	j.grown = make(chan struct{})
}

// Last returns the position of the newest event, 0 when there is none.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// after returns the events in memory after a position, the newest position that
// memory has lost, and a channel that is closed when there is more. The slice is
// only ever appended to beyond its length, so reading it needs no lock.
func (j *Journal) after(seq uint64) (events []gatewarden.Event, behind uint64, grown <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i, _ := slices.BinarySearchFunc(j.recent, seq+1, func(e gatewarden.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	return j.recent[i:len(j.recent):len(j.recent)], j.behind, j.grown
}

// Events returns what q selects, in order.
func (j *Journal) Events(ctx context.Context, q Query) ([]gatewarden.Event, error) {
	selected := make([]gatewarden.Event, 0)
	for e, err := range j.history(ctx, q) {
		if err != nil {
			return nil, err
		}
		selected = append(selected, e)
		// The oldest half goes as soon as it is too much, so that a query with a limit
		// needs memory for its limit, not for the journal.
		if q.Limit > 0 && len(selected) >= 2*q.Limit {
			selected = slices.Delete(selected, 0, len(selected)-q.Limit)
		}
	}
	if q.Limit > 0 && len(selected) > q.Limit {
		selected = selected[len(selected)-q.Limit:]
	}
	return selected, nil
}

// All yields every event of a type, in order; "" is all types.
func (j *Journal) All(ctx context.Context, t gatewarden.EventType) iter.Seq2[gatewarden.Event, error] {
	return j.history(ctx, Query{Type: t})
}

// After yields every event after a position that is there now, in order. Beyond what memory
// holds it reads the log as it goes: it needs no memory for the journal.
func (j *Journal) After(ctx context.Context, position uint64) iter.Seq2[gatewarden.Event, error] {
	return j.history(ctx, Query{After: position})
}

// history yields what q selects of what is there now, its limit left aside: from
// memory when that has enough of it, otherwise from the log.
func (j *Journal) history(ctx context.Context, q Query) iter.Seq2[gatewarden.Event, error] {
	return func(yield func(gatewarden.Event, error) bool) {
		recent, behind, _ := j.after(q.After)
		if q.After < behind && !enough(recent, q) {
			for e, err := range j.log.read(ctx, q.After, q.Type) {
				if err != nil {
					yield(e, err)
					return
				}
				if e.Seq > behind {
					break
				}
				if q.selects(&e) && !yield(e, nil) {
					return
				}
			}
		}
		for i := range recent {
			if q.selects(&recent[i]) && !yield(recent[i], nil) {
				return
			}
		}
	}
}

// enough reports whether the limit of q is met by events alone, which are newer
// than all others.
func enough(events []gatewarden.Event, q Query) bool {
	if q.Limit == 0 {
		return false
	}
	n := 0
	for i := range events {
		if q.selects(&events[i]) {
			n++
		}
	}
	return n >= q.Limit
}

// Trim drops events beyond the limits as of at, the oldest first, but never one of
// a ladder that has not ended nor one after it. It is called once in a while. What
// is in memory stays there.
func (j *Journal) Trim(ctx context.Context, at time.Time) error {
	if j.log == nil {
		return nil
	}
	// No append meanwhile: it could open a ladder.
	j.writing.Lock()
	defer j.writing.Unlock()
	keep, err := j.log.oldestWithin(ctx, at.Add(-j.cfg.MaxAge), j.cfg.MaxBytes)
	if err != nil {
		return err
	}
	j.mu.Lock()
	needed := j.open.oldest()
	j.mu.Unlock()
	return j.log.dropBefore(ctx, min(keep, needed))
}
