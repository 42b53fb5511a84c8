package gates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

func TestWhatCouldNotBeDoneIsDoneLater(t *testing.T) {
	down := gatewarden.Errorf(gatewarden.Unavailable, "not now")
	for sentence, c := range map[string]func(d *disk, err error){
		"the journal":  func(d *disk, err error) { d.journal = err },
		"the policies": func(d *disk, err error) { d.answered = err },
		"the store":    func(d *disk, err error) { d.broken = err },
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, canaryOf("orders"))
			run := w.start("orders", "")
			w.pass(2*time.Second, "orders", 5, false)
			c(w.disk, down)
			w.pass(10*time.Second, "orders", 5, true)
			if got := w.run(run.ID); got.State != gatewarden.RunFail {
				t.Errorf("meanwhile it is %s", got.State)
			}
			if !errors.Is(w.tickErr, down) {
				t.Errorf("the tick says %v", w.tickErr)
			}
			c(w.disk, nil)
			w.pass(5*time.Second, "orders", 0, false)
			if diff := cmp.Diff([]string{"gate orders running", "gate orders fail"}, w.states()); diff != "" {
				t.Errorf("the journal (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"drain orders fail"}, w.disk.answers); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			w.boot()
			if got := w.run(run.ID); got.State != gatewarden.RunFail || w.book.runs[run.ID].busy() {
				t.Errorf("after a restart it is %s, with %+v to do", got.State, w.book.runs[run.ID].todo)
			}
		})
	}
}

func TestAnAnswerThatNobodyKnowsIsNotTriedAgain(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.disk.answered = gatewarden.Errorf(gatewarden.NotFound, "there is no action drain")
	w.start("orders", "")
	w.pass(20*time.Second, "orders", 5, true)
	w.disk.answered = nil
	w.pass(5*time.Second, "orders", 0, false)
	if len(w.disk.answers) != 0 || w.tickErr != nil {
		t.Errorf("answers %v, %v", w.disk.answers, w.tickErr)
	}
}

func TestARunThatCannotBeWrittenDownIsNotStarted(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.pass(20*time.Second, "orders", 1, false)
	w.disk.broken = gatewarden.Errorf(gatewarden.Unavailable, "the disk is full")
	if _, _, err := w.book.Start(t.Context(), w.now, Request{Canary: "orders", Key: "k"}); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("it is started: %v", err)
	}
	if runs := w.book.Runs(Filter{}); len(runs) != 0 {
		t.Errorf("there are %v", runs)
	}
	w.disk.broken = nil
	run := w.start("orders", "k")
	w.pass(10*time.Second, "orders", 1, false)
	if got := w.run(run.ID).Verdict.History; time.Duration(got) < 30*time.Second {
		t.Errorf("the failure has cost the history: %s", got)
	}
	w.disk.broken = errors.New("the disk is full again")
	if _, err := w.book.Cancel(t.Context(), w.now, run.ID, "ada", ""); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("it is cancelled: %v", err)
	}
	if got := w.run(run.ID); got.State != gatewarden.RunRunning {
		t.Errorf("it is %s, but nobody can rely on it", got.State)
	}
}

func TestTheTrailIsThinnedOut(t *testing.T) {
	canary := canaryOf("orders")
	canary.Deadline, canary.MinDuration = 6*time.Hour, 5*time.Hour
	w := newWorld(t, canary)
	run := w.start("orders", "")
	w.pass(2*time.Hour, "orders", 0, false)
	trail := w.run(run.ID).Trail
	if len(trail) < maxTrail/2 || len(trail) >= maxTrail {
		t.Errorf("two hours have %d points", len(trail))
	}
	for i := 1; i < len(trail); i++ {
		if gap := trail[i].At.Sub(trail[i-1].At); gap != trail[1].At.Sub(trail[0].At) {
			t.Fatalf("point %d comes %s after the one before", i, gap)
		}
	}
}

