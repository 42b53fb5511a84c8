package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

// followed is a follower of a guard in virtual time, and what it said.
type followed struct {
	follower
	said, shown []string
}

func follows(g *gateGuard, canary string) *followed {
	f := &followed{follower: follower{
		client: &client{base: "http://guard:8080", http: &http.Client{Transport: g}}, canary: canary, by: "jenkins",
		unreachable: 2 * time.Minute, wait: longPoll, told: func() {},
	}}
	f.say = func(format string, args ...any) { f.said = append(f.said, fmt.Sprintf(format, args...)) }
	f.show = func(run *gatewarden.Run) { f.shown = append(f.shown, fmt.Sprint(run.State, " ", run.Step)) }
	return f
}

func (f *followed) start(ctx context.Context) ending {
	return f.judge(ctx, "", api.RunRequest{Key: "k", By: "jenkins"})
}

// check holds an ending to a code and to texts that were said or are its error.
func (f *followed) check(t *testing.T, end ending, code int, texts ...string) {
	t.Helper()
	all := strings.Join(f.said, "\n")
	if end.err != nil {
		all += "\n" + end.err.Error()
	}
	if end.code != code || !containsAll(all, texts) {
		t.Errorf("it ends with %d, want %d with %q; it said: %s", end.code, code, texts, all)
	}
	if (end.report.Error != "") != (code == 1) {
		t.Errorf("code %d, and the report's error is %q", code, end.report.Error)
	}
}

// orders is a guard whose runs of the canary orders end so.
func orders(c course) *gateGuard { return &gateGuard{course: map[string]course{"orders": c}} }

func TestAGateEndsAsItsRunDoes(t *testing.T) {
	for state, code := range map[gatewarden.RunState]int{
		gatewarden.RunPass: 0, gatewarden.RunFail: exitFail, gatewarden.RunInconclusive: exitOpen, gatewarden.RunCancelled: exitOpen,
	} {
		t.Run(string(state), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := orders(course{ends: 90 * time.Second, as: state})
				f := follows(g, "orders")
				end := f.start(t.Context())
				f.check(t, end, code)
				if end.report.Run.State != state || end.err != nil || len(f.said) > 0 {
					t.Errorf("state %s, error %v, said %q", end.report.Run.State, end.err, f.said)
				}
				if n := len(g.asked); n < 9 || n > 12 {
					t.Errorf("asked %d times in 90 s", n)
				}
			})
		})
	}
}

func TestAStateThatIsNotKnownIsNoPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follows(orders(course{ends: time.Second, as: "splendid"}), "orders")
		f.check(t, f.start(t.Context()), 1, "which is no state")
	})
}

func TestTheGuardMayRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{ends: 5 * time.Minute, as: gatewarden.RunPass})
		g.down(30*time.Second, 75*time.Second)
		f := follows(g, "orders")
		f.check(t, f.start(t.Context()), 0, "does not answer", "Trying again for up to 2m", "The guard answers again, after 4")
		if len(f.said) != 2 {
			t.Errorf("said %q", f.said)
		}
	})
}

func TestTheGuardMayBeAwayAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{ends: time.Minute, as: gatewarden.RunPass})
		g.down(0, time.Minute)
		f := follows(g, "orders")
		f.check(t, f.start(t.Context()), 0, "Trying again")
		g.only(t)
	})
}

func TestAGuardThatStaysAwayIsAnError(t *testing.T) {
	for name, from := range map[string]time.Duration{"from the start": 0, "in the middle": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				g := orders(course{ends: 3 * time.Minute, as: gatewarden.RunPass})
				g.down(from, time.Hour)
				f := follows(g, "orders")
				f.check(t, f.start(t.Context()), 1, "there was no answer for 2m")
				if took := time.Since(began) - from; took < 2*time.Minute-longPoll || took > 2*time.Minute+longPoll {
					t.Errorf("it gave up %s after the guard went away", took)
				}
			})
		})
	}
}

func TestANetworkThatSwallowsEverythingIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{ends: 10 * time.Minute, as: gatewarden.RunPass})
		began := time.Now()
		g.trouble = func(_ int, r *http.Request) (int, error) {
			if since := time.Since(began); since < 20*time.Second || since > 70*time.Second {
				return 0, nil
			}
			<-r.Context().Done() // no packet comes back
			return 0, r.Context().Err()
		}
		f := follows(g, "orders")
		f.check(t, f.start(t.Context()), 0, "does not answer", "The guard answers again")
	})
}

