package convert_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/rules/convert"
)

const ofSloth = `
version: prometheus/v1
service: shop
labels: {owner: a}
slos:
  - name: x
    objective: 99.5
    description: d
    labels: {tier: b}
    sli: {events: {error_query: 'sum(rate(e_total[{{.window}}]))', total_query: 'sum(rate(t_total[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: false}}
`

const ofOpenSLO = `
apiVersion: openslo/v1
kind: SLO
metadata: {name: x, displayName: X, labels: {a: b}}
spec:
  description: d
  service: shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives: [{displayName: o, target: 0.995}]
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(e_total[{{.window}}]))'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(t_total[{{.window}}]))'}}}
`

func imported(text string) (string, string) {
	out, problems := convert.Import([]convert.Source{{Name: "in.yaml", Text: []byte(text)}})
	var said strings.Builder
	if err := problems.Write(&said); err != nil {
		return "", err.Error()
	}
	return string(out), said.String()
}

// addKey puts a key into the n-th mapping of a document, and returns false when there are
// not so many.
func addKey(t *testing.T, text string, n int) (string, bool) {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	found := false
	var walk func(node *yaml.Node, labels bool)
	walk = func(node *yaml.Node, labels bool) {
		if node.Kind == yaml.MappingNode && !labels { // any label is one
			if n--; n == -1 {
				found = true
				node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "somethingNew"}, &yaml.Node{Kind: yaml.ScalarNode, Value: "1"})
				return
			}
		}
		for i, child := range node.Content {
			walk(child, node.Kind == yaml.MappingNode && i%2 == 1 && node.Content[i-1].Value == "labels")
		}
	}
	walk(&doc, false)
	out, err := yaml.Marshal(&doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), found
}

func TestNothingIsLostWithoutAWord(t *testing.T) {
	for format, text := range map[string]string{"Sloth": ofSloth, "OpenSLO": ofOpenSLO} {
		if out, said := imported(text); out == "" || said != "" {
			t.Fatalf("%s: %q, %s", format, out, said)
		}
		places := 0
		for ; ; places++ {
			with, ok := addKey(t, text, places)
			if !ok {
				break
			}
			// What is said about a document that is left out as a whole is said of it, too.
			if _, said := imported(with); !strings.Contains(said, "somethingNew is left out") {
				t.Errorf("%s: nothing is said of what is new in\n%s\nbut %q", format, with, said)
			}
		}
		if places < 6 {
			t.Errorf("%s: only %d places found", format, places)
		}
	}
}

func TestWhatHasNoCounterpartIsAnErrorThatSaysWhy(t *testing.T) {
	for sentence, c := range map[string]struct{ from, old, new, want string }{
		"a raw query":             {ofSloth, "{events:", "{raw: {error_ratio_query: x}, events:", "its query gives a ratio"},
		"a plugin":                {ofSloth, "{events:", "{plugin: {id: x}, events:", "its queries are made by a plugin of Sloth's"},
		"no sli":                  {ofSloth, "sli: {events:", "sly: {events:", "it has no sli"},
		"no service":              {ofSloth, "service: shop", "service: ''", "it does not say of which service"},
		"an objective of 100":     {ofSloth, "99.5", "100", "its objective is no number between 0 and 100"},
		"a ratio":                 {ofOpenSLO, "counter: true", "raw: {}", "a ratio does not say of how many events it is"},
		"another way of counting": {ofOpenSLO, "Occurrences", "RatioTimeslices", "the guard does not budget by RatioTimeslices"},
		"another source":          {ofOpenSLO, "type: Prometheus", "type: Datadog", "its total is counted by Datadog"},
		"a window of a year":      {ofOpenSLO, "duration: 30d", "duration: 1Y", "its window 1Y is none, or too long"},
		"a calendar year":         {ofOpenSLO, "{duration: 30d, isRolling: true}", "{duration: 1Y, isRolling: false}", "there is no calendar window of 1Y"},
		"no window":               {ofOpenSLO, "[{duration: 30d, isRolling: true}]", "[]", "it needs one timeWindow"},
		"an SLI that isn't there": {ofOpenSLO, "indicator:", "indicatorRef: y\n  indicators:", "there is no SLI y in the files"},
		"no indicator":            {ofOpenSLO, "indicator:", "indicators:", "it has no indicator"},
		"no objective":            {ofOpenSLO, "[{displayName: o, target: 0.995}]", "[]", "it has no objectives"},
		"a target of 2":           {ofOpenSLO, "0.995", "2", "its target is no number between 0 and 1"},
		"no total":                {ofOpenSLO, "total:", "sum:", "it needs total"},
		"no YAML":                 {ofSloth, "labels: {owner: a}", "labels: {", "this is not YAML"},
		"a list":                  {ofSloth, ofSloth, "[1]", "a document must be keys with values"},
	} {
		t.Run(sentence, func(t *testing.T) {
			text := strings.Replace(c.from, c.old, c.new, 1)
			if text == c.from {
				t.Fatalf("there is no %q to replace", c.old)
			}
			if c.new == "type: Datadog" {
				text = strings.ReplaceAll(c.from, c.old, c.new)
			}
			out, problems := convert.Import([]convert.Source{{Name: "in.yaml", Text: []byte(text)}})
			var said strings.Builder
			if err := problems.Write(&said); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(said.String(), c.want) || problems.Err() == nil || out != nil {
				t.Errorf("%s\nsaid %s\nwant %s", out, said.String(), c.want)
			}
		})
	}
}

