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

	// A cut is half the share of bad requests, within these. The smaller one is enough for a
	// queue to drain.
	shallowestCut = 0.30
	deepestCut    = 0.50
	// A queue drains well at this share of what is known. If it has not for so long, less is
	// known.
	drainShare = 0.20
	doubtShare = 0.75
	doubtAfter = 10 * time.Second

	// Of what was borne at best, which is as much too high as the counts of some seconds vary.
	caution      = 0.97 // at the beginning
	moreCaution  = 0.93 // from when a limit hurt
	leastCaution = 0.98 // from some more seconds

	// What hurts lowers what is known by a lesson, and by twice that each time that what was
	// known had not stood for standsAfter.
	firstLesson = 0.05
	mostLesson  = 0.20
	standsAfter = time.Minute

	// Each raise that is borne doubles the next, unless it is near what was borne at best. A little too much shows late, because the
	// queue grows by the little each second; so it is looked whether what was let through
	// more has come back more.
	firstRaise = 0.05
	mostRaise  = 0.12
	near       = 0.10
	raiseEvery = 9 * time.Second // after Settle
	idleFor    = 2 * time.Minute // after a raise that brought nothing

	// What hurt is kept away from for so long.
	away    = 0.97
	awayFor = 5 * time.Minute

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
	Known   float64   `json:"known"`            // what the service is known to bear, requests a second
	Best    float64   `json:"best"`             // what it was seen to bear for a few seconds
	Cut     bool      `json:"cut,omitempty"`    // it was hurt, and has not been seen well since
	Hurt    float64   `json:"hurt,omitempty"`   // the limit that hurt last
	HurtAt  time.Time `json:"hurt_at,omitzero"` // and when
	Rest    time.Time `json:"rest,omitzero"`    // no raise before
	Raised  bool      `json:"raised,omitempty"` // the limit is an attempt at more
	Raise   float64   `json:"raise"`            // the next raise
	Lesson  float64   `json:"lesson"`           // the next lesson
	Tried   time.Time `json:"tried,omitzero"`   // when the attempt that hurt began; zero when there was none
	Since   time.Time `json:"since"`            // from when on earning counts
	Owed    float64   `json:"owed,omitempty"`   // good requests to be earned from then on
	Changes float64   `json:"changes"`          // left in the bucket
	Filled  time.Time `json:"filled"`           // as of when
}

// sight is what the law sees of a limit in place.
type sight struct {
	good, bad    uint64 // events of the SLO of late, all of them under this limit
	passed, shed uint64 // requests in the scope, likewise
	earned       func(since time.Time) (good, bad uint64)
	borne        func() float64                // good requests a second of late, at most
	through      func(since time.Time) float64 // requests a second that have come back from then on
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

// binds reports whether the limit keeps requests back: more than 1 in 50. With fewer it
// could as well be away.
func (s *sight) binds() bool { return s.shed*50 > s.shed+s.passed }

// presses reports whether as much is asked for as the limit lets through, in all seconds.
func (s *sight) presses() bool { return s.shed*10 > s.shed+s.passed }

func (s *sight) badRatio() float64 {
	return float64(s.bad) / math.Max(float64(s.good+s.bad), 1)
}

// within bounds a share.
func within(share, least, most float64) float64 { return min(max(share, least), most) }

// begin returns where a limit begins: at what the service was seen to bear a moment ago,
// less a cut by which the queue of what has come meanwhile drains.
func begin(b *bounds, borne, badRatio float64, at time.Time) (limit float64, m memory) {
	m = memory{
		Known: b.clamp(caution * borne), Best: borne, Cut: true, Raise: firstRaise, Lesson: firstLesson,
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
	giveUp      // a raise brought nothing: back to what was before
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
		return p.cut(b, s, at)
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
// drain the queue, until it is time to doubt what is known.
func (p place) cut(b *bounds, s *sight, at time.Time) (place, move) {
	if p.limit <= b.floor || p.Changes < 1 {
		return p, stay
	}
	to := p.limit * (1 - within(s.badRatio()/2, shallowestCut, deepestCut))
	switch drains := p.Known * drainShare; {
	case !p.Cut:
		p.learn(b, s, at)
	case p.limit > drains+1:
		to = max(to, drains)
	case at.Sub(p.since) < doubtAfter:
		return p, stay
	default:
		p.Known = b.clamp(p.Known * doubtShare)
		to = p.limit * doubtShare
	}
	p.limit = b.clamp(to)
	p.Raised = false
	p.Changes--
	return p, cut
}

// learn lowers what the service is known to bear: to what it has borne when it was given too
// much, half-way back to what it bore before an attempt, and by a lesson at least.
func (p *place) learn(b *bounds, s *sight, at time.Time) {
	if at.Sub(p.Since) >= standsAfter {
		p.Lesson = firstLesson
	}
	p.Best = s.borne()
	known := min(p.limit*(1-p.Lesson), moreCaution*p.Best)
	if p.Raised {
		known = min(known, math.Sqrt(p.before*p.limit))
	}
	p.Known, p.Lesson = b.clamp(known), min(2*p.Lesson, mostLesson)
	p.Hurt, p.HurtAt = p.limit, at
	p.Cut, p.Raise, p.Tried = true, firstRaise, time.Time{}
	if p.Raised {
		p.Tried = p.since
	}
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

// raise lets a little more through, when that would be used and is paid for, and the raise
// before has brought something.
func (p place) raise(b *bounds, s *sight, at time.Time) (place, move) {
	settled := p.since.Add(b.settle)
	if !s.binds() || at.Before(settled.Add(raiseEvery)) || p.Changes < leftForRaise {
		return p, stay
	}
	if through := s.through(settled); p.Raised && s.presses() && through < (p.before+p.limit)/2 {
		p.limit = b.clamp(min(p.before, leastCaution*through))
		p.Raised, p.Raise, p.Rest = false, firstRaise, at.Add(idleFor)
		p.Changes--
		return p, giveUp
	}
	if math.Abs(p.limit-p.Best) < near*p.Best {
		p.Raise = firstRaise
	}
	to := b.clamp(max(p.limit*(1+p.Raise), p.limit+1))
	if p.Hurt > 0 && at.Sub(p.HurtAt) < awayFor {
		to = min(to, away*p.Hurt)
	}
	if to <= p.limit || at.Before(p.Rest) || !p.paid(s, at) {
		return p, stay
	}
	p.Known, p.limit, p.Raised, p.Raise = p.limit, to, true, min(2*p.Raise, mostRaise)
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
