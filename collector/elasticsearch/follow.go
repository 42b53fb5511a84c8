package elasticsearch

import (
	"context"
	"math/rand/v2"
	"time"
)

// follower counts what comes into the index.
type follower struct {
	*Source
	layout *layout
	mark   followMark
	seen   map[int64]map[uint32]struct{} // documents that were counted, by slot
	looked time.Time                     // when the layout was found out
}

// until returns the end of what may be read now, in Unix milliseconds.
func (s *Source) until() int64 {
	return s.now().Add(-time.Duration(s.settings.Lag)).UnixMilli()
}

// follow follows the index until ctx is done.
func (f *follower) follow(ctx context.Context) {
	var wait backoff
	for {
		pause := time.Duration(f.settings.Poll)
		if err := f.step(ctx); err == nil {
			wait = 0
		} else if ctx.Err() == nil {
			pause = max(pause, wait.next())
			f.failed("following the index", err)
		}
		f.metrics.lag.Set(f.now().Sub(time.UnixMilli(f.reached())).Seconds())
		if !sleep(ctx, pause) {
			return
		}
	}
}

// step counts what has come since the last one.
func (f *follower) step(ctx context.Context) error {
	if err := f.relook(ctx); err != nil {
		return err
	}
	if f.bySlots() {
		return f.followSlots(ctx)
	}
	return f.read(ctx, reading{layout: f.layout, by: f.layout.ingested}, f.mark.Until, f.until(), func(hits []hit, upTo int64) error {
		d := f.decoders.Get()
		defer f.decoders.Put(d)
		next := followMark{Of: f.mark.Of, Until: upTo}
		if len(hits) > 0 {
			if err := f.count(ctx, f.decode(d, f.layout, hits).Records, followed, &next); err != nil {
				return err
			}
		}
		f.mark = next // of an empty stretch it need not be kept: nothing of it is counted again
		return nil
	})
}

// bySlots reports whether the index is followed by event time.
func (f *follower) bySlots() bool {
	return f.settings.Read == readBuckets || f.layout.ingested.name == ""
}

// reached returns up to when documents were counted, in Unix milliseconds.
func (f *follower) reached() int64 {
	at := f.mark.Until
	for begin := range f.mark.Slots {
		at = max(at, begin+f.slotWidth())
	}
	return at
}

// relook finds out anew, now and then, how documents are made.
func (f *follower) relook(ctx context.Context) error {
	if f.now().Sub(f.looked) < lookEvery {
		return nil
	}
	l, err := f.index.look(ctx, &f.settings)
	if err != nil {
		f.metrics.usable.Set(0)
		return err
	}
	f.adopt(l)
	return nil
}

// adopt makes l the layout. A mark of another way of following says only up to when.
func (f *follower) adopt(l *layout) {
	f.layout, f.looked = l, f.now()
	f.metrics.usable.Set(1)
	of := f.identity(l)
	if f.mark.Of == of {
		return
	}
	if f.mark.Of != "" {
		f.log.Warn("the index is followed in another way from now on; of the last minutes something may be missing or counted twice", "how", l.String())
		f.mark = followMark{Until: floor(f.reached(), f.slotWidth())}
	}
	f.mark.Of, f.seen = of, map[int64]map[uint32]struct{}{}
}

// shape returns what buckets are to tell apart.
func (s *Source) shape(distribution bool) (*shape, error) {
	if s.past == nil {
		return shapeOf(nil, distribution)
	}
	return shapeOf(s.past.SLOs(), distribution)
}

// failed says that something did not work and is tried again.
func (s *Source) failed(doing string, err error) {
	if due, held := s.quiet.Due(s.now()); due {
		s.log.Warn("Elasticsearch gives no data; it is asked again", "doing", doing, "err", err, "times_before_unlogged", held)
	}
}

// backoff is how long to wait after failures: longer each time, never more than a minute,
// and not the same for all who wait.
type backoff time.Duration

func (b *backoff) next() time.Duration {
	*b = min(max(*b+*b, backoff(time.Second)), backoff(time.Minute))
	return time.Duration(*b)/2 + rand.N(time.Duration(*b)/2)
}

// sleep waits, and reports whether ctx is still not done.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
