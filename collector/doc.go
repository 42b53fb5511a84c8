// Package collector turns what Kong emits into records. It is the first stage of
// the data's way:
//
//	bytes ─source→ Decoder ─→ []gatewarden.Record ─Sink→ store
//
// The package itself holds what all sources share: the one decoder for the JSON
// that Kong's log plugins write (Decoder), a reader of such logs from files
// (Reader), and the contract between a source and the rest of the program (Source,
// Sink, Env, Factory). One child package for each wire format or source does the
// talking: httplog takes what Kong's http-log plugin posts.
package collector
