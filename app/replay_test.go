package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/httplog"
	"github.com/gatewarden/gatewarden/internal/loglines"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/store"
)

const observedRules = `
slos:
  - name: orders
    service: orders
    objective: 99.9
    window: 1d
    sli: {availability: {}}
    on_outage: [drain]
    on_page: [roll-back]
  - name: payments-fast
    service: payments
    objective: 99
    window: 1d
    sli: {latency: {threshold: 300ms}}
    on_ticket: [tell]
  - name: payments-writes
    service: payments
    objective: 99
    window: 1d
    sli: {good: 'status < 500 && latency.request <= 250'}
actions:
  - {name: drain, mode: observe, steps: [{drain: {upstream: orders, target_tag: "version:v2"}}], revert: {after: 1m}}
  - {name: roll-back, mode: observe, steps: [{jenkins: {job: shop/orders-rollback}}]}
  - {name: tell, mode: observe, steps: [{webhook: {url: "http://127.0.0.1:1/hook"}}]}
`

// story is ten minutes of log: an outage of orders, a spell of slow payments.
func story(begin time.Time) []loglines.Line {
	var lines []loglines.Line
	for i := range 10 * 60 * 20 { // 20 requests a second
		second := i / 20
		l := loglines.Line{
			ID: uint64(i), At: begin.Add(time.Duration(i)*50*time.Millisecond + 7*time.Millisecond), Service: "orders", Status: 200, Millis: 5,
		}
		if i%2 == 1 {
			l.Service, l.Millis = "payments", 20+i%90
		}
		switch {
		case second >= 120 && second < 180 && l.Service == "orders" && i%4 == 0:
			l.Status = 503
		case second >= 300 && second < 400 && l.Service == "payments" && i%3 == 0:
			l.Millis = 280 + i%60
		}
		lines = append(lines, l)
	}
	return lines
}

func loadText(t testing.TB, text string) *rules.Rules {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems := rules.LoadRules([]string{file})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

// live runs the loop as App.Run does, on the bubble's clock, and posts each line to
// the http-log endpoint at the instant at which its request completed.
func live(t *testing.T, set *rules.Rules, lines func(begin time.Time) []loglines.Line) []gatewarden.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reg := prometheus.NewRegistry()
	s := store.New(store.Config{KeepDeltas: true}, reg)
	in := newIntake(s, time.Now, time.Minute, reg)
	in.expect("replay", "httplog", time.Now())
	mux := http.NewServeMux()
	if _, err := httplog.New(collector.Env{Name: "replay", Sink: in, Mux: mux, Log: slog.New(slog.DiscardHandler), Metrics: reg}, httplog.DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	j := journal.NewMemory()
	byKind := map[gatewarden.StepKind]actions.Executor{}
	for _, p := range set.Policies {
		byKind[p.Steps[0].Kind] = neverActs{}
	}
	l, _, err := newLoop(ctx, parts{
		rules: set, store: s, intake: in, journal: j, started: time.Now(), registry: reg,
		engine: actions.Config{Policies: set.Policies, Executors: byKind},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &term{App: &App{logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}, loop: l}

	w, done := loglines.NewWriter(), make(chan error, 1)
	story := lines(time.Now())
	for i, line := range story {
		time.Sleep(time.Until(line.At))
		if i == 0 {
			go func() { done <- a.tick(ctx) }()
		}
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodPost, "/ingest/kong", bytes.NewReader(w.Append(nil, line))))
		if rec.Code != http.StatusOK {
			t.Fatalf("line %d was answered %d %s", i, rec.Code, rec.Body)
		}
	}
	// One more tick judges the last second.
	time.Sleep(time.Until(story[len(story)-1].At.Truncate(time.Second).Add(1001 * time.Millisecond)))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	events, err := j.Events(context.Background(), journal.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.engine.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return events
}

// logOf is the log of lines, written as it is read: a rollout's is hundreds of megabytes.
func logOf(lines []loglines.Line) io.Reader {
	return &writtenLog{lines: lines, w: loglines.NewWriter()}
}

type writtenLog struct {
	lines []loglines.Line
	w     *loglines.Writer
	line  []byte // what is left of the line at hand
	all   []byte // the memory it is in
}

func (l *writtenLog) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if len(l.line) == 0 {
			if len(l.lines) == 0 {
				return n, io.EOF
			}
			l.all = append(l.w.Append(l.all[:0], l.lines[0]), '\n')
			l.line, l.lines = l.all, l.lines[1:]
		}
		part := copy(b[n:], l.line)
		n, l.line = n+part, l.line[part:]
	}
	return n, nil
}

