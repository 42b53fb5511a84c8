package kongmetrics

import (
	"sync"
	"time"
)

// state is what a node had counted at the last look at it, known by its own id: one that
// can be reached by two addresses, as with IPv4 and IPv6, counts once. One that does not say
// who it is is known by its address.
//
// An id is not always one node's: Kong keeps it in a file (kong.id), which an image may have,
// and a template can set node_id for all alike. Counters of two nodes must never be compared,
// the lower ones would be a restart, of which all counts. So nothing is counted from a first
// look at an address, and what is counted later must lie in one line with what the node said
// meanwhile at others.
type state struct {
	looked time.Time // the last time; of Source.mu

	mu       sync.Mutex
	counters *counters // as counted last, at whatever address; nil for none
	doubts   int       // answers that one node could not give, since it last restarted
	several  bool      // it is the id of several nodes: what each address says counts by itself
}

// sure is how many doubts make it certain. One node raises one when it restarts and has
// passed its old counters before it is looked at again, which it does only right after a
// start.
const sure = 3

// base returns the counters that an answer is compared with, and nil when nothing can be
// counted by it. own are those of the look before at the same address, nil for none; began is
// when it was asked.
func (k *state) base(own *counters, e *exposition, began time.Time) *counters {
	switch {
	case own == nil || k.counters == nil:
		return nil
	case k.several || !k.counters.at.After(own.at):
		return own
	case began.Before(k.counters.at):
		// Another address of the node has answered meanwhile, and which answer is newer
		// nobody knows: the next look has what is in this one.
		return nil
	case own.above(&e.counts):
		k.doubts = 0 // it restarted, and the other address saw it before or after that
		return k.counters
	case own.above(&k.counters.counts) || k.counters.above(&e.counts):
		if k.doubts++; k.doubts < sure {
			return nil
		}
		k.several = true
		return own
	}
	return k.counters
}

// keep remembers an answer that was compared with base, at one address and for all.
func (k *state) keep(here *sight, e *exposition, base *counters, reset bool) {
	switch now := e.keep(here.at, base, reset); {
	case base != nil || k.counters == nil:
		k.counters, here.counters = now, now
	case here.counters == nil:
		here.counters = now
	}
}
