package jenkins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/internal/fakejenkins"
)

func TestResults(t *testing.T) {
	const console = "http://jenkins.test:8080/ci/job/shop/job/orders-rollback/1/console"
	for result, want := range map[fakejenkins.Result]gatewarden.ActionStatus{
		fakejenkins.Success:  gatewarden.ActionApplied,
		fakejenkins.Unstable: gatewarden.ActionFailed,
		fakejenkins.Failure:  gatewarden.ActionFailed,
		fakejenkins.Aborted:  gatewarden.ActionFailed,
		fakejenkins.NotBuilt: gatewarden.ActionFailed,
	} {
		t.Run(string(result), func(t *testing.T) {
			job := rollback()
			job.Pipeline = func(ctx context.Context, b *fakejenkins.Build) error {
				fmt.Fprintln(b, "rolling back", b.Parameter("SERVICE"))
				b.SetResult(result) // and goes on building
				return lasting(30*time.Second)(ctx, b)
			}
			inWorld(t, fakejenkins.Config{ContextPath: "/ci"}, job, func(t *testing.T, w *world) {
				out, err := w.apply()
				if err != nil {
					t.Fatal(err)
				}
				details := out.Details
				out.Details = ""
				wantOut := gatewarden.Outcome{
					Status: want, Link: console, Change: "ran the Jenkins job shop/orders-rollback, build #1",
					Reason: "build #1 of the Jenkins job shop/orders-rollback ended as " + string(result) + " after 30s",
				}
				if diff := cmp.Diff(wantOut, out); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				if failed := want == gatewarden.ActionFailed; failed != strings.Contains(details, "rolling back orders\n") {
					t.Errorf("details: %q", details)
				}
				if got := w.ours(); len(got) != 1 || w.triggers() != 1 {
					t.Errorf("%d builds by %d triggers, want one by one", len(got), w.triggers())
				}
			})
		})
	}
}

func TestResultsByTheRules(t *testing.T) {
	results := map[string]gatewarden.JobResult{"unstable": gatewarden.JobOK, "aborted": gatewarden.JobUnknown, "failure": gatewarden.JobFailed}
	for result, want := range map[fakejenkins.Result]struct {
		status  gatewarden.ActionStatus
		says    string
		details bool
	}{
		fakejenkins.Success:  {gatewarden.ActionApplied, "ended as SUCCESS after 0s", false},
		fakejenkins.Unstable: {gatewarden.ActionApplied, "ended as UNSTABLE after 0s, which is ok by the rules", false},
		fakejenkins.Failure:  {gatewarden.ActionFailed, "ended as FAILURE after 0s, which is failed by the rules", true},
		fakejenkins.NotBuilt: {gatewarden.ActionFailed, "ended as NOT_BUILT after 0s", true},
		fakejenkins.Aborted:  {gatewarden.ActionUnknown, "ended as ABORTED after 0s, which is unknown by the rules. A person must look", true},
	} {
		t.Run(string(result), func(t *testing.T) {
			job := rollback()
			job.Pipeline = func(_ context.Context, b *fakejenkins.Build) error {
				b.SetResult(result)
				return nil
			}
			inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
				a := w.action()
				a.Spec.Jenkins.Results = results
				out, err := w.exec.Apply(t.Context(), a, w.save)
				if err != nil || out.Status != want.status || !strings.Contains(out.Reason, want.says) || (out.Details != "") != want.details || out.Change == "" {
					t.Errorf("%+v, %v, want %+v", out, err, want)
				}
			})
		})
	}
}

// TestMemos holds what is saved, and when: before the trigger and after each thing
// that Jenkins said.
func TestMemos(t *testing.T) {
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		if out, err := w.apply(); err != nil || out.Status != gatewarden.ActionApplied {
			t.Fatal(out, err)
		}
		now := w.saves[0].Since
		base := memo{Job: testJob, NextBuild: 1, Open: true, Since: now, Sent: now}
		queued, started := base, base
		queued.QueueID = 1
		started.QueueID, started.Build = 1, 1
		if diff := cmp.Diff([]memo{base, queued, started}, w.saves); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		lost := base
		lost.Lost = true
		var said []string
		for _, m := range []memo{base, lost, queued, started, {}} {
			raw, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			said = append(said, w.exec.Noted(raw))
		}
		want := []string{
			"the Jenkins job " + testJob + " is about to be triggered",
			"the answer to the trigger of the Jenkins job " + testJob + " was lost; the guard looks for its build",
			"the Jenkins job " + testJob + " is queued, as item 1",
			"build #1 of the Jenkins job " + testJob + " has started",
			"",
		}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("what the timeline says of them: (-want +got)\n%s", diff)
		}
	})
}

