package adaptive

import (
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// lateTime is how late the log may be: the newest seconds are not complete.
	lateTime = 1500 * time.Millisecond
	// What was borne is sought so far back; when nothing tells when it went bad, over so much
	// at a time.
	borneWithin = time.Minute
	borneOver   = 2 * time.Second
	// badSecond is the share of bad events from which on a second is one of trouble.
	badSecond = 0.10
	// mostElse is the largest cut to begin with of requests that are others than the SLO's.
	mostElse = 0.50
	// varies is by how many of its roots the count of a second is taken to vary.
	varies = 0.75
	// A queue that has drained is sought so far back, for as many events as say anything.
	mostDrained = 5 * time.Second
	// What comes back is looked at over so much, and over so much to find the most.
	flowOver = 6 * time.Second
	flowLong = 30 * time.Second
	// tellsApart is the change of a limit from which on the flow tells when it is in force.
	tellsApart = 0.20
	// How long requests usually take is looked up so far back, but not in what led here.
	usualFrom, usualTo = 2 * time.Minute, 15 * time.Second
	// The shares of requests whose latency is looked at.
	middle, quickest = 0.5, 0.1
)

// count returns what happened in [from, to).
func (s *Steerer) count(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, from, to time.Time) sight {
	events := s.requests.Count(slo.Series, &slo.SLI, from, to)
	w := s.requests.Window(scopeOf(step), from, to)
	return sight{
		good: events.Good, bad: events.Bad, passed: w.Requests(), shed: w.Shed,
		earned: func(since time.Time) (good, bad uint64) {
			n := s.requests.Count(slo.Series, &slo.SLI, since, to)
			return n.Good, n.Bad
		},
		bore:    func() float64 { return s.bore(step, slo, to) },
		through: func(p *place) flow { return s.flow(step, slo, p, whole(to)) },
	}
}

// whole returns the end of the newest second that the log has whole.
func whole(at time.Time) time.Time { return at.Add(-lateTime).Truncate(time.Second) }

// flow returns what has come back of late under a limit, until an instant.
func (s *Steerer) flow(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, p *place, to time.Time) flow {
	settle := boundsOf(step, slo).settle
	from := latest(s.inForce(step, p, settle), to.Add(-flowOver))
	f := flow{seconds: int(to.Sub(from) / time.Second)}
	if f.seconds <= 0 {
		return flow{}
	}
	f.rate, _ = s.answered(step, slo, from, to)
	if again := latest(after(p.Since.Add(settle-time.Second)), to.Add(-flowLong)); again.Before(from) {
		f.long, _ = s.answered(step, slo, again, to)
	}
	part := time.Duration(min(max(f.seconds/2, 1), 3)) * time.Second
	f.first, f.last = s.took(step, middle, from, from.Add(part)), s.took(step, middle, to.Add(-part), to)
	f.quick = s.took(step, quickest, to.Add(-part), to)
	return f
}

// took returns how long a share of the requests of [from, to) took at most, negative when
// there were none.
func (s *Steerer) took(step *gatewarden.AdaptiveStep, share float64, from, to time.Time) time.Duration {
	w := s.requests.Window(scopeOf(step), from, to)
	return w.Latency.Quantile(share)
}

// inForce returns from when on all is under a limit: from the second after the one in which
// the flow comes nearer to it than to the limit before, or when Settle says so. With several
// nodes, or for a small change, only the latter can be told.
func (s *Steerer) inForce(step *gatewarden.AdaptiveStep, p *place, settle time.Duration) time.Time {
	latest := after(p.since.Add(settle - time.Second)) // the rest of Settle is for the log
	if step.Nodes > 1 || p.before == 0 || math.Abs(p.limit-p.before) < tellsApart*p.before {
		return latest
	}
	middle := (p.limit + p.before) / 2
	for at := after(p.since); at.Before(latest); at = at.Add(time.Second) {
		w := s.requests.Window(scopeOf(step), at, at.Add(time.Second))
		if float64(w.Requests()) > middle == (p.limit > p.before) {
			return at.Add(time.Second)
		}
	}
	return latest
}

