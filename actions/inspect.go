package actions

import (
	"context"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// inspectEvery is how often a change in place is looked at.
const inspectEvery = 30 * time.Second

// Inspector is an Executor that can see whether its changes are still as it made them.
type Inspector interface {
	Executor
	// Inspect lists what somebody else has made of an applied action since, nothing when all
	// is as it should be. It changes nothing.
	Inspect(ctx context.Context, a gatewarden.Action) (drift []string, err error)
}

// inspect looks now and then at what a ladder has in place. What decK, an ingress controller
// or a person has taken away or changed is told once, and not put in place again: two that
// write against each other are worse than either.
func (e *Engine) inspect(l *ladder, at time.Time) {
	for i := range l.rungs {
		a := l.rungs[i].current
		if a == nil || a.busy || !a.standing() || a.AppliedAt == nil || a.kind == gatewarden.StepShare {
			continue
		}
		_, ok := e.cfg.Executors[a.kind].(Inspector)
		if !ok || at.Before(a.inspected.Add(inspectEvery)) || at.Before(a.AppliedAt.Add(inspectEvery)) {
			continue
		}
		a.inspected = at
		e.start(a, e.inspectOne)
	}
}

func (e *Engine) inspectOne(ctx context.Context, a *action) {
	var drift []string
	err := e.call(ctx, e.snapshot(a), "inspect", func(ctx context.Context, x Executor, a gatewarden.Action) (err error) {
		if inspector, ok := x.(Inspector); ok {
			drift, err = inspector.Inspect(ctx, a)
		}
		return err
	})
	if err != nil {
		return // the next look may see more; that a peer does not answer is not news of the action
	}
	found := strings.Join(drift, "; ")
	reason := "it has drifted: somebody else has changed it, and it is not put in place again: " + found
	if found == "" {
		reason = "it is in place again as it was set"
	}
	standing := func() bool { return a.standing() && a.drift != found }
	if e.settle(ctx, a, standing, change{reason: reason, outcome: &gatewarden.Outcome{Details: details(drift)}}) != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a.drift = found
}

// details lists drift for whoever looks at the action.
func details(drift []string) string {
	if len(drift) == 0 {
		return "Nothing differs any more from what the guard wrote."
	}
	return "What differs from what the guard wrote:\n" + strings.Join(drift, "\n")
}