// TestEveryStatusOfTheTrigger has a proxy answer the trigger, which reached
// Jenkins or did not, with every status that has a name.
func TestEveryStatusOfTheTrigger(t *testing.T) {
	type fate struct {
		status   gatewarden.ActionStatus // "" is an error with code
		code     gatewarden.Code
		triggers int
	}
	want := func(status int, handled bool) fate {
		retried := status == 429 || status == 502 || status == 503 || status == 504
		switch {
		case handled && (status == 201 || status == 303 || status == 408 || status >= 500 || status < 400):
			return fate{gatewarden.ActionApplied, "", 1} // found by its id
		case retried: // the second trigger passes
			return fate{gatewarden.ActionApplied, "", 2}
		case status == 201 || status == 303 || status == 408: // it may yet appear
			return fate{gatewarden.ActionUnknown, "", 1}
		case status == 404:
			// Of Jenkins it would be NotFound and the end; this is of a proxy without the job's path.
			return fate{gatewarden.ActionApplied, "", 2}
		case status == 409:
			return fate{"", gatewarden.Conflict, 1}
		default:
			return fate{"", gatewarden.Invalid, 1}
		}
	}
	var statuses []int // those that have a name, and one of each hundred that has none
	for status := 200; status < 600; status++ {
		if http.StatusText(status) != "" || status%100 == 99 {
			statuses = append(statuses, status)
		}
	}
	for _, status := range statuses {
		for _, handled := range []bool{false, true} {
			if handled && status >= 400 && status < 500 && status != 408 {
				continue // these mean that it was not
			}
			inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
				w.Inject(fakejenkins.Fault{When: fakejenkins.Triggers, Times: 1, Spoil: fakejenkins.Instead, Handled: handled, Status: status})
				out, err := w.apply()
				got := fate{out.Status, gatewarden.ErrorCode(err), w.triggers()}
				if got != want(status, handled) {
					t.Errorf("%d, handled %v: %+v, want %+v (%s, %v)", status, handled, got, want(status, handled), out.Reason, err)
				}
				if n := len(w.ours()); n > 1 || (out.Status == gatewarden.ActionApplied && n != 1) {
					t.Errorf("%d, handled %v: %d builds", status, handled, n)
				}
			})
		}
	}
}

// TestAProxyThatGivesUpOnATriggerThatIsOnItsWay: what it answers says nothing of what Jenkins
// will do.
func TestAProxyThatGivesUpOnATriggerThatIsOnItsWay(t *testing.T) {
	for _, status := range []int{502, 503, 504} {
		inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
			w.Inject(fakejenkins.Fault{When: fakejenkins.Triggers, Times: 1, Spoil: fakejenkins.Instead, Late: 8 * time.Second, Status: status})
			out, err := w.apply()
			time.Sleep(time.Minute)
			if err != nil || out.Status != gatewarden.ActionApplied || len(w.ours()) != 1 {
				t.Errorf("%d: %+v, %v, and %d builds, want one", status, out, err, len(w.ours()))
			}
		})
	}
	// Jenkins itself, with its name: it has taken nothing.
	if kind, _ := classify(&answer{status: 503, header: http.Header{"X-Jenkins": {"2.578"}}}, true); kind != notNow {
		t.Error("Jenkins says not now, and it is not believed")
	}
}

func TestLostAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		fault fakejenkins.Fault
		want  gatewarden.ActionStatus
	}{
		"the connection breaks after the trigger was accepted": {fakejenkins.Fault{Spoil: fakejenkins.Reset, Handled: true}, gatewarden.ActionApplied},
		"the answer to an accepted trigger never comes":        {fakejenkins.Fault{Spoil: fakejenkins.Hang, Handled: true}, gatewarden.ActionApplied},
		"the trigger is accepted only after we gave up on it":  {fakejenkins.Fault{Delay: 25 * time.Second, Handled: true}, gatewarden.ActionApplied},
		"the answer is cut after its headers":                  {fakejenkins.Fault{Spoil: fakejenkins.Cut}, gatewarden.ActionApplied},
		"the connection breaks before it was accepted":         {fakejenkins.Fault{Spoil: fakejenkins.Reset}, gatewarden.ActionUnknown},
		"nothing comes, and nothing was accepted":              {fakejenkins.Fault{Spoil: fakejenkins.Hang}, gatewarden.ActionUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, fakejenkins.Config{StartGap: 100 * time.Millisecond}, rollback(), func(t *testing.T, w *world) {
				c.fault.When, c.fault.Times = fakejenkins.Triggers, 1
				w.Inject(c.fault)
				out, err := w.apply()
				if err != nil || out.Status != c.want || w.triggers() != 1 {
					t.Errorf("%+v, %v after %d triggers, want %s after one", out, err, w.triggers(), c.want)
				}
				if c.want == gatewarden.ActionUnknown && !strings.Contains(out.Reason, "person must look") {
					t.Errorf("reason: %s", out.Reason)
				}
				time.Sleep(time.Hour)
				if n, want := len(w.ours()), map[gatewarden.ActionStatus]int{gatewarden.ActionApplied: 1}[c.want]; n != want {
					t.Errorf("%d builds, want %d", n, want)
				}
			})
		})
	}
}

