package actions

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// moveTo is a request of the run "r1" of orders, at one of its steps.
func moveTo(w *world, mode gatewarden.Mode, step int, percent float64) MoveRequest {
	return MoveRequest{
		Run:  &gatewarden.Run{ID: "r1", Canary: "orders", State: gatewarden.RunRunning, StartedAt: w.begun, Step: step, Reason: "it looks well"},
		Step: gatewarden.ShareStep{Upstream: "orders", Percent: percent},
		Mode: mode,
	}
}

// drive asks for a move with each tick of a second, for so long, and returns what came
// of it: how many ticks until it was done, and each error once, in order.
func drive(t *testing.T, w *world, m MoveRequest, ticks int) (doneAt int, errs []string) {
	t.Helper()
	doneAt = -1
	for i := range ticks {
		done, err := w.engine.Move(t.Context(), time.Now(), m)
		if err != nil && (len(errs) == 0 || errs[len(errs)-1] != err.Error()) {
			errs = append(errs, err.Error())
		}
		if code := gatewarden.ErrorCode(err); err != nil && (code == gatewarden.Unavailable) == isOver(err) {
			t.Errorf("whether a run is to wait for it is told by %s: %v", code, err)
		}
		if done && doneAt < 0 {
			doneAt = i
		}
		if done && err != nil {
			t.Errorf("done with an error: %v", err)
		}
		tick(t, w, nil)
	}
	return doneAt, errs
}

// isOver reports whether an error says that a move will never be made.
func isOver(err error) bool {
	return slices.ContainsFunc([]string{"taken back", "put back", "rejected", "took the place", "is failed", "somebody else"},
		func(words string) bool { return strings.Contains(err.Error(), words) })
}

