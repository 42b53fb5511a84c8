package dashboards

// The types below are the part of Grafana's classic dashboard model that is used here,
// as of schemaVersion 41 (Grafana 11.6). Grafana 11, 12 and 13 take it from files and
// bring it up to their own version. Fields have Grafana's names and defaults.

// Dashboard is a dashboard: the content of a file.
type Dashboard struct {
	UID                  string      `json:"uid"` // at most 40 bytes; stays the same for ever, links are made of it
	Title                string      `json:"title"`
	Description          string      `json:"description"`
	Tags                 []string    `json:"tags"`
	Timezone             string      `json:"timezone"` // empty: the reader's
	Editable             bool        `json:"editable"`
	GraphTooltip         int         `json:"graphTooltip"` // 1: one crosshair through all panels
	SchemaVersion        int         `json:"schemaVersion"`
	Refresh              string      `json:"refresh"`
	FiscalYearStartMonth int         `json:"fiscalYearStartMonth"`
	Time                 TimeRange   `json:"time"`
	TimePicker           struct{}    `json:"timepicker"`
	Templating           Templating  `json:"templating"`
	Annotations          Annotations `json:"annotations"`
	Links                []Link      `json:"links"`
	Panels               []Panel     `json:"panels"`
}

// TimeRange is what is shown at first.
type TimeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Source names a data source, by a variable: ${datasource}.
type Source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Templating has the variables.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable is a choice at the top of the dashboard.
type Variable struct {
	Type       string  `json:"type"` // datasource, query or textbox
	Name       string  `json:"name"`
	Label      string  `json:"label"`
	Datasource *Source `json:"datasource,omitempty"`
	Definition string  `json:"definition,omitempty"`
	// Query is the kind of data source, a VariableQuery, or what a textbox begins with.
	Query      any      `json:"query"`
	Refresh    int      `json:"refresh"` // 1: on load, 2: when the time range changes
	Sort       int      `json:"sort"`    // 1: by name
	Regex      string   `json:"regex"`
	Hide       int      `json:"hide"`
	Multi      bool     `json:"multi"`
	IncludeAll bool     `json:"includeAll"`
	AllValue   string   `json:"allValue,omitempty"`
	Current    Choice   `json:"current"`
	Options    []Choice `json:"options"`
}

// Choice is what a variable can be; none is written as {}.
type Choice struct {
	Selected bool   `json:"selected,omitempty"`
	Text     string `json:"text,omitempty"`
	Value    string `json:"value,omitempty"`
}

// VariableQuery asks Prometheus for the values of a variable.
type VariableQuery struct {
	Query     string `json:"query"`
	RefID     string `json:"refId"`
	QueryType int    `json:"qryType"` // 1: label_values
}

// Annotations has the sources of marks in time; Grafana's own must be among them.
type Annotations struct {
	List []Annotation `json:"list"`
}

// Annotation is a source of marks.
type Annotation struct {
	BuiltIn    int    `json:"builtIn,omitempty"`
	Datasource Source `json:"datasource"`
	Enable     bool   `json:"enable"`
	Hide       bool   `json:"hide"`
	IconColor  string `json:"iconColor"`
	Name       string `json:"name"`
	Type       string `json:"type,omitempty"`
	// Of one that asks Prometheus: stretches in which Expr has samples become one mark.
	Expr        string `json:"expr,omitempty"`
	Step        string `json:"step,omitempty"`
	TitleFormat string `json:"titleFormat,omitempty"`
	TextFormat  string `json:"textFormat,omitempty"`
	TagKeys     string `json:"tagKeys,omitempty"`
}

// Link leads from a series, or from the dashboard, to elsewhere.
type Link struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	TargetBlank bool   `json:"targetBlank"`
	// Of a dashboard's link: to others by their tags, or to elsewhere.
	Type        string   `json:"type,omitempty"` // dashboards or link
	Tags        []string `json:"tags,omitempty"`
	AsDropdown  bool     `json:"asDropdown,omitempty"`
	IncludeVars bool     `json:"includeVars,omitempty"`
	KeepTime    bool     `json:"keepTime,omitempty"`
}

