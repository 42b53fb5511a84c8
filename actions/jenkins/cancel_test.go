package jenkins

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/internal/fakejenkins"
)

// stubborn is a pipeline that takes d, and does not heed that it is stopped.
func stubborn(d time.Duration) fakejenkins.Pipeline {
	return func(context.Context, *fakejenkins.Build) error {
		time.Sleep(d)
		return nil
	}
}

// TestAJobThatIsGivenUp has a job in the queue, without executors, or a build that runs for
// longer than its wait of 10 minutes.
func TestAJobThatIsGivenUp(t *testing.T) {
	reader := []fakejenkins.Permission{fakejenkins.OverallRead, fakejenkins.JobRead, fakejenkins.JobBuild}
	for name, c := range map[string]struct {
		cancel    gatewarden.JobCancel
		pipeline  fakejenkins.Pipeline // nil: it stays in the queue
		withdrawn time.Duration        // when a person takes the answer back; 0 is never
		may       []fakejenkins.Permission
		status    gatewarden.ActionStatus
		says      string
		queued    int                // in the end
		ends      fakejenkins.Result // of its build; "" runs, or there is none
	}{
		"queued, never cancelled":   {"", nil, 0, nil, gatewarden.ActionUnknown, "was still in the queue after 10m (Waiting for next available executor); it may start later", 1, ""},
		"queued":                    {gatewarden.CancelQueued, nil, 0, nil, gatewarden.ActionFailed, "was still in the queue after 10m (Waiting for next available executor), and the guard cancelled it there; nothing ran", 0, ""},
		"queued, and taken back":    {gatewarden.CancelQueued, nil, time.Minute, nil, gatewarden.ActionFailed, "in the queue when its answer was taken back (Waiting for next available executor), and the guard cancelled it there", 0, ""},
		"queued, may not cancel":    {gatewarden.CancelRunning, nil, 0, reader, gatewarden.ActionUnknown, "whether it could be cancelled is not known, and it may start later: Jenkins answered 422", 1, ""},
		"running, never cancelled":  {gatewarden.CancelNever, lasting(time.Hour), time.Minute, nil, gatewarden.ActionUnknown, "had not ended after 10m; it was left running", 0, ""},
		"running, for queued ones":  {gatewarden.CancelQueued, lasting(time.Hour), time.Minute, nil, gatewarden.ActionUnknown, "had not ended after 10m; it was left running", 0, ""},
		"running":                   {gatewarden.CancelRunning, lasting(time.Hour), 0, nil, gatewarden.ActionFailed, ": the guard had told it to stop after 10m", 0, fakejenkins.Aborted},
		"running, and taken back":   {gatewarden.CancelRunning, lasting(time.Hour), time.Minute, nil, gatewarden.ActionFailed, ": the guard had told it to stop when its answer was taken back", 0, fakejenkins.Aborted},
		"running, may not be":       {gatewarden.CancelRunning, lasting(time.Hour), 0, reader, gatewarden.ActionUnknown, "could not be stopped after 10m, and was left running: Jenkins answered 403", 0, ""},
		"running, does not heed it": {gatewarden.CancelRunning, stubborn(time.Hour), 0, nil, gatewarden.ActionUnknown, "was told to stop after 10m, and had not ended 15s later", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			job, jc := rollback(), fakejenkins.Config{Executors: 1}
			if job.Pipeline = c.pipeline; c.pipeline == nil {
				jc.Executors = -1
			}
			if c.may != nil {
				jc.Users = []fakejenkins.User{{Name: "gatewarden", Password: "secret", Tokens: []string{testToken}, Permissions: c.may}}
			}
			inWorld(t, jc, job, func(t *testing.T, w *world) {
				w.cfg.Token, w.cfg.Password = "", "secret" // with crumbs
				w.rebuild()
				begun := time.Now()
				ctx := actions.WithWithdrawn(t.Context(), func() bool { return c.withdrawn > 0 && time.Since(begun) >= c.withdrawn })
				a := w.action()
				a.Spec.Jenkins.Cancel = c.cancel
				a.Spec.Jenkins.Results = map[string]gatewarden.JobResult{"aborted": gatewarden.JobOK} // not one that the guard stopped
				out, err := w.exec.Apply(ctx, a, w.save)
				if err != nil || out.Status != c.status || !strings.Contains(out.Reason, c.says) {
					t.Errorf("%+v, %v, want %s because %q", out, err, c.status, c.says)
				}
				if got := len(w.Queued()); got != c.queued {
					t.Errorf("%d are queued, want %d", got, c.queued)
				}
				var end fakejenkins.Result
				for _, r := range w.ours() {
					end = r.Result
				}
				if end != c.ends {
					t.Errorf("the build ended as %q, want %q", end, c.ends)
				}
			})
		})
	}
}

// stops returns the paths of the requests that stop or cancel something.
func (w *world) stops() (paths []string) {
	for _, r := range w.Requests() {
		if r.Method == http.MethodPost && (strings.HasSuffix(r.Path, "/stop") || strings.HasSuffix(r.Path, "/cancelItem")) {
			paths = append(paths, r.Path+"?"+r.Query)
		}
	}
	return paths
}

func TestOnlyWhatIsOursIsStopped(t *testing.T) {
	job := rollback()
	job.Parameters = []fakejenkins.Parameter{{Name: "SERVICE"}}
	job.Pipeline = lasting(time.Hour)
	inWorld(t, fakejenkins.Config{Executors: 1}, job, func(t *testing.T, w *world) {
		for range 2 { // the first runs, the second waits
			w.byHand()
			time.Sleep(time.Second)
		}
		w.SetJob(rollback())
		for name, m := range map[string]memo{"an item": {QueueID: 2}, "a build": {QueueID: 1, Build: 1}} {
			m.Job, m.NextBuild, m.Open = testJob, 1, true
			m.Since = time.Now().Add(-time.Hour)
			w.remember(m)
			a := w.action()
			a.Spec.Jenkins.Cancel = gatewarden.CancelRunning
			if out, err := w.exec.Apply(t.Context(), a, w.save); err != nil || out.Status != gatewarden.ActionUnknown || len(w.stops()) != 0 {
				t.Errorf("%s: %+v, %v after %v", name, out, err, w.stops())
			}
		}
	})
}

