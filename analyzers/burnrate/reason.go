package burnrate

import (
	"bytes"
	"math"
	"strconv"

	"github.com/gatewarden/gatewarden"
)

// words says in plain sentences what the figures of one SLO mean.
type words struct {
	slo      *gatewarden.SLO
	requests string // what the outage line counts
	events   string // what everything else counts
	verb     string // what a bad request did
	sliced   string // what a bad slice was
	budget   string // "0.1 %"
	window   string // "the last 30d", "this month"
	spans    map[gatewarden.Duration]string
	scratch  []byte // where sentences are put together
}

func newWords(slo *gatewarden.SLO) words {
	w := words{slo: slo, requests: "requests", events: "requests", verb: "failed", spans: map[gatewarden.Duration]string{}, scratch: make([]byte, 0, 192)}
	switch slo.SLI.Kind {
	case gatewarden.SLIAvailability:
	case gatewarden.SLILatency:
		w.verb = "took longer than " + gatewarden.Duration(slo.SLI.Threshold).String()
		if slo.SLI.Of == gatewarden.OfUpstream || slo.SLI.Of == gatewarden.OfKong {
			w.verb += " in the " + map[gatewarden.LatencyPart]string{gatewarden.OfUpstream: "upstream", gatewarden.OfKong: "gateway"}[slo.SLI.Of]
		}
	case gatewarden.SLIGood:
		w.verb = "were bad"
	}
	w.sliced = w.verb
	if slo.Timeslice > 0 {
		w.events = "slices of " + gatewarden.Duration(slo.Timeslice).String()
		w.sliced = "were bad"
	}
	w.budget = string(appendPercent(nil, slo.ErrorBudget()))
	w.window = "this " + slo.Window.Calendar
	if slo.Window.Calendar == "" {
		w.window = "the last " + gatewarden.Duration(slo.Window.Rolling).String()
	}
	for _, p := range slo.Pairs {
		for _, d := range []gatewarden.Duration{gatewarden.Duration(p.Long), gatewarden.Duration(p.Short)} {
			w.spans[d] = d.String()
		}
	}
	return w
}

// verdict says why the verdict is what it is, in one sentence.
func (w *words) verdict(v *gatewarden.Verdict, blind bool, why string) string {
	switch {
	case blind:
		return "can't judge: " + why
	case v.State == gatewarden.Breach:
		return w.explain(v, v.Severity)
	case v.State == gatewarden.Inconclusive:
		return w.inconclusive(v)
	}
	b := w.scratch[:0]
	if v.SLO.Count.Total() == 0 {
		return "no " + w.events + " in " + w.window
	}
	b = w.appendCount(b, v.SLO.Count, w.events, w.sliced)
	b = append(b, " in "...)
	b = append(b, w.window...)
	if v.SLO.Budget < 0 {
		b = append(b, ", overspending the budget of "...)
		b = append(b, w.budget...)
		b = append(b, ' ')
		b = appendNumber(b, 1-v.SLO.Budget)
		return string(append(b, " times"...))
	}
	b = append(b, "; "...)
	b = appendPercent(b, v.SLO.Budget)
	return string(append(b, " of the error budget is left"...))
}

// inconclusive says what is missing.
func (w *words) inconclusive(v *gatewarden.Verdict) string {
	longest := gatewarden.Duration(0)
	for _, a := range v.SLO.Alerts {
		if a.Firing && a.Severity == gatewarden.SeverityOutage {
			return "can't judge: no requests in the last few seconds, so the outage stands as it is"
		}
		if a.Firing {
			return "can't judge: no " + w.events + " in the last " + w.span(a.Short) + ", so the " + a.Severity.String() + " stands as it is"
		}
		longest = max(longest, a.Long)
	}
	if longest == 0 {
		return "can't judge: no " + w.events + " in " + w.window
	}
	return "can't judge: no " + w.events + " in the last " + w.span(longest)
}

// Explain says how one severity of a verdict of this analyzer stands. Of none it says
// why the verdict is what it is, which a healthy one leaves open until it is asked for.
func (a *Analyzer) Explain(v *gatewarden.Verdict, s gatewarden.Severity) string {
	return a.words.explain(v, s)
}

