package adaptive

import (
	"math"
	"time"
)

// What tells how a service does under a limit.
const (
	// leastEvents is how many requests it takes to say anything.
	leastEvents = 10
	// surprise is the natural logarithm of how improbable so many bad requests must be,
	// were the service just at its budget, to call it hurt: 1 in 1,100.
	surprise = 7

	// A queue grows when what comes back is less than this share of what is let in, and takes
	// so many times as long as in the first of at least so many seconds.
	growsLess = 0.98
	growsSlow = 1.25
	growsIn   = 3
	// A queue stands when the quickest tenth takes so much longer than the middle one did
	// before the overload; it is a long one when it is so long.
	queued    = 120 * time.Millisecond
	longQueue = 250 * time.Millisecond
	// A service that is at work for less than this share of each second could do more.
	roomy = 0.55
)

// sight is what the law sees of a limit in place.
type sight struct {
	good, bad    uint64 // events of the SLO of late, all of them under this limit
	passed, shed uint64 // requests in the scope, likewise
	earned       func(since time.Time) (good, bad uint64)
	bore         func() float64    // requests a second answered just before it went bad
	through      func(*place) flow // what comes back under a limit
	drained      bool              // the limit is cut and shows, and all has been well since
}

// flow is what has come back of late under a limit that is in force.
type flow struct {
	seconds     int           // whole ones that were looked at
	rate        float64       // answers a second
	long        float64       // likewise, since the SLO was last well again
	first, last time.Duration // how long the middle one took, at the beginning and of late
	quick       time.Duration // how long the quickest tenth took of late, at most
}

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

// short returns by which share less comes back than a limit lets in, 0 when it cannot be told.
func (f *flow) short(limit float64) float64 {
	if f.seconds < 2 {
		return 0
	}
	return max(1-f.rate/limit, 0)
}

// slower reports whether it takes longer and longer.
func (f *flow) slower() bool {
	return f.seconds >= growsIn && float64(f.last) > growsSlow*float64(f.first)
}

// grows reports whether a queue grows, though all of it is in time yet: less comes back than
// is let in, by more than the count of some seconds varies, and it takes longer and longer;
// or an attempt at more has made one that stands.
func (p *place) grows(s *sight, f *flow) bool {
	if !s.presses() || f.seconds < growsIn {
		return false
	}
	less := f.rate < min(growsLess*p.limit, p.limit-math.Sqrt(f.rate/float64(f.seconds)))
	stands := p.stands(f.quick) && f.last > f.first
	return less && f.slower() || stands && (less || p.Raised)
}

// stands reports whether there is a queue that even the quickest tenth of the requests of
// some seconds had to wait in. Kong lets a second's worth through at the second's beginning;
// if the queue is empty by its end, a tenth of it waits for a tenth of a second at most.
func (p *place) stands(quick time.Duration) bool { return p.Usual > 0 && quick > p.Usual+queued }

// room reports whether the service is idle for a good part of each second. Kong lets a
// second's worth L of the D requests that come through at once. With C done in a second, a
// share q of L waits for q(L/C − L/D) at most. So L/C, the share of the second in which the
// service is at work, is L/D and 2.5 times what lies between a tenth and the half. That
// different requests take differently long makes it seem more.
func (s *sight) room(f *flow) bool {
	if !s.presses() {
		return false
	}
	through := float64(s.passed) / float64(s.passed+s.shed)
	return (f.last-f.quick).Seconds()/(middle-quickest)+through < roomy
}
