package dashboards

// guardHealth answers one question: can the guard see, judge, act and remember? What it
// judges of the services is not its subject.
func guardHealth() Dashboard {
	g := &grid{}
	g.row("At a glance")
	glance(g)
	g.row("What comes in")
	intake(g)
	g.row("Sources that are asked")
	asked(g)
	g.row("What is judged")
	judgement(g)
	g.row("What is done")
	deeds(g)
	g.row("What is written down")
	journal(g)
	g.row("The process")
	process(g)
	return dashboard("gatewarden-health", "Guard health", "Whether gatewarden can see, judge, act and remember. Values lead to its page.", g)
}

// ours keeps what all processes have (up, process_*, go_*) to guards, for the reader
// who has chosen all jobs. A guard that was there within the time shown counts, so that
// one that is down is not forgotten.
const ours = ` and on (job, instance) count_over_time(gatewarden_config_last_reload_successful{SCOPE}[$__range])`

func glance(g *grid) {
	good, warn, bad := "green", "orange", "red"
	g.add(3, 4, stat("Guard", "Whether Prometheus reaches the guard. While it is down nothing is judged, and changes at the gateway stay until it is back.",
		"none", at(), query{`up{SCOPE}` + ours, "{{instance}}"}).
		words(MappingTo{Text: "Down", Color: bad}, MappingTo{Text: "Up", Color: good}).linked(page("Status", "sources")))
	g.add(3, 4, stat("Acting", "A paused guard goes on judging but starts no action; who paused it and why is in its status.",
		"none", at(), query{`gatewarden_actions_paused{SCOPE}`, "{{instance}}"}).
		words(MappingTo{Text: "Acting", Color: good}, MappingTo{Text: "Paused", Color: warn}).linked(page("Who paused it, and why", "")))
	g.add(3, 4, stat("Configuration", "Refused: the newest files have a mistake, and those before are still in force. The status says which mistake.",
		"none", at(), query{`gatewarden_config_last_reload_successful{SCOPE}`, "{{instance}}"}).
		words(MappingTo{Text: "Refused", Color: bad}, MappingTo{Text: "In force", Color: good}).linked(page("Why", "sources")))
	g.add(3, 4, stat("In force for", "Time since the files in force were loaded.",
		"dtdurations", at(), query{`time() - gatewarden_config_last_reload_success_timestamp_seconds{SCOPE}`, "{{instance}}"}).linked(page("Status", "sources")))
	g.add(3, 4, stat("Unfit steps", "Steps of the rules that Kong or Jenkins would refuse, or could not be asked about, at the last start or reload.",
		"none", at(from(1, warn)), query{`gatewarden_app_unfit_steps{SCOPE}`, "{{instance}}"}).linked(page("Which", "sources")))
	g.add(3, 4, stat("SLOs in breach", "SLOs whose outage, page or ticket line is crossed now.",
		"none", at(from(1, bad)), query{`gatewarden_app_slos{SCOPE, state="breach"}`, "{{instance}}"}).linked(page("Which", "")))
	g.add(3, 4, stat("Not judged", "SLOs without enough input to judge. A service that nobody calls is one.",
		"none", at(from(1, warn)), query{`gatewarden_app_slos{SCOPE, state="inconclusive"}`, "{{instance}}"}).linked(page("Which, and why", "")))
	g.add(3, 4, stat("Being answered", "Breaches that the guard is answering with actions.",
		"none", at(from(1, warn)), query{`gatewarden_actions_ladders_active{SCOPE}`, "{{instance}}"}).linked(page("How", "actions")))
}

