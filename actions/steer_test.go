package actions

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// helm is a Steerer that wants what it was told to from some instants on.
type helm struct {
	begun time.Time
	turns map[time.Duration]int // limits, by when they are wanted
	binds func(since time.Duration) bool
}

func (h *helm) Begin(*gatewarden.AdaptiveStep, time.Time) (gatewarden.Limit, error) {
	return gatewarden.Limit{Value: 100, Since: time.Now()}, nil
}

func (h *helm) Steer(_ *gatewarden.AdaptiveStep, limit gatewarden.Limit, at time.Time) (s Steering) {
	since := at.Sub(h.begun)
	s.Binds = h.binds != nil && h.binds(since)
	wanted, last := 100, time.Duration(-1)
	for from, value := range h.turns {
		if from <= since && from > last {
			wanted, last = value, from
		}
	}
	if wanted != limit.Value && limit.Since.Before(h.begun.Add(last)) {
		s.To = &gatewarden.Limit{Value: wanted, Before: limit.Value, Since: at}
		s.Reason = "it is steered"
	}
	return s
}

// valve is an executor whose limits are steered. It survives engines.
type valve struct {
	executor
	ledger *ledger
	mu     sync.Mutex
	limits []int // that were set, without repeats
	calls  int
	early  int                                          // calls whose limit was not in the journal yet
	answer func(limit int) (*gatewarden.Outcome, error) // instead of what would be
}

func (v *valve) Adjust(_ context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	events := v.ledger.events()
	if !slices.ContainsFunc(events, func(e gatewarden.Event) bool {
		return e.Action != nil && e.Action.Limit != nil && e.Action.Limit.Value == a.Limit.Value
	}) {
		v.early++
	}
	if v.answer != nil {
		switch out, err := v.answer(a.Limit.Value); {
		case err != nil:
			return gatewarden.Outcome{}, err
		case out != nil:
			return *out, nil
		}
	}
	if n := len(v.limits); n == 0 || v.limits[n-1] != a.Limit.Value {
		v.limits = append(v.limits, a.Limit.Value)
	}
	return gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: "it is set"}, nil
}

func adaptivePolicy() gatewarden.ActionPolicy {
	return policyWith(func(p *gatewarden.ActionPolicy) {
		p.Steps = []gatewarden.Step{{Kind: gatewarden.StepAdaptive, Adaptive: &gatewarden.AdaptiveStep{SLO: "orders", Service: "orders", Floor: 5, Ceiling: 500}}}
	})
}

// steering is a world with an adaptive policy.
func steering(p gatewarden.ActionPolicy, turns map[time.Duration]int) (*world, *valve, *helm) {
	w := newWorld([]gatewarden.ActionPolicy{p}, []gatewarden.SLO{slo("orders", "protect")})
	h := &helm{begun: w.begun, turns: turns}
	v := &valve{executor: executor{w.outside, func() bool { return true }}, ledger: w.ledger}
	w.config.Steerer = h
	w.config.Executors = map[gatewarden.StepKind]Executor{gatewarden.StepAdaptive: v}
	return w, v, h
}

