package promquery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// shop is what a Prometheus knows of: events that began long ago, one in ten bad.
type shop struct {
	mu        sync.Mutex
	perSecond float64
	value     func(expr string, at time.Time) (float64, bool) // instead, unless nil
	answer    func(*http.Request) (*http.Response, error)     // instead of any, unless nil
	bare      bool
	present   bool // it knows nothing of the future
	series    int  // how many it answers with, instead of one
	questions int
	widest    time.Duration // step that was asked for
}

const (
	totalQuery = `sum(rate(events_total[{{.window}}]))`
	badQuery   = `sum(rate(bad_total[{{.window}}]))`
)

// grown is the counter of all events at an instant.
func (s *shop) grown(at time.Time) float64 { return s.perSecond * float64(at.Unix()-1_000_000) }

// numbers evaluates what the tests ask.
func (s *shop) numbers(expr string, at time.Time) (float64, bool) {
	if s.value != nil {
		return s.value(expr, at)
	}
	if s.present && at.After(time.Now()) {
		return 0, false
	}
	n := s.grown(at)
	if strings.Contains(expr, "[") {
		d, err := gatewarden.ParseDuration(expr[strings.Index(expr, "[")+1 : strings.Index(expr, "]")])
		if err != nil {
			return 0, false
		}
		n -= s.grown(at.Add(-time.Duration(d)))
		if strings.Contains(expr, "rate(") {
			n /= time.Duration(d).Seconds()
		}
	}
	if strings.Contains(expr, "bad_total") {
		n /= 10
	}
	return n, true
}

func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.questions++
	if s.answer != nil {
		return s.answer(r)
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	number := func(key string) int64 { n, _ := strconv.ParseInt(r.PostForm.Get(key), 10, 64); return n }
	step := number("step")
	s.widest = max(s.widest, time.Duration(step)*time.Second)
	if (number("end")-number("start"))/step > 11000 {
		return says(http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution"}`), nil
	}
	one := map[string]any{"metric": map[string]string{}}
	if s.bare {
		one["metric"] = map[string]string{"__name__": "events_total"}
	}
	var values [][2]any
	for at := number("start"); at <= number("end"); at += step {
		if v, ok := s.numbers(r.PostForm.Get("query"), time.Unix(at, 0)); ok {
			values = append(values, [2]any{at, strconv.FormatFloat(v, 'g', -1, 64)})
		}
	}
	one["values"] = values
	result := slices.Repeat([]any{one}, max(s.series, 1))
	if len(values) == 0 {
		result = []any{}
	}
	body, err := json.Marshal(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}})
	return says(http.StatusOK, string(body)), err
}