func intake(g *grid) {
	g.add(12, 8, graph("Records by source and fate", "Counted records are what is judged. Shed ones were answered by a change of the guard's own. "+
		"Duplicates came twice, mostly after an answer that Kong did not see; too late and future ones point to a clock or a long outage.",
		"cps", query{`sum by (instance, source, fate) (rate(gatewarden_app_records_total{SCOPE}[$__rate_interval]))`, "{{source}} {{fate}} ({{instance}})"}).
		linked(page("Sources", "sources")).whenEmpty("No record has come yet"))
	g.add(12, 8, graph("Lag of sources", "From the end of the newest request to the arrival of its record. In health it is at most max_coalescing_delay of Kong's log plugin, "+
		"1 s unless set: beyond 2 s the guard learns late of what it should answer within seconds. Below 0 a clock is wrong.",
		"s", query{`gatewarden_app_source_lag_seconds{SCOPE}`, "{{source}} ({{instance}})"}).
		signed().lines(at(from(2, "orange"))).linked(page("Sources", "sources")).whenEmpty("No record has come yet"))
	g.add(8, 8, timeline("Silent sources", "Sources of which nothing has come for longer than blind_after. What lives on silent sources alone is not judged: each SLO says which those are.",
		query{`gatewarden_app_source_silent{SCOPE}`, "{{source}} ({{instance}})"}, MappingTo{Text: "Seeing", Color: "green"}, MappingTo{Text: "Silent", Color: "orange"}))
	g.add(8, 8, graph("Completeness by source", "Share of the requests that Kong counted which came by a source, repeats too. Needs a source kongmetrics beside a log.",
		"percentunit", query{`gatewarden_app_source_completeness_ratio{SCOPE}`, "{{source}} ({{instance}})"}).
		linked(page("Sources", "sources")).whenEmpty("Nothing checks the log"))
	g.add(8, 8, graph("Spans that came", "Spans that were handed on, by source, and those that were left out of good bodies.",
		"cps",
		query{`sum by (instance, source) (rate(gatewarden_collector_spans_accepted_total{SCOPE}[$__rate_interval]))`, "{{source}} ({{instance}})"},
		query{`sum by (instance, source) (rate(gatewarden_collector_spans_rejected_total{SCOPE}[$__rate_interval]))`, "left out: {{source}} ({{instance}})"}).
		whenEmpty("No source of spans"))
	g.add(12, 8, graph("Posts by answer", "Posts of Kong's http-log plugin by the status of the answer. Kong tries again for a minute what was not answered with 200, and then drops it.",
		"reqps", query{`sum by (instance, source, code) (rate(gatewarden_httplog_requests_total{SCOPE}[$__rate_interval]))`, "{{source}} {{code}} ({{instance}})"}).
		whenEmpty("No post has come yet"))
	g.add(12, 8, graph("What could not be taken", "Elements of posts that are no records of Kong's, posts that are no JSON, and records of services or routes beyond the limit of 10,000 series. All should be 0.",
		"cps",
		query{`sum by (instance, source) (rate(gatewarden_httplog_records_rejected_total{SCOPE}[$__rate_interval]))`, "no record: {{source}} ({{instance}})"},
		query{`sum by (instance, source) (rate(gatewarden_httplog_decode_errors_total{SCOPE}[$__rate_interval]))`, "no JSON: {{source}} ({{instance}})"},
		query{`sum by (instance) (rate(gatewarden_store_overflowed_records_total{SCOPE}[$__rate_interval]))`, "too many series ({{instance}})"}))
}

// asked are the sources that the guard asks, instead of being sent to.
func asked(g *grid) {
	g.add(8, 8, graph("Elasticsearch", "Requests to Elasticsearch by outcome. Partial answers are not all data, and are not counted.",
		"reqps", query{`sum by (instance, source, outcome) (rate(gatewarden_elasticsearch_requests_total{SCOPE}[$__rate_interval]))`, "{{source}} {{outcome}} ({{instance}})"}).
		linked(page("Sources", "sources")).whenEmpty("No source of that kind"))
	g.add(8, 8, graph("PromQL", "Questions to the query API by outcome. Refused: the query is wrong, or gives several series.",
		"reqps", query{`sum by (instance, source, outcome) (rate(gatewarden_promquery_questions_total{SCOPE}[$__rate_interval]))`, "{{source}} {{outcome}} ({{instance}})"}).
		linked(page("Sources", "sources")).whenEmpty("No source of that kind"))
	g.add(8, 8, graph("How far behind", "How far behind now Elasticsearch is read and queries are counted. The guard judges what lives on them as late as that; it becomes blind beyond blind_after.",
		"s",
		query{`gatewarden_elasticsearch_lag_seconds{SCOPE}`, "{{source}} ({{instance}})"},
		query{`gatewarden_promquery_behind_seconds{SCOPE}`, "{{source}} ({{instance}})"}).
		linked(page("Sources", "sources")).whenEmpty("No source of that kind"))
	g.add(8, 8, graph("Spans", "Spans in the search for where breaches come from. Late ones came when their trace was closed, those beyond are of traces that are too large.",
		"cps", query{`sum by (instance, fate) (rate(gatewarden_app_spans_total{SCOPE}[$__rate_interval]))`, "{{fate}} ({{instance}})"}).whenEmpty("No spans"))
	g.add(8, 8, graph("Spans that wait", "Spans that wait for their trace to be whole; at 50,000 traces are looked at before they are.",
		"none", query{`gatewarden_app_spans_waiting{SCOPE}`, "{{instance}}"}).lines(at(from(50000, "orange"))))
	g.add(8, 8, graph("Elasticsearch, the past", "How much of the past is still to be filled in.",
		"s", query{`gatewarden_elasticsearch_past_remaining_seconds{SCOPE}`, "{{source}} ({{instance}})"}).whenEmpty("Nothing is to be filled in"))
}

func judgement(g *grid) {
	const tick = `sum by (instance, le) (rate(gatewarden_app_tick_seconds_bucket{SCOPE}[$__rate_interval])))`
	g.add(12, 8, graph("SLOs by state", "What the last look judged of the SLOs. Inconclusive is neither good nor bad: there is not enough input.",
		"none", query{`sum by (instance, state) (gatewarden_app_slos{SCOPE})`, "{{state}} ({{instance}})"}).
		stacked().steps().linked(page("SLOs", "")))
	g.add(12, 8, graph("Duration of a look", "How long it takes to judge all SLOs once and to decide what follows. It is done twice a second, so it must stay well below 0.5 s.",
		"s",
		query{`histogram_quantile(0.5, ` + tick, "half of them ({{instance}})"},
		query{`histogram_quantile(0.95, ` + tick, "95% ({{instance}})"},
		query{`histogram_quantile(0.99, ` + tick, "99% ({{instance}})"}).
		lines(at(from(0.25, "orange"), from(0.5, "red"))))
}

