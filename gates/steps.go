package gates

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
)

// move is what the guard wants the canary's share to be.
type move struct {
	Wanted  bool      `json:"wanted,omitempty"` // false: the share is somebody else's business
	Percent float64   `json:"percent"`
	Done    bool      `json:"done,omitempty"`
	DoneAt  time.Time `json:"done_at,omitzero"`

	Held  string `json:"held,omitempty"`  // why it is not done yet, in words
	Never bool   `json:"never,omitempty"` // and that does not pass: nothing the guard does moves them
}

// moveTo makes the guard give the canary so many per cent of the requests, if it is the
// guard that moves the weights.
func (r *run) moveTo(percent float64, step int) {
	if len(r.Steps) == 0 {
		return
	}
	r.Step = step
	r.move = move{Wanted: true, Percent: percent}
}

// climbing reports whether the canary has steps before it. When the guard will not move the
// weights it has none: somebody else moves them, or nobody, and the evidence alone decides.
// What passes, as a pause or a Kong that does not answer, does not take its steps away.
func (r *run) climbing() bool {
	return len(r.Steps) > 0 && !r.move.Never && (r.Step < len(r.Steps) || !r.move.Done)
}

// step takes a running run to its next step, when the canary has shown its part.
//
// The evidence for a pass after step k of n must be PassNeeded × k/n, as a logarithm. It
// is the least of the checks' e-processes, and each is at most 1 on average while the
// canary is beyond that check's pass margin; so by Ville's inequality such a canary ever
// goes on from step k with a probability of at most false_pass^(k/n).
//
// Besides, each step lasts MinDuration/(n+1) from when the weights were there, so that all
// of them together leave as much of MinDuration to the end; the evidence for a fail must
// be below a tenth of what a fail needs; and the requests must be divided as configured.
func (r *run) step(at time.Time) {
	k, n := r.Step, len(r.Steps)
	if k < 1 || k >= n || !r.move.Done || r.decision != nil || r.missing(gatewarden.Healthy) != "" {
		return
	}
	if at.Sub(r.move.DoneAt) < r.canary.MinDuration/time.Duration(n+1) || r.evidence >= -math.Log10(r.canary.FalseAlarm)-1 {
		return
	}
	r.refresh()
	v := r.Verdict
	if v.Split.Mismatch || v.Split.Large {
		return
	}
	if r.standing != gatewarden.Healthy && v.PassEvidence() < v.PassNeeded*float64(k)/float64(n) {
		return
	}
	r.moveTo(float64(r.Steps[k]), k+1)
	r.dirty = true
	r.changed()
}

// moveOn calls the mover for a run whose weights are not yet where they belong.
func (b *Book) moveOn(ctx context.Context, at time.Time, r *run) {
	b.mu.Lock()
	want, view := r.move, r.view(false)
	b.mu.Unlock()
	if !want.Wanted || want.Done {
		return
	}
	done, held, never := false, "this guard moves no weights", true
	if b.cfg.Mover != nil {
		var err error
		if done, err = b.cfg.Mover.Move(ctx, at, &view, want.Percent); err != nil {
			done, held, never = false, err.Error(), gatewarden.ErrorCode(err) != gatewarden.Unavailable
		} else {
			held, never = "", false
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if held != r.move.Held || never != r.move.Never {
		r.move.Held, r.move.Never, r.dirty = held, never, true
		r.changed()
	}
	if !done {
		if r.Over() && r.left <= 0 {
			r.move.Wanted, r.dirty = false, true
			b.cfg.Logger.Error("the weights of a canary were not moved in time; it is given up", "run", r.ID, "percent", want.Percent, "error", held)
		}
		return
	}
	r.move.Done, r.move.DoneAt, r.dirty = true, at, true
	r.todo.Events = append(r.todo.Events, r.event(at, gatewarden.EventCanary, "step", r.moved(), ""))
	r.changed()
}

// moved says where the weights are now.
func (r *run) moved() string {
	percent := strconv.FormatFloat(r.move.Percent, 'f', -1, 64)
	switch {
	case !r.Over():
		return fmt.Sprintf("step %d of %d: the canary is given %s %% of the requests", r.Step, len(r.Steps), percent)
	case r.move.Percent > 0:
		return "promoted: the canary is given all requests"
	default:
		return "the canary is given no requests any more"
	}
}
