package burnrate

import (
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// keepFiring is the share of its factor that both burn rates of a pair must fall
// below, either of them, before it stops: a burn rate that hovers at its factor is
// one alert, not one each second.
const keepFiring = 0.9

// startsWithin is how old the newest event may be when a pair starts to fire. Burn
// rates move in silence too, as good events leave the window or more of it has been
// watched; that is no news and starts nothing.
const startsWithin = time.Minute

// pair is one multi-window burn-rate alert with its memory.
type pair struct {
	gatewarden.AlertPair
	long, short int // where the look has its windows
	firing      bool
}

// judge looks at the pair's windows, and fills in what it finds. It starts to fire when both burn rates are at
// least its factor and, for a page, when the bad count is evidence and not bad
// luck. It stops when either rate has fallen below keepFiring of the factor. With
// no event in its short window, or when blind, it stays as it is.
//
// What the guard has not seen is not known to be bad: to start, the burn over the
// long window counts for the share of the window in which the guard was watching.
// Otherwise a guard that is five minutes old would page after nine seconds of what
// takes 104 s later on. To go on, it need not: not having watched ends nothing.
//
// Which window must have the evidence? The long one: it proves that the trouble
// matters. The short one only says that it still goes on, and its events are in
// the long one; to ask for its own evidence would make a service with a request a
// minute wait for two failures within five minutes on top.
func (p *pair) judge(slo *gatewarden.SLO, look *look, blind bool, ev *gatewarden.AlertEvidence) {
	long, short := look.counts[p.long], look.counts[p.short]
	*ev = gatewarden.AlertEvidence{
		Severity: p.Severity, Factor: p.Factor,
		Long: gatewarden.Duration(p.Long), Short: gatewarden.Duration(p.Short),
		LongCount: long, ShortCount: short,
		LongBurn: slo.BurnRate(long.BadRatio()), ShortBurn: slo.BurnRate(short.BadRatio()),
	}
	above := long.Bad > 0 && atLeast(ev.LongBurn*watched(long), p.Factor) && atLeast(ev.ShortBurn, p.Factor)
	if above || p.firing {
		ev.Probability = stats.BinomialTail(long.Bad, long.Total(), slo.ErrorBudget())
	}
	switch {
	case blind || short.Total() == 0:
	case p.firing:
		p.firing = atLeast(min(ev.LongBurn, ev.ShortBurn), keepFiring*p.Factor)
	case above && look.last(min(p.Short, startsWithin)).Total() > 0:
		p.firing = p.Severity != gatewarden.SeverityPage || ev.Probability < slo.MinEvidence
	}
	ev.Firing = p.firing
}

// watched returns the coverage of a window that holds events. Without any coverage
// they were counted, but nobody said when: all of it then.
func watched(c gatewarden.Count) float64 {
	if c.Coverage <= 0 {
		return 1
	}
	return min(c.Coverage, 1)
}

// atLeast compares burn rates, which come from a division by 1 - objective: what
// is equal on paper must not differ by the last bit.
func atLeast(burn, factor float64) bool { return burn >= factor*(1-1e-9) }
