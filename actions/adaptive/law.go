package adaptive

import (
	"math"
	"time"
)

// The law's constants. Shares are of the limit, unless said otherwise.
const (
	defaultSettle = 6 * time.Second // 5 s for Kong's workers, 1 s for its log

	// The first cut is so many times the share that is spoilt, because a queue grows on until
	// Kong knows of the limit. Later ones see how fast it grows, and add what it grows in so
	// many seconds. The smallest is enough for a short queue to drain.
	worsens       = 3
	growsOn       = 2.0
	shallowestCut = 0.15
	deepestCut    = 1 - drainShare
	// A queue drains well at this share of what is known. If it has not for so long, less is
	// known.
	drainShare = 0.15
	doubtShare = 0.50
	doubtAfter = 20 * time.Second
	// After the limit was lowered, what hurts has come before that for so long, unless it
	// gets worse.
	drainsIn = 15 * time.Second

	// caution is of what came back when all that could be done was done: the counts of some
	// seconds vary, and a queue can only drain below it.
	caution = 0.97
	// From so many bad requests on, the clients of more have left, and what comes back is not
	// what the service can do.
	manyLeave = 0.25

	// What hurts lowers what is known by a lesson, and by twice that each time that what was
	// known had not stood for standsAfter.
	firstLesson = 0.05
	mostLesson  = 0.20
	standsAfter = time.Minute

	// Each raise that is borne doubles the next, unless it is near what came back at most:
	// then it is a small one. All need some seconds under the limit before.
	firstRaise  = 0.06
	mostRaise   = 0.12
	nearRaise   = 0.03
	roomRaise   = 0.25 // while the service is idle for a good part of each second
	near        = 0.10 // of what came back at most
	raisesAfter = 4    // seconds
	// A raise that brought nothing is followed by so much time without one.
	idleFor = time.Minute
	// A queue that is given up drains over so long.
	drainsOver = 6 * time.Second

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
	Known   float64       `json:"known"`            // what the service is known to bear, requests a second
	Best    float64       `json:"best"`             // what came back at most over some seconds, likewise
	Cut     bool          `json:"cut,omitempty"`    // it was hurt, and has not been seen well since
	Hurt    float64       `json:"hurt,omitempty"`   // the limit that hurt last
	HurtAt  time.Time     `json:"hurt_at,omitzero"` // and when
	Rest    time.Time     `json:"rest,omitzero"`    // no raise before
	Raised  bool          `json:"raised,omitempty"` // the limit is an attempt at more
	Raise   float64       `json:"raise"`            // the next raise
	Lesson  float64       `json:"lesson"`           // the next lesson
	Tried   time.Time     `json:"tried,omitzero"`   // when the attempt that hurt began; zero when there was none
	Since   time.Time     `json:"since"`            // from when on earning counts
	Owed    float64       `json:"owed,omitempty"`   // good requests to be earned from then on
	Usual   time.Duration `json:"usual,omitempty"`  // how long the middle request took before it went bad
	Busy    bool          `json:"busy,omitempty"`   // it was seen at work for most of each second, so that being idle says something
	Changes float64       `json:"changes"`          // left in the bucket
	Filled  time.Time     `json:"filled"`           // as of when
}

// bounds are what the rules say.
type bounds struct {
	floor, ceiling float64
	budget         float64 // share of events that may be bad
	settle         time.Duration
}

func (b *bounds) clamp(limit float64) float64 { return min(max(limit, b.floor), b.ceiling) }

// careful returns a raise that is the smaller the later it shows: what is too much of it
// makes a queue until then.
func (b *bounds) careful(raise float64) float64 {
	return raise * min(float64(defaultSettle)/float64(b.settle), 1)
}

// within bounds a share.
func within(share, least, most float64) float64 { return min(max(share, least), most) }

// begin returns where a limit begins: at what the service was seen to bear a moment ago,
// less a cut by which the queue of what has come meanwhile drains.
func begin(b *bounds, borne, shortfall float64, at time.Time) (limit float64, m memory) {
	m = memory{
		Known: b.clamp(caution * borne), Best: borne, Cut: true, Raise: firstRaise, Lesson: firstLesson,
		Since: at, Changes: bucket - 1, Filled: at,
	}
	return b.clamp(m.Known * (1 - within(worsens*shortfall, 0, deepestCut))), m
}

// move is a decision of the law.
type move uint8

const (
	stay   move = iota
	cut         // it hurts: less
	regain      // it is well again: back to what the service is known to bear
	giveUp      // a queue grows: a little less than what comes back
	raise       // it is well and keeps requests back: a little more
)

// place is where a limit stands.
type place struct {
	limit  float64
	before float64   // the limit before it, 0 for none
	since  time.Time // when it was decided
	memory
}

// earlier moves all that was done and seen into the past.
func (p *place) earlier(by time.Duration) {
	for _, t := range []*time.Time{&p.since, &p.HurtAt, &p.Rest, &p.Tried, &p.Since, &p.Filled} {
		if !t.IsZero() {
			*t = t.Add(-by)
		}
	}
}

