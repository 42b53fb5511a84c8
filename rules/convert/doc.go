// Package convert turns rules into what others read, and what others wrote into rules:
// Prometheus rules with the names of Sloth's out; OpenSLO v1 and Sloth's prometheus/v1
// in. It stands beside the loader of rules, and the verbs `rules export` and `rules
// import` are all that uses it.
//
// The formats say different things. What has no counterpart on the other side is never
// dropped without a word: each is a problem with its place, an error where a whole SLO is
// left out, and a warning where the rest of it can do without.
package convert
