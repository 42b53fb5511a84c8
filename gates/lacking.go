package gates

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// lacking notes whether too much of the log is missing to judge the canary; mu is held.
func (b *Book) lacking(r *run, at time.Time) {
	r.lacks = ""
	if b.cfg.Lacks == nil {
		return
	}
	if lacks, why := b.cfg.Lacks(r.canary.Traffic(), at); lacks {
		r.lacks = why
	}
}

// undecided takes back a decision that came while too much of the log was missing: what is
// missing may be what speaks against it. The judge goes on, so what still holds when the log
// is whole again is decided then. At the deadline there is no more waiting, and no answer.
func (r *run) undecided() bool {
	d := r.decision
	if r.lacks == "" || d == nil {
		return false
	}
	if r.State == gatewarden.RunRunning && !d.at.Before(r.Deadline) {
		d.state = gatewarden.Inconclusive
		d.verdict.State, d.verdict.Reason = gatewarden.Inconclusive, "can't judge: "+r.lacks
		return false
	}
	r.decision = nil
	return true
}
