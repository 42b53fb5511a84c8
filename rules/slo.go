package rules

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// What can be answered for: the store keeps counts for 92 days, so that the longest
// calendar quarter fits, in seconds at the finest. The outcome of each slice of a
// timeslices SLO is held in memory.
const (
	longestWindow  = 90 * 24 * time.Hour
	shortestWindow = time.Minute
	longestLatency = 24 * time.Hour
	mostSlices     = 200_000 // 90 days by the minute are 129,600
)

const (
	defaultMinEvidence = 1e-4 // DESIGN §6
	defaultSlice       = time.Minute
)

// greatestOutage is the highest line that the outage detector takes: above it there
// is too little room to tell that more fails than the line allows.
const greatestOutage = 0.90

// sloSpec is an SLO as it is written.
type sloSpec struct {
	Name        string            `yaml:"name"`
	Description string            `yaml:"description"`
	Service     string            `yaml:"service"`
	Route       string            `yaml:"route"`
	Consumer    string            `yaml:"consumer"`
	Workspace   string            `yaml:"workspace"`
	Tag         string            `yaml:"tag"`
	Objective   percent           `yaml:"objective"`
	Window      windowSpec        `yaml:"window"`
	Calendar    string            `yaml:"calendar"`
	Budgeting   budgetingSpec     `yaml:"budgeting"`
	SLI         sliSpec           `yaml:"sli"`
	Alerting    alertingSpec      `yaml:"alerting"`
	Outage      outageSpec        `yaml:"outage"`
	OnOutage    []string          `yaml:"on_outage"`
	OnPage      []string          `yaml:"on_page"`
	OnTicket    []string          `yaml:"on_ticket"`
	Labels      map[string]string `yaml:"labels"`

	doc   *document
	holds func(*gatewarden.Record) (bool, error)
}

// windowSpec is `30d` or `{calendar: month}`.
type windowSpec struct {
	Calendar string `yaml:"calendar"`

	rolling time.Duration
}

func (w *windowSpec) decodeNode(d *document, n *yaml.Node, name string) {
	if n.Kind == yaml.ScalarNode {
		d.decode(n, &w.rolling, name)
		return
	}
	type shape windowSpec
	d.decode(n, (*shape)(w), name)
}

// budgetingSpec is `occurrences` or `{timeslices: {slice: 1m, objective: 99}}`.
type budgetingSpec struct {
	Timeslices *timeslicesSpec `yaml:"timeslices"`
}

type timeslicesSpec struct {
	Slice     time.Duration `yaml:"slice"`
	Objective percent       `yaml:"objective"`
}

func (b *budgetingSpec) decodeNode(d *document, n *yaml.Node, name string) {
	if n.Kind == yaml.ScalarNode && n.Value == "occurrences" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.reject(n, "write occurrences, which is the default, or {timeslices: {slice: 1m, objective: 99}}", "%s can't be this", name)
		return
	}
	type shape budgetingSpec
	d.decode(n, (*shape)(b), name)
}

// sliSpec has exactly one of its keys.
type sliSpec struct {
	Availability *struct{}    `yaml:"availability"`
	Latency      *latencySpec `yaml:"latency"`
	Good         *string      `yaml:"good"`

	Prometheus *prometheusSpec `yaml:"prometheus"`
	Traces     *tracesSpec     `yaml:"traces"`
}

type latencySpec struct {
	Threshold time.Duration `yaml:"threshold"`
	Of        string        `yaml:"of"`
}

// alertingSpec is `{policy: workbook}`, `{pairs: [...]}` or `off`.
type alertingSpec struct {
	Policy      string     `yaml:"policy"`
	Pairs       []pairSpec `yaml:"pairs"`
	MinEvidence float64    `yaml:"min_evidence"`
}

type pairSpec struct {
	Severity string        `yaml:"severity"`
	Factor   float64       `yaml:"factor"`
	Long     time.Duration `yaml:"long"`
	Short    time.Duration `yaml:"short"`
}

