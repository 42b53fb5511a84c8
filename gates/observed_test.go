package gates

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// parcel is a report on its way to the guard that leads.
type parcel struct {
	message []byte
	due     time.Time
	taken   time.Time // when Observed returned without an error
}

// trio is three guards: a Book, and two that observe for it. A balancer gives each of them
// a part of the requests.
type trio struct {
	*world
	luck      *rand.Rand
	observers [2]*Observer
	under     []*parcel // way
	delivered []*parcel
}

func newTrio(t testing.TB, luck *rand.Rand) *trio {
	g := &trio{world: newWorld(t, canaryOf("orders")), luck: luck}
	for i := range g.observers {
		g.observers[i] = NewObserver(g.disk)
		g.observers[i].SetCanaries(g.canaries)
	}
	return g
}

// deliver spreads a batch over the guards. The one that leads takes its part at once, the
// reports of the others come within a second. Without one that leads, its part comes to
// the others too.
func (g *trio) deliver(records []*gatewarden.Record, led bool) {
	own := g.book.Batch(g.now)
	var reports [2]*Report
	for i := range reports {
		reports[i] = g.observers[i].Batch(g.now)
	}
	for _, r := range records {
		if i := g.luck.IntN(3); i < 2 || !led {
			reports[i%2].Add(r)
		} else {
			own.Add(r)
		}
	}
	for _, r := range reports {
		g.send(r.Message())
	}
	if err := own.Commit(g.t.Context()); err != nil || g.disk.dead { // Kong was told nothing, or a failure
		g.send(own.Message())
	}
}

func (g *trio) send(message []byte) {
	if message == nil {
		return
	}
	n := 1
	if g.luck.IntN(8) == 0 {
		n = 2 // the answer to the first one was lost
	}
	for range n {
		g.under = append(g.under, &parcel{message: message, due: g.now.Add(time.Duration(g.luck.IntN(1000)) * time.Millisecond)})
	}
}

// receive lets the one that leads have what is due, in any order, and returns when it dies.
func (g *trio) receive() {
	g.luck.Shuffle(len(g.under), func(i, k int) { g.under[i], g.under[k] = g.under[k], g.under[i] })
	var left []*parcel
	for _, p := range g.under {
		if p.due.After(g.now) || g.disk.dead {
			left = append(left, p)
			continue
		}
		if err := g.book.Observed(g.t.Context(), g.now, p.message); err != nil || g.disk.dead {
			left = append(left, p)
			continue
		}
		p.taken = g.now
		g.delivered = append(g.delivered, p)
	}
	g.under = left
}

// takeOver starts another book on what the disk has. The one before said of some reports
// that it took last no more that it had.
func (g *trio) takeOver(died time.Time) {
	for _, p := range g.delivered {
		if died.Sub(p.taken) < 2*time.Second && g.luck.IntN(2) == 0 {
			g.under = append(g.under, p)
		}
	}
	g.boot()
}

// playTogether lets the script happen to three guards. The one that leads dies at
// script.dieAt when mortal, or makes place for another one at the given instant.
func (s script) playTogether(t testing.TB, luck *rand.Rand, mortal bool, leaves time.Time) (*trio, gatewarden.Run) {
	g := newTrio(t, luck)
	run := g.start("orders", "key")
	if mortal {
		g.disk.ops, g.disk.dieAt, g.disk.dieAfter = 0, s.dieAt, s.dieAfter
	}
	var gone, back time.Time // when nobody leads, and until when
	next := 0
	for end := t0.Add(s.length + s.away + s.again); g.now.Before(end); {
		tick := g.now.Add(500 * time.Millisecond)
		for ; next < len(s.arrivals) && !t0.Add(s.arrivals[next].after).After(tick); next++ {
			g.now = t0.Add(s.arrivals[next].after)
			g.deliver(s.records(s.arrivals[next]), gone.IsZero() || !back.IsZero())
		}
		g.now = tick
		if gone.IsZero() || !back.IsZero() {
			g.receive()
			_ = g.book.Tick(t.Context(), g.now) // what fails is tried again; a death is looked for below
			_ = g.book.Keep(t.Context(), g.now)
		}
		switch {
		case gone.IsZero() && !leaves.IsZero() && !g.now.Before(leaves):
			g.book.Abandon()
			gone = g.now
		case gone.IsZero() && g.disk.dead:
			gone = g.now
		case !gone.IsZero() && back.IsZero() && g.now.Sub(gone) >= s.away:
			g.takeOver(gone)
			back = g.now
		}
	}
	return g, g.run(run.ID)
}

