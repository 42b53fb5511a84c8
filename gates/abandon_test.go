package gates

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

func TestABookThatIsAbandonedDoesNothingAnyMore(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps = []int{5, 50}
	w := newWorld(t, canary, canaryOf("payments"))
	run := w.start("orders", "")
	w.pass(10*time.Second, "orders", 5, false)
	batch := w.book.Batch(w.now)
	batch.Add(record("orders", gatewarden.TrackCanary, w.now, true, "x"))
	before := w.disk.ops
	w.book.Abandon()
	w.book.Abandon() // twice is once
	if err := batch.Commit(t.Context()); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("a batch that had begun: %v", err)
	}
	w.tickErr = nil
	w.pass(time.Minute, "orders", 5, true)
	if w.tickErr != nil {
		t.Errorf("a tick says %v", w.tickErr)
	}
	if err := w.book.Close(t.Context()); err != nil {
		t.Errorf("closing it: %v", err)
	}
	calls := map[string]error{"a report": w.book.Observed(t.Context(), w.now, reportOf(w.now, "y"))}
	_, _, calls["a start"] = w.book.Start(t.Context(), w.now, Request{Canary: "payments"})
	_, calls["a cancellation"] = w.book.Cancel(t.Context(), w.now, run.ID, "ada", "")
	_, calls["a person's answer"] = w.book.Override(t.Context(), w.now, run.ID, gatewarden.RunPass, "ada", "")
	_, calls["waiting"] = w.book.Wait(t.Context(), run.ID, "")
	for sentence, err := range calls {
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	if w.disk.ops != before {
		t.Errorf("%d things were done, %d of them before", w.disk.ops, before)
	}

	// The one that takes its place gets what Kong was not told was taken.
	message := batch.Message()
	w.boot()
	if err := w.book.Observed(t.Context(), w.now, message); err != nil {
		t.Fatal(err)
	}
	if got := view(t, w).Tracks[gatewarden.TrackCanary].Requests; got != 1 {
		t.Errorf("%d requests were seen by the next one, want 1", got)
	}
}

// TestWhatIsUnderWayWhenABookIsAbandonedGoesNoFurther is about each of the ends that others
// see, as a tick that is in the middle of its work meets them.
func TestWhatIsUnderWayWhenABookIsAbandonedGoesNoFurther(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	before := w.disk.ops
	w.book.Abandon()
	cfg, ctx := &w.book.cfg, t.Context()
	_, journal := cfg.Journal.Append(ctx, gatewarden.Event{})
	_, observations := cfg.Log.Append(ctx, nil)
	_, weights := cfg.Mover.Move(ctx, w.now, &run, 5)
	for sentence, err := range map[string]error{
		"the journal":       journal,
		"the log":           observations,
		"trimming it":       cfg.Log.Trim(ctx, 1),
		"a run":             cfg.Runs.Put(ctx, run.ID, nil),
		"forgetting a run":  cfg.Runs.Delete(ctx, run.ID),
		"the weights":       weights,
		"a policy":          cfg.Answer(ctx, w.now, &run, "drain"),
		"a run that begins": w.book.launch(ctx, w.now, w.book.slot("orders"), w.book.runs[run.ID], nil),
	} {
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	if w.disk.ops != before {
		t.Errorf("%d things were done", w.disk.ops-before)
	}
}

func TestWhoIsBeingServedWhenABookIsAbandonedIsSentElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, canaryOf("orders"))
		run := w.start("orders", "")
		w.disk.gate = make(chan struct{})
		results := map[string]error{}
		done := make(chan func())
		for sentence, serve := range map[string]func() error{
			"a report": func() error { return w.book.Observed(t.Context(), w.now, reportOf(w.now, "a")) },
			"a batch": func() error {
				b := w.book.Batch(w.now)
				b.Add(record("orders", gatewarden.TrackCanary, w.now, false, "b"))
				return b.Commit(t.Context())
			},
			"who waits": func() error { _, err := w.book.Wait(t.Context(), run.ID, ""); return err },
		} {
			go func() {
				err := serve()
				done <- func() { results[sentence] = err }
			}()
		}
		synctest.Wait() // one append is under way
		w.book.Abandon()
		close(w.disk.gate)
		for range 3 {
			(<-done)()
		}
		got := map[string]gatewarden.Code{}
		for sentence, err := range results {
			got[sentence] = gatewarden.ErrorCode(err)
		}
		want := map[string]gatewarden.Code{
			"a report": gatewarden.Unavailable, "a batch": gatewarden.Unavailable, "who waits": gatewarden.Unavailable,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestACallbackIsCutShortWhenABookIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, canaryOf("orders"))
		called := make(chan struct{})
		w.book.cfg.Notify = notifyFunc(func(ctx context.Context) error {
			close(called)
			<-ctx.Done()
			return ctx.Err()
		})
		run, _, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders", Callback: &gatewarden.Callback{URL: "http://jenkins/hook"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.book.Cancel(t.Context(), w.now, run.ID, "ada", ""); err != nil {
			t.Fatal(err)
		}
		<-called
		began := time.Now()
		w.book.Abandon()
		synctest.Wait() // a callback that goes on would keep the bubble from ending
		w.book.calls.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}

// notifyFunc is a Notifier that does not care for whom and of what.
type notifyFunc func(ctx context.Context) error

func (f notifyFunc) Notify(ctx context.Context, _ gatewarden.Callback, _ gatewarden.Run) error {
	return f(ctx)
}

func TestTheNextBookHasTheMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 {
		book, err := New(Config{NewJudge: newFakeJudge, LoadJudge: loadFakeJudge, Journal: fakeJournal{newDisk()}, Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		if families, err := reg.Gather(); err != nil || len(families) == 0 {
			t.Errorf("there are %d metrics, %v", len(families), err)
		}
		if err := book.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		book.Abandon()
		if families, err := reg.Gather(); err != nil || len(families) != 0 {
			t.Errorf("%d metrics are left, %v", len(families), err)
		}
	}
}
