package adaptive

import (
	"encoding/json"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

const (
	// sightTime is how much of the past a limit is judged by, and mostSight when that has
	// fewer than fewEvents.
	sightTime = 3 * time.Second
	mostSight = 15 * time.Second
	fewEvents = 50
	// freshTime is how long before the end of Settle the log is looked at: Settle is the
	// longest that Kong and its log take together, and mostly they take less.
	freshTime = 2 * time.Second
	// bindTime is how long a limit counts as binding after it last kept a request back.
	bindTime = 15 * time.Second

	// lateTime is how late the log may be: the newest seconds are not complete.
	lateTime = 1500 * time.Millisecond
	// What was borne is sought so far back, over so much at a time.
	borneWithin = time.Minute
	borneOver   = 2 * time.Second
	borneLately = 20 * time.Second // under a limit
	latelyOver  = 4 * time.Second
	// badSecond is the share of bad events from which on a second is one of trouble.
	badSecond = 0.10
)

// Requests counts requests by second; the store does. Counts of the last hour are exact
// to the second, ends are rounded down to whole ones.
type Requests interface {
	// Count counts the events of an SLI in [from, to).
	Count(series gatewarden.Series, sli *gatewarden.SLI, from, to time.Time) gatewarden.Count
	// Window returns the tally of a series over [from, to).
	Window(series gatewarden.Series, from, to time.Time) gatewarden.Window
}

// Steerer steers adaptive limits by what the SLOs that they name count. It is safe for
// concurrent use.
type Steerer struct {
	requests Requests
	slos     atomic.Pointer[map[string]gatewarden.SLO]
}

var _ actions.Steerer = (*Steerer)(nil)

// New returns a Steerer.
func New(requests Requests, slos []gatewarden.SLO) *Steerer {
	s := &Steerer{requests: requests}
	s.SetSLOs(slos)
	return s
}

// SetSLOs swaps the SLOs.
func (s *Steerer) SetSLOs(slos []gatewarden.SLO) {
	byName := make(map[string]gatewarden.SLO, len(slos))
	for i := range slos {
		byName[slos[i].Name] = slos[i]
	}
	s.slos.Store(&byName)
}

// slo returns the SLO that steers a step.
func (s *Steerer) slo(step *gatewarden.AdaptiveStep) (*gatewarden.SLO, bool) {
	slo, ok := (*s.slos.Load())[step.SLO]
	return &slo, ok
}

// Begin implements actions.Steerer. Error: not_found for an SLO that is not in the rules.
func (s *Steerer) Begin(step *gatewarden.AdaptiveStep, at time.Time) (gatewarden.Limit, error) {
	slo, ok := s.slo(step)
	if !ok {
		return gatewarden.Limit{}, gatewarden.Errorf(gatewarden.NotFound, "the SLO %q is not in the rules, so nothing can steer the limit", step.SLO)
	}
	b := boundsOf(step, slo)
	now := s.count(step, slo, at.Add(-sightTime), after(at))
	limit, m := begin(&b, s.bore(step, slo, at), now.badRatio(), at)
	return write(gatewarden.Limit{}, place{limit: limit, memory: m}, at)
}

// Steer implements actions.Steerer. A limit whose SLO is no longer in the rules, or whose
// memory cannot be read, stays.
func (s *Steerer) Steer(step *gatewarden.AdaptiveStep, limit gatewarden.Limit, at time.Time) actions.Steering {
	slo, ok := s.slo(step)
	if !ok {
		return actions.Steering{}
	}
	p, err := read(limit)
	if err != nil {
		return actions.Steering{}
	}
	b := boundsOf(step, slo)
	recent := s.count(step, slo, at.Add(-bindTime), after(at))
	steering := actions.Steering{Binds: recent.binds()}
	settled := limit.Since.Add(b.settle)
	if at.Before(settled) {
		return steering
	}
	look := s.look(step, slo, settled.Add(-freshTime), at)
	next, moved := p.next(&b, &look, at)
	if moved == stay {
		return steering
	}
	to, err := write(limit, next, at)
	if err != nil || moved == cut && to.Value == limit.Value {
		return steering
	}
	steering.To, steering.Reason = &to, reason(step, limit.Value, to.Value, moved, &look)
	return steering
}

// look returns what was seen of late of a limit that could show from an instant on.
func (s *Steerer) look(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, from, at time.Time) sight {
	look := s.count(step, slo, latest(from, at.Add(-sightTime)), after(at))
	if look.good+look.bad < fewEvents {
		look = s.count(step, slo, latest(from, at.Add(-mostSight)), after(at))
	}
	return look
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// after returns the end of the second that at is in.
func after(at time.Time) time.Time { return at.Add(time.Second - 1).Truncate(time.Second) }

func boundsOf(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO) bounds {
	b := bounds{floor: float64(step.Floor), ceiling: float64(step.Ceiling), budget: slo.ErrorBudget(), settle: time.Duration(step.Settle)}
	if b.settle <= 0 {
		b.settle = defaultSettle
	}
	return b
}

func scopeOf(step *gatewarden.AdaptiveStep) gatewarden.Series {
	return gatewarden.Series{Service: step.Service, Route: step.Route}
}

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
		borne: func() float64 { return s.borne(step, slo, borneLately, latelyOver, to) },
		through: func(since time.Time) float64 {
			since, until := after(since), to.Add(-lateTime).Truncate(time.Second)
			w := s.requests.Window(scopeOf(step), since, until)
			return float64(w.Requests()) / math.Max(until.Sub(since).Seconds(), 1)
		},
	}
}

