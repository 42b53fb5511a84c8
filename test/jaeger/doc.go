// Package jaeger holds the guard to a real Jaeger: what was sent to it, the jaeger source
// reads, by both of its query APIs; and what the real binary does about a breach is one
// trace there, from the verdict over the decision to the calls of Kong and Jenkins.
//
// It stands at the far end of the flow, where people look at traces. It is a module of its
// own, and the Jaeger that it runs another one (server), because Jaeger brings hundreds of
// modules in versions that are not the guard's. There is nothing in it but tests.
package jaeger
