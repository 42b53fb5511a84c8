package gates

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// arrival is a batch that Kong sends: requests of both tracks that have just ended.
type arrival struct {
	number   int
	after    time.Duration // since t0
	baseline int
	canary   int
	failed   bool
	late     time.Duration // how long ago the requests ended
}

// script is what happens to a guard: what arrives, what it is told, and when it dies.
type script struct {
	arrivals []arrival
	length   time.Duration
	dieAt    int           // the durable operation at which the guard dies, counted from the start of the run
	dieAfter bool          // it still happens
	away     time.Duration // until it is started again
	again    time.Duration // from then until Kong sends again what was not taken
}

func drawScript(t *rapid.T) script {
	s := script{length: 150 * time.Second}
	n := rapid.IntRange(1, 120).Draw(t, "batches")
	at := time.Duration(0)
	fails := rapid.SampledFrom([]float64{0, 0.02, 0.2}).Draw(t, "failing")
	for range n {
		at += rapid.SampledFrom([]time.Duration{0, 50 * time.Millisecond, 400 * time.Millisecond, time.Second, 3 * time.Second}).Draw(t, "gap")
		if at >= 110*time.Second {
			break
		}
		s.arrivals = append(s.arrivals, arrival{
			number: len(s.arrivals), after: at, baseline: rapid.IntRange(0, 3).Draw(t, "baseline"), canary: rapid.IntRange(0, 8).Draw(t, "canary"),
			failed: rapid.Float64Range(0, 1).Draw(t, "luck") < fails,
			late:   time.Duration(rapid.IntRange(0, 1900).Draw(t, "late")) * time.Millisecond,
		})
	}
	s.dieAt = rapid.IntRange(1, 2*len(s.arrivals)).Draw(t, "dies at")
	s.dieAfter = rapid.Bool().Draw(t, "it still happens")
	s.away = time.Duration(rapid.IntRange(0, 45).Draw(t, "away")) * time.Second
	s.again = time.Duration(rapid.IntRange(0, 8).Draw(t, "sent again after")) * time.Second
	return s
}

// play lets the script happen, with the death or without, and returns the world and the
// run as it is in the end.
func (s script) play(t testing.TB, mortal bool) (*world, gatewarden.Run) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "key")
	if mortal {
		w.disk.ops, w.disk.dieAt, w.disk.dieAfter = 0, s.dieAt, s.dieAfter
	}
	var unsent []arrival // what Kong keeps, as nobody took it
	back := time.Time{}  // when the guard is started again
	again := time.Time{} // when Kong sends again what nobody took
	next := 0
	end := t0.Add(s.length + s.away + s.again)
	for w.now.Before(end) {
		tick := w.now.Add(500 * time.Millisecond)
		for next < len(s.arrivals) && !t0.Add(s.arrivals[next].after).After(tick) {
			a := s.arrivals[next]
			next++
			w.now = t0.Add(a.after)
			if !back.IsZero() {
				unsent = append(unsent, a)
				continue
			}
			if s.deliver(w, a); w.disk.dead { // the guard died before it said that it has them
				unsent = append(unsent, a)
				back = w.now.Add(s.away)
			}
		}
		w.now = tick
		if back.IsZero() {
			_ = w.book.Tick(t.Context(), w.now) // what fails is tried again; a death is looked for below
			_ = w.book.Keep(t.Context(), w.now)
			if w.disk.dead {
				back = w.now.Add(s.away)
			}
		}
		if !back.IsZero() && !w.now.Before(back) {
			again = back.Add(s.again)
			back = time.Time{}
			w.boot()
		}
		if back.IsZero() && !w.now.Before(again) {
			for _, a := range unsent {
				s.deliver(w, a)
			}
			unsent = nil
		}
	}
	return w, w.run(run.ID)
}