func TestAGuardThatSaysNothingIsWaitedForNoLongerThanOneThatIsAway(t *testing.T) {
	for name, from := range map[string]time.Duration{"from the start": 0, "in the middle": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := orders(course{ends: 10 * time.Minute, as: gatewarden.RunPass})
				began := time.Now()
				g.trouble = func(_ int, r *http.Request) (int, error) {
					if time.Since(began) < from {
						return 0, nil
					}
					<-r.Context().Done()
					return 0, r.Context().Err()
				}
				f := follows(g, "orders")
				f.unreachable = 3 * time.Second
				f.check(t, f.start(t.Context()), 1, "there was no answer for")
				if took := time.Since(began) - from; took > 5*time.Second {
					t.Errorf("it gave up %s after the guard fell silent", took)
				}
			})
		})
	}
}

func TestAProxysTroubleIsNoAnswer(t *testing.T) {
	for _, status := range []int{502, 503, 504, 429} {
		synctest.Test(t, func(t *testing.T) {
			g := orders(course{ends: time.Minute, as: gatewarden.RunPass})
			g.trouble = func(asked int, _ *http.Request) (int, error) {
				if asked > 1 && asked < 6 {
					return status, nil
				}
				return 0, nil
			}
			f := follows(g, "orders")
			f.check(t, f.start(t.Context()), 0, fmt.Sprint("answers ", status), "The guard answers again")
		})
	}
}

func TestAWrongAddressIsSaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g := orders(course{})
		g.trouble = func(int, *http.Request) (int, error) { return 404, nil }
		f := follows(g, "orders")
		f.check(t, f.start(t.Context()), 1, "is that a gatewarden?")
		f = follows(orders(course{}), "order")
		f.check(t, f.start(t.Context()), 1, `there is no canary "order"`)
		if time.Since(began) > 0 {
			t.Errorf("it took %s", time.Since(began))
		}
	})
}

func TestALostAnswerToTheStartFindsTheRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{ends: time.Minute, as: gatewarden.RunPass})
		f := follows(g, "orders")
		lost := false
		f.client.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := g.RoundTrip(r)
			if r.Method == http.MethodPost && !lost {
				lost = true
				return nil, io.ErrUnexpectedEOF
			}
			return resp, err
		})
		f.check(t, f.start(t.Context()), 0, "The guard answers again")
		g.only(t)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheSameKeyResumesAndAnotherMustWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{ends: time.Minute, as: gatewarden.RunFail})
		g.begin(t, "orders", "k") // and whoever asked for it is gone
		other := follows(g, "orders")
		other.check(t, other.judge(t.Context(), "", api.RunRequest{Key: "other"}), 1, "goes on under another key")
		again := follows(g, "orders")
		again.check(t, again.start(t.Context()), exitFail)
		over := follows(g, "orders")
		over.check(t, over.start(t.Context()), exitFail)
		if g.only(t); !over.found {
			t.Error("the run was over when it was found, and that was not noticed")
		}
	})
}

func TestARunIsTakenUpByItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{ends: time.Minute, as: gatewarden.RunPass})
		g.course["payments"] = course{}
		g.begin(t, "orders", "k")
		for _, id := range []string{"orders-1", "latest"} {
			f := follows(g, "orders")
			f.check(t, f.judge(t.Context(), id, api.RunRequest{}), 0)
		}
		f := follows(g, "payments")
		f.check(t, f.judge(t.Context(), "orders-1", api.RunRequest{}), 1, "is of the canary orders, not of payments")
		f.check(t, f.judge(t.Context(), "orders-7", api.RunRequest{}), 1, "there is no such run")
	})
}

func TestATimeoutCancelsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{})
		f := follows(g, "orders")
		f.timeout = 15 * time.Minute
		end := f.start(t.Context())
		f.check(t, end, exitOpen, "Giving up: there is no answer after 15m, as --timeout says. The run is cancelled.")
		if run := g.only(t); run.State != gatewarden.RunCancelled || end.report.Run.State != gatewarden.RunCancelled || !strings.Contains(run.Reason, "--timeout") {
			t.Errorf("the run is %s: %s", run.State, run.Reason)
		}
	})
}

