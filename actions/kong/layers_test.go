package kong

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// handler carries requests to a gateway without a network, so that time can be virtual.
type handler struct{ http.Handler }

func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

// ledger is a journal that outlives its engines.
type ledger struct {
	mu    sync.Mutex
	lines [][]byte
}

func (l *ledger) Append(_ context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, err := json.Marshal(e)
	l.lines = append(l.lines, line)
	return e, err
}

func (l *ledger) All(_ context.Context, _ gatewarden.EventType) iter.Seq2[gatewarden.Event, error] {
	l.mu.Lock()
	lines := slices.Clone(l.lines)
	l.mu.Unlock()
	return func(yield func(gatewarden.Event, error) bool) {
		for _, line := range lines {
			var e gatewarden.Event
			err := json.Unmarshal(line, &e)
			if !yield(e, err) {
				return
			}
		}
	}
}

// tb is what a rig needs of a test, be it one of rapid's.
type tb interface {
	Helper()
	Fatal(args ...any)
	Errorf(format string, args ...any)
}

// rig is an engine that works on a gateway with the shop on it, in virtual time. Two
// SLOs, a and b, have an answer each: a drains v2, b sets the first of its targets to 3.
type rig struct {
	t       tb
	ctx     context.Context
	kong    *fakekong.Kong
	exec    *Executor
	ledger  *ledger
	leases  actions.Leases
	engine  *actions.Engine
	burning map[string]bool
	begun   time.Time
	runs    int

	policies []gatewarden.ActionPolicy
	slos     []gatewarden.SLO

	trouble *trouble
	limits  *limits
	life    *life         // of the engine at hand
	off     *atomic.Int64 // the guard's clock, in nanoseconds
}

// now is the time by the guard's clock.
func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.off.Load())) }