func TestTroubleOnTheWay(t *testing.T) {
	type scene struct {
		during func(w *world) // runs beside Apply, from the moment the trigger was accepted
		lasts  time.Duration  // of the build
		jc     fakejenkins.Config
		want   gatewarden.ActionStatus
		reason string
		builds int
	}
	applied := gatewarden.ActionApplied
	for name, c := range map[string]scene{
		"a restart while the build runs": {
			during: func(w *world) { time.Sleep(10 * time.Second); w.Restart(time.Minute) }, lasts: 3 * time.Minute, want: applied, reason: "SUCCESS after 3m", builds: 1,
		},
		"a crash after the build began": {
			during: func(w *world) { time.Sleep(time.Second); w.Kill(time.Minute) }, lasts: 3 * time.Minute, want: applied, builds: 1,
		},
		"a restart while it is queued": {
			during: func(w *world) { w.SetExecutors(0); w.Restart(time.Minute); w.SetExecutors(1) }, want: applied, builds: 1,
		},
		"proxy errors for a while": {
			during: func(w *world) { w.Inject(fakejenkins.Fault{Spoil: fakejenkins.Instead, Times: 20}) }, want: applied, builds: 1,
		},
		"a proxy's 404 for a while": {
			during: func(w *world) { w.Inject(fakejenkins.Fault{Spoil: fakejenkins.Instead, Status: 404, Times: 20}) }, want: applied, builds: 1,
		},
		"a login page for a while": {
			during: func(w *world) { w.Inject(fakejenkins.Fault{Spoil: fakejenkins.Instead, Status: 200, Times: 20}) }, want: applied, builds: 1,
		},
		"half-open connections for a while": {
			during: func(w *world) { w.Inject(fakejenkins.Fault{Spoil: fakejenkins.Hang, Times: 5}) }, want: applied, builds: 1,
		},
		"half answers for a while": {
			during: func(w *world) { w.Inject(fakejenkins.Fault{Spoil: fakejenkins.Cut, Times: 20}) }, want: applied, builds: 1,
		},
		"the queue forgot the item, and the build is found by it": {
			during: func(w *world) {
				w.Inject(fakejenkins.Fault{Spoil: fakejenkins.Instead, Times: 1})
				time.Sleep(time.Second / 2)
				w.LoseQueue()
			},
			lasts: time.Minute, want: applied, builds: 1,
		},
		"the item was lost with the queue": {
			during: func(w *world) { w.LoseQueue() }, jc: fakejenkins.Config{Executors: -1},
			want: gatewarden.ActionUnknown, reason: "queued as item 1, which is gone", builds: 0,
		},
		"somebody cancels it in the queue": {
			during: func(w *world) { w.RemoveJob(testJob) }, jc: fakejenkins.Config{Executors: -1},
			want: gatewarden.ActionFailed, reason: "somebody cancelled", builds: 0,
		},
		"no executor ever": {
			during: func(*world) {}, jc: fakejenkins.Config{Executors: -1},
			want: gatewarden.ActionUnknown, reason: "still in the queue after 10m (Waiting for next available executor)", builds: 0,
		},
		"a build longer than the wait": {
			during: func(*world) {}, lasts: time.Hour,
			want: gatewarden.ActionUnknown, reason: "build #1 of the Jenkins job shop/orders-rollback had not ended after 10m; it was left running", builds: 1,
		},
		"the build's record is deleted while it runs": {
			during: func(w *world) { time.Sleep(10 * time.Second); w.DeleteBuild(testJob, 1) }, lasts: time.Minute,
			want: gatewarden.ActionUnknown, reason: "record of build #1", builds: 1,
		},
		"Jenkins goes and does not come back": {
			during: func(w *world) { w.Inject(fakejenkins.Fault{Spoil: fakejenkins.Reset}) },
			want:   gatewarden.ActionUnknown, reason: "after 10m", builds: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := rollback()
			job.Pipeline = lasting(c.lasts)
			inWorld(t, c.jc, job, func(t *testing.T, w *world) {
				accepted := make(chan struct{})
				go func() {
					<-accepted
					c.during(w)
				}()
				save := func(b json.RawMessage) error {
					defer func() {
						if m := w.saves[len(w.saves)-1]; m.QueueID > 0 && m.Build == 0 {
							close(accepted)
							synctest.Wait() // what happens beside comes first
						}
					}()
					return w.save(b)
				}
				var err error
				if w.memo, err = w.exec.Prepare(t.Context(), w.action()); err != nil {
					t.Fatal(err)
				}
				out, err := w.exec.Apply(t.Context(), w.action(), save)
				if err != nil || out.Status != c.want || !strings.Contains(out.Reason, c.reason) {
					t.Errorf("%+v, %v, want %s because %q", out, err, c.want, c.reason)
				}
				if w.triggers() != 1 || len(w.ours()) != c.builds {
					t.Errorf("%d builds by %d triggers, want %d by one", len(w.ours()), w.triggers(), c.builds)
				}
			})
		})
	}
}

