package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

// faultyJournal is a journal that at times takes nothing.
type faultyJournal struct {
	*journal.Journal
	refuse func(ctx context.Context, e *gatewarden.Event) error // nil: it takes all
}

func (j *faultyJournal) Append(ctx context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	if j.refuse != nil {
		if err := j.refuse(ctx, &e); err != nil {
			return e, err
		}
	}
	return j.Journal.Append(ctx, e)
}

// away is the answer of a journal whose servers do not answer.
func away(context.Context, *gatewarden.Event) error {
	return gatewarden.Errorf(gatewarden.Unavailable, "nobody answers")
}

// kongWithOrphans is a Kong that answers after a while only, and then has a plugin of an
// action that nobody knows.
type kongWithOrphans struct {
	mu    sync.Mutex
	calls int
	asked chan struct{} // closed at the first call
}

func (k *kongWithOrphans) note() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.calls++; k.calls == 1 {
		close(k.asked)
	}
	return k.calls
}

func (k *kongWithOrphans) Orphans(context.Context, func(string) bool) ([]actions.Orphan, error) {
	if k.note() < 3 {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "503")
	}
	return []actions.Orphan{{ID: "p-1", Action: "of-another-guard", Change: "the plugin of the guard that leads now"}}, nil
}

func (k *kongWithOrphans) RemoveOrphan(context.Context, actions.Orphan) error { k.note(); return nil }

func (k *kongWithOrphans) Prepare(context.Context, gatewarden.Action) (json.RawMessage, error) {
	return nil, nil
}

func (k *kongWithOrphans) Apply(context.Context, gatewarden.Action, func(json.RawMessage) error) (gatewarden.Outcome, error) {
	return gatewarden.Outcome{Status: gatewarden.ActionApplied}, nil
}

func (k *kongWithOrphans) Revert(context.Context, gatewarden.Action) (gatewarden.Outcome, error) {
	return gatewarden.Outcome{Status: gatewarden.ActionReverted}, nil
}

// brokenRuns are runs that cannot be read, as it turns out once the engine is at work.
type brokenRuns struct {
	gates.RunStore
	after <-chan struct{}
}

func (r brokenRuns) All(context.Context, func(string, []byte) error) error {
	<-r.after
	return errors.New("the disk is gone")
}

// TestALoopThatDoesNotComeAboutDoesNothing: another guard leads soon, and what this one's
// engine was looking for is perhaps the other's.
func TestALoopThatDoesNotComeAboutDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kong, reg := &kongWithOrphans{asked: make(chan struct{})}, prometheus.NewRegistry()
		s := store.New(store.Config{}, reg)
		_, _, err := newLoop(t.Context(), parts{
			rules: loadText(t, observedRules), store: s, intake: newIntake(s, time.Now, time.Minute, reg), journal: journal.NewMemory(), started: time.Now(), registry: reg,
			gates:  gates.Config{Runs: brokenRuns{after: kong.asked}, Log: noMessages{}},
			engine: actions.Config{Executors: map[gatewarden.StepKind]actions.Executor{gatewarden.StepPlugin: kong}},
		})
		if err == nil {
			t.Fatal("there is a loop, without its runs")
		}
		kong.mu.Lock()
		calls := kong.calls
		kong.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if kong.calls != calls || calls == 0 {
			t.Errorf("Kong was called %d times, and %d times after it was given up", calls, kong.calls-calls)
		}
	})
}

const oneOutage = `
slos: [{name: orders, service: orders, objective: 99, window: 1d, sli: {availability: {}}, on_outage: [tell]}]
actions: [{name: tell, mode: observe, steps: [{webhook: {url: "http://127.0.0.1:1/hook"}}]}]
`

// watcher is a loop over one service.
type watcher struct {
	t      *testing.T
	loop   *loop
	intake *intake
	at     time.Time
}

