package prometheus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden/dashboards"
)

// dashboard is what these tests look at of a dashboard's JSON.
type dashboard struct {
	Title  string
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Templating struct {
		List []struct {
			Name       string
			Type       string
			Definition string
		}
	}
}

// readDashboards reads the files that Grafana gets.
func readDashboards(t *testing.T) []dashboard {
	t.Helper()
	names, err := fs.Glob(dashboards.Files(), "grafana/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	list := make([]dashboard, len(names))
	for i, name := range names {
		text, err := fs.ReadFile(dashboards.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &list[i]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return list
}

// empty are the expressions that have no data in a guard's good hours, by what they
// ask for, with the reason.
var empty = map[string]string{
	"gatewarden_journal_append_failures_total":     "has a label for the reason, so it is not there before the first failure",
	"gatewarden_elasticsearch_":                    "no Elasticsearch is asked here; package elasticsearch tests its metrics",
	"gatewarden_promquery_":                        "the only Prometheus here is the one that scrapes; package promquery tests its metrics",
	"gatewarden_actions_limit_requests_per_second": "no step of this guard is adaptive; package actions tests the metric",
	`status="unverified"`:                          "every change shows, or was not looked for yet",
	"gatewarden_actions_held_total":                "nothing is held back: it is not there before the first time",
}

// checkDashboards evaluates every expression of every dashboard as of an instant, with
// the variables set to a job and to all of its instances.
func checkDashboards(t *testing.T, s instant, job string) {
	t.Helper()
	// The ranges reach back to before the first scrape of the guard.
	fill := strings.NewReplacer("$__rate_interval", "10m", "$__range", "1h", "$job", job, "$kong", "kong.*",
		"$instance", ".+", "$service", ".+", "$slo", ".+", "$canary", ".+")
	excuses := map[string]bool{}
	samples := map[string]string{} // by the key of a row
	for _, d := range readDashboards(t) {
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				checkVariable(t, s, map[bool]string{true: "kong", false: job}[v.Name == "kong"], v.Name, fill.Replace(v.Definition))
			}
		}
		for _, e := range d.expressions() {
			excuse := excused(e.expr)
			excuses[excuse] = true
			samples[e.row(d.Title)] = checkData(t, s, d.Title+", "+e.panel, fill.Replace(e.expr), excuse == "")
		}
	}
	for metric := range empty {
		if !excuses[metric] {
			t.Errorf("%s is excused, but on no dashboard", metric)
		}
	}
	checkDocument(t, samples)
	checkScaling(t, s)
}

// expression is an expression with the panel or the annotation that it belongs to.
type expression struct{ panel, expr string }

func (d dashboard) expressions() []expression {
	var list []expression
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			list = append(list, expression{p.Title, target.Expr})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			list = append(list, expression{"(mark) " + a.Name, a.Expr})
		}
	}
	return list
}

// excused returns the metric for which an expression may have no data, "" for none.
func excused(expression string) string {
	for metric := range empty {
		if strings.Contains(expression, metric) {
			return metric
		}
	}
	return ""
}

// checkData wants an expression to have data, which is something else than NaN, or to
// have none. It returns one of the samples, as a person would note it.
func checkData(t *testing.T, s instant, where, expression string, want bool) string {
	t.Helper()
	var data []string
	for _, sample := range s.query(t, "%s", expression) {
		if math.IsNaN(sample.F) {
			continue
		}
		if sample.Metric.Get("instance") == "" {
			t.Errorf("%s: without an instance, its links lead nowhere: %s", where, expression)
		}
		rest := labels.NewBuilder(sample.Metric).Del("job", "instance", "__name__", "sloth_version").Labels()
		data = append(data, fmt.Sprintf("%s %.4g", rest, sample.F))
	}
	if got := len(data) > 0; got != want {
		t.Errorf("%s: data is %t, want %t: %s", where, got, want, expression)
	}
	if len(data) == 0 {
		return ""
	}
	return slices.Min(data)
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// checkVariable wants a variable to offer the guard.
func checkVariable(t *testing.T, s instant, job, name, definition string) {
	t.Helper()
	m := labelValues.FindStringSubmatch(definition)
	if m == nil {
		t.Errorf("the variable %s asks %s", name, definition)
		return
	}
	for _, sample := range s.query(t, "%s", m[1]) {
		if sample.Metric.Get("job") == job && sample.Metric.Get(m[2]) != "" {
			return
		}
	}
	t.Errorf("the variable %s does not offer the guard", name)
}

// expressionProblems applies those rules of Grafana's dashboard linter that are about
// PromQL. It returns what is wrong by the rule that is broken.
func expressionProblems(expression string) map[string]error {
	// What the linter puts in for Grafana's intervals: durations nobody writes.
	const rateInterval, span = "8869990787ms", "4867856611ms"
	text := strings.NewReplacer("$__rate_interval", rateInterval, "$__range", span).Replace(expression)
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return map[string]error{"target-promql-rule": err}
	}
	problems := map[string]error{}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			selectorProblems(selector, path, rateInterval, problems)
		}
		return nil
	})
	return problems
}

