package app

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/analyzers/suspect"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/internal/sourcetest"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

const tracedRules = `
slos:
  - name: orders-availability
    service: orders
    objective: 99.9
    window: 30d
    sli: {availability: {}}
  - name: payments-pay
    service: payments
    objective: 99
    window: 1h
    sli: {traces: {operation: "POST /pay"}}
`

// tracedShop is a guard of a shop whose requests are logged by Kong, and traced: kong calls
// orders, which calls payments.
type tracedShop struct {
	t       *testing.T
	loop    *loop
	intake  *intake
	journal *journal.Journal
	rand    *rand.Rand
	no      int
	target  string // the balancer's
	spans   bool   // they are sent
}

func newTraced(t *testing.T) *tracedShop {
	t.Helper()
	set, reg, logger := loadText(t, tracedRules), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	s := store.New(store.Config{}, reg)
	in := newIntake(s, time.Now, time.Minute, reg)
	in.expect("httplog", "httplog", time.Now())
	in.expect("otlp", "otlp", time.Now())
	j := journal.NewMemory()
	l, _, err := newLoop(t.Context(), parts{
		rules: set, store: s, intake: in, journal: j, started: time.Now(), registry: reg,
		gates:  gates.Config{Tracks: newTracks(nil, logger), Logger: logger},
		engine: actions.Config{Policies: set.Policies, Executors: map[gatewarden.StepKind]actions.Executor{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &tracedShop{t: t, loop: l, intake: in, journal: j, rand: rand.New(rand.NewPCG(1, 2)), target: "10.0.0.21:8080", spans: true}
}

// request is one that ends now; payments fails with a probability.
func (g *tracedShop) request(fails float64) {
	g.t.Helper()
	g.no++
	now := time.Now()
	trace, id := fmt.Sprintf("%032x", g.no), func(k int) string { return fmt.Sprintf("%016x", g.no*10+k) }
	status := 200
	if g.rand.Float64() < fails {
		status = 502
	}
	span := func(k, parent int, service, operation string, kind gatewarden.SpanKind, length time.Duration) gatewarden.Span {
		s := gatewarden.Span{TraceID: trace, ID: id(k), Service: service, Operation: operation, Kind: kind, Start: now.Add(-length), Duration: length}
		if parent > 0 {
			s.Parent = id(parent)
		}
		if kind == gatewarden.SpanServer {
			s.Status = status
		}
		return s
	}
	list := []gatewarden.Span{
		span(1, 0, "kong", "kong", gatewarden.SpanServer, 50*time.Millisecond),
		span(2, 1, "kong", "kong.balancer", gatewarden.SpanClient, 45*time.Millisecond),
		span(3, 2, "orders", "GET /orders", gatewarden.SpanServer, 40*time.Millisecond),
		span(4, 3, "payments", "POST /pay", gatewarden.SpanServer, 20*time.Millisecond),
	}
	list[1].Peer = g.target
	record := gatewarden.Record{ID: trace, At: now, Service: "orders", Status: status, TraceID: trace, Weight: 1, Latency: gatewarden.Latency{Request: 50 * time.Millisecond}}
	if err := g.intake.Accept(g.t.Context(), "httplog", []gatewarden.Record{record}); err != nil {
		g.t.Fatal(err)
	}
	if !g.spans {
		return
	}
	if err := g.intake.spans.AcceptSpans(g.t.Context(), "otlp", list); err != nil {
		g.t.Fatal(err)
	}
}

// pass lets time pass, with ten requests a second.
func (g *tracedShop) pass(length time.Duration, fails float64) {
	g.t.Helper()
	for end := time.Now().Add(length); time.Now().Before(end); {
		for range 5 {
			time.Sleep(100 * time.Millisecond)
			g.request(fails)
		}
		if err := g.loop.Tick(g.t.Context(), time.Now()); err != nil {
			g.t.Fatal(err)
		}
	}
}

// verdict is the present one of an SLO.
func (g *tracedShop) verdict(name string) gatewarden.Verdict {
	g.t.Helper()
	for _, v := range g.loop.current() {
		if v.Name == name {
			return v
		}
	}
	g.t.Fatalf("there is no verdict on %s", name)
	return gatewarden.Verdict{}
}

func (g *tracedShop) events(query journal.Query) []gatewarden.Event {
	g.t.Helper()
	events, err := g.journal.Events(context.WithoutCancel(g.t.Context()), query)
	if err != nil {
		g.t.Fatal(err)
	}
	return events
}

func TestABreachSaysWhereItComesFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTraced(t)
		g.pass(10*time.Minute, 0.002)
		if got := g.events(journal.Query{Type: gatewarden.EventSuspect}); len(got) > 0 {
			t.Fatalf("while all is well: %+v", got)
		}
		broke := time.Now()
		g.pass(time.Minute, 0.4)

		events := g.events(journal.Query{Type: gatewarden.EventSuspect, Name: "orders-availability"})
		if len(events) != 1 || events[0].State != "payments" || !strings.HasPrefix(events[0].Reason, "the trouble is in payments: ") || events[0].Severity == "" {
			t.Fatalf("events %+v", events)
		}
		if took := events[0].At.Sub(broke); took > 20*time.Second {
			t.Errorf("it was known after %s", took)
		}
		v := g.verdict("orders-availability")
		if v.State != gatewarden.Breach || !strings.Contains(v.Reason, "; the trouble is in payments: ") || !strings.Contains(v.Reason, " % of its spans fail, 0.") {
			t.Errorf("the verdict is %s: %s", v.State, v.Reason)
		}
		// The verdict that actions go by and that is kept stays as it was judged.
		if kept := g.loop.verdicts[0].Reason; strings.Contains(kept, "trouble") {
			t.Errorf("the reason of the tick itself: %s", kept)
		}

		g.pass(20*time.Minute, 0)
		if v := g.verdict("orders-availability"); strings.Contains(v.Reason, "trouble") && v.State != gatewarden.Breach {
			t.Errorf("when it is over: %s", v.Reason)
		}
	})
}

func TestAnSLOOnSpansIsJudgedByThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTraced(t)
		g.pass(5*time.Minute, 0)
		v := g.verdict("payments-pay")
		if v.State != gatewarden.Healthy || v.SLO.Count.Total() < 2900 || v.SLO.Count.Bad != 0 {
			t.Fatalf("%+v %+v", v, v.SLO)
		}
		g.pass(2*time.Minute, 0.5)
		if v = g.verdict("payments-pay"); v.State != gatewarden.Breach || v.SLO.Count.Bad < 400 {
			t.Errorf("with half of the spans failing: %s, %+v", v.State, v.SLO.Count)
		}
		// Kong's own requests are none of them, nor the other way round.
		// The last second may not be over.
		if n := g.verdict("orders-availability").SLO.Count.Total(); n > uint64(g.no) || n < uint64(g.no-10) {
			t.Errorf("%d requests are counted for orders, %d were made", n, g.no)
		}
		g.spans = false
		g.pass(2*time.Minute, 0)
		if v = g.verdict("payments-pay"); v.State != gatewarden.Inconclusive || !strings.Contains(v.Reason, "no source has delivered a span") {
			t.Errorf("without spans: %s, %s", v.State, v.Reason)
		}
		if o := g.verdict("orders-availability"); o.State == gatewarden.Inconclusive {
			t.Errorf("without spans orders is inconclusive: %s", o.Reason)
		}
	})
}

