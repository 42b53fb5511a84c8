package journal

import (
	"context"
	"iter"

	"github.com/gatewarden/gatewarden"
)

// Follow yields what q selects, first what is there, then what is appended, until
// ctx ends. It never holds up a writer: a reader that falls further behind than
// memory reaches gets an error (unavailable) that says from where to go on, and the
// sequence ends. Who goes on from a position that the journal has not reached comes from
// another one, before the state was lost or moved: the sequence begins at the beginning.
func (j *Journal) Follow(ctx context.Context, q Query) iter.Seq2[gatewarden.Event, error] {
	return func(yield func(gatewarden.Event, error) bool) {
		position := j.Last()
		if q.After > position {
			q.After = 0
		}
		past, err := j.Events(ctx, q)
		if err != nil {
			yield(gatewarden.Event{}, err)
			return
		}
		for _, e := range past {
			if !yield(e, nil) {
				return
			}
			position = max(position, e.Seq)
		}
		live := q
		live.After = max(position, q.After)
		j.followLive(ctx, live, yield)
	}
}

// followLive yields what is appended after q.After. There is no queue for each
// reader: they all read the journal's own memory at their own pace.
func (j *Journal) followLive(ctx context.Context, q Query, yield func(gatewarden.Event, error) bool) {
	for ctx.Err() == nil {
		events, behind, grown := j.after(q.After)
		if q.After < behind {
			j.metrics.cutOff.Inc()
			yield(gatewarden.Event{}, gatewarden.Errorf(gatewarden.Unavailable, "this reader was too slow and has been cut off after position %d", q.After).
				WithHint("go on from there with since=%d", q.After))
			return
		}
		for _, e := range events {
			if ctx.Err() != nil {
				return
			}
			if q.selects(&e) && !yield(e, nil) {
				return
			}
			q.After = e.Seq
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-grown:
		}
	}
}
