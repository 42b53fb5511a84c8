package gates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// saveEvery is how often a run is written down: what was shown to its judge since must
	// be read from the log after a crash.
	saveEvery = 10 * time.Second
	// savePastEvery is how much of a baseline's history a crash can lose.
	savePastEvery = time.Minute
	// saveLater is the pause after a write that failed.
	saveLater = 2 * time.Second

	// Writing is spread over so many calls of Keep, fewer than there are until it is due
	// again: all at once would keep what is urgent waiting.
	saveTicks     = 16
	savePastTicks = 100

	savedVersion = 1
	pastPrefix   = "history:" // of the names of histories; ids of runs have no colon
)

// savedRun is a run as it is written down.
type savedRun struct {
	Version    int               `json:"version"`
	Number     uint64            `json:"number,omitempty"`
	Run        gatewarden.Run    `json:"run"`
	Canary     gatewarden.Canary `json:"canary"`
	Secret     string            `json:"secret,omitempty"` // of the callback, which the run itself hides
	Judge      json.RawMessage   `json:"judge,omitempty"`
	Advanced   time.Time         `json:"advanced"`
	Applied    uint64            `json:"applied"`
	Share      float64           `json:"share"`
	TrailEvery time.Duration     `json:"trail_every"`
	Todo       todo              `json:"todo"`
	Move       move              `json:"move"`
}

// encode returns the run as it is written down, and the number of the newest section that
// is in it; Book.mu is held.
func (r *run) encode() (blob []byte, applied uint64, err error) {
	s := savedRun{
		Version: savedVersion, Number: r.number, Run: r.Run, Canary: *r.canary, Advanced: r.advanced, Applied: r.applied, Share: r.share,
		TrailEvery: r.trailEvery, Todo: r.todo, Move: r.move,
	}
	if r.Callback != nil {
		s.Secret = r.Callback.Authorization.Reveal()
	}
	if r.judge != nil {
		if s.Judge, err = r.judge.MarshalJSON(); err != nil {
			return nil, 0, fmt.Errorf("encoding the judge of the run %s: %w", r.ID, err)
		}
	}
	blob, err = json.Marshal(s)
	if err != nil {
		return nil, 0, fmt.Errorf("encoding the run %s: %w", r.ID, err)
	}
	return blob, r.applied, nil
}

// decodeRun reads what encode wrote. A run whose judge cannot be read comes without one,
// and with an error.
func decodeRun(blob []byte, load func(*gatewarden.Canary, []byte) (Judge, error)) (*run, error) {
	var s savedRun
	if err := json.Unmarshal(blob, &s); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "it is not what the guard writes: %w", err)
	}
	if s.Version != savedVersion || s.Run.ID == "" || s.Run.Canary == "" {
		return nil, gatewarden.Errorf(gatewarden.Internal, "it has version %d, and not %d", s.Version, savedVersion)
	}
	r := &run{
		Run: s.Run, number: s.Number, canary: &s.Canary, advanced: s.Advanced, applied: s.Applied, savedApplied: s.Applied, share: s.Share,
		trailEvery: max(s.TrailEvery, trailStep), todo: s.Todo, move: s.Move,
	}
	if r.Callback != nil {
		r.Callback.Authorization = gatewarden.NewSecret(s.Secret)
	} else {
		r.todo.Call = nil
	}
	if r.Over() && r.EndedAt == nil {
		ended := r.advanced
		r.EndedAt = &ended
	}
	if r.Over() && !r.Watched {
		return r, nil
	}
	judge, err := load(r.canary, s.Judge)
	if err != nil {
		return r, fmt.Errorf("reading the judge: %w", err)
	}
	r.judge = judge
	return r, nil
}

// save writes a run down as it is; steer is held.
func (b *Book) save(ctx context.Context, r *run) error {
	b.mu.Lock()
	r.dirty = false
	b.mu.Unlock()
	err := b.put(ctx, r)
	if err != nil {
		b.mu.Lock()
		r.dirty = true
		b.mu.Unlock()
	}
	return err
}

// put writes a run down. Who comes later writes later, so that what is durable never goes
// back.
func (b *Book) put(ctx context.Context, r *run) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.putNow(ctx, r)
}

