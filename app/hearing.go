package app

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/canary"
)

// lateAfter returns how long what another guard saw of a canary may be on its way: as long as a
// second of a run stays open for what comes late.
func lateAfter() time.Duration { return canary.DefaultPolicy().Delay }

// progress is how far a guard is with telling what it saw of canaries.
type progress struct {
	Written uint64        `json:"written,omitempty"` // position of its newest report in the log of them
	Waits   time.Duration `json:"waits,omitempty"`   // nanoseconds for which the oldest that is not there yet has waited
}

// hearing is how far a term has heard what the other guards saw of canaries. A run that
// passed before would pass without what may speak against it.
type hearing struct {
	mu     sync.Mutex
	begun  bool   // the log answers
	goal   uint64 // its newest position when the term began to listen
	taken  uint64 // up to which the runs have it
	guards map[string]*arrears
}

// arrears are what is missing of one guard's.
type arrears struct {
	progress
	heard time.Time // when it said so
	mark  uint64    // a position that was not taken when it was told
	since time.Time // when that was; zero: all that was told is taken
}

// begin notes that the log is listened to after a position, and where it ends.
func (h *hearing) begin(after, newest uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.begun {
		h.begun, h.goal = true, newest
	}
	h.taken = max(h.taken, after)
}

// take notes that the runs have what is in the log up to a position.
func (h *hearing) take(seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken = max(h.taken, seq)
}

// heed notes how far a guard says that it is.
func (h *hearing) heed(guard string, p progress, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.guards == nil {
		h.guards = map[string]*arrears{}
	}
	a := h.guards[guard]
	if a == nil {
		a = &arrears{}
		h.guards[guard] = a
	}
	a.progress, a.heard = p, at
	if !a.since.IsZero() && a.mark > h.taken {
		return
	}
	if a.since = (time.Time{}); p.Written > h.taken {
		a.mark, a.since = p.Written, at
	}
}

// late reports whether something that a guard saw is on its way for too long, and why. It
// serves as gates.Config.Late.
func (h *hearing) late(at time.Time) (bool, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.begun || h.taken < h.goal {
		return true, "what other guards saw before this one led has not been read yet"
	}
	for _, name := range slices.Sorted(maps.Keys(h.guards)) {
		if behind := h.guards[name].behind(h.taken, at); behind > lateAfter() {
			return true, fmt.Sprintf("what %s saw is %s behind", name, gatewarden.Duration(behind.Truncate(time.Second)))
		}
	}
	return false, ""
}

// behind returns for how long the oldest that is missing of a guard's is on its way. One
// that is gone writes nothing any more, so only what it wrote is waited for.
func (a *arrears) behind(taken uint64, at time.Time) (behind time.Duration) {
	if !a.since.IsZero() && a.mark > taken {
		behind = at.Sub(a.since)
	}
	silent := at.Sub(a.heard)
	switch {
	case silent >= goneAfter:
		return behind
	case a.Waits > 0:
		return max(behind, a.Waits+silent)
	default:
		return max(behind, silent)
	}
}
