package adaptive

import (
	"math"
	"time"
)

// The law's constants. Shares are of the limit.
const (
	defaultSettle = 6 * time.Second // 5 s for Kong's workers, 1 s for its log

	// leastEvents is how many requests it takes to say anything.
	leastEvents = 10
	// surprise is the natural logarithm of how improbable so many bad requests must be,
	// were the service just at its budget, to call it hurt: 1 in 1,100.
	surprise = 7

	shallowestCut = 0.10 // a cut is half the share of bad requests, within these
	deepestCut    = 0.50
	leastLesson   = 0.05 // what hurt lowers what is known by a quarter of that share, within these
	mostLesson    = 0.25
	caution       = 0.95 // what was borne in the rush of the beginning, and a little less

	firstRaise  = 0.03 // each raise that is borne doubles the next
	mostRaise   = 0.12
	searchRaise = 0.25 // until it was seen for the first time what is too much

	// longestPenance bounds how long an attempt to let more through waits for what the one
	// before has spoilt to be earned back.
	longestPenance = time.Hour

	// The bucket of changes: so many at once, and one more each fillEvery. Cuts may take the
	// last one; what lets more through leaves some for them.
	bucket       = 40.0
	fillEvery    = 30 * time.Second
	leftForCuts  = 10.0
	leftForRaise = 20.0
)

// memory is what the law knows beyond the limit itself.
type memory struct {
	Known   float64   `json:"known"`           // what the service is known to bear, requests a second
	Cut     bool      `json:"cut,omitempty"`   // it was hurt, and has not been seen well since
	Found   bool      `json:"found,omitempty"` // it was seen what is too much
	Raise   float64   `json:"raise"`           // the next raise
	Tried   time.Time `json:"tried,omitzero"`  // when the attempt that hurt began; zero when there was none
	Since   time.Time `json:"since"`           // from when on earning counts
	Owed    float64   `json:"owed,omitempty"`  // good requests to be earned from then on
	Changes float64   `json:"changes"`         // left in the bucket
	Filled  time.Time `json:"filled"`          // as of when
}

// sight is what the law sees of a limit in place.
type sight struct {
	good, bad    uint64 // events of the SLO of late, all of them under this limit
	passed, shed uint64 // requests in the scope, likewise
	earned       func(since time.Time) (good, bad uint64)
}

// bounds are what the rules say.
type bounds struct {
	floor, ceiling float64
	budget         float64 // share of events that may be bad
	settle         time.Duration
}

func (b *bounds) clamp(limit float64) float64 { return min(max(limit, b.floor), b.ceiling) }

// state is how the SLO does under a limit.
type state uint8

const (
	unknown state = iota
	well
	hurt
)

// judge says how the SLO does. It is hurt when its bad ratio is above the budget and so
// many bad events would be a surprise at the budget itself: by Chernoff's bound,
// P(bad or more of n) ≤ exp(−n·KL(bad/n ‖ budget)).
func (s *sight) judge(budget float64) state {
	n := float64(s.good + s.bad)
	if n < leastEvents {
		return unknown
	}
	if ratio := float64(s.bad) / n; ratio > budget && n*divergence(ratio, budget) > surprise {
		return hurt
	}
	return well
}

// divergence is Kullback and Leibler's of two coins, in nats.
func divergence(p, q float64) float64 {
	term := func(p, q float64) float64 {
		if p == 0 {
			return 0
		}
		return p * math.Log(p/q)
	}
	return term(p, q) + term(1-p, 1-q)
}

// binds reports whether the limit keeps requests back: more than 1 in 200.
func (s *sight) binds() bool { return s.shed*200 > s.shed+s.passed }

func (s *sight) badRatio() float64 {
	return float64(s.bad) / math.Max(float64(s.good+s.bad), 1)
}

// within bounds a share.
func within(share, least, most float64) float64 { return min(max(share, least), most) }

// begin returns where a limit begins: at what the service was seen to bear a moment ago,
// less a cut by which the queue of what has come meanwhile drains.
func begin(b *bounds, borne, badRatio float64, at time.Time) (limit float64, m memory) {
	m = memory{
		Known: b.clamp(caution * borne), Cut: true, Raise: firstRaise,
		Since: at, Changes: bucket - 1, Filled: at,
	}
	return b.clamp(m.Known * (1 - within(badRatio, 0, deepestCut))), m
}

// move is a decision of the law.
type move uint8

const (
	stay   move = iota
	cut         // it hurts: less
	regain      // it is well again: back to what the service is known to bear
	raise       // it is well and keeps requests back: a little more
)

// place is a limit that has settled.
type place struct {
	limit  float64
	before float64   // the limit before it, 0 for none
	since  time.Time // when it was decided
	memory
}

// next decides where a limit that has settled goes. One that stays keeps its memory.
func (p place) next(b *bounds, s *sight, at time.Time) (place, move) {
	p.fill(at)
	switch s.judge(b.budget) {
	case hurt:
		return p.cut(b, s)
	case well:
		if p.Cut {
			return p.regain(b, s, at)
		}
		return p.raise(b, s, at)
	default:
		return p, stay
	}
}

// fill fills the bucket of changes.
func (m *memory) fill(at time.Time) {
	if since := at.Sub(m.Filled); since > 0 {
		m.Changes = min(m.Changes+float64(since)/float64(fillEvery), bucket)
	}
	m.Filled = at
}

// cut lowers the limit. The first cut learns from it what is too much; those after it only
// drain the queue.
func (p place) cut(b *bounds, s *sight) (place, move) {
	to := b.clamp(p.limit * (1 - within(s.badRatio()/2, shallowestCut, deepestCut)))
	if to >= p.limit || p.Changes < 1 {
		return p, stay
	}
	if !p.Cut {
		known := p.limit * (1 - within(s.badRatio()/4, leastLesson, mostLesson))
		if p.before > 0 && p.before < p.limit { // that was borne
			known = max(known, p.before*caution)
		}
		p.Known, p.Found, p.Cut, p.Tried, p.Raise = b.clamp(known), true, true, p.since, firstRaise
	}
	p.limit = to
	p.Changes--
	return p, cut
}

// regain goes back to what is known to be borne, and notes what the attempt that hurt has
// cost.
func (p place) regain(b *bounds, s *sight, at time.Time) (place, move) {
	if p.Changes < leftForCuts {
		return p, stay
	}
	p.Owed = 0
	if !p.Tried.IsZero() {
		good, bad := s.earned(p.Tried)
		p.Owed = max(float64(bad)/b.budget-float64(good+bad), 0)
	}
	p.Cut, p.Tried, p.Since = false, time.Time{}, at
	p.limit = b.clamp(max(p.limit, p.Known))
	p.Changes--
	return p, regain
}

// raise lets a little more through, when that would be used and is paid for.
func (p place) raise(b *bounds, s *sight, at time.Time) (place, move) {
	share := p.Raise
	if !p.Found {
		share = searchRaise
	}
	to := b.clamp(max(p.limit*(1+share), p.limit+1))
	if !s.binds() || to <= p.limit || p.Changes < leftForRaise || !p.paid(s, at) {
		return p, stay
	}
	p.Known, p.limit, p.Raise = p.limit, to, min(2*p.Raise, mostRaise)
	p.Changes--
	return p, raise
}

// paid reports whether what the last attempt has spoilt is earned back.
func (p *place) paid(s *sight, at time.Time) bool {
	if p.Owed == 0 || at.Sub(p.Since) >= longestPenance {
		return true
	}
	good, bad := s.earned(p.Since)
	return float64(good+bad) >= p.Owed
}