// selectorProblems looks at one selector below the nodes of path.
func selectorProblems(selector *parser.VectorSelector, path []parser.Node, rateInterval string, problems map[string]error) {
	for _, name := range []string{"job", "instance"} {
		if !slices.ContainsFunc(selector.LabelMatchers, func(m *labels.Matcher) bool {
			return m.Name == name && m.Type == labels.MatchRegexp && m.Value == "$"+name
		}) {
			problems["target-"+name+"-rule"] = fmt.Errorf("%s is not limited to the %s that the reader has chosen", selector, name)
		}
	}
	call := ""
	if len(path) >= 2 {
		if c, ok := path[len(path)-2].(*parser.Call); ok {
			call = c.Func.Name
		}
	}
	if strings.HasSuffix(selector.Name, "_total") && !slices.Contains([]string{"rate", "irate", "increase"}, call) {
		problems["target-counter-agg-rule"] = fmt.Errorf("%s is a counter, shown as it is", selector)
	}
	if call == "rate" || call == "irate" {
		if m := path[len(path)-1].(*parser.MatrixSelector); fmt.Sprintf("%dms", m.Range.Milliseconds()) != rateInterval {
			problems["target-rate-interval-rule"] = errors.New("the range of a rate is not $__rate_interval")
		}
	}
}

// exclusions are Grafana's linter's .lint file.
type exclusions struct {
	Exclusions map[string]struct {
		Reason  string
		Entries []struct{ Dashboard, Panel string }
	}
}

// knownProblems returns what .lint excuses, as "rule; dashboard; panel".
func knownProblems(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "dashboards", "grafana", ".lint"))
	if err != nil {
		t.Fatal(err)
	}
	var lint exclusions
	if err := yaml.Unmarshal(text, &lint); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for rule, e := range lint.Exclusions {
		if e.Reason == "" || len(e.Entries) == 0 {
			t.Errorf(".lint excludes %s without a reason or everywhere", rule)
		}
		for _, entry := range e.Entries {
			known[strings.Join([]string{rule, entry.Dashboard, entry.Panel}, "; ")] = true
		}
	}
	return known
}

func TestDashboardExpressionsAreLintClean(t *testing.T) {
	known, used := knownProblems(t), map[string]bool{}
	for _, d := range readDashboards(t) {
		for _, e := range d.expressions() {
			for rule, problem := range expressionProblems(e.expr) {
				if key := strings.Join([]string{rule, d.Title, e.panel}, "; "); known[key] {
					used[key] = true
				} else {
					t.Errorf("%s, %s: %s: %v", d.Title, e.panel, rule, problem)
				}
			}
		}
	}
	for key := range known {
		if !used[key] {
			t.Errorf(".lint excuses what is not there: %s", key)
		}
	}
}

func TestExpressionRulesCanFail(t *testing.T) {
	for expression, want := range map[string]string{
		`up{job=~"$job", instance=~"$instance"}`:                                                  "",
		`sum by (instance) (rate(a_total{job=~"$job", instance=~"$instance"}[$__rate_interval]))`: "",
		`increase(a_total{job=~"$job", instance=~"$instance"}[$__range])`:                         "",
		`sum(`:                                  "target-promql-rule",
		`up{instance=~"$instance"}`:             "target-job-rule",
		`up{job="$job", instance=~"$instance"}`: "target-job-rule",
		`up{job=~"$job"}`:                       "target-instance-rule",
		`a{job=~"$job", instance=~"$instance"} and on (job) b`:           "target-job-rule",
		`a_total{job=~"$job", instance=~"$instance"}`:                    "target-counter-agg-rule",
		`sum(a_total{job=~"$job", instance=~"$instance"})`:               "target-counter-agg-rule",
		`max_over_time(a_total{job=~"$job", instance=~"$instance"}[5m])`: "target-counter-agg-rule",
		`rate(a_total{job=~"$job", instance=~"$instance"}[5m])`:          "target-rate-interval-rule",
	} {
		got := expressionProblems(expression)
		if _, broken := got[want]; len(got) > 0 != (want != "") || broken != (want != "") {
			t.Errorf("%s: broken is %v, want %q", expression, got, want)
		}
	}
}