// deliver hands a batch in.
func (s script) deliver(w *world, a arrival) {
	b := w.book.Batch(w.now)
	for _, r := range s.records(a) {
		b.Add(r)
	}
	if err := b.Commit(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// records returns a batch's requests, which are the same ones whenever it is delivered.
func (s script) records(a arrival) []*gatewarden.Record {
	at := t0.Add(a.after).Add(-a.late)
	var list []*gatewarden.Record
	for i := range a.baseline {
		list = append(list, record("orders", gatewarden.TrackBaseline, at, false, fmt.Sprintf("%d-b%d", a.number, i)))
	}
	for i := range a.canary {
		list = append(list, record("orders", gatewarden.TrackCanary, at, a.failed, fmt.Sprintf("%d-c%d", a.number, i)))
	}
	return list
}

func TestARunComesToTheSameEndThroughACrash(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScript(rt)
		tb := &quietTB{TB: t}
		_, want := s.play(tb, false)
		w, got := s.play(tb, true)
		if got.State != want.State || got.Reason != want.Reason || !got.EndedAt.Equal(*want.EndedAt) {
			rt.Fatalf("it is %s at %s (%s); without the crash %s at %s (%s)", got.State, got.EndedAt, got.Reason, want.State, want.EndedAt, want.Reason)
		}
		if diff := cmp.Diff(want.Verdict.Canary, got.Verdict.Canary); diff != "" {
			rt.Fatalf("the verdict (-without +with the crash):\n%s", diff)
		}
		ended := 0
		for _, e := range w.disk.events {
			if e.Type == gatewarden.EventGate && e.State == string(want.State) {
				ended++
			}
		}
		if ended == 0 {
			rt.Fatalf("the journal does not have the end: %v", w.states())
		}
		if want.State == gatewarden.RunFail && len(w.disk.answers) == 0 {
			rt.Fatal("the fail was not answered")
		}
	})
}

// quietTB keeps rapid's many worlds from filling the log.
type quietTB struct{ testing.TB }

func (*quietTB) Helper() {}

func TestARunThatWasMovedGoesOnAfterACrash(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps = []int{5, 50}
	w := newWorld(t, canary)
	run := w.start("orders", "")
	w.pass(13*time.Second, "orders", 5, false)
	before := w.run(run.ID)
	w.now = w.now.Add(4 * time.Second)
	w.boot()
	if got := w.run(run.ID); got.Step != 2 || before.Step != 2 || got.State != gatewarden.RunRunning {
		t.Errorf("it was at step %d and is %s at step %d", before.Step, got.State, got.Step)
	}
	w.pass(40*time.Second, "orders", 5, false)
	if diff := cmp.Diff([]string{"orders 5", "orders 50", "orders 100"}, w.disk.moves); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
}

func TestNothingIsClosedWhileKongSendsAgain(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	w.pass(10*time.Second, "orders", 5, false)
	died := w.now
	w.now = died.Add(100 * time.Second)
	w.boot()
	w.pass(9*time.Second, "orders", 0, false)
	w.now, died = died.Add(time.Second), w.now // the records of the time when it was away
	w.send("orders", gatewarden.TrackCanary, 30, true)
	w.now = died
	w.pass(2*time.Second, "orders", 0, false)
	got := w.run(run.ID)
	if got.State != gatewarden.RunFail || !got.EndedAt.Before(died) {
		t.Errorf("it is %s at %s: %s", got.State, got.EndedAt, got.Reason)
	}
}

func TestAfterALongAbsenceItGoesOnAtOnce(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	w.pass(10*time.Second, "orders", 5, false)
	w.now = w.now.Add(time.Hour)
	w.boot()
	w.pass(500*time.Millisecond, "orders", 0, false)
	got := w.run(run.ID)
	if got.State != gatewarden.RunInconclusive || !got.EndedAt.Equal(run.Deadline) {
		t.Errorf("it is %s at %s, want no answer at the deadline %s", got.State, got.EndedAt, run.Deadline)
	}
}

// What follows from an answer that a guard comes to when it is back has its time from then on.
func TestAfterALongAbsenceWhatFollowsIsDone(t *testing.T) {
	canary := canaryOf("orders")
	canary.Steps, canary.OnInconclusive = []int{50}, gatewarden.HoldsAFail
	w := newWorld(t, canary)
	run, _, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders", Callback: &gatewarden.Callback{URL: "http://jenkins/hook"}})
	if err != nil {
		t.Fatal(err)
	}
	w.pass(10*time.Second, "orders", 1, false)
	w.now = w.now.Add(3 * time.Hour)
	w.boot()
	w.disk.answered = gatewarden.Errorf(gatewarden.Unavailable, "not now")
	w.pass(500*time.Millisecond, "orders", 0, false)
	w.disk.answered = nil
	w.pass(500*time.Millisecond, "orders", 0, false)
	w.book.calls.Wait()
	if got := w.run(run.ID); got.State != gatewarden.RunFail || !got.EndedAt.Equal(run.Deadline) {
		t.Errorf("it is %s at %s", got.State, got.EndedAt)
	}
	if diff := cmp.Diff([]string{"orders 50", "orders 0"}, w.disk.moves); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"drain orders fail"}, w.disk.answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if len(w.disk.notes) != 1 {
		t.Errorf("who asked for it was called %d times", len(w.disk.notes))
	}
}

