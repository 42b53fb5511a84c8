package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakejenkins"
)

// The tests of this file are pipelines: a Jenkins job asks the real guard by the real
// command, the way the shared library does, while customers come through the gateway.

// The weights of v1 and v2. A canary with few of the requests fails sooner: the fewer it
// has, the more it says that all failures are its.
var (
	half  = [2]int{100, 100}
	tenth = [2]int{90, 10}
	none  = [2]int{100, 0}
)

func TestAHealthyReleasePasses(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(soon), half, 100)
	build := r.begin()
	r.ended(build, 0)
	run := r.report(build)
	if run.State != gatewarden.RunPass || run.Verdict == nil || run.Verdict.Canary.Requests == 0 || run.Parameters["BUILD_TAG"] == "" {
		t.Errorf("the report says %+v", run)
	}
	if took := run.EndedAt.Sub(run.StartedAt); took < 5*time.Second {
		t.Errorf("it passed after %s, before min_duration", took)
	}
	if suite := r.junit(build); suite.Name != "gatewarden.gate.orders" || suite.Tests == 0 || suite.Failures+suite.Errors > 0 {
		t.Errorf("the test results are %+v", suite)
	}
	r.ranOnce(promoteJob)
	r.neverRan(rollbackJob)
	if w := r.weights(); w != half {
		t.Errorf("the weights are %v, and the guard had no business to move them", w)
	}
}

func TestABadReleaseFailsAndIsRolledBackOnce(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(soon), tenth, 100)
	r.bad.Store(true)
	build := r.begin()
	r.ended(build, exitFail)
	if suite := r.junit(build); suite.Failures == 0 || suite.Errors > 0 {
		t.Errorf("the test results are %+v", suite)
	}
	if run := r.report(build); run.State != gatewarden.RunFail || run.Verdict.Canary.Failures == 0 || len(run.Verdict.Suspects) == 0 {
		t.Errorf("the report says %+v", run)
	}
	r.ranOnce(rollbackJob)
	r.neverRan(promoteJob)
	if w := r.weights(); w[1] != 0 || w[0] == 0 {
		t.Errorf("the weights are %v, want the canary drained", w)
	}
}

func TestACanaryWithoutTrafficIsInconclusive(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules("min_duration: 1s", "deadline: 6s"), none, 100)
	build := r.begin()
	r.ended(build, exitOpen)
	if run := r.report(build); run.State != gatewarden.RunInconclusive || !strings.Contains(run.Reason, "no answer by the deadline") {
		t.Errorf("the report says %s: %s", run.State, run.Reason)
	}
	if suite := r.junit(build); suite.Failures+suite.Errors > 0 {
		t.Errorf("the test results are %+v", suite)
	}
	r.neverRan(rollbackJob, promoteJob)
	if w := r.weights(); w != none {
		t.Errorf("the weights are %v", w)
	}
}

func TestAnAbortedBuildCancelsItsRun(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(late), half, 100)
	build := r.begin()
	r.untilJudged(time.Second)
	r.stop(build)
	if ended := r.ended(build, 1, "is cancelled"); ended.Result != fakejenkins.Aborted {
		t.Errorf("the build is %s", ended.Result)
	}
	if run := r.only(); run.State != gatewarden.RunCancelled || !strings.Contains(run.Reason, "gate was told to end") || !strings.Contains(run.Reason, "jenkins") {
		t.Errorf("the run is %s: %s", run.State, run.Reason)
	}
	if suite := r.junit(build); suite.Errors == 0 {
		t.Errorf("the test results are %+v, want an error", suite)
	}
	r.neverRan(rollbackJob, promoteJob)
}

func TestTheVerdictOutlivesTheGuard(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]struct {
		weights [2]int
		bad     bool
		code    int
		job     string
	}{
		"a healthy canary passes": {weights: half, job: promoteJob},
		"a bad canary fails":      {weights: tenth, bad: true, code: exitFail, job: rollbackJob},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			r := openRelease(t, releaseRules("min_duration: 10s", "deadline: 2m"), c.weights, 100)
			r.bad.Store(c.bad)
			build := r.begin()
			r.untilJudged(2 * time.Second)
			r.killAndRestart()
			r.ended(build, c.code, "The guard answers again")
			r.ranOnce(c.job)
			if run := r.only(); run.State != r.report(build).State {
				t.Errorf("the run is %s, and the report says %s", run.State, r.report(build).State)
			}
		})
	}
}

func TestACutNetworkIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(soon), half, 100)
	w := layWire(t, r.guard)
	r.server = w.url
	build := r.begin()
	run := r.untilJudged(time.Second)
	w.setCut(true)
	r.untilSays(build, "does not answer")
	w.setCut(false)
	r.ended(build, 0, "The guard answers again")
	if again := r.report(build); again.ID != run.ID || again.State != gatewarden.RunPass {
		t.Errorf("the report is about %s: %s", again.ID, again.State)
	}
	r.only()
}

func TestANetworkThatStaysCutIsAnError(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(soon), half, 100)
	w := layWire(t, r.guard)
	r.server = w.url
	build := r.begin("UNREACHABLE", "20s") // a busy machine needs some of it to begin the run
	run := r.untilJudged(0)
	w.setCut(true)
	r.ended(build, 1, "there was no answer for", "gatewarden gate orders --run "+run.ID)
	if suite := r.junit(build); suite.Errors == 0 {
		t.Errorf("the test results are %+v, want an error", suite)
	}
}

