package actions

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Answer begins the ladder of a policy that a run of a canary named: trigger has Kind
// EventGate, the canary's Name, and in Since when the run ended. It returns nil when
// that is in the journal. The id of the ladder is made of policy and trigger, so called
// again, after a restart too, it does nothing. Errors: not_found when no such policy is
// in the rules; conflict when this guard does not lead; the journal's.
//
// The ladder climbs by the After of its steps until it is through with them, whatever
// the SLOs say, and goes the one road: mode, limits, pauses, leader, journal. It is not
// undone by health. A drained canary gets its traffic back when a person reverts the
// ladder, and stays drained when a newer run begins (Release); its weights have no
// lease, so that it does not get it back because the guard was away either. Plugins in
// such a ladder are sheds: they have a lease, and are undone Revert.After once the
// ladder is through and no SLO is in outage or pages.
func (e *Engine) Answer(ctx context.Context, at time.Time, trigger gatewarden.Trigger, policy string) error {
	return gatewarden.Errorf(gatewarden.Internal, "not there yet")
}

// Release ends all ladders that answer runs of a canary or hold weights for one, because
// a newer run begins (call it before the first Move of that). Weights stay as they are
// and are nobody's from then on; sheds still in place are taken back first; what waits
// for approval is withdrawn. The reason is one plain sentence. It returns nil when that
// is in the journal, and when there is nothing to end.
func (e *Engine) Release(ctx context.Context, at time.Time, canary, reason string) error {
	return gatewarden.Errorf(gatewarden.Internal, "not there yet")
}
