package prometheus_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// scalingQuery finds the queries of the examples: KEDA's, and the adapter's in a comment.
var scalingQuery = regexp.MustCompile(`(?m)^[ #]*(?:query|metricsQuery): '?(.+?)'?$`)

// checkScaling wants the queries of the examples for Kubernetes to have data, and one value
// each where KEDA asks.
func checkScaling(t *testing.T, s instant) {
	t.Helper()
	// The guard under test has another latency SLO, and the adapter fills in its own matchers.
	names := strings.NewReplacer(`slo="orders-latency"`, `slo="payments-latency"`, "<<.LabelMatchers>>", `slo="payments-latency", window="5m"`)
	for file, want := range map[string]int{"hpa.yaml": 1, "keda.yaml": 2} {
		text, err := os.ReadFile(filepath.Join("..", "..", "examples", "kubernetes", file))
		if err != nil {
			t.Fatal(err)
		}
		queries := scalingQuery.FindAllStringSubmatch(string(text), -1)
		if len(queries) != want {
			t.Errorf("%s has %d queries, want %d", file, len(queries), want)
		}
		for _, q := range queries {
			if n := len(s.query(t, "%s", names.Replace(q[1]))); n != 1 {
				t.Errorf("%s: %d results: %s", file, n, q[1])
			}
		}
	}
}
