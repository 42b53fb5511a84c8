package page_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

// runs are made-up canaries with the runs that they carry.
type runs struct {
	api.Gates // what is not here is not asked for
	list      []api.Canary
}

func (r runs) Canaries() []api.Canary { return r.list }

func (r runs) Canary(name string) (api.Canary, error) {
	for _, k := range r.list {
		if k.Name == name {
			return k, nil
		}
	}
	return api.Canary{}, gatewarden.Errorf(gatewarden.NotFound, "there is no canary named %q", name)
}

func (r runs) Run(id string) (gatewarden.Run, error) {
	for _, k := range r.list {
		if k.Run != nil && k.Run.ID == id {
			return *k.Run, nil
		}
	}
	return gatewarden.Run{}, gatewarden.Errorf(gatewarden.NotFound, "there is no run %q", id)
}

func (r runs) Runs(q api.RunQuery) (list []gatewarden.Run) {
	for _, k := range r.list {
		if k.Run != nil && k.Name == q.Canary {
			list = append(list, *k.Run)
		}
	}
	return list
}

// even is a past in which as much is bad as the SLO's last verdict says.
type even struct{ g *guard }

func (p even) of(name string) gatewarden.Count {
	for _, s := range p.g.SLOs() {
		if s.Name == name && s.Verdict.SLO != nil {
			return s.Verdict.SLO.Count
		}
	}
	return gatewarden.Count{}
}

func (p even) History(name string, window time.Duration, points int) (api.History, error) {
	if window == 0 {
		window = time.Hour
	}
	to, step := time.Now().Truncate(time.Second), max(window/time.Duration(points), time.Second).Truncate(time.Second)
	h := api.History{Name: name, From: to.Add(-window), To: to, Step: gatewarden.Duration(step)}
	n := p.of(name)
	for at := h.From; !at.Add(step).After(to); at = at.Add(step) {
		c := gatewarden.Count{Good: 200, Coverage: 1}
		if n.Bad > 0 && to.Sub(at) < 6*time.Minute {
			c = gatewarden.Count{Good: 120, Bad: 80, Coverage: 1}
		}
		h.Points = append(h.Points, c)
	}
	h.To = h.From.Add(time.Duration(len(h.Points)) * step)
	return h, nil
}

func (p even) Breakdown(name string, window time.Duration) (api.Breakdown, error) {
	n := p.of(name)
	return api.Breakdown{
		Name: name, From: time.Now().Add(-window), To: time.Now(), Total: n, Classes: map[string]uint64{"2xx": n.Good, "5xx": n.Bad},
		Routes: []api.Part{{Series: gatewarden.Series{Service: "orders", Route: "place"}, Requests: n.Total(), Count: &n}},
	}, nil
}

// night is a guard at three in the morning, when everything happens at once that the demo
// does not have: a breach that comes from another service, spans and PromQL whose sources are
// silent, a log that is incomplete, nodes that differ, a limit that is steered, a change that
// does not show, a canary without a baseline and one that waits. All of it is made up.
func night(now time.Time) *guard {
	g := &guard{status: nightStatus(now), slos: nightSLOs(now), actions: nightActions(now)}
	g.gates, g.past = runs{list: nightCanaries(now)}, even{g}
	return g
}

