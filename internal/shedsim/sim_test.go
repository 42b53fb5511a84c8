package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// worth is what a strategy comes to with some seeds.
func worth(t *testing.T, s *scenario, how strategy, runs int) []figures {
	t.Helper()
	all, err := repeat(t.Context(), s, how, 101, runs)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// short cuts a scenario to so much of its overload, and to so much of what follows.
func short(key string, overload, after time.Duration) *scenario {
	s := find(key)[0]
	load := s.load
	s.to, s.length = s.from+overload, s.from+overload+after
	s.load = func(at time.Duration) float64 {
		if at >= s.to {
			return 0.5
		}
		return load(at)
	}
	return s
}

// The claims of the table in docs/adaptive.md, on seeds of their own.
func TestAnAdaptiveLimitFindsTheCapacityWithinHalfAMinute(t *testing.T) {
	for key, c := range map[string]struct {
		runs   int
		within time.Duration
	}{
		"sale":   {20, 30 * time.Second},
		"quiet":  {2, 30 * time.Second},
		"ramp":   {2, 30 * time.Second},
		"strict": {2, 20 * time.Second},
		"deep":   {2, 40 * time.Second}, // the queue is as long as 10 s, and takes that to drain
		"nodes":  {2, 40 * time.Second}, // Kong takes 10 s for each change
		"half":   {2, 40 * time.Second},
	} {
		t.Run(key, func(t *testing.T) {
			for i, f := range worth(t, short(key, 80*time.Second, 0), strategy{adaptive: true}, c.runs) {
				if f.converged > c.within || f.rest < enough {
					t.Errorf("run %d: it finds the capacity within %s, and goodput after 30 s is %.1f %% of it", i, span(f.converged), 100*f.rest)
				}
			}
		})
	}
}

func TestNoneOrAFixedLimitThatIsTooHighCollapses(t *testing.T) {
	s := short("sale", time.Minute, 0)
	for _, how := range strategies()[:2] {
		if all := worth(t, s, how, 1); all[0].rest > 0.1 {
			t.Errorf("%s: goodput %.0f %%, it should collapse", how.name, 100*all[0].rest)
		}
	}
	if fixed := worth(t, short("half", 40*time.Second, 0), strategy{fixed: 0.95}, 1); fixed[0].rest > 0.1 {
		t.Errorf("goodput of a limit at 95 %% of what there was: %.0f %%, it should collapse", 100*fixed[0].rest)
	}
}

func TestAnAdaptiveLimitLetsGoWhenTheLoadFalls(t *testing.T) {
	for _, f := range worth(t, short("sale", 60*time.Second, 100*time.Second), strategy{adaptive: true}, 2) {
		// A minute of health, after the SLO's outage is over and nothing is kept back.
		if f.freed > 90*time.Second {
			t.Errorf("it lets go %s after the overload", span(f.freed))
		}
		if f.writes > 15 {
			t.Errorf("%d writes to the Admin API in 160 s", f.writes)
		}
	}
}

func TestAServiceThatRecoversGetsItsCapacityBack(t *testing.T) {
	for i, f := range worth(t, short("heals", 100*time.Second, 0), strategy{adaptive: true}, 2) {
		if f.converged > 75*time.Second {
			t.Errorf("run %d: 90 %% of what it can do again is let through %s after it can", i, span(f.converged))
		}
	}
}

// The remedy must not feed the alarm: neither a 429 nor a 503 of the guard's own is a bad
// event, however many there are and whatever the SLI says of them.
func TestTheGuardsOwnRefusalsNeverRaiseABurnRate(t *testing.T) {
	for name, steps := range map[string][]gatewarden.Step{
		"429 of an adaptive limit": {{Kind: gatewarden.StepAdaptive, Adaptive: &gatewarden.AdaptiveStep{SLO: objective, Service: shop, Floor: 1, Ceiling: 5}}},
		"503 of a plugin": {{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{
			Name: "request-termination", Service: shop, Config: map[string]any{"status_code": 503}}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scenario{length: 100 * time.Second, nodes: 1, queued: 400, load: func(time.Duration) float64 { return 0.5 }, steps: steps}
			s.good = func(r *gatewarden.Record) (bool, error) { return r.Status < 400, nil }
			w, err := newWorld(s, strategy{adaptive: true}, 101)
			if err != nil {
				t.Fatal(err)
			}
			refused, last := w.refusals(t, 20*time.Second, 40*time.Second)
			if refused < 1000 {
				t.Errorf("only %d requests were refused", refused)
			}
			if last > 0 {
				t.Errorf("%d bad events after the failures had ended", last)
			}
		})
	}
}

// refusals lets the service fail from an instant to another, and returns how many requests
// the guard refused until the end, and how many bad events there were from 15 s after the
// failures on: what is on its way has arrived by then.
func (w *world) refusals(t *testing.T, from, to time.Duration) (refused int, bad uint64) {
	t.Helper()
	slo := w.slo()
	burn := -1.0
	for at := tickEvery; at <= w.length; at += tickEvery {
		w.clients.broken = at > from && at <= to
		w.clock.run(w.start.Add(at))
		if err := w.guard.tick(context.Background(), w.clock.now); err != nil {
			t.Fatal(err)
		}
		if at <= to+15*time.Second {
			continue
		}
		alert := &w.guard.verdicts[0].SLO.Alerts[0]
		if burn >= 0 && alert.LongBurn > burn+1e-9 {
			t.Errorf("at %s the burn rate rises from %v to %v", at, burn, alert.LongBurn)
		}
		burn = alert.LongBurn
	}
	window := w.guard.store.Window(slo.Series, w.start, w.clock.now)
	return int(window.Shed), w.guard.store.Count(slo.Series, &slo.SLI, w.start.Add(to+15*time.Second), w.clock.now).Bad
}

func TestTheTableIsPrintedWhole(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-only", "half", "-limit", "none", "-runs", "1"}, &out, &out); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 3 || !strings.Contains(lines[2], "| 0 %") {
		t.Errorf("it prints\n%s", out.String())
	}
	out.Reset()
	if err := run(t.Context(), []string{"-only", "half", "-trace"}, &out, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"60 s  goodput", "goes from", "reverted: the plugin is removed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the trace does not say %q", want)
		}
	}
}
