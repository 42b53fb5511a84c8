package dashboards

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// problems returns what is wrong with a dashboard: by the rules of Grafana's dashboard
// linter that need no PromQL parser, under their names, and by some of our own. The
// rules of expressions are in test/prometheus, which has Prometheus' parser.
func problems(d Dashboard) []string {
	var found []string
	report := func(rule, format string, args ...any) {
		found = append(found, rule+": "+fmt.Sprintf(format, args...))
	}
	lintDashboard(d, report)
	lintVariables(d, report)
	ids, titles := map[int]bool{}, map[string]bool{}
	known := []string{"__rate_interval", "__range"}
	for _, v := range d.Templating.List {
		known = append(known, v.Name)
	}
	for i, p := range d.Panels {
		lintPanel(p, known, report)
		if p.ID < 1 || ids[p.ID] {
			report("ids", "panel %q has the id %d, which is none or taken", p.Title, p.ID)
		}
		if titles[p.Title] {
			report("titles", "two panels are called %q", p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		for _, other := range d.Panels[:i] {
			if overlap(p.GridPos, other.GridPos) {
				report("grid", "%q lies on %q", p.Title, other.Title)
			}
		}
	}
	return found
}

type reporter func(rule, format string, args ...any)

func lintDashboard(d Dashboard, report reporter) {
	if d.Editable {
		report("uneditable-dashboard", "it is editable")
	}
	if d.UID == "" || len(d.UID) > 40 {
		report("uid", "%q is empty or too long", d.UID)
	}
	if d.SchemaVersion < 39 || d.SchemaVersion > 41 {
		report("schema", "version %d is not known to Grafana 11 to 13", d.SchemaVersion)
	}
	if d.Title == "" || d.Description == "" {
		report("title", "no title or description")
	}
}

func lintVariables(d Dashboard, report reporter) {
	var sources, queries []Variable
	for _, v := range d.Templating.List {
		switch v.Type {
		case "datasource":
			sources = append(sources, v)
		case "query":
			queries = append(queries, v)
		case "textbox":
			if address, ok := v.Query.(string); !ok || v.Current.Value != address || len(v.Options) != 1 || v.Options[0] != v.Current {
				report("textboxes", "%s begins with %v, and says %+v", v.Name, v.Query, v.Current)
			}
		default:
			report("variables", "%s is of type %s", v.Name, v.Type)
		}
	}
	if len(sources) != 1 || sources[0].Name != "datasource" || sources[0].Label != "Data source" || sources[0].Query != "prometheus" {
		report("template-datasource-rule", "want one data source, named datasource and labeled Data source, have %+v", sources)
	}
	for name, label := range map[string]string{"job": "Job", "instance": "Instance"} {
		rule := "template-" + name + "-rule"
		i := slices.IndexFunc(queries, func(v Variable) bool { return v.Name == name })
		if i < 0 {
			report(rule, "there is no variable %s", name)
			continue
		}
		if v := queries[i]; v.Label != label || !v.Multi || v.AllValue != ".+" {
			report(rule, "%s is labeled %q, multi is %t and all is %q", name, v.Label, v.Multi, v.AllValue)
		}
	}
	for _, v := range queries {
		if v.Datasource == nil || *v.Datasource != source() {
			report("template-"+v.Name+"-rule", "%s asks %v", v.Name, v.Datasource)
		}
		if v.Refresh != 2 {
			report("template-on-time-change-reload-rule", "%s has refresh %d", v.Name, v.Refresh)
		}
		if q, ok := v.Query.(VariableQuery); !ok || q.Query != v.Definition || !labelValues.MatchString(q.Query) {
			report("template-label-promql-rule", "%s asks %v", v.Name, v.Query)
		}
	}
}

var labelValues = regexp.MustCompile(`^label_values\([a-z_]+(\{job=~"\$job"\})?, (job|instance|service|slo|canary)\)$`)

// units are those of the linter's list that are in use here.
var units = []string{"none", "short", "s", "dtdurations", "bytes", "cps", "reqps", "percentunit", "ms", "Bps"}

var placeholder = regexp.MustCompile(`\b(SCOPE|SERVICE|STHSVC|STHSLO|SLO|CANARY)\b`)

var variable = regexp.MustCompile(`\$\{?([a-z_]+)`)

func lintPanel(p Panel, known []string, report reporter) {
	if at := p.GridPos; at.X < 0 || at.Y < 0 || at.W < 1 || at.H < 1 || at.X+at.W > columns {
		report("grid", "%q is at %+v", p.Title, at)
	}
	switch p.Type {
	case "row":
		if len(p.Targets) > 0 || len(p.Panels) > 0 || p.Collapsed == nil || *p.Collapsed {
			report("rows", "%q is more than a heading", p.Title)
		}
		return
	case "stat", "timeseries", "table", "bargauge", "state-timeline":
	default:
		report("types", "%q is of type %q", p.Title, p.Type)
	}
	if p.Title == "" || p.Description == "" {
		report("panel-title-description-rule", "%q has no title or no description", p.Title)
	}
	if p.Datasource == nil || *p.Datasource != source() {
		report("panel-datasource-rule", "%q asks %v", p.Title, p.Datasource)
	}
	if p.FieldConfig == nil || !slices.Contains(units, p.FieldConfig.Defaults.Unit) {
		report("panel-units-rule", "%q has no known unit", p.Title)
	} else {
		for _, l := range p.FieldConfig.Defaults.Links {
			if !strings.HasPrefix(l.URL, "http://${__field.labels.instance}/") && !strings.HasPrefix(l.URL, "/d/gatewarden-") {
				report("links", "%q leads to %s", p.Title, l.URL)
			}
		}
	}
	if len(p.Targets) == 0 {
		report("panel-no-targets-rule", "%q asks nothing", p.Title)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		lintTarget(p, target, known, report)
		if refs[target.RefID] {
			report("refs", "%q has two targets %s", p.Title, target.RefID)
		}
		refs[target.RefID] = true
	}
}

func lintTarget(p Panel, target Target, known []string, report reporter) {
	if target.Datasource != source() { // so no Loki either: the rules of LogQL have nothing to look at
		report("target-logql-rule", "%q asks %v", p.Title, target.Datasource)
	}
	if target.RefID == "" || target.LegendFormat == "" || target.Instant == target.Range || target.Instant != slices.Contains([]string{"stat", "bargauge", "table"}, p.Type) ||
		(target.Format == "table") != (p.Type == "table") {
		report("targets", "%q has %+v", p.Title, target)
	}
	for _, m := range variable.FindAllStringSubmatch(target.Expr, -1) {
		if !slices.Contains(known, m[1]) {
			report("variables", "%q uses $%s, which is not there", p.Title, m[1])
		}
	}
	if placeholder.MatchString(target.Expr) {
		report("targets", "%q has a placeholder left: %s", p.Title, target.Expr)
	}
	if p.Type != "table" && !strings.Contains(target.LegendFormat, "{{instance}}") {
		report("targets", "the legend of %q does not tell two guards apart: %s", p.Title, target.LegendFormat)
	}
}

func overlap(a, b GridPos) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

func TestDashboardsAreLintClean(t *testing.T) {
	uids, titles := map[string]bool{}, map[string]bool{}
	for _, d := range All() {
		for _, problem := range problems(d) {
			t.Errorf("%s: %s", d.UID, problem)
		}
		if uids[d.UID] || titles[d.Title] {
			t.Errorf("%s: %q: uid or title is taken; Grafana skips the file", d.UID, d.Title)
		}
		uids[d.UID], titles[d.Title] = true, true
	}
	if len(uids) == 0 {
		t.Error("there is no dashboard")
	}
}

// TestLintCanFail breaks the dashboard in one way a rule and wants the rule to say so.
func TestLintCanFail(t *testing.T) {
	panel := func(d *Dashboard, kind string) *Panel {
		return &d.Panels[slices.IndexFunc(d.Panels, func(p Panel) bool { return p.Type == kind })]
	}
	for rule, spoil := range map[string]func(d *Dashboard){
		"uneditable-dashboard":                func(d *Dashboard) { d.Editable = true },
		"uid":                                 func(d *Dashboard) { d.UID = strings.Repeat("u", 41) },
		"schema":                              func(d *Dashboard) { d.SchemaVersion = 99 },
		"title":                               func(d *Dashboard) { d.Title = "" },
		"template-datasource-rule":            func(d *Dashboard) { d.Templating.List[0].Name = "ds" },
		"template-job-rule":                   func(d *Dashboard) { d.Templating.List[1].Multi = false },
		"template-instance-rule":              func(d *Dashboard) { d.Templating.List = d.Templating.List[:2] },
		"template-label-promql-rule":          func(d *Dashboard) { d.Templating.List[1].Query = "label_values(" },
		"template-on-time-change-reload-rule": func(d *Dashboard) { d.Templating.List[1].Refresh = 1 },
		"panel-datasource-rule":               func(d *Dashboard) { panel(d, "stat").Datasource = &Source{Type: "prometheus", UID: "mine"} },
		"panel-title-description-rule":        func(d *Dashboard) { panel(d, "stat").Description = "" },
		"panel-units-rule":                    func(d *Dashboard) { panel(d, "timeseries").FieldConfig.Defaults.Unit = "apples" },
		"panel-no-targets-rule":               func(d *Dashboard) { panel(d, "timeseries").Targets = nil },
		"target-logql-rule":                   func(d *Dashboard) { panel(d, "stat").Targets[0].Datasource.Type = "loki" },
		"variables":                           func(d *Dashboard) { panel(d, "stat").Targets[0].Expr = `up{job=~"$jop"}` },
		"targets":                             func(d *Dashboard) { panel(d, "stat").Targets[0].Instant = false },
		"links":                               func(d *Dashboard) { panel(d, "stat").FieldConfig.Defaults.Links[0].URL = "http://guard:8080/" },
		"textboxes": func(d *Dashboard) {
			*d = d.withTraces()
			d.Templating.List[len(d.Templating.List)-1].Current.Value = ""
		},
		"types":  func(d *Dashboard) { panel(d, "stat").Type = "singlestat" },
		"rows":   func(d *Dashboard) { panel(d, "row").Panels = []Panel{{}} },
		"ids":    func(d *Dashboard) { d.Panels[3].ID = d.Panels[4].ID },
		"titles": func(d *Dashboard) { d.Panels[3].Title = d.Panels[4].Title },
		"grid":   func(d *Dashboard) { d.Panels[3].GridPos.X++ },
		"refs":   func(d *Dashboard) { p := panel(d, "stat"); p.Targets = append(p.Targets, p.Targets[0]) },
	} {
		d := guardHealth()
		spoil(&d)
		found := problems(d)
		if !slices.ContainsFunc(found, func(p string) bool { return strings.HasPrefix(p, rule+": ") }) {
			t.Errorf("%s does not see what it is there for; found: %q", rule, found)
		}
	}
}
