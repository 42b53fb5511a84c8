package state

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gatewarden/gatewarden"
)

// What a guard counts, how far its sources are and its last life are known by its name. Two
// guards of one name would take what is the other's for their own: who starts gives way, and
// who runs already says so.

const (
	// herePause is between two words of a guard that it is there.
	herePause = beatPause
	// listenFor another guard of the same name before starting: two words of it.
	listenFor = 2 * herePause
	// complainPause is between two complaints about the same.
	complainPause = time.Minute
)

const twinHint = "give each guard its own state.name"

// here tells the others that this guard is there, until ctx ends.
func (e *Election) here(ctx context.Context) {
	tick := time.NewTicker(herePause)
	defer tick.Stop()
	for ctx.Err() == nil {
		e.tell(note{term: term{Candidate: e.me}, Life: e.life})
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// twin reports whether another guard of the same name has told something.
func (e *Election) twin(n note) bool {
	return n.Name == e.me.Name && n.Life != "" && n.Life != e.life
}

// single returns an error, a conflict, when another guard of the same name is there. An
// earlier life of this one that was killed is silent.
func (e *Election) single(ctx context.Context) error {
	found := make(chan note, 1)
	stop, err := e.voice.hear(func(data []byte) {
		var n note
		if json.Unmarshal(data, &n) == nil && e.twin(n) {
			select {
			case found <- n:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, listenFor)
	defer cancel()
	e.here(ctx) // another one that starts is to hear it
	select {
	case n := <-found:
		return gatewarden.Errorf(gatewarden.Conflict, "another guard is called %s and is running: its API is at %s", n.Name, n.API).WithHint(twinHint)
	default:
		return nil
	}
}

// complain says that another guard has the same name, now and then while it is so.
func (e *Election) complain(twin note) {
	e.mu.Lock()
	now := e.now()
	silent := !e.complained.IsZero() && now.Sub(e.complained) < complainPause
	if !silent {
		e.complained = now
	}
	e.mu.Unlock()
	if !silent {
		e.logger.Error("another guard has the name of this one, and what they count is mixed up: "+twinHint, "name", e.me.Name, "its_api", twin.API)
	}
}
