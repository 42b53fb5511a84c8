package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatCountersCannotAnswerIsRefused(t *testing.T) {
	const alone, beside = `- kongmetrics: {targets: ["http://kong:8100/metrics"]}`, "\n  - httplog: {}"
	cases := map[string]struct{ rule, want string }{
		"errors":                        {`sli: {availability: {}}`, ""},
		"a status":                      {`sli: {good: 'status < 500 && service != "path"'}`, ""},
		"a latency at a bound":          {`sli: {latency: {threshold: 250ms}}`, ""},
		"Kong's own latency at a bound": {`sli: {latency: {threshold: 20ms, of: kong}}`, ""},
		"a latency between bounds":      {`sli: {latency: {threshold: 300ms}}`, "Kong's histogram has no bound at 300ms"},
		"a status with a latency":       {`sli: {good: 'status < 500 && latency.request < 250'}`, "do not know the latency of a request"},
		"a path":                        {`sli: {good: 'path == "/" || status < 500'}`, "do not know the path of a request"},
		"a tag":                         {"sli: {availability: {}}\n    tag: core", "Kong's counters have no tags"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, logged := range []bool{false, true} {
				dir, sources := t.TempDir(), alone
				if logged {
					sources += beside
				}
				for file, text := range map[string]string{
					"gatewarden.yaml": "rules: [rules.yaml]\nsources:\n  " + sources + "\n",
					"rules.yaml":      "slos:\n  - name: orders\n    service: orders\n    objective: 99\n    " + c.rule + "\n",
				} {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				_, problems := load(filepath.Join(dir, "gatewarden.yaml"), os.LookupEnv)
				switch err := problems.Err(); {
				case c.want == "" || logged:
					if err != nil {
						t.Errorf("with a log %v: %v", logged, err)
					}
				case err == nil || !strings.Contains(err.Error(), c.want):
					t.Errorf("it is refused with %v, want %q", err, c.want)
				}
			}
		})
	}
}

func TestTracksThatCountersCannotTellApart(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"gatewarden.yaml": "rules: [rules.yaml]\nsources:\n  - kongmetrics: {targets: [\"http://kong:8100/metrics\"]}\n",
		"rules.yaml": `
canaries:
  - {name: by-service, baseline: {service: orders}, canary: {service: orders-next}, checks: [errors]}
  - {name: by-header, service: orders, baseline: {response_header: "x-version: v1"}, canary: {response_header: "x-version: v2"}, checks: [errors]}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, problems := load(filepath.Join(dir, "gatewarden.yaml"), os.LookupEnv)
	err := problems.Err()
	if err == nil || !strings.Contains(err.Error(), "by-header") || strings.Contains(err.Error(), "by-service") {
		t.Errorf("%v", err)
	}
}