func newRig(ctx context.Context, t tb) *rig {
	policy := func(name string, step gatewarden.Step) gatewarden.ActionPolicy {
		return gatewarden.ActionPolicy{Name: name, Steps: []gatewarden.Step{step}, Lease: time.Hour, Revert: gatewarden.RevertPolicy{After: time.Second}, Mode: gatewarden.ModeEnforce}
	}
	drain := gatewarden.Step{Kind: gatewarden.StepDrain, Weight: &gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}}
	return newRigOf(ctx, t, false, []gatewarden.ActionPolicy{
		policy("on-a", drain),
		policy("on-b", gatewarden.Step{Kind: gatewarden.StepWeight, Weight: &gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080", Weight: 3}}),
		policy("on-fail", drain),
	}, []gatewarden.SLO{{Name: "a", OnOutage: []string{"on-a"}}, {Name: "b", OnOutage: []string{"on-b"}}})
}

func newRigOf(ctx context.Context, t tb, dbless bool, policies []gatewarden.ActionPolicy, slos []gatewarden.SLO) *rig {
	r := &rig{
		t: t, ctx: ctx, kong: fakekong.New(fakekong.Config{Seed: 1, DBLess: dbless}), ledger: &ledger{}, leases: actions.NewMemoryLeases(),
		burning: map[string]bool{}, begun: time.Now(), policies: policies, slos: slos, trouble: &trouble{}, limits: &limits{}, off: &atomic.Int64{},
	}
	if err := r.kong.Load(shop()); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.exec, err = New(Config{AdminURL: "http://kong", Transport: handler{r.kong.Admin()}, DBLess: dbless}); err != nil {
		t.Fatal(err)
	}
	r.boot()
	return r
}

func (r *rig) boot() {
	r.t.Helper()
	r.life = &life{}
	exec, err := New(Config{AdminURL: "http://kong", Transport: &unlucky{handler{r.kong.Admin()}, r.trouble, r.life}, DBLess: r.exec.client.dbless})
	if err != nil {
		r.t.Fatal(err)
	}
	byKind := map[gatewarden.StepKind]actions.Executor{}
	for _, kind := range []gatewarden.StepKind{
		gatewarden.StepPlugin, gatewarden.StepWeight, gatewarden.StepDrain, gatewarden.StepShare, gatewarden.StepDivert, gatewarden.StepService, gatewarden.StepAdaptive,
	} {
		byKind[kind] = exec
	}
	engine, err := actions.New(actions.Config{
		Policies: r.policies, SLOs: r.slos, Executors: byKind, Journal: &mortal{r.ledger, r.life}, Leases: r.leases, Steerer: r.limits, Now: r.now,
	})
	if err == nil {
		err = engine.Start(r.ctx, r.now())
	}
	if err != nil && !r.life.over() {
		r.t.Fatal(err)
	}
	r.engine = engine
	synctest.Wait()
}

func (r *rig) close() {
	if err := r.engine.Close(r.ctx); err != nil {
		r.t.Errorf("closing: %v", err)
	}
	r.kong.Close()
}

func (r *rig) restart() {
	if err := r.engine.Close(r.ctx); err != nil {
		r.t.Errorf("closing: %v", err)
	}
	r.boot()
}

// revive starts an engine in the place of one that a kill has ended, if it has.
func (r *rig) revive() {
	for r.life.over() {
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		_ = r.engine.Close(ctx) // only to end its goroutines
		r.boot()
	}
}

// pass lets seconds pass.
func (r *rig) pass(seconds int) {
	for range seconds {
		var verdicts []gatewarden.Verdict
		for _, slo := range r.slos {
			name := slo.Name
			v := gatewarden.Verdict{At: r.now(), Kind: gatewarden.EventSLO, Name: name, State: gatewarden.Healthy, Reason: name}
			if r.burning[name] {
				v.State, v.Severity = gatewarden.Breach, gatewarden.SeverityOutage
			}
			verdicts = append(verdicts, v)
		}
		if err := r.engine.Tick(r.ctx, r.now(), verdicts); err != nil && !r.life.over() {
			r.t.Errorf("tick: %v", err)
		}
		synctest.Wait()
		r.revive()
		time.Sleep(time.Second)
	}
}

// move moves the run at hand, and reports whether it got there within a few seconds.
func (r *rig) move(percent float64) bool {
	m := actions.MoveRequest{
		Run:  &gatewarden.Run{ID: fmt.Sprint("r", r.runs), Canary: "orders", StartedAt: r.begun, Step: len(r.ledger.lines)},
		Step: gatewarden.ShareStep{Upstream: "orders-up", Tracks: tagged2("version:v1", "version:v2"), Percent: percent},
		Mode: gatewarden.ModeEnforce,
	}
	for range 3 {
		if done, _ := r.engine.Move(r.ctx, r.now(), m); done {
			return true
		}
		synctest.Wait()
		r.pass(1)
	}
	return false
}

func (r *rig) weights() string {
	r.t.Helper()
	all, err := r.exec.Targets(r.ctx, "orders-up")
	if err != nil {
		r.t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b Target) int { return strings.Compare(a.Target, b.Target) })
	var w []string
	for _, target := range all {
		w = append(w, fmt.Sprint(target.Weight))
	}
	return strings.Join(w, " ")
}

// setClock sets the guard's clock, as far from ours as the text says.
func (r *rig) setClock(off string) {
	r.t.Helper()
	d, err := time.ParseDuration(off)
	if err != nil {
		r.t.Fatal(err)
	}
	r.off.Store(int64(d))
}