func (a *alertingSpec) decodeNode(d *document, n *yaml.Node, name string) {
	if isOff(n) {
		a.Policy = "off"
		return
	}
	type shape alertingSpec
	d.decode(n, (*shape)(a), name)
}

// outageSpec is `{ratio: 10%}`, `off` or `on`.
type outageSpec struct {
	Ratio ratio `yaml:"ratio"`

	off bool
}

func (o *outageSpec) decodeNode(d *document, n *yaml.Node, name string) {
	if on, err := parseBool(n.Value); n.Kind == yaml.ScalarNode && err == nil {
		o.off = !on
		return
	}
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		d.reject(n, "write {ratio: 10%}, or off", "%s can't be this", name)
		return
	}
	type shape outageSpec
	d.decode(n, (*shape)(o), name)
}

func isOff(n *yaml.Node) bool {
	on, err := parseBool(n.Value)
	return n.Kind == yaml.ScalarNode && err == nil && !on
}

var (
	nameShape  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	labelShape = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// build makes the SLO, and reports what is wrong with it.
func (s *sloSpec) build(d *document) gatewarden.SLO {
	checkName(d, d.find(&s.Name, s), "an slo", s.Name)
	slo := gatewarden.SLO{
		Name: s.Name, Description: s.Description,
		Series:    s.series(d),
		Objective: s.objective(d),
		Window:    s.window(d),
		OnOutage:  s.OnOutage, OnPage: s.OnPage, OnTicket: s.OnTicket,
		Labels: s.Labels,
	}
	slo.SLI = s.sli(d, &slo.Series)
	s.timeslices(d, &slo)
	s.alerting(d, &slo)
	slo.Outage = s.outage(d, &slo)
	for _, label := range sortedKeys(s.Labels) {
		if !labelShape.MatchString(label) {
			d.errorf(d.find(placeInMap{&s.Labels, label}), "use letters, digits and _", "%q can't be a label", label)
		}
	}
	return slo
}

func checkName(d *document, at *yaml.Node, what, name string) {
	switch {
	case name == "":
		d.errorf(at, "add name: something-unique", "%s needs a name", what)
	case !nameShape.MatchString(name) || len(name) > 63:
		d.errorf(at, "use lower-case letters, digits and single dashes, at most 63", "%q can't be a name", name)
	}
}

func (s *sloSpec) series(d *document) gatewarden.Series {
	fields := []*string{&s.Service, &s.Route, &s.Consumer, &s.Workspace, &s.Tag}
	named := false
	for _, f := range fields {
		if d.find(f) != nil {
			named = true
			checkSelector(d, d.find(f), *f)
		}
	}
	if !named {
		d.errorf(d.find(s), `add service: NAME, or service: "*" for the whole gateway`, "the slo does not say what it is for")
	}
	return gatewarden.Series{
		Service: orAny(s.Service), Route: orAny(s.Route), Consumer: orAny(s.Consumer),
		Workspace: orAny(s.Workspace), Tag: orAny(s.Tag),
	}
}

// orAny returns a name as a Series has it, where any is "".
func orAny(name string) string {
	if name == "*" {
		return ""
	}
	return name
}

// checkSelector refuses what looks like a pattern: names are compared whole.
func checkSelector(d *document, at *yaml.Node, name string) {
	switch {
	case name == "":
		d.errorf(at, "name it, or remove the key", "the name is empty")
	case name != "*" && slices.Contains([]rune(name), '*'):
		d.errorf(at, `give several services a tag in Kong and write tag: NAME; "*" alone means any`, "%q: patterns are not supported", name)
	}
}

func (s *sloSpec) objective(d *document) float64 {
	at, o := d.find(&s.Objective, s), float64(s.Objective)
	switch {
	case d.find(&s.Objective) == nil:
		d.errorf(at, "add objective: 99.9", "the slo has no objective")
	case o <= 0 || o >= 1:
		d.errorf(at, "it is in per cent, above 0 and below 100; at 100 there is no error budget", "the objective %s can't be promised", inPercent(o))
	case o <= 0.01:
		d.errorf(at, "for 99.9 % write 99.9", "the objective is in per cent, so this is %s", inPercent(o))
	default:
		return o
	}
	return 0.999 // so that the checks that need one can go on
}

func (s *sloSpec) window(d *document) gatewarden.BudgetWindow {
	calendar, at := s.Window.Calendar, d.find(&s.Window.Calendar, &s.Window, &s.Calendar, s)
	if s.Calendar != "" {
		if d.find(&s.Window) != nil {
			d.errorf(d.find(&s.Calendar), "keep one of them", "the slo has both window and calendar")
		}
		calendar, at = s.Calendar, d.find(&s.Calendar)
	}
	rolling := s.Window.rolling
	switch {
	case calendar != "":
		if calendar == "year" {
			d.errorf(at, "use calendar: quarter, or window: 90d", "a calendar year is longer than counts are kept")
		} else {
			d.choice(at, "calendar", calendar, "day", "week", "month", "quarter")
		}
		return gatewarden.BudgetWindow{Calendar: calendar}
	case d.find(&s.Window) == nil && d.find(&s.Calendar) == nil:
		return gatewarden.BudgetWindow{Rolling: 30 * 24 * time.Hour}
	case rolling == 0 && d.hasProblemIn(at):
	case rolling < shortestWindow || rolling > longestWindow:
		d.errorf(at, "write 30d, or {calendar: month}", "the window must be between %s and %s, which is how long counts are kept", days(shortestWindow), days(longestWindow))
	case rolling%time.Second != 0:
		d.errorf(at, "", "the window must be whole seconds")
	default:
		return gatewarden.BudgetWindow{Rolling: rolling}
	}
	return gatewarden.BudgetWindow{Rolling: 30 * 24 * time.Hour}
}

// sli returns the SLI, and makes series the one that it counts in.
func (s *sloSpec) sli(d *document, series *gatewarden.Series) gatewarden.SLI {
	at := d.find(&s.SLI, s)
	kinds := 0
	for _, set := range []bool{s.SLI.Availability != nil, s.SLI.Latency != nil, s.SLI.Good != nil, s.SLI.Prometheus != nil, s.SLI.Traces != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		d.errorf(at, "make an slo of each", "an sli has one kind, here are %d", kinds)
	case s.SLI.Latency != nil:
		return s.latency(d, s.SLI.Latency)
	case s.SLI.Good != nil:
		return s.good(d, s.SLI.Good)
	case s.SLI.Prometheus != nil:
		return s.query(d, series)
	case s.SLI.Traces != nil:
		return s.spans(d, series)
	case s.SLI.Availability == nil && (d.find(&s.SLI) == nil || len(at.Content) == 0):
		d.errorf(at, "add sli: {availability: {}}, {latency: {threshold: 300ms}} or {good: 'status < 500'}", "the slo does not say what is good")
	}
	return gatewarden.SLI{Kind: gatewarden.SLIAvailability}
}

func (s *sloSpec) latency(d *document, l *latencySpec) gatewarden.SLI {
	at := d.find(&l.Threshold, l)
	checkThreshold(d, at, l.Threshold)
	if l.Threshold > time.Millisecond && l.Threshold%time.Millisecond != 0 {
		d.warnf(at, "write whole milliseconds", "Kong logs whole milliseconds, so %s is the same as %s", days(l.Threshold), days(l.Threshold.Truncate(time.Millisecond)))
	}
	of := gatewarden.OfRequest
	if l.Of != "" {
		of = gatewarden.LatencyPart(l.Of)
		d.choice(d.find(&l.Of), "of", l.Of, string(gatewarden.OfRequest), string(gatewarden.OfUpstream), string(gatewarden.OfKong))
	}
	return gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: l.Threshold, Of: of}
}

