package jenkins

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

var _ actions.Noter = (*Executor)(nil)

// ActionParameter is the parameter that carries the action's id. A job must
// declare it to be run by a guard.
const ActionParameter = "GATEWARDEN_ACTION"

// defaultWait is how long a build is followed when its step does not say.
const defaultWait = 30 * time.Minute

// Config says where Jenkins is and who the guard is there. Only URL is needed.
type Config struct {
	URL  string // with the context path, if any: "http://jenkins:8080/jenkins"
	User string
	// Token is the user's API token, which needs no crumbs; Password is used without
	// one. Both are the secrets themselves, already read.
	Token    string
	Password string

	// HTTPClient carries the requests; its redirect policy and cookie jar are not
	// used. http.DefaultTransport when nil.
	HTTPClient *http.Client
	Timeout    time.Duration // of one request; 15 s unless set

	PollQueue time.Duration // mean time between two looks at the queue item; 1.5 s unless set
	PollBuild time.Duration // between two looks at the build; 3.5 s unless set
	// LookGap is the time between the two looks for a build that may have been
	// triggered before; 2 s unless set. It must be longer than an item that has left
	// the queue takes to show up as a build.
	LookGap time.Duration
	// Settle is how long a trigger may take to show in the queue, at a controller
	// that stalls: so long is a build looked for after the answer to its trigger was
	// lost, and no second trigger is sent sooner than that after a first that may have
	// been accepted. 15 s unless set.
	Settle time.Duration

	Now        func() time.Time      // time.Now when nil
	Registerer prometheus.Registerer // not registered when nil
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Timeout, 15 * time.Second},
		{&c.PollQueue, 1500 * time.Millisecond},
		{&c.PollBuild, 3500 * time.Millisecond},
		{&c.LookGap, 2 * time.Second},
		{&c.Settle, 15 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Executor runs Jenkins jobs. It keeps nothing of an action but what is in its
// memo, and is safe for concurrent use.
type Executor struct {
	cfg     Config
	client  *client
	logger  *slog.Logger
	metrics *metrics
}

// New returns an executor for one controller. It does not call it. A URL that is
// none, or that carries credentials, is Invalid.
func New(cfg Config, logger *slog.Logger) (*Executor, error) {
	cfg.setDefaults()
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(cfg.Registerer)
	c, err := newClient(cfg, m)
	if err != nil {
		return nil, err
	}
	return &Executor{cfg: cfg, client: c, logger: logger, metrics: m}, nil
}

// memo is what the executor must know of an action to go on after a crash. It is
// saved before and after each step that Jenkins sees.
type memo struct {
	Job string `json:"job"`
	// NextBuild is the job's next build number before the first trigger: no build of
	// the action has a smaller one.
	NextBuild int `json:"next_build,omitempty"`
	// Open says that a trigger was sent, or was about to be, and that it may have been
	// accepted.
	Open bool `json:"open,omitempty"`
	// Lost says that the answer to the trigger was lost: it is not sent again.
	Lost    bool      `json:"lost,omitempty"`
	Since   time.Time `json:"since,omitzero"` // of the first trigger; Wait counts from it
	Sent    time.Time `json:"sent,omitzero"`  // of the last trigger
	QueueID int64     `json:"queue_id,omitempty"`
	Build   int       `json:"build,omitempty"`
	// Stopped says why the guard has told Jenkins to stop the build, or was about to.
	Stopped string `json:"stopped,omitempty"`
}

// Noted implements actions.Noter.
func (*Executor) Noted(raw json.RawMessage) string {
	var m memo
	if err := json.Unmarshal(raw, &m); err != nil {
		return ""
	}
	switch {
	case m.Stopped != "":
		return fmt.Sprintf("build #%d of the Jenkins job %s is told to stop %s", m.Build, m.Job, m.Stopped)
	case m.Build > 0:
		return fmt.Sprintf("build #%d of the Jenkins job %s has started", m.Build, m.Job)
	case m.QueueID > 0:
		return fmt.Sprintf("the Jenkins job %s is queued, as item %d", m.Job, m.QueueID)
	case m.Lost:
		return fmt.Sprintf("the answer to the trigger of the Jenkins job %s was lost; the guard looks for its build", m.Job)
	case m.Open:
		return fmt.Sprintf("the Jenkins job %s is about to be triggered", m.Job)
	default:
		return ""
	}
}

// Prepare checks that the job is there and can be run as the step wants it.
// Errors: Invalid when the job, its parameters or the permissions must be put
// right, NotFound when there is no such job, Conflict when it is disabled,
// Unavailable when Jenkins did not answer.
func (e *Executor) Prepare(ctx context.Context, a gatewarden.Action) (json.RawMessage, error) {
	step, err := stepOf(a)
	if err != nil {
		return nil, err
	}
	def, err := e.check(ctx, step)
	if err != nil {
		return nil, err
	}
	return json.Marshal(memo{Job: step.Job, NextBuild: def.NextBuildNumber})
}

// Preflight checks, without changing anything, whether the step can be run: is
// the job there and enabled, does it declare GATEWARDEN_ACTION and the step's
// parameters, are the values ones that it takes. Whether the user may build the
// job shows only when it is triggered. The errors are those of Prepare.
func (e *Executor) Preflight(ctx context.Context, step gatewarden.Step) error {
	if step.Jenkins == nil {
		return gatewarden.Errorf(gatewarden.Invalid, "a step of kind %q is not one for Jenkins", step.Kind)
	}
	_, err := e.check(ctx, step.Jenkins)
	return err
}

// Apply runs the job, or finds the build that it started before, and follows it
// until it ends or the step's wait is over. The outcome is applied for SUCCESS,
// failed for every other result, unless the step's Results say otherwise, and for a job
// that was cancelled or stopped, and unknown when Jenkins never said. Errors: those of Prepare, and save's. As long
// as nothing can have been triggered an Unavailable Jenkins is an error; after
// that it is asked again.
func (e *Executor) Apply(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	step, err := stepOf(a)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	r := &run{Executor: e, action: a, step: step, save: save, memo: memo{Job: step.Job}}
	if len(a.Memo) > 0 {
		if err := json.Unmarshal(a.Memo, &r.memo); err != nil {
			return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Internal, "reading the memo of action %s: %w", a.ID, err)
		}
	}
	// A clock that was put back meanwhile: what was sent in its future was sent by now.
	if now := e.cfg.Now(); r.memo.Sent.After(now) {
		r.memo.Sent = now
	}
	if now := e.cfg.Now(); r.memo.Since.After(now) {
		r.memo.Since = now
	}
	r.logger = e.logger.With("action", a.ID, "job", step.Job)
	out, err := r.apply(ctx)
	if err == nil {
		e.metrics.outcomes.WithLabelValues(string(out.Status)).Inc()
	}
	return out, err
}

// Revert changes nothing: what a job did cannot be taken back from outside. One that is still
// under way is given up by Apply, as far as its step's Cancel goes.
func (e *Executor) Revert(_ context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	step, err := stepOf(a)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	return gatewarden.Outcome{
		Status: gatewarden.ActionLeft,
		Reason: fmt.Sprintf("there is nothing to revert: what the job %s did cannot be taken back by the guard", step.Job),
		Link:   a.Link,
	}, nil
}

func stepOf(a gatewarden.Action) (*gatewarden.JenkinsStep, error) {
	if a.Spec.Jenkins == nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "action %s is not a step for Jenkins but of kind %q", a.ID, a.Spec.Kind)
	}
	return a.Spec.Jenkins, nil
}

// jittered spreads polls over two thirds to four thirds of d.
func jittered(d time.Duration) time.Duration {
	return d*2/3 + rand.N(d*2/3+1)
}

// sleep waits for d, or until ctx ends, which it returns the error of.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
