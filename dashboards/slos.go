package dashboards

// stateWords are the values of gatewarden_app_slo_state.
func stateWords() []MappingTo {
	return []MappingTo{
		{Text: "Not judged", Color: "text"}, {Text: "Healthy", Color: "green"}, {Text: "Ticket", Color: "yellow"},
		{Text: "Page", Color: "orange"}, {Text: "Outage", Color: "red"},
	}
}

// budgetSteps color what is left of an error budget.
func budgetSteps() Thresholds {
	return Thresholds{Mode: "absolute", Steps: []Step{{Color: "red"}, from(0, "orange"), from(0.25, "yellow"), from(0.5, "green")}}
}

// burnSteps color a burn rate by the workbook's factors.
func burnSteps() Thresholds { return at(from(1, "yellow"), from(6, "orange"), from(14.4, "red")) }

// toSLO leads to the details of an SLO whose name is a label of the series.
func toSLO(value string) []Link {
	return []Link{{Title: "Details", URL: "/d/gatewarden-slo?var-slo=" + value + "&${__url_time_range}"}}
}

// sloOverview answers: which promises are kept, which are in danger?
func sloOverview() Dashboard {
	g := &grid{}
	g.row("At a glance")
	overviewGlance(g)
	g.row("SLOs")
	overviewList(g)
	g.row("Over time")
	overviewTime(g)
	return dashboard("gatewarden-slos", "SLO overview", "Which promises are kept, which are in danger, and what they have left.", g,
		choice("service", "Service", `label_values(gatewarden_app_slo_state{job=~"$job"}, service)`))
}

func overviewGlance(g *grid) {
	g.add(6, 4, stat("In breach", "SLOs whose outage, page or ticket line is crossed now.", "none", at(from(1, "red")),
		query{`sum by (instance) (gatewarden_app_slo_state{SERVICE} >= bool 2)`, "{{instance}}"}).linked(page("Which", "")))
	g.add(6, 4, stat("Not judged now", "SLOs without enough input to judge. That is neither good nor bad.", "none", at(from(1, "orange")),
		query{`sum by (instance) (gatewarden_app_slo_state{SERVICE} == bool 0)`, "{{instance}}"}).linked(page("Which, and why", "")))
	g.add(6, 4, stat("Budgets spent", "SLOs with nothing left of their error budget.", "none", at(from(1, "red")),
		query{`sum by (instance) (slo:period_error_budget_remaining:ratio{STHSVC} <= bool 0)`, "{{instance}}"}))
	g.add(6, 4, stat("Breaches being answered", "Breaches and runs that the guard is answering with actions.", "none", at(from(1, "orange")),
		query{`gatewarden_actions_ladders_active{SCOPE}`, "{{instance}}"}).linked(page("How", "actions")))
}

func overviewList(g *grid) {
	const by = `max by (instance, sloth_service, sloth_slo) (`
	budget, burn := budgetSteps(), burnSteps()
	g.add(24, 10, table("All SLOs", "One line an SLO. The names lead to its details.", []string{"sloth_slo", "sloth_service", "instance"}, []column{
		{title: "State", unit: "none", mappings: mapping(stateWords()...),
			expr: by + `label_replace(label_replace(gatewarden_app_slo_state{SERVICE}, "sloth_slo", "$1", "slo", "(.+)"), "sloth_service", "$1", "service", "(.+)"))`},
		{title: "Objective", unit: "percentunit", digits: 3, expr: by + `slo:objective:ratio{STHSVC})`},
		{title: "Good", unit: "percentunit", digits: 3, expr: by + `1 - slo:period_burn_rate:ratio{STHSVC} * slo:error_budget:ratio{STHSVC})`},
		{title: "Budget left", unit: "percentunit", digits: 1, thresholds: &budget, expr: by + `slo:period_error_budget_remaining:ratio{STHSVC})`},
		{title: "Burn rate, 5 m", unit: "short", digits: 1, thresholds: &burn, expr: by + `slo:current_burn_rate:ratio{STHSVC})`},
		{title: "Burn rate, 1 h", unit: "short", digits: 1, thresholds: &burn, expr: by + `slo:sli_error:ratio_rate1h{STHSVC} / ignoring (sloth_window) slo:error_budget:ratio{STHSVC})`},
	}).columnLinked("sloth_slo", toSLO("${__data.fields.sloth_slo}")))
}