// replayed runs the same lines through Replay.
func replayed(t *testing.T, set *rules.Rules, lines []loglines.Line) []gatewarden.Event {
	t.Helper()
	log := logOf(lines)
	var events []gatewarden.Event
	summary, err := Replay(t.Context(), ReplayOptions{
		Rules: set, Inputs: []ReplayInput{{"log", log}}, Logger: slog.New(slog.DiscardHandler),
		Event:  func(e gatewarden.Event) error { events = append(events, e); return nil },
		Broken: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if summary.Records != len(lines) {
		t.Errorf("%d records were replayed, of %d", summary.Records, len(lines))
	}
	return events
}

func jsonLines(t *testing.T, events []gatewarden.Event) []string {
	t.Helper()
	lines := make([]string, len(events))
	for i, e := range events {
		e.At = e.At.UTC()
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = string(b)
	}
	return lines
}

func TestReplayAndLiveTellTheSameByteForByte(t *testing.T) {
	set := loadText(t, observedRules)
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		fromLive := jsonLines(t, live(t, set, story))
		fromReplay := jsonLines(t, replayed(t, set, story(begin)))
		if diff := cmp.Diff(fromLive, fromReplay); diff != "" {
			t.Errorf("(-live +replay):\n%s", diff)
		}
		all := strings.Join(fromLive, "\n")
		for _, want := range []string{
			`"name":"orders","state":"breach","severity":"outage"`, `"name":"orders","state":"breach","severity":"page"`,
			`"name":"orders","state":"healthy","severity":"outage"`, `"name":"payments-fast","state":"breach"`, `"state":"skipped"`,
		} {
			if !strings.Contains(all, want) {
				t.Errorf("the story has no event with %s:\n%s", want, all)
			}
		}
	})
}

