package gates

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
)

// maxReports is how many reports are remembered, so that one that comes again is known.
const maxReports = 1 << 16

// Observed takes what an Observer elsewhere saw, as if its records had come here. Like
// Batch.Commit it returns when a crash can no longer lose what it told runs; those who wait
// at the same time wait for one write. What is about a canary that is not known here, or
// picks its requests otherwise, is left out and counted.
//
// A message may be told again, and counts once: this Book knows it by its number, the next
// one, after a take-over, by the ids of its requests among those that the log held. So it
// must come within two minutes of Restore then, and requests without an id count twice.
//
// Errors: invalid for what is no report, which no retry helps; unavailable when ctx has
// ended, or the book is abandoned: then it is to be told again, here or to the next one.
func (b *Book) Observed(ctx context.Context, at time.Time, message []byte) error {
	r, err := parseReport(message)
	if err != nil {
		b.metrics.reports.WithLabelValues(reportInvalid).Inc()
		return err
	}
	if g := b.hear(&r); g != nil {
		b.await(ctx, g, at)
		select {
		case <-g.done:
			b.durable(r.number)
		default:
			return gatewarden.Errorf(gatewarden.Unavailable, "what another guard saw of canaries is not durable yet: %w", context.Cause(ctx))
		}
	}
	return b.over() // who abandoned the book meanwhile has not told the next one
}

// hear gives a report to the judges, unless it did so before, and returns what to wait for:
// nil when there is nothing.
func (b *Book) hear(r *report) *group {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g, again := b.reports.find(r.number); again {
		b.metrics.reports.WithLabelValues(reportAgain).Inc()
		return g
	}
	b.metrics.reports.WithLabelValues(reportTaken).Inc()
	plan := b.plan.Load()
	var entries []entry
	for _, o := range r.seen {
		found := false
		for _, f := range plan.byName[o.canary] {
			if f.print == o.print {
				found = true
				entries = b.take(f, o.observations, entries)
			}
		}
		fate := observedTaken
		if !found {
			fate = observedUnknown
		}
		b.metrics.observed.WithLabelValues(fate).Add(float64(len(o.observations)))
	}
	g := b.logged(entries)
	b.reports.add(r.number, g)
	return g
}

// reportsTaken remembers the newest reports that were taken.
type reportsTaken struct {
	pending map[reportNumber]*group // what to wait for, nil when the report is durable
	order   []reportNumber          // a ring, once it is full
	oldest  int
}

// find returns what to wait for, and whether the report was taken before.
func (t *reportsTaken) find(n reportNumber) (*group, bool) {
	g, ok := t.pending[n]
	return g, ok
}

func (t *reportsTaken) add(n reportNumber, g *group) {
	if t.pending == nil {
		t.pending = map[reportNumber]*group{}
	}
	t.pending[n] = g
	if len(t.order) < maxReports {
		t.order = append(t.order, n)
		return
	}
	delete(t.pending, t.order[t.oldest])
	t.order[t.oldest] = n
	t.oldest = (t.oldest + 1) % maxReports
}

// durable notes that nobody needs to wait for the report any more.
func (b *Book) durable(n reportNumber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.reports.pending[n]; ok {
		b.reports.pending[n] = nil
	}
}

// Older returns the definitions of runs that are judged and that pick their requests
// otherwise than the rules do: an Observer needs them beside the rules'. It is quick; nobody
// may change what it returns.
func (b *Book) Older() []gatewarden.Canary {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []gatewarden.Canary
	for _, s := range b.slots {
		if s.active == nil || s.active.canary == s.canary {
			continue
		}
		if feeds := b.plan.Load().byName[s.name]; len(feeds) > 1 && feeds[0].print == feeds[1].print {
			continue
		}
		list = append(list, *s.active.canary)
	}
	return list
}