func TestAGuardThatForgetsItsDeadlineIsNotWaitedForEndlessly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := follows(orders(course{}), "orders")
		f.check(t, f.start(t.Context()), exitOpen, "no answer a minute after its deadline")
		if took := time.Since(began).Round(time.Second); took != 31*time.Minute {
			t.Errorf("it waited %s", took)
		}
	})
}

func TestTheDeadlineIsByTheGuardsClock(t *testing.T) {
	now := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	run := gatewarden.Run{StartedAt: now, Deadline: now.Add(30 * time.Minute)}
	if got := untilOverdue(&run); got != 31*time.Minute {
		t.Errorf("at the start it waits %s", got)
	}
	run.Verdict = &gatewarden.CanaryVerdict{At: now.Add(20 * time.Minute)}
	if got := untilOverdue(&run); got != 11*time.Minute {
		t.Errorf("after 20 minutes it waits %s", got)
	}
	run.Verdict.At = now.Add(time.Hour)
	if got := untilOverdue(&run); got != time.Minute {
		t.Errorf("after the deadline it waits %s", got)
	}
}

// An answer that comes while we give up is the answer.
func TestAnAnswerAtTheLastMomentCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{})
		f := follows(g, "orders")
		f.timeout = time.Minute
		f.client.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/cancel") {
				g.mu.Lock()
				end(g.runs[0], gatewarden.RunPass, "shown to be within its margins")
				g.mu.Unlock()
			}
			return g.RoundTrip(r)
		})
		f.check(t, f.start(t.Context()), 0)
	})
}

// told is a context that ends as at a signal.
func told(t *testing.T, after time.Duration) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	time.AfterFunc(after, func() { cancel(errors.New("terminated signal received")) })
	return ctx
}

func TestASignalCancelsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g := orders(course{})
		f := follows(g, "orders")
		end := f.start(told(t, 42*time.Second))
		f.check(t, end, 1, "gate was told to end: terminated signal received; run orders-1 is cancelled")
		if run := g.only(t); run.State != gatewarden.RunCancelled {
			t.Errorf("the run is %s", run.State)
		}
		if took := time.Since(began); took > 47*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestASignalWhileTheRunStartsCancelsItToo(t *testing.T) {
	for name, slow := range map[string]time.Duration{"a slow answer": time.Second, "no answer": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				g := orders(course{})
				f := follows(g, "orders")
				f.client.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
					resp, err := g.RoundTrip(r)
					if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/runs") {
						if err := pause(r.Context(), slow); err != nil {
							return nil, err
						}
					}
					return resp, err
				})
				f.check(t, f.start(told(t, 500*time.Millisecond)), 1, "gate was told to end", "run orders-1 is cancelled")
				if run := g.only(t); run.State != gatewarden.RunCancelled {
					t.Errorf("the run is %s", run.State)
				}
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestASignalWhileTheGuardIsAwayIsBounded(t *testing.T) {
	for name, from := range map[string]time.Duration{"before the start": 0, "afterwards": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				g := orders(course{})
				g.trouble = func(_ int, r *http.Request) (int, error) {
					if time.Since(began) < from {
						return 0, nil
					}
					<-r.Context().Done()
					return 0, r.Context().Err()
				}
				f := follows(g, "orders")
				f.check(t, f.start(told(t, 30*time.Second)), 1, "gate was told to end")
				if took := time.Since(began) - 30*time.Second; took > lastWord+lingering {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestAProxyThatDoesNotWaitIsNotAskedWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{ends: time.Minute, as: gatewarden.RunPass})
		g.hastily = true
		f := follows(g, "orders")
		f.check(t, f.start(t.Context()), 0)
		if n := len(g.asked); n > 65 {
			t.Errorf("asked %d times in a minute", n)
		}
	})
}

func TestATokenIsSentWithEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := orders(course{ends: time.Second, as: gatewarden.RunPass})
		f := follows(g, "orders")
		f.client.token = gatewarden.NewSecret("s3cret")
		f.check(t, f.start(t.Context()), 0)
		if slices.ContainsFunc(g.headers, func(h string) bool { return h != "Bearer s3cret" }) {
			t.Errorf("headers %q", g.headers)
		}
	})
}