func TestReplayMergesTheLogsOfNodes(t *testing.T) {
	set := loadText(t, observedRules)
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	whole := story(begin)
	var nodes [2][]loglines.Line
	for i, l := range whole {
		nodes[i/100%2] = append(nodes[i/100%2], l)
	}
	w := loglines.NewWriter()
	inputs := make([]ReplayInput, 2)
	for i, lines := range nodes {
		var log bytes.Buffer
		for _, l := range lines {
			log.Write(append(w.Append(nil, l), '\n'))
		}
		inputs[i] = ReplayInput{fmt.Sprintf("node%d", i), &log}
	}
	var merged []gatewarden.Event
	_, err := Replay(t.Context(), ReplayOptions{
		Rules: set, Inputs: inputs, Logger: slog.New(slog.DiscardHandler),
		Event:  func(e gatewarden.Event) error { merged = append(merged, e); return nil },
		Broken: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(jsonLines(t, replayed(t, set, whole)), jsonLines(t, merged)); diff != "" {
		t.Errorf("(-one log +two logs):\n%s", diff)
	}
}

// A single record with a wrong date, or a few, must not end the replay of what is behind it;
// and a silence is no wrong date.
func TestReplayDoubtsWhatLeapsAhead(t *testing.T) {
	set := loadText(t, observedRules)
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	healthy := func(id uint64, at time.Time, n int) (lines []loglines.Line) {
		for i := range n {
			lines = append(lines, loglines.Line{ID: id + uint64(i), At: at.Add(time.Duration(i) * 50 * time.Millisecond), Service: "orders", Status: 200, Millis: 5})
		}
		return lines
	}
	failing := func(id uint64, at time.Time, n int) []loglines.Line {
		lines := healthy(id, at, n)
		for i := range lines {
			lines[i].Status = 200 + 303*(i%2)
		}
		return lines
	}
	wrong := func(ahead time.Duration, n int) []loglines.Line { return healthy(1<<40, begin.Add(ahead), n) }
	later := begin.Add(50 * time.Second)
	for name, c := range map[string]struct {
		lines   [][]loglines.Line
		dropped int
		outage  time.Time // about when it is found
	}{
		"one is 400 days ahead": {
			[][]loglines.Line{healthy(1, begin, 1000), wrong(400*24*time.Hour, 1), failing(2000, later, 1000)}, 1, later,
		},
		"the first is": {
			[][]loglines.Line{wrong(400*24*time.Hour, 1), healthy(1, begin, 1000), failing(2000, later, 1000)}, 1, later,
		},
		"the last is": {
			[][]loglines.Line{healthy(1, begin, 1000), failing(2000, later, 1000), wrong(400*24*time.Hour, 1)}, 1, later,
		},
		"some are two hours ahead": {
			[][]loglines.Line{healthy(1, begin, 1000), wrong(2*time.Hour, believed-1), failing(2000, later, 1000)}, believed - 1, later,
		},
		"half an hour ahead is late for the others": {
			[][]loglines.Line{healthy(1, begin, 1000), wrong(30*time.Minute, 1)}, 0, time.Time{},
		},
		"a quiet time passes": {
			[][]loglines.Line{healthy(1, begin, 1000), failing(2000, begin.Add(90*time.Minute), 1000)}, 0, begin.Add(90 * time.Minute),
		},
		"a quiet time passes, and there are few records behind it": {
			[][]loglines.Line{healthy(1, begin, 1000), failing(2000, begin.Add(90*time.Minute), 2)}, 0, time.Time{},
		},
		"there is only one":                {[][]loglines.Line{healthy(1, begin, 1)}, 0, time.Time{}},
		"they come each 70 minutes":        {[][]loglines.Line{healthy(1, begin, 1), healthy(2, begin.Add(70*time.Minute), 1), healthy(3, begin.Add(140*time.Minute), 1)}, 0, time.Time{}},
		"a year passes and is passed over": {[][]loglines.Line{healthy(1, begin, 20), failing(2000, begin.AddDate(1, 0, 0), 1000)}, 0, begin.AddDate(1, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			var outage time.Time
			lines := slices.Concat(c.lines...)
			summary, err := Replay(t.Context(), ReplayOptions{
				Rules: set, Inputs: []ReplayInput{{"log", logOf(lines)}}, Logger: slog.New(slog.DiscardHandler),
				Event: func(e gatewarden.Event) error {
					if e.State == "breach" && e.Severity == "outage" {
						outage = e.At
					}
					return nil
				},
				Broken: func(err error) { t.Error(err) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if summary.Records != len(lines) || summary.Dropped != c.dropped {
				t.Errorf("%d records, %d of them dropped, want %d and %d", summary.Records, summary.Dropped, len(lines), c.dropped)
			}
			if outage.IsZero() != c.outage.IsZero() || outage.Sub(c.outage).Abs() > 20*time.Second {
				t.Errorf("an outage is found at %s, want it at about %s", outage, c.outage)
			}
		})
	}
}

func TestReplaySurvivesWrongClocks(t *testing.T) {
	set := loadText(t, observedRules)
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for sentence, at := range map[string]time.Time{
		"a record from 1970":          time.Unix(1000, 0),
		"a record from an hour ago":   begin.Add(-time.Hour),
		"a record from 2100":          time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		"the last record of the file": begin.Add(time.Hour),
	} {
		t.Run(sentence, func(t *testing.T) {
			lines := append([]loglines.Line{{ID: 1 << 40, At: at, Service: "orders", Status: 500, Millis: 1}}, story(begin)[:200]...)
			replayed(t, set, lines)
		})
	}
}