// Nor is it given up without a try because nobody was there to try it, or because the clock
// says so: a failed canary kept its requests for good.
func TestWhatFollowsFromAnAnswerHasItsTime(t *testing.T) {
	down := gatewarden.Errorf(gatewarden.Unavailable, "it does not answer")
	for sentence, c := range map[string]struct{ restarts, slow bool }{
		"after an absence":                                        {restarts: true},
		"after a clock that leapt":                                {},
		"after an absence, when they take a while longer":         {restarts: true, slow: true},
		"after a clock that leapt, when they take a while longer": {slow: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			canary := canaryOf("orders")
			canary.Steps = []int{50}
			w := newWorld(t, canary)
			l := &listener{until: 1000}
			w.book.cfg.Notify = l
			run, _, err := w.book.Start(t.Context(), w.now, Request{
				Canary: "orders", Callback: &gatewarden.Callback{URL: "http://jenkins/hook", Authorization: gatewarden.NewSecret("s3cret")},
			})
			if err != nil {
				t.Fatal(err)
			}
			w.pass(10*time.Second, "orders", 5, false)
			w.disk.held, w.disk.answered = down, down
			w.pass(10*time.Second, "orders", 5, true)
			w.book.calls.Wait()
			if got := w.run(run.ID); got.State != gatewarden.RunFail || !w.book.runs[run.ID].busy() {
				t.Fatalf("it is %s, and busy %v", got.State, w.book.runs[run.ID].busy())
			}
			w.now = w.now.Add(2 * time.Hour)
			if c.restarts {
				w.boot()
				w.book.cfg.Notify = l
			}
			if c.slow {
				w.pass(2*time.Minute, "orders", 0, false)
			}
			w.book.calls.Wait()
			l.until, w.disk.held, w.disk.answered = 0, nil, nil
			w.pass(time.Minute, "orders", 0, false)
			w.book.calls.Wait()
			if diff := cmp.Diff([]string{"orders 50", "orders 0"}, w.disk.moves); diff != "" {
				t.Errorf("moves (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"drain orders fail"}, w.disk.answers); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if n := testutil.ToFloat64(w.book.metrics.callbacks.WithLabelValues(callDelivered)); n != 1 || w.book.runs[run.ID].busy() {
				t.Errorf("the callback was delivered %v times, and there is %+v to do", n, w.book.runs[run.ID].todo)
			}
		})
	}
}

func TestTheAbsenceIsNoPastOfTheBaseline(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.pass(5*time.Minute, "orders", 1, false)
	w.now = w.now.Add(2 * time.Hour)
	w.boot()
	w.pass(time.Minute, "orders", 1, false)
	view, err := w.book.Canary("orders")
	if err != nil || view.History < 4*time.Minute || view.History > 7*time.Minute {
		t.Errorf("%s of the baseline were seen, %v", view.History, err)
	}
}

// Whoever set the clock back, and whether the guard was restarted since: what is judged from
// then on is judged by the new time.
func TestAClockThatIsSetBackStopsNothingForLong(t *testing.T) {
	for sentence, restarts := range map[string]bool{"while it runs": false, "while it is away": true} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, canaryOf("orders"), canaryOf("payments"))
			before := w.start("payments", "")
			w.pass(10*time.Minute, "orders", 5, false)
			watched := w.start("orders", "")
			w.pass(40*time.Second, "orders", 5, false)
			w.now = w.now.Add(-time.Hour)
			if restarts {
				w.boot()
			}
			w.pass(time.Second, "orders", 5, false)
			if got := w.run(watched.ID); got.State != gatewarden.RunPass || got.Watched {
				t.Errorf("the one that had passed is %s, watched %v", got.State, got.Watched)
			}
			if got := w.run(before.ID); !got.Over() {
				t.Errorf("the one before is %s", got.State)
			}
			w.disk.broken = errors.New("the disk is full for a moment")
			w.pass(time.Second, "orders", 5, false)
			w.disk.broken = nil
			w.pass(3*time.Second, "orders", 5, false)
			run := w.start("orders", "next")
			if latest, err := w.book.Latest("orders"); err != nil || latest.ID != run.ID {
				t.Errorf("the latest is %s, %v", latest.ID, err)
			}
			w.pass(40*time.Second, "orders", 5, true)
			if got := w.run(run.ID); got.State != gatewarden.RunFail {
				t.Errorf("40 s of failures leave it %s: %s", got.State, got.Reason)
			}
			w.boot()
			if got := w.run(run.ID); got.State != gatewarden.RunFail {
				t.Errorf("after a restart it is %s", got.State)
			}
			if latest, err := w.book.Latest("orders"); err != nil || latest.ID != run.ID {
				t.Errorf("after a restart the latest is %s, and not the one that is over: %v", latest.ID, err)
			}
			if list := w.book.Runs(Filter{Canary: "orders"}); list[0].ID != run.ID {
				t.Errorf("the newest in the list is %s", list[0].ID)
			}
		})
	}
}

