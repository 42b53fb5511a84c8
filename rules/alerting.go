package rules

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// alerting sets the pairs of windows and the evidence that a page needs.
func (s *sloSpec) alerting(d *document, slo *gatewarden.SLO) {
	a := &s.Alerting
	slo.MinEvidence = defaultMinEvidence
	if at := d.find(&a.MinEvidence); at != nil {
		slo.MinEvidence = a.MinEvidence
		if a.MinEvidence <= 0 || a.MinEvidence > 1 {
			d.errorf(at, "the default is 0.0001; 1 asks for none", "min_evidence is a probability, above 0 and at most 1")
		}
	}
	policy := a.Policy
	if policy == "" {
		policy = "workbook"
		if len(a.Pairs) > 0 {
			policy = "custom"
		}
	}
	at := d.find(&a.Policy, a, s)
	switch {
	case !d.choice(at, "policy", policy, "workbook", "custom", "off"):
	case policy == "custom" && len(a.Pairs) == 0:
		d.errorf(at, "add pairs: [{severity: page, factor: 14.4, long: 1h, short: 5m}]", "a custom policy needs pairs")
	case policy != "custom" && len(a.Pairs) > 0:
		d.errorf(at, "remove policy, or the pairs", "the policy %s has its own pairs", policy)
	case policy == "workbook":
		slo.Pairs = gatewarden.WorkbookPairs(slo.Window.Length())
	case policy == "custom":
		for i := range a.Pairs {
			slo.Pairs = append(slo.Pairs, s.pair(d, &a.Pairs[i], slo))
		}
	}
	s.checkReach(d, slo)
}

func (s *sloSpec) pair(d *document, p *pairSpec, slo *gatewarden.SLO) gatewarden.AlertPair {
	pair := gatewarden.AlertPair{Severity: gatewarden.SeverityPage, Factor: p.Factor, Long: p.Long, Short: p.Short}
	switch at := d.find(&p.Severity, p); p.Severity {
	case "page":
	case "ticket":
		pair.Severity = gatewarden.SeverityTicket
	default:
		d.errorf(at, "it is one of: page, ticket", "severity can't be %q", p.Severity)
	}
	if !(p.Factor > 0) {
		d.errorf(d.find(&p.Factor, p), "14.4 pages when 2 % of a 30d budget are gone within 1h", "factor must be above 0")
	}
	for _, w := range []struct {
		name string
		d    *time.Duration
	}{{"long", &p.Long}, {"short", &p.Short}} {
		if *w.d < time.Second || *w.d%time.Second != 0 || *w.d > slo.Window.Length() {
			d.errorf(d.find(w.d, p), "write "+w.name+": 5m", "%s must be whole seconds, and not longer than the window", w.name)
		}
	}
	if p.Short >= p.Long {
		d.errorf(d.find(&p.Short, p), "a twelfth of the long one is usual", "short must be shorter than long")
	}
	return pair
}

// checkReach warns of alerts that arithmetic forbids, and of policies that nothing
// can start.
func (s *sloSpec) checkReach(d *document, slo *gatewarden.SLO) {
	reaches := map[gatewarden.Severity]bool{}
	for i, p := range slo.Pairs {
		if p.Factor <= highestBurn(slo) {
			reaches[p.Severity] = true
			continue
		}
		at := d.find(&s.Objective, s)
		if i < len(s.Alerting.Pairs) {
			at = d.find(&s.Alerting.Pairs[i].Factor, &s.Alerting.Pairs[i])
		}
		d.warnf(at, "write alerting: {pairs: [...]} with factors below that", "the %s alert at %g times the budget can never fire: with a budget of %s, %g times is already everything",
			p.Severity, p.Factor, inPercent(slo.ErrorBudget()), highestBurn(slo))
	}
	if len(s.OnPage) > 0 && !reaches[gatewarden.SeverityPage] {
		d.warnf(d.find(&s.OnPage), "", "nothing ever starts these: no page alert of this slo can fire")
	}
	if len(s.OnTicket) > 0 && !reaches[gatewarden.SeverityTicket] {
		d.warnf(d.find(&s.OnTicket), "", "nothing ever starts these: no ticket alert of this slo can fire")
	}
}