func TestTakenUpAfterACrash(t *testing.T) {
	for name, c := range map[string]struct {
		before func(w *world)
		memo   memo
		want   gatewarden.ActionStatus
		builds int
	}{
		"the intent is saved, the trigger was never sent": {func(*world) {}, memo{NextBuild: 1, Open: true}, gatewarden.ActionApplied, 1},
		"the trigger was accepted, its number not saved":  {(*world).byHand, memo{NextBuild: 1, Open: true}, gatewarden.ActionApplied, 1},
		"the build has ended long ago": {func(w *world) { w.byHand(); time.Sleep(time.Hour) },
			memo{NextBuild: 1, Open: true}, gatewarden.ActionApplied, 1},
		"the item is known and left the queue long ago": {func(w *world) { w.byHand(); time.Sleep(time.Hour) },
			memo{NextBuild: 1, Open: true, QueueID: 1}, gatewarden.ActionApplied, 1},
		"the answer was lost and nothing is found": {func(*world) {}, memo{NextBuild: 1, Open: true, Lost: true}, gatewarden.ActionUnknown, 0},
		"the build was discarded meanwhile": {func(w *world) { w.byHand(); time.Sleep(time.Minute); w.DeleteBuild(testJob, 1) },
			memo{NextBuild: 1, Open: true}, gatewarden.ActionUnknown, 1},
		"another guard's build is adopted": {(*world).byHand, memo{NextBuild: 1}, gatewarden.ActionApplied, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
				now := time.Now()
				c.before(w)
				c.memo.Job = testJob
				if c.memo.Open {
					c.memo.Since, c.memo.Sent = now, now
				}
				w.remember(c.memo)
				out, err := w.apply()
				if err != nil || out.Status != c.want || len(w.ours()) != c.builds {
					t.Errorf("%+v, %v and %d builds, want %s and %d", out, err, len(w.ours()), c.want, c.builds)
				}
			})
		})
	}
}

// A guard that does not know whether its trigger was sent looks for the build for a while
// before it sends another: whoever pauses it in that time does not see a build begin.
func TestNoTriggerInAPauseThatCameWhileItWasLooking(t *testing.T) {
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		begun := time.Now()
		w.remember(memo{Job: testJob, NextBuild: 1, Open: true, Since: begun, Sent: begun})
		ctx := actions.WithHeld(t.Context(), func() error {
			if time.Since(begun) < time.Minute && time.Since(begun) > time.Second {
				return gatewarden.Errorf(gatewarden.Unavailable, "ada paused the guard")
			}
			return nil
		})
		if out, err := w.exec.Apply(ctx, w.action(), w.save); gatewarden.ErrorCode(err) != gatewarden.Unavailable || w.triggers() != 0 {
			t.Errorf("%+v, %v after %d triggers, want none in the pause", out, err, w.triggers())
		}
		time.Sleep(time.Minute)
		if out, err := w.exec.Apply(ctx, w.action(), w.save); err != nil || out.Status != gatewarden.ActionApplied || w.triggers() != 1 {
			t.Errorf("%+v, %v after %d triggers, want one after it", out, err, w.triggers())
		}
	})
}