func TestAClockThatIsSetBackEndsARun(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	w.pass(10*time.Second, "orders", 1, false)
	w.now = w.now.Add(-time.Hour)
	w.pass(time.Second, "orders", 1, false)
	if got := w.run(run.ID); got.State != gatewarden.RunInconclusive || !strings.HasPrefix(got.Reason, "the clock was set back by 1h") {
		t.Errorf("it is %s: %s", got.State, got.Reason)
	}
	want := []string{"gate orders running", "gate orders inconclusive"}
	if diff := cmp.Diff(want, w.states()); diff != "" {
		t.Errorf("the journal (-want +got):\n%s", diff)
	}
}

// A run that can be judged no further has no answer, and where that is a fail it is one: its
// canary kept its requests with nobody to judge it. A pass it is not.
func TestARunThatCanBeJudgedNoFurtherComesToWhatIsInconclusive(t *testing.T) {
	back := func(w *world, _ string) { w.now = w.now.Add(-time.Hour) }
	damage := func(w *world, id string) {
		w.disk.blobs[id] = []byte(strings.Replace(string(w.disk.blobs[id]), `"judge":{`, `"judge":{"Next":"x",`, 1))
		w.boot()
	}
	for sentence, c := range map[string]struct {
		on    gatewarden.Inconclusiveness
		spoil func(*world, string)
		want  gatewarden.RunState
		moves []string
	}{
		"a clock set back: hold": {gatewarden.Hold, back, gatewarden.RunInconclusive, []string{"orders 50"}},
		"a clock set back: fail": {gatewarden.HoldsAFail, back, gatewarden.RunFail, []string{"orders 50", "orders 0"}},
		"a clock set back: pass": {gatewarden.HoldsAPass, back, gatewarden.RunInconclusive, []string{"orders 50"}},
		"a damaged judge: hold":  {gatewarden.Hold, damage, gatewarden.RunInconclusive, []string{"orders 50"}},
		"a damaged judge: fail":  {gatewarden.HoldsAFail, damage, gatewarden.RunFail, []string{"orders 50", "orders 0"}},
		"a damaged judge: pass":  {gatewarden.HoldsAPass, damage, gatewarden.RunInconclusive, []string{"orders 50"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			canary := canaryOf("orders")
			canary.Steps, canary.OnInconclusive = []int{50}, c.on
			w := newWorld(t, canary)
			run := w.start("orders", "")
			w.pass(10*time.Second, "orders", 1, false)
			c.spoil(w, run.ID)
			w.pass(time.Second, "orders", 1, false)
			got := w.run(run.ID)
			if got.State != c.want || strings.Contains(got.Reason, "(on_inconclusive: fail)") != (c.want == gatewarden.RunFail) {
				t.Errorf("it is %s: %s, want %s", got.State, got.Reason, c.want)
			}
			if diff := cmp.Diff(c.moves, w.disk.moves); diff != "" {
				t.Errorf("moves (-want +got):\n%s", diff)
			}
			if answered := len(w.disk.answers) == 1; answered != (c.want == gatewarden.RunFail) {
				t.Errorf("it is answered by %v", w.disk.answers)
			}
		})
	}
}

