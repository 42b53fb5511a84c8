// Package gates keeps the runs of canaries: the questions "may this release go on?" with
// their answers. It stands between the intake, which shows it every record that was
// counted, and those who act on an answer:
//
//	intake ──records──▶ Batch ──observations──▶ Judge, one a run ──▶ Tick ──▶ journal, Answer, Mover, callback
//	                      │                     ▲  │ (each second)
//	                      ▼            Observed │  ▼
//	                     Log ◀──────────────────┤ RunStore
//	                                            │
//	intake of another guard ──records──▶ Report ┘ (of an Observer)
//
// A Judge is pure and deterministic, so a run that the guard's death interrupts goes on as
// if nothing had happened: every few seconds the judge is written down with the run, and
// what it was shown since is in the Log before Kong is told that its records were taken.
//
// Of several guards side by side one keeps the Book: it alone judges, moves and answers.
// The others make the same observations by an Observer, and hand them to it. When it dies
// or has to make place (Abandon), the next one makes a Book of the same RunStore and Log.
//
// The package knows neither how a judge judges nor how weights are moved; it declares what
// it needs of both.
package gates
