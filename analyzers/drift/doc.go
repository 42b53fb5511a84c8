// Package drift judges how alike the parts of the gateway are: it is an analyzer, pure
// judgement beside burnrate and canary.
//
//	what Kong's nodes say of themselves ─┐
//	what actions rely on and is gone ────┴View→ Judge ─Drift→ verdict → actions; events → journal, api
//
// A guard that changes a gateway of several nodes relies on their being the same gateway:
// a shed that one node of three does not enforce is two thirds of a shed. Nodes follow a
// change one by one and a release goes through them one by one, so a difference counts
// only when it has lasted longer than a grace.
//
// Nodes are compared with those of their kind: data planes that one control plane knows
// with each other, control planes with each other, all others with each other. A node that
// gives no answer is compared with nothing; what stood against it stays as it was, for
// silence is no sign of health.
package drift