func TestAnItemThatBecomesABuildWhileItIsCancelled(t *testing.T) {
	inWorld(t, fakejenkins.Config{Executors: -1}, rollback(), func(t *testing.T, w *world) {
		inner := w.cfg.HTTPClient.Transport
		w.cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/cancelItem") {
				w.SetExecutors(1)
				time.Sleep(time.Second)
			}
			return inner.RoundTrip(r)
		})}
		w.rebuild()
		a := w.action()
		a.Spec.Jenkins.Cancel = gatewarden.CancelQueued
		if out, err := w.exec.Apply(t.Context(), a, w.save); err != nil || out.Status != gatewarden.ActionApplied || len(w.stops()) != 1 {
			t.Errorf("%+v, %v after %v, want applied: it ran", out, err, w.stops())
		}
	})
}

// TestAStopIsSentAgainAfterACrash: nobody knows whether it was sent.
func TestAStopIsSentAgainAfterACrash(t *testing.T) {
	job := rollback()
	job.Pipeline = lasting(time.Hour)
	inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
		w.byHand()
		time.Sleep(10 * time.Minute)
		m := memo{Job: testJob, NextBuild: 1, Open: true, Since: time.Now().Add(-10 * time.Minute), QueueID: 1, Build: 1, Stopped: "after 10m"}
		w.remember(m)
		if said := w.exec.Noted(w.memo); said != "build #1 of the Jenkins job "+testJob+" is told to stop after 10m" {
			t.Error(said)
		}
		a := w.action()
		a.Spec.Jenkins.Cancel = gatewarden.CancelRunning
		out, err := w.exec.Apply(t.Context(), a, w.save)
		if want := []string{"/job/shop/job/orders-rollback/1/stop?"}; err != nil || out.Status != gatewarden.ActionFailed || !slices.Equal(w.stops(), want) {
			t.Errorf("%+v, %v after %v", out, err, w.stops())
		}
	})
}

// TestAStopThatIsLostIsSentAgain has something before Jenkins that answers 502 to the first
// stops.
func TestAStopThatIsLostIsSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		lost   int
		stops  int // that Jenkins gets
		status gatewarden.ActionStatus
		says   string
		ends   fakejenkins.Result
	}{
		"one":   {1, 1, gatewarden.ActionFailed, ": the guard had told it to stop after 10m", fakejenkins.Aborted},
		"two":   {2, 1, gatewarden.ActionFailed, ": the guard had told it to stop after 10m", fakejenkins.Aborted},
		"every": {1000, 0, gatewarden.ActionUnknown, "was to be stopped after 10m, and Jenkins has not answered that for 15s; it may run on", ""},
	} {
		t.Run(name, func(t *testing.T) {
			job := rollback()
			job.Pipeline = lasting(time.Hour)
			inWorld(t, fakejenkins.Config{}, job, func(t *testing.T, w *world) {
				inner, asked := w.cfg.HTTPClient.Transport, 0
				w.cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if strings.HasSuffix(r.URL.Path, "/stop") {
						if asked++; asked <= c.lost {
							return &http.Response{StatusCode: http.StatusBadGateway, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
						}
					}
					return inner.RoundTrip(r)
				})}
				w.rebuild()
				a := w.action()
				a.Spec.Jenkins.Cancel = gatewarden.CancelRunning
				out, err := w.exec.Apply(t.Context(), a, w.save)
				if err != nil || out.Status != c.status || !strings.Contains(out.Reason, c.says) {
					t.Errorf("%+v, %v, want %s because %q", out, err, c.status, c.says)
				}
				if len(w.stops()) != c.stops || len(w.ours()) != 1 || w.ours()[0].Result != c.ends {
					t.Errorf("%v, and the builds are %+v", w.stops(), w.ours())
				}
				if n := len(w.saves); w.saves[n-1].Stopped == "" || w.saves[n-2].Stopped != "" {
					t.Errorf("it was noted more than once, or not: %+v", w.saves)
				}
			})
		})
	}
}

// TestABuildThatWasToldToStop has ended; the rules take its result for ok otherwise.
func TestABuildThatWasToldToStop(t *testing.T) {
	results := map[string]gatewarden.JobResult{"unstable": gatewarden.JobOK, "not_built": gatewarden.JobUnknown}
	for result, want := range map[string]gatewarden.ActionStatus{
		"SUCCESS": gatewarden.ActionApplied, "UNSTABLE": gatewarden.ActionFailed, "NOT_BUILT": gatewarden.ActionFailed, "FAILURE": gatewarden.ActionFailed,
	} {
		t.Run(result, func(t *testing.T) {
			inWorld(t, fakejenkins.Config{}, rollback(), func(t *testing.T, w *world) {
				step := *w.action().Spec.Jenkins
				step.Results = results
				r := &run{Executor: w.exec, action: w.action(), step: &step, save: w.save, memo: memo{Job: testJob, Build: 1, Stopped: "after 10m"}, logger: w.exec.logger}
				out := r.finished(t.Context(), build{Number: 1, Result: result})
				if told := strings.Contains(out.Reason, "the guard had told it to stop after 10m"); out.Status != want || told != (want == gatewarden.ActionFailed) {
					t.Errorf("%+v, want %s", out, want)
				}
			})
		})
	}
}