func (w *world) mustBoot(t *testing.T) {
	t.Helper()
	if err := w.boot(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// reasons returns what the journal says of limits from the second event on, without what is
// said of every action.
func (w *world) reasons() (list []string) {
	for _, e := range w.ledger.events() {
		if e.Action != nil && e.Action.Limit != nil && strings.Contains(e.Reason, "limit") || strings.Contains(e.Reason, "steered") {
			list = append(list, e.At.Sub(w.begun).String()+" "+e.Reason)
		}
	}
	return list
}

func TestALimitGoesWhereItIsSteeredWhileItIsInPlace(t *testing.T) {
	turns := map[time.Duration]int{10 * time.Second: 50, 20 * time.Second: 80}
	for name, c := range map[string]struct {
		script string
		do     map[string]func(*Engine) error
		answer func(w *world) func(int) (*gatewarden.Outcome, error)
		limits []int
		calls  int
		says   []string
	}{
		"it does, and is taken back at last": {
			script: "0s orders=outage\n1m orders=healthy\n8m", limits: []int{100, 50, 80}, calls: 3,
			says: []string{
				`0s limit the requests of service="orders" to what orders bears, between 5 and 500 a second, 100 to begin with, because orders is outage`,
				"10s it is steered", "20s it is steered",
			},
		},
		"not during a pause": {
			script: "0s orders=outage\n5s !pause\n15s !resume\n30s", limits: []int{100, 50, 80}, calls: 3,
			do: map[string]func(*Engine) error{
				"pause":  func(e *Engine) error { return e.Pause(context.Background(), "alice", "a look") },
				"resume": func(e *Engine) error { return e.Resume(context.Background(), "alice") },
			},
			says: []string{
				`0s limit the requests of service="orders" to what orders bears, between 5 and 500 a second, 100 to begin with, because orders is outage`,
				"15s it is steered", "20s it is steered",
			},
		},
		"not while it is blind": {
			script: "0s orders=outage\n5s orders=blind\n25s orders=outage\n30s", limits: []int{100, 80}, calls: 2,
			says: []string{
				`0s limit the requests of service="orders" to what orders bears, between 5 and 500 a second, 100 to begin with, because orders is outage`,
				"25s it is steered",
			},
		},
		"not when a person has taken it back": {
			script: "0s orders=outage\n15s !revert\n30s", limits: []int{100, 50}, calls: 2,
			do: map[string]func(*Engine) error{"revert": func(e *Engine) error {
				return e.Revert(context.Background(), e.List()[0].ID, "alice")
			}},
			says: []string{
				`0s limit the requests of service="orders" to what orders bears, between 5 and 500 a second, 100 to begin with, because orders is outage`,
				"10s it is steered",
			},
		},
		"a peer that does not answer is asked again, and said once": {
			script: "0s orders=outage\n40s", limits: []int{100, 50, 80}, calls: 4,
			answer: func(w *world) func(int) (*gatewarden.Outcome, error) {
				return func(int) (*gatewarden.Outcome, error) {
					if since := time.Since(w.begun); since >= 10*time.Second && since < 14*time.Second {
						return nil, gatewarden.Errorf(gatewarden.Unavailable, "no answer")
					}
					return nil, nil
				}
			},
			says: []string{
				`0s limit the requests of service="orders" to what orders bears, between 5 and 500 a second, 100 to begin with, because orders is outage`,
				"10s it is steered", "10s the limit could not be changed yet, trying on: no answer", "20s it is steered",
			},
		},
		"a limit that is not there yet comes before the next: the peer may still have the one before": {
			script: "0s orders=outage\n40s", limits: []int{100, 50, 80}, calls: 6,
			answer: func(w *world) func(int) (*gatewarden.Outcome, error) {
				return func(int) (*gatewarden.Outcome, error) {
					if since := time.Since(w.begun); since >= 10*time.Second && since < 22*time.Second {
						return nil, gatewarden.Errorf(gatewarden.Unavailable, "no answer")
					}
					return nil, nil
				}
			},
			says: []string{
				`0s limit the requests of service="orders" to what orders bears, between 5 and 500 a second, 100 to begin with, because orders is outage`,
				"10s it is steered", "10s the limit could not be changed yet, trying on: no answer", "26s it is steered",
			},
		},
		"what the peer refuses does not stand in the journal": {
			script: "0s orders=outage\n40s", limits: []int{100, 80}, calls: 3,
			answer: func(*world) func(int) (*gatewarden.Outcome, error) {
				return func(limit int) (*gatewarden.Outcome, error) {
					if limit == 50 {
						return nil, gatewarden.Errorf(gatewarden.Invalid, "50 is nothing")
					}
					return nil, nil
				}
			},
			says: []string{
				`0s limit the requests of service="orders" to what orders bears, between 5 and 500 a second, 100 to begin with, because orders is outage`,
				"10s it is steered", "10s the limit stays as it was: 50 is nothing", "20s it is steered",
			},
		},
		"what somebody else has changed goes nowhere any more": {
			script: "0s orders=outage\n40s", limits: []int{100}, calls: 2,
			answer: func(*world) func(int) (*gatewarden.Outcome, error) {
				return func(limit int) (*gatewarden.Outcome, error) {
					if limit == 50 {
						return &gatewarden.Outcome{Status: gatewarden.ActionLeft, Reason: "it is theirs"}, nil
					}
					return nil, nil
				}
			},
			says: []string{
				`0s limit the requests of service="orders" to what orders bears, between 5 and 500 a second, 100 to begin with, because orders is outage`,
				"10s it is steered", "10s the limit goes nowhere any more: it is theirs",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, v, _ := steering(adaptivePolicy(), turns)
				if c.answer != nil {
					v.answer = c.answer(w)
				}
				w.mustBoot(t)
				timetable(t, w, c.script, c.do)
				if diff := cmp.Diff(c.limits, v.limits); diff != "" {
					t.Errorf("limits (-want +got)\n%s", diff)
				}
				if diff := cmp.Diff(c.says, w.reasons()); diff != "" {
					t.Errorf("the journal (-want +got)\n%s", diff)
				}
				if v.calls != c.calls {
					t.Errorf("%d calls, want %d", v.calls, c.calls)
				}
				if v.early > 0 {
					t.Errorf("%d calls came before the journal knew", v.early)
				}
				w.close(t)
			})
		})
	}
}

func TestALadderStaysWhileItsLimitKeepsRequestsBack(t *testing.T) {
	binds := func(since time.Duration) bool { return since < 20*time.Minute }
	for name, c := range map[string]struct {
		script string
		gone   time.Duration
	}{
		"it is well because of the limit":               {"0s orders=outage\n1m orders=healthy\n30m", 25 * time.Minute},
		"a pause keeps nothing, so the lease runs out":  {"0s orders=outage\n1m orders=healthy !pause\n30m", 15 * time.Minute},
		"it does not keep what cannot be judged either": {"0s orders=outage\n1m orders=blind\n30m", 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, h := steering(adaptivePolicy(), nil)
				h.binds = binds
				w.mustBoot(t)
				timetable(t, w, c.script, map[string]func(*Engine) error{
					"pause": func(e *Engine) error { return e.Pause(context.Background(), "alice", "a look") },
				})
				a := w.engine.List()[0]
				if a.Status != gatewarden.ActionReverted || a.EndedAt == nil {
					t.Fatalf("in the end it is %s", a.Status)
				}
				if gone := a.EndedAt.Sub(w.begun).Round(5 * time.Second); gone != c.gone {
					t.Errorf("it was taken back after %s, want %s", gone, c.gone)
				}
				w.close(t)
			})
		})
	}
}

