// Package canary judges a release while it takes a part of the traffic: is the canary
// worse than the baseline, is it shown not to be, or can't that be said yet? It is pure
// judgement: observations and an instant in, Verdict out; no clock, goroutine or socket.
//
//	Record ─Canary.Observe→ Observation ─Add→ cell (1 s) ─close→ blocks (1, 2, 5 or 10 s) ─bets→ e-processes ─→ Verdict
//	                                             before the start: history → dispersion, block lengths, tail threshold
//
// The mathematics is in analyzers/stats: one bounded bet on each block and check (share
// bets on failures and on the latency's tail, a rank bet on its whole distribution), mixed
// over effect sizes and starting times. A canary within its margins is failed with a
// probability of at most Policy.FalseAlarm over its whole run, however often the verdict
// is asked for; passing needs evidence of its own.
//
//	policy.go       what is promised, and the margins
//	judge.go        the Judge: takes observations, closes seconds, hands blocks to bets
//	cell.go         one second, latencies in logarithmic bins
//	episodes.go     a client that keeps failing is one episode, not many failures
//	block.go        seconds gathered into blocks, stratified by route
//	history.go      what the baseline did before the run
//	checks.go       the bets: errors, latency, tails; for failing and for passing
//	alone.go        a canary without a baseline: limits of its own
//	trail.go        the evidence of the last minute
//	suspects.go     the requests to look at
//	split.go        does the split agree with the configured weights?
//	trouble.go      is the baseline in trouble itself?
//	plan.go         how long a decision will take, before there is a run
//	verdict.go      the judgement with its figures
//	reason.go       the judgement as a sentence
//	state.go        the state as JSON: a run survives a restart and a hand-over
package canary
