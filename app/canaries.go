package app

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/canary"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/store"
)

// newJudge returns the judge of a run that starts at the given instant.
func newJudge(c *gatewarden.Canary, start time.Time) (gates.Judge, error) {
	return canary.New(policyOf(c), start)
}

// delay is how long the seconds of a run stay open: for as long as the latest source of
// Kong's log takes to bring them.
func (in *intake) delay() time.Duration {
	p := canary.DefaultPolicy()
	return p.Delay + in.lagOfSignal("")
}

// loadJudge returns a judge as it was written down.
func loadJudge(_ *gatewarden.Canary, state []byte) (gates.Judge, error) {
	var j canary.Judge
	if err := json.Unmarshal(state, &j); err != nil {
		return nil, fmt.Errorf("reading a judge: %w", err)
	}
	return &j, nil
}

// policyOf is what the rules say about a canary, in the words of its judge. How long a
// second stays open is the judge's own, when no source is late.
func policyOf(c *gatewarden.Canary) canary.Policy {
	p := canary.DefaultPolicy()
	p.Errors, p.Latency = c.Errors, c.Latency
	if c.Limits != nil {
		absolute := canary.Absolute(*c.Limits)
		p.Absolute = &absolute
	}
	p.FalseAlarm, p.FalsePass = c.FalseAlarm, c.FalsePass
	p.WarmUp, p.MinDuration, p.Deadline = c.WarmUp, c.MinDuration, c.Deadline
	return p
}

// checkCanaries reports what a judge would not take. The rules refuse the same, with the
// line; this is for what they might let pass.
func checkCanaries(list []gatewarden.Canary) error {
	for i := range list {
		p := policyOf(&list[i])
		if err := p.Validate(); err != nil {
			return fmt.Errorf("the canary %s: %w", list[i].Name, err)
		}
	}
	return nil
}

// planOver is how much of the past a plan takes the traffic from.
const planOver = 10 * time.Minute

// plan says how long a run of the canary would take, at the traffic of the last minutes
// and at the given share; without traffic it says so by a rate of 0.
func plan(c *gatewarden.Canary, s *store.Store, share float64, at time.Time) api.Plan {
	window := s.Window(c.Traffic(), at.Add(-planOver), at)
	t := canary.Traffic{Rate: rateOf(c.Traffic(), s, at), Share: share, Spread: spread(&window.Latency)}
	if n := window.Requests(); n > 0 {
		t.Errors = float64(window.Errors()) / float64(n)
	}
	out := api.Plan{Rate: t.Rate, Share: t.Share, Errors: t.Errors, Spread: t.Spread, Deadline: gatewarden.Duration(c.Deadline)}
	if t.Rate == 0 {
		return out
	}
	p := policyOf(c)
	out.ToPass = gatewarden.Duration(p.TimeToPass(t))
	row := func(what string, ratio float64, d time.Duration) {
		out.Rows = append(out.Rows, api.PlanRow{What: what, Ratio: ratio, Time: gatewarden.Duration(d), InTime: d <= c.Deadline})
	}
	if c.Errors != nil {
		worseErrors(&p, t, row)
	}
	if c.Latency != nil {
		for _, ratio := range []float64{1.2, 1.5, 2} {
			row(fmt.Sprintf("latency +%.0f %%", (ratio-1)*100), ratio, p.TimeToFailLatency(t, ratio))
		}
	}
	return out
}

// rateOf returns the requests a second of the newest part of the time for plans that the
// guard has watched. What Kong kept and sent later lies before that, and is no part of it:
// a minute of requests that came within two seconds is no rush.
func rateOf(traffic gatewarden.Series, s *store.Store, at time.Time) float64 {
	const whole, shortest = 0.95, 10 * time.Second
	over := planOver
	w := s.Window(traffic, at.Add(-over), at)
	for w.Coverage < whole && over > shortest {
		over = (over / 2).Truncate(time.Second) // windows are of whole seconds
		w = s.Window(traffic, at.Add(-over), at)
	}
	if seen := time.Duration(w.Coverage * float64(over)).Truncate(time.Second); w.Coverage < whole && seen > 0 {
		over = seen
		w = s.Window(traffic, at.Add(-over), at)
	}
	return float64(w.Requests()) / over.Seconds()
}

// worseErrors adds canaries that fail more: by a factor, or, where nothing fails and every
// multiple of that is nothing, by a share of their requests.
func worseErrors(p *canary.Policy, t canary.Traffic, row func(what string, ratio float64, d time.Duration)) {
	if t.Errors > 0 {
		for _, ratio := range []float64{2, 3, 10} {
			row(fmt.Sprintf("errors ×%g", ratio), ratio, p.TimeToFailErrors(t, ratio))
		}
		return
	}
	t.Errors = hardlyEver
	for _, share := range []float64{0.01, 0.05, 0.2} {
		ratio := share / (1 - share) * (1 - t.Errors) / t.Errors
		row(fmt.Sprintf("errors %g %%", share*100), ratio, p.TimeToFailErrors(t, ratio))
	}
}

// hardlyEver is the share of failures that a plan reckons with where none was seen: one
// request in a million, so that a canary can be some times worse.
const hardlyEver = 1e-6

// spread returns the standard deviation of the logarithm of the latencies, as that of a
// lognormal distribution with the same median and 84th percentile; 0 when there are none.
func spread(h *gatewarden.Histogram) float64 {
	const oneSigma = 0.8413
	if h.Count() == 0 {
		return 0
	}
	median, high := h.Quantile(0.5), h.Quantile(oneSigma)
	if median <= 0 || high <= median {
		return 0
	}
	return math.Log(float64(high) / float64(median))
}

// plannedShare is the share that a plan reckons with: Kong's now, else the first step's,
// else a tenth.
func plannedShare(c *gatewarden.Canary, now float64, known bool) float64 {
	switch {
	case known && now > 0 && now < 1:
		return now
	case len(c.Steps) > 0:
		return float64(c.Steps[0]) / 100
	default:
		return 0.1
	}
}