func says(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func (s *shop) change(f func(*shop)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// ledger is what the guard keeps: counts, marks, and what is covered.
type ledger struct {
	mu      sync.Mutex
	fails   bool
	good    uint64
	bad     uint64
	seconds map[int64]uint64 // events by their second
	odd     []gatewarden.Record
	marks   map[string][]byte
	covered time.Duration
	upTo    time.Time // where what is covered ends
}

func newLedger() *ledger { return &ledger{marks: map[string][]byte{}, seconds: map[int64]uint64{}} }

func (l *ledger) Load(prefix string) map[string][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string][]byte{}
	for name, value := range l.marks {
		if strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

func (l *ledger) Accept(_ context.Context, _ string, records []gatewarden.Record, values map[string][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails {
		return errors.New("the disk is full")
	}
	for _, r := range records {
		switch {
		case !strings.HasPrefix(r.Signal, "prometheus:") || r.Weight == 0 || r.ID != "":
			l.odd = append(l.odd, r)
		case r.Status == 200:
			l.good += uint64(r.Weight)
		case r.Status == 500:
			l.bad += uint64(r.Weight)
		}
		l.seconds[r.At.Unix()] += uint64(r.Weight)
	}
	for name, value := range values {
		if value == nil {
			delete(l.marks, name)
		} else {
			l.marks[name] = value
		}
	}
	return nil
}

func (l *ledger) Covered(_ *gatewarden.SLO, from, to time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from.Before(l.upTo) {
		from = l.upTo // it is said again after a failure
	}
	l.covered += max(to.Sub(from), 0)
	l.upTo = to
}

// The rest of collector.Past, as the store has it.
func (l *ledger) SLOs() []gatewarden.SLO       { return nil }
func (l *ledger) Since() time.Time             { return time.Time{} }
func (l *ledger) Watched(time.Time, time.Time) {}
func (l *ledger) Resolution(age time.Duration) time.Duration {
	switch {
	case age <= time.Hour:
		return time.Second
	case age <= 10*time.Hour:
		return 30 * time.Second
	case age <= 5*24*time.Hour:
		return 5 * time.Minute
	default:
		return time.Hour
	}
}

// look returns what the ledger has, in step.
func (l *ledger) look() (good, bad uint64, covered time.Duration, upTo time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good, l.bad, l.covered, l.upTo
}

func sloOf(name string, q gatewarden.Query) gatewarden.SLO {
	return gatewarden.SLO{
		Name: name, Series: gatewarden.Series{Signal: q.Signal(), Service: "orders"}, SLI: gatewarden.SLI{Query: &q},
		Window: gatewarden.BudgetWindow{Rolling: 30 * 24 * time.Hour},
	}
}

var usual = gatewarden.Query{Total: totalQuery, Error: badQuery}

type bench struct {
	*Source
	shop   *shop
	ledger *ledger
	mu     sync.Mutex
	slos   []gatewarden.SLO
}

// newBench joins a source, a Prometheus and a ledger. The settings are those of change,
// with steps and windows of a minute so that each event is in one step, and no backfill.
func newBench(t *testing.T, s *shop, l *ledger, q gatewarden.Query, change func(*Settings)) *bench {
	t.Helper()
	settings := DefaultSettings()
	settings.URL, settings.Step, settings.Window, settings.Backfill = "http://prometheus:9090", gatewarden.Duration(time.Minute), gatewarden.Duration(time.Minute), 0
	if change != nil {
		change(&settings)
	}
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	b := &bench{shop: s, ledger: l, slos: []gatewarden.SLO{sloOf("orders", q)}}
	made, err := New(collector.Env{
		Name: "prometheus", Sink: nil, Checkpoints: l, Covered: l.Covered, Past: l, Metrics: prometheus.NewPedanticRegistry(),
		Log: slog.New(slog.DiscardHandler),
		Queries: func() []gatewarden.SLO {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.slos
		},
	}, settings)
	if err != nil {
		t.Fatal(err)
	}
	b.Source = made.(*Source)
	b.client.http = &http.Client{Transport: s}
	return b
}

// begin runs the source, and returns how to stop it.
func (b *bench) begin(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); running.Wait() }
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// check compares what is counted with what happened from an instant on, up to where it
// is covered.
func (b *bench) check(t *testing.T, from time.Time) {
	t.Helper()
	good, bad, covered, upTo := b.ledger.look()
	want := b.shop.grown(upTo) - b.shop.grown(from)
	if covered != upTo.Sub(from) {
		t.Errorf("%s are covered, from %s to %s", covered, from, upTo)
	}
	if math.Abs(float64(good+bad)-want) > 2 || math.Abs(float64(bad)-want/10) > 1 {
		t.Errorf("%d events, %d of them bad, of %.1f", good+bad, bad, want)
	}
	if len(b.ledger.odd) > 0 {
		t.Errorf("odd records: %+v", b.ledger.odd)
	}
}

func TestEveryStepCountsOnce(t *testing.T) {
	for name, c := range map[string]struct {
		query gatewarden.Query
		bare  bool
		rate  float64
	}{
		"rates":               {gatewarden.Query{Total: totalQuery, Error: badQuery}, false, 3},
		"rates below one":     {gatewarden.Query{Total: totalQuery, Error: badQuery}, false, 0.07},
		"increases":           {gatewarden.Query{Total: `sum(increase(events_total[{{.window}}]))`, Error: `sum(increase(bad_total[{{.window}}]))`}, false, 3},
		"a rate, an increase": {gatewarden.Query{Total: totalQuery, Error: `sum(increase(bad_total[{{.window}}]))`}, false, 3},
		"counters":            {gatewarden.Query{Total: `sum(events_total)`, Error: `sum(bad_total)`}, false, 30},
		"bare counters":       {gatewarden.Query{Total: `events_total`, Error: `bad_total`}, true, 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, &shop{perSecond: c.rate, bare: c.bare}, newLedger(), c.query, nil)
				began := time.Now().Truncate(time.Minute)
				stop := b.begin(t)
				pass(20*time.Minute + 50*time.Second)
				stop()
				b.check(t, began)
				if _, _, _, upTo := b.ledger.look(); upTo != began.Add(20*time.Minute) {
					t.Errorf("it is counted up to %s after its begin", upTo.Sub(began))
				}
				if silent, why := b.Silent(b.slos[0].Series, time.Now(), time.Minute); silent {
					t.Errorf("it is silent: %s", why)
				}
			})
		})
	}
}