func TestAChangeOfTheSplitSurvives(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.disk.share["orders"] = 0.1
	w.start("orders", "")
	w.pass(2*time.Second, "orders", 1, false)
	w.disk.share["orders"] = 0.3
	w.pass(500*time.Millisecond, "orders", 0, false)
	want := w.book.slot("orders").active.judge.(*fakeJudge).Splits
	w.boot()
	if got := w.book.slot("orders").active.judge.(*fakeJudge).Splits; len(got) != 2 || !cmp.Equal(want, got) {
		t.Errorf("the judge knows %v, and knew %v", got, want)
	}
	w.pass(15*time.Second, "orders", 1, false)
	if got := w.book.slot("orders").active.judge.(*fakeJudge).Splits; len(got) != 2 {
		t.Errorf("it was told again: %v", got)
	}
}

func TestWhatIsDamagedIsLeftOut(t *testing.T) {
	w := newWorld(t, canaryOf("orders"), canaryOf("payments"))
	lost, damaged := w.start("orders", ""), w.start("payments", "")
	w.pass(10*time.Second, "orders", 1, false)
	w.disk.blobs[lost.ID] = []byte("{")
	w.disk.blobs[pastPrefix+"orders"] = []byte("[]")
	w.disk.messages[1] = []byte("damaged")
	w.disk.blobs[damaged.ID] = []byte(strings.Replace(string(w.disk.blobs[damaged.ID]), `"judge":{`, `"judge":{"Next":"x",`, 1))
	w.boot()
	w.pass(time.Second, "orders", 1, false)
	if _, err := w.book.Run(lost.ID); gatewarden.ErrorCode(err) != gatewarden.NotFound {
		t.Errorf("the run that is no run: %v", err)
	}
	got := w.run(damaged.ID)
	if got.State != gatewarden.RunInconclusive || !strings.Contains(got.Reason, "could not read what it knew") {
		t.Errorf("the run without a judge is %s: %s", got.State, got.Reason)
	}
	if states := strings.Join(w.states(), ","); !strings.Contains(states, "gate payments inconclusive") {
		t.Errorf("the journal has %s", states)
	}
}

func TestTheNextRunTakesThePlaceOfTheOneBefore(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	before := w.start("orders", "a")
	w.pass(40*time.Second, "orders", 5, false)
	w.disk.ops, w.disk.dieAt, w.disk.dieAfter = 0, 1, true // the new run is written down, and nothing else
	if _, _, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders", Key: "b"}); err == nil {
		t.Fatal("it did not die")
	}
	w.boot()
	w.pass(15*time.Second, "orders", 5, false)
	latest, err := w.book.Latest("orders")
	if err != nil || latest.Key != "b" || latest.State != gatewarden.RunRunning || latest.Verdict.Canary.Requests == 0 {
		t.Errorf("the latest is %+v, %v", latest, err)
	}
	if got := w.run(before.ID); got.State != gatewarden.RunPass || got.Watched {
		t.Errorf("the one before is %s, watched %v", got.State, got.Watched)
	}
}

func TestAStoreThatCannotBeReadStopsTheStart(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	book, err := New(Config{
		NewJudge: newFakeJudge, LoadJudge: loadFakeJudge, Runs: unreadable{fakeStore{w.disk}}, Log: fakeLog{w.disk}, Journal: fakeJournal{w.disk},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := book.Restore(t.Context(), w.now); err == nil {
		t.Error("it starts without what it knew")
	}
}

// unreadable is a store that does not say what it has.
type unreadable struct{ fakeStore }

func (unreadable) All(context.Context, func(string, []byte) error) error {
	return errors.New("the disk is gone")
}

// A guard that is slow to start, as with a large state or a Kong that does not answer, gives
// Kong as long as any other to send again what it could not deliver.
func TestTheHoldAfterARestartBeginsWithTheFirstTick(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	w.pass(5*time.Second, "orders", 5, false)
	undelivered := w.now.Add(time.Second)
	w.now = w.now.Add(20 * time.Second)
	w.boot()
	w.now = w.now.Add(8 * time.Second) // until it listens
	w.pass(5*time.Second, "orders", 0, false)
	b := w.book.Batch(w.now)
	b.Add(record("orders", gatewarden.TrackCanary, undelivered, false, "sent again"))
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.pass(10*time.Second, "orders", 0, false)
	if v := w.run(run.ID).Verdict; v.Late != 0 || v.Canary.Requests != 46 {
		t.Errorf("%d requests of the canary count, and %d came too late", v.Canary.Requests, v.Late)
	}
}
