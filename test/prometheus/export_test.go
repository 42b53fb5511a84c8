package prometheus_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
)

const exportedRules = `
slos:
  - {name: orders-availability, service: orders, objective: 99.9, sli: {availability: {}}, labels: {team: checkout}}
  - {name: orders-latency, service: orders, objective: 99, window: 7d, sli: {latency: {threshold: 250ms}}}
  - {name: kong, service: "*", objective: 99, calendar: month, sli: {latency: {threshold: 10ms, of: kong}}, alerting: {pairs: [{severity: ticket, factor: 2, long: 90m, short: 10m}]}}
  - {name: own, service: own, objective: 99.95, sli: {prometheus: {total_query: 'sum(own_total{a="b"})', good_query: 'sum(rate(own_good_total[{{.window}}]))'}}}
`

// export runs the program and returns the rules as Prometheus itself loads them. Its exit
// code says whether an SLO was left out.
func export(t *testing.T, path string) (groups *rulefmt.RuleGroups, whole bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/gatewarden", "rules", "export", path)
	cmd.Dir = filepath.Join("..", "..")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if out.Len() == 0 {
		t.Fatalf("nothing is exported: %v\n%s", err, &said)
	}
	groups, errs := rulefmt.Parse(out.Bytes(), false, model.UTF8Validation)
	if len(errs) > 0 {
		t.Fatalf("Prometheus does not load them: %v\n%s", errs, &out)
	}
	return groups, err == nil
}

// exported are the rules of exportedRules.
func exported(t *testing.T) *rulefmt.RuleGroups {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(exportedRules), 0o600); err != nil {
		t.Fatal(err)
	}
	groups, whole := export(t, file)
	if !whole {
		t.Error("an SLO was left out")
	}
	return groups
}

func TestExportedRulesLoadAndHaveTheNamesOfSloths(t *testing.T) {
	names := map[string]bool{}
	for _, g := range exported(t).Groups {
		for _, r := range g.Rules {
			names[r.Record+r.Alert] = true
			for _, label := range []string{"sloth_id", "sloth_service", "sloth_slo"} {
				if r.Labels[label] == "" {
					t.Errorf("%s%s has no label %s", r.Record, r.Alert, label)
				}
			}
		}
	}
	for _, name := range []string{
		"slo:sli_error:ratio_rate5m", "slo:sli_error:ratio_rate30m", "slo:sli_error:ratio_rate1h", "slo:sli_error:ratio_rate2h",
		"slo:sli_error:ratio_rate6h", "slo:sli_error:ratio_rate1d", "slo:sli_error:ratio_rate3d", "slo:sli_error:ratio_rate30d", "slo:sli_error:ratio_rate1w",
		"slo:objective:ratio", "slo:error_budget:ratio", "slo:time_period:days", "slo:current_burn_rate:ratio", "slo:period_burn_rate:ratio",
		"slo:period_error_budget_remaining:ratio", "sloth_slo_info",
		"OrdersAvailabilityBurnsItsBudget", "OrdersLatencyBurnsItsBudget", "KongBurnsItsBudget", "OwnBurnsItsBudget",
	} {
		if !names[name] {
			t.Errorf("there is no rule %s among %d", name, len(names))
		}
	}
}

// What an exported ratio comes to in a real engine, over the counters of a Kong.
func TestExportedRulesMeasureWhatTheySay(t *testing.T) {
	storage := promqltest.LoadedStorage(t, `
load 15s
  kong_http_requests_total{service="orders",route="r",code="200",source="service"} 0+95x60
  kong_http_requests_total{service="orders",route="r",code="503",source="kong"} 0+5x60
  kong_http_requests_total{service="other",route="r",code="500",source="service"} 0+100x60
  kong_request_latency_ms_bucket{service="orders",route="r",le="250.0"} 0+80x60
  kong_request_latency_ms_bucket{service="orders",route="r",le="400.0"} 0+100x60
  kong_request_latency_ms_count{service="orders",route="r"} 0+100x60
  own_total{a="b"} 0+10x60
  own_good_total 0+9x60
`)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: 10 * time.Second})
	got := map[string]string{}
	for _, g := range exported(t).Groups {
		for _, r := range g.Rules {
			if r.Record != "slo:sli_error:ratio_rate5m" {
				continue
			}
			q, err := engine.NewInstantQuery(t.Context(), storage, nil, r.Expr, time.Unix(15*60, 0))
			if err != nil {
				t.Fatal(err)
			}
			v, err := q.Exec(t.Context()).Vector()
			if err != nil {
				t.Fatal(err)
			}
			var values []string
			for _, s := range v {
				values = append(values, strings.TrimSuffix(model.SampleValue(float64(int64(s.F*1e6+0.5))/1e6).String(), "0000"))
			}
			slices.Sort(values)
			got[r.Labels["sloth_slo"]] = strings.Join(values, " ")
			q.Close()
		}
	}
	want := map[string]string{"orders-availability": "0.05", "orders-latency": "0.2", "kong": "", "own": "0.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ratios (-want +got):\n%s", diff)
	}
}

// The SLOs of the shop that Kong's metrics can tell load, too.
func TestTheShopsExportLoads(t *testing.T) {
	if groups, whole := export(t, filepath.Join("examples", "shop", "rules")); len(groups.Groups) < 6 || whole {
		t.Errorf("%d groups, all of them %v; want some, and others left out", len(groups.Groups), whole)
	}
}