// What good_query leaves is bad.
func TestGoodEventsAreEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &shop{perSecond: 10}, newLedger(), gatewarden.Query{Total: totalQuery, Good: badQuery}, nil)
		stop := b.begin(t)
		pass(10*time.Minute + 50*time.Second)
		stop()
		if good, bad, _, _ := b.ledger.look(); good != 600 || bad != 5400 {
			t.Errorf("%d good and %d bad", good, bad)
		}
	})
}

// With a window that is longer than a step an event is in several rates, and counts once.
func TestWindowsThatOverlapCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &shop{perSecond: 10}, newLedger(), usual, func(s *Settings) { s.Step = gatewarden.Duration(15 * time.Second) })
		began := time.Now().Truncate(15 * time.Second)
		stop := b.begin(t)
		pass(10 * time.Minute)
		stop()
		b.check(t, began)
	})
}

// A guard that stops, is down, crashes between counting and writing down (the ledger is
// both), and a Prometheus that is away: nothing is lost and nothing doubled.
func TestARestartGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newLedger(), &shop{perSecond: 7}
		b := newBench(t, s, l, usual, nil)
		began := time.Now().Truncate(time.Minute)
		for round := range 6 {
			b = newBench(t, s, l, usual, nil)
			stop := b.begin(t)
			pass(3*time.Minute + 11*time.Second)
			switch round % 3 {
			case 0:
				s.change(func(s *shop) {
					s.answer = func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }
				})
			case 1:
				l.mu.Lock()
				l.fails = true
				l.mu.Unlock()
			}
			pass(4 * time.Minute)
			stop()
			s.change(func(s *shop) { s.answer = nil })
			l.mu.Lock()
			l.fails = false
			l.mu.Unlock()
			pass(time.Duration(round) * 17 * time.Minute)
		}
		stop := b.begin(t)
		pass(3 * time.Minute)
		stop()
		b.check(t, began)
	})
}

// A clock that was ahead, and steps that were passed over because they had nothing yet.
func TestAClockThatWasAheadIsForgotten(t *testing.T) {
	for name, q := range map[string]gatewarden.Query{"rates": usual, "counters": {Total: `sum(events_total)`, Error: `sum(bad_total)`}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, &shop{perSecond: 10, present: true}, newLedger(), q, func(s *Settings) {
					s.Step, s.Window = gatewarden.Duration(15*time.Second), gatewarden.Duration(15*time.Second)
				})
				var ahead atomic.Int64
				b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
				began := time.Now().Truncate(time.Minute)
				stop := b.begin(t)
				pass(5 * time.Minute)
				ahead.Store(int64(time.Hour))
				pass(30 * time.Second)
				ahead.Store(0)
				pass(2 * time.Minute)
				stop()
				b.check(t, began)
				if _, _, _, upTo := b.ledger.look(); time.Since(upTo) > 90*time.Second {
					t.Errorf("two minutes after, it is counted up to %s ago", time.Since(upTo))
				}
			})
		})
	}
}

func TestANewQueryIsFilledInFromHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, q := range map[string]gatewarden.Query{"rates": usual, "counters": {Total: `sum(events_total)`, Error: `sum(bad_total)`}} {
			b := newBench(t, &shop{perSecond: 0.5}, newLedger(), q, func(s *Settings) {
				s.Backfill = gatewarden.Duration(60 * 24 * time.Hour) // more than the SLO looks back
				s.Step = gatewarden.Duration(15 * time.Second)
			})
			began := time.Now().Add(-30 * 24 * time.Hour).Truncate(time.Hour)
			stop := b.begin(t)
			pass(time.Minute)
			stop()
			_, _, covered, upTo := b.ledger.look()
			if late := time.Since(upTo); late > 91*time.Second {
				t.Errorf("%s: after a minute it is %s behind", name, late)
			}
			if from := upTo.Add(-covered); from.Before(began.Add(-time.Hour)) || from.After(began.Add(time.Hour)) {
				t.Errorf("%s: %s are covered, from %s", name, covered, from)
			}
			good, bad, _, _ := b.ledger.look()
			want := b.shop.grown(upTo) - b.shop.grown(upTo.Add(-covered))
			// Where hours give way to quarters of minutes, windows overlap once.
			if sum := float64(good + bad); math.Abs(sum-want) > 120 || math.Abs(float64(bad)-want/10) > 12 {
				t.Errorf("%s: %.0f events and %d bad ones, want %.0f", name, sum, bad, want)
			}
			if b.shop.questions > 60 {
				t.Errorf("%s: it took %d questions", name, b.shop.questions)
			}
			if n := len(b.ledger.seconds); n > 12_000 {
				t.Errorf("%s: history is placed in %d seconds, which is finer than it is kept", name, n)
			}
		}
	})
}