func TestMoves(t *testing.T) {
	for name, c := range map[string]struct {
		play func(t *testing.T, w *world)
		want string
		left []string
	}{
		"each move takes the place of the one before": {
			play: func(t *testing.T, w *world) {
				for i, p := range []float64{5, 25, 100} {
					if at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, i+1, p), 3); at != 1 || errs != nil {
						t.Errorf("to %v: done at %d, %v", p, at, errs)
					}
				}
			},
			want: `0s move-r1-1-5 started
				0s move-r1-1-5 applied
				3s move-r1-2-25 started
				3s move-r1-2-25 applied
				3s move-r1-1-5 replaced
				6s move-r1-3-100 started
				6s move-r1-3-100 applied
				6s move-r1-2-25 replaced`,
			left: []string{"move-r1-1-5", "move-r1-2-25", "move-r1-3-100"},
		},
		"after a restart it is known already": {
			play: func(t *testing.T, w *world) {
				drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 2)
				w.kill()
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 2); at != 0 || errs != nil {
					t.Errorf("done at %d, %v", at, errs)
				}
				time.Sleep(24 * time.Hour) // no lease runs out
				tick(t, w, nil)
			},
			want: `0s move-r1-1-5 started
				0s move-r1-1-5 applied`,
			left: []string{"move-r1-1-5"},
		},
		"observe mode is done with saying so, once": {
			play: func(t *testing.T, w *world) {
				if err := w.engine.Pause(t.Context(), "zoë", "lunch"); err != nil {
					t.Fatal(err)
				}
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeObserve, 1, 5), 3); at != 0 || errs != nil {
					t.Errorf("done at %d, %v", at, errs)
				}
				w.kill()
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeObserve, 1, 5), 3); at != 0 || errs != nil {
					t.Errorf("after a restart done at %d, %v", at, errs)
				}
			},
			want: `0s guard paused
				0s move-r1-1-5 skipped`,
		},
		"paused it waits, and says so once": {
			play: func(t *testing.T, w *world) {
				if err := w.engine.Pause(t.Context(), "zoë", "lunch"); err != nil {
					t.Fatal(err)
				}
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 5); at != -1 || len(errs) != 1 || errs[0] != "paused by zoë: lunch" {
					t.Errorf("done at %d, %v", at, errs)
				}
				if err := w.engine.Resume(t.Context(), "zoë"); err != nil {
					t.Fatal(err)
				}
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 3); at != 1 || errs != nil {
					t.Errorf("resumed: done at %d, %v", at, errs)
				}
			},
			want: `0s guard paused
				0s move-r1-1-5 skipped
				5s guard resumed
				5s move-r1-1-5 started
				5s move-r1-1-5 applied`,
			left: []string{"move-r1-1-5"},
		},
		"approve mode waits for a person": {
			play: func(t *testing.T, w *world) {
				at, errs := drive(t, w, moveTo(w, gatewarden.ModeApprove, 1, 5), 3)
				if at != -1 || len(errs) != 1 || !strings.Contains(errs[0], "waits for approval") {
					t.Errorf("done at %d, %v", at, errs)
				}
				if err := w.engine.Approve(t.Context(), "move-r1-1-5", "zoë"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeApprove, 1, 5), 3); at != 0 || errs != nil {
					t.Errorf("approved: done at %d, %v", at, errs)
				}
			},
			want: `0s move-r1-1-5 waiting
				3s move-r1-1-5 waiting
				3s move-r1-1-5 started
				3s move-r1-1-5 applied`,
			left: []string{"move-r1-1-5"},
		},
		"a rejected move is not made": {
			play: func(t *testing.T, w *world) {
				drive(t, w, moveTo(w, gatewarden.ModeApprove, 1, 5), 1)
				if err := w.engine.Reject(t.Context(), "move-r1", "zoë", "not today"); err != nil {
					t.Fatal(err)
				}
				at, errs := drive(t, w, moveTo(w, gatewarden.ModeApprove, 1, 5), 3)
				if at != -1 || len(errs) != 1 || !strings.Contains(errs[0], "rejected") {
					t.Errorf("done at %d, %v", at, errs)
				}
			},
			want: `0s move-r1-1-5 waiting
				1s move-r1-1-5 skipped`,
		},
		"what Kong's state forbids is said once, and made when it allows it": {
			play: func(t *testing.T, w *world) {
				w.outside.fault = func(string, string) error {
					return gatewarden.Errorf(gatewarden.NotFound, "no target of the canary")
				}
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 20); at != -1 || len(errs) != 1 || errs[0] != "no target of the canary" {
					t.Errorf("done at %d, %v", at, errs)
				}
				w.outside.fault = nil
				if at, _ := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 8); at < 0 {
					t.Error("it was not made")
				}
			},
			want: `0s move-r1-1-5 skipped
				20s move-r1-1-5 started
				20s move-r1-1-5 applied`,
			left: []string{"move-r1-1-5"},
		},
		"a move that fails says why, also when it is not put back at once": {
			play: func(t *testing.T, w *world) {
				w.outside.after = func(call, _ string) error {
					if call == "apply" {
						return gatewarden.Errorf(gatewarden.Conflict, "somebody else sets weights")
					}
					return nil
				}
				w.outside.fault = func(call, _ string) error {
					if call == "revert" && time.Since(w.begun) < time.Second {
						return gatewarden.Errorf(gatewarden.Unavailable, "it is down")
					}
					return nil
				}
				var err error
				for range 5 {
					_, err = w.engine.Move(t.Context(), time.Now(), moveTo(w, gatewarden.ModeEnforce, 1, 5))
					tick(t, w, nil)
				}
				if err == nil || !strings.Contains(err.Error(), "somebody else sets weights") {
					t.Errorf("it says %v", err)
				}
			},
			want: `0s move-r1-1-5 started
				0s move-r1-1-5 reverting
				0s move-r1-1-5 reverting
				1.5s move-r1-1-5 failed`,
		},
		"a move that fails leaves the one before in place": {
			play: func(t *testing.T, w *world) {
				drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 2)
				w.outside.after = func(call, _ string) error {
					if call == "apply" {
						return gatewarden.Errorf(gatewarden.Conflict, "somebody else sets weights")
					}
					return nil
				}
				at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 2, 25), 5)
				if at != -1 || len(errs) != 1 || !strings.Contains(errs[0], "somebody else sets weights") {
					t.Errorf("done at %d, %v", at, errs)
				}
				w.kill()
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				at, errs = drive(t, w, moveTo(w, gatewarden.ModeEnforce, 2, 25), 2)
				if at != -1 || len(errs) != 1 || !strings.Contains(errs[0], "failed") {
					t.Errorf("after a restart done at %d, %v", at, errs)
				}
			},
			want: `0s move-r1-1-5 started
				0s move-r1-1-5 applied
				2s move-r1-2-25 started
				2s move-r1-2-25 reverting
				2s move-r1-2-25 failed`,
			left: []string{"move-r1-1-5"},
		},
		"a newer move does not wait for one whose call hangs": {
			play: func(t *testing.T, w *world) {
				drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 2)
				w.outside.fault = func(call, id string) error {
					if call == "apply" && id == "move-r1-2-25" {
						return gatewarden.Errorf(gatewarden.Unavailable, "no answer")
					}
					return nil
				}
				at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 2, 25), 3)
				if at != -1 || len(errs) != 1 || errs[0] != "no answer" {
					t.Errorf("done at %d, %v", at, errs)
				}
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 2, 0), 3); at != 1 || errs != nil {
					t.Errorf("to 0: done at %d, %v", at, errs)
				}
				at, errs = drive(t, w, moveTo(w, gatewarden.ModeEnforce, 2, 25), 1)
				if at != -1 || len(errs) != 1 || !strings.Contains(errs[0], "newer move") {
					t.Errorf("asked for the old one: done at %d, %v", at, errs)
				}
			},
			want: `0s move-r1-1-5 started
				0s move-r1-1-5 applied
				2s move-r1-2-25 started
				2s move-r1-2-25 started
				5s move-r1-2-25 replaced
				5s move-r1-2-0 started
				6s move-r1-2-0 applied
				6s move-r1-1-5 replaced`,
			left: []string{"move-r1-1-5", "move-r1-2-0"},
		},
		"a person reverts the run, and it moves no further": {
			play: func(t *testing.T, w *world) {
				drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 2)
				drive(t, w, moveTo(w, gatewarden.ModeEnforce, 2, 25), 2)
				if err := w.engine.Revert(t.Context(), MoveLadder("r1"), "zoë"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for range 2 {
					at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 3, 50), 2)
					if at != -1 || len(errs) == 0 {
						t.Errorf("done at %d, %v", at, errs)
					}
					w.kill()
					if err := w.boot(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			},
			want: `0s move-r1-1-5 started
				0s move-r1-1-5 applied
				2s move-r1-2-25 started
				2s move-r1-2-25 applied
				2s move-r1-1-5 replaced
				4s move-r1 closed
				4s move-r1-2-25 reverting
				4s move-r1-2-25 reverted
				4s move-r1 ended`,
			left: []string{"move-r1-1-5"}, // the stand-in knows nothing of replacing
		},
		"a newer run has the weights": {
			play: func(t *testing.T, w *world) {
				drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 2)
				if err := w.engine.Release(t.Context(), time.Now(), "orders", "another run begins"); err != nil {
					t.Fatal(err)
				}
				if at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 1, 5), 1); at != 0 || errs != nil {
					t.Errorf("done at %d, %v", at, errs)
				}
				at, errs := drive(t, w, moveTo(w, gatewarden.ModeEnforce, 2, 25), 1)
				if at != -1 || len(errs) != 1 {
					t.Errorf("done at %d, %v", at, errs)
				}
			},
			want: `0s move-r1-1-5 started
				0s move-r1-1-5 applied
				2s move-r1 ended`,
			left: []string{"move-r1-1-5"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil)
				c.play(t, w)
				w.close(t)
				if diff := cmp.Diff(lines(c.want), w.story()); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(c.left, w.outside.left()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestMovesThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.close(t)
		for name, m := range map[string]MoveRequest{
			"no run":         {Step: gatewarden.ShareStep{Percent: 5}},
			"beyond all":     moveTo(w, gatewarden.ModeEnforce, 1, 101),
			"less than none": moveTo(w, gatewarden.ModeEnforce, 1, -1),
		} {
			if done, err := w.engine.Move(t.Context(), time.Now(), m); done || gatewarden.ErrorCode(err) != gatewarden.Invalid {
				t.Errorf("%s: %v, %v", name, done, err)
			}
		}
		led := true
		w.engine.cfg.Leader = func() bool { return led }
		led = false
		if done, err := w.engine.Move(t.Context(), time.Now(), moveTo(w, gatewarden.ModeEnforce, 1, 5)); done || gatewarden.ErrorCode(err) != gatewarden.Conflict {
			t.Errorf("without a lead: %v, %v", done, err)
		}
	})
}

