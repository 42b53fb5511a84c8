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
// Ages count from the latest second that the clock has shown. A clock that leaps by more than
// an hour, or goes back, is believed once it has held for a minute: nothing is made coarser or
// dropped by one that is wrong for a moment. Once a clock that was ahead is right again, ages
// count from there: what was made coarser meanwhile stays so, and what comes then is kept by
// the second, from the end of the slots on that are coarser. A minute later what was counted at
// times that have not come is dropped, if the clock went back by as much as it had leapt ahead
// before; otherwise it may be the clock that is wrong now. Nobody else's clock is believed.
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
	"cmp"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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
	DedupLimit  int           // how many ids are remembered at most, 6 to 10 bytes each; 2,000,000
	// KeepDeltas makes the store remember what was added until Drain takes it. Leave
	// it false when nobody drains, as in a replay.
	KeepDeltas bool
	Logger     *slog.Logger // nil for none
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
type Store struct {
	cfg     Config
	metrics *metrics
	dedup   *dedup
	sheds   atomic.Pointer[[]gatewarden.Shed]
	folds   sync.Pool // of *fold

	reform sync.Mutex // held while series are taken down or replaced as a whole; taken before mu
	meters []Meter    // what Configure was given; guarded by reform

	mu      sync.RWMutex // guards all that follows
	cal     calendar
	moved   int64 // by how many seconds the clock has leapt last, and not back again; below 0 for back
	book    *book
	watched watched
	vouched map[meterKey]*watched
	swept   int // where sweep has got to in book.list

	origin       uint64                // this store, among those that a log has messages of
	number       uint64                // of the last frame cut
	drained      []byte                // frames that Drain has not returned yet
	dirty        []*series             // those with something pending
	waiting      int                   // how many cells that is, about
	fresh        watched               // what was watched and is pending
	freshVouches map[meterKey]*watched // what was vouched for and is pending
	applied      progress
	saving       *saving // nil unless a Snapshot is under way
}

// New returns an empty store that registers its metrics with reg.
func New(cfg Config, reg prometheus.Registerer) *Store {
	cfg = cfg.withDefaults()
	s := &Store{
		cfg:   cfg,
		dedup: newDedup(cfg.DedupWindow, cfg.DedupLimit),
		folds: sync.Pool{New: func() any { return &fold{} }},
		cal:   newCalendar(int64(cfg.Retention / time.Second)),
		book:  newBook(cfg.MaxSeries),

		origin:  rand.Uint64(),
		applied: progress{},
		vouched: map[meterKey]*watched{}, freshVouches: map[meterKey]*watched{},
	}
	s.sheds.Store(&[]gatewarden.Shed{})
	s.metrics = newMetrics(reg, s)
	return s
}

func (c Config) withDefaults() Config {
	c.MaxSeries = cmp.Or(c.MaxSeries, 10_000)
	c.MaxFuture = cmp.Or(c.MaxFuture, 10*time.Second)
	c.Retention = cmp.Or(c.Retention, 92*24*time.Hour)
	c.DedupWindow = cmp.Or(c.DedupWindow, 3*time.Minute)
	c.DedupLimit = cmp.Or(c.DedupLimit, 2_000_000)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Configure says which meters exist, on load and on reload. Meters that stay keep
// their counts; a series that is only there for meters goes with its last one. A
// new meter is answered from what is already there as far as possible:
// availability from the counts by class, a latency of the whole request from the
// latency distributions as far back as those reach (approximate there, exact from
// now on). Where nothing is there, the Coverage of its counts says so.
func (s *Store) Configure(meters []Meter) {
	s.reform.Lock()
	defer s.reform.Unlock()
	s.meters = slices.Clone(meters)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.configure(meters, &s.cal)
	s.retract()
}

// SetSheds replaces the list of responses that changes of the guard make.
func (s *Store) SetSheds(sheds []gatewarden.Shed) {
	sheds = slices.Clone(sheds)
	s.sheds.Store(&sheds)
}

// Watched notes that the guard was receiving records in [from, to).
func (s *Store) Watched(from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched.add(nanos(from), nanos(to))
	if s.cfg.KeepDeltas {
		s.fresh.add(nanos(from), nanos(to))
	}
}

// seriesCount returns how many series there are.
func (s *Store) seriesCount() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.book.series)
}