// tell appends what happened that night to the journal; the guard is shown already.
func (g *guard) tell(now time.Time) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	orders := g.slos[0].Verdict
	var events []gatewarden.Event
	happened := func(e gatewarden.Event) { events = append(events, e) }
	happened(gatewarden.Event{At: ago(9 * time.Minute), Type: gatewarden.EventSource, Name: "jaeger", State: "blind", Reason: "it has delivered nothing for 1m (the limit is 1m)"})
	happened(gatewarden.Event{At: ago(8 * time.Minute), Type: gatewarden.EventDrift, Name: gatewarden.DriftName, State: "breach", Severity: "ticket", Reason: g.status.Drift.Reason, Drift: g.status.Drift})
	happened(gatewarden.Event{At: ago(7 * time.Minute), Type: gatewarden.EventAlert, Name: "HostDown", State: gatewarden.AlertFiring, Reason: "a host of the database does not answer", Alert: &gatewarden.Alert{
		Fingerprint: "5f3a9c21d0e4b788", Labels: map[string]string{"alertname": "HostDown", "host": "db-2"}, Summary: "a host of the database does not answer", Firing: true, StartsAt: ago(7 * time.Minute),
	}})
	happened(gatewarden.Event{At: ago(6 * time.Minute), Type: gatewarden.EventSLO, Name: "orders-availability", State: "breach", Severity: "outage", Reason: "40.1 % of 985 requests failed in the last 5s; the outage line is at 10 %", SLO: orders.SLO})
	happened(gatewarden.Event{At: ago(5 * time.Minute), Type: gatewarden.EventSuspect, Name: "orders-availability", State: "payments", Severity: "outage", Reason: "the trouble is in payments: 41 % of its spans fail, 0.2 % before"})
	limited := g.actions[0]
	for i, value := range []int{180, 120, 84, 96, 101} {
		a := limited
		a.Limit = &gatewarden.Limit{Value: value, Since: ago(time.Duration(300-60*i) * time.Second)}
		happened(gatewarden.Event{At: a.Limit.Since, Type: gatewarden.EventAction, Name: a.ID, State: "applied", Reason: fmt.Sprintf("the limit goes to %d requests/s", value), Action: &a})
	}
	hidden := g.actions[1]
	happened(gatewarden.Event{At: ago(4 * time.Minute), Type: gatewarden.EventAction, Name: hidden.ID, State: "unverified", Reason: "of 212 requests to recommendations in 16s the plugin answered none", Action: &hidden})
	happened(gatewarden.Event{At: ago(3 * time.Minute), Type: gatewarden.EventSource, Name: "log:inventory", State: "incomplete", Reason: g.status.Completeness.Services[0].Why})
	slices.SortStableFunc(events, func(a, b gatewarden.Event) int { return a.At.Compare(b.At) })
	for _, e := range events {
		g.happen(e)
	}
}

func nightStatus(now time.Time) api.Status {
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	whole, reached, not := 0.9994, true, false
	const differ = "the nodes are of different versions: 3.8.0 (kong-2:8001), 3.9.1 (kong-1:8001); and 1 more"
	return api.Status{
		Version: "devel", StartedAt: *ago(40 * time.Hour), Config: api.ConfigStatus{File: "gatewarden.yaml", LoadedAt: *ago(5 * time.Hour)}, Series: 31,
		Sources: []api.Source{
			{Name: "httplog", Kind: "httplog", Records: 48_120_331, Rate: 3120.4, Duplicates: 1204, Dropped: 17, Errors: 3, LastRecord: ago(300 * time.Millisecond), LagSeconds: 0.42, Completeness: &whole},
			{Name: "jaeger", Kind: "jaeger", Records: 90_112, LastRecord: ago(10 * time.Minute), LagSeconds: 9, Silent: true},
			{Name: "kongmetrics", Kind: "kongmetrics"},
			{Name: "prometheus", Kind: "prometheus", Records: 6_100, LastRecord: ago(4 * time.Minute), LagSeconds: 31, Silent: true},
		},
		Guards: []api.GuardStatus{
			{Name: "guard-1", API: "http://guard-1:8080", Version: "devel", Up: true, HeardAt: now},
			{Name: "guard-2", API: "http://guard-2:8080", Version: "devel", Leads: true, Up: true, HeardAt: now},
			{Name: "guard-3", API: "http://guard-3:8080", Version: "devel", HeardAt: *ago(4 * time.Minute)},
		},
		Completeness: &api.Completeness{
			From: *ago(10 * time.Minute), To: now, Limit: 0.95, Whole: true, All: api.ServiceCompleteness{Counted: 301_222, Logged: 297_010, Ratio: 0.986},
			Services: []api.ServiceCompleteness{
				{Service: "inventory", Counted: 12_000, Logged: 9_100, Ratio: 0.758, Lacking: true, Why: "of 12000 requests to inventory that Kong counted in 10m, the log brought 9100 (75.8 %, the limit is 95 %)"},
				{Service: "orders", Counted: 240_110, Logged: 240_001, Ratio: 0.9995},
			},
		},
		Nodes: []gatewarden.Node{
			{Address: "kong-1:8001", ID: "1", Version: "3.9.1", At: *ago(2 * time.Second), Datastore: &reached, Targets: []gatewarden.TargetHealth{{Upstream: "orders", Target: "10.0.0.1:8080", State: gatewarden.TargetHealthy}}},
			{Address: "kong-2:8001", ID: "2", Version: "3.8.0", At: *ago(2 * time.Second), Datastore: &reached, Targets: []gatewarden.TargetHealth{{Upstream: "orders", Target: "10.0.0.7:8080", State: gatewarden.TargetUnhealthy}}},
			{Address: "kong-3:8001", ID: "3", Version: "3.9.1", At: *ago(3 * time.Minute), Datastore: &not, Problem: "no answer within 5s"},
		},
		Drift: &gatewarden.Drift{At: now, State: gatewarden.Breach, Since: ago(8 * time.Minute), Reason: differ, Findings: []gatewarden.DriftFinding{
			{Kind: gatewarden.DriftVersion, Subject: "kong-2:8001", Since: *ago(9 * time.Minute), Counts: true, Reason: "the nodes are of different versions: 3.8.0 (kong-2:8001), 3.9.1 (kong-1:8001)"},
			{Kind: gatewarden.DriftEntities, Subject: "route orders-list", Since: *ago(8 * time.Minute), Counts: true, Reason: "the route orders-list is gone, and the action protect-orders relies on it"},
			{Kind: gatewarden.DriftTargets, Subject: "orders/10.0.0.7:8080", Since: *ago(20 * time.Second), Reason: "a target of orders is unhealthy: 10.0.0.7:8080 (kong-2:8001)"},
		}},
	}
}

