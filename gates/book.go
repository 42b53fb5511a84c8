package gates

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Book keeps the runs of all canaries. It is safe for concurrent use.
//
// Two locks matter, taken in this order: steer is held by whoever changes what is durable (a
// tick, a start, a person), over its input and output; mu guards the fields, and is held
// for moments only, so that records are never kept waiting by a disk.
type Book struct {
	cfg     Config
	metrics *metrics
	plan    atomic.Pointer[plan] // who is to be shown a record

	steer sync.Mutex
	calls sync.WaitGroup     // callbacks under way
	term  context.Context    // ends when the book is abandoned
	quit  context.CancelFunc // of term
	life  context.Context    // of the callbacks, within term
	end   context.CancelFunc // of life

	mu      sync.Mutex
	slots   []*slot         // the canaries, in the order of the rules, then those that are gone but have a run
	runs    map[string]*run // by id
	byKey   map[runKey]*run // of those that have a key
	log     observationsLog // what must not be lost
	known   map[string]bool // ids of the observations that the log held at the start, nil once they are of no use
	until   time.Time       // until when known is of use
	reports reportsTaken    // of other guards
	hold    time.Time       // until then the runs that were restored are not advanced; zero before the first tick
	lived   map[string]bool // the runs that hold is about
	gone    []string        // names of blobs to be deleted
	damaged damaged         // blobs that should be runs
	at      time.Time       // of the last tick

	saveAfter time.Time // no writing down before, as it failed just now; guarded by steer

	keep      sync.Mutex // held by Keep, which never takes steer
	keepAfter time.Time  // like saveAfter; guarded by keep
	writing   sync.Mutex // held while a run is written down; taken after steer or keep, before mu
}

// slot is what is kept of one canary.
type slot struct {
	name   string
	canary *gatewarden.Canary // nil when the rules no longer have it
	active *run               // the one that is running or watched, or nil
	latest *run
	past   past // the baseline's history, for the next run
	seen   [2]sighting
}

type runKey struct{ canary, key string }

// New returns a book without canaries and runs: SetCanaries and Restore come next, in this
// order.
func New(cfg Config) (*Book, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Book{cfg: cfg, metrics: newMetrics(cfg.Registerer), runs: map[string]*run{}, byKey: map[runKey]*run{}}
	b.log.open = newGroup(1)
	b.log.open.turn <- struct{}{}
	b.term, b.quit = context.WithCancel(context.Background())
	b.life, b.end = context.WithCancel(b.term)
	b.fence()
	b.replan()
	return b, nil
}

// SetCanaries replaces the canaries. A run keeps the definition that it began with. After
// an error nothing has changed.
func (b *Book) SetCanaries(list []gatewarden.Canary) error {
	b.steer.Lock()
	defer b.steer.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	judges := make([]Judge, len(list)) // of the past, for definitions that are new
	for i := range list {
		if s := b.slot(list[i].Name); s != nil && s.canary != nil && reflect.DeepEqual(s.canary, &list[i]) {
			continue
		}
		var err error
		if judges[i], err = b.cfg.NewJudge(&list[i], farFuture()); err != nil {
			return fmt.Errorf("the canary %s: %w", list[i].Name, err)
		}
	}
	slots := make([]*slot, 0, len(list))
	for i := range list {
		s := b.slot(list[i].Name)
		if s == nil {
			s = &slot{name: list[i].Name, latest: b.newest(list[i].Name)}
		}
		if judges[i] != nil {
			s.define(list[i], judges[i])
		}
		slots = append(slots, s)
	}
	for _, s := range b.slots {
		if slices.Contains(slots, s) {
			continue
		}
		if s.canary, s.past = nil, (past{}); s.active != nil {
			slots = append(slots, s)
		} else {
			b.metrics.forget(s.name)
		}
	}
	b.slots = slots
	b.replan()
	return nil
}

// define gives the slot a new definition, with the judge that gathers its baseline's past.
func (s *slot) define(c gatewarden.Canary, judge Judge) {
	s.canary = &c
	if s.active != nil && reflect.DeepEqual(s.active.canary, &c) {
		s.canary = s.active.canary // so that what is shown to one is shown to the other
	}
	s.past = past{judges: []pastJudge{{judge: judge}}}
}

// slot returns the slot of that name, nil when there is none; mu is held.
func (b *Book) slot(name string) *slot {
	for _, s := range b.slots {
		if s.name == name {
			return s
		}
	}
	return nil
}

// newest returns a canary's newest run, nil when there is none; mu is held.
func (b *Book) newest(canary string) *run {
	var newest *run
	for _, r := range b.runs {
		if r.Canary == canary && (newest == nil || later(r, newest)) {
			newest = r
		}
	}
	return newest
}

// newestFirst sorts runs by when they were begun, whatever the clock said then. Those of a
// version that did not number them have only their start.
func newestFirst(a, b *run) int {
	return cmp.Or(cmp.Compare(b.number, a.number), b.StartedAt.Compare(a.StartedAt), strings.Compare(b.ID, a.ID))
}

func later(a, b *run) bool { return newestFirst(a, b) < 0 }

// nextNumber returns the number of the next run; mu is held.
func (b *Book) nextNumber() uint64 {
	newest := uint64(0)
	for _, r := range b.runs {
		newest = max(newest, r.number)
	}
	return newest + 1
}

// replan makes a plan from the slots; mu is held.
func (b *Book) replan() {
	p := newPlan()
	for _, s := range b.slots {
		if s.canary != nil {
			p.add(b.feed(s, s.canary))
		}
		if s.active != nil && s.active.canary != s.canary {
			p.add(b.feed(s, s.active.canary))
		}
	}
	b.plan.Store(p)
}

// feed returns the feed of a definition of a slot's canary, the one in use when there is
// one.
func (b *Book) feed(s *slot, c *gatewarden.Canary) *feed {
	if inUse := b.plan.Load(); inUse != nil {
		for _, f := range inUse.byName[c.Name] {
			if f.slot == s && f.canary == c {
				return f
			}
		}
	}
	f := newFeed(c, b.cfg.Tracks)
	f.slot = s
	return f
}

// share returns the canary's configured share, where that is known.
func (b *Book) share(canary string) (float64, bool) {
	if b.cfg.Tracks == nil {
		return 0, false
	}
	return b.cfg.Tracks.Share(canary)
}

// randomID returns two characters, which together with the second tell runs apart.
func randomID() string { return strings.ToLower(rand.Text()[:2]) }

// Close waits for the callbacks that are under way and writes everything down, unless the
// book is abandoned.
func (b *Book) Close(ctx context.Context) error {
	b.end()
	b.calls.Wait()
	b.keep.Lock()
	defer b.keep.Unlock()
	b.steer.Lock()
	defer b.steer.Unlock()
	if b.over() != nil {
		return nil
	}
	var errs []error
	for _, r := range b.all(func(r *run) bool { return r.judge != nil || r.dirty }) {
		errs = append(errs, b.save(ctx, r))
	}
	b.mu.Lock()
	slots := slices.Clone(b.slots)
	b.mu.Unlock()
	for _, s := range slots {
		errs = append(errs, b.savePast(ctx, s))
	}
	return errors.Join(errs...)
}

// all returns the runs that want selects, in the order of their ids.
func (b *Book) all(want func(*run) bool) []*run {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*run
	for _, r := range b.runs {
		if want(r) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(x, y *run) int { return strings.Compare(x.ID, y.ID) })
	return list
}