func overviewTime(g *grid) {
	g.add(12, 9, bars("Budget left", "What is left of the error budget over the SLO's window. Below 0 it is overspent.", "percentunit", budgetSteps(),
		query{`slo:period_error_budget_remaining:ratio{STHSVC}`, "{{sloth_slo}} ({{instance}})"}).upTo(1).linked(toSLO("${__field.labels.sloth_slo}")))
	g.add(12, 9, timeline("States", "What was judged of each SLO.", query{`gatewarden_app_slo_state{SERVICE}`, "{{slo}} ({{instance}})"}, stateWords()...))
	g.add(12, 9, graph("Budget over time", "What was left of the error budget.", "percentunit",
		query{`slo:period_error_budget_remaining:ratio{STHSVC}`, "{{sloth_slo}} ({{instance}})"}).signed().lines(budgetSteps()))
	g.add(12, 9, graph("Burn rate over 5 minutes", "How many times faster than allowed the budget is spent: at 1 it lasts exactly the SLO's window. The lines are the factors of the workbook's pairs. "+
		"Empty without requests.", "short", query{`slo:current_burn_rate:ratio{STHSVC}`, "{{sloth_slo}} ({{instance}})"}).lines(burnSteps()))
}

// sloDetail answers: how does one promise stand, and what became of its budget?
func sloDetail() Dashboard {
	g := &grid{}
	g.row("At a glance")
	detailGlance(g)
	g.row("Is it burning?")
	detailBurn(g)
	g.row("The budget")
	detailBudget(g)
	return dashboard("gatewarden-slo", "SLO detail", "How one promise stands, why, and what became of its budget.", g,
		choice("slo", "SLO", `label_values(gatewarden_app_slo_state{job=~"$job"}, slo)`)).withTraces()
}

func detailGlance(g *grid) {
	const legend, ours = "{{sloth_slo}} ({{instance}})", "{{slo}} ({{instance}})"
	link := page("All evidence", "slos/${__field.labels.slo}")
	g.add(4, 4, stat("State", "What was judged at the last look.", "none", at(), query{`gatewarden_app_slo_state{SLO}`, ours}).mapped(stateWords()...).linked(link))
	g.add(4, 4, stat("Objective", "Share of events that are to be good.", "percentunit", at(), query{`slo:objective:ratio{STHSLO}`, legend}).digits(3))
	g.add(4, 4, stat("Good", "Share of events that were good, over the SLO's window.", "percentunit", at(),
		query{`1 - slo:period_burn_rate:ratio{STHSLO} * slo:error_budget:ratio{STHSLO}`, legend}).digits(3))
	g.add(4, 4, stat("Error budget left", "Below 0 it is overspent.", "percentunit", budgetSteps(), query{`slo:period_error_budget_remaining:ratio{STHSLO}`, legend}).digits(1))
	g.add(4, 4, stat("Budget ends in", "At the rate of the last hour, or as much of a shorter window.", "dtdurations", Thresholds{Mode: "absolute", Steps: []Step{{Color: "red"}, from(86400, "orange"), from(604800, "green")}},
		query{`clamp_min(gatewarden_app_slo_exhaustion_timestamp_seconds{SLO} - time(), 0)`, ours}).whenEmpty("Outlasts the window, or is spent"))
	g.add(4, 4, stat("Seen of the window", "Share of the SLO's window in which the guard was watching. What it did not see counts neither good nor bad.", "percentunit", at(),
		query{`gatewarden_app_slo_coverage_ratio{SLO}`, ours}).digits(1))
}