func nightSLOs(now time.Time) []api.SLO {
	since := now.Add(-6 * time.Minute)
	orders := healthy("orders-availability")
	orders.Series.Service, orders.Sources, orders.OnOutage = "orders", []string{"httplog"}, []string{"protect-orders"}
	orders.Verdict.State, orders.Verdict.Severity = gatewarden.Breach, gatewarden.SeverityOutage
	orders.Verdict.Reason = "39.8 % of 1,004 requests failed in the last 5s; the outage line is at 10 %; the trouble is in payments: 41 % of its spans fail, 0.2 % before"
	orders.Verdict.SLO.Count, orders.Verdict.SLO.Budget, orders.Verdict.SLO.SLI = gatewarden.Count{Good: 8_101_220, Bad: 5_104, Coverage: 0.97}, 0.37, 0.99937
	pair := &orders.Verdict.SLO.Alerts[0]
	pair.LongBurn, pair.ShortBurn = 41.3, 398
	orders.Verdict.SLO.Alerts = append(orders.Verdict.SLO.Alerts, gatewarden.AlertEvidence{
		Severity: gatewarden.SeverityOutage, Firing: true, Since: &since, Short: gatewarden.Duration(5 * time.Second), ShortCount: gatewarden.Count{Good: 604, Bad: 400}, Ratio: 0.1, LogEvidence: -3,
	})
	payments := healthy("payments-availability")
	payments.Series.Service, payments.Sources = "payments", []string{"httplog"}
	spans := healthy("stock-lookup")
	spans.Series, spans.SLI, spans.Sources = gatewarden.Series{Service: "inventory", Signal: gatewarden.SignalTraces}, "latency:request<=200ms", []string{"jaeger"}
	query := healthy("checkout-total")
	query.Series, query.Sources = gatewarden.Series{Signal: "prometheus:00c0ffee00c0ffee"}, []string{"prometheus"}
	inventory := healthy("inventory-availability")
	inventory.Series.Service, inventory.Sources = "inventory", []string{"httplog"}
	for s, why := range map[*api.SLO]string{
		&spans: "can't judge: no source has delivered a span for 10m (the limit is 1m)", &query: "can't judge: prometheus does not answer",
		&inventory: "can't judge: of 12000 requests to inventory that Kong counted in 10m, the log brought 9100 (75.8 %, the limit is 95 %)",
	} {
		s.Verdict.State, s.Verdict.Reason = gatewarden.Inconclusive, why
	}
	return []api.SLO{orders, payments, inventory, spans, query}
}

