package gates

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Abandon is what Close is to a guard that leads no longer: what it knows is not the truth
// any more, so nothing is written down, told, moved or answered from now on. What is under
// way is not waited for; callbacks and those who Wait are cut short. The metrics are taken
// back, so that another Book can have the same Registerer; after Close, Abandon does that.
func (b *Book) Abandon() {
	b.quit()
	b.metrics.unregister(b.cfg.Registerer)
}

// over says so once the Book is abandoned.
func (b *Book) over() error {
	if b.term.Err() == nil {
		return nil
	}
	return gatewarden.Errorf(gatewarden.Unavailable, "another guard keeps the runs of canaries now").WithHint("ask again: the one that leads will answer")
}

// fence keeps a Book that is abandoned from whatever others would see. It does not help
// against what is under way: who stores for several guards must refuse a deposed one.
func (b *Book) fence() {
	if b.cfg.Runs != nil {
		b.cfg.Runs, b.cfg.Log = fencedRuns{b.cfg.Runs, b.over}, fencedLog{b.cfg.Log, b.over}
	}
	b.cfg.Journal = fencedJournal{b.cfg.Journal, b.over}
	if b.cfg.Mover != nil {
		b.cfg.Mover = fencedMover{b.cfg.Mover, b.over}
	}
	if answer := b.cfg.Answer; answer != nil {
		b.cfg.Answer = func(ctx context.Context, at time.Time, run *gatewarden.Run, policy string) error {
			if err := b.over(); err != nil {
				return err
			}
			return answer(ctx, at, run, policy)
		}
	}
}

type fencedRuns struct {
	RunStore
	over func() error
}

func (f fencedRuns) Put(ctx context.Context, name string, blob []byte) error {
	if err := f.over(); err != nil {
		return err
	}
	return f.RunStore.Put(ctx, name, blob)
}

func (f fencedRuns) Delete(ctx context.Context, name string) error {
	if err := f.over(); err != nil {
		return err
	}
	return f.RunStore.Delete(ctx, name)
}

type fencedLog struct {
	ObservationLog
	over func() error
}

func (f fencedLog) Append(ctx context.Context, data []byte) (seq uint64, err error) {
	if err := f.over(); err != nil {
		return 0, err
	}
	return f.ObservationLog.Append(ctx, data)
}

func (f fencedLog) Trim(ctx context.Context, upTo uint64) error {
	if err := f.over(); err != nil {
		return err
	}
	return f.ObservationLog.Trim(ctx, upTo)
}

type fencedJournal struct {
	Journal
	over func() error
}

func (f fencedJournal) Append(ctx context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	if err := f.over(); err != nil {
		return e, err
	}
	return f.Journal.Append(ctx, e)
}

type fencedMover struct {
	Mover
	over func() error
}

func (f fencedMover) Move(ctx context.Context, at time.Time, run *gatewarden.Run, percent float64) (done bool, err error) {
	if err := f.over(); err != nil {
		return false, err
	}
	return f.Mover.Move(ctx, at, run, percent)
}
