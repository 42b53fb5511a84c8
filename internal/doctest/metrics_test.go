package doctest

import (
	"go/ast"
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

// named returns the metrics' names that the program's source has whole. An exposition
// leaves out a metric with labels until it has a value, so it alone is not enough.
func named(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, f := range sources(t, "actions", "api", "app", "collector", "journal", "state", "store", "cmd") {
		ast.Inspect(f, func(n ast.Node) bool {
			pair, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, isName := pair.Key.(*ast.Ident)
			value, isText := pair.Value.(*ast.BasicLit)
			if !isName || key.Name != "Name" || !isText {
				return true
			}
			name, err := strconv.Unquote(value.Value)
			if err == nil && metricName.MatchString(name) {
				names = append(names, name)
			}
			return true
		})
	}
	if len(names) < 20 {
		t.Fatalf("only %d metrics found in the source: the test does not see them", len(names))
	}
	return names
}

func TestTheMetricsOfTheProgramAreThoseOfTheDocument(t *testing.T) {
	_, text := ask(t, "GET", startGuard(t)+"/metrics")
	program := exposed(t, text)
	if len(program) < 20 {
		t.Fatalf("only %d metrics exposed: the test does not see them", len(program))
	}
	doc := documented(read(t, "docs/metrics.md").text)
	known := map[string]bool{}
	for _, name := range slices.Concat(named(t), slices.Collect(maps.Keys(program))) {
		known[name] = true
		if _, ok := doc[name]; !ok {
			t.Errorf("%s is not in docs/metrics.md", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		if !known[name] {
			t.Errorf("docs/metrics.md has %s, and the program has not", name)
		}
	}
	for name, want := range program {
		got, ok := doc[name]
		if ok && (got.kind != want.kind || !slices.Equal(got.labels, want.labels)) {
			t.Errorf("%s is a %s with the labels %v; docs/metrics.md says a %s with %v", name, want.kind, want.labels, got.kind, got.labels)
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