func nightActions(now time.Time) []gatewarden.Action {
	at := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	lease := now.Add(9 * time.Minute)
	trigger := gatewarden.Trigger{Kind: gatewarden.EventSLO, Name: "orders-availability", Severity: gatewarden.SeverityOutage, Since: *at(6 * time.Minute), Reason: "40.1 % of 985 requests failed in the last 5s; the outage line is at 10 %"}
	action := func(step int, spec gatewarden.Step, status gatewarden.ActionStatus, change string) gatewarden.Action {
		return gatewarden.Action{
			ID: fmt.Sprint("protect-orders-5f3a9c21d0-", step), Policy: "protect-orders", Ladder: "protect-orders-5f3a9c21d0", Step: step, Spec: spec, Trigger: trigger, Mode: gatewarden.ModeEnforce,
			Status: status, PlannedAt: *at(6 * time.Minute), StartedAt: at(6 * time.Minute), AppliedAt: at(6 * time.Minute), LeaseUntil: &lease, Change: change, Undo: "curl -X DELETE http://kong:8001/plugins/…",
		}
	}
	limit := action(1, gatewarden.Step{Kind: gatewarden.StepAdaptive, Adaptive: &gatewarden.AdaptiveStep{SLO: "orders-availability", Service: "orders", Floor: 20, Ceiling: 200}}, gatewarden.ActionApplied,
		"plugin rate-limiting on service orders: added, 180 requests/s to begin with")
	limit.Limit = &gatewarden.Limit{Value: 101, Before: 96, Since: *at(time.Minute)}
	hidden := action(2, gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: map[string]any{"status_code": 503}}}, gatewarden.ActionUnverified,
		"plugin request-termination on service recommendations: added")
	told := action(1, gatewarden.Step{Kind: gatewarden.StepSlack}, gatewarden.ActionApplied, "posted to the channel")
	told.ID, told.Policy, told.Ladder = "tell-team-77aa01b2c3-1", "tell-team", "tell-team-77aa01b2c3"
	told.Trigger = gatewarden.Trigger{Kind: gatewarden.EventDrift, Name: gatewarden.DriftName, Severity: gatewarden.SeverityTicket, Since: *at(8 * time.Minute), Reason: "the nodes are of different versions"}
	return []gatewarden.Action{limit, hidden, told}
}

func nightCanaries(now time.Time) []api.Canary {
	canary := func(name, why string, absolute bool) api.Canary {
		rate := 0.0
		v := &gatewarden.CanaryVerdict{
			At: now, Start: now.Add(-4 * time.Minute), Absolute: absolute, Needed: 2, PassNeeded: 1.3, Evidence: 0.4,
			Canary: gatewarden.TrackCounts{Requests: 812, Failures: 6, Episodes: 6, Ratio: 0.0074, P50: gatewarden.Duration(24 * time.Millisecond), P99: gatewarden.Duration(90 * time.Millisecond)},
			Checks: []gatewarden.CheckEvidence{{Name: "errors", Weight: 1, Evidence: 0.4, Blocks: 40, Block: gatewarden.Duration(time.Second)}},
		}
		if !absolute {
			rate = 68
			v.Baseline = gatewarden.TrackCounts{Requests: 16_300, Failures: 31, Episodes: 30, Ratio: 0.0019, P50: gatewarden.Duration(23 * time.Millisecond), P99: gatewarden.Duration(80 * time.Millisecond)}
		}
		k := api.Canary{
			Name: name, Series: gatewarden.Series{Service: name}, Baseline: api.Track{Selector: "target_tag: version:v1", Requests: v.Baseline.Requests, Failures: v.Baseline.Failures, Rate: rate},
			Canary:     api.Track{Selector: "target_tag: version:v2", Requests: 812, Failures: 6, Rate: 3.4, Downstream: []api.Downstream{{Service: name, Calls: 812, Failed: 6}, {Service: "payments", Calls: 800, Failed: 5}}},
			FalseAlarm: 0.01, OnInconclusive: gatewarden.Hold,
			Run: &gatewarden.Run{ID: name + "-20261122-030001-wv", Canary: name, State: gatewarden.RunRunning, Version: 7, Reason: why, By: "jenkins", StartedAt: now.Add(-4 * time.Minute), Deadline: now.Add(26 * time.Minute), Verdict: v},
		}
		return k
	}
	return []api.Canary{
		canary("recommendations", "not decided yet: 0.74 % of the canary's 812 requests failed, the limit is 2 %", true),
		canary("inventory", "not decided yet: 0.74 % of the canary's 812 requests failed, the baseline's 0.19 %; no answer until the log is whole: of 12000 requests to inventory that Kong counted in 10m, the log brought 9100 (75.8 %, the limit is 95 %)", false),
	}
}

