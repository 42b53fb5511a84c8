// Package app joins the parts: it alone knows every kind of source and executor.
//
// The way of a record, and of one second:
//
//	Kong ──http-log──▶ ingest listener ──▶ source ──▶ intake ──▶ store ◀── keeper ──▶ state (cells, snapshots)
//	                                                     │         │
//	                                                  (silence)    │ Count
//	                                                     ▼         ▼
//	ticker, twice a second ──▶ loop.Tick ──▶ evaluator: one analyzer an SLO
//	                            │              │ events
//	                            │ verdicts     ▼
//	                            │           journal ──▶ state, exporters ──▶ file, Elasticsearch, Grafana
//	                            ▼              ▲ outcomes
//	                         engine ──────────┘
//	                            │ Prepare, Apply, Revert
//	                            ▼
//	                    Kong, Jenkins, webhooks
//
//	people, Prometheus ──▶ API listener ──▶ api.Server ──▶ views over all of these
//	files, SIGHUP, POST /-/reload ──▶ reloader: builds a new world whole, then swaps it in
//
// Live, replay and tests run the same loop; only the clock and the ends differ.
//
// Several guards may share a state (see guards): what counts is in each of them, the App;
// what judges and acts, from the loop down, is in the one that leads, as its term. A guard
// that is alone has one term, which lasts as long as it does.
package app
