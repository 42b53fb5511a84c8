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
	borne := s.bore(step, slo, at)
	limit, m := begin(&b, borne, s.shortfall(step, slo, borne, at), at)
	m.Usual = max(s.took(step, middle, at.Add(-usualFrom), at.Add(-usualTo)), 0)
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
	// The clock was set back: how long ago it was is not known, and is waited for no more. What is
	// less than a Settle ahead is waited for.
	if ahead := p.since.Sub(at); ahead > b.settle {
		p.earlier(ahead + max(b.settle, doubtAfter))
	}
	recent := s.count(step, slo, at.Add(-bindTime), after(at))
	steering := actions.Steering{Binds: recent.binds()}
	settled := p.since.Add(b.settle)
	drained := p.Cut && s.drained(step, slo, &p, b.budget, at)
	if at.Before(settled) && !drained {
		return steering
	}
	look := s.look(step, slo, settled.Add(-freshTime), at)
	look.drained = drained
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
		return what + ": no more than that comes back, and a queue grows"
	case regain:
		return what + ", which the service is known to bear: " + step.SLO + " is well again"
	default:
		kept := 100 * float64(s.shed) / math.Max(float64(s.shed+s.passed), 1)
		return fmt.Sprintf("%s: %s is well, and %.3g %% of the requests are kept back", what, step.SLO, kept)
	}
}
