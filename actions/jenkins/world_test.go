package jenkins

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakejenkins"
)

const (
	testJob   = "shop/orders-rollback"
	testToken = "11aabbccddeeff00112233445566778899"
	testID    = "roll-back-orders-5f3a9c21-1"
)

// world is a Jenkins, an executor that knows it, and a journal for one memo. It
// lives in virtual time.
type world struct {
	*fakejenkins.Server
	t     *testing.T
	cfg   Config
	exec  *Executor
	memo  json.RawMessage
	saves []memo
}

// inWorld runs scene in a bubble of virtual time.
func inWorld(t *testing.T, jc fakejenkins.Config, job fakejenkins.Job, scene func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		jc.Users = append(jc.Users, fakejenkins.User{
			Name: "gatewarden", Password: "secret", Tokens: []string{testToken}, Permissions: fakejenkins.Operator(),
		})
		s := fakejenkins.New(jc)
		s.SetJob(job)
		client, stop := s.InMemory()
		t.Cleanup(func() {
			s.Close()
			stop()
		})
		w := &world{Server: s, t: t, cfg: Config{
			URL: "http://jenkins.test:8080" + jc.ContextPath, User: "gatewarden", Token: testToken, HTTPClient: client,
		}}
		w.rebuild()
		scene(t, w)
	})
}

func (w *world) rebuild() {
	w.t.Helper()
	var err error
	if w.exec, err = New(w.cfg, nil); err != nil {
		w.t.Fatal(err)
	}
}

func rollback() fakejenkins.Job {
	return fakejenkins.Job{Name: testJob, Serial: true, Parameters: []fakejenkins.Parameter{
		{Name: ActionParameter}, {Name: "SERVICE"},
		{Name: "MODE", Type: fakejenkins.ChoiceParameter, Choices: []string{"rollback", "dry-run"}},
		{Name: "FORCE", Type: fakejenkins.BooleanParameter},
	}}
}

// lasting is a pipeline that takes d, stopped earlier or not.
func lasting(d time.Duration) fakejenkins.Pipeline {
	return func(ctx context.Context, _ *fakejenkins.Build) error {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		return nil
	}
}

func (w *world) action() gatewarden.Action {
	return gatewarden.Action{
		ID: testID, Policy: "roll-back-orders", Step: 1, Status: gatewarden.ActionStarted, Memo: w.memo,
		Spec: gatewarden.Step{Kind: gatewarden.StepJenkins, Jenkins: &gatewarden.JenkinsStep{
			Job: testJob, Parameters: map[string]string{"SERVICE": "orders"}, Wait: gatewarden.Duration(10 * time.Minute),
		}},
	}
}

func (w *world) save(b json.RawMessage) error {
	var m memo
	if err := json.Unmarshal(b, &m); err != nil {
		w.t.Errorf("the memo %s: %v", b, err)
	}
	w.memo, w.saves = b, append(w.saves, m)
	return nil
}

// apply does what the engine does: prepares, applies, and tries again while
// Jenkins is not available, for as long as the breach lasts.
func (w *world) apply() (gatewarden.Outcome, error) {
	const breach = time.Hour
	deadline := time.Now().Add(breach)
	for {
		out, err := w.once()
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable || time.Now().After(deadline) {
			return out, err
		}
		time.Sleep(time.Second)
	}
}

func (w *world) once() (gatewarden.Outcome, error) {
	if w.memo == nil {
		m, err := w.exec.Prepare(w.t.Context(), w.action())
		if err != nil {
			return gatewarden.Outcome{}, err
		}
		w.memo = m
	}
	return w.exec.Apply(w.t.Context(), w.action(), w.save)
}

// ours returns the builds that carry the action.
func (w *world) ours() (out []fakejenkins.Run) {
	for _, r := range w.Runs(testJob) {
		if r.Parameters[ActionParameter] == testID {
			out = append(out, r)
		}
	}
	return out
}

func (w *world) triggers() (n int) {
	for _, r := range w.Requests() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

var errDied = errors.New("the process died")

// remember puts m into the journal.
func (w *world) remember(m memo) {
	w.t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	w.memo = b
}

// byHand triggers the action's job as the guard would, but not by the executor.
func (w *world) byHand() { w.byHandAt("/job/shop/job/orders-rollback/buildWithParameters?delay=0sec") }

func (w *world) byHandAt(path string) {
	w.t.Helper()
	form := url.Values{ActionParameter: {testID}, "SERVICE": {"orders"}}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.cfg.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.SetBasicAuth("gatewarden", testToken)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.cfg.HTTPClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		w.t.Fatalf("by hand: %s", resp.Status)
	}
}

// tell logs what Jenkins saw and what was saved, to read a failure by.
func (w *world) tell() {
	w.t.Helper()
	for _, r := range w.Requests() {
		w.t.Logf("%s %s %s -> %d, spoilt %v", r.At.Format("15:04:05.000"), r.Method, r.Path, r.Status, r.Spoilt)
	}
	for _, m := range w.saves {
		w.t.Logf("%+v", m)
	}
}