func TestAnSLOKnowsTheTracesOfItsNewestBadEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTraced(t)
		g.pass(10*time.Second, 0)
		if got := g.intake.bad.of("orders-availability"); len(got) != 0 {
			t.Fatalf("without a failure: %+v", got)
		}
		g.pass(20*time.Second, 1)
		for _, slo := range []string{"orders-availability", "payments-pay"} {
			got := g.intake.bad.of(slo)
			if len(got) != mostBad {
				t.Fatalf("%s: %+v", slo, got)
			}
			for i := range got {
				if got[i].Status != 502 || len(got[i].TraceID) != 32 || i > 0 && got[i-1].At.Sub(got[i].At) < badEvery {
					t.Errorf("%s: %+v", slo, got)
				}
			}
			if age := time.Since(got[0].At); age > 2*time.Second {
				t.Errorf("%s: the newest is %s old", slo, age)
			}
		}
		g.intake.serve(loadText(t, strings.Replace(tracedRules, "99.9\n", "99\n", 1)).SLOs)
		if got := g.intake.bad.of("orders-availability"); len(got) != mostBad {
			t.Errorf("after a reload: %+v", got)
		}
		if got := g.intake.bad.of("unknown"); got != nil {
			t.Errorf("%+v", got)
		}
	})
}

func TestTheServicesBelowATrackAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTraced(t)
		const stable, next = "10.0.0.21:8080", "10.0.0.22:8080"
		g.intake.spans.follow(func(target string) []trackOf {
			track, ok := map[string]gatewarden.Track{stable: gatewarden.TrackBaseline, next: gatewarden.TrackCanary}[target]
			if !ok {
				return nil
			}
			return []trackOf{{"orders", track}}
		})
		below := func(track gatewarden.Track, since time.Time) []api.Downstream {
			return g.intake.spans.below(trackOf{"orders", track}, since, time.Now())
		}
		g.pass(time.Minute, 0)
		g.target = "10.0.0.99:8080" // of no track
		g.pass(time.Minute, 0.5)
		g.target = next
		began := time.Now()
		g.pass(time.Minute, 1)
		g.target = stable
		g.pass(10*time.Second, 0) // all before is whole
		if diff := cmp.Diff([]api.Downstream{{Service: "orders", Calls: 600, Failed: 600}, {Service: "payments", Calls: 600, Failed: 600}}, below(gatewarden.TrackCanary, began)); diff != "" {
			t.Errorf("below the canary: %s", diff)
		}
		if got := below(gatewarden.TrackBaseline, time.Time{}); len(got) != 2 || got[0].Calls < 600 || got[1].Failed != 0 {
			t.Errorf("below the baseline: %+v", got)
		}
		if got := below(gatewarden.TrackCanary, time.Now().Add(time.Minute)); got != nil {
			t.Errorf("below a run that has not begun: %+v", got)
		}
		if got := g.intake.spans.below(trackOf{"orders", gatewarden.TrackCanary}, time.Time{}, time.Now().Add(2*time.Hour)); got != nil {
			t.Errorf("two hours later: %+v", got)
		}
	})
}

func TestOnlyTheFirstTryIsTheTracks(t *testing.T) {
	s := newSpans(newIntake(store.New(store.Config{}, prometheus.NewRegistry()), time.Now, time.Minute, prometheus.NewRegistry()), prometheus.NewRegistry())
	s.follow(func(target string) []trackOf {
		return []trackOf{{"orders", map[string]gatewarden.Track{"a:1": gatewarden.TrackCanary, "b:1": gatewarden.TrackBaseline}[target]}}
	})
	s.whole(suspect.Trace{End: noon, Peers: []string{"a:1", "b:1"}, Services: []suspect.Visit{{Service: "kong", Calls: 1}, {Service: "orders", Calls: 2, Failed: 1, Depth: 1}}})
	if got := s.below(trackOf{"orders", gatewarden.TrackCanary}, noon, noon); len(got) != 1 || got[0].Calls != 2 {
		t.Errorf("below the first: %+v", got)
	}
	if got := s.below(trackOf{"orders", gatewarden.TrackBaseline}, noon, noon); got != nil {
		t.Errorf("below the second: %+v", got)
	}
	for i := range 3 * maxDownstream {
		s.whole(suspect.Trace{End: noon, Peers: []string{"a:1"}, Services: []suspect.Visit{{Service: fmt.Sprint("s", i), Calls: 1, Depth: 1}}})
	}
	if len(s.down) > maxDownstream {
		t.Errorf("%d services are counted", len(s.down))
	}
}

func TestWhatBecomesOfSpansIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		in := newIntake(store.New(store.Config{}, prometheus.NewRegistry()), time.Now, time.Minute, reg)
		in.serve(loadText(t, tracedRules).SLOs)
		span := gatewarden.Span{TraceID: strings.Repeat("1", 32), ID: strings.Repeat("2", 16), Service: "orders", Start: time.Now(), Duration: time.Millisecond}
		for range 2 {
			if err := in.spans.AcceptSpans(t.Context(), "otlp", []gatewarden.Span{span}); err != nil {
				t.Fatal(err)
			}
		}
		if n := sourcetest.Metric(t, reg, "gatewarden_app_spans_waiting"); n != 2 {
			t.Errorf("%v spans wait", n)
		}
		in.spans.tick(time.Now().Add(time.Minute), nil)
		want := `
# HELP gatewarden_app_spans_total Spans by what became of them in the search for suspects: taken, repeat, late (their trace was closed), beyond (of a trace that is too large), untimed.
# TYPE gatewarden_app_spans_total counter
gatewarden_app_spans_total{fate="beyond"} 0
gatewarden_app_spans_total{fate="late"} 0
gatewarden_app_spans_total{fate="repeat"} 1
gatewarden_app_spans_total{fate="taken"} 1
gatewarden_app_spans_total{fate="untimed"} 0
# HELP gatewarden_app_traces_total Traces that were looked at for suspects.
# TYPE gatewarden_app_traces_total counter
gatewarden_app_traces_total 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "gatewarden_app_spans_total", "gatewarden_app_traces_total"); err != nil {
			t.Error(err)
		}
		// orders has an SLO, but none on its spans: they are no records.
		if v := in.views(time.Now())[0]; v.Records != 0 || v.LastRecord == nil {
			t.Errorf("%+v", v)
		}
	})
}
