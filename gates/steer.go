package gates

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// What a request for a run may carry, so that nobody can fill the state with it.
const (
	maxKey        = 256
	maxParameters = 64
	maxRequest    = 16 << 10 // bytes of all texts together
)

// Start starts a run, or finds the one that the key names, also when that is over long
// since. Errors: not_found without such a canary; conflict while another run of it is
// running, which the error names; unavailable when the run could not be written down, and
// so was not started, or when the book is abandoned.
func (b *Book) Start(ctx context.Context, at time.Time, req Request) (run gatewarden.Run, created bool, err error) {
	if err := req.check(); err != nil {
		return run, false, err
	}
	b.steer.Lock()
	defer b.steer.Unlock()
	if err := b.over(); err != nil {
		return run, false, err
	}
	b.mu.Lock()
	s, known := b.slot(req.Canary), b.byKey[runKey{req.Canary, req.Key}]
	b.mu.Unlock()
	switch {
	case known != nil && req.Key != "":
		b.mu.Lock()
		defer b.mu.Unlock()
		return known.view(true), false, nil
	case s == nil || s.canary == nil:
		return run, false, gatewarden.Errorf(gatewarden.NotFound, "there is no canary named %q", req.Canary).
			WithHint("GET /api/v1/canaries lists them; they are in the rules under canaries")
	case s.active != nil && s.active.State == gatewarden.RunRunning:
		if err := b.replace(ctx, at, s.active, req); err != nil {
			return run, false, err
		}
	}
	r, old, err := b.begin(at, s, req)
	if err != nil {
		return run, false, err
	}
	if err := b.launch(ctx, at, s, r, old); err != nil {
		return run, false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.view(true), true, nil
}

func (req *Request) check() error {
	size := len(req.Key) + len(req.By)
	for name, value := range req.Parameters {
		size += len(name) + len(value)
	}
	if len(req.Key) > maxKey || len(req.Parameters) > maxParameters || size > maxRequest {
		return gatewarden.Errorf(gatewarden.Invalid, "the request is too large").
			WithHint("a key may have %d bytes, and there may be %d parameters; all texts together %d bytes", maxKey, maxParameters, maxRequest)
	}
	if req.Callback == nil {
		return nil
	}
	return checkCallback(req.Callback)
}

// replace makes place for a new run, if that is asked for.
func (b *Book) replace(ctx context.Context, at time.Time, old *run, req Request) error {
	if !req.Replace {
		return gatewarden.Errorf(gatewarden.Conflict, "the run %s of %s is running, under the key %q", old.ID, old.Canary, old.Key).
			WithHint(`wait for it or cancel it; with "replace": true that happens first`)
	}
	reason := "it made place for another run"
	if req.By != "" {
		reason += ", which " + req.By + " asked for"
	}
	return b.finish(ctx, at, old, func(r *run) { r.conclude(at, at, gatewarden.RunCancelled, reason, req.By) })
}

// Cancel ends a run without an answer: nothing follows, except that steps are taken back.
// One that is cancelled already stays so; the error is a conflict when it is over
// otherwise.
func (b *Book) Cancel(ctx context.Context, at time.Time, id, by, reason string) (gatewarden.Run, error) {
	text := "cancelled by " + by
	if reason != "" {
		text += ": " + reason
	}
	return b.steerRun(ctx, at, id, by, gatewarden.RunCancelled, func(r *run) {
		r.conclude(at, at, gatewarden.RunCancelled, text, by)
	})
}

// Override ends a run with a person's answer, RunPass or RunFail, and with all that
// follows from such an answer. The error is a conflict when it is over already.
func (b *Book) Override(ctx context.Context, at time.Time, id string, state gatewarden.RunState, by, reason string) (gatewarden.Run, error) {
	if state != gatewarden.RunPass && state != gatewarden.RunFail {
		return gatewarden.Run{}, gatewarden.Errorf(gatewarden.Invalid, "a run cannot be overridden to %q", state).WithHint("it is pass or fail")
	}
	text := by + " said so"
	if reason != "" {
		text += ": " + reason
	}
	return b.steerRun(ctx, at, id, by, "", func(r *run) {
		r.Override = &gatewarden.Override{State: state, By: by, Reason: reason, At: at}
		r.conclude(at, at, state, text, by)
	})
}

// steerRun carries out what a person wants of a run. One that is in the state already
// is as it should be.
func (b *Book) steerRun(ctx context.Context, at time.Time, id, by string, already gatewarden.RunState, apply func(*run)) (gatewarden.Run, error) {
	if strings.TrimSpace(by) == "" {
		return gatewarden.Run{}, gatewarden.Errorf(gatewarden.Invalid, "nobody asks for it: the timeline must say who did this")
	}
	b.steer.Lock()
	defer b.steer.Unlock()
	if err := b.over(); err != nil {
		return gatewarden.Run{}, err
	}
	r, err := b.find(id)
	if err != nil {
		return gatewarden.Run{}, err
	}
	if state := r.State; state != gatewarden.RunRunning && state != already {
		return gatewarden.Run{}, gatewarden.Errorf(gatewarden.Conflict, "the run %s is over: %s", id, state)
	} else if state == gatewarden.RunRunning {
		if err := b.finish(ctx, at, r, apply); err != nil {
			return gatewarden.Run{}, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.view(true), nil
}

// finish ends a running run as apply says. It happens when it is written down: then the
// person who asked for it may rely on it.
func (b *Book) finish(ctx context.Context, at time.Time, r *run, apply func(*run)) error {
	if err := b.putEnd(ctx, r, apply); err != nil {
		return err
	}
	if err := b.settle(ctx, at, r); err != nil {
		b.cfg.Logger.Warn("what follows from the end of a run waits for the next tick", "run", r.ID, "error", err)
	}
	return nil
}

// putEnd writes the end of a run down and then lets it have ended. Meanwhile nobody writes
// down that it goes on.
func (b *Book) putEnd(ctx context.Context, r *run, apply func(*run)) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	r.refresh()
	ended := *r
	ended.wake, ended.todo.Events = nil, slices.Clone(r.todo.Events)
	apply(&ended)
	b.mu.Unlock()
	if err := b.putNow(ctx, &ended); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "the run goes on: %w", err).WithHint("is the disk of the state folder full?")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	apply(r)
	r.dirty = false
	if s := b.slot(r.Canary); s != nil && s.active == r && r.judge == nil {
		b.retire(s)
	}
	b.ended(r)
	return nil
}

// begin makes a run the canary's, with a judge that knows the baseline's history up to that
// moment: what comes later it is shown. It returns the run before, if that is still judged.
func (b *Book) begin(at time.Time, s *slot, req Request) (r, old *run, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	judge, err := b.nextJudge(at, s)
	if err != nil {
		return nil, nil, fmt.Errorf("the canary %s: %w", s.name, err)
	}
	start := at.Truncate(time.Second).Add(time.Second).UTC()
	b.wait(judge)
	judge.Begin(start)
	judge.Advance(at)
	r = &run{
		Run: gatewarden.Run{
			ID: b.id(s.name, start), Canary: s.name, Key: req.Key, State: gatewarden.RunRunning, Version: 1, Reason: "it has just begun",
			By: req.By, Parameters: maps.Clone(req.Parameters), StartedAt: start, Deadline: start.Add(s.canary.Deadline),
		},
		canary: s.canary, judge: judge, number: b.nextNumber(), advanced: at, share: -1, trailEvery: trailStep, lastSeen: at, savedAt: at,
	}
	r.savedApplied = b.log.sections // nothing of it is in the log yet
	r.applied = b.log.sections
	if req.Callback != nil {
		callback := *req.Callback
		r.Callback = &callback
	}
	if share, known := b.share(s.name); known {
		r.split(split{At: start, Share: share})
	}
	if b.cfg.Mover != nil && len(s.canary.Steps) > 0 {
		r.Steps = slices.Clone(s.canary.Steps)
		r.moveTo(float64(r.Steps[0]), 1)
	}
	r.todo.Events = append(r.todo.Events, r.event(at, gatewarden.EventGate, string(r.State), "a run of the canary began", req.By))
	old = s.active // judged on after its pass, until now
	s.active = r
	b.runs[r.ID] = r
	b.replan()
	return r, old, nil
}

// nextJudge returns a copy of the judge that has gathered the most of the baseline's
// history; mu is held.
func (b *Book) nextJudge(at time.Time, s *slot) (Judge, error) {
	oldest := s.past.oldest(at)
	if oldest == nil {
		return b.cfg.NewJudge(s.canary, farFuture())
	}
	state, err := oldest.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return b.cfg.LoadJudge(s.canary, state)
}

// wait tells a judge whose run has not begun how late records come now: that may be known
// only since, or be of another configuration than the one in which the judge was made.
func (b *Book) wait(j Judge) {
	if b.cfg.Delay != nil {
		j.Wait(b.cfg.Delay())
	}
}

// id returns an id for a run: readable, sortable, and not yet taken. mu is held.
func (b *Book) id(canary string, start time.Time) string {
	id := fmt.Sprintf("%s-%s-%s", canary, start.Format("20060102-150405"), b.cfg.NewID())
	for n, taken := 2, id; b.runs[id] != nil; n++ {
		id = fmt.Sprintf("%s%d", taken, n)
	}
	return id
}

const nextRunBegan = "judged on after its pass until the next run began"

// launch writes a run down that began in the place of old: then it counts. When that fails
// it never was.
func (b *Book) launch(ctx context.Context, at time.Time, s *slot, r, old *run) error {
	if err := b.save(ctx, r); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.runs, r.ID)
		s.active = old
		b.replan()
		return gatewarden.Errorf(gatewarden.Unavailable, "the run could not be started: %w", err).WithHint("is the disk of the state folder full?")
	}
	b.mu.Lock()
	b.enter(r)
	for _, before := range b.runs {
		if before != r && before.Canary == r.Canary && before.move.Wanted && !before.move.Done {
			before.move, before.dirty = move{}, true // the weights are this run's now
		}
	}
	if old != nil && old.judge != nil {
		old.unwatch(at, old.standing, nextRunBegan)
	}
	b.metrics.runs.WithLabelValues(string(gatewarden.RunRunning)).Inc()
	b.mu.Unlock()
	if err := b.tell(ctx, r); err != nil {
		b.cfg.Logger.Warn("the start of a run is not in the journal yet", "run", r.ID, "error", err)
	}
	return nil
}