func TestOldRunsAreForgotten(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.book.cfg.Keep = 3
	var ids []string
	for i := range 5 {
		run := w.start("orders", fmt.Sprint(i))
		ids = append(ids, run.ID)
		if _, err := w.book.Cancel(t.Context(), w.now, run.ID, "ada", ""); err != nil {
			t.Fatal(err)
		}
		w.pass(2*time.Second, "orders", 0, false)
	}
	w.start("orders", "last")
	w.pass(2*time.Second, "orders", 0, false)
	var kept []string
	for _, r := range w.book.Runs(Filter{Canary: "orders", State: gatewarden.RunCancelled}) {
		kept = append(kept, r.ID)
	}
	if len(kept) < 3 || len(kept) > 4 || kept[0] != ids[4] {
		t.Errorf("kept are %v of %v", kept, ids)
	}
	if w.disk.blobs[ids[0]] != nil {
		t.Error("the oldest is still written down")
	}
	if limited := w.book.Runs(Filter{Limit: 2}); len(limited) != 2 || limited[0].State != gatewarden.RunRunning {
		t.Errorf("the newest two are %v", limited)
	}
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, canaryOf("orders"))
		w.now = time.Now()
		run := w.start("orders", "")
		wait := func(seen string, d time.Duration) (gatewarden.Run, time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			began := time.Now()
			got, err := w.book.Wait(ctx, run.ID, seen)
			if err != nil {
				t.Error(err)
			}
			return got, time.Since(began)
		}
		if _, took := wait("", time.Minute); took != time.Minute {
			t.Errorf("with nothing new it took %s", took)
		}
		if _, took := wait("0", time.Minute); took != 0 {
			t.Errorf("another version was seen, and it took %s", took)
		}
		if _, took := wait("pass", time.Minute); took != 0 {
			t.Errorf("another state was seen, and it took %s", took)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if got, took := wait(fmt.Sprint(run.Version), time.Hour); got.Version == run.Version || took > 2*time.Second {
				t.Errorf("after %s it is at version %d", took, got.Version)
			}
			if got, _ := wait("running", time.Hour); got.State != gatewarden.RunInconclusive {
				t.Errorf("it is %s", got.State)
			}
		}()
		synctest.Wait()
		w.live(3 * time.Minute)
		<-done
		if _, took := wait("inconclusive", time.Minute); took != 0 {
			t.Errorf("when it is over it took %s", took)
		}
		if _, err := w.book.Wait(t.Context(), "x", ""); gatewarden.ErrorCode(err) != gatewarden.NotFound {
			t.Errorf("a run that is none: %v", err)
		}
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	d := newDisk()
	book, err := New(Config{
		NewJudge: newFakeJudge, LoadJudge: loadFakeJudge, Journal: fakeJournal{d}, Tracks: d, Answer: d.answer, NewID: func() string { return "x" }, Registerer: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := book.SetCanaries([]gatewarden.Canary{canaryOf("orders")}); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, disk: d, book: book, now: t0}
	w.start("orders", "")
	w.pass(10*time.Second, "orders", 2, false)
	const want = `
# HELP gatewarden_gates_evidence Evidence about a canary that is judged, for a fail or for a pass, as a common logarithm.
# TYPE gatewarden_gates_evidence gauge
gatewarden_gates_evidence{canary="orders",for="fail"} 0
gatewarden_gates_evidence{canary="orders",for="pass"} 0.24
# HELP gatewarden_gates_observations_total Requests that were shown to the judges of runs, by track.
# TYPE gatewarden_gates_observations_total counter
gatewarden_gates_observations_total{canary="orders",track="baseline"} 40
gatewarden_gates_observations_total{canary="orders",track="canary"} 40
# HELP gatewarden_gates_running Runs of canaries that have no answer yet.
# TYPE gatewarden_gates_running gauge
gatewarden_gates_running 1
# HELP gatewarden_gates_runs_total Runs of canaries by the state that they came to; running counts those that began.
# TYPE gatewarden_gates_runs_total counter
gatewarden_gates_runs_total{state="cancelled"} 0
gatewarden_gates_runs_total{state="fail"} 0
gatewarden_gates_runs_total{state="inconclusive"} 0
gatewarden_gates_runs_total{state="pass"} 0
gatewarden_gates_runs_total{state="running"} 1
`
	err = testutil.GatherAndCompare(reg, strings.NewReader(want),
		"gatewarden_gates_evidence", "gatewarden_gates_observations_total", "gatewarden_gates_running", "gatewarden_gates_runs_total")
	if err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	w.pass(3*time.Minute, "orders", 0, false)
	if n, err := testutil.GatherAndCount(reg, "gatewarden_gates_evidence"); err != nil || n != 0 {
		t.Errorf("a canary that nobody judges has %d gauges, %v", n, err)
	}
}

