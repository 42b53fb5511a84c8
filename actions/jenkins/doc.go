// Package jenkins is the executor of StepJenkins: it runs a job on a Jenkins
// controller, exactly once for an action, and follows it to its end. In the flow
// it stands behind the engine of package actions, which hands it an Action whose
// intent is in the journal and takes its Outcome back there.
//
//	Prepare ─▶ look for the action ─▶ found ──────────────────────▶ follow the queue item ─▶ follow the build ─▶ Outcome
//	           (queue, then builds)   not found ─▶ check ─▶ POST ─▶
//
// # Once
//
// A build carries the action's id as the parameter GATEWARDEN_ACTION, which the
// job must declare: Jenkins drops undeclared parameters without a word, and then
// nobody could tell whose build it is. Jenkins itself folds equal requests only
// while the first one is still in the queue, so before each trigger, and after
// each answer that was lost, the queue and then the builds are searched for the
// id. When the answer to a trigger is lost (a timeout, a broken connection) the
// job is searched for, but never triggered again: if it cannot be found the
// outcome is unknown, and a person must look. A rollback that runs twice can be
// worse than one that a person starts.
//
// One thing no client can rule out: a controller that takes up a trigger long
// after it was sent. A guard that died in the middle of a trigger, or that was
// told 502, 503 or 504 by a proxy, therefore looks for Config.Settle before it triggers
// again; once is promised as long as no trigger lies around for longer than that.
//
// # What cannot be undone
//
// A build cannot be taken back. Revert changes nothing at Jenkins. A job that is given up,
// because its wait is over or a person takes the answer back, is left alone unless its step
// has a Cancel: between the look and the cancellation the build may have begun, and half a
// rollback can be worse than a whole one. With a Cancel only what was just seen to carry the
// action's id is cancelled or stopped. The outcome's link leads to where a person can stop it.
package jenkins