func deeds(g *grid) {
	g.add(8, 8, graph("In place", "Actions in place or under way, by kind of step and status. Each of them is a difference to what people have configured.",
		"none", query{`sum by (instance, kind, status) (gatewarden_actions_in_place{SCOPE})`, "{{kind}} {{status}} ({{instance}})"}).
		stacked().steps().linked(page("Actions", "actions")).whenEmpty("Nothing is in place"))
	g.add(8, 8, graph("Actions since the start", "Actions that came to a status, counted since the guard was started. Failed, unknown and left need a person.",
		"none", query{`sum by (instance, kind, status) (gatewarden_actions_status_changes_total{SCOPE})`, "{{kind}} {{status}} ({{instance}})"}).
		steps().linked(page("Actions", "actions")).whenEmpty("Nothing was done yet"))
	g.add(8, 8, graph("Adaptive limits", "Where the limits in place are, in requests a second of the whole gateway. Floors and ceilings are in the rules; the page shows them.",
		"reqps", query{`gatewarden_actions_limit_requests_per_second{SCOPE}`, "{{policy}}: {{service}} {{route}} ({{instance}})"}).
		steps().linked(page("Actions", "actions")).whenEmpty("No limit is in place"))
	g.add(8, 8, graph("Not seen in the traffic", "Changes that are in place and that the traffic does not show: some node of Kong's may not have taken them up. Should be 0.",
		"none", query{`sum by (instance, kind) (gatewarden_actions_in_place{SCOPE, status="unverified"})`, "{{kind}} ({{instance}})"}).
		steps().linked(page("Actions", "actions")).whenEmpty("All shows"))
	g.add(8, 8, graph("Held back", "Actions that were held back, by what held them. Those by a peer wait for it to answer.",
		"cps", query{`sum by (instance, gate) (rate(gatewarden_actions_held_total{SCOPE}[$__rate_interval]))`, "{{gate}} ({{instance}})"}).
		linked(page("Actions", "actions")).whenEmpty("Nothing was held back"))
	g.add(8, 8, graph("Lease left", "Until the first lease of an action runs out, by policy. Leases are renewed while the danger can be seen; one that runs out is taken back.",
		"s", query{`min by (instance, policy) (gatewarden_actions_lease_remaining_seconds{SCOPE})`, "{{policy}} ({{instance}})"}).
		linked(page("Actions", "actions")).whenEmpty("Nothing is in place"))
}

func journal(g *grid) {
	const durable = `sum by (instance, le) (rate(gatewarden_journal_append_duration_seconds_bucket{SCOPE}[$__rate_interval])))`
	g.add(8, 8, graph("Appends", "Events written to the journal, by type.",
		"cps", query{`sum by (instance, type) (rate(gatewarden_journal_events_total{SCOPE}[$__rate_interval]))`, "{{type}} ({{instance}})"}).
		linked(page("Events", "timeline")).whenEmpty("Nothing was written yet"))
	g.add(8, 8, graph("Time until durable", "How long an append took. Before a step is done its intent is written, so a slow disk makes the guard slow. Empty while nothing is written.",
		"s",
		query{`histogram_quantile(0.5, ` + durable, "half of them ({{instance}})"},
		query{`histogram_quantile(0.99, ` + durable, "99% ({{instance}})"}).whenEmpty("Nothing is written"))
	g.add(8, 8, graph("Failures", "Appends that failed, by reason (conflict: another guard writes the same journal); writes of actions that failed and are tried again; "+
		"messages in the journal that are no events. All should be 0. While the journal takes nothing, the guard starts nothing.",
		"cps",
		query{`sum by (instance, code) (rate(gatewarden_journal_append_failures_total{SCOPE}[$__rate_interval]))`, "append: {{code}} ({{instance}})"},
		query{`sum by (instance) (rate(gatewarden_actions_write_failures_total{SCOPE}[$__rate_interval]))`, "write of an action ({{instance}})"},
		query{`sum by (instance) (rate(gatewarden_journal_damaged_messages_total{SCOPE}[$__rate_interval]))`, "no event ({{instance}})"}))
}

func process(g *grid) {
	g.add(8, 8, graph("Memory", "Memory of the process that is not swapped out.",
		"bytes", query{`process_resident_memory_bytes{SCOPE}` + ours, "{{instance}}"}))
	g.add(8, 8, graph("CPU", "Cores in use.",
		"short", query{`rate(process_cpu_seconds_total{SCOPE}[$__rate_interval])` + ours, "{{instance}}"}))
	g.add(8, 8, graph("Goroutines", "What the process does at once. A number that only grows is a leak.",
		"none", query{`go_goroutines{SCOPE}` + ours, "{{instance}}"}))
}