// untilSays waits until a build's console says something.
func (r *release) untilSays(number int, text string) {
	r.t.Helper()
	eventually(r.t, "the console to say "+text, func() error {
		for _, run := range r.jenkins.Runs(deployJob) {
			if run.Number == number && strings.Contains(run.Console, text) {
				return nil
			}
		}
		return errors.New("it does not")
	})
}

func TestAPersonDecidesDuringTheRun(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(late), half, 100)
	build := r.begin()
	run := r.untilJudged(0)
	r.command("canary", "pass", run.ID, "--server", r.guard.api, "--by", "alice", "--reason", "the errors are the load test's")
	r.ended(build, 0)
	if told := r.report(build); told.Override == nil || told.Override.By != "alice" || told.State != gatewarden.RunPass {
		t.Errorf("the report says %+v", told)
	}
	r.ranOnce(promoteJob)
}

// command runs the program to its end, which must be a good one.
func (r *release) command(args ...string) string {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), giveUpAfter)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("gatewarden %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestTheGuardMovesTheWeightsStepByStep(t *testing.T) {
	t.Parallel()
	for sentence, killed := range map[string]bool{"in one life": false, "also when it dies on the way": true} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			r := openRelease(t, releaseRules("min_duration: 4s", "deadline: 5m", "steps: [5, 25, 50]"), none, 400)
			build := r.begin()
			if killed {
				r.untilMoved(2)
				r.killAndRestart()
			}
			r.ended(build, 0)
			r.ranOnce(promoteJob)
			want := []string{
				"step 1 of 3: the canary is given 5 % of the requests", "step 2 of 3: the canary is given 25 % of the requests",
				"step 3 of 3: the canary is given 50 % of the requests", "promoted: the canary is given all requests",
			}
			if moves := r.untilMoved(len(want)); !slices.Equal(moves, want) {
				t.Errorf("the moves are %q", moves)
			}
			if w := r.weights(); w[0] != 0 || w[1] == 0 {
				t.Errorf("the weights are %v, want all for the canary", w)
			}
			if v := r.report(build).Verdict; v.Canary.Requests == 0 || v.Canary.Requests >= v.Baseline.Requests {
				t.Errorf("the traffic did not follow the weights: %+v and %+v", v.Canary, v.Baseline)
			}
		})
	}
}

// untilMoved waits until the timeline has so many moves of the weights, and returns what it
// says of each.
func (r *release) untilMoved(n int) (moves []string) {
	r.t.Helper()
	eventually(r.t, "the weights to be moved", func() error {
		events, err := r.guard.events(0)
		if err != nil {
			return err
		}
		moves = moves[:0]
		for _, e := range events {
			if e.Type == gatewarden.EventCanary && e.State == "step" {
				moves = append(moves, e.Reason)
			}
		}
		moves = slices.Compact(moves) // a guard that is killed may tell of a move a second time
		if len(moves) < n {
			return fmt.Errorf("only %q", moves)
		}
		return nil
	})
	return moves
}

func TestABadReleaseIsSteppedBackAtOnce(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules("min_duration: 4s", "deadline: 5m", "steps: [5, 25, 50]"), none, 400)
	r.bad.Store(true)
	build := r.begin()
	r.ended(build, exitFail)
	r.ranOnce(rollbackJob)
	eventually(t, "the canary to be without traffic", func() error {
		if w := r.weights(); w[1] != 0 || w[0] == 0 {
			return fmt.Errorf("the weights are %v", w)
		}
		return nil
	})
	if run := r.report(build); run.Step != 1 {
		t.Errorf("it was at step %d when it failed", run.Step)
	}
}

func TestTwoBuildsThatAskTheSameShareARun(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(soon), half, 100)
	first, second := r.begin("KEY", "release-7"), r.begin("KEY", "release-7")
	r.ended(first, 0)
	r.ended(second, 0)
	if run := r.only(); r.report(first).ID != run.ID || r.report(second).ID != run.ID {
		t.Errorf("there is %s, and the reports are about %s and %s", run.ID, r.report(first).ID, r.report(second).ID)
	}
	r.ranOnce(promoteJob)
}

func TestTwoReleasesAtOnceAreToldOfEachOther(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(soon), half, 100)
	first := r.begin("KEY", "release-7")
	run := r.untilJudged(0)
	second := r.begin("KEY", "release-8")
	r.ended(second, 1, "the run "+run.ID+" of orders is running", "release-7")
	r.ended(first, 0)
	r.only()
}

// A second signal ends a gate at once; a build's agent that is lost ends it without one.
// Its run goes on, and the next try of the stage finds it by the key.
func TestAStageThatIsTriedAgainFindsItsRun(t *testing.T) {
	t.Parallel()
	r := openRelease(t, releaseRules(soon), half, 100)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	lost := exec.Command(self, "gate", "orders", "--server", r.server, "--key", "release-7")
	lost.Env = append(os.Environ(), mainEnv+"=1")
	if err := lost.Start(); err != nil {
		t.Fatal(err)
	}
	run := r.untilJudged(0)
	if err := lost.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = lost.Wait() // it was killed
	build := r.begin("KEY", "release-7")
	r.ended(build, 0)
	if again := r.report(build); again.ID != run.ID {
		t.Errorf("it asked for %s, not for %s again", again.ID, run.ID)
	}
	r.only()
}
