package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
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
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

// late is a source that knows that it is.
type late time.Duration

func (late) Run(context.Context) error { return nil }
func (l late) Lag() time.Duration      { return time.Duration(l) }

// With a log that comes by way of Elasticsearch each second is over before the first of its
// records comes: no canary was ever judged. What the sources are is known only when the guard
// has taken up its runs, and the history of a baseline may be of a life with others.
func TestSecondsStayOpenForTheLatestSource(t *testing.T) {
	direct, late17 := []time.Duration{0}, []time.Duration{17 * time.Second}
	for name, c := range map[string]struct {
		before, lags []time.Duration // in a life before, and in this one
		after        time.Duration   // from the start to that of the run
		want         gatewarden.State
	}{
		"a log that comes directly":        {nil, direct, 2 * time.Minute, gatewarden.Inconclusive},
		"a log that comes late":            {nil, late17, 2 * time.Minute, gatewarden.Breach},
		"beside one that does not":         {nil, []time.Duration{0, 17 * time.Second}, 2 * time.Minute, gatewarden.Breach},
		"one that comes far too late":      {nil, []time.Duration{time.Hour}, 2 * time.Minute, gatewarden.Breach},
		"one that came directly until now": {direct, late17, 2 * time.Minute, gatewarden.Breach},
		"one that came late until now":     {late17, direct, 2 * time.Minute, gatewarden.Inconclusive},
		"one that comes as late as it did": {late17, late17, 2 * time.Minute, gatewarden.Breach},
		"when a run is asked for at once":  {nil, late17, 0, gatewarden.Breach},
	} {
		t.Run(name, func(t *testing.T) {
			w := lateLog{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), kept: drawer{}}
			if c.before != nil {
				w.boot(c.before)
				w.pass(5 * time.Minute)
			}
			w.boot(c.lags)
			w.pass(c.after)
			run, _, err := w.book.Start(t.Context(), w.now, gates.Request{Canary: "orders", By: "ada"})
			if err != nil {
				t.Fatal(err)
			}
			w.pass(10 * time.Minute)
			v, err := w.book.Run(run.ID)
			if err != nil || v.Verdict.State != c.want {
				t.Fatalf("%s: %s, want %s, %v", v.State, v.Reason, c.want, err)
			}
			if late := strings.Contains(v.Reason, "its records come too late"); late != (c.want == gatewarden.Inconclusive) {
				t.Errorf("it says %q", v.Reason)
			}
			if v.Verdict.State == gatewarden.Breach && c.before == nil && v.Verdict.Late > 0 {
				t.Errorf("%d records came too late, those of the baseline's past among them", v.Verdict.Late)
			}
		})
	}
}

// forgotten is a log that nobody reads again.
type forgotten struct{ noMessages }

func (forgotten) Append(context.Context, []byte) (uint64, error) { return 1, nil }
func (forgotten) Trim(context.Context, uint64) error             { return nil }

// lateLog is a book of a loop whose records are 17 seconds old when they come. The canary's
// all fail.
type lateLog struct {
	t    *testing.T
	now  time.Time
	kept drawer
	book *gates.Book
}

// boot starts it as a term does: its sources come after its runs.
func (w *lateLog) boot(lags []time.Duration) {
	w.t.Helper()
	reg := prometheus.NewRegistry()
	s := store.New(store.Config{}, reg)
	in := newIntake(s, time.Now, time.Minute, reg)
	l, _, err := newLoop(w.t.Context(), parts{
		rules: loadText(w.t, canaryRules("baseline: {route: stable}\ncanary: {route: next}")),
		store: s, intake: in, journal: journal.NewMemory(), started: w.now, registry: reg,
		gates: gates.Config{Runs: w.kept, Log: forgotten{}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, lag := range lags {
		name := fmt.Sprint("log-", i)
		in.expect(name, "httplog", w.now)
		in.asks(name, late(lag))
	}
	in.expect("jaeger", "jaeger", w.now)
	in.asks("jaeger", late(time.Minute)) // of spans, which no canary waits for
	w.book = l.runs
}

// pass lets time pass, at 40 requests a second.
func (w *lateLog) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Second) {
		b := w.book.Batch(w.now)
		for i := range 40 {
			r := gatewarden.Record{
				At: w.now.Add(-17 * time.Second), Service: "orders", Route: "stable", Status: 200, Weight: 1,
				Latency: gatewarden.Latency{Request: 10 * time.Millisecond},
			}
			if i%2 == 1 {
				r.Status, r.Route = 500, "next"
			}
			b.Add(&r)
		}
		if err := errors.Join(b.Commit(w.t.Context()), w.book.Tick(w.t.Context(), w.now), w.book.Keep(w.t.Context(), w.now)); err != nil {
			w.t.Fatal(err)
		}
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

// What Kong has kept comes all at once when somebody takes its log: a minute of 30 requests a
// second, two seconds after the guard began, was planned for as a service with 900.
func TestAPlanIsForTheTrafficThatWasWatched(t *testing.T) {
	for sentence, c := range map[string]struct {
		watched time.Duration // until noon
		want    float64
	}{
		"a guard that has just begun":     {2 * time.Second, 30},
		"one that has watched a minute":   {time.Minute, 30},
		"one that has watched for longer": {time.Hour, 60 * 30.0 / 600},
		"one that has watched nothing":    {0, 30},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := store.New(store.Config{}, prometheus.NewRegistry())
			var records []gatewarden.Record
			for i := range 60 * 30 {
				records = append(records, gatewarden.Record{At: noon.Add(-time.Minute + time.Duration(i)*time.Second/30), Service: "orders", Status: 200, Weight: 1})
			}
			s.Add(records, noon, nil)
			s.Watched(noon.Add(-c.watched), noon)
			p := plan(&gatewarden.Canary{Series: gatewarden.Series{Service: "orders"}, Deadline: time.Hour}, s, 0.1, noon)
			if math.Abs(p.Rate-c.want) > 0.01 {
				t.Errorf("it is planned for %g requests a second, want %g", p.Rate, c.want)
			}
		})
	}
}
