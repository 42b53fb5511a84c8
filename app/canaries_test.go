package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/canary"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/kongmetrics"
	"github.com/gatewarden/gatewarden/store"
)

// late is a source that knows that it is.
type late time.Duration

func (late) Run(context.Context) error { return nil }
func (l late) Lag() time.Duration      { return time.Duration(l) }

// With a log that comes by way of Elasticsearch each second is over before the first of its
// records comes: no canary was ever judged.
func TestSecondsStayOpenForTheLatestSource(t *testing.T) {
	for name, c := range map[string]struct {
		lags []time.Duration
		want gatewarden.State
	}{
		"a log that comes directly":    {[]time.Duration{0}, gatewarden.Inconclusive},
		"a log that comes late":        {[]time.Duration{17 * time.Second}, gatewarden.Breach},
		"beside one that does not":     {[]time.Duration{0, 17 * time.Second}, gatewarden.Breach},
		"one that comes far too late":  {[]time.Duration{time.Hour}, gatewarden.Breach},
		"spans that come late as well": {[]time.Duration{0}, gatewarden.Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
			in := newIntake(store.New(store.Config{}, prometheus.NewRegistry()), time.Now, time.Minute, prometheus.NewRegistry())
			for i, lag := range c.lags {
				name := fmt.Sprint("log-", i)
				in.expect(name, "httplog", start)
				in.asks(name, late(lag))
			}
			in.expect("jaeger", "jaeger", start)
			in.asks("jaeger", late(time.Minute))
			j, err := in.newJudge(&loadText(t, canaryRules(byTag)).Canaries[0], start)
			if err != nil {
				t.Fatal(err)
			}
			v := gatewarden.CanaryVerdict{}
			for s := range 10 * 60 {
				at := start.Add(time.Duration(s) * time.Second)
				for i := range 40 { // of 17 seconds ago; the canary's all fail
					track := gatewarden.Track(i % 2)
					j.Add(&gatewarden.Observation{
						At: at.Add(-17 * time.Second), Track: track, Failed: track == gatewarden.TrackCanary, Latency: 10 * time.Millisecond, Weight: 1,
					})
				}
				j.Advance(at)
				if v = j.Verdict(at); v.State != gatewarden.Inconclusive {
					break
				}
			}
			if v.State != c.want {
				t.Errorf("%s: %s, want %s", v.State, v.Reason, c.want)
			}
			if c.want == gatewarden.Inconclusive && !strings.Contains(v.Reason, "its records come too late") {
				t.Errorf("it says %q", v.Reason)
			}
		})
	}
}

// Nor does the check of the log miss what is on its way.
func TestTheCheckOfTheLogWaitsForTheLatestSource(t *testing.T) {
	for lag, want := range map[time.Duration]time.Duration{0: 10 * time.Second, 17 * time.Second: 27 * time.Second} {
		in := newIntake(store.New(store.Config{}, prometheus.NewRegistry()), time.Now, time.Minute, prometheus.NewRegistry())
		now := time.Now().Truncate(time.Second)
		in.expect("log", "elasticsearch", now)
		in.asks("log", late(lag))
		settings := kongmetrics.DefaultSettings()
		settings.Targets = []string{"http://kong:8100/metrics"}
		counters, err := kongmetrics.New(collector.Env{Name: "kongmetrics", Logged: true, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, settings)
		if err != nil {
			t.Fatal(err)
		}
		in.check([]source{{Source: counters}})
		if got := now.Sub(in.gateway.completeness(now).To); got != want {
			t.Errorf("with a lag of %s the log is compared up to %s ago, want %s", lag, got, want)
		}
	}
}

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
