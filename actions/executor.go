package actions

import (
	"context"
	"encoding/json"

	"github.com/gatewarden/gatewarden"
)

// Executor carries out the steps of one or more kinds. It is stateless as far as
// actions go: what it must remember of one is in the action's Memo, which the
// engine keeps in the journal.
//
// Errors: one with the code gatewarden.Unavailable (and a call that ran into its
// deadline) is tried again, Apply for as long as the breach lasts, Revert until it
// succeeds. Any other error of Prepare or Apply ends the action as failed. Calls
// for one action never overlap; calls for different actions may.
type Executor interface {
	// Prepare looks at the outside before anything is changed and returns the memo:
	// what must be known to undo the action or to recognise it later, such as the
	// plugin that was there before. It changes nothing. It is called again when the
	// guard died before the memo was in the journal. A nil memo is fine. For a share
	// step a.Memo is that of the run's move before, nil for the first.
	Prepare(ctx context.Context, a gatewarden.Action) (memo json.RawMessage, err error)

	// Apply does it, with a.Memo as Prepare or save left it, and verifies that it is
	// done. It is idempotent: called again with the same action after a crash or an
	// error, it finds what it did before and does not do it twice. save puts a newer
	// memo into the journal and returns when it is durable; call it before the step
	// that needs it. When save fails, stop and return its error.
	//
	// The outcome's Status is applied, failed (such as a job that ran and failed),
	// unknown, or left (somebody else's change is in the way: nothing was done).
	// When Apply of a reversible step fails with an error, the engine calls Revert,
	// so that nothing half done stays.
	Apply(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error)

	// Revert puts back what was there before, idempotently, also when Apply was never
	// reached or got only half way. The outcome's Status is reverted, or left when
	// somebody else changed it meanwhile. It is called for reversible kinds only. A
	// share step that was never applied goes back to what it found, one that was to the
	// weights from before the run.
	Revert(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error)
}

// OrphanRemover is an Executor that can find changes which carry the mark of this
// guard's state but belong to no action in its journal, left for example where the
// journal has lost its end. The engine asks once at start.
type OrphanRemover interface {
	Executor
	// Orphans lists the changes whose action known does not know. It changes nothing.
	Orphans(ctx context.Context, known func(actionID string) bool) ([]Orphan, error)
	// RemoveOrphan takes one of them away; one that is gone already is no error.
	RemoveOrphan(ctx context.Context, o Orphan) error
}

// Orphan is a change at the outside that no action in the journal accounts for.
type Orphan struct {
	ID     string // the peer's own, such as the plugin's
	Action string // the id of the action that its mark names; "" when it names none
	Change string // what it is, as a person would say it
}

// Renewer is an Executor whose changes end by themselves with their lease. It is told
// when that was renewed.
type Renewer interface {
	Executor
	// Renew makes a change that is in place live until a.LeaseUntil.
	Renew(ctx context.Context, a gatewarden.Action) error
}

// Noter is an Executor that says what a memo adds which it has saved in Apply: one plain sentence
// for the timeline.
type Noter interface {
	Executor
	Noted(memo json.RawMessage) string
}

// Follower is an Executor of what goes on outside without the guard, such as a build.
type Follower interface {
	Executor
	// Begun reports whether a memo names what was begun: Apply then only follows it, however
	// long the guard was away.
	Begun(memo json.RawMessage) bool
}

// Layered is an Executor whose changes may lie on top of one another. Calls for changes of
// the same upstream, plugin, route or service never overlap. The times of the actions that such
// a call is about tell their order, which clocks do not, and nothing else.
type Layered interface {
	Executor
	// Among returns an executor for one call that knows the other changes of the same
	// kind: those in place, and those that ended while any of these, or of those that
	// ended, was in place. What a newer run of its canary left as it is has the status
	// replaced.
	Among(others []gatewarden.Action) Executor
}
