package dashboards

// kongService answers: what does the gateway do for a service, and does the guard see all
// of it? Kong's own metrics, of its prometheus plugin, stand beside the guard's.
func kongService() Dashboard {
	g := &grid{}
	g.row("Requests")
	kongRequests(g)
	g.row("Latency")
	kongLatency(g)
	g.row("What the guard relies on")
	relied(g)
	g.row("The gateway")
	kongNodes(g)
	return dashboard("gatewarden-kong", "Kong service", "What the gateway does for a service: the guard's figures beside Kong's own.", g,
		choice("service", "Service", `label_values(gatewarden_app_requests_total{job=~"$job"}, service)`),
		choice("kong", "Kong job", `label_values(kong_node_info, job)`)).withTraces()
}

func kongRequests(g *grid) {
	const guards = `sum by (instance, service) (rate(gatewarden_app_requests_total{SERVICE}[$__rate_interval]))`
	g.add(12, 9, graph("Requests a second", "Requests a second, as the guard counted them from Kong's log, and as Kong's own metrics say (status_code_metrics must be on).", "reqps",
		query{guards, "guard: {{service}} ({{instance}})"},
		query{`sum by (instance, service) (rate(kong_http_requests_total{job=~"$kong", service=~"$service"}[$__rate_interval]))`, "Kong: {{service}} ({{instance}})"}))
	g.add(12, 9, graph("Completeness", "Requests that the guard counted, of those that Kong answered. Below 1 the log loses records; shortly beside 1 is the time that the log takes.", "percentunit",
		query{guards + ` / on (service) group_left () (sum by (service) (rate(kong_http_requests_total{job=~"$kong", service=~"$service"}[$__rate_interval])) > 0)`, "{{service}} ({{instance}})"}))
	g.add(12, 9, graph("Requests by class", "As the guard counted them, by class of status. Shed ones were answered by a change of the guard's own. Dots lead to the trace of a failure.", "reqps",
		query{`sum by (instance, service, class) (rate(gatewarden_app_requests_total{SERVICE}[$__rate_interval]))`, "{{service}} {{class}} ({{instance}})"}).stacked().traced())
	g.add(12, 9, graph("Failures", "Share of requests that failed, as the guard counted and as Kong says. The guard leaves out what its own plugins answered.", "percentunit",
		query{`sum by (instance, service) (rate(gatewarden_app_requests_total{SERVICE, class=~"5xx|other"}[$__rate_interval])) / (sum by (instance, service) (rate(gatewarden_app_requests_total{SERVICE, class!="shed"}[$__rate_interval])) > 0)`, "guard: {{service}} ({{instance}})"},
		query{`sum by (instance, service) (rate(kong_http_requests_total{job=~"$kong", service=~"$service", code=~"5.."}[$__rate_interval])) / (sum by (instance, service) (rate(kong_http_requests_total{job=~"$kong", service=~"$service"}[$__rate_interval])) > 0)`, "Kong: {{service}} ({{instance}})"}).whenEmpty("Nothing failed"))
}

// relied are the guard's own figures of the gateway, whatever Prometheus scrapes of Kong.
func relied(g *grid) {
	g.add(8, 8, graph("Completeness, as the guard judges", "Share of the requests that Kong counted which the log brought, by the guard's own look at Kong's counters. Below the limit (95 % unless set) a service is not judged.", "percentunit",
		query{`gatewarden_app_completeness_ratio{SERVICE}`, "{{service}} ({{instance}})"}).lines(Thresholds{Mode: "absolute", Steps: []Step{{Color: "red"}, from(0.95, "green")}}).
		linked(page("Completeness", "sources")).whenEmpty("Nothing checks the log"))
	g.add(8, 8, graph("Drift", "Differences between Kong's nodes, and what actions rely on and is gone, that have lasted and are not ignored. Should be 0.", "none",
		query{`gatewarden_app_drift_findings{SCOPE}`, "{{kind}} ({{instance}})"}).steps().linked(page("What differs", "sources")).whenEmpty("No node was asked"))
	g.add(8, 8, graph("Adaptive limits", "Where the limits in place for a service are, in requests a second of the whole gateway, beside what the guard counted of it.", "reqps",
		query{`gatewarden_actions_limit_requests_per_second{SERVICE}`, "limit: {{service}} {{route}} ({{instance}})"},
		query{`sum by (instance, service) (rate(gatewarden_app_requests_total{SERVICE, class!="shed"}[$__rate_interval])) and on (instance, service) gatewarden_actions_limit_requests_per_second{SERVICE}`, "let through: {{service}} ({{instance}})"}).
		linked(page("Actions", "actions")).whenEmpty("No limit is in place"))
	g.add(12, 8, graph("Nodes, as the guard sees them", "Kong's nodes by how they are: asked every few seconds by the guard itself.", "none",
		query{`sum by (instance, state) (gatewarden_app_kong_nodes{SCOPE})`, "{{state}} ({{instance}})"}).steps().stacked().
		linked(page("Nodes", "sources")).whenEmpty("No node was asked"))
	g.add(12, 8, graph("Targets, as the guard sees them", "Targets of upstreams by the worst that a node says of them.", "none",
		query{`sum by (instance, state) (gatewarden_app_kong_targets{SCOPE})`, "{{state}} ({{instance}})"}).steps().stacked().
		linked(page("Nodes", "sources")).whenEmpty("No target is known"))
}

func kongLatency(g *grid) {
	const buckets = `{job=~"$kong", service=~"$service"}[$__rate_interval])))`
	g.add(12, 9, graph("Latency of requests", "Percentiles of the whole request, over the last minute, from each request's own latency.", "s",
		query{`gatewarden_app_latency_seconds{SERVICE}`, "{{service}} p{{percentile}} ({{instance}})"}).whenEmpty("No requests in the last minute"))
	g.add(12, 9, graph("Latency, as Kong says", "The same from Kong's histograms, which know only their own bounds (25, 50, 80, 100, 250 ms and so on).", "ms",
		query{`histogram_quantile(0.5, sum by (instance, service, le) (rate(kong_request_latency_ms_bucket` + buckets, "request p50: {{service}} ({{instance}})"},
		query{`histogram_quantile(0.99, sum by (instance, service, le) (rate(kong_request_latency_ms_bucket` + buckets, "request p99: {{service}} ({{instance}})"},
		query{`histogram_quantile(0.99, sum by (instance, service, le) (rate(kong_upstream_latency_ms_bucket` + buckets, "upstream p99: {{service}} ({{instance}})"},
		query{`histogram_quantile(0.99, sum by (instance, service, le) (rate(kong_kong_latency_ms_bucket` + buckets, "Kong itself p99: {{service}} ({{instance}})"}))
}

func kongNodes(g *grid) {
	g.add(8, 8, graph("Bandwidth", "Bytes a second, in and out.", "Bps",
		query{`sum by (instance, service, direction) (rate(kong_bandwidth_bytes{job=~"$kong", service=~"$service"}[$__rate_interval]))`, "{{service}} {{direction}} ({{instance}})"}))
	g.add(8, 8, graph("Connections", "Connections of Kong's nginx by state.", "none",
		query{`sum by (instance, state) (kong_nginx_connections_total{job=~"$kong"})`, "{{state}} ({{instance}})"}))
	g.add(8, 8, graph("Targets", "Targets of upstreams by state of health, as Kong has it.", "none",
		query{`sum by (instance, upstream, state) (kong_upstream_target_health{job=~"$kong"})`, "{{upstream}} {{state}} ({{instance}})"}).steps())
}