// The same goes for whoever takes the answer back, whatever may be cancelled of a job that
// has begun.
func TestNoTriggerForAnAnswerThatWasTakenBackWhileItWasLooking(t *testing.T) {
	for _, cancel := range []gatewarden.JobCancel{"", gatewarden.CancelNever, gatewarden.CancelQueued, gatewarden.CancelRunning} {
		inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
			begun := time.Now()
			w.remember(memo{Job: testJob, NextBuild: 1, Open: true, Since: begun, Sent: begun})
			ctx := actions.WithWithdrawn(t.Context(), func() bool { return time.Since(begun) > time.Second })
			a := w.action()
			a.Spec.Jenkins.Cancel = cancel
			out, err := w.exec.Apply(ctx, a, w.save)
			if err != nil || out.Status != gatewarden.ActionFailed || !strings.Contains(out.Reason, "was not triggered: its answer was taken back") || w.triggers() != 0 {
				t.Errorf("cancel %q: %+v, %v after %d triggers, want failed after none", cancel, out, err, w.triggers())
			}
		})
	}
}

func TestTooLateToTrigger(t *testing.T) {
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		w.remember(memo{Job: testJob, NextBuild: 1, Open: true, Since: time.Now().Add(-time.Hour), Sent: time.Now().Add(-time.Hour)})
		out, err := w.apply()
		if err != nil || out.Status != gatewarden.ActionFailed || w.triggers() != 0 {
			t.Errorf("%+v, %v after %d triggers, want failed after none", out, err, w.triggers())
		}
	})
}

// TestNumbersThatWereGivenOutOnceMore: a Jenkins that was killed before it saved its queue
// counts on from what it knows.
func TestNumbersThatWereGivenOutOnceMore(t *testing.T) {
	without := rollback()
	without.Parameters = []fakejenkins.Parameter{{Name: "SERVICE"}}
	other := without
	other.Name = "shop/other"
	for name, c := range map[string]struct {
		memo memo
		says string
	}{
		"the item is another job's":          {memo{NextBuild: 18, QueueID: 6}, "queued as item 6, which is gone"},
		"the item is somebody's of this job": {memo{NextBuild: 18, QueueID: 3}, "queued as item 3, which is gone"},
		"the build is somebody's":            {memo{NextBuild: 18, QueueID: 6, Build: 3}, "build #3 of the Jenkins job shop/orders-rollback is not this action's"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, fakejenkins.Config{}, without, func(t *testing.T, w *world) {
				w.SetJob(other)
				for _, job := range []string{"orders-rollback", "other"} {
					for range 3 {
						w.byHandAt("/job/shop/job/" + job + "/buildWithParameters?delay=0sec")
						time.Sleep(time.Second)
					}
				}
				w.SetJob(rollback())
				c.memo.Job, c.memo.Open, c.memo.Since, c.memo.Sent = testJob, true, time.Now(), time.Now()
				w.remember(c.memo)
				out, err := w.apply()
				if err != nil || out.Status != gatewarden.ActionUnknown || !strings.Contains(out.Reason, c.says) || w.triggers() != 6 {
					t.Errorf("%+v, %v after %d triggers, want unknown because %q, and none besides the 6", out, err, w.triggers(), c.says)
				}
			})
		})
	}
}

// TestARecordThatIsMissingNowAndThen: it is gone when it is missing twice in a row.
func TestARecordThatIsMissingNowAndThen(t *testing.T) {
	job := rollback()
	job.Pipeline = lasting(time.Minute)
	inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
		inner, asked := w.cfg.HTTPClient.Transport, 0
		w.cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/1/api/json") {
				if asked++; asked%2 == 1 {
					return answering(404, "text/html", nil).RoundTrip(r)
				}
			}
			return inner.RoundTrip(r)
		})}
		w.rebuild()
		if out, err := w.apply(); err != nil || out.Status != gatewarden.ActionApplied {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func TestAClockThatWasPutBackIsNotWaitedFor(t *testing.T) {
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		begun := time.Now()
		ahead := begun.Add(time.Hour)
		w.remember(memo{Job: testJob, NextBuild: 1, Open: true, Since: ahead, Sent: ahead})
		out, err := w.apply()
		if took := time.Since(begun); err != nil || out.Status != gatewarden.ActionApplied || took > time.Minute {
			t.Errorf("%+v, %v after %s, want applied within a minute", out, err, took)
		}
	})
}

