// Package notify is the executor of StepWebhook: it tells anything that listens
// to HTTP about an action, so that whatever the guard has no kind of step for can
// still be done by somebody else's program. In the flow it stands behind the
// engine of package actions, beside kong and jenkins.
//
// The body is the Message of the action. Every request of one action carries the
// same Idempotency-Key, the action's id: a call is repeated when its answer was
// lost, so the receiver sees an action at least once and can tell repeats by the
// key. What a call did cannot be taken back; Revert does nothing.
package notify
