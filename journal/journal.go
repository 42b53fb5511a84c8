// Package journal keeps what was decided and done, in order and for good: the end
// of the data's way, and the source of truth after a crash. Every stage that
// decides appends gatewarden.Events to it; the API, the page and the command line
// read them.
package journal

import (
	"context"
	"errors"
	"iter"
	"log/slog"
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

	Logger     *slog.Logger          // discarded when nil
	Registerer prometheus.Registerer // not registered when nil
}

// Query selects events. Zero fields select all.
type Query struct {
	After uint64 // those after this position
	Type  gatewarden.EventType
	Name  string
	Limit int // the newest so many
}

// Journal is an append-only record of events. It is safe for concurrent use.
type Journal struct{}

var errMissing = errors.New("not there yet")

// Open opens the journal that js holds, and creates it when there is none.
func Open(ctx context.Context, js jetstream.JetStream, cfg Config) (*Journal, error) {
	return nil, errMissing
}

// NewMemory returns a journal that lives and dies with the process, for replay and
// tests. It forgets nothing.
func NewMemory() *Journal { return &Journal{} }

// Append gives the event its place and returns it when it is durable. A conflict
// means that another guard has written since: this one has been deposed.
func (j *Journal) Append(ctx context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	return e, errMissing
}

// Events returns what q selects, in order.
func (j *Journal) Events(ctx context.Context, q Query) ([]gatewarden.Event, error) {
	return nil, errMissing
}

// All yields every event of a type, in order; "" is all types.
func (j *Journal) All(ctx context.Context, t gatewarden.EventType) iter.Seq2[gatewarden.Event, error] {
	return nil
}

// Follow yields what q selects, first what is there, then what is appended, until
// ctx ends. It never holds up a writer: a reader that falls too far behind gets an
// error (unavailable) that says from where to go on, and the sequence ends.
func (j *Journal) Follow(ctx context.Context, q Query) iter.Seq2[gatewarden.Event, error] {
	return nil
}

// Trim drops events beyond the limits as of at, the oldest first, but never one of
// a ladder that has not ended nor one after it. It is called once in a while.
func (j *Journal) Trim(ctx context.Context, at time.Time) error { return errMissing }

// Last returns the position of the newest event, 0 when there is none.
func (j *Journal) Last() uint64 { return 0 }