func newWatcher(t *testing.T, j chronicle, at time.Time) *watcher {
	t.Helper()
	w := &watcher{t: t, at: at}
	set, reg := loadText(t, oneOutage), prometheus.NewRegistry()
	s := store.New(store.Config{}, reg)
	w.intake = newIntake(s, func() time.Time { return w.at }, time.Minute, reg)
	w.intake.expect("httplog", "httplog", at)
	var err error
	w.loop, _, err = newLoop(t.Context(), parts{
		rules: set, store: s, intake: w.intake, journal: j, started: at, registry: reg,
		engine: actions.Config{Policies: set.Policies, Executors: map[gatewarden.StepKind]actions.Executor{gatewarden.StepWebhook: neverActs{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// tick has ten requests come that end with a status, and judges.
func (w *watcher) tick(status int) (gatewarden.Verdict, error) {
	w.t.Helper()
	w.at = w.at.Add(tickEvery)
	records := make([]gatewarden.Record, 10)
	for i := range records {
		records[i] = gatewarden.Record{At: w.at.Add(-100 * time.Millisecond), Service: "orders", Status: status, Weight: 1}
	}
	if err := w.intake.Accept(w.t.Context(), "httplog", records); err != nil {
		w.t.Fatal(err)
	}
	err := w.loop.Tick(w.t.Context(), w.at)
	return w.loop.current()[0], err
}

// until ticks until the SLO is in a state.
func (w *watcher) until(status int, state gatewarden.State) {
	w.t.Helper()
	for range 600 {
		if v, _ := w.tick(status); v.State == state {
			return
		}
	}
	w.t.Fatalf("it never was %s", state)
}

// heardOf returns the states that a journal has of the SLO, and whether a ladder began.
func heardOf(t *testing.T, j chronicle) (states []string, ladders int) {
	t.Helper()
	events, err := j.Events(t.Context(), journal.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		switch {
		case e.Type == gatewarden.EventSLO:
			states = append(states, e.State+" "+e.Severity)
		case e.Action != nil && e.Action.Status == gatewarden.ActionSkipped:
			ladders++
		}
	}
	return states, ladders
}

// TestABreachWhoseEndTheJournalDidNotTakeIsOver: nothing is done, in a later life, about
// what is over.
func TestABreachWhoseEndTheJournalDidNotTakeIsOver(t *testing.T) {
	j := &faultyJournal{Journal: journal.NewMemory()}
	w := newWatcher(t, j, noon)
	w.until(200, gatewarden.Healthy)
	w.until(500, gatewarden.Breach)
	j.refuse = away
	w.until(200, gatewarden.Healthy)
	j.refuse = nil
	for range 1200 { // ten minutes
		if v, err := w.tick(200); err != nil || v.State != gatewarden.Healthy {
			t.Fatalf("%s, %v", v.State, err)
		}
	}
	states, before := heardOf(t, j)
	if i := slices.Index(states, "breach outage"); i < 0 || !slices.Contains(states[i:], "healthy outage") {
		t.Errorf("the journal has %q", states)
	}
	again := newWatcher(t, j, w.at)
	if v, err := again.tick(200); err != nil || v.State == gatewarden.Breach {
		t.Errorf("the next life begins with %s: %s, %v", v.State, v.Reason, err)
	}
	if _, after := heardOf(t, j); after != before {
		t.Errorf("%d ladders began in the next life", after-before)
	}
}

// TestEventsWaitForAJournalThatIsAway has a breach begin while the journal takes nothing.
func TestEventsWaitForAJournalThatIsAway(t *testing.T) {
	j := &faultyJournal{Journal: journal.NewMemory()}
	w := newWatcher(t, j, noon)
	w.until(200, gatewarden.Healthy)
	j.refuse = away
	w.until(500, gatewarden.Breach)
	if _, err := w.tick(500); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("the tick says %v", err)
	}
	if states, _ := heardOf(t, j); len(states) != 1 {
		t.Fatalf("the journal has %q", states)
	}
	j.refuse = nil
	if _, err := w.tick(500); err != nil {
		t.Error(err)
	}
	states, _ := heardOf(t, j)
	if diff := cmp.Diff([]string{"healthy ", "breach outage"}, states[:min(2, len(states))]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// What it will never take keeps nothing back, and nothing waits in a guard that is deposed.
	for _, code := range []gatewarden.Code{gatewarden.Invalid, gatewarden.Conflict} {
		j.refuse = func(_ context.Context, e *gatewarden.Event) error {
			if e.Name == "bad" {
				return gatewarden.Errorf(code, "no")
			}
			return nil
		}
		event := gatewarden.Event{At: w.at, Type: gatewarden.EventSource, Name: "bad", State: "silent"}
		good := event
		good.Name = "good"
		last := j.Last()
		if err := w.loop.write(t.Context(), []gatewarden.Event{event, good}); gatewarden.ErrorCode(err) != code {
			t.Errorf("%s: %v", code, err)
		}
		if j.Last() != last+1 || len(w.loop.unwritten) > 0 {
			t.Errorf("%s: %d are written, and %d wait", code, j.Last()-last, len(w.loop.unwritten))
		}
	}
}

// TestADeposedGuardLeavesTheJournalAlone: the events that it did not take are not written as
// the term ends, when another guard may be opening the journal.
func TestADeposedGuardLeavesTheJournalAlone(t *testing.T) {
	for deposed, want := range map[bool]uint64{false: 1, true: 0} {
		j := &faultyJournal{Journal: journal.NewMemory()}
		w := newWatcher(t, j, noon)
		j.refuse = away
		if err := w.loop.write(t.Context(), []gatewarden.Event{{At: noon, Type: gatewarden.EventSource, Name: "httplog", State: "blind"}}); err == nil {
			t.Fatal("the journal has taken it")
		}
		j.refuse = nil
		end, before := &term{App: &App{logger: slog.New(slog.DiscardHandler)}, loop: w.loop}, j.Last()
		end.deposed.Store(deposed)
		if err := end.writeRest(t.Context()); err != nil || j.Last()-before != want {
			t.Errorf("deposed %v: %d events are written, want %d, %v", deposed, j.Last()-before, want, err)
		}
	}
}

// TestWhoAsksDoesNotWaitForTheJournal asks in the middle of a tick whose journal does not
// answer.
func TestWhoAsksDoesNotWaitForTheJournal(t *testing.T) {
	j := &faultyJournal{Journal: journal.NewMemory()}
	w := newWatcher(t, j, noon)
	a := &App{
		logger: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry(), store: w.loop.store, intake: w.intake, guards: &guards{}, started: w.at,
		opts: Options{Now: func() time.Time { return noon }},
	}
	a.reloader = newReloader(a, settings{rules: loadText(t, oneOutage)})
	v := &view{&term{App: a, loop: w.loop}}
	w.until(200, gatewarden.Healthy)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	j.refuse = func(ctx context.Context, e *gatewarden.Event) error {
		once.Do(func() { close(entered) })
		<-leave
		return away(ctx, e)
	}
	w.loop.unwritten = append(w.loop.unwritten, gatewarden.Event{At: noon, Type: gatewarden.EventSource, Name: "httplog", State: "silent"})
	ticked, asked := make(chan error, 1), make(chan struct{})
	go func() { _, err := w.tick(200); ticked <- err }()
	<-entered
	go func() {
		defer close(asked)
		if got := v.Status().States; got["healthy"] != 1 {
			t.Errorf("the states are %v", got)
		}
		if got := w.loop.judged(); len(got) != 1 {
			t.Errorf("the verdicts are %v", got)
		}
	}()
	select {
	case <-asked:
	case <-time.After(10 * time.Second): // it would wait for as long as the journal does
		t.Error("who asks waits for the journal")
	}
	close(leave)
	if err := <-ticked; gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("the tick says %v", err)
	}
	<-asked
}

// TestATickEndsThoughTheJournalDoesNotAnswer, with many events to be written.
func TestATickEndsThoughTheJournalDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &faultyJournal{Journal: journal.NewMemory()}
		w := newWatcher(t, j, time.Now())
		w.until(200, gatewarden.Healthy)
		j.refuse = func(ctx context.Context, e *gatewarden.Event) error {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second): // as long as the journal waits
			}
			return away(ctx, e)
		}
		w.loop.unwritten = append(w.loop.unwritten, make([]gatewarden.Event, 20)...)
		began := time.Now()
		if _, err := w.tick(500); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Errorf("the tick says %v", err)
		}
		if took := time.Since(began); took > writeWithin {
			t.Errorf("the tick took %s", took)
		}
	})
}