// next decides where a limit goes that has settled, or whose queue has drained. One that
// stays keeps its memory.
func (p place) next(b *bounds, s *sight, at time.Time) (place, move) {
	p.fill(at)
	if p.Cut && s.drained {
		return p.regain(b, s, at)
	}
	switch s.judge(b.budget) {
	case hurt:
		return p.cut(b, s, at)
	case well:
		if p.Cut {
			return p.regain(b, s, at)
		}
		if flow := s.through(&p); p.grows(s, &flow) {
			return p.giveUp(b, &flow, at)
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
	flow := s.through(&p)
	if p.limit < p.before && at.Sub(p.since) < drainsIn && !flow.slower() {
		return p, stay
	}
	to := p.limit * (1 - within(s.badRatio()+growsOn*flow.short(p.limit), shallowestCut, deepestCut))
	switch drains := p.Known * drainShare; {
	case !p.Cut:
		p.learn(b, s, &flow, at)
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

// learn lowers what the service is known to bear: by a lesson at least; to what came back,
// when that is less than what was let in; half-way back to what it bore before an attempt.
func (p *place) learn(b *bounds, s *sight, f *flow, at time.Time) {
	if at.Sub(p.Since) >= standsAfter {
		p.Lesson = firstLesson
	}
	lesson := p.Lesson
	// Just after a way up it need not be the limit that was too high: a second in which Kong
	// changes over lets both limits through.
	early := f.seconds < 2 && s.badRatio() < 0.5 && p.limit > p.before && !p.Raised
	if early {
		lesson /= 2
	} else {
		p.Hurt, p.HurtAt = p.limit, at
	}
	known := p.limit * (1 - lesson)
	if f.short(p.limit) > 1-growsLess {
		p.Best = p.cameBack(s, f)
		known = min(known, caution*p.Best)
	}
	p.Tried = time.Time{}
	if p.Raised {
		known = max(min(known, math.Sqrt(p.before*p.limit)), away*p.before)
		p.Tried, p.Busy = p.since, false
	}
	p.Known, p.Lesson = b.clamp(known), min(2*p.Lesson, mostLesson)
	p.Cut, p.Raise = true, firstRaise
}

// cameBack returns how many requests a second the service can do, going by what came back
// under a limit that is too high.
func (p *place) cameBack(s *sight, f *flow) float64 {
	switch {
	case s.badRatio() > manyLeave:
		return s.bore()
	case p.Raised:
		return max(f.rate, f.long)
	default:
		return f.rate
	}
}

// regain goes back to what is known to be borne, once the queue is gone, and notes what the
// attempt that hurt has cost.
func (p place) regain(b *bounds, s *sight, at time.Time) (place, move) {
	flow := s.through(&p)
	if p.Changes < leftForCuts || p.stands(flow.quick) && at.Sub(p.since) < drainsIn {
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

// giveUp goes to a little less than what comes back, and to less than that until a long
// queue has drained. The SLO is well all the time.
func (p place) giveUp(b *bounds, f *flow, at time.Time) (place, move) {
	if p.Changes < leftForCuts || p.limit <= b.floor {
		return p, stay
	}
	p.Best = max(f.rate, f.long)
	to := caution * p.Best
	if p.Raised { // what was before it has stood
		to = max(to, p.before*(1-firstRaise))
	}
	p.limit = b.clamp(min(to, p.limit))
	p.Known = p.limit
	if queue := f.quick - p.Usual; p.stands(f.quick) && queue > longQueue {
		p.Cut = true
		p.limit = b.clamp(p.limit * (1 - within(queue.Seconds()/drainsOver.Seconds(), 0, deepestCut)))
	}
	p.Raised, p.Raise, p.Rest = false, firstRaise, at.Add(idleFor)
	p.Changes--
	return p, giveUp
}

// raise lets a little more through, when that would be used, no queue stands, and it is paid
// for.
func (p place) raise(b *bounds, s *sight, at time.Time) (place, move) {
	flow := s.through(&p)
	if !s.binds() || flow.seconds < raisesAfter || p.Changes < leftForRaise || p.stands(flow.quick) {
		return p, stay
	}
	room := s.room(&flow)
	if room && p.Busy && at.Sub(p.HurtAt) >= standsAfter { // what is remembered is of a service that could do less
		p.Hurt, p.Owed, p.Rest, p.Raise = 0, 0, time.Time{}, roomRaise
	} else {
		p.Raise = p.step(b, s, &flow)
	}
	p.Busy = p.Busy || !room
	to := b.clamp(max(p.limit*(1+p.Raise), p.limit+1))
	if p.Hurt > 0 && at.Sub(p.HurtAt) < awayFor {
		to = min(to, away*p.Hurt)
	}
	if to <= p.limit || s.presses() && at.Before(p.Rest) || !p.paid(s, at) {
		return p, stay
	}
	p.Known, p.limit, p.Raised, p.Raise = p.limit, to, true, min(2*p.Raise, mostRaise)
	p.Changes--
	return p, raise
}

// step returns by how much the limit is to be raised.
func (p *place) step(b *bounds, s *sight, f *flow) float64 {
	tried := p.Raised || p.Hurt > 0 || !p.Rest.IsZero()
	switch {
	case !s.presses(): // little is asked for beyond the limit, so little more will come
		return mostRaise
	case p.limit < (1-near)*p.Best:
		return p.Raise
	case p.limit < (1+near)*p.Best && !tried && f.quick <= p.Usual+queued/3:
		return b.careful(firstRaise) // what it began at is a guess from two seconds
	case p.limit < (1+near)*p.Best, f.quick > p.Usual:
		return b.careful(nearRaise)
	default:
		return p.Raise
	}
}

// paid reports whether what the last attempt has spoilt is earned back.
func (p *place) paid(s *sight, at time.Time) bool {
	if p.Owed == 0 || at.Sub(p.Since) >= longestPenance {
		return true
	}
	good, bad := s.earned(p.Since)
	return float64(good+bad) >= p.Owed
}
