// Package store keeps tallies by event time: it takes the Records that collectors
// decode, folds them into one-second cells for each Series, and answers what the
// analyzers ask: how many events of an SLI were good and bad in a window, and what
// the window's latencies looked like.
//
//	[]Record ─Add→ cells (series × second) ─→ columns of running totals ─Count, Window→ analyzers
//	                       └─Drain→ durable log ─Apply→ the same store after a restart, or another guard
//
// # What counts where
//
// A record counts in the second of its completion (Record.At), for the whole
// gateway, its service, its service and route, and every configured meter's series
// that it matches. A response that a change of the guard made (a Shed) is counted
// as shed and as nothing else.
//
// # Resolution
//
// Windows are answered in whole slots; both ends are rounded down, so windows that
// touch add up exactly. The width of the slots depends on how long ago an end is:
//
//	age of the end   slot    share of a window that reaches back that far
//	up to 1 h        1 s     1/3600 of 1 h
//	up to 10 h       30 s    1/120 of 1 h
//	up to 5 d        5 min   1/120 of 10 h
//	up to 92 d       1 h     1/120 of 5 d
//
// so the far end of a window that ends now is never off by more than a second or
// 1/120 of its length, whichever is larger. Latency distributions cost more memory
// and are kept for less: by the second for five minutes, by the minute for two
// hours, by the hour for 26 hours.
//
// # Across restarts
//
// The caller publishes what Drain returns to a durable log, now and then keeps a
// Snapshot, and after a restart calls New, Configure, Restore with the last
// snapshot, and Apply with every message of the log, or at least with those drained
// after that Snapshot was called. Messages carry the number they had when they were
// drained and a snapshot knows the numbers it holds, so a message that is applied
// twice, or that the snapshot already contains, changes nothing: nothing is lost
// and nothing is doubled, in whatever order the messages come. What was added but
// not yet drained is lost in a crash: a caller that must not lose it drains and
// publishes before it acknowledges the records.
package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Config bounds a Store. A zero field means its default.
type Config struct {
	MaxSeries   int           // automatic series (services, routes); 10,000. Configured meters are not bounded by it
	MaxFuture   time.Duration // how far ahead of now a record may be; 10 s
	Retention   time.Duration // how far back a record may be, and windows reach; 92 days
	DedupWindow time.Duration // how long request ids are remembered at least; 3 minutes
	DedupLimit  int           // how many ids are remembered at most, about 20 bytes each; 2,000,000
	// KeepDeltas makes the store remember what was added until Drain takes it. Leave
	// it false when nobody drains, as in a replay.
	KeepDeltas bool
}

// Meter is what an SLO counts: the events of an SLI in a series.
type Meter struct {
	Series gatewarden.Series
	SLI    gatewarden.SLI
}

// Added says what became of the records of one Add, each in exactly one field.
type Added struct {
	Counted   int // good or bad, by each SLI's judgement
	Shed      int // made by a change of the guard: counted apart
	Duplicate int // counted before, by its id
	TooLate   int // older than anything kept
	Future    int // further ahead than Config.MaxFuture
}

// SeriesInfo is a series that the store keeps, with the completion time of its
// latest record (the second of it; zero when there was none).
type SeriesInfo struct {
	Series gatewarden.Series `json:"series"`
	Last   time.Time         `json:"last"`
}

// Store keeps tallies by series and event time. It is safe for concurrent use.
type Store struct{}

// New returns an empty store that registers its metrics with reg.
func New(cfg Config, reg prometheus.Registerer) *Store { return &Store{} }

// Configure says which meters exist, on load and on reload. Meters that stay keep
// their counts; a series that is only there for meters goes with its last one. A
// new meter is answered from what is already there as far as possible:
// availability from the counts by class, a latency of the whole request from the
// latency distributions as far back as those reach (approximate there, exact from
// now on). Where nothing is there, the Coverage of its counts says so.
func (s *Store) Configure(meters []Meter) {}

// SetSheds replaces the list of responses that changes of the guard make.
func (s *Store) SetSheds(sheds []gatewarden.Shed) {}

// Add counts records; now is the time of their arrival. A batch becomes visible to
// readers as a whole. Strings of the records are not kept.
func (s *Store) Add(records []gatewarden.Record, now time.Time) Added { return Added{} }

// Watched notes that the guard was receiving records in [from, to).
func (s *Store) Watched(from, to time.Time) {}

// Count returns how many events of the SLI were good and bad in [from, to), ends
// rounded down to the resolution there: the running second is left out unless to
// lies behind it. An SLI other than availability must be configured for the series;
// Coverage counts only the time in which it was.
func (s *Store) Count(series gatewarden.Series, sli *gatewarden.SLI, from, to time.Time) gatewarden.Count {
	return gatewarden.Count{}
}

// Window returns the tally of a series over [from, to), ends rounded down to the
// resolution there. Its latency distribution reaches back 26 hours at most.
func (s *Store) Window(series gatewarden.Series, from, to time.Time) gatewarden.Window {
	return gatewarden.Window{}
}

// List returns the series that the store keeps, in the order of their fields.
func (s *Store) List() []SeriesInfo { return nil }

// Drain returns what was added and watched since the last Drain as one message for
// Apply, and nil when there was nothing or Config.KeepDeltas is false.
func (s *Store) Drain() []byte { return nil }

// Apply folds a message of Drain in, from this store's past life or from another
// one. A message that was applied before, or is this store's own, changes nothing.
// A damaged message is an error of code invalid and changes nothing.
func (s *Store) Apply(message []byte) error { return nil }

// Snapshot returns the whole state, compact, versioned and checksummed. Adding and
// reading go on meanwhile; the snapshot is of the moment of the call and holds
// everything drained before, and what the next Drain returns for the time before.
func (s *Store) Snapshot() ([]byte, error) { return nil, nil }

// Restore replaces the state by that of a snapshot; call it before anything is
// added. A damaged snapshot is an error of code invalid and changes nothing.
func (s *Store) Restore(snapshot []byte) error { return nil }
