package convert

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// ruleGroups are Prometheus rules as their files have them.
type ruleGroups struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

const exportHeader = `# Prometheus rules, with the names of Sloth's. Made by gatewarden rules export: change the
# rules that they were made of, not these.
#
# They count what Kong's prometheus plugin counts (status_code_metrics, latency_metrics).
# What the guard sheds is a failure to Kong, so that these show more failures than the
# guard judges by while it protects something.
`

// Export writes Prometheus recording and alerting rules for the SLOs. The problems are
// what can't be said in Prometheus: errors where an SLO is left out. version is this
// program's.
func Export(w io.Writer, r *rules.Rules, version string) (rules.Problems, error) {
	var groups ruleGroups
	var problems rules.Problems
	for i := range r.SLOs {
		e := export{slo: &r.SLOs[i], file: strings.Join(r.Files, ", "), version: version}
		groups.Groups = append(groups.Groups, e.groups()...)
		problems = append(problems, e.problems...)
	}
	if _, err := io.WriteString(w, exportHeader); err != nil {
		return problems, err
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(groups); err != nil {
		return problems, err
	}
	return problems, enc.Close()
}

// export is one SLO on its way.
type export struct {
	slo      *gatewarden.SLO
	file     string
	version  string
	problems rules.Problems
}

func (e *export) refuse(hint, format string, args ...any) {
	e.problems = append(e.problems, rules.Problem{
		File: e.file, Severity: rules.SeverityError, Message: "the slo " + e.slo.Name + " is left out: " + fmt.Sprintf(format, args...), Hint: hint,
	})
}

func (e *export) note(hint, format string, args ...any) {
	e.problems = append(e.problems, rules.Problem{
		File: e.file, Severity: rules.SeverityWarning, Message: "the slo " + e.slo.Name + ": " + fmt.Sprintf(format, args...), Hint: hint,
	})
}

// queries are those of an SLI, with windowMark for the range.
type queries struct{ bad, total string }

const windowMark = "{{.window}}"

// over returns the ratio of bad events over a window.
func (q queries) over(window string) string {
	in := func(s string) string { return placeholder.ReplaceAllLiteralString(s, window) }
	return fmt.Sprintf("(%s)\n/\n(%s)\n", in(q.bad), in(q.total))
}

var placeholder = regexp.MustCompile(`\{\{\s*\.window\s*\}\}`)

// groups returns the three groups that Sloth makes of an SLO, none when it is left out.
func (e *export) groups() []ruleGroup {
	q, ok := e.queries()
	if !ok {
		return nil
	}
	if e.slo.Timeslice > 0 {
		e.refuse("make an slo of occurrences beside it", "it counts slices of time, and recording rules of Sloth's count requests")
		return nil
	}
	if c := e.slo.Window.Calendar; c != "" {
		e.note("", "the calendar %s is exported as the last %s", c, gatewarden.Duration(e.slo.Window.Length()))
	}
	if e.slo.Outage != nil {
		e.note("", "the outage line is left out: it judges second by second, which a rule can't")
	}
	id := e.id()
	groups := []ruleGroup{
		{"sloth-slo-sli-recordings-" + id, e.recordings(q)},
		{"sloth-slo-meta-recordings-" + id, e.meta()},
	}
	if alerts := e.alerts(); len(alerts) > 0 {
		groups = append(groups, ruleGroup{"sloth-slo-alerts-" + id, alerts})
	}
	return groups
}

// service names what the SLO is about, as /metrics does.
func (e *export) service() string {
	if e.slo.Series.Service == "" {
		return "any"
	}
	return e.slo.Series.Service
}

func (e *export) id() string { return e.service() + "-" + e.slo.Name }

// labels are Sloth's three with the SLO's own, and more.
func (e *export) labels(more ...string) map[string]string {
	l := map[string]string{}
	maps.Copy(l, e.slo.Labels)
	l["sloth_id"], l["sloth_service"], l["sloth_slo"] = e.id(), e.service(), e.slo.Name
	for i := 0; i+1 < len(more); i += 2 {
		l[more[i]] = more[i+1]
	}
	return l
}

// selector picks the SLO's own series of a recording rule.
func (e *export) selector() string {
	return fmt.Sprintf("{sloth_id=%s, sloth_service=%s, sloth_slo=%s}", strconv.Quote(e.id()), strconv.Quote(e.service()), strconv.Quote(e.slo.Name))
}

func duration(d time.Duration) string { return model.Duration(d).String() }

// windows are those that Sloth records with those of the SLO's alerts, the shortest first,
// and its own.
func (e *export) windows() []time.Duration {
	list := []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour, e.slo.Window.Length()}
	for _, p := range e.slo.Pairs {
		list = append(list, p.Long, p.Short)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// recordings record the ratio of bad events over each window. That over the SLO's own
// comes from the counters too: a mean of ratios, which Sloth takes there, would weigh the
// night like the day.
func (e *export) recordings(q queries) []rule {
	var list []rule
	for _, w := range e.windows() {
		list = append(list, rule{
			Record: "slo:sli_error:ratio_rate" + duration(w), Expr: q.over(duration(w)), Labels: e.labels("sloth_window", duration(w)),
		})
	}
	return list
}

// meta records what the SLO promises and how it stands.
func (e *export) meta() []rule {
	objective := strconv.FormatFloat(e.slo.Objective, 'g', 15, 64)
	percent := strconv.FormatFloat(e.slo.Objective*100, 'g', 10, 64)
	own := e.selector()
	record := func(name, expr string) rule { return rule{Record: name, Expr: expr, Labels: e.labels()} }
	over := func(w time.Duration) string {
		return fmt.Sprintf("slo:sli_error:ratio_rate%s%s\n/ on(sloth_id, sloth_slo, sloth_service) group_left\nslo:error_budget:ratio%s\n", duration(w), own, own)
	}
	return []rule{
		record("slo:objective:ratio", "vector("+objective+")"),
		record("slo:error_budget:ratio", "vector(1-"+objective+")"),
		record("slo:time_period:days", "vector("+strconv.FormatFloat(e.slo.Window.Length().Hours()/24, 'g', -1, 64)+")"),
		record("slo:current_burn_rate:ratio", over(5*time.Minute)),
		record("slo:period_burn_rate:ratio", over(e.slo.Window.Length())),
		record("slo:period_error_budget_remaining:ratio", "1 - slo:period_burn_rate:ratio"+own),
		{Record: "sloth_slo_info", Expr: "vector(1)", Labels: e.labels("sloth_mode", "gatewarden", "sloth_objective", percent, "sloth_spec", "gatewarden/v1", "sloth_version", e.version)},
	}
}

// alerts are one a severity: any of its pairs.
func (e *export) alerts() []rule {
	budget := "(1-" + strconv.FormatFloat(e.slo.Objective, 'g', 15, 64) + ")"
	var list []rule
	for _, severity := range []gatewarden.Severity{gatewarden.SeverityPage, gatewarden.SeverityTicket} {
		var pairs []string
		for _, p := range e.slo.Pairs {
			if p.Severity == severity {
				burns := func(w time.Duration) string {
					return fmt.Sprintf("max(slo:sli_error:ratio_rate%s%s > (%s * %s)) without (sloth_window)", duration(w), e.selector(), strconv.FormatFloat(p.Factor, 'g', -1, 64), budget)
				}
				pairs = append(pairs, fmt.Sprintf("(\n    %s\n    and\n    %s\n)\n", burns(p.Short), burns(p.Long)))
			}
		}
		if len(pairs) == 0 {
			continue
		}
		list = append(list, rule{
			Alert: camel(e.slo.Name) + "BurnsItsBudget", Expr: strings.Join(pairs, "or\n"),
			Labels: e.labels("sloth_severity", severity.String(), "severity", severity.String()),
			Annotations: map[string]string{
				"summary": fmt.Sprintf("%s of %s burns its error budget too fast", e.slo.Name, e.service()),
				"title":   fmt.Sprintf("(%s) %s of %s", severity, e.slo.Name, e.service()),
			},
		})
	}
	if len(list) > 0 && e.slo.MinEvidence < 1 {
		e.note("", "its pages ask for no evidence in Prometheus: a service with a request a minute pages for nothing there")
	}
	return list
}

// camel makes one word of several: orders-availability becomes OrdersAvailability.
func camel(name string) string {
	var b strings.Builder
	up := true
	for _, r := range name {
		if r == '-' {
			up = true
			continue
		}
		if up {
			r = unicode.ToUpper(r)
		}
		up = false
		b.WriteRune(r)
	}
	return b.String()
}
