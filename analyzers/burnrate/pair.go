package burnrate

import (
	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// keepFiring is the share of its factor that both burn rates of a pair must fall
// below, either of them, before it stops: a burn rate that hovers at its factor is
// one alert, not one each second.
const keepFiring = 0.9

// pair is one multi-window burn-rate alert with its memory.
type pair struct {
	gatewarden.AlertPair
	firing bool
}

// judge looks at the pair's windows. It starts to fire when both burn rates are at
// least its factor and, for a page, when the bad count is evidence and not bad
// luck. It stops when either rate has fallen below keepFiring of the factor. With
// no event in its short window, or when blind, it stays as it is.
//
// Which window must have the evidence? The long one: it proves that the trouble
// matters. The short one only says that it still goes on, and its events are in
// the long one; to ask for its own evidence would make a service with a request a
// minute wait for two failures within five minutes on top.
func (p *pair) judge(slo *gatewarden.SLO, look *look, blind bool) gatewarden.AlertEvidence {
	long, short := look.last(p.Long), look.last(p.Short)
	ev := gatewarden.AlertEvidence{
		Severity: p.Severity, Factor: p.Factor,
		Long: gatewarden.Duration(p.Long), Short: gatewarden.Duration(p.Short),
		LongCount: long, ShortCount: short,
		LongBurn: slo.BurnRate(long.BadRatio()), ShortBurn: slo.BurnRate(short.BadRatio()),
	}
	burn := min(ev.LongBurn, ev.ShortBurn)
	above := atLeast(burn, p.Factor) && long.Bad > 0
	if above || p.firing {
		ev.Probability = stats.BinomialTail(long.Bad, long.Total(), slo.ErrorBudget())
	}
	switch {
	case blind || short.Total() == 0:
	case p.firing:
		p.firing = atLeast(burn, keepFiring*p.Factor)
	default:
		p.firing = above && (p.Severity != gatewarden.SeverityPage || ev.Probability < slo.MinEvidence)
	}
	ev.Firing = p.firing
	return ev
}

// atLeast compares burn rates, which come from a division by 1 - objective: what
// is equal on paper must not differ by the last bit.
func atLeast(burn, factor float64) bool { return burn >= factor*(1-1e-9) }
