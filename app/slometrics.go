package app

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/version"
	"github.com/gatewarden/gatewarden/store"
)

// slothWindows are the windows that Sloth's rules record the error ratio of; the SLO's own
// comes on top.
var slothWindows = [...]time.Duration{
	5 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour,
}

// slothPeriods are the windows that SLOs of Sloth have. One of another length gets its
// family when it is first seen.
var slothPeriods = [...]time.Duration{28 * 24 * time.Hour, 30 * 24 * time.Hour}

// sloMetrics exposes the SLOs with their last verdicts: under the names that Sloth's
// recording rules have, so that dashboards and alerts made for those show ours, and under
// names of our own what Sloth knows nothing of.
type sloMetrics struct {
	atScrape
	store *store.Store
	slos  func() ([]gatewarden.SLO, []gatewarden.Verdict) // of the rules in force, and of the last tick
	sloth slothFamilies
	own   sloFamilies
}

func newSLOMetrics(s *store.Store, slos func() ([]gatewarden.SLO, []gatewarden.Verdict)) *sloMetrics {
	m := &sloMetrics{store: s, slos: slos}
	m.sloth, m.own = newSlothFamilies(&m.atScrape), newSLOFamilies(&m.atScrape)
	m.fill = m.all
	return m
}

// all fills in every SLO.
func (m *sloMetrics) all() {
	slos, verdicts := m.slos()
	last := make(map[string]*gatewarden.Verdict, len(verdicts))
	for i := range verdicts {
		last[verdicts[i].Name] = &verdicts[i]
	}
	for i := range slos {
		slo := &slos[i]
		m.sloth.promise(slo)
		v := last[slo.Name]
		if v == nil || v.SLO == nil {
			m.own.state.WithLabelValues(slo.Name, serviceOf(slo)).Set(0)
			continue
		}
		m.own.judged(slo, v)
		m.sloth.measured(slo, v.SLO, m.windows(slo, v))
	}
}

// windows counts the windows that Sloth records. Those that the verdict rests on are taken
// from it. An SLO of timeslices has no others: the store counts requests.
func (m *sloMetrics) windows(slo *gatewarden.SLO, v *gatewarden.Verdict) map[time.Duration]gatewarden.Count {
	counts := map[time.Duration]gatewarden.Count{}
	for _, a := range v.SLO.Alerts {
		if a.Severity != gatewarden.SeverityOutage {
			counts[time.Duration(a.Long)], counts[time.Duration(a.Short)] = a.LongCount, a.ShortCount
		}
	}
	wanted := map[time.Duration]gatewarden.Count{}
	counter := m.store.Counter(slo.Series, &slo.SLI)
	to := v.At.Add(time.Second - 1).Truncate(time.Second) // as the analyzer has it
	for _, w := range slothWindows {
		if n, ok := counts[w]; ok {
			wanted[w] = n
		} else if slo.Timeslice == 0 {
			wanted[w] = counter.Count(to.Add(-w), to)
		}
	}
	wanted[slo.Window.Length()] = v.SLO.Count
	return wanted
}

// serviceOf names what an SLO is about: a service, or "any" of them.
func serviceOf(slo *gatewarden.SLO) string {
	if slo.Series.Service == "" {
		return "any"
	}
	return slo.Series.Service
}

// slothFamilies are the families of Sloth's recording rules.
type slothFamilies struct {
	ratios                        map[string]*prometheus.GaugeVec // by the window, as Prometheus writes it
	add                           func(window string) *prometheus.GaugeVec
	info, objective, budget, days *prometheus.GaugeVec
	burning, burned, remaining    *prometheus.GaugeVec
}

func newSlothFamilies(s *atScrape) slothFamilies {
	family := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, append([]string{"sloth_id", "sloth_service", "sloth_slo"}, labels...)))
	}
	f := slothFamilies{
		ratios: map[string]*prometheus.GaugeVec{},
		add: func(window string) *prometheus.GaugeVec {
			return family("slo:sli_error:ratio_rate"+window, "Share of bad events over "+window+"; absent without events.", "sloth_window")
		},
		info:      family("sloth_slo_info", "1 for each SLO, in the words of Sloth.", "sloth_mode", "sloth_objective", "sloth_spec", "sloth_version"),
		objective: family("slo:objective:ratio", "Share of events that are to be good."),
		budget:    family("slo:error_budget:ratio", "Share of events that may be bad."),
		days:      family("slo:time_period:days", "Length of the SLO's window in days."),
		burning:   family("slo:current_burn_rate:ratio", "How many times faster than allowed the budget is spent, over 5 minutes; absent without events."),
		burned:    family("slo:period_burn_rate:ratio", "How many times faster than allowed the budget was spent, over the SLO's window."),
		remaining: family("slo:period_error_budget_remaining:ratio", "Share of the error budget that is left; negative when overspent."),
	}
	for _, w := range append(slothWindows[:], slothPeriods[:]...) {
		f.ratio(w)
	}
	return f
}

// ratio returns the family of a window's error ratio.
func (f *slothFamilies) ratio(window time.Duration) (*prometheus.GaugeVec, string) {
	text := model.Duration(window).String()
	if f.ratios[text] == nil {
		f.ratios[text] = f.add(text)
	}
	return f.ratios[text], text
}

