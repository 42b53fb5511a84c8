package rules

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

func TestSLIsOfOtherSignalsCountInSeriesOfTheirOwn(t *testing.T) {
	rules := loadText(t, `
slos:
  - name: a
    service: orders
    objective: 99.9
    sli: {prometheus: {total_query: " all ", error_query: bad, source: prometheus-2}}
  - {name: b, service: orders, objective: 99, sli: {traces: {operation: "GET /orders", threshold: 300ms}}}
  - {name: c, service: "*", objective: 99, sli: {traces: {service: payments, kind: client}}}
`)
	query := gatewarden.Query{Source: "prometheus-2", Total: "all", Error: "bad"}
	type meter struct {
		Series gatewarden.Series
		SLI    gatewarden.SLI
	}
	want := []meter{
		{gatewarden.Series{Signal: query.Signal(), Service: "orders"}, gatewarden.SLI{Query: &query}},
		{
			gatewarden.Series{Signal: "traces", Service: "orders", Route: "GET /orders", Tag: "server"},
			gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: 300 * time.Millisecond, Of: gatewarden.OfRequest},
		},
		{gatewarden.Series{Signal: "traces", Service: "payments", Tag: "client"}, gatewarden.SLI{}},
	}
	var got []meter
	for _, s := range rules.SLOs {
		got = append(got, meter{s.Series, s.SLI})
	}
	if diff := cmp.Diff(want, got, ignoreHolds); diff != "" {
		t.Errorf("meters (-want +got):\n%s", diff)
	}
	other := query
	other.Error = "worse"
	if other.Signal() == query.Signal() {
		t.Error("another query has the same signal")
	}
}

func TestOtherSignalsNeedASource(t *testing.T) {
	rules := loadText(t, `
slos:
  - {name: a, service: orders, objective: 99, sli: {prometheus: {total_query: a, error_query: b}}}
  - {name: b, service: orders, objective: 99, sli: {prometheus: {total_query: a, error_query: b, source: prometheus-3}}}
  - {name: c, service: orders, objective: 99, sli: {traces: {}}}
`)
	config := Defaults()
	config.File = "g.yaml"
	problems := func(kinds ...string) (list []string) {
		config.Sources = nil
		for _, k := range kinds {
			config.Sources = append(config.Sources, Source{Kind: k})
		}
		for _, p := range config.CheckRules(rules) {
			list = append(list, p.String()+" ("+p.Hint+")")
		}
		return list
	}
	none := []string{
		`r.yaml:3:65: error: this slo needs a Prometheus, and the configuration names none (add - prometheus: {url: ...} to the sources of g.yaml)`,
		`r.yaml:4:65: error: this slo needs a Prometheus, and the configuration names none (add - prometheus: {url: ...} to the sources of g.yaml)`,
		`r.yaml:5:61: error: this slo needs spans, and no source brings any (add - otlp: {http: ":4318"}, a zipkin or a jaeger source to the sources of g.yaml)`,
	}
	if diff := cmp.Diff(none, problems("httplog")); diff != "" {
		t.Errorf("without a source (-want +got):\n%s", diff)
	}
	unclear := []string{
		`r.yaml:3:65: error: there are 2 Prometheus sources, and the sli does not say which to ask (add source: prometheus, or prometheus-2 and so on, in the order of the sources)`,
		`r.yaml:4:106: error: there is no Prometheus source "prometheus-3" (these exist: prometheus, prometheus-2)`,
	}
	if diff := cmp.Diff(unclear, problems("prometheus", "zipkin", "prometheus")); diff != "" {
		t.Errorf("with two (-want +got):\n%s", diff)
	}
	if got := problems("prometheus", "prometheus", "prometheus", "otlp"); len(got) != 1 {
		t.Errorf("with three: %q", got)
	}
}

func TestQueriesAreCheckedWhereTheyStand(t *testing.T) {
	rules := loadText(t, `
slos:
  - {name: a, service: orders, objective: 99, sli: {prometheus: {total_query: good, error_query: b}}}
  - {name: b, service: orders, objective: 99, sli: {prometheus: {total_query: good, error_query: b}}}
  - {name: c, service: payments, objective: 99, sli: {prometheus: {total_query: good, error_query: b}}}
  - name: d
    service: payments
    objective: 99
    sli:
      prometheus:
        total_query: good
        good_query: wrong
  - {name: e, service: payments, objective: 99, sli: {availability: {}}}
`)
	problems := rules.CheckQueries(func(q *gatewarden.Query) error {
		if q.Good == "wrong" {
			return gatewarden.Errorf(gatewarden.Invalid, "good_query: it is wrong").WithHint("write it rightly")
		}
		return nil
	})
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%d: %s (%s)", p.Line, p.Message, p.Hint))
	}
	want := []string{
		`5: the slo "a" asks the same, for other requests (give both the same service and route, or none)`,
		`12: good_query: it is wrong (write it rightly)`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
