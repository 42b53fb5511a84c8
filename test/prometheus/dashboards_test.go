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
	"gatewarden_journal_append_failures_total": "has a label for the reason, so it is not there before the first failure",
}

// checkDashboards evaluates every expression of every dashboard as of an instant, with
// the variables set to a job and to all of its instances.
func checkDashboards(t *testing.T, s instant, job string) {
	t.Helper()
	// The ranges reach back to before the first scrape of the guard.
	fill := strings.NewReplacer("$__rate_interval", "10m", "$__range", "1h", "$job", job, "$instance", ".+")
	excuses := map[string]bool{}
	for _, d := range readDashboards(t) {
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				checkVariable(t, s, job, v.Name, fill.Replace(v.Definition))
			}
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				excuse := excused(target.Expr)
				excuses[excuse] = true
				checkData(t, s, d.Title+", "+p.Title, fill.Replace(target.Expr), excuse == "")
			}
		}
	}
	for metric := range empty {
		if !excuses[metric] {
			t.Errorf("%s is excused, but on no dashboard", metric)
		}
	}
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
// have none.
func checkData(t *testing.T, s instant, where, expression string, want bool) {
	t.Helper()
	data := 0
	for _, sample := range s.query(t, "%s", expression) {
		if math.IsNaN(sample.F) {
			continue
		}
		data++
		if sample.Metric.Get("instance") == "" {
			t.Errorf("%s: without an instance, its links lead nowhere: %s", where, expression)
		}
	}
	if got := data > 0; got != want {
		t.Errorf("%s: data is %t, want %t: %s", where, got, want, expression)
	}
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

// expressionProblem applies those rules of Grafana's dashboard linter that are about
// PromQL. It returns the rule that is broken, and how.
func expressionProblem(expression string) (rule string, problem error) {
	// What the linter puts in for Grafana's intervals: durations nobody writes.
	const rateInterval, span = "8869990787ms", "4867856611ms"
	text := strings.NewReplacer("$__rate_interval", rateInterval, "$__range", span).Replace(expression)
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return "target-promql-rule", err
	}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok && rule == "" {
			rule, problem = selectorProblem(selector, path, rateInterval)
		}
		return nil
	})
	return rule, problem
}

// selectorProblem looks at one selector below the nodes of path.
func selectorProblem(selector *parser.VectorSelector, path []parser.Node, rateInterval string) (string, error) {
	for _, name := range []string{"job", "instance"} {
		if !slices.ContainsFunc(selector.LabelMatchers, func(m *labels.Matcher) bool {
			return m.Name == name && m.Type == labels.MatchRegexp && m.Value == "$"+name
		}) {
			return "target-" + name + "-rule", fmt.Errorf("%s is not limited to the %s that the reader has chosen", selector, name)
		}
	}
	call := ""
	if len(path) >= 2 {
		if c, ok := path[len(path)-2].(*parser.Call); ok {
			call = c.Func.Name
		}
	}
	if strings.HasSuffix(selector.Name, "_total") && !slices.Contains([]string{"rate", "irate", "increase"}, call) {
		return "target-counter-agg-rule", fmt.Errorf("%s is a counter, shown as it is", selector)
	}
	if call == "rate" || call == "irate" {
		if m := path[len(path)-1].(*parser.MatrixSelector); fmt.Sprintf("%dms", m.Range.Milliseconds()) != rateInterval {
			return "target-rate-interval-rule", errors.New("the range of a rate is not $__rate_interval")
		}
	}
	return "", nil
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
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				rule, problem := expressionProblem(target.Expr)
				if key := strings.Join([]string{rule, d.Title, p.Title}, "; "); known[key] {
					used[key] = true
				} else if problem != nil {
					t.Errorf("%s, %s: %s: %v", d.Title, p.Title, rule, problem)
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
		if got, problem := expressionProblem(expression); got != want {
			t.Errorf("%s: broken is %q (%v), want %q", expression, got, problem, want)
		}
	}
}
