package dashboards

import "strings"

// source is the data source that the reader has chosen.
func source() Source { return Source{Type: "prometheus", UID: "${datasource}"} }

// columns is the width of Grafana's grid.
const columns = 24

// grid places panels from left to right, and numbers them.
type grid struct {
	panels []Panel
	x, y   int // where the next panel comes
	height int // of the panels in the current line
}

// row begins a new part, with a heading.
func (g *grid) row(title string) {
	g.y += g.height
	open := false
	g.panels = append(g.panels, Panel{
		ID: len(g.panels) + 1, Type: "row", Title: title, Collapsed: &open, Panels: []Panel{},
		GridPos: GridPos{H: 1, W: columns, X: 0, Y: g.y},
	})
	g.x, g.y, g.height = 0, g.y+1, 0
}

// add places a panel where there is room.
func (g *grid) add(width, height int, p Panel) {
	if g.x+width > columns {
		g.x, g.y, g.height = 0, g.y+g.height, 0
	}
	p.ID = len(g.panels) + 1
	p.GridPos = GridPos{H: height, W: width, X: g.x, Y: g.y}
	g.x, g.height = g.x+width, max(g.height, height)
	g.panels = append(g.panels, p)
}

// query is an expression and the name of its series. In the expression, SCOPE stands
// for the matchers of the job and the instance that the reader has chosen.
type query struct{ expr, legend string }

// scope makes a query one of the guards that the reader has chosen.
func (q query) scope() string {
	return strings.ReplaceAll(q.expr, "SCOPE", `job=~"$job", instance=~"$instance"`)
}

// targets turns queries into what a panel holds, named A, B, C.
func targets(instant bool, queries []query) []Target {
	list := make([]Target, len(queries))
	for i, q := range queries {
		list[i] = Target{
			RefID: string(rune('A' + i)), Datasource: source(), Expr: q.scope(), LegendFormat: q.legend,
			EditorMode: "code", Instant: instant, Range: !instant,
		}
	}
	return list
}

// at returns the thresholds that color values: green, and from each step on its color.
func at(steps ...Step) Thresholds {
	return Thresholds{Mode: "absolute", Steps: append([]Step{{Color: "green"}}, steps...)}
}

// from is the begin of a color.
func from(value float64, color string) Step { return Step{Color: color, Value: &value} }

// api is a link from a series to what its guard says. Its instance is where Prometheus
// scrapes the guard, which is the API unless listen.metrics is set.
func api(title, path string) []Link {
	return []Link{{Title: title, URL: "http://${__field.labels.instance}" + path, TargetBlank: true}}
}

// config returns how values of a unit are shown.
func config(unit, color string) *FieldConfig {
	zero := 0.0
	return &FieldConfig{
		Defaults: FieldDefaults{
			Unit: unit, Min: &zero, Color: Color{Mode: color}, Thresholds: at(), Mappings: []Mapping{}, Links: []Link{},
		},
		Overrides: []struct{}{},
	}
}

// stat returns a panel with the last value of each guard, on a color.
func stat(title, description, unit string, thresholds Thresholds, q query) Panel {
	s := source()
	p := Panel{
		Type: "stat", Title: title, Description: description, Datasource: &s, Targets: targets(true, []query{q}),
		FieldConfig: config(unit, "thresholds"),
		Options: StatOptions{
			ColorMode: "background", GraphMode: "none", JustifyMode: "auto", Orientation: "auto", TextMode: "auto",
			WideLayout: true, ChangeColor: "standard",
			ReduceOptions: ReduceOptions{Calcs: []string{"lastNotNull"}},
		},
	}
	p.FieldConfig.Defaults.Thresholds = thresholds
	return p
}

// words shows one word for 0 and another for 1 instead of the numbers.
func (p Panel) words(zero, one MappingTo) Panel {
	one.Index = 1
	p.FieldConfig.Defaults.Mappings = []Mapping{{Type: "value", Options: map[string]MappingTo{"0": zero, "1": one}}}
	return p
}

// linked lets values lead to links.
func (p Panel) linked(links []Link) Panel {
	p.FieldConfig.Defaults.Links = links
	return p
}

// graph returns a panel with lines over time.
func graph(title, description, unit string, queries ...query) Panel {
	s := source()
	p := Panel{
		Type: "timeseries", Title: title, Description: description, Datasource: &s, Targets: targets(false, queries),
		FieldConfig: config(unit, "palette-classic"),
		Options: TimeSeriesOptions{
			Legend:  Legend{DisplayMode: "list", Placement: "bottom", ShowLegend: true, Calcs: []string{}},
			Tooltip: Tooltip{Mode: "multi", Sort: "desc"},
		},
	}
	p.FieldConfig.Defaults.Custom = &TimeSeries{
		DrawStyle: "line", LineInterpolation: "linear", LineWidth: 1, FillOpacity: 10, ShowPoints: "auto",
		Stacking: Stacking{Mode: "none", Group: "A"}, ThresholdsStyle: ThresholdsStyle{Mode: "off"},
	}
	return p
}

// stacked puts the series on top of each other.
func (p Panel) stacked() Panel {
	p.FieldConfig.Defaults.Custom.Stacking.Mode = "normal"
	p.FieldConfig.Defaults.Custom.FillOpacity = 40
	return p
}

// steps draws counts, which do not change between two scrapes.
func (p Panel) steps() Panel {
	p.FieldConfig.Defaults.Custom.LineInterpolation = "stepAfter"
	return p
}

// lines draws thresholds.
func (p Panel) lines(t Thresholds) Panel {
	p.FieldConfig.Defaults.Thresholds = t
	p.FieldConfig.Defaults.Custom.ThresholdsStyle.Mode = "dashed"
	return p
}

// signed shows values below zero too.
func (p Panel) signed() Panel {
	p.FieldConfig.Defaults.Min = nil
	return p
}

// whenEmpty says what it means that there is nothing to show.
func (p Panel) whenEmpty(text string) Panel {
	p.FieldConfig.Defaults.NoValue = text
	return p
}