// putNow is put for who holds writing.
func (b *Book) putNow(ctx context.Context, r *run) error {
	if b.cfg.Runs == nil {
		return nil
	}
	b.mu.Lock()
	blob, applied, err := r.encode()
	b.mu.Unlock()
	if err != nil {
		err = unwritable{err}
	} else {
		ctx, cancel := context.WithTimeout(ctx, writeWithin)
		defer cancel()
		err = b.cfg.Runs.Put(ctx, r.ID, blob)
	}
	if err != nil {
		b.metrics.saveFails.Inc()
		return fmt.Errorf("writing down the run %s: %w", r.ID, err)
	}
	b.mu.Lock()
	r.savedApplied = applied
	b.mu.Unlock()
	return nil
}

// unwritable is why a run or a history cannot be written down although the store may be well:
// the others are not kept waiting by it.
type unwritable struct{ error }

// waits reports whether at is within a pause of the given length that ends at until. A clock
// that was set back makes no pause longer.
func waits(until, at time.Time, pause time.Duration) bool {
	left := until.Sub(at)
	return left > 0 && left <= pause
}

// saveChanged writes down the runs that have changed, before what follows from it is done.
// After a failure it waits a little.
func (b *Book) saveChanged(ctx context.Context, at time.Time) error {
	if b.cfg.Runs == nil || waits(b.saveAfter, at, saveLater) {
		return nil
	}
	var errs []error
	for _, r := range b.all(func(r *run) bool { return r.dirty && r.decision == nil }) {
		if err := b.save(ctx, r); err != nil {
			errs = append(errs, err)
			if _, alone := errors.AsType[unwritable](err); alone {
				continue
			}
			b.saveAfter = at.Add(saveLater)
			return errors.Join(errs...)
		}
		b.saved(&r.savedAt, at)
	}
	b.retryLog(at)
	return errors.Join(errs...)
}

// Keep writes down what changes all the time, the judges of runs and the histories of
// baselines, and lets go of what nobody needs any more. It is to be called about twice a
// second, beside Tick, which then waits for no disk while nothing happens to a run. What
// it has not written after a crash is taken from the log.
func (b *Book) Keep(ctx context.Context, at time.Time) error {
	b.keep.Lock()
	defer b.keep.Unlock()
	if b.cfg.Runs == nil || waits(b.keepAfter, at, saveLater) || b.over() != nil {
		return nil
	}
	b.mu.Lock()
	slots, gone := slices.Clone(b.slots), slices.Clone(b.gone)
	b.mu.Unlock()
	err := errors.Join(b.saveJudges(ctx, at, len(slots)/saveTicks+1), b.savePasts(ctx, at, slots))
	if err == nil {
		err = errors.Join(b.remove(ctx, gone), b.tendDamaged(ctx, at), b.trim(ctx, at))
	}
	if err != nil {
		b.keepAfter = at.Add(saveLater)
	}
	return err
}

// saveJudges writes down up to n of the runs that were written long ago; keep is held.
func (b *Book) saveJudges(ctx context.Context, at time.Time, n int) error {
	due := b.all(func(r *run) bool {
		return !r.dirty && r.judge != nil && at.Sub(r.savedAt) >= saveEvery && r.decision == nil
	})
	for _, r := range due[:min(len(due), n)] {
		err := b.put(ctx, r)
		if _, alone := errors.AsType[unwritable](err); alone {
			b.cfg.Logger.Error("a run is not written down; a crash now would lose it", "run", r.ID, "error", err)
		} else if err != nil {
			return err
		}
		b.saved(&r.savedAt, at)
	}
	return nil
}

// savePasts writes down a part of the histories that were written long ago; keep is held.
func (b *Book) savePasts(ctx context.Context, at time.Time, slots []*slot) error {
	turn := len(slots)/savePastTicks + 1
	for _, s := range slots {
		b.mu.Lock()
		due := at.Sub(s.past.savedAt) >= savePastEvery
		b.mu.Unlock()
		if turn == 0 || !due {
			continue
		}
		turn--
		err := b.savePast(ctx, s)
		if _, alone := errors.AsType[unwritable](err); alone {
			b.cfg.Logger.Error("a baseline's history is not written down; a restart would begin it anew", "canary", s.name, "error", err)
		} else if err != nil {
			return err
		}
		b.saved(&s.past.savedAt, at)
	}
	return nil
}