// Panel is a picture, or a row: a heading.
type Panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description,omitempty"`
	Datasource      *Source          `json:"datasource,omitempty"`
	GridPos         GridPos          `json:"gridPos"`
	Targets         []Target         `json:"targets,omitempty"`
	FieldConfig     *FieldConfig     `json:"fieldConfig,omitempty"`
	Options         any              `json:"options,omitempty"` // StatOptions and its like
	Transformations []Transformation `json:"transformations,omitempty"`
	Collapsed       *bool            `json:"collapsed,omitempty"` // of a row
	Panels          []Panel          `json:"panels,omitzero"`     // of a row; its panels follow it in the list unless it is collapsed
}

// GridPos is a place on the grid of 24 columns; a row of it is 30 pixels high.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is a query.
type Target struct {
	RefID        string `json:"refId"`
	Datasource   Source `json:"datasource"`
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat"`
	EditorMode   string `json:"editorMode"`
	Instant      bool   `json:"instant"`
	Range        bool   `json:"range"`
	Format       string `json:"format,omitempty"`   // table; a time series unless set
	Exemplar     bool   `json:"exemplar,omitempty"` // ask for exemplars too
}

// Transformation makes other tables of those that queries answer.
type Transformation struct {
	ID      string `json:"id"`
	Options any    `json:"options"`
}

// Organize are the options of the transformation organize: which columns are left out,
// their order and their names.
type Organize struct {
	ExcludeByName map[string]bool   `json:"excludeByName"`
	IndexByName   map[string]int    `json:"indexByName"`
	RenameByName  map[string]string `json:"renameByName"`
}

// Override changes how the values of some fields are shown.
type Override struct {
	Matcher    Matcher    `json:"matcher"`
	Properties []Property `json:"properties"`
}

// Matcher chooses fields, by what ID says.
type Matcher struct {
	ID      string `json:"id"` // byName or byRegexp
	Options string `json:"options"`
}

// Property is one thing that is changed, such as unit.
type Property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

// FieldConfig says how values are shown.
type FieldConfig struct {
	Defaults  FieldDefaults `json:"defaults"`
	Overrides []Override    `json:"overrides"`
}

// FieldDefaults is how values are shown, of all series of a panel.
type FieldDefaults struct {
	Unit       string     `json:"unit"`
	Min        *float64   `json:"min,omitempty"`
	Max        *float64   `json:"max,omitempty"`
	Decimals   *int       `json:"decimals,omitempty"`
	NoValue    string     `json:"noValue,omitempty"` // shown when there is nothing
	Color      Color      `json:"color"`
	Thresholds Thresholds `json:"thresholds"`
	Mappings   []Mapping  `json:"mappings"`
	Links      []Link     `json:"links"`
	Custom     any        `json:"custom,omitempty"` // *TimeSeries, *Cells or *Timeline
}

// Color says where a color comes from: thresholds or palette-classic.
type Color struct {
	Mode string `json:"mode"`
}

// Thresholds color what is beyond them.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// Step is a color from a value on; the first has none.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Mapping shows text instead of values.
type Mapping struct {
	Type    string               `json:"type"` // value
	Options map[string]MappingTo `json:"options"`
}

// MappingTo is what stands for a value.
type MappingTo struct {
	Text  string `json:"text"`
	Color string `json:"color"`
	Index int    `json:"index"`
}

// TimeSeries is how a timeseries panel draws.
type TimeSeries struct {
	DrawStyle         string          `json:"drawStyle"`
	LineInterpolation string          `json:"lineInterpolation"`
	LineWidth         int             `json:"lineWidth"`
	FillOpacity       int             `json:"fillOpacity"`
	ShowPoints        string          `json:"showPoints"`
	SpanNulls         bool            `json:"spanNulls"`
	Stacking          Stacking        `json:"stacking"`
	ThresholdsStyle   ThresholdsStyle `json:"thresholdsStyle"`
	Scale             *Scale          `json:"scaleDistribution,omitempty"` // linear unless set
}