// What is not a number of events counts nothing and covers nothing, and is said.
func TestNoDataIsNeverGoodAndNeverBad(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*shop)
		want   string
	}{
		"no such metric": {func(s *shop) { s.value = func(string, time.Time) (float64, bool) { return 0, false } }, "total_query gives nothing"},
		"no bad one was ever seen": {func(s *shop) {
			s.value = func(expr string, _ time.Time) (float64, bool) { return 3, !strings.Contains(expr, "bad") }
		}, "error_query gives nothing (if that means none, write (...) or vector(0))"},
		"not a number":       {func(s *shop) { s.value = func(string, time.Time) (float64, bool) { return math.NaN(), true } }, "total_query gives no number"},
		"infinite":           {func(s *shop) { s.value = func(string, time.Time) (float64, bool) { return math.Inf(1), true } }, "total_query gives no number"},
		"negative":           {func(s *shop) { s.value = func(string, time.Time) (float64, bool) { return -1, true } }, "total_query gives no number"},
		"beyond all measure": {func(s *shop) { s.value = func(string, time.Time) (float64, bool) { return 1e300, true } }, "total_query gives no number"},
		"more bad ones than all": {func(s *shop) {
			s.value = func(expr string, _ time.Time) (float64, bool) {
				if strings.Contains(expr, "bad") {
					return 5, true
				}
				return 3, true
			}
		}, "error_query gives more events than total_query"},
		"several series": {func(s *shop) { s.series = 3 }, "total_query: it gives 3 series and must give one"},
		"it is down":     {func(s *shop) { s.answer = answers(nil) }, "total_query: no answer: connection refused"},
		"it is starting": {func(s *shop) { s.answer = answers(says(503, "Service Unavailable")) }, "total_query: the answer is 503"},
		"a web page":     {func(s *shop) { s.answer = answers(says(200, "<html>")) }, "a web page"},
		"part of the data": {func(s *shop) {
			s.answer = answers(says(200, `{"status":"success","warnings":["store away"],"data":{"resultType":"matrix","result":[]}}`))
		}, "not all data"},
		"the query is wrong": {func(s *shop) {
			s.answer = answers(says(400, `{"status":"error","errorType":"bad_data","error":"parse error"}`))
		}, "the server refuses the query: bad_data: parse error"},
		"it hangs": {func(s *shop) {
			s.answer = func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
		}, "no answer within 10s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, &shop{perSecond: 3}, newLedger(), usual, nil)
				began := time.Now().Truncate(time.Minute)
				stop := b.begin(t)
				pass(5 * time.Minute)
				b.check(t, began)
				series, limit := b.slos[0].Series, 30*time.Second
				if silent, why := b.Silent(series, time.Now(), limit); silent {
					t.Fatalf("it is silent while all is well: %s", why)
				}
				b.shop.change(c.change)
				good, bad, _, _ := b.ledger.look()
				ill := time.Now()
				for silent := false; !silent; silent, _ = b.Silent(series, time.Now(), limit) {
					if time.Since(ill) > b.Lag()+limit+time.Minute {
						t.Fatalf("%s later nobody has noticed", time.Since(ill))
					}
					pass(time.Second)
				}
				pass(time.Minute)
				if _, why := b.Silent(series, time.Now(), limit); !strings.Contains(why, c.want) {
					t.Errorf("it says %q, want %q", why, c.want)
				}
				if g, n, _, _ := b.ledger.look(); g != good || n != bad {
					t.Errorf("meanwhile %d good and %d bad were counted", g-good, n-bad)
				}
				b.shop.change(func(s *shop) { s.answer, s.value, s.series = nil, nil, 0 })
				pass(3 * time.Minute)
				if silent, why := b.Silent(series, time.Now(), limit); silent {
					t.Errorf("it does not recover: %s", why)
				}
				stop()
				b.check(t, began) // the steps were asked for again
			})
		})
	}
}

func answers(r *http.Response) func(*http.Request) (*http.Response, error) {
	if r == nil {
		return func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }
	}
	body, err := io.ReadAll(r.Body)
	return func(*http.Request) (*http.Response, error) { return says(r.StatusCode, string(body)), err }
}

// What stays away for too long is passed over, and is not covered.
func TestALongGapIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &shop{perSecond: 3}, newLedger(), usual, nil)
		began := time.Now().Truncate(time.Minute)
		gap := began.Add(10 * time.Minute)
		over := gap.Add(20 * time.Minute)
		b.shop.value = func(expr string, at time.Time) (float64, bool) {
			if strings.Contains(expr, "bad") {
				return 0.3, true
			}
			return 3, !at.After(gap) || at.After(over)
		}
		stop := b.begin(t)
		pass(40*time.Minute + 50*time.Second)
		stop()
		good, bad, covered, upTo := b.ledger.look()
		if want := 20 * time.Minute; covered != want || upTo != began.Add(40*time.Minute) || good+bad != 3*20*60 {
			t.Errorf("%s are covered up to %s, with %d events", covered, upTo.Sub(began), good+bad)
		}
		if n := testutil.ToFloat64(b.metrics.steps.WithLabelValues(missing)); n != 20 {
			t.Errorf("%v steps are missing", n)
		}
	})
}