// bore returns how many requests a second the scope is likely to bear when an overload has
// just begun: what came back in the last second or two before it went bad. The queue had
// to grow until then, so the service was at work with all it has.
func (s *Steerer) bore(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, at time.Time) float64 {
	bad := max(badSecond, 2*slo.ErrorBudget())
	seen := false
	for to := at.Add(-lateTime).Truncate(time.Second); at.Sub(to) < borneWithin; to = to.Add(-time.Second) {
		n := s.requests.Count(slo.Series, &slo.SLI, to.Add(-time.Second), to)
		switch {
		case n.BadRatio() > bad:
			seen = true
		case seen && n.Total() > 0:
			return max(s.good(step, slo, to.Add(-time.Second), to), s.good(step, slo, to.Add(-2*time.Second), to.Add(-time.Second)))
		}
	}
	return s.borne(step, slo, borneWithin, borneOver, at)
}

// good returns how many good requests a second the scope had in [from, to).
func (s *Steerer) good(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, from, to time.Time) float64 {
	w := s.requests.Window(scopeOf(step), from, to)
	good := w.Requests() - w.Errors()
	if slo.Series.Service == step.Service && (slo.Series.Route == "" || slo.Series.Route == step.Route) {
		good = min(good, s.requests.Count(slo.Series, &slo.SLI, from, to).Good)
	}
	return float64(good) / to.Sub(from).Seconds()
}

// borne returns how many good requests a second the scope has had of late, at most.
func (s *Steerer) borne(step *gatewarden.AdaptiveStep, slo *gatewarden.SLO, within, over time.Duration, at time.Time) (most float64) {
	for to := at.Add(-lateTime).Truncate(time.Second); at.Sub(to) < within; to = to.Add(-time.Second) {
		most = max(most, s.good(step, slo, to.Add(-over), to))
	}
	return most
}

// read returns where a limit stands, as the law knows it.
func read(limit gatewarden.Limit) (place, error) {
	p := place{limit: float64(limit.Value), before: float64(limit.Before), since: limit.Since}
	err := json.Unmarshal(limit.Law, &p.memory)
	return p, err
}

// write returns the limit that takes the place of another.
func write(before gatewarden.Limit, p place, at time.Time) (gatewarden.Limit, error) {
	law, err := json.Marshal(p.memory)
	if err != nil {
		return before, fmt.Errorf("writing what the law of the limit knows: %w", err)
	}
	return gatewarden.Limit{Value: max(int(math.Round(p.limit)), 1), Before: before.Value, Since: at, Law: law}, nil
}

// reason says why a limit goes where it goes.
func reason(step *gatewarden.AdaptiveStep, from, to int, moved move, s *sight) string {
	what := fmt.Sprintf("the limit of %s goes from %d to %d requests a second", scopeOf(step), from, to)
	share := fmt.Sprintf("%.3g %% of %d events of %s were bad of late", 100*s.badRatio(), s.good+s.bad, step.SLO)
	switch moved {
	case cut:
		return what + ": " + share
	case giveUp:
		return what + " again: letting more through has brought no more back"
	case regain:
		return what + ", which the service is known to bear: " + step.SLO + " is well again"
	default:
		kept := 100 * float64(s.shed) / math.Max(float64(s.shed+s.passed), 1)
		return fmt.Sprintf("%s: %s is well, and %.3g %% of the requests are kept back", what, step.SLO, kept)
	}
}