// TestItDoesNotMatterWhichGuardSawARequest is what all of this is for.
func TestItDoesNotMatterWhichGuardSawARequest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScript(rt)
		luck := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "luck"), 0))
		mortal := rapid.Bool().Draw(rt, "it dies")
		var leaves time.Time
		if !mortal && rapid.Bool().Draw(rt, "it is replaced") {
			leaves = t0.Add(time.Duration(rapid.IntRange(1, 100_000).Draw(rt, "when")) * time.Millisecond)
		}
		tb := &quietTB{TB: t}
		alone, want := s.play(tb, false)
		g, got := s.playTogether(tb, luck, mortal, leaves)
		if got.State != want.State || got.Reason != want.Reason || !got.EndedAt.Equal(*want.EndedAt) {
			rt.Fatalf("it is %s at %s (%s); with one guard %s at %s (%s)", got.State, got.EndedAt, got.Reason, want.State, want.EndedAt, want.Reason)
		}
		if diff := cmp.Diff([2]gatewarden.TrackCounts{want.Verdict.Baseline, want.Verdict.Canary},
			[2]gatewarden.TrackCounts{got.Verdict.Baseline, got.Verdict.Canary}); diff != "" {
			rt.Fatalf("what counts (-one guard +three):\n%s", diff)
		}
		if len(g.under) > 0 {
			rt.Fatalf("%d reports were not taken", len(g.under))
		}
		if mortal || !leaves.IsZero() {
			return
		}
		seen, sawAlone := view(tb, g.world), view(tb, alone)
		if diff := cmp.Diff(sawAlone.Tracks, seen.Tracks); diff != "" {
			rt.Fatalf("what was seen (-one guard +three):\n%s", diff)
		}
	})
}

func view(t testing.TB, w *world) View {
	t.Helper()
	v, err := w.book.Canary("orders")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAReportIsDurableWhenItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, canaryOf("orders"))
		w.start("orders", "")
		w.disk.gate = make(chan struct{})
		message := reportOf(t0, "a")
		var told sync.WaitGroup
		for range 4 { // it is told again before it is written
			told.Go(func() {
				if err := w.book.Observed(t.Context(), w.now, message); err != nil {
					t.Error(err)
				}
				if len(w.disk.messages) != 1 {
					t.Errorf("it is said to be taken with %d messages written", len(w.disk.messages))
				}
			})
		}
		synctest.Wait()
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if err := w.book.Observed(ctx, w.now, message); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Errorf("before it is written: %v", err)
		}
		synctest.Wait()
		close(w.disk.gate)
		told.Wait()
		if err := w.book.Observed(t.Context(), w.now, message); err != nil {
			t.Error(err)
		}
		if got := view(t, w).Tracks[gatewarden.TrackCanary]; got.Requests != 1 || got.Failures != 1 || len(w.disk.messages) != 1 {
			t.Errorf("%d requests count, %d failures, with %d messages", got.Requests, got.Failures, len(w.disk.messages))
		}
		if got := testutil.ToFloat64(w.book.metrics.reports.WithLabelValues(reportAgain)); got != 5 {
			t.Errorf("%g reports came again, want 5", got)
		}
	})
}

func TestReportsAreForgottenTheOldestFirst(t *testing.T) {
	var taken reportsTaken
	number := func(i int) reportNumber { return reportNumber{byte(i), byte(i >> 8), byte(i >> 16)} }
	const more = 10
	for i := range maxReports + more {
		taken.add(number(i), nil)
	}
	for i := range maxReports + more {
		if _, known := taken.find(number(i)); known != (i >= more) {
			t.Fatalf("report %d is known: %v", i, known)
		}
	}
	if len(taken.pending) != maxReports || len(taken.order) != maxReports {
		t.Errorf("%d and %d are remembered", len(taken.pending), len(taken.order))
	}
}

func TestWhatIsNotKnownHereIsLeftOut(t *testing.T) {
	for sentence, c := range map[string]struct {
		theirs  func() []gatewarden.Canary
		older   bool // they were told what the run began with
		run     uint64
		seen    uint64
		unknown float64
	}{
		"the same rules":               {func() []gatewarden.Canary { return []gatewarden.Canary{canaryOf("orders")} }, false, 1, 1, 0},
		"the same, and what runs have": {func() []gatewarden.Canary { return []gatewarden.Canary{canaryOf("orders")} }, true, 1, 1, 0},
		"another margin":               {func() []gatewarden.Canary { c := canaryOf("orders"); c.FalseAlarm = 0.2; return []gatewarden.Canary{c} }, false, 1, 1, 0},
		"another name":                 {func() []gatewarden.Canary { c := canaryOf("orders"); c.Name = "x"; return []gatewarden.Canary{c} }, false, 0, 0, 1},
		"another route": {func() []gatewarden.Canary {
			c := canaryOf("orders")
			c.Series.Route = "list"
			return []gatewarden.Canary{c}
		}, false, 0, 0, 1},
		"another route, and what it was": {func() []gatewarden.Canary {
			c := canaryOf("orders")
			c.Series.Route = "list"
			return []gatewarden.Canary{c}
		}, true, 1, 1, 1},
		"no rules, and what runs have": {func() []gatewarden.Canary { return nil }, true, 1, 1, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, canaryOf("orders"))
			run := w.start("orders", "")
			o := NewObserver(w.disk)
			o.SetCanaries(c.theirs())
			if c.older {
				o.SetOlder([]gatewarden.Canary{canaryOf("orders")})
			}
			w.now = w.now.Add(2 * time.Second)
			r := o.Batch(w.now)
			r.Add(record("orders", gatewarden.TrackCanary, w.now, false, "a"))
			if err := w.book.Observed(t.Context(), w.now, r.Message()); err != nil {
				t.Fatal(err)
			}
			w.pass(5*time.Second, "orders", 0, false)
			if got := w.run(run.ID).Verdict.Canary.Requests; got != c.run {
				t.Errorf("%d requests count for the run, want %d", got, c.run)
			}
			if got := view(t, w).Tracks[gatewarden.TrackCanary].Requests; got != c.seen {
				t.Errorf("%d requests were seen, want %d", got, c.seen)
			}
			if got := testutil.ToFloat64(w.book.metrics.observed.WithLabelValues(observedUnknown)); got != c.unknown {
				t.Errorf("%g are counted as unknown, want %g", got, c.unknown)
			}
		})
	}
}