func (w *words) explain(v *gatewarden.Verdict, s gatewarden.Severity) string {
	alert := w.pick(v, s)
	switch {
	case alert != nil:
	case v.Reason != "":
		return v.Reason
	default:
		return w.verdict(v, false, "")
	}
	b := w.scratch[:0]
	if s == gatewarden.SeverityOutage {
		b = w.appendCount(b, alert.ShortCount, w.requests, w.verb)
		b = append(b, " in the last "...)
		b = strconv.AppendInt(b, gateSeconds, 10)
		b = append(b, "s; the outage line is at "...)
		return string(appendPercent(b, alert.Ratio))
	}
	count, burn, span := alert.LongCount, alert.LongBurn, alert.Long
	if !alert.Firing && alert.ShortBurn < alert.LongBurn {
		count, burn, span = alert.ShortCount, alert.ShortBurn, alert.Short
	}
	b = w.appendCount(b, count, w.events, w.sliced)
	b = append(b, " in the last "...)
	b = append(b, w.span(span)...)
	b = append(b, ", "...)
	b = appendNumber(b, burn)
	b = append(b, " times the budget of "...)
	b = append(b, w.budget...)
	if alert.Firing {
		b = append(b, "; "...)
		b = append(b, w.span(alert.Short)...)
		b = append(b, " agrees"...)
	}
	return string(b)
}

// pick returns the alert of severity s that says most: the first one that fires,
// else the one that is nearest to its factor.
func (w *words) pick(v *gatewarden.Verdict, s gatewarden.Severity) *gatewarden.AlertEvidence {
	var best *gatewarden.AlertEvidence
	nearness := func(a *gatewarden.AlertEvidence) float64 { return min(a.LongBurn, a.ShortBurn) / a.Factor }
	for i := range v.SLO.Alerts {
		a := &v.SLO.Alerts[i]
		switch {
		case a.Severity != s:
		case a.Firing:
			return a
		case best == nil || nearness(a) > nearness(best):
			best = a
		}
	}
	return best
}

func (w *words) span(d gatewarden.Duration) string {
	if s, ok := w.spans[d]; ok {
		return s
	}
	return d.String()
}

// appendCount writes "3.1 % of 4,210 requests failed".
func (w *words) appendCount(b []byte, c gatewarden.Count, noun, verb string) []byte {
	if c.Total() == 0 {
		return append(append(b, "no "...), noun...)
	}
	b = appendPercent(b, c.BadRatio())
	b = append(b, " of "...)
	b = appendGrouped(b, c.Total())
	b = append(b, ' ')
	b = append(b, noun...)
	b = append(b, ' ')
	return append(b, verb...)
}

// appendPercent writes a ratio in per cent, as appendNumber does.
func appendPercent(b []byte, ratio float64) []byte {
	return append(appendNumber(b, ratio*100), " %"...)
}

// appendNumber writes x with three significant digits and no exponent: "14.4",
// "0.0012", "1,250". Nothing that is not 0 or 100 is rounded to it.
func appendNumber(b []byte, x float64) []byte {
	if x >= 1000 {
		return appendGrouped(b, uint64(min(math.Round(x), 1<<62)))
	}
	decimals := 0
	if x > 0 {
		decimals = min(max(2-int(math.Floor(math.Log10(x))), 0), 9)
	}
	if x < 100 && x > 99.9 {
		decimals = 3
	}
	start := len(b)
	b = strconv.AppendFloat(b, x, 'f', decimals, 64)
	if bytes.IndexByte(b[start:], '.') >= 0 {
		b = bytes.TrimRight(b, "0")
		b = bytes.TrimSuffix(b, []byte("."))
	}
	return b
}

// appendGrouped writes n with a comma after each thousand.
func appendGrouped(b []byte, n uint64) []byte {
	start := len(b)
	b = strconv.AppendUint(b, n, 10)
	digits := len(b) - start
	for i := digits - 3; i > 0; i -= 3 {
		b = append(b, 0)
		copy(b[start+i+1:], b[start+i:])
		b[start+i] = ','
	}
	return b
}
