package rules

import "github.com/gatewarden/gatewarden"

// limitCanaries tells each canary what the SLOs of its requests allow it: those of its
// very series if there are any, else those of one that contains it. Of several, the
// strictest.
func (r *Rules) limitCanaries() {
	for i := range r.Canaries {
		c := &r.Canaries[i]
		traffic := c.Traffic()
		var near, wide limits
		for j := range r.SLOs {
			switch s := &r.SLOs[j]; {
			case s.Series == traffic:
				near.add(s)
			case s.Series.Service != "" && contains(s.Series, traffic):
				wide.add(s)
			}
		}
		c.Limits = near.or(wide).of(c)
	}
}

// contains reports whether every request of part is one of whole.
func contains(whole, part gatewarden.Series) bool {
	within := func(whole, part string) bool { return whole == "" || whole == part }
	return whole.Signal == part.Signal &&
		within(whole.Service, part.Service) && within(whole.Route, part.Route) && within(whole.Consumer, part.Consumer) &&
		within(whole.Workspace, part.Workspace) && within(whole.Tag, part.Tag)
}

// limits are the strictest of some SLOs.
type limits gatewarden.CanaryLimits

func (l *limits) add(s *gatewarden.SLO) {
	budget := s.ErrorBudget()
	if s.Timeslice > 0 {
		budget = 1 - s.TimesliceObjective // the SLO's own is a share of slices, not of requests
	}
	switch sli := &s.SLI; {
	case sli.Kind == gatewarden.SLIAvailability && (l.MaxErrors == 0 || budget < l.MaxErrors):
		l.MaxErrors = budget
	case sli.Kind == gatewarden.SLILatency && sli.Of == gatewarden.OfRequest && (l.MaxSlow == 0 || budget < l.MaxSlow):
		l.MaxLatency, l.MaxSlow = sli.Threshold, budget
	}
}

// or returns l, and of what it does not limit the limits of o.
func (l limits) or(o limits) limits {
	if l.MaxErrors == 0 {
		l.MaxErrors = o.MaxErrors
	}
	if l.MaxSlow == 0 {
		l.MaxLatency, l.MaxSlow = o.MaxLatency, o.MaxSlow
	}
	return l
}

// of returns those limits that a canary's checks are about, nil when there are none.
func (l limits) of(c *gatewarden.Canary) *gatewarden.CanaryLimits {
	if c.Errors == nil {
		l.MaxErrors = 0
	}
	if c.Latency == nil {
		l.MaxLatency, l.MaxSlow = 0, 0
	}
	if l == (limits{}) {
		return nil
	}
	all := gatewarden.CanaryLimits(l)
	return &all
}