// by hand sets a weight as a person would.
func (r *rig) byHand(target string, weight int) {
	r.t.Helper()
	up, err := r.exec.client.named(r.ctx, "upstream", "upstreams", "name", "orders-up")
	if err == nil {
		err = r.exec.client.setWeight(r.ctx, stringIn(up, "id"), target, weight)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) release() {
	if err := r.engine.Release(r.ctx, r.now(), "orders", ""); err != nil {
		r.t.Errorf("release: %v", err)
	}
	synctest.Wait()
	r.runs++
}

func (r *rig) revertRun() {
	if err := r.engine.Revert(r.ctx, actions.MoveLadder(fmt.Sprint("r", r.runs)), "zoë"); err != nil {
		r.t.Errorf("revert: %v", err)
	}
	synctest.Wait()
	r.pass(1)
	r.runs++
}

func (r *rig) answer() {
	err := r.engine.Answer(r.ctx, r.now(), gatewarden.Trigger{Kind: gatewarden.EventGate, Name: "orders", Since: time.Now(), Reason: "it failed"}, "on-fail")
	if err != nil {
		r.t.Errorf("answer: %v", err)
	}
	synctest.Wait()
}

// TestWeightsOfRunsAndLadders plays moves of a run and ladders that answer SLOs on the
// same targets. The shop's weights are 90 for v1, 10 and 5 for v2.
func TestWeightsOfRunsAndLadders(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   []string // the weights after each line of it
	}{
		"a drain over a run is undone to what the run has set by then": {
			`move 25
			a burns
			move 40
			a is well`,
			[]string{"75 17 8", "75 0 0", "60 0 0", "60 27 13"},
		},
		"a run that fails under a drain leaves nothing to give back": {
			`move 25
			a burns
			move 0
			a is well`,
			[]string{"75 17 8", "75 0 0", "90 0 0", "90 0 0"},
		},
		"a run that is taken back under a drain gives back what was before it": {
			`move 25
			a burns
			move 40
			revert
			a is well`,
			[]string{"75 17 8", "75 0 0", "60 0 0", "90 0 0", "90 10 5"},
		},
		"a run that begins under a drain": {
			`a burns
			move 25
			a is well
			revert`,
			[]string{"90 0 0", "75 0 0", "75 17 8", "90 10 5"},
		},
		"nothing may be left without a target, so the last step waits": {
			`move 25
			a burns
			cannot 100
			a is well
			move 100`,
			[]string{"75 17 8", "75 0 0", "75 0 0", "75 17 8", "0 10 5"},
		},
		"moves of a run come off at once, to before the first": {
			`move 5
			move 50
			restart
			move 100
			revert`,
			[]string{"113 4 2", "50 33 17", "50 33 17", "0 10 5", "90 10 5"},
		},
		"two ladders come off in the order in which they came": {
			`b burns
			a burns
			b is well
			a is well`,
			[]string{"90 3 5", "90 0 0", "90 0 0", "90 10 5"},
		},
		"and in the other": {
			`b burns
			a burns
			restart
			a is well
			b is well`,
			[]string{"90 3 5", "90 0 0", "90 0 0", "90 3 5", "90 10 5"},
		},
		"two ladders over a run": {
			`move 25
			b burns
			a burns
			b is well
			move 40
			restart
			a is well`,
			[]string{"75 17 8", "75 3 8", "75 0 0", "75 0 0", "60 0 0", "60 0 0", "60 27 13"},
		},
		"what a person set between comes back": {
			`move 25
			by hand
			a burns
			a is well`,
			[]string{"75 17 8", "75 44 8", "75 0 0", "75 44 8"},
		},
		"a failed canary stays drained when the service is well, and when a newer run begins": {
			`move 25
			a burns
			answer
			move 0
			a is well
			release
			restart
			move 5`,
			[]string{"75 17 8", "75 0 0", "75 0 0", "90 0 0", "90 0 0", "90 0 0", "90 0 0", "113 3 3"},
		},
		"the ground that a run left under a drain is found by a ladder that came later": {
			`move 10
			a burns
			revert
			b burns
			a is well
			b is well`,
			[]string{"107 8 4", "107 0 0", "90 0 0", "90 3 0", "90 3 5", "90 10 5"},
		},
		"a clock that is set back does not change what lies on what": {
			`b burns
			clock 20s
			a burns
			clock 0s
			b is well
			a is well`,
			[]string{"90 3 5", "90 3 5", "90 0 0", "90 0 0", "90 0 0", "90 10 5"},
		},
		"nor what has come before": {
			`hangs 1
			b burns
			clock 20s
			a is well
			clock 0s
			restart
			b is well
			b burns
			b is well`,
			[]string{"90 10 5", "90 3 5", "90 3 5", "90 3 5", "90 3 5", "90 3 5", "90 10 5", "90 3 5", "90 10 5"},
		},
		"the last target with a weight keeps it, until what lies beneath is undone": {
			`move 30
			a burns
			b burns
			move 100
			b is well
			a is well
			revert`,
			[]string{"70 20 10", "70 0 0", "70 3 0", "0 3 0", "0 3 0", "0 10 5", "90 10 5"},
		},
		"a run that moves under two ladders shows when both are undone": {
			`b burns
			a burns
			move 10
			a is well
			b is well
			revert`,
			[]string{"90 3 5", "90 0 0", "107 0 0", "107 3 4", "107 8 4", "90 10 5"},
		},
		"released weights are the ground that later ladders come back to": {
			`a burns
			answer
			release
			a is well`,
			[]string{"90 0 0", "90 0 0", "90 0 0", "90 0 0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t.Context(), t)
				defer r.close()
				for i, line := range strings.Split(c.script, "\n") {
					r.play(strings.TrimSpace(line))
					if diff := cmp.Diff(c.want[i], r.weights()); diff != "" {
						t.Fatalf("after %q: %s", strings.TrimSpace(line), diff)
					}
				}
			})
		})
	}
}

