package rules

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewarden/gatewarden"
)

// nearly takes what subtraction leaves of a ratio for the ratio.
var nearly = cmpopts.EquateApprox(0, 1e-9)

func TestACanaryIsLimitedByTheSLOsOfItsRequests(t *testing.T) {
	const slos = `
slos:
  - {name: strict, service: orders, objective: 99.9, sli: {availability: {}}}
  - {name: loose, service: orders, objective: 99, sli: {availability: {}}}
  - {name: fast, service: orders, objective: 95, sli: {latency: {threshold: 300ms}}}
  - {name: upstream, service: orders, objective: 99, sli: {latency: {threshold: 100ms, of: upstream}}}
  - {name: list, service: orders, route: list, objective: 97, sli: {availability: {}}}
  - {name: gateway, service: "*", objective: 90, sli: {availability: {}}}
  - {name: minutes, service: orders, objective: 99.95, budgeting: {timeslices: {slice: 1m, objective: 98}}, sli: {availability: {}}}
  - {name: slow-minutes, service: payments, objective: 99.9, budgeting: {timeslices: {slice: 1m, objective: 96}}, sli: {latency: {threshold: 200ms}}}
  - {name: traced, service: orders, objective: 99.99, sli: {traces: {}}}
`
	for sentence, c := range map[string]struct {
		canary string
		want   *gatewarden.CanaryLimits
	}{
		"by the strictest of each kind": {
			oneCanary(""),
			&gatewarden.CanaryLimits{MaxErrors: 0.001, MaxLatency: 300 * time.Millisecond, MaxSlow: 0.05},
		},
		"by those of its route before those of its service": {
			oneCanary(", route: list"),
			&gatewarden.CanaryLimits{MaxErrors: 0.03, MaxLatency: 300 * time.Millisecond, MaxSlow: 0.05},
		},
		"by those of the baseline's service": {
			"canaries: [{name: c, baseline: {service: orders}, canary: {service: orders-v2}, on_fail: []}]\n",
			&gatewarden.CanaryLimits{MaxErrors: 0.001, MaxLatency: 300 * time.Millisecond, MaxSlow: 0.05},
		},
		"in what it is checked for": {
			oneCanary(", checks: [latency]"),
			&gatewarden.CanaryLimits{MaxLatency: 300 * time.Millisecond, MaxSlow: 0.05},
		},
		"by what a good slice may have": {
			"canaries: [{name: c, service: payments, baseline: {target: \"10.0.0.1:80\"}, canary: {target: \"10.0.0.2:80\"}, on_fail: []}]\n",
			&gatewarden.CanaryLimits{MaxLatency: 200 * time.Millisecond, MaxSlow: 0.04},
		},
		"not by those of other requests": {
			"canaries: [{name: c, service: inventory, baseline: {target: \"10.0.0.1:80\"}, canary: {target: \"10.0.0.2:80\"}, on_fail: []}]\n",
			nil,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			rules := loadText(t, slos+c.canary)
			if diff := cmp.Diff(c.want, rules.Canaries[0].Limits, nearly); diff != "" {
				t.Errorf("limits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnotherObjectiveIsAnotherLimit(t *testing.T) {
	rules := loadText(t, oneSLO("a")+oneCanary(""))
	if err := rules.Override("slo.objective", "99"); err != nil {
		t.Fatal(err)
	}
	if l := rules.Canaries[0].Limits; l == nil || l.MaxErrors < 0.0099 {
		t.Errorf("limits after the override: %+v", l)
	}
}
