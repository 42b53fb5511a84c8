package gates

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

func TestBatchesThatWaitGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, canaryOf("orders"))
		w.start("orders", "")
		w.disk.gate = make(chan struct{})
		var batches sync.WaitGroup
		batches.Go(func() { w.send("orders", gatewarden.TrackCanary, 1, false) })
		synctest.Wait() // its append is under way
		for range 100 {
			r := record("orders", gatewarden.TrackCanary, w.now, false, "")
			batches.Go(func() {
				b := w.book.Batch(w.now)
				b.Add(r)
				b.Commit(t.Context())
			})
		}
		synctest.Wait()
		close(w.disk.gate)
		batches.Wait()
		if len(w.disk.messages) != 2 {
			t.Errorf("101 batches made %d messages, want 2", len(w.disk.messages))
		}
		sections, err := parseMessage(w.disk.messages[2])
		if err != nil || len(sections) != 100 || sections[0].number != 2 || sections[99].number != 101 {
			t.Errorf("the second one has %d sections from %v, %v", len(sections), sections[0].number, err)
		}
	})
}

func TestABatchIsDurableWhenItIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, canaryOf("orders"))
		w.start("orders", "")
		w.disk.gate = make(chan struct{})
		done := false
		go func() { w.send("orders", gatewarden.TrackCanary, 1, false); done = true }()
		synctest.Wait()
		if done {
			t.Error("it was committed before it was written")
		}
		close(w.disk.gate)
		synctest.Wait()
		if !done || len(w.disk.messages) != 1 {
			t.Errorf("committed %v, with %d messages", done, len(w.disk.messages))
		}
	})
}

func TestWhoLeavesDoesNotLeaveOthersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, canaryOf("orders"))
		w.start("orders", "")
		w.disk.gate = make(chan struct{})
		go w.send("orders", gatewarden.TrackCanary, 1, false)
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		r := record("orders", gatewarden.TrackCanary, w.now, false, "leaver")
		go func() {
			b := w.book.Batch(w.now)
			b.Add(r)
			b.Commit(ctx)
		}()
		synctest.Wait()
		leave()
		synctest.Wait()
		close(w.disk.gate)
		synctest.Wait()
		w.send("orders", gatewarden.TrackCanary, 1, false) // joins the message that nobody waited for
		if len(w.disk.messages) != 2 {
			t.Errorf("there are %d messages, want 2", len(w.disk.messages))
		}
	})
}

func TestWithoutARunNothingIsLogged(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.pass(30*time.Second, "orders", 5, false)
	run := w.start("orders", "")
	w.pass(30*time.Second, "payments", 5, false)
	if _, err := w.book.Cancel(t.Context(), w.now, run.ID, "ada", ""); err != nil {
		t.Fatal(err)
	}
	w.pass(30*time.Second, "orders", 5, false)
	if len(w.disk.messages) != 0 {
		t.Errorf("there are %d messages", len(w.disk.messages))
	}
}

func TestTheLogIsTrimmedToWhatRunsNeed(t *testing.T) {
	w := newWorld(t, canaryOf("orders"), canaryOf("payments"))
	w.start("orders", "")
	w.pass(100*time.Second, "orders", 1, false)
	// Two messages a tick, 30 s kept, and what came since the run was written down last.
	if n := len(w.disk.messages); n < 100 || n > 170 {
		t.Errorf("there are %d messages", n)
	}
	w.pass(2*time.Minute, "orders", 0, false)
	if n := len(w.disk.messages); n != 0 {
		t.Errorf("without a run %d messages are left", n)
	}
}

func TestALogThatCannotBeWrittenIsSaidOnceAndCountingGoesOn(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	var said strings.Builder
	w.book.cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
	run := w.start("orders", "")
	w.pass(5*time.Second, "orders", 5, false)
	w.disk.broken = gatewarden.Errorf(gatewarden.Unavailable, "the disk is full")
	w.pass(10*time.Second, "orders", 5, false)
	if got := w.run(run.ID).Verdict.Canary.Requests; got < 100 {
		t.Errorf("only %d requests count", got)
	}
	if n := strings.Count(said.String(), "not durable"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, said.String())
	}
	if testutil.ToFloat64(w.book.metrics.appendFails) == 0 || testutil.ToFloat64(w.book.metrics.saveFails) == 0 {
		t.Error("the failures are not counted")
	}
	if w.tickErr == nil {
		t.Error("the tick does not say that the run cannot be written down")
	}
	w.disk.broken = nil
	w.pass(20*time.Second, "orders", 5, false)
	if !strings.Contains(said.String(), "durable again") {
		t.Errorf("it does not say that it is over:\n%s", said.String())
	}
	before := w.run(run.ID)
	w.boot()
	w.pass(15*time.Second, "orders", 0, false)
	got := w.run(run.ID)
	// 35 seconds with 10 requests each, 5 of them before the start.
	if want := uint64(345); before.Verdict.Canary.Requests > want || got.Verdict.Canary.Requests != want {
		t.Errorf("after a restart %d requests count, want %d: what could not be logged was written down with the run", got.Verdict.Canary.Requests, want)
	}
}

