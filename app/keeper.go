package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/state"
	"github.com/gatewarden/gatewarden/store"
)

const (
	// drainEvery is how much of the counts a crash can lose.
	drainEvery = time.Second
	// snapshotEvery bounds how many messages a start must read.
	snapshotEvery = 2 * time.Minute
	// maxPending is how many messages wait in memory while the state cannot be
	// written: ten minutes' worth. Beyond it only the next snapshot saves the counts.
	maxPending = 600

	snapshotName = "store"
	damagedName  = "store-damaged"
)

// keeper makes the store outlive the process: each second what is new goes to the
// log of cells, now and then a snapshot makes the log short again.
type keeper struct {
	store     *store.Store
	cells     *state.Log
	snapshots *state.Blobs
	logger    *slog.Logger
	// checkpoints are written with the counts; nil for none.
	checkpoints *checkpoints

	pending [][]byte // drained and not yet durable, the oldest first
	last    uint64   // position of the newest durable message
}

// restore fills the store with what the last life left.
func (k *keeper) restore(ctx context.Context) error {
	size, err := k.restoreSnapshot(ctx)
	if err != nil {
		return err
	}
	messages := 0
	err = k.cells.Read(ctx, 0, func(seq uint64, data []byte) error {
		k.last = seq
		messages++
		if err := k.checkpoints.open(data, k.logger, k.store.Apply); err != nil {
			// One damaged second must not keep the guard from starting.
			k.logger.Error("a message of the log of cells is damaged; its second is lost", "seq", seq, "error", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the log of cells: %w", err)
	}
	k.logger.Info("counts restored", "snapshot_bytes", size, "messages", messages)
	return nil
}

// restoreSnapshot restores the snapshot and returns its size. A damaged one is put
// aside for whoever wants to look at it: a guard without its past is better than no
// guard.
func (k *keeper) restoreSnapshot(ctx context.Context) (size int, err error) {
	blob, err := k.snapshots.Get(ctx, snapshotName)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the snapshot of the counts: %w", err)
	}
	damage := k.checkpoints.open(blob, k.logger, k.store.Restore)
	if damage == nil {
		return len(blob), nil
	}
	k.logger.Error("the snapshot of the counts is damaged: the history before the last minutes is lost; it is kept as "+damagedName, "error", damage)
	if err := k.snapshots.Put(ctx, damagedName, blob); err != nil {
		return 0, fmt.Errorf("putting the damaged snapshot aside: %w", err)
	}
	return 0, nil
}

// Run keeps the store until ctx ends, and a last time then.
func (k *keeper) Run(ctx context.Context) error {
	drain := time.NewTicker(drainEvery)
	defer drain.Stop()
	snapshot := time.NewTicker(snapshotEvery)
	defer snapshot.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-drain.C:
			k.drain(ctx)
		case <-snapshot.C:
			k.snapshot(ctx)
		}
	}
}

// finish writes everything once more, before the state is closed.
func (k *keeper) finish(ctx context.Context) {
	k.drain(ctx)
	k.snapshot(ctx)
}

func (k *keeper) drain(ctx context.Context) {
	if message := k.checkpoints.drain(k.store.Drain); message != nil {
		k.pending = append(k.pending, message)
	}
	if over := len(k.pending) - maxPending; over > 0 {
		k.pending = k.pending[over:]
		k.logger.Error("the state cannot be written: the oldest counts wait for the next snapshot only", "dropped", over)
	}
	for len(k.pending) > 0 {
		seq, err := k.cells.Append(ctx, k.pending[0])
		if err != nil {
			if ctx.Err() == nil {
				k.logger.Warn("counts are not durable yet", "waiting", len(k.pending), "error", err)
			}
			return
		}
		k.last, k.pending = seq, k.pending[1:]
	}
}

// snapshot replaces the snapshot and drops the messages that it holds. A crash in
// between leaves messages that the next start applies to no effect.
func (k *keeper) snapshot(ctx context.Context) {
	upTo := k.last
	blob, err := k.checkpoints.snapshot(k.store.Snapshot)
	if err == nil {
		err = k.snapshots.Put(ctx, snapshotName, blob)
	}
	if err == nil && upTo > 0 {
		err = k.cells.Trim(ctx, upTo)
	}
	if err != nil && ctx.Err() == nil {
		k.logger.Warn("the snapshot of the counts failed; the log of cells goes on", "error", err)
	}
}
