package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

const someGuardrails = `
guardrails:
  max_services: 50%
  max_traffic: 0.4
  quiet_hours:
    - {days: [fri, sat], from: "22:00", to: "06:30", zone: UTC, reason: the sale}
    - {from: "00:00", to: "24:00"}
  maintenance:
    - {from: 2026-11-22T01:00:00Z, to: 2026-11-22T03:00:00+01:00, services: [orders], reason: database upgrade}
`

func TestGuardrailsAreReadWhole(t *testing.T) {
	r, ps := loadRules([]*document{parseDocument("a.yaml", []byte(oneSLO("a")), nil), parseDocument("b.yaml", []byte(someGuardrails), nil)})
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	want := gatewarden.Guardrails{
		MaxServices: 0.5, MaxTraffic: 0.4,
		QuietHours: []gatewarden.QuietHours{
			{Days: [7]bool{time.Friday: true, time.Saturday: true}, From: 22 * time.Hour, To: 6*time.Hour + 30*time.Minute, Zone: time.UTC, Reason: "the sale"},
			{Days: [7]bool{true, true, true, true, true, true, true}, To: 24 * time.Hour, Zone: time.Local},
		},
		Maintenance: []gatewarden.Maintenance{{
			From: time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC),
			Services: []string{"orders"}, Reason: "database upgrade",
		}},
	}
	sameZone := cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })
	if diff := cmp.Diff(want, r.Guardrails, sameZone); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestGuardrailsOfTwoFilesAreAnError(t *testing.T) {
	_, ps := loadRules([]*document{parseDocument("a.yaml", []byte(someGuardrails), nil), parseDocument("b.yaml", []byte(someGuardrails), nil)})
	if got := printed(ps); !strings.Contains(got, "b.yaml:3:3: error: there are guardrails already, in a.yaml:3") {
		t.Errorf("problems:\n%s", got)
	}
}