func TestAMessageThatWasWrittenAfterAllCountsOnce(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	lying := &lyingLog{fakeLog: fakeLog{w.disk}}
	w.book.cfg.Log = lying
	lying.lies = true
	w.send("orders", gatewarden.TrackCanary, 7, false)
	lying.lies = false
	w.now = w.now.Add(2 * time.Second)
	w.pass(time.Second, "orders", 1, false) // the run is written down
	w.boot()
	w.pass(15*time.Second, "orders", 0, false)
	if got := w.run(run.ID).Verdict.Canary.Requests; got != 2 { // those of the first instant were before the start
		t.Errorf("%d requests count, want 2", got)
	}
}

// lyingLog says that it could not write what it has written.
type lyingLog struct {
	fakeLog
	lies bool
}

func (l *lyingLog) Append(ctx context.Context, data []byte) (uint64, error) {
	seq, err := l.fakeLog.Append(ctx, data)
	if l.lies {
		return 0, errors.New("no answer")
	}
	return seq, err
}

func drawObservation(t *rapid.T) gatewarden.Observation {
	text := rapid.StringN(0, 12, 40)
	o := gatewarden.Observation{
		At:    time.Unix(0, rapid.Int64Range(0, 7e18).Draw(t, "at")).UTC(),
		Track: gatewarden.Track(rapid.IntRange(0, 1).Draw(t, "track")),
		Route: text.Draw(t, "route"), Client: text.Draw(t, "client"), Target: text.Draw(t, "target"),
		ID: text.Draw(t, "id"), TraceID: text.Draw(t, "trace"), Failed: rapid.Bool().Draw(t, "failed"),
		Latency: time.Duration(rapid.Int64Range(-1, math.MaxInt64).Draw(t, "latency")),
	}
	if rapid.Bool().Draw(t, "weighed") {
		o.Weight = rapid.Uint32Range(2, math.MaxUint32).Draw(t, "weight")
	}
	return o
}

func TestAMessageReadsAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []section
		first := rapid.Uint64Range(1, 1<<40).Draw(t, "first")
		data := beginMessage(first)
		for i := range rapid.IntRange(0, 4).Draw(t, "sections") {
			s := section{number: first + uint64(i)}
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				e := entry{run: rapid.String().Draw(t, "run"), advanced: time.Unix(0, rapid.Int64Range(0, 7e18).Draw(t, "advanced")).UTC()}
				if rapid.Bool().Draw(t, "split") {
					e.split = &split{At: time.Unix(0, rapid.Int64Range(0, 7e18).Draw(t, "split at")).UTC(), Share: rapid.Float64().Draw(t, "share")}
				}
				for range rapid.IntRange(0, 5).Draw(t, "observations") {
					e.observations = append(e.observations, drawObservation(t))
				}
				s.entries = append(s.entries, e)
			}
			data = appendSection(data, s.entries)
			want = append(want, s)
		}
		got, err := parseMessage(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(section{}, entry{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	o := gatewarden.Observation{At: t0, Route: "list", ID: "x", Latency: 3, Weight: 5, Failed: true}
	f.Add(appendSection(beginMessage(1), []entry{{run: "orders-1", advanced: t0, split: &split{At: t0, Share: 0.5}, observations: []gatewarden.Observation{o}}}))
	f.Add([]byte{})
	f.Add([]byte{messageVersion, 1, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, data []byte) {
		sections, err := parseMessage(data)
		if err != nil {
			return
		}
		// What can be read can be written, and reads as the same.
		again := beginMessage(1)
		if len(sections) > 0 {
			again = beginMessage(sections[0].number)
		}
		for _, s := range sections {
			again = appendSection(again, s.entries)
		}
		reread, err := parseMessage(again)
		if err != nil {
			t.Fatal(err)
		}
		for i := range sections {
			for k := range sections[i].entries {
				if e, r := sections[i].entries[k], reread[i].entries[k]; e.run != r.run || len(e.observations) != len(r.observations) || !e.advanced.Equal(r.advanced) {
					t.Fatalf("%+v reads as %+v", e, r)
				}
			}
		}
	})
}
