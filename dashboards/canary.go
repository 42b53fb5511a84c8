package dashboards

// canaryRun answers: may this release go on, and why?
func canaryRun() Dashboard {
	g := &grid{}
	g.row("At a glance")
	canaryGlance(g)
	g.row("The evidence")
	canaryEvidence(g)
	g.row("The two tracks")
	canaryTracks(g)
	return dashboard("gatewarden-canary", "Canary", "Whether a release may go on: the canary beside its baseline, and the evidence over time.", g,
		choice("canary", "Canary", `label_values(gatewarden_app_canary_state{job=~"$job"}, canary)`))
}

func canaryGlance(g *grid) {
	const legend = "{{canary}} ({{instance}})"
	link := page("The canary and its newest run", "canaries/${__field.labels.canary}")
	g.add(6, 4, stat("Newest run", "What came of the canary's newest run.", "none", at(), query{`gatewarden_app_canary_state{CANARY}`, legend}).
		mapped(MappingTo{Text: "None yet", Color: "text"}, MappingTo{Text: "Running", Color: "blue"}, MappingTo{Text: "Pass", Color: "green"},
			MappingTo{Text: "Fail", Color: "red"}, MappingTo{Text: "Inconclusive", Color: "orange"}, MappingTo{Text: "Cancelled", Color: "text"}).linked(link))
	g.add(6, 4, stat("Canary's requests", "Requests of the canary in its newest run.", "short", at(), query{`gatewarden_app_canary_requests{CANARY, track="canary"}`, legend}).whenEmpty("No run yet").linked(link))
	g.add(6, 4, stat("Canary's failures", "Share of the canary's requests that failed in its newest run.", "percentunit", at(),
		query{`gatewarden_app_canary_failures{CANARY, track="canary"} / (gatewarden_app_canary_requests{CANARY, track="canary"} > 0)`, legend}).digits(2).whenEmpty("No requests yet").linked(link))
	g.add(6, 4, stat("Baseline's failures", "The same of the baseline: what troubles both is not the canary's fault.", "percentunit", at(),
		query{`gatewarden_app_canary_failures{CANARY, track="baseline"} / (gatewarden_app_canary_requests{CANARY, track="baseline"} > 0)`, legend}).digits(2).whenEmpty("No requests yet").linked(link))
}

func canaryEvidence(g *grid) {
	g.add(16, 10, graph("Evidence", "As a common logarithm: 2 is a hundred times more likely if the canary is worse (fail), or is not worse (pass). The run ends when one of them reaches what it needs; "+
		"it may be looked at as often as you like.", "short",
		query{`gatewarden_gates_evidence{CANARY}`, "for a {{for}}: {{canary}} ({{instance}})"},
		query{`gatewarden_app_canary_evidence_needed{CANARY}`, "needed for a {{for}}: {{canary}} ({{instance}})"}).signed().whenEmpty("No canary is judged"))
	g.add(8, 10, timeline("Runs", "When the canary was judged, and what came of it.", query{`gatewarden_app_canary_state{CANARY}`, "{{canary}} ({{instance}})"},
		MappingTo{Text: "None yet", Color: "text"}, MappingTo{Text: "Running", Color: "blue"}, MappingTo{Text: "Pass", Color: "green"},
		MappingTo{Text: "Fail", Color: "red"}, MappingTo{Text: "Inconclusive", Color: "orange"}, MappingTo{Text: "Cancelled", Color: "text"}))
	g.add(12, 8, graph("Effect on failures", "The odds of a failure, canary over baseline: 1 is no difference. The truth lies between low and high with 95 % probability, at all times together.", "short",
		query{`gatewarden_app_canary_error_ratio{CANARY}`, "{{bound}}: {{canary}} ({{instance}})"}).logarithmic().lines(at(from(1, "orange"))).whenEmpty("Not known yet"))
	g.add(12, 8, graph("Effect on latency", "Latencies, canary over baseline: 1 is no difference, 1.1 ten per cent slower.", "short",
		query{`gatewarden_app_canary_latency_ratio{CANARY}`, "{{bound}}: {{canary}} ({{instance}})"}).logarithmic().lines(at(from(1, "orange"))).whenEmpty("Not known yet"))
}

func canaryTracks(g *grid) {
	const legend = "{{track}}: {{canary}} ({{instance}})"
	g.add(12, 8, graph("Requests judged", "Requests a second that the judge was shown, by track.", "reqps",
		query{`sum by (instance, canary, track) (rate(gatewarden_gates_observations_total{CANARY}[$__rate_interval]))`, legend}).whenEmpty("No canary is judged"))
	g.add(12, 8, graph("Share of the requests", "What the canary takes: as Kong's weights say, and as it was seen since they say so. When the two differ, the comparison is not fair.", "percentunit",
		query{`gatewarden_app_canary_share_ratio{CANARY}`, "{{of}}: {{canary}} ({{instance}})"}).upTo(1).whenEmpty("Not known"))
	g.add(12, 8, graph("Failures", "Share of requests that failed since the run began, by track.", "percentunit",
		query{`gatewarden_app_canary_failures{CANARY} / (gatewarden_app_canary_requests{CANARY} > 0)`, legend}).whenEmpty("No requests yet"))
	g.add(12, 8, graph("Latency", "Half of the requests were faster than p50, one in a hundred slower than p99, since the run began.", "s",
		query{`gatewarden_app_canary_latency_seconds{CANARY}`, "{{track}} p{{percentile}}: {{canary}} ({{instance}})"}).whenEmpty("No requests yet"))
}
