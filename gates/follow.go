package gates

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// followUp is how long what follows from an answer is tried: what could not be done for
	// an hour would take people by surprise.
	followUp = time.Hour
	// mostSpent is what one tick takes of that time at most. In what is between two ticks
	// beyond it nobody tried: the machine slept, or its clock leapt.
	mostSpent = 5 * time.Second
)

// todo is what is left to do about a run. It is written down with the run, so that it is
// done after a crash too, at least once.
type todo struct {
	Events  []gatewarden.Event `json:"events,omitempty"`  // for the journal, in order
	Answers []string           `json:"answers,omitempty"` // policies to start
	Call    *call              `json:"call,omitempty"`    // whoever asked to be told
}

func (t *todo) empty() bool { return len(t.Events) == 0 && len(t.Answers) == 0 && t.Call == nil }

// busy reports whether there is something to do about the run, apart from judging it.
func (r *run) busy() bool { return !r.todo.empty() || r.move.Wanted && !r.move.Done }

// spend takes the time since the last tick off what there is for what follows from the run's
// answer. The clock's time does not matter, nor how long the guard was away: a life that takes
// the run up has all of it.
func (b *Book) spend(r *run, passed time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.left -= min(max(passed, 0), mostSpent)
}

// settle does what is to be done about a run, and writes down how far that got.
func (b *Book) settle(ctx context.Context, at time.Time, r *run) error {
	b.moveOn(ctx, at, r)
	err := errors.Join(b.tell(ctx, r), b.answer(ctx, at, r))
	b.call(at, r)
	b.mu.Lock()
	dirty := r.dirty
	b.mu.Unlock()
	if dirty {
		err = errors.Join(err, b.save(ctx, r))
	}
	return err
}

// tell gives the journal the run's events.
func (b *Book) tell(ctx context.Context, r *run) error {
	for {
		b.mu.Lock()
		if len(r.todo.Events) == 0 {
			b.mu.Unlock()
			return nil
		}
		e := r.todo.Events[0]
		b.mu.Unlock()
		_, err := b.cfg.Journal.Append(ctx, e)
		if code := gatewarden.ErrorCode(err); err != nil && code != gatewarden.Invalid && code != gatewarden.Conflict {
			return fmt.Errorf("writing what became of the run %s to the journal: %w", r.ID, err)
		}
		if err != nil {
			b.cfg.Logger.Error("the journal takes no event of a run", "run", r.ID, "state", e.State, "error", err)
		}
		b.mu.Lock()
		r.todo.Events = slices.Delete(slices.Clone(r.todo.Events), 0, 1)
		r.dirty = true
		r.changed()
		b.mu.Unlock()
	}
}

// answer starts the policies that answer the run.
func (b *Book) answer(ctx context.Context, at time.Time, r *run) error {
	b.mu.Lock()
	policies, left, view := r.todo.Answers, r.left, r.view(false)
	b.mu.Unlock()
	if len(policies) == 0 {
		return nil
	}
	var open []string
	var errs []error
	for _, policy := range policies {
		if b.cfg.Answer == nil {
			continue
		}
		err := b.cfg.Answer(ctx, at, &view, policy)
		switch gatewarden.ErrorCode(err) {
		case "":
		case gatewarden.Invalid, gatewarden.NotFound: // no retry helps
			b.cfg.Logger.Error("a run cannot be answered", "run", r.ID, "policy", policy, "error", err)
		default:
			errs = append(errs, fmt.Errorf("answering the run %s with %s: %w", r.ID, policy, err))
			open = append(open, policy)
		}
	}
	if left <= 0 && len(open) > 0 {
		b.cfg.Logger.Error("a run was not answered in time; it is given up", "run", r.ID, "policies", open, "error", errors.Join(errs...))
		open = nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(open) != len(policies) {
		r.todo.Answers, r.dirty = open, true
	}
	return errors.Join(errs...)
}