func (r *rig) play(line string) {
	r.t.Helper()
	var percent float64
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case word == "move" || word == "cannot":
		if _, err := fmt.Sscan(rest, &percent); err != nil {
			r.t.Fatal(err)
		}
		if r.move(percent) != (word == "move") {
			r.t.Errorf("%s: not so", line)
		}
	case rest == "burns":
		r.burning[word] = true
		r.pass(2)
	case rest == "is well":
		r.burning[word] = false
		r.pass(4)
	case word == "try":
		if _, err := fmt.Sscan(rest, &percent); err != nil {
			r.t.Fatal(err)
		}
		r.move(percent)
	case word == "unheard", word == "hangs", word == "lost", word == "killed", word == "dies":
		var n int
		if _, err := fmt.Sscan(rest, &n); err != nil {
			r.t.Fatal(err)
		}
		r.trouble.at(n, word)
	case word == "clock":
		r.setClock(rest)
	case word == "revert":
		r.revertRun()
	case word == "release":
		r.release()
	case word == "answer":
		r.answer()
	case word == "restart":
		r.restart()
	case line == "by hand":
		r.byHand("10.0.0.8:8080", 44)
	default:
		r.t.Fatal("what is " + line)
	}
}

// TestLayersComeOffInAnyOrder lets runs and ladders come and go at random; in the end all
// are gone, and the weights are those from before.
func TestLayersComeOffInAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(rapid.SampledFrom([]string{"move 10", "move 25", "move 0", "move 60", "revert", "a burns", "a is well", "b burns", "b is well", "restart"}), 1, 12).Draw(rt, "script")
		var failure string
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t.Context(), t)
			defer r.close()
			moved := false
			for _, line := range append(script, "a is well", "b is well", "revert") {
				if line == "revert" && !moved {
					continue
				}
				moved = (moved || strings.HasPrefix(line, "move")) && line != "revert"
				r.play(line)
			}
			r.pass(4)
			if got := r.weights(); got != "90 10 5" {
				failure = got
			}
		})
		if failure != "" {
			rt.Fatalf("the weights are %s", failure)
		}
	})
}

