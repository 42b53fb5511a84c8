package prometheus_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
)

// every is how often targets are scraped and rules are evaluated, as in prometheus.yml.
const every = 5 * time.Second

// alert returns an alerting rule of docker-compose.yml's Prometheus.
func alert(t *testing.T, file, name string) *rules.AlertingRule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(filepath.Join("..", "..", "deploy", "compose", "prometheus", "rules", file), false, model.UTF8Validation)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if r.Alert != name {
				continue
			}
			expr, err := parser.ParseExpr(r.Expr)
			if err != nil {
				t.Fatal(err)
			}
			return rules.NewAlertingRule(name, expr, time.Duration(r.For), time.Duration(r.KeepFiringFor),
				labels.FromMap(r.Labels), labels.EmptyLabels(), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
		}
	}
	t.Fatalf("%s has no alert %s", file, name)
	return nil
}

// series is what scrapes find: a value at each, and no value once it is gone.
type series struct {
	labels labels.Labels
	value  func(after time.Duration) (v float64, is bool)
}

// fired evaluates a rule for as long as it takes, and returns which alerts fire at each.
func fired(t *testing.T, rule *rules.AlertingRule, lasts time.Duration, all ...series) (firing [][]string) {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e5, Timeout: patience})
	defer engine.Close()
	began := time.UnixMilli(1_700_000_000_000)
	was := make([]bool, len(all))
	for after := time.Duration(0); after <= lasts; after += every {
		at := began.Add(after)
		app := db.Appender(context.Background())
		for i, s := range all {
			v, is := s.value(after)
			if !is && was[i] {
				v = math.Float64frombits(value.StaleNaN)
			} else if !is {
				continue
			}
			was[i] = is
			if _, err := app.Append(0, s.labels, at.UnixMilli(), v); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := rule.Eval(t.Context(), 0, at, rules.EngineQueryFunc(engine, db), &url.URL{}, 0); err != nil {
			t.Fatal(err)
		}
		var now []string
		for _, a := range rule.ActiveAlerts() {
			if a.State == rules.StateFiring {
				now = append(now, a.Labels.String())
			}
		}
		firing = append(firing, now)
	}
	return firing
}

// One guard leads, dies in the middle of an outage, and another takes over half a minute
// later: who is on call is called once, and nobody is told that all is well.
func TestAPageIsOneOverTheEndOfAGuard(t *testing.T) {
	for file, c := range map[string]struct {
		alert string
		more  []string // labels of the series, beside those of the target
		want  string
	}{
		"slos.yml": {
			"GatewardenSLO", []string{"__name__", "gatewarden_app_slo_alert_firing", "slo", "orders-availability", "service", "orders", "severity", "page"},
			`{alertname="GatewardenSLO", job="gatewarden", service="orders", severity="page", slo="orders-availability"}`,
		},
		"gatewarden.yml": {
			"GatewardenWaitsForYou", []string{"__name__", "gatewarden_actions_waiting", "policy", "roll-back-orders"},
			`{alertname="GatewardenWaitsForYou", job="gatewarden", policy="roll-back-orders"}`,
		},
	} {
		t.Run(c.alert, func(t *testing.T) {
			guard := func(n int, from, to time.Duration) series {
				name := append([]string{"job", "gatewarden", "instance", fmt.Sprintf("guard-%d:8080", n)}, c.more...)
				return series{labels.FromStrings(name...), func(after time.Duration) (float64, bool) { return 1, after >= from && after < to }}
			}
			for i, firing := range fired(t, alert(t, file, c.alert), 8*time.Minute, guard(1, 0, 2*time.Minute), guard(2, 150*time.Second, time.Hour)) {
				if diff := cmp.Diff([]string{c.want}, firing); diff != "" {
					t.Errorf("after %s (-want +got):\n%s", time.Duration(i)*every, diff)
				}
			}
		})
	}
}

// The drill of the first week lasts until it has shown something.
func TestTheDrillOfTheFirstWeekPages(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "first-week.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`stop Kong's http-log for (\w+) minutes`).FindSubmatch(text)
	minutes := map[string]int{"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "ten": 10}
	if found == nil || minutes[string(found[1])] == 0 {
		t.Fatalf("the drill is not found, or lasts %q minutes", found)
	}
	const stops = 5 * time.Minute
	drill := time.Duration(minutes[string(found[1])]) * time.Minute
	records := series{labels.FromStrings("__name__", "gatewarden_app_records_total", "job", "gatewarden", "fate", "counted"), func(after time.Duration) (float64, bool) {
		return min(after, stops).Seconds() * 10, true
	}}
	firing := fired(t, alert(t, "gatewarden.yml", "GatewardenSeesNothing"), stops+drill, records)
	for i, now := range firing[:stops/every] {
		if len(now) > 0 {
			t.Errorf("after %s, while records come: %q", time.Duration(i)*every, now)
		}
	}
	// A minute is for Alertmanager to gather and to send.
	if last := firing[len(firing)-1-int(time.Minute/every)]; len(last) != 1 {
		t.Errorf("a minute before the drill is over %d alerts fire, want 1", len(last))
	}
}