// An idle service is no silent one: no events are no errors either.
func TestNoEventsAreNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &shop{value: func(expr string, _ time.Time) (float64, bool) { return 0, !strings.Contains(expr, "bad") }}, newLedger(), usual, nil)
		stop := b.begin(t)
		pass(10*time.Minute + 50*time.Second)
		stop()
		good, bad, covered, _ := b.ledger.look()
		if silent, why := b.Silent(b.slos[0].Series, time.Now(), time.Minute); silent || good+bad != 0 || covered != 10*time.Minute {
			t.Errorf("silent: %s; %d events, %s covered", why, good+bad, covered)
		}
	})
}

func TestACounterThatBeginsAnew(t *testing.T) {
	at := func(began time.Time) func(string, time.Time) (float64, bool) {
		return func(_ string, at time.Time) (float64, bool) {
			n := 1000 + 60*at.Sub(began).Minutes()
			if at.Sub(began) > 5*time.Minute { // it restarted at 5:00
				n = 60 * (at.Sub(began) - 5*time.Minute).Minutes()
			}
			return n, true
		}
	}
	for name, c := range map[string]struct {
		bare    bool
		total   string
		events  uint64
		covered time.Duration
	}{
		"a bare one counts from 0":                  {true, `events_total`, 600, 10 * time.Minute},
		"of a sum nothing can be said for one step": {false, `sum(events_total)`, 540, 9 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shop{bare: c.bare}
				b := newBench(t, s, newLedger(), gatewarden.Query{Total: c.total, Good: c.total}, nil)
				s.value = at(time.Now().Truncate(time.Minute))
				stop := b.begin(t)
				pass(10*time.Minute + 50*time.Second)
				stop()
				if good, bad, covered, _ := b.ledger.look(); good != c.events || bad != 0 || covered != c.covered {
					t.Errorf("%d good, %d bad, %s covered", good, bad, covered)
				}
			})
		})
	}
}

// One query that hangs or is wrong keeps no other waiting.
func TestQueriesDoNotTouchEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{perSecond: 3}
		b := newBench(t, s, newLedger(), usual, nil)
		hangs := sloOf("hangs", gatewarden.Query{Total: `sum(rate(hangs_total[{{.window}}]))`, Error: badQuery})
		s.answer = func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			if strings.Contains(string(body), "hangs_total") {
				s.mu.Unlock()
				<-r.Context().Done()
				s.mu.Lock()
				return nil, r.Context().Err()
			}
			answer := s.answer
			s.answer = nil
			s.mu.Unlock()
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			resp, err := s.RoundTrip(r)
			s.mu.Lock()
			s.answer = answer
			return resp, err
		}
		b.slos = append(b.slos, hangs)
		began := time.Now().Truncate(time.Minute)
		stop := b.begin(t)
		pass(10*time.Minute + 50*time.Second)
		b.check(t, began)
		if silent, why := b.Silent(hangs.Series, time.Now(), time.Minute); !silent || !strings.Contains(why, "no answer within 10s") {
			t.Errorf("the one that hangs says %q", why)
		}
		stop()
	})
}

// A reload brings queries and takes them away; one that comes again begins anew.
func TestQueriesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &shop{perSecond: 3}, newLedger(), usual, nil)
		set := func(slos ...gatewarden.SLO) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.slos = slos
		}
		one, other := b.slos[0], sloOf("increase", gatewarden.Query{Total: `sum(increase(events_total[{{.window}}]))`, Error: badQuery})
		wrong := sloOf("wrong", gatewarden.Query{Total: `sum(rate(x[5m]))`, Error: badQuery})
		marks := func() []string { return slices.Sorted(maps.Keys(b.ledger.Load(""))) }
		stop := b.begin(t)
		pass(2 * time.Minute)
		set(one, other, wrong)
		pass(2 * time.Minute)
		if want := []string{nameOf("prometheus", one.Series), nameOf("prometheus", other.Series)}; len(marks()) != 2 {
			t.Errorf("marks of %v, want %v", marks(), want)
		}
		if silent, why := b.Silent(wrong.Series, time.Now(), time.Minute); !silent {
			t.Errorf("one that cannot be counted is not silent: %s", why)
		}
		set(other)
		pass(2 * time.Minute)
		if diff := cmp.Diff([]string{nameOf("prometheus", other.Series)}, marks()); diff != "" {
			t.Errorf("marks (-want +got)\n%s", diff)
		}
		if silent, _ := b.Silent(one.Series, time.Now(), time.Minute); !silent {
			t.Error("one that is gone is not silent")
		}
		set(one, other)
		pass(2 * time.Minute)
		if silent, why := b.Silent(one.Series, time.Now(), time.Minute); silent {
			t.Errorf("one that came again is silent: %s", why)
		}
		stop()
	})
}