// What is looked for at three in the morning stands where it is looked for.
func TestWhatIsUnusualIsShownWhereOneLooks(t *testing.T) {
	b := open(t, 1400, 900)
	now := time.Now()
	g := night(now)
	url, _ := g.show(t)
	g.tell(now)
	b.visit(url)
	says := func(hash, where, text string) {
		t.Helper()
		b.eval(fmt.Sprintf("if (location.hash !== %q) location.hash = %q", hash, hash), nil)
		b.await(fmt.Sprintf("%s says in %s: %s", hash, where, text), fmt.Sprintf(`[...document.querySelectorAll(%q)].some(e => !e.closest(".unseen") && e.innerText.replace(/\s+/g, " ").includes(%q))`, where, text))
	}
	says("#/", ".now .card.bad", "The trouble is in payments: 41 % of its spans fail, 0.2 % before. SLOs of it: payments-availability ✓healthy")
	says("#/", ".now .card", "No answer until it is whole for inventory.")
	says("#/", ".now .card", "the nodes are of different versions: 3.8.0 (kong-2:8001), 3.9.1 (kong-1:8001); and 1 more, since 8 min")
	says("#/", ".now .card", "Nothing can be said of stock-lookup.")
	says("#/", ".now .card", "Nothing can be said of checkout-total.")
	says("#/", ".now .card", "incomplete the log of inventory")
	says("#/", ".now .card", "101 requests/s let through, 96 before")
	says("#/", ".now .card.warn", "It is in place, but the traffic does not show it")
	says("#/", ".slo-row", "checkout-totalPromQL")
	says("#/", ".slo-row", "stock-lookupspans")
	says("#/slos/orders-availability", ".suspect", "The trouble is in payments")
	says("#/slos/orders-availability", ".event", "→suspect outage payments behind orders-availability")
	says("#/slos/stock-lookup", "main", "they come by jaeger ◌silent")
	says("#/slos/checkout-total", "main", "Its events are counted in Prometheus: whose they were is not known here.")
	says("#/actions", ".steps li", "floor 20 ceiling 200")
	says("#/actions", ".ladder h2", "tell-team for drift")
	says("#/actions/protect-orders-5f3a9c21d0-1", ".chart", "101 requests a second now; between 84 and 180 so far, 4 changes")
	says("#/canaries", ".run-card", "Judged by itself. The baseline has no traffic")
	says("#/canaries/inventory", ".held", "It waits for the log: of 12000 requests")
	says("#/canaries/inventory", ".track", "payments failed 0.625 % of 800 calls")
	says("#/sources", "main", "kongmetrics ✓seeing")
	says("#/sources", "main tr", "48,120,331 3,120 ")
	says("#/sources", "main tr", " 1,204 17 3 ")
	says("#/sources", ".problem", "jaeger is silent.")
	says("#/sources", "main tr.firing", "kong-3:8001")
	says("#/sources", "main tr.firing", "the route orders-list is gone, and the action protect-orders relies on it")
	says("#/sources", "main", "guard-2 ✓up leads: it judges and acts")
	says("#/sources", "main tr.firing", "guard-3 ✕gone")
	says("#/timeline", ".event", "HostDown")
	says("#/timeline", ".event", "✕breach ticket Kong's nodes")
	b.eval("location.hash = '#/'", nil)
	b.press(".now .card.warn:has(.limit), .now .card.note:has(.limit)", "Take back")
	confirm(b, "added, 180 requests/s", "Take it back")
	if got := fmt.Sprint(g.orders); got != "[revert protect-orders-5f3a9c21d0-1ada]" {
		t.Errorf("the orders are %s", got)
	}
	if bad := b.complaints(); bad != nil {
		t.Errorf("the browser complains: %s", bad)
	}
}
