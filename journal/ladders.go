package journal

import (
	"math"

	"github.com/gatewarden/gatewarden"
)

// ladders knows, by name, what is not finished and at which position it began:
// ladders that have not ended, and a pause. Their events must outlive the limits,
// because they are all that a restart knows of what is in place.
type ladders map[string]uint64

// see takes an event in, in the order of the journal.
func (l ladders) see(e *gatewarden.Event) {
	switch {
	case e.Type != gatewarden.EventAction, e.Name == gatewarden.PauseFileName: // whether that file is there is seen by looking
	case e.State == gatewarden.LadderEnded, e.State == gatewarden.GuardResumed:
		delete(l, e.Name)
	case e.State == gatewarden.GuardPaused:
		l[e.Name] = e.Seq // only the newest pause counts
	case e.Action != nil:
		if _, open := l[e.Action.Ladder]; !open {
			l[e.Action.Ladder] = e.Seq
		}
	}
}

// oldest returns the first position that is still needed.
func (l ladders) oldest() uint64 {
	oldest := uint64(math.MaxUint64)
	for _, seq := range l {
		oldest = min(oldest, seq)
	}
	return oldest
}
