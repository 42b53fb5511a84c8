package gates

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// writeWithin bounds one write. Kong waits for its answer, and asks again after ten
	// seconds at the earliest.
	writeWithin = 3 * time.Second
	// keepLogged is for how long messages stay in the log that no run needs any more: what
	// Kong sends again after a crash is known by them.
	keepLogged = 30 * time.Second
	// The pauses after an append that failed. They double, because Kong waits for each try.
	leastPause = 2 * time.Second
	mostPause  = time.Minute
)

// observationsLog makes observations durable. Batches that come while an append is under
// way wait together, and go into one message: the first of them to be woken writes it.
type observationsLog struct {
	open     *group
	sections uint64    // number of the newest section
	written  []message // those that may still be in the log, in order
	down     bool      // it cannot be written, and nothing is added before retry
	retry    time.Time
	pause    time.Duration // from the last failure to retry, 0 while all is well
}

// group is the message that is being filled.
type group struct {
	data        []byte
	first, last uint64        // numbers of its sections; last is first - 1 while there is none
	done        chan struct{} // closed when it was written, or could not be
	turn        chan struct{} // holds a token when whoever takes it is to write the message
}

// message is one that was written.
type message struct {
	seq  uint64
	last uint64 // number of its newest section
	at   time.Time
}

func newGroup(first uint64) *group {
	return &group{data: beginMessage(first), first: first, last: first - 1, done: make(chan struct{}), turn: make(chan struct{}, 1)}
}

// add puts a section into the open message, and returns the message to wait for.
func (l *observationsLog) add(entries []entry) *group {
	l.sections++
	l.open.data = appendSection(l.open.data, entries)
	l.open.last = l.sections
	return l.open
}

// reset makes the next section have the given number.
func (l *observationsLog) reset(next uint64) {
	l.sections = next - 1
	token := l.open.turn
	l.open = newGroup(next)
	l.open.turn = token
}

// await returns when g was written, or could not be, or when ctx ends.
func (b *Book) await(ctx context.Context, g *group, at time.Time) {
	select {
	case <-g.done:
	case <-g.turn:
		b.write(ctx, g, at)
	case <-ctx.Done(): // whoever joins the message next, or the next tick, writes it
	}
}

// flush writes what waits in the open message, if anything does.
func (b *Book) flush(ctx context.Context, at time.Time) {
	b.mu.Lock()
	g := b.log.open
	empty := g.last < g.first
	b.mu.Unlock()
	if !empty {
		b.await(ctx, g, at)
	}
}

// write writes the open message g, whose token the caller has taken, and passes the token
// on to the next one.
func (b *Book) write(ctx context.Context, g *group, at time.Time) {
	b.mu.Lock()
	next := newGroup(g.last + 1)
	b.log.open = next
	b.mu.Unlock()

	// Others wait for this message too, whatever becomes of the one who writes it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
	timer := prometheus.NewTimer(b.metrics.appends)
	seq, err := b.cfg.Log.Append(ctx, g.data)
	timer.ObserveDuration()
	cancel()

	b.mu.Lock()
	if err != nil {
		b.metrics.appendFails.Inc()
	}
	switch l := &b.log; {
	case err == nil && l.pause > 0:
		b.cfg.Logger.Info("observations of running canaries are durable again")
		l.pause = 0
		fallthrough
	case err == nil:
		l.written = append(l.written, message{seq: seq, last: g.last, at: at})
	case b.over() != nil: // whoever took its place keeps the log
	default:
		if l.pause == 0 {
			b.cfg.Logger.Warn("observations of running canaries are not durable; a crash now would lose the last seconds of them", "error", err)
		}
		l.pause = min(max(2*l.pause, leastPause), mostPause)
		l.down, l.retry = true, at.Add(l.pause)
		for _, s := range b.slots {
			if s.active != nil {
				s.active.dirty = true // the next best
			}
		}
	}
	b.mu.Unlock()
	next.turn <- struct{}{}
	close(g.done)
}

// trim drops what no run needs any more from the log.
func (b *Book) trim(ctx context.Context, at time.Time) error {
	if b.cfg.Log == nil {
		return nil
	}
	b.mu.Lock()
	needed := b.log.sections
	for _, s := range b.slots {
		if s.active != nil {
			needed = min(needed, s.active.savedApplied)
		}
	}
	n := 0
	for n < len(b.log.written) && b.log.written[n].last <= needed && at.Sub(b.log.written[n].at).Abs() >= keepLogged {
		n++
	}
	var upTo uint64
	if n > 0 {
		upTo = b.log.written[n-1].seq
	}
	b.mu.Unlock()
	if n == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	if err := b.cfg.Log.Trim(ctx, upTo); err != nil {
		return err
	}
	b.mu.Lock()
	b.log.written = b.log.written[n:]
	b.mu.Unlock()
	return nil
}