// saved remembers when something was written down.
func (b *Book) saved(when *time.Time, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*when = at
}

// retryLog lets observations go into the log again, after a pause and when runs can be
// written down. What was not logged meanwhile is written down with the runs.
func (b *Book) retryLog(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.log.down || waits(b.log.retry, at, mostPause) {
		return
	}
	b.log.down = false
	for _, s := range b.slots {
		if s.active != nil {
			s.active.dirty = true
		}
	}
}

// remove deletes runs that are remembered no more.
func (b *Book) remove(ctx context.Context, ids []string) error {
	var errs []error
	for _, id := range ids {
		if err := b.cfg.Runs.Delete(ctx, id); err != nil {
			errs = append(errs, err)
			continue
		}
		b.mu.Lock()
		b.gone = slices.DeleteFunc(slices.Clone(b.gone), func(g string) bool { return g == id })
		b.mu.Unlock()
	}
	return errors.Join(errs...)
}

// forgetOld forgets the oldest runs that are over, beyond the limit; mu is held.
func (b *Book) forgetOld() {
	over := make([]*run, 0, len(b.runs))
	for _, r := range b.runs {
		if r.Over() && r.judge == nil && !r.busy() {
			over = append(over, r)
		}
	}
	if len(over) <= b.cfg.Keep {
		return
	}
	slices.SortFunc(over, newestFirst)
	for _, r := range over[b.cfg.Keep:] {
		delete(b.runs, r.ID)
		if key := (runKey{r.Canary, r.Key}); b.byKey[key] == r {
			delete(b.byKey, key)
		}
		if s := b.slot(r.Canary); s != nil && s.latest == r {
			s.latest = nil
		}
		b.gone = append(b.gone, r.ID)
	}
}

// savedPast is a baseline's history as it is written down.
type savedPast struct {
	Version int               `json:"version"`
	Canary  gatewarden.Canary `json:"canary"`
	At      time.Time         `json:"at"`
	Judges  []savedPastJudge  `json:"judges"`
}

type savedPastJudge struct {
	Since time.Time       `json:"since"`
	Judge json.RawMessage `json:"judge"`
}

// savePast writes a canary's history down, when it has grown.
func (b *Book) savePast(ctx context.Context, s *slot) error {
	b.mu.Lock()
	if b.cfg.Runs == nil || s.canary == nil || !s.past.grown {
		b.mu.Unlock()
		return nil
	}
	saved := savedPast{Version: savedVersion, Canary: *s.canary, At: s.past.advanced}
	var errs []error
	for _, p := range s.past.judges {
		blob, err := p.judge.MarshalJSON()
		errs = append(errs, err)
		saved.Judges = append(saved.Judges, savedPastJudge{Since: p.since, Judge: blob})
	}
	s.past.grown = false
	b.mu.Unlock()
	blob, err := json.Marshal(saved)
	if err = errors.Join(append(errs, err)...); err != nil {
		err = unwritable{err}
	} else {
		ctx, cancel := context.WithTimeout(ctx, writeWithin)
		defer cancel()
		err = b.cfg.Runs.Put(ctx, pastPrefix+s.name, blob)
	}
	if err != nil {
		b.metrics.saveFails.Inc()
		return fmt.Errorf("writing down the baseline's history of the canary %s: %w", s.name, err)
	}
	return nil
}

// decodePast reads what savePast wrote, of the definition that is in force; nil when it is
// of another one.
func decodePast(blob []byte, c *gatewarden.Canary, load func(*gatewarden.Canary, []byte) (Judge, error)) (*past, error) {
	var s savedPast
	if err := json.Unmarshal(blob, &s); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "it is not what the guard writes: %w", err)
	}
	if s.Version != savedVersion {
		return nil, gatewarden.Errorf(gatewarden.Internal, "it has version %d, and not %d", s.Version, savedVersion)
	}
	if !reflect.DeepEqual(&s.Canary, c) {
		return nil, nil
	}
	p := &past{advanced: s.At}
	for _, j := range s.Judges {
		judge, err := load(c, j.Judge)
		if err != nil {
			return nil, fmt.Errorf("reading a judge: %w", err)
		}
		p.judges = append(p.judges, pastJudge{judge: judge, since: j.Since})
	}
	return p, nil
}
