package dashboards

import (
	"strconv"
	"strings"
)

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
// for the matchers of the job and the instance that the reader has chosen; SERVICE, SLO
// and CANARY for those and one more.
type query struct{ expr, legend string }

// scope makes a query one of the guards that the reader has chosen.
func (q query) scope() string {
	return scoped(q.expr)
}

// scoped puts in the matchers that an expression's placeholders stand for.
func scoped(expr string) string {
	const guard = `job=~"$job", instance=~"$instance"`
	return strings.NewReplacer(
		"SCOPE", guard,
		"SERVICE", guard+`, service=~"$service"`,
		"STHSVC", guard+`, sloth_service=~"$service"`,
		"STHSLO", guard+`, sloth_slo=~"$slo"`,
		"SLO", guard+`, slo=~"$slo"`,
		"CANARY", guard+`, canary=~"$canary"`,
	).Replace(expr)
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

// page is a link from a series to the live page of its guard. Its instance is where
// Prometheus scrapes the guard, which is the API unless listen.metrics is set.
func page(title, view string) []Link {
	return []Link{{Title: title, URL: "http://${__field.labels.instance}/#/" + view, TargetBlank: true}}
}

// config returns how values of a unit are shown.
func config(unit, color string) *FieldConfig {
	zero := 0.0
	return &FieldConfig{
		Defaults: FieldDefaults{
			Unit: unit, Min: &zero, Color: Color{Mode: color}, Thresholds: at(), Mappings: []Mapping{}, Links: []Link{},
		},
		Overrides: []Override{},
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

// drawn is how a graph draws.
func (p Panel) drawn() *TimeSeries {
	custom, ok := p.FieldConfig.Defaults.Custom.(*TimeSeries)
	if !ok {
		panic(p.Title + " is no graph") // found by the first test that builds it
	}
	return custom
}

// stacked puts the series on top of each other.
func (p Panel) stacked() Panel {
	p.drawn().Stacking.Mode = "normal"
	p.drawn().FillOpacity = 40
	return p
}

// steps draws counts, which do not change between two scrapes.
func (p Panel) steps() Panel {
	p.drawn().LineInterpolation = "stepAfter"
	return p
}

// lines draws thresholds.
func (p Panel) lines(t Thresholds) Panel {
	p.FieldConfig.Defaults.Thresholds = t
	p.drawn().ThresholdsStyle.Mode = "dashed"
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

// logarithmic draws values that are far apart.
func (p Panel) logarithmic() Panel {
	p.drawn().Scale = &Scale{Type: "log", Log: 10}
	return p
}

// traced shows the traces that counters have as exemplars.
func (p Panel) traced() Panel {
	for i := range p.Targets {
		p.Targets[i].Exemplar = true
	}
	return p
}

// up to a value is the whole axis.
func (p Panel) upTo(most float64) Panel {
	p.FieldConfig.Defaults.Max = &most
	return p
}

// digits is how many of them follow the point.
func (p Panel) digits(n int) Panel {
	p.FieldConfig.Defaults.Decimals = &n
	return p
}

// mapped shows words instead of numbers: the first for 0, the next for 1 and so on.
func (p Panel) mapped(words ...MappingTo) Panel {
	p.FieldConfig.Defaults.Mappings = mapping(words...)
	return p
}

func mapping(words ...MappingTo) []Mapping {
	options := make(map[string]MappingTo, len(words))
	for i, w := range words {
		w.Index = i
		options[strconv.Itoa(i)] = w
	}
	return []Mapping{{Type: "value", Options: options}}
}

// bars returns a panel with a bar for the last value of each series.
func bars(title, description, unit string, thresholds Thresholds, q query) Panel {
	p := stat(title, description, unit, thresholds, q)
	p.Type = "bargauge"
	p.Options = BarOptions{
		DisplayMode: "lcd", Orientation: "horizontal", ValueMode: "color", NamePlacement: "auto", ShowUnfilled: true, Sizing: "auto",
		MinVizWidth: 8, MinVizHeight: 16, MaxVizHeight: 300, ReduceOptions: ReduceOptions{Calcs: []string{"lastNotNull"}},
		Legend: Legend{DisplayMode: "list", Placement: "bottom", Calcs: []string{}},
	}
	return p
}

// timeline returns a panel with a band for each series, in the colors of its states.
func timeline(title, description string, q query, words ...MappingTo) Panel {
	p := graph(title, description, "none", q)
	p.Type = "state-timeline"
	p.FieldConfig.Defaults.Color.Mode = "thresholds"
	p.FieldConfig.Defaults.Custom = &Timeline{LineWidth: 0, FillOpacity: 80}
	p.Options = TimelineOptions{
		MergeValues: true, ShowValue: "never", AlignValue: "left", RowHeight: 0.9,
		Legend: Legend{DisplayMode: "list", Placement: "bottom", ShowLegend: true, Calcs: []string{}}, Tooltip: Tooltip{Mode: "single", Sort: "none"},
	}
	return p.mapped(words...)
}

// column is a column of a table: an expression whose series have the labels that the table
// is joined by.
type column struct {
	title, unit string
	expr        string
	digits      int
	thresholds  *Thresholds // colors the cell
	mappings    []Mapping
}

// table returns a panel with a line for each series, joined by all labels, and a column
// for each of the labels shown and of the expressions.
func table(title, description string, labels []string, columns []column) Panel {
	s := source()
	queries := make([]query, len(columns))
	order := Organize{ExcludeByName: map[string]bool{"Time": true}, IndexByName: map[string]int{}, RenameByName: map[string]string{}}
	for i, l := range labels {
		order.IndexByName[l] = i
	}
	p := Panel{
		Type: "table", Title: title, Description: description, Datasource: &s,
		FieldConfig: config("none", "thresholds"), Options: TableOptions{ShowHeader: true, CellHeight: "sm", SortBy: []SortBy{}},
	}
	p.FieldConfig.Defaults.Custom = &Cells{Align: "auto", CellOptions: CellOptions{Type: "auto"}}
	for i, c := range columns {
		queries[i] = query{c.expr, c.title}
		field := "Value #" + string(rune('A'+i))
		order.IndexByName[field], order.RenameByName[field] = len(labels)+i, c.title
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, c.override())
	}
	p.Targets = targets(true, queries)
	for i := range p.Targets {
		p.Targets[i].Format = "table"
	}
	p.Transformations = []Transformation{{ID: "merge", Options: struct{}{}}, {ID: "organize", Options: order}}
	return p
}

// override says how the cells of the column are shown.
func (c column) override() Override {
	o := Override{Matcher: Matcher{ID: "byName", Options: c.title}, Properties: []Property{{"unit", c.unit}, {"decimals", c.digits}}}
	if c.mappings != nil {
		o.Properties = append(o.Properties, Property{"mappings", c.mappings})
	}
	if c.thresholds != nil {
		o.Properties = append(o.Properties, Property{"thresholds", c.thresholds})
	}
	if c.thresholds != nil || c.mappings != nil {
		o.Properties = append(o.Properties, Property{"custom.cellOptions", CellOptions{Type: "color-background", Mode: "basic"}})
	}
	return o
}

// columnLinked lets the cells of a column lead to links.
func (p Panel) columnLinked(name string, links []Link) Panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher: Matcher{ID: "byName", Options: name}, Properties: []Property{{"links", links}}})
	return p
}
