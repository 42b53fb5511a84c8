// Package adaptive says how many requests a second a service can bear while it is
// overloaded: the law that steers the limits of adaptive steps by the SLI itself. It
// stands beside the engine of package actions, which asks it with each tick (as its
// Steerer), writes what it says to the journal and lets an executor bring it to Kong.
//
//	store ─Count, Window─▶ Steerer ─▶ law ─▶ gatewarden.Limit ─▶ engine ─▶ journal, Kong
//
// The law is additive increase and multiplicative decrease, as TCP's, with four things that
// a gateway asks for:
//
//   - A change shows late (Kong's workers take it up within 5 s, its log comes up to a
//     second later), so nothing is decided for Settle after one; but that a queue has drained
//     is seen in the log, and the limit goes back at once.
//   - What the service was seen to bear is remembered, and after a cut the limit goes back
//     there instead of climbing for minutes. The cut itself is deep, because a queue of
//     requests whose clients have left must drain first.
//   - A limit that is a little too high makes a queue that grows for a long while before
//     anything is late. So it is looked how long requests take and how many come back, and
//     given up before it hurts (CoDel's idea: a queue is what even the quickest wait in).
//   - Looking for more costs requests of real users: what an attempt has spoilt must be
//     earned back within the SLO's budget before the next.
//
// It writes to Kong seldom: no more than a bucket of changes allows. Everything that it
// remembers is in the Limit, which is in the journal.
//
// law.go decides, on what sight.go makes of what reading.go reads from the store.
package adaptive
