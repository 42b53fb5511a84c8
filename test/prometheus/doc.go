// Package prometheus holds the guard's metrics to a real Prometheus: its scraper, its
// storage and its query engine, in this process, read /metrics of the real binary, and
// PromQL must say what was posted to the guard.
//
// The other way round, what the guard asks of a Prometheus is asked of this one.
//
// It stands at the far end of the flow, where operators look, and is a module of its
// own because Prometheus brings some hundred modules that the guard itself does not
// need. There is nothing in it but tests.
package prometheus
