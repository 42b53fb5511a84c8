// Package unit reads unit tests of rules: which requests there are, and what the guard is
// to make of them when. It stands beside the loader of rules; app runs the tests with the
// loop that runs live, in event time.
//
//	tests.yaml ─Load→ Suite ─┬ Traffic.Records ─▶ loop
//	                         └ Expect ◀── verdicts, steps, runs
package unit