// After a crash at any point of a change, the next engine brings the limit to where the
// journal says.
func TestACrashAroundAChangeOfALimit(t *testing.T) {
	for _, name := range LimitFailpoints() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, v, _ := steering(adaptivePolicy(), map[time.Duration]int{10 * time.Second: 50})
				passed := 0
				w.crashAt = func(at string) bool {
					if at == name {
						passed++
					}
					return at == name && passed == 1
				}
				w.mustBoot(t)
				tickUntil := func(from, until time.Duration) {
					for at := from; at < until && !w.crashed(); at += time.Second {
						_ = w.apart(func() error {
							return w.engine.Tick(t.Context(), w.begun.Add(at), []gatewarden.Verdict{verdict("orders", "outage", w.begun.Add(at))})
						})
						time.Sleep(time.Second)
						synctest.Wait()
					}
				}
				tickUntil(0, 20*time.Second)
				if !w.crashed() {
					t.Fatalf("%s was not passed", name)
				}
				w.kill()
				w.mustBoot(t)
				tickUntil(20*time.Second, 30*time.Second)
				a := w.engine.List()[0]
				if a.Limit == nil || a.Limit.Value != 50 || a.Status != gatewarden.ActionApplied {
					t.Errorf("after the restart: %s, limit %+v", a.Status, a.Limit)
				}
				if last := v.limits[len(v.limits)-1]; last != 50 {
					t.Errorf("the peer has %d, the journal 50", last)
				}
				w.close(t)
			})
		})
	}
}

func TestAnObservedLimitIsOnlySpokenOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := adaptivePolicy()
		p.Mode = gatewarden.ModeObserve
		w, v, _ := steering(p, map[time.Duration]int{10 * time.Second: 50})
		w.mustBoot(t)
		timetable(t, w, "0s orders=outage\n30s", nil)
		if v.calls != 0 || len(w.outside.inPlace) != 0 {
			t.Errorf("%d calls, in place: %v", v.calls, w.outside.inPlace)
		}
		const want = `observe mode: would limit the requests of service="orders" to what orders bears, between 5 and 500 a second, because orders is outage`
		if got := w.ledger.events()[0].Reason; got != want {
			t.Errorf("the journal says %q", got)
		}
		w.close(t)
	})
}

func TestWithoutASteererAnAdaptiveStepFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := steering(adaptivePolicy(), nil)
		w.config.Steerer = nil
		w.mustBoot(t)
		timetable(t, w, "0s orders=outage\n10s", nil)
		if a := w.engine.List()[0]; a.Status != gatewarden.ActionFailed {
			t.Errorf("it is %s", a.Status)
		}
		w.close(t)
	})
}

// The first limit has none before it to fall back to: a peer that refuses it is asked again.
func TestARefusedFirstLimitStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v, _ := steering(adaptivePolicy(), nil)
		v.answer = func(int) (*gatewarden.Outcome, error) {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "not while it is upgraded")
		}
		w.mustBoot(t)
		timetable(t, w, "0s orders=outage\n20s", nil)
		if a := w.engine.List()[0]; a.Limit == nil || a.Limit.Value != 100 {
			t.Errorf("the limit is %+v", a.Limit)
		}
		w.kill()
		v.answer = nil
		w.mustBoot(t)
		defer w.close(t)
		timetable(t, w, "0s orders=outage\n10s", nil)
		if diff := cmp.Diff([]int{100}, v.limits); diff != "" {
			t.Errorf("limits at the peer (-want +got)\n%s", diff)
		}
	})
}

// late is a valve of which the change of a limit comes about only after its call was cut short.
type late struct{ *valve }

func (l *late) Adjust(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	<-ctx.Done()
	time.AfterFunc(afterCut/2, func() {
		l.outside.mu.Lock()
		defer l.outside.mu.Unlock()
		l.outside.inPlace[a.ID] = true
	})
	return gatewarden.Outcome{}, ctx.Err()
}

func TestALimitThatComesAboutAfterItsCallWasCutShortIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v, _ := steering(adaptivePolicy(), nil)
		w.config.Executors[gatewarden.StepAdaptive] = &late{v}
		w.mustBoot(t)
		defer w.close(t)
		timetable(t, w, "0s orders=outage\n5s !revert\n10s", map[string]func(*Engine) error{
			"revert": func(e *Engine) error { return e.Revert(context.Background(), e.List()[0].ID, "alice") },
		})
		if left := w.outside.left(); len(left) > 0 {
			t.Errorf("left in place: %v\n%s", left, w.story())
		}
	})
}
