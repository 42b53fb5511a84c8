package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden/rules"
)

func TestOutagesThatComeTooLateAreWarnedOf(t *testing.T) {
	const es = `- elasticsearch: {url: "http://es:9200", index: kong`
	for name, c := range map[string]struct {
		sources, slo string
		warned       bool
	}{
		"by Elasticsearch alone":      {es + "}", "on_outage: [tell]", true},
		"beside Kong's own counters":  {es + "}\n  - kongmetrics: {targets: [\"http://kong:8100/metrics\"]}", "on_outage: [tell]", true},
		"beside one that is no later": {es + "}\n  " + es + ", read: buckets}", "on_outage: [tell]", true},
		"beside a log":                {es + "}\n  - httplog: {}", "on_outage: [tell]", false},
		"quick enough":                {es + ", lag: 5s}", "on_outage: [tell]", false},
		"the past only":               {es + ", read: nothing}", "on_outage: [tell]", false},
		"nothing starts by an outage": {es + "}", "on_page: [tell]", false},
		"no Elasticsearch":            {"- httplog: {}", "on_outage: [tell]", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{
				"gatewarden.yaml": "rules: [rules.yaml]\nsources:\n  " + c.sources + "\n",
				"rules.yaml": "slos: [{name: orders, service: orders, objective: 99, sli: {availability: {}}, " + c.slo + "}]\n" +
					"actions: [{name: tell, mode: enforce, steps: [{webhook: {url: \"http://team/\"}}]}]\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, problems := load(filepath.Join(dir, "gatewarden.yaml"), os.LookupEnv)
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			warned := false
			for _, p := range problems {
				if strings.Contains(p.Message, "on_outage of orders starts that much later") {
					warned = p.Severity == rules.SeverityWarning && p.Line == 3
				}
			}
			if warned != c.warned {
				t.Errorf("warned %v, want %v: %v", warned, c.warned, problems)
			}
		})
	}
}
