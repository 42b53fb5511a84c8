// Package state opens the NATS JetStream that everything durable lives in: the
// journal, the snapshots of the store, the cells since the last one, and the
// leases. By default the server runs inside the process, on a folder, without a
// socket; it can also be a NATS of one's own. The rest of the program sees no
// difference.
package state

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Config says where the state lives. Exactly one of Dir and URL is set.
type Config struct {
	Dir             string // folder of the embedded server; created when missing
	URL             string // NATS server to use instead
	CredentialsFile string // for URL
	MaxBytes        int64  // what the embedded server may store in all; 4 GiB unless set
}

// State is an open JetStream.
type State struct{}

var errMissing = errors.New("not there yet")

// Open starts the embedded server, or connects to the one that cfg names.
func Open(ctx context.Context, cfg Config, logger *slog.Logger) (*State, error) {
	return nil, errMissing
}

// JetStream returns the handle that journal.Open takes.
func (s *State) JetStream() jetstream.JetStream { return nil }

// Close disconnects, stops the embedded server and waits until its files are
// closed.
func (s *State) Close() error { return nil }

// Snapshots opens the place for snapshots.
func (s *State) Snapshots(ctx context.Context) (*Snapshots, error) { return nil, errMissing }

// Cells opens the stream of cells.
func (s *State) Cells(ctx context.Context) (*Cells, error) { return nil, errMissing }

// Leases opens the leases.
func (s *State) Leases(ctx context.Context) (*Leases, error) { return nil, errMissing }

// Snapshots keeps the latest blob by name.
type Snapshots struct{}

// Put replaces the blob of that name; a crash meanwhile leaves the old one.
func (s *Snapshots) Put(ctx context.Context, name string, blob []byte) error { return errMissing }

// Get returns the blob of that name, checked against its digest, or an error
// (not_found).
func (s *Snapshots) Get(ctx context.Context, name string) ([]byte, error) { return nil, errMissing }

// Cells is a log of opaque messages.
type Cells struct{}

// Append adds a message and returns its position when it is durable.
func (c *Cells) Append(ctx context.Context, data []byte) (uint64, error) { return 0, errMissing }

// Read visits the messages after a position, in order, up to the newest.
func (c *Cells) Read(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error {
	return errMissing
}

// Trim drops the messages up to and including a position.
func (c *Cells) Trim(ctx context.Context, upTo uint64) error { return errMissing }

// Leases keeps until when each action in place may live.
type Leases struct{}

// Put sets the lease of an action.
func (l *Leases) Put(ctx context.Context, actionID string, until time.Time) error { return errMissing }

// Delete ends it.
func (l *Leases) Delete(ctx context.Context, actionID string) error { return errMissing }

// All returns every lease.
func (l *Leases) All(ctx context.Context) (map[string]time.Time, error) { return nil, errMissing }
