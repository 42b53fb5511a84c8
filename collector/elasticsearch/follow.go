package elasticsearch

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/gatewarden/gatewarden/collector"
)

// follower counts what comes into the index.
type follower struct {
	*Source
	layout *layout
	mark   followMark
	seen   map[int64]map[uint32]struct{} // documents that were counted, by slot
	looked time.Time                     // when the layout was found out
	from   int64                         // slots before were looked at until they were older than lateness
	readTo int64                         // up to where the index was read last, in Unix milliseconds
	full   bool                          // a mark was too long to be kept as a whole
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
		f.metrics.lag.Set(f.now().Sub(time.UnixMilli(cmp.Or(f.readTo, f.reached()))).Seconds())
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
	until := f.until()
	f.comeBack(until)
	how := f.followIngested
	if f.bySlots() {
		how = f.followSlots
	}
	if err := how(ctx, until); err != nil {
		return err
	}
	f.readTo = until
	return nil
}

// comeBack sets the mark back when it is in the future: the clock was ahead when it was made.
// Until the clock has caught up with it nothing would be counted.
func (f *follower) comeBack(until int64) {
	ahead := time.Duration(f.mark.Until-until) * time.Millisecond
	if ahead <= collector.MostAhead {
		return
	}
	f.mark.Until = floor(until, f.slotWidth())
	if len(f.mark.Shapes) > 0 {
		f.mark.Shapes[0].From = min(f.mark.Shapes[0].From, f.mark.Until)
	}
	f.log.Warn("the index was read up to a time that is yet to come: the clock was ahead. What came in since may be missing, or be counted twice", "ahead", ahead)
}

// followIngested counts what was indexed since. The mark is never later than what there was:
// should the clock be ahead, what is indexed meanwhile is not passed over.
func (f *follower) followIngested(ctx context.Context, until int64) error {
	return f.read(ctx, reading{layout: f.layout, by: f.layout.ingested}, f.mark.Until, until, func(hits []hit, _ int64) error {
		if len(hits) == 0 {
			return nil
		}
		d := f.decoders.Get()
		defer f.decoders.Put(d)
		next := followMark{Of: f.mark.Of, Until: hits[len(hits)-1].at + 1}
		if err := f.count(ctx, f.decode(d, f.layout, hits).Records, followed, &next); err != nil {
			return err
		}
		f.mark = next
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
	every := lookEvery
	if l := f.layout; l.ingested.name != "" && l.stamps == (stamps{}) && f.settings.Read == readDocuments {
		every = lookAgain
	}
	if f.now().Sub(f.looked) < every {
		return nil
	}
	l, err := f.look(ctx)
	if err != nil {
		f.metrics.usable.Set(0)
		return err
	}
	f.adopt(l)
	return nil
}

// adopt makes l the layout. A mark of another way of following says only up to when.
func (f *follower) adopt(l *layout) {
	f.heed(l)
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
	f.mark.Of, f.seen, f.from = of, map[int64]map[uint32]struct{}{}, 0
}

// heed says when documents are followed otherwise than their mapping has it, or are missed.
// While there are none, what was found out before holds.
func (f *follower) heed(l *layout) {
	known := ""
	if f.layout != nil {
		known = f.layout.stamps.field
	}
	switch st := l.stamps; {
	case st.field != "" && known == "":
		f.log.Warn("no document says when it was indexed, though the field is mapped: the index is followed by event time. An ingest pipeline would fill it in",
			"field", st.field, "documents", st.without)
	case st.with > 0 && st.without > 0:
		f.log.Warn("some documents do not say when they were indexed: they are not counted. Fill the field in for all, or set ingested to \"\" to follow by event time",
			"field", l.ingested.name, "with", st.with, "without", st.without)
	case st == stamps{} && known != "" && l.ingested.name == known:
		l.ingested, l.stamps.field = field{}, known
	}
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
