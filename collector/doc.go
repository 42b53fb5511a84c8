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
//
// # What the decoder takes
//
// The Decoder refuses a body exactly where the Decoder of encoding/json does, which
// FuzzDecode holds it to, but for two limits: arrays and objects may nest 64 deep (there
// 10,000), and a body may have Limits.MaxRecords elements. As there,
//
//   - values may follow each other with nothing between them, {}{} or [{}]{}, which
//     json.Unmarshal refuses;
//   - bytes that are not UTF-8, and halves of surrogate pairs, are taken inside of strings,
//     and read as U+FFFD; RFC 8259 wants UTF-8;
//   - of equal keys the last holds, whole: nothing is left of the object that an earlier one
//     had.
//
// What the values of a valid element mean is read leniently:
//
//   - a number may be a string that is exactly a JSON number, "200", as Lua writes it;
//   - a value of another type than Kong's, or beyond what it can be, is as if it were not
//     there. Of a status the fraction is cut off;
//   - latencies may be an array, as Lua writes an empty table; tries beyond 32 are left out;
//   - keys are Kong's to the letter, where encoding/json would take other cases for the
//     fields of a struct, and others mean nothing.
//
// An element without what a record needs, with a name above 1 KiB, longer than
// Limits.MaxRecordBytes, or that is no object, is rejected by itself: the others count. A
// byte order mark is taken by Reader, at the beginning of a file, and not by Decoder.
package collector