// A server that wants to be left alone is; others are asked less and less often.
func TestFailuresAreAskedAgainLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &shop{answer: answers(nil)}, newLedger(), usual, nil)
		stop := b.begin(t)
		pass(10 * time.Minute)
		stop()
		if n := b.shop.questions; n < 10 || n > 20 {
			t.Errorf("it was asked %d times in ten minutes", n)
		}
		if n := testutil.ToFloat64(b.metrics.questions.WithLabelValues(failed)); int(n) != b.shop.questions {
			t.Errorf("%v failures are counted", n)
		}
	})
}

func TestMarksThatCannotBeRead(t *testing.T) {
	l := newLedger()
	for name, text := range map[string]string{"nothing": "", "no JSON": "{", "no instant": `{}`, "a rest that is none": `{"until":"2026-11-21T12:00:00Z","rest":{"Good":-5}}`} {
		l.marks["m"] = []byte(text)
		if m, ok := loadMark(l, "m"); ok {
			t.Errorf("%s is read as %+v", name, m)
		}
	}
	total := 5.0
	want := mark{Until: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Rest: remainder{Good: 0.5}, Total: &total}
	value, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	l.marks["m"] = value
	if m, ok := loadMark(l, "m"); !ok || !cmp.Equal(want, m) {
		t.Errorf("%+v is read as %+v", want, m)
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"no url":                   {func(s *Settings) { s.URL = "" }, "url is no address"},
		"a secret in the url":      {func(s *Settings) { s.URL = "http://me:secret@p:9090" }, "url is no address"},
		"a step that does not fit": {func(s *Settings) { s.Step = gatewarden.Duration(7 * time.Second) }, "step must divide 5m"},
		"a window below a step":    {func(s *Settings) { s.Window = gatewarden.Duration(time.Second) }, "window must be"},
		"a delay without end":      {func(s *Settings) { s.Delay = gatewarden.Duration(24 * time.Hour) }, "delay"},
		"too far back":             {func(s *Settings) { s.Backfill = gatewarden.Duration(100 * 24 * time.Hour) }, "92d"},
		"no timeout":               {func(s *Settings) { s.Timeout = 0 }, "timeout"},
		"nobody may ask":           {func(s *Settings) { s.Concurrency = 0 }, "concurrency"},
		"no room":                  {func(s *Settings) { s.MaxBody = 1 }, "max_body"},
		"two ways to say who asks": {func(s *Settings) { s.Token, s.TokenFile = gatewarden.NewSecret("a"), "b" }, "more than one"},
		"a user alone":             {func(s *Settings) { s.User = "me" }, "belong together"},
		"a password alone":         {func(s *Settings) { s.PasswordFile = "p" }, "belong together"},
		"a certificate alone":      {func(s *Settings) { s.CertFile = "c" }, "cert_file and key_file"},
	} {
		t.Run(name, func(t *testing.T) {
			s := DefaultSettings()
			s.URL = "https://prometheus.test/prefix"
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
			c.change(&s)
			err := s.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) || gatewarden.ErrorCode(err) != gatewarden.Invalid || strings.Contains(fmt.Sprint(err), "secret@") {
				t.Errorf("%v", err)
			}
		})
	}
}
