package state

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// hold calls lead for one term and keeps the term alive until lead has returned, also
// when ctx has ended: what is put in order at the end is not to be disturbed by the
// next one.
func (e *Election) hold(ctx context.Context, h holding, lead func(ctx context.Context) error) error {
	e.logger.Info("this guard leads", "guard", e.me.Name)
	leading, depose := context.WithCancelCause(ctx)
	defer depose(nil)
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var keep sync.WaitGroup
	keep.Go(func() {
		if why := e.confirm(keeping, &h); why != "" {
			e.logger.Warn("this guard leads no more", "guard", e.me.Name, "reason", why)
			e.stepDown()
			stop()
			depose(errDeposed)
		}
	})
	keep.Go(func() { e.beat(keeping) })
	err := lead(leading)
	deposed := Deposed(leading)
	stop()
	keep.Wait()
	if !deposed {
		e.resign(ctx, h)
	}
	return ended(leading, err)
}

// stepDown forgets the term. Who took the ballot is read next, and counts as alive until
// then.
func (e *Election) stepDown() { e.set(note{}, false) }

// beat tells the others that the term goes on, until ctx ends.
func (e *Election) beat(ctx context.Context) {
	tick := time.NewTicker(beatPause)
	defer tick.Stop()
	for {
		e.mu.Lock()
		n := note{term: e.known, Revision: e.revision}
		e.mu.Unlock()
		if ctx.Err() == nil {
			e.tell(n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (e *Election) tell(n note) {
	data, err := json.Marshal(n)
	if err != nil {
		return
	}
	_ = e.voice.tell(data) // who is not connected is not heard, and told again
}

// confirm writes the term again and again. It returns why this guard leads no more, ""
// when ctx ended.
func (e *Election) confirm(ctx context.Context, h *holding) (why string) {
	for {
		left := confirmWithin - e.now().Sub(h.confirmed)
		if left <= 0 {
			return "the ballot could not be written for " + confirmWithin.String()
		}
		begun := e.now()
		// Not cut short when the term ends: what became of it must be known to resign.
		revision, err := e.write(context.WithoutCancel(ctx), h.term, h.Revision, min(ballotTimeout, left))
		switch {
		case err == nil:
			h.Revision, h.confirmed = revision, begun
			e.set(h.note, true)
		case errors.Is(err, errOvertaken):
			if by := e.overtaken(ctx, h, min(ballotTimeout, left)); by != "" {
				return by
			}
		}
		pause := confirmPause
		if err != nil {
			pause = min(campaignPause, max(confirmWithin-e.now().Sub(h.confirmed), 0))
		}
		e.wait(ctx, pause)
		if ctx.Err() != nil {
			return ""
		}
	}
}

// overtaken finds out who has written the ballot. This guard may have itself, without
// getting the answer; and what is read may be older than what was written.
func (e *Election) overtaken(ctx context.Context, h *holding, within time.Duration) (why string) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	value, revision, err := e.ballot.read(ctx)
	if err != nil || revision < h.Revision {
		return ""
	}
	var now term
	_ = json.Unmarshal(value, &now)
	if now.Token == h.Token {
		h.Revision = revision
		return ""
	}
	return "it is the turn of " + now.Name
}

// resign leaves the ballot to the others and tells them.
func (e *Election) resign(ctx context.Context, h holding) {
	ctx = context.WithoutCancel(ctx)
	h.Vacant = true
	revision, err := e.write(ctx, h.term, h.Revision, ballotTimeout)
	if errors.Is(err, errOvertaken) && e.overtaken(ctx, &h, ballotTimeout) == "" {
		revision, err = e.write(ctx, h.term, h.Revision, ballotTimeout)
	}
	if err == nil {
		h.Revision = revision
	}
	e.set(h.note, false)
	e.tell(h.note)
	e.logger.Info("this guard has resigned", "guard", e.me.Name)
}