// Scale is how an axis divides its values.
type Scale struct {
	Type string `json:"type"` // log
	Log  int    `json:"log"`  // its base
}

// Cells is how a table draws.
type Cells struct {
	Align       string      `json:"align"`
	CellOptions CellOptions `json:"cellOptions"`
	Inspect     bool        `json:"inspect"`
}

// CellOptions is what the cells of a column are: auto, color-background or gauge.
type CellOptions struct {
	Type string `json:"type"`
	Mode string `json:"mode,omitempty"`
}

// Timeline is how a state-timeline panel draws.
type Timeline struct {
	LineWidth   int `json:"lineWidth"`
	FillOpacity int `json:"fillOpacity"`
}

// TimelineOptions are the options of a state-timeline panel.
type TimelineOptions struct {
	MergeValues bool    `json:"mergeValues"`
	ShowValue   string  `json:"showValue"`
	AlignValue  string  `json:"alignValue"`
	RowHeight   float64 `json:"rowHeight"`
	Legend      Legend  `json:"legend"`
	Tooltip     Tooltip `json:"tooltip"`
}

// TableOptions are the options of a table.
type TableOptions struct {
	ShowHeader bool     `json:"showHeader"`
	CellHeight string   `json:"cellHeight"`
	SortBy     []SortBy `json:"sortBy"`
}

// SortBy is a column that a table is sorted by at first.
type SortBy struct {
	DisplayName string `json:"displayName"`
	Desc        bool   `json:"desc"`
}

// BarOptions are the options of a bargauge panel.
type BarOptions struct {
	DisplayMode   string        `json:"displayMode"`
	Orientation   string        `json:"orientation"`
	ValueMode     string        `json:"valueMode"`
	NamePlacement string        `json:"namePlacement"`
	ShowUnfilled  bool          `json:"showUnfilled"`
	Sizing        string        `json:"sizing"`
	MinVizWidth   int           `json:"minVizWidth"`
	MinVizHeight  int           `json:"minVizHeight"`
	MaxVizHeight  int           `json:"maxVizHeight"`
	ReduceOptions ReduceOptions `json:"reduceOptions"`
	Legend        Legend        `json:"legend"`
}

// Stacking is none or normal.
type Stacking struct {
	Mode  string `json:"mode"`
	Group string `json:"group"`
}

// ThresholdsStyle is off or dashed.
type ThresholdsStyle struct {
	Mode string `json:"mode"`
}

// TimeSeriesOptions are the options of a timeseries panel.
type TimeSeriesOptions struct {
	Legend  Legend  `json:"legend"`
	Tooltip Tooltip `json:"tooltip"`
}

// Legend is where the names of series stand, and with which of their values.
type Legend struct {
	DisplayMode string   `json:"displayMode"`
	Placement   string   `json:"placement"`
	ShowLegend  bool     `json:"showLegend"`
	Calcs       []string `json:"calcs"`
}

// Tooltip is what the pointer shows.
type Tooltip struct {
	Mode string `json:"mode"`
	Sort string `json:"sort"`
}

// StatOptions are the options of a stat panel.
type StatOptions struct {
	ColorMode     string        `json:"colorMode"`
	GraphMode     string        `json:"graphMode"`
	JustifyMode   string        `json:"justifyMode"`
	Orientation   string        `json:"orientation"`
	TextMode      string        `json:"textMode"`
	WideLayout    bool          `json:"wideLayout"`
	ShowChange    bool          `json:"showPercentChange"`
	ChangeColor   string        `json:"percentChangeColorMode"`
	ReduceOptions ReduceOptions `json:"reduceOptions"`
}

// ReduceOptions make one value of a series.
type ReduceOptions struct {
	Calcs  []string `json:"calcs"`
	Fields string   `json:"fields"`
	Values bool     `json:"values"`
}
