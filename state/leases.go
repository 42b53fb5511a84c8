package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const leaseBucket = "gatewarden_leases"

// Leases keeps until when each action in place may live.
type Leases struct {
	state  *State
	bucket jetstream.KeyValue
}

// Leases opens the leases.
func (s *State) Leases(ctx context.Context) (*Leases, error) {
	l := &Leases{state: s}
	err := s.settle(ctx, leaseBucket, func(ctx context.Context) (err error) {
		l.bucket, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      leaseBucket,
			Description: "gatewarden: until when each change at the gateway may live unrenewed",
			History:     1,
			Replicas:    s.replicas,
		})
		return err
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the leases: %w", err)
	}
	return l, nil
}

// Tidy clears away what ended leases leave: a marker each, which is of no use to
// whoever reads leases. It is for the one guard that writes them.
func (l *Leases) Tidy(ctx context.Context) error {
	err := l.state.patiently(ctx, leaseBucket, useTimeout, func(ctx context.Context) error {
		return l.bucket.PurgeDeletes(ctx, jetstream.DeleteMarkersOlderThan(-1))
	})
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "clearing ended leases away: %w", err)
	}
	return nil
}

// Put sets the lease of an action.
func (l *Leases) Put(ctx context.Context, actionID string, until time.Time) error {
	if _, err := l.bucket.Put(ctx, actionID, until.UTC().AppendFormat(nil, time.RFC3339Nano)); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "writing the lease of %s: %w", actionID, err)
	}
	return nil
}

// Delete ends the lease of an action; one that is not there is no error.
func (l *Leases) Delete(ctx context.Context, actionID string) error {
	err := l.bucket.Purge(ctx, actionID)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return gatewarden.Errorf(gatewarden.Unavailable, "ending the lease of %s: %w", actionID, err)
	}
	return nil
}

// All returns every lease. One that cannot be read is left out: its action then
// falls back on the lease that it began with, which is earlier.
func (l *Leases) All(ctx context.Context) (map[string]time.Time, error) {
	var leases map[string]time.Time
	err := l.state.patiently(ctx, leaseBucket, useTimeout, func(ctx context.Context) (err error) {
		leases, err = l.all(ctx)
		return err
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "reading the leases: %w", err)
	}
	return leases, nil
}

func (l *Leases) all(ctx context.Context) (map[string]time.Time, error) {
	leases := make(map[string]time.Time)
	lister, err := l.bucket.ListKeys(ctx)
	if err != nil {
		return nil, err
	}
	for id := range lister.Keys() {
		entry, err := l.bucket.Get(ctx, id)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		if until, err := time.Parse(time.RFC3339Nano, string(entry.Value())); err == nil {
			leases[id] = until
		}
	}
	// The lister ends in the same way when it has all and when it was cut short.
	return leases, ctx.Err()
}