// TestDownstreamJobIsNotOurs: a rollback job may hand all its parameters on to a
// job that it starts.
func TestDownstreamJobIsNotOurs(t *testing.T) {
	inWorld(t, fakejenkins.Config{QuietPeriod: time.Hour}, rollback(), func(t *testing.T, w *world) {
		other := rollback()
		other.Name = "shop/notify"
		w.SetJob(other)
		w.byHandAt("/job/shop/job/notify/buildWithParameters")
		if out, err := w.apply(); err != nil || out.Status != gatewarden.ActionApplied || len(w.ours()) != 1 {
			t.Errorf("%+v, %v, and %d builds of the job, want applied and one", out, err, len(w.ours()))
		}
	})
}

func TestSaveThatFailsStopsBeforeTheTrigger(t *testing.T) {
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		_, err := w.exec.Apply(t.Context(), w.action(), func(json.RawMessage) error { return errDied })
		if !errors.Is(err, errDied) || w.triggers() != 0 {
			t.Errorf("%v after %d triggers, want save's error after none", err, w.triggers())
		}
	})
}

func TestStoppedGuardGoesOnLater(t *testing.T) {
	job := rollback()
	job.Pipeline = lasting(time.Minute)
	inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := w.exec.Apply(ctx, w.action(), w.save); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, want the context's error", err)
		}
		w.rebuild()
		if out, err := w.apply(); err != nil || out.Status != gatewarden.ActionApplied || w.triggers() != 1 {
			t.Errorf("%+v, %v after %d triggers, want applied after one", out, err, w.triggers())
		}
	})
}

func TestPassword(t *testing.T) {
	t.Run("a stale crumb is renewed once", func(t *testing.T) {
		inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
			w.cfg.Token, w.cfg.Password = "", "secret"
			w.rebuild()
			if err := w.exec.client.refreshCrumb(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.EndSessions()
			if out, err := w.apply(); err != nil || out.Status != gatewarden.ActionApplied || w.triggers() != 2 || len(w.ours()) != 1 {
				t.Errorf("%+v, %v after %d triggers, want applied after two", out, err, w.triggers())
			}
		})
	})
	t.Run("a wrong one is said to be wrong", func(t *testing.T) {
		inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
			w.cfg.Token, w.cfg.Password = "", "wrong-password"
			w.rebuild()
			_, err := w.apply()
			if gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), `does not accept the user "gatewarden"`) || strings.Contains(err.Error(), "wrong-password") {
				t.Errorf("%v", err)
			}
		})
	})
}

func TestUnreachableBeforeTheTriggerIsAnErrorAtOnce(t *testing.T) {
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		w.Restart(time.Minute)
		start := time.Now()
		_, err := w.once()
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable || time.Since(start) > time.Second {
			t.Errorf("%v after %s, want Unavailable at once", err, time.Since(start))
		}
		if out, err := w.apply(); err != nil || out.Status != gatewarden.ActionApplied {
			t.Errorf("once it is up: %+v, %v", out, err)
		}
	})
}

func TestMissingPermissionToBuild(t *testing.T) {
	jc := fakejenkins.Config{Users: []fakejenkins.User{{
		Name: "gatewarden", Tokens: []string{testToken}, Permissions: []fakejenkins.Permission{fakejenkins.OverallRead, fakejenkins.JobRead},
	}}}
	inWorld(t, jc, rollback(), func(t *testing.T, w *world) {
		_, err := w.apply()
		if gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), "the permission hudson.model.Item.Build") {
			t.Errorf("%v", err)
		}
	})
}

