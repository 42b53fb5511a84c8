package doctest

import (
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// family is a metric as a document or the program describes it.
type family struct {
	kind   string
	labels []string // sorted
}

// documented reads the rows of tables that begin with a metric's name: name, type,
// labels, meaning.
func documented(text string) map[string]family {
	all := map[string]family{}
	for _, row := range rows(text) {
		name := strings.Trim(row[0], "`")
		if len(row) != 4 || !strings.HasPrefix(name, "gatewarden_") {
			continue
		}
		f := family{kind: row[1]}
		for label := range strings.SplitSeq(row[2], ",") {
			if label = strings.TrimSpace(label); label != "" {
				f.labels = append(f.labels, label)
			}
		}
		slices.Sort(f.labels)
		all[name] = f
	}
	return all
}

// exposed reads an exposition.
func exposed(t *testing.T, text string) map[string]family {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]family{}
	for name, mf := range families {
		if !strings.HasPrefix(name, "gatewarden_") {
			continue
		}
		f := family{kind: strings.ToLower(mf.GetType().String())}
		for _, pair := range mf.GetMetric()[0].GetLabel() {
			f.labels = append(f.labels, pair.GetName())
		}
		slices.Sort(f.labels)
		all[name] = f
	}
	return all
}

var metricName = regexp.MustCompile(`^gatewarden_[a-z_]+[a-z]$`)

// constructors are what makes a metric, with the type that it has then.
var constructors = map[string]string{
	"NewCounter": "counter", "NewCounterVec": "counter", "NewGauge": "gauge", "NewGaugeVec": "gauge",
	"NewGaugeFunc": "gauge", "NewHistogram": "histogram", "NewHistogramVec": "histogram",
}

// made reads the metrics that the program's source makes under a name that it has
// whole. An exposition leaves out a metric with labels until it has a value, so it
// alone is not enough.
func made(t *testing.T) map[string]family {
	t.Helper()
	all := map[string]family{}
	for _, f := range sources(t, "actions", "api", "app", "collector", "gates", "journal", "state", "store", "cmd") {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			maker, isMethod := call.Fun.(*ast.SelectorExpr)
			if isMethod && maker.Sel.Name == "NewDesc" {
				described(call, all)
				return true
			}
			options, hasOptions := call.Args[0].(*ast.CompositeLit)
			if !isMethod || !hasOptions || constructors[maker.Sel.Name] == "" {
				return true
			}
			made := family{kind: constructors[maker.Sel.Name]}
			if strings.HasSuffix(maker.Sel.Name, "Vec") {
				made.labels = texts(call.Args[1])
			}
			for _, e := range options.Elts {
				pair, ok := e.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				if key, isName := pair.Key.(*ast.Ident); isName && key.Name == "Name" {
					if name := texts(pair.Value); len(name) == 1 && metricName.MatchString(name[0]) {
						all[name[0]] = made
					}
				}
			}
			return true
		})
	}
	if len(all) < 20 {
		t.Fatalf("only %d metrics found in the source: the test does not see them", len(all))
	}
	return all
}

// described notes the metric of a call of prometheus.NewDesc, which says nothing of its
// type: the name does.
func described(call *ast.CallExpr, all map[string]family) {
	name := texts(call.Args[0])
	if len(name) != 1 || !metricName.MatchString(name[0]) || len(call.Args) < 3 {
		return
	}
	made := family{kind: "gauge", labels: texts(call.Args[2])}
	if strings.HasSuffix(name[0], "_total") {
		made.kind = "counter"
	}
	all[name[0]] = made
}

// texts returns the string literals of an expression, sorted.
func texts(e ast.Expr) []string {
	var list []string
	ast.Inspect(e, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				list = append(list, text)
			}
		}
		return true
	})
	slices.Sort(list)
	return list
}

func TestTheMetricsOfTheProgramAreThoseOfTheDocument(t *testing.T) {
	_, text := ask(t, "GET", startGuard(t)+"/metrics")
	program := exposed(t, text)
	if len(program) < 20 {
		t.Fatalf("only %d metrics exposed: the test does not see them", len(program))
	}
	doc := documented(read(t, "docs/metrics.md").text)
	known := made(t)
	maps.Copy(known, program) // what is exposed has the labels of its source too
	for _, name := range slices.Sorted(maps.Keys(known)) {
		want := known[name]
		switch got, ok := doc[name]; {
		case !ok:
			t.Errorf("%s is not in docs/metrics.md", name)
		case got.kind != want.kind || !slices.Equal(got.labels, want.labels):
			t.Errorf("%s is a %s with the labels %v; docs/metrics.md says a %s with %v", name, want.kind, want.labels, got.kind, got.labels)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		if _, ok := known[name]; !ok {
			t.Errorf("docs/metrics.md has %s, and the program has not", name)
		}
	}
}

// anywhere finds metrics' names wherever they stand; those of NATS' buckets stand
// behind a letter or an underscore.
var anywhere = regexp.MustCompile(`\bgatewarden_[a-z_]+[a-z]\b`)

func TestEveryMetricThatADocumentNamesExists(t *testing.T) {
	known := documented(read(t, "docs/metrics.md").text)
	for _, d := range manual(t) {
		for _, name := range anywhere.FindAllString(d.text, -1) {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if trimmed, ok := strings.CutSuffix(name, suffix); ok && known[trimmed].kind == "histogram" {
					base = trimmed
				}
			}
			if _, ok := known[base]; !ok {
				t.Errorf("%s names the metric %s, which is not in docs/metrics.md", d.name, name)
			}
		}
	}
}
