package gates

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// lacking notes whether too much of the log is missing to judge the canary, or not here yet;
// mu is held.
func (b *Book) lacking(r *run, at time.Time) {
	r.lacks, r.late = "", ""
	if b.cfg.Lacks != nil {
		if lacks, why := b.cfg.Lacks(r.canary.Traffic(), at); lacks {
			r.lacks = why
		}
	}
	if b.cfg.Late != nil {
		if late, why := b.cfg.Late(at); late {
			r.late = why
		}
	}
}

// undecided takes back a decision that came while too much of the log was missing: what is
// missing may be what speaks against it. The judge goes on, so what still holds when the log
// is whole again is decided then. At the deadline there is no more waiting, and no answer; nor is
// it a pass then, whatever the canary holds.
func (r *run) undecided() bool {
	d := r.decision
	if d == nil {
		return false
	}
	why := r.missing(d.state)
	if why == "" {
		return false
	}
	if r.State == gatewarden.RunRunning && !d.at.Before(r.Deadline) {
		d.state, d.unjudged = gatewarden.Inconclusive, true
		d.verdict.State, d.verdict.Reason = gatewarden.Inconclusive, "can't judge: "+why
		return false
	}
	r.decision = nil
	return true
}

// missing returns why nothing can be decided, "" when it can. A fail waits for no other
// guard: which of them got a request says nothing of how it went, so it is as sure by a part
// of the requests as its evidence says, and waiting would cost more of them.
func (r *run) missing(state gatewarden.State) string {
	if r.lacks == "" && state != gatewarden.Breach {
		return r.late
	}
	return r.lacks
}