// TestACrashInAMove kills the engine at each failpoint, and asks on: no change is made
// twice.
func TestACrashInAMove(t *testing.T) {
	for _, name := range Failpoints() {
		for nth := 1; nth <= 3; nth++ {
			t.Run(fmt.Sprint(name, " ", nth), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crashInMove(t, name, nth) })
			})
		}
	}
}

func crashInMove(t *testing.T, name string, nth int) {
	w := newWorld(nil, nil)
	passed := 0
	w.crashAt = func(at string) bool {
		if at == name {
			passed++
		}
		return at == name && passed == nth
	}
	if err := w.boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	var done []float64
	for step, p := range []float64{5, 25, 0} {
		for range 10 {
			var ok bool
			err := w.apart(func() (err error) {
				if ok, err = w.engine.Move(t.Context(), time.Now(), moveTo(w, gatewarden.ModeEnforce, step+1, p)); err != nil {
					return err
				}
				return w.engine.Tick(t.Context(), time.Now(), nil)
			})
			if err != nil && !w.crashed() {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Second)
			if w.crashed() {
				w.kill()
				if err := w.boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if ok {
				done = append(done, p)
				break
			}
		}
	}
	synctest.Wait()
	w.close(t)
	if diff := cmp.Diff([]float64{5, 25, 0}, done); diff != "" {
		t.Errorf("%s\n%s", diff, w.story())
	}
	for id, n := range w.outside.applied {
		if n != 1 {
			t.Errorf("%s was made %d times", id, n)
		}
	}
	if len(w.outside.applied) != 3 || len(w.outside.reverted) != 0 {
		t.Errorf("made %v, reverted %v", w.outside.applied, w.outside.reverted)
	}
	for _, a := range w.engine.List() {
		want := gatewarden.ActionReplaced
		if a.ID == "move-r1-3-0" {
			want = gatewarden.ActionApplied
		}
		if a.Status != want {
			t.Errorf("%s is %s, want %s\n%s", a.ID, a.Status, want, w.story())
		}
	}
}
