// Package stats is the mathematics that analyzers judge with: how surprising a
// count is, and how much evidence a stream of counts has gathered. It knows
// nothing of SLOs, windows or time; package burnrate decides what to ask it.
//
// Evidence is kept as e-values: a non-negative number whose mean is at most 1 as
// long as the null hypothesis holds. Evidence of several looks multiplies, may be
// looked at after every request and stopped at any time, which p-values may not.
package stats
