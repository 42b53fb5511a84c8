package app

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/journal"
)

// lateTick lets half a second pass in which a source brings what ended so long ago.
func (w *watcher) lateTick(source string, ago time.Duration, status func(ended time.Time) int) gatewarden.Verdict {
	w.t.Helper()
	w.at = w.at.Add(tickEvery)
	ended := w.at.Add(-ago)
	records := make([]gatewarden.Record, 10)
	for i := range records {
		records[i] = gatewarden.Record{At: ended, Service: "orders", Status: status(ended), Weight: 1}
	}
	if err := w.intake.Accept(w.t.Context(), source, records); err != nil {
		w.t.Fatal(err)
	}
	if err := w.loop.Tick(w.t.Context(), w.at); err != nil {
		w.t.Fatal(err)
	}
	return w.loop.current()[0]
}

// late makes the loop's only log one of Elasticsearch that is so far behind.
func (w *watcher) late(lag time.Duration) {
	delete(w.intake.sources, "httplog")
	w.intake.expect("elasticsearch", "elasticsearch", w.at)
	w.intake.asks("elasticsearch", late(lag))
}

// TestAnOutageIsSeenThroughALateLog has Kong's log come by Elasticsearch alone, beside what is
// no log: outages begin and end as late as that, and not later than by a direct one.
func TestAnOutageIsSeenThroughALateLog(t *testing.T) {
	from, to := noon.Add(3*time.Minute), noon.Add(5*time.Minute) // every request fails
	status := func(ended time.Time) int {
		if !ended.Before(from) && ended.Before(to) {
			return 500
		}
		return 200
	}
	began := map[time.Duration]time.Duration{}
	for _, lag := range []time.Duration{0, 7 * time.Second, 17 * time.Second, 22 * time.Second, 2 * time.Minute} {
		w := newWatcher(t, journal.NewMemory(), noon)
		w.intake.expect("kongmetrics", "kongmetrics", noon)
		source := "httplog"
		if lag > 0 {
			source = "elasticsearch"
			w.late(lag)
		}
		var breach, well time.Time
		for w.at.Before(to.Add(lag + 2*time.Minute)) {
			v := w.lateTick(source, lag+100*time.Millisecond, status)
			switch {
			case v.Fires(gatewarden.SeverityOutage) && breach.IsZero():
				breach = w.at
			case !v.Fires(gatewarden.SeverityOutage) && !breach.IsZero() && well.IsZero():
				well = w.at
			}
		}
		if breach.IsZero() || well.IsZero() {
			t.Errorf("%s late: the outage began at %s and ended at %s", lag, breach, well)
			continue
		}
		began[lag] = breach.Sub(from) - lag
		if began[lag] != began[0] || well.Before(to.Add(lag)) {
			t.Errorf("%s late it is seen %s after it began, and directly %s; it ended at %s", lag, breach.Sub(from), began[0], well)
		}
	}
}

// TestBesideADirectLogNothingIsJudgedLate, nor beside an index that only fills in the past.
func TestBesideADirectLogNothingIsJudgedLate(t *testing.T) {
	for name, c := range map[string]struct {
		sources map[string]collector.Source // by their kinds
		want    time.Duration
	}{
		"Elasticsearch alone":                   {map[string]collector.Source{"elasticsearch": late(17 * time.Second)}, 17 * time.Second},
		"beside Kong's counters and spans":      {map[string]collector.Source{"elasticsearch": late(17 * time.Second), "kongmetrics": late(0), "jaeger": late(time.Minute)}, 17 * time.Second},
		"beside a direct log":                   {map[string]collector.Source{"elasticsearch": late(17 * time.Second), "tcplog": late(0)}, 0},
		"beside an index that is no later":      {map[string]collector.Source{"elasticsearch": late(17 * time.Second), "elasticsearch-2": late(0)}, 0},
		"an index for the past, and counters":   {map[string]collector.Source{"elasticsearch": past{}, "kongmetrics": late(0)}, 0},
		"an index for the past, and a late one": {map[string]collector.Source{"elasticsearch-2": past{}, "elasticsearch": late(9 * time.Second)}, 9 * time.Second},
		"none at all":                           {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatcher(t, journal.NewMemory(), noon)
			clear(w.intake.sources)
			for name, source := range c.sources {
				kind, _, _ := strings.Cut(name, "-")
				w.intake.expect(name, kind, noon)
				w.intake.asks(name, source)
			}
			if got := w.intake.lagOfLog(); got != c.want {
				t.Errorf("it is judged %s late, want %s", got, c.want)
			}
		})
	}
}