func TestWhatCanNotBeExportedIsSaid(t *testing.T) {
	for sentence, c := range map[string]struct{ slo, want string }{
		"an expression":             {"service: a, sli: {good: 'status < 400'}", "Kong's metrics can't tell for which requests"},
		"a threshold between two":   {"service: a, sli: {latency: {threshold: 300ms}}", "Kong's histogram has no bound at 300ms"},
		"a latency of a consumer":   {"consumer: a, sli: {latency: {threshold: 250ms}}", "Kong's histograms do not tell consumers apart"},
		"a tag":                     {"tag: a, sli: {availability: {}}", "Kong's metrics do not say which tags"},
		"spans":                     {"service: a, sli: {traces: {}}", "it is about spans"},
		"timeslices":                {"service: a, sli: {availability: {}}, budgeting: {timeslices: {objective: 99}}", "it counts slices of time"},
		"a counter that is no such": {"service: a, sli: {prometheus: {total_query: a + b, error_query: c}}", "the total_query is a counter that a rate can't be put into"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var out, said bytes.Buffer
			problems := export(t, &out, "slos: [{name: x, objective: 99, "+c.slo+"}]")
			if err := problems.Write(&said); err != nil {
				t.Fatal(err)
			}
			if problems.Err() == nil || !strings.Contains(said.String(), c.want) || strings.Contains(out.String(), "record:") {
				t.Errorf("%s\nsaid %s\nwant %s", &out, &said, c.want)
			}
		})
	}
}

func export(t *testing.T, out *bytes.Buffer, text string) rules.Problems {
	t.Helper()
	set, problems := rules.ParseRules("r.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	problems, err := convert.Export(out, set, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	return problems
}

func TestQueriesCountWhatTheSLOIsAbout(t *testing.T) {
	for sentence, c := range map[string]struct{ slo, want string }{
		"the whole gateway": {
			`service: "*", sli: {availability: {}}`, `(sum(rate(kong_http_requests_total{code!~"[1-4].."}[5m])) or 0 * sum(rate(kong_http_requests_total[5m])))`,
		},
		"a route of a workspace": {
			"route: list, workspace: eu, sli: {availability: {}}", `(sum(rate(kong_http_requests_total{route="list",workspace="eu"}[5m])))`,
		},
		"a latency of the upstream": {
			"service: a, sli: {latency: {threshold: 250ms, of: upstream}}",
			`(sum(rate(kong_upstream_latency_ms_count{service="a"}[5m])) - sum(rate(kong_upstream_latency_ms_bucket{service="a",le=~"250(\\.0)?"}[5m])))`,
		},
		"queries with a window": {
			"service: a, sli: {prometheus: {total_query: 'sum(rate(t[{{ .window }}]))', good_query: 'sum(rate(g[{{.window}}]))'}}",
			`((sum(rate(t[5m]))) - (sum(rate(g[5m]))))`,
		},
		"counters": {
			`service: a, sli: {prometheus: {total_query: t_total, error_query: 'sum(e_total{x="y"})'}}`, `(sum(rate(e_total{x="y"}[5m])))`,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			var out bytes.Buffer
			if err := export(t, &out, "slos: [{name: x, objective: 99, "+c.slo+"}]").Err(); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("%s\nwant %s", &out, c.want)
			}
		})
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(ofSloth))
	f.Add([]byte(ofOpenSLO))
	f.Add([]byte("a: &a {b: *a}\nversion: prometheus/v1"))
	f.Add([]byte("version: prometheus/v1\n<<: {service: x}\nslos: [1, {name: [x]}]"))
	f.Add([]byte(fmt.Sprintf("version: prometheus/v1\nservice: x\nslos: %s", strings.Repeat("[", 1000))))
	f.Fuzz(func(t *testing.T, text []byte) {
		out, problems := convert.Import([]convert.Source{{Name: "in.yaml", Text: text}})
		if out == nil {
			return
		}
		if _, wrong := rules.ParseRules("out.yaml", out); wrong.Err() != nil && problems.Err() == nil {
			t.Errorf("what comes of it does not load, and nothing is said: %v\n%s", wrong.Err(), out)
		}
	})
}

func TestMergesThatGoRoundEnd(t *testing.T) {
	for sentence, text := range map[string]string{
		"one that is its own":       "&x {<<: *x}",
		"two that are each other's": "&x {<<: &y {<<: *x}}",
	} {
		out, said := imported("version: prometheus/v1\nservice: shop\nslos:\n  - " + text + "\n")
		if out != "" || !strings.Contains(said, "is left out") {
			t.Errorf("%s: it becomes\n%sand is told as\n%s", sentence, out, said)
		}
	}
}