func TestEverybodyAtOnce(t *testing.T) {
	w := newWorld(t, canaryOf("orders"), canaryOf("payments"))
	var all sync.WaitGroup
	const rounds = 60
	for _, service := range []string{"orders", "payments"} {
		all.Go(func() {
			for i := range rounds {
				at := t0.Add(time.Duration(i) * time.Second)
				b := w.book.Batch(at)
				b.Add(record(service, gatewarden.TrackCanary, at, i%3 == 0, fmt.Sprint(service, i)))
				b.Add(record(service, gatewarden.TrackBaseline, at, false, fmt.Sprint(service, i, "b")))
				b.Commit(t.Context())
			}
		})
		all.Go(func() {
			for i := range rounds {
				run, _, err := w.book.Start(t.Context(), t0.Add(time.Duration(i)*time.Second), Request{Canary: service, Key: fmt.Sprint(i), Replace: i%2 == 0})
				if gatewarden.ErrorCode(err) == gatewarden.Conflict {
					continue
				}
				if err != nil {
					t.Error(err)
				}
				if i%5 == 0 {
					_, _ = w.book.Cancel(t.Context(), t0.Add(time.Duration(i)*time.Second), run.ID, "ada", "") // it may be over
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, _ = w.book.Wait(ctx, run.ID, "running")
				cancel()
			}
		})
	}
	all.Go(func() {
		for i := range 2 * rounds {
			_ = w.book.Tick(t.Context(), t0.Add(time.Duration(i)*500*time.Millisecond))
			_ = w.book.Keep(t.Context(), t0.Add(time.Duration(i)*500*time.Millisecond))
		}
	})
	all.Go(func() {
		for range rounds {
			w.book.Runs(Filter{})
			w.book.Canaries()
			if err := w.book.SetCanaries(w.canaries); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	w.now = t0.Add(rounds * time.Second)
	w.pass(3*time.Minute, "orders", 0, false)
	if err := w.book.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, r := range w.book.Runs(Filter{}) {
		if !r.Over() || r.Watched {
			t.Errorf("%s is %s, watched %v", r.ID, r.State, r.Watched)
		}
	}
	if len(w.disk.messages) == 0 && len(w.disk.blobs) == 0 {
		t.Error("nothing was written down")
	}
}

// BenchmarkTick is a tick with 200 runs side by side, the writing of runs and histories
// among it; the judges are the tests' own.
func BenchmarkTick(b *testing.B) {
	var canaries []gatewarden.Canary
	for i := range 200 {
		c := canaryOf(fmt.Sprintf("service-%d", i))
		c.Deadline, c.MinDuration, c.Steps = 24*time.Hour, 23*time.Hour, []int{5, 10, 25, 50}
		canaries = append(canaries, c)
	}
	w := newWorld(b, canaries...)
	for i := range canaries {
		w.start(canaries[i].Name, "")
	}
	for b.Loop() {
		w.now = w.now.Add(500 * time.Millisecond)
		if err := w.book.Tick(b.Context(), w.now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBatch is a record of a service that has a canary, in a batch of its own.
func BenchmarkBatch(b *testing.B) {
	for _, running := range []bool{false, true} {
		b.Run(fmt.Sprintf("running=%v", running), func(b *testing.B) {
			w := newWorld(b, canaryOf("orders"))
			if running {
				w.start("orders", "")
			}
			r := record("orders", gatewarden.TrackCanary, t0, false, "id")
			b.ReportAllocs()
			for b.Loop() {
				batch := w.book.Batch(t0)
				batch.Add(r)
				batch.Commit(b.Context())
			}
		})
	}
}

// odd is a judge whose evidence is no number.
type odd struct{ *fakeJudge }

func (o odd) MarshalJSON() ([]byte, error) { return json.Marshal(math.NaN()) }

func (o odd) Verdict(at time.Time) gatewarden.CanaryVerdict {
	v := o.fakeJudge.Verdict(at)
	nan := math.NaN()
	v.Evidence, v.Split.Evidence, v.Checks[0].Evidence, v.Checks[0].Pass = math.Inf(1), math.Inf(-1), nan, &nan
	return v
}

// Nor does a history: the log of observations grew for as long as its canary had traffic.
func TestAHistoryThatCannotBeWrittenDownKeepsNothingWaiting(t *testing.T) {
	w := newWorld(t, canaryOf("orders"), canaryOf("payments"))
	var said strings.Builder
	w.book.cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
	past := &w.book.slots[0].past
	past.judges[0].judge = odd{past.judges[0].judge.(*fakeJudge)}
	w.start("payments", "")
	for range 400 {
		w.send("orders", gatewarden.TrackBaseline, 1, false)
		w.pass(500*time.Millisecond, "payments", 1, false)
	}
	if w.disk.blobs[pastPrefix+"orders"] != nil || !strings.Contains(said.String(), "a baseline's history is not written down") {
		t.Errorf("it is written down, or nobody is told that it is not:\n%s", said.String())
	}
	if w.disk.blobs[pastPrefix+"payments"] == nil {
		t.Error("the history of the other canary is not written down")
	}
	if n := len(w.disk.messages); n > 200 {
		t.Errorf("the log has %d messages, those of the last minute and more", n)
	}
	if w.tickErr != nil {
		t.Error(w.tickErr)
	}
}

func TestARunThatCannotBeWrittenDownKeepsNoOtherWaiting(t *testing.T) {
	w := newWorld(t, canaryOf("orders"), canaryOf("payments"))
	bad, good := w.start("orders", ""), w.start("payments", "")
	r := w.book.runs[bad.ID]
	r.judge = odd{r.judge.(*fakeJudge)}
	r.dirty = true
	w.pass(20*time.Second, "payments", 5, true)
	if _, err := json.Marshal(w.run(bad.ID)); err != nil {
		t.Errorf("it can't be shown: %v", err)
	}
	if w.tickErr == nil {
		t.Error("nobody is told that it can't be written down")
	}
	w.boot()
	if got := w.run(good.ID); got.State != gatewarden.RunFail || len(w.disk.answers) != 1 {
		t.Errorf("the other one is %s after a restart, answered by %v", got.State, w.disk.answers)
	}
}
