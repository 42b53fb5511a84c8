package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/state"
	"github.com/gatewarden/gatewarden/store"
)

const (
	// drainEvery is how much of the counts a crash can lose where nobody waits for them.
	drainEvery = time.Second
	// tellEvery is drainEvery where other guards judge by them.
	tellEvery = 250 * time.Millisecond
	// snapshotEvery bounds how many messages a start must read.
	snapshotEvery = 2 * time.Minute
	// trimAfter is how long messages stay for guards that were away for a while.
	trimAfter = 10 * time.Minute
	// maxPending is how many messages wait in memory while the state cannot be written: ten
	// minutes' worth, as they are made no more often than drainEvery then. Beyond it only the
	// next snapshot saves the counts.
	maxPending = 600

	snapshotName = "store"
	damagedName  = "store-damaged"
)

// keeperMetrics are the keeper's metrics.
type keeperMetrics struct {
	split   prometheus.Counter // messages that were written in parts
	leftOut prometheus.Counter // messages that the log did not take in parts either
	// unreported are those of canaries that were too large for the guard that leads.
	unreported prometheus.Counter
}

func newKeeperMetrics(reg prometheus.Registerer) *keeperMetrics {
	m := &keeperMetrics{
		split: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_app_cells_in_parts_total",
			Help: "Messages of counts that were too large for the log of cells, most often because of long checkpoints, and were written in parts.",
		}),
		leftOut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_app_cells_left_out_total",
			Help: "Messages of counts that the log of cells did not take in parts either: each made a snapshot.",
		}),
		unreported: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewarden_app_reports_left_out_total",
			Help: "Messages of what was seen of canaries that were too large to tell the guard that leads.",
		}),
	}
	reg.MustRegister(m.split, m.leftOut, m.unreported)
	return m
}