// slothLabels are the values of sloth_id, sloth_service and sloth_slo.
func slothLabels(slo *gatewarden.SLO) []string {
	return []string{serviceOf(slo) + "-" + slo.Name, serviceOf(slo), slo.Name}
}

// promise fills in what the rules say.
func (f *slothFamilies) promise(slo *gatewarden.SLO) {
	labels := slothLabels(slo)
	percent := strconv.FormatFloat(roundPercent(slo.Objective), 'g', -1, 64)
	f.info.WithLabelValues(append(slices.Clone(labels), "gatewarden", percent, "gatewarden/v1", version.Get().Version)...).Set(1)
	f.objective.WithLabelValues(labels...).Set(slo.Objective)
	f.budget.WithLabelValues(labels...).Set(roundPercent(slo.ErrorBudget()) / 100)
	f.days.WithLabelValues(labels...).Set(slo.Window.Length().Hours() / 24)
}

// measured fills in what the last verdict says. A window without events has no ratio: to
// say 0 would be to call silence good.
func (f *slothFamilies) measured(slo *gatewarden.SLO, ev *gatewarden.SLOEvidence, windows map[time.Duration]gatewarden.Count) {
	labels := slothLabels(slo)
	for w, n := range windows {
		if n.Total() > 0 {
			vec, text := f.ratio(w)
			vec.WithLabelValues(append(slices.Clone(labels), text)...).Set(n.BadRatio())
		}
	}
	if n, ok := windows[slothWindows[0]]; ok && n.Total() > 0 {
		f.burning.WithLabelValues(labels...).Set(slo.BurnRate(n.BadRatio()))
	}
	f.burned.WithLabelValues(labels...).Set(1 - ev.Budget)
	f.remaining.WithLabelValues(labels...).Set(ev.Budget)
}

// sloFamilies are the families of our own.
type sloFamilies struct {
	state, firing, burn, limit, evidence, coverage, events, exhausted *prometheus.GaugeVec
}

func newSLOFamilies(s *atScrape) sloFamilies {
	return sloFamilies{
		state: s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_slo_state",
			Help: "What the last look judged of an SLO: 0 inconclusive, 1 healthy, and in breach 2 ticket, 3 page, 4 outage.",
		}, []string{"slo", "service"})),
		firing: s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_slo_alert_firing",
			Help: "Whether an SLO's alert of a severity fires.",
		}, []string{"slo", "service", "severity"})),
		burn: s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_slo_burn_rate",
			Help: "How many times faster than allowed the budget is spent, over the windows of the alert pairs.",
		}, []string{"slo", "service", "window"})),
		limit: s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_slo_burn_rate_limit",
			Help: "The burn rate from which on an alert pair fires, when both of its windows are there.",
		}, []string{"slo", "service", "severity", "long", "short"})),
		evidence: s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_slo_outage_evidence",
			Help: "Evidence for an outage as a common logarithm.",
		}, []string{"slo", "service"})),
		coverage: s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_slo_coverage_ratio",
			Help: "Share of the SLO's window in which the guard was watching.",
		}, []string{"slo", "service"})),
		events: s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_slo_events",
			Help: "Events of the SLO's window, good and bad. They are as many as there were, and fewer when old ones leave the window.",
		}, []string{"slo", "service", "result"})),
		exhausted: s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewarden_app_slo_exhaustion_timestamp_seconds",
			Help: "When the error budget ends at the current rate; absent when it outlasts the window, or is spent.",
		}, []string{"slo", "service"})),
	}
}

// stateNumber is the value of gatewarden_app_slo_state.
func stateNumber(v *gatewarden.Verdict) float64 {
	if v.State != gatewarden.Breach {
		return float64(v.State) // inconclusive 0, healthy 1
	}
	return 1 + float64(v.Severity)
}

// judged fills in a verdict.
func (f *sloFamilies) judged(slo *gatewarden.SLO, v *gatewarden.Verdict) {
	name, service, ev := slo.Name, serviceOf(slo), v.SLO
	f.state.WithLabelValues(name, service).Set(stateNumber(v))
	firing := v.Firing()
	for s := gatewarden.SeverityTicket; s <= gatewarden.SeverityOutage; s++ {
		value := 0.0
		if firing[s] {
			value = 1
		}
		f.firing.WithLabelValues(name, service, s.String()).Set(value)
	}
	for _, a := range ev.Alerts {
		if a.Severity == gatewarden.SeverityOutage {
			f.evidence.WithLabelValues(name, service).Set(a.LogEvidence / math.Ln10)
			continue
		}
		long, short := a.Long.String(), a.Short.String()
		f.burn.WithLabelValues(name, service, long).Set(a.LongBurn)
		f.burn.WithLabelValues(name, service, short).Set(a.ShortBurn)
		f.limit.WithLabelValues(name, service, a.Severity.String(), long, short).Set(a.Factor)
	}
	f.coverage.WithLabelValues(name, service).Set(ev.Count.Coverage)
	f.events.WithLabelValues(name, service, "good").Set(float64(ev.Count.Good))
	f.events.WithLabelValues(name, service, "bad").Set(float64(ev.Count.Bad))
	if ev.Exhausted != nil {
		f.exhausted.WithLabelValues(name, service).Set(float64(ev.Exhausted.Unix()))
	}
}
