// Package gatewarden is the vocabulary of the program: what a request is once
// Kong has logged it, what is promised to users about such requests, what is
// judged, and what is done about it.
//
// The data's way through the program, with the type that each stage hands on:
//
//	bytes ─collector→ Record ─store→ Window ─analyzers→ Verdict ─actions→ Action ─executor→ Outcome ─▶ journal
//
// The package imports the standard library only and does no input or output:
// no file, socket, clock or log. Every other package of the module imports this
// one; it imports none of them (internal/archtest holds that).
package gatewarden