// TestARunThatBeganOtherwiseIsToldToo has a run that began with one definition, rules with
// another that picks the same requests, and a report of a guard that has either.
func TestARunThatBeganOtherwiseIsToldToo(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	changed := canaryOf("orders")
	changed.FalseAlarm = 0.001
	w.canaries = []gatewarden.Canary{changed}
	if err := w.book.SetCanaries(w.canaries); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * time.Second)
	tell := func(id string) {
		if err := w.book.Observed(t.Context(), w.now, reportOf(w.now, id)); err != nil {
			t.Fatal(err)
		}
	}
	tell("a")
	w.boot()
	tell("a") // another report of the same request
	tell("b")
	w.pass(15*time.Second, "orders", 0, false)
	if got := w.run(run.ID).Verdict.Canary.Requests; got != 2 {
		t.Errorf("%d requests count for the run, want 2", got)
	}
	if got := view(t, w).Tracks[gatewarden.TrackCanary].Requests; got != 2 {
		t.Errorf("%d requests were seen since the restart, want 2", got)
	}
}

func TestNobodysRequestsMakeNoReport(t *testing.T) {
	o := NewObserver(nil)
	r := record("orders", gatewarden.TrackCanary, t0, false, "a")
	none := o.Batch(t0)
	none.Add(r)
	o.SetCanaries([]gatewarden.Canary{canaryOf("orders")})
	unknown := o.Batch(t0)
	unknown.Add(r)
	o = NewObserver(newDisk())
	o.SetCanaries([]gatewarden.Canary{canaryOf("orders")})
	other := o.Batch(t0)
	other.Add(record("payments", gatewarden.TrackCanary, t0, false, "a"))
	undated := o.Batch(t0)
	undated.Add(record("orders", gatewarden.TrackCanary, time.Time{}, false, "a"))
	for sentence, report := range map[string]*Report{
		"without canaries": none, "without tracks": unknown, "of another service": other, "of the year 1": undated,
	} {
		if m := report.Message(); m != nil {
			t.Errorf("%s: it has %d bytes", sentence, len(m))
		}
	}
}

func TestGuardsReportSideBySide(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	o := NewObserver(w.disk)
	w.now = w.now.Add(2 * time.Second)
	var all sync.WaitGroup
	all.Go(func() {
		for range 200 {
			o.SetOlder(w.book.Older())
			o.SetCanaries(slices.Clone(w.canaries))
		}
	})
	o.SetCanaries(w.canaries)
	const guards, batches = 4, 50
	for guard := range guards {
		all.Go(func() {
			for i := range batches {
				r := o.Batch(w.now)
				r.Add(record("orders", gatewarden.TrackCanary, w.now, false, fmt.Sprint(guard, "-", i)))
				if err := w.book.Observed(t.Context(), w.now, r.Message()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	w.pass(5*time.Second, "orders", 0, false)
	if got := w.run(run.ID).Verdict.Canary.Requests; got != guards*batches {
		t.Errorf("%d requests count, want %d", got, guards*batches)
	}
}

// BenchmarkReport is a batch of 100 records of a service that has a canary, as another
// guard makes a report of it and as the Book takes that.
func BenchmarkReport(b *testing.B) {
	const records = 100
	w := newWorld(b, canaryOf("orders"))
	w.start("orders", "")
	o := NewObserver(w.disk)
	o.SetCanaries(w.canaries)
	batch := make([]*gatewarden.Record, records)
	for i := range batch {
		batch[i] = record("orders", gatewarden.Track(i%2), t0, i%10 == 0, fmt.Sprintf("%032x", i))
		batch[i].TraceID = fmt.Sprintf("%032x", i)
	}
	message := func() []byte {
		r := o.Batch(t0)
		for _, record := range batch {
			r.Add(record)
		}
		return r.Message()
	}
	b.Run("make", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			message()
		}
		b.ReportMetric(float64(len(message()))/records, "B/record")
	})
	b.Run("take", func(b *testing.B) {
		b.ReportAllocs()
		body := message()
		for b.Loop() {
			b.StopTimer()
			fresh := message()
			b.StartTimer()
			if err := w.book.Observed(b.Context(), t0, fresh); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(body))/records, "B/record")
	})
}
