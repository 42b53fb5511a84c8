// Package notify is the executor of StepWebhook, StepSlack and StepAlertmanager: it
// tells anything that listens to HTTP about an action, so that whatever the guard has no
// kind of step for can still be done by somebody else's program. In the flow it stands behind the
// engine of package actions, beside kong and jenkins.
//
// The body of a webhook is the Message of the action; Slack and Alertmanager get what
// they understand. Every request of one action carries the
// same Idempotency-Key, the action's id: a call is repeated when its answer was
// lost, so the receiver sees an action at least once and can tell repeats by the
// key. What a call did cannot be taken back, but for an alert: that ends with the lease
// of its action, is sent again when that is renewed, and is resolved by Revert.
package notify