func checkThreshold(d *document, at *yaml.Node, threshold time.Duration) {
	if threshold < time.Millisecond || threshold > longestLatency {
		d.errorf(at, "write threshold: 300ms", "the threshold must be between 1ms and %s", days(longestLatency))
	}
}

func (s *sloSpec) good(d *document, expr *string) gatewarden.SLI {
	if s.holds == nil {
		s.holds = compileGood(d, d.find(expr), *expr)
	}
	return gatewarden.SLI{Kind: gatewarden.SLIGood, Expr: strings.TrimSpace(*expr), Holds: s.holds}
}

func (s *sloSpec) timeslices(d *document, slo *gatewarden.SLO) {
	t := s.Budgeting.Timeslices
	if t == nil {
		return
	}
	slo.Timeslice, slo.TimesliceObjective = t.Slice, float64(t.Objective)
	if d.find(&t.Slice) == nil {
		slo.Timeslice = defaultSlice
	}
	switch at, length := d.find(&t.Slice, t), slo.Window.Length(); {
	case slo.Timeslice < time.Second || slo.Timeslice%time.Second != 0 || slo.Timeslice*10 > length:
		d.errorf(at, "write slice: 1m", "a slice must be whole seconds, and at most a tenth of the window")
	case int64(length/slo.Timeslice) > mostSlices:
		d.errorf(at, "write slice: 1m", "a window of %s has %d slices of %s, and %d is the limit", days(length), length/slo.Timeslice, days(slo.Timeslice), mostSlices)
	}
	switch at := d.find(&t.Objective, t); {
	case d.find(&t.Objective) == nil:
		d.errorf(at, "add objective: 99, the share of a slice's requests that must be good", "the timeslices have no objective")
	case t.Objective <= 0 || t.Objective >= 1:
		d.errorf(at, "it is in per cent, above 0 and below 100", "a slice can't have the objective %s", inPercent(float64(t.Objective)))
	}
}

