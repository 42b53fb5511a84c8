package app

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden/analyzers/canary"
)

// Ten times no failures are none, so a plan for a service that never fails must not speak of
// factors: it said that a canary with ten times the errors is never found.
func TestAPlanForAServiceThatNeverFailsSpeaksOfShares(t *testing.T) {
	p := canary.DefaultPolicy()
	planned := func(errors float64) (names []string, times []time.Duration) {
		worseErrors(&p, canary.Traffic{Rate: 40, Share: 0.1, Errors: errors}, func(what string, _ float64, d time.Duration) {
			names, times = append(names, what), append(times, d)
		})
		return names, times
	}
	names, times := planned(0)
	if diff := cmp.Diff([]string{"errors 1 %", "errors 5 %", "errors 20 %"}, names); diff != "" {
		t.Error(diff)
	}
	if !slices.IsSortedFunc(times, func(a, b time.Duration) int { return int(b - a) }) || times[0] > time.Hour || times[2] > 2*time.Minute {
		t.Errorf("1 %%, 5 %% and 20 %% of 4 requests a second are found after %v", times)
	}
	if names, _ := planned(0.001); names[0] != "errors ×2" {
		t.Errorf("where some requests fail a factor says more than %q", names[0])
	}
}
