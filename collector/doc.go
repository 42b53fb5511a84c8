// Package collector turns what Kong emits into records. It is the first stage of
// the data's way:
//
//	bytes ─source→ Decoder ─→ []gatewarden.Record ─Sink→ store
//
// The package itself holds what all sources share: the one decoder for the JSON
// that Kong's log plugins write (Decoder), a reader of such logs from files
// (Reader), and the contract between a source and the rest of the program (Source,
// Sink, Checkpoints, Env, Factory). Sources whose senders wait for no answer count by a
// Feed, which leaves out what is broken; Stream and Datagrams bring it what comes over
// TCP and UDP.
//
// One child package for each wire format or source does the talking: httplog takes
// what Kong's http-log plugin posts, tcplog, udplog and syslog what the plugins of
// these names send, filelog reads what file-log writes, and stdin what is piped in.
// kongmetrics asks Kong's nodes for their counters, against which a log is checked
// (Gateway), or which count where there is no log.
package collector