// outage returns the fast line. Its default ratio is 10 %, or 50 times the budget if
// that is more (DESIGN §6), but never nearer to "everything fails" than to the budget:
// for an objective of 95 % that product would be 250 %. With timeslices, what a good
// slice may have is no outage. It is nil when it is off, or wrong.
func (s *sloSpec) outage(d *document, slo *gatewarden.SLO) *gatewarden.OutageLine {
	if s.Outage.off {
		if len(s.OnOutage) > 0 {
			d.warnf(d.find(&s.OnOutage), "remove on_outage, or outage: off", "nothing ever starts these: outage is off")
		}
		return nil
	}
	budget := slo.ErrorBudget()
	if slo.Timeslice > 0 && slo.TimesliceObjective > 0 {
		budget = max(budget, 1-slo.TimesliceObjective)
	}
	at := d.find(&s.Outage.Ratio)
	switch r := float64(s.Outage.Ratio); {
	case budget >= greatestOutage:
		d.errorf(d.find(&s.Outage.Ratio, &s.Outage, s), "write outage: off", "%s may be bad, and an outage line needs room between that and %s", inPercent(budget), inPercent(greatestOutage))
	case at == nil || r == 0:
		r = min(max(0.10, 50*slo.ErrorBudget(), budget), (1+budget)/2, greatestOutage)
		return &gatewarden.OutageLine{Ratio: math.Round(r*1e9) / 1e9}
	case r <= budget:
		d.errorf(at, "choose one well above it, or leave it out", "the outage ratio %s is not above the %s that may be bad: it would fire while the promise is kept", inPercent(r), inPercent(budget))
	case r > greatestOutage:
		d.errorf(at, "choose 90% or less", "the outage ratio %s is too high: above %s there is too little left by which to see that it is exceeded", inPercent(r), inPercent(greatestOutage))
	default:
		return &gatewarden.OutageLine{Ratio: r}
	}
	return nil
}

// highestBurn is the burn rate when everything fails.
func highestBurn(slo *gatewarden.SLO) float64 { return math.Round(1e9/slo.ErrorBudget()) / 1e9 }
