package dashboards

// dashboard puts a frame around panels: what all dashboards have in common, and the
// variables that are this one's own.
func dashboard(uid, title, description string, g *grid, own ...Variable) Dashboard {
	return Dashboard{
		UID: uid, Title: title, Tags: []string{"gatewarden"}, Description: description,
		GraphTooltip: 1, SchemaVersion: 41, Refresh: "30s", Time: TimeRange{From: "now-1h", To: "now"},
		Templating:  Templating{List: append(variables("gatewarden_config_last_reload_successful"), own...)},
		Annotations: Annotations{List: append([]Annotation{builtIn()}, marks()...)},
		Links:       []Link{{Title: "gatewarden", Type: "dashboards", Tags: []string{"gatewarden"}, AsDropdown: true, IncludeVars: true, KeepTime: true}},
		Panels:      g.panels,
	}
}

// withTraces adds a link to the gateway's traces, and a box for where Jaeger is: Grafana
// knows the addresses of its data sources, and tells no link.
func (d Dashboard) withTraces() Dashboard {
	const address = "http://127.0.0.1:16686"
	chosen := Choice{Selected: true, Text: address, Value: address}
	d.Templating.List = append(d.Templating.List, Variable{Type: "textbox", Name: "jaeger", Label: "Jaeger", Query: address, Current: chosen, Options: []Choice{chosen}})
	d.Links = append(d.Links, Link{Title: "Traces", Type: "link", URL: "${jaeger}/search?service=kong", Tags: []string{}, TargetBlank: true, KeepTime: false})
	return d
}

// variables let the reader choose a data source, jobs and instances among those that
// have a metric.
func variables(metric string) []Variable {
	return []Variable{
		{Type: "datasource", Name: "datasource", Label: "Data source", Query: "prometheus", Refresh: 1, Options: []Choice{}},
		choice("job", "Job", "label_values("+metric+", job)"),
		choice("instance", "Instance", "label_values("+metric+`{job=~"$job"}, instance)`),
	}
}

// choice is a variable with the values of a label.
func choice(name, label, query string) Variable {
	s := source()
	return Variable{
		Type: "query", Name: name, Label: label, Datasource: &s, Definition: query,
		Query:   VariableQuery{Query: query, RefID: "PrometheusVariableQueryEditor-VariableQuery", QueryType: 1},
		Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".+", Options: []Choice{},
	}
}

// builtIn is the entry for annotations that people make in Grafana.
func builtIn() Annotation {
	return Annotation{
		BuiltIn: 1, Datasource: Source{Type: "grafana", UID: "-- Grafana --"}, Enable: true, Hide: true,
		IconColor: "rgba(0, 211, 255, 1)", Name: "Annotations & Alerts", Type: "dashboard",
	}
}

// marks are what happened: breaches, what the guard did about them, and releases.
func marks() []Annotation {
	mark := func(name, color, expr, title, tags string) Annotation {
		return Annotation{
			Datasource: source(), Enable: true, IconColor: color, Name: name, Expr: scoped(expr), Step: "15s",
			TitleFormat: title, TextFormat: "{{instance}}", TagKeys: tags,
		}
	}
	return []Annotation{
		mark("Breaches", "red", `gatewarden_app_slo_alert_firing{SCOPE} == 1`, "{{slo}}: {{severity}}", "severity,service"),
		mark("Actions", "orange", `sum by (instance, kind, status) (gatewarden_actions_in_place{SCOPE}) > 0`, "{{kind}} {{status}}", "kind"),
		mark("Releases", "blue", `gatewarden_app_canary_state{SCOPE} == 1`, "canary {{canary}} is judged", "canary"),
	}
}