// cellLog is the log of cells; see state.Log.
type cellLog interface {
	Append(ctx context.Context, data []byte) (seq uint64, err error)
	Read(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error
	Follow(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error
	Begin(ctx context.Context) (after, newest uint64, err error)
	Trim(ctx context.Context, upTo uint64) error
	TrimBefore(ctx context.Context, t time.Time, upTo uint64) error
}

// keeper makes the store outlive the process: each second what is new goes to the
// log of cells, now and then a snapshot makes the log short again. Where guards share the
// state it also brings the store what the others have counted.
type keeper struct {
	store     *store.Store
	cells     cellLog
	snapshots *state.Blobs
	logger    *slog.Logger
	now       func() time.Time
	// checkpoints are written with the counts; nil for none.
	checkpoints *checkpoints
	metrics     *keeperMetrics
	sets        sets        // messages of the log that came in parts
	reports     *reports    // for the guard that leads; nil for a guard that is alone
	leads       func() bool // whether snapshots are this guard's to take; of several guards

	pending  [][]byte      // drained and not yet durable, the oldest first
	gathered time.Time     // when the store was drained last
	last     atomic.Uint64 // position up to which the log is in the store
	failing  atomic.Bool   // the last drain failed: what is counted now would have to wait for the next one

	snapping sync.Mutex // held while a snapshot is taken: an older one must not replace a newer one

	kick    chan struct{} // somebody waits
	mu      sync.Mutex
	waiting []chan struct{} // for what they counted to be durable; closed when it is
}

func newKeeper(ctx context.Context, a *App) (*keeper, error) {
	k := &keeper{
		store: a.store, snapshots: a.snapshots, logger: a.logger.With("component", "keeper"), now: a.now, checkpoints: newCheckpoints(),
		leads: a.leads, kick: make(chan struct{}, 1), metrics: newKeeperMetrics(a.registry),
	}
	var err error
	if k.cells, err = a.state.Cells(ctx); err != nil {
		return nil, fmt.Errorf("opening the log of cells: %w", err)
	}
	if a.state.Shared() {
		if k.reports, err = newReports(ctx, a.state, a.now); err != nil {
			return nil, err
		}
	}
	return k, k.restore(ctx)
}

// restore fills the store with what the last life left.
func (k *keeper) restore(ctx context.Context) error {
	size, err := k.restoreSnapshot(ctx)
	if err != nil {
		return err
	}
	messages := 0
	err = k.cells.Read(ctx, 0, func(seq uint64, data []byte) error {
		messages++
		return k.take(seq, data)
	})
	if err != nil {
		return fmt.Errorf("reading the log of cells: %w", err)
	}
	begin, _, err := k.cells.Begin(ctx) // what was dropped is in the snapshot
	if err != nil {
		return err
	}
	k.last.Store(max(k.last.Load(), begin))
	k.logger.Info("counts restored", "snapshot_bytes", size, "messages", messages)
	return nil
}

// take brings a message of the log into the store.
func (k *keeper) take(seq uint64, data []byte) error {
	whole, err := k.sets.add(data)
	if whole != nil && err == nil {
		err = k.checkpoints.open(whole, k.logger, k.apply)
	}
	if err != nil {
		// One damaged second must not keep the guard from starting, nor from going on.
		k.logger.Error("a message of the log of cells is damaged; its second is lost", "seq", seq, "error", err)
	}
	if seq > k.last.Load() {
		k.last.Store(seq)
	}
	return nil
}

// apply and replace are the store's Apply and Restore, by the guard's clock.
func (k *keeper) apply(counts []byte) error   { return k.store.Apply(counts, k.now()) }
func (k *keeper) replace(counts []byte) error { return k.store.Restore(counts, k.now()) }

// follow brings the store what the other guards count, until ctx ends.
func (k *keeper) follow(ctx context.Context) error {
	if err := k.cells.Follow(ctx, k.last.Load(), k.take); err != nil {
		return fmt.Errorf("following what the other guards count: %w", err)
	}
	return nil
}

// catchUp returns when everything is in the store that is in the log now. Messages that
// follow brings as well change nothing the second time.
func (k *keeper) catchUp(ctx context.Context) error {
	if err := k.cells.Read(ctx, k.last.Load(), k.take); err != nil {
		return fmt.Errorf("reading what the other guards have counted: %w", err)
	}
	return nil
}

// restoreSnapshot restores the snapshot and returns its size. A damaged one is put
// aside for whoever wants to look at it, if it can be read: a guard without its past is
// better than no guard.
func (k *keeper) restoreSnapshot(ctx context.Context) (size int, err error) {
	blob, err := k.snapshots.Get(ctx, snapshotName)
	switch {
	case gatewarden.ErrorCode(err) == gatewarden.NotFound:
		return 0, nil
	case gatewarden.ErrorCode(err) == gatewarden.Internal:
		k.logger.Error("parts of the snapshot of the counts are lost: the history before the last minutes is lost", "error", err)
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("reading the snapshot of the counts: %w", err)
	}
	damage := k.checkpoints.open(blob, k.logger, k.replace)
	if damage == nil {
		return len(blob), nil
	}
	k.logger.Error("the snapshot of the counts is damaged: the history before the last minutes is lost; it is kept as "+damagedName, "error", damage)
	if err := k.snapshots.Put(ctx, damagedName, blob); err != nil {
		return 0, fmt.Errorf("putting the damaged snapshot aside: %w", err)
	}
	return 0, nil
}

// Run keeps what the store counts until ctx ends.
func (k *keeper) Run(ctx context.Context) error {
	interval := drainEvery
	if k.reports != nil {
		interval = tellEvery
	}
	drain := time.NewTicker(interval)
	defer drain.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-drain.C:
		case <-k.kick:
		}
		_ = k.round(ctx) // the log is told
	}
}

// round drains, and answers those who have waited for it. When that fails they wait for the
// next one: what they brought is counted here, and whoever is told that it did not come
// brings it to another guard, which counts it again.
func (k *keeper) round(ctx context.Context) error {
	k.mu.Lock()
	waiting := k.waiting
	k.waiting = nil
	k.mu.Unlock()
	err := k.drain(ctx)
	if err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.waiting = append(waiting, k.waiting...)
		return err
	}
	for _, w := range waiting {
		close(w)
	}
	return nil
}

// ready returns why nothing is to be counted that must be durable: what was counted before
// is not. Who is told so before it counts can send its records to another guard.
func (k *keeper) ready() error {
	if k.failing.Load() {
		return gatewarden.Errorf(gatewarden.Unavailable, "the state cannot be written, and nothing is counted that would be lost with this guard")
	}
	return nil
}