func detailBurn(g *grid) {
	g.add(12, 9, graph("Burn rate", "How many times faster than allowed the budget is spent, over the windows of the alert pairs. A pair fires while both of its windows are beyond its factor.",
		"short", query{`gatewarden_app_slo_burn_rate{SLO}`, "{{window}} ({{instance}})"}).lines(burnSteps()))
	g.add(12, 9, table("Alert pairs", "The multi-window pairs of the SRE workbook, scaled to the SLO's window.", []string{"slo", "severity", "long", "short", "instance"}, []column{
		{title: "Fires from", unit: "short", digits: 1, expr: `max by (instance, slo, severity, long, short) (gatewarden_app_slo_burn_rate_limit{SLO})`},
		{title: "Long now", unit: "short", digits: 2, expr: `max by (instance, slo, severity, long, short) (gatewarden_app_slo_burn_rate_limit{SLO} * 0 + on (job, instance, slo, long) group_left label_replace(gatewarden_app_slo_burn_rate{SLO}, "long", "$1", "window", "(.+)"))`},
		{title: "Short now", unit: "short", digits: 2, expr: `max by (instance, slo, severity, long, short) (gatewarden_app_slo_burn_rate_limit{SLO} * 0 + on (job, instance, slo, short) group_left label_replace(gatewarden_app_slo_burn_rate{SLO}, "short", "$1", "window", "(.+)"))`},
	}))
	g.add(8, 8, graph("Alerts", "1 while the alert of a severity fires.", "none", query{`gatewarden_app_slo_alert_firing{SLO}`, "{{slo}} {{severity}} ({{instance}})"}).steps().upTo(1))
	g.add(8, 8, graph("Evidence for an outage", "As a common logarithm: each unit is ten times more evidence that more events fail than the outage line allows. It grows within seconds.", "short",
		query{`gatewarden_app_slo_outage_evidence{SLO}`, "{{slo}} ({{instance}})"}).signed())
	g.add(8, 8, timeline("State over time", "What was judged.", query{`gatewarden_app_slo_state{SLO}`, "{{slo}} ({{instance}})"}, stateWords()...))
}

func detailBudget(g *grid) {
	g.add(12, 9, graph("Budget burn-down", "What is left of the error budget over the SLO's window.", "percentunit",
		query{`slo:period_error_budget_remaining:ratio{STHSLO}`, "{{sloth_slo}} ({{instance}})"}).signed().lines(budgetSteps()))
	g.add(12, 9, graph("Share of bad events", "Over 5 minutes, an hour, six hours and a day, beside what the objective allows. Empty without requests.", "percentunit",
		query{`slo:sli_error:ratio_rate5m{STHSLO}`, "5 m {{sloth_slo}} ({{instance}})"},
		query{`slo:sli_error:ratio_rate1h{STHSLO}`, "1 h {{sloth_slo}} ({{instance}})"},
		query{`slo:sli_error:ratio_rate6h{STHSLO}`, "6 h {{sloth_slo}} ({{instance}})"},
		query{`slo:sli_error:ratio_rate1d{STHSLO}`, "1 d {{sloth_slo}} ({{instance}})"},
		query{`slo:error_budget:ratio{STHSLO}`, "allowed {{sloth_slo}} ({{instance}})"}))
	g.add(12, 8, graph("Events in the window", "Good and bad events of the SLO's window.", "short",
		query{`gatewarden_app_slo_events{SLO}`, "{{slo}} {{result}} ({{instance}})"}).stacked())
	g.add(12, 8, graph("Bad events in the window", "They alone spend the budget.", "short",
		query{`gatewarden_app_slo_events{SLO, result="bad"}`, "{{slo}} ({{instance}})"}).linked(page("Who consumed it", "slos/${__field.labels.slo}")))
}