// drained reports whether a limit that is cut shows, and all has been well since: nothing
// bad in the newest seconds, and no queue. Settle need not be over for that.
func (s *Steerer) drained(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, p *place, budget float64, at time.Time) bool {
	before := p.before
	if before == 0 {
		before = p.Best
	}
	to := whole(at)
	for from := to.Add(-time.Second); !from.Before(p.since) && to.Sub(from) <= mostDrained; from = from.Add(-time.Second) {
		now := s.count(step, slo, from, to)
		if !now.binds() || float64(now.passed) > (before+p.limit)/2*to.Sub(from).Seconds() {
			return false
		}
		if state := now.judge(budget); state != unknown {
			return state == well && !p.stands(s.took(step, quickest, from, to))
		}
	}
	return false
}

// shortfall returns which share of what the service bears is spoilt just now: of what is
// answered or left by its clients, or of what came back in time before. What the service
// refuses by itself is no loss to what it bears.
func (s *Steerer) shortfall(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, bore float64, at time.Time) float64 {
	if !covers(step, slo) { // how much of the trouble is due to this scope cannot be told
		now := s.count(step, slo, at.Add(-sightTime), after(at))
		return min(now.badRatio(), mostElse) / worsens
	}
	to := whole(at)
	now := s.requests.Window(scopeOf(step), to, after(at))
	events := s.requests.Count(slo.Series, &slo.SLI, to, after(at))
	late := 1 - float64(events.Good)/math.Max(float64(now.Requests()-now.Errors()), 1)
	return max(late, 1-s.good(step, slo, to.Add(-time.Second), to)/math.Max(bore, 1), 0)
}

// covers reports whether the SLO counts the requests that the step limits.
func covers(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO) bool {
	return slo.Series.Service == step.Service && (slo.Series.Route == "" || slo.Series.Route == step.Route)
}

// bore returns how many requests a second the scope is likely to bear when an overload has
// just begun: what was answered in the last two seconds in which nearly all was. The queue
// had to grow until then, so the service was at work with all it has. In the first of the
// two it may have had less to do yet, so the second counts for more, less what the count of
// a second varies.
func (s *Steerer) bore(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, at time.Time) float64 {
	bad := max(badSecond, 2*slo.ErrorBudget())
	newest := s.requests.Count(slo.Series, &slo.SLI, whole(at), after(at))
	seen := newest.BadRatio() > bad
	for to := whole(at); at.Sub(to) < borneWithin; to = to.Add(-time.Second) {
		n := s.requests.Count(slo.Series, &slo.SLI, to.Add(-time.Second), to)
		seen = seen || n.BadRatio() > bad
		if !seen || n.Total() == 0 {
			continue
		}
		last, share := s.answered(step, slo, to.Add(-time.Second), to)
		if share < 1-badSecond || last == 0 {
			continue
		}
		first, _ := s.answered(step, slo, to.Add(-2*time.Second), to.Add(-time.Second))
		most := max(last, first)
		return max((last+first)/2, most-varies*math.Sqrt(most))
	}
	return s.borne(step, slo, at)
}

// answered returns how many requests a second had an answer in [from, to), in time or not,
// and which share that is of all that were not refused.
func (s *Steerer) answered(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, from, to time.Time) (rate, share float64) {
	w := s.requests.Window(scopeOf(step), from, to)
	seconds := to.Sub(from).Seconds()
	// A 4xx may be an answer, or a client that has left: the SLO says which.
	rate = max(float64(w.ByClass[1]+w.ByClass[2]+w.ByClass[3])/seconds, s.good(step, slo, from, to))
	return rate, rate * seconds / math.Max(float64(w.Requests()-w.Errors()), 1)
}

// good returns how many good requests a second the scope had in [from, to).
func (s *Steerer) good(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, from, to time.Time) float64 {
	w := s.requests.Window(scopeOf(step), from, to)
	good := w.Requests() - w.Errors()
	if covers(step, slo) {
		good = min(good, s.requests.Count(slo.Series, &slo.SLI, from, to).Good)
	}
	return float64(good) / to.Sub(from).Seconds()
}

// borne returns how many good requests a second the scope has had within a minute, at most.
func (s *Steerer) borne(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, at time.Time) (most float64) {
	for to := whole(at); at.Sub(to) < borneWithin; to = to.Add(-time.Second) {
		most = max(most, s.good(step, slo, to.Add(-borneOver), to))
	}
	return most
}
