package app

import (
	"context"
	"iter"
	"sync"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/kong"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/journal/export"
)

// The journal has what it takes to put a plugin of the user's back, the passwords in it
// among it. People, pages, programs and the audit get it without them.

// shownEvent returns an event without secrets.
func shownEvent(e gatewarden.Event) gatewarden.Event {
	if e.Action != nil {
		a := kong.Shown(*e.Action)
		e.Action = &a
	}
	return e
}

// shownEvents yields events without secrets.
func shownEvents(events iter.Seq2[gatewarden.Event, error]) iter.Seq2[gatewarden.Event, error] {
	return func(yield func(gatewarden.Event, error) bool) {
		for e, err := range events {
			if !yield(shownEvent(e), err) {
				return
			}
		}
	}
}

// curtain keeps how actions are shown. Who looks at the page asks for all of them again and
// again, and few have changed. The zero curtain is ready to use.
type curtain struct {
	mu  sync.Mutex
	was map[string]behindCurtain // by id
}

type behindCurtain struct {
	memo  *byte // where the memo begins, of which shown was made: memos are replaced, never changed
	shown gatewarden.Action
}

// actions returns actions without secrets.
func (c *curtain) actions(list []gatewarden.Action) []gatewarden.Action {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.was
	c.was = make(map[string]behindCurtain, len(list))
	out := make([]gatewarden.Action, len(list))
	for i, a := range list {
		var memo *byte
		if len(a.Memo) > 0 {
			memo = &a.Memo[0]
		}
		known, ok := was[a.ID]
		if !ok || known.memo != memo {
			known = behindCurtain{memo, kong.Shown(a)}
		}
		c.was[a.ID] = known
		out[i] = a
		out[i].Memo, out[i].Spec = known.shown.Memo, known.shown.Spec
	}
	return out
}

// audited is the journal as the audit gets it.
type audited struct{ *journal.Journal }

var _ export.Journal = audited{}

// After implements export.Journal.
func (j audited) After(ctx context.Context, position uint64) iter.Seq2[gatewarden.Event, error] {
	return shownEvents(j.Journal.After(ctx, position))
}
