// Package kong carries out the steps that change a Kong gateway: a plugin put into
// a scope, a route led to another service, a service disabled, the weight of targets set or
// taken to 0, the requests of an upstream divided between a canary and its baseline. It is
// one of the executors that package actions calls, after the intent is in the journal and
// before the outcome is; it talks to the Admin API through go-kong. Afterwards it says how
// a change shows in the traffic (sign.go), and whether it is still as it was made
// (inspect.go).
//
// Every change is written so that it can be recognised and taken back, also after
// a crash between any two calls:
//
//   - A plugin of the guard's own has an id made from the action's id, so putting it
//     twice is putting it once. It is deleted on revert. Its tags say whose it is, and with
//     which settings it was made (sent.go), for a guard that knows nothing else of it.
//   - A plugin of that name that was in that scope before is the user's. Its whole
//     body is in the memo before it is changed, and is given back as it was. What of it is
//     not merged with the step's settings is said at pluginMemo.settings.
//   - An adaptive step is such a plugin whose limit moves. That is not in the memo: the
//     limit that Kong has is the action's, or the one before it.
//   - A route that is diverted, and a service that is disabled, lose one field to the step;
//     what that held is in the memo.
//   - A target's weight from before is in the memo. For a move of a canary's run that is
//     the weight from before the run, whichever move it is.
//
// A write whose answer was lost is known again by what it comes to, also when steps above or
// beneath have come or gone before it is asked for again.
//
// What somebody else changed meanwhile is left alone and said. Kong has no
// compare-and-set: between the read that finds things unchanged and the write that
// follows lies one round trip in which somebody else's change would be lost.
//
// Several actions may change the same thing: they lie on top of one another in layers
// (layers.go for weights and fields, stack.go for plugins), which come off in any order.
// Those of ladders lie above those of a run's moves, so that what answers a breach goes
// before what a run wants. The engine knows them all, and lets only one call for a thing
// be made at a time.
//
// A Kong without a database takes no single writes; there each is made of its whole
// configuration (dbless.go), and everything else is the same.
package kong
