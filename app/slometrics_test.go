package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

// A thousand requests, an eighth of which fail, against 75 %: half of the budget.
func TestSLOsAreExposedUnderSlothsNamesAndOurs(t *testing.T) {
	reg := prometheus.NewRegistry()
	set := loadText(t, `slos:
  - {name: orders-ok, service: orders, objective: 75, window: 30d, sli: {availability: {}}}
  - {name: quiet, service: nobody, objective: 99.9, window: 28d, sli: {availability: {}}}
`)
	s := store.New(store.Config{}, reg)
	in := newIntake(s, func() time.Time { return noon }, time.Minute, reg)
	l, _, err := newLoop(t.Context(), parts{
		rules: set, store: s, intake: in, journal: journal.NewMemory(), started: noon.Add(-time.Minute), registry: reg, engine: actions.Config{},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := newSLOMetrics(s, func() ([]gatewarden.SLO, []gatewarden.Verdict) { return set.SLOs, l.judged() })
	traffic := newTrafficMetrics(s, &in.failed, func() time.Time { return noon })

	if n := testutil.CollectAndCount(m, "gatewarden_app_slo_state"); n != 2 {
		t.Errorf("before the first look %d states, want 2", n)
	}
	records := make([]gatewarden.Record, 1000)
	for i := range records {
		records[i] = gatewarden.Record{
			ID: fmt.Sprint(i), At: noon.Add(-10 * time.Second), Service: "orders", Status: 200, Weight: 1, Latency: gatewarden.Latency{Request: 20 * time.Millisecond},
		}
		if i%8 == 0 {
			records[i].Status, records[i].TraceID = 503, "0af7651916cd43dd8448eb211c80319c"
		}
	}
	if err := in.Accept(t.Context(), "test", records); err != nil {
		t.Fatal(err)
	}
	if err := l.Tick(t.Context(), noon); err != nil {
		t.Fatal(err)
	}

	var want strings.Builder
	for _, w := range []string{"5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"} {
		fmt.Fprintf(&want, `# HELP slo:sli_error:ratio_rate%[1]s Share of bad events over %[1]s; absent without events.
# TYPE slo:sli_error:ratio_rate%[1]s gauge
slo:sli_error:ratio_rate%[1]s{sloth_id="orders-orders-ok",sloth_service="orders",sloth_slo="orders-ok",sloth_window="%[1]s"} 0.125
`, w)
	}
	want.WriteString(`# HELP slo:period_error_budget_remaining:ratio Share of the error budget that is left; negative when overspent.
# TYPE slo:period_error_budget_remaining:ratio gauge
slo:period_error_budget_remaining:ratio{sloth_id="nobody-quiet",sloth_service="nobody",sloth_slo="quiet"} 1
slo:period_error_budget_remaining:ratio{sloth_id="orders-orders-ok",sloth_service="orders",sloth_slo="orders-ok"} 0.5
# HELP slo:current_burn_rate:ratio How many times faster than allowed the budget is spent, over 5 minutes; absent without events.
# TYPE slo:current_burn_rate:ratio gauge
slo:current_burn_rate:ratio{sloth_id="orders-orders-ok",sloth_service="orders",sloth_slo="orders-ok"} 0.5
# HELP slo:error_budget:ratio Share of events that may be bad.
# TYPE slo:error_budget:ratio gauge
slo:error_budget:ratio{sloth_id="nobody-quiet",sloth_service="nobody",sloth_slo="quiet"} 0.001
slo:error_budget:ratio{sloth_id="orders-orders-ok",sloth_service="orders",sloth_slo="orders-ok"} 0.25
# HELP slo:time_period:days Length of the SLO's window in days.
# TYPE slo:time_period:days gauge
slo:time_period:days{sloth_id="nobody-quiet",sloth_service="nobody",sloth_slo="quiet"} 28
slo:time_period:days{sloth_id="orders-orders-ok",sloth_service="orders",sloth_slo="orders-ok"} 30
# HELP gatewarden_app_slo_state What the last look judged of an SLO: 0 inconclusive, 1 healthy, and in breach 2 ticket, 3 page, 4 outage.
# TYPE gatewarden_app_slo_state gauge
gatewarden_app_slo_state{service="nobody",slo="quiet"} 0
gatewarden_app_slo_state{service="orders",slo="orders-ok"} 1
# HELP gatewarden_app_slo_events Events of the SLO's window, good and bad. They are as many as there were, and fewer when old ones leave the window.
# TYPE gatewarden_app_slo_events gauge
gatewarden_app_slo_events{result="bad",service="nobody",slo="quiet"} 0
gatewarden_app_slo_events{result="bad",service="orders",slo="orders-ok"} 125
gatewarden_app_slo_events{result="good",service="nobody",slo="quiet"} 0
gatewarden_app_slo_events{result="good",service="orders",slo="orders-ok"} 875
`)
	names := []string{
		"slo:period_error_budget_remaining:ratio", "slo:current_burn_rate:ratio", "slo:error_budget:ratio", "slo:time_period:days",
		"gatewarden_app_slo_state", "gatewarden_app_slo_events",
	}
	// A window that is nobody's has no series, and those of silence have none.
	for _, w := range []string{"5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d", "4w"} {
		names = append(names, "slo:sli_error:ratio_rate"+w)
	}
	if err := testutil.CollectAndCompare(m, strings.NewReader(want.String()), names...); err != nil {
		t.Error(err)
	}
	if err := testutil.CollectAndCompare(traffic, strings.NewReader(`# HELP gatewarden_app_requests_total Requests that were counted by service and class of status, or shed by a change of the guard.
# TYPE gatewarden_app_requests_total counter
gatewarden_app_requests_total{class="2xx",service="orders"} 875
gatewarden_app_requests_total{class="5xx",service="orders"} 125
# HELP gatewarden_app_latency_seconds Percentiles of the whole request's latency, over the last minute; absent without requests.
# TYPE gatewarden_app_latency_seconds gauge
gatewarden_app_latency_seconds{percentile="50",service="orders"} 0.02
gatewarden_app_latency_seconds{percentile="95",service="orders"} 0.02
gatewarden_app_latency_seconds{percentile="99",service="orders"} 0.02
`), "gatewarden_app_requests_total", "gatewarden_app_latency_seconds"); err != nil {
		t.Error(err)
	}
	if e, ok := in.failed.of("orders"); !ok || e.Labels["trace_id"] != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("the exemplar of failures is %+v", e)
	}
}

func TestASeverityHasItsNumber(t *testing.T) {
	for want, v := range []gatewarden.Verdict{
		{}, {State: gatewarden.Healthy}, {State: gatewarden.Breach, Severity: gatewarden.SeverityTicket},
		{State: gatewarden.Breach, Severity: gatewarden.SeverityPage}, {State: gatewarden.Breach, Severity: gatewarden.SeverityOutage},
	} {
		if got := stateNumber(&v); got != float64(want) {
			t.Errorf("%s %s is %v, want %d", v.State, v.Severity, got, want)
		}
	}
}

func TestACanaryIsExposedWithItsRun(t *testing.T) {
	view := gates.View{Canary: gatewarden.Canary{Name: "orders"}, Share: 0.1, Known: true}
	m := newCanaryMetrics(func() []gates.View { return []gates.View{view} })
	if n := testutil.CollectAndCount(m); n != 2 {
		t.Errorf("a canary without a run has %d series, want its state and share", n)
	}
	view.Run = &gatewarden.Run{State: gatewarden.RunFail, Verdict: &gatewarden.CanaryVerdict{
		Needed: 2, PassNeeded: 1.3, Baseline: gatewarden.TrackCounts{Requests: 900, P50: gatewarden.Duration(20 * time.Millisecond), P99: gatewarden.Duration(80 * time.Millisecond)},
		Canary:     gatewarden.TrackCounts{Requests: 100, Failures: 50, P50: gatewarden.Duration(25 * time.Millisecond), P99: gatewarden.Duration(90 * time.Millisecond)},
		ErrorRatio: gatewarden.Interval{Low: 12}, Split: gatewarden.SplitEvidence{Observed: 0.1},
	}}
	if err := testutil.CollectAndCompare(m, strings.NewReader(`# HELP gatewarden_app_canary_state State of a canary's newest run: 0 there is none, 1 running, 2 pass, 3 fail, 4 inconclusive, 5 cancelled.
# TYPE gatewarden_app_canary_state gauge
gatewarden_app_canary_state{canary="orders"} 3
# HELP gatewarden_app_canary_error_ratio Odds of a failure, canary over baseline: an estimate, and the interval that holds it with 95 % probability.
# TYPE gatewarden_app_canary_error_ratio gauge
gatewarden_app_canary_error_ratio{bound="low",canary="orders"} 12
# HELP gatewarden_app_canary_latency_seconds Percentiles of latencies in a canary's newest run, by track.
# TYPE gatewarden_app_canary_latency_seconds gauge
gatewarden_app_canary_latency_seconds{canary="orders",percentile="50",track="baseline"} 0.02
gatewarden_app_canary_latency_seconds{canary="orders",percentile="50",track="canary"} 0.025
gatewarden_app_canary_latency_seconds{canary="orders",percentile="99",track="baseline"} 0.08
gatewarden_app_canary_latency_seconds{canary="orders",percentile="99",track="canary"} 0.09
`), "gatewarden_app_canary_state", "gatewarden_app_canary_error_ratio", "gatewarden_app_canary_latency_seconds", "gatewarden_app_canary_latency_ratio"); err != nil {
		t.Error(err)
	}
	view.Run = nil
	if n := testutil.CollectAndCount(m); n != 2 {
		t.Errorf("a canary whose run is gone has %d series: stale ones stayed", n)
	}
}
