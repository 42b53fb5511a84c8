package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

const someDrift = `
drift:
  grace: 5m
  ignore: [targets, version, targets]
  severity: page
  on_drift: [a]
`

func TestDriftIsReadWhole(t *testing.T) {
	r, ps := loadRules([]*document{
		parseDocument("a.yaml", []byte("actions: [{name: a, steps: [{slack: {url_file: x}}]}]"), nil), parseDocument("b.yaml", []byte(someDrift), nil),
	})
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	want := gatewarden.DriftPolicy{
		Grace: 5 * time.Minute, Ignore: []gatewarden.DriftKind{gatewarden.DriftTargets, gatewarden.DriftVersion},
		Severity: gatewarden.SeverityPage, OnDrift: []string{"a"},
	}
	if diff := cmp.Diff(want, r.Drift); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDriftHasDefaultsWhereTheRulesAreSilent(t *testing.T) {
	r, _ := loadRules([]*document{parseDocument("a.yaml", []byte(oneSLO("a")), nil)})
	if want := (gatewarden.DriftPolicy{Grace: time.Minute, Severity: gatewarden.SeverityTicket}); !cmp.Equal(want, r.Drift) {
		t.Errorf("%+v, want %+v", r.Drift, want)
	}
}

func TestWhatIsWrongWithDriftIsSaid(t *testing.T) {
	for sentence, c := range map[string]struct{ text, want string }{
		"a grace of nothing":          {"drift: {grace: 0s}", "a.yaml:1:16: error: grace must be between 1s and 24h"},
		"an unknown kind":             {"drift: {ignore: [versions]}", `a.yaml:1:18: error: ignore: "versions" is not known here`},
		"an outage":                   {"drift: {severity: outage}", `a.yaml:1:19: error: severity: "outage" is not known here`},
		"everything ignored":          {"drift: {ignore: [configuration, version, plugins, targets, entities]}", "a.yaml:1:17: warning: every kind of drift is ignored"},
		"an action that is not there": {"drift: {on_drift: [x]}", `a.yaml:1:20: error: there is no action "x"`},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, ps := loadRules([]*document{parseDocument("a.yaml", []byte(c.text), nil)})
			if got := printed(ps); !strings.Contains(got, c.want) {
				t.Errorf("problems:\n%s\nwant %s", got, c.want)
			}
		})
	}
	_, ps := loadRules([]*document{parseDocument("a.yaml", []byte("drift: {}"), nil), parseDocument("b.yaml", []byte("drift: {grace: 2m}"), nil)})
	if got := printed(ps); !strings.Contains(got, "b.yaml:1:8: error: drift is there already, in a.yaml:1") {
		t.Errorf("problems of two:\n%s", got)
	}
}

func TestAnActionOnDriftNeedsSomebodyWhoTells(t *testing.T) {
	r, _ := loadRules([]*document{parseDocument("a.yaml", []byte("actions: [{name: a, steps: [{slack: {url_file: x}}]}]\n"+strings.TrimSpace(someDrift)), nil)})
	c := Defaults()
	if got := printed(c.CheckRules(r)); !strings.Contains(got, "nothing ever starts these: nothing tells how Kong's nodes are") {
		t.Errorf("without Kong: %s", got)
	}
	c.Sources = append(c.Sources, Source{Kind: "kongmetrics"})
	if got := c.CheckRules(r); len(got) > 0 {
		t.Errorf("with its metrics: %s", printed(got))
	}
}
