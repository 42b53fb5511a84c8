// Package actions decides what is done about a breach, does it, and takes it back
// when the danger is over. It stands between the analyzers, whose verdicts it is
// handed once a tick, and the outside world, which it reaches through executors
// only; everything it decides goes to the journal first.
//
//	Verdict ─▶ Engine ─▶ known already? ─▶ paused? ─▶ limits ─▶ mode ─▶ leader?
//	                                                                   │
//	  outcome into the journal ◀─ Apply, verify ◀─ intent into the journal ◀─ Prepare
//
// The words: a *policy* is what the rules files call an action. A *ladder* is one
// policy answering one breach; its steps are *actions*. A ladder climbs while the
// breach lasts, descends when it is over, and ends when nothing of it is in place.
//
// A ladder can also answer a run of a canary (Answer): it climbs until it is through,
// is not undone by health, and stays until a person reverts it or a newer run begins
// (Release). And the weights that a run moves by itself (Move) are held by a ladder of
// their own, one action a move.
//
// What is done at the gateway is looked for in the traffic (Watch), and looked at now and
// then (Inspector): a step that does not show hastens the next one, and one that somebody
// else has undone is told, and not done again.
//
// The limit of an adaptive step moves while it is in place (steer.go): a Steerer, which is
// package adaptive, says where to; each change is in the journal before the call.
//
// The subpackages kong, jenkins and notify are the executors.
package actions
