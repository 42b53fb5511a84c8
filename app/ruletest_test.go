package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden/rules/unit"
)

// runTests runs a file of tests and returns the results.
func runTests(t *testing.T, path string) []RuleTestResult {
	t.Helper()
	suite, set, problems := unit.Load(path)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	var results []RuleTestResult
	err := TestRules(t.Context(), suite, set, slog.New(slog.DiscardHandler), func(r RuleTestResult) { results = append(results, r) })
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestTheShopsRulesPassTheirTests(t *testing.T) {
	results := runTests(t, filepath.Join("..", "examples", "shop", "rules_test.yaml"))
	if len(results) < 7 {
		t.Errorf("only %d tests were run", len(results))
	}
	for _, r := range results {
		if r.Err != nil || len(r.Failures) > 0 {
			t.Errorf("%s: %v %+v", r.Test.Name, r.Err, r.Failures)
		}
	}
}

const failingTests = `
rules: [r.yaml]
tests:
  - name: a
    traffic: [{service: orders, rps: 20x20}, {service: orders, status: 500, rps: 0x10 20x10}]
    expect:
      - {at: 5s, slos: {orders: outage}, actions: {protect: []}}
      - {at: 20s, slos: {orders: outage}, actions: {protect: [plugin, webhook]}, runs: {release: pass}}
    runs: [{canary: release, at: 5s}]
  - name: a release that never comes
    runs: [{canary: release, at: 1h}]
    traffic: [{service: orders, rps: 20x20}]
    expect: [{at: 20s, slos: {orders: healthy}, runs: {release: running}}]
`

const rulesOfFailingTests = `
slos: [{name: orders, service: orders, objective: 99.9, sli: {availability: {}}, on_outage: [protect]}]
canaries: [{name: release, service: orders, baseline: {route: a}, canary: {route: b}, on_fail: []}]
actions:
  - name: protect
    steps:
      - plugin: {name: request-termination, service: search}
      - {webhook: {url: "http://x/"}, after: 1m}
`

func TestAFailureSaysWhatWasWantedWhatCameAndWhen(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"r.yaml": rulesOfFailingTests, "t.yaml": failingTests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	results := runTests(t, filepath.Join(dir, "t.yaml"))
	want := []RuleTestFailure{
		{
			Line: 7, At: 5 * time.Second, What: "slo orders", Want: "outage", Got: "healthy",
			Why: "0 % of 90 requests failed in the last 30d; 100 % of the error budget is left", When: "healthy from 1s; outage from 12s",
		},
		{Line: 8, At: 20 * time.Second, What: "action protect", Want: "plugin, webhook", Got: "plugin", When: "nothing from 1s; plugin from 12s"},
		{
			Line: 8, At: 20 * time.Second, What: "run release", Want: "pass", Got: "running",
			Why: results[0].runReason(), When: "not begun from 1s; running from 6s",
		},
	}
	if diff := cmp.Diff(want, results[0].Failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if got := results[1].Failures; len(got) != 1 || got[0].Got != "not begun" {
		t.Errorf("a run that never began: %+v", got)
	}
}

// runReason is the reason of the run's failure: the judge's words are not this test's.
func (r RuleTestResult) runReason() string {
	for _, f := range r.Failures {
		if f.What == "run release" {
			return f.Why
		}
	}
	return "(no such failure)"
}

func TestTestsOfRulesEndWhenTheyAreCancelled(t *testing.T) {
	suite, set, problems := unit.Load(filepath.Join("..", "examples", "shop", "rules_test.yaml"))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := TestRules(ctx, suite, set, slog.New(slog.DiscardHandler), func(RuleTestResult) { n++; cancel() })
	if err == nil || n != 1 {
		t.Errorf("%d results and %v, want one and that it was cancelled", n, err)
	}
}