func TestPreflight(t *testing.T) {
	plain := func(params map[string]string) gatewarden.JenkinsStep {
		return gatewarden.JenkinsStep{Job: testJob, Parameters: params}
	}
	without := func(change func(*fakejenkins.Job)) fakejenkins.Job {
		j := rollback()
		change(&j)
		return j
	}
	for name, c := range map[string]struct {
		job  fakejenkins.Job
		step gatewarden.JenkinsStep
		code gatewarden.Code
		says []string
	}{
		"all is well":                {rollback(), plain(map[string]string{"SERVICE": "orders", "MODE": "dry-run", "FORCE": "true"}), "", nil},
		"the action is not declared": {without(func(j *fakejenkins.Job) { j.Parameters = j.Parameters[1:] }), plain(nil), gatewarden.Invalid, []string{"GATEWARDEN_ACTION", "stringParam('GATEWARDEN_ACTION', ''", "string(name: 'GATEWARDEN_ACTION'", "twice"}},
		"no parameters at all":       {without(func(j *fakejenkins.Job) { j.Parameters = nil }), plain(nil), gatewarden.Invalid, []string{"GATEWARDEN_ACTION"}},
		"the action is a password": {without(func(j *fakejenkins.Job) { j.Parameters[0].Type = fakejenkins.PasswordParameter }),
			plain(nil), gatewarden.Invalid, []string{"PasswordParameterDefinition", "make it a string"}},
		"an undeclared parameter":     {rollback(), plain(map[string]string{"SERVCE": "orders"}), gatewarden.Invalid, []string{`"SERVCE"`, "GATEWARDEN_ACTION, SERVICE, MODE, FORCE"}},
		"an illegal choice":           {rollback(), plain(map[string]string{"MODE": "explode"}), gatewarden.Invalid, []string{`"explode"`, "rollback, dry-run"}},
		"a boolean that is none":      {rollback(), plain(map[string]string{"FORCE": "yes"}), gatewarden.Invalid, []string{`"yes"`, "true or false"}},
		"the step sets the action":    {rollback(), plain(map[string]string{ActionParameter: "x"}), gatewarden.Invalid, []string{"leave it out"}},
		"a disabled job":              {without(func(j *fakejenkins.Job) { j.Disabled = true }), plain(nil), gatewarden.Conflict, []string{"disabled", "enable it"}},
		"a job that is not there":     {rollback(), gatewarden.JenkinsStep{Job: "shop/none"}, gatewarden.NotFound, []string{`"shop/none"`}},
		"a folder":                    {rollback(), gatewarden.JenkinsStep{Job: "shop"}, gatewarden.Invalid, []string{"folder"}},
		"a name with an empty folder": {rollback(), gatewarden.JenkinsStep{Job: "shop//x"}, gatewarden.Invalid, []string{"not the name of a job"}},
		"a name that climbs":          {rollback(), gatewarden.JenkinsStep{Job: "../manage"}, gatewarden.Invalid, []string{"not the name of a job"}},
		"no name":                     {rollback(), gatewarden.JenkinsStep{}, gatewarden.Invalid, []string{"not the name of a job"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, fakejenkins.Config{}, c.job, func(t *testing.T, w *world) {
				err := w.exec.Preflight(t.Context(), gatewarden.Step{Kind: gatewarden.StepJenkins, Jenkins: &c.step})
				if gatewarden.ErrorCode(err) != c.code {
					t.Fatalf("%q %v, want %q", gatewarden.ErrorCode(err), err, c.code)
				}
				for _, part := range c.says {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%v\ndoes not say %q", err, part)
					}
				}
				if w.triggers() != 0 {
					t.Error("it triggered something")
				}
			})
		})
	}
}

func TestRevertChangesNothing(t *testing.T) {
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		out, err := w.exec.Revert(t.Context(), w.action())
		if err != nil || out.Status != gatewarden.ActionLeft || !strings.Contains(out.Reason, "nothing to revert") || len(w.Requests()) != 0 {
			t.Errorf("%+v, %v after %d requests", out, err, len(w.Requests()))
		}
	})
}