// settle returns when what was counted before it was called is durable. Those who wait
// together are served by one write. While it fails they wait on: the servers of the state
// take some seconds to find each other after one of them has gone. The error is that ctx
// has ended.
func (k *keeper) settle(ctx context.Context) error {
	done := make(chan struct{})
	k.mu.Lock()
	k.waiting = append(k.waiting, done)
	k.mu.Unlock()
	select {
	case k.kick <- struct{}{}:
	default: // the next round is due already
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = slices.DeleteFunc(k.waiting, func(w chan struct{}) bool { return w == done })
	return gatewarden.Errorf(gatewarden.Unavailable, "waiting for the counts to be durable: %w", ctx.Err())
}

// keepSnapshots takes a snapshot now and then until ctx ends.
func (k *keeper) keepSnapshots(ctx context.Context) error {
	return every(ctx, snapshotEvery, func(ctx context.Context, _ time.Time) error { return k.snapshot(ctx) }, func(err error) {
		k.logger.Warn("the snapshot of the counts failed; the log of cells goes on", "error", err)
	})
}

// finish writes everything once more, before the state is closed. What several guards
// share has its snapshots from the one that leads.
func (k *keeper) finish(ctx context.Context) {
	_ = k.round(ctx) // it has logged what is wrong
	if k.reports != nil {
		return
	}
	if err := k.snapshot(ctx); err != nil {
		k.logger.Warn("the snapshot of the counts failed; the next start reads the log of cells", "error", err)
	}
}

// drain writes down what is new. The error says that it is not durable yet; it is tried
// again in the next round.
func (k *keeper) drain(ctx context.Context) (err error) {
	defer func() { k.failing.Store(err != nil) }()
	err = k.write(ctx)
	// While the state cannot be written the store keeps together what is of the same second.
	if now := time.Now(); err == nil || now.Sub(k.gathered) >= drainEvery {
		k.gather(now)
	}
	if err == nil {
		err = k.write(ctx)
	}
	if err == nil && k.reports != nil {
		err = k.reports.send(ctx, k.reportLeftOut)
	}
	return err
}

func (k *keeper) reportLeftOut(size int, why error) {
	k.metrics.unreported.Inc()
	k.logger.Error("what one post told of canaries is too much for one message: the guard that leads will not have it", "bytes", size, "error", why,
		"hint", "send smaller posts (queue.max_batch_size of http-log), or raise max_payload of the NATS server")
}

// gather takes what is new out of the store.
func (k *keeper) gather(now time.Time) {
	k.gathered = now
	if message := k.checkpoints.drain(k.store.Drain); message != nil {
		k.pending = append(k.pending, message)
	}
	over := len(k.pending) - maxPending
	if over <= 0 {
		return
	}
	k.pending = k.pending[over:]
	if k.reports == nil {
		k.logger.Error("the state cannot be written: the oldest counts wait for the next snapshot only", "dropped", over)
	} else {
		k.logger.Error("the state cannot be written: the other guards will not have the oldest counts of this one", "dropped", over)
	}
}

// write writes down what was gathered.
func (k *keeper) write(ctx context.Context) error {
	for len(k.pending) > 0 {
		seq, err := k.cells.Append(ctx, k.pending[0])
		switch {
		case gatewarden.ErrorCode(err) == gatewarden.Invalid:
			if parts := inParts(k.pending[0]); parts != nil {
				k.metrics.split.Inc()
				k.pending = append(parts, k.pending[1:]...)
				continue
			}
			if err = k.leaveOut(ctx, err); err != nil {
				return err
			}
			continue
		case err != nil:
			if ctx.Err() == nil {
				k.logger.Warn("counts are not durable yet", "waiting", len(k.pending), "error", err)
			}
			return err
		}
		if k.pending = k.pending[1:]; k.reports == nil { // otherwise follow says how far the store is
			k.last.Store(seq)
		}
	}
	return nil
}

// leaveOut makes durable what the log will never take, nor parts of it, if a snapshot is
// this guard's to take. What comes after it must not wait for it.
func (k *keeper) leaveOut(ctx context.Context, why error) error {
	k.metrics.leftOut.Inc()
	size, out := len(k.pending[0]), k.pending[0]
	for k.pending = k.pending[1:]; len(k.pending) > 0 && sameSet(out, k.pending[0]); k.pending = k.pending[1:] {
		size += len(k.pending[0])
	}
	if k.reports != nil {
		k.logger.Error("counts are too much for one message: the other guards will not have them", "bytes", size, "error", why)
		if !k.leads() {
			return nil
		}
	} else {
		k.logger.Warn("counts are too much for one message: a snapshot is taken instead", "bytes", size, "error", why)
	}
	err := k.snapshot(ctx)
	if err != nil {
		k.logger.Error("the snapshot failed that counts were left to; the next one has them", "error", err)
	}
	return err
}

// snapshot replaces the snapshot and drops the messages that it holds. A crash in
// between leaves messages that the next start applies to no effect.
func (k *keeper) snapshot(ctx context.Context) error {
	k.snapping.Lock()
	defer k.snapping.Unlock()
	upTo := k.last.Load()
	blob, err := k.checkpoints.snapshot(k.store.Snapshot)
	if err == nil {
		err = k.snapshots.Put(ctx, snapshotName, blob)
	}
	switch {
	case err != nil || upTo == 0:
	case k.reports == nil:
		err = k.cells.Trim(ctx, upTo)
	default:
		err = k.cells.TrimBefore(ctx, time.Now().Add(-trimAfter), upTo)
	}
	return err
}
