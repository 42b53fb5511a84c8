package actions

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Journal is where the engine writes what it decided, before it does it, and what
// it reads after a crash.
type Journal interface {
	// Append makes the event durable and returns it with its place in the journal.
	Append(ctx context.Context, e gatewarden.Event) (gatewarden.Event, error)
	// All yields every event of a type in order, from the oldest kept. A message that
	// cannot be read is skipped; an error ends the sequence.
	All(ctx context.Context, t gatewarden.EventType) iter.Seq2[gatewarden.Event, error]
}

// Leases keeps until when each action in place may live. They are renewed every
// few minutes, which is why they are not in the journal.
type Leases interface {
	Put(ctx context.Context, actionID string, until time.Time) error
	Delete(ctx context.Context, actionID string) error // one that is not there is no error
	All(ctx context.Context) (map[string]time.Time, error)
}

// Config is what an Engine is made of. Executors and Journal are needed, the rest
// has a default.
type Config struct {
	Policies  []gatewarden.ActionPolicy
	SLOs      []gatewarden.SLO
	Executors map[gatewarden.StepKind]Executor
	Journal   Journal
	Leases    Leases // in memory when nil, which forgets renewals with the process

	// Leader reports whether this guard may act now; nil is always.
	Leader func() bool
	// Now stamps what happens between ticks: outcomes and what people do. time.Now
	// when nil.
	Now func() time.Time
	// CallTimeout bounds one call of an executor, 30 s unless set. A Jenkins step gets
	// the time it may be followed for on top.
	CallTimeout time.Duration
	// Keep is how many ended actions List remembers, 1000 unless set.
	Keep int
	// Failpoint, when set, is called between every two steps with one of the names of
	// Failpoints. A crash test kills the process there.
	Failpoint func(name string)

	Logger     *slog.Logger          // discarded when nil
	Registerer prometheus.Registerer // not registered when nil
}

// Engine is the one road to the outside. Its methods are safe for concurrent use.
type Engine struct{ cfg Config }

// Pause says who paused the guard, when and why.
type Pause struct {
	By     string
	Reason string
	At     time.Time
}

var errMissing = errors.New("not there yet")

// New returns an engine that does nothing until Start.
func New(cfg Config) (*Engine, error) { return &Engine{cfg: cfg}, nil }

// Start reads the journal and takes up what was under way when the guard stopped.
// It is called once, before the first Tick.
func (e *Engine) Start(ctx context.Context, at time.Time) error { return errMissing }

// Tick hands the engine the verdicts of one instant. An SLO without a verdict
// counts as inconclusive. The calls to the outside go on after Tick has returned;
// in observe mode nothing does. The error is the journal's or the leases': what
// could not be written is tried again with the next tick.
func (e *Engine) Tick(ctx context.Context, at time.Time, verdicts []gatewarden.Verdict) error {
	return errMissing
}

// SetRules swaps the rules. Ladders that are climbing keep the policy that they
// were started with.
func (e *Engine) SetRules(policies []gatewarden.ActionPolicy, slos []gatewarden.SLO) {}

// Approve lets a waiting action begin, or all those of a ladder.
func (e *Engine) Approve(ctx context.Context, id, by string) error { return errMissing }

// Reject ends a waiting action, or all those of a ladder, undone.
func (e *Engine) Reject(ctx context.Context, id, by, reason string) error { return errMissing }

// Revert takes an action back, or a whole ladder, and keeps it from being done
// again while the same breach lasts. It returns when the intent is in the journal.
func (e *Engine) Revert(ctx context.Context, id, by string) error { return errMissing }

// Pause stops the engine from beginning anything. What is in place stays, and its
// lease runs out unless the breach lasts. It holds over restarts.
func (e *Engine) Pause(ctx context.Context, by, reason string) error { return errMissing }

// Resume ends a pause.
func (e *Engine) Resume(ctx context.Context, by string) error { return errMissing }

// Paused returns the pause in force, or nil.
func (e *Engine) Paused() *Pause { return nil }

// List returns the actions, the newest first.
func (e *Engine) List() []gatewarden.Action { return nil }

// Get returns one action.
func (e *Engine) Get(id string) (gatewarden.Action, bool) { return gatewarden.Action{}, false }

// Sheds returns which responses the changes in place make by themselves, and those
// of changes taken back a short while ago, whose records can still come in.
func (e *Engine) Sheds() []gatewarden.Shed { return nil }

// Close stops the engine: nothing new begins, and calls under way may end until ctx
// does. What is cut short is taken up at the next start.
func (e *Engine) Close(ctx context.Context) error { return nil }

// Failpoints lists the names that Config.Failpoint is called with, in the order of
// an action's life.
func Failpoints() []string { return nil }