func TestBranchOfAMultibranchProject(t *testing.T) {
	job := rollback()
	job.Name = "shop/orders/feature%2Fx"
	inWorld(t, fakejenkins.Config{PublicURL: "https://ci.example.org/jenkins", ContextPath: "/ci"}, job, func(t *testing.T, w *world) {
		a := w.action()
		a.Spec.Jenkins.Job = job.Name
		out, err := w.exec.Apply(t.Context(), a, w.save)
		if err != nil || out.Status != gatewarden.ActionApplied || out.Link != "http://jenkins.test:8080/ci/job/shop/job/orders/job/feature%252Fx/1/console" {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func TestCredentialsStayAtJenkins(t *testing.T) {
	job := rollback()
	job.Pipeline = func(_ context.Context, b *fakejenkins.Build) error {
		return fmt.Errorf("curl -u gatewarden:%s failed", testToken)
	}
	inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
		var log bytes.Buffer
		var err error
		if w.exec, err = New(w.cfg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		w.Inject(fakejenkins.Fault{Skip: 3, Times: 3, Spoil: fakejenkins.Reset})
		out, err := w.apply()
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(out) + log.String(); strings.Contains(text, testToken) || !strings.Contains(out.Details, "<secret>") {
			t.Errorf("%s", text)
		}
		for _, r := range w.Requests() {
			if strings.Contains(r.Path+r.Query+r.Body, testToken) {
				t.Errorf("the token is in a URL or body: %+v", r)
			}
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		inner := w.cfg.HTTPClient.Transport
		var hosts []string
		w.cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.Host)
			resp, err := inner.RoundTrip(r)
			if err == nil && r.Method == http.MethodGet {
				resp.StatusCode = http.StatusFound
				resp.Header.Set("Location", "http://elsewhere.test/")
			}
			return resp, err
		})}
		w.rebuild()
		_, err := w.once()
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable || !strings.Contains(err.Error(), "redirects are not followed") || len(hosts) != 1 {
			t.Errorf("%v, asked %v", err, hosts)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConsoleTail(t *testing.T) {
	for name, c := range map[string]struct {
		write func(b *fakejenkins.Build)
		check func(tail string) bool
	}{
		"a long console is read at its end only": {
			func(b *fakejenkins.Build) {
				for i := range 100_000 {
					fmt.Fprintf(b, "line %d\n", i)
				}
			},
			func(s string) bool {
				return strings.Contains(s, "line 99999\n") && strings.HasPrefix(s, "line 999") && strings.Count(s, "\n") == tailLines-1
			},
		},
		"long lines are at most 8 KB": {
			func(b *fakejenkins.Build) { fmt.Fprintln(b, strings.Repeat("é", 100_000)) },
			func(s string) bool { return len(s) <= tailBytes && strings.HasSuffix(s, "Finished: FAILURE") },
		},
		"colours and Jenkins' notes are taken out": {
			func(b *fakejenkins.Build) {
				fmt.Fprintln(b, "\x1b[31mred\x1b[0m \x1b[8mha:////4abc==\x1b[0m[Pipeline] sh \x07\x00")
			},
			func(s string) bool { return strings.Contains(s, "red [Pipeline] sh \n") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := rollback()
			job.Pipeline = func(_ context.Context, b *fakejenkins.Build) error {
				c.write(b)
				return errors.New("no")
			}
			inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
				out, err := w.apply()
				if err != nil || !c.check(out.Details) {
					t.Errorf("%v: %d bytes: %q", err, len(out.Details), out.Details)
				}
			})
		})
	}
}

func TestConsoleThatCannotBeReadAtOnce(t *testing.T) {
	console := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/logText/") }
	for times, want := range map[int]string{2: "Finished: FAILURE", 3: "the console could not be read"} {
		t.Run(fmt.Sprintf("%d times", times), func(t *testing.T) {
			job := rollback()
			job.Pipeline = func(context.Context, *fakejenkins.Build) error { return errors.New("no") }
			inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
				w.Inject(fakejenkins.Fault{When: console, Times: times, Spoil: fakejenkins.Instead})
				if out, err := w.apply(); err != nil || out.Status != gatewarden.ActionFailed || !strings.Contains(out.Details, want) {
					t.Errorf("%+v, %v, want failed with %q", out, err, want)
				}
			})
		})
	}
}

func TestLongSilenceIsOneLine(t *testing.T) {
	job := rollback()
	job.Pipeline = lasting(5 * time.Minute)
	inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
		var log bytes.Buffer
		var err error
		if w.exec, err = New(w.cfg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		w.Inject(fakejenkins.Fault{Skip: 20, Times: 40, Spoil: fakejenkins.Reset})
		if out, err := w.apply(); err != nil || out.Status != gatewarden.ActionApplied {
			t.Fatal(out, err)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, log.String())
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no URL":               {},
		"another scheme":       {URL: "ftp://jenkins"},
		"no host":              {URL: "http://"},
		"credentials":          {URL: "http://user:pass@jenkins"},
		"a query":              {URL: "http://jenkins/?x=1"},
		"a token without user": {URL: "http://jenkins", Token: "t"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(cfg, nil); gatewarden.ErrorCode(err) != gatewarden.Invalid || strings.Contains(err.Error(), "user:pass") {
				t.Errorf("%v, want Invalid", err)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
		w.cfg.Registerer = reg
		w.rebuild()
		w.rebuild() // as a reload does
		if _, err := w.apply(); err != nil {
			t.Fatal(err)
		}
	})
	const want = `
# HELP gatewarden_jenkins_outcomes_total Jobs followed to an outcome, by its status.
# TYPE gatewarden_jenkins_outcomes_total counter
gatewarden_jenkins_outcomes_total{status="applied"} 1
# HELP gatewarden_jenkins_triggers_total Requests for a build that were sent to Jenkins.
# TYPE gatewarden_jenkins_triggers_total counter
gatewarden_jenkins_triggers_total 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "gatewarden_jenkins_outcomes_total", "gatewarden_jenkins_triggers_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