// TestANewRunWaitsForWhatTheLastOneHadHalfSet: a run is released while its move has half come about
// beneath a drain, and putting that back hangs.
func TestANewRunWaitsForWhatTheLastOneHadHalfSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t.Context(), t)
		defer r.close()
		r.play("move 30")
		r.play("a burns")
		r.trouble.at(1, "hangs")
		r.play("try 60")
		r.trouble.at(1, "hung")
		r.release()
		r.play("try 20")
		r.pass(10)
		r.play("a is well")
		if diff := cmp.Diff("80 13 7", r.weights()); diff != "" {
			t.Errorf("the new run's move: %s", diff)
		}
		r.play("revert")
		if diff := cmp.Diff("70 20 10", r.weights()); diff != "" {
			t.Errorf("what the last run had left is what was there before this one: %s\n%s", diff, r.ledger.story())
		}
	})
}

// TestWhatComesAfterItsCallWasCutShortIsPutBack: a run is released while its move is under way, and the
// request comes to the gateway when the weights have been put back.
func TestWhatComesAfterItsCallWasCutShortIsPutBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t.Context(), t)
		defer r.close()
		r.play("move 30")
		r.trouble.at(1, "late")
		r.play("try 60")
		r.release()
		r.pass(5)
		if diff := cmp.Diff("70 20 10", r.weights()); diff != "" {
			t.Errorf("%s\n%s", diff, r.ledger.story())
		}
	})
}

// TestWhatComesAfterItsMoveWasCutShortDoesNotStay: a newer move takes the place of one under way, and
// the request of that comes to the gateway when the newer one's weights are set.
func TestWhatComesAfterItsMoveWasCutShortDoesNotStay(t *testing.T) {
	t.Parallel()
	for _, trouble := range []string{"hung", "late"} { // the one that never comes shows what is right
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t.Context(), t)
			defer r.close()
			r.play("move 30")
			r.trouble.at(1, trouble)
			r.play("try 60")
			r.play("move 0")
			r.pass(5)
			if diff := cmp.Diff("70 0 0", r.weights()); diff != "" {
				t.Errorf("%s: %s\n%s", trouble, diff, r.ledger.story())
			}
		})
	}
}

// TestMovesOutliveLostAnswers is the same with changes that never arrive at the gateway, whose answers
// are lost or hang, or at which the guard dies.
func TestMovesOutliveLostAnswers(t *testing.T) {
	t.Parallel()
	lines := []string{
		"try 10", "try 25", "try 0", "try 60", "try 100", "a burns", "a is well", "b burns", "b is well", "restart",
		"unheard 1", "unheard 2", "unheard 3", "hangs 1", "hangs 2", "lost 1", "lost 2", "killed 1", "killed 2", "killed 3", "dies 1", "dies 2",
		"clock 20s", "clock -20s", "clock 0s",
	}
	for i := range *scripts {
		seed := *firstScript + uint64(i)
		rnd := rand.New(rand.NewPCG(seed, 13))
		script := []string{"try 30"} // there is something to take back
		for range 1 + rnd.IntN(20) {
			script = append(script, lines[rnd.IntN(len(lines))])
		}
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t.Context(), t)
			defer r.close()
			for _, line := range append(script, "a is well", "b is well") {
				r.play(line)
			}
			r.trouble.at(0, "")
			r.pass(40)
			r.revertRun()
			r.pass(40)
			if got := r.weights(); got != "90 10 5" {
				t.Errorf("script %d, %q: the weights are %s\n%s", seed, script, got, r.ledger.story())
			}
		})
		if t.Failed() {
			return
		}
	}
}

// story is the journal as text.
func (l *ledger) story() string {
	var b strings.Builder
	for _, line := range l.lines {
		var e gatewarden.Event
		if json.Unmarshal(line, &e) == nil {
			fmt.Fprintf(&b, "%s %s %s: %s\n", e.At.Format("15:04:05.000"), e.Name, e.State, e.Reason)
		}
	}
	return b.String()
}
